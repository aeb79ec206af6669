"""What is asked of one pipeline: a class's signature, what is known beside it, and a checkpoint's own settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

from javisbench.baselines.base import Default, Family, Json, Plan
from javisbench.baselines.diffusers_models.signature import (
    REQUIRED,
    UNKNOWN,
    Argument,
    Signature,
    constant,
    installed,
    read_arguments,
    signature,
)
from javisbench.baselines.diffusers_models.table import NOT_DRIVEN, Checkpoint, Constant, PipelineClass, known
from javisbench.errors import GenerationError, UsageError
from javisbench.tasks import Task

if TYPE_CHECKING:
    from javisbench.baselines.diffusers_models.options import PipelineOptions
    from javisbench.clip import ClipSpec

_FRAMES = ("num_frames", "video_length", "frames")
_SECONDS = ("audio_length_in_s", "audio_end_in_s", "audio_duration", "audio_duration_s", "duration")
_RATES = ("frame_rate", "fps", "target_fps")
_SOUND_PARTS = ("vocoder", "audio_vae", "sound_tokenizer")
_PICTURE_FIRST = re.compile("ImageToVideo|Image2Video|(?<!T)I2V")
# What a call is given from a request; every other argument that a class requires keeps it from being driven.
_GIVEN = {"prompt", "image"}
_RESERVED = {
    "prompt": "the suite's prompts are sent",
    "image": "it comes from the suite's column image",
    "num_inference_steps": "say -M steps",
    "guidance_scale": "say -M guidance",
    "negative_prompt": "say -M negative_prompt",
    "height": "say -M height",
    "width": "say -M width",
    **dict.fromkeys(_FRAMES, "say -M frames"),
    **dict.fromkeys(("frame_rate", "fps"), "say -M fps"),
    **dict.fromkeys(_SECONDS, "the suite's setting gives the length"),
    "num_videos_per_prompt": "say --repeats",
    "num_images_per_prompt": "say --repeats",
    "num_waveforms_per_prompt": "say --repeats",
    "batch_size": "say -M batch",
    "generator": "every clip has its own seed (--seed)",
    "output_type": "clips are taken from arrays",
    "return_dict": "clips are taken from the output's fields",
}
_LOADING = {
    argument.name: argument
    for argument in (
        Argument("variant", "str", None),
        Argument("use_safetensors", "bool | None", None),
        Argument("low_cpu_mem_usage", "bool", True),
        Argument("disable_mmap", "bool", False),
    )
}
_NO_CODE = "no code of a repository is ever run"
_NOT_LOADING = {
    **dict.fromkeys(("custom_pipeline", "custom_revision", "trust_remote_code"), _NO_CODE),
    **dict.fromkeys(("dtype", "torch_dtype"), "say -M dtype"),
    "revision": "say diffusers:OWNER/NAME@REVISION",
    "device_map": "say --device and -M offload",
    "local_files_only": "nothing is fetched by a run",
}
_PLAIN = {"bool", "int", "float", "str"}


@dataclass(frozen=True)
class Rules:
    """How a pipeline is driven.

    Attributes:
        known: what stands in the table, or nothing but the class's name.
        signature: what the class takes.
        checkpoint: the repository's own settings, or None.
        repository: its name, or None.
    """

    known: PipelineClass
    signature: Signature
    checkpoint: Checkpoint | None = None
    repository: str | None = None

    @property
    def name(self) -> str:
        """The class."""
        return self.known.name

    @cached_property
    def frames(self) -> Argument | None:
        """The argument that takes a number of frames; None for a pipeline without a picture."""
        return self.signature.first(_FRAMES)

    @cached_property
    def seconds(self) -> Argument | None:
        """The argument that takes the seconds of a sound; None where pictures give the length."""
        return None if self.frames else self.signature.first(_SECONDS)

    @cached_property
    def rate(self) -> Argument | None:
        """The argument that takes the frame rate, or None."""
        return self.signature.first(_RATES) if self.frames else None

    @cached_property
    def family(self) -> Family:
        """What it makes: pictures, sound or both."""
        if self.frames is None:
            return "t2a"
        sounds = self.known.sounds
        if sounds is None:
            sounds = any(part in self.signature.parts for part in _SOUND_PARTS)
        return "t2av" if sounds else "t2v"

    @cached_property
    def needs_image(self) -> bool:
        """Whether it starts from a picture."""
        argument = self.signature.call.get("image")
        if argument is None:
            return False
        told = argument.default is REQUIRED or "image" in self.known.needs
        return told or _PICTURE_FIRST.search(self.name) is not None

    @cached_property
    def takes_image(self) -> bool:
        """Whether it can start from a picture."""
        return "image" in self.signature.call

    @cached_property
    def tasks(self) -> frozenset[Task]:
        """The tasks of suites that it takes."""
        if self.needs_image:
            return frozenset({"i2av"})
        return frozenset({"t2av", "i2av"}) if self.takes_image else frozenset({"t2av"})

    @property
    def why_not(self) -> str | None:
        """Why the class cannot be driven; None for one that can."""
        call = self.signature.call
        if self.name in NOT_DRIVEN:
            return NOT_DRIVEN[self.name]
        if "prompt" not in call:
            return "it takes no prompt"
        if self.frames is None and self.seconds is None:
            return "it makes neither pictures in motion nor sound"
        wanted = [name for name, argument in call.items() if argument.default is REQUIRED and name not in _GIVEN]
        if wanted:
            return f"it needs {', '.join(wanted)} beside a prompt"
        return None

    # Defaults

    @cached_property
    def defaults(self) -> Mapping[str, Default]:
        """Every setting of a call by its ``-M`` name, each with where it comes from."""
        found: dict[str, Default] = {}
        for name, argument in (("steps", "num_inference_steps"), ("guidance", "guidance_scale")):
            if argument in self.signature.call:
                found[name] = self._own(name) or self._default(argument)
        if "negative_prompt" in self.signature.call:
            found["negative_prompt"] = self._negative()
        if self.frames is not None:
            found |= self._picture_defaults(self.frames)
        for name, value in self.arguments.items():
            source = self.checkpoint and name in self.checkpoint.arguments
            found[f"pipeline.{name}"] = Default(value, self._source if source else self.known.source)
        return found

    def _picture_defaults(self, frames: Argument) -> dict[str, Default]:
        found: dict[str, Default] = {}
        for place, name in enumerate(("width", "height")):
            told = self._own("native") or self._table("native")
            taken = Default(told.value[place], told.source) if told else self._default(name)
            if taken.value is not None:
                found[name] = taken
        count = self._own("frames") or self._table("frames") or self._default(frames.name)
        if count.value is not None and not self.known.follows_length:
            found["frames"] = count
        rate = self._own("fps") or self._table("fps") or (self._default(self.rate.name) if self.rate else None)
        if rate is not None and rate.value is not None:
            found["fps"] = Default(str(Fraction(rate.value)), rate.source)
        return found

    @cached_property
    def arguments(self) -> Mapping[str, Any]:
        """Further arguments of every call, of the class and of the checkpoint."""
        given = {**self.known.arguments, **(self.checkpoint.arguments if self.checkpoint else {})}
        return {name: _plain(value) for name, value in given.items() if name in self.signature.call}

    def _own(self, name: str) -> Default | None:
        value = getattr(self.checkpoint, name) if self.checkpoint else None
        return None if value is None else Default(value, self._source)

    def _table(self, name: str) -> Default | None:
        value = getattr(self.known, name)
        return None if value is None else Default(value, self.known.source)

    def _default(self, name: str) -> Default:
        argument = self.signature.call.get(name)
        value = None if argument is None or argument.default in (REQUIRED, UNKNOWN) else argument.default
        return Default(value, f"{self.name} of diffusers {installed()}")

    def _negative(self) -> Default:
        if self.checkpoint is not None and self.checkpoint.negative_prompt is False:
            return Default(None, self._source)
        if self.known.negative_prompt is not None:
            return Default(_plain(self.known.negative_prompt), self.known.source)
        return self._default("negative_prompt")

    @property
    def _source(self) -> str:
        return f"{self.repository}: {self.checkpoint.source}" if self.checkpoint else ""

    # A call

    def settings(self, options: PipelineOptions) -> dict[str, Json]:
        """Every setting that changes the clips, with its value: what was given, else the default.

        Raises:
            UsageError: the class does not take what was given.
        """
        for name in ("width", "height", "frames", "fps"):
            if self.frames is None and getattr(options, name) is not None:
                raise UsageError(f"{self.name} makes sound alone: -M {name} cannot be given.")
        given = {"steps": options.steps, "guidance": options.guidance, "negative_prompt": options.negative_prompt}
        settings: dict[str, Json] = {}
        for name, value in given.items():
            default = self.defaults.get(name)
            if default is None and value is not None:
                raise UsageError(f"{self.name} takes no {name.replace('_', ' ')}: -M {name} cannot be given.")
            if default is not None:
                settings[name] = default.value if value is None else value
        settings |= {"arguments": {**self.arguments, **self.given(options.pipeline)}}
        sigmas = settings["arguments"].get("sigmas")
        if sigmas is not None and "steps" in settings:
            if options.steps not in (None, len(sigmas)):
                raise UsageError(
                    f"{self.name}: the {len(sigmas)} sigmas are its steps; {options.steps} steps need other sigmas "
                    "(-M pipeline.sigmas=1.0,0.9,...)."
                )
            settings["steps"] = len(sigmas)
        return settings

    def given(self, pipeline: Mapping[str, str]) -> dict[str, Any]:
        """The ``-M pipeline.KEY=VALUE`` arguments of a call.

        Raises:
            UsageError: the class takes none of that name or value.
        """
        return read_arguments(self.name, "pipeline", pipeline, self.signature.call, _RESERVED)

    def loading(self, load: Mapping[str, str]) -> dict[str, Any]:
        """The ``-M load.KEY=VALUE`` arguments of ``from_pretrained``.

        Raises:
            UsageError: neither it nor the class's construction takes one of that name or value.
        """
        own = {name: argument for name, argument in self.signature.parts.items() if self.is_setting(name)}
        return read_arguments(self.name, "load", load, {**own, **_LOADING}, _NOT_LOADING)

    def is_setting(self, part: str) -> bool:
        """Whether an argument of the class's construction is a plain value and no component."""
        return bool(self.signature.parts[part].words & _PLAIN)

    def call(self, settings: Mapping[str, Json], plan: Plan) -> dict[str, Any]:
        """The arguments of a call but prompt, generator and conditions."""
        names = {"steps": "num_inference_steps", "guidance": "guidance_scale", "negative_prompt": "negative_prompt"}
        values = {argument: settings[name] for name, argument in names.items() if settings.get(name) is not None}
        if self.seconds is not None:
            values[self.seconds.name] = plan.audio_samples / plan.sample_rate
        if self.frames is not None:
            values |= {"width": plan.width, "height": plan.height, self.frames.name: plan.frames}
        if self.rate is not None:
            whole = "float" not in self.rate.words and plan.fps.denominator == 1
            values[self.rate.name] = int(plan.fps) if whole else float(plan.fps)
        values |= {"output_type": "np", **settings["arguments"]}
        return {name: value for name, value in values.items() if name in self.signature.call}

    # A plan

    def plan(self, options: PipelineOptions, spec: ClipSpec, rate: int) -> Plan:
        """What is made when `spec` is asked for; `rate` in Hz, 0 for a silent pipeline."""
        channels = self.known.channels if rate else 0
        if self.frames is None:
            return Plan(0, 0, 0, spec.fps, round(spec.duration_s * rate), rate, channels)
        width, height = (self._side(name, options, spec) for name in ("width", "height"))
        native = {name: default.value for name, default in self.defaults.items()}
        fps = options.fps or Fraction(native.get("fps", spec.fps))
        frames = self.known.count(options.frames or native.get("frames") or round(spec.duration_s * fps))
        notes = [*self._size_notes(options, spec, width, height), *self._time_notes(options, spec, fps, frames)]
        return Plan(width, height, frames, fps, round(frames / fps * rate), rate, channels, tuple(notes))

    def _side(self, name: str, options: PipelineOptions, spec: ClipSpec) -> int:
        native = self.defaults[name].value if name in self.defaults else getattr(spec, name)
        return self.known.side(getattr(options, name) or native)

    def _size_notes(self, options: PipelineOptions, spec: ClipSpec, width: int, height: int) -> list[str]:
        notes = []
        native = {name: self.defaults[name].value for name in ("width", "height") if name in self.defaults}
        for name, asked, made in (("width", spec.width, width), ("height", spec.height, height)):
            given = getattr(options, name)
            if asked != made:
                why = "the model's own" if given is None and name in native else f"a multiple of {self.known.multiple}"
                notes.append(f"{name} {asked} -> {made}: {'-M' if given == made else why}")
        if native and (width, height) != (native["width"], native["height"]):
            notes.append(f"published checkpoints were made for {native['width']}x{native['height']}")
        if not native:
            notes.append(f"{self.name} names no native size: the suite's is asked for")
        return notes

    def _time_notes(self, options: PipelineOptions, spec: ClipSpec, fps: Fraction, frames: int) -> list[str]:
        notes = []
        if fps != spec.fps:
            notes.append(f"frame rate {spec.fps} -> {fps}: " + ("-M fps" if options.fps else "the model's own"))
        elif options.fps is None and "fps" not in self.defaults:
            notes.append(f"{self.name} names no frame rate: its pictures are taken as {fps} a second (-M fps)")
        if frames != round(spec.duration_s * fps):
            why = "-M frames" if options.frames == frames else f"{frames / float(fps):.3f} s"
            notes.append(f"{round(spec.duration_s * fps)} frames -> {frames}: {why}")
        return notes


def rules_of(name: str, repository: str | None = None, checkpoint: Checkpoint | None = None) -> Rules:
    """How the pipelines of a class are driven.

    Args:
        name: the class.
        repository: that the pipeline was published in, or None.
        checkpoint: what is known of that, or None.

    Raises:
        GenerationError: the installed diffusers has no such class, or it cannot be driven.
    """
    rules = Rules(known(name), signature(name), checkpoint, repository)
    reason = rules.why_not
    if reason is not None:
        raise GenerationError(
            f"{name} of diffusers is not driven here: {reason}. Any other model runs as a program: --model command:..."
        )
    return rules


def _plain(value: Any) -> Any:
    return constant(value.module, value.name) if isinstance(value, Constant) else value
