"""Hashes of large files: kept between processes, and never those of another content."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from javisbench.weights import hashes
from javisbench.weights.hashes import HashCache


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as large and as settled."""
    monkeypatch.setattr(hashes, "LARGE_BYTES", 8)
    monkeypatch.setattr(hashes, "_SETTLED_S", -1.0)
    path = tmp_path / "weights.bin"
    path.write_bytes(b"0123456789")
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were really read."""
    read: list[Path] = []
    true = hashes.file_sha256

    def counted(file: Path) -> str:
        read.append(file)
        return true(file)

    monkeypatch.setattr(hashes, "file_sha256", counted)
    return read


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_another_process_does_not_read_again(large: Path, reads: list[Path], tmp_path: Path) -> None:
    store = tmp_path / "cache/hashes.json"
    assert not HashCache(store).knows(large)
    for _ in range(3):
        assert HashCache(store).sha256(large) == sha(b"0123456789")
    assert len(reads) == 1
    assert HashCache(store).knows(large)


def test_equal_size_and_time_do_not_hide_another_content(large: Path, reads: list[Path], tmp_path: Path) -> None:
    store = tmp_path / "hashes.json"
    HashCache(store).sha256(large)
    before = large.stat()
    # In place, and by another file under the same name; the times of the content are set back both times.
    large.write_bytes(b"9876543210")
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert HashCache(store).sha256(large) == sha(b"9876543210")
    other = tmp_path / "other"
    other.write_bytes(b"abcdefghij")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(large)
    assert HashCache(store).sha256(large) == sha(b"abcdefghij")
    assert len(reads) == 3


def test_one_object_sees_changes_too(large: Path, tmp_path: Path) -> None:
    cache = HashCache(tmp_path / "hashes.json")
    assert cache.sha256(large) == sha(b"0123456789")
    large.write_bytes(b"changed")
    assert cache.sha256(large) == sha(b"changed")


def test_fresh_and_small_files_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, file = tmp_path / "hashes.json", tmp_path / "weights.bin"
    file.write_bytes(b"0123456789")
    HashCache(store).sha256(file)
    assert not store.exists()
    monkeypatch.setattr(hashes, "LARGE_BYTES", 8)
    monkeypatch.setattr(hashes, "_SETTLED_S", 1000.0)
    HashCache(store).sha256(file)
    assert not store.exists()
    monkeypatch.setattr(hashes, "_SETTLED_S", -1.0)
    HashCache(store).sha256(file)
    assert store.exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"x": 3}', '{"x": ["a", 1, 2, 3, "s"]}', '{"x": []}'])
def test_a_damaged_cache_costs_time_alone(text: str, large: Path, tmp_path: Path) -> None:
    store = tmp_path / "hashes.json"
    store.write_text(text)
    assert HashCache(store).sha256(large) == sha(b"0123456789")
    assert HashCache(store).knows(large)


def test_a_cache_that_cannot_be_written_costs_time_alone(large: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert HashCache(tmp_path / "file/hashes.json").sha256(large) == sha(b"0123456789")


def test_files_that_are_gone_are_forgotten(large: Path, tmp_path: Path) -> None:
    store, second = tmp_path / "hashes.json", tmp_path / "second.bin"
    HashCache(store).sha256(large)
    large.unlink()
    second.write_bytes(b"0123456789abc")
    HashCache(store).sha256(second)
    assert large.name not in store.read_text()


def test_times_are_read_before_the_file(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes while it is read is read again the next time."""
    true = hashes.file_sha256

    def changing(file: Path) -> str:
        digest = true(file)
        time.sleep(0.02)
        file.write_bytes(b"later, and longer")
        return digest

    store = tmp_path / "hashes.json"
    monkeypatch.setattr(hashes, "file_sha256", changing)
    HashCache(store).sha256(large)
    monkeypatch.setattr(hashes, "file_sha256", true)
    assert HashCache(store).sha256(large) == sha(b"later, and longer")
