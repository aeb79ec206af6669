"""WER, CER and cpCER: how much of what should be said is heard otherwise."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.errors import MetricError
from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.metrics.speech_text import (
    Errors,
    characters_of,
    cpcer,
    errors,
    is_unspaced,
    speakers_of,
    untagged,
    words_of,
)
from javisbench.tasks import SOUND_MADE
from javisbench.transcripts import MAX_SPEAKERS, OWN_RECOGNISERS, Heard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.protocol import Protocol

_BLIND = (
    "The picture, who speaks, when and how well: a flat voice that says the words has none. What the recogniser gets "
    "wrong counts against the model, most in languages that it knows little of. Where no speech is heard, nothing was "
    "said, and every word is missing. Values by two recognisers do not stand beside each other."
)
_HOW = (
    "(substitutions + deletions + insertions) / units of the transcript; text in NFKC, lower case, without punctuation "
    "(speech_rule=basic), heard by Whisper where Silero VAD hears speech, or by another recogniser (recogniser=NAME); "
    "the mean over clips is not clipped"
)

_A_SOUND = {"sound": FeatureSpec.of("sound_level", "level")}


def _card(metric_id: str, title: str, measures: str, units: str, source: str, blind: str = _BLIND) -> MetricCard:
    return MetricCard(
        id=metric_id,
        title=title,
        higher_is_better=False,
        value_range=(0.0, None),
        kind="sample",
        measures=measures,
        blind_to=blind,
        formula=f"{_HOW}. Units: {units}",
        source=source,
        by_default=False,
        group="speech",
        tasks=SOUND_MADE,
    )


class _ErrorRate(SampleMetric):
    """Needs the suite's column ``transcript``; ``language`` (``en``, ``zh``) says where words have no spaces.

    Tags of several speakers (``[S1] Hello. [S2] Goodbye.``) are no words: what is said counts, in order.

    Details: ``substituted``, ``deleted``, ``inserted``, ``units``, and ``speech_s`` where the recogniser is run here.
    """

    needs_columns: ClassVar[tuple[str, ...]] = ("transcript",)
    not_applicable: ClassVar[Mapping[str, str]] = {"no_transcript": "without words to say"}

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """What the recogniser hears; where its transcripts are given, the sound, which a clip must have."""
        settings = protocol.speech
        if settings.recogniser not in OWN_RECOGNISERS:
            return _A_SOUND
        threshold, least_ms = settings.vad_threshold, settings.vad_least_ms
        heard = FeatureSpec.of(settings.recogniser, "transcript", vad_threshold=threshold, vad_least_ms=least_ms)
        return {"heard": heard}

    def lacking(self, protocol: Protocol) -> str | None:
        """The package jiwer."""
        if importlib.util.find_spec("jiwer") is not None:
            return None
        return "Error rates need the package jiwer, which is not installed: pip install 'javisbench[speech]'"

    def units(self, text: str, language: str, context: SampleContext) -> list[str]:
        """What is counted."""
        return words_of(text, language, context.protocol.speech.speech_rule)

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The clip's rate.

        Raises:
            MetricError: the sample has nothing to say, or the transcripts that are given lack the clip.
        """
        columns = {} if context.sample is None else context.sample.extra
        transcript, language = untagged(columns.get("transcript", "")), columns.get("language", "")
        reference = self.units(transcript, language, context)
        if not reference:
            raise MetricError("The sample's transcript is empty.", kind="no_transcript")
        if "heard" in features:
            text = bytes(np.asarray(features["heard"]["text"], np.uint8)).decode("utf-8", "replace")
            known = {"speech_s": (float(np.asarray(features["heard"]["speech_s"])),)}
        else:
            text, known = untagged(_given(context).text), {}
        found = errors(reference, self.units(text, language or _language_of(transcript), context))
        return SampleScore(found.rate, _details(found) | known)

    def facts(
        self,
        values: NDArray[np.float64],
        details: Sequence[Mapping[str, Sequence[float]]],
        prompts: NDArray[np.int64],
        seed: int,
    ) -> dict[str, float]:
        """The rate of all clips' units together, and where that is known the share of clips in which no speech was
        heard.
        """
        edits = sum(float(d[name][0]) for d in details for name in ("substituted", "deleted", "inserted"))
        units = sum(float(d["units"][0]) for d in details)
        pooled = {"pooled": edits / units}
        if not all("speech_s" in d for d in details):
            return pooled
        silent = sum(float(d["speech_s"][0]) == 0 for d in details)
        return {**pooled, "without_speech": silent / len(details)}

    def remark(self, facts: Mapping[str, float]) -> str | None:
        """Both in words."""
        if not facts:
            return None
        told = f"{facts['pooled']:.3f} over all units together"
        if "without_speech" not in facts:
            return told
        return f"{told}; no speech was heard in {100 * facts['without_speech']:.3g} % of the clips"


def _given(context: SampleContext) -> Heard:
    """What the user's own recogniser heard.

    Raises:
        MetricError: the transcripts do not have the clip.
    """
    if context.heard is None:
        raise MetricError("The transcripts that are given have no row of this clip.", kind="not_transcribed")
    return context.heard


def _language_of(transcript: str) -> str:
    """So that the hypothesis is cut as its reference is."""
    return "zh" if is_unspaced(transcript) else "en"


def _details(found: Errors) -> dict[str, tuple[float, ...]]:
    counts = {
        "substituted": found.substituted,
        "deleted": found.deleted,
        "inserted": found.inserted,
        "units": found.units,
    }
    return {name: (float(count),) for name, count in counts.items()}


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


class CpCER(_ErrorRate):
    """Character error rate over speakers, who are paired so that it is least.

    Needs transcripts of a recogniser that says who speaks, and tags ``[S1]``, ``[S2]`` in the suite's ``transcript``.
    """

    card: ClassVar[MetricCard] = _card(
        "cpcer",
        "cpCER",
        "The share of characters that are heard otherwise than the suite's transcript has them, speaker by speaker: "
        "what another voice says in a speaker's place counts as an error.",
        "characters without spaces, joined for each speaker; speakers heard are paired with those of the transcript so "
        "that the errors are fewest, one who is missing with silence",
        "Watanabe et al., CHiME-6, 2020 (cpWER), on characters, as MOVA's table has it",
        blind="The picture, when and how well it is said, and who is who: speakers have no names. What the recogniser "
        "gets wrong counts against the model, its speakers too. MOVA prints the errors of all clips over the "
        "characters of all clips: here a remark beside the mean. Values by two recognisers do not stand beside each "
        "other.",
    )
    not_applicable: ClassVar[Mapping[str, str]] = {
        "no_transcript": "without words to say",
        "no_speakers": "without tags of speakers",
    }

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """The sound, which a clip must have: recognisers that are run here do not say who speaks."""
        return _A_SOUND

    def lacking(self, protocol: Protocol) -> str | None:
        """Transcripts with speakers, or the package jiwer."""
        if protocol.speech.recogniser in OWN_RECOGNISERS:
            return "needs a recogniser that says who speaks: give what it heard with --speech-transcripts NAME=FILE"
        return super().lacking(protocol)

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The clip's rate.

        Raises:
            MetricError: the sample has nothing to say or no tags, or what was heard has no speakers.
        """
        rule = context.protocol.speech.speech_rule
        transcript = "" if context.sample is None else context.sample.extra.get("transcript", "")
        if not characters_of(untagged(transcript), rule):
            raise MetricError("The sample's transcript is empty.", kind="no_transcript")
        if not any(characters_of(said, rule) for said in speakers_of(transcript).values()):
            raise MetricError("The sample's transcript has no tags [S1], [S2].", kind="no_speakers")
        heard = _given(context).tagged
        if characters_of(untagged(heard), rule) and not speakers_of(heard):
            raise MetricError("The transcript that is given for this clip names no speaker.", kind="speakers_unknown")
        if max(len(speakers_of(text)) for text in (transcript, heard)) > MAX_SPEAKERS:
            raise MetricError(f"There are more than {MAX_SPEAKERS} speakers.", kind="too_many_speakers")
        found = cpcer(transcript, heard, rule)
        return SampleScore(found.rate, _details(found))
