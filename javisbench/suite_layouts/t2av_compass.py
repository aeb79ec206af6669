"""T2AV-Compass: 500 prompts in one JSON file, with a taxonomy and a checklist for judges.

Layout: NJU-LINK/T2AV-Compass at b726966, ``Data/prompts.json``; clip names are those that its objective part takes.
"""

from __future__ import annotations

import json
from pathlib import Path

from javisbench.suite_layouts.base import Item, Reading, SuiteLayout, numbered, transcript_of
from javisbench.suite_rows import Rows

FILES = ("Data/prompts.json", "prompts.json")
TAXONOMY_TEXTS = (
    "source",
    "subject_matter",
    "visual_spatial_composition",
    "visual_temporal_composition",
    "audio_spatial_composition",
    "audio_temporal_composition",
)
TAXONOMY_LISTS = ("core_subject", "event_scenario", "sound_type", "camera_movement")


class T2AVCompass(SuiteLayout):
    """The suite."""

    slices = (*TAXONOMY_TEXTS, *TAXONOMY_LISTS)

    def read(self, folder: Path, *, allow_outside: bool) -> Rows:
        """One row an object of the list.

        Columns: ``text``, ``video_text``, ``audio_text``, ``transcript`` (of several speakers with tags), ``language``,
        those of its taxonomy, and ``checklist_info``: the questions as JSON, group to dimension to question.
        """
        reading = Reading(folder, allow_outside)
        reading.rows.columns = ["id", "text", "video_text", "audio_text", *self.slices]
        file = reading.first_of(*FILES)
        if file is None:
            reading.refuse("", f"holds no {FILES[0]}: give the folder of the repository, or that of the file")
            return reading.rows
        for item in reading.objects_of(file):
            _add(reading, item)
        return reading.rows


def _add(reading: Reading, item: Item) -> None:
    number = item.number("index")
    if number is not None and not 1 <= number < 10**6:
        item.refuse("index", f"{number} is no number of a prompt, which are counted from 1")
    said = [(turn.text("speaker"), turn.text("text")) for turn in item.objects("speech_prompt")]
    transcript = transcript_of(said)
    cells = {
        "id": None if number is None else f"sample_{number:04d}",
        "text": item.text("prompt", needed=True),
        "video_text": item.text("video_prompt"),
        "audio_text": item.text("audio_prompt"),
        "transcript": transcript,
        "language": "en" if transcript else "",
        **{name: item.text(name) for name in TAXONOMY_TEXTS},
        **{name: item.texts(name) for name in TAXONOMY_LISTS},
        "checklist_info": _checklist(item),
    }
    names = () if number is None else numbered(number, ("sample_", "", "video_"))
    reading.add(item, cells, names)


def _checklist(item: Item) -> str:
    """The questions as JSON, without the dimensions that have none; empty where the item has none at all."""
    groups = item.object("checklist_info")
    if groups is None:
        return ""
    found = {}
    for group in groups.members:
        dimensions = groups.object(group, needed=True)
        if dimensions is None:
            continue
        questions = {name: text for name in dimensions.members if (text := dimensions.text(name))}
        if questions:
            found[group] = questions
    return json.dumps(found) if found else ""


T2AV_COMPASS = T2AVCompass()
