"""A model behind JSON lines, in 30 lines: javisbench eval --model 'command:python minimal_adapter.py' --suite demo

Replace `make_clip` by your model. Needs PyAV and numpy here; javisbench itself is not needed where the model runs.
"""

import json
import sys

import av
import numpy as np


def make_clip(request, path):
    random = np.random.default_rng(request["seed"])
    shape = request["height"], request["width"], 3
    colours = random.integers(0, 256, (2, 3))
    rate = request["sample_rate"]
    tone = np.sin(2 * np.pi * random.uniform(200, 900) * np.arange(int(request["duration_s"] * rate)) / rate)
    with av.open(path, "w") as file:
        video = file.add_stream("libx264", rate=round(request["fps"]))
        video.height, video.width, video.pix_fmt = shape[0], shape[1], "yuv420p"
        audio = file.add_stream("aac", rate=rate, layout="mono")
        for share in np.linspace(0, 1, request["frames"]):
            picture = np.broadcast_to(colours[0] * (1 - share) + colours[1] * share, shape)
            file.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture, np.uint8))))
        sound = av.AudioFrame.from_ndarray(0.1 * tone[None].astype(np.float32), format="fltp", layout="mono")
        sound.sample_rate = rate
        file.mux([*video.encode(), *audio.encode(sound), *audio.encode()])


for line in sys.stdin:
    request = json.loads(line)
    try:
        make_clip(request, request["output"] + ".mp4")
        answer = {"id": request["id"], "status": "ok"}
    except Exception as error:  # noqa: BLE001 - whatever goes wrong, this clip failed and the next may not
        answer = {"id": request["id"], "status": "failed", "message": str(error)}
    print(json.dumps(answer), flush=True)
