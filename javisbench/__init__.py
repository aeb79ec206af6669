"""javisbench: benchmark and evaluation toolkit for joint audio-video generation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from javisbench.api import JudgeOptions, Result, ScoringOptions, evaluate, generate, reproduce, score
    from javisbench.clip import Clip, ClipSpec
    from javisbench.media import read_clip, write_clip

__version__ = "0.2.0"

# Everything is imported where it is used, so that `import javisbench` and `javisbench --help` stay instant.
_LAZY = {
    "Clip": "javisbench.clip",
    "JudgeOptions": "javisbench.api",
    "Result": "javisbench.api",
    "ScoringOptions": "javisbench.api",
    "evaluate": "javisbench.api",
    "generate": "javisbench.api",
    "reproduce": "javisbench.api",
    "score": "javisbench.api",
    "ClipSpec": "javisbench.clip",
    "read_clip": "javisbench.media",
    "write_clip": "javisbench.media",
}

__all__ = [
    "Clip",
    "ClipSpec",
    "JudgeOptions",
    "Result",
    "ScoringOptions",
    "__version__",
    "evaluate",
    "generate",
    "read_clip",
    "reproduce",
    "score",
    "write_clip",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'javisbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
