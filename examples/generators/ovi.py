"""Ovi: text to picture and sound. Run it with the interpreter that has the checkout's requirements.

    OVI=~/Ovi javisbench eval --suite demo --model 'command:/path/to/python examples/generators/ovi.py' \\
        -M start_timeout_s=3600 -M timeout_s=1800

Code Apache-2.0, github.com/character-ai/Ovi; 11 B parameters, 32 to 80 GB of GPU memory. Clips are 5 s at 24 fps, at
the size of its configuration file; javisbench keeps them as they are. Ovi knows tags for speech (<S>...<E>) and for the
sound (<AUDCAP>...<ENDAUDCAP>); a suite's audio_text becomes the latter.
"""

import json
import os
import sys
from pathlib import Path

answers, sys.stdout = sys.stdout, sys.stderr  # What the model prints must not come between the answers.
os.chdir(os.environ["OVI"])
sys.path[0] = str(Path.cwd())
import torch  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from ovi.distributed_comms.parallel_states import initialize_sequence_parallel_state  # noqa: E402
from ovi.ovi_fusion_engine import OviFusionEngine  # noqa: E402
from ovi.utils.io_utils import save_video  # noqa: E402

CONFIG = os.environ.get("OVI_CONFIG", "ovi/configs/inference/inference_fusion.yaml")


def make_clip(engine, config, request):
    prompt = request["prompts"].get("video_text") or request["prompt"]
    sound = request["prompts"].get("audio_text")
    if sound:
        prompt += f" <AUDCAP>{sound}<ENDAUDCAP>"
    video, audio, _ = engine.generate(
        text_prompt=prompt,
        image_path=None,
        video_frame_height_width=config.get("video_frame_height_width"),
        seed=request["seed"] % 2**32,
        solver_name=config.get("solver_name", "unipc"),
        sample_steps=config.get("sample_steps", 50),
        shift=config.get("shift", 5.0),
        video_guidance_scale=config.get("video_guidance_scale", 4.0),
        audio_guidance_scale=config.get("audio_guidance_scale", 3.0),
        slg_layer=config.get("slg_layer", 11),
        video_negative_prompt=config.get("video_negative_prompt", ""),
        audio_negative_prompt=config.get("audio_negative_prompt", ""),
    )
    save_video(request["output"] + ".mp4", video, audio, fps=24, sample_rate=16000)
    return {"prompt": prompt}


initialize_sequence_parallel_state(1)
config = OmegaConf.load(CONFIG)
engine = OviFusionEngine(config=config, device=0, target_dtype=torch.bfloat16)
for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"], "status": "ok"}
    try:
        answer["info"] = make_clip(engine, config, request)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong, this clip failed and the next may not
        answer.update(status="failed", message=str(error))
    print(json.dumps(answer), file=answers, flush=True)
