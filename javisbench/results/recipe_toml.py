"""A recipe as TOML: read from a document with every member checked, and written so that it is read back the same.

Whoever wrote one is a stranger: types and ranges are checked, unknown members are refused, and text is bounded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from javisbench.errors import RecipeError, UsageError
from javisbench.protocol import DEFAULT_PROTOCOL, parse_protocol
from javisbench.registry import did_you_mean
from javisbench.results.cell import OVERALL
from javisbench.results.recipe import KINDS, SOUNDS, Doubt, Expected, KnownFault, Recipe
from javisbench.text import printable

RECIPE_SCHEMA = 1
MAX_TEXT = 4000
MAX_ENTRIES = 500
MAX_REPEATS = 10_000
MOST = 2**63
_ID = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")
_METRIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_PRINTED = re.compile(r"-?\d{1,15}(?:\.\d{1,12})?")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}")
_RATE = re.compile(r"0*[1-9]\d{0,8}(?:\.\d{1,9})?(?:/0*[1-9]\d{0,8})?|0*\.?0*[1-9]\d{0,8}")
_SHA = re.compile(r"[0-9a-f]{8,64}")
_FILE = re.compile(r"[^\x00-\x1f]{1,200}")
_FREE = re.compile(r"[^\x00-\x1f]{1,200}")


def is_digest(value: Any) -> bool:
    """Whether a value is a hash as recipes hold it."""
    return isinstance(value, str) and _SHA.fullmatch(value) is not None


class _Table:
    """A table of a recipe: every member is asked for by name and type; what is left over is refused."""

    def __init__(self, data: Any, where: str, place: str = "") -> None:
        self.where, self.place = where, place
        if not isinstance(data, Mapping):
            self.fail("", "is no table")
        self._data = dict(data)
        self._asked: set[str] = set()

    def fail(self, name: str, what: str) -> NoReturn:
        member = ".".join(part for part in (self.place, name) if part) or "the file"
        raise RecipeError(f"{self.where}: {member} {what}. docs/reproduce.md tells the members of a recipe.")

    def _get(self, name: str) -> Any:
        self._asked.add(name)
        return self._data.get(name)

    def done(self) -> None:
        unknown = sorted(self._data.keys() - self._asked)
        if unknown:
            self.fail(
                str(unknown[0])[:80], f"is no member of a recipe.{did_you_mean(unknown[0], self._asked)}".rstrip(".")
            )

    def text(self, name: str, default: str | None = None, pattern: re.Pattern[str] | None = None) -> str:
        value = self._get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not value.strip():
            self.fail(name, "is needed, and is text" if value is None else "is no text")
        if len(value) > MAX_TEXT:
            self.fail(name, f"has {len(value):,} characters; at most {MAX_TEXT:,} are read")
        value = printable(value.strip())
        if pattern is not None and not pattern.fullmatch(value):
            self.fail(name, f"is {value[:80]!r}, which it cannot be")
        return value

    def number(self, name: str, low: float = -math.inf) -> float | None:
        value = self._get(name)
        if value is None:
            return None
        if not _is_number(value) or value < low:
            self.fail(name, f"is no number{'' if low == -math.inf else f' from {low:g} on'}")
        return float(value)

    def count(self, name: str, low: int = 0, high: int = 2**63 - 1) -> int | None:
        value = self._get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fail(name, f"is no whole number from {low} to {high}")
        return value

    def rate(self, name: str) -> int | float | str | None:
        value = self._get(name)
        if value is None:
            return None
        if not (_RATE.fullmatch(value) if isinstance(value, str) else _is_number(value) and value > 0):
            self.fail(name, 'is no rate above 0, as a number or as text ("30000/1001")')
        return value  # type: ignore[no-any-return]  # a number or text

    def printed(self, name: str) -> tuple[float, int | None]:
        """A value and its digits: text has those that were printed, a number is not rounded."""
        value = self._get(name)
        if isinstance(value, str):
            if not _PRINTED.fullmatch(value):
                self.fail(name, f"is {value[:40]!r}, which is no printed number")
            return float(value), len(value.partition(".")[2])
        number = self.number(name)
        if number is None:
            self.fail(name, 'is needed: as printed ("0.263"), or a number that is not rounded')
        return number, None

    def texts(self, name: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
        value = self._list(name, "names")
        for item in value:
            if not isinstance(item, str) or not pattern.fullmatch(item):
                self.fail(name, f"holds {str(item)[:80]!r}, which is no such name")
        return tuple(value)

    def table(self, name: str) -> _Table:
        value = self._get(name)
        return _Table({} if value is None else value, self.where, f"{self.place}.{name}".lstrip("."))

    def tables(self, name: str) -> list[_Table]:
        value = self._list(name, "tables")
        return [_Table(item, self.where, f"{self.place}.{name}[{i}]".lstrip(".")) for i, item in enumerate(value)]

    def _list(self, name: str, of: str) -> list[Any]:
        value = self._get(name)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > MAX_ENTRIES:
            self.fail(name, f"is no list of at most {MAX_ENTRIES} {of}")
        return value

    def mapping(self, name: str, values: re.Pattern[str]) -> dict[str, str]:
        found = self._names(name)
        for key, value in found.items():
            if not isinstance(value, str) or not values.fullmatch(value):
                self.fail(f"{name}.{key}", f"is {str(value)[:80]!r}, which it cannot be")
        return found

    def scalars(self, name: str) -> dict[str, Any]:
        found = self._names(name)
        for key, value in found.items():
            plain = len(value) <= MAX_TEXT if isinstance(value, str) else isinstance(value, bool) or _is_number(value)
            if not plain:
                self.fail(f"{name}.{key}", "is neither text nor a number nor true or false")
        return found

    def files(self, name: str) -> dict[str, dict[str, str]]:
        inner = self.table(name)
        return {key: inner.mapping(key, _SHA) for key in self._names(name, _FILE)}

    def _names(self, name: str, pattern: re.Pattern[str] = _WORD) -> dict[str, Any]:
        value = self._get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or len(value) > MAX_ENTRIES:
            self.fail(name, f"is no table of at most {MAX_ENTRIES} members")
        for key in value:
            if not pattern.fullmatch(key):
                self.fail(name, f"has the member {key[:80]!r}, which is no name")
        return dict(value)


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number; hexadecimal integers of TOML have any size."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -MOST <= value <= MOST


def parse_recipe(data: Any, where: str, path: Path | None = None, package: str = "") -> Recipe:
    """A recipe from its document.

    Args:
        data: as `tomllib` gives it.
        where: what errors call it.
        path: of the file.
        package: whose it is.

    Raises:
        RecipeError: a member is missing, unknown, or what it cannot be.
    """
    top = _Table(data, where)
    schema = top.count("schema")
    if schema != RECIPE_SCHEMA:
        top.fail("schema", f"is {schema}; this javisbench reads {RECIPE_SCHEMA}")
    kind = top.text("kind")
    if kind not in KINDS:
        top.fail("kind", f"is {kind[:40]!r}; it is one of {', '.join(KINDS)}")
    suite, model, scoring = top.table("suite"), top.table("model"), top.table("scoring")
    generation, clips = top.table("generation"), top.table("clips")
    source = top.text("source")
    tolerance_from = top.text("tolerance_from", "")
    n = top.count("n", 1)
    recipe = Recipe(
        id=top.text("id", None if path is None else path.stem, _ID),
        title=top.text("title"),
        kind=kind,  # type: ignore[arg-type]  # checked above
        source=source,
        summary=top.text("summary", ""),
        suite=suite.text("name"),
        suite_revision=suite.text("revision", ""),
        suite_hash=suite.text("hash", "", _SHA),
        samples=suite.count("samples", 1),
        model=model.text("name"),
        spec=model.text("spec", ""),
        model_revision=model.text("revision", ""),
        parameters=model.scalars("parameters"),
        model_weights=_files(model),
        generation=_generation(generation),
        clips=_clips(clips),
        sound=_one_of(clips, "sound", SOUNDS),
        protocol=_protocol(scoring),
        metrics=scoring.texts("metrics", re.compile(r"[A-Za-z0-9_.:*-]{1,64}")),
        encoders=scoring.mapping("encoders", _FREE),
        encoder_weights=scoring.mapping("weights", _SHA),
        reference=scoring.text("reference", ""),
        expected=tuple(_expected(table, source, tolerance_from, n) for table in top.tables("expected")),
        doubts=tuple(_doubt(table) for table in top.tables("doubts")),
        faults=tuple(_fault(table) for table in top.tables("faults")),
        path=path,
        package=package,
    )
    for table in (suite, model, scoring, generation, clips, top):
        table.done()
    if not recipe.expected:
        top.fail("expected", "is empty: a recipe has at least one value")
    if recipe.kind == "run" and not recipe.spec:
        model.fail("spec", "is needed by a recipe that is run")
    keys = [(value.metric or value.name, value.slice) for value in recipe.expected]
    if len(set(keys)) < len(keys):
        top.fail("expected", f"has {next(key for key in keys if keys.count(key) > 1)} twice")
    return recipe


def _files(model: _Table) -> dict[str, dict[str, str]]:
    return model.files("weights")


def _one_of(table: _Table, name: str, words: Mapping[str, str]) -> str:
    value = table.text(name, "")
    if value and value not in words:
        table.fail(name, f"is {value[:40]!r}; it is one of {', '.join(words)}")
    return value


def _generation(table: _Table) -> dict[str, str | int]:
    found: dict[str, str | int | None] = {
        "seed": table.count("seed"),
        "repeats": table.count("repeats", 1, MAX_REPEATS),
        "limit": table.count("limit", 1),
        "conform": _one_of(table, "conform", {"native": "", "exact": ""}) or None,
        "dtype": _one_of(table, "dtype", {"auto": "", "float32": "", "bfloat16": ""}) or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _clips(table: _Table) -> dict[str, int | float | str]:
    found: dict[str, int | float | str | None] = {
        name: table.count(name, 1) for name in ("width", "height", "frames", "sample_rate")
    }
    found["duration_s"] = table.number("duration_s", 0)
    found["fps"] = table.rate("fps")
    return {name: value for name, value in found.items() if value is not None}


def _protocol(scoring: _Table) -> str:
    name = scoring.text("protocol", DEFAULT_PROTOCOL)
    try:
        return parse_protocol(name).name
    except UsageError as error:
        scoring.fail("protocol", f"is none: {error.sentence}".rstrip("."))


def _expected(table: _Table, source: str, tolerance_from: str, n: int | None) -> Expected:
    metric = table.text("metric", "", _METRIC)
    value, digits = table.printed("value")
    tolerance = table.number("tolerance", 0)
    if tolerance is None:
        table.fail("tolerance", "is needed: how far an honest repetition may lie from the value")
    told = table.text("tolerance_from", tolerance_from)
    if not told:
        table.fail("tolerance_from", "is needed, here or at the top: where the tolerance comes from")
    found = Expected(
        metric=metric,
        name=table.text("name", metric or None),
        value=value,
        digits=digits,
        slice=table.text("slice", OVERALL, re.compile(r"[A-Za-z0-9_./=+-]{1,120}")),
        n=_or(table.count("n", 1), n),
        tolerance=tolerance,
        tolerance_from=told,
        source=", ".join(part for part in (table.text("source", source), table.text("table", "")) if part),
        ci_low=table.number("ci_low"),
        ci_high=table.number("ci_high"),
        note=table.text("note", ""),
    )
    table.done()
    if (found.ci_low is None) != (found.ci_high is None) or (
        found.ci_low is not None and found.ci_high is not None and found.ci_low > found.ci_high
    ):
        table.fail("ci_low", "and ci_high are no interval")
    if not metric and not found.note:
        table.fail("note", "is needed where there is no metric: why none computes the value")
    return found


def _or(first: int | None, second: int | None) -> int | None:
    return second if first is None else first


def _doubt(table: _Table) -> Doubt:
    found = Doubt(table.text("about"), table.text("text"))
    table.done()
    return found


def _fault(table: _Table) -> KnownFault:
    found = KnownFault(
        id=table.text("id", None, _ID),
        text=table.text("text"),
        metrics=table.texts("metrics", _METRIC),
        setting=table.text("setting", "", re.compile(r"[a-z0-9_]+=[^\s=]+")),
        longer_than_s=table.number("longer_than_s", 0) or 0.0,
    )
    table.done()
    return found


# Writing


def recipe_text(recipe: Recipe) -> str:
    """A recipe as TOML."""
    parts = [
        _lines(
            {
                "schema": RECIPE_SCHEMA,
                "id": recipe.id,
                "title": recipe.title,
                "kind": recipe.kind,
                "source": recipe.source,
                "summary": recipe.summary,
            }
        ),
        _section(
            "suite",
            {
                "name": recipe.suite,
                "revision": recipe.suite_revision,
                "hash": recipe.suite_hash,
                "samples": recipe.samples,
            },
        ),
        _section("model", {"name": recipe.model, "spec": recipe.spec, "revision": recipe.model_revision}),
        _section("model.parameters", recipe.parameters),
        *(_section(f"model.weights.{_key(name)}", files) for name, files in recipe.model_weights.items()),
        _section("generation", recipe.generation),
        _section("clips", {**recipe.clips, "sound": recipe.sound}),
        _section(
            "scoring",
            {"protocol": recipe.protocol, "metrics": list(recipe.metrics), "reference": recipe.reference},
        ),
        _section("scoring.encoders", recipe.encoders),
        _section("scoring.weights", recipe.encoder_weights),
        *(_section("[expected]", _expected_members(value)) for value in recipe.expected),
        *(_section("[doubts]", {"about": doubt.about, "text": doubt.text}) for doubt in recipe.doubts),
        *(_section("[faults]", _fault_members(fault)) for fault in recipe.faults),
    ]
    return "\n".join(part for part in parts if part)


def _expected_members(value: Expected) -> dict[str, Any]:
    return {
        "metric": value.metric,
        "name": "" if value.name == value.metric else value.name,
        "slice": "" if value.slice == OVERALL else value.slice,
        "value": value.value if value.digits is None else value.printed,
        "n": value.n,
        "ci_low": value.ci_low,
        "ci_high": value.ci_high,
        "tolerance": value.tolerance,
        "tolerance_from": value.tolerance_from,
        "source": value.source,
        "note": value.note,
    }


def _fault_members(fault: KnownFault) -> dict[str, Any]:
    return {
        "id": fault.id,
        "text": fault.text,
        "metrics": list(fault.metrics),
        "setting": fault.setting,
        "longer_than_s": fault.longer_than_s or None,
    }


def _section(name: str, members: Mapping[str, Any]) -> str:
    lines = _lines(members)
    return f"[{name}]\n{lines}" if lines else ""


def _lines(members: Mapping[str, Any]) -> str:
    told = ((name, value) for name, value in members.items() if value is not None and value not in ("", []))
    return "".join(f"{_key(name)} = {_value(value)}\n" for name, value in told)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_value, value))}]"
    return str(value)


def _quoted(text: str) -> str:
    r"""A basic string of TOML: quotes, backslashes and controls as escapes."""
    escaped = (
        f"\\{char}" if char in '"\\' else f"\\u{ord(char):04x}" if ord(char) < 0x20 or ord(char) == 0x7F else char
        for char in text
    )
    return f'"{"".join(escaped)}"'
