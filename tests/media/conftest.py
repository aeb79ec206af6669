"""Fixtures of the tests of reading and writing clips."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def make_bad_clips() -> Callable[[Path], dict[str, str]]:
    """Fill a folder with bad clips; returns the kind of error that each file's stem must give."""
    path = Path(__file__).parent / "bad_clips.py"
    spec = importlib.util.spec_from_file_location("bad_clips", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    builder: Callable[[Path], dict[str, str]] = module.make_bad_clips
    return builder
