"""Pairs of clips of which somebody has said which one is better: ``pairs.csv``, and AV-SyncBench's folder.

``pairs.csv`` has the columns ``clip_a``, ``clip_b`` (paths, relative to the file) and ``better`` (``a``, ``b`` or
``tie``), and may have ``damage``, ``dose``, ``group`` (what pairs have in common, such as a prompt), ``text`` (the
prompt) and ``audio_a``, ``audio_b`` (sounds that are not beside or inside the clips). A row that cannot be used is left
out, and said; so is one that names files outside the folder, by a path or a link, unless they are allowed, as in
suites.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from javisbench.durable import read_jsonl
from javisbench.errors import UsageError
from javisbench.media import ClipSource, sidecar_for
from javisbench.registry import did_you_mean
from javisbench.results.trial_effects import Case
from javisbench.suite_rows import read_table
from javisbench.system_faults import raise_if_system

Better: TypeAlias = Literal["a", "b", "tie"]
NEEDED = ("clip_a", "clip_b", "better")
OPTIONAL = ("damage", "dose", "group", "text", "audio_a", "audio_b")
JUDGED = "judged"
"""What pairs without a damage are called."""
AV_SYNCBENCH = "hf_temporal_challenge"
AV_SYNCBENCH_PUBLISHED = {50.0: 0.510, 100.0: 0.541, 200.0: 0.582, 300.0: 0.622, 500.0: 0.662}
"""Accuracy of Synchformer by offset in ms, 0.583 over all: published with AV-SyncBench's data, ties wrong."""


@dataclass(frozen=True)
class Judged:
    """One pair.

    Attributes:
        a: the first clip.
        b: the second.
        better: which one.
        damage: what the worse one has, or `JUDGED`.
        dose: of the damage, or None.
        group: pairs of one group are no independent ones.
        text: the prompt, or empty.
    """

    a: ClipSource
    b: ClipSource
    better: Better
    damage: str = JUDGED
    dose: float | None = None
    group: str = ""
    text: str = ""

    @property
    def case(self) -> Case:
        """What the statistics need to know; a damage of ours lends its unit."""
        from javisbench.damages import DAMAGES

        if self.dose is None or self.damage not in DAMAGES:
            return Case(self.damage, self.dose, "", abs(self.dose or 0.0), "judged")
        card = DAMAGES.get(self.damage).card
        return Case(self.damage, self.dose, card.unit, card.severity(self.dose), "judged")


@dataclass
class JudgedPairs:
    """All usable pairs of a file or folder.

    Attributes:
        kind: ``pairs`` or ``av-syncbench``.
        name: for tables.
        pairs: in the order of the file.
        left_out: row to why it was not used.
        notices: what is worth knowing.
        published: case name to an accuracy that was published for it.
    """

    kind: str
    name: str
    pairs: list[Judged] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    published: dict[str, float] = field(default_factory=dict)


def read_pairs(path: Path, *, allow_outside: bool = False) -> JudgedPairs:
    """The pairs of a ``pairs.csv``.

    Args:
        path: the file.
        allow_outside: accept files that lie outside its folder.

    Raises:
        UsageError: no such file, no table, a needed column missing, or not one usable row; rows alone are left out.
    """
    if not path.is_file():
        raise UsageError(f"There is no file of pairs at {path}.")
    table = read_table(path, NEEDED[0])
    if table.problems:
        raise UsageError(f"{path} cannot be read: {table.problems[0]}")
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        near = did_you_mean(missing[0], table.columns)
        raise UsageError(f"{path} has no column {missing[0]!r}.{near} It needs {', '.join(NEEDED)}.")
    found = JudgedPairs("pairs", path.stem)
    unknown = [name for name in table.columns if name not in (*NEEDED, *OPTIONAL)]
    if unknown:
        found.notices.append(f"{path.name}: not used: the columns {', '.join(unknown)}")
    for number, row in enumerate(table.rows, start=1):
        try:
            found.pairs.append(_pair(row, path.resolve().parent, allow_outside))
        except ValueError as reason:
            found.left_out[f"row {number}"] = str(reason)
    if not found.pairs:
        first = next(iter(found.left_out.items()), ("", "it has no rows"))
        raise UsageError(f"{path} has no pair that can be used: {' '.join(first).strip()}.")
    return found


def _pair(row: Mapping[str, Any], folder: Path, allow_outside: bool) -> Judged:
    """A row as a pair.

    Raises:
        ValueError: it is none; the message says why.
    """
    cells = {name: str(row.get(name, "") or "").strip() for name in (*NEEDED, *OPTIONAL)}
    empty = [name for name in NEEDED if not cells[name]]
    if empty:
        raise ValueError(f"{empty[0]} is empty")
    better = cells["better"].lower()
    if better not in ("a", "b", "tie"):
        raise ValueError(f"better is {cells['better']!r}; it is a, b or tie")
    a, b = (_source(folder, cells[f"clip_{side}"], cells[f"audio_{side}"], allow_outside) for side in "ab")
    if a == b:
        raise ValueError("both clips are the same")
    return Judged(
        a, b, cast(Better, better), cells["damage"] or JUDGED, _number(cells["dose"]),
        cells["group"] or cells["text"] or " ".join(sorted(_label(source) for source in (a, b))), cells["text"],
    )  # fmt: skip


def _source(folder: Path, video: str, audio: str, allow_outside: bool) -> ClipSource:
    paths = []
    for name in filter(None, (video, audio)):
        if "\0" in name:
            raise ValueError("a file's name holds a NUL character")
        paths.append(folder / name)
        try:
            # First: whether a file is there is not told of files that may not be named.
            _check_inside(folder, paths[-1], name, allow_outside)
            found = paths[-1].is_file()
        except OSError as error:  # a name that no file system takes
            raise_if_system(error, paths[-1])
            raise ValueError(f"{name[:80]!r} is no name of a file ({error.strerror})") from error
        if not found:
            raise ValueError(f"there is no file {name}")
    sound = paths[1] if audio else sidecar_for(paths[0])
    if sound is not None:
        _check_inside(folder, sound, sound.name, allow_outside)
    return ClipSource(video, paths[0], sound)


def _check_inside(folder: Path, path: Path, name: str, allow_outside: bool) -> None:
    try:
        inside = allow_outside or path.resolve().is_relative_to(folder.resolve())
    except RuntimeError as error:  # links in a circle
        raise ValueError(f"{name[:80]!r} is no name of a file ({error})") from error
    if not inside:
        raise ValueError(f"{name[:80]!r} leaves the folder; allow it with --allow-outside")


def _number(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"dose is {text!r}, which is no number")
    return value


def _label(source: ClipSource) -> str:
    return f"{source.video}|{source.audio or ''}"


def read_av_syncbench(folder: Path, limit: int | None = None, *, allow_outside: bool = False) -> JudgedPairs:
    """The pairs of AV-SyncBench as it is published: each original against its edited copy.

    A score is right where the original's is higher; a tie is wrong (`Effect.accuracy_strict`).

    Args:
        folder: ``hf_temporal_challenge``, or the folder that holds it.
        limit: only so many original videos.
        allow_outside: accept files that lie outside the folder.

    Raises:
        UsageError: no ``metadata.jsonl`` there, or not one usable row; rows alone are left out.
    """
    root = folder / AV_SYNCBENCH if (folder / AV_SYNCBENCH).is_dir() else folder
    if not (root / "metadata.jsonl").is_file():
        raise UsageError(f"{root} holds no metadata.jsonl; give AV-SyncBench's folder {AV_SYNCBENCH}.")
    found = JudgedPairs("av-syncbench", "AV-SyncBench")
    originals: dict[str, None] = {}
    for number, row in enumerate(read_jsonl(root / "metadata.jsonl"), start=1):
        name = str(row.get("sample_id") or f"line {number}")
        original = str(row.get("original_video"))
        if limit is not None and original not in originals and len(originals) >= limit:
            continue
        originals.setdefault(original)
        try:
            found.pairs.append(_edited(row, root, allow_outside))
        except ValueError as reason:
            found.left_out[name] = str(reason)
    if not found.pairs:
        first = next(iter(found.left_out.values()), "it has no rows")
        raise UsageError(f"{root / 'metadata.jsonl'} has no pair that can be used: {first}.")
    shifted = {pair.dose: pair.case for pair in found.pairs if pair.damage == "time_shifted"}
    from javisbench.results.trial import case_name

    found.published = {
        case_name(case.damage, dose): AV_SYNCBENCH_PUBLISHED[dose]
        for dose, case in shifted.items()
        if dose in AV_SYNCBENCH_PUBLISHED
    }
    return found


def _edited(row: Mapping[str, Any], root: Path, allow_outside: bool) -> Judged:
    names = ("original_video", "original_audio", "edited_video", "edited_audio")
    original, sound, video, audio = (_inside(root, row, name, allow_outside) for name in names)
    if original is None:
        raise ValueError("it names no original_video")
    if (video is None) == (audio is None):
        raise ValueError("it needs exactly one of edited_video and edited_audio")
    name = str(row.get("original_video"))
    if sound is None and (sound := sidecar_for(original)) is not None:
        _check_inside(root, sound, sound.name, allow_outside)
    # Under an edited picture the original sound stays: its own file, or the original video's track.
    edited = ClipSource(name, original, audio) if video is None else ClipSource(name, video, sound or original)
    offset = row.get("offset_ms")
    dose = abs(float(offset)) if isinstance(offset, int | float) and not isinstance(offset, bool) else None
    damage = str(row.get("edit_type") or "edited")
    return Judged(ClipSource(name, original, sound), edited, "a", damage, dose, name)


def _inside(root: Path, row: Mapping[str, Any], column: str, allow_outside: bool) -> Path | None:
    """A file of the folder that a row names; None where it names none.

    Raises:
        ValueError: it leaves the folder and may not, or is not there.
    """
    name = row.get(column)
    if name in (None, ""):
        return None
    if not isinstance(name, str) or "\0" in name:
        raise ValueError(f"{column} is {json.dumps(name)[:80]}, which is no path")
    _check_inside(root, root / name, name, allow_outside)
    if not (root / name).is_file():
        raise ValueError(f"there is no file {name}")
    return root / name


def distinct(pairs: list[Judged]) -> Iterator[tuple[ClipSource, str]]:
    """Each clip with its prompt once, in order."""
    yield from dict.fromkeys((source, pair.text) for pair in pairs for source in (pair.a, pair.b))
