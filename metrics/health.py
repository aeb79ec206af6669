"""Clip health: silence, frozen and black frames, clipping, loudness, and size and rates against the suite's setting.

These say nothing about quality; they explain scores. A clip that is half silent cannot score well on audio metrics.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.errors import MetricError
from javisbench.metrics.base import Fault, MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.tasks import PICTURE_MADE, SOUND_MADE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import ClipSpec
    from javisbench.protocol import Protocol

SILENT_DBFS = -60.0
FROZEN_CHANGE = 0.1
FROZEN_PIXELS = 1e-4
BLACK_PIXELS = 0.98
GATE_LUFS = -70.0
TIMING_FAULT_FRAMES = 0.5


class _HealthMetric(SampleMetric):
    """A metric of the features of the ``health`` encoder, the same under every protocol."""

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """The clip's health features."""
        return {"health": FeatureSpec.of("health", "health")}

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The value, with what it was made from as details.

        Raises:
            MetricError: the clip has no such value (``no_audio``, ``too_short``).
        """
        return self._score({name: array.astype(np.float64) for name, array in features["health"].items()}, context)

    @abstractmethod
    def _score(self, health: Mapping[str, NDArray[np.float64]], context: SampleContext) -> SampleScore:
        """The value from all arrays in float64."""


class SilenceShare(_HealthMetric):
    """Share of 20 ms windows with an RMS level below -60 dBFS; 1 for a clip without sound."""

    fault: ClassVar[Fault | None] = Fault("mostly silent", most=0.5)
    card: ClassVar[MetricCard] = MetricCard(
        id="health_silence",
        tasks=SOUND_MADE,
        title="Silence",
        higher_is_better=False,
        value_range=(0.0, 1.0),
        kind="sample",
        measures="Share of the sound, in windows of 20 ms, whose RMS level is below -60 dBFS; 1 without sound.",
        blind_to="Whether silence belongs to the scene; sound that ends before the picture does.",
        source="javisbench; threshold as in FFmpeg's silencedetect",
        unit="share",
    )

    def _score(self, health: Mapping[str, NDArray[np.float64]], context: SampleContext) -> SampleScore:
        levels = health["level_dbfs"]
        return SampleScore(float((levels < SILENT_DBFS).mean()) if levels.size else 1.0)


class FrozenShare(_HealthMetric):
    """Share of frames that repeat the one before; 1 for a clip of one frame.

    A frame repeats another if luma changed by less than 0.1 of 255 on average and by more than 8 in fewer than 1 of
    10,000 pixels. The first frame cannot, so the share is of the other frames.
    """

    fault: ClassVar[Fault | None] = Fault("mostly frozen", most=0.5)
    card: ClassVar[MetricCard] = MetricCard(
        id="health_frozen",
        tasks=PICTURE_MADE,
        title="Frozen",
        higher_is_better=False,
        value_range=(0.0, 1.0),
        kind="sample",
        measures="Share of frames that are the same as the one before; 1 for a single frame.",
        blind_to="Whether a still picture belongs to the scene; motion of only a few pixels.",
        source="javisbench",
        unit="share",
    )

    def _score(self, health: Mapping[str, NDArray[np.float64]], context: SampleContext) -> SampleScore:
        frozen = (health["change"] < FROZEN_CHANGE) & (health["changed_share"] < FROZEN_PIXELS)
        return SampleScore(float(frozen.mean()) if frozen.size else 1.0)


class BlackShare(_HealthMetric):
    """Share of frames of which at least 98 % is dark (luma at most 10 % of full scale)."""

    fault: ClassVar[Fault | None] = Fault("mostly black", most=0.5)
    card: ClassVar[MetricCard] = MetricCard(
        id="health_black",
        tasks=PICTURE_MADE,
        title="Black",
        higher_is_better=False,
        value_range=(0.0, 1.0),
        kind="sample",
        measures="Share of frames in which at least 98 % of the pixels are dark (luma up to 10 %).",
        blind_to="Whether the scene is meant to be dark.",
        source="javisbench; thresholds as in FFmpeg's blackdetect",
        unit="share",
    )

    def _score(self, health: Mapping[str, NDArray[np.float64]], context: SampleContext) -> SampleScore:
        return SampleScore(float((health["dark_share"] >= BLACK_PIXELS).mean()))


class ClippingShare(_HealthMetric):
    """Share of samples at 99.9 % of full scale or beyond."""

    fault: ClassVar[Fault | None] = Fault("clipped", most=0.001)
    card: ClassVar[MetricCard] = MetricCard(
        id="health_clipping",
        tasks=SOUND_MADE,
        title="Clipping",
        higher_is_better=False,
        value_range=(0.0, 1.0),
        kind="sample",
        measures="Share of samples, over all channels, at 99.9 % of full scale or beyond.",
        blind_to="Distortion turned down afterwards; sound merely normalised to its peak has a few such samples.",
        source="javisbench",
        unit="share",
        digits=4,
    )

    def _score(self, health: Mapping[str, NDArray[np.float64]], context: SampleContext) -> SampleScore:
        if not health["clipped_share"].size:
            raise MetricError("The clip has no sound that could clip.", kind="no_audio")
        return SampleScore(float(health["clipped_share"][0]))


class Loudness(_HealthMetric):
    """Integrated loudness with gating (ITU-R BS.1770-4)."""

    fault: ClassVar[Fault | None] = Fault("inaudible", least=-69.9)
    card: ClassVar[MetricCard] = MetricCard(
        id="health_loudness",
        tasks=SOUND_MADE,
        title="Loudness",
        higher_is_better=None,
        value_range=(-70.0, None),
        kind="sample",
        measures="How loud the clip is to the ear, averaged over its parts that are not silent.",
        blind_to="When it is loud. Sound below the gate counts as -70 LUFS, silence too.",
        source="ITU-R BS.1770-4",
        unit="LUFS",
        digits=1,
    )

    def _score(self, health: Mapping[str, NDArray[np.float64]], context: SampleContext) -> SampleScore:
        loudness, seconds = health["loudness_lufs"], float(health["audio_duration_s"][0])
        if not seconds:
            raise MetricError("The clip has no sound, so it has no loudness.", kind="no_audio")
        if not loudness.size:
            raise MetricError(
                f"Loudness is measured over blocks of 0.4 s; the clip has {seconds:.3f} s of sound.", kind="too_short"
            )
        # Silence is minus infinity by the formula; it is a fact about the clip, not a failure of it.
        return SampleScore(float(loudness[0]) if np.isfinite(loudness[0]) else GATE_LUFS)


class _RatioMetric(_HealthMetric):
    """A property of the clip over what the suite's setting asks for."""

    needs_setting: ClassVar[bool] = True

    def _score(self, health: Mapping[str, NDArray[np.float64]], context: SampleContext) -> SampleScore:
        if context.setting is None:
            raise MetricError("The suite states no setting to compare with.", kind="not_applicable")
        return self._ratio(health, context.setting)

    @abstractmethod
    def _ratio(self, health: Mapping[str, NDArray[np.float64]], setting: ClipSpec) -> SampleScore:
        """The ratio to the setting, with the clip's own value as a detail."""


class DurationRatio(_RatioMetric):
    """Seconds of video over the seconds that the suite asks for."""

    fault: ClassVar[Fault | None] = Fault("of another length", least=0.99, most=1.01)
    card: ClassVar[MetricCard] = MetricCard(
        id="health_duration",
        tasks=PICTURE_MADE,
        title="Duration",
        higher_is_better=None,
        value_range=(0.0, None),
        kind="sample",
        measures="Length of the video, its last frame's own time included, over that which the suite asks for.",
        blind_to="The length of the sound, which stands in the details.",
        source="javisbench",
        unit="ratio",
    )

    def _ratio(self, health: Mapping[str, NDArray[np.float64]], setting: ClipSpec) -> SampleScore:
        seconds, sound = float(health["duration_s"][0]), float(health["audio_duration_s"][0])
        details = {"duration_s": (seconds,), "audio_duration_s": (sound,)}
        return SampleScore(seconds / setting.duration_s, details)


class FrameRateRatio(_RatioMetric):
    """Frames per second over those that the suite asks for."""

    fault: ClassVar[Fault | None] = Fault("of another frame rate", least=0.99, most=1.01)
    card: ClassVar[MetricCard] = MetricCard(
        id="health_fps",
        tasks=PICTURE_MADE,
        title="Frame rate",
        higher_is_better=None,
        value_range=(0.0, None),
        kind="sample",
        measures="The video's average frame rate over the rate that the suite asks for; 1 is as asked.",
        blind_to="Repeated frames, and frames at uneven times.",
        source="javisbench",
        unit="ratio",
    )

    def _ratio(self, health: Mapping[str, NDArray[np.float64]], setting: ClipSpec) -> SampleScore:
        fps = float(health["fps"][0])
        return SampleScore(fps / float(setting.fps), {"fps": (fps,)})


class SizeRatio(_RatioMetric):
    """Pixels of a frame over those that the suite asks for."""

    fault: ClassVar[Fault | None] = Fault("of another size", least=0.99, most=1.01)
    card: ClassVar[MetricCard] = MetricCard(
        id="health_size",
        tasks=PICTURE_MADE,
        title="Picture size",
        higher_is_better=None,
        value_range=(0.0, None),
        kind="sample",
        measures="Width times height over width times height that the suite asks for; 1 is as asked.",
        blind_to="The picture's shape (width and height stand in the details), and sharpness.",
        source="javisbench",
        unit="ratio",
    )

    def _ratio(self, health: Mapping[str, NDArray[np.float64]], setting: ClipSpec) -> SampleScore:
        width, height = (float(side) for side in health["size"])
        asked = setting.width * setting.height
        return SampleScore(width * height / asked, {"width": (width,), "height": (height,)})


class SampleRateRatio(_RatioMetric):
    """Samples per second over those that the suite asks for."""

    fault: ClassVar[Fault | None] = Fault("of another sample rate", least=0.99, most=1.01)
    card: ClassVar[MetricCard] = MetricCard(
        id="health_rate",
        tasks=SOUND_MADE,
        title="Sample rate",
        higher_is_better=None,
        value_range=(0.0, None),
        kind="sample",
        measures="The sound's sample rate over the rate that the suite asks for; 1 is as asked.",
        blind_to="The bandwidth that the sound really has.",
        source="javisbench",
        unit="ratio",
    )

    def _ratio(self, health: Mapping[str, NDArray[np.float64]], setting: ClipSpec) -> SampleScore:
        rate = float(health["sample_rate"][0])
        if not rate:
            raise MetricError("The clip has no sound, so it has no sample rate.", kind="no_audio")
        return SampleScore(rate / setting.sample_rate, {"sample_rate": (rate,)})


class TimingFault(_HealthMetric):
    """Whether the frame rate in the file's header is wrong: 1 where it puts a frame over half a frame from its time."""

    fault: ClassVar[Fault | None] = Fault("with a wrong frame rate in the header", most=0.5)
    card: ClassVar[MetricCard] = MetricCard(
        id="health_timing",
        tasks=PICTURE_MADE,
        title="Timing",
        higher_is_better=False,
        value_range=(0.0, 1.0),
        kind="sample",
        measures=(
            "1 for a clip of which any frame is shown more than half a frame from its index over the rate in the "
            "file's header (variable rates, wrong headers), else 0. There javisbench-v1 goes by other times than v2."
        ),
        blind_to="Whether the times in the file are right.",
        source="javisbench",
        unit="share",
    )

    def _score(self, health: Mapping[str, NDArray[np.float64]], context: SampleContext) -> SampleScore:
        fault = float(health["timing_fault_frames"][0])
        return SampleScore(float(fault > TIMING_FAULT_FRAMES), {"timing_fault_frames": (fault,)})


class Damaged(_HealthMetric):
    """Whether the file promises more than it holds, although what it holds can be read; 0.5 where nothing tells."""

    fault: ClassVar[Fault | None] = Fault("damaged", most=0.5)
    card: ClassVar[MetricCard] = MetricCard(
        id="health_damaged",
        tasks=PICTURE_MADE,
        title="Damaged",
        higher_is_better=False,
        value_range=(0.0, 1.0),
        kind="sample",
        measures="1 for a clip whose file lacks frames or sound that it should hold; 0.5 for a live recording that "
        "tells nowhere how long it is, so that nobody knows; else 0.",
        blind_to="Files that lost something without a trace; files that cannot be read at all are failures.",
        source="javisbench; docs/damage.md has the rules",
        unit="share",
    )

    def _score(self, health: Mapping[str, NDArray[np.float64]], context: SampleContext) -> SampleScore:
        frames, seconds = health["lost_frames"], health["lost_s"]
        details = {"lost_frames": (float(frames.sum()),), "lost_s": (float(seconds.sum()),)}
        return SampleScore(0.5 * float(frames.size > 0) + 0.5 * float(health["certain"].any()), details)
