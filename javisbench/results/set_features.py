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


@dataclass(frozen=True)
class RowBounds:
    """How much somebody else's file may hold; known before a single value of it is read.

    Attributes:
        samples: the run's: a feature has a row, or `rows_a_clip` rows, of each at most.
        width: values of a row.
        rows_a_clip: rows of one sample.
        features: arrays of rows, in pairs.
        header_bytes: of the file's list of names, shapes and ids.
    """

    samples: int
    width: int
    rows_a_clip: int
    features: int = 64
    header_bytes: int = 32 * 2**20

    @property
    def file_bytes(self) -> int:
        """Of all: pairs of float64 arrays, and the header."""
        pair = 2 * 8 * self.samples * self.rows_a_clip * self.width
        return self.features * pair + self.header_bytes + 8


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


def read_set_features(folder: Path, bounds: RowBounds | None = None) -> dict[str, SetRows]:
    """Name to rows; empty when the run has no set metrics.

    Args:
        folder: holds the file.
        bounds: of a file that somebody else wrote; None for one's own.

    Raises:
        RunError: the file is damaged, says something else than its arrays hold, or exceeds its bounds.
        SystemFaultError: the system cannot read it.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        if bounds is not None:
            _check_header(path, bounds)
        with safe_open(path, framework="np") as file:
            if bounds is not None:
                _check_shapes(file, bounds)
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


def _check_header(path: Path, bounds: RowBounds) -> None:
    """Raises `ValueError` for a file that must be too large, or whose header is."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > bounds.header_bytes:
        raise ValueError(f"its header has {header:,} bytes; at most {bounds.header_bytes:,} are read")
    if size > bounds.file_bytes:
        raise ValueError(f"it has {size:,} bytes, and {bounds.samples:,} samples have {bounds.file_bytes:,} at most")


def _check_shapes(file: Any, bounds: RowBounds) -> None:
    """Raises `ValueError` for arrays that nobody named, or of other shapes or numbers than rows of features have."""
    facts = json.loads((file.metadata() or {})["javisbench_set_features"])
    named = {f"{name}/{side}" for name in facts["encoders"] for side in ("fake", "real")}
    there = set(file.keys())
    if there != named:
        odd = min(there ^ named)
        raise ValueError(f"it holds other arrays than it names, such as {odd[:80]!r}")
    if len(facts["encoders"]) > bounds.features:
        raise ValueError(f"it holds {len(facts['encoders']):,} features; at most {bounds.features} are read")
    for name in sorted(named):
        rows = file.get_slice(name)
        shape, kind = rows.get_shape(), rows.get_dtype()
        if kind not in ("F32", "F64"):
            raise ValueError(f"{name[:80]} holds {kind}, and only float32 and float64 are read")
        n, k, width = (shape[0], shape[1] if len(shape) == 3 else 1, shape[-1]) if len(shape) in (2, 3) else (0, 0, 0)
        most = (bounds.samples, bounds.rows_a_clip, bounds.width)
        if not (n <= most[0] and 1 <= k <= most[1] and 1 <= width <= most[2]):
            raise ValueError(
                f"{name[:80]} has the shape {str(shape)[:80]}: at most {most[0]:,} samples, {most[1]} rows of each and "
                f"{most[2]:,} values a row are read"
            )
