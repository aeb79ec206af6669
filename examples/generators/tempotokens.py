"""TempoTokens as a stage: picture for a made sound.

    TEMPOTOKENS=~/TempoTokens PYTHON=/path/to/python javisbench eval --suite demo --model \\
        'cascade:t2a=audioldm2,a2v=command:python examples/generators/tempotokens.py'

Code MIT, github.com/guyyariv/TempoTokens; weights from the links in its README, $TEMPOTOKENS_WEIGHTS
(models/vggsound/learned_embeds.pth unless told). $PYTHON has its requirements. It makes 24 frames at 12 fps from the
first two seconds of the sound. Its script draws noise without a seed; the process is seeded before it starts.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

START = """
import random, runpy, sys
import numpy, torch
seed = int(sys.argv.pop(1))
random.seed(seed), numpy.random.seed(seed), torch.manual_seed(seed)
sys.path[0] = "."
runpy.run_path("inference.py", run_name="__main__")
"""


def make_picture(request):
    checkout = os.environ["TEMPOTOKENS"]
    # The script wants a folder below its own, written as ./name.
    with tempfile.TemporaryDirectory(dir=checkout) as folder:
        weights = os.environ.get("TEMPOTOKENS_WEIGHTS", "models/vggsound/learned_embeds.pth")
        command = [os.environ.get("PYTHON", sys.executable), "-c", START, str(request["seed"] % 2**32)]
        command += ["--mapper_weights", weights, "--audio_path", request["condition"]["audio"]]
        command += ["--output_dir", f"./{Path(folder).name}"]
        subprocess.run(command, cwd=checkout, check=True, stdout=sys.stderr)
        clips = sorted(Path(folder).rglob("*_c.mp4"))
        if len(clips) != 1:
            raise RuntimeError(f"one clip was expected, the model wrote {len(clips)}")
        shutil.copy(clips[0], request["output"] + ".mp4")


for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"], "status": "ok"}
    try:
        make_picture(request)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong, this clip failed and the next may not
        answer.update(status="failed", message=str(error))
    print(json.dumps(answer), flush=True)
