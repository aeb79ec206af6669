"""Weights in several files: each is fetched, checked and compared by itself."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from javisbench.errors import MissingWeightsError, WeightsError
from javisbench.weights import WeightsEntry, WeightsFile, WeightStore
from javisbench.weights import fetch as fetching
from javisbench.weights.fetch import Verdict, fetch, verify


@pytest.fixture
def folder_entry(store: WeightStore) -> WeightsEntry:
    """Weights `w` in several files: two of known hash, one of which is another form, one of unknown hash."""
    files = (known_file("model.safetensors", b"official"), WeightsFile("config.json"))
    made = WeightsEntry(
        "w",
        "Weights W",
        "owner/w",
        files,
        ("w",),
        "MIT",
        revision="c" * 40,
        accepted=(known_file("model.bin", b"same"),),
    )
    store._entries["w"] = made
    return made


def known_file(path: str, content: bytes) -> WeightsFile:
    return WeightsFile(path, len(content), hashlib.sha256(content).hexdigest())


def write(folder: Path, **content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the hub has under each path, for downloads of folders."""
    content: dict[str, bytes] = {}

    def snapshot(repo: str, *, revision: str | None, allow_patterns: list[str], local_dir: Path) -> None:
        assert (repo, revision) == ("owner/w", "c" * 40)
        assert allow_patterns == ["model.safetensors", "config.json"]
        for name, data in content.items():
            write(local_dir / ".cache", metadata=str(time.time()).encode())
            (local_dir / name).write_bytes(data)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    monkeypatch.setattr("javisbench.hub.hub_reachable", lambda: True)
    return content


def test_a_folders_files_are_checked_one_by_one(
    store: WeightStore, folder_entry: WeightsEntry, hub: dict[str, bytes]
) -> None:
    hub.update({"model.safetensors": b"official", "config.json": b"{}"})
    path = fetch(store, folder_entry, accept_licence=True)
    assert sorted(Path(name).name for name in verify(store, folder_entry).good) == ["config.json", "model.safetensors"]
    first = store.locate("w")
    assert first.official is True and not first.difference
    fetch(store, folder_entry, accept_licence=True)
    assert store.locate("w").sha256 == first.sha256, "the hub's notes on its downloads do not count"
    hub["config.json"] = b"{} "
    with pytest.raises(WeightsError, match=r"config.json from owner/w has SHA-256.*It was removed"):
        fetch(store, folder_entry, accept_licence=True)
    with pytest.raises(MissingWeightsError):
        store.find("w")
    write(path, config_json=b"[]")
    (problem,) = verify(store, folder_entry).problems
    assert "config.json" in problem and "expected" in problem


def test_a_folder_that_the_hub_has_but_in_part_is_an_error(
    store: WeightStore, folder_entry: WeightsEntry, hub: dict[str, bytes]
) -> None:
    hub["config.json"] = b"{}"
    with pytest.raises(WeightsError, match=r"owner/w at c+ has no model.safetensors"):
        fetch(store, folder_entry, accept_licence=True)
    with pytest.raises(MissingWeightsError):
        store.find("w")


@pytest.mark.parametrize(
    ("content", "difference", "problem"),
    [
        ({"model_safetensors": b"official"}, "", "config.json is missing"),
        ({"model_bin": b"same", "notes_md": b"mine"}, "", None),
        ({"model_bin": b"same", "model_safetensors": b"official", "config_json": b"{}"}, "", None),
        ({"model_safetensors": b"my own!!"}, "the SHA-256 of model.safetensors is", "expected"),
        ({"model_safetensors": b"official", "model_bin": b"mine"}, "the SHA-256 of model.bin is", "expected"),
        ({"weights_pt": b"official"}, "it holds none of model.safetensors, model.bin", "model.safetensors is missing"),
    ],
)
def test_local_folders_are_compared_with_what_is_known(
    store: WeightStore,
    folder_entry: WeightsEntry,
    tmp_path: Path,
    content: dict[str, bytes],
    difference: str,
    problem: str | None,
) -> None:
    write(tmp_path / "mine/w", **content)
    store.dirs = (tmp_path / "mine",)
    found = store.locate("w")
    assert found.official is (not difference)
    assert found.difference.startswith(difference) and bool(found.difference) == bool(difference)
    told = verify(store, folder_entry).problems
    assert (not told) if problem is None else any(problem in line for line in told), told


def test_parts_of_a_repository_are_compared_by_their_path_in_it(store: WeightStore, tmp_path: Path) -> None:
    part = write(tmp_path / "mine/repo/vae", model_safetensors=b"official", more_json=b"{}")
    files = (known_file("vae/model.safetensors", b"official"), WeightsFile("vae/*.json"))
    made = WeightsEntry("w", "Weights W", "owner/repo", files, ("repo/vae",), "MIT")
    store._entries["w"], store.dirs = made, (tmp_path / "mine",)
    assert store.locate("w").official is True
    verdict = verify(store, made)
    assert verdict.good == (str(part / "model.safetensors"),)
    assert len(verdict.unknown) == 1 and "more.json" in verdict.unknown[0]
    write(part, model_safetensors=b"my own!!")
    assert store.locate("w").official is False


def test_a_folder_around_the_one_file_is_that_file(store: WeightStore, tmp_path: Path) -> None:
    made = WeightsEntry("w", "Weights W", "owner/w", (known_file("w.pt", b"official"),), ("w",), "MIT")
    store._entries["w"], store.dirs = made, (tmp_path / "mine",)
    folder = write(tmp_path / "mine/w", w_pt=b"official", other_pt=b"not read")
    found = store.locate("w")
    assert (found.path, found.official, found.sha256) == (folder / "w.pt", True, made.files[0].sha256)
    assert verify(store, made) == Verdict(good=(str(folder / "w.pt"),))


@pytest.fixture
def loose(store: WeightStore) -> WeightsEntry:
    """Weights `w` in two files at one address, which no repository holds together."""
    files = (known_file("one.model", b"first"), known_file("two.pth", b"second"))
    made = WeightsEntry("w", "Weights W", "https://example.org/data", files, ("w",), "MIT")
    store._entries["w"] = made
    return made


@pytest.mark.usefixtures("loose")
def test_files_without_a_repository_may_lie_among_others(store: WeightStore, tmp_path: Path) -> None:
    """By themselves or in a folder of the entry's name; what lies beside them is not theirs."""
    store.dirs = (tmp_path / "mine",)
    (tmp_path / "mine/w").mkdir(parents=True)
    (tmp_path / "mine/one.model").write_bytes(b"first")
    with pytest.raises(MissingWeightsError, match=r"put one\.model and two\.pth into a folder") as caught:
        store.locate("w")
    assert "javisbench weights fetch w" in caught.value.message
    (tmp_path / "mine/two.pth").write_bytes(b"second")
    found = store.locate("w")
    assert found.path == tmp_path / "mine" and found.official is True
    assert len(verify(store, store.entry("w")).good) == 2
    (tmp_path / "mine/another.pth").write_bytes(b"of somebody else")
    assert store.locate("w").sha256 == found.sha256
    (tmp_path / "mine/two.pth").write_bytes(b"other")
    changed = store.locate("w")
    assert changed.official is False and changed.sha256 != found.sha256 and "two.pth" in changed.difference
    for name, content in (("one.model", b"first"), ("two.pth", b"second")):
        (tmp_path / "mine/w" / name).write_bytes(content)
    assert store.locate("w").path == tmp_path / "mine/w" and store.locate("w").sha256 == found.sha256


def test_files_without_a_repository_are_fetched_one_by_one(
    store: WeightStore, loose: WeightsEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = {"https://example.org/data/one.model": b"first", "https://example.org/data/two.pth": b"tampered"}
    monkeypatch.setattr(fetching, "download", lambda remote, part, report: part.write_bytes(served[remote.url]))
    with pytest.raises(WeightsError, match=r"two\.pth .* has SHA-256"):
        fetch(store, loose, accept_licence=True)
    with pytest.raises(MissingWeightsError):
        store.find("w")
    served["https://example.org/data/two.pth"] = b"second"
    folder = fetch(store, loose, accept_licence=True)
    assert {path.name: path.read_bytes() for path in folder.glob("*.[mp]*")} == {
        "one.model": b"first",
        "two.pth": b"second",
    }
    assert store.locate("w").official is True
