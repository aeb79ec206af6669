"""Reading results back: a run folder, a summary.json alone, or a folder that a verified submission was unpacked into.

A file that came from somebody else is not trusted: its size is bounded before it is read, every value is checked
for its type, and text is bounded in length. Unknown keys are ignored, so that newer writers can add facts.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from javisbench.durable import read_json, read_jsonl
from javisbench.errors import RunError, UsageError
from javisbench.own_aspects import MAX_OWN_ASPECTS, MAX_OWN_CATEGORIES, describe
from javisbench.protocol import protocol_label, recorded_revision
from javisbench.results.cell import NOT_APPLICABLE, OVERALL, STATUSES, Cell, slice_name
from javisbench.results.checked_json import Checker, check_size
from javisbench.results.parquet import DETAILS, SAMPLES, SCORES, read_parquet
from javisbench.results.seal import check_generation, check_manifest, check_summary, check_tables
from javisbench.tasks import Task, task_named
from javisbench.taxonomy import ASPECTS, TAXONOMY, Aspect, Category
from javisbench.text import printable

if TYPE_CHECKING:
    import pandas as pd

    from javisbench.stats import Status

SUMMARY_SCHEMA = 1
MANIFEST_SCHEMA = 1
MAX_FAILURES_BYTES = 2**30
MAX_FAILURES = 1_000_000
NOT_AS_ASKED = "not_as_asked.jsonl"
"""File of a run folder: a line a clip that is not as the model was asked."""
MAX_TEXT = 4000
MAX_NAME = 200
MAX_METRICS = 200
MAX_FACTS = 50
MAX_DIGITS = 12
_OWN_ID = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")
_MANIFEST_PARTS = ("model", "suite", "generation", "matching", "scoring", "versions")


@dataclass(frozen=True)
class SampleInfo:
    """What is known of a prompt: its text, and its categories as ``aspect/category``."""

    text: str
    categories: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """A sample that could not be generated, read or scored; fields as in failures.jsonl."""

    sample_id: str
    repeat: int
    stage: str
    metric: str | None
    kind: str
    message: str


@dataclass(frozen=True)
class StoredCard:
    """What a result says of a metric of another package, for where that is not installed.

    Attributes:
        package: with its version; empty where not said.
        title: of its column; empty where the package did not import when the result was made.
        higher_is_better: None when neither direction is better, or not said.
        unit: of the value, or empty.
        digits: after the point in tables.
        kind: one value a sample, or one a set of clips.
    """

    package: str
    title: str = ""
    higher_is_better: bool | None = None
    unit: str = ""
    digits: int = 3
    kind: Literal["sample", "set"] = "sample"


@dataclass(frozen=True)
class StoredResult:
    """One run under one protocol.

    Attributes:
        path: the folder or file that it was read from.
        folder: where scores.parquet and details.parquet lie; None for a summary.json alone.
        clips: the folder with the clips; None when there are none beside the result.
        model: name for tables.
        slug: the model's name, safe for files; other names may share it.
        suite: name of the suite.
        suite_hash: of its rows.
        samples: clips asked for (prompts times repeats).
        protocol: name.
        revision: of the protocol.
        stand_in: whether the weights were stand-ins.
        audio: clips by where their sound came from.
        card: the model card, or None.
        document: all of summary.json.
        manifest: run.json; empty without one.
        metrics: metric id to slice to cell; slices are ``overall`` and ``aspect/category``.
        failures: what went wrong.
        not_applicable: clips that a metric does not apply to, with the reason.
        own_aspects: aspects that columns of the suite made, besides the taxonomy's.
        plugins: metrics of other packages by id, as they were when the result was made.
        task: what the suite gave, and what the model made of it (`javisbench.tasks`).
        given: SHA-256 over the files that the suite gave; empty where it gave none.
    """

    path: Path
    folder: Path | None
    clips: Path | None
    model: str
    slug: str
    suite: str
    suite_hash: str
    samples: int
    protocol: str
    stand_in: bool
    audio: Mapping[str, int]
    card: Mapping[str, Any] | None
    document: Mapping[str, Any] = field(repr=False)
    manifest: Mapping[str, Any] = field(repr=False)
    metrics: Mapping[str, Mapping[str, Cell]] = field(repr=False)
    failures: tuple[Failure, ...] = field(repr=False)
    own_aspects: tuple[Aspect, ...] = field(default=(), repr=False)
    revision: int = 1
    not_applicable: tuple[Failure, ...] = field(default=(), repr=False)
    plugins: Mapping[str, StoredCard] = field(default_factory=dict, repr=False)
    task: Task = "t2av"
    given: str = ""

    @property
    def protocol_label(self) -> str:
        """The protocol's name, with its revision where that is not today's: ``javisbench-v2 (revision 1)``."""
        return protocol_label(self.protocol, self.revision)

    @property
    def aspects(self) -> tuple[Aspect, ...]:
        """The aspects that there may be slices of."""
        return (*TAXONOMY, *self.own_aspects)

    @property
    def run(self) -> Mapping[str, Any]:
        """All facts of the summary's ``run`` part."""
        facts: Mapping[str, Any] = self.document["run"]
        return facts

    @property
    def key(self) -> str:
        """What tells this result from others of a board: model, suite and protocol with its revision."""
        return json.dumps([self.model, self.suite, self.protocol_label])

    def cell(self, metric: str, aspect: str | None = None, category: str | None = None) -> Cell | None:
        """The value of one metric, over all samples or over a category; None where the summary has none."""
        name = OVERALL if aspect is None or category is None else slice_name(aspect, category)
        return self.metrics.get(metric, {}).get(name)

    def has_aspect(self, metric: str, aspect: str) -> bool:
        """Whether the metric has any category of the aspect."""
        return any(name.startswith(f"{aspect}/") for name in self.metrics.get(metric, {}))

    @property
    def failed_samples(self) -> int:
        """Clips with at least one failure."""
        return len({(failure.sample_id, failure.repeat) for failure in self.failures})

    @property
    def family(self) -> str:
        """``t2av``, ``t2v+v2a``, ... from the model card, or empty."""
        return self._card_text("family")

    @property
    def licence(self) -> str:
        """Licence of the weights from the model card, or empty."""
        return self._card_text("licence_weights", "licence", "license", "licence_code")

    @property
    def reference_kind(self) -> str:
        """What the real side of the set metrics was (``clips``, ``cache``, ``statistics``), or empty."""
        reference = self.run.get("reference")
        kind = reference.get("kind") if isinstance(reference, dict) else None
        return kind if isinstance(kind, str) else ""

    @property
    def params_b(self) -> float | None:
        """Parameters in billions from the model card, or None."""
        card = self.card or {}
        for name, unit in (("params_b", 1.0), ("parameters_b", 1.0), ("parameters", 1e9), ("parameters_total", 1e9)):
            value = card.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e15:
                return float(value) / unit
        return None

    def _card_text(self, *names: str) -> str:
        for name in names:
            value = (self.card or {}).get(name)
            if isinstance(value, dict):
                value = value.get("weights", value.get("code"))
            if isinstance(value, str) and value.strip():
                return printable(value)[:MAX_NAME]
        return ""

    def samples_by_id(self) -> dict[str, SampleInfo]:
        """Prompts and categories by sample id: from samples.parquet, else from the suite when it is one that javisbench
        knows, is on this machine, and has the hash that the run was made with. Empty when neither is there.

        Raises:
            RunError: samples.parquet cannot be read.
        """
        frame = self._parquet("samples.parquet", SAMPLES)
        if frame is not None:
            rows = zip(frame["sample_id"], frame["text"], frame["categories"], strict=True)
            return {
                str(sample_id): SampleInfo(str(text or "")[:MAX_TEXT], tuple(map(str, categories)))
                for sample_id, text, categories in rows
            }
        return self._samples_of_suite()

    def _samples_of_suite(self) -> dict[str, SampleInfo]:
        from javisbench.cards import suite_cards
        from javisbench.errors import JavisbenchError
        from javisbench.suite import load_suite

        # The name comes from the file: it must never be taken for a path.
        if self.suite not in suite_cards():
            return {}
        try:
            suite = load_suite(self.suite, offline=True)
        except JavisbenchError:
            return {}
        if suite.hash != self.suite_hash:
            return {}
        return {
            sample.id: SampleInfo(
                sample.text[:MAX_TEXT],
                tuple(
                    slice_name(aspect, category) for aspect, found in sample.categories.items() for category in found
                ),
            )
            for sample in suite
        }

    def scores(self) -> pd.DataFrame | None:
        """scores.parquet: sample_id, repeat, one column a per-sample metric; None where the file is not there.

        Raises:
            RunError: it is there, but cannot be read.
        """
        return self._parquet("scores.parquet", SCORES)

    def details(self) -> pd.DataFrame | None:
        """details.parquet: sample_id, repeat, metric, name, values; None where the file is not there.

        Raises:
            RunError: it is there, but cannot be read.
        """
        return self._parquet("details.parquet", DETAILS)

    def _parquet(self, name: str, columns: Mapping[str, str]) -> pd.DataFrame | None:
        if self.folder is None or not (self.folder / name).is_file():
            return None
        return read_parquet(self.folder / name, columns)


def read_manifest(run: Path) -> dict[str, Any]:
    """The manifest of a run, ``run.json``; empty when there is none yet.

    Raises:
        RunError: it is damaged, or of a newer version of javisbench.
    """
    path = run / "run.json"
    if not path.exists():
        return {}
    check_size(path)
    manifest = read_json(path)
    if not isinstance(manifest, dict):
        raise RunError(f"{path} is no run manifest. Choose another folder with --out.", kind="damaged")
    check = Checker(str(path))
    if check.count(manifest.get("schema", 0), "schema") > MANIFEST_SCHEMA:
        raise RunError(f"{run} was written by a newer javisbench ({manifest.get('versions')}). Update this one.")
    for part in _MANIFEST_PARTS:
        check.mapping(manifest.get(part, {}), part)
    check_manifest(manifest, path)
    return manifest


def read_failures(folder: Path) -> list[dict[str, Any]]:
    """The rows of a folder's ``failures.jsonl``, as they were written; torn lines are skipped.

    Raises:
        RunError: too large, or a row without a sample, or with a field of another type.
    """
    path = folder / "failures.jsonl"
    if not path.exists():
        return []
    check_size(path, MAX_FAILURES_BYTES)
    rows = read_jsonl(path, MAX_FAILURES + 1)
    _failures(Checker(str(path)), rows)
    return rows


def count_not_as_asked(run: Path) -> int:
    """Clips that the run's ``not_as_asked.jsonl`` lists.

    Raises:
        RunError: the file is too large.
    """
    path = run / NOT_AS_ASKED
    if not path.exists():
        return 0
    check_size(path, MAX_FAILURES_BYTES)
    return len(read_jsonl(path, MAX_FAILURES))


def protocol_folder(run: Path, name: str | None, first: str | None) -> Path:
    """Where a protocol's scores and summary lie: the top level for the run's first, else ``protocols/<name>``."""
    return run if name in (None, first) else run / "protocols" / str(name)


def load_protocol(run: Path, protocol: str | None = None) -> StoredResult:
    """A run's result under one protocol; under its first for None.

    Raises:
        RunError: as `load_results`.
    """
    return load_result(protocol_folder(run, protocol, read_manifest(run).get("first_protocol")))


def load_results(path: Path | str, *, follow_clips: bool = True) -> list[StoredResult]:
    """All results of a run: the protocol it was given first, then those under ``protocols/``.

    Args:
        path: a run folder (or one ``protocols/NAME`` folder of it), or a summary.json.
        follow_clips: whether clips may be looked for where run.json says they lie, outside the run folder. False for
            folders that somebody else wrote, whose seals say nothing either.

    Raises:
        RunError: there is no result there, or it is damaged or of two scorings (`javisbench.results.seal`); the message
            says which file and field.
    """
    path = Path(path)
    first = load_result(path, follow_clips=follow_clips)
    more = sorted((path / "protocols").glob("*/summary.json")) if path.is_dir() else []
    results = [first, *(_load(summary, summary.parent, path, follow_clips) for summary in more)]
    by_key = {result.key: result for result in reversed(results)}
    return list(reversed(by_key.values()))


def load_result(path: Path | str, *, follow_clips: bool = True) -> StoredResult:
    """One result.

    Args:
        path: a folder with a summary.json, or such a file.
        follow_clips: as for `load_results`.

    Raises:
        RunError: as `load_results`.
    """
    path = Path(path)
    if path.is_dir():
        summary = path / "summary.json"
        if not summary.is_file():
            inside = sorted(str(p.parent) for p in path.glob("*/summary.json"))[:3]
            hint = f" Did you mean {' or '.join(inside)}?" if inside else " Score it first: javisbench score."
            raise RunError(f"There is no summary.json in {path}.{hint}")
        run = path.parent.parent if path.parent.name == "protocols" else path
        return _load(summary, path, run, follow_clips)
    if not path.is_file():
        raise RunError(f"There is no run folder or summary.json at {path}.")
    return _load(path, None, None, follow_clips)


def _load(summary: Path, folder: Path | None, run_folder: Path | None, follow_clips: bool) -> StoredResult:
    check = Checker(str(summary))
    data = check.read(summary)
    if data.get("schema") != SUMMARY_SCHEMA:
        raise RunError(
            f"{summary} has schema {data.get('schema')!r}; this javisbench reads {SUMMARY_SCHEMA}. "
            "Update javisbench, or score the run again."
        )
    run = check.mapping(data.get("run"), "run")
    suite = check.text(run, "suite", MAX_NAME)
    protocol = check.text(run, "protocol", MAX_NAME)
    model = check.text(run, "model", MAX_NAME)
    manifest = {} if run_folder is None else read_manifest(run_folder)
    told = manifest.get("model", {})
    own_aspects = tuple(_own_aspects(check, run.get("aspects", [])))
    rows = _failures(check, data.get("failures", []))
    result = StoredResult(
        path=summary if folder is None else folder,
        folder=folder,
        clips=_clip_folder(run_folder, told, follow_clips),
        model=model,
        slug=_slug(model),
        suite=suite,
        suite_hash=check.text(run, "suite_hash", MAX_NAME, default=""),
        samples=check.count(run.get("samples", 0), "run.samples"),
        protocol=protocol,
        stand_in=check.flag(run.get("stand_in", False), "run.stand_in"),
        audio=_audio(check, run.get("audio", {})),
        card=_card(check, run.get("card", told.get("card"))),
        document=data,
        manifest=manifest,
        metrics=_metrics(check, data.get("metrics"), (*TAXONOMY, *own_aspects)),
        failures=tuple(row for row in rows if row.stage != NOT_APPLICABLE),
        not_applicable=tuple(row for row in rows if row.stage == NOT_APPLICABLE),
        own_aspects=own_aspects,
        revision=_revision(check, run),
        plugins=dict(_stored_cards(check, run.get("plugins", {}))),
        task=_task(check, run),
        given=check.text(run, "given", MAX_NAME, default=""),
    )
    # Last, since what is wrong with a value says more than that something is.
    if follow_clips:
        check_summary(data, summary)
        if folder is not None:
            check_tables(data, folder)
            check_generation(data, manifest, protocol, folder)
    return result


def _stored_cards(check: Checker, value: Any) -> Iterator[tuple[str, StoredCard]]:
    cards = check.mapping(value, "run.plugins")
    if len(cards) > MAX_METRICS:
        check.fail("run.plugins", f"has {len(cards):,} entries; at most {MAX_METRICS} are read")
    for metric, facts in cards.items():
        where = f"run.plugins.{check.id(metric, 'run.plugins')}"
        card = check.mapping(facts, where)
        better, kind = card.get("higher_is_better"), card.get("kind", "sample")
        if kind not in ("sample", "set"):
            check.fail(f"{where}.kind", "is neither sample nor set")
        yield (
            metric,
            StoredCard(
                package=check.text(card, "package", MAX_NAME, default=""),
                title=check.text(card, "title", MAX_NAME, default=""),
                higher_is_better=None if better is None else check.flag(better, f"{where}.higher_is_better"),
                unit=check.text(card, "unit", MAX_NAME, default=""),
                digits=min(check.count(card.get("digits", 3), f"{where}.digits"), MAX_DIGITS),
                kind=kind,
            ),
        )


def _task(check: Checker, run: Mapping[str, Any]) -> Task:
    """Of the suite; text to sounding video where none is recorded."""
    try:
        return task_named(run.get("task", "t2av"))
    except ValueError as error:
        check.fail("run.task", str(error))


def _revision(check: Checker, run: Mapping[str, Any]) -> int:
    """Of the protocol; 1 where none is recorded."""
    try:
        return recorded_revision(run.get("protocol_settings"))
    except UsageError:
        check.fail("run.protocol_settings.revision", "is no revision of a protocol")


def _clip_folder(run_folder: Path | None, told: Mapping[str, Any], follow_clips: bool) -> Path | None:
    if run_folder is None:
        return None
    if (run_folder / "clips").is_dir():
        return run_folder / "clips"
    elsewhere = told.get("clips")
    if follow_clips and isinstance(elsewhere, str):
        with contextlib.suppress(OSError):  # a name that no file system takes
            return Path(elsewhere) if Path(elsewhere).is_dir() else None
    return None


def _card(check: Checker, card: Any) -> Mapping[str, Any] | None:
    """A model card: given in full, or the id of one that ships with javisbench."""
    if card is None or isinstance(card, dict):
        return card
    from javisbench.cards import read_cards

    return read_cards("models").get(check.string(card, "run.card", MAX_NAME))


def _audio(check: Checker, value: Any) -> dict[str, int]:
    counts = check.mapping(value, "run.audio")
    return {
        key: check.count(counts[key], f"run.audio.{key}") for key in ("sidecar", "container", "none") if key in counts
    }


def _slug(name: str) -> str:
    """A name that is safe in files and links, whatever the summary said."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:80] or "model"


def _own_aspects(check: Checker, value: Any) -> Iterator[Aspect]:
    taken = {*ASPECTS, OVERALL}
    for entry, id_, title in _named(check, value, "run.aspects", MAX_OWN_ASPECTS):
        if id_ in taken:
            check.fail("run.aspects", f"names {id_} twice, or after an aspect of the taxonomy")
        taken.add(id_)
        found = {i: t for _, i, t in _named(check, entry.get("categories"), f"run.aspects.{id_}", MAX_OWN_CATEGORIES)}
        yield Aspect(id_, title, describe(title), tuple(Category(i, t, "") for i, t in found.items()))


def _named(check: Checker, value: Any, where: str, most: int) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Entries with an id that is safe in names of files, and a title."""
    if not isinstance(value, list) or len(value) > most:
        check.fail(where, f"is not a list of at most {most} entries")
    for item in value:
        entry = check.mapping(item, where)
        id_ = check.text(entry, "id", MAX_NAME)
        if not _OWN_ID.fullmatch(id_):
            check.fail(where, f"has the name {id_[:80]!r}, which is no id")
        yield entry, id_, check.text(entry, "title", MAX_TEXT, default="", cut=True)[:MAX_NAME] or id_


def _metrics(check: Checker, value: Any, aspects: Sequence[Aspect]) -> dict[str, dict[str, Cell]]:
    metrics = check.mapping(value, "metrics")
    if len(metrics) > MAX_METRICS:
        check.fail("metrics", f"has {len(metrics):,} entries; at most {MAX_METRICS} are read")
    return {
        check.id(metric, "metrics"): dict(_slices(check, metric, slices, aspects)) for metric, slices in metrics.items()
    }


def _slices(check: Checker, metric: str, value: Any, aspects: Sequence[Aspect]) -> Iterator[tuple[str, Cell]]:
    slices = check.mapping(value, f"metrics.{metric}")
    if OVERALL in slices:
        yield OVERALL, _cell(check, slices[OVERALL], f"metrics.{metric}.overall")
    for aspect in aspects:
        if aspect.id in slices:
            categories = check.mapping(slices[aspect.id], f"metrics.{metric}.{aspect.id}")
            for category in aspect.category_ids:
                if category in categories:
                    name = slice_name(aspect.id, category)
                    yield name, _cell(check, categories[category], f"metrics.{metric}.{name}")


def _cell(check: Checker, value: Any, where: str) -> Cell:
    cell = check.mapping(value, where)
    number = check.number(cell.get("value"), f"{where}.value")
    low = check.number(cell.get("ci_low"), f"{where}.ci_low")
    high = check.number(cell.get("ci_high"), f"{where}.ci_high")
    if low is not None and high is not None and low > high:
        check.fail(where, "has an interval whose lower end lies above its upper end")
    status = cell.get("status", "ok")
    if status not in STATUSES:
        check.fail(f"{where}.status", f"is {status!r}; known are {', '.join(STATUSES)}")
    if status == "ok" and number is None:
        check.fail(where, "is ok but has no value")
    note = cell.get("note")
    return Cell(
        value=number,
        n=check.count(cell.get("n", 0), f"{where}.n"),
        ci_low=low,
        ci_high=high,
        status=cast("Status", status),
        note=None if note is None else check.string(note, f"{where}.note", MAX_TEXT),
        not_applicable=check.count(cell.get("not_applicable", 0), f"{where}.not_applicable"),
        facts=dict(_facts(check, cell.get("facts", {}), f"{where}.facts")),
    )


def _facts(check: Checker, value: Any, where: str) -> Iterator[tuple[str, float]]:
    facts = check.mapping(value, where)
    if len(facts) > MAX_FACTS:
        check.fail(where, f"has {len(facts):,} entries; at most {MAX_FACTS} are read")
    for name, number in facts.items():
        found = check.number(number, f"{where}.{name[:MAX_NAME]}")
        if found is not None:
            yield check.id(name, where), found


def _failures(check: Checker, value: Any) -> tuple[Failure, ...]:
    if not isinstance(value, list) or len(value) > MAX_FAILURES:
        check.fail("failures", f"is not a list of at most {MAX_FAILURES:,} entries")
    return tuple(_failure(check, item, f"failures[{i}]") for i, item in enumerate(value))


def _failure(check: Checker, item: Any, where: str) -> Failure:
    entry = check.mapping(item, where)
    metric = entry.get("metric")
    return Failure(
        sample_id=check.text(entry, "sample_id", MAX_NAME),
        repeat=check.count(entry.get("repeat", 0), f"{where}.repeat"),
        stage=check.text(entry, "stage", MAX_NAME, default=""),
        metric=None if metric is None else check.string(metric, f"{where}.metric", MAX_NAME),
        kind=check.text(entry, "kind", MAX_NAME, default=""),
        message=check.text(entry, "message", MAX_TEXT, default="", cut=True),
    )
