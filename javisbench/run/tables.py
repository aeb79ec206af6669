"""The tables of a scoring: ``scores.parquet``, ``details.parquet`` and ``samples.parquet``."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.durable import atomic_path
from javisbench.results.cell import slice_name
from javisbench.text import encodable

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from javisbench.matching import Item
    from javisbench.suite import Sample

PROMPTS: tuple[str, ...] = ("text", "audio_text", "video_text")
#: Clips of one part of a table: columns of all of them at once would be in memory several times.
_CLIPS_AT_ONCE = 1024


class Details:
    """What a metric told of clips besides their scores, in columns: 8 bytes a number, where objects take 32.

    A clip is a position among the items of a scoring; positions come in ascending order.
    """

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._positions = array("q")
        self._name_of_row = array("q")
        self._ends = array("q", [0])
        self._values = array("d")

    def add(self, position: int, details: Mapping[str, Sequence[float]]) -> None:
        """Take in the details of the next clip: name to numbers."""
        for name, values in details.items():
            self._positions.append(position)
            self._name_of_row.append(self._names.setdefault(name, len(self._names)))
            self._values.extend(values)
            self._ends.append(len(self._values))

    def of(self, position: int) -> dict[str, tuple[float, ...]]:
        """Name to numbers; none for a clip without any."""
        names, found = list(self._names), {}
        row = bisect_left(self._positions, position)
        while row < len(self._positions) and self._positions[row] == position:
            found[names[self._name_of_row[row]]] = tuple(self._values[self._ends[row] : self._ends[row + 1]])
            row += 1
        return found

    def columns(self, first: int, end: int) -> tuple[NDArray[np.int64], pa.Array, pa.Array]:
        """Of each row of the positions in ``[first, end)`` the position, the name and the numbers (list of float64)."""
        import numpy as np
        import pyarrow as pa

        rows = slice(bisect_left(self._positions, first), bisect_left(self._positions, end))
        ends = np.array(self._ends[rows.start : rows.stop + 1], np.int64)
        numbers = np.array(self._values[ends[0] : ends[-1]], np.float64)
        values = pa.ListArray.from_arrays(_numbers((ends - ends[0]).astype(np.int32)), _numbers(numbers))
        names = _texts(self._names).take(_numbers(np.array(self._name_of_row[rows], np.int64)))
        return np.array(self._positions[rows], np.int64), names, values


def scores_tables(items: Sequence[Item], values: Mapping[str, NDArray[np.float64]]) -> Iterator[pa.Table]:
    """One row an item: ``sample_id``, ``repeat``, one float64 column a metric (null where there is no value)."""
    import pyarrow as pa

    for part in _parts(len(items)):
        columns = {name: _numbers(column[part]) for name, column in values.items()}
        yield pa.table({**_labels(items[part]), **columns})


def details_tables(items: Sequence[Item], detailed: Mapping[str, Details]) -> Iterator[pa.Table]:
    """Long format, by clip, then by metric: ``sample_id``, ``repeat``, ``metric``, ``name``, ``values`` (list of
    float64).

    Args:
        items: of the scoring.
        detailed: metric id to what it told.
    """
    for part in _parts(len(items)):
        yield _details_table(items, detailed, part)


def _details_table(items: Sequence[Item], detailed: Mapping[str, Details], part: slice) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    of_metrics = [details.columns(part.start, part.stop) for details in detailed.values()]
    rows = np.concatenate([np.empty(0, np.int64), *(positions for positions, _, _ in of_metrics)]) - part.start
    metric_of_row = np.repeat(np.arange(len(of_metrics)), [len(positions) for positions, _, _ in of_metrics])
    table = pa.table(
        {
            **{name: column.take(_numbers(rows)) for name, column in _labels(items[part]).items()},
            "metric": _texts(detailed).take(_numbers(metric_of_row)),
            "name": pa.chunked_array([names for _, names, _ in of_metrics], pa.string()),
            "values": pa.chunked_array([values for _, _, values in of_metrics], pa.list_(pa.float64())),
        }
    )
    return table.take(_numbers(np.lexsort((metric_of_row, rows))))


def samples_tables(items: Iterable[Item]) -> Iterator[pa.Table]:
    """One row a prompt: ``sample_id``, ``index``, ``text``, ``audio_text``, ``video_text``, ``categories``, ``given``.

    Categories are lists of ``aspect/category``; ``given`` is `Sample.given`, and only there where something is given.
    """
    samples = list({item.sample.id: item.sample for item in items}.values())
    given = any(sample.given for sample in samples)
    for part in _parts(len(samples)):
        yield _samples_table(samples[part], given=given)


def _samples_table(samples: Sequence[Sample], *, given: bool) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    categories = [
        [slice_name(aspect, category) for aspect, found in sample.categories.items() for category in found]
        for sample in samples
    ]
    return pa.table(
        {
            "sample_id": _texts(sample.id for sample in samples),
            "index": _numbers(np.array([sample.index for sample in samples], np.int64)),
            **{name: _texts(getattr(sample, name) for sample in samples) for name in PROMPTS},
            "categories": _lists(categories),
            **({"given": _texts(sample.given for sample in samples)} if given else {}),
        }
    )


def _parts(count: int) -> Iterator[slice]:
    """Some clips or prompts at a time; one part at least."""
    for start in range(0, max(1, count), _CLIPS_AT_ONCE):
        yield slice(start, start + _CLIPS_AT_ONCE)


def write_table(path: Path, parts: Iterable[pa.Table]) -> None:
    """Write a table of one or more parts, whole or not at all.

    Raises:
        SystemFaultError: it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    # An open file, since Arrow takes no path that is not UTF-8.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        left = iter(parts)
        first = next(left)
        with pq.ParquetWriter(file, first.schema) as writer:
            for part in chain([first], left):
                writer.write_table(part)
    pa.default_memory_pool().release_unused()


# Arrow's own ways from lists and arrays load pandas, which takes 30 MiB.


def _labels(items: Sequence[Item]) -> dict[str, pa.Array]:
    import numpy as np

    repeats = np.array([item.repeat for item in items], np.int64)
    return {"sample_id": _texts(item.sample.id for item in items), "repeat": _numbers(repeats)}


def _numbers(column: NDArray[Any]) -> pa.Array:
    """A column of numbers, not copied; NaN is null."""
    import numpy as np
    import pyarrow as pa

    column = np.ascontiguousarray(column)
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(column.dtype), len(column), [_validity(~np.isnan(column)), pa.py_buffer(column)]
    )


def _texts(texts: Iterable[str | None]) -> pa.Array:
    """A column of texts, lone surrogates as escapes; None is null."""
    import numpy as np
    import pyarrow as pa

    cells = [None if text is None else encodable(text).encode() for text in texts]
    ends = _ends(len(cell or b"") for cell in cells)
    joined = pa.py_buffer(b"".join(cell or b"" for cell in cells))
    valid = _validity(np.array([cell is not None for cell in cells], bool))
    return pa.StringArray.from_buffers(len(cells), pa.py_buffer(ends), joined, valid)


def _lists(lists: Sequence[Sequence[str]]) -> pa.Array:
    """A column of lists of texts."""
    import pyarrow as pa

    return pa.ListArray.from_arrays(_numbers(_ends(map(len, lists))), _texts(text for texts in lists for text in texts))


def _ends(lengths: Iterable[int]) -> NDArray[np.int32]:
    """Where cells of these lengths begin and end, side by side."""
    import numpy as np

    return np.cumsum([0, *lengths], dtype=np.int32)


def _validity(valid: NDArray[np.bool_]) -> pa.Buffer | None:
    import numpy as np
    import pyarrow as pa

    return None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
