"""Making statistics files from real clips, and checking them against the clips."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from javisbench.errors import FeatureError, ReferenceFeaturesError, UsageError
from javisbench.reference.real_side import RealClips, open_reference
from javisbench.reference.stored import Feature, StoredReference
from javisbench.run.content_index import ContentIndex, hash_sources
from javisbench.run.devices import encode_on_devices
from javisbench.run.encode_session import EncodeSession, arithmetic
from javisbench.run.features import FeatureStore
from javisbench.run.manifest import now_text, versions
from javisbench.run.progress import Progress, Silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.matching import Item
    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.run.plan import ScorePlan
    from javisbench.run.scoring_job import ScoringOptions
    from javisbench.suite import Suite

log = logging.getLogger(__name__)


def build_reference(
    suite: Suite, options: ScoringOptions, out: Path, progress: Progress
) -> tuple[StoredReference, dict[str, str]]:
    """Encode the suite's real clips for the set metrics and write a statistics file.

    Args:
        suite: whose real clips they are.
        options: protocols, encoders, weights, ``metrics`` (set metrics; None for those that need not be asked for) and
            ``reference`` (a folder, or ``suite``).
        out: the file, ``.safetensors``.
        progress: shown to the user.

    Returns:
        what was written, and the reason for each sample that was left out.

    Raises:
        UsageError: no clips, metrics that need no real ones, or no encoder has its weights here.
    """
    import dataclasses
    import os

    from javisbench.metrics.registry import default_set_metrics
    from javisbench.run.device import pick_devices
    from javisbench.run.plan import warn_of_other_weights
    from javisbench.run.scoring_job import plan_scoring

    if out.suffix != ".safetensors":
        raise UsageError(f"--out is a .safetensors file; got {out}.")
    real = open_reference(options.reference, suite)
    if not isinstance(real, RealClips):
        raise UsageError("A statistics file is built from real clips: --clips FOLDER, or the suite's path column.")
    plan = plan_scoring(suite, dataclasses.replace(options, metrics=options.metrics or default_set_metrics()))
    warn_of_other_weights(plan)
    needless = sorted({metric_id for part in plan.parts for metric_id in part.sample_metrics})
    if needless:
        raise UsageError(f"Only set metrics have a real side; {', '.join(needless)} score clip by clip.")
    unavailable = {name: reason.note or "" for part in plan.parts for name, reason in part.unavailable.items()}
    if not plan.encoders:
        raise UsageError("Nothing can be computed: " + " ".join(sorted(set(unavailable.values()))))
    for name, reason in unavailable.items():
        log.warning("%s will have no features in %s: %s", name, out.name, reason)
    devices = pick_devices(options.device)
    with tempfile.TemporaryDirectory() as folder, arithmetic("fp32"):
        session = EncodeSession(
            plan.encoders,
            FeatureStore(Path(folder)),
            devices[0],
            options.workers or os.cpu_count() or 1,
            options.batch_clips or (1 if devices[0] == "cpu" else None),
            options.limits,
            devices=devices,
        )
        specs = {spec for part in plan.parts for spec in part.set_specs()}
        sources = list(real.sources(suite))
        index = hash_sources(sources, session.workers, progress)
        encode_on_devices(dict.fromkeys(sources, specs), index, session, progress)
        for name, error in session.broken.items():
            log.warning("%s has no features in %s: %s", name, out.name, error.message, exc_info=error)
        specs = {spec for spec in specs if spec.encoder not in session.broken}
        if not specs:
            raise next(iter(session.broken.values()))
        failures: dict[str, str] = {}
        features = [_feature(spec, plan, real, session, index, failures) for spec in sorted(specs, key=repr)]
        session.close()
    facts = {
        "suite": suite.name,
        "suite_hash": suite.hash,
        "created": now_text(),
        "versions": versions(),
        "clips": {
            item.sample.id: index.hashes[item.source] for item in real.matched.items if item.source in index.hashes
        },
    }
    stored = StoredReference(out, facts, tuple(features))
    stored.save()
    return StoredReference.load(out), failures


def _feature(
    spec: FeatureSpec,
    plan: ScorePlan,
    real: RealClips,
    session: EncodeSession,
    index: ContentIndex,
    failures: dict[str, str],
) -> Feature:
    import numpy as np

    rows, ids = [], []
    for item in real.matched.items:
        found = _row(item, spec, session, index)
        if isinstance(found, str):
            failures[item.sample.id] = found
        else:
            rows.append(found)
            ids.append(item.sample.id)
    if not rows:
        raise ReferenceFeaturesError("No real clip could be encoded: " + "; ".join(sorted(set(failures.values()))[:5]))
    choice = plan.encoders[spec.encoder]
    names = tuple(part.protocol.name for part in plan.parts if spec in part.set_specs())
    return Feature(spec, choice.label, choice.weights_hash, names, tuple(ids), np.stack(rows))


def _row(item: Item, spec: FeatureSpec, session: EncodeSession, index: ContentIndex) -> NDArray[np.generic] | str:
    if item.source is None:
        return "there is no real clip"
    if item.source in index.errors:
        return index.errors[item.source].message
    try:
        return session.stored(index.hashes[item.source], spec)["embedding"]
    except FeatureError as error:
        return error.message


def verify_reference(stored: StoredReference, suite: Suite, clips: str) -> list[str]:
    """Everything that does not hold between a statistics file, a suite and real clips; empty when all does."""
    problems = []
    if stored.facts.get("suite_hash") != suite.hash:
        problems.append(f"made for another sample set ({stored.facts.get('suite')}), not for {suite.name}")
    real = open_reference(clips, suite)
    sources = list(real.sources(suite))
    index = hash_sources(sources, 1, Silent())
    recorded = dict(stored.facts.get("clips", {}))
    for source in sources:
        known = recorded.pop(source.sample_id, None)
        if source in index.errors:
            # A clip that could not be read then either has no row, and nothing to check.
            if known is not None:
                problems.append(f"{source.sample_id}: {index.errors[source].message}")
        elif known is None:
            problems.append(f"{source.sample_id}: a clip is here, but none was when the file was made")
        elif known != index.hashes[source]:
            problems.append(f"{source.sample_id}: the clip has changed since the file was made")
    problems += [f"{sample_id}: the clip that the file was made from is not here" for sample_id in recorded]
    return problems
