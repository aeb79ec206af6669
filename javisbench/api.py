"""The library's front door: `score` and `evaluate`, which the command line calls too."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from javisbench.durable import locked, read_json, read_jsonl, sweep_temporaries
from javisbench.errors import RunError, UsageError
from javisbench.protocol import DEFAULT_PROTOCOL, Protocol, parse_protocol
from javisbench.run.generation_job import GenerationJob
from javisbench.run.log import run_log
from javisbench.run.manifest import (
    default_run_folder,
    hardware,
    now_text,
    read_manifest,
    slug,
    update_manifest,
    versions,
)
from javisbench.run.progress import GENERATING, Progress, Silent, Step

if TYPE_CHECKING:
    import pandas as pd

    from javisbench.matching import Matched
    from javisbench.reference.real_side import Reference
    from javisbench.run.generate import GenerateSettings
    from javisbench.run.plan import ScorePlan
    from javisbench.suite import Suite


@dataclass(frozen=True)
class ScoringOptions:
    """How to score; the defaults are the command line's.

    Attributes:
        metrics: ids or globs; None for all that apply.
        protocols: names; empty for the suite's own, else ``javisbench-v1``. The first is the run's.
        encoders: encoder to variant.
        weights_dirs: folders with checkpoints.
        reference: folder of real clips, ``suite``, a statistics file, or None.
        device: torch device; None for cuda when present.
        workers: decoding processes; None for the number of cores.
        batch_clips: clips a forward pass; None for 1 on a CPU and 16 on a GPU.
        seed: of the bootstrap.
        precision: ``fp32``, or ``bf16`` or ``fp16`` for ImageBind: the first 64 clips are then scored both ways, and
            the protocol keeps its name only when no score moved by more than its tolerance.
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
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"


class Result:
    """A scored run, read from its folder.

    Attributes:
        folder: the run.
        protocol: under which; the run's first unless chosen otherwise.
        summary: ``summary.json`` as a dictionary.
    """

    def __init__(self, folder: Path, protocol: str | None = None) -> None:
        first = read_manifest(folder).get("first_protocol")
        self.folder = folder
        self._path = folder if protocol in (None, first) else folder / "protocols" / str(protocol)
        self.summary: dict[str, Any] = read_json(self._path / "summary.json")
        self.protocol: str = self.summary["run"]["protocol"]

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row a sample and repeat, one column a per-sample metric."""
        import pandas as pd

        return pd.read_parquet(self._path / "scores.parquet")

    @cached_property
    def details(self) -> pd.DataFrame:
        """Series behind the scores: ``sample_id``, ``repeat``, ``metric``, ``name``, ``values``."""
        import pandas as pd

        return pd.read_parquet(self._path / "details.parquet")

    @cached_property
    def failures(self) -> pd.DataFrame:
        """One row a failure: ``sample_id``, ``repeat``, ``stage``, ``metric``, ``kind``, ``message``."""
        import pandas as pd

        columns = ["sample_id", "repeat", "stage", "metric", "kind", "message"]
        return pd.DataFrame(read_jsonl(self._path / "failures.jsonl"), columns=columns)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Long table: ``metric``, ``aspect``, ``category``, ``value``, ``n``, ``ci_low``, ``ci_high``, ``status``."""
        import pandas as pd

        rows = []
        for metric, cells in self.summary["metrics"].items():
            for aspect, entry in cells.items():
                named = {"": entry} if aspect == "overall" else entry
                rows += [{"metric": metric, "aspect": aspect, "category": name, **cell} for name, cell in named.items()]
        return pd.DataFrame(rows)

    @property
    def failed_samples(self) -> int:
        """Clips with at least one failure."""
        return len({(row["sample_id"], row.get("repeat", 0)) for row in self.summary["failures"]})

    def __repr__(self) -> str:
        return f"Result({str(self.folder)!r}, protocol={self.protocol!r})"


def score(
    clips: str | Path | None,
    *,
    suite: str | Suite = "javisbench",
    name: str | None = None,
    out: str | Path | None = None,
    manifest: str | Path | None = None,
    limit: int | None = None,
    repeats: int | None = None,
    shard: tuple[int, int] = (0, 1),
    allow_outside: bool = False,
    options: ScoringOptions | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Result:
    """Score clips made elsewhere.

    Args:
        clips: folder of clips, a run folder (its clips are scored in place), or None for the suite's
            ``pred_video_path`` column.
        suite: name, file, or a loaded suite.
        name: how the clips' maker is called in tables; default: the folder's name.
        out: run folder; default ``runs/<name>-<hash8>/<suite>``.
        manifest: CSV that says which file belongs to which sample.
        limit: only the first samples.
        repeats: clips a prompt; default as found.
        shard: (i, n): every n-th sample from i, into a run folder of its own; `merge_runs` joins them.
        allow_outside: accept paths in the suite that leave its folder.
        options: how to score; or give its fields as keyword arguments.
        progress: where to show progress; default nowhere.
        **settings: fields of `ScoringOptions`.

    Returns:
        the scored run.

    Raises:
        JavisbenchError: bad usage or input. Bad clips do not raise: they are listed in ``failures``.
    """
    from javisbench.matching import match_clips
    from javisbench.suite import Suite, load_suite

    options = _options(options, settings)
    loaded = suite if isinstance(suite, Suite) else load_suite(suite, allow_outside=allow_outside)
    loaded = loaded.limited(limit)
    mine = loaded.shard(*shard)
    folder, run = _clip_folder(clips, name, out, loaded, shard)
    in_place = folder is not None and folder.resolve() == (run / "clips").resolve()
    if in_place and shard[1] > 1:
        raise UsageError(
            f"{run} is scored in place, by one process. Score its shards elsewhere with --out FOLDER, another for "
            f"each, and join them with javisbench merge."
        )
    # The whole suite decides how files are named and how many repeats there are.
    matched = match_clips(folder, loaded, manifest=Path(manifest) if manifest else None, repeats=repeats)
    matching = {
        "clips": str(folder.resolve()) if folder else None,
        "manifest": str(Path(manifest).resolve()) if manifest else None,
        "repeats": matched.repeats,
        "shard": list(shard),
        "limit": None if len(loaded) == loaded.total else len(loaded),
    }
    title = (
        name or read_manifest(run).get("model", {}).get("name") or (folder.resolve().name if folder else loaded.name)
    )
    with locked(run), run_log(run, progress or Silent()) as shown:
        sweep_temporaries(run)
        earlier = read_manifest(run)
        _check_shard(run, earlier, shard)
        model = {"slug": slug(title), **earlier.get("model", {}), "name": title, "clips": matching["clips"]}
        update_manifest(run, {"model": model, **({} if in_place else {"matching": matching})})
        return score_run(run, mine, matched.of_shard(*shard), options, shown)


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
    folder = Path(clips)
    if (folder / "run.json").is_file() and (folder / "clips").is_dir():
        return folder / "clips", Path(out) if out else folder
    title = name or folder.resolve().name
    return folder, Path(out) if out else default_run_folder(title, ["folder", str(folder.resolve())], suite.name, shard)


def _options(options: ScoringOptions | None, settings: Mapping[str, Any]) -> ScoringOptions:
    if options is not None and settings:
        raise UsageError("Give either options or its fields as keyword arguments, not both.")
    if "protocol" in settings:
        given = settings["protocol"]
        rest = {key: value for key, value in settings.items() if key != "protocol"}
        return ScoringOptions(protocols=(given,) if isinstance(given, str) else tuple(given), **rest)
    return options or ScoringOptions(**settings)


def resolve_protocols(names: Iterable[str], suite: Suite) -> list[Protocol]:
    """The protocols by name, each once; the suite's own, else the default, when none is named."""
    from javisbench.cards import suite_cards

    card = suite_cards().get(suite.name)
    chosen = list(names) or [(card.protocol if card else None) or DEFAULT_PROTOCOL]
    return list({protocol.name: protocol for protocol in map(parse_protocol, chosen)}.values())


def generate(
    model: str,
    *,
    suite: str | Suite = "javisbench",
    params: Mapping[str, str] | None = None,
    settings: GenerateSettings | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    limit: int | None = None,
    weights_dirs: Sequence[Path] = (),
    allow_outside: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Generate the clips of a suite, or what is missing of them.

    Args:
        model: ``javisdit``, ``procedural``, ``command:...``, ``python:module:Class``, ...
        suite: name, file, or a loaded suite.
        params: the model's parameters, values as text.
        settings: seeds, repeats, shard, limits; see `javisbench.run.generate.GenerateSettings`.
        out: run folder; default ``runs/<model-slug>-<hash8>/<suite>``.
        name: how the model is called in tables; default: as given.
        limit: only the first samples.
        weights_dirs: folders with checkpoints.
        allow_outside: accept paths in the suite that leave its folder.
        progress: where to show progress; default nowhere.

    Returns:
        the run folder.

    Raises:
        JavisbenchError: bad usage, missing weights, or too many failures. Single failures are listed in
            ``failures.jsonl`` instead.
    """
    from javisbench.run.generate import GenerateSettings
    from javisbench.suite import Suite, load_suite

    loaded = suite if isinstance(suite, Suite) else load_suite(suite, allow_outside=allow_outside)
    job = GenerationJob.prepare(model, params, loaded.limited(limit), settings or GenerateSettings(), out, name)
    with locked(job.run), run_log(job.run, progress or Silent()) as shown:
        sweep_temporaries(job.run)
        job.generate(weights_dirs, shown)
    return job.run


def evaluate(
    model: str,
    *,
    suite: str | Suite = "javisbench",
    params: Mapping[str, str] | None = None,
    settings: GenerateSettings | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    limit: int | None = None,
    allow_outside: bool = False,
    options: ScoringOptions | None = None,
    progress: Progress | None = None,
    **scoring: Any,
) -> Result:
    """Generate the clips of a suite, score them, and return the scored run.

    Arguments are those of `generate` and `score`. ``model="folder:PATH"`` scores clips made elsewhere. Running it again
    goes on where it stopped.
    """
    from javisbench.matching import match_generated
    from javisbench.run.generate import GenerateSettings
    from javisbench.run.score import scoring_steps
    from javisbench.suite import Suite, load_suite

    options = _options(options, scoring)
    loaded = suite if isinstance(suite, Suite) else load_suite(suite, allow_outside=allow_outside)
    loaded = loaded.limited(limit)
    if model.startswith("folder:"):
        if params:
            raise UsageError("folder: takes no -M parameters; the clips are made already.")
        folder = model.removeprefix("folder:")
        shard = settings.shard if settings else (0, 1)
        return score(folder, suite=loaded, name=name, out=out, shard=shard, options=options, progress=progress)
    settings = settings or GenerateSettings()
    job = GenerationJob.prepare(model, params, loaded, settings, out, name)
    # Usage errors of scoring, and what will be missing, must not wait until everything is generated.
    plan = plan_scoring(loaded, options)
    mine = loaded.shard(*settings.shard)
    clips = len(mine) * settings.repeats
    with locked(job.run), run_log(job.run, progress or Silent()) as shown:
        sweep_temporaries(job.run)
        _tell(plan, shown)
        shown.expect([Step(GENERATING, clips), *scoring_steps(plan, clips)])
        job.generate(options.weights_dirs, shown)
        matched = match_generated(job.run / "clips", mine, settings.repeats)
        return score_run(job.run, mine, matched, options, shown, planned=True)


def plan_scoring(suite: Suite, options: ScoringOptions) -> ScorePlan:
    """What a job would compute and what is missing for it; reads no clip."""
    return _plan(suite, options)[0]


def _plan(suite: Suite, options: ScoringOptions) -> tuple[ScorePlan, Reference]:
    from javisbench.reference.real_side import default_reference, open_reference
    from javisbench.run.plan import fit_reference, make_plan
    from javisbench.weights import WeightStore

    protocols = resolve_protocols(options.protocols, suite)
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


def score_run(
    run: Path, suite: Suite, matched: Matched, options: ScoringOptions, progress: Progress, *, planned: bool = False
) -> Result:
    """Score matched clips into a run folder whose lock the caller holds; `planned`: the plan was told already."""
    from javisbench.run.device import pick_device
    from javisbench.run.encode import PRECISIONS
    from javisbench.run.score import ScoreSettings, score_clips, scoring_steps

    if options.precision not in PRECISIONS:
        raise UsageError(f"The precision is one of {', '.join(PRECISIONS)}; got {options.precision!r}.")
    device = pick_device(options.device)
    plan, reference = _plan(suite, options)
    for line in matched_lines(matched):
        progress.say(line)
    if not planned:
        _tell(plan, progress)
    settings = ScoreSettings(
        device=device,
        workers=options.workers or os.cpu_count() or 1,
        batch_clips=options.batch_clips or (16 if device.startswith("cuda") else 1),
        seed=options.seed,
        precision=options.precision,
    )
    steps = scoring_steps(plan, len(matched.items))
    progress.expect(steps)
    precisions: list[dict[str, Any]] = [{"precision": "fp32"}] * len(plan.parts)
    if settings.precision != "fp32":
        from javisbench.run.precision import TRIAL_CLIPS, try_precision

        tried = scoring_steps(plan, min(TRIAL_CLIPS, len(matched.items)))
        progress.expect([*tried, *tried, *steps])
        precisions = try_precision(run, suite, matched, plan, settings, progress)
    manifest = read_manifest(run)
    first = manifest.get("first_protocol") or plan.parts[0].protocol.name
    facts = {
        "model": manifest.get("model", {}).get("name"),
        "slug": manifest.get("model", {}).get("slug"),
        "card": _model_card(manifest.get("model", {}).get("card")),
        "first_protocol": first,
        "versions": versions(),
        "precision": {part.protocol.name: record for part, record in zip(plan.parts, precisions, strict=True)},
    }
    update_manifest(
        run,
        {
            "first_protocol": first,
            "suite": {"name": suite.name, "hash": suite.hash, "source": suite.source, "total": suite.total},
            "scoring": {
                "seed": options.seed,
                "created": now_text(),
                "hardware": hardware(device),
                "matched_by": matched.how,
                "requests": _requests(manifest, plan, suite, options),
            },
            "versions": versions(),
        },
    )
    scores = score_clips(run, suite, matched, plan, settings, progress, reference=reference, facts=facts)
    return Result(run, scores[0].name)


def _requests(
    manifest: Mapping[str, Any], plan: ScorePlan, suite: Suite, options: ScoringOptions
) -> dict[str, dict[str, Any]]:
    """Protocol to how its scores were asked for last, so that they can be made again."""
    asked = {
        "metrics": None if options.metrics is None else list(options.metrics),
        "encoders": dict(options.encoders),
        "weights_dirs": [str(folder.resolve()) for folder in options.weights_dirs],
        "reference": options.reference,
        "seed": options.seed,
        "precision": options.precision,
    }
    named = resolve_protocols(options.protocols, suite)
    now = {
        part.protocol.name: {"protocol": protocol.name, **asked}
        for part, protocol in zip(plan.parts, named, strict=True)
    }
    return {**manifest.get("scoring", {}).get("requests", {}), **now}


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


def _tell(plan: ScorePlan, progress: Progress) -> None:
    """Say what will be computed, and warn of what keeps it off boards; within a run's log, which keeps both."""
    from javisbench.run.plan import warn_of_other_weights

    for line in plan_lines(plan):
        progress.say(line)
    warn_of_other_weights(plan)


def plan_lines(plan: ScorePlan) -> list[str]:
    """The plan in lines: protocols, metrics, what is missing and how to get it, stand-in weights."""
    lines = []
    for part in plan.parts:
        computed = [*part.sample_metrics, *part.set_metrics]
        lines.append(f"Protocol {part.protocol.name}: {len(computed)} metrics ({', '.join(computed)})")
        by_reason: dict[str, list[str]] = {}
        for metric_id, reason in part.unavailable.items():
            by_reason.setdefault(f"{reason.status.replace('_', ' ')}: {reason.note}", []).append(metric_id)
        lines += [f"  {', '.join(ids)}: {reason}" for reason, ids in by_reason.items()]
    if plan.stand_in:
        lines.append("STAND-IN WEIGHTS: these numbers are no trained model's and are never ranked.")
    return lines
