"""T2AV-Compass: 500 prompts in one JSON file, with a taxonomy and a checklist for judges.

Layout: NJU-LINK/T2AV-Compass at b726966, ``Data/prompts.json``; clip names are those that its objective part takes.
"""

from __future__ import annotations

from pathlib import Path

from javisbench.suite_layouts.base import Item, Reading, SuiteLayout, checklist_of, numbered, transcript_of
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
_HEARD = "Sound"
"""The group of questions that need sound."""


class T2AVCompass(SuiteLayout):
    """The suite."""

    slices = (*TAXONOMY_TEXTS, *TAXONOMY_LISTS)

    def read(self, folder: Path, *, allow_outside: bool) -> Rows:
        """One row an object of the list.

        Columns: ``text``, ``video_text``, ``audio_text``, ``transcript`` (of several speakers with tags), ``language``,
        those of its taxonomy, and ``checklist``: its questions as judges read them.
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
        "checklist": checklist_of(_questions(item)),
    }
    names = () if number is None else numbered(number, ("sample_", "", "video_"))
    reading.add(item, cells, names)


def _questions(item: Item) -> list[dict[str, object]]:
    """The questions for a judge: of each dimension that has one, under the name of its group."""
    groups = item.object("checklist_info")
    if groups is None:
        return []
    found: list[dict[str, object]] = []
    for group in groups.members:
        dimensions = groups.object(group, needed=True)
        if dimensions is not None:
            texts = map(dimensions.text, dimensions.members)
            found += [{"question": text, "group": group, "hears": group == _HEARD} for text in texts if text.strip()]
    return found


T2AV_COMPASS = T2AVCompass()
