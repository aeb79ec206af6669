"""The feature store: found again by what it was made from, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from javisbench.errors import FeatureError
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.run.features import FeatureStore, feature_key

SPEC = FeatureSpec.of("imagebind", "frames", b=1, a="x")


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    arrays = {"scalar": np.asarray(3), "none": np.zeros((0, 4), np.float32), "m": np.arange(6.0).reshape(2, 3)}
    store.put("k", arrays)
    for reader in (store, _reopened(store, tmp_path)):
        found = reader.get("k")
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype
            assert found[name].shape == array.shape


def _reopened(store: FeatureStore, folder: Path) -> FeatureStore:
    store.flush()
    return FeatureStore(folder)


def test_a_damaged_shard_costs_its_own_features_alone(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    for key in ("a", "b"):
        store.put(key, {"x": np.ones(3)})
        store.flush()
    shards = sorted(tmp_path.glob("*.safetensors"))
    shards[0].write_bytes(shards[0].read_bytes()[:20])
    again = FeatureStore(tmp_path)
    assert "a" not in again
    assert "b" in again
    again.put("a", {"x": np.zeros(3)})
    again.flush()
    assert len(sorted(tmp_path.glob("*.safetensors"))) == 3
    assert "a" in FeatureStore(tmp_path)


def test_many_items_are_written_on_the_way(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    for number in range(300):
        store.put(f"k{number}", {"x": np.asarray([number])})
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert len(store) == 300
    assert store.get("k299")["x"][0] == 299
    assert store.get("k0")["x"][0] == 0


def test_slow_encoders_lose_fifteen_seconds_at_most(tmp_path: Path) -> None:
    now = iter([0.0, 14.0, 16.0, 16.0, 20.0, 32.0, 32.0])
    store = FeatureStore(tmp_path, clock=lambda: next(now))
    stored = []
    for number in range(4):
        store.put(f"k{number}", {"x": np.asarray([number])})
        stored.append(len(FeatureStore(tmp_path)))
    assert stored == [0, 2, 2, 4]


def test_the_key_tells_apart_all_that_changes_a_number() -> None:
    base = feature_key("c", "imagebind=huge", 1, "w", SPEC)
    assert base == feature_key("c", "imagebind=huge", 1, "w", FeatureSpec.of("imagebind", "frames", a="x", b=1))
    others = {
        feature_key("d", "imagebind=huge", 1, "w", SPEC),
        feature_key("c", "imagebind=tiny", 1, "w", SPEC),
        feature_key("c", "imagebind=huge", 2, "w", SPEC),
        feature_key("c", "imagebind=huge", 1, "v", SPEC),
        feature_key("c", "imagebind=huge", 1, "w", FeatureSpec.of("imagebind", "audio", a="x", b=1)),
        feature_key("c", "imagebind=huge", 1, "w", FeatureSpec.of("imagebind", "frames", a="x", b=2)),
    }
    assert len(others | {base}) == 7


def test_text_and_audio_text_share_the_features_of_equal_prompts() -> None:
    text = FeatureSpec.of("imagebind", "text", subject="text")
    audio = FeatureSpec.of("imagebind", "text", subject="audio_text")
    assert feature_key("p", "i", 1, "", text) == feature_key("p", "i", 1, "", audio)


def test_absent_keys_raise(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        FeatureStore(tmp_path).get("nothing")


def rot(shard: Path, value: int) -> None:
    """Change one byte of the array that is filled with `value`."""
    data = bytearray(shard.read_bytes())
    at = data.rindex(bytes([value]) * 64)
    data[at + 5] ^= 0x10
    shard.write_bytes(data)


def test_arrays_that_rot_are_told_once_and_made_again(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    for value in (7, 8):
        store.put(f"k{value}", {"x": np.full((2, 40), value, np.uint8), "y": np.float32([1.5])})
    store.flush()
    (shard,) = tmp_path.glob("*.safetensors")
    rot(shard, 7)
    damaged = FeatureStore(tmp_path)
    assert "k7" in damaged
    with pytest.raises(FeatureError, match="rotted on the disk") as told:
        damaged.get("k7")
    assert told.value.kind == "rotten"
    assert "k7" not in damaged and damaged.find("k7") == {}
    again = FeatureStore(tmp_path)
    assert "k7" not in again and (again.get("k8")["x"] == 8).all()
    again.put("k7", {"x": np.full((2, 40), 7, np.uint8)})
    again.flush()
    assert (FeatureStore(tmp_path).get("k7")["x"] == 7).all()


def test_shards_of_earlier_versions_have_no_checksums_and_are_read(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"k/x": np.asarray([3])}, tmp_path / "shard-000000.safetensors")
    assert FeatureStore(tmp_path).get("k")["x"][0] == 3


@pytest.mark.parametrize(
    "array", [np.float64(2.0), np.zeros((0, 3)), np.asarray([True, False]), np.ones((2, 3))[:, ::2]]
)
def test_arrays_of_any_shape_have_a_checksum(array: Any, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.put("k", {"x": array})
    store.flush()
    np.testing.assert_array_equal(FeatureStore(tmp_path).get("k")["x"], array)


def test_any_bit_of_a_shard_that_turns_over_costs_what_it_touches_and_no_more(tmp_path: Path) -> None:
    """Also one of a name: what is left of a feature is none."""
    arrays = {"a": np.arange(3, dtype=np.float32), "b": np.asarray(1)}
    whole = FeatureStore(tmp_path)
    for key in "0", "1":
        whole.put(key * 32, arrays)
    whole.flush()
    (shard,) = tmp_path.glob("shard-*")
    data = shard.read_bytes()
    for place in range(0, len(data), 3):
        shard.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        (tmp_path / "rotten.txt").unlink(missing_ok=True)
        store = FeatureStore(tmp_path)
        for key in "0", "1":
            found = store.find(key * 32)
            assert not found or all(np.array_equal(found[name], array) for name, array in arrays.items())
