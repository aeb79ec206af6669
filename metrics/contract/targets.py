"""What an id stands for, and its checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from javisbench.errors import UsageError
from javisbench.metrics.contract.encoders import check_encoder
from javisbench.metrics.contract.metrics import check_metric, needed
from javisbench.metrics.contract.report import Report
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.registry import METRICS, card_of
from javisbench.protocol import PROTOCOLS, V1, parse_protocol
from javisbench.registry import did_you_mean
from javisbench.transcripts import OWN_RECOGNISERS

if TYPE_CHECKING:
    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.weights import WeightStore

Kind = Literal["metric", "encoder"]


def targets(name: str) -> list[tuple[Kind, str]]:
    """The metric and the encoder of that name, whichever there are.

    Raises:
        UsageError: there is neither.
    """
    found: list[tuple[Kind, str]] = []
    if name in METRICS:
        found.append(("metric", name))
    if name in ENCODERS:
        found.append(("encoder", name))
    if not found:
        known = sorted({*METRICS, *ENCODERS})
        near = did_you_mean(name, known)
        raise UsageError(f"There is no metric or encoder {name!r}.{near} Known: {', '.join(known)}.")
    return found


def check(kind: Kind, name: str, weights: WeightStore) -> Report:
    """All checks of a metric or an encoder, on a few small clips or seeded features, on the CPU.

    Nothing is fetched: what needs weights that are not on this machine is not applicable, with the reason.

    Args:
        kind: which of the two.
        name: id of the metric, or name of the encoder.
        weights: where weights may lie.
    """
    registry = METRICS if kind == "metric" else ENCODERS
    plugin = registry.plugin(name)
    report = Report(kind, name, plugin.label if plugin else "javisbench")
    with report.row("import"):
        registry.get(name)
    if report.failed:
        return report
    if kind == "metric":
        check_metric(report, weights)
    else:
        check_encoder(report, _asked_of(name), weights)
    return report


def _asked_of(encoder: str) -> list[FeatureSpec]:
    """What installed metrics ask of an encoder, under all protocols and with every recogniser, in a fixed order; broken
    metrics ask nothing.
    """
    hearing = [parse_protocol(f"{V1.name}+recogniser={name}") for name in OWN_RECOGNISERS]
    found: set[FeatureSpec] = set()
    for metric_id in METRICS:
        if card_of(metric_id) is None:
            continue
        try:
            with METRICS.guarded(metric_id, "needs"):
                for protocol in (*PROTOCOLS.values(), *hearing):
                    found |= {spec for spec in needed(metric_id, protocol) if spec.encoder == encoder}
        except UsageError:
            continue
    return sorted(found, key=repr)
