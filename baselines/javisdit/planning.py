"""What each model makes when a setting is asked for: size, frames, rate and length of the sound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from fractions import Fraction

from javisbench.baselines.base import Plan
from javisbench.baselines.javisdit.config import OpenSoraConfig, V01Config, V10Config
from javisbench.baselines.javisdit.options import SPECS, Options, Version
from javisbench.baselines.javisdit.sampler import MIN_FRAMES, Setting
from javisbench.clip import ClipSpec
from javisbench.errors import GenerationError

VAE_STRIDE = 8
"""Pixels a latent row or column, in both video VAEs."""

OVERLAP_FRAMES = 17
"""Frames of a piece that the next one keeps: five latent frames."""

_V10_MULTIPLE = 16
_V10_FRAME_STEP = 4
_V01_FRAME_STEP = 17


@dataclass(frozen=True)
class JavisDiTPlan(Plan):
    """A plan that remembers what was asked for: sampling times depend on it, not on the size that is made.

    Attributes:
        asked: size and frames, of one piece, before they were fitted to the VAE.
        extensions: further pieces, each of which continues the one before.
    """

    asked: Setting = field(kw_only=True)
    extensions: int = field(default=0, kw_only=True)

    @property
    def piece(self) -> JavisDiTPlan:
        """The plan of one piece of a clip that is continued; itself without extensions."""
        if not self.extensions:
            return self
        frames = self.asked.frames
        return replace(self, frames=frames, audio_samples=self._samples(frames), extensions=0)

    @property
    def overlap_samples(self) -> int:
        """Samples of the frames that two pieces share."""
        return self._samples(OVERLAP_FRAMES)

    def _samples(self, frames: int) -> int:
        return round(frames / self.fps * self.sample_rate)


def plan_clip(
    version: Version, config: V10Config | V01Config | OpenSoraConfig, options: Options, spec: ClipSpec
) -> JavisDiTPlan:
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
            f"{SPECS[version]} makes at least {MIN_FRAMES} frames; asked for {frames} ({float(frames / fps):g} s at "
            f"{float(fps):g} fps). Give -M frames={MIN_FRAMES} or more."
        )
    if options.extend and frames <= OVERLAP_FRAMES:
        raise GenerationError(
            f"Pieces that continue a clip share {OVERLAP_FRAMES} frames with it, and {frames} are asked for: nothing "
            f"would be new. Give more with -M frames, or leave -M extend out."
        )
    made = fitted_frames(version, frames) if version == "v1.0" else frames
    width, height = (fitted_side(version, side) for side in (asked.width, asked.height))
    rate = 0 if isinstance(config, OpenSoraConfig) else config.audio.sample_rate
    plan = JavisDiTPlan(
        width=width,
        height=height,
        frames=made,
        fps=fps,
        audio_samples=round(frames / fps * rate),
        sample_rate=rate or spec.sample_rate,
        channels=1 if rate else 0,
        asked=asked,
        extensions=options.extend,
    )
    if options.extend:
        further = options.extend * (frames - OVERLAP_FRAMES)
        samples = options.extend * (plan.audio_samples - plan.overlap_samples) if rate else 0
        plan = replace(plan, frames=made + further, audio_samples=plan.audio_samples + samples)
    return replace(plan, notes=_notes(version, spec, plan))


def fitted_frames(version: Version, frames: int) -> int:
    """The next count that the model makes whole: 4k + 1 (v1.0), or groups of 17 (v0.1 and OpenSora)."""
    if version == "v1.0":
        return -(-(frames - 1) // _V10_FRAME_STEP) * _V10_FRAME_STEP + 1
    return -(-frames // _V01_FRAME_STEP) * _V01_FRAME_STEP


def fitted_side(version: Version, pixels: int) -> int:
    """v1.0 rounds a side up to a multiple of 16, v0.1 and OpenSora down to a multiple of 8."""
    if version == "v1.0":
        return -(-pixels // _V10_MULTIPLE) * _V10_MULTIPLE
    return pixels // VAE_STRIDE * VAE_STRIDE


def _notes(version: Version, spec: ClipSpec, plan: JavisDiTPlan) -> tuple[str, ...]:
    asked, fps, rate = plan.asked, plan.fps, plan.sample_rate
    rule = "multiple of 16" if version == "v1.0" else "multiple of 8"
    notes = [
        f"{name} {wanted} -> {got}: {rule}" if wanted != got else ""
        for name, wanted, got in (("width", asked.width, plan.width), ("height", asked.height, plan.height))
    ]
    if (asked.width, asked.height) != (spec.width, spec.height):
        notes.append(f"size {spec.width}x{spec.height} -> {asked.width}x{asked.height}: parameter or configuration")
    if fps != spec.fps:
        notes.append(f"rate {float(spec.fps):g} -> {float(fps):g} fps: the model's own")
    if plan.extensions:
        notes.append(
            f"{plan.extensions + 1} pieces of {asked.frames} frames, of which neighbours share {OVERLAP_FRAMES}"
        )
    elif plan.frames != asked.frames:
        notes.append(f"{asked.frames} frames -> {plan.frames}: 4k + 1; the sound keeps {asked.frames} frames' length")
    seconds = float(plan.frames / fps)
    if seconds != spec.duration_s:
        notes.append(f"duration {spec.duration_s:g} s -> {seconds:g} s: {plan.frames} frames at {float(fps):g} fps")
    if not plan.audio_samples:
        notes.append("no sound: the model makes pictures alone")
    elif plan.audio_samples != round(spec.duration_s * spec.sample_rate):
        notes.append(f"sound: {plan.audio_samples} samples at {rate} Hz")
    elif rate != spec.sample_rate:
        notes.append(f"sound at {spec.sample_rate} -> {rate} Hz: the model's own")
    return tuple(note for note in notes if note)
