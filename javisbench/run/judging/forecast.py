"""What asking judges would cost, before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from javisbench.errors import JavisbenchError, UsageError
from javisbench.run.judging.asking import Task
from javisbench.run.judging.case import Case, judges_of
from javisbench.run.judging.options import JudgeOptions, Price, dollars

if TYPE_CHECKING:
    from javisbench.run.plan import ScorePlan
    from javisbench.suite import Sample

Tokens: TypeAlias = tuple[float, float]


def price_of(case: Case, options: JudgeOptions) -> Price | None:
    """US dollars for a million tokens sent, and answered: as the options say, else the question set, else None."""
    own = case.metric.questions.price
    return options.price or (None if own is None else (own.input, own.output))


def cost_of(price: Price | None, sent: float, answered: float) -> float | None:
    """US dollars for some tokens; None where no price is known."""
    return None if price is None else (sent * price[0] + answered * price[1]) / 1e6


@dataclass(frozen=True)
class JudgeForecast:
    """What asking one judge would take.

    Attributes:
        metric: its id.
        model: as its maker calls it.
        requests: how many.
        input_tokens: sent.
        output_tokens: answered.
        cost: US dollars; None where no price is known.
        measured: whether the tokens go by earlier answers of the run, not by rule of thumb.
    """

    metric: str
    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    measured: bool = False

    @property
    def line(self) -> str:
        """As a sentence."""
        cost = "price not known (--judge-price)" if self.cost is None else f"about {dollars(self.cost)}"
        how = "by this run's answers so far" if self.measured else "by rule of thumb"
        return (
            f"{self.metric}: {self.requests:,} requests to {self.model}, about {self.input_tokens:,} tokens sent and "
            f"{self.output_tokens:,} answered ({how}), {cost}; tries after answers out of form come on top"
        )


def forecasts(
    tasks: Sequence[Task], options: JudgeOptions, measured: Mapping[tuple[str, str], Tokens] | None = None
) -> list[JudgeForecast]:
    """What some requests would take, by judge.

    Args:
        tasks: the requests.
        options: for the price.
        measured: mean tokens of a request and of its answer, by judge and model, where they are known.
    """
    together: dict[tuple[str, str], list[Task]] = {}
    for task in tasks:
        together.setdefault((task.metric_id, task.case.settings.model_name), []).append(task)
    found = []
    for (metric_id, model), own in together.items():
        known = (measured or {}).get((metric_id, model))
        estimates = [known or task.case.estimate() for task in own]
        sent, answered = (round(sum(column)) for column in zip(*estimates, strict=True))
        cost = cost_of(price_of(own[0].case, options), sent, answered)
        found.append(JudgeForecast(metric_id, model, len(own), sent, answered, cost, known is not None))
    return found


def refuse_over_budget(found: Sequence[JudgeForecast], options: JudgeOptions) -> None:
    """Refuse what would cost more than the budget.

    Raises:
        UsageError: it would, or a budget is given and a price is not known.
    """
    if options.budget is None:
        return
    for forecast in found:
        if forecast.cost is None:
            raise UsageError(
                f"A budget is given and {forecast.metric}'s price is not known. Give it with --judge-price IN,OUT in "
                f"US dollars for a million tokens, or in the question set ([price])."
            )
    total = sum(forecast.cost or 0.0 for forecast in found)
    if total > options.budget:
        raise UsageError(
            f"Asking the judges would cost about {dollars(total)}, and the budget is {dollars(options.budget)}. "
            f"Nothing was asked. Raise --judge-budget, or ask less: --limit, or --protocol NAME+judge:SET.repeats=1."
        )


def forecast_clips(plan: ScorePlan, clips: Sequence[tuple[Sample, int]], options: JudgeOptions) -> list[JudgeForecast]:
    """What judging all of some clips would take, before there are any.

    Args:
        plan: with the judges.
        clips: sample, and which of its clips.
        options: for the price.
    """
    tasks = []
    for metric_id, metric, protocol in judges_of(plan):
        for sample, clip_repeat in clips:
            try:
                case = Case.of(metric, protocol, sample, sample.id, clip_repeat, "")
            except JavisbenchError:
                continue
            tasks += [Task(metric_id, case, repeat, 0, "") for repeat in range(case.settings.repeats)]
    return forecasts(tasks, options)
