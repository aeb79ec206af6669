"""Seeing and Hearing as a stage: sound for a made picture, guided by ImageBind.

    SEEING_AND_HEARING=~/Seeing-and-Hearing PYTHON=/path/to/python javisbench eval --suite demo --model \\
        'cascade:t2v=wan2.1-1.3b,v2a=command:python examples/generators/seeing_and_hearing.py'

Code and weights for non-commercial use, github.com/yzxing87/Seeing-and-Hearing. $PYTHON has its requirements (a fork of
transformers among them). The suite's text takes the place of the caption that Qwen-VL writes in the paper. The
checkout's script looks seeds up in a list of its own clips; that line is replaced, in memory, by the request's seed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

START = """
import sys
text = open("video2audio.py").read()
line = "seed = config_seed_dict[video_name]"
assert text.count(line) == 1, "video2audio.py is another version than this recipe was written for"
exec(compile(text.replace(line, "seed = args.seed"), "video2audio.py", "exec"), {"__name__": "__main__"})
"""


def make_sound(request):
    with tempfile.TemporaryDirectory() as folder:
        clips, texts = Path(folder, "clips"), Path(folder, "texts")
        clips.mkdir()
        texts.mkdir()
        shutil.copy(request["condition"]["video"], clips / "clip.mp4")
        (texts / "clip_0.txt").write_text(" ".join(request["prompt"].split()))
        command = [os.environ.get("PYTHON", sys.executable), "-c", START, "--eval_set_root", str(clips)]
        command += ["--prompt_root", str(texts), "--out_root", str(Path(folder, "out"))]
        command += ["--seed", str(request["seed"] % 2**32)]
        checkout = Path(os.environ["SEEING_AND_HEARING"], "v2a")
        subprocess.run(command, cwd=checkout, check=True, stdout=sys.stderr)
        sounds = sorted(Path(folder).glob("out*/**/*.wav"))
        if len(sounds) != 1:
            raise RuntimeError(f"one sound was expected, the model wrote {len(sounds)}")
        shutil.copy(sounds[0], request["output"] + ".wav")


for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"], "status": "ok"}
    try:
        make_sound(request)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong, this clip failed and the next may not
        answer.update(status="failed", message=str(error))
    print(json.dumps(answer), flush=True)
