"""Clips that a server (such as vLLM-Omni) wrote into a folder with an index, one JSON object a line.

    javisbench eval --suite demo --model 'command:python examples/generators/output_folder.py OUTPUTS'

OUTPUTS/index.jsonl has {"prompt": ..., "video": "a.mp4", "audio": "a.wav"} a line; audio may be left out, and
"request_id" equal to the sample's id is better than the prompt. Files lie inside OUTPUTS. Where clips are named after
the suite's samples already (sample_0000.mp4), score the folder itself: javisbench score OUTPUTS --suite demo.
"""

import json
import shutil
import sys
from pathlib import Path


def read_index(folder):
    found = {}
    for line in (folder / "index.jsonl").read_text(encoding="utf-8").splitlines():
        if line.strip():
            entry = json.loads(line)
            # Two clips of one prompt: the repeats of that sample, in order.
            for key in {entry.get("request_id"), entry.get("prompt")} - {None}:
                found.setdefault(key, []).append(entry)
    return found


def take(request, folder, index):
    sample, _, repeat = request["id"].rpartition("-")
    number = int(repeat) if sample and repeat.isdigit() and request["id"] not in index else 0
    entries = index.get(request["id"]) or index.get(sample) or index.get(request["prompt"]) or []
    if number >= len(entries):
        raise LookupError(f"{folder / 'index.jsonl'} has no clip for {request['id']}")
    for name, suffix in (("video", ".mp4"), ("audio", ".wav")):
        if name in entries[number]:
            path = (folder / entries[number][name]).resolve()
            if not path.is_relative_to(folder):
                raise LookupError(f"{path} lies outside {folder}")
            shutil.copy(path, request["output"] + suffix)


folder = Path(sys.argv[1]).resolve()
index = read_index(folder)
for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"], "status": "ok"}
    try:
        take(request, folder, index)
    except (OSError, LookupError) as error:
        answer.update(status="failed", kind="no_clip", message=str(error), retryable=False)
    print(json.dumps(answer), flush=True)
