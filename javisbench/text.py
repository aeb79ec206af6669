"""Text that others wrote, made fit to be shown."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """`text` on one line, without control characters or the marks that reverse the direction of text."""
    bidi = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    unsafe = (unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") or unicodedata.bidirectional(c) in bidi for c in text)
    return "".join(" " if bad else c for c, bad in zip(text, unsafe, strict=True)).strip()
