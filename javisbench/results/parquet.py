"""Reading the tables of a run, which somebody else may have written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from javisbench.errors import RunError
from javisbench.isolated.parquet import RefusedError, TableLimits, read_arrow
from javisbench.system_faults import raise_if_system

if TYPE_CHECKING:
    import pandas as pd

# Column to what its cells must be, for the tables of a run.
SCORES = {"sample_id": "text", "repeat": "whole numbers"}
SAMPLES = {"sample_id": "text", "text": "text", "categories": "lists of text"}
DETAILS = {
    "sample_id": "text",
    "repeat": "whole numbers",
    "metric": "text",
    "name": "text",
    "values": "lists of numbers",
}
LIMITS = TableLimits()
"""Those of every table of a run that is read."""


def read_parquet(path: Path, columns: Mapping[str, str], *, advice: str = "Score the run again.") -> pd.DataFrame:
    """A table of a run: numbers, text and lists of these; see `javisbench.isolated.parquet.read_arrow`.

    Args:
        path: the file.
        columns: those that must be there, with what their cells must be (see `SCORES`).
        advice: last sentence of an error.

    Raises:
        RunError: too large, damaged, or without one of `columns`, or with cells of another type.
        SystemFaultError: the system can read no file, or start no process.
    """
    import pyarrow as pa

    try:
        return cast("pd.DataFrame", read_arrow(path, columns, LIMITS).to_pandas())
    except RefusedError as refused:
        raise RunError(f"{path} {refused}. {advice}") from refused
    except (OSError, pa.ArrowException, ValueError, TypeError) as error:
        raise_if_system(error, path)
        raise RunError(f"{path} cannot be read ({error}). {advice}") from error
