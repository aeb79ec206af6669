"""What a metric costs: seconds a clip of the encoders that it needs, on this machine."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from javisbench.errors import JavisbenchError, MediaError

if TYPE_CHECKING:
    from javisbench.clip import Clip
    from javisbench.metrics.encoders.base import Encoder, FeatureSpec
    from javisbench.run.plan import ScorePlan
    from javisbench.run.progress import Progress
    from javisbench.run.scoring_job import ScoringOptions
    from javisbench.suite import Sample

log = logging.getLogger(__name__)
CLIPS = 3
"""Clips that are timed, after one that warms caches up."""


def measure_cost(
    samples: Sequence[Sample], plan: ScorePlan, options: ScoringOptions, progress: Progress
) -> dict[str, float]:
    """Median seconds that each metric's encoders take for one clip, decoded already, and its prompt.

    Each metric is timed as if it were alone: encoders that metrics share are counted for each of them.

    Args:
        samples: with clips; the first ones that can be read are used.
        plan: the metrics and their encoders.
        options: for the device and the limits of decoding.
        progress: shown to the user.

    Returns:
        metric to seconds; without those whose encoders refuse these clips.
    """
    from javisbench.run.device import pick_device
    from javisbench.run.encode_session import arithmetic

    clips = list(_readable(samples, options))
    if not clips:
        return {}
    device, part = pick_device(options.device), plan.parts[0]
    wanted = {metric: part.specs(metric) for metric in (*part.sample_metrics, *part.set_metrics)}
    needed: dict[str, set[tuple[FeatureSpec, ...]]] = {}
    for specs in wanted.values():
        for name, own in _by_encoder(specs):
            needed.setdefault(name, set()).add(own)
    seconds: dict[tuple[FeatureSpec, ...], float | None] = {}
    with progress.stage("timing encoders", len(needed), "encoders") as stage, arithmetic("fp32"):
        for name, groups in sorted(needed.items()):
            encoder = plan.encoders[name].load(device)
            seconds |= {specs: _timed(encoder, clips, specs) for specs in sorted(groups, key=repr)}
            encoder.close()
            stage.advance()
    found = {}
    for metric, specs in wanted.items():
        parts = [seconds[own] for _, own in _by_encoder(specs)]
        if None not in parts:
            found[metric] = round(sum(part for part in parts if part is not None), 4)
    return found


def _readable(samples: Sequence[Sample], options: ScoringOptions) -> Iterator[tuple[Clip, str]]:
    from javisbench.media import read_clip

    found = 0
    for sample in samples[: 10 * (1 + CLIPS)]:
        if found > CLIPS or sample.pred_video_path is None:
            return
        try:
            clip = read_clip(sample.pred_video_path, sample.pred_audio_path, limits=options.limits)
        except MediaError:
            continue
        found += 1
        yield clip, sample.text


def _by_encoder(specs: Mapping[str, FeatureSpec]) -> list[tuple[str, tuple[FeatureSpec, ...]]]:
    """Encoder, and what one call asks of it: clips and prompts go into calls of their own."""
    found: dict[tuple[str, bool], set[FeatureSpec]] = {}
    for spec in specs.values():
        found.setdefault((spec.encoder, spec.subject == "clip"), set()).add(spec)
    return [(name, tuple(sorted(own, key=repr))) for (name, _), own in sorted(found.items())]


def _timed(encoder: Encoder, clips: Sequence[tuple[Clip, str]], specs: tuple[FeatureSpec, ...]) -> float | None:
    times = []
    for clip, text in clips:
        begun = time.perf_counter()
        try:
            (made,) = encoder.encode([clip] if specs[0].subject == "clip" else [text], specs)
        except Exception:  # A defect of an encoder, which scoring has told already: it has no time.
            log.warning("%s cannot be timed", encoder.card.name, exc_info=True)
            return None
        if not any(isinstance(features, JavisbenchError) for features in made.values()):
            times.append(time.perf_counter() - begun)
    return statistics.median(times[1:] or times) if times else None
