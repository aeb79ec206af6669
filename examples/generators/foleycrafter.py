"""FoleyCrafter as a stage: sound for a made picture. Run it with the interpreter that has the checkout's requirements.

    FOLEYCRAFTER=~/FoleyCrafter javisbench eval --suite demo --model \\
        'cascade:t2v=wan2.1-1.3b,v2a=command:/path/to/python examples/generators/foleycrafter.py'

Code Apache-2.0, github.com/open-mmlab/FoleyCrafter; weights ymzhang319/FoleyCrafter and Auffusion, fetched by its own
code. -M v2a.timeout_s=1200 if a clip takes longer than ten minutes.
"""

import json
import os
import shutil
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

answers, sys.stdout = sys.stdout, sys.stderr  # What the model prints must not come between the answers.
os.chdir(os.environ["FOLEYCRAFTER"])
sys.path[0] = str(Path.cwd())
import inference  # noqa: E402 - the checkout's own

SETTINGS = Namespace(
    nprompt="",
    temporal_align=True,
    temporal_scale=0.2,
    semantic_scale=1.0,
    ckpt="models/",
    pretrain="auffusion/auffusion-full-no-adapter",
    device="cuda",
)


def make_sound(request, parts):
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder, "in")
        clips.mkdir()
        shutil.copy(request["condition"]["video"], clips / "clip.mp4")
        seed = request["seed"] % 2**32
        told = {"prompt": request["prompt"], "seed": seed, "input": str(clips), "save_dir": str(Path(folder, "out"))}
        inference.run_inference(Namespace(**vars(SETTINGS), **told), *parts)
        shutil.copy(Path(folder, "out/audio/clip.wav"), request["output"] + ".wav")


parts = inference.build_models(SETTINGS)
for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"], "status": "ok"}
    try:
        make_sound(request, parts)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong, this clip failed and the next may not
        answer.update(status="failed", message=str(error))
    print(json.dumps(answer), file=answers, flush=True)
