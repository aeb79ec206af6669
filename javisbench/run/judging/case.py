"""One clip before one judge: what is asked, under which key each answer is kept, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from javisbench.errors import FeatureError
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.judges.inquiry import Words, answer_key, excerpt, read_answers, words_of
from javisbench.metrics.judges.metric import JudgeMetric

if TYPE_CHECKING:
    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.metrics.judges.question_set import Question
    from javisbench.metrics.judges.settings import JudgeSettings
    from javisbench.protocol import Protocol
    from javisbench.run.judging.answers import Answers
    from javisbench.run.judging.judge import Reply
    from javisbench.run.plan import ScorePlan
    from javisbench.suite import Sample

# What a request takes, as long as no answer has told: text in English, a picture in patches of 28 pixels, sound at 25
# tokens a second, and a short sentence with each answer.
_CHARACTERS_A_TOKEN = 4
_PATCH_PX = 28
_TOKENS_A_SECOND = 25
_TOKENS_AN_ANSWER = 40


@dataclass(frozen=True)
class Case:
    """One clip before one judge.

    Attributes:
        metric: the judge's.
        settings: as the protocol has them.
        sample: the row of the suite.
        label: the clip's, for the count of failures.
        clip_repeat: which clip of the sample.
        content: hash of the clip's files.
        spec: what the judge sees of it.
        questions: what is asked.
        words: in which words.
    """

    metric: JudgeMetric
    settings: JudgeSettings
    sample: Sample
    label: str
    clip_repeat: int
    content: str
    spec: FeatureSpec
    questions: tuple[Question, ...]
    words: Words

    @classmethod
    def of(
        cls, metric: JudgeMetric, protocol: Protocol, sample: Sample, label: str, clip_repeat: int, content: str
    ) -> Case:
        """The case of a clip.

        Raises:
            MetricError: nothing is asked of it.
        """
        questions = metric.asked_of(sample, protocol)
        words = words_of(questions, metric.questions, sample.text)
        spec = metric.needs(protocol)["view"]
        own = metric.settings_in(protocol)
        return cls(metric, own, sample, label, clip_repeat, content, spec, questions, words)

    def key(self, repeat: int, attempt: int) -> str:
        """Of one answer."""
        view = [ENCODERS.get(self.spec.encoder).card.revision, *map(list, self.spec.prep)]
        return answer_key(self.words, self.settings, self.content, view, repeat, attempt)

    def answers(self, answers: Answers) -> tuple[dict[str, int], ...]:
        """What the judge said, by repeat.

        Raises:
            FeatureError: it did not answer in form, or was not asked; the message holds its words.
        """
        return tuple(self._answer(repeat, answers) for repeat in range(self.settings.repeats))

    def _answer(self, repeat: int, answers: Answers) -> dict[str, int]:
        failure = FeatureError("No judge was asked about this clip.", kind="not_asked")
        for attempt in range(self.settings.tries):
            key = self.key(repeat, attempt)
            if key not in answers:
                break
            try:
                return read_reply(answers.get(key), self.questions)
            except FeatureError as error:
                failure = error
        raise failure

    def next_attempt(self, repeat: int, answers: Answers) -> int | None:
        """Which try of a repeat is to be made; None where it is answered, or has had all its tries."""
        for attempt in range(self.settings.tries):
            key = self.key(repeat, attempt)
            if key not in answers:
                return attempt
            try:
                read_reply(answers.get(key), self.questions)
            except FeatureError:
                continue
            return None
        return None

    def estimate(self) -> tuple[int, int]:
        """Tokens of a request and of its answer, by rule of thumb."""
        text = len(self.words.rules) + len(self.words.prompt) + len(self.words.questions)
        own = self.settings
        picture = (own.frame_px / _PATCH_PX) ** 2 * 9 / 16
        sound = _TOKENS_A_SECOND * min(own.sound_s, 10.0) if own.sound else 0
        sent = text / _CHARACTERS_A_TOKEN + own.frames * picture + sound
        return math.ceil(sent), min(own.max_tokens, _TOKENS_AN_ANSWER * len(self.questions))


def read_reply(reply: Reply, questions: Sequence[Question]) -> dict[str, int]:
    """Question to answer.

    Raises:
        FeatureError: a refusal, an answer cut short, or one out of form; the message holds the judge's words.
    """
    if reply.refusal or reply.finish == "content_filter":
        said = excerpt(reply.refusal or reply.text or reply.finish)
        raise FeatureError(f"The judge declined to answer. It said: {said}", kind="judge_refused")
    if reply.finish == "length":
        raise FeatureError(
            f"The judge's answer was cut short: it is longer than max_tokens. It said: {excerpt(reply.text)}",
            kind="judge_cut",
        )
    return read_answers(reply.text, questions)


def judges_of(plan: ScorePlan) -> list[tuple[str, JudgeMetric, Protocol]]:
    """The judges of a plan, with their ids and protocols."""
    return [
        (metric_id, metric, part.protocol)
        for part in plan.parts
        for metric_id, metric in part.sample_metrics.items()
        if isinstance(metric, JudgeMetric)
    ]
