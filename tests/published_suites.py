"""Folders laid out as suites are published, with invented rows: at full count, or a few of each kind.

Layouts and counts: as the docstrings of `javisbench.suite_layouts` give them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

Builder = Callable[[Path, bool], None]


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def touch(path: Path, content: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@cache
def picture() -> bytes:
    """A small JPEG."""
    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (8, 6), (90, 120, 30)).save(file, "JPEG")
    return file.getvalue()


@cache
def video() -> bytes:
    """A small mp4 without sound."""
    import numpy as np

    from javisbench.clip import Clip
    from javisbench.media import write_clip

    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.mp4"
        write_clip(Clip(np.zeros((4, 48, 64, 3), np.uint8), Fraction(8), None, None), path)
        return path.read_bytes()


# Items, items with speech, Chinese ones among these.
VERSE_BENCH = {"set1": (205, 119, 63), "set2": (295, 24, 10), "set3": (100, 100, 49)}


def verse_item(set_: str, place: int, spoken: int, chinese: int) -> dict[str, Any]:
    words = "" if place >= spoken else "你好，世界。" if place < chinese else "Mind the step."
    return {
        "video_prompt": f"A man saws plank {place} of {set_}.",
        "audio_prompt": [""] if place % 5 == 4 else ["saw on wood", "birds"],
        "speech_prompt": {"speaker": "a man" if words else "", "text": words},
    }


def verse_bench(folder: Path, whole: bool) -> None:
    number = 0
    for set_, (items, spoken, chinese) in VERSE_BENCH.items():
        if not whole:
            items, spoken, chinese = 3, 2, 1
        for place in range(items):
            number += 1
            hashed = set_ == "set2" and place * 500 < items * 347
            name = f"clip_{number:08x}" if hashed else (f"{number:05d}", f"{number}", f"{number:08d}")[number % 3]
            write_json(folder / set_ / f"{name}.json", verse_item(set_, place, spoken, chinese))
            touch(folder / set_ / f"{name}.jpg", picture())
            if set_ == "set2":
                touch(folder / set_ / f"{name}.wav")


COMPASS = {
    "source": {"LMArena": 125, "KlingAI": 115, "RealVideo": 100, "VidProM": 85, "Caption": 75},
    "subject_matter": {
        "Modern Life & Drama": 115,
        "History & Documentary": 99,
        "Fantasy": 72,
        "Science Fiction": 55,
        "Animation": 54,
        "Horror & Humor": 54,
        "Commercial & Promotional": 51,
    },
}


def spread(counts: Mapping[str, int]) -> list[str]:
    return [value for value, count in counts.items() for _ in range(count)]


def compass_item(index: int, source: str, subject: str) -> dict[str, Any]:
    said = [{"speaker": "woman", "description": "calm", "text": "Who is there?"}]
    if index % 3 == 0:
        said += [
            {"speaker": "boy", "description": "", "text": "Me."},
            {"speaker": "woman", "description": "", "text": "Ah."},
        ]
    return {
        "index": index,
        "prompt": f"Prompt {index}.",
        "source": source,
        "subject_matter": subject,
        "core_subject": ["human", "animal"] if index % 2 else ["object"],
        "event_scenario": ["indoor"],
        "sound_type": ["speech"],
        "camera_movement": ["static"],
        "visual_spatial_composition": "single",
        "visual_temporal_composition": "one event",
        "audio_spatial_composition": "centre",
        "audio_temporal_composition": "one event",
        "video_prompt": f"Picture {index}.",
        "audio_prompt": "" if index % 60 == 1 else f"Sound {index}.",
        "speech_prompt": said if index % 10 < 3 else [],
        "video": None,
        "checklist_info": {"Sound": {"Speech": "Is it said?", "Music": None}, "Dynamics": {"Motion": None}},
    }


def t2av_compass(folder: Path, whole: bool) -> None:
    rows = zip(spread(COMPASS["source"]), spread(COMPASS["subject_matter"]), strict=True)
    items = [compass_item(index, *row) for index, row in enumerate(islice(rows, 500 if whole else 6), start=1)]
    write_json(folder / "Data/prompts.json", items)


def va_item(prompt: str) -> dict[str, Any]:
    return {
        "prompt_en": prompt,
        "prompt_vision": f"Seen: {prompt}",
        "prompt_audio": f"Heard: {prompt}",
        "dimension": ["sync", "realism"],
        "auxiliary_info_audio": ["Does it sound?"],
        "auxiliary_info_vision": ["Is it seen?"],
    }


def vabench(folder: Path, whole: bool) -> None:
    lines = ["idx\tprompt"]
    text, named, pictures = (848, 778, 521) if whole else (5, 4, 3)
    lists = [f"{level}_topic_{n}" for level, count in (("easy", 10), ("hard", 14)) for n in range(count)]
    parts: dict[str, list[dict[str, Any]]] = {name: [] for name in lists[: 24 if whole else 2]}
    for number, name in zip(range(text), cycle(parts), strict=False):
        prompt = f'She says "scene {number}"\nand waits, then goes.'
        parts[name].append(va_item(prompt))
        if number < named:
            lines.append(f"phrase number {number}. and more\t{json.dumps(prompt)[1:-1]}")
    for name, items in parts.items():
        write_json(folder / "json_files/json_text" / f"{name}.json", items)
    shown: dict[str, list[dict[str, Any]]] = {f"topic_{n}": [] for n in range(14 if whole else 2)}
    for number, name in zip(range(pictures), cycle(shown), strict=False):
        prompt = f"Picture scene {number}"
        shown[name].append(va_item(prompt))
        lines.append(f"frame_{number}.jpg\t{prompt}")
        touch(folder / "images" / name / f"frame_{number}.jpg", picture())
    for name, items in shown.items():
        write_json(folder / "json_files/json_image" / f"{name}.json", items)
    (folder / "mapping").mkdir()
    (folder / "mapping/final_idx_to_prompt.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


AVGEN_CLASSES = (
    "ads", "animals", "asmr", "chemical_reaction", "cooking", "gameplays", "movie_trailer",
    "musical_instrument_tutorial", "news", "physical_experiment", "sports",
)  # fmt: skip


def avgen_bench(folder: Path, whole: bool) -> None:
    for name in AVGEN_CLASSES if whole else ("ads", "movie_trailer"):
        count = (35 if name == "musical_instrument_tutorial" else 20) if whole else 2
        items = [{"content": f" Lute: G/C  chord {n}?", "prompt": f"A close shot of lute {n}."} for n in range(count)]
        if name == "movie_trailer":
            items = [{**item, "style": "noir"} for item in items]
        write_json(folder / "prompts" / f"{name}.json", items)


def vgg_id(number: int) -> str:
    return f"{'-_aZ'[number % 4]}{number:010d}"


def vggsound(folder: Path, whole: bool) -> None:
    count, tests = (15221, 15446) if whole else (4, 5)
    lines = ["id\tlabel", *(f"{vgg_id(n)}_{30 + n % 70:06d}\tlabel {n % 309}" for n in range(count))]
    (folder / "vgg-test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [f'{vgg_id(n)},{30 + n % 70},"label {n % 309}, loud",test' for n in range(tests)]
    rows.insert(1, f"{vgg_id(tests)},7,label,train")
    (folder / "vggsound.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "video").mkdir()
    for n in range(tests):
        # Only a few are opened.
        touch(folder / "video" / f"{vgg_id(n)}_{30 + n % 70:06d}.mp4", b"" if whole else video())


BUILDERS: dict[str, Builder] = {
    "verse-bench": verse_bench,
    "verse-bench-t2av": verse_bench,
    "t2av-compass": t2av_compass,
    "vabench": vabench,
    "vabench-i2av": vabench,
    "avgen-bench": avgen_bench,
    "vggsound": vggsound,
    "vggsound-full": vggsound,
}
