"""The loop that all recipes share: one process for a whole suite, in a Python that need not have javisbench.

A recipe says ``serve(load)``: `load` is called once with the options of the command line and returns what makes a
clip from a request. Written for Python 3.8, which the oldest checkouts want.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import subprocess
import sys
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Request = Mapping[str, Any]
    Make = Callable[[Request], Mapping[str, Any] | None]
KINDS = {"NonFiniteError": "non_finite", "OutOfMemoryError": "out_of_memory", "NoConditionError": "no_condition"}


class NonFiniteError(Exception):
    """The model made values that are no numbers."""


class NoConditionError(Exception):
    """The request lacks the picture, video or sound that the model is made for."""


def serve(load: Callable[[argparse.Namespace], Make]) -> None:
    """Load once, then answer requests until there are no more."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repo", required=True)
    known, others = parser.parse_known_args()
    for name, value in zip(others[::2], others[1::2]):  # noqa: B905 - Python 3.8 knows no strict
        setattr(known, name.lstrip("-"), value)
    # The recipes' folder holds modules that the checkout must not find under their short names.
    sys.path[0] = known.repo
    sys.argv = sys.argv[:1]
    os.chdir(known.repo)
    # What the model prints must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    make = load(known)
    for line in sys.stdin:
        answers.write(json.dumps(answer_of(make, json.loads(line))) + "\n")
        answers.flush()


def answer_of(make: Make, request: Request) -> dict[str, Any]:
    """Make a request's clip; whatever the checkout raises, the clip failed and the next one may not."""
    try:
        info = make(request)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - research code raises plain exceptions, and ends itself
        kind = KINDS.get(type(error).__name__, "exception")
        message = f"{type(error).__name__}: {error}"
        again = kind != "no_condition"
        return {"id": request["id"], "status": "failed", "kind": kind, "message": message, "retryable": again}
    return {"id": request["id"], "status": "ok", "info": dict(info or {})}


def given(request: Request, what: str) -> str:
    """The path of the picture (``image``), ``video`` or ``audio`` that the clip is made for.

    Raises:
        NoConditionError: there is none.
    """
    path = request.get("condition", {}).get(what)
    if not path:
        raise NoConditionError(f"the model is made for a given {what}, and the suite or cascade gives none")
    return str(path)


def length_s(path: str, otherwise: float) -> float:
    """Seconds of a film or sound as the environment's ffprobe tells them; `otherwise` where it does not."""
    asked = ["ffprobe", "-v", "error", "-protocol_whitelist", "file", "-show_entries", "format=duration"]
    asked += ["-of", "default=noprint_wrappers=1:nokey=1", path]
    try:
        told = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60).stdout
        return float(told.decode().strip())
    except (OSError, ValueError, subprocess.SubprocessError):
        return otherwise


def seed_all(seed: int) -> int:
    """Seed Python, numpy and torch; returns the seed as 32 bits, which numpy wants."""
    import numpy as np
    import torch

    small = seed % 2**32
    random.seed(small)
    np.random.seed(small)
    torch.manual_seed(small)
    return small


def write_sound(stem: str, samples: Any, rate: int) -> None:
    """Write ``STEM.wav``, 16 bits: an array ``(channels, n)`` or ``(n,)``, cut to [-1, 1], at `rate` Hz."""
    import numpy as np

    sound = np.atleast_2d(samples).clip(-1, 1)
    with wave.open(stem + ".wav", "wb") as file:
        file.setnchannels(len(sound))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((sound.T * 32767).round().astype(np.int16).tobytes())


def kept(module: Any, name: str) -> None:
    """Let a checkout's function load once what it loads for every clip; nothing, where there is no such function."""
    loader = getattr(module, name, None)
    if loader is not None:
        setattr(module, name, functools.lru_cache(maxsize=None)(loader))


def only(paths: Iterable[Path], what: str) -> Path:
    """The one file that the model wrote."""
    found = sorted(paths)
    if len(found) != 1:
        raise RuntimeError(f"one {what} was expected, the model wrote {len(found)}")
    return Path(found[0])
