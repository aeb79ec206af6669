"""``set_features.safetensors``: the paired rows that the set metrics were computed from.

Small beside the feature store, it lets anyone recompute, compare and rank set metrics without clips or networks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.durable import write_bytes
from javisbench.errors import RunError
from javisbench.system_faults import raise_if_system

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE_NAME = "set_features.safetensors"
SCHEMA = 1


@dataclass(frozen=True)
class SetRows:
    """Paired rows of one feature.

    Attributes:
        name: in the file: the encoder's (``i3d``), with a digest where an encoder has several such features.
        metrics: ids of the metrics computed from it.
        sample_ids: one a row.
        fake: float32 ``(n, d)``, generated clips; or ``(n, k, d)``, k rows a clip.
        real: of the same shape, the real clip of the same sample.
    """

    name: str
    metrics: tuple[str, ...]
    sample_ids: tuple[str, ...]
    fake: NDArray[Any]
    real: NDArray[Any]


def write_set_features(folder: Path, rows: Mapping[str, SetRows]) -> None:
    """Write the file, whole or not at all; an old one goes when there are no rows."""
    if not rows:
        (folder / FILE_NAME).unlink(missing_ok=True)
        return
    from safetensors.numpy import save

    entries = {name: {"metrics": list(r.metrics), "sample_ids": list(r.sample_ids)} for name, r in rows.items()}
    arrays = {f"{name}/{side}": getattr(r, side) for name, r in rows.items() for side in ("fake", "real")}
    facts = json.dumps({"schema": SCHEMA, "encoders": entries})
    write_bytes(folder / FILE_NAME, save(arrays, metadata={"javisbench_set_features": facts}))


def rows_by_metric(folder: Path) -> dict[str, SetRows]:
    """Metric id to the rows that it was computed from; see `read_set_features`."""
    return {metric: rows for rows in read_set_features(folder).values() for metric in rows.metrics}


def read_set_features(folder: Path) -> dict[str, SetRows]:
    """Name to rows; empty when the run has no set metrics.

    Raises:
        RunError: the file is damaged, or says something else than its arrays hold.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            facts = json.loads((file.metadata() or {})["javisbench_set_features"])
            found = {}
            for name, entry in facts["encoders"].items():
                ids = tuple(str(sample_id) for sample_id in entry["sample_ids"])
                fake, real = file.get_tensor(f"{name}/fake"), file.get_tensor(f"{name}/real")
                if (
                    fake.ndim not in (2, 3)
                    or fake.shape != real.shape
                    or len(fake) != len(ids)
                    or len(set(ids)) != len(ids)
                ):
                    raise ValueError(f"{name} has {fake.shape} and {real.shape} values for {len(ids)} samples")
                found[str(name)] = SetRows(str(name), tuple(map(str, entry["metrics"])), ids, fake, real)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError, OSError) as error:
        raise_if_system(error, path)
        raise RunError(f"{path} is damaged: {error}. Score the run again.", kind="damaged") from error
    return found
