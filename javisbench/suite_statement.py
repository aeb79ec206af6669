"""What a suite of one's own says of itself in a file beside it: its task, and what clips should be.

``NAME.toml`` beside ``NAME.csv``, else ``suite.toml`` in the same folder; ``suite.toml`` in a folder of clips::

    task = "v2a"

    [setting]
    width = 640
    height = 360
    fps = "25"
    duration_s = 8.0
    sample_rate = 44100
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from javisbench.cards import SuiteCard
from javisbench.clip import ClipSpec
from javisbench.errors import SuiteError
from javisbench.registry import did_you_mean
from javisbench.suite_rows import read_text
from javisbench.tasks import Task, task_named

MAX_STATEMENT_BYTES = 2**16
_COMMON = "suite.toml"
_USED = ("task", "setting")
# A card of `data_cards/suites` may lie beside its table: what else it tells is for lists.
_KNOWN = (*_USED, *(field.name for field in fields(SuiteCard) if field.name not in (*_USED, "name", "folder")), "id")
_MOST = {"width": 8192, "height": 8192, "fps": 240, "duration_s": 3600, "sample_rate": 384_000}


@dataclass(frozen=True)
class Statement:
    """What a suite says of itself.

    Attributes:
        task: what it gives, and what is to be made of it.
        setting: what clips should be; None where it does not say.
    """

    task: Task = "t2av"
    setting: ClipSpec | None = None


def statement_of(suite: Path) -> Statement:
    """What the file beside a suite's table, or in a suite's folder, says; a `Statement` of defaults without one.

    Raises:
        SuiteError: it cannot be read, or says what no suite can.
    """
    places = [suite / _COMMON] if suite.is_dir() else [suite.with_suffix(".toml"), suite.with_name(_COMMON)]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return Statement()
    try:
        content = tomllib.loads(read_text(path, MAX_STATEMENT_BYTES))
        for name in content:
            if name not in _KNOWN:
                raise ValueError(f"{name[:40]!r} is not known.{did_you_mean(name, _KNOWN)} Known: {', '.join(_USED)}")
        return Statement(task_named(content.get("task", "t2av")), _setting(content.get("setting")))
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"{path.name}: {error}.") from error


def _setting(stated: Any) -> ClipSpec | None:
    if stated is None:
        return None
    names = [field.name for field in fields(ClipSpec)]
    if not isinstance(stated, dict) or not stated.keys() <= set(names):
        raise ValueError(f"setting is a table of {', '.join(names)}")
    values = {name: _number(name, value) for name, value in stated.items()}
    default = ClipSpec()
    return ClipSpec(
        width=int(values.get("width", default.width)),
        height=int(values.get("height", default.height)),
        duration_s=float(values.get("duration_s", default.duration_s)),
        fps=values.get("fps", default.fps),
        sample_rate=int(values.get("sample_rate", default.sample_rate)),
    )


def _number(name: str, value: object) -> Fraction:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        number = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"setting.{name} is a number; got {value!r:.40}") from None
    if not 0 < number <= _MOST[name] or (name not in ("fps", "duration_s") and number.denominator != 1):
        raise ValueError(f"setting.{name} is a number above 0, at most {_MOST[name]}; got {value!r:.40}")
    return number
