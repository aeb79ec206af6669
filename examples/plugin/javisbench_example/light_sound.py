"""A per-sample metric with a setting, and the encoder that it is computed from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from javisbench.clip import ClipHead
from javisbench.errors import FeatureError, MetricError
from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import EncoderCard, Features, FeatureSpec
from javisbench.metrics.encoders.host_encoder import HostEncoder, HostIntake
from javisbench.protocol import Protocol


class _LightIntake(HostIntake):
    """Sees one clip frame by frame and keeps a number of each."""

    def __init__(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> None:
        super().__init__(head, specs)
        self._light: list[float] = []

    def see(self, index: int, frame: NDArray[np.uint8]) -> None:
        self._light.append(float(frame.mean()) / 255)

    def make(self, spec: FeatureSpec) -> Features:
        sound, rate = self.sound(), self.head.sample_rate
        if sound is None or rate is None:
            raise FeatureError(f"{self.head.name} has no sound to compare its light with.", kind="no_audio")
        line = self.head.timeline
        ends_s = [line.start_of(frame) for frame in range(len(line) + 1)]
        edges = np.clip(np.round(np.array(ends_s) * rate).astype(int), 0, sound.shape[1])
        power = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64).mean(axis=0))])
        heard = np.maximum(np.diff(edges), 1)
        return {
            "light": np.array(self._light),
            "sound": np.sqrt(np.diff(power[edges]) / heard),
            "times_s": np.array(ends_s[:-1]),
        }


class LightEncoder(HostEncoder):
    """Light and sound of each frame.

    Features:
        ``light_and_sound``, all float64 ``(T,)``: ``light``, mean pixel value in [0, 1]; ``sound``, RMS of the samples
        while the frame is shown; ``times_s``, when it is shown, in seconds.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="light", title="Light and sound level", variants={"default": None}, host=True
    )
    intake_type = _LightIntake


@dataclass(frozen=True)
class LightSoundSettings:
    """Settings of `LightSound`.

    Attributes:
        window_s: seconds over which light and sound are averaged before they are compared; 0 for each frame.
    """

    window_s: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.window_s <= 10:
            raise ValueError(f"window_s is between 0 and 10 seconds; got {self.window_s}")


class LightSound(SampleMetric):
    """Correlation of the light of the picture and the level of the sound.

    Pearson's correlation over the clip, after both were averaged over windows of `window_s`.
    """

    settings: ClassVar[type] = LightSoundSettings
    card: ClassVar[MetricCard] = MetricCard(
        id="light_sound",
        title="Light-sound",
        higher_is_better=True,
        value_range=(-1.0, 1.0),
        kind="sample",
        measures="Whether the picture is bright while the sound is loud.",
        blind_to="What is seen and heard; anything but brightness and level.",
        source="an example",
    )

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        return {"levels": FeatureSpec.of("light", "light_and_sound")}

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        settings = context.protocol.mounted("light_sound", LightSoundSettings)
        levels = features["levels"]
        times_s = levels["times_s"].astype(np.float64)
        windows = np.arange(len(times_s))
        if settings.window_s:
            # A frame at the edge of two windows is in the later one, whatever the last digit of its time.
            place = np.floor(times_s / settings.window_s + 1e-6)
            windows = np.unique(place, return_inverse=True)[1]
        counts = np.bincount(windows)
        light, sound = (np.bincount(windows, levels[name]) / counts for name in ("light", "sound"))
        if len(counts) < 3 or not light.std() > 1e-9 or not sound.std() > 1e-9:
            raise MetricError("The light or the sound does not change, so they have no correlation.", kind="constant")
        value = float(np.clip(np.corrcoef(light, sound)[0, 1], -1, 1))
        return SampleScore(value, {"light": tuple(light), "sound": tuple(sound)})
