"""VABench: 848 text items, 778 of which have a file name, and 521 with a first frame.

Layout: tanABCC/VABench at 0b1fe7c: lists of objects in ``json_files/json_text`` and ``json_files/json_image``, and in
``mapping/final_idx_to_prompt.csv`` (separated by tabs) the name of each prompt's clip. Prompts stand there with JSON's
escapes.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict, deque
from pathlib import Path, PurePosixPath

from javisbench.suite_layouts.base import Item, Reading, SuiteLayout, checklist_of, safe_ids
from javisbench.suite_rows import MAX_ROWS, Problem, Rows, read_table

MAPPING = "mapping/final_idx_to_prompt.csv"
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_PARTS = {False: "json_text", True: "json_image"}


class VABench(SuiteLayout):
    """One of its two parts.

    Args:
        pictures: the items with a first frame, or those with text alone.
    """

    slices = ("category", "difficulty", "dimension")

    def __init__(self, *, pictures: bool) -> None:
        self._pictures = pictures

    def read(self, folder: Path, *, allow_outside: bool) -> Rows:
        """One row an item that the mapping names.

        Columns: ``text``, ``video_text``, ``audio_text``, ``idx`` (its name in the mapping), ``category`` (the file it
        stands in), ``difficulty`` (``easy`` or ``hard`` where the file's path says so), ``dimension``,
        ``checklist`` (its questions on sound and picture as judges read them), ``image``.
        """
        reading = Reading(folder, allow_outside)
        columns = ["id", "text", "video_text", "audio_text", *self.slices]
        reading.rows.columns = [*columns, "image"] if self._pictures else columns
        inside = reading.first_of(f"json_files/{_PARTS[self._pictures]}", _PARTS[self._pictures])
        if inside is None or not (folder / MAPPING).is_file():
            lacking = MAPPING if inside else f"json_files/{_PARTS[self._pictures]}"
            reading.refuse("", f"holds no {lacking}: give the folder of the repository")
            return reading.rows
        names = _names(reading, pictures=self._pictures)
        found: list[tuple[Item, str]] = []
        unnamed = 0
        for file in _lists(reading, inside):
            for item in reading.objects_of(file):
                prompt = item.text("prompt_en", needed=True)
                if names[prompt]:
                    found.append((item, names[prompt].popleft()))
                elif prompt:
                    unnamed += 1
        pictures = _pictures_in(folder) if self._pictures else {}
        for (item, idx), id_ in zip(found, safe_ids([_stem(idx) for _, idx in found]), strict=True):
            self._add(reading, item, idx, id_, pictures)
        if unnamed:
            reading.rows.warnings.append(
                f"{unnamed} of {unnamed + len(found)} items have no name in {MAPPING} and are left out: nothing says "
                "what their clips are called"
            )
        return reading.rows

    def _add(self, reading: Reading, item: Item, idx: str, id_: str, pictures: dict[str, list[str]]) -> None:
        path = PurePosixPath(item.file)
        words = set(re.split(r"[^a-z]+", "/".join(path.parts[-2:]).lower()))
        cells = {
            "id": id_,
            "text": item.text("prompt_en"),
            "video_text": item.text("prompt_vision"),
            "audio_text": item.text("prompt_audio"),
            "idx": idx,
            "category": path.stem,
            "difficulty": next((word for word in ("easy", "hard") if word in words), ""),
            "dimension": item.texts("dimension"),
            "checklist": checklist_of(
                [
                    {"question": text, "hears": name == "auxiliary_info_audio"}
                    for name in ("auxiliary_info_audio", "auxiliary_info_vision")
                    for text in item.texts(name)
                    if text.strip()
                ]
            ),
            "image": self._picture(item, idx, pictures) if self._pictures else None,
        }
        # Their own programs take what stands before the first dot; whole names are safer where two begin alike.
        names = dict.fromkeys((idx, PurePosixPath(idx).stem if self._pictures else idx, _stem(idx)))
        reading.add(item, cells, [*(f"{path.stem}/{name}" for name in names), *names])

    @staticmethod
    def _picture(item: Item, idx: str, pictures: dict[str, list[str]]) -> str | None:
        places = pictures.get(idx, [])
        if len(places) != 1:
            told = f"stands in {places[0]} and {places[1]}; keep one of them" if places else "is missing"
            item.refuse("image", f"the first frame {idx!r} {told}")
            return None
        return places[0]


def _names(reading: Reading, *, pictures: bool) -> dict[str, deque[str]]:
    """Prompt to the names of its clips, of items with a first frame or of the others."""
    found: dict[str, deque[str]] = defaultdict(deque)
    if reading.text_of(MAPPING) is None:
        return found
    table = read_table(reading.folder / MAPPING, "prompt")
    reading.rows.problems += [Problem(MAPPING, p.row, p.column, p.reason) for p in table.problems]
    for row, cells in enumerate(table.rows, start=1):
        idx = str(cells.get("idx", "")).strip()
        if not idx:
            reading.rows.problems.append(Problem(MAPPING, row, "idx", "empty"))
        elif idx.lower().endswith(PICTURE_SUFFIXES) == pictures:
            found[_unescaped(str(cells.get("prompt", "")))].append(idx)
    return found


def _unescaped(cell: str) -> str:
    """The prompt of a cell with JSON's escapes; the cell as it is where they are none."""
    try:
        return str(json.loads(f'"{cell}"', strict=False))
    except ValueError:
        return cell


def _lists(reading: Reading, inside: str) -> list[str]:
    """The lists of a part, in its folder or folders of that."""
    folders = [inside, *reading.folders_in(inside)]
    return [file for folder in folders for file in reading.listed(folder, ".json")]


def _pictures_in(folder: Path) -> dict[str, list[str]]:
    """Name to places of every picture below the folder, as paths from it; links to folders are not followed."""
    found: dict[str, list[str]] = defaultdict(list)
    count = 0
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(PICTURE_SUFFIXES) and count < MAX_ROWS:
                found[name].append(Path(place, name).relative_to(folder).as_posix())
                count += 1
    return found


def _stem(idx: str) -> str:
    return idx.partition(".")[0].strip() or idx


WITH_PICTURES = VABench(pictures=True)
FROM_TEXT = VABench(pictures=False)
