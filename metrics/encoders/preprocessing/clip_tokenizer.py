"""CLIP's byte-pair prompt tokenizer, which ImageBind shares; its merges lie in ``data_cards/tokenizer``."""

from __future__ import annotations

import gzip
import html
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise

CONTEXT = 77
START, END = 49406, 49407
_WORD_END = "</w>"
_MARKERS = {"<|startoftext|>": START, "<|endoftext|>": END}
_PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


class ClipTokenizer:
    """Prompts to token ids.

    Args:
        merges: pairs of symbols separated by a space, best first.
    """

    def __init__(self, merges: Sequence[str]) -> None:
        import regex

        pairs = [(left, right) for left, right in (merge.split() for merge in merges)]
        letters = list(_byte_letters().values())
        symbols = [*letters, *(letter + _WORD_END for letter in letters), *(a + b for a, b in pairs)]
        self._ids = {symbol: index for index, symbol in enumerate(symbols)}
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self._letters = _byte_letters()
        self._pieces = regex.compile(_PIECES, regex.IGNORECASE)
        self._known: dict[str, list[int]] = {}

    def encode(self, text: str, *, keep_end: bool) -> list[int]:
        """The prompt between its start and end tokens, cut or filled with 0 to `CONTEXT` ids.

        Args:
            text: the prompt.
            keep_end: of a prompt that is too long, end with the end token at position 76, as CLIP does; False cuts it
                off with the rest, as ImageBind's tokenizer does.
        """
        ids = [START, *self.tokens(text), END]
        if len(ids) > CONTEXT:
            ids = [*ids[: CONTEXT - 1], END] if keep_end else ids[:CONTEXT]
        return ids + [0] * (CONTEXT - len(ids))

    def tokens(self, text: str) -> list[int]:
        """Ids of the prompt alone, however many."""
        return [token for piece in self._pieces.findall(_clean(text)) for token in self._piece(piece)]

    def _piece(self, piece: str) -> list[int]:
        if piece in _MARKERS:
            return [_MARKERS[piece]]
        if piece not in self._known:
            if len(self._known) >= 2**16:
                self._known.clear()
            self._known[piece] = [self._ids[symbol] for symbol in self._merge(piece)]
        return self._known[piece]

    def _merge(self, piece: str) -> list[str]:
        """Join the best-ranked pair of neighbours, everywhere in the piece, until none has a rank."""
        symbols = [self._letters[byte] for byte in piece.encode("utf-8", "replace")]
        symbols[-1] += _WORD_END
        while len(symbols) > 1:
            best = min(pairwise(symbols), key=self._rank)
            if best not in self._ranks:
                break
            symbols = _join(symbols, best)
        return symbols

    def _rank(self, pair: tuple[str, str]) -> int:
        return self._ranks.get(pair, len(self._ranks))


@lru_cache(maxsize=1)
def clip_tokenizer() -> ClipTokenizer:
    """The tokenizer with CLIP's merges, read once."""
    packed = files("javisbench").joinpath("data_cards", "tokenizer", "clip_bpe_merges.txt.gz").read_bytes()
    return ClipTokenizer(gzip.decompress(packed).decode("utf-8").splitlines())


def _clean(text: str) -> str:
    import ftfy
    import regex

    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return regex.sub(r"\s+", " ", text).strip().lower()


def _join(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    index = 0
    while index < len(symbols):
        if index + 1 < len(symbols) and (symbols[index], symbols[index + 1]) == pair:
            joined.append(symbols[index] + symbols[index + 1])
            index += 2
        else:
            joined.append(symbols[index])
            index += 1
    return joined


def _byte_letters() -> dict[int, str]:
    """A printable letter for each byte: printable ones stand for themselves, the rest follow from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + index) for index, byte in enumerate(rest)}
