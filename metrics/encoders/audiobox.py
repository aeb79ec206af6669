"""Audiobox Aesthetics: four ratings of a sound, through the package `audiobox-aesthetics` (extra ``audio-quality``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.encoders.base import Encoded, EncoderCard, FeatureSpec, Intake, Stream, StreamEncoder
from javisbench.metrics.encoders.intakes import PreparedSounds

if TYPE_CHECKING:
    from torch import Tensor

    from javisbench.clip import ClipHead

AXES = ("CE", "CU", "PC", "PQ")
SAMPLE_RATE = 16000
CHECKPOINT = "checkpoint.pt"
# What a windowed-sinc resampler makes of a signal that is one sample long: the height of its filter.
_FILTER_HEIGHT = 0.99
_SOUNDS_AT_ONCE = 16


class AudioboxEncoder(StreamEncoder):
    """Audiobox Aesthetics.

    Feature ``axes``: ``ratings``, float64, shape ``(4,)``: content enjoyment (CE), content usefulness (CU), production
    complexity (PC), production quality (PQ), each on a scale meant to run from 1 to 10. Settings: ``max_audio_len_s``
    (sound is cut, or followed by silence, to it) and ``quality_resampling``: ``resample`` brings sound to 16 kHz;
    ``gain`` scales it by ``0.99 min(1, 16000 / rate)`` and takes its samples for samples at 16 kHz, as the reference
    evaluation does.

    Weights: ``checkpoint.pt`` of facebook/audiobox-aesthetics, or a folder that holds it. The package opens it.

    Source: Tjandra et al., Meta Audiobox Aesthetics, arXiv:2502.05139.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="audiobox",
        title="Audiobox Aesthetics",
        variants={"official": "audiobox_aesthetics"},
        licence="CC BY 4.0",
        source="Tjandra et al., Meta Audiobox Aesthetics, arXiv:2502.05139",
        extra="audio-quality",
        module="audiobox_aesthetics",
    )

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self._predictor: Any = None

    def load(self, weights: Path | None, device: str) -> None:
        """Let the package read the checkpoint, and move its network to `device`.

        Raises:
            UsageError: the package, or the torchaudio that it needs, cannot be imported.
            WeightsError: no checkpoint was given, or the package cannot read it.
        """
        import torch

        if weights is None:
            raise WeightsError("Audiobox Aesthetics needs its weights; give the path of checkpoint.pt.")
        path = weights / CHECKPOINT if weights.is_dir() else weights
        if not path.is_file():  # the package would download it
            raise WeightsError(f"There is no checkpoint of Audiobox Aesthetics at {path}. Check the path.")
        try:
            from audiobox_aesthetics.infer import initialize_predictor
        except (ImportError, OSError) as error:
            raise UsageError(
                f"Audiobox Aesthetics cannot be imported ({error}). Install it with pip install "
                "'javisbench[audio-quality]', together with a torchaudio built for the installed torch.",
                kind="missing_extra",
            ) from error
        try:
            predictor = initialize_predictor(str(path))
        except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{path} is no checkpoint of Audiobox Aesthetics ({error}). Fetch it again.") from error
        # The package chooses a device of its own.
        predictor.model.to(device)
        predictor.device = torch.device(device)
        self._predictor = predictor

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        """The sound alone."""
        return "sound"

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        """The sound as the network hears it."""
        for spec in specs:
            if spec.feature != "axes" or spec.subject != "clip":
                raise UsageError(f"The encoder audiobox has 'axes' of clips only, not {spec.feature!r}.")
        return PreparedSounds(head, specs, waveform)

    def features(self, intakes: Sequence[Intake]) -> list[Encoded]:
        """The ratings of each clip's sound."""
        if self._predictor is None:
            raise UsageError("Call AudioboxEncoder.load before encode.")
        clips = cast("Sequence[PreparedSounds]", intakes)
        results: list[Encoded] = [dict(clip.errors) for clip in clips]
        for spec in clips[0].specs if clips else ():
            places = [place for place, clip in enumerate(clips) if spec in clip.sounds]
            for place, ratings in zip(places, self._rate([clips[p].sounds[spec] for p in places]), strict=True):
                results[place][spec] = {"ratings": ratings}
        return results

    def close(self) -> None:
        """Drop the network."""
        self._predictor = None

    def _rate(self, waveforms: Sequence[Tensor]) -> list[Any]:
        rows: list[Mapping[str, float]] = []
        for start in range(0, len(waveforms), _SOUNDS_AT_ONCE):
            batch = waveforms[start : start + _SOUNDS_AT_ONCE]
            rows += self._predictor.forward([{"path": sound, "sample_rate": SAMPLE_RATE} for sound in batch])
        return [np.array([row[axis] for axis in AXES], dtype=np.float64) for row in rows]


def waveform(clip: ClipHead, spec: FeatureSpec) -> Tensor:
    """What the network hears of `clip`: float32, shape ``(1, floor(16000 max_audio_len_s))``.

    Raises:
        FeatureError: the clip has no sound.
    """
    import torch

    from javisbench.metrics.encoders.preprocessing.windowed_sinc import resample

    if clip.audio is None or not clip.sample_rate or clip.audio.shape[1] == 0:
        raise FeatureError(f"{clip.name} has no sound, so there is no audio quality.", kind="no_audio")
    mono = torch.from_numpy(np.ascontiguousarray(clip.audio)).mean(dim=0)
    if spec.settings["quality_resampling"] == "resample":
        mono = resample(mono, clip.sample_rate, SAMPLE_RATE)
    elif clip.sample_rate != SAMPLE_RATE:
        mono = mono * (_FILTER_HEIGHT * min(1.0, SAMPLE_RATE / clip.sample_rate))
    total = math.floor(SAMPLE_RATE * float(spec.settings["max_audio_len_s"]))
    mono = mono[:total]
    return torch.nn.functional.pad(mono, (0, total - mono.shape[0]))[None]
