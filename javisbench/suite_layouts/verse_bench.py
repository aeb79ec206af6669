"""Verse-Bench: 600 items in three folders, each a JSON file with its first frame.

Layout: Dorniwang/Verse-Bench (Apache-2.0) at 5645a09, ``calculate_metrics.py``. ``set1``, ``set2`` and ``set3`` hold
``ID.json`` and ``ID.jpg``, ``set2`` also ``ID.wav``, the real sound.
"""

from __future__ import annotations

from pathlib import Path

from javisbench.suite_layouts.base import MAX_ITEM_BYTES, Item, Reading, SuiteLayout, numbered
from javisbench.suite_rows import Rows

SETS = ("set1", "set2", "set3")


class VerseBench(SuiteLayout):
    """The suite, with its first frames as conditions or from text alone.

    Args:
        pictures: whether models are given the first frame.
    """

    slices = ("set", "language")

    def __init__(self, *, pictures: bool) -> None:
        self._pictures = pictures

    def read(self, folder: Path, *, allow_outside: bool) -> Rows:
        """One row an ``ID.json``.

        Columns: ``text`` (``prompt`` where the item has one, else its prompts of picture, sound and speech together),
        ``video_text``, ``audio_text`` (the first sound prompt that is not empty), ``transcript``, ``speaker``,
        ``language`` (``zh`` where the transcript has Chinese characters), ``set``, ``image``, ``audio_path`` (of set2).
        """
        reading = Reading(folder, allow_outside)
        columns = ["id", "text", "video_text", "audio_text", "audio_path", *self.slices]
        reading.rows.columns = [*columns, "image"] if self._pictures else columns
        if reading.first_of(*SETS) is None:
            reading.refuse("", f"holds none of {', '.join(SETS)}: give the folder that holds them")
        taken: set[str] = set()
        without_sound: list[str] = []
        for set_ in SETS:
            files = reading.listed(set_, ".json") if (folder / set_).is_dir() else []
            for file in sorted(files, key=lambda file: _number(file) or 0):
                members = reading.json_of(file, MAX_ITEM_BYTES)
                item = None if members is None else reading.item(file, 0, members)
                if item is not None:
                    self._add(reading, item, set_, taken, without_sound)
        if without_sound:
            first = without_sound[0]
            reading.rows.warnings.append(f"{len(without_sound)} items of set2 have no sound (ID.wav), such as {first}")
        return reading.rows

    def _add(self, reading: Reading, item: Item, set_: str, taken: set[str], without_sound: list[str]) -> None:
        name = Path(item.file).stem
        number = _number(item.file)
        key = name.lower() if number is None else str(number)
        audio = item.texts("audio_prompt")
        speech = item.object("speech_prompt")
        words = speech.text("text").strip() if speech else ""
        speaker = speech.text("speaker").strip() if speech else ""
        video = item.text("video_prompt", needed=True)
        sounds = [text.strip() for text in audio if text.strip()]
        sound = f"{set_}/{name}.wav"
        has_sound = set_ == "set2" and (reading.folder / sound).is_file()
        if set_ == "set2" and not has_sound:
            without_sound.append(name)
        picture = f"{set_}/{name}.jpg"
        if self._pictures and not (reading.folder / picture).is_file():
            item.refuse("image", f"the first frame {picture} is missing")
        cells = {
            "id": f"{set_}-{name}" if key in taken else name,
            "text": item.text("prompt").strip() or described(video, sounds, speaker, words),
            "video_text": video,
            "audio_text": sounds[0] if sounds else "",
            "transcript": words,
            "speaker": speaker,
            "language": language_of(words),
            "set": set_,
            "image": picture if self._pictures else None,
            "audio_path": sound if has_sound else None,
        }
        names = [name] if number is None else numbered(number)
        # MOVA's program: ID_video_TEXT_stepN_seedS.mp4, in folders of the sets (OpenMOSS/MOVA at 595a976).
        names += [f"{other}_video_*" for other in names]
        reading.add(item, cells, [*names, *(f"{set_}/{other}" for other in names)])
        taken.add(key)


def _number(file: str) -> int | None:
    """What an item is called when that is a number; None for other names."""
    name = Path(file).stem
    return int(name) if name.isascii() and name.isdigit() and len(name) <= 18 else None


def described(video: str, sounds: list[str], speaker: str, words: str) -> str:
    """One prompt from an item's prompts of picture, sound and speech."""
    parts = [video.strip()]
    if sounds:
        parts.append(f"Sound: {', '.join(sounds)}.")
    if words:
        parts.append(f'{speaker or "Somebody"} says: "{words}"')
    return " ".join(parts)


def language_of(words: str) -> str:
    """``zh`` for words with a Chinese character, else ``en``; empty without words."""
    if not words:
        return ""
    return "zh" if any("\u3400" <= letter <= "\u9fff" for letter in words) else "en"


WITH_PICTURES = VerseBench(pictures=True)
FROM_TEXT = VerseBench(pictures=False)
