"""Scoring clips into a run folder: what to compute, under which protocols, and what the folder says of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from javisbench.errors import RunError, UsageError
from javisbench.places import Cache, gather, holds_clips, is_url, located
from javisbench.places.urls import shown
from javisbench.protocol import DEFAULT_PROTOCOL, Protocol, parse_protocol
from javisbench.results.missing import missing_lines
from javisbench.results.run_folder import StoredResult, load_protocol, read_manifest
from javisbench.run.device import EngineName, check_compiler, check_engine, pick_device, pick_devices
from javisbench.run.held import held
from javisbench.run.judging.options import JudgeOptions
from javisbench.run.manifest import (
    default_run_folder,
    hardware,
    now_text,
    set_aside_if_damaged,
    slug,
    update_manifest,
    versions,
)
from javisbench.run.progress import GENERATING, Progress, Step

if TYPE_CHECKING:
    from javisbench.matching import Matched
    from javisbench.media import DecodeLimits
    from javisbench.reference.real_side import Reference
    from javisbench.run.engine import Engine
    from javisbench.run.generation_job import GenerationJob
    from javisbench.run.plan import ScorePlan
    from javisbench.run.score import ScoreSettings
    from javisbench.suite import Sample, Suite


log = logging.getLogger(__name__)
_LEAST_CLIP_MEMORY_MIB = 64
_MOST_PATIENCE_S = 86_400


@dataclass(frozen=True)
class ScoringOptions:
    """How to score; the defaults are the command line's.

    Attributes:
        metrics: ids or globs; None for all that apply.
        protocols: names; empty for the suite's own, else ``javisbench-v1``. The first is the run's.
        encoders: encoder to variant.
        weights_dirs: folders with checkpoints.
        reference: folder of real clips, ``suite``, a statistics file, or None.
        device: torch device, or several with commas between; None for every GPU that is visible, else the CPU.
        workers: decoding processes; None for the number of cores.
        batch_clips: clips a batch; None for 1 on a CPU and as many as fill a GPU.
        seed: of the bootstrap.
        precision: ``fp32``, or ``tf32``, ``bf16`` or ``fp16`` for the networks: the first 64 clips are then scored both
            ways, and the protocol keeps its name only when nothing moved by more than its tolerance.
        compile: run the largest networks as ``torch.compile`` makes them, checked in the same way.
        slice_by: columns of the suite's own whose values become slices, besides the taxonomy's categories.
        clip_memory_mib: MiB that one clip may take while it is read (`DecodeLimits.memory_bytes`), 64 at least.
        clip_deadline_s: seconds that reading one clip may take, beside what its pixels allow (`DecodeLimits`).
        patience_s: seconds that the system (file systems, memory) may take to recover before the job stops with a
            `SystemFaultError`.
        engine: ``local``, or ``ray``: features are made by the machines of a Ray cluster (``javisbench[ray]``). Workers
            and batches are then those of each of its actors.
        engine_address: of the cluster (``HOST:PORT``, ``auto``); None for ``$RAY_ADDRESS``, else one on this machine.
        judge: where judges (``judge:NAME``) are asked, and what that may cost.
        speech_transcripts: what your own recogniser heard in the clips: its name, which becomes part of the protocol's,
            and a file as `javisbench.transcripts` reads it.
    """

    metrics: Sequence[str] | None = None
    protocols: Sequence[str] = ()
    encoders: Mapping[str, str] = field(default_factory=dict)
    weights_dirs: Sequence[Path] = ()
    reference: str | None = None
    device: str | None = None
    workers: int | None = None
    batch_clips: int | None = None
    seed: int = 0
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    compile: bool = False
    slice_by: Sequence[str] = ()
    clip_memory_mib: int = 1024
    clip_deadline_s: float = 60.0
    patience_s: float = 60.0
    engine: EngineName = "local"
    engine_address: str | None = None
    judge: JudgeOptions = field(default_factory=JudgeOptions)
    speech_transcripts: tuple[str, str | Path] | None = None

    def __post_init__(self) -> None:
        # Callers of the library give paths as text or as `Path`, whichever they have.
        object.__setattr__(self, "weights_dirs", tuple(Path(folder) for folder in self.weights_dirs))
        if self.reference is not None:
            object.__setattr__(self, "reference", str(self.reference))

    @property
    def limits(self) -> DecodeLimits:
        """What one clip may cost.

        Raises:
            UsageError: less than 64 MiB, no time at all, or less patience than none.
        """
        from javisbench.media import DecodeLimits

        if self.clip_memory_mib < _LEAST_CLIP_MEMORY_MIB or not self.clip_deadline_s > 0:
            raise UsageError(
                f"A clip needs {_LEAST_CLIP_MEMORY_MIB} MiB or more and more than 0 s; got {self.clip_memory_mib} MiB "
                f"and {self.clip_deadline_s:g} s."
            )
        if not 0 <= self.patience_s <= _MOST_PATIENCE_S:
            raise UsageError(f"The patience is 0 to {_MOST_PATIENCE_S} s; got {self.patience_s:g}.")
        return DecodeLimits(
            memory_bytes=self.clip_memory_mib * 2**20, deadline_s=self.clip_deadline_s, patience_s=self.patience_s
        )


@dataclass(frozen=True)
class ScoringJob:
    """Clips made elsewhere, a suite, and the run folder that they decide.

    Attributes:
        run: the run folder.
        suite: the prompts of this shard.
        matched: their clips.
        shard: (i, n).
        name: how the clips' maker is called in tables; None for as before, else as `origin`.
        origin: name of the folder of clips, or of the suite.
        clips: the folder of clips; None for the suite's ``pred_video_path`` column.
        matching: what decided which file belongs to which sample, for the manifest; None for a run scored in place.
    """

    run: Path
    suite: Suite
    matched: Matched
    shard: tuple[int, int]
    name: str | None
    origin: str
    clips: str | None
    matching: Mapping[str, Any] | None

    @classmethod
    def prepare(
        cls,
        clips: str | Path | None,
        suite: Suite,
        *,
        name: str | None = None,
        out: str | Path | None = None,
        manifest: str | Path | None = None,
        repeats: int | None = None,
        shard: tuple[int, int] = (0, 1),
    ) -> ScoringJob:
        """Decide the folder and match the clips; arguments are those of `javisbench.api.score`.

        Raises:
            UsageError: no clips, or shards of a run that is scored in place.
        """
        from javisbench.matching import match_clips
        from javisbench.run.given import check_given

        check_given(suite)
        folder, run = _clip_folder(clips, name, out, suite, shard)
        in_place = folder is not None and folder.resolve() == (run / "clips").resolve()
        if in_place and shard[1] > 1:
            raise UsageError(
                f"{run} is scored in place, by one process. Score its shards elsewhere with --out FOLDER, another for "
                f"each, and join them with javisbench merge."
            )
        # The whole suite decides how files are named and how many repeats there are.
        matched = match_clips(folder, suite, manifest=Path(manifest) if manifest else None, repeats=repeats)
        where = located(folder) if folder else None
        matching = {
            "clips": where,
            "manifest": located(Path(manifest)) if manifest else None,
            "repeats": matched.repeats,
            "shard": list(shard),
            "limit": None if len(suite) == suite.total else len(suite),
        }
        origin = folder.resolve().name.removesuffix(".tar").removesuffix(".parquet") if folder else suite.name
        mine = matched.of_shard(*shard)
        return cls(run, suite.shard(*shard), mine, shard, name, origin, where, None if in_place else matching)

    def score(self, options: ScoringOptions, progress: Progress | None = None) -> StoredResult:
        """Score the clips into the run folder, alone in it.

        Raises:
            RunError: the folder is in use, or holds another shard's scores.
        """
        from javisbench.run.judging.stage import check_judges

        _refuse_early(options)
        check_judges(plan_scoring(self.suite, options), self.run, options.judge, self._present())
        with held(self.run, progress) as shown:
            if self.matching is not None:  # what made clips that are scored in place can only be told by making them
                set_aside_if_damaged(self.run)
            earlier = read_manifest(self.run)
            _check_shard(self.run, earlier, self.shard)
            if self.matching is None and (told := other_prompts(self.matched, self.suite)):
                log.warning("%s", told)
            known = earlier.get("model", {})
            title = self.name or known.get("name") or self.origin
            changes: dict[str, Any] = {"model": {"slug": slug(title), **known, "name": title, "clips": self.clips}}
            changes = changes if self.matching is None else {**changes, "matching": self.matching}
            update_manifest(self.run, changes, options.patience_s)
            return load_protocol(self.run, score_matched(self.run, self.suite, self.matched, options, shown))

    def _present(self) -> list[tuple[Sample, int]]:
        return [(item.sample, item.repeat) for item in self.matched.items if item.source is not None]


def other_prompts(matched: Matched, suite: Suite) -> str:
    """A sentence where clips of a run were made for other prompts than the suite has now; else an empty text."""
    from javisbench.durable import read_json

    found = []
    clips = [(item.sample, item.source) for item in matched.items if item.source is not None]
    for sample, source in clips:
        file = source.video if suite.task_facts.makes_picture else source.audio
        try:
            made = {} if file is None else read_json(file.with_suffix(".json"))
        except RunError:  # not made here, or damaged
            continue
        prompts = made.get("prompts") if isinstance(made, dict) else None
        if isinstance(prompts, dict) and prompts != sample.prompts:
            found.append(sample.id)
    if not found:
        return ""
    return (
        f"{len(found):,} of {len(clips):,} clips were made for other prompts than {suite.name} has ({suite.source}), "
        f"such as that of {found[0]}. Score with the suite that they were made for, or make them anew."
    )


def _check_shard(run: Path, manifest: Mapping[str, Any], shard: tuple[int, int]) -> None:
    index, count = manifest.get("matching", {}).get("shard", shard)
    if (index, count) != shard:
        raise RunError(f"{run} holds the scores of shard {index}/{count}. Choose another folder with --out.")


def _clip_folder(
    clips: str | Path | None, name: str | None, out: str | Path | None, suite: Suite, shard: tuple[int, int]
) -> tuple[Path | None, Path]:
    if clips is None:
        identity = ["columns", suite.source]
        return None, Path(out) if out else default_run_folder(name or suite.name, identity, suite.name, shard)
    folder = gather(clips, Cache.from_environment()) if holds_clips(clips) else Path(clips)
    if (folder / "run.json").is_file() and (folder / "clips").is_dir():
        return folder / "clips", Path(out) if out else folder
    title = name or folder.resolve().name
    return folder, Path(out) if out else default_run_folder(title, ["folder", located(folder)], suite.name, shard)


def generate_and_score(
    job: GenerationJob, options: ScoringOptions, progress: Progress | None = None, overlap: bool | None = None
) -> StoredResult:
    """Make what is missing of a suite's clips and score them all, alone in the run folder.

    Args:
        job: what is made.
        options: how it is scored.
        progress: shown to the user.
        overlap: whether clips are encoded while others are made; None where it is of use (`javisbench.run.following`).
    """
    from javisbench.matching import match_generated
    from javisbench.run.following import following, overlap_of
    from javisbench.run.judging.stage import check_judges
    from javisbench.run.score import scoring_steps

    # Usage errors of scoring, and what will be missing, must not wait until everything is generated.
    _refuse_early(options)
    plan = plan_scoring(job.suite, options)
    mine, clips = job.suite.shard(*job.settings.shard), job.clips
    check_judges(plan, job.run, options.judge, clips)
    settings = _settings(options)
    chosen = overlap_of(overlap, job.generator, options.engine, settings.devices, plan)
    with held(job.run, progress) as shown:
        _tell(plan, job.suite, job.notices, shown)
        shown.expect([Step(GENERATING, len(clips)), *scoring_steps(plan, len(clips))])
        with following(chosen, job.run, mine, clips, plan, settings, shown) as settled:
            job.generate(options.weights_dirs, shown, settled)
        matched = match_generated(job.run / "clips", mine, job.settings.repeats)
        return load_protocol(job.run, score_matched(job.run, mine, matched, options, shown, planned=True))


def _refuse_early(options: ScoringOptions) -> None:
    """Refuse what cannot be, before a folder is made or a clip is read.

    Raises:
        UsageError: no such device or precision, impossible limits, or transcripts that cannot be read.
    """
    from javisbench.run.encode_session import PRECISIONS

    if options.precision not in PRECISIONS:
        raise UsageError(f"The precision is one of {', '.join(PRECISIONS)}; got {options.precision!r}.")
    check_engine(options.engine, options.engine_address, options.device)
    # The machines of a cluster have devices of their own.
    if options.engine != "ray":
        if options.precision == "tf32" and pick_device(options.device) == "cpu":
            raise UsageError("tf32 is a mode of NVIDIA's GPUs; on a CPU it would be fp32. Choose another --precision.")
        device = pick_device(options.device)
        if options.compile:
            check_compiler(device)
    _ = options.limits
    if options.speech_transcripts is not None:
        from javisbench.transcripts import read_transcripts

        read_transcripts(*options.speech_transcripts)


def _engine(options: ScoringOptions) -> Engine:
    if options.engine == "ray":
        from javisbench.run.cluster.encoding import RayEngine

        return RayEngine(options.engine_address, options.device, options.workers, options.batch_clips)
    from javisbench.run.engine import LocalEngine

    return LocalEngine()


def resolve_protocols(options: ScoringOptions, suite: Suite) -> list[Protocol]:
    """The protocols by name, each once; the suite's own, else the default, when none is named. Transcripts that are
    given make their recogniser that of each protocol.

    Raises:
        UsageError: no such protocol, or one whose recogniser's transcripts are not those that are given.
    """
    from javisbench.cards import suite_cards
    from javisbench.transcripts import check_recogniser

    card = suite_cards().get(suite.name)
    chosen = list(options.protocols) or [(card.protocol if card else None) or DEFAULT_PROTOCOL]
    given = None if options.speech_transcripts is None else options.speech_transcripts[0]
    protocols = [check_recogniser(parse_protocol(name), given) for name in chosen]
    return list({protocol.name: protocol for protocol in protocols}.values())


def plan_scoring(suite: Suite, options: ScoringOptions) -> ScorePlan:
    """What a job would compute and what is missing for it; reads no clip."""
    return _plan(suite, options)[0]


def _plan(suite: Suite, options: ScoringOptions) -> tuple[ScorePlan, Reference]:
    from javisbench.reference.real_side import default_reference, open_reference
    from javisbench.run.plan import fit_reference, make_plan
    from javisbench.weights import WeightStore

    protocols = resolve_protocols(options, suite)
    named = options.reference or default_reference(suite, protocols[0])
    plan = make_plan(
        suite,
        protocols,
        metrics=options.metrics,
        variants=options.encoders,
        weights=WeightStore(options.weights_dirs),
        has_reference=named is not None,
    )
    reference = open_reference(named, suite)
    fit_reference(plan, reference, suite, required=options.reference is not None)
    return plan, reference


def score_matched(
    run: Path, suite: Suite, matched: Matched, options: ScoringOptions, progress: Progress, *, planned: bool = False
) -> str:
    """Score matched clips into a run folder whose lock the caller holds.

    Args:
        run: the run folder; its manifest says whose the clips are.
        suite: the prompts.
        matched: their clips.
        options: how to score.
        progress: shown to the user.
        planned: whether the plan was told already.

    Returns:
        the name of the first protocol that was asked for.
    """
    from javisbench.run.score import score_clips, scoring_steps

    _refuse_early(options)
    plan, reference = _plan(suite, options)
    for line in matched_lines(matched):
        progress.say(line)
    if not planned:
        _tell(plan, suite, suite.notices(), progress)
    settings = _settings(options)
    steps = scoring_steps(plan, len(matched.items))
    progress.expect(steps)
    precisions: list[dict[str, Any]] = [{"precision": "fp32"}] * len(plan.parts)
    if settings.precision != "fp32" or settings.compiled:
        from javisbench.run.precision import TRIAL_CLIPS, try_precision

        tried = scoring_steps(plan, min(TRIAL_CLIPS, len(matched.items)))
        progress.expect([*tried, *tried, *steps])
        precisions = try_precision(run, suite, matched, plan, settings, progress)
    facts = _begin(run, suite, plan, options)
    facts["precision"] = {part.protocol.name: record for part, record in zip(plan.parts, precisions, strict=True)}
    scores = score_clips(run, suite, matched, plan, settings, progress, reference=reference, facts=facts)
    generations = {result.name: result.generation for result in scores}
    made_by = {"hardware": hardware(settings.devices), "matched_by": matched.how, "engine": options.engine}
    _end(run, options, generations, made_by)
    return scores[0].name


def _settings(options: ScoringOptions) -> ScoreSettings:
    from javisbench.run.score import ScoreSettings
    from javisbench.transcripts import read_transcripts

    devices = ("cpu",) if options.engine == "ray" else pick_devices(options.device)
    return ScoreSettings(
        devices=devices,
        workers=options.workers or os.cpu_count() or 1,
        batch_clips=options.batch_clips or (1 if devices[0] == "cpu" else None),
        seed=options.seed,
        precision=options.precision,
        compiled=options.compile,
        limits=options.limits,
        engine=_engine(options),
        judge=options.judge,
        transcripts=None if options.speech_transcripts is None else read_transcripts(*options.speech_transcripts),
    )


def _begin(run: Path, suite: Suite, plan: ScorePlan, options: ScoringOptions) -> dict[str, Any]:
    """Write into the manifest what is to be scored and how; returns what summaries say of the run.

    It stands under ``begun``, and what the scores that are there were asked for stands as before, until all is written.
    """
    manifest = read_manifest(run)
    model = manifest.get("model", {})
    first = manifest.get("first_protocol") or plan.parts[0].protocol.name
    update_manifest(
        run,
        {
            "first_protocol": first,
            "suite": {"name": suite.name, "hash": suite.hash, "source": suite.source, "total": suite.total},
            "scoring": {**manifest.get("scoring", {}), "begun": _requests(plan, suite, options)},
        },
        options.patience_s,
    )
    return {
        "model": model.get("name"),
        "slug": model.get("slug"),
        "card": _model_card(model.get("card")),
        "first_protocol": first,
        "versions": versions(),
    }


def _end(run: Path, options: ScoringOptions, generations: Mapping[str, str], circumstances: Mapping[str, Any]) -> None:
    """Write into the manifest what was scored, how, and with what result; the last thing that a job writes."""
    scoring = read_manifest(run).get("scoring", {})
    update_manifest(
        run,
        {
            "scoring": {
                "seed": options.seed,
                "created": now_text(),
                **circumstances,
                "requests": {**scoring.get("requests", {}), **scoring.get("begun", {})},
                "generations": {**scoring.get("generations", {}), **generations},
            },
            "versions": versions(),
        },
        options.patience_s,
    )


def _requests(plan: ScorePlan, suite: Suite, options: ScoringOptions) -> dict[str, dict[str, Any]]:
    """Protocol to how its scores are asked for, so that they can be made again."""
    asked = {
        "metrics": None if options.metrics is None else [_told_from_anywhere(name) for name in options.metrics],
        "encoders": dict(options.encoders),
        "weights_dirs": [str(folder.resolve()) for folder in options.weights_dirs],
        "reference": shown(str(options.reference)) if is_url(options.reference) else options.reference,
        "seed": options.seed,
        "precision": options.precision,
        **_given_transcripts(options),
        **({"compile": True} if options.compile else {}),
        "slice_by": [aspect.title for aspect in suite.own_aspects if aspect.title in suite.columns],
    }
    named = resolve_protocols(options, suite)
    return {
        part.protocol.name: {"protocol": protocol.name, **asked}
        for part, protocol in zip(plan.parts, named, strict=True)
    }


def _given_transcripts(options: ScoringOptions) -> dict[str, list[str]]:
    if options.speech_transcripts is None:
        return {}
    name, path = options.speech_transcripts
    return {"speech_transcripts": [name, str(Path(path).expanduser().resolve())]}


def _told_from_anywhere(metric: str) -> str:
    """A metric as asked for; of a judge's file the whole path."""
    from javisbench.metrics.judges.family import is_file

    prefix, _, path = metric.partition(":")
    return f"{prefix}:{Path(path).expanduser().resolve()}" if is_file(metric) else metric


def _model_card(card_id: str | None) -> dict[str, Any] | None:
    from javisbench.cards import read_cards

    return read_cards("models").get(card_id) if card_id else None


def matched_lines(matched: Matched) -> list[str]:
    """Which clips were found, how, and which are missing or belong to no sample."""
    missing = matched.missing
    lines = [f"Clips: {len(matched.items) - len(missing)} of {len(matched.items)}, found by {matched.how}"]
    for what, names in (("missing", missing), ("of no sample", [path.name for path in matched.extra])):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            lines.append(f"  {len(names)} {what}: {', '.join(names[:5])}{more}")
    return lines


def _tell(plan: ScorePlan, suite: Suite, notices: Iterable[str], progress: Progress) -> None:
    """Say what will be computed, and warn of what keeps it off boards; within a run's log, which keeps both."""
    from javisbench.metrics.encoders import ENCODERS
    from javisbench.metrics.registry import METRICS
    from javisbench.run.plan import warn_of_other_weights

    for notice in notices:
        progress.say(f"Suite {suite.name}: {notice}")
    for line in plan_lines(plan, suite):
        progress.say(line)
    warn_of_other_weights(plan)
    for notice in (*METRICS.notices(), *ENCODERS.notices()):
        log.warning("%s", notice)


def plan_lines(plan: ScorePlan, suite: Suite) -> list[str]:
    """The plan in lines: protocols, metrics, what is left out or missing and how to get it, stand-in weights."""
    lines = []
    facts = suite.task_facts
    if left_out := list(dict.fromkeys(metric_id for part in plan.parts for metric_id in part.of_given)):
        given = "sound" if facts.makes_picture else "picture"
        lines.append(f"Left out, because the {given} is the suite's ({facts.title}): {', '.join(left_out)}")
    for part in plan.parts:
        computed = [*part.sample_metrics, *part.set_metrics]
        lines.append(f"Protocol {part.protocol.name}: {len(computed)} metrics ({', '.join(computed)})")
        lines += [f"  {line}" for line in missing_lines(part.unavailable.items())]
    if plan.stand_in:
        lines.append("STAND-IN WEIGHTS: these numbers are no trained model's and are never ranked.")
    return lines
