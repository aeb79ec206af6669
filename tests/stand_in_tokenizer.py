"""The tokenizer of the stand-in CLAP, as tests/golden/clap_score.json describes it."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors


def byte_letters() -> dict[int, str]:
    """The letters that byte-level tokenizers write bytes as."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + place) for place, byte in enumerate(rest)}


def save_stand_in_tokenizer(path: Path) -> None:
    """As clap_score.json describes it: 0, then each of the first 120 UTF-8 bytes plus 4, then 2."""
    vocabulary = {letter: byte + 4 for byte, letter in byte_letters().items()} | {"<s>": 0, "</s>": 2}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.enable_truncation(122)
    tokenizer.save(str(path))
