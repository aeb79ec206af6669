"""The prompt tokenizer."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.metrics.encoders.preprocessing.clip_tokenizer import CONTEXT, END, START, clip_tokenizer

LONG = "a very long sentence about nothing " * 20


def encode(text: str, *, keep_end: bool = False) -> list[int]:
    return clip_tokenizer().encode(text, keep_end=keep_end)


def test_reference_prompts(golden_json: Callable[[str], Any]) -> None:
    for prompt, clip in zip(golden_json("prompts"), golden_json("imagebind")["clips"], strict=True):
        assert [encode(prompt["text"]), encode(prompt["audio_text"])] == clip["text_tokens"]
    for prompt, clip in zip(golden_json("prompts"), golden_json("clip_score")["clips"], strict=True):
        assert encode(prompt["text"], keep_end=True) == clip["tokens"]


def test_merges_are_those_of_clip() -> None:
    folder = files("javisbench").joinpath("data_cards", "tokenizer")
    merges = gzip.decompress(folder.joinpath("clip_bpe_merges.txt.gz").read_bytes())
    assert len(merges.splitlines()) == 48894
    # Lines 1 to 48,894 of the file that CLIP ships (its own hash stands in the notice).
    assert hashlib.sha256(merges).hexdigest() == "d308b7377a8ceaa9707a21614fe8c831b9196e197b7aeb69833359362907af02"
    assert "Copyright (c) 2021 OpenAI" in folder.joinpath("NOTICE.txt").read_text(encoding="utf-8")


def test_end_of_long_prompts() -> None:
    cut, kept = encode(LONG), encode(LONG, keep_end=True)
    assert END not in cut and len(cut) == CONTEXT
    assert kept[-1] == END and kept[:-1] == cut[:-1]
    assert max(range(CONTEXT), key=cut.__getitem__) == 0  # the pooled position is then the start token


@pytest.mark.parametrize("words", [74, 75, 76])
def test_the_limit_is_75_tokens(words: int) -> None:
    assert (END in encode("dog " * words)) == (words <= 75)
    assert encode("dog " * words, keep_end=True)[min(words, 75) + 1] == END


def test_cleaning() -> None:
    plain = encode("a dog & a cat")
    assert encode("  A  Dog &amp;amp; a\n\tcat ") == plain
    assert encode("caf\u00c3\u00a9") == encode("café")  # mended by ftfy
    assert encode("") == [START, END] + [0] * (CONTEXT - 2)


def test_numbers_contractions_and_markers() -> None:
    one, two = clip_tokenizer().tokens("1 2"), clip_tokenizer().tokens("12")
    assert one == two and len(one) == 2
    assert clip_tokenizer().tokens("they're") == clip_tokenizer().tokens("they 're")
    assert clip_tokenizer().tokens("<|endoftext|> x")[0] == END


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200), st.booleans())
def test_any_text_becomes_77_ids(text: str, keep_end: bool) -> None:
    ids = encode(text, keep_end=keep_end)
    assert len(ids) == CONTEXT and ids[0] == START
    assert all(0 <= token <= END for token in ids)


def test_lone_surrogates_are_unknown_characters() -> None:
    assert encode("a \ud800 b") == encode("a \ufffd b")


@pytest.fixture(scope="module")
def transformers_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tokenizer of transformers, built from the same merges without a download."""
    transformers = pytest.importorskip("transformers")
    packed = files("javisbench").joinpath("data_cards", "tokenizer", "clip_bpe_merges.txt.gz").read_bytes()
    merges = gzip.decompress(packed).decode().splitlines()
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in plain] + [chr(256 + n) for n in range(256 - len(plain))]
    symbols = [*letters, *(c + "</w>" for c in letters), *(merge.replace(" ", "") for merge in merges)]
    symbols += ["<|startoftext|>", "<|endoftext|>"]
    folder: Path = tmp_path_factory.mktemp("clip")
    (folder / "vocab.json").write_text(json.dumps({s: n for n, s in enumerate(symbols)}), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]), encoding="utf-8")
    return transformers.CLIPTokenizer.from_pretrained(folder)


PROMPTS = [
    "A dog barks, while rain falls on the roof.",
    "don't they're we've I'll he'd it's 1234 #42 !!! ... (x)",
    "naïve café – “quoted” ½ 你好 ребята 🎵🎶",
    "ANTIDISESTABLISHMENTARIANISM supercalifragilisticexpialidocious",
    "a_b-c/d e=f@g.h 3.14 10,000",
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_equals_transformers(transformers_tokenizer: Any, prompt: str) -> None:
    prompt = prompt.replace("“", '"').replace("”", '"')  # ftfy straightens quotes, transformers does not
    assert [START, *clip_tokenizer().tokens(prompt), END] == transformers_tokenizer(prompt)["input_ids"]


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80))
def test_equals_transformers_on_ascii(transformers_tokenizer: Any, text: str) -> None:
    text = text.replace("&", "+")  # HTML entities are ours alone to resolve
    assert [START, *clip_tokenizer().tokens(text), END] == transformers_tokenizer(text)["input_ids"]
