"""A folder of clips that is its own suite: the prompt of ``ID.mp4`` stands beside it in ``ID.txt``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from javisbench.errors import UsageError
from javisbench.media.source import GIVEN_SUFFIXES, VIDEO_SUFFIXES
from javisbench.suite_rows import MAX_ROWS, MAX_SUITE_BYTES, Rows, read_text
from javisbench.system_faults import raise_if_system
from javisbench.tasks import Condition
from javisbench.text import printable

MAX_PROMPT_BYTES = 2**16
REPEAT_NAME = re.compile(r"(.+)-(\d+)")
"""File stem of a further clip of the same prompt: ``ID-1``, ``ID-2``."""


def videos_in(folder: Path) -> list[Path]:
    """The clips of a folder, by name.

    Raises:
        UsageError: the folder cannot be listed.
    """
    return _files_in(folder, VIDEO_SUFFIXES)


def sounds_in(folder: Path) -> list[Path]:
    """The sounds of a folder, by name: of files that are called alike the sound file first, then a video with sound.

    Raises:
        UsageError: the folder cannot be listed.
    """
    return _by_suffix(folder, GIVEN_SUFFIXES["audio"])


def _by_suffix(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files by stem; of those that are called alike the one first whose suffix comes first."""
    return sorted(_files_in(folder, suffixes), key=lambda p: (p.stem, suffixes.index(p.suffix.lower())))


def _files_in(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    # Everything with such a suffix counts, folders and broken links too: they are bad clips, not absent ones.
    found = (path for path in _listed(folder) if path.suffix.lower() in suffixes)
    # Of a.mp4 and a.MP4 the first is the sample's.
    return sorted(found, key=lambda p: (p.stem + p.suffix.lower(), p.suffix != p.suffix.lower(), p.name))


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise_if_system(error, folder)
        raise UsageError(f"{folder} cannot be listed ({error.strerror}).") from error


def holds_prompts(folder: Path) -> bool:
    """Whether any clip of the folder has its prompt in a text file beside it."""
    prompts = _prompts(folder)
    return any(_sample_of(path.stem, prompts) in prompts for path in videos_in(folder))


def read_folder(folder: Path, *, allow_outside: bool, condition: Condition | None = None) -> Rows:
    """One row a clip, by name: its ``id``, and as ``text`` what its ``ID.txt`` holds, without the blanks around it.

    A clip without such a file is a row without a prompt; ``ID-1.mp4`` is a further clip of ``ID`` when there is a
    prompt for that and none for itself. A text file may be as large as a prompt, and no link out of the folder.

    Args:
        folder: holds the clips.
        allow_outside: accept text files that are links out of the folder.
        condition: the column of what a suite gives: then the files are no clips but that, each a row of its own.
    """
    found = Rows(folder.resolve().name or str(folder.resolve()), columns=["id", "text"], places=[], needs_text=False)
    assert found.places is not None
    prompts = _prompts(folder)
    given: dict[str, str] = {}
    if condition is None:
        ids = sorted({_sample_of(path.stem, prompts) for path in videos_in(folder)})
    else:
        found.columns.append(condition)
        for path in _by_suffix(folder, GIVEN_SUFFIXES[condition]):
            given.setdefault(path.stem, path.name)
        ids = sorted(given)
    if len(ids) > MAX_ROWS:
        found.problem(None, "", f"more than {MAX_ROWS:,} clips")
        return found
    left = MAX_SUITE_BYTES
    for id_ in ids:
        paths = prompts.pop(id_, [])
        found.places.append((paths[0].name if paths else id_, 0))
        found.rows.append({"id": id_} if condition is None else {"id": id_, condition: given[id_]})
        if paths:
            text = _prompt(paths, folder, found, allow_outside=allow_outside)
            found.rows[-1]["text"] = text
            left -= len(text)
        if left < 0:
            found.problem(None, "", f"prompts larger than {MAX_SUITE_BYTES >> 20} MiB in all")
            break
    found.warnings += _remarks(sum("text" not in row for row in found.rows), len(ids), sorted(prompts))
    return found


def _prompts(folder: Path) -> dict[str, list[Path]]:
    """Stem to the text files of that name."""
    found: dict[str, list[Path]] = {}
    for path in _listed(folder):
        if path.suffix.lower() == ".txt":
            found.setdefault(path.stem, []).append(path)
    return found


def _sample_of(stem: str, prompts: Iterable[str]) -> str:
    """The id of the sample that a clip belongs to."""
    repeat = REPEAT_NAME.fullmatch(stem)
    return repeat[1] if repeat and stem not in prompts and repeat[1] in prompts else stem


def _prompt(paths: list[Path], folder: Path, found: Rows, *, allow_outside: bool) -> str:
    """The prompt, or a blank one where something is wrong with its file."""
    index = len(found.rows) - 1
    try:
        if len(paths) > 1:
            raise ValueError(f"{paths[1].name} is there too; keep one of them")
        if not allow_outside and not paths[0].resolve().is_relative_to(folder.resolve()):
            raise ValueError("a link out of the folder; allow it with --allow-outside")
        text = read_text(paths[0], MAX_PROMPT_BYTES).strip()
        if not text:
            raise ValueError("empty; write the clip's prompt into it, or remove it")
    except (OSError, RuntimeError, ValueError) as error:
        raise_if_system(error, paths[0])
        found.problem(index, "", str(error))
        return ""
    return text


def _remarks(without: int, clips: int, leftover: list[str]) -> list[str]:
    remarks = []
    if without:
        remarks.append(f"{without:,} of {clips:,} clips have no prompt (ID.txt): they have no text metrics")
    if leftover:
        more = f" and {len(leftover) - 5} more" if len(leftover) > 5 else ""
        names = ", ".join(printable(f"{stem}.txt") for stem in leftover[:5])
        remarks.append(f"text files without a clip, not used: {names}{more}")
    return remarks
