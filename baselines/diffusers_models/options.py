"""The ``-M`` parameters of ``diffusers:`` models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from javisbench.baselines.parameters import Parser, choice, number, read_parameters

PREFIXES = ("pipeline", "load")


@dataclass(frozen=True)
class PipelineOptions:
    """The ``-M`` parameters; None stands for the pipeline's own value (`Rules.defaults`).

    Attributes:
        steps: denoising steps.
        guidance: guidance scale (of the picture, where the sound has one of its own).
        negative_prompt: what guidance moves away from.
        height: pixels.
        width: pixels.
        frames: number of frames.
        fps: frames per second.
        dtype: ``float32``, ``bfloat16`` or ``float16``, instead of what the runner chooses.
        offload: ``model`` keeps on the GPU only the component that computes, ``sequential`` only the layer that does;
            ``none`` keeps all there.
        batch: prompts a call; None for as many as the GPU's free memory takes, one on a CPU.
        vae: ``whole`` decodes a clip at once, ``tiled`` in tiles; ``auto`` in tiles once memory has run out.
        compile: whether the denoising networks are compiled by torch.
        pipeline: arguments of a call, by name, as text.
        load: arguments of ``from_pretrained``, by name, as text.
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
    batch: int | None = None
    vae: str = "auto"
    compile: bool = False
    pipeline: Mapping[str, str] = field(default_factory=dict)
    load: Mapping[str, str] = field(default_factory=dict)


# Those that decide where and how clips are computed, not which.
HOW = ("offload", "batch", "compile")


def parse_options(params: Mapping[str, str]) -> PipelineOptions:
    """Read ``-M`` parameters; those behind ``pipeline.`` and ``load.`` stay text until the class is known.

    Raises:
        UsageError: an unknown parameter (with near matches), or a value out of range.
    """
    grouped: dict[str, dict[str, str]] = {prefix: {} for prefix in PREFIXES}
    own: dict[str, str] = {}
    for name, text in params.items():
        prefix, dot, key = name.partition(".")
        if dot and prefix in grouped:
            grouped[prefix][key] = text
        else:
            own[name] = text
    known = [*_PARSERS, *(f"{prefix}.KEY" for prefix in PREFIXES)]
    given = read_parameters("diffusers", own, _PARSERS, known)
    return PipelineOptions(**given, pipeline=grouped["pipeline"], load=grouped["load"])


_PARSERS: Mapping[str, Parser] = {
    "steps": number(int, 1, 1000, "a number of steps"),
    "guidance": number(float, 0, 100, "a guidance scale"),
    "negative_prompt": str,
    "height": number(int, 16, 2160, "pixels"),
    "width": number(int, 16, 3840, "pixels"),
    "frames": number(int, 1, 2048, "a number of frames"),
    "fps": number(Fraction, 1, 120, "frames per second"),
    "dtype": choice("float32", "bfloat16", "float16"),
    "offload": choice("none", "model", "sequential"),
    "batch": number(int, 1, 64, "prompts a call"),
    "vae": choice("auto", "whole", "tiled"),
    "compile": lambda text: choice("true", "false")(text) == "true",
}
