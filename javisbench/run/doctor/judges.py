"""Judges before a run: whether they can be asked, and what that would cost. Nothing is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from javisbench.errors import JavisbenchError
from javisbench.run.doctor.findings import Report
from javisbench.run.judging.case import judges_of
from javisbench.run.judging.forecast import forecast_clips
from javisbench.run.judging.options import dollars
from javisbench.run.judging.stage import open_judge

if TYPE_CHECKING:
    from javisbench.run.plan import ScorePlan
    from javisbench.run.scoring_job import ScoringOptions
    from javisbench.suite import Sample


def check_judges(
    report: Report, plan: ScorePlan | None, scoring: ScoringOptions, clips: Sequence[tuple[Sample, int]]
) -> None:
    """Look for the endpoint, and forecast the cost of judging all of some clips.

    Args:
        report: takes the findings.
        plan: what would be scored; None where that cannot be told.
        scoring: how.
        clips: sample, and which of its clips.
    """
    if plan is None or not judges_of(plan):
        return
    try:
        judge = open_judge(scoring.judge)
        try:
            judge.check()
        finally:
            judge.close()
        report.add("ok", "judges", f"a judge can be asked at {judge.where}")
    except JavisbenchError as error:
        report.add("problem", "judges", error.message)
    total = 0.0
    for forecast in forecast_clips(plan, clips, scoring.judge):
        report.add("ok", "judges", f"{forecast.line}. What a run has stored is not asked again.")
        total += forecast.cost or 0.0
    if scoring.judge.budget is not None and total > scoring.judge.budget:
        report.add("problem", "judges", f"about {dollars(total)} are more than --judge-budget allows")
