"""AVGen-Bench: 235 prompts in 11 classes, one JSON file each.

Layout: microsoft/AVGen-Bench (MIT) at 1049eab, ``prompts/CLASS.json``; clips are ``CLASS/NAME.mp4``.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from javisbench.suite_layouts.base import Item, Reading, SuiteLayout, safe_ids
from javisbench.suite_rows import Rows

_NO_FILE_NAME = re.compile(r'[/\\:*?"<>|\n\r\t]')
_LONGEST_NAME = 180


class AVGenBench(SuiteLayout):
    """The suite."""

    slices = ("class", "style")

    def read(self, folder: Path, *, allow_outside: bool) -> Rows:
        """One row an object of a class's list: ``text``, ``content`` (what the clip is called after), ``class``,
        ``style`` (of trailers)."""
        reading = Reading(folder, allow_outside)
        reading.rows.columns = ["id", "text", *self.slices]
        inside = "prompts" if (folder / "prompts").is_dir() else "."
        files = [str(PurePosixPath(file)) for file in reading.listed(inside, ".json")]
        if not files:
            reading.refuse("", "holds no prompts/CLASS.json: give the folder of the repository, or its folder prompts")
        for file in files:
            _read_class(reading, file)
        return reading.rows


def _read_class(reading: Reading, file: str) -> None:
    class_ = PurePosixPath(file).stem
    items = list(reading.objects_of(file))
    contents = [item.text("content", needed=True) for item in items]
    ids = safe_ids([f"{class_}.{content.strip().lower()}" for content in contents])
    for item, content, id_ in zip(items, contents, ids, strict=True):
        _add(reading, item, class_, content, id_)


def _add(reading: Reading, item: Item, class_: str, content: str, id_: str) -> None:
    cells = {
        "id": id_,
        "text": item.text("prompt", needed=True),
        "content": content,
        "class": class_,
        "style": item.text("style"),
    }
    name = clip_name(content)
    names = (name, name.rstrip())
    reading.add(item, cells, [*(f"{class_}/{one}" for one in names), *names])


def clip_name(content: str) -> str:
    """The stem that the suite's programs give the clip of an item with this ``content``."""
    return " ".join(_NO_FILE_NAME.sub("_", content.strip()).split())[:_LONGEST_NAME]


AVGEN_BENCH = AVGenBench()
