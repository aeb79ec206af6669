"""The library's front door: thin over the jobs of `javisbench.run`; the command line calls it too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from javisbench.errors import RunError, UsageError
from javisbench.places import Cache, gather, holds_clips, is_url
from javisbench.places.mirror import fetched, is_run, looked_at, worked_on
from javisbench.results.cell import NOT_APPLICABLE
from javisbench.results.run_folder import load_protocol, read_failures
from javisbench.run.generation_job import GenerationJob
from javisbench.run.held import held
from javisbench.run.judging.options import JudgeOptions
from javisbench.run.scoring_job import ScoringJob, ScoringOptions, generate_and_score

if TYPE_CHECKING:
    import pandas as pd

    from javisbench.results.recipe import Recipe
    from javisbench.results.reproduction import Reproduction
    from javisbench.run.dry_run import DryRun
    from javisbench.run.generate import GenerateSettings
    from javisbench.run.merge import MergeOptions
    from javisbench.run.progress import Progress
    from javisbench.run.recipe_job import RecipeJob
    from javisbench.suite import Suite

__all__ = [
    "Callback",
    "JudgeOptions",
    "Result",
    "ScoringOptions",
    "evaluate",
    "generate",
    "look_ahead",
    "merge",
    "reproduce",
    "score",
]


class Result:
    """A scored run, read from its folder.

    Attributes:
        folder: the run.
        protocol: under which; the run's first unless chosen otherwise.
        summary: ``summary.json`` as a dictionary.
    """

    def __init__(self, folder: str | Path, protocol: str | None = None) -> None:
        self.folder = Path(folder)
        self._read = load_protocol(self.folder, protocol)
        self.protocol = self._read.protocol
        self.summary: dict[str, Any] = dict(self._read.document)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row a sample and repeat, one column a per-sample metric."""
        return self._present(self._read.scores(), "scores.parquet")

    @cached_property
    def details(self) -> pd.DataFrame:
        """Series behind the scores: ``sample_id``, ``repeat``, ``metric``, ``name``, ``values``."""
        return self._present(self._read.details(), "details.parquet")

    @cached_property
    def failures(self) -> pd.DataFrame:
        """One row a failure: ``sample_id``, ``repeat``, ``stage``, ``metric``, ``kind``, ``message``."""
        import pandas as pd

        columns = ["sample_id", "repeat", "stage", "metric", "kind", "message"]
        rows = [row for row in read_failures(self._read.path) if row.get("stage") != NOT_APPLICABLE]
        return pd.DataFrame(rows, columns=columns)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Long table: ``metric``, ``aspect``, ``category``, ``value``, ``n``, ``ci_low``, ``ci_high``, ``status``."""
        import pandas as pd

        rows = []
        for metric, cells in self._read.metrics.items():
            for name, cell in cells.items():
                aspect, _, category = name.partition("/")
                rows.append({"metric": metric, "aspect": aspect, "category": category, **cell.to_json()})
        return pd.DataFrame(rows)

    @property
    def failed_samples(self) -> int:
        """Clips with at least one failure."""
        return self._read.failed_samples

    def _present(self, frame: pd.DataFrame | None, name: str) -> pd.DataFrame:
        if frame is None:
            raise RunError(f"There is no {name} in {self._read.path}. Score it first: javisbench score.")
        return frame

    def __repr__(self) -> str:
        return f"Result({str(self.folder)!r}, protocol={self.protocol!r})"


Callback: TypeAlias = Callable[[Result], None]


def score(
    clips: str | Path | None,
    *,
    suite: str | Path | Suite | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    manifest: str | Path | None = None,
    limit: int | None = None,
    repeats: int | None = None,
    shard: tuple[int, int] = (0, 1),
    allow_outside: bool = False,
    options: ScoringOptions | None = None,
    progress: Progress | None = None,
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> Result:
    """Score clips made elsewhere.

    Args:
        clips: folder of clips, a run folder (its clips are scored in place), or None for the suite's
            ``pred_video_path`` column. Clips and runs may be URLs; clips may also be in a ``.tar`` or ``.parquet``
            file.
        suite: name, file, or a loaded suite. None for a run folder's own; for the prompts beside the clips, where there
            are any (``ID.txt``); else ``javisbench``.
        name: how the clips' maker is called in tables; default: the folder's name.
        out: run folder, or its URL; default ``runs/<name>-<hash8>/<suite>``.
        manifest: CSV that says which file belongs to which sample.
        limit: only the first samples.
        repeats: clips a prompt; default as found.
        shard: (i, n): every n-th sample from i, into a run folder of its own; `merge` joins them.
        allow_outside: accept paths in the suite that leave its folder.
        options: how to score; or give its fields as keyword arguments.
        progress: where to show progress; default nowhere.
        callbacks: called with the result in the end (`javisbench.publish.trackers` has some).
        **settings: fields of `ScoringOptions`.

    Returns:
        the scored run.

    Raises:
        JavisbenchError: bad usage or input. Bad clips do not raise: they are listed in ``failures``.
    """
    from javisbench.run.own_suite import suite_of_clips

    options = _options(options, settings)
    with ExitStack() as stack:
        if is_url(clips) and is_run(str(clips)):
            # A run: scored in place, unless it goes elsewhere.
            clips = fetched(str(clips)) if out else stack.enter_context(worked_on(str(clips)))
        elif clips and holds_clips(clips):
            clips = gather(clips, Cache.from_environment(), prompts=suite is None)
        if out:
            out = stack.enter_context(worked_on(out))
        if manifest and is_url(manifest):
            manifest = Cache.from_environment().file(str(manifest))
        if suite is None:
            suite = suite_of_clips(Path(clips) if clips else None, matched_otherwise=manifest is not None)
        job = ScoringJob.prepare(
            clips,
            _loaded(suite, limit, allow_outside=allow_outside, slice_by=options.slice_by),
            name=name,
            out=out,
            manifest=manifest,
            repeats=repeats,
            shard=shard,
        )
        result = Result(job.run, job.score(options, progress).protocol)
    return _told(result, callbacks)


def _told(result: Result, callbacks: Sequence[Callback]) -> Result:
    for callback in callbacks:
        callback(result)
    return result


def _loaded(
    suite: str | Path | Suite, limit: int | None, *, allow_outside: bool, slice_by: Sequence[str] = ()
) -> Suite:
    """The suite, with the slices that are wanted, up to the limit."""
    from javisbench.suite import Suite, load_suite

    loaded = suite if isinstance(suite, Suite) else load_suite(str(suite), allow_outside=allow_outside)
    return loaded.sliced_by(slice_by).limited(limit)


def _options(options: ScoringOptions | None, settings: Mapping[str, Any]) -> ScoringOptions:
    if options is not None and settings:
        raise UsageError("Give either options or its fields as keyword arguments, not both.")
    if "protocol" in settings:
        given = settings["protocol"]
        rest = {key: value for key, value in settings.items() if key != "protocol"}
        return ScoringOptions(protocols=(given,) if isinstance(given, str) else tuple(given), **rest)
    return options or ScoringOptions(**settings)


def generate(
    model: str,
    *,
    suite: str | Path | Suite = "javisbench",
    params: Mapping[str, str] | None = None,
    settings: GenerateSettings | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    limit: int | None = None,
    weights_dirs: Sequence[str | Path] = (),
    allow_outside: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Generate the clips of a suite, or what is missing of them.

    Args:
        model: ``javisdit``, ``procedural``, ``command:...``, ``python:module:Class``, ...
        suite: name, file, or a loaded suite.
        params: the model's parameters, values as text.
        settings: seeds, repeats, shard, limits; see `javisbench.run.generate.GenerateSettings`.
        out: run folder, or its URL; default ``runs/<model-slug>-<hash8>/<suite>``.
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
    loaded = _loaded(suite, limit, allow_outside=allow_outside)
    with ExitStack() as stack:
        if out:
            out = stack.enter_context(worked_on(out, media=True))
        job = GenerationJob.prepare(model, params, loaded, settings, out, name)
        shown = stack.enter_context(held(job.run, progress))
        for notice in job.notices:
            shown.say(f"Suite {job.suite.name}: {notice}")
        job.generate([Path(folder) for folder in weights_dirs], shown)
    return job.run


def evaluate(
    model: str,
    *,
    suite: str | Path | Suite | None = None,
    params: Mapping[str, str] | None = None,
    settings: GenerateSettings | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    limit: int | None = None,
    allow_outside: bool = False,
    overlap: bool | None = None,
    options: ScoringOptions | None = None,
    progress: Progress | None = None,
    callbacks: Sequence[Callback] = (),
    **scoring: Any,
) -> Result:
    """Generate the clips of a suite, score them, and return the scored run.

    Arguments are those of `generate` and `score`; without `suite`, that is ``javisbench``. ``model="folder:PATH"``
    scores clips made elsewhere. With `overlap` clips are encoded while others are made, with the same results; None
    does so where it is of use. Running it again goes on where it stopped.
    """
    from javisbench.run.own_suite import DEFAULT_SUITE

    options = _options(options, scoring)
    if model.startswith("folder:"):
        if params:
            raise UsageError("folder: takes no -M parameters; the clips are made already.")
        return score(
            model.removeprefix("folder:"),
            suite=suite,
            name=name,
            out=out,
            limit=limit,
            shard=settings.shard if settings else (0, 1),
            allow_outside=allow_outside,
            options=options,
            progress=progress,
            callbacks=callbacks,
        )
    loaded = _loaded(suite or DEFAULT_SUITE, limit, allow_outside=allow_outside, slice_by=options.slice_by)
    with ExitStack() as stack:
        if out:
            out = stack.enter_context(worked_on(out, media=True))
        job = GenerationJob.prepare(model, params, loaded, settings, out, name)
        result = Result(job.run, generate_and_score(job, options, progress, overlap).protocol)
    return _told(result, callbacks)


def reproduce(
    recipe: str | Path | Recipe,
    clips: str | Path | None = None,
    *,
    suite: str | Path | None = None,
    out: str | Path | None = None,
    limit: int | None = None,
    reference: str | None = None,
    weights_dirs: Sequence[str | Path] = (),
    device: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Reproduction:
    """Do what a recipe says, with `evaluate` or `score`, and check what was found against what was published.

    Args:
        recipe: its id, a TOML file, or a loaded one.
        clips: clips to score instead of making them; of a trial, its data set.
        suite: file of the recipe's suite, or name and folder of its data (``vggsound:DIR``); None for the name.
        out: run folder; of a trial, its folder.
        limit: only the first samples.
        reference: real side of the set metrics; None for the suite's own.
        weights_dirs: folders with checkpoints.
        device: torch device.
        workers: decoding processes.
        progress: where to show progress; default nowhere.

    Raises:
        UsageError: the recipe is checked only, or needs clips.
        JavisbenchError: as `evaluate` and `score`.
    """
    from javisbench.results.recipe import Recipe
    from javisbench.results.recipes import load_recipe
    from javisbench.run.recipe_job import RecipeJob

    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    job = RecipeJob.of(
        loaded,
        clips,
        suite=suite,
        out=out,
        limit=limit,
        reference=reference,
        weights_dirs=tuple(map(Path, weights_dirs)),
        device=device,
        workers=workers,
    )
    return perform(job, progress)


def perform(job: RecipeJob, progress: Progress | None = None) -> Reproduction:
    """Do the job of a recipe, and check what was found.

    Raises:
        JavisbenchError: as `evaluate` and `score`.
    """
    from javisbench.results.reproduction import check, check_trial

    if job.command == "validate-metrics":
        return check_trial(job.trial(progress), job.recipe)
    given: dict[str, Any] = {"suite": job.suite, "out": job.out, "limit": job.limit, "progress": progress}
    if job.command == "eval":
        assert job.model is not None
        given |= {"params": job.params, "settings": job.settings, "options": job.options}
        result = evaluate(job.model, **given)
    else:
        result = score(job.clips, name=job.name, options=job.options, **given)
    return check(load_protocol(result.folder, result.protocol), job.recipe)


def look_ahead(
    model: str,
    *,
    suite: str | Path | Suite | None = None,
    params: Mapping[str, str] | None = None,
    settings: GenerateSettings | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    limit: int | None = None,
    weights_dirs: Sequence[str | Path] = (),
    allow_outside: bool = False,
    overlap: bool | None = None,
    options: ScoringOptions | None = None,
) -> DryRun:
    """What `generate` with the same arguments would take, or `evaluate` when `options` are given.

    Nothing is made, fetched or loaded. What is not known is said so instead of guessed.

    Raises:
        JavisbenchError: bad usage, or a model and a suite that do not fit.
    """
    from javisbench.run.dry_run import look_ahead as of_job
    from javisbench.run.own_suite import DEFAULT_SUITE

    if model.startswith("folder:"):
        raise UsageError("folder: names clips that are made already: nothing is to be generated.")
    slice_by = options.slice_by if options else ()
    loaded = _loaded(suite or DEFAULT_SUITE, limit, allow_outside=allow_outside, slice_by=slice_by)
    job = GenerationJob.prepare(model, params, loaded, settings, looked_at(out) if out else None, name)
    return of_job(job, [Path(folder) for folder in weights_dirs], options, overlap)


def merge(
    runs: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    options: MergeOptions | None = None,
    progress: Progress | None = None,
) -> Result | None:
    """Join the shards of a run into the run that one machine would have made.

    Arguments and errors are those of `javisbench.run.merge.merge_runs`.

    Returns:
        the scored run; None when the parts were generated but not scored.
    """
    from javisbench.run.merge import merge_runs

    parts = [fetched(run, media=True) for run in runs]
    with nullcontext() if out is None else worked_on(out, media=True) as target:
        merged = merge_runs(parts, target, options=options, progress=progress)
    return None if merged is None else Result(merged.path)
