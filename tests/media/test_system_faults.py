"""What the system does to a reader of clips costs time, or ends the reading; it never costs a good clip."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from javisbench.clip import Clip, ClipHead
from javisbench.errors import MediaError, SystemFaultError
from javisbench.media import ClipReader, ClipSource, DecodeLimits
from javisbench.media import process as process_module
from javisbench.media.pool import WholeClip
from javisbench.run.content_index import hash_sources
from javisbench.run.progress import Silent
from javisbench.system_faults import SYSTEMS, Fault, Places, awake_s, errno_of, fault_of, tried_again, waits_s

Encode = Callable[..., Path]
QUICK = DecodeLimits(patience_s=0.05)


@pytest.fixture(scope="module", autouse=True)
def decoders_are_kept() -> None:
    """They are not: processes are what is tested here."""


# A decoding process that cannot open a file as the one beside it, NAME.fault, says: an error number, and how often (for
# ever without it).
FAILING = """
import os, pathlib
real = os.open
def failing(path, *given, **more):
    fault = pathlib.Path(f"{path}.fault")
    if fault.exists():
        code, _, left = fault.read_text().partition(" ")
        if left == "1":
            fault.unlink()
        elif left:
            fault.write_text(f"{code} {int(left) - 1}")
        raise OSError(int(code), os.strerror(int(code)), str(path))
    return real(path, *given, **more)
os.open = failing
from javisbench.media.worker import main
main()
"""


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Decoding processes fail as told: ``failing(clip, error number, how often)``."""
    (tmp_path / "module").mkdir()
    (tmp_path / "module/failing_worker.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path / "module")
    monkeypatch.setattr(process_module, "_MODULE", "failing_worker")

    def fail(clip: Path, code: int, often: int | None = None) -> None:
        Path(f"{clip}.fault").write_text(f"{code}" + ("" if often is None else f" {often}"))

    return fail


@pytest.fixture
def clips(encode: Encode, tmp_path: Path) -> list[ClipSource]:
    """Three clips in a folder of their own."""
    folder = tmp_path / "clips"
    folder.mkdir()
    one = encode()
    for name in "abc":
        shutil.copy(one, folder / f"{name}.mp4")
    return [ClipSource(name, folder / f"{name}.mp4") for name in "abc"]


def read(clips: list[ClipSource], places: Places | None = None) -> dict[str, Clip | MediaError]:
    with ClipReader(1, QUICK, lookahead=1, places=places) as reader:
        return {source.sample_id: outcome for source, outcome in reader.read(clips)}


def test_a_fault_that_passes_costs_nothing(clips: list[ClipSource], failing: Callable[..., None]) -> None:
    failing(clips[0].video, errno.ESTALE, 2)
    failing(clips[1].video, errno.EIO, 1)
    failing(clips[2].video, errno.ENFILE, 3)
    assert all(isinstance(outcome, Clip) for outcome in read(clips).values())


def test_a_fault_of_one_file_costs_that_file(clips: list[ClipSource], failing: Callable[..., None]) -> None:
    """A bad sector: its neighbour, read before, can be read even now."""
    failing(clips[1].video, errno.EIO)
    outcomes = read(clips)
    spoiled = outcomes.pop("b")
    assert isinstance(spoiled, MediaError) and spoiled.kind == "unreadable"
    assert "Input/output error" in spoiled.message and "this file alone" in spoiled.message
    assert all(isinstance(outcome, Clip) for outcome in outcomes.values())


def test_a_fault_of_all_files_ends_the_reading(clips: list[ClipSource], failing: Callable[..., None]) -> None:
    outcomes = {}
    with ClipReader(1, QUICK, lookahead=1) as reader:
        with pytest.raises(SystemFaultError, match=r"b\.mp4 cannot be read: Stale file handle") as caught:
            for source, outcome in reader.read(clips):
                outcomes[source.sample_id] = outcome
                for clip in clips:
                    failing(clip.video, errno.ESTALE)
        assert list(outcomes) == ["a"]
    assert caught.value.exit_code == 3


def test_a_folder_that_vanishes_is_no_fault_of_its_clips(clips: list[ClipSource], tmp_path: Path) -> None:
    places = Places(source.video for source in clips)
    clips[0].video.parent.rename(tmp_path / "away")
    with pytest.raises(SystemFaultError, match=r"the folder .*clips is not there any more"):
        read(clips, places)
    # As under a mount that is gone: there is a folder again, and it is another.
    clips[0].video.parent.mkdir()
    with pytest.raises(SystemFaultError, match="is not there any more"):
        read(clips, places)


def test_a_folder_that_was_away_while_clips_were_read_ahead_costs_none(clips: list[ClipSource], tmp_path: Path) -> None:
    folder, opened = clips[0].video.parent, []

    def opening(source: ClipSource, head: ClipHead) -> WholeClip:
        # The others are read ahead while the first waits for its consumer.
        if not opened:
            folder.rename(tmp_path / "away")
        opened.append(source.sample_id)
        return WholeClip(head, QUICK)

    places = Places(source.video for source in clips)
    found = {}
    with ClipReader(1, QUICK, places=places) as reader:
        stream = reader.stream(clips, opening)
        found["a"] = next(stream)[1]
        while stream.gi_frame.f_locals["pending"] and not all(job.done for job in stream.gi_frame.f_locals["pending"]):
            time.sleep(0.01)
        (tmp_path / "away").rename(folder)
        found |= {source.sample_id: outcome for source, outcome in stream}
    assert all(isinstance(outcome, WholeClip) for outcome in found.values())


def test_a_file_that_vanishes_alone_is_a_clip_that_is_not_found(clips: list[ClipSource]) -> None:
    places = Places(source.video for source in clips)
    clips[1].video.unlink()
    missing = read(clips, places)["b"]
    assert isinstance(missing, MediaError) and missing.kind == "not_found"


def linked(clips: list[ClipSource], tmp_path: Path) -> Path:
    """A folder of links to the clips' videos."""
    links = tmp_path / "links"
    links.mkdir()
    for source in clips:
        (links / source.video.name).symlink_to(source.video)
    return links


def test_links_belong_to_the_folder_that_they_lead_to(clips: list[ClipSource], tmp_path: Path) -> None:
    links = linked(clips, tmp_path)
    places = Places(links.iterdir())
    clips[0].video.parent.rename(tmp_path / "away")
    with pytest.raises(SystemFaultError, match=r"clips is not there any more"):
        read([ClipSource("a", links / "a.mp4")], places)
    # One that led nowhere from the beginning is a bad clip.
    outcome = read([ClipSource("a", links / "a.mp4")], Places(links.iterdir()))["a"]
    assert isinstance(outcome, MediaError) and outcome.kind == "not_found"


def test_links_belong_to_their_own_folder_too(clips: list[ClipSource], tmp_path: Path) -> None:
    links = linked(clips, tmp_path)
    places = Places(links.iterdir())
    links.rename(tmp_path / "away")
    with pytest.raises(SystemFaultError, match=r"links is not there any more"):
        read([ClipSource("a", links / "a.mp4")], places)


class Ending:
    """Opens clips, and does something to the decoding process when it has begun one."""

    def __init__(self, reader: ClipReader, name: str, act: Callable[[int], None], often: int) -> None:
        self.reader, self.name, self.act, self.left = reader, name, act, often

    def __call__(self, source: ClipSource, head: ClipHead) -> WholeClip:
        if source.sample_id == self.name and self.left:
            self.left -= 1
            process = self.reader._workers[0].process
            assert process is not None
            self.act(process.pid)
        return WholeClip(head, QUICK)


def killed(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("often", "kinds"), [(2, {}), (99, {"b": "worker_died"})])
def test_a_process_killed_for_memory_is_tried_again(clips: list[ClipSource], often: int, kinds: dict[str, str]) -> None:
    """As long as another clip can still be read, one that always ends so is too much for the machine."""
    with ClipReader(1, QUICK, lookahead=1) as reader:
        found = dict(reader.stream(clips, Ending(reader, "b", killed, often)))
    failures = {source.sample_id: f.kind for source, f in found.items() if isinstance(f, MediaError)}
    assert failures == kinds


def test_memory_that_suffices_for_no_clip_ends_the_reading(clips: list[ClipSource]) -> None:
    with ClipReader(1, DecodeLimits(patience_s=0), lookahead=1) as reader:
        endings = [Ending(reader, name, killed, 99) for name in "abc"]

        def opened(source: ClipSource, head: ClipHead) -> WholeClip:
            return next(ending(source, head) for ending in endings if ending.name == source.sample_id)

        with pytest.raises(SystemFaultError, match="killed by signal 9"):
            list(reader.stream(clips, opened))


def test_a_process_that_is_stopped_is_no_clip_beyond_its_deadline(clips: list[ClipSource]) -> None:
    limits = DecodeLimits(deadline_s=0.6, patience_s=0.05)
    with ClipReader(1, limits, lookahead=1) as reader:
        stopped = Ending(reader, "b", lambda pid: os.kill(pid, signal.SIGSTOP), 1)
        found = {source.sample_id: outcome for source, outcome in reader.stream(clips, stopped)}
    assert all(isinstance(outcome, WholeClip) for outcome in found.values())


def test_a_wait_that_comes_back_late_counts_what_was_asked() -> None:
    assert awake_s(1.0, 3600.0) == 1.0
    assert awake_s(1.0, 0.2) == 0.2


def test_a_process_that_cannot_be_started_ends_the_reading(
    clips: list[ClipSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_left(*_: Any, **__: Any) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(process_module.subprocess, "Popen", nothing_left)
    with pytest.raises(SystemFaultError, match="No decoding process can be started"):
        read(clips)


def test_no_descriptors_end_the_reading_and_cost_no_clip(clips: list[ClipSource]) -> None:
    """A message that lost its descriptor on the way is told from nonsense."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ClipReader(1, QUICK, lookahead=1) as reader:
        stream = reader.read(clips)
        assert isinstance(next(stream)[1], Clip)
        taken = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
            with pytest.raises(OSError, match="Too many open files"):
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            with pytest.raises(SystemFaultError, match="Too many open files"):
                next(stream)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for descriptor in taken:
                os.close(descriptor)


def test_waits_grow_and_last_as_long_as_the_patience() -> None:
    waits = list(waits_s(60.0))
    assert sum(waits) == pytest.approx(60.0)
    assert all(later > 2 * earlier for earlier, later in itertools.pairwise(waits))
    assert list(waits_s(0.0)) == []


def test_a_failure_that_turns_into_the_clips_own_is_not_tried_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    outcomes: Iterator[Any] = iter([OSError(errno.EIO, "again"), ValueError("own"), AssertionError("asked once more")])
    outcome, fault = tried_again(OSError(errno.EIO, "first"), lambda: next(outcomes), fault_of, 60.0, "x")
    assert isinstance(outcome, ValueError) and fault is None


def test_a_socket_in_place_of_a_clip_is_the_clips_own_fault(tmp_path: Path) -> None:
    """Though the system's word for it is that of a device that has gone."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "a.mp4"))
        source = ClipSource("a", tmp_path / "a.mp4")
        outcome = read([source])["a"]
        assert isinstance(outcome, MediaError) and outcome.kind == "not_a_file"
        index = hash_sources([source], 1, Silent(), limits=QUICK)
    assert index.errors[source].kind == "not_a_file"


@pytest.mark.parametrize(("lasting", "told"), [(False, None), (True, "0 of 3 clips are read")])
def test_hashing_waits_for_the_system_too(
    clips: list[ClipSource], monkeypatch: pytest.MonkeyPatch, lasting: bool, told: str | None
) -> None:
    real, failures = os.open, itertools.count()

    def failing(path: Any, *given: Any, **more: Any) -> int:
        if str(path).endswith(".mp4") and (lasting or next(failures) < 4):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return real(path, *given, **more)

    monkeypatch.setattr(os, "open", failing)
    if told is None:
        assert len(hash_sources(clips, 2, Silent(), limits=QUICK).hashes) == 3
    else:
        with pytest.raises(SystemFaultError, match=told):
            hash_sources(clips, 2, Silent(), limits=QUICK)


def test_errors_are_told_apart() -> None:
    import av.error

    def caused(cause: BaseException) -> MediaError:
        error = MediaError("x", kind="short_read")
        error.__cause__ = cause
        return error

    assert {errno.ESTALE, errno.EIO, errno.EMFILE, errno.ENOSPC} <= SYSTEMS
    assert not {errno.ENOENT, errno.EACCES, errno.EINVAL, errno.EPIPE} & SYSTEMS
    assert errno_of(caused(OSError(errno.ESTALE, "stale"))) == errno.ESTALE
    # FFmpeg calls damage an input/output error; whether the disk says so too is asked of the disk.
    assert fault_of(caused(av.error.OSError(errno.EIO, "Input/output error"))) is None
    assert fault_of(RuntimeError("CUDA error: an illegal memory access was encountered\nmore")) == Fault(
        "CUDA error: an illegal memory access was encountered"
    )
    assert fault_of(MemoryError()) == Fault("out of memory", certain=False)
    assert fault_of(ValueError("a defect")) is None
