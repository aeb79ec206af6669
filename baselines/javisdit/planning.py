"""What each version makes when a setting is asked for: size, frames, rate and length of the sound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from javisbench.baselines.base import Plan
from javisbench.baselines.javisdit.config import V01Config, V10Config
from javisbench.baselines.javisdit.options import Options, Version
from javisbench.baselines.javisdit.sampler import MIN_FRAMES, Setting
from javisbench.clip import ClipSpec
from javisbench.errors import GenerationError

VAE_STRIDE = 8
"""Pixels a latent row or column, in both video VAEs."""

_V10_MULTIPLE = 16
_V10_FRAME_STEP = 4
_V01_FRAME_STEP = 17


@dataclass(frozen=True)
class JavisDiTPlan(Plan):
    """A plan that remembers what was asked for: sampling times depend on it, not on the size that is made.

    Attributes:
        asked: size and frames before they were fitted to the VAE.
    """

    asked: Setting = field(kw_only=True)


def plan_clip(version: Version, config: V10Config | V01Config, options: Options, spec: ClipSpec) -> JavisDiTPlan:
    """The clip that answers `spec`. Parameters win over the configuration, the configuration over `spec`.

    Raises:
        GenerationError: fewer than 17 frames, for which sampling times are undefined.
    """
    sampling = config.sampling
    fps = options.fps or Fraction(sampling.fps)
    given = options.frames or sampling.frames
    frames = given or fitted_frames(version, math.ceil(spec.duration_s * fps))
    asked = Setting(
        height=options.height or sampling.height or spec.height,
        width=options.width or sampling.width or spec.width,
        frames=frames,
    )
    if frames < MIN_FRAMES:
        raise GenerationError(
            f"javisdit:{version} makes at least {MIN_FRAMES} frames; asked for {frames} ({float(frames / fps):g} s at "
            f"{float(fps):g} fps). Give -M frames={MIN_FRAMES} or more."
        )
    made = frames if version == "v0.1" else fitted_frames(version, frames)
    width, height = (fitted_side(version, side) for side in (asked.width, asked.height))
    samples = round(frames / fps * config.audio.sample_rate)
    return JavisDiTPlan(
        width=width,
        height=height,
        frames=made,
        fps=fps,
        audio_samples=samples,
        sample_rate=config.audio.sample_rate,
        notes=_notes(version, spec, asked, (width, height, made), fps, samples, config.audio.sample_rate),
        asked=asked,
    )


def fitted_frames(version: Version, frames: int) -> int:
    """The next count that the version makes whole: 4k + 1 (v1.0), or groups of 17 (v0.1)."""
    if version == "v1.0":
        return -(-(frames - 1) // _V10_FRAME_STEP) * _V10_FRAME_STEP + 1
    return -(-frames // _V01_FRAME_STEP) * _V01_FRAME_STEP


def fitted_side(version: Version, pixels: int) -> int:
    """v1.0 rounds a side up to a multiple of 16, v0.1 down to a multiple of 8."""
    if version == "v1.0":
        return -(-pixels // _V10_MULTIPLE) * _V10_MULTIPLE
    return pixels // VAE_STRIDE * VAE_STRIDE


def _notes(
    version: Version,
    spec: ClipSpec,
    asked: Setting,
    made: tuple[int, int, int],
    fps: Fraction,
    samples: int,
    sample_rate: int,
) -> tuple[str, ...]:
    width, height, frames = made
    rule = "multiple of 16" if version == "v1.0" else "multiple of 8"
    notes = [
        f"{name} {wanted} -> {got}: {rule}" if wanted != got else ""
        for name, wanted, got in (("width", asked.width, width), ("height", asked.height, height))
    ]
    if (asked.width, asked.height) != (spec.width, spec.height):
        notes.append(f"size {spec.width}x{spec.height} -> {asked.width}x{asked.height}: parameter or configuration")
    if fps != spec.fps:
        notes.append(f"rate {float(spec.fps):g} -> {float(fps):g} fps: the model's own")
    if frames != asked.frames:
        notes.append(f"{asked.frames} frames -> {frames}: 4k + 1; the sound keeps {asked.frames} frames' length")
    seconds = float(frames / fps)
    if seconds != spec.duration_s:
        notes.append(f"duration {spec.duration_s:g} s -> {seconds:g} s: {frames} frames at {float(fps):g} fps")
    if samples != round(spec.duration_s * spec.sample_rate):
        notes.append(f"sound: {samples} samples at {sample_rate} Hz")
    elif sample_rate != spec.sample_rate:
        notes.append(f"sound at {spec.sample_rate} -> {sample_rate} Hz: the model's own")
    return tuple(note for note in notes if note)
