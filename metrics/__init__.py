"""Metrics of joint audio-video generation, one file each, and the encoders they need.

The objects for training loops can be imported from here: `FVD`, `KVD`, `FAD`, `FID`, `JavisScore`, `ImageBindScores`
and `AVSync`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from javisbench.metrics.accumulators import FAD, FID, FVD, KVD
    from javisbench.metrics.av_sync import AVSync
    from javisbench.metrics.imagebind_scores import ImageBindScores
    from javisbench.metrics.javis_score import JavisScore

# The folder is linked into the package; under its short name every module would exist twice.
if __name__ == "metrics":
    raise ImportError("Import javisbench.metrics: 'metrics' is a folder of the checkout, not a package of its own.")

# Imported when asked for: listing metrics must not wait for torch.
_LAZY = {
    "AVSync": "javisbench.metrics.av_sync",
    "FAD": "javisbench.metrics.accumulators",
    "FID": "javisbench.metrics.accumulators",
    "FVD": "javisbench.metrics.accumulators",
    "KVD": "javisbench.metrics.accumulators",
    "ImageBindScores": "javisbench.metrics.imagebind_scores",
    "JavisScore": "javisbench.metrics.javis_score",
}

__all__ = ["FAD", "FID", "FVD", "KVD", "AVSync", "ImageBindScores", "JavisScore"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
