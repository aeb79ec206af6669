"""`Clip`, the only media type in the house, its `Timeline`, and `ClipSpec`, the setting a suite asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AudioSource = Literal["sidecar", "container", "none"]
# Containers round times to their ticks (1 ms in Matroska); a frame that far from its place is in its place.
_IN_PLACE = 0.1
_TIMING_FAULT = 0.5


@dataclass(frozen=True)
class ClipSpec:
    """The setting that a suite asks of its clips (JavisBench: 240p, 24 fps, 4 s, 16 kHz).

    Attributes:
        width: pixels.
        height: pixels.
        duration_s: seconds.
        fps: frames per second.
        sample_rate: Hz.
    """

    width: int = 426
    height: int = 240
    duration_s: float = 4.0
    fps: Fraction = Fraction(24)
    sample_rate: int = 16000


@dataclass(frozen=True)
class Damage:
    """What was read, though something lacks or may lack.

    Attributes:
        message: what, and by which evidence, without a full stop.
        frames: frames lost, as far as can be told; 0 when none or unknown.
        seconds: of picture or sound lost, as far as can be told; 0 when none or unknown.
        certain: False where nothing in the file tells whether anything lacks: a live recording may end anywhere.
    """

    message: str
    frames: int = 0
    seconds: float = 0.0
    certain: bool = True


@dataclass(frozen=True, eq=False)
class Timeline:
    """When each frame of a clip is shown, in seconds from the presentation of the first.

    Attributes:
        times_s: float64, shape ``(T,)``, T >= 1, from 0, never decreasing.
        last_frame_s: seconds for which the last frame is shown.
        fps: frames per second on average, exact: (T - 1) over last minus first time. Where every frame lies within the
            container's rounding of its place at the declared rate, that rate.
        declared_fps: what the file's header says, whatever its frames do.
    """

    times_s: NDArray[np.float64] = field(repr=False)
    last_frame_s: float
    fps: Fraction
    declared_fps: Fraction

    @classmethod
    def at_rate(cls, frames: int, fps: Fraction | float) -> Timeline:
        """`frames` frames, each shown for 1 / fps seconds."""
        import numpy as np

        rate = Fraction(fps)
        times = np.arange(frames, dtype=np.float64) / float(rate) if rate > 0 else np.zeros(frames)
        return cls(times, float(1 / rate) if rate > 0 else 0.0, rate, rate)

    def __len__(self) -> int:
        return len(self.times_s)

    @cached_property
    def declared(self) -> Timeline:
        """The frames at their indices over the declared rate: where a reader that trusts the header takes them."""
        if self.is_regular and self.fps == self.declared_fps:
            return self
        return Timeline.at_rate(len(self), self.declared_fps)

    @property
    def duration_s(self) -> float:
        """Seconds of video: the last frame's time and its own duration; at a constant rate frames / fps."""
        if self.is_regular and abs(self.last_frame_s * self.fps - 1) < _IN_PLACE:
            return len(self) / float(self.fps)
        return float(self.times_s[-1]) + self.last_frame_s

    @cached_property
    def is_regular(self) -> bool:
        """Whether every frame lies at its index over `fps`, but for rounding of times."""
        return self.fps > 0 and self._off_place(self.fps) < _IN_PLACE

    @cached_property
    def timing_fault_frames(self) -> float:
        """How far any frame is shown from its index over the declared rate, in frames of the true rate."""
        return 0.0 if self.declared_fps == self.fps and self.is_regular else self._off_place(self.declared_fps)

    @property
    def is_mistimed(self) -> bool:
        """Whether the declared rate puts a frame more than half a frame from where it is shown."""
        return self.timing_fault_frames > _TIMING_FAULT

    def _off_place(self, rate: Fraction) -> float:
        import numpy as np

        if rate <= 0:
            return float("inf")
        places = np.arange(len(self), dtype=np.float64) / float(rate)
        return float(np.abs(self.times_s - places).max() * float(self.fps))

    def frames_before(self, seconds: Fraction) -> int:
        """How many frames appear before `seconds` have passed."""
        import math

        import numpy as np

        if self.is_regular:
            return max(0, min(len(self), math.ceil(seconds * self.fps)))
        return int(np.searchsorted(self.times_s, float(seconds), side="left"))

    def frame_at(self, seconds: Fraction) -> int:
        """The frame shown at `seconds`; the first or last one beyond the ends."""
        import math

        import numpy as np

        if self.is_regular:
            return max(0, min(len(self) - 1, math.floor(seconds * self.fps)))
        return max(0, int(np.searchsorted(self.times_s, float(seconds), side="right")) - 1)

    def centred_before(self, seconds: Fraction) -> int:
        """How many frames have the middle of their time before `seconds`."""
        import math

        import numpy as np

        if self.is_regular:
            return max(0, min(len(self), math.ceil(seconds * self.fps - Fraction(1, 2))))
        ends = np.append(self.times_s[1:], self.times_s[-1] + self.last_frame_s)
        return int(np.searchsorted((self.times_s + ends) / 2, float(seconds), side="left"))

    def start_of(self, frame: int) -> float:
        """When a frame is first shown, in seconds; the end of the clip for ``frame == T``."""
        if self.is_regular:
            return frame / float(self.fps)
        return float(self.times_s[frame]) if frame < len(self) else self.duration_s

    def nearest(self, positions: NDArray[np.floating], frames: int) -> NDArray[np.int64]:
        """The frames nearest in time to `positions`.

        Args:
            positions: places from 0 to ``frames - 1``, evenly spaced in time over the first `frames` frames.
            frames: how many frames they are spread over, at least 1.

        Returns:
            int64 of the shape of `positions`. At a constant rate that is rounding, half to even; otherwise the earlier
            one of two equally near frames.
        """
        import numpy as np

        if self.is_regular or frames == 1:
            return np.asarray(np.rint(positions), dtype=np.int64)
        times = self.times_s[:frames]
        wanted = np.asarray(positions, dtype=np.float64) / (frames - 1) * times[-1]
        after = np.clip(np.searchsorted(times, wanted), 1, frames - 1)
        before = wanted - times[after - 1] <= times[after] - wanted
        return np.asarray(after - before, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class ClipHead:
    """All of a clip but its pixels: what is known before the first of them is handed over.

    Attributes:
        timeline: when each frame is shown.
        height: pixels, upright.
        width: pixels, upright.
        audio: float32 in [-1, 1], shape ``(channels, samples)``, from the first frame's presentation on; None without.
        sample_rate: Hz of ``audio``; None when there is no audio.
        audio_source: whether the sound came from a file beside the video, from its container, or from nowhere.
        name: where it came from, for messages.
        picture_hash: of what the frames are decoded from and when they are shown; empty when unknown.
        sound_hash: of the samples and their rate; empty when unknown.
    """

    timeline: Timeline
    height: int
    width: int
    audio: NDArray[np.float32] | None
    sample_rate: int | None
    audio_source: AudioSource = "none"
    name: str = "clip"
    picture_hash: str = ""
    sound_hash: str = ""

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame's pixels."""
        return self.height * self.width * 3

    @property
    def duration_s(self) -> float:
        """Seconds of video."""
        return self.timeline.duration_s

    @property
    def audio_duration_s(self) -> float:
        """Seconds of audio; 0.0 without audio."""
        if self.audio is None or not self.sample_rate:
            return 0.0
        return float(self.audio.shape[1] / self.sample_rate)


@dataclass(frozen=True, eq=False)
class FrameRun:
    """Some frames of a clip, in the order shown.

    Attributes:
        indices: int64, shape ``(n,)``, ascending: which frames of the clip.
        frames: uint8 RGB, shape ``(n, H, W, 3)``.
    """

    indices: NDArray[np.int64]
    frames: NDArray[np.uint8]

    def only(self, wanted: NDArray[np.int64] | None) -> FrameRun:
        """The frames of this run that stand in `wanted` (ascending); all of them for None."""
        import numpy as np

        if wanted is None:
            return self
        chosen = np.isin(self.indices, wanted, assume_unique=True)
        return self if chosen.all() else FrameRun(self.indices[chosen], self.frames[chosen])


@dataclass(frozen=True, eq=False)
class Clip:
    """A decoded sounding video.

    Attributes:
        frames: uint8 RGB, shape ``(T, H, W, 3)``, T >= 1, after rotation by the container's display matrix.
        fps: frames per second on average, exact: (T - 1) over last minus first time.
        audio: float32 in [-1, 1], shape ``(channels, samples)``, or None when there is no audio at all. Sample 0
            belongs to the presentation of the first frame; gaps are silence.
        sample_rate: Hz of ``audio``; None when there is no audio.
        audio_source: whether the sound came from a file beside the video, from its container, or from nowhere.
        frame_times_s: presentation time of each frame in seconds from the first one's, float64, shape ``(T,)``. When it
            is left out, frames follow each other at ``fps``, and the two below are taken from that too.
        name: where it came from, for messages.
        declared_fps: the rate in the file's header, which may be wrong; ``fps`` when left out.
        last_frame_s: seconds for which the last frame is shown; one frame period when left out.
        damage: what the file should hold and does not.

    Raises:
        UsageError: there are more or fewer times than frames, or they run backwards.
    """

    frames: NDArray[np.uint8]
    fps: Fraction
    audio: NDArray[np.float32] | None
    sample_rate: int | None
    audio_source: AudioSource = "none"
    frame_times_s: NDArray[np.float64] = field(default=None, repr=False)  # type: ignore[arg-type]
    name: str = "clip"
    declared_fps: Fraction = None  # type: ignore[assignment]
    last_frame_s: float = None  # type: ignore[assignment]
    damage: tuple[Damage, ...] = ()

    def __post_init__(self) -> None:
        if self.frame_times_s is None:
            line = Timeline.at_rate(int(self.frames.shape[0]), Fraction(self.fps))
            object.__setattr__(self, "frame_times_s", line.times_s)
            object.__setattr__(self, "declared_fps", self.fps)
            object.__setattr__(self, "last_frame_s", line.last_frame_s)
            return
        self._check_times()
        if len(self.frame_times_s) and self.frame_times_s[0] != 0:
            object.__setattr__(self, "frame_times_s", self.frame_times_s - self.frame_times_s[0])
        if self.declared_fps is None:
            object.__setattr__(self, "declared_fps", self.fps)
        if self.last_frame_s is None:
            object.__setattr__(self, "last_frame_s", float(1 / Fraction(self.fps)) if self.fps > 0 else 0.0)

    def _check_times(self) -> None:
        import numpy as np

        from javisbench.errors import UsageError

        times = np.asarray(self.frame_times_s)
        if times.shape != (len(self.frames),):
            raise UsageError(
                f"{self.name}: {len(self.frames)} frames and frame_times_s of shape {times.shape}; give each frame its "
                "time in seconds, or leave frame_times_s out."
            )
        if len(times) and not (np.isfinite(times).all() and (np.diff(times) >= 0).all()):
            raise UsageError(f"{self.name}: frame_times_s holds times that run backwards or are no finite numbers.")

    @classmethod
    def of(cls, head: ClipHead, frames: NDArray[np.uint8], damage: Sequence[Damage] = ()) -> Clip:
        """The clip of which `head` told, with its pixels."""
        return cls(
            frames,
            head.timeline.fps,
            head.audio,
            head.sample_rate,
            head.audio_source,
            head.timeline.times_s,
            head.name,
            head.timeline.declared_fps,
            head.timeline.last_frame_s,
            tuple(damage),
        )

    def with_frames(self, frames: NDArray[np.uint8], fps: Fraction | None = None) -> Clip:
        """Other frames under the same sound, at a constant rate (this clip's for None)."""
        return replace(self, frames=frames, fps=self.fps if fps is None else fps, frame_times_s=None)  # type: ignore[arg-type]

    @cached_property
    def timeline(self) -> Timeline:
        """When each frame is shown."""
        return Timeline(self.frame_times_s, self.last_frame_s, Fraction(self.fps), Fraction(self.declared_fps))

    @cached_property
    def head(self) -> ClipHead:
        """All of the clip but its pixels."""
        height, width = self.frames.shape[1:3]
        return ClipHead(
            self.timeline, int(height), int(width), self.audio, self.sample_rate, self.audio_source, self.name
        )

    @property
    def duration_s(self) -> float:
        """Seconds of video: the last frame's time and its own duration (96 frames at 30000/1001 fps give 3.2032)."""
        return self.timeline.duration_s

    @property
    def audio_duration_s(self) -> float:
        """Seconds of audio; 0.0 without audio."""
        return self.head.audio_duration_s
