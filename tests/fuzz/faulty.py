"""Readers that do what none may do, so that the harness is seen to notice; started as a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from javisbench.errors import RunError
from tests.fuzz.harness import main
from tests.fuzz.targets import MIB, Read, Target


def _refuses(path: Path) -> object:
    raise RunError("No.")


def _fails(path: Path) -> object:
    raise ZeroDivisionError


def _dies(path: Path) -> object:
    os.kill(os.getpid(), signal.SIGSEGV)
    return None


def _hangs(path: Path) -> object:
    time.sleep(600)
    return None


def _takes(path: Path) -> object:
    return bytearray(200 * MIB)


def _when_damaged(what: Callable[[Path], object]) -> Callable[[Path], Read]:
    return lambda folder: lambda path: what(path) if path.read_bytes() == b"damaged" else None


TARGETS = {
    name: Target(
        name, lambda folder: {"a": b"good", "b": b"good"}, _when_damaged(what), lambda data, rng: b"damaged", 64 * MIB
    )
    for name, what in (
        ("refuses", _refuses),
        ("fails", _fails),
        ("dies", _dies),
        ("hangs", _hangs),
        ("takes", _takes),
    )
}

if __name__ == "__main__":
    main(sys.argv[1:], TARGETS)
