"""ReWaS as a stage: sound for a made picture and a text.

    REWAS=~/rewas PYTHON=/path/to/python javisbench eval --suite demo --model \\
        'cascade:t2v=wan2.1-1.3b,v2a=command:python examples/generators/rewas.py'

Code and weights (lee-j/ReWaS) CC BY-NC-SA 4.0, github.com/naver-ai/rewas. $PYTHON has the checkout's requirements. Its
test script is started for every clip; its sounds are 5 s or shorter.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def make_sound(request):
    with tempfile.TemporaryDirectory() as folder:
        listed, out = Path(folder, "list.json"), Path(folder, "out")
        video = Path(folder, "clip.mp4")
        shutil.copy(request["condition"]["video"], video)
        listed.write_text(json.dumps({"prompt": request["prompt"], "video_name": str(video)}) + "\n")
        command = [os.environ.get("PYTHON", sys.executable), "test.py", "--control_type", "energy_video"]
        command += ["--testlist", str(listed), "--save_path", str(out), "--seed", str(request["seed"] % 2**32)]
        command += ["--duration", str(min(5.0, request["duration_s"])), "--re_encode"]
        subprocess.run(command, cwd=os.environ["REWAS"], check=True, stdout=sys.stderr)
        sounds = sorted(out.rglob("*.wav"))
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
