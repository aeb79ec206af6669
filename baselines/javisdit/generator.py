"""`JavisDiT`: the generators ``javisdit`` (v1.0) and ``javisdit:v0.1``; `OpenSora`: ``opensora:v1.2``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from javisbench.baselines.base import Failed, Generated, Generator, Json, Request
from javisbench.baselines.fingerprint import content, hash_files, library_files
from javisbench.baselines.javisdit.checkpoint_files import network_files
from javisbench.baselines.javisdit.config import OpenSoraConfig, V01Config, V10Config, read_config
from javisbench.baselines.javisdit.material import material_of
from javisbench.baselines.javisdit.options import SPECS, Version, options_in_force, parse_options, version_of
from javisbench.baselines.javisdit.planning import JavisDiTPlan, plan_clip
from javisbench.baselines.prompt_store import PromptStore
from javisbench.clip import Clip, ClipSpec
from javisbench.errors import GenerationError, MediaError, MissingWeightsError, UsageError
from javisbench.tasks import ALL_TASKS, Task

if TYPE_CHECKING:
    import torch

    from javisbench.baselines.javisdit.pipeline import Made
    from javisbench.baselines.javisdit.stdit_pipeline import OpenSoraPipeline, V01Pipeline
    from javisbench.baselines.javisdit.v10_pipeline import V10Pipeline
    from javisbench.weights import WeightStore

AnyPipeline: TypeAlias = "V10Pipeline | V01Pipeline | OpenSoraPipeline"

# Component to the entries of data_cards/weights that serve it, best first.
_WEIGHTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "v1.0": {
        "network": ("javisdit-v1.0-network",),
        "text_encoder": ("javisdit-v1.0-text-encoder-bf16", "javisdit-v1.0-text-encoder"),
        "tokenizer": ("javisdit-v1.0-tokenizer",),
        "video_vae": ("javisdit-v1.0-video-vae",),
        "audio_vae": ("javisdit-audio-vae",),
        "vocoder": ("javisdit-vocoder",),
    },
    "v0.1": {
        "network": ("javisdit-v0.1-network",),
        "prior": ("javisdit-v0.1-prior",),
        "prior_text": ("javisdit-v0.1-prior-text", "imagebind_huge"),
        "text_encoder": ("javisdit-v0.1-text-encoder",),
        "tokenizer": ("javisdit-v0.1-text-encoder",),
        "video_vae": ("javisdit-v0.1-video-vae",),
        "audio_vae": ("javisdit-audio-vae",),
        "vocoder": ("javisdit-vocoder",),
    },
    "opensora": {
        "network": ("opensora-v1.2-network",),
        "text_encoder": ("javisdit-v0.1-text-encoder",),
        "tokenizer": ("javisdit-v0.1-text-encoder",),
        "video_vae": ("javisdit-v0.1-video-vae",),
    },
}
_READ_PROMPTS = ("text_encoder", "tokenizer", "prior_text")
_OWN_NETWORKS = {
    "v1.0": ("network",),
    "v0.1": ("network", "prior", "prior_text", "video_vae"),
    "opensora": ("network", "video_vae"),
}


class NativeModel(Generator):
    """What JavisDiT and OpenSora share.

    Prompts are encoded first, then the text encoder is freed and clips are sampled one by one: a clip depends on its
    prompt, its conditions, seed and parameters alone. Parameters: `javisbench.baselines.javisdit.options`.

    Args:
        version: which of the models.
        variant: what stands behind the colon.
        params: ``-M`` parameters.

    Raises:
        UsageError: an unknown parameter, or a bad value or configuration file.
    """

    # Prompts encoded between two loads of the text encoder where nothing was prepared; clips are sampled one by one.
    max_batch = 64

    def __init__(self, version: Version, variant: str | None, params: Mapping[str, str] | None) -> None:
        super().__init__(variant, params)
        self.version = version
        self.options = parse_options(version, self.params)
        self.config = _config(version, self.options.config)
        self._pipeline: AnyPipeline | None = None

    def plan(self, spec: ClipSpec) -> JavisDiTPlan:
        """Size, frames and rate that the model makes for `spec`.

        Raises:
            GenerationError: fewer than 17 frames.
        """
        return plan_clip(self.version, self.config, self.options, spec)

    def resolved(self) -> Mapping[str, Json]:
        """Every parameter that changes the clips; with ``config``, all numbers too."""
        variant = SPECS[self.version].partition(":")[2]
        resolved = {"variant": variant, **options_in_force(self.version, self.options)}
        resolved["steps"] = self.options.steps or self.config.sampling.steps
        resolved["cfg"] = self.config.sampling.guidance if self.options.cfg is None else self.options.cfg
        if self.options.config is not None:
            resolved["config"] = asdict(self.config)
        return resolved

    def files(self, weights: WeightStore) -> Mapping[str, tuple[Path, ...]]:
        """Checkpoints, shards, LoRA, settings and vocabularies of every component.

        Raises:
            MissingWeightsError: see `load`.
            WeightsError: a folder without a checkpoint, or with several.
        """
        files: dict[str, tuple[Path, ...]] = {}
        for component, path in self._find(weights).items():
            own = component in _OWN_NETWORKS[self.version] or path.is_file()
            found = network_files(path) if own else library_files(path)
            # The text encoder's folder may hold the tokenizer too.
            if found not in files.values():
                files[component] = found
        return files

    def load(self, device: str, dtype: str, weights: WeightStore) -> None:
        """Find every checkpoint, then read networks and decoders; the text encoder is read when prompts are encoded.

        Raises:
            MissingWeightsError: what is not here, from where it comes, how large it is, under which licence.
            WeightsError: a checkpoint does not hold its network.
        """
        paths = self._find(weights)
        chosen = _dtype(self.options.dtype or dtype, device)
        folder, hashes = self.prompt_folder, {}
        if folder is not None:
            files = {part: found for part, found in self.files(weights).items() if part in _READ_PROMPTS}
            hashes = content(hash_files(files, weights))

        def store(encoder: Json) -> PromptStore:
            return PromptStore(folder, {"encoder": encoder, "files": hashes})

        self._pipeline = _pipeline(self.config, self.options, paths, device, chosen, store)

    def _find(self, weights: WeightStore) -> dict[str, Path]:
        if self.options.weights is not None:
            from javisbench.weights import WeightStore as Store

            weights = Store((self.options.weights, *weights.dirs), offline=weights.offline)
        paths: dict[str, Path] = {}
        missing: dict[str, None] = {}
        for component, entries in _WEIGHTS[self.version].items():
            path = _first(weights, entries)
            if path is None:
                # The first that can be fetched: one may be a part of another's file.
                missing[next(name for name in entries if weights.entry(name).files)] = None
            else:
                paths[component] = path
        if missing:
            raise _missing(SPECS[self.version], list(missing), weights)
        return paths

    def prepare(self, requests: Sequence[Request]) -> None:
        """Encode the prompts of all requests; the text encoder is read once, and only if a prompt is new."""
        self._loaded().encode([request.prompts.get("text", "") for request in requests])

    def _loaded(self) -> AnyPipeline:
        if self._pipeline is None:
            raise GenerationError(
                f"{SPECS[self.version]} was asked to generate before its weights were loaded. Call load first."
            )
        return self._pipeline

    def generate(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        """Encode the prompts that `prepare` has not seen, then yield clip after clip.

        Raises:
            GenerationError: `load` was not called, or a request has a plan that is not this generator's.
        """
        pipeline = self._loaded()
        encoding = pipeline.encode([request.prompts.get("text", "") for request in batch])
        for request in batch:
            if not isinstance(request.plan, JavisDiTPlan):
                raise GenerationError("The request's plan is not this model's. Make it with this generator's plan().")
            fixed = self.options.fix_noise_seed
            try:
                material, plan = material_of(request, request.plan)
                seed = request.seed if fixed is None else fixed
                made = pipeline.make(request.prompts.get("text", ""), plan, seed, material)
            except (GenerationError, MediaError) as error:
                yield Failed(request, "generate", error.kind, error.message, retryable=False)
                continue
            cost = encoding | made.cost
            compiled = {"compiled": True} if self.options.compile else {}
            info = {**made.info, **compiled, "seconds": cost.seconds, "peak_bytes": cost.peak_bytes}
            yield Generated(request, _clip(made, plan), info)

    def close(self) -> None:
        """Free all networks."""
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None


class JavisDiT(NativeModel):
    """JavisDiT: text to sounding video; v1.0 (JavisDiT++) unless the variant is ``v0.1``.

    v0.1 also makes sound for videos, pictures for sounds, and sounding videos that begin with an image.

    Args:
        variant: ``v1.0``, ``v0.1`` or None.
        params: ``-M`` parameters.

    Raises:
        UsageError: an unknown version or parameter, or a bad value or configuration file.
    """

    card_id: ClassVar[str] = "javisdit"
    tasks_by_variant: ClassVar[Mapping[str, frozenset[Task]]] = {"v0.1": ALL_TASKS}

    def __init__(self, variant: str | None = None, params: Mapping[str, str] | None = None) -> None:
        super().__init__(version_of(variant), variant, params)
        if self.version == "v0.1":
            self.card_id = "javisdit-v0.1"  # type: ignore[misc]
            self.tasks = ALL_TASKS


class OpenSora(NativeModel):
    """OpenSora 1.2: text to video without sound, for cascades and by itself.

    Args:
        variant: ``v1.2`` or None.
        params: ``-M`` parameters.

    Raises:
        UsageError: an unknown version or parameter, or a bad value or configuration file.
    """

    card_id: ClassVar[str] = "opensora"
    family = "t2v"

    def __init__(self, variant: str | None = None, params: Mapping[str, str] | None = None) -> None:
        if variant not in (None, "v1.2"):
            raise UsageError(f"opensora has no variant {variant!r}. Versions: v1.2.")
        super().__init__("opensora", variant, params)


def _config(version: Version, path: Path | None) -> V10Config | V01Config | OpenSoraConfig:
    if version == "v1.0":
        return V10Config() if path is None else read_config(path, V10Config())
    if version == "v0.1":
        return V01Config() if path is None else read_config(path, V01Config())
    return OpenSoraConfig() if path is None else read_config(path, OpenSoraConfig())


def _pipeline(config: V10Config | V01Config | OpenSoraConfig, *given: Any) -> AnyPipeline:
    from javisbench.baselines.javisdit.stdit_pipeline import OpenSoraPipeline, V01Pipeline
    from javisbench.baselines.javisdit.v10_pipeline import V10Pipeline

    if isinstance(config, V10Config):
        return V10Pipeline(config, *given)
    return V01Pipeline(config, *given) if isinstance(config, V01Config) else OpenSoraPipeline(config, *given)


def _clip(made: Made, plan: JavisDiTPlan) -> Clip:
    import numpy as np

    frames = np.zeros((0, 0, 0, 3), np.uint8) if made.frames is None else made.frames.numpy()
    if made.audio is None:
        return Clip(frames, plan.fps, None, None, name="made")
    return Clip(frames, plan.fps, made.audio.numpy(), plan.sample_rate, name="made")


def _dtype(name: str, device: str) -> torch.dtype:
    import torch

    if name == "auto":
        return torch.bfloat16 if device.startswith("cuda") else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def _first(weights: WeightStore, entries: Sequence[str]) -> Path | None:
    for entry in entries:
        try:
            return weights.find(entry)
        except MissingWeightsError:
            continue
    return None


def _missing(model: str, missing: Sequence[str], weights: WeightStore) -> MissingWeightsError:
    from javisbench.cards import read_cards

    cards = read_cards("weights")
    lines = []
    for name in missing:
        entry = weights.entry(name)
        size = entry.total_bytes or cards[name].get("estimated_bytes")
        lines.append(
            f"{name}: {entry.title}; from {entry.source}, {_size(size)}, licence {entry.licence}; local name "
            f"{' or '.join(entry.local_names)}"
        )
    return MissingWeightsError(
        f"{model} needs weights that are not on this machine. Fetch them: javisbench weights fetch "
        f"{' '.join(missing)}. Or put them into a folder under their local names and give it with --weights-dir (or "
        f"-M weights=FOLDER). They are:",
        details=lines,
    )


def _size(size: int | None) -> str:
    if not size:
        return "size not known"
    return f"about {size / 1e9:.1f} GB" if size >= 1e9 else f"about {size / 1e6:.0f} MB"
