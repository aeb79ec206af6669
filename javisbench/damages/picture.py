"""Damages of the picture; the sound stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from javisbench.damages.base import DamageCard, TrialDamage
from javisbench.errors import DamageError

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from numpy.typing import NDArray

    from javisbench.clip import Clip

GREY = 128
GRID_ROWS = 8
"""Rows of the grid that is masked; its cells are squares."""
CROSSING_S = 2.0
"""Seconds in which the inserted object crosses the picture."""


class Cyclic(TrialDamage):
    """The picture begins later and goes on with what was left out."""

    card: ClassVar[DamageCard] = DamageCard(
        "cyclic", "Cyclic shift", "picture",
        "The picture is moved round in time: what is pushed out at the end stands at the start.",
        unit="ms", doses=(250, 500, 1000), least=-60_000, most=60_000, signed=True,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Frames rolled by the dose, a cut where the start is."""
        return replace(clip, frames=np.roll(clip.frames, _frames(clip, dose), axis=0))


class Paused(TrialDamage):
    """The picture stands still for a while and is late from then on."""

    card: ClassVar[DamageCard] = DamageCard(
        "paused", "Pause", "picture",
        "The picture stands still from a third of the clip on and then goes on, late by the pause; its end is cut.",
        unit="ms", doses=(500, 1000, 2000), least=1, most=60_000,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """One frame repeated for the dose."""
        count, begin, held = len(clip.frames), len(clip.frames) // 3, _frames(clip, dose)
        if begin + held >= count:
            raise DamageError(f"{clip.duration_s:.2f} s are too short for a pause of {dose:g} ms after a third of it")
        order = np.concatenate([np.arange(begin), np.full(held, begin), np.arange(begin, count - held)])
        return replace(clip, frames=clip.frames[order])


class Played(TrialDamage):
    """The picture at another speed than the sound."""

    card: ClassVar[DamageCard] = DamageCard(
        "played", "Played faster", "picture",
        "The picture is played at this share of its speed, so that it drifts from the sound; the last frame is held.",
        unit="%", doses=(105, 110, 125, 150), least=10, most=1000,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Frames taken at the dose's pace."""
        count = len(clip.frames)
        order = np.minimum(np.arange(count) * dose / 100, count - 1).astype(np.int64)
        return replace(clip, frames=clip.frames[order])


class Dropped(TrialDamage):
    """Frames are lost and the one before is shown in their place."""

    card: ClassVar[DamageCard] = DamageCard(
        "dropped", "Frame drops", "picture",
        "This share of the frames, drawn at random, shows the frame before instead.",
        unit="%", doses=(25, 50, 75, 90), least=0, most=100,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Random frames replaced by their predecessors; never the first."""
        count = len(clip.frames)
        order = np.arange(count)
        order[1 + rng.permutation(count - 1)[: round((count - 1) * dose / 100)]] = 0
        return replace(clip, frames=clip.frames[np.maximum.accumulate(order)])


class Frozen(TrialDamage):
    """A still picture."""

    card: ClassVar[DamageCard] = DamageCard(
        "frozen", "Frozen", "picture", "The first frame is shown for the whole clip."
    )

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """The first frame, repeated."""
        return replace(clip, frames=np.repeat(clip.frames[:1], len(clip.frames), axis=0))


class Black(TrialDamage):
    """No picture."""

    card: ClassVar[DamageCard] = DamageCard("black", "Black", "picture", "All frames are black.")

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Zeros."""
        return replace(clip, frames=np.zeros_like(clip.frames))


class Masked(TrialDamage):
    """Part of the picture is covered."""

    card: ClassVar[DamageCard] = DamageCard(
        "masked", "Grid masking", "picture",
        f"This share of a grid's squares ({GRID_ROWS} rows), drawn at random and fixed over time, is grey.",
        unit="%", doses=(20, 40, 60, 80), least=0, most=100,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Random cells set to mid grey."""
        height, width = clip.frames.shape[1:3]
        columns = max(1, round(GRID_ROWS * width / height))
        cells = np.zeros(GRID_ROWS * columns, dtype=bool)
        cells[rng.permutation(cells.size)[: round(cells.size * dose / 100)]] = True
        rows = np.arange(height) * GRID_ROWS // height
        across = np.arange(width) * columns // width
        covered = cells.reshape(GRID_ROWS, columns)[rows[:, None], across[None, :]]
        frames = clip.frames.copy()
        frames[:, covered] = GREY
        return replace(clip, frames=frames)


class Intruder(TrialDamage):
    """Something moves that makes no sound."""

    card: ClassVar[DamageCard] = DamageCard(
        "intruder", "Inserted moving object", "picture",
        f"A striped disc of this share of the picture's height crosses it without a sound, every {CROSSING_S:g} s.",
        unit="%", doses=(10, 20, 40), least=1, most=100,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """A disc on a wavy path, from side to side and back."""
        height, width = clip.frames.shape[1:3]
        disc = _disc(max(2, round(height * dose / 100)), rng.integers(0, 256, (2, 3)))
        phases = clip.frame_times_s / CROSSING_S + rng.uniform(0, 2)
        frames = clip.frames.copy()
        for frame, phase in zip(frames, phases, strict=True):
            across = 1 - abs(phase % 2 - 1)
            top = round((0.5 + 0.25 * np.sin(2 * np.pi * phase)) * (height - disc.shape[0]))
            _paste(frame, disc, top, round(across * width - disc.shape[1] / 2))
        return replace(clip, frames=frames)


class Noise(TrialDamage):
    """The picture under white noise."""

    card: ClassVar[DamageCard] = DamageCard(
        "noise", "Picture noise", "picture",
        "White noise is mixed into every frame; 100 % is noise alone.",
        unit="%", doses=(10, 25, 50, 100), least=0, most=100,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """A weighted mean of picture and noise."""
        noise = rng.integers(0, 256, clip.frames.shape, dtype=np.uint8)
        if dose == 100:
            return replace(clip, frames=noise)
        share = np.float32(dose / 100)
        frames = np.empty_like(clip.frames)
        for place, (frame, grain) in enumerate(zip(clip.frames, noise, strict=True)):
            frames[place] = np.rint(frame * (1 - share) + grain * share)
        return replace(clip, frames=frames)


class Blurred(TrialDamage):
    """The picture out of focus."""

    card: ClassVar[DamageCard] = DamageCard(
        "blurred", "Blur", "picture", "Gaussian blur; the dose is its sigma as a share of the picture's height.",
        unit="%", doses=(0.5, 1, 2, 5), least=0.01, most=50,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Every frame blurred alike."""
        import cv2

        sigma = clip.frames.shape[1] * dose / 100
        return replace(clip, frames=np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in clip.frames]))


class Compressed(TrialDamage):
    """The picture after strong compression."""

    card: ClassVar[DamageCard] = DamageCard(
        "compressed", "Compression", "picture", "H.264 at this constant rate factor (x264's CRF).",
        unit="CRF", doses=(30, 38, 45, 51), least=1, most=51,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Encoded and decoded again."""
        return replace(clip, frames=_through_codec(clip, "libx264", "h264", {"crf": f"{dose:g}", "mbtree": "0"}))


class Bars(TrialDamage):
    """Black bars above and below."""

    card: ClassVar[DamageCard] = DamageCard(
        "bars", "Black bars", "picture", "Black bars above and below, which take this share of the new height.",
        unit="%", doses=(10, 25), least=0, most=90, harms=False,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """The whole picture, higher by the bars."""
        height = clip.frames.shape[1]
        bar = _even(height * dose / (100 - dose) / 2)
        return replace(clip, frames=np.pad(clip.frames, ((0, 0), (bar, bar), (0, 0), (0, 0))))


class Resized(TrialDamage):
    """Another size."""

    card: ClassVar[DamageCard] = DamageCard(
        "resized", "Resized", "picture", "Width and height at this share of what they were.",
        unit="%", doses=(50, 75, 150), least=5, most=400, harms=False,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Every frame resized, to even sides."""
        import cv2

        height, width = (max(2, _even(side * dose / 100)) for side in clip.frames.shape[1:3])
        way = cv2.INTER_AREA if dose < 100 else cv2.INTER_CUBIC
        return replace(
            clip, frames=np.stack([cv2.resize(frame, (width, height), interpolation=way) for frame in clip.frames])
        )


class FrameRate(TrialDamage):
    """Another frame rate over the same time."""

    card: ClassVar[DamageCard] = DamageCard(
        "frame_rate", "Frame rate", "picture",
        "The same moments at this share of the frame rate: frames are left out or shown twice.",
        unit="%", doses=(50, 125, 200), least=5, most=400, harms=False,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """The frames shown at the new rate's times."""
        rate = Fraction(clip.fps) * Fraction(dose).limit_denominator(1000) / 100
        count = max(1, round(clip.duration_s * float(rate)))
        order = [clip.timeline.frame_at(Fraction(place) / rate) for place in range(count)]
        return clip.with_frames(clip.frames[order], rate)


class Recoded(TrialDamage):
    """Another codec at a high quality."""

    card: ClassVar[DamageCard] = DamageCard(
        "recoded", "Other codec", "picture", "MPEG-4 part 2 at its best quality.", harms=False
    )

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Encoded and decoded again."""
        return replace(clip, frames=_through_codec(clip, "mpeg4", "mpeg4", {"qmin": "1", "qmax": "1"}))


def _frames(clip: Clip, milliseconds: float) -> int:
    return round(milliseconds / 1000 * float(clip.fps))


def _even(length: float) -> int:
    return 2 * round(length / 2)


def _disc(size: int, colours: NDArray[np.int64]) -> NDArray[np.int16]:
    """Stripes of two colours in a disc, int16 ``(size, size, 3)``; -1 outside of it."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    stripes = ((x + y) * 8 // size).astype(np.int64) % 2
    disc: NDArray[np.int16] = np.where((x**2 + y**2 <= (size / 2) ** 2)[..., None], colours[stripes], -1)
    return disc.astype(np.int16)


def _paste(frame: NDArray[np.uint8], disc: NDArray[np.int16], top: int, left: int) -> None:
    """Draw the part of `disc` that lies within `frame`."""
    first, last = max(0, left), min(frame.shape[1], left + disc.shape[1])
    if first >= last:
        return
    part = disc[: frame.shape[0] - top, first - left : last - left]
    place = frame[top : top + part.shape[0], first:last]
    np.copyto(place, part.astype(np.uint8), where=part >= 0)


def _through_codec(clip: Clip, encoder: str, decoder: str, settings: Mapping[str, str]) -> NDArray[np.uint8]:
    """All frames encoded and decoded again, without a container, on one thread."""
    import av

    height, width = clip.frames.shape[1:3]
    # Halved colour needs even sides: the last row or column is doubled and taken away again.
    padded = np.pad(clip.frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    writer = cast("VideoCodecContext", av.CodecContext.create(encoder, "w"))
    writer.width, writer.height, writer.pix_fmt = padded.shape[2], padded.shape[1], "yuv420p"
    # MPEG-4 counts time in 16 bits.
    writer.time_base = 1 / Fraction(clip.fps).limit_denominator(1001)
    writer.options = dict(settings)
    writer.thread_count = 1
    packets = []
    for place, pixels in enumerate(padded):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = place, writer.time_base
        packets += writer.encode(frame)
    packets += writer.encode(None)
    reader = cast("VideoCodecContext", av.CodecContext.create(decoder, "r"))
    reader.extradata = writer.extradata
    reader.thread_count = 1
    decoded = [frame for packet in [*packets, None] for frame in reader.decode(packet)]
    if len(decoded) != len(padded):
        raise DamageError(f"{encoder} gave {len(decoded)} of {len(padded)} frames back")
    return np.stack([frame.to_ndarray(format="rgb24")[:height, :width] for frame in decoded])
