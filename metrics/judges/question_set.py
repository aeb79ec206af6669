"""Question sets: what a judge is asked, as a card in ``data_cards/judges`` or a file of one's own says it.

Every field is checked: unknown names, wrong types and values out of range are listed together, each with its place.
docs/judges.md describes the format.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from javisbench.errors import MetricError, UsageError
from javisbench.metrics.judges.settings import LIMITS, JudgeSettings, settings_type
from javisbench.settings import WORD
from javisbench.suite_rows import read_text
from javisbench.taxonomy import ASPECTS
from javisbench.text import printable

if TYPE_CHECKING:
    from javisbench.suite import Sample

MAX_FILE_BYTES = 1 << 20
MAX_QUESTIONS = 100
MAX_TEXT = 4000
MAX_CHECKLIST_BYTES = 1 << 18
ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
YES_NO = (0, 1)


@dataclass(frozen=True)
class Question:
    """One question about a clip.

    Attributes:
        id: its name in answers and details.
        text: as the judge reads it.
        scale: lowest and highest answer; ``(0, 1)`` for no and yes.
        yes_no: whether the judge says yes or no.
        low_is_good: whether the lowest answer is the good one.
        weight: in the score.
        group: questions of a group have a mean of their own; empty for none.
        hears: whether it takes sound to answer it.
        when: categories (``aspect/category``) of samples that it is asked of; empty for all.
        levels: what answers mean, where that is said.
    """

    id: str
    text: str
    scale: tuple[int, int] = YES_NO
    yes_no: bool = True
    low_is_good: bool = False
    weight: float = 1.0
    group: str = ""
    hears: bool = False
    when: tuple[str, ...] = ()
    levels: tuple[tuple[int, str], ...] = ()

    def share(self, answer: float) -> float:
        """An answer as a share of the best one, from 0 to 1."""
        low, high = self.scale
        share = (answer - low) / (high - low)
        return 1 - share if self.low_is_good else share

    def is_for(self, sample: Sample | None) -> bool:
        """Whether a sample is of a category that the question is asked of."""
        if not self.when:
            return True
        found = {} if sample is None else sample.categories
        return any(f"{aspect}/{name}" in self.when for aspect, names in found.items() for name in names)


@dataclass(frozen=True)
class PerSample:
    """Where a suite's own questions stand, and how they are answered.

    Attributes:
        column: of the suite: a JSON list of questions, each a text or an object with ``question`` and, where it
            differs, ``group``, ``hears`` and ``low_is_good``.
        like: what they are like; its text is empty.
    """

    column: str
    like: Question


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens."""

    input: float
    output: float


@dataclass(frozen=True)
class QuestionSet:
    """What a judge is asked, of whom, and how.

    Attributes:
        id: ``NAME`` of ``judge:NAME``.
        title: for tables.
        about: what the judge is told of its task.
        source: where the questions come from.
        licence: of their wording.
        questions: asked of every clip.
        per_sample: questions of the suite's own; None for none.
        average: ``questions``: the weighted mean over all; ``groups``: the mean of the groups' weighted means.
        shows_prompt: whether the judge reads the prompt.
        settings: model, sampling and view, as defaults of the metric's settings.
        token_limit: what the endpoint calls the longest answer.
        price: of tokens, where the card says it.
        notes: for `javisbench metrics show`.
    """

    id: str
    title: str
    about: str
    source: str
    licence: str
    questions: tuple[Question, ...]
    per_sample: PerSample | None
    average: Literal["questions", "groups"]
    shows_prompt: bool
    settings: type[JudgeSettings]
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    price: Price | None = None
    notes: str = ""

    def asked_of(self, sample: Sample | None, *, sound: bool) -> tuple[Question, ...]:
        """The questions about a sample's clip.

        Args:
            sample: the row of the suite.
            sound: whether the judge hears the clip.

        Raises:
            MetricError: its cell holds no list of questions.
        """
        own = checklist(self.per_sample, sample) if self.per_sample is not None else ()
        asked = (*(question for question in self.questions if question.is_for(sample)), *own)
        return tuple(question for question in asked if sound or not question.hears)


def checklist(per_sample: PerSample, sample: Sample | None) -> tuple[Question, ...]:
    """The questions in a sample's own cell; none for an empty one.

    Raises:
        MetricError: it holds something else.
    """
    cell = "" if sample is None else sample.extra.get(per_sample.column, "").strip()
    if not cell:
        return ()

    def wrong(what: str) -> MetricError:
        return MetricError(
            f"The column {per_sample.column} {what}; it holds a JSON list of questions, at most {MAX_QUESTIONS}.",
            kind="bad_checklist",
        )

    if len(cell) > MAX_CHECKLIST_BYTES:
        raise wrong(f"has {len(cell):,} characters")
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError) as error:
        raise wrong(f"is no JSON ({error})") from error
    if not isinstance(found, list) or len(found) > MAX_QUESTIONS:
        raise wrong("holds no list, or too long a one")
    problems: list[str] = []
    questions = []
    for number, item in enumerate(found, 1):
        fields = _Fields({"question": item} if isinstance(item, str) else item, f"question {number}", problems)
        questions.append(
            replace(
                per_sample.like,
                id=f"own_{number}",
                text=fields.text("question"),
                group=fields.word("group", per_sample.like.group),
                hears=fields.flag("hears", per_sample.like.hears),
                low_is_good=fields.flag("low_is_good", per_sample.like.low_is_good),
            )
        )
        fields.end()
    if problems:
        raise wrong(f"is no list of questions: {'; '.join(problems[:3])}")
    return tuple(questions)


def read_file(path: Path) -> QuestionSet:
    """A question set of one's own.

    Raises:
        UsageError: the file cannot be read, or is none; all that is wrong is listed by field.
    """
    try:
        card = tomllib.loads(read_text(path, MAX_FILE_BYTES))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as a question set: {error}. See docs/judges.md.") from error
    return parse(card, str(path))


def _counted(problems: int) -> str:
    return "1 thing is" if problems == 1 else f"{problems} things are"


def parse(card: Mapping[str, Any], where: str) -> QuestionSet:
    """The question set that a card describes.

    Args:
        card: what its TOML holds.
        where: its file, for the message.

    Raises:
        UsageError: it describes none; all that is wrong is listed by field.
    """
    problems: list[str] = []
    fields = _Fields(card, "", problems)
    name = fields.text("id", longest=40)
    if name and not ID.fullmatch(name):
        problems.append(f"id: {name!r} is not of small letters, digits, '_' and '-'")
    listed = fields.tables("questions")
    questions = tuple(_question(_Fields(entry, f"questions[{n}]", problems)) for n, entry in enumerate(listed, 1))
    ids = [question.id for question in questions]
    problems += [f"questions: the id {twice!r} stands twice" for twice in sorted({i for i in ids if ids.count(i) > 1})]
    own = fields.part("per_sample")
    per_sample = None if own is None else _per_sample(_Fields(own, "per_sample", problems))
    if not questions and per_sample is None:
        problems.append("questions: there are none, and no per_sample either")
    text = {key: fields.text(key, default) for key, default in _TEXTS.items()}
    average = fields.choice("average", ("questions", "groups"))
    shows = fields.inner("shows")
    shows_prompt = shows.flag("prompt", True)
    model = fields.inner("model")
    token_limit = model.choice("token_limit", ("max_tokens", "max_completion_tokens"))
    values = _settings(model, fields.inner("sampling"), shows)
    if any(q.hears for q in questions) and values["sound"] is False:
        problems.append("shows.sound: is false, and some questions need sound (hears = true)")
    price = _price(fields, problems)
    for part in (fields, shows, model):
        part.end()
    digest = _digest([asdict(q) for q in questions], per_sample, text["about"], average, shows_prompt)
    try:
        settings = settings_type(digest, values)
    except (TypeError, ValueError) as error:
        problems.append(f"model, sampling or shows: {error}")
    if problems:
        raise UsageError(
            f"{where} is no question set; {_counted(len(problems))} wrong (docs/judges.md has the format):",
            details=problems,
        )
    return QuestionSet(
        id=name,
        title=text["title"] or name,
        about=text["about"],
        source=text["source"],
        licence=text["licence"],
        questions=questions,
        per_sample=per_sample,
        average=cast("Literal['questions', 'groups']", average),
        shows_prompt=shows_prompt,
        settings=settings,
        token_limit=cast("Literal['max_tokens', 'max_completion_tokens']", token_limit),
        price=price,
        notes=text["notes"],
    )


_TEXTS = {"title": "", "about": "", "source": "", "licence": "", "notes": ""}


def _digest(*parts: object) -> str:
    text = json.dumps(parts, sort_keys=True, default=lambda value: asdict(value))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _question(fields: _Fields, *, named: bool = True) -> Question:
    name = fields.word("id") if named else "own"
    text = fields.text("text") if named else ""
    kind = fields.choice("answer", ("yes_no", "scale"))
    scale = fields.span("scale", YES_NO if kind == "yes_no" else (1, 5))
    if kind == "yes_no" and scale != YES_NO:
        fields.wrong("scale", 'stands beside answer = "yes_no"')
    question = Question(
        id=name,
        text=text,
        scale=scale,
        yes_no=kind == "yes_no",
        low_is_good=fields.choice("good", ("high", "low")) == "low",
        weight=fields.number("weight", 1.0, (0.0, 1000.0)),
        group=fields.word("group", ""),
        hears=fields.flag("hears", False),
        when=fields.categories("when") if named else (),
        levels=fields.levels("levels", scale),
    )
    if question.weight <= 0:
        fields.wrong("weight", "is not above 0")
    if named:
        fields.end()
    return question


def _per_sample(fields: _Fields) -> PerSample:
    found = PerSample(fields.text("column", longest=120), _question(fields, named=False))
    fields.end()
    return found


def _settings(model: _Fields, sampling: _Fields, shows: _Fields) -> dict[str, Any]:
    base = JudgeSettings()
    name = model.text("name", longest=64)
    word = name.replace("/", "--")
    if name and (not WORD.fullmatch(word) or "--" in name):
        model.wrong("name", f"{name!r} is not of letters, digits, '.', '_', '-' and '/'")
    revision = model.text("revision", "any", longest=64)
    if not WORD.fullmatch(revision):
        model.wrong("revision", f"{revision!r} is not of letters, digits, '.', '_' and '-'")
    values = {
        "model": word or "none",
        "revision": revision,
        "structure": model.choice("structure", ("json_schema", "json_object", "text")),
        "temperature": sampling.number("temperature", base.temperature, LIMITS["temperature"]),
        **{key: sampling.count(key, getattr(base, key)) for key in ("max_tokens", "seed", "repeats", "tries")},
        **{key: shows.count(key, getattr(base, key)) for key in ("frames", "frame_px")},
        "sound": shows.flag("sound", base.sound),
        "sound_s": shows.number("sound_s", base.sound_s, LIMITS["sound_s"]),
    }
    sampling.end()
    return values


def _price(fields: _Fields, problems: list[str]) -> Price | None:
    table = fields.part("price")
    if table is None:
        return None
    inner = _Fields(table, "price", problems)
    price = Price(*(inner.number(name, None, (0.0, 1e6)) for name in ("input", "output")))
    inner.end()
    return price


@dataclass
class _Fields:
    """A table of a card: gives fields as their types, and notes what is wrong with them, each with its place."""

    values: Any
    where: str
    problems: list[str]
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not isinstance(self.values, Mapping):
            self.problems.append(f"{self.where}: is no table but {type(self.values).__name__}")
            self.values = {}
            self._seen.add("*")

    def wrong(self, name: str, what: str) -> None:
        """Note what is wrong with a field."""
        self.problems.append(printable(f"{self.where}.{name}: {what}".lstrip(".")[:300]))

    def end(self) -> None:
        """Note the fields that nobody asked for."""
        for name in self.values:
            if name not in self._seen:
                self.wrong(str(name), f"is no field; known are {', '.join(sorted(self._seen))}")

    def _get(self, name: str, default: Any, kinds: tuple[type, ...], called: str) -> Any:
        self._seen.add(name)
        if name not in self.values:
            if default is None:
                self.wrong(name, "is missing")
            return default
        value = self.values[name]
        if type(value) not in kinds:
            self.wrong(name, f"is not {called} but {type(value).__name__}")
            return default
        return value

    def text(self, name: str, default: str | None = None, longest: int = MAX_TEXT) -> str:
        """Text that is not empty unless the default is."""
        value = str(self._get(name, default, (str,), "text") or "").strip()
        if name in self.values and not value and default != "":
            self.wrong(name, "is empty")
        if len(value) > longest:
            self.wrong(name, f"has {len(value):,} characters; at most {longest:,}")
        return value[:longest]

    def word(self, name: str, default: str | None = None) -> str:
        """A name of letters, digits, ``.``, ``_`` and ``-``."""
        value = self.text(name, default, 200)
        if value and not _NAME.fullmatch(value):
            self.wrong(name, f"{value!r} is not of up to 40 letters, digits, '.', '_' and '-'")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        return bool(self._get(name, default, (bool,), "true or false"))

    def number(self, name: str, default: float | None, limits: tuple[float, float]) -> float:
        """A number within limits, both included."""
        least, most = limits
        value = self._get(name, default, (int, float), "a number")
        if value is not None and not least <= value <= most:
            self.wrong(name, f"{value:g} is not from {least:g} to {most:g}")
        return float(least if value is None else value)

    def count(self, name: str, default: int) -> int:
        """A whole number."""
        return int(self._get(name, default, (int,), "a whole number"))

    def choice(self, name: str, words: Sequence[str]) -> str:
        """One of some words, the first unless said otherwise."""
        value = str(self._get(name, words[0], (str,), f"one of {', '.join(words)}"))
        if value not in words:
            self.wrong(name, f"{value!r} is not one of {', '.join(words)}")
        return value

    def part(self, name: str) -> Any:
        """What stands for a table; None for nothing."""
        self._seen.add(name)
        return self.values.get(name)

    def inner(self, name: str) -> _Fields:
        """The fields of a table in it; without any where there is none."""
        found = self.part(name)
        return _Fields({} if found is None else found, name, self.problems)

    def tables(self, name: str) -> list[Any]:
        """A list of tables."""
        found = self._get(name, [], (list,), "a list of tables ([[questions]])")
        if len(found) > MAX_QUESTIONS:
            self.wrong(name, f"has {len(found)} entries; at most {MAX_QUESTIONS}")
        return list(found[:MAX_QUESTIONS])

    def span(self, name: str, default: tuple[int, int]) -> tuple[int, int]:
        """Two whole numbers, the lower one first."""
        value = self._get(name, list(default), (list,), "a pair of whole numbers")
        fits = len(value) == 2 and all(type(end) is int and abs(end) <= 1000 for end in value) and value[0] < value[1]
        if not fits:
            self.wrong(name, f"{value!r} is no pair of whole numbers, the lower one first")
            return default
        return value[0], value[1]

    def categories(self, name: str) -> tuple[str, ...]:
        """Categories of the taxonomy as ``aspect/category``."""
        value = self._get(name, [], (list,), "a list of ASPECT/CATEGORY")
        known = {f"{aspect.id}/{category}" for aspect in ASPECTS.values() for category in aspect.category_ids}
        for entry in value:
            if entry not in known:
                self.wrong(name, f"{str(entry)[:80]!r} is no ASPECT/CATEGORY of the taxonomy")
        return tuple(str(entry) for entry in value)

    def levels(self, name: str, scale: tuple[int, int]) -> tuple[tuple[int, str], ...]:
        """What answers mean: a table of answer to text."""
        value = self._get(name, {}, (dict,), "a table of answers to text")
        found = []
        for level, text in value.items():
            number = int(level) if re.fullmatch(r"-?\d{1,4}", str(level)) else None
            if number is None or not scale[0] <= number <= scale[1] or not isinstance(text, str):
                self.wrong(name, f"{str(level)[:40]!r} is no answer on the scale, or its meaning no text")
            else:
                found.append((number, text[:MAX_TEXT]))
        return tuple(sorted(found))
