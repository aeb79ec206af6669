"""What a model, a suite and settings decide together: the run folder, what its manifest says, the clips to make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import RunError, UsageError
from javisbench.results.run_folder import MAX_NAME, read_manifest
from javisbench.run.manifest import default_run_folder, set_aside_if_damaged, slug, update_manifest
from javisbench.run.progress import Progress

if TYPE_CHECKING:
    from javisbench.baselines.base import Generator, Plan
    from javisbench.baselines.fingerprint import Hashes
    from javisbench.run.generate import GenerateSettings, RemoteMaker, Settled
    from javisbench.suite import Sample, Suite


@dataclass
class GenerationJob:
    """A model, a suite and the run folder that they decide.

    Attributes:
        generator: constructed, not loaded.
        suite: the prompts, all shards.
        settings: seeds, shard, limits.
        run: the run folder.
        model: facts for the manifest; ``identity`` in it decides the clips.
        params: of the model, as given.
    """

    generator: Generator
    suite: Suite
    settings: GenerateSettings
    run: Path
    model: dict[str, Any]
    params: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def prepare(
        cls,
        model: str,
        params: Mapping[str, str] | None,
        suite: Suite,
        settings: GenerateSettings | None,
        out: str | Path | None,
        name: str | None,
    ) -> GenerationJob:
        """Construct the generator and decide the folder; loads nothing.

        Arguments are those of `javisbench.generate`.

        Raises:
            UsageError: an unknown model or parameter.
            GenerationError: model and suite do not fit.
        """
        from javisbench.baselines.registry import create_generator, resolved_spec
        from javisbench.run.generate import GenerateSettings, check_suite
        from javisbench.run.given import check_given

        settings = settings or GenerateSettings()
        generator = create_generator(model, params)
        check_suite(generator, suite, settings.repeats)
        check_given(suite)
        identity = {
            # A card's id and what it stands for are one model.
            "model": generator.key_name(resolved_spec(model)),
            "card": generator.card_id,
            "parameters": dict(generator.resolved()),
        }
        decided = [{**identity, "model": model}, settings.seed, settings.repeats, settings.conform]
        run = Path(out) if out else default_run_folder(name or model, decided, suite.name, settings.shard)
        title = name or (model if len(model) <= MAX_NAME else f"{model[: MAX_NAME - 1]}…")
        facts = {"name": title, "slug": slug(title), "spec": model, "card": generator.card_id, "identity": identity}
        return cls(generator, suite, settings, run, facts, dict(params or {}))

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know of the suite."""
        return self.suite.notices((*self.generator.uses_columns, *self.generator.condition_columns))

    @property
    def clips(self) -> list[tuple[Sample, int]]:
        """What the job comes to, of its shard: sample, and which of its clips."""
        mine = self.suite.shard(*self.settings.shard)
        return [(sample, repeat) for sample in mine for repeat in range(self.settings.repeats)]

    def generate(self, weights_dirs: Sequence[Path], progress: Progress, settled: Settled = lambda *_: None) -> None:
        """Make what is missing; the caller holds the folder's lock. `settled` as for `generate_clips`."""
        from javisbench.baselines.registry import naming_package
        from javisbench.run.device import check_engine, pick_devices
        from javisbench.run.generate import generate_clips
        from javisbench.run.given import check_given
        from javisbench.weights import WeightStore

        set_aside_if_damaged(self.run)
        settings = self.settings
        if settings.engine != "local" and self.generator.one_process:
            raise UsageError(
                f"{self.model['spec']} is made by one process, which writes down what it pays for: leave --engine out."
            )
        check_engine(settings.engine, settings.engine_address, settings.device)
        devices: tuple[str, ...] = ()
        if settings.engine == "local":
            devices = pick_devices(settings.device)[: 1 if self.generator.one_process else None]
            settings = replace(settings, device=devices[0])
        with naming_package(self.generator, "plan"):
            plan = self.generator.plan(self.suite.setting_to_make)
        progress.say(f"Generating {self.suite.name} with {self.model['name']}: {self.each(plan)}")
        if self.suite.setting is None:
            progress.say(f"  {self.suite.name} states no size, rates or length: the model was asked for JavisBench's")
        for note in (*check_given(self.suite), *plan.notes):
            progress.say(f"  {note}")
        self._check_suite()
        weights = WeightStore(weights_dirs)
        outcome = generate_clips(
            self.run,
            self.suite,
            self.generator,
            weights,
            settings,
            self.model["identity"],
            progress,
            accepted=self._record,
            remote=self._remote(devices, weights.dirs),
            settled=settled,
        )
        for line in outcome.lines():
            progress.say(line)

    def each(self, plan: Plan) -> str:
        """What is made of each sample, in words."""
        facts = self.suite.task_facts
        picture = f"{plan.width}x{plan.height} pixels, {plan.frames} frames at {plan.fps} fps"
        if not facts.makes_picture:
            return f"sound at {plan.sample_rate} Hz for the suite's videos, as long as these"
        if not facts.makes_sound:
            return f"{picture}, for the suite's sounds"
        given = f", from the suite's {facts.condition}s" if facts.condition else ""
        return f"{picture}, {plan.audio_samples} samples at {plan.sample_rate} Hz{given}"

    def _remote(self, devices: Sequence[str], weights_dirs: Sequence[Path]) -> RemoteMaker | None:
        settings = self.settings
        if len(devices) == 1:
            return None
        from javisbench.run.making import Making

        how = Making(
            self.model["spec"], self.params, weights_dirs, None, settings.device or "", settings.dtype,
            settings.conform, self.suite.setting_to_make,
        )  # fmt: skip
        if devices:
            from javisbench.baselines.base import Generator
            from javisbench.run.device_making import DeviceMaker

            prepares = type(self.generator).prepare is not Generator.prepare
            return DeviceMaker(devices, how, self.run, prepares)
        from javisbench.run.cluster.making import RayMaker

        return RayMaker(settings.engine_address, how)

    def _check_suite(self) -> None:
        earlier = read_manifest(self.run).get("suite", {}).get("hash")
        if earlier not in (None, self.suite.hash) and not self.settings.overwrite:
            raise RunError(
                f"{self.run} was made for another version of {self.suite.name} (its prompts differ). Choose another "
                f"folder with --out, or replace changed clips with --overwrite."
            )

    def _record(self, hashes: Hashes | None) -> None:
        """Write what the clips are made from and with; `hashes` of the model's files, None when they are not here."""
        if hashes is None:
            hashes = read_manifest(self.run).get("model", {}).get("weights", {})
        suite = {"name": self.suite.name, "hash": self.suite.hash, "source": self.suite.source, "task": self.suite.task}
        generation = {
            "seed": self.settings.seed,
            "repeats": self.settings.repeats,
            "shard": list(self.settings.shard),
            "conform": self.settings.conform,
            "dtype": self.settings.dtype,
            "limit": None if len(self.suite) == self.suite.total else len(self.suite),
        }
        update_manifest(
            self.run,
            {
                "model": {**self.model, "weights": hashes},
                "suite": {**suite, "total": self.suite.total},
                "generation": generation,
            },
            self.settings.patience_s,
        )
