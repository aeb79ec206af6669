"""Tables of clips from strangers: sizes are bounded, and damage is a sentence."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from javisbench.errors import SystemFaultError, UsageError
from javisbench.isolated.process import Launched
from javisbench.places import tables
from javisbench.places.remote import Remote
from javisbench.places.tables import bring_row_group, cells
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


def test_a_wrong_id_is_named_by_its_row_in_the_table_from_1(tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b", "c", "../d"], "video": clips(4)})
    with pytest.raises(UsageError, match=r"row 4: '\.\./d' is no id"):
        listed(tmp_path, table, row_group_size=2)


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


@pytest.mark.slow
def test_a_clip_that_unpacks_to_more_than_may_be_is_refused_and_takes_nothing_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """700 MB of one byte, which a few kilobytes hold, in a process that may have 600."""
    value = pa.array([{"bytes": bytes(700 * 2**20), "path": "a.mp4"}])
    pq.write_table(pa.table({"video": value}), tmp_path / "t.parquet", compression="zstd", use_dictionary=False)
    del value
    assert (tmp_path / "t.parquet").stat().st_size < 2**17
    monkeypatch.setattr(tables, "MAX_MEMORY_BYTES", 600 * 2**20)
    written: list[Remote] = []

    @contextmanager
    def place(remote: Remote) -> Iterator[Path]:
        written.append(remote)
        yield tmp_path / "a.mp4"

    remote = Remote(f"file://{tmp_path}/t.parquet", None, "", None, "a.mp4", (0, 0, "video"))
    with pytest.raises(PlaceError, match=r"t\.parquet takes more than 0\.6 GiB of memory to read\.") as error:
        bring_row_group(remote, place)
    assert error.value.kind == "too_large" and error.value.exit_code == 2
    assert not written


def test_the_reader_may_have_so_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than it has already: whatever it does next ends it, with a sentence of its own or without."""
    monkeypatch.setattr(tables, "MAX_MEMORY_BYTES", 2**20)
    with pytest.raises(PlaceError, match=r"t\.parquet (takes more than 0\.0 GiB|.*memory|cannot be read)") as error:
        listed(tmp_path, pa.table({"video": clips(5000)}))
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("number", "kind", "code"), [(signal.SIGSEGV, PlaceError, 2), (signal.SIGKILL, SystemFaultError, 3)]
)
def test_a_table_whose_reader_dies_is_refused_unless_the_system_killed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], code: int
) -> None:
    launch = tables.launch

    def killed(module: str) -> Launched:
        launched = launch(module)
        launched.process.send_signal(number)
        launched.process.wait()
        return launched

    monkeypatch.setattr(tables, "launch", killed)
    with pytest.raises(kind, match=rf"t\.parquet cannot be read: .* was killed by signal {number}") as error:
        listed(tmp_path, pa.table({"video": clips(1)}))
    assert error.value.exit_code == code  # type: ignore[attr-defined]


def test_a_reader_that_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = tables.launch

    def stopped(module: str) -> Launched:
        launched = launch(module)
        launched.process.send_signal(signal.SIGSTOP)
        return launched

    monkeypatch.setattr(tables, "launch", stopped)
    monkeypatch.setattr(tables, "DEADLINE_S", 0.0)
    with pytest.raises(PlaceError, match="was not read within"):
        listed(tmp_path, pa.table({"video": clips(1)}))


def test_who_stops_listing_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch, started = tables.launch, []

    def noted(module: str) -> Launched:
        started.append(launch(module))
        return started[-1]

    monkeypatch.setattr(tables, "launch", noted)
    pq.write_table(pa.table({"video": clips(500)}), tmp_path / "t.parquet")
    entries = cells(f"file://{tmp_path}/t.parquet", prompts=True)
    assert next(entries).name == "0.mp4"
    entries.close()  # type: ignore[attr-defined]
    assert started[0].process.poll() is not None
