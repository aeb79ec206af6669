"""What lip synchrony costs a clip: seconds of one core for finding faces, and for each face that is followed.

    OMP_NUM_THREADS=1 python benchmarks/lip_sync.py --json FILE

Networks of official size with stand-in weights: S3FD is given one that find faces at fixed places, SyncNet seeded ones.
What a network costs does not depend on its weights. Pictures are noise that hardly changes, of 4 s at 24 fps; processor
time is counted, not the time on the clock.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from javisbench.clip import Clip, FrameRun
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.syncnet import SyncNetEncoder

TESTS = Path(__file__).parent.parent / "tests"
SIZES = ((240, 426), (480, 854), (720, 1280))
SPECS = (FeatureSpec.of("syncnet", "lips", frame_times="shown"), FeatureSpec.of("syncnet", "voice"))


def module(path: Path) -> ModuleType:
    """A helper of the tests."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def loaded(folder: Path) -> SyncNetEncoder:
    """Both networks with stand-in weights."""
    inputs, seeded = module(TESTS / "lip_inputs.py"), module(TESTS / "golden/seeded_weights.py")
    stored = json.loads((TESTS / "golden/field/syncnet.json").read_text(encoding="utf-8"))
    faces = inputs.one_face("official", (200, 100, 420, 320), 480)
    encoder = SyncNetEncoder()
    encoder.load(inputs.save_weights(folder, "official", stored, seeded, 0, faces), "cpu")
    return encoder


def cost(encoder: SyncNetEncoder, height: int, width: int) -> dict[str, Any]:
    """Seconds of one clip of that size."""
    draw = np.random.default_rng(0)
    picture = draw.integers(0, 250, (1, height, width, 3), dtype=np.uint8)
    frames = np.concatenate([picture + np.uint8(place % 3) for place in range(96)])
    sound = draw.uniform(-0.5, 0.5, (1, 64000)).astype(np.float32)
    intake = encoder.intake(Clip(frames, Fraction(24), sound, 16000).head, SPECS)
    begun = time.process_time()
    for start in range(0, 96, 8):
        intake.take(FrameRun(np.arange(start, start + 8), frames[start : start + 8]))
    intake.end(())
    found = time.process_time()
    (made,) = encoder.features([intake])
    faces = len(made[SPECS[0]]["frames"])  # type: ignore[index]
    compared = time.process_time()
    return {
        "height": height,
        "width": width,
        "faces": faces,
        "finding_faces_s": round(found - begun, 2),
        "each_face_s": round((compared - found) / max(faces, 1), 2),
    }


def main() -> None:
    """Measure each size and print or store what it costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        encoder = loaded(Path(folder))
        results = [cost(encoder, height, width) for height, width in SIZES]
    text = json.dumps({"seconds": 4, "fps": 24, "torch": torch.__version__, "clips": results}, indent=1) + "\n"
    if arguments.json:
        arguments.json.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
