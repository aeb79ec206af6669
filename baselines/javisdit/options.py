"""The ``-M`` parameters of both versions of JavisDiT, and of OpenSora."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from javisbench.baselines.javisdit.text import SCORE_SUFFIX, V10_NEGATIVE_PROMPT
from javisbench.baselines.parameters import Parser, choice, existing, number, read_parameters
from javisbench.errors import UsageError

Version = Literal["v1.0", "v0.1", "opensora"]
VERSIONS: tuple[Version, ...] = ("v1.0", "v0.1")
"""Of JavisDiT."""
SPECS: Mapping[Version, str] = {"v1.0": "javisdit:v1.0", "v0.1": "javisdit:v0.1", "opensora": "opensora:v1.2"}
"""How each model is called on the command line."""

_V10 = {"versions": ("v1.0",)}
_V01 = {"versions": ("v0.1",)}
_STDIT = {"versions": ("v0.1", "opensora")}


@dataclass(frozen=True)
class Options:
    """What the user set; None stands for the model's own value.

    Attributes:
        steps: Euler steps.
        cfg: guidance scale.
        frames: number of frames.
        height: pixels.
        width: pixels.
        fps: frames per second.
        dtype: of the network and the text encoder, instead of what the runner chooses.
        config: TOML file that replaces numbers of the networks.
        weights: folder looked in for every checkpoint before all others.
        compile: ``torch.compile`` makes the denoising network faster; clips differ in rounding alone.
        schedule: precision in which sampling times are computed; the reference rounds to bfloat16.
        transform_scale: further factor on the time shift; the reference's 5 acts in training alone.
        fix_noise_seed: this seed's noise for every sample.
        negative_prompt: v1.0; what guidance moves away from.
        score_suffix: v0.1 and OpenSora; appended to every prompt.
        prior_attention: v0.1; ``pooled`` lets the conditional and the null row see both rows' priors, as the reference
            does; ``separate`` gives each its own.
        null_mask: v0.1 and OpenSora; ``conditional`` cuts the null text to the prompt's length, as the reference does;
            ``full`` keeps its 300 tokens.
        extend: v0.1 and OpenSora; further pieces, each of which keeps the last 17 frames of the one before and
            continues it.
        edit_ratio: v0.1; how far given frames and sounds are made anew: 0 keeps them, 0.8 keeps them until 80 % of the
            sampling time is left.
    """

    steps: int | None = None
    cfg: float | None = None
    frames: int | None = None
    height: int | None = None
    width: int | None = None
    fps: Fraction | None = None
    dtype: str | None = None
    config: Path | None = None
    weights: Path | None = None
    compile: bool = False
    schedule: str = "bfloat16"
    transform_scale: float = 1.0
    fix_noise_seed: int | None = None
    negative_prompt: str = field(default=V10_NEGATIVE_PROMPT, metadata=_V10)
    score_suffix: str = field(default=SCORE_SUFFIX, metadata=_STDIT)
    prior_attention: str = field(default="pooled", metadata=_V01)
    null_mask: str = field(default="conditional", metadata=_STDIT)
    extend: int = field(default=0, metadata=_STDIT)
    edit_ratio: float = field(default=0.0, metadata=_V01)


def parse_options(version: Version, params: Mapping[str, str]) -> Options:
    """Read ``-M`` parameters.

    Raises:
        UsageError: an unknown parameter (with near matches), one of the other version, or a value out of range.
    """
    known = [f.name for f in fields(Options) if version in f.metadata.get("versions", (version,))]
    return Options(**read_parameters(SPECS[version], params, _PARSERS, known))


def options_in_force(version: Version, options: Options) -> dict[str, Any]:
    """The parameters of a version that change clips, as JSON values."""
    left_out = ("config", "weights", "compile")
    return {
        f.name: str(value) if isinstance(value := getattr(options, f.name), Fraction) else value
        for f in fields(options)
        if version in f.metadata.get("versions", (version,)) and f.name not in left_out
    }


_PARSERS: Mapping[str, Parser] = {
    "steps": number(int, 1, 1000, "a number of steps"),
    "cfg": number(float, 0, 100, "a guidance scale"),
    "frames": number(int, 1, 2048, "a number of frames"),
    "height": number(int, 16, 2160, "pixels"),
    "width": number(int, 16, 3840, "pixels"),
    "fps": number(Fraction, 1, 120, "frames per second"),
    "dtype": choice("float32", "bfloat16"),
    "config": existing("file"),
    "weights": existing("folder"),
    "compile": lambda text: choice("true", "false")(text) == "true",
    "schedule": choice("bfloat16", "float32"),
    "transform_scale": number(float, 0.01, 100, "a factor"),
    "fix_noise_seed": number(int, 0, 2**63 - 1, "a seed"),
    "negative_prompt": str,
    "score_suffix": str,
    "prior_attention": choice("pooled", "separate"),
    "null_mask": choice("conditional", "full"),
    "extend": number(int, 0, 64, "a number of pieces"),
    "edit_ratio": number(float, 0, 1, "a share"),
}


def version_of(variant: str | None) -> Version:
    """The version that ``javisdit:variant`` names; v1.0 without one.

    Raises:
        UsageError: there is no such version.
    """
    if variant is None:
        return "v1.0"
    if variant not in VERSIONS:
        raise UsageError(f"javisdit has no variant {variant!r}. Versions: {', '.join(VERSIONS)}.")
    return variant
