"""The forms in which votes come from elsewhere, and how each is read: answers that a page of `javisbench votes page`
saved, tables of pairs or ratings, VBench's annotations, files of votes made earlier.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

from javisbench.errors import UsageError
from javisbench.registry import did_you_mean
from javisbench.results.votes.known import Known
from javisbench.results.votes.page_key import PageKey
from javisbench.results.votes.record import (
    ANSWERS,
    MAX_NAME,
    MAX_TEXT,
    MAX_VOTES,
    OVERALL_QUESTION,
    Answer,
    Vote,
    is_votes_file,
    load_votes,
)
from javisbench.strict_json import parse_json
from javisbench.suite_rows import MAX_SUITE_BYTES, Problem, Rows, read_loose_table, read_text
from javisbench.text import printable

ROLES: Mapping[str, tuple[str, ...]] = {
    "sample": ("sample_id", "sample", "prompt_id", "question_id", "item_id", "item"),
    "text": ("prompt", "prompt_en", "text", "caption"),
    "repeat": ("repeat",),
    "model_a": ("model_a", "model_1", "model_left", "left_model", "system_a", "method_a"),
    "model_b": ("model_b", "model_2", "model_right", "right_model", "system_b", "method_b"),
    "winner": ("winner", "better", "preference", "preferred", "vote", "answer", "choice"),
    "model": ("model", "system", "method"),
    "rating": ("rating", "score", "mos", "stars"),
    "voter": (
        "voter", "voter_id", "judge", "annotator", "annotator_id", "rater", "rater_id", "user", "user_id", "worker",
        "worker_id", "participant", "participant_id", "evaluation_session_id",
    ),
    "question": ("question", "criterion", "dimension", "aspect"),
}  # fmt: skip
"""What a column may be, and the names by which it is known, the first one that a table has winning."""
ONE_HOT: Mapping[str, Answer] = {"winner_model_a": "a", "winner_model_b": "b", "winner_tie": "tie"}
"""Columns of 0 and 1 that some arenas have in place of a winner."""
ANSWER_WORDS: Mapping[str, Answer] = {
    "a": "a", "model_a": "a", "left": "a", "first": "a", "model_1": "a",
    "b": "b", "model_b": "b", "right": "b", "second": "b", "model_2": "b",
    "tie": "tie", "draw": "tie", "equal": "tie", "same": "tie", "both good": "tie", "both_good": "tie",
    "bad": "bad", "both bad": "bad", "both_bad": "bad", "bothbad": "bad", "tie (bothbad)": "bad",
    "tie (both bad)": "bad",
}  # fmt: skip
"""Answers as they are usually written, in any case; a model's own name is one too. Numbers mean one thing here and
another there, so that what they mean must be said."""
PAGE_ANSWERS: Mapping[str, Answer] = {"1": "a", "2": "b", "tie": "tie", "bad": "bad"}
_Rated: TypeAlias = tuple[str, str, str, str]
"""Voter, question, sample and repeat of a rating."""
MAX_REASONS = 100
_NUMBER = re.compile(r"[-+]?[0-9.]+")
_REPEAT_OF_FILE = re.compile(r"-([0-9]{1,4})\.[A-Za-z0-9]+$")


@dataclass(frozen=True)
class ImportOptions:
    """How files are read.

    Attributes:
        columns: role (see `ROLES`) to the name of the column that has it.
        answers: a cell of the winner's column to what it means.
        models: a name in the files to the name in the runs.
        question: what all rows answer, where no column says it.
        keys: of pages whose answers are read, by the page's id.
        salt: what pseudonyms of voters are made with; None to keep their names.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    question: str | None = None
    keys: Mapping[str, PageKey] = field(default_factory=dict)
    salt: bytes | None = None

    def __post_init__(self) -> None:
        for role in self.columns:
            if role not in ROLES:
                raise UsageError(f"There is no role {role!r}.{did_you_mean(role, ROLES)} Roles: {', '.join(ROLES)}.")
        for cell, answer in self.answers.items():
            if answer not in ANSWERS:
                raise UsageError(f"The answer {cell!r} is to mean {answer!r}; it can mean {', '.join(ANSWERS)}.")


class LeftOutError(Exception):
    """A row that is no vote; the argument says why."""


@dataclass
class Collected:
    """What has been read so far."""

    votes: list[Vote] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    questions: dict[str, str] = field(default_factory=dict)
    kept_names: bool = False

    def leave_out(self, reason: str, place: str, count: int = 1) -> None:
        """Count rows that are no votes, by their reason; `place` is where the first one stands."""
        reason = printable(reason)[:MAX_TEXT]
        if reason not in self.left_out and len(self.left_out) >= MAX_REASONS:
            reason = "for further reasons"
        self.left_out[reason] += count
        self.first.setdefault(reason, place)

    def add(self, vote: Vote, place: str) -> None:
        """Keep a vote, and where it stands."""
        if len(self.votes) >= MAX_VOTES:
            raise UsageError(f"There are more than {MAX_VOTES:,} votes; import them in parts.")
        self.votes.append(vote)
        self.places.append(place)


@dataclass
class VoteReader:
    """Reads files into what was collected."""

    options: ImportOptions
    known: Known | None
    found: Collected

    def read(self, file: Path) -> tuple[str, int]:
        """A file's form and its number of rows."""
        if file.suffix.lower() == ".json":
            entries = _json_list(file)
            if any(isinstance(entry, dict) and "human_anno" in entry for entry in entries):
                return self._vbench(file, entries)
            table = _as_rows(file, entries)
        elif is_votes_file(file):
            return self._votes(file)
        else:
            table = read_loose_table(file)
        bad = {problem.row for problem in table.problems}
        for problem in table.problems:
            if problem.row == 0 or "not readable as CSV" in problem.reason:
                raise UsageError(_unreadable(file, problem))
            self.found.leave_out("not readable as a row of the table", f"{file.name}, row {problem.row}")
        if not table.columns:
            if table.problems:
                raise UsageError(_unreadable(file, table.problems[0]))
            raise UsageError(f"{file} is empty, or names no columns. docs/votes.md lists the columns that are read.")
        rows = [(n, row) for n, row in zip(table.numbers, table.rows, strict=False) if n not in bad]
        count = len(rows) + len(bad)
        if {"page", "pair", "answer"} <= set(table.columns):
            self._page(file, rows)
            return "page", count
        columns = self._columns(file, table.columns)
        if "model_a" in columns:
            self._pairs(file, rows, columns)
            return "pairs", count
        self._ratings(file, rows, columns)
        return "ratings", count

    def _columns(self, file: Path, names: Sequence[str]) -> dict[str, str]:
        """Role to column, as it was told or is guessed.

        Raises:
            UsageError: a column that was told is not there, or what makes a vote lacks.
        """
        told = self.options.columns
        for role, name in told.items():
            if name not in names:
                raise UsageError(f"{file} has no column {name!r} ({role}).{did_you_mean(name, names)}")
        lower = {name.lower(): name for name in reversed(names)}
        guessed = {
            role: found
            for role, known in ROLES.items()
            if (found := next((lower[k] for k in known if k in lower), None))
        }
        free = {role: name for role, name in guessed.items() if role not in told and name not in told.values()}
        columns = {**free, **told}
        one_hot = all(name in lower for name in ONE_HOT)
        has_pairs = "model_a" in columns and "model_b" in columns and ("winner" in columns or one_hot)
        has_ratings = "model" in columns and "rating" in columns
        if not (has_pairs or has_ratings) or not {"sample", "text"} & columns.keys():
            raise UsageError(
                f"{file} has the columns {', '.join(map(repr, names[:20]))}. Votes on pairs need model_a, model_b and "
                f"winner, ratings need model and rating, both the sample (or text, the prompt). Say which column is "
                f"what: --column winner=NAME. docs/votes.md lists the names that are known."
            )
        if not has_pairs:
            columns = {role: name for role, name in columns.items() if role not in ("model_a", "model_b", "winner")}
        return columns

    # Pairs

    def _pairs(self, file: Path, rows: Iterable[tuple[int, Mapping[str, Any]]], columns: Mapping[str, str]) -> None:
        rows = list(rows)
        self._refuse_numbers(file, rows, columns)
        for number, row in rows:
            place = f"{file.name}, row {number}"
            try:
                cells = {role: _cell(row.get(name)) for role, name in columns.items()}
                models = cells["model_a"], cells["model_b"]
                answer = self._answer(cells["winner"], models) if "winner" in columns else _one_hot(row)
                self._add(cells, models, answer, place)
            except LeftOutError as reason:
                self.found.leave_out(str(reason), place)

    def _refuse_numbers(
        self, file: Path, rows: Sequence[tuple[int, Mapping[str, Any]]], columns: Mapping[str, str]
    ) -> None:
        """Numbers as answers must be explained: 1 may be the first model, or a win of it against 0."""
        if "winner" not in columns:
            return
        cells = {_cell(row.get(columns["winner"])) for _, row in rows}
        untold = sorted(cell for cell in cells if _NUMBER.fullmatch(cell) and cell not in self.options.answers)
        if untold:
            raise UsageError(
                f"{file}: the column {columns['winner']!r} holds {', '.join(untold[:5])}, and nothing says which is "
                f"better. Say it: --answer {untold[-1]}=a --answer {untold[0]}=b (a: model_a is better; b, tie, bad)."
            )

    def _answer(self, cell: str, models: tuple[str, str]) -> Answer:
        if cell in self.options.answers:
            return cast(Answer, self.options.answers[cell])
        if cell and cell in models:
            return "a" if cell == models[0] else "b"
        answer = ANSWER_WORDS.get(cell.lower())
        if answer is None:
            raise LeftOutError(f"the answer {cell[:40]!r} is not understood" if cell else "there is no answer")
        return answer

    def _add(
        self,
        cells: Mapping[str, str],
        models: tuple[str, str],
        answer: Answer,
        place: str,
        sample: str | None = None,
        voter: str | None = None,
    ) -> None:
        """Add one vote; a `sample` or `voter` that is known already is taken as it is.

        Raises:
            LeftOutError: it is none.
        """
        repeat = _repeat(cells.get("repeat", ""))
        a, b = (self._model(name) for name in models)
        if a == b:
            raise LeftOutError("a model against itself")
        sample_id = sample or self._sample(cells)
        for model in (a, b):
            self._check_clip(model, sample_id, repeat)
        question = cells.get("question", "") or self.options.question or OVERALL_QUESTION
        if len(question) > MAX_NAME:
            raise LeftOutError(f"a question of more than {MAX_NAME} characters")
        who = self._voter(cells.get("voter", "")) if voter is None else voter
        self.found.add(Vote(sample_id, repeat, a, b, answer, who, question), place)

    def _model(self, name: str) -> str:
        name = self.options.models.get(name, name)
        if not name:
            raise LeftOutError("a model is not named")
        if len(name) > MAX_NAME:
            raise LeftOutError(f"a model's name of more than {MAX_NAME} characters")
        if self.known is not None and self.known.clips is not None and name not in self.known.clips:
            near = did_you_mean(name, self.known.clips)
            raise LeftOutError(f"no run of the model {name[:80]!r}.{near}".rstrip("."))
        return name

    def _sample(self, cells: Mapping[str, str]) -> str:
        sample, text = cells.get("sample", ""), cells.get("text", "")
        if self.known is None or not self.known.samples:
            if not (sample or text) or len(sample or text) > MAX_TEXT:
                raise LeftOutError("no prompt is named")
            return sample or text
        if sample in self.known.samples:
            return sample
        for told in filter(None, (text, sample)):
            if (by_text := self.known.texts.get(" ".join(told.split()))) is not None:
                return by_text
        raise LeftOutError(f"no such prompt in {self.known.suite}" if sample or text else "no prompt is named")

    def _check_clip(self, model: str, sample_id: str, repeat: int) -> None:
        # A summary alone says nothing of its clips.
        if self.known is None or not self.known.clips or not self.known.clips[model]:
            return
        if (sample_id, repeat) not in self.known.clips[model]:
            raise LeftOutError(f"{model} has no such clip")

    def _voter(self, name: str) -> str:
        if not name or self.options.salt is None:
            return name[:MAX_NAME]
        return pseudonym(name, self.options.salt)

    # Ratings

    def _ratings(self, file: Path, rows: Iterable[tuple[int, Mapping[str, Any]]], columns: Mapping[str, str]) -> None:
        """Ratings of one person of the clips of one prompt, two by two: people's scales differ."""
        groups: dict[_Rated, dict[str, tuple[float, str]]] = {}
        unclear: set[tuple[_Rated, str]] = set()
        count = 0
        for number, row in rows:
            place = f"{file.name}, row {number}"
            try:
                cells = {role: _cell(row.get(name)) for role, name in columns.items()}
                value = _rating(cells["rating"])
                key = (cells.get("voter", ""), cells.get("question", ""), self._sample(cells), cells.get("repeat", ""))
                model = self._model(cells["model"])
            except LeftOutError as reason:
                self.found.leave_out(str(reason), place)
                continue
            earlier = groups.setdefault(key, {}).get(model)
            if earlier is not None and earlier[0] != value:
                unclear.add((key, model))
            if earlier is not None:
                word = (
                    "a second rating of one clip by one person" if key[0] else "a second rating of one clip by nobody"
                )
                self.found.leave_out(word, place)
            else:
                groups[key][model] = value, place
            count += 1
        votes = len(self.found.votes)
        for key, rated in groups.items():
            for model in [model for model in rated if (key, model) in unclear]:
                self.found.leave_out("ratings of one clip by one person that differ", rated.pop(model)[1])
            self._rated_pairs(key, rated)
        made = len(self.found.votes) - votes
        self.found.notices.append(
            f"{file.name}: {count:,} rating{'s' * (count != 1)} became {made:,} vote{'s' * (made != 1)}: those of one "
            f"person on one prompt, two by two"
        )

    def _rated_pairs(self, key: _Rated, rated: Mapping[str, tuple[float, str]]) -> None:
        from itertools import combinations

        voter, question, sample_id, repeat = key
        cells = {"voter": voter, "question": question, "repeat": repeat}
        if len(rated) == 1:
            self.found.leave_out("the only rating of a person on a prompt", next(iter(rated.values()))[1])
        for (a, (first, place)), (b, (second, _)) in combinations(rated.items(), 2):
            answer: Answer = "tie" if first == second else "a" if first > second else "b"
            try:
                self._add(cells, (a, b), answer, place, sample_id)
            except LeftOutError as reason:
                self.found.leave_out(str(reason), place)

    # Other forms

    def _votes(self, file: Path) -> tuple[str, int]:
        """A file of votes: what it holds, with its pseudonyms, and what it had left out."""
        earlier = load_votes(file)
        self.found.questions |= earlier.questions
        self.found.notices += earlier.notices
        for why, count in earlier.left_out.items():
            self.found.leave_out(why, file.name, count)
        self.found.kept_names |= earlier.names == "kept"
        for number, vote in enumerate(earlier.votes, start=2):
            place = f"{file.name}, line {number}"
            cells = {"sample": vote.sample_id, "repeat": str(vote.repeat), "question": vote.question}
            try:
                self._add(cells, (vote.model_a, vote.model_b), vote.answer, place, voter=vote.voter)
            except LeftOutError as reason:
                self.found.leave_out(str(reason), place)
        return "votes", len(earlier.votes)

    def _page(self, file: Path, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Answers that a page of `javisbench votes page` saved."""
        for number, row in rows:
            place = f"{file.name}, row {number}"
            cells = {name: _cell(row.get(name)) for name in ("page", "pair", "answer", "voter", "question")}
            key = self.options.keys.get(cells["page"])
            if key is None:
                raise UsageError(
                    f"{place}: answers of the page {cells['page'][:40]!r}, whose key was not given. It was written "
                    f"beside the page's folder when that was made: --key FOLDER-key.json"
                )
            self.found.questions |= dict(key.questions)
            try:
                pair = key.pairs.get(cells["pair"])
                if pair is None:
                    raise LeftOutError("no such pair on the page")
                if cells["answer"] == "skip":
                    raise LeftOutError("skipped by the voter")
                if cells["answer"] not in PAGE_ANSWERS:
                    raise LeftOutError("no answer that the page gives")
                self._add(
                    {**cells, "repeat": str(pair.repeat)},
                    (pair.left, pair.right),
                    PAGE_ANSWERS[cells["answer"]],
                    place,
                    pair.sample_id if self.known is None else self._sample({"sample": pair.sample_id}),
                )
            except LeftOutError as reason:
                self.found.leave_out(str(reason), place)

    def _vbench(self, file: Path, entries: Sequence[Any]) -> tuple[str, int]:
        """VBench's form: ``human_anno[a][b]`` is 1 where a's video is better, 0 where b's is, 0.5 for a tie."""
        for number, entry in enumerate(entries, start=1):
            place = f"{file.name}, entry {number}"
            marks = entry.get("human_anno") if isinstance(entry, dict) else None
            if not isinstance(marks, dict) or not all(isinstance(own, dict) for own in marks.values()):
                self.found.leave_out("no annotations in the entry", place)
                continue
            cells = {"text": _cell(entry.get("prompt_en")), "question": self.options.question or file.stem}
            for a, b in sorted({tuple(sorted((str(a), str(b)))) for a, own in marks.items() for b in own if a != b}):
                try:
                    answer = _vbench_answer(marks.get(a, {}).get(b), marks.get(b, {}).get(a))
                    self._add({**cells, "repeat": _vbench_repeat(entry.get("videos"), a, b)}, (a, b), answer, place)
                except LeftOutError as reason:
                    self.found.leave_out(str(reason), place)
        return "vbench", len(entries)


def _vbench_answer(forward: Any, backward: Any) -> Answer:
    words: dict[float, Answer] = {1.0: "a", 0.5: "tie", 0.0: "b"}
    told = [mark for mark in (forward, None if backward is None else _mirrored(backward)) if mark is not None]
    if any(isinstance(mark, bool) or not isinstance(mark, int | float) or mark not in words for mark in told):
        raise LeftOutError("an annotation that is not 0, 0.5 or 1")
    if len({float(mark) for mark in told}) != 1:
        raise LeftOutError("annotations of one pair that contradict each other")
    return words[float(told[0])]


def _mirrored(mark: Any) -> Any:
    return 1 - mark if isinstance(mark, int | float) and not isinstance(mark, bool) else mark


def _vbench_repeat(videos: Any, a: str, b: str) -> str:
    """The number at the end of both videos' names, where it is the same."""
    names = [str(videos.get(model, "")) if isinstance(videos, dict) else "" for model in (a, b)]
    found = {match[1] if (match := _REPEAT_OF_FILE.search(name)) else "0" for name in names}
    return found.pop() if len(found) == 1 else "0"


def _json_list(file: Path) -> list[Any]:
    try:
        found = parse_json(read_text(file, MAX_SUITE_BYTES))
    except ValueError as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, list):
        raise UsageError(f"{file} is no list of objects; JSON with one vote an object is: [{{...}}, {{...}}].")
    return found


def _unreadable(file: Path, problem: Problem) -> str:
    place = f"{file}, row {problem.row}" if problem.row else str(file)
    column = f"column {problem.column}: " if problem.column else ""
    return printable(f"{place} cannot be read: {column}{problem.reason}")


def _as_rows(file: Path, entries: Sequence[Any]) -> Rows:
    rows = Rows(file.name)
    for number, entry in enumerate(entries):
        if isinstance(entry, dict):
            rows.rows.append(entry)
            rows.numbers.append(number + 1)
        else:
            rows.problem(number, "", "not a JSON object ({...})")
    rows.columns = list(dict.fromkeys(name for row in rows.rows for name in row))
    return rows


def _cell(value: Any) -> str:
    """A cell as text on one line; what is no text or number is none."""
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return printable(str(value).strip()) if isinstance(value, str | int | float) else ""


def _one_hot(row: Mapping[str, Any]) -> Answer:
    lower = {name.lower(): value for name, value in row.items()}
    said = [answer for name, answer in ONE_HOT.items() if _cell(lower.get(name)) in ("1", "true", "True")]
    if len(said) != 1:
        raise LeftOutError("not exactly one of winner_model_a, winner_model_b and winner_tie is 1")
    return said[0]


def _repeat(cell: str) -> int:
    if not cell:
        return 0
    if not cell.isascii() or not cell.isdigit() or len(cell) > 4:
        raise LeftOutError("a repeat that is no number from 0 to 9999")
    return int(cell)


def _rating(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LeftOutError("a rating that is no number")
    return value


def pseudonym(name: str, salt: bytes) -> str:
    """What stands for a voter: the same for the same name and salt; without the salt nobody can find the name by trying
    names out."""
    return f"v-{hmac.new(salt, name.encode(), hashlib.sha256).hexdigest()[:12]}"
