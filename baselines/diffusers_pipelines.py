"""`DiffusersPipeline`: pipelines of the diffusers library, ``diffusers:REPO_OR_FOLDER[@REVISION]``.

The class is read from ``model_index.json`` and must stand in `javisbench.baselines.diffusers_table`. No code from a
repository is ever run. Nothing is downloaded: a pipeline is a local folder, or lies in the hub's cache.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from javisbench.baselines.base import Failed, Generated, Generator, Json, Plan, Request
from javisbench.baselines.diffusers_folder import (
    INDEX,
    Source,
    cached_index,
    components,
    in_folders,
    read_index,
    sample_rate,
    snapshot,
)
from javisbench.baselines.diffusers_table import (
    AS_PIPELINE,
    CARDS,
    PIPELINES,
    REPOSITORIES,
    PipelineClass,
)
from javisbench.baselines.fingerprint import library_files
from javisbench.baselines.libraries import without_progress_bars
from javisbench.baselines.parameters import Parser, choice, number, read_parameters
from javisbench.clip import Clip, ClipSpec
from javisbench.errors import GenerationError, MissingWeightsError, WeightsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.weights import WeightStore

# The first that was tried; some before it ignore the argument `dtype`.
MIN_DIFFUSERS = (0, 42)


@dataclass(frozen=True)
class PipelineOptions:
    """The ``-M`` parameters; None stands for the pipeline's own value (`PipelineClass`).

    Attributes:
        steps: denoising steps.
        guidance: guidance scale (of the picture, where the sound has one of its own).
        negative_prompt: what guidance moves away from.
        height: pixels.
        width: pixels.
        frames: number of frames.
        fps: frames per second.
        dtype: ``float32``, ``bfloat16`` or ``float16``, instead of what the runner chooses.
        offload: ``model`` keeps on the GPU only the component that computes; ``none`` keeps all there.
    """

    steps: int | None = None
    guidance: float | None = None
    negative_prompt: str | None = None
    height: int | None = None
    width: int | None = None
    frames: int | None = None
    fps: Fraction | None = None
    dtype: str | None = None
    offload: str = "none"


class DiffusersPipeline(Generator):
    """A pipeline of the diffusers library.

    Clips are made one by one, each from a CPU generator with its own seed, so that a clip depends on its prompt, seed
    and parameters alone.

    Args:
        variant: ``REPO_OR_FOLDER[@REVISION]``.
        params: see `PipelineOptions`.

    Raises:
        UsageError: no such folder, or an unknown parameter or bad value.
    """

    card_id: ClassVar[str] = "diffusers"
    max_batch = 1
    part_of_cascade = False

    def __init__(self, variant: str | None = None, params: Mapping[str, str] | None = None) -> None:
        super().__init__(variant, params)
        self.source = Source.parse(variant)
        self.options = parse_options(self.params)
        self.card_id = CARDS.get(self.source.repository, "diffusers")  # type: ignore[misc]
        self._pipeline: Any = None

    def pipeline_class(self) -> PipelineClass:
        """What is known of the pipeline's class; looks at local files alone.

        Raises:
            MissingWeightsError: the class is not known, and the repository is not on this machine.
            GenerationError: the class is none of those known here, or brings code of its own.
        """
        folder = self.source.folder or cached_index(self.source)
        if folder is not None:
            return read_index(folder)
        if self.source.repository in REPOSITORIES:
            return PIPELINES[REPOSITORIES[self.source.repository]]
        raise self._missing()

    def plan(self, spec: ClipSpec) -> Plan:
        """Sides and frames are rounded up to what the pipeline's class allows.

        Raises:
            GenerationError: see `pipeline_class`; or a pipeline without picture that is no stage of a cascade.
            MissingWeightsError: see `pipeline_class`.
        """
        rules = self.pipeline_class()
        self.family = rules.family  # type: ignore[misc]
        rate = sample_rate(rules, self.source.folder or cached_index(self.source))
        if rules.family == "t2a":
            if not self.part_of_cascade:
                raise GenerationError(
                    f"{rules.name} makes sound without a picture. Use it as a stage: --model "
                    f"'cascade:t2v=wan2.1-1.3b,t2a=diffusers:{self.variant}'."
                )
            return Plan(0, 0, 0, spec.fps, round(spec.duration_s * rate), rate, rules.channels)
        plan = _picture_plan(rules, self.options, spec, rate)
        if rate or self.part_of_cascade:
            return plan
        return replace(plan, notes=(*plan.notes, "no sound: the pipeline makes pictures alone"))

    def resolved(self) -> Mapping[str, Json]:
        """Every parameter that changes the clips."""
        chosen: dict[str, Json] = {
            f.name: str(value) if isinstance(value := getattr(self.options, f.name), Fraction) else value
            for f in fields(self.options)
            if f.name != "offload"
        }
        variant = self.variant if self.source.folder is None else None
        try:
            rules = self.pipeline_class()
        except (GenerationError, MissingWeightsError):
            # plan says so, better placed.
            return {"variant": variant, **chosen}
        chosen.update(_settings(rules, self.options))
        return {"variant": variant, "class": rules.name, **chosen}

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
        pipeline = _loaded(rules, folder, _component_types(rules, self.options.dtype or dtype, device))
        pipeline.set_progress_bar_config(disable=True)
        if self.options.offload == "model" and device != "cpu":
            pipeline.enable_model_cpu_offload(device=device)
        else:
            pipeline.to(device)
        self._pipeline = pipeline

    def generate(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        """Yield clip after clip.

        Raises:
            GenerationError: `load` was not called.
        """
        if self._pipeline is None:
            raise GenerationError("The pipeline was asked to generate before it was loaded. Call load first.")
        rules = self.pipeline_class()
        for request in batch:
            yield self._make(rules, request)

    def close(self) -> None:
        """Free the pipeline's memory."""
        if self._pipeline is not None:
            import gc

            import torch

            self._pipeline = None
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _make(self, rules: PipelineClass, request: Request) -> Generated | Failed:
        import torch

        settings = _settings(rules, self.options)
        noise = torch.Generator("cpu").manual_seed(request.seed)
        started = time.monotonic()
        output = self._pipeline(
            prompt=request.prompts["text"],
            generator=noise,
            output_type="np",
            num_inference_steps=settings["steps"],
            guidance_scale=settings["guidance"],
            **({} if settings["negative_prompt"] is None else {"negative_prompt": settings["negative_prompt"]}),
            **_measures(rules, request.plan),
            **rules.extra,
        )
        seconds = time.monotonic() - started
        try:
            clip, warnings = _clip(rules, output, request.plan)
        except GenerationError as error:
            return Failed(request, "generate", error.kind, error.message, retryable=False)
        info = {"pipeline": rules.name, "prompt": request.prompts["text"], "seconds": round(seconds, 3)}
        return Generated(request, clip, {**info, **settings, **({"warnings": warnings} if warnings else {})})

    def _folder(self, weights: WeightStore) -> tuple[Path, PipelineClass]:
        found = self.source.folder or in_folders(self.source, weights.dirs) or snapshot(self.source)
        if found is None:
            raise self._missing()
        rules, planned = read_index(found), self.pipeline_class()
        if rules != planned:
            raise WeightsError(f"{found} holds a {rules.name}, not the {planned.name} of {self.source.repository}.")
        absent = [name for name in components(found) if not (found / name).is_dir()]
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


# Plans and calls


def _picture_plan(rules: PipelineClass, options: PipelineOptions, spec: ClipSpec, rate: int) -> Plan:
    wanted = (options.width or spec.width, options.height or spec.height)
    width, height = (rules.side(side) for side in wanted)
    fps = options.fps or rules.fps or spec.fps
    asked = options.frames or round(spec.duration_s * fps)
    frames = rules.frames(asked)
    notes = []
    for name, before, after in (("width", spec.width, width), ("height", spec.height, height)):
        if before != after:
            notes.append(f"{name} {before} -> {after}: {_why(rules.multiple)}")
    if fps != spec.fps:
        notes.append(f"frame rate {spec.fps} -> {fps}: " + ("-M fps" if options.fps else "the model's own"))
    if frames != round(spec.duration_s * fps):
        notes.append(f"{frames} frames ({frames / float(fps):.3f} s): {rules.frame_step}k + 1 frames")
    if rules.native is not None and (width, height) != rules.native:
        notes.append(f"published checkpoints were made for {rules.native[0]}x{rules.native[1]}")
    samples = round(frames / fps * rate)
    return Plan(width, height, frames, fps, samples, rate, rules.channels if rate else 0, tuple(notes))


def _why(multiple: int) -> str:
    return f"a multiple of {multiple}" if multiple > 1 else "-M"


def _settings(rules: PipelineClass, options: PipelineOptions) -> dict[str, Any]:
    negative = rules.negative_prompt if options.negative_prompt is None else options.negative_prompt
    return {
        "steps": options.steps or rules.steps,
        "guidance": rules.guidance if options.guidance is None else options.guidance,
        "negative_prompt": negative,
    }


def _measures(rules: PipelineClass, plan: Plan) -> dict[str, Any]:
    """Size and length, as the pipeline's call names them."""
    if rules.length_argument is not None:
        return {rules.length_argument: plan.audio_samples / plan.sample_rate}
    arguments: dict[str, Any] = {"width": plan.width, "height": plan.height, "num_frames": plan.frames}
    if rules.fps_argument is not None:
        arguments[rules.fps_argument] = float(plan.fps)
    return arguments


def _clip(rules: PipelineClass, output: Any, plan: Plan) -> tuple[Clip, list[str]]:
    """The clip in a pipeline's output.

    Raises:
        GenerationError: values that are not finite.
    """
    import numpy as np

    frames = np.zeros((0, 0, 0, 3), np.uint8)
    if rules.frames_from is not None:
        pictures = _first(getattr(output, rules.frames_from), rules.batched)
        frames = np.rint(np.clip(pictures, 0, 1) * 255).astype(np.uint8)
    audio, warnings = None, []
    if rules.audio_from is not None:
        audio = np.atleast_2d(_first(getattr(output, rules.audio_from), rules.batched))
        if np.abs(audio).max(initial=0) > 1:
            warnings.append(f"{np.mean(np.abs(audio) > 1):.4%} of the sound's samples were clipped to [-1, 1]")
        audio = np.clip(audio, -1, 1)
    return Clip(frames, plan.fps, audio, plan.sample_rate if audio is not None else None, name=rules.name), warnings


def _first(values: Any, batched: bool) -> NDArray[np.float32]:
    import numpy as np

    array = np.asarray(values.float().cpu() if hasattr(values, "cpu") else values, dtype=np.float32)
    array = array[0] if batched else array
    if not np.isfinite(array).all():
        raise GenerationError("The pipeline's output holds values that are not finite.", kind="non_finite")
    return array


# The library


def _loaded(rules: PipelineClass, folder: Path, types: Mapping[str, Any]) -> Any:
    kind = _pipeline_type(rules.name)
    try:
        with without_progress_bars("diffusers", "transformers"):
            pipeline = kind.from_pretrained(
                folder,
                dtype=types,
                local_files_only=True,
                **_replacements(rules, folder, types["default"]),
                **dict.fromkeys(rules.plain_tokenizers),
            )
            # They are not of the class that the pipeline names, so it takes them only afterwards.
            pipeline.register_modules(**_plain_tokenizers(rules, folder))
    except ImportError as error:
        raise _import_trouble(error) from error
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RuntimeError) as error:
        if "torchvision" in str(error):
            raise _import_trouble(error) from error
        raise WeightsError(f"The pipeline in {folder} cannot be read: {error}") from error
    return pipeline


def _pipeline_type(name: str) -> Any:
    try:
        diffusers = importlib.import_module("diffusers")
        if tuple(map(int, diffusers.__version__.split(".")[:2])) < MIN_DIFFUSERS:
            raise GenerationError(
                f"diffusers {diffusers.__version__} is too old: pip install -U 'diffusers>=0.42'.", kind="import"
            )
        return getattr(diffusers, name)
    except AttributeError as error:
        raise GenerationError(f"The installed diffusers has no {name}. Update it: pip install -U diffusers.") from error
    except (ImportError, RuntimeError) as error:
        raise _import_trouble(error) from error


def _import_trouble(error: Exception) -> GenerationError:
    if "torchvision" in str(error):
        message = (
            "diffusers does not import, because the installed torchvision was built for another torch. Remove it (pip "
            "uninstall torchvision; nothing here needs it), or install the one that belongs to your torch."
        )
    elif isinstance(error, ModuleNotFoundError) and error.name in ("diffusers", "transformers"):
        message = f"The package {error.name} is not installed: pip install 'javisbench[baselines]'."
    else:
        message = f"The pipeline needs something that does not import: {' '.join(str(error).split())}"
    return GenerationError(message, kind="import")


def _component_types(rules: PipelineClass, name: str, device: str) -> dict[str, Any]:
    import torch

    if name == "auto":
        name = rules.cuda_dtype if device.startswith("cuda") else "float32"
    return {"default": getattr(torch, name), **dict.fromkeys(rules.float32_parts, torch.float32)}


def _replacements(rules: PipelineClass, folder: Path, dtype: Any) -> dict[str, Any]:
    if not rules.replaced:
        return {}
    transformers = importlib.import_module("transformers")
    return {
        component: getattr(transformers, kind).from_pretrained(folder / component, dtype=dtype, local_files_only=True)
        for component, kind in rules.replaced.items()
    }


def _plain_tokenizers(rules: PipelineClass, folder: Path) -> dict[str, Any]:
    if not rules.plain_tokenizers:
        return {}
    loader = importlib.import_module("transformers").AutoTokenizer
    return {name: loader.from_pretrained(folder / name, local_files_only=True) for name in rules.plain_tokenizers}


# Parameters


def parse_options(params: Mapping[str, str]) -> PipelineOptions:
    """Read ``-M`` parameters.

    Raises:
        UsageError: an unknown parameter (with near matches), or a value out of range.
    """
    return PipelineOptions(**read_parameters("diffusers", params, _PARSERS))


_PARSERS: Mapping[str, Parser] = {
    "steps": number(int, 1, 1000, "a number of steps"),
    "guidance": number(float, 0, 100, "a guidance scale"),
    "negative_prompt": str,
    "height": number(int, 16, 2160, "pixels"),
    "width": number(int, 16, 3840, "pixels"),
    "frames": number(int, 1, 2048, "a number of frames"),
    "fps": number(Fraction, 1, 120, "frames per second"),
    "dtype": choice("float32", "bfloat16", "float16"),
    "offload": choice("none", "model"),
}
