"""Distances of set metrics from the rows that lie beside a result, as the registry's metric computes them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from javisbench.errors import MetricError, RunError, UsageError
from javisbench.protocol import Protocol, recorded_protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.metrics.base import SetMetric
    from javisbench.metrics.distance import Distance
    from javisbench.results.run_folder import StoredResult
    from javisbench.results.set_features import SetRows

log = logging.getLogger(__name__)


def protocol_of(result: StoredResult) -> Protocol:
    """The protocol with the settings that the result was made with, whatever this version's are.

    Raises:
        RunError: recorded settings that none can have, or a protocol that is not known here and not recorded.
    """
    try:
        return recorded_protocol(result.protocol, result.run.get("protocol_settings"))
    except UsageError as error:
        raise RunError(f"{result.path}: {error.sentence}", kind="damaged") from error


def set_distances(
    metric: SetMetric, rows: SetRows, slices: Mapping[str, NDArray[Any]], protocol: Protocol
) -> dict[str, Distance]:
    """Distances of some slices of stored rows.

    Args:
        metric: of the registry.
        rows: what it is computed from.
        slices: slice name to indices of rows.
        protocol: for the settings that change the number.

    Returns:
        slice name to distance; ``failed`` with the reason where there is none.
    """
    from javisbench.metrics.distance import Distance

    try:
        return metric.measure(rows.fake, rows.real, slices, protocol)
    except MetricError as error:
        note = error.message
    except Exception as error:  # A metric of another package: its defect costs its own column.
        log.warning("The metric %s (%s) failed.", metric.card.id, type(metric).__module__, exc_info=True)
        note = f"{metric.card.id} of {type(metric).__module__} failed: {type(error).__name__}: {error}"
    return {
        name: Distance(None, n_fake=len(chosen), n_real=len(chosen), status="failed", note=note)
        for name, chosen in slices.items()
    }
