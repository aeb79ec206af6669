"""Faster precision, on trial: it keeps the protocol's name only when the run's own clips show no difference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.matching import Matched
from javisbench.run.plan import ProtocolPlan, ScorePlan
from javisbench.run.score import ScoreSettings, score_values

if TYPE_CHECKING:
    from javisbench.run.progress import Progress
    from javisbench.suite import Suite

TRIAL_CLIPS = 64


def try_precision(
    run: Path, suite: Suite, matched: Matched, plan: ScorePlan, settings: ScoreSettings, progress: Progress
) -> list[dict[str, Any]]:
    """Score the first 64 clips in fp32 and in the faster precision; rename protocols where a score moved too far.

    Both sets of features stay in the run's store, so the trial costs the fp32 pass over those clips alone.

    Args:
        run: the run's folder, locked by the caller.
        suite: the prompts.
        matched: the clips.
        plan: its protocols get derived names (``+bf16``, ``+fp16``) where a deviation exceeds their tolerance.
        settings: with the faster precision.
        progress: shown to the user.

    Returns:
        one record a protocol: precision, clips tried, tolerance, and the largest deviation of each metric.
    """
    tried = Matched(tuple(item for item in matched.items if item.source is not None)[:TRIAL_CLIPS], (), matched.how)
    parts = [_affected(part, plan) for part in plan.parts]
    trial = ScorePlan(parts, plan.encoders)
    progress.say(f"Trying {settings.precision} against fp32 on {len(tried.items)} clips")
    slow = score_values(run, suite, tried, trial, replace(settings, precision="fp32"), progress)
    fast = score_values(run, suite, tried, trial, settings, progress)
    records = []
    for part, ours, theirs in zip(plan.parts, fast, slow, strict=True):
        # A metric of another package that failed has no values.
        both = [metric for metric in ours.values if metric in theirs.values]
        deviations = {metric: _largest(ours.values[metric], theirs.values[metric]) for metric in both}
        tolerance = part.protocol.precision_tolerance
        within = all(value <= tolerance for value in deviations.values())
        if not within:
            part.protocol = part.protocol.derived(settings.precision)
        records.append(
            {
                "precision": settings.precision,
                "clips_tried": len(tried.items),
                "tolerance": tolerance,
                "largest_deviation": deviations,
                "within_tolerance": within,
            }
        )
    return records


def _affected(part: ProtocolPlan, plan: ScorePlan) -> ProtocolPlan:
    """The per-sample metrics of an encoder that computes in the faster precision."""
    metrics = {
        metric_id: metric
        for metric_id, metric in part.sample_metrics.items()
        if any(plan.encoders[spec.encoder].cls.card.reduced_precision for spec in part.specs(metric_id).values())
    }
    return ProtocolPlan(part.protocol, metrics)


def _largest(ours: Any, theirs: Any) -> float:
    """Largest difference; a clip with a value in one precision alone counts as one."""
    import numpy as np

    if (np.isnan(ours) != np.isnan(theirs)).any():
        return 1.0
    gaps = np.abs(ours - theirs)
    return float(np.nanmax(gaps)) if np.isfinite(gaps).any() else 0.0
