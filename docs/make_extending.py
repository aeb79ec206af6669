"""Put the files that docs/extending.md shows into it, as they are: python docs/make_extending.py"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "extending.md"
_BLOCK = re.compile(r"(<!-- (examples/[\w./-]+) -->\n```(\w*)\n).*?(^```$)", re.DOTALL | re.MULTILINE)


def with_files(text: str) -> str:
    """The page with each block behind a comment ``<!-- examples/... -->`` holding that file."""
    return _BLOCK.sub(lambda found: found[1] + (ROOT / found[2]).read_text(encoding="utf-8") + found[4], text)


def shown(text: str) -> list[str]:
    """The files that the page shows."""
    return [found[1] for found in _BLOCK.findall(text)]


if __name__ == "__main__":
    PAGE.write_text(with_files(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
