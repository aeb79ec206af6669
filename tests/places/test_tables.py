"""Tables of clips from strangers: sizes are bounded, and damage is a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from javisbench.places import tables
from javisbench.places.tables import cells
from javisbench.places.urls import PlaceError


def clips(rows: int) -> pa.Array:
    return pa.array([{"bytes": b"x", "path": f"{row}.mp4"} for row in range(rows)])


def listed(folder: Path, table: pa.Table, **how: Any) -> list[str]:
    pq.write_table(table, folder / "t.parquet", **how)
    return [entry.name for entry in cells(f"file://{folder}/t.parquet", prompts=True)]


def test_rows_keep_their_place_over_batches_and_groups(tmp_path: Path) -> None:
    pq.write_table(pa.table({"video": clips(200)}), tmp_path / "t.parquet", row_group_size=150)
    found = [entry.remote.cell for entry in cells(f"file://{tmp_path}/t.parquet", prompts=False)]
    assert found == [(row // 150, row % 150, "video") for row in range(200)]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MAX_METADATA_BYTES", 100, "bytes of metadata; at most 100"),
        ("MAX_ROWS", 9, "10 rows; at most 9"),
        ("MAX_PARTS", 5, r"8 parts .* at most 5"),
        ("MAX_TEXT_BYTES", 10, "bytes of names and prompts in a few rows; at most 10 each"),
    ],
)
def test_what_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: int, words: str
) -> None:
    table = pa.table({"id": [f"s{row}" for row in range(10)], "text": ["x" * 500] * 10, "video": clips(10)})
    assert len(listed(tmp_path, table, row_group_size=5)) == 20
    monkeypatch.setattr(tables, name, value)
    with pytest.raises(PlaceError, match=words) as error:
        listed(tmp_path, table, row_group_size=5)
    assert error.value.kind == "too_large"


def test_a_column_twice_and_damage_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(PlaceError, match="has a column twice"):
        listed(tmp_path, pa.table([clips(2), clips(2)], names=["video", "video"]))
    broken = pa.array([b"\xff\xfe"]).view(pa.string())
    with pytest.raises(PlaceError, match=r"is no Parquet table that can be read \("):
        listed(tmp_path, pa.table({"text": broken, "video": clips(1)}), store_schema=False)
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + b"x" * 40 + b"\x14\0\0\0PAR1")
    with pytest.raises(PlaceError, match="is no Parquet table") as error:
        list(cells(f"file://{tmp_path}/t.parquet", prompts=True))
    assert error.value.kind == "damaged"
