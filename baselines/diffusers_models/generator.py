"""`DiffusersPipeline`: pipelines of the diffusers library, ``diffusers:REPO_OR_FOLDER[@REVISION]``.

The class is read from ``model_index.json``; how it is driven follows from its signature and from what
`table` knows beside it. No code from a repository is ever run. Nothing is downloaded: a pipeline is a local folder, or
lies in the hub's cache.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from javisbench.baselines.base import Default, Failed, Generated, Generator, Json, Plan, Request
from javisbench.baselines.diffusers_models.folder import (
    INDEX,
    Source,
    cached_index,
    components,
    in_folders,
    named_like,
    read_index,
    sample_rate,
    snapshot,
)
from javisbench.baselines.diffusers_models.loading import component_types, load_pipeline
from javisbench.baselines.diffusers_models.memory import (
    Batches,
    decode_in_tiles,
    decode_one_by_one,
)
from javisbench.baselines.diffusers_models.options import HOW, PREFIXES, parse_options
from javisbench.baselines.diffusers_models.output import clip_of
from javisbench.baselines.diffusers_models.prompts import ENCODERS, EncodedPrompts, is_text_part
from javisbench.baselines.diffusers_models.rules import Rules, rules_of
from javisbench.baselines.diffusers_models.signature import REQUIRED
from javisbench.baselines.diffusers_models.table import AS_PIPELINE, REPOSITORIES
from javisbench.baselines.fingerprint import library_files
from javisbench.baselines.prompt_store import PromptStore
from javisbench.clip import ClipSpec
from javisbench.errors import GenerationError, MissingWeightsError, WeightsError
from javisbench.system_faults import free_memory, is_out_of_memory

if TYPE_CHECKING:
    from javisbench.weights import WeightStore

log = logging.getLogger(__name__)

_NETWORKS = ("transformer", "transformer_2", "unet")


class DiffusersPipeline(Generator):
    """A pipeline of the diffusers library.

    Every clip's noise is drawn on the CPU from a generator with the clip's own seed, so that a clip depends on its
    prompt, seed and parameters alone. Prompts share a call where the class is known to keep them apart; then clips are
    equal but for rounding, whatever the size of a call.

    Args:
        variant: ``REPO_OR_FOLDER[@REVISION]``.
        params: see `PipelineOptions`.

    Raises:
        UsageError: no such folder, or an unknown parameter or bad value.
    """

    card_id: ClassVar[str] = "diffusers"
    # Of some class; which of them a pipeline takes is known with its own.
    tasks = frozenset({"t2av", "i2av"})
    max_batch = 16
    part_of_cascade = False

    def __init__(self, variant: str | None = None, params: Mapping[str, str] | None = None) -> None:
        super().__init__(variant, params)
        self.source = Source.parse(variant)
        self.options = parse_options(self.params)
        known = REPOSITORIES.get(self.source.repository)
        self.card_id = known.card if known else "diffusers"  # type: ignore[misc]
        self._pipeline: Any = None
        self._batches = Batches("cpu", 1, 1)
        self._tiled = False
        self._prompts: EncodedPrompts | None = None
        self._waits_for: str | None = None
        rules = self._rules_if_known()
        if rules is not None:
            rules.settings(self.options)
            rules.loading(self.options.load)

    def rules(self) -> Rules:
        """How the pipeline is driven; looks at local files alone.

        Raises:
            MissingWeightsError: the class is not known, and the repository is not on this machine.
            GenerationError: the class cannot be driven, or brings code of its own.
        """
        folder = self.source.folder or cached_index(self.source)
        known = REPOSITORIES.get(self.source.repository)
        if folder is not None:
            kind = read_index(folder)
            found = (self.source.repository, known) if known and known.kind == kind else named_like(folder, kind)
            rules = rules_of(kind, *(found or ()))
        elif known is not None:
            rules = rules_of(known.kind, self.source.repository, known)
        else:
            raise self._missing()
        self.family = rules.family  # type: ignore[misc]
        self.tasks = rules.tasks
        return rules

    def _rules_if_known(self) -> Rules | None:
        try:
            return self.rules()
        except (GenerationError, MissingWeightsError, WeightsError):
            # plan says so, better placed.
            return None

    def plan(self, spec: ClipSpec) -> Plan:
        """Native size, rate and length, unless parameters say otherwise, rounded up to what the class allows.

        Raises:
            GenerationError: see `rules`; or a pipeline without picture that is no stage of a cascade.
            MissingWeightsError: see `rules`.
            UsageError: a parameter that the class does not take.
        """
        rules = self.rules()
        rules.settings(self.options)
        rules.loading(self.options.load)
        rate = sample_rate(rules, self.source.folder or cached_index(self.source))
        if rules.family == "t2a" and not self.part_of_cascade:
            raise GenerationError(
                f"{rules.name} makes sound without a picture. Use it as a stage: --model "
                f"'cascade:t2v=wan2.1-1.3b,t2a=diffusers:{self.variant}'."
            )
        plan = rules.plan(self.options, spec, rate)
        if rate or self.part_of_cascade:
            return plan
        return replace(plan, notes=(*plan.notes, "no sound: the pipeline makes pictures alone"))

    def resolved(self) -> Mapping[str, Json]:
        """Every parameter that changes the clips."""
        chosen: dict[str, Json] = {
            f.name: str(value) if isinstance(value := getattr(self.options, f.name), Fraction) else value
            for f in fields(self.options)
            if f.name not in (*HOW, *PREFIXES)
        }
        chosen |= {name: dict(value) for name in PREFIXES if (value := getattr(self.options, name))}
        variant = self.variant if self.source.folder is None else None
        rules = self._rules_if_known()
        if rules is None:
            return {"variant": variant, **chosen}
        chosen.pop("pipeline", None)
        return {"variant": variant, "class": rules.name, **chosen, **rules.settings(self.options)}

    def defaults(self) -> Mapping[str, Default]:
        """What the class and the checkpoint do by themselves, and where that comes from.

        Raises:
            MissingWeightsError: see `rules`.
            GenerationError: see `rules`.
        """
        return self.rules().defaults

    def files(self, weights: WeightStore) -> Mapping[str, tuple[Path, ...]]:
        """The index and, component by component, what the libraries may read.

        Raises:
            MissingWeightsError: the pipeline, or a component of it, is not on this machine.
            WeightsError: the folder holds another pipeline.
        """
        folder, _ = self._folder(weights)
        found = {name: library_files(folder / name) for name in components(folder)}
        return {"index": (folder / INDEX,), **{name: paths for name, paths in found.items() if paths}}

    def key_name(self, spec: str) -> str:
        """Without the place of a local folder, whose content is in the key."""
        return spec if self.source.folder is None else "diffusers"

    def load(self, device: str, dtype: str, weights: WeightStore) -> None:
        """Read all components.

        Raises:
            MissingWeightsError: the pipeline, or a component of it, is not on this machine.
            WeightsError: a component cannot be read.
            GenerationError: diffusers does not import, or knows no such class.
        """
        folder, rules = self._folder(weights)
        types = component_types(rules, self.options.dtype or dtype, device)
        given = rules.loading(self.options.load)
        self._prompts = self._store(rules, folder, types, device, weights)
        if self._prompts is not None:
            given |= {name: None for name in rules.signature.parts if name.startswith(ENCODERS)}
        pipeline = load_pipeline(rules, folder, types, given)
        pipeline.set_progress_bar_config(disable=True)
        if self._prompts is None:
            self._place(pipeline, device)
        else:
            # It waits in the host's memory while the text encoder has the device.
            self._waits_for = device
        most = self.max_batch if rules.known.together else 1
        self._batches = Batches(device, self.options.batch, most)
        if most > 1:
            decode_one_by_one(pipeline)
        tiled = self.options.vae == "tiled" or rules.known.tiles_alone
        self._tiled = tiled and decode_in_tiles(pipeline)
        if self.options.compile:
            for network in filter(None, (getattr(pipeline, name, None) for name in _NETWORKS)):
                network.compile()
        self._pipeline = pipeline

    def prepare(self, requests: Sequence[Request]) -> None:
        """Encode all prompts with the text encoder, where that can be used by itself, and free it."""
        if self._prompts is not None:
            rules = self.rules()
            texts = [request.prompts["text"] for request in requests]
            if self._prompts.fill(texts, _negative(rules.settings(self.options))):
                free_memory()

    def _store(
        self, rules: Rules, folder: Path, types: Mapping[str, Any], device: str, weights: WeightStore
    ) -> EncodedPrompts | None:
        """Of a run; elsewhere prompts are encoded call by call."""
        if self.prompt_folder is None or not rules.known.encoded:
            return None
        arguments = rules.settings(self.options)["arguments"]
        hashes = {
            name: [weights.sha256(path) for path in library_files(folder / name)]
            for name in components(folder)
            if is_text_part(name)
        }
        identity = {"class": rules.name, "files": hashes, "types": str(types), "arguments": arguments}
        return EncodedPrompts(rules, folder, types, device, arguments, PromptStore(self.prompt_folder, identity))

    def _place(self, pipeline: Any, device: str) -> None:
        if device == "cpu" or self.options.offload == "none":
            pipeline.to(device)
        elif self.options.offload == "model":
            pipeline.enable_model_cpu_offload(device=device)
        else:
            pipeline.enable_sequential_cpu_offload(device=device)

    def generate(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        """Yield clips, call after call.

        Raises:
            GenerationError: `load` was not called.
        """
        if self._pipeline is None:
            raise GenerationError("The pipeline was asked to generate before it was loaded. Call load first.")
        rules = self.rules()
        # Nothing is left to encode where all requests were prepared together.
        self.prepare(batch)
        if self._waits_for is not None:
            self._place(self._pipeline, self._waits_for)
            self._waits_for = None
        waiting = list(batch)
        while waiting:
            # Pictures of one call would have to be of one size.
            part = waiting[: 1 if waiting[0].conditions.image else self._batches.size()]
            answers = self._answers(rules, part)
            if answers is not None:
                waiting = waiting[len(part) :]
                yield from answers

    def close(self) -> None:
        """Free the pipeline's memory."""
        if self._pipeline is not None:
            self._pipeline = self._prompts = self._waits_for = None
            free_memory()

    def _answers(self, rules: Rules, part: Sequence[Request]) -> list[Generated | Failed] | None:
        """The answers of one call; None when memory ran out and less of it will do."""
        try:
            with self._batches.measured(len(part)):
                return self._make(rules, part)
        except Exception as error:
            if not is_out_of_memory(error) or not (self._batches.halve(len(part)) or self._use_tiles()):
                raise
        free_memory()
        return None

    def _use_tiles(self) -> bool:
        if self._tiled or self.options.vae == "whole":
            return False
        self._tiled = decode_in_tiles(self._pipeline)
        if self._tiled:
            log.warning("out of memory with one clip; from here on its pictures are decoded in tiles")
        return self._tiled

    def _make(self, rules: Rules, part: Sequence[Request]) -> list[Generated | Failed]:
        import torch

        settings = rules.settings(self.options)
        arguments = rules.call(settings, part[0].plan)
        prompts = [request.prompts["text"] for request in part]
        noise = [torch.Generator("cpu").manual_seed(request.seed) for request in part]
        if len(part) > 1:
            if "negative_prompt" in arguments:
                arguments["negative_prompt"] = [arguments["negative_prompt"]] * len(part)
            arguments |= {"prompt": prompts, "generator": noise}
        else:
            arguments |= {"prompt": prompts[0], "generator": noise[0], **_given(rules, part[0])}
        if self._prompts is not None:
            arguments.pop("negative_prompt", None)
            arguments |= self._prompts.of(prompts, _negative(settings))
        started = time.monotonic()
        output = self._pipeline(**arguments)
        seconds = round((time.monotonic() - started) / len(part), 3)
        facts = {
            "pipeline": rules.name,
            "seconds": seconds,
            **settings,
            "clips_a_call": len(part),
            **({"vae": "tiled"} if self._tiled else {}),
            **({"compiled": True} if self.options.compile else {}),
        }
        return [self._answer(rules, output, place, request, facts) for place, request in enumerate(part)]

    def _answer(
        self, rules: Rules, output: Any, place: int, request: Request, facts: Mapping[str, Json]
    ) -> Generated | Failed:
        try:
            clip, warnings = clip_of(rules, output, place, request.plan)
        except GenerationError as error:
            return Failed(request, "generate", error.kind, error.message, retryable=False)
        info = {"prompt": request.prompts["text"], **facts, **({"warnings": warnings} if warnings else {})}
        return Generated(request, clip, info)

    def _folder(self, weights: WeightStore) -> tuple[Path, Rules]:
        found = self.source.folder or in_folders(self.source, weights.dirs) or snapshot(self.source)
        if found is None:
            raise self._missing()
        kind, rules = read_index(found), self.rules()
        if kind != rules.name:
            raise WeightsError(f"{found} holds a {kind}, not the {rules.name} of {self.source.repository}.")
        # What a class need not be given it may make by itself, without a folder.
        parts = rules.signature.parts
        needed = [name for name in components(found) if name not in parts or parts[name].default is REQUIRED]
        absent = [name for name in needed if not (found / name).is_dir()]
        if absent and self.source.folder is not None:
            raise MissingWeightsError(
                f"The pipeline in {found} lacks the folders {', '.join(absent)} of its components."
            )
        if absent:
            raise self._missing(f"{', '.join(absent)} of it lacking in {found}; ")
        return found, rules

    def _missing(self, detail: str = "") -> MissingWeightsError:
        from javisbench.cards import read_cards

        card = read_cards("models").get(self.card_id, {})
        known = [
            f"{file['source']}, {file['size']}, licence {file['licence']}"
            for file in card.get("files", ())
            if "source" in file
        ]
        if self.source.repository in AS_PIPELINE:
            return MissingWeightsError(
                f"The repository {self.source.repository} is published as single files, which are not read here. As a "
                f"pipeline of diffusers the model is --model diffusers:{AS_PIPELINE[self.source.repository]}."
            )
        told = "; ".join(known) or f"{self.source.repository}, size and licence as its hub page says"
        revision = f" --revision {self.source.revision}" if self.source.revision else ""
        return MissingWeightsError(
            f"The pipeline {self.source.repository} is not on this machine ({detail}{told}). Fetch it: hf download "
            f"{self.source.repository}{revision}. Or put its folder, called {Path(self.source.repository).name}, into "
            f"a folder given with --weights-dir, or name the folder itself: --model diffusers:FOLDER."
        )


def _negative(settings: Mapping[str, Json]) -> str | None:
    """What guidance moves away from; None without guidance."""
    guidance = settings.get("guidance")
    if guidance is not None and guidance <= 1:
        return None
    return settings.get("negative_prompt") or ""


def _given(rules: Rules, request: Request) -> dict[str, Any]:
    """What the suite gives besides the prompt, as a call takes it."""
    still = request.conditions.still() if rules.takes_image else None
    if still is None:
        return {}
    from PIL import Image

    return {"image": Image.fromarray(still)}
