"""The VGGSound test set for video to sound: a list of clips, and the videos beside it.

Lists: ``vgg-test.tsv`` (id and label; 15,221 rows) as hkchengrex/MMAudio has it in ``sets`` at 974010a; the official
``vggsound.csv`` (id, start second, label, split, without a header), of which 15,446 test rows are quoted. Videos are
``ID_SSSSSS.mp4``: the video's eleven characters and the start second in six digits.
"""

from __future__ import annotations

import csv
import io
import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from javisbench.media.source import SIDECAR_SUFFIXES, VIDEO_SUFFIXES
from javisbench.suite_layouts.base import Item, Reading, SuiteLayout
from javisbench.suite_rows import MAX_ROWS, Problem, Rows

_CLIP = re.compile(r"[A-Za-z0-9_-]{11}_\d{6}", re.ASCII)
_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}", re.ASCII)
_VIDEO_FOLDERS = ("video", "videos", "test", ".")
_SOUND_FOLDERS = ("audio", "audios", "sound")


@dataclass(frozen=True)
class Listed:
    """A line of a list.

    Attributes:
        row: in the list, from 1.
        clip: stem of the video.
        label: what is heard.
    """

    row: int
    clip: str
    label: str


class VGGSound(SuiteLayout):
    """The test set by one of its lists."""

    files: tuple[str, ...]

    @abstractmethod
    def lines(self, reading: Reading, file: str, records: Iterator[list[str]]) -> Iterator[Listed]:
        """The clips of the list; lines that are none are noted."""

    def read(self, folder: Path, *, allow_outside: bool) -> Rows:
        """One row a listed clip whose video is there.

        Columns: ``text`` and ``audio_text`` (the label), ``label``, ``video``, and as the real clip ``path`` (the same
        video) and ``audio_path`` (a sound file of its name in ``audio``, if any).
        """
        reading = Reading(folder, allow_outside)
        reading.rows.columns = ["id", "text", "audio_text", "video", "path", "audio_path"]
        file = reading.first_of(*self.files)
        text = None if file is None else reading.text_of(file)
        if file is None:
            reading.refuse("", f"holds no {' or '.join(self.files)}: put the list there, and the videos into video/")
        if file is None or text is None:
            return reading.rows
        videos = _by_stem(folder, _VIDEO_FOLDERS, VIDEO_SUFFIXES)
        sounds = _by_stem(folder, _SOUND_FOLDERS, SIDECAR_SUFFIXES)
        missing: list[str] = []
        listed = 0
        for line in self.lines(reading, file, _records(reading, file, text)):
            listed += 1
            if line.clip in videos:
                _add(reading, file, line, videos[line.clip], sounds.get(line.clip))
            else:
                missing.append(line.clip)
        if missing:
            reading.rows.warnings.append(
                f"{len(missing):,} of the {listed:,} listed videos are not there, such as {missing[0]}.mp4, and are "
                f"left out: n is {listed - len(missing):,}"
            )
            if len(missing) == listed:
                told = ", ".join(f"{name}/" for name in _VIDEO_FOLDERS[:-1])
                reading.refuse("", f"none of the listed videos (ID_SSSSSS.mp4) is in {told} or beside the list")
        return reading.rows


class MMAudioList(VGGSound):
    """``vgg-test.tsv``: id, label."""

    files = ("vgg-test.tsv", "sets/vgg-test.tsv")

    def lines(self, reading: Reading, file: str, records: Iterator[list[str]]) -> Iterator[Listed]:
        """The rows under the header, if there is one."""
        row = 0
        for place, record in enumerate(records):
            if place == 0 and record[0].strip().lower() == "id":
                continue
            row += 1
            clip, label = record[0].strip(), "".join(record[1:2]).strip()
            if not label:
                reading.rows.problems.append(Problem(file, row, "label", "missing"))
            elif not _CLIP.fullmatch(clip):
                reading.rows.problems.append(Problem(file, row, "id", f"{clip[:40]!r} is no clip (ID_SSSSSS)"))
            else:
                yield Listed(row, clip, label)


class OfficialList(VGGSound):
    """``vggsound.csv``: id, start second, label, split; rows of the split ``test`` count."""

    files = ("vggsound.csv",)

    def lines(self, reading: Reading, file: str, records: Iterator[list[str]]) -> Iterator[Listed]:
        """The rows of the split ``test``."""
        for row, record in enumerate(records, start=1):
            if len(record) != 4 or record[3].strip() not in ("train", "test"):
                reading.rows.problems.append(Problem(file, row, "", "is not id, start second, label, train or test"))
                continue
            video, start, label = (cell.strip() for cell in record[:3])
            if record[3].strip() == "train":
                continue
            number = int(start) if start.isascii() and start.isdigit() and len(start) <= 6 else None
            if number is None or not _VIDEO_ID.fullmatch(video) or not label:
                reading.rows.problems.append(Problem(file, row, "id", f"{video[:40]!r}, {start[:20]!r} is no clip"))
            else:
                yield Listed(row, f"{video}_{number:06d}", label)


def _records(reading: Reading, file: str, text: str) -> Iterator[list[str]]:
    """The lines of a list that hold something."""
    table = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if file.endswith(".tsv") else ",", strict=True)
    try:
        for number, record in enumerate(record for record in table if record):
            if number == MAX_ROWS:
                reading.refuse(file, f"more than {MAX_ROWS:,} rows")
                return
            yield record
    except csv.Error as error:
        reading.refuse(file, f"not readable as a table: line {table.line_num}: {error}")


def _by_stem(folder: Path, inside: tuple[str, ...], suffixes: tuple[str, ...]) -> dict[str, str]:
    """Stem to the file with one of the suffixes, as a path from the folder; the first of these folders wins."""
    found: dict[str, str] = {}
    for name in inside:
        place = folder / name
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.suffix.lower() in suffixes:
                found.setdefault(path.stem, path.name if name == "." else f"{name}/{path.name}")
    return found


def _add(reading: Reading, file: str, line: Listed, video: str, sound: str | None) -> None:
    cells = {
        # Ids begin with a letter or digit; those of videos need not.
        "id": line.clip if line.clip[0].isalnum() else f"v{line.clip}",
        "text": line.label,
        "audio_text": line.label,
        "label": line.label,
        "video": video,
        "path": video,
        "audio_path": sound,
    }
    reading.add(Item(reading.rows, file, line.row, cells), cells, [line.clip])


MMAUDIO_LIST = MMAudioList()
OFFICIAL_LIST = OfficialList()
