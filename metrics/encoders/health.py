"""Clip health: plain facts about picture and sound that explain a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from javisbench.metrics.encoders.base import EncoderCard, Features, FeatureSpec
from javisbench.metrics.encoders.host_encoder import HostEncoder, HostIntake

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import ClipHead

LEVEL_WINDOW_S = 0.02
LEVEL_FLOOR_DBFS = -120.0
FULL_SCALE = 0.999
DARK_LUMA = 25.5
CHANGED_LUMA = 8.0
LOUDNESS_BLOCK_S = 0.4
_LFE_OF_SIX = 3


class _HealthIntake(HostIntake):
    def __init__(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> None:
        super().__init__(head, specs)
        frames = len(head.timeline)
        self._dark = np.zeros(frames)
        self._change, self._changed = np.zeros(frames - 1), np.zeros(frames - 1)
        self._earlier: NDArray[np.uint8] | None = None

    def see(self, index: int, frame: NDArray[np.uint8]) -> None:
        import cv2

        pixels = self.head.height * self.head.width
        luma = cast("NDArray[np.uint8]", cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        bright = cv2.countNonZero(cv2.threshold(luma, DARK_LUMA, 1, cv2.THRESH_BINARY)[1])
        self._dark[index] = 1 - bright / pixels
        if self._earlier is not None:
            difference = cv2.absdiff(luma, self._earlier)
            self._change[index - 1] = cv2.mean(difference)[0]
            moved = cv2.threshold(difference, CHANGED_LUMA, 1, cv2.THRESH_BINARY)[1]
            self._changed[index - 1] = cv2.countNonZero(moved) / pixels
        self._earlier = luma

    def make(self, spec: FeatureSpec) -> Features:
        head, line = self.head, self.head.timeline
        return {
            "size": np.asarray([head.width, head.height], dtype=np.float64),
            "fps": np.asarray([float(line.fps)]),
            "duration_s": np.asarray([line.duration_s]),
            "timing_fault_frames": np.asarray([line.timing_fault_frames]),
            "lost_frames": np.asarray([damage.frames for damage in self.damage], dtype=np.float64),
            "lost_s": np.asarray([damage.seconds for damage in self.damage], dtype=np.float64),
            "certain": np.asarray([damage.certain for damage in self.damage], dtype=np.float64),
            "dark_share": self._dark,
            "change": self._change,
            "changed_share": self._changed,
            **_sound(self.sound(), self.head),
        }


class HealthEncoder(HostEncoder):
    """Facts about a clip, taken from every frame and sample in one pass.

    Features:
        ``health``, all float64: ``size``, ``(2,)``, width and height in pixels; ``fps`` and ``duration_s``, ``(1,)``,
        of the picture; ``dark_share``, ``(T,)``, share of a frame's pixels with luma at most 10 % of full scale;
        ``change``, ``(T - 1,)``, mean absolute luma difference (0 to 255) of neighbouring frames; ``changed_share``,
        ``(T - 1,)``, share of pixels whose luma differs by more than 8; ``sample_rate`` (Hz) and ``audio_duration_s``,
        ``(1,)``, 0 without sound; ``level_dbfs``, ``(windows,)``, RMS of each 20 ms over all channels, at least -120
        (the last window may be shorter; none without sound); ``clipped_share``, ``(1,)``, share of samples at 99.9 % of
        full scale or beyond, ``(0,)`` without sound; ``loudness_lufs``, ``(1,)``, integrated loudness, -inf where all
        is below the gate of -70 LUFS, ``(0,)`` where there are no 0.4 s of sound; ``timing_fault_frames``, ``(1,)``,
        how far any frame is shown from its index over the rate in the header, in frames; ``lost_frames`` and
        ``lost_s``, ``(n,)``, what each of the n faults of a damaged file has cost; ``certain``, ``(n,)``, 0 where
        nothing tells whether anything lacks.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="health",
        title="Clip health",
        variants={"default": None},
        source="ITU-R BS.1770-4 for loudness",
        host=True,
        revision=3,
    )

    intake_type = _HealthIntake


def _sound(audio: NDArray[np.float32] | None, head: ClipHead) -> dict[str, NDArray[np.float64]]:
    none = np.zeros(0)
    if audio is None or not head.sample_rate:
        silence = {"level_dbfs": none, "clipped_share": none, "loudness_lufs": none}
        return {"sample_rate": np.zeros(1), "audio_duration_s": np.zeros(1), **silence}
    clipped = np.count_nonzero(np.abs(audio) >= np.float32(FULL_SCALE)) / audio.size
    return {
        "sample_rate": np.asarray([head.sample_rate], dtype=np.float64),
        "audio_duration_s": np.asarray([head.audio_duration_s]),
        "level_dbfs": levels_dbfs(audio, head.sample_rate),
        "clipped_share": np.asarray([clipped]),
        "loudness_lufs": _loudness(audio, head.sample_rate),
    }


def levels_dbfs(audio: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """RMS level of each 20 ms, over all channels.

    Args:
        audio: float32, shape ``(channels, samples)``, samples >= 1.
        sample_rate: Hz.

    Returns:
        dB relative to full scale (a constant 1.0 is 0 dBFS), at least -120, shape ``(ceil(samples / window),)``.
    """
    window = max(1, round(LEVEL_WINDOW_S * sample_rate))
    starts = np.arange(0, audio.shape[1], window)
    power = np.square(audio, dtype=np.float64).mean(axis=0)
    mean = np.add.reduceat(power, starts) / np.diff(np.append(starts, audio.shape[1]))
    return cast("NDArray[np.float64]", 10 * np.log10(np.maximum(mean, 10 ** (LEVEL_FLOOR_DBFS / 10))))


def _loudness(audio: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Integrated loudness in LUFS, shape ``(1,)``; ``(0,)`` for less than one block of 0.4 s."""
    if audio.shape[1] < LOUDNESS_BLOCK_S * sample_rate:
        return np.zeros(0)
    if not audio.any():
        return np.asarray([-np.inf])
    import pyloudnorm

    # BS.1770 leaves the low-frequency channel of 5.1 out and knows no layout beyond; there the mono mix stands in.
    if audio.shape[0] == 6:
        audio = np.delete(audio, _LFE_OF_SIX, axis=0)
    elif audio.shape[0] > 5:
        audio = audio.mean(axis=0, keepdims=True)
    with np.errstate(divide="ignore"):
        return np.asarray([pyloudnorm.Meter(sample_rate).integrated_loudness(audio.T.astype(np.float64))])
