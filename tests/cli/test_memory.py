"""Freed memory is kept for what comes next."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")

# 5 steps of 60 MB are 73,000 pages of 4 KiB; NumPy asks for larger ones, as far as the system has them.
MANY = 500

# Tensors that live together for a moment and then go, as in a forward pass: 60 MB in all.
FAULTS = """
import resource, sys
import numpy as np
from javisbench.cli.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def step():
    for part in [np.ones(20_000_000, dtype=np.uint8) for _ in range(3)]:
        part += 1

step()
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))
"""


def page_faults(way: str, **environment: str) -> int:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, way], capture_output=True, text=True, check=True, env=plain | environment
    )
    return int(done.stdout)


@pytest.fixture(scope="module")
def anew() -> int:
    """Page faults where nothing is kept."""
    faults = page_faults("leave") if GLIBC else 0
    if faults < MANY:
        pytest.skip("not glibc, or its pages are too large to be counted")
    return faults


def test_memory_is_not_fetched_anew(anew: int) -> None:
    assert page_faults("keep") < anew / 20


def test_settings_of_the_user_stand(anew: int) -> None:
    """With a threshold of 1 MB every large array is fetched anew, as the user asked."""
    assert page_faults("keep", MALLOC_MMAP_THRESHOLD_="1000000") > anew / 2
