"""Scoring a set of clips: plan, encode, compute, summarise, and write it all into the run's folder."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.durable import patiently, write_json, write_jsonl
from javisbench.errors import FeatureError, JavisbenchError, MediaError, MetricError, PluginError
from javisbench.matching import Item, Matched
from javisbench.media import DecodeLimits
from javisbench.metrics.base import SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.registry import METRICS, card_of
from javisbench.own_aspects import own_facts
from javisbench.reference.real_side import NoReference, Reference
from javisbench.reference.wanted import Wanted
from javisbench.results.cell import NOT_APPLICABLE, NOT_COUNTED, Cell
from javisbench.results.run_folder import SUMMARY_SCHEMA, protocol_folder, read_failures
from javisbench.results.seal import GENERATION, sealed_summary
from javisbench.results.set_features import SetRows, write_set_features
from javisbench.results.summary import by_id, cells_without_value, nested, positions, sample_cells
from javisbench.results.table import metric_order
from javisbench.run.content_index import ContentIndex
from javisbench.run.encode_session import EncodeSession, Precision, arithmetic, prompt_hash
from javisbench.run.engine import Engine, LocalEngine, Work
from javisbench.run.features import FeatureStore, media_facts_key
from javisbench.run.given import GivenFiles
from javisbench.run.given_features import GivenFeatures, given_hash, given_stream
from javisbench.run.judging.case import judges_of
from javisbench.run.judging.options import JudgeOptions
from javisbench.run.judging.stage import JUDGING, Judging, served_otherwise
from javisbench.run.plan import ProtocolPlan, ScorePlan, failed
from javisbench.run.progress import ENCODING, READING, SCORING, Progress, Step
from javisbench.run.tables import PROMPTS, Details, details_tables, samples_tables, scores_tables, write_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.media import ClipSource
    from javisbench.metrics.base import SetMetric, SetValue
    from javisbench.metrics.encoders.base import Features, FeatureSpec
    from javisbench.suite import Sample, Suite
    from javisbench.transcripts import Heard, Transcripts

log = logging.getLogger(__name__)
Failure = dict[str, Any]


@dataclass(frozen=True)
class ScoreSettings:
    """How to score, apart from what: none of it changes a number beyond float rounding.

    Attributes:
        devices: torch devices, one process each where there are several.
        workers: decoding processes, in all.
        batch_clips: clips a batch; None for as many as fill the device.
        seed: of the bootstrap.
        precision: ``fp32``, ``tf32``, ``bf16`` or ``fp16``; see `javisbench.run.precision`.
        compiled: whether networks run as ``torch.compile`` makes them; likewise.
        limits: what one clip may cost.
        engine: where features are made.
        judge: how judges are asked.
        transcripts: what the user's own recogniser heard; None where nobody gave that.
    """

    devices: tuple[str, ...] = ("cpu",)
    workers: int = 1
    batch_clips: int | None = 1
    seed: int = 0
    precision: Precision = "fp32"
    compiled: bool = False
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    engine: Engine = field(default_factory=LocalEngine)
    judge: JudgeOptions = field(default_factory=JudgeOptions)
    transcripts: Transcripts | None = None


@dataclass
class ProtocolScores:
    """What one protocol gave.

    Attributes:
        name: the protocol's.
        values: metric id to float64 array, one entry an item, NaN where there is none.
        failures: rows of ``failures.jsonl``, those of clips that a metric does not apply to included.
        not_applicable: metric id to positions of items that it does not apply to.
        detailed: metric id to what it told besides scores.
        cells: metric id to flat slice name to cell.
        set_rows: name to the paired rows of the set metrics.
        generation: of the files that were written (`javisbench.results.seal`); empty before.
    """

    name: str
    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    not_applicable: dict[str, set[int]] = field(default_factory=dict)
    detailed: dict[str, Details] = field(default_factory=dict)
    cells: dict[str, dict[str, Cell]] = field(default_factory=dict)
    set_rows: dict[str, SetRows] = field(default_factory=dict)
    generation: str = ""

    @property
    def failed(self) -> int:
        """Failures that are some."""
        return len(self.failures) - sum(map(len, self.not_applicable.values()))


def score_clips(
    run: Path,
    suite: Suite,
    matched: Matched,
    plan: ScorePlan,
    settings: ScoreSettings,
    progress: Progress,
    *,
    reference: Reference | None = None,
    facts: Mapping[str, Any] | None = None,
) -> list[ProtocolScores]:
    """Score clips and write ``scores.parquet``, ``summary.json`` and the rest into the run folder.

    Args:
        run: the run's folder, locked by the caller.
        suite: the prompts.
        matched: the clips.
        plan: which metrics, under which protocols.
        settings: device, workers and seed.
        progress: shown to the user.
        reference: real features for the set metrics.
        facts: further members of ``summary.json``'s ``run``.

    Returns:
        one entry a protocol, the run's first.
    """
    job = _Job(run, suite, matched, plan, settings, progress, reference or NoReference())
    with arithmetic(settings.precision):
        results = job.run()
    for part, result in zip(plan.parts, results, strict=True):
        write = partial(_write, run, part, result, job, dict(facts or {}))
        patiently(write, settings.limits.patience_s)
    return results


def score_values(
    run: Path, suite: Suite, matched: Matched, plan: ScorePlan, settings: ScoreSettings, progress: Progress
) -> list[ProtocolScores]:
    """Score clips without real ones and write nothing but features; arguments as for `score_clips`."""
    with arithmetic(settings.precision):
        return _Job(run, suite, matched, plan, settings, progress, NoReference()).run()


@dataclass
class _Job:
    folder: Path
    suite: Suite
    matched: Matched
    plan: ScorePlan
    settings: ScoreSettings
    progress: Progress
    reference: Reference
    index: ContentIndex = field(default_factory=ContentIndex)
    given: GivenFiles = field(default_factory=GivenFiles)
    audio: dict[str, int] = field(default_factory=lambda: {"sidecar": 0, "container": 0, "none": 0})

    def run(self) -> list[ProtocolScores]:
        self.session = EncodeSession(
            self.plan.encoders,
            FeatureStore(self.folder / "features", patience_s=self.settings.limits.patience_s),
            self.settings.devices[0],
            self.settings.workers,
            self.settings.batch_clips,
            self.settings.limits,
            precision=self.settings.precision,
            compiled=self.settings.compiled,
            devices=self.settings.devices,
            listed=self.matched.places,
        )
        limits, devices = self.settings.limits, self.settings.devices
        self.judging = Judging(self.folder, self.plan, self.settings.judge, limits.patience_s, devices[0])
        try:
            self._encode()
            self._judge()
            results = [self._score(part) for part in self.plan.parts]
            if self.session.store.forgotten:
                self.progress.say(f"{self.session.store.forgotten} stored features have rotted: they are made anew")
                self._encode()
                self._judge()
                results = [self._score(part) for part in self.plan.parts]
            return results
        finally:
            self.session.close()

    @property
    def items(self) -> Sequence[Item]:
        return self.matched.items

    def _encode(self) -> None:
        sources = [item.source for item in self.items if item.source is not None]
        set_specs = frozenset(spec for part in self.plan.parts for spec in part.set_specs())
        there = set(sources)
        real = [source for source in self.reference.sources(self.suite) if source not in there] if set_specs else []
        clips = dict.fromkeys(sources, frozenset(self.plan.clip_specs())) | dict.fromkeys(real, set_specs)
        texts = [(specs, self._prompts(kind)) for kind in PROMPTS if (specs := self._text_specs(kind))]
        stream = given_stream(self.suite)
        given = None if stream is None else GivenFeatures(self.suite, stream, self.given, self.session)
        known: dict[str, str] = {}
        if given is not None:
            known = given.bring((item.sample for item in self.items), self.plan.clip_specs(), real, set_specs)
        contents = {i.source: known[i.sample.id] for i in self.items if i.source is not None and i.sample.id in known}
        self.index = self.settings.engine.encode(Work(clips, texts, contents), self.session, self.progress)
        self.session.leave_device()
        if given is not None:
            given.keep(self.items, self.plan.clip_specs(), real, set_specs, self.index)
        self._count_audio()

    def _judge(self) -> None:
        """Ask judges about the clips that can be shown to them."""
        for item in self.items:
            if item.source is not None and item.source not in self.index.errors:
                self.judging.add(item.sample, _name(item), item.repeat, self.index.hashes[item.source])
        self.judging.ask(self.session.stored, self.progress)
        for part in self.plan.parts:
            for notice in served_otherwise(self.judging.facts(part.protocol.name)):
                log.warning("%s", notice)

    def _text_specs(self, kind: str) -> frozenset[FeatureSpec]:
        return frozenset(spec for spec in self.plan.text_specs() if spec.subject == kind)

    def _prompts(self, kind: str) -> dict[ClipSource, str]:
        prompts = {item.source: _prompt(item.sample, kind) for item in self.items if item.source is not None}
        return {source: prompt for source, prompt in prompts.items() if prompt}

    def _count_audio(self) -> None:
        self.audio = dict.fromkeys(self.audio, 0)
        for item in self.items:
            key = media_facts_key(self.index.hashes.get(item.source, "")) if item.source else ""
            if facts := self.session.store.find(key):
                kind = ("none", "sidecar", "container")[int(facts["audio_source"])]
                self.audio[kind] += 1

    def _score(self, part: ProtocolPlan) -> ProtocolScores:
        result = ProtocolScores(part.protocol.name)
        for metric_id in (*part.sample_metrics, *part.set_metrics):
            broken = {spec.encoder for spec in part.specs(metric_id).values()} & self.session.broken.keys()
            if broken:
                self._fail(metric_id, self.session.broken[min(broken)], result)
        self._score_samples(part, result)
        self._score_sets(part, result)
        for metric_id, reason in part.unavailable.items():
            result.cells[metric_id] = cells_without_value(reason, self.suite)
        return result

    def _fail(self, metric_id: str, error: PluginError, result: ProtocolScores) -> None:
        """A defect of another package costs the metric its column."""
        result.cells[metric_id] = cells_without_value(failed(error), self.suite)
        result.values.pop(metric_id, None)
        result.detailed.pop(metric_id, None)

    def _score_samples(self, part: ProtocolPlan, result: ProtocolScores) -> None:
        import numpy as np

        scored = [metric_id for metric_id in part.sample_metrics if metric_id not in result.cells]
        result.values = {metric_id: np.full(len(self.items), np.nan) for metric_id in scored}
        result.detailed = {metric_id: Details() for metric_id in scored}
        specs = {metric_id: part.specs(metric_id) for metric_id in scored}
        context = SampleContext(part.protocol, self.suite.setting)
        with self.progress.stage(SCORING + part.protocol.name, len(self.items)) as stage:
            for position, item in enumerate(self.items):
                before = result.failed
                problem = self._unreadable(item)
                if problem is not None:
                    result.failures.append(problem)
                else:
                    self._score_item(part, specs, context, position, result)
                stage.advance(failed=_name(item) if result.failed > before else None)
        for metric_id in list(result.values):
            try:
                with METRICS.guarded(metric_id, "what it tells of a set of clips"):
                    result.cells[metric_id] = self._cells(metric_id, part.sample_metrics[metric_id], result)
            except PluginError as error:
                self._fail(metric_id, error, result)

    def _cells(self, metric_id: str, metric: SampleMetric, result: ProtocolScores) -> dict[str, Cell]:
        return sample_cells(
            result.values[metric_id],
            self.suite,
            self.items,
            self.settings.seed,
            metric=metric,
            not_applicable=result.not_applicable.get(metric_id, set()),
            details=result.detailed[metric_id].of,
        )

    def _unreadable(self, item: Item) -> Failure | None:
        if item.source is None:
            return _failure(item, "match", None, MediaError("There is no clip for this sample.", kind="missing_clip"))
        error = self.index.errors.get(item.source)
        return None if error is None else _failure(item, "decode", None, error)

    def _score_item(
        self,
        part: ProtocolPlan,
        specs: Mapping[str, Mapping[str, FeatureSpec]],
        context: SampleContext,
        position: int,
        result: ProtocolScores,
    ) -> None:
        item = self.items[position]
        cache: dict[FeatureSpec, Features] = {}
        for metric_id in list(result.values):
            metric = part.sample_metrics[metric_id]
            try:
                self._check_counted(part, metric_id, item)
                features = {role: self._features(item, spec, cache) for role, spec in specs[metric_id].items()}
                answers = self.judging.answers(result.name, metric_id, metric, item.sample.id, item.repeat)
                known = replace(context, sample=item.sample, answers=answers, heard=self._heard(item))
                with METRICS.guarded(metric_id, f"score of {item.label}"):
                    score = _checked(metric.score(features, known))
            except PluginError as error:
                result.failures.append(_failure(item, "metric", metric_id, error))
                self._fail(metric_id, error, result)
            except (FeatureError, MetricError) as error:
                stage = "encode" if isinstance(error, FeatureError) else "metric"
                if error.kind in metric.not_applicable or error.kind in NOT_COUNTED:
                    stage = NOT_APPLICABLE
                    result.not_applicable.setdefault(metric_id, set()).add(position)
                result.failures.append(_failure(item, stage, metric_id, error))
            else:
                result.values[metric_id][position] = score.value
                result.detailed[metric_id].add(position, score.details)

    def _heard(self, item: Item) -> Heard | None:
        given = self.settings.transcripts
        return None if given is None else given.of(item.sample.id, item.repeat)

    @staticmethod
    def _check_counted(part: ProtocolPlan, metric_id: str, item: Item) -> None:
        reason = part.protocol.not_counted(metric_id, item.sample)
        if reason is not None:
            told = f"{part.protocol.base} does not count {metric_id} for this sample: {reason}."
            raise MetricError(told, kind="not_counted")

    def _features(self, item: Item, spec: FeatureSpec, cache: dict[FeatureSpec, Features]) -> Features:
        if spec not in cache:
            cache[spec] = self.session.stored(self._content(item, spec), spec)
        return cache[spec]

    def _content(self, item: Item, spec: FeatureSpec) -> str:
        if spec.subject != "clip":
            prompt = _prompt(item.sample, spec.subject)
            if not prompt:
                raise MetricError("The sample has no prompt.", kind="no_prompt")
            return prompt_hash(prompt)
        assert item.source is not None
        return self.index.hashes[item.source]

    def _score_sets(self, part: ProtocolPlan, result: ProtocolScores) -> None:
        rows: dict[tuple[FeatureSpec, bool], _PairedRows] = {}
        for metric_id, metric in part.set_metrics.items():
            if metric_id in result.cells:
                continue
            try:
                with METRICS.guarded(metric_id, "distance"):
                    self._score_set(part, metric_id, metric, rows, result)
            except PluginError as error:
                self._fail(metric_id, error, result)

    def _score_set(
        self,
        part: ProtocolPlan,
        metric_id: str,
        metric: SetMetric,
        rows: dict[tuple[FeatureSpec, bool], _PairedRows],
        result: ProtocolScores,
    ) -> None:
        spec = metric.needs(part.protocol)
        key = spec, metric.needs_real
        if key not in rows:
            rows[key] = self._paired_rows(part, *key)
        pairs = rows[key]
        result.failures += [{**failure, "metric": metric_id} for failure in pairs.failures]
        try:
            values = metric.compute(pairs.fake, pairs.real, positions(self.suite, pairs.items), part.protocol)
        except MetricError as error:
            result.cells[metric_id] = cells_without_value(Cell(status="failed", note=error.message), self.suite)
            return
        result.cells[metric_id] = {name: _checked_cell(value) for name, value in values.items()}
        if pairs.items:
            name = _rows_name(part, *key)
            result.set_rows[name] = pairs.rows(name, part, *key)

    def _paired_rows(self, part: ProtocolPlan, spec: FeatureSpec, needs_real: bool) -> _PairedRows:
        """Generated and real rows of the samples that have both, in order of their ids; the generated rows twice where
        no real ones are needed.

        A set has one clip a prompt, the first: further repeats would resemble each other, and pair one real clip with
        several generated ones.
        """
        import numpy as np

        wanted = Wanted(spec, part.protocol, self.plan.encoders[spec.encoder])
        real_rows = (
            self.reference.rows(self.suite, wanted, lambda source: self._real_row(source, spec)) if needs_real else {}
        )
        pairs = _PairedRows()
        fakes, reals = [], []
        for item in self.items:
            if item.repeat or item.source is None or item.source in self.index.errors:
                continue
            try:
                fake = self.session.stored(self._content(item, spec), spec)["embedding"]
                if not np.isfinite(fake).all():
                    raise _not_numbers()
            except FeatureError as error:
                pairs.failures.append(_failure(item, "encode", None, error))
                continue
            real = real_rows.get(item.sample.id) if needs_real else fake
            if isinstance(real, JavisbenchError):
                pairs.failures.append(_failure(item, "reference", None, real))
            elif real is not None and not np.isfinite(real).all():
                pairs.failures.append(_failure(item, "reference", None, _not_numbers()))
            elif real is not None:
                fakes.append(fake)
                reals.append(real)
                pairs.items.append(item)
        order = by_id(pairs.items)
        pairs.items = [pairs.items[i] for i in order]
        if fakes:
            pairs.fake, pairs.real = (np.stack([rows[i] for i in order]) for rows in (fakes, reals))
        return pairs

    def _real_row(self, source: ClipSource, spec: FeatureSpec) -> NDArray[Any] | JavisbenchError:
        if source in self.index.errors:
            return self.index.errors[source]
        try:
            return self.session.stored(self.index.hashes[source], spec)["embedding"]
        except FeatureError as error:
            return error


def _not_numbers() -> FeatureError:
    """For a clip of which a network made something else than numbers: it would spoil the whole set."""
    return FeatureError("The features of this clip are NaN or infinite.", kind="non_finite")


@dataclass
class _PairedRows:
    items: list[Item] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def __post_init__(self) -> None:
        import numpy as np

        self.fake: NDArray[Any] = np.zeros((0, 1))
        self.real: NDArray[Any] = np.zeros((0, 1))

    def rows(self, name: str, part: ProtocolPlan, spec: FeatureSpec, needs_real: bool) -> SetRows:
        metrics = tuple(m for m, metric in part.set_metrics.items() if _key(metric, part) == (spec, needs_real))
        return SetRows(name, metrics, tuple(item.sample.id for item in self.items), self.fake, self.real)


def _key(metric: SetMetric, part: ProtocolPlan) -> tuple[FeatureSpec, bool]:
    """What set metrics share rows by."""
    return metric.needs(part.protocol), metric.needs_real


def _rows_name(part: ProtocolPlan, spec: FeatureSpec, needs_real: bool) -> str:
    """What the rows of a feature are called: as their encoder, unless set metrics want several kinds of it."""
    keys = {_key(metric, part) for metric in part.set_metrics.values()}
    if sum(other.encoder == spec.encoder for other, _ in keys) == 1:
        return spec.encoder
    name = f"{spec.encoder}-{hashlib.sha256(repr(spec).encode()).hexdigest()[:8]}"
    return name if needs_real else f"{name}-generated"


def scoring_steps(plan: ScorePlan, clips: int) -> list[Step]:
    """The stages of scoring so many clips, as far as they can be told beforehand."""
    protocols = [Step(SCORING + part.protocol.name, clips) for part in plan.parts]
    repeats = sum(metric.settings_in(protocol).repeats for _, metric, protocol in judges_of(plan))
    judges = [Step(JUDGING, repeats * clips)] if repeats else []
    return [Step(READING, clips), Step(ENCODING, clips), *judges, *protocols]


def _name(item: Item) -> str:
    """What a failed clip is called in the count of failures: as where it was decoded, or generated."""
    return item.label if item.source is None else item.source.title


def _prompt(sample: Sample, subject: str) -> str:
    own = {"audio_text": sample.audio_text, "video_text": sample.video_text}
    return own.get(subject) or sample.text


def _checked(score: SampleScore) -> SampleScore:
    """The score with its numbers as plain floats.

    Raises:
        MetricError: it is not finite.
        TypeError: it is no score.
    """
    if not isinstance(score, SampleScore):
        raise TypeError(f"it gives a {type(score).__name__}, no SampleScore")
    value = float(score.value)
    if not math.isfinite(value):
        raise MetricError(f"The value is not finite ({value}).", kind="non_finite")
    return SampleScore(value, {str(name): tuple(map(float, series)) for name, series in score.details.items()})


def _checked_cell(found: SetValue) -> Cell:
    """The cell of a distance.

    Raises:
        ValueError: it is not finite.
    """
    cell = Cell.of(found)
    numbers = [number for number in (cell.value, cell.ci_low, cell.ci_high) if number is not None]
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"the distance is not finite: {numbers}")
    return cell


def _failure(item: Item, stage: str, metric: str | None, error: JavisbenchError) -> Failure:
    return {
        "sample_id": item.sample.id,
        "repeat": item.repeat,
        "stage": stage,
        "metric": metric,
        "kind": error.kind,
        "message": error.message,
    }


def _write(run: Path, part: ProtocolPlan, result: ProtocolScores, job: _Job, facts: dict[str, Any]) -> None:
    folder = protocol_folder(run, result.name, facts.get("first_protocol", result.name))
    generation = [row for row in read_failures(run) if row.get("stage") == "generate"]
    made = {(row["sample_id"], row.get("repeat", 0)) for row in generation}
    # A clip that could not be generated is told once, by the generator's own words.
    own = [f for f in result.failures if f["kind"] != "missing_clip" or (f["sample_id"], f["repeat"]) not in made]
    present = {(item.sample.id, item.repeat) for item in job.items if item.source is not None}
    generation = [row for row in generation if (row["sample_id"], row.get("repeat", 0)) not in present]
    failures = [*generation, *own]
    write_table(folder / "scores.parquet", scores_tables(job.items, result.values))
    write_table(folder / "details.parquet", details_tables(job.items, result.detailed))
    write_table(folder / "samples.parquet", samples_tables(job.items))
    write_set_features(folder, result.set_rows)
    write_jsonl(folder / "failures.jsonl", failures)
    summary = sealed_summary(_summary(part, result, failures, job, facts), folder)
    result.generation = summary[GENERATION]
    write_json(folder / "summary.json", summary)


def _summary(
    part: ProtocolPlan, result: ProtocolScores, failures: list[Failure], job: _Job, facts: dict[str, Any]
) -> dict[str, Any]:
    protocol = part.protocol
    run = {
        **facts,
        "suite": job.suite.name,
        "suite_hash": job.suite.hash,
        "suite_total": job.suite.total,
        **({"task": job.suite.task} if job.suite.task != "t2av" else {}),
        **({"given": told} if (told := given_hash(job.suite, job.given)) else {}),
        **({"aspects": own_facts(job.suite.own_aspects)} if job.suite.own_aspects else {}),
        "prompts": len({item.sample.id for item in job.items}),
        "samples": len(job.items),
        "clips": sum(item.source is not None for item in job.items),
        "protocol": protocol.name,
        "protocol_settings": protocol.settings(),
        "stand_in": job.plan.stand_in,
        "audio": job.audio,
        "reference": job.reference.describe(),
        "seed": job.settings.seed,
        "encoders": {
            name: {"variant": choice.variant, "weights_sha256": choice.weights_hash or None, **_package(name)}
            for name, choice in job.plan.encoders.items()
        },
        **({"speech_transcripts": given.facts} if (given := job.settings.transcripts) else {}),
        **({"judges": judges} if (judges := job.judging.facts(protocol.name)) else {}),
        **({"plugins": plugins} if (plugins := _plugins(part, result.cells)) else {}),
    }
    metrics = {metric_id: nested(result.cells[metric_id]) for metric_id in metric_order(result.cells)}
    return {"schema": SUMMARY_SCHEMA, "run": run, "metrics": metrics, "failures": failures}


def _package(encoder: str) -> dict[str, str]:
    plugin = ENCODERS.plugin(encoder)
    return {} if plugin is None else {"package": plugin.label}


def _plugins(part: ProtocolPlan, metrics: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What tables must know of metrics of other packages, and of judges, when these are gone (`StoredCard`)."""
    found: dict[str, dict[str, Any]] = {}
    for metric_id in metrics:
        plugin, card = METRICS.plugin(metric_id), card_of(metric_id)
        if card is None and metric_id in part.sample_metrics:  # a judge of a file, which the registry does not know
            card = part.sample_metrics[metric_id].card
        if plugin is not None or METRICS.has_parameter(metric_id):
            names = ("title", "higher_is_better", "unit", "digits", "kind") if card is not None else ()
            package = "" if plugin is None else plugin.label
            found[metric_id] = {"package": package, **{name: getattr(card, name) for name in names}}
    return found
