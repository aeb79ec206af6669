"""Decoding processes: order, independence of their number, limits, deaths and replacements."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from javisbench.clip import Clip
from javisbench.errors import MediaError
from javisbench.media import ClipReader, ClipSource, DecodeLimits, read_clip
from javisbench.media import process as process_module
from javisbench.media.pool import WholeClip

Encode = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def decoders_are_kept() -> None:
    """They are not: processes are what is tested here."""


def _sources(folder: Path) -> list[ClipSource]:
    return [ClipSource(path.stem, path, path.with_suffix(".wav")) for path in sorted(folder.glob("*.mp4"))]


def _same(one: Clip, other: Clip) -> bool:
    assert one.audio is not None and other.audio is not None
    assert one.frame_times_s is not None and other.frame_times_s is not None
    return (
        np.array_equal(one.frames, other.frames)
        and np.array_equal(one.audio, other.audio)
        and np.array_equal(one.frame_times_s, other.frame_times_s)
        and (one.fps, one.sample_rate, one.audio_source) == (other.fps, other.sample_rate, other.audio_source)
    )


def test_order_and_bits_do_not_depend_on_the_number_of_processes(clips_fake: Path) -> None:
    sources = _sources(clips_fake)
    with ClipReader(1, lookahead=1) as one, ClipReader(3) as three:
        for (source, clip), (other_source, other_clip), wanted in zip(
            one.read(sources), three.read(sources), sources, strict=True
        ):
            assert source is other_source is wanted
            assert isinstance(clip, Clip) and isinstance(other_clip, Clip)
            assert _same(clip, other_clip)


def test_a_reader_can_be_used_again_and_by_two_loops_at_once(clips_fake: Path) -> None:
    sources = _sources(clips_fake)[:3]
    with ClipReader(2, lookahead=2) as reader:
        for (one, _), (other, _) in zip(reader.read(sources), reader.read(sources[::-1]), strict=True):
            assert sources.index(one) + sources.index(other) == 2
        assert len(list(reader.read(sources))) == 3


def test_nothing_is_taken_far_ahead_of_the_caller(encode: Encode) -> None:
    path, taken = encode(), []

    def sources() -> Iterator[ClipSource]:
        for number in range(100):
            taken.append(number)
            yield ClipSource(str(number), path)

    with ClipReader(1, lookahead=5) as reader:
        clips = reader.read(sources())
        for _ in range(3):
            next(clips)
        assert 3 <= len(taken) <= 3 + 5


def test_decoded_clips_that_wait_are_bounded_in_bytes(encode: Encode) -> None:
    path = encode()
    clip_bytes = 12 * 48 * 64 * 3
    limits = DecodeLimits(max_decoded_bytes=3 * clip_bytes)
    with ClipReader(1, limits, lookahead=50) as reader:
        clips = reader.read(ClipSource(str(number), path) for number in range(50))
        next(clips)
        time.sleep(0.5)
        assert reader.waiting_bytes <= 3 * clip_bytes
        assert reader.waiting == reader.waiting_bytes // clip_bytes > 0
        assert sum(1 for _ in clips) == 49
        assert reader.waiting == reader.waiting_bytes == 0


def test_reading_that_is_given_up_before_its_first_clip_leaves_nothing(encode: Encode) -> None:
    path = encode()

    def sources() -> Iterator[ClipSource]:
        yield ClipSource("a", path)
        yield ClipSource("b", path)
        raise RuntimeError("the list of clips ended")

    with ClipReader(1) as reader:
        with pytest.raises(RuntimeError, match="the list of clips ended"):
            list(reader.read(sources()))
        never_begun = reader.stream([ClipSource("c", path)] * 3, lambda _, head: WholeClip(head, DecodeLimits()))
        del never_begun
        ((_, clip),) = reader.read([ClipSource("d", path)])
        assert isinstance(clip, Clip)
        assert reader.waiting == reader.waiting_bytes == 0 and not reader._jobs


def test_leaving_early_leaves_no_processes(clips_fake: Path) -> None:
    with ClipReader(2) as reader:
        for _, _ in reader.read(_sources(clips_fake)):
            break
        pids = [worker.process.pid for worker in reader._workers if worker.process is not None]
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(ValueError, match="closed"):
        next(reader.read(_sources(clips_fake)))


def test_a_killed_process_costs_its_own_clip_alone(clips_fake: Path, bad_clips: tuple[Path, dict[str, str]]) -> None:
    good = _sources(clips_fake)[:4]
    endless = ClipSource("victim", bad_clips[0] / "stalls.mp4")
    with ClipReader(1, DecodeLimits(patience_s=0)) as reader:
        killer = threading.Thread(target=_kill_when_busy, args=(reader,))
        killer.start()
        results = dict(reader.read([*good[:2], endless, *good[2:]]))
        killer.join()
    death = results.pop(endless)
    assert isinstance(death, MediaError) and death.kind == "worker_died"
    assert "signal 9" in death.message
    assert len(results) == 4 and all(isinstance(clip, Clip) for clip in results.values())


def _kill_when_busy(reader: ClipReader) -> None:
    """Kill the process once it has spent two seconds of processor time, which the good clips never take."""
    while True:
        process = reader._workers[0].process
        if process is not None and _processor_seconds(process.pid) > 2:
            os.kill(process.pid, signal.SIGKILL)
            return
        time.sleep(0.05)


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_process_that_dies_between_clips_costs_nothing(clips_fake: Path) -> None:
    sources = _sources(clips_fake)[:2]
    with ClipReader(1) as reader:
        assert all(isinstance(clip, Clip) for _, clip in reader.read(sources))
        process = reader._workers[0].process
        assert process is not None
        process.kill()
        process.wait()
        assert all(isinstance(clip, Clip) for _, clip in reader.read(sources))


def test_a_clip_beyond_the_deadline(bad_clips: tuple[Path, dict[str, str]], encode: Encode) -> None:
    started = time.monotonic()
    sources = [ClipSource("late", bad_clips[0] / "stalls.mp4"), ClipSource("good", encode())]
    with ClipReader(1, DecodeLimits(deadline_s=1)) as reader:
        (_, late), (_, good) = reader.read(sources)
    assert isinstance(late, MediaError) and late.kind == "timeout" and "--clip-deadline" in late.message
    assert isinstance(good, Clip)
    assert time.monotonic() - started < 240


def test_a_clip_over_the_limit_of_bytes(encode: Encode) -> None:
    declared, undeclared = encode("declared.mp4"), encode("undeclared.mkv")
    limits = DecodeLimits(max_decoded_bytes=5 * 48 * 64 * 3)
    for path in (declared, undeclared):
        with pytest.raises(MediaError) as refusal:
            read_clip(path, limits=limits)
        assert refusal.value.kind == "too_large"
        assert path.name in refusal.value.message


def test_the_sound_counts_against_the_limit(encode: Encode) -> None:
    path = encode("long.mkv", frames=2, sound="pcm_s16le", seconds=20)
    with pytest.raises(MediaError) as refusal:
        read_clip(path, limits=DecodeLimits(max_decoded_bytes=500_000))
    assert refusal.value.kind == "too_large"


def test_a_decoder_that_needs_too_much_memory(encode: Encode) -> None:
    path = encode(size=(4096, 2304), frames=2, options={"preset": "ultrafast"})
    assert len(read_clip(path).frames) == 2
    # The process itself takes 210 MiB of address space. FFmpeg reports some failed allocations as bad data.
    with pytest.raises(MediaError) as refusal:
        read_clip(path, limits=DecodeLimits(address_space_bytes=240 * 2**20))
    assert refusal.value.kind in ("too_large", "decode_error")


def test_processes_import_neither_torch_nor_the_callers_script(tmp_path: Path, encode: Encode) -> None:
    """A script without an import guard, in a folder with modules that shadow real ones."""
    path = encode()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for module in ("av", "numpy", "soundfile", "json"):
        (elsewhere / f"{module}.py").write_text("raise SystemExit('the wrong module')")
    script = tmp_path / "script.py"
    script.write_text(
        "print('started')\n"
        "import sys\n"
        "from javisbench.media import ClipReader, ClipSource\n"
        "from pathlib import Path\n"
        "with ClipReader(2) as reader:\n"
        "    for _, clip in reader.read([ClipSource('x', Path(sys.argv[1]))] * 4):\n"
        "        print(clip.frames.shape)\n"
        "    pid = reader._workers[0].process.pid\n"
        "    print('torch' in Path(f'/proc/{pid}/maps').read_text())\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(path)], cwd=elsewhere, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines() == ["started", *["(12, 48, 64, 3)"] * 4, "False"]


def test_importing_the_package_is_free() -> None:
    code = (
        "import sys, javisbench.media\n"
        "print(sorted({'torch', 'pandas', 'numpy', 'av', 'soundfile'} & set(sys.modules)))\n"
        "from javisbench.media import ClipReader, ClipSource, read_clip, write_clip\n"
        "print(sorted({'torch', 'pandas', 'numpy', 'av', 'soundfile'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_ctrl_c_ends_a_script_and_its_processes(tmp_path: Path, bad_clips: tuple[Path, dict[str, str]]) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from javisbench.media import ClipReader, ClipSource\n"
        "with ClipReader(1) as reader:\n"
        "    clips = reader.read([ClipSource('x', Path(sys.argv[1]))])\n"
        "    reader._workers[0]._connected()\n"
        "    print(reader._workers[0].process.pid, flush=True)\n"
        "    next(clips)\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script), str(bad_clips[0] / "stalls.mp4")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and hand that on to their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(120) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch, encode: Encode) -> None:
    path = encode()
    monkeypatch.setattr(process_module, "_MODULE", "javisbench.media.no_such_module")
    with ClipReader(1) as reader, pytest.raises(MediaError) as failure:
        list(reader.read([ClipSource("x", path)]))
    assert failure.value.kind == "worker_start"
    assert "no_such_module" in failure.value.message


def test_a_process_that_is_killed_while_it_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encode: Encode
) -> None:
    """A shortage of memory ends processes at any moment; that one was still starting says nothing of the next."""
    (tmp_path / "stumbling.py").write_text(
        "import os, pathlib, signal\n"
        f"path = pathlib.Path({str(tmp_path / 'once')!r})\n"
        "if not path.exists():\n"
        "    path.touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "from javisbench.media.worker import main\n"
        "main()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(process_module, "_MODULE", "stumbling")
    with ClipReader(1) as reader:
        ((_, clip),) = reader.read([ClipSource("x", encode())])
    assert not isinstance(clip, MediaError)
    assert (tmp_path / "once").exists()


@pytest.mark.parametrize("reply", ["{}", '{"clip": {"frames": [9, 9]}}', "[]", "nonsense"])
def test_a_process_that_sends_nonsense(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encode: Encode, reply: str
) -> None:
    """What a decoder taken over by a hostile file may send must not get further than its own clip."""
    (tmp_path / "impostor.py").write_text(
        "import os, socket\n"
        "from javisbench.isolated.wire import receive, send\n"
        "connection = socket.socket(fileno=os.dup(0))\n"
        "receive(connection), send(connection, {'ready': True}), receive(connection)\n"
        f"data = {reply!r}.encode()\n"
        "connection.sendall(len(data).to_bytes(4, 'big') + data)\n"
        "receive(connection)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(process_module, "_MODULE", "impostor")
    with ClipReader(1) as reader:
        ((_, outcome),) = reader.read([ClipSource("x", encode())])
    assert isinstance(outcome, MediaError) and outcome.kind == "worker_died"


@pytest.mark.parametrize("arguments", [{"workers": 0}, {"lookahead": 0}])
def test_senseless_arguments(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        ClipReader(**arguments)


def test_a_process_with_many_open_files_reads_clips(encode: Encode) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1400:
        pytest.skip("not that many files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1400), hard))
    path = encode("many.mp4")
    descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert len(read_clip(path).frames)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
