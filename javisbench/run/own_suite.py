"""The suite of clips for which the user named none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from javisbench.cards import CARDS
from javisbench.errors import UsageError
from javisbench.matching import clips_of
from javisbench.places import PlaceError, is_url, named
from javisbench.results.run_folder import read_manifest
from javisbench.suite import Suite, known_suites, load_suite, published_at
from javisbench.suite_folder import holds_prompts

DEFAULT_SUITE = "javisbench"
_INDEX_NAME = re.compile(r"sample_\d{4,}(?:-\d+)?")


def suite_of_clips(clips: Path | None, *, matched_otherwise: bool) -> str | Suite:
    """The suite of clips for which the user named none: a run's own, the folder's own (``ID.txt``), else the default.

    Args:
        clips: folder of clips, a run folder, or None for the clips that a suite names.
        matched_otherwise: whether a manifest says which clip is whose.

    Raises:
        UsageError: no folder, no clip in it, none that is named after a sample of the default suite, or the run's suite
            has changed.
        SuiteError: the run's suite cannot be had any more.
    """
    if clips is None:
        raise UsageError("Give a folder of clips, or with --suite a suite whose pred_video_path column names them.")
    if (clips / "run.json").is_file() and (clips / "clips").is_dir():
        manifest = read_manifest(clips)
        made = manifest.get("generation") or manifest.get("matching") or {}
        recorded = manifest.get("suite")
        return recorded_suite(recorded).limited(made.get("limit")) if recorded else DEFAULT_SUITE
    if matched_otherwise:
        return DEFAULT_SUITE
    videos = clips_of(clips)
    if holds_prompts(clips):
        return str(clips)
    if not any(_INDEX_NAME.fullmatch(video.stem) for video in videos):
        raise UsageError(
            f"No clip in {named(clips)} is named after a sample of {DEFAULT_SUITE} (sample_0000.mp4), so say what they "
            f"were to show: --suite FILE.csv with the columns id and text, or each clip's prompt beside it, as in "
            f"{videos[0].stem}.txt."
        )
    return DEFAULT_SUITE


def recorded_source(facts: Mapping[str, Any]) -> str:
    """Name or path by which the suite that a run's manifest names can be loaded."""
    name, source = str(facts["name"]), str(facts["source"])
    published = published_at(source)
    if published is not None and published[1].is_dir():
        return source
    # A file that is called like a known suite is meant where it is still there; the card of a packaged one tells more
    # than its file does (the setting of its clips).
    packaged = Path(source).resolve().is_relative_to(CARDS.resolve())
    return name if name in known_suites() and (packaged or not Path(source).exists()) else source


def recorded_suite(facts: Mapping[str, Any]) -> Suite:
    """The whole suite that a run's manifest names.

    Raises:
        SuiteError: it is not readable.
        UsageError: it is not where it was, seen from the current folder, or has changed since.
    """
    source = recorded_source(facts)
    try:
        suite = load_suite(source, allow_outside=True)
    except (UsageError, PlaceError) as error:
        if is_url(source) or Path(source).exists():
            raise
        raise UsageError(
            f"The suite of the run, {facts['name']} ({source}), is not there, seen from this folder. Run the command "
            f"in the folder that the run was made from, or give the suite: --suite FILE."
        ) from error
    if suite.hash != facts["hash"]:
        raise UsageError(
            f"The suite {facts['name']} ({facts['source']}) has other prompts now than when the run was made. Give the "
            f"right one with --suite."
        )
    return replace(suite, name=facts["name"], source=facts["source"])
