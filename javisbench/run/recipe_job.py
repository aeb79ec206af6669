"""What a recipe asks for, as the job that ``eval``, ``score`` or ``validate-metrics`` would do."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from javisbench.errors import UsageError
from javisbench.results.recipe import Recipe
from javisbench.run.scoring_job import ScoringOptions

if TYPE_CHECKING:
    from javisbench.results.trial import Trial
    from javisbench.run.generate import GenerateSettings
    from javisbench.run.progress import Progress

Command: TypeAlias = Literal["eval", "score", "validate-metrics"]


@dataclass(frozen=True)
class RecipeJob:
    """A recipe's job.

    Attributes:
        recipe: whose.
        command: which command does it.
        suite: name of the suite, or its file; of a trial, empty.
        options: how to score.
        settings: how to make clips; None where they are made already.
        model: what `--model` takes; None where clips are made already.
        params: the model's parameters.
        clips: folder of clips, or the data set of a trial; None where they are made.
        out: the run folder; None for the default.
        limit: only the first samples; None for all.
    """

    recipe: Recipe
    command: Command
    suite: str
    options: ScoringOptions
    settings: GenerateSettings | None = None
    model: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    clips: str | None = None
    out: str | None = None
    limit: int | None = None

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        clips: str | Path | None = None,
        *,
        suite: str | Path | None = None,
        out: str | Path | None = None,
        limit: int | None = None,
        reference: str | None = None,
        weights_dirs: Sequence[Path] = (),
        device: str | None = None,
        workers: int | None = None,
    ) -> RecipeJob:
        """The job; arguments are those of `javisbench.api.reproduce`.

        Raises:
            UsageError: the recipe is checked only, or needs clips that are not given.
        """
        from javisbench.run.generate import GenerateSettings

        if recipe.kind == "check":
            raise UsageError(
                f"{recipe.id} is checked only: what made its clips is not public, or not known well enough. Check a "
                f"result of yours: javisbench reproduce check RUN {recipe.id}"
            )
        if clips is None and recipe.kind != "run":
            what = "the data set" if recipe.kind == "trial" else "clips that are made already"
            raise UsageError(
                f"{recipe.id} needs {what}: javisbench reproduce run {recipe.id} --clips FOLDER. `javisbench reproduce "
                f"show {recipe.id}` says which."
            )
        generation = recipe.generation
        seed = int(generation.get("seed", 0))
        prompts = recipe.suite if suite is None else str(suite)
        options = ScoringOptions(
            metrics=recipe.asked_metrics,
            protocols=(recipe.protocol,),
            encoders=recipe.encoders,
            weights_dirs=weights_dirs,
            reference=reference,
            device=device,
            workers=workers,
            seed=seed,
        )
        wanted = limit if limit is not None else _int(generation.get("limit"))
        folder, where = (None if place is None else str(place) for place in (clips, out))
        if recipe.kind == "trial":
            return cls(recipe, "validate-metrics", "", options, clips=folder, out=where, limit=limit)
        if clips is not None:
            return cls(recipe, "score", prompts, options, clips=folder, out=where, limit=wanted)
        settings = GenerateSettings(
            seed=seed,
            repeats=int(generation.get("repeats", 1)),
            conform="exact" if generation.get("conform") == "exact" else "native",
            dtype=str(generation.get("dtype", "auto")),
            device=device,
        )
        params = {name: _text(value) for name, value in recipe.parameters.items()}
        return cls(recipe, "eval", prompts, options, settings, recipe.spec, params, out=where, limit=wanted)

    @property
    def name(self) -> str | None:
        """How the maker of clips that are scored is called: as the recipe calls its model."""
        return self.recipe.model if self.command == "score" else None

    def arguments(self) -> list[str]:
        """The same job as words of a command line: ``eval --model ...``."""
        words: list[str] = [self.command]
        if self.command == "validate-metrics":
            words += ["--av-syncbench", self.clips or ""]
        elif self.command == "score":
            words += [self.clips or "", "--suite", self.suite, "--name", self.name or ""]
        else:
            words += ["--model", self.model or "", *_each("-M", self.params), "--suite", self.suite]
        words += ["--protocol", *self.options.protocols, "--metrics", ",".join(self.options.metrics or ())]
        words += _each("--encoder", self.options.encoders)
        words += [word for folder in self.options.weights_dirs for word in ("--weights-dir", str(folder))]
        settings = self.settings
        optional: dict[str, Any] = {
            "--reference": self.options.reference,
            "--seed": self.options.seed or None,
            "--repeats": None if settings is None or settings.repeats == 1 else settings.repeats,
            "--conform": None if settings is None or settings.conform == "native" else settings.conform,
            "--dtype": None if settings is None or settings.dtype == "auto" else settings.dtype,
            "--limit": self.limit,
            "--device": self.options.device,
            "--workers": self.options.workers,
            "--out": self.out,
        }
        return words + [word for flag, value in optional.items() if value is not None for word in (flag, str(value))]

    @property
    def line(self) -> str:
        """The command, as a shell takes it."""
        return shlex.join(["javisbench", *self.arguments()])

    def trial(self, progress: Progress | None = None) -> Trial:
        """Do the job of a recipe of a trial.

        Raises:
            UsageError: the data set is not there, or has nothing that can be used.
        """
        from javisbench.run.trial.job import TrialOptions, pair_trial
        from javisbench.run.trial.pairs import read_av_syncbench

        out = None if self.out is None else Path(self.out)
        options = TrialOptions(scoring=self.options, seed=self.options.seed, out=out)
        return pair_trial(read_av_syncbench(Path(self.clips or ""), self.limit), options, progress).trial


def _each(flag: str, pairs: Mapping[str, str]) -> list[str]:
    return [word for name, value in pairs.items() for word in (flag, f"{name}={value}")]


def _text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _int(value: str | int | None) -> int | None:
    return None if value is None else int(value)
