"""Writes: whole or not at all, whatever happens in between; locks that name their holder."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from javisbench.durable import (
    append_jsonl,
    atomic_path,
    locked,
    patiently,
    read_json,
    read_jsonl,
    sweep_temporaries,
    write_json,
)
from javisbench.errors import RunError, SystemFaultError


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"old": 1})
    with pytest.raises(ValueError, match="defect"), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise ValueError("defect")
    assert read_json(target) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_data_is_on_the_disk_before_its_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events, fsync, replace = [], os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        events.append("sync folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "sync file")
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        events.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    write_json(tmp_path / "a.json", 1)
    assert events == ["sync file", "rename", "sync folder"]
    events.clear()
    append_jsonl(tmp_path / "f.jsonl", {})
    assert events == ["sync file"]


def test_nan_never_reaches_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.ENOSPC, "no_space"), (errno.EACCES, "not_writable"), (errno.EROFS, "not_writable")]
)
def test_disk_trouble_is_an_error_to_act_on(tmp_path: Path, code: int, kind: str) -> None:
    target = tmp_path / "a.json"
    write_json(target, 1)
    with pytest.raises(RunError) as caught, atomic_path(target):
        raise OSError(code, os.strerror(code))
    assert caught.value.kind == kind
    assert "Nothing written so far is lost" in caught.value.message
    assert read_json(target) == 1


def test_torn_lines_are_skipped_and_do_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    append_jsonl(path, {"a": 1})
    with path.open("ab") as file:
        file.write(b'{"a": 2, "tor')
    assert read_jsonl(path) == [{"a": 1}]
    append_jsonl(path, {"a": 3})
    assert read_jsonl(path) == [{"a": 1}, {"a": 3}]


def test_messages_with_other_line_breaks_are_whole_lines(tmp_path: Path) -> None:
    row = {"message": "next\u2028line\u0085and\x0bmore\r"}
    append_jsonl(tmp_path / "f.jsonl", row)
    assert read_jsonl(tmp_path / "f.jsonl") == [row]


def test_stale_temporaries_are_swept(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / ".tmp-1-abc-sample_0000.mp4").write_bytes(b"half")
    # As encoders of clips call theirs.
    (tmp_path / "clips" / ".sample_0001.tmp.mp4").write_bytes(b"half")
    (tmp_path / "kept.json").write_text("{}")
    assert sweep_temporaries(tmp_path) == 2
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["kept.json"]


def test_damaged_json_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json"):
        read_json(tmp_path / "run.json")
    with pytest.raises(RunError, match="is missing"):
        read_json(tmp_path / "nothing.json")


class FullDisk(io.FileIO):
    """A file on a disk without room."""

    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_lock_on_a_full_disk_is_an_error_to_act_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", lambda path, *_, **__: FullDisk(path, "ab+"))
    with pytest.raises(RunError) as caught, locked(tmp_path):
        pass
    assert caught.value.kind == "no_space"


@pytest.mark.parametrize("within", ["file/run", "n" * 300, "loop/run"])
def test_what_cannot_be_a_folder_is_an_error_to_act_on(tmp_path: Path, within: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(RunError, match="cannot be a folder to write to") as raised, locked(tmp_path / within):
        pass
    assert raised.value.exit_code == 2


def test_without_locks_on_the_file_system_work_goes_on_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", flock)
    with locked(tmp_path):
        pass
    assert "without locks" in caplog.text


def test_file_systems_that_cannot_sync_a_folder_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, fsync = [], os.fsync

    def picky(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        synced.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", picky)
    write_json(tmp_path / "a.json", 1)
    assert (read_json(tmp_path / "a.json"), len(synced)) == (1, 1)


_HOLD = "import sys,time;from pathlib import Path;from javisbench.durable import locked\n" \
    "with locked(Path(sys.argv[1])):\n print('held', flush=True)\n time.sleep(60)"  # fmt: skip


def test_a_second_process_is_refused_with_the_holders_name_until_it_dies(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"process {holder.pid}") as caught, locked(tmp_path):
            pass
        assert caught.value.kind == "locked"
    finally:
        holder.kill()
        holder.wait()
    deadline = time.monotonic() + 10
    while True:
        try:
            with locked(tmp_path):
                assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
                break
        except RunError:
            assert time.monotonic() < deadline


def failing(monkeypatch: pytest.MonkeyPatch, code: int, times: int) -> list[str]:
    """Let bringing files to the disk fail so many times; every try is noted with what was in the file."""
    tries, fsync = [], os.fsync

    def failed(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        tries.append("" if path.is_dir() else path.read_text())
        if len(tries) <= times:
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failed)
    return tries


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EMFILE])
def test_what_may_pass_is_written_again_from_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    tries = failing(monkeypatch, code, 2)
    patiently(lambda: write_json(tmp_path / "a.json", [1]), 0.01)
    assert read_json(tmp_path / "a.json") == [1]
    assert tries[:3] == ["[\n 1\n]\n"] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("code", "tries"), [(errno.ENOSPC, 1), (errno.EDQUOT, 1), (errno.EROFS, 1), (errno.EIO, 5)], ids=errno.errorcode.get
)
def test_what_needs_somebody_is_not_waited_for_and_nothing_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, tries: int
) -> None:
    tried = failing(monkeypatch, code, 1000)
    with pytest.raises(SystemFaultError):
        patiently(lambda: write_json(tmp_path / "a.json", [1]), 0.01)
    assert len(tried) == tries
    assert not list(tmp_path.iterdir())


def test_a_line_that_was_not_brought_to_the_disk_is_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "f.jsonl"
    append_jsonl(journal, {"n": 0})
    with journal.open("ab") as file:
        file.write(b'{"torn')
    failing(monkeypatch, errno.EIO, 2)
    patiently(lambda: append_jsonl(journal, {"n": 1}), 0.01)
    assert journal.read_text() == '{"n": 0}\n{"torn\n{"n": 1}\n'


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOMEM])
def test_a_file_that_the_system_cannot_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(SystemFaultError, match=f"{os.strerror(code)}.*Run the same command"):
        read_json(tmp_path / "run.json")


@pytest.mark.parametrize("worked_here", [False, True])
def test_a_folder_that_was_once_written_to_and_is_read_only_now_is_the_system_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worked_here: bool
) -> None:
    if worked_here:
        with locked(tmp_path):
            pass

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(RunError) as raised, locked(tmp_path):
        pass
    assert (raised.value.kind, raised.value.exit_code) == ("not_writable", 3 if worked_here else 2)
