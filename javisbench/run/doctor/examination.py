"""The examination itself: which checks a suite, a folder of clips or a run needs."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from javisbench.durable import locked
from javisbench.errors import JavisbenchError, MediaError, RunError
from javisbench.matching import Matched, match_folder, match_generated, match_paths
from javisbench.results.cell import NOT_APPLICABLE
from javisbench.results.run_folder import read_failures, read_manifest
from javisbench.run.device import memory_available
from javisbench.run.doctor.bounds import bounds_of_run
from javisbench.run.doctor.findings import Report
from javisbench.run.doctor.forecast import Forecast, forecast_generation, forecast_scoring
from javisbench.run.doctor.judges import check_judges
from javisbench.run.doctor.machine import check_machine, disk_free
from javisbench.run.given import missing_files
from javisbench.run.own_suite import DEFAULT_SUITE, recorded_source, suite_of_clips
from javisbench.text import printable

if TYPE_CHECKING:
    from javisbench.media import DecodeLimits
    from javisbench.run.plan import ScorePlan
    from javisbench.run.scoring_job import ScoringOptions
    from javisbench.suite import Suite

_SHOWN = 5
_PROBED = 32


@dataclass(frozen=True)
class DoctorOptions:
    """What to examine.

    Attributes:
        suite: for a folder of clips: whose prompts they belong to; None for those beside them, else ``javisbench``.
        model: also try this generator.
        params: its parameters.
        repeats: clips a prompt.
        limit: only the suite's first samples.
        sample: clips to measure on; 0 for no measurement.
        out: where the run would go.
        scoring: how it would be scored; None for the defaults.
    """

    suite: str | Suite | None = None
    model: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    repeats: int | None = None
    limit: int | None = None
    sample: int = 4
    out: Path = Path("runs")
    scoring: ScoringOptions | None = None


def examine(target: str | None, options: DoctorOptions) -> Report:
    """Look at the machine, the weights and the target; measure a sample.

    Args:
        target: a suite, a folder of clips, a run folder, or None for the machine and the weights alone.
        options: see `DoctorOptions`.

    Returns:
        what was found. Only bad usage raises; everything else is a finding.

    Raises:
        UsageError: no such suite or folder.
        SuiteError: a suite with bad rows.
    """
    from javisbench.run.scoring_job import ScoringOptions
    from javisbench.suite import Suite, load_suite

    scoring = options.scoring or ScoringOptions()
    folder = Path(target) if target is not None and Path(target).is_dir() else None
    report = Report()
    check_machine(report, folder or options.out, scoring.device)
    if folder is not None and (folder / "run.json").is_file():
        return _examine_run(report, folder, options, scoring)
    chosen: str | Suite
    if folder is not None:
        chosen = options.suite or suite_of_clips(folder, matched_otherwise=False)
    else:
        chosen = target or options.suite or DEFAULT_SUITE
    suite = (chosen if isinstance(chosen, Suite) else load_suite(chosen)).sliced_by(scoring.slice_by)
    suite = suite.limited(options.limit)
    report.add("ok", "suite", f"{suite.name}: {len(suite)} samples")
    for notice in suite.notices():
        report.add("warning", "suite", notice)
    _check_given(report, suite)
    plan = check_weights(report, suite, scoring)
    if folder is not None:
        matched = match_folder(folder, suite, repeats=options.repeats)
        _judge(report, plan, scoring, matched)
        check_clips(report, matched, scoring.limits)
        _measure(report, lambda: _of_clips(suite, matched, scoring, options.sample), options)
    else:
        clips = [(sample, repeat) for sample in suite for repeat in range(options.repeats or 1)]
        check_judges(report, plan, scoring, clips)
    if folder is None and target is not None:
        _measure(report, lambda: _of_suite(report, suite, options, scoring), options)
    _compare_with_machine(report, options.out)
    return report


def _judge(report: Report, plan: ScorePlan | None, scoring: ScoringOptions, matched: Matched) -> None:
    clips = [(item.sample, item.repeat) for item in matched.items if item.source is not None]
    check_judges(report, plan, scoring, clips)


def _check_given(report: Report, suite: Suite) -> None:
    """Whether what the suite gives to models is there."""
    facts = suite.task_facts
    if facts.condition is None:
        return
    missing = missing_files(suite)
    for kind, names in _by_kind(missing).items():
        told = f"{len(names)} of {len(suite)} {facts.condition} files cannot be given ({kind}): {_some(names)}"
        report.add("problem", "suite", told)
    if not missing:
        report.add("ok", "suite", f"{facts.title}: all {facts.condition} files are there")


def _by_kind(missing: Sequence[tuple[str, MediaError]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for sample_id, error in missing:
        found.setdefault(error.kind, []).append(sample_id)
    return found


def check_weights(report: Report, suite: Suite, scoring: ScoringOptions) -> ScorePlan | None:
    """Which metrics would have no value, and why.

    Returns:
        what would be scored; None where that cannot be told.
    """
    from javisbench.run.plan import warn_of_other_weights
    from javisbench.run.scoring_job import plan_scoring

    try:
        plan = plan_scoring(suite, scoring)
    except JavisbenchError as error:
        report.add("problem", "weights", error.message)
        return None
    warn_of_other_weights(plan)
    for part in plan.parts:
        reasons: dict[str, list[str]] = {}
        for metric_id, reason in part.unavailable.items():
            reasons.setdefault(reason.note or "", []).append(metric_id)
        computed = [*part.sample_metrics, *part.set_metrics]
        report.add("ok", "weights", f"{part.protocol.name}: {len(computed)} metrics can be computed")
        for note, metrics in reasons.items():
            report.add("warning", "weights", f"{part.protocol.name}: no {', '.join(metrics)}: {note}")
    return plan


def check_clips(report: Report, matched: Matched, limits: DecodeLimits) -> None:
    """Read the beginning of every file, and the headers of some."""
    missing = matched.missing
    total = len(matched.items)
    if missing:
        report.add("warning", "clips", f"{len(missing)} of {total} samples have no clip: {_some(missing)}")
    if matched.extra:
        names = [path.name for path in matched.extra]
        report.add("warning", "clips", f"{len(names)} files belong to no sample: {_some(names)}")
    sources = [item.source for item in matched.items if item.source is not None]
    bad: dict[str, list[str]] = {}
    sound = Counter("sidecar" if source.audio else "container" for source in sources)
    for source in sources:
        kind = _trouble(source.video, source.audio)
        if kind:
            bad.setdefault(kind, []).append(source.video.name)
    found = {name for names in bad.values() for name in names}
    good = [source.video for source in sources if source.video.name not in found]
    probed = good[:: max(1, len(good) // _PROBED)]
    for video in probed:
        kind = _header_trouble(video, limits)
        if kind:
            bad.setdefault(kind, []).append(video.name)
    for kind, names in sorted(bad.items()):
        report.add("problem", "clips", f"{len(names)} clips will fail with {kind}: {_some(names)}")
    how = ", ".join(f"{count} with {kind} sound" for kind, count in sound.items())
    report.add("ok", "clips", f"{len(sources)} files looked at ({how}), headers of {len(probed)} of them read in full")


def _trouble(video: Path, audio: Path | None) -> str | None:
    from javisbench.media.integrity import examine
    from javisbench.media.signature import VIDEO_FORMATS, identify
    from javisbench.media.sound_file import is_cut_off

    try:
        faults = examine(video, identify(video, VIDEO_FORMATS)).faults
        if faults:
            return faults[0].kind
        return "bad_sidecar" if audio is not None and is_cut_off(audio) else None
    except MediaError as error:
        return error.kind


def _header_trouble(video: Path, limits: DecodeLimits) -> str | None:
    from javisbench.media import probe

    try:
        probe(video, limits=limits)
    except MediaError as error:
        return error.kind
    return None


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names[:_SHOWN])) + (
        f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    )


def _measure(report: Report, work: Callable[[], list[Forecast]], options: DoctorOptions) -> None:
    if options.sample < 1:
        return
    try:
        report.forecasts += work()
    except JavisbenchError as error:
        report.add(
            "problem", "model" if options.model else "clips", f"The sample could not be measured: {error.message}"
        )


def _of_clips(suite: Suite, matched: Matched, scoring: ScoringOptions, count: int) -> list[Forecast]:
    present = sum(item.source is not None for item in matched.items)
    how = f"{min(count, present)} of the clips, scored as the run would"
    return [forecast_scoring(suite, matched, scoring, count, how, present)]


def _of_suite(report: Report, suite: Suite, options: DoctorOptions, scoring: ScoringOptions) -> list[Forecast]:
    """Generate a few clips with the model, or draw some where there is none, and score them."""
    total, count = len(suite) * (options.repeats or 1), options.sample
    forecasts = []
    how = "drawn clips of the suite's size, rate and length, scored as the run would"
    part = suite.limited(count)
    with tempfile.TemporaryDirectory(prefix="javisbench-doctor-") as folder:
        out = Path(folder) / "made"
        if options.model is not None:
            forecasts.append(forecast_generation(options.model, options.params, suite, scoring, count, total, out))
            how = f"clips made by {options.model}, scored as the run would"
            failed = [row for row in read_failures(out) if row.get("stage") == "generate"]
            if failed:
                kinds = ", ".join(sorted({str(row["kind"]) for row in failed}))
                report.add(
                    "problem", "model", f"{len(failed)} of {len(part)} clips failed ({kinds}): {failed[0]['message']}"
                )
        elif not suite.task_facts.makes_both:
            matched = match_paths(part, "path")
            return [
                forecast_scoring(part, matched, scoring, count, "the suite's own clips, scored as a run would", total)
            ]
        else:
            forecast_generation("procedural", {}, replace(suite, task="t2av"), scoring, count, total, out)
        matched = match_generated(out / "clips", part, 1)
        made = sum(item.source is not None for item in matched.items)
        if made:
            forecasts.append(forecast_scoring(part, matched, scoring, count, f"{made} {how}", total))
    return forecasts


def _examine_run(report: Report, run: Path, options: DoctorOptions, scoring: ScoringOptions) -> Report:
    manifest = read_manifest(run)
    try:
        with locked(run):
            pass
    except RunError as error:
        report.add("warning", "run", error.message)
    rows = [row for row in read_failures(run) if row.get("stage") != NOT_APPLICABLE]
    kinds = Counter((row.get("stage"), row.get("kind")) for row in rows)
    for (stage, kind), times in kinds.most_common():
        report.add("warning", "run", f"{times} x {kind} ({stage})")
    if (run / "summary.json").is_file():
        report.add("ok", "run", f"scored under {manifest.get('first_protocol')}")
        report.bounds = bounds_of_run(run)
        return report
    report.add("warning", "run", "not scored yet: run its command again, or `javisbench score` on it")
    suite = _suite_of(manifest, options)
    made = manifest.get("generation")
    if suite is None or made is None:
        return report
    matched = match_generated(run / "clips", suite.shard(*made["shard"]), made["repeats"])
    _judge(report, check_weights(report, suite, scoring), scoring, matched)
    check_clips(report, matched, scoring.limits)
    if any(item.source is not None for item in matched.items):
        _measure(report, lambda: _of_clips(suite, matched, scoring, options.sample), options)
    _compare_with_machine(report, run)
    return report


def _suite_of(manifest: Mapping[str, object], options: DoctorOptions) -> Suite | None:
    from javisbench.suite import Suite, load_suite

    if isinstance(options.suite, Suite):
        return options.suite
    facts, made = manifest.get("suite"), manifest.get("generation")
    if not isinstance(facts, dict) or not isinstance(made, dict):
        return None
    return load_suite(recorded_source(facts)).limited(made.get("limit"))


def _compare_with_machine(report: Report, out: Path) -> None:
    """Problems that the forecast shows: what would not fit."""
    disk = sum(forecast.disk_bytes for forecast in report.forecasts)
    if disk > disk_free(out):
        report.add("problem", "machine", f"the run would write {disk / 2**30:.1f} GiB to {out}; there is less free")
    memory = max((forecast.memory_bytes for forecast in report.forecasts), default=0)
    if memory > memory_available():
        report.add("problem", "machine", f"the run would take {memory / 2**30:.1f} GiB of memory: lower --workers")
