"""WER and CER: how much of what should be said is heard otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.errors import MetricError
from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.metrics.speech_text import Errors, characters_of, errors, untagged, words_of
from javisbench.tasks import SOUND_MADE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.protocol import Protocol

_BLIND = (
    "The picture, who speaks, when and how well: a flat voice that says the words has none. What the recogniser gets "
    "wrong counts against the model, most in languages that it knows little of. Where no speech is heard, nothing was "
    "said, and every word is missing."
)
_HOW = (
    "(substitutions + deletions + insertions) / units of the transcript; text in NFKC, lower case, without punctuation "
    "(speech_rule=basic), heard by Whisper where Silero VAD hears speech; the mean over clips is not clipped"
)


def _card(metric_id: str, title: str, measures: str, units: str, source: str) -> MetricCard:
    return MetricCard(
        id=metric_id,
        title=title,
        higher_is_better=False,
        value_range=(0.0, None),
        kind="sample",
        measures=measures,
        blind_to=_BLIND,
        formula=f"{_HOW}. Units: {units}",
        source=source,
        by_default=False,
        group="speech",
        tasks=SOUND_MADE,
    )


class _ErrorRate(SampleMetric):
    """Needs the suite's column ``transcript``; ``language`` (``en``, ``zh``) says where words have no spaces.

    Tags of several speakers (``[S1] Hello. [S2] Goodbye.``) are no words: what is said counts, in order.

    Details: ``substituted``, ``deleted``, ``inserted``, ``units``, ``speech_s``.
    """

    needs_columns: ClassVar[tuple[str, ...]] = ("transcript",)
    not_applicable: ClassVar[Mapping[str, str]] = {"no_transcript": "without words to say"}

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """What Whisper hears."""
        settings = protocol.speech
        return {
            "heard": FeatureSpec.of(
                "whisper", "transcript", vad_threshold=settings.vad_threshold, vad_least_ms=settings.vad_least_ms
            )
        }

    def units(self, text: str, language: str, context: SampleContext) -> list[str]:
        """What is counted."""
        return words_of(text, language, context.protocol.speech.speech_rule)

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The clip's rate.

        Raises:
            MetricError: the sample has nothing to say.
        """
        columns = {} if context.sample is None else context.sample.extra
        transcript, language = untagged(columns.get("transcript", "")), columns.get("language", "")
        reference = self.units(transcript, language, context)
        if not reference:
            raise MetricError("The sample's transcript is empty.", kind="no_transcript")
        text = bytes(np.asarray(features["heard"]["text"], np.uint8)).decode("utf-8", "replace")
        found = errors(reference, self.units(text, language or _language_of(transcript), context))
        speech_s = float(np.asarray(features["heard"]["speech_s"]))
        return SampleScore(found.rate, _details(found, speech_s))

    def facts(
        self,
        values: NDArray[np.float64],
        details: Sequence[Mapping[str, Sequence[float]]],
        prompts: NDArray[np.int64],
        seed: int,
    ) -> dict[str, float]:
        """The rate of all clips' units together, and the share of clips in which no speech was heard."""
        edits = sum(float(d[name][0]) for d in details for name in ("substituted", "deleted", "inserted"))
        units = sum(float(d["units"][0]) for d in details)
        silent = sum(float(d["speech_s"][0]) == 0 for d in details)
        return {"pooled": edits / units, "without_speech": silent / len(details)}

    def remark(self, facts: Mapping[str, float]) -> str | None:
        """Both in words."""
        if not facts:
            return None
        return (
            f"{facts['pooled']:.3f} over all units together; no speech was heard in "
            f"{100 * facts['without_speech']:.3g} % of the clips"
        )


def _language_of(transcript: str) -> str:
    """So that the hypothesis is cut as its reference is."""
    from javisbench.metrics.speech_text import is_unspaced

    return "zh" if is_unspaced(transcript) else "en"


def _details(found: Errors, speech_s: float) -> dict[str, tuple[float, ...]]:
    counts = {
        "substituted": found.substituted,
        "deleted": found.deleted,
        "inserted": found.inserted,
        "units": found.units,
    }
    return {**{name: (float(count),) for name, count in counts.items()}, "speech_s": (speech_s,)}


class WER(_ErrorRate):
    """Word error rate; of characters in languages that are written without spaces."""

    card: ClassVar[MetricCard] = _card(
        "wer",
        "WER",
        "The share of words that are heard otherwise than the suite's transcript has them; above 1 where more is said "
        "than there should be.",
        "words; characters in languages that are written without spaces, where a sentence would be one word",
        "Radford et al. 2023 (recogniser); Morris et al., From WER and RIL to MER and WIL, Interspeech 2004",
    )


class CER(_ErrorRate):
    """Character error rate."""

    card: ClassVar[MetricCard] = _card(
        "cer",
        "CER",
        "The share of characters that are heard otherwise than the suite's transcript has them, spaces left out.",
        "characters without spaces",
        "Radford et al. 2023 (recogniser)",
    )

    def units(self, text: str, language: str, context: SampleContext) -> list[str]:
        """Characters."""
        return characters_of(text, context.protocol.speech.speech_rule)
