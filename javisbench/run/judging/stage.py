"""The stage in which judges are asked: what is missing, what that will cost, asking, and what came of it.

Every answer is kept under a key of clip, words, model and sampling, and asked for once. What has the right form counts;
what has not is a failure of that clip with the judge's words, and stays one until its settings change.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import FeatureError, JavisbenchError, UsageError
from javisbench.metrics.judges.inquiry import inquiry
from javisbench.metrics.judges.metric import JudgeMetric
from javisbench.run.judging.answers import FILE, Answers
from javisbench.run.judging.asking import Asking, Task
from javisbench.run.judging.case import Case, judges_of
from javisbench.run.judging.forecast import Tokens, cost_of, forecast_clips, forecasts, price_of, refuse_over_budget
from javisbench.run.judging.options import LOCAL, URL_VARIABLE, JudgeOptions

if TYPE_CHECKING:
    from javisbench.metrics.base import SampleMetric
    from javisbench.metrics.encoders.base import Features, FeatureSpec
    from javisbench.run.judging.judge import Judge, Reply
    from javisbench.run.plan import ScorePlan
    from javisbench.run.progress import Progress
    from javisbench.suite import Sample

log = logging.getLogger(__name__)
JUDGING = "asking judges"


def open_judge(options: JudgeOptions, device: str = "cpu") -> Judge:
    """The judge that the options name, local models on `device`; nothing is asked yet.

    Raises:
        UsageError: they name none, or it cannot be had here.
    """
    place = options.place
    if place is None:
        raise UsageError(
            f"A judge is asked for, and nobody said where it is. Give the URL of an OpenAI-compatible endpoint with "
            f"--judge-url or in ${URL_VARIABLE} (a local vLLM: http://localhost:8000/v1), or --judge-url "
            f"{LOCAL}FOLDER for a model's folder.",
            kind="no_endpoint",
        )
    if place.startswith(LOCAL):
        from javisbench.run.judging.local_model import LocalModel

        return LocalModel(Path(place.removeprefix(LOCAL)).expanduser(), device)
    from javisbench.run.judging.endpoint import Endpoint

    return Endpoint(place, options)


def check_judges(plan: ScorePlan, run: Path, options: JudgeOptions, clips: Sequence[tuple[Sample, int]]) -> None:
    """Before clips are made or read: see whether the judges of a plan can be asked, and whether the budget is enough.

    A run that has answers may need few or none: then that is seen when it is known what is missing.

    Args:
        plan: what will be scored.
        run: the run's folder.
        options: how judges are asked.
        clips: those that there are or will be: sample, and which of its clips.

    Raises:
        UsageError: there is no endpoint, its key is wrong, or the budget too small.
    """
    if not judges_of(plan) or not options.ask:
        return
    if options.budget is not None and not (run / FILE).is_file():
        refuse_over_budget(forecast_clips(plan, clips, options), options)
    try:
        judge = open_judge(options)
        try:
            judge.check()
        finally:
            judge.close()
    except UsageError as error:
        if not (run / FILE).is_file():
            raise
        log.info("%s", error.message)


@dataclass
class Judging:
    """The judges of one job.

    Attributes:
        run: the run's folder.
        plan: which judges there are.
        options: how they are asked.
        patience_s: seconds that an endpoint may be out of reach.
        device: torch device of local models.
    """

    run: Path
    plan: ScorePlan
    options: JudgeOptions
    patience_s: float
    device: str = "cpu"
    _cases: dict[tuple[str, str, str, int], Case | JavisbenchError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._answers = Answers(self.run, self.patience_s) if judges_of(self.plan) else None

    def add(self, sample: Sample, label: str, clip_repeat: int, content: str) -> None:
        """Put a clip before all judges."""
        for metric_id, metric, protocol in judges_of(self.plan):
            found: Case | JavisbenchError
            try:
                found = Case.of(metric, protocol, sample, label, clip_repeat, content)
            except JavisbenchError as error:
                found = error
            self._cases[protocol.name, metric_id, sample.id, clip_repeat] = found

    def answers(
        self, protocol: str, metric_id: str, metric: SampleMetric, sample_id: str, clip_repeat: int
    ) -> tuple[dict[str, int], ...]:
        """What a judge said of a clip, by repeat; nothing for a metric that is no judge.

        Raises:
            FeatureError: it did not answer in form, or was not asked.
            MetricError: nothing is asked of this clip.
        """
        if not isinstance(metric, JudgeMetric) or self._answers is None:
            return ()
        case = self._cases[protocol, metric_id, sample_id, clip_repeat]
        if isinstance(case, JavisbenchError):
            raise case
        try:
            return case.answers(self._answers)
        except FeatureError:
            reasons = map(self._answers.rejection, self._keys(case))
            reason = next((reason for reason in reasons if reason is not None), None)
            if reason is None:
                raise
            raise FeatureError(f"This clip was not judged: {reason}", kind="judge_rejected") from None

    @staticmethod
    def _keys(case: Case) -> Iterator[str]:
        own = case.settings
        yield from (case.key(repeat, attempt) for repeat in range(own.repeats) for attempt in range(own.tries))

    def ask(self, view: Callable[[str, FeatureSpec], Features], progress: Progress) -> None:
        """Ask what is missing.

        Args:
            view: gives what a judge sees of a clip, by its content; raises `FeatureError` where there is nothing.
            progress: shown to the user.

        Raises:
            UsageError: no endpoint, wrong key, unknown model, or a budget that the forecast exceeds. Nothing was paid.
            SystemFaultError: the endpoint is out of reach, or the budget is spent; the same command goes on later.
        """
        if self._answers is None or not self.options.ask:
            return
        tasks = list(self._missing())
        # Where nobody can be asked, what was not taken before stays so.
        untaken = all(self._answers.rejection(task.key) is not None for task in tasks)
        if not tasks or (untaken and self.options.place is None):
            return
        self._tell(tasks, progress)
        judge = open_judge(self.options, self.device)
        try:
            judge.check()
            with progress.stage(JUDGING, len(tasks), "requests") as stage:
                asking = Asking(
                    judge, self._answers, self.options, self.patience_s, stage, self._spent, works=self._has_worked()
                )
                asking.run(tasks, self._viewing(view))
        finally:
            judge.close()

    def _missing(self) -> Iterator[Task]:
        """The answers that are not there, each once, though several protocols or equal clips may want it."""
        assert self._answers is not None
        seen = set()
        for (_, metric_id, _, _), case in self._cases.items():
            if isinstance(case, JavisbenchError):
                continue
            for repeat in range(case.settings.repeats):
                attempt = case.next_attempt(repeat, self._answers)
                if attempt is not None and (key := case.key(repeat, attempt)) not in seen:
                    seen.add(key)
                    yield Task(metric_id, case, repeat, attempt, key)

    def _has_worked(self) -> bool:
        """Whether any such request was answered by an earlier job."""
        assert self._answers is not None
        cases = (case for case in self._cases.values() if isinstance(case, Case))
        return any(key in self._answers for case in cases for key in self._keys(case))

    @staticmethod
    def _viewing(view: Callable[[str, FeatureSpec], Features]) -> Callable[[Task], Any]:
        def shown(task: Task) -> Any:
            case = task.case
            features = view(case.content, case.spec)
            limit = case.metric.questions.token_limit
            return inquiry(case.words, features, case.settings, limit, task.repeat, task.attempt, task.key)

        return shown

    def _spent(self, task: Task, reply: Reply) -> float:
        """US dollars that a reply has cost, as far as is known."""
        return cost_of(price_of(task.case, self.options), reply.input_tokens, reply.output_tokens) or 0.0

    def _tell(self, tasks: Sequence[Task], progress: Progress) -> None:
        """The forecast, a line a judge.

        Raises:
            UsageError: it exceeds the budget, or there is a budget and no price.
        """
        found = forecasts(tasks, self.options, self._measured())
        for forecast in found:
            progress.say(forecast.line)
        refuse_over_budget(found, self.options)

    def _measured(self) -> dict[tuple[str, str], Tokens]:
        """Mean tokens of a request and of its answer, by judge and model, where earlier answers tell."""
        assert self._answers is not None
        found: dict[tuple[str, str], list[Tokens]] = {}
        for (_, metric_id, _, _), case in self._cases.items():
            if not isinstance(case, JavisbenchError):
                replies = [self._answers.get(key) for key in self._keys(case) if key in self._answers]
                told = [(reply.input_tokens, reply.output_tokens) for reply in replies if reply.input_tokens]
                found.setdefault((metric_id, case.settings.model_name), []).extend(told)
        return {
            judge: (sum(sent for sent, _ in told) / len(told), sum(answered for _, answered in told) / len(told))
            for judge, told in found.items()
            if told
        }

    def facts(self, protocol: str) -> dict[str, dict[str, Any]]:
        """For a protocol's summary: of each judge its set, model, and what answering took, tries out of form too."""
        if self._answers is None:
            return {}
        found: dict[str, dict[str, Any]] = {}
        for (name, metric_id, _, _), case in self._cases.items():
            if isinstance(case, JavisbenchError) or name != protocol:
                continue
            questions, own = case.metric.questions, case.settings
            fact = found.setdefault(
                metric_id,
                {"title": questions.title, "source": questions.source, "model": own.model_name, "answers": 0,
                 "input_tokens": 0, "output_tokens": 0, "served": []},
            )  # fmt: skip
            for key in dict.fromkeys(self._keys(case)):
                if key in self._answers:
                    reply = self._answers.get(key)
                    fact["answers"] += 1
                    fact["input_tokens"] += reply.input_tokens
                    fact["output_tokens"] += reply.output_tokens
                    fact["served"] = sorted({*fact["served"], reply.model} - {""})
        return found


def served_otherwise(facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What should be known of judges whose endpoint calls its model otherwise than the question set."""
    told = []
    for metric_id, fact in facts.items():
        wanted = str(fact["model"]).rpartition("/")[2].lower()
        others = [name for name in fact["served"] if wanted not in name.lower()]
        if others:
            told.append(f"{metric_id} was to be {fact['model']}; the endpoint says that {', '.join(others)} answered.")
    return told
