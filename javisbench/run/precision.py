"""Faster precision and compiled networks, on trial: a protocol keeps its name only when the run's own clips show no
difference.

Scores of single clips are compared as they are. Set metrics have no value of 64 clips that says anything, so their
features are compared, clip by clip: |a - b| / |b|, b the row in fp32.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import FeatureError
from javisbench.matching import Matched
from javisbench.run.content_index import hash_sources
from javisbench.run.encode_session import COMPILED, EncodeSession, ways_of
from javisbench.run.features import FeatureStore
from javisbench.run.plan import ProtocolPlan, ScorePlan
from javisbench.run.progress import Silent
from javisbench.run.score import ScoreSettings, score_values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.run.progress import Progress
    from javisbench.suite import Suite

TRIAL_CLIPS = 64


def try_precision(
    run: Path, suite: Suite, matched: Matched, plan: ScorePlan, settings: ScoreSettings, progress: Progress
) -> list[dict[str, Any]]:
    """Score the first 64 clips in fp32 step by step and as asked for; rename protocols where something moved too far.

    Both sets of features stay in the run's store, so the trial costs the fp32 pass over those clips alone.

    Args:
        run: the run's folder, locked by the caller.
        suite: the prompts.
        matched: the clips.
        plan: its protocols get derived names (``+tf32``, ``+bf16``, ``+fp16``, ``+compiled``) where a deviation exceeds
            tolerance.
        settings: with the faster precision, or compiled networks.
        progress: shown to the user.

    Returns:
        one record a protocol: precision, clips tried, tolerance, and the largest deviation of each metric.
    """
    tried = Matched(tuple(item for item in matched.items if item.source is not None)[:TRIAL_CLIPS], (), matched.how)
    parts = [_affected(part, plan, settings) for part in plan.parts]
    trial = ScorePlan(parts, plan.encoders)
    ways = [*([settings.precision] if settings.precision != "fp32" else []), *([COMPILED] if settings.compiled else [])]
    progress.say(f"Trying {' and '.join(ways)} against fp32 on {len(tried.items)} clips")
    slow = score_values(run, suite, tried, trial, replace(settings, precision="fp32", compiled=False), progress)
    fast = score_values(run, suite, tried, trial, settings, progress)
    rows = _Rows(run, tried, plan, settings)
    records = []
    for part, trial_part, ours, theirs in zip(plan.parts, parts, fast, slow, strict=True):
        # A metric of another package that failed has no values.
        both = [metric for metric in ours.values if metric in theirs.values]
        deviations = {metric: _largest(ours.values[metric], theirs.values[metric]) for metric in both}
        for metric_id, metric in trial_part.set_metrics.items():
            deviations[metric_id] = rows.largest_deviation(metric.needs(part.protocol))
        tolerance = part.protocol.precision_tolerance
        within = all(value <= tolerance for value in deviations.values())
        if not within:
            for way in ways:
                part.protocol = part.protocol.derived(way)
        records.append(
            {
                "precision": "+".join(ways),
                "clips_tried": len(tried.items),
                "tolerance": tolerance,
                "largest_deviation": deviations,
                "within_tolerance": within,
            }
        )
    return records


def _affected(part: ProtocolPlan, plan: ScorePlan, settings: ScoreSettings) -> ProtocolPlan:
    """The metrics of encoders that compute in another way than without these settings."""

    def affected(metric_id: str) -> bool:
        encoders = (plan.encoders[spec.encoder].cls for spec in part.specs(metric_id).values())
        return any(ways_of(encoder, settings.precision, compiled=settings.compiled) for encoder in encoders)

    return ProtocolPlan(
        part.protocol,
        {metric_id: metric for metric_id, metric in part.sample_metrics.items() if affected(metric_id)},
        {metric_id: metric for metric_id, metric in part.set_metrics.items() if affected(metric_id)},
    )


class _Rows:
    """Stored features of the clips on trial, made both ways."""

    def __init__(self, run: Path, tried: Matched, plan: ScorePlan, settings: ScoreSettings) -> None:
        store = FeatureStore(run / "features")
        sources = [item.source for item in tried.items if item.source is not None]
        self._contents = hash_sources(sources, settings.workers, Silent()).hashes.values()
        self._slow = EncodeSession(plan.encoders, store, "cpu", 1, 1)
        self._fast = replace(self._slow, precision=settings.precision, compiled=settings.compiled)

    def largest_deviation(self, spec: FeatureSpec) -> float:
        """Largest |a - b| / |b| of any clip; a clip with a feature in one precision alone counts as 1."""
        return max((self._deviation(content, spec) for content in self._contents), default=0.0)

    def _deviation(self, content: str, spec: FeatureSpec) -> float:
        import numpy as np

        slow, fast = (_row(session, content, spec) for session in (self._slow, self._fast))
        if slow is None or fast is None:
            return float((slow is None) != (fast is None))
        size = float(np.linalg.norm(slow))
        gap = float(np.linalg.norm(fast - slow))
        return gap / size if size and np.isfinite(gap) else float(gap != 0)


def _row(session: EncodeSession, content: str, spec: FeatureSpec) -> NDArray[np.float64] | None:
    import numpy as np

    try:
        return np.asarray(session.stored(content, spec)["embedding"], dtype=np.float64)
    except FeatureError:
        return None


def _largest(ours: Any, theirs: Any) -> float:
    """Largest difference; a clip with a value in one precision alone counts as one."""
    import numpy as np

    if (np.isnan(ours) != np.isnan(theirs)).any():
        return 1.0
    gaps = np.abs(ours - theirs)
    return float(np.nanmax(gaps)) if np.isfinite(gaps).any() else 0.0
