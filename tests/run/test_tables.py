"""Tables of a scoring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from javisbench.matching import Item
from javisbench.run import tables
from javisbench.run.tables import Details, details_tables, samples_tables, scores_tables, write_table
from javisbench.suite import Sample

ITEMS = [Item(Sample(name, row, f"prompt {name}"), repeat, None) for row, name in enumerate("ab") for repeat in (0, 1)]


def details(of: dict[int, dict[str, tuple[float, ...]]]) -> Details:
    made = Details()
    for position, told in of.items():
        made.add(position, told)
    return made


@pytest.mark.parametrize("clips_at_once", [1, 2, 100])
def test_details_are_found_by_position_and_stand_by_clip_then_by_metric(
    clips_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_CLIPS_AT_ONCE", clips_at_once)
    told: dict[int, dict[str, tuple[float, ...]]] = {0: {"x": (1.0, 2.0), "y": ()}, 3: {"y": (4.5,)}}
    first, second = details(told), details({0: {"z": (7.0,)}, 1: {"z": (8.0,)}})
    assert [first.of(position) for position in range(4)] == [told[0], {}, {}, told[3]]
    write_table(tmp_path / "details.parquet", details_tables(ITEMS, {"m": first, "n": second, "none": Details()}))
    rows = [tuple(row.values()) for row in pq.read_table(tmp_path / "details.parquet").to_pylist()]
    assert rows == [
        ("a", 0, "m", "x", [1.0, 2.0]),
        ("a", 0, "m", "y", []),
        ("a", 0, "n", "z", [7.0]),
        ("a", 1, "n", "z", [8.0]),
        ("b", 1, "m", "y", [4.5]),
    ]


def test_tables_without_rows_have_their_columns() -> None:
    for table, columns in (
        (next(details_tables([], {})), ["sample_id", "repeat", "metric", "name", "values"]),
        (next(details_tables(ITEMS, {"m": Details()})), ["sample_id", "repeat", "metric", "name", "values"]),
        (next(scores_tables([], {"m": np.empty(0)})), ["sample_id", "repeat", "m"]),
        (next(samples_tables([])), ["sample_id", "index", "text", "audio_text", "video_text", "categories"]),
    ):
        assert table.num_rows == 0 and table.column_names == columns
        assert "null" not in {str(field.type) for field in table.schema}


@pytest.mark.parametrize("clips_at_once", [1, 3, 100])
def test_a_score_that_is_missing_is_null(clips_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_CLIPS_AT_ONCE", clips_at_once)
    write_table(tmp_path / "scores.parquet", scores_tables(ITEMS, {"m": np.array([0.5, np.nan, 1.0, np.nan])}))
    table = pq.read_table(tmp_path / "scores.parquet")
    assert table["m"].to_pylist() == [0.5, None, 1.0, None]
    assert table["sample_id"].to_pylist() == ["a", "a", "b", "b"] and table["repeat"].to_pylist() == [0, 1, 0, 1]
    write_table(tmp_path / "samples.parquet", samples_tables(ITEMS))
    assert pq.read_table(tmp_path / "samples.parquet")["sample_id"].to_pylist() == ["a", "b"]
