"""Tables of strangers: what a small file can unpack to, hostile metadata, and the process that reads them."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from javisbench.errors import RunError, SystemFaultError
from javisbench.isolated import parquet as reader
from javisbench.isolated.parquet import TableLimits
from javisbench.results import parquet
from javisbench.results.parquet import SCORES, read_parquet

ROOT = Path(__file__).parents[2]


def column(rows: int, value: str) -> pa.Array:
    """One text for all rows, which a file holds once."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([value]))


def numbers(rows: int) -> pa.Array:
    """One number for all rows."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([0.5]))


def table(rows: int = 1, **more: pa.Array) -> pa.Table:
    return pa.table({"sample_id": column(rows, "a"), "repeat": pa.array(np.zeros(rows, np.int64)), **more})


def one_row(values: pa.Array) -> pa.Table:
    return table(v=pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values))


def noted(text: bytes) -> pa.Table:
    """A good table with these bytes in the place of what pandas notes about it."""
    return table(score=pa.array([0.5])).replace_schema_metadata({b"pandas": text})


def alike(rows: int, size: int) -> pa.Table:
    """Texts that differ in their last bytes alone: as changes from the one before they take a few bytes each."""
    texts = pa.array([f"{'x' * size}{row:06d}" for row in range(rows)])
    return one_row(texts)


# As `LIMITS`, but small, so that little work reaches them.
SMALL = TableLimits(
    rows=100_000,
    columns=50,
    parts=500,
    metadata_bytes=2**20,
    unpacked_bytes=32 * 2**20,
    memory_bytes=768 * 2**20,
)
# Name to the table, how it is written, and why it is refused.
BOMBS: dict[str, tuple[Callable[[], pa.Table], dict[str, object], str]] = {
    "endless list": (lambda: one_row(numbers(50_000_000)), {}, "memory to read"),
    "endless list of text": (lambda: one_row(column(5_000_000, "ab")), {}, "1,000,000 values in one cell"),
    "text many times": (lambda: table(100_000, v=column(100_000, "x" * 90_000)), {}, "unpacks to more than 33,554,432"),
    "text as changes": (
        lambda: alike(10_000, 60_000),
        {"use_dictionary": False, "column_encoding": {"v.list.element": "DELTA_BYTE_ARRAY"}},
        "memory to read",
    ),
    "numbers": (lambda: table(90_000, **{f"m{i}": numbers(90_000) for i in range(48)}), {}, "unpacks to more than 33"),
    "rows": (lambda: table(100_001), {}, "100,001 rows; at most 100,000"),
    "columns": (lambda: table(**{f"m{i}": numbers(1) for i in range(49)}), {}, "51 columns; at most 50"),
    "row groups": (lambda: table(200, m=numbers(200)), {"row_group_size": 1}, "600 parts .* at most 500"),
    "metadata": (lambda: noted(b"x" * 2**20), {"store_schema": True}, "bytes of metadata; at most 1,048,576"),
    "nested lists": (lambda: table(v=pa.array([[[[1.0]]]])), {}, r"holds list<.* and only numbers"),
    "structures": (lambda: table(v=pa.array([{"a": {"b": 1}}])), {}, r"holds struct<.* and only numbers"),
    "wide bytes": (lambda: table(v=pa.array([b"x" * 9], pa.binary(9))), {}, r"holds fixed_size_binary\[9\] in its"),
    "long text": (lambda: table(v=pa.array(["x" * 100_001])), {}, "100,000 bytes in one cell of its column v"),
}

MEASURE = """
import json, os, resource, sys
from pathlib import Path
from javisbench.errors import RunError
from javisbench.isolated import parquet as reader
from javisbench.results import parquet
import pandas, pyarrow.parquet
parquet.LIMITS = parquet.TableLimits(**json.loads(os.environ["LIMITS"]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
told = {}
for path in map(Path, sys.argv[1:]):
    try:
        parquet.read_parquet(path, parquet.SCORES)
    except RunError as error:
        told[path.name] = error.message
reader.READER._end()
print(json.dumps({
    "told": told,
    "more": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before,
    "reader": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
}))
"""


def test_small_files_that_unpack_to_much_are_refused_within_the_stated_memory(tmp_path: Path) -> None:
    for name, (make, how, _) in BOMBS.items():
        pq.write_table(make(), tmp_path / name, **{"store_schema": False, "compression": "zstd", **how})
        assert (tmp_path / name).stat().st_size < 3 * 2**20, name
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *(str(tmp_path / name) for name in BOMBS)],
        capture_output=True, check=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LIMITS": json.dumps(asdict(SMALL))},
    )  # fmt: skip
    found = json.loads(done.stdout)
    for name, (_, _, words) in BOMBS.items():
        with pytest.raises(RunError, match=words):
            raise RunError(found["told"].get(name, f"{name} was read"))
        assert found["told"][name].startswith(f"{tmp_path / name} ")
    # Kilobytes. The parent holds no more than before, but for what its own modules take.
    assert found["more"] < 100 * 1024
    if sys.platform == "linux":
        assert found["reader"] * 1024 < SMALL.memory_bytes


@pytest.mark.parametrize(
    "text",
    [
        b"not JSON",
        b"[]",
        b"\xff\xfe",
        b'{"index_columns": ["gone"], "columns": [], "column_indexes": [{}]}',
        b'{"index_columns": [{"kind": "range", "start": 0, "stop": 1000000000000, "step": 1}], "columns": []}',
        json.dumps({"columns": [{"name": "score", "pandas_type": "datetimetz", "numpy_type": "datetime64[ns]",
                                 "metadata": {"timezone": "Nowhere/Else"}}], "index_columns": []}).encode(),
        b"[" * 100_000,
    ],
    ids=["no json", "a list", "no text", "index of nothing", "endless index", "other types", "nested"],
)  # fmt: skip
def test_what_pandas_is_said_to_have_noted_changes_nothing(tmp_path: Path, text: bytes) -> None:
    pq.write_table(noted(text), tmp_path / "t.parquet")
    frame = read_parquet(tmp_path / "t.parquet", SCORES)
    pd.testing.assert_frame_equal(
        frame, pd.DataFrame({"sample_id": pd.array(["a"], frame["sample_id"].dtype), "repeat": [0], "score": [0.5]})
    )


def test_tables_come_back_as_pandas_wrote_them(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "sample_id": ["é", "b", "c"],
            "repeat": [0, 0, 1],
            "score": [0.25, np.nan, -1e300],
            "values": [[0.5], [], [1.0, 2.0]],
            "names": [["x", "y"], [], ["z"]],
            "note": [None, "x", None],
            "none": [None, None, None],
        },
        index=[2, 0, 1],
    )
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=2)
    found = read_parquet(tmp_path / "t.parquet", {**SCORES, "note": "text or nothing", "values": "lists of numbers"})
    assert list(found.columns) == list(frame.columns)  # not the index, which is pandas' own
    assert list(found["sample_id"]) == ["é", "b", "c"] and str(found["repeat"].dtype) == "int64"
    np.testing.assert_array_equal(found["score"], frame["score"])
    assert [list(cell) for cell in found["values"]] == list(frame["values"])
    assert [list(cell) for cell in found["names"]] == list(frame["names"])
    assert found["note"].isna().tolist() == [True, False, True] and found["none"].isna().all()
    assert len(read_parquet(empty(tmp_path, frame), SCORES)) == 0


def empty(folder: Path, frame: pd.DataFrame) -> Path:
    schema = pa.Schema.from_pandas(frame, preserve_index=False)
    pq.write_table(pa.Table.from_pandas(frame.head(0), schema=schema, preserve_index=False), folder / "empty.parquet")
    return folder / "empty.parquet"


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"PAR1 not really", b"\0" * 100 + b"\x08\0\0\0PAR1", b"x" * 50 + b"PARE"]
)
def test_what_is_no_table_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(RunError, match=r"t\.parquet is not a readable Parquet file .*Score the run again\.$") as error:
        read_parquet(tmp_path / "t.parquet", SCORES)
    assert not error.value.details and "\n" not in error.value.message


def test_text_that_is_none_is_refused(tmp_path: Path) -> None:
    broken = pa.array([b"\xff\xfe"]).view(pa.string())
    pq.write_table(table(v=broken), tmp_path / "t.parquet", store_schema=False)
    with pytest.raises(RunError, match=r"is not a readable Parquet file .*UTF8"):
        read_parquet(tmp_path / "t.parquet", SCORES)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    pq.write_table(table(score=pa.array([0.5])), tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def test_a_reader_that_has_left_or_died_between_tables_is_replaced(good: Path) -> None:
    read_parquet(good, SCORES)
    assert reader.READER._launched is not None
    first = reader.READER._launched.process
    first.kill()
    first.wait()
    assert len(read_parquet(good, SCORES)) == 1
    second = reader.READER._launched.process
    assert second.pid != first.pid
    # The other side of an idle process: it ends by itself when its parent says nothing more.
    reader.READER._launched.connection.close()
    assert second.wait(60) == 0
    assert len(read_parquet(good, SCORES)) == 1


@pytest.mark.parametrize(
    ("number", "kind", "match"),
    [
        (signal.SIGSEGV, RunError, r"cannot be read: the process that reads tables was killed by signal 11"),
        (signal.SIGKILL, SystemFaultError, r"was killed by signal 9, as when memory is short\. Run the same command"),
    ],
    ids=["crash", "killed for memory"],
)
def test_a_table_whose_reader_dies_is_refused_unless_the_system_killed_it(
    good: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[RunError], match: str
) -> None:
    read_parquet(good, SCORES)
    killed: list[int] = []

    def kill(*_: object) -> None:
        assert reader.READER._launched is not None
        killed.append(reader.READER._launched.process.pid)
        os.kill(killed[-1], number)

    with monkeypatch.context() as patch:
        patch.setattr(reader, "_await", kill)
        patch.setattr(reader, "send", lambda *_: None)
        patch.setattr(reader, "_PATIENCE_S", 0.01)
        with pytest.raises(kind, match=match) as raised:
            read_parquet(good, SCORES)
    assert raised.value.exit_code == (3 if kind is SystemFaultError else 2)
    assert len(set(killed)) == (5 if kind is SystemFaultError else 1)
    assert len(read_parquet(good, SCORES)) == 1


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="Linux alone chooses by it")
def test_the_reader_goes_first_where_memory_is_short(good: Path) -> None:
    read_parquet(good, SCORES)
    assert reader.READER._launched is not None
    assert Path(f"/proc/{reader.READER._launched.process.pid}/oom_score_adj").read_text().strip() == "1000"


def test_a_reader_that_is_killed_once_costs_nothing(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_parquet(good, SCORES)
    awaited, left = reader._await, [1]

    def kill_once(*given: object) -> None:
        if left:
            left.pop()
            assert reader.READER._launched is not None
            reader.READER._launched.process.kill()
            reader.READER._launched.process.wait()
        awaited(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(reader, "_await", kill_once)
    monkeypatch.setattr(reader, "_PATIENCE_S", 0.01)
    assert len(read_parquet(good, SCORES)) == 1 and not left


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ESTALE])
def test_a_table_that_the_system_cannot_read_is_not_called_damaged(
    good: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(SystemFaultError, match=os.strerror(number)):
        read_parquet(good, SCORES)


def test_a_table_that_takes_too_long_is_refused(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_parquet(good, SCORES)
    assert reader.READER._launched is not None
    os.kill(reader.READER._launched.process.pid, signal.SIGSTOP)
    monkeypatch.setattr(parquet, "LIMITS", TableLimits(deadline_s=0.0))
    with pytest.raises(RunError, match="was not read within"):
        read_parquet(good, SCORES)
    monkeypatch.undo()
    assert len(read_parquet(good, SCORES)) == 1


def test_a_fork_uses_a_reader_of_its_own(good: Path) -> None:
    read_parquet(good, SCORES)
    assert reader.READER._launched is not None
    mine = reader.READER._launched.process
    script = (
        "import os, sys, warnings; from pathlib import Path\n"
        "from javisbench.isolated import parquet as reader; from javisbench.results import parquet\n"
        "warnings.simplefilter('ignore')\n"
        "read = lambda: len(parquet.read_parquet(Path(sys.argv[1]), parquet.SCORES))\n"
        "read(); pid = reader.READER._launched.process.pid\n"
        "if os.fork() == 0:\n"
        "    os._exit(0 if read() == 1 and reader.READER._launched.process.pid != pid else 1)\n"
        "assert os.wait()[1] == 0 and read() == 1 and reader.READER._launched.process.pid == pid\n"
    )
    subprocess.run([sys.executable, "-c", script, good], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert mine.poll() is None


def test_nothing_else_reads_parquet() -> None:
    """One reader for all tables of runs; clips in tables come as streams, and have limits of their own."""
    direct = re.compile(r"\b(ParquetFile|ParquetDataset|from_parquet|\w+\.read_(table|parquet|metadata|schema))\(")
    files = [path for room in ("javisbench", "metrics", "baselines") for path in (ROOT / room).rglob("*.py")]
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}
    found = [f"{name}: {used[1]}" for name, text in texts.items() for used in direct.finditer(text)]
    assert set(found) == {
        "javisbench/isolated/parquet_worker.py: ParquetFile",
        "javisbench/places/table_worker.py: ParquetFile",
    }
    assert found.count("javisbench/places/table_worker.py: ParquetFile") == 1
