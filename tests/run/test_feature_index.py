"""The index of a feature store does as a dictionary would."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.run import feature_index
from javisbench.run.feature_index import FeatureIndex

SHARDS = [Path(f"shard-{number}") for number in range(3)]
HASHES = [hashlib.blake2b(bytes([number]), digest_size=16).hexdigest() for number in range(12)]
# Equal halves, the extremes, and what is no hash of ours.
HASHES += [HASHES[0][:16] + HASHES[1][16:], HASHES[1][:16] + HASHES[0][16:], "0" * 32, "f" * 32]
KEYS = [*HASHES, "half", "A" * 32, "+" + "1" * 31, "1_" * 16, ""]

steps = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(SHARDS), st.dictionaries(st.sampled_from(KEYS), st.sampled_from([("a",), ("a", "b"), ()]))
        ),
        st.sampled_from(KEYS),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps, loose=st.sampled_from([0, 3, 100]))
def test_it_does_as_a_dictionary(steps: list[tuple[Path, dict[str, tuple[str, ...]]] | str], loose: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_index, "_LOOSE", loose)
        index = FeatureIndex()
        expected: dict[str, feature_index.Place] = {}
        for step in steps:
            if isinstance(step, str):
                index.discard(step)
                expected.pop(step, None)
            else:
                index.add(*step)
                expected |= {key: (step[0], names) for key, names in step[1].items()}
        assert sorted(index) == sorted(expected) and len(index) == len(expected)
        assert all(index.find(key) == expected.get(key) for key in KEYS)
        assert all((key in index) == (key in expected) for key in KEYS)
