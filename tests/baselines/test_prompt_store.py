"""Encoded prompts: each once, whatever was stored before, and never a damaged one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from javisbench.baselines.prompt_store import PromptStore

TEXTS = [f"prompt {number}" for number in range(70)]


def encoded(text: str) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(len(text) + ord(text[-1]))
    return {"states": torch.randn(3, 4, generator=draw).bfloat16(), "truncated": torch.tensor(len(text))}


class Encoder:
    """Counts how often it was loaded, and remembers what it read; may die after some texts."""

    def __init__(self, dies_after: int = 10**9) -> None:
        self.loads, self.read, self.dies_after = 0, [], dies_after

    def __call__(self):
        self.loads += 1
        return self.encode

    def encode(self, text: str) -> dict[str, torch.Tensor]:
        if len(self.read) == self.dies_after:
            raise KeyboardInterrupt
        self.read.append(text)
        return encoded(text)


def same(store: PromptStore, text: str) -> bool:
    found = store.read(text)
    expected = encoded(text)
    return (
        found is not None
        and found.keys() == expected.keys()
        and all(
            torch.equal(found[name], expected[name]) and found[name].dtype == expected[name].dtype for name in expected
        )
    )


@pytest.fixture(params=["folder", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "prompts" if request.param == "folder" else None


def test_each_text_is_encoded_once_and_comes_back_as_it_was(folder: Path | None) -> None:
    store, encoder = PromptStore(folder, {"encoder": 1}), Encoder()
    assert store.fill([*TEXTS, *TEXTS], encoder) == 70
    assert store.fill(reversed(TEXTS), encoder) == 0
    assert (encoder.loads, encoder.read) == (1, TEXTS)
    assert all(same(store, text) for text in TEXTS)
    assert store.read("another") is None
    assert store.lacking(["another", TEXTS[0], "another"]) == ["another"]


def test_after_a_kill_only_the_rest_is_encoded(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        PromptStore(tmp_path, "T5").fill(TEXTS, Encoder(dies_after=68))
    store, encoder = PromptStore(tmp_path, "T5"), Encoder()
    store.fill(TEXTS, encoder)
    assert encoder.read == TEXTS[64:]
    assert all(same(store, text) for text in TEXTS)


def test_another_encoder_does_not_see_these(tmp_path: Path) -> None:
    PromptStore(tmp_path, {"files": ["a"]}).fill(TEXTS[:2], Encoder())
    assert PromptStore(tmp_path, {"files": ["b"]}).lacking(TEXTS[:2]) == TEXTS[:2]
    assert PromptStore(tmp_path, {"files": ["a"]}).lacking(TEXTS[:2]) == []


@pytest.mark.parametrize("damage", ["cut", "flipped", "no tensors"])
def test_a_damaged_file_is_encoded_again(tmp_path: Path, damage: str) -> None:
    PromptStore(tmp_path, 0).fill(TEXTS[:2], Encoder())
    [file] = tmp_path.glob("*.safetensors")
    data = bytearray(file.read_bytes())
    if damage == "flipped":
        data[-1] ^= 1
    file.write_bytes(data[: len(data) // 2] if damage == "cut" else b"{}" if damage == "no tensors" else data)
    store, encoder = PromptStore(tmp_path, 0), Encoder()
    for text in TEXTS[:2]:
        if store.read(text) is None:
            store.fill([text], encoder)
    assert len(encoder.read) == (1 if damage == "flipped" else 2)
    assert all(same(store, text) for text in TEXTS[:2])
    later = PromptStore(tmp_path, 0)
    assert all(same(later, text) for text in TEXTS[:2])


def test_memory_is_bounded() -> None:
    store = PromptStore(None, 0)
    for number in range(1100):
        store.write({str(number): {"a": torch.zeros(1)}})
    assert len(store.lacking(map(str, range(1100)))) >= 76
    assert store.lacking(["1099"]) == []
