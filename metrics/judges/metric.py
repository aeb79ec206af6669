"""The score of a clip from a judge's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.agreement import alpha
from javisbench.errors import MetricError
from javisbench.metrics.base import MetricCard, SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Features, FeatureSpec
from javisbench.metrics.judges.question_set import Question, QuestionSet
from javisbench.metrics.judges.settings import JudgeSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.protocol import Protocol
    from javisbench.suite import Sample

PREFIX = "judge"
_ANSWER = "answer."
_GROUP = "group."
_MAX_GROUPS = 30


class JudgeMetric(SampleMetric):
    """The weighted mean of a judge's answers, each as a share of the best one, over all repeats.

    Details: ``answer.ID`` of every question, from 0 to 1, one value a repeat; ``group.NAME``, the group's weighted
    mean.

    Attributes:
        questions: what is asked.
    """

    questions: ClassVar[QuestionSet]
    not_applicable: ClassVar[Mapping[str, str]] = {"no_questions": "without questions"}

    def settings_in(self, protocol: Protocol) -> JudgeSettings:
        """Model, sampling and view as the protocol has them."""
        return protocol.mounted(self.card.id, self.questions.settings)

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """Frames and sound of the clip."""
        own = self.settings_in(protocol)
        sound_s = own.sound_s if own.sound else 0.0
        spec = FeatureSpec.of("judge_view", "view", frames=own.frames, frame_px=own.frame_px, sound_s=sound_s)
        return {"view": spec}

    def asked_of(self, sample: Sample | None, protocol: Protocol) -> tuple[Question, ...]:
        """The questions about a sample's clip.

        Raises:
            MetricError: there are none, its own cell holds no list of questions, or it has no prompt to judge by.
        """
        if self.needs_prompt and sample is not None and not sample.text:
            raise MetricError("The sample has no prompt.", kind="no_prompt")
        found = self.questions.asked_of(sample, sound=self.settings_in(protocol).sound)
        if not found:
            raise MetricError("No question applies to this sample.", kind="no_questions")
        return found

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The clip's score, from 0 to 1.

        Raises:
            MetricError: no question applies to it, or nobody has asked a judge.
        """
        questions = self.asked_of(context.sample, context.protocol)
        if not context.answers:
            raise MetricError("No judge has answered about this clip.", kind="not_asked")
        shares = {q.id: [q.share(answers[q.id]) for answers in context.answers] for q in questions}
        groups = _group_means(questions, shares)
        value = float(np.mean([*groups.values()])) if self.questions.average == "groups" else _mean(questions, shares)
        named = {f"{_GROUP}{name}": (mean,) for name, mean in groups.items() if name}
        return SampleScore(value, {**{f"{_ANSWER}{name}": tuple(own) for name, own in shares.items()}, **named})

    def facts(
        self,
        values: NDArray[np.float64],
        details: Sequence[Mapping[str, Sequence[float]]],
        prompts: NDArray[np.int64],
        seed: int,
    ) -> dict[str, float]:
        """Means of the groups, and how far repeats agree.

        ``repeat_agreement``: the share of pairs of repeats that answer a question about a clip alike;
        ``repeat_alpha``: Krippendorff's alpha of the repeats, 1 for full agreement, 0 for what chance gives;
        ``repeat_alpha_low`` and ``_high``: its interval over prompts.
        """
        groups: dict[str, list[float]] = {}
        units: list[list[float]] = []
        asked_by: list[int] = []
        for own, prompt in zip(details, prompts.tolist(), strict=True):
            for name, numbers in own.items():
                if name.startswith(_GROUP):
                    groups.setdefault(name.removeprefix(_GROUP), []).append(float(numbers[0]))
                elif name.startswith(_ANSWER) and len(numbers) > 1:
                    units.append([float(number) for number in numbers])
                    asked_by.append(int(prompt))
        found = {f"mean_{name}": float(np.mean(groups[name])) for name in sorted(groups)[:_MAX_GROUPS]}
        pairs = [first == second for unit in units for first, second in combinations(unit, 2)]
        if pairs:
            found["repeat_agreement"] = float(np.mean(pairs))
        return {**found, **_alpha(units, asked_by, seed)}

    def remark(self, facts: Mapping[str, float]) -> str | None:
        """The groups, and the agreement of repeats, in words."""
        return remark_on(facts)


def remark_on(facts: Mapping[str, float]) -> str | None:
    """What a judge's facts say, in words; the question set need not be at hand."""
    means = [f"{name.removeprefix('mean_')} {mean:.3f}" for name, mean in facts.items() if name.startswith("mean_")]
    told = [", ".join(means)] if means else []
    if "repeat_agreement" in facts:
        beside = f" (alpha {facts['repeat_alpha']:.2f})" if "repeat_alpha" in facts else ""
        told.append(f"repeats agree on {100 * facts['repeat_agreement']:.3g} % of the answers{beside}")
    return "; ".join(told) or None


def _mean(questions: Sequence[Question], shares: Mapping[str, Sequence[float]]) -> float:
    weights = [question.weight for question in questions]
    return float(np.average([np.mean(shares[question.id]) for question in questions], weights=weights))


def _group_means(questions: Sequence[Question], shares: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Group to weighted mean; questions without a group make one that is called ''."""
    members: dict[str, list[Question]] = {}
    for question in questions:
        members.setdefault(question.group, []).append(question)
    return {name: _mean(own, shares) for name, own in members.items()}


def _alpha(units: Sequence[Sequence[float]], prompts: Sequence[int], seed: int) -> dict[str, float]:
    """Krippendorff's alpha of the answers to each question about each clip, with its interval where there is one."""
    lengths = [len(unit) for unit in units]
    values = np.array([value for unit in units for value in unit], np.float64)
    found = alpha(values, np.repeat(np.arange(len(units)), lengths), np.repeat(prompts, lengths), seed=seed)
    named = {"repeat_alpha": found.value, "repeat_alpha_low": found.ci_low, "repeat_alpha_high": found.ci_high}
    return {name: value for name, value in named.items() if value is not None}


def judge_metric(questions: QuestionSet) -> type[JudgeMetric]:
    """The metric of a question set."""
    card = MetricCard(
        id=f"{PREFIX}:{questions.id}",
        title=f"Judge: {questions.title}",
        higher_is_better=True,
        value_range=(0.0, 1.0),
        kind="sample",
        measures=f"What a multimodal model answers about a clip. {questions.about}".strip(),
        blind_to=(
            "What the model cannot see in a few frames or hear, and what it takes for granted: it may favour clips "
            "like those that it was trained on, read text in the picture as a claim, and differ from people. Compare "
            "values of one model and question set alone, and look at the agreement of its repeats."
        ),
        source=questions.source or "a question set of one's own",
        by_default=False,
        formula="weighted mean over questions and repeats of (answer - worst) / (best - worst)"
        if questions.average == "questions"
        else "mean over groups of the weighted mean over questions and repeats of (answer - worst) / (best - worst)",
        group="judges",
    )
    own = questions.per_sample
    members = {
        "card": card,
        "settings": questions.settings,
        "questions": questions,
        "needs_prompt": questions.shows_prompt,
        "needs_columns": () if questions.questions or own is None else (own.column,),
        "__doc__": JudgeMetric.__doc__,
    }
    found = type("JudgeMetricOfCard", (JudgeMetric,), members)
    assert issubclass(found, JudgeMetric)
    return found
