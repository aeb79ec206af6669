"""Inputs of lip synchrony: the clips of the reference numbers, stand-in weights, lossless files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import soundfile
import torch

from javisbench.clip import Clip
from javisbench.metrics.encoders.syncnet.encoder import FILES
from javisbench.metrics.encoders.syncnet.network import VARIANTS, LipNetworks

#: Of the two reference clips (tests/golden/field/syncnet.json): frames and samples.
LENGTHS = ((75, 48000), (80, 46000))
SIDE = 224
#: Left, top, right, bottom of a face whose crop is the whole 224 x 224 picture.
WHOLE = (32.2, 0.5, 192.4, 160.7)


def mouth(clip: int, frame: Any) -> Any:
    """Half the height of the mouth."""
    if clip == 0:
        return 4 + 3 * np.minimum(frame % 12, 12 - frame % 12)
    phase = 7 * frame % 23
    return 3 + 2 * np.minimum(phase, 23 - phase)


def reference_frames(clip: int, count: int | None = None, first: int = 0) -> np.ndarray:
    """RGB frames of a reference clip, uint8 ``(count, 224, 224, 3)``."""
    count = LENGTHS[clip][0] - first if count is None else count
    grain = np.random.RandomState(100 + clip).randint(0, 16, size=(SIDE, SIDE)).astype(np.int64)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.int64)
    face = 4 * (x - 112) ** 2 + 3 * (y - 112) ** 2 <= 4 * 90**2
    across, down = (x - 112) ** 2, (y - 150) ** 2
    found = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for place in range(count):
        t = first + place
        h = int(mouth(clip, t))
        lips = across * (h + 6) ** 2 + down * 40**2 <= 40**2 * (h + 6) ** 2
        inside = across * h**2 + down * 34**2 <= 34**2 * h**2
        for c, (skin, lip, dark) in enumerate(((90, 70, 20), (130, 60, 15), (180, 170, 40))):  # blue, green, red
            image = (x + 2 * y + 3 * t + 40 * c) // 4 % 64 + grain
            image = np.where(face, skin + (x - y) // 16 + grain // 2, image)
            image = np.where(inside, dark + grain, np.where(lips, lip + grain, image))
            found[place, :, :, 2 - c] = np.clip(image, 0, 255)
    return found


def reference_sound(clip: int) -> np.ndarray:
    """Samples of a reference clip at 16 kHz, int16."""
    i = np.arange(LENGTHS[clip][1])
    noise = np.random.RandomState(200 + clip).randint(-1000, 1001, size=len(i))
    period = (80, 123)[clip]
    saw = (i % period) * 2000 // period - 1000
    return (((noise + 2 * saw) * mouth(clip, i // 640)) // 6).astype(np.int16)


def clip_of(frames: np.ndarray, sound: np.ndarray | None, fps: int = 25) -> Clip:
    """A clip with mono sound at 16 kHz, given as int16."""
    if sound is None:
        return Clip(frames, Fraction(fps), None, None)
    return Clip(frames, Fraction(fps), (sound.astype(np.float32) / 2**15)[None], 16000)


def seeded(
    module: torch.nn.Module, stored: Mapping[str, Any], seeded_weights: ModuleType, seed: int
) -> dict[str, torch.Tensor]:
    """The weights of a reference file for `module`, which may be a narrower one."""
    rules = [(pattern, tuple(rule)) for pattern, rule in stored["weights"]["rules"]]
    seeded_weights.PRESETS["lips"] = rules
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    arrays = seeded_weights.seeded_state_dict(shapes, "lips", seed)
    return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}


def one_face(variant: str, box: Sequence[float] = WHOLE, side: int = SIDE, score: float = 10.0) -> dict[str, Any]:
    """Weights of S3FD that find one face, at `box`, in every square picture of `side` pixels up to 512.

    All are 0 but the biases of the coarsest map, which has one place there.
    """
    state = {name: torch.zeros_like(tensor) for name, tensor in _built(variant).faces.state_dict().items()}
    for place in range(6):
        state[f"conf.{place}.bias"][-1] = -20.0
    state["conf.5.bias"][-1] = score
    left, top, right, bottom = (value / side for value in box)
    anchor, centre = 512 / (side / 4), 64 / (side / 4)
    shifts = [((left + right) / 2 - centre) / 0.1 / anchor, ((top + bottom) / 2 - centre) / 0.1 / anchor]
    sizes = [math.log((right - left) / anchor) / 0.2, math.log((bottom - top) / anchor) / 0.2]
    state["loc.5.bias"][:] = torch.tensor(shifts + sizes)
    return state


def _built(variant: str) -> LipNetworks:
    with torch.device("meta"):
        network = LipNetworks(VARIANTS[variant])
    return network.to_empty(device="cpu")


def save_weights(
    folder: Path, variant: str, stored: Mapping[str, Any], seeded_weights: ModuleType, seed: int, faces: Any
) -> Path:
    """Both files of a variant: SyncNet seeded, and `faces` for S3FD."""
    folder.mkdir(exist_ok=True)
    sync, found = FILES[variant]
    torch.save(seeded(_built(variant).sync, stored, seeded_weights, seed), folder / sync)
    torch.save(faces, folder / found)
    return folder


def write_lossless(path: Path, frames: np.ndarray, sound: np.ndarray | None, fps: int = 25) -> None:
    """FFV1 in Matroska, pixels unchanged, with the int16 sound at 16 kHz in a wav beside it."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="bgr0")))
        container.mux(stream.encode())
    if sound is not None:
        soundfile.write(path.with_suffix(".wav"), sound, 16000, subtype="PCM_16")
