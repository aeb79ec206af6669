"""What recognisers of speech have in common: they are asked where Silero VAD hears speech, and give one feature."""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from javisbench.errors import FeatureError, UsageError
from javisbench.metrics.encoders.base import Encoded, Features, FeatureSpec, SoundEncoder
from javisbench.metrics.encoders.preprocessing.mono import mono

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import ClipHead

SAMPLE_RATE = 16000
LONGEST_S = 3600.0

Span: TypeAlias = tuple[int, int]
"""First sample of a stretch of speech, and the one after its last."""


class Recogniser(SoundEncoder):
    """Base of recognisers.

    Feature ``transcript``: ``text`` and ``language``, uint8, UTF-8; ``speech_s``, float64, shape ``()``, seconds in
    which Silero VAD hears speech. Where it hears none, the text is empty and the recogniser is not asked: on silence
    and noise it makes words up. Settings: ``vad_threshold``, and ``vad_least_ms``, the shortest speech that counts.

    Sound is the channels' mean at 16 kHz, at most an hour.

    Attributes:
        needs_modules: what it needs besides the module of its card, with jiwer, which compares what is heard.
    """

    needs_modules: ClassVar[tuple[str, ...]] = ("silero_vad", "jiwer")

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self._vad: Any = None

    @classmethod
    def lacking(cls) -> str | None:
        """Silero VAD, or jiwer, which compares what is heard."""
        for module in cls.needs_modules:
            if importlib.util.find_spec(module) is None:
                return (
                    f"{cls.card.title} needs the module {module}, which is not installed: pip install "
                    f"'javisbench[{cls.card.extra}]'"
                )
        return None

    def _load_vad(self) -> None:
        """Open Silero VAD, whose weights come with its package.

        Raises:
            UsageError: it is not installed.
        """
        try:
            from silero_vad import load_silero_vad
        except ImportError as error:
            raise UsageError(
                f"{self.card.title} needs silero-vad ({error}). Install it with: pip install "
                f"'javisbench[{self.card.extra}]'",
                kind="missing_extra",
            ) from error
        self._vad = load_silero_vad(onnx=True)

    def close(self) -> None:
        """Drop the network of voice activity."""
        self._vad = None

    def encode_sounds(self, heads: Sequence[ClipHead], specs: Sequence[FeatureSpec]) -> list[Encoded]:
        """What is said in each clip."""
        if self._vad is None:
            raise UsageError(f"Call {type(self).__name__}.load before encode.")
        for spec in specs:
            if spec.feature != "transcript" or spec.subject != "clip":
                raise UsageError(f"The encoder {self.card.name} has 'transcript' of clips, not {spec.feature!r}.")
        results: list[Encoded] = []
        for head in heads:
            try:
                sound = _mono(head)
                results.append({spec: self._transcript(sound, spec) for spec in specs})
            except FeatureError as error:
                results.append(dict.fromkeys(specs, error))
        return results

    def _transcript(self, sound: NDArray[np.float32], spec: FeatureSpec) -> Features:
        spans = self._spans(sound, spec)
        text, language = self._heard(sound, spans) if spans else ("", "")
        coded = {"text": text, "language": language}
        return {
            **{name: np.frombuffer(value.encode("utf-8"), np.uint8).copy() for name, value in coded.items()},
            "speech_s": np.array(float(sum(end - start for start, end in spans)) / SAMPLE_RATE),
        }

    def _spans(self, sound: NDArray[np.float32], spec: FeatureSpec) -> list[Span]:
        """Where Silero VAD hears speech."""
        import torch
        from silero_vad import get_speech_timestamps

        self._vad.reset_states()
        spans = get_speech_timestamps(
            torch.from_numpy(sound),
            self._vad,
            threshold=float(spec.settings["vad_threshold"]),
            min_speech_duration_ms=int(spec.settings["vad_least_ms"]),
            sampling_rate=SAMPLE_RATE,
        )
        return [(int(span["start"]), int(span["end"])) for span in spans]

    @abstractmethod
    def _heard(self, sound: NDArray[np.float32], spans: Sequence[Span]) -> tuple[str, str]:
        """The text of a sound in which there is speech, and the code of the language that it is taken for.

        Args:
            sound: float32 at 16 kHz, shape ``(samples,)``.
            spans: where Silero VAD hears speech, in order; at least one.
        """


def _mono(clip: ClipHead) -> NDArray[np.float32]:
    """The channels' mean at 16 kHz.

    Raises:
        FeatureError: the clip has no sound, values that are not numbers, or more than an hour of it.
    """
    import torch

    from javisbench.metrics.encoders.preprocessing.windowed_sinc import resample

    samples, rate = mono(clip, "nothing is said", longest_s=LONGEST_S)
    sound: NDArray[np.float32] = resample(torch.from_numpy(samples), rate, SAMPLE_RATE).numpy()
    return sound
