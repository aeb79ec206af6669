"""What a judge sees and hears of a clip: some frames as pictures, and the sound."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.metrics.encoders.base import EncoderCard, Features, FeatureSpec
from javisbench.metrics.encoders.host_encoder import HostEncoder, HostIntake

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import ClipHead, Timeline

SAMPLE_RATE = 16000
_QUALITY = 90


class JudgeViewIntake(HostIntake):
    """Keeps each wanted frame as a JPEG, once for each size that is asked for."""

    def __init__(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> None:
        super().__init__(head, specs)
        self._shown = {spec: shown_frames(head.timeline, int(spec.settings["frames"])) for spec in self.specs}
        self._pictures: dict[tuple[int, int], bytes] = {}

    @cached_property
    def wanted(self) -> NDArray[np.int64]:
        """The frames that are shown."""
        return np.unique(np.concatenate([np.zeros(0, np.int64), *self._shown.values()]))

    @property
    def held_bytes(self) -> int:
        """Bytes of the pictures so far."""
        return sum(map(len, self._pictures.values()))

    def see(self, index: int, frame: NDArray[np.uint8]) -> None:
        """Make the frame's pictures."""
        sizes = {int(spec.settings["frame_px"]) for spec, shown in self._shown.items() if index in shown}
        self._pictures |= {(index, longest_px): _jpeg(frame, longest_px) for longest_px in sizes}

    def make(self, spec: FeatureSpec) -> Features:
        """The pictures in the order shown, when each is shown, and the sound."""
        shown, longest_px = self._shown[spec], int(spec.settings["frame_px"])
        pictures = [self._pictures[int(index), longest_px] for index in shown]
        line = self.head.timeline
        return {
            "pictures": np.frombuffer(b"".join(pictures), np.uint8),
            "lengths": np.array([len(picture) for picture in pictures], np.int64),
            "times_s": np.array([line.start_of(int(index)) for index in shown]),
            "duration_s": np.array(line.duration_s),
            "sound": self._sound(float(spec.settings["sound_s"])),
        }

    def _sound(self, longest_s: float) -> NDArray[np.int16]:
        """The channels' mean at 16 kHz as 16-bit samples; none for a clip without sound, or where none is asked for.

        Not `preprocessing.mono`: to a judge, a clip without sound is one that it hears nothing of, and no failure.
        """
        sound = self.sound() if longest_s > 0 else None
        if sound is None:
            return np.zeros(0, np.int16)
        import torch

        from javisbench.metrics.encoders.preprocessing.windowed_sinc import resample

        rate = int(self.head.sample_rate or SAMPLE_RATE)
        mono = torch.from_numpy(sound[:, : int(longest_s * rate)].mean(axis=0, dtype=np.float32))
        samples = resample(mono, rate, SAMPLE_RATE).numpy()
        return np.asarray(np.clip(np.rint(samples * 32768), -32768, 32767), dtype=np.int16)


def shown_frames(timeline: Timeline, count: int) -> NDArray[np.int64]:
    """Indices of the frames in the middle of each of `count` equal parts of a clip's time, ascending, each once."""
    length_s = Fraction(timeline.duration_s)
    places = [timeline.frame_at(length_s * (2 * part + 1) / (2 * count)) for part in range(count)]
    return np.unique(np.array(places, np.int64))


def _jpeg(frame: NDArray[np.uint8], longest_px: int) -> bytes:
    from PIL import Image

    picture = Image.fromarray(frame)
    scale = longest_px / max(picture.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


class JudgeViewEncoder(HostEncoder):
    """Frames and sound for a judge, small enough to be sent.

    Features:
        ``view``: ``pictures``, uint8: JPEG files (quality 90, RGB), one after another; ``lengths``, int64 ``(n,)``:
        bytes of each; ``times_s``, float64 ``(n,)``: when each is shown; ``duration_s``; ``sound``, int16 mono at
        16 kHz, empty without any.

    Settings: ``frames`` (one from the middle of each of so many equal parts of the clip's time; fewer where a frame is
    shown for longer), ``frame_px`` (longest side of a picture; smaller ones stay as they are), ``sound_s`` (seconds of
    sound from the start; 0 for none).
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="judge_view", title="Frames and sound for judges", variants={"default": None}, host=True
    )
    intake_type = JudgeViewIntake
