"""The trial as a job: a folder like a run, taken up again where it was left, with equal results for equal requests."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench import __version__
from javisbench.durable import atomic_path, read_json, write_json
from javisbench.errors import RunError, UsageError
from javisbench.results.trial import Trial, effects_frame
from javisbench.run.held import held
from javisbench.run.manifest import default_run_folder
from javisbench.run.scoring_job import ScoringOptions
from javisbench.run.trial.cases import TrialCase, default_cases, parse_cases
from javisbench.run.trial.copies import GOOD, Copies, Copy, make_copies
from javisbench.run.trial.material import FolderClips, Material, Scenes, generator_for, source_of
from javisbench.run.trial.scored import Pair, Variants, check_plan, metric_trials, score_variants

if TYPE_CHECKING:
    from javisbench.media import ClipSource
    from javisbench.run.plan import ScorePlan
    from javisbench.run.progress import Progress
    from javisbench.run.trial.pairs import Judged, JudgedPairs
    from javisbench.suite import Sample, Suite

REQUEST = "request.json"
MIN_CLIPS = 2


@dataclass(frozen=True)
class TrialOptions:
    """How a trial is made, apart from its clips.

    Attributes:
        damages: as `parse_cases` reads them; None for all.
        scoring: how the clips are scored. Its `reference` is not used: the good copies are.
        seed: of scenes, random damage and bootstrap.
        out: folder of the trial; None for one below ``runs/`` that the clips and the seed decide.
        keep_clips: False removes the copies once the trial is written; another metric then needs them made again.
        generator: what renders scenes; None for the one that fits the suite.
        cost: whether each metric's seconds a clip are measured.
    """

    damages: str | None = None
    scoring: ScoringOptions = field(default_factory=ScoringOptions)
    seed: int = 0
    out: Path | None = None
    keep_clips: bool = True
    generator: str | None = None
    cost: bool = True


@dataclass(frozen=True)
class Finished:
    """A trial and where it lies.

    Attributes:
        folder: of the trial.
        trial: what was found.
        cost_s: metric to seconds a clip, as measured here; empty where it was not measured.
        notices: what is worth knowing.
    """

    folder: Path
    trial: Trial
    cost_s: Mapping[str, float]
    notices: Sequence[str] = ()


def damage_trial(
    suite: Suite, clips: Path | None, options: TrialOptions | None = None, progress: Progress | None = None
) -> Finished:
    """Damage good clips, score all copies and tell what every metric sees.

    Args:
        suite: the prompts; all of its samples are used.
        clips: folder of good clips of the suite; None renders scenes whose sound and picture belong together.
        options: damages, metrics and the rest.
        progress: where to show progress.

    Raises:
        UsageError: an unknown damage or metric, before any work; fewer than two usable clips; no metric that could be
            tested; a folder that holds another trial.
        MediaError: a copy cannot be stored.
    """
    options = options or TrialOptions()
    cases = default_cases() if options.damages is None else parse_cases(options.damages)
    _check_metrics(suite, options)
    workers = options.scoring.workers or os.cpu_count() or 1
    material: Material = (
        Scenes(suite, options.generator or generator_for(suite), options.seed)
        if clips is None
        else FolderClips(clips, suite, workers, options.scoring.limits)
    )
    request = {**material.describe(), "seed": options.seed}
    where = None if clips is None else str(clips.resolve())
    out = options.out or default_run_folder("trial", [request, where], suite.name, (0, 1))
    with held(out, progress) as shown:
        _check_request(out, request)
        copies = make_copies(
            material, list(suite), cases, out / "clips", seed=options.seed, workers=workers, progress=shown
        )
        if len(copies.samples) < MIN_CLIPS:
            raise UsageError(
                f"At least two clips with sound are needed; {len(copies.samples)} of {len(suite)} could be used"
                f"{_first(copies.left_out)}."
            )
        variants = _variants(copies, cases, suite)
        facts = {**request, "clips": len(copies.samples), "sources": len({source_of(s) for s in copies.samples})}
        finished = _finish(out, variants, suite, options, facts, copies.left_out, _described(cases), shown)
        if not options.keep_clips:
            shutil.rmtree(out / "clips")
        return finished


def pair_trial(pairs: JudgedPairs, options: TrialOptions | None = None, progress: Progress | None = None) -> Finished:
    """Score clips that somebody has compared, in place, and tell how far every metric agrees.

    Args:
        pairs: of `javisbench.run.trial.pairs`.
        options: metrics and the rest; damages and generator are not used.
        progress: where to show progress.

    Raises:
        UsageError: an unknown metric, before any work; no metric that could be tested; a folder of another trial.
    """
    options = options or TrialOptions()
    variants, suite = _judged(pairs)
    _check_metrics(suite, options)
    request = {"kind": pairs.kind, "suite": pairs.name, "suite_hash": suite.hash, "seed": options.seed}
    where = [str(sample.pred_video_path) for sample in suite]
    out = options.out or default_run_folder("trial", [request, where], pairs.name, (0, 1))
    with held(out, progress) as shown:
        _check_request(out, request)
        for notice in pairs.notices:
            shown.say(notice)
        facts = {**request, "clips": len(suite), "sources": len({pair.source for pair in variants.pairs})}
        if pairs.published:
            facts["published"] = dict(pairs.published)
        return _finish(out, variants, suite, options, facts, pairs.left_out, {}, shown, pairs.notices)


def _check_metrics(suite: Suite, options: TrialOptions) -> None:
    """Refuse what could not be tested, before clips and folders are made."""
    from javisbench.run.device import pick_device

    pick_device(options.scoring.device)
    # Set metrics get the good copies as their real side, which are not there yet.
    check_plan(
        replace(suite, samples=tuple(replace(s, path=s.path or Path("good.mp4")) for s in suite)), options.scoring
    )


def _check_request(out: Path, request: Mapping[str, Any]) -> None:
    """Other damages and metrics may be asked of a trial's clips; other clips are another trial."""
    path = out / REQUEST
    if path.is_file():
        earlier = read_json(path)
        if earlier != request:
            raise UsageError(f"{out} holds a trial of other clips or another seed. Choose another folder with --out.")
        return
    if any((out / name).exists() for name in ("run.json", "summary.json", "clips")):
        raise UsageError(f"{out} holds something else than a trial. Choose another folder with --out.")
    write_json(path, dict(request))


def _first(left_out: Mapping[str, str]) -> str:
    name, reason = next(iter(left_out.items()), ("", ""))
    return f" ({name}: {reason})" if name else ""


def _described(cases: Sequence[TrialCase]) -> dict[str, dict[str, str]]:
    cards = [case.damage.card for case in cases]
    return {
        card.id: {"title": card.title, "stream": card.stream, "unit": card.unit, "does": card.does} for card in cards
    }


def _variants(copies: Copies, cases: Sequence[TrialCase], suite: Suite) -> Variants:
    """Each copy as a sample of its own, and the pairs of good and damaged ones."""
    found = Variants(cases=[case.case for case in cases])
    prompts = {sample.id: sample for sample in suite}
    for sample in copies.samples:
        made = copies.made[sample.id]
        originals: dict[str, str] = {}

        def add(name: str, copy: Copy, sample: Sample = sample) -> str:
            video, audio = copies.files(sample.id, copy)
            good_video, good_audio = copies.files(sample.id, Copy(copy.good, copy.good))
            words = prompts[copy.prompt_of] if copy.prompt_of else sample
            own = replace(
                sample, id=f"{sample.id}.{name}", index=len(found.samples), categories={},
                text=words.text, audio_text=words.audio_text, video_text=words.video_text,
                pred_video_path=video, pred_audio_path=audio, path=good_video, audio_path=good_audio,
            )  # fmt: skip
            found.samples.append(own)
            return own.id

        originals[GOOD] = add(GOOD, Copy(GOOD, GOOD))
        found.originals.append(originals[GOOD])
        for case in cases:
            copy = made[case.name]
            if isinstance(copy, str):
                found.never_made.setdefault(case.case, Counter())[copy] += 1
                continue
            if copy.good not in originals:
                originals[copy.good] = add(copy.good, Copy(copy.good, copy.good, copy.good))
            found.pairs.append(Pair(case.case, originals[copy.good], add(case.name, copy), source_of(sample)))
    return found


def _judged(pairs: JudgedPairs) -> tuple[Variants, Suite]:
    """Each clip with each of its prompts once, as a suite, and the pairs."""
    from javisbench.run.trial.pairs import distinct
    from javisbench.suite import Sample, Suite, suite_hash

    found = Variants()
    ids: dict[tuple[ClipSource, str], str] = {}
    for place, (source, text) in enumerate(distinct(pairs.pairs)):
        ids[source, text] = f"clip_{place:05d}"
        found.samples.append(
            Sample(ids[source, text], place, text, pred_video_path=source.video, pred_audio_path=source.audio)
        )
    found.pairs += [_judged_pair(pair, ids) for pair in pairs.pairs]
    cases = {pair.case for pair in found.pairs}
    found.cases += sorted(cases, key=lambda case: (case.damage, case.severity, case.dose or 0.0))
    suite = Suite(
        pairs.name, tuple(found.samples), None, not any(s.text for s in found.samples), suite_hash(found.samples),
        pairs.name, len(found.samples),
    )  # fmt: skip
    return found, suite


def _judged_pair(pair: Judged, ids: Mapping[tuple[ClipSource, str], str]) -> Pair:
    a, b = ids[pair.a, pair.text], ids[pair.b, pair.text]
    better, worse = (b, a) if pair.better == "b" else (a, b)
    return Pair(pair.case, better, worse, pair.group, pair.better == "tie")


def _finish(
    out: Path,
    variants: Variants,
    suite: Suite,
    options: TrialOptions,
    facts: Mapping[str, Any],
    left_out: Mapping[str, str],
    damages: Mapping[str, Mapping[str, str]],
    progress: Progress,
    notices: Sequence[str] = (),
) -> Finished:
    plan = check_plan(replace(suite, samples=tuple(variants.samples)), options.scoring)
    result = score_variants(variants, suite, options.scoring, plan, out / "run", progress)
    metrics, missing = metric_trials(result, variants, options.seed, plan)
    if not metrics:
        reasons = "; ".join(sorted(set(missing.values())))
        raise UsageError(f"None of these metrics could be tested: {reasons or 'no clip has a value'}.")
    trial = Trial(
        material=facts,
        protocol=result.protocol_label,
        stand_in=result.stand_in,
        seed=options.seed,
        version=__version__,
        metrics=metrics,
        missing=missing,
        left_out=dict(left_out),
        damages=damages,
    )
    write_json(out / "trial.json", trial.to_json())
    _write_parquet(out / "trial.parquet", trial)
    cost = _cost(out, variants, plan, options, progress) if options.cost else {}
    return Finished(out, trial, cost, notices)


def _write_parquet(path: Path, trial: Trial) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame = effects_frame(trial.effects)
    # Columns without a single value would otherwise get a type of their own.
    text, number, whole = pa.string(), pa.float64(), pa.int64()
    types = dict.fromkeys(("metric", "damage", "unit", "kind", "branch", "verdict", "lacking", "note"), text)
    types |= dict.fromkeys(("pairs", "n", "sources", "ties", "n_for_power"), whole)
    schema = pa.schema([(name, types.get(name, number)) for name in frame.columns])
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        pq.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), file)


def _cost(
    out: Path, variants: Variants, plan: ScorePlan, options: TrialOptions, progress: Progress
) -> dict[str, float]:
    """Seconds a clip of every metric; measured once, apart from the results, which are the same everywhere."""
    from javisbench.run.trial.cost import measure_cost

    path = out / "cost.json"
    known: dict[str, float] = {}
    if path.is_file():
        try:
            known = {str(name): float(value) for name, value in read_json(path)["seconds_a_clip"].items()}
        except (RunError, KeyError, TypeError, ValueError, AttributeError):
            known = {}
    part = plan.parts[0]
    wanted = [*part.sample_metrics, *part.set_metrics]
    if any(metric not in known for metric in wanted):
        known |= measure_cost(variants.samples, plan, options.scoring, progress)
        write_json(path, {"seconds_a_clip": known})
    return {metric: known[metric] for metric in wanted if metric in known}
