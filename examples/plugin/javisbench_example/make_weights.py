"""Write the palette's weights, the same bytes every time: python -m javisbench_example.make_weights FOLDER"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save


def weights() -> bytes:
    """A safetensors file: ``weight`` float32 (4, 6), rows of a cosine basis, and ``bias`` float32 (4,), zeros."""
    angle = np.pi * (np.arange(6) + 0.5) / 6
    matrix = np.round(np.cos(np.arange(1, 5)[:, None] * angle), 3).astype(np.float32)
    return save({"bias": np.zeros(4, np.float32), "weight": matrix})


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "example_palette.safetensors").write_bytes(weights())
