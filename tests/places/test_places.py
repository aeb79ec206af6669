"""Files elsewhere: paths for URLs, names of clips, a cache with a bound, folders that are written back."""

from __future__ import annotations

import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from javisbench.errors import JavisbenchError, RunError, SuiteError, UsageError
from javisbench.matching import match_clips, match_paths
from javisbench.media.source import ClipSource, content_hash
from javisbench.places import Cache, PlaceError, gather, is_table, is_url, located, named
from javisbench.places.mirror import Pace, fetched, worked_on
from javisbench.places.remote import Remote
from javisbench.places.tables import bring_row_group
from javisbench.places.urls import shown
from javisbench.run.engine import _parts
from javisbench.suite import load_suite

SEGMENT = st.text(st.characters(blacklist_characters="/?#", blacklist_categories=["Cs", "Cc"]), min_size=0, max_size=20)


@given(st.lists(SEGMENT, min_size=1, max_size=5).filter(lambda parts: parts[-1] != ""))
def test_the_path_of_a_url_is_below_the_root_and_leads_back(parts: list[str]) -> None:
    cache = Cache(Path("/cache"))
    url = "s3://bucket/" + "/".join(parts)
    path = cache.path_of(url)
    assert path.is_relative_to(cache.root)
    assert ".." not in path.parts
    assert cache.url_of(path) == url


def test_what_is_no_url() -> None:
    assert is_url("s3://bucket/x")
    assert not any(map(is_url, ("clips", "/a/b", "C:/x", "folder:clips", Path("s3://bucket/x"), None)))


def test_secrets_in_urls_are_not_shown_nor_recorded(cache: Cache) -> None:
    url = "https://name:word@host/x.mp4?X-Signature=abc"
    assert shown(url) == "https://host/x.mp4"
    assert "word" not in located(cache.path_of(url)) + named(cache.path_of(url))


def test_a_cache_without_a_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in ("0", "-1", "much", "inf", "nan"):
        monkeypatch.setenv("JAVISBENCH_CACHE_SIZE", size)
        with pytest.raises(UsageError, match="--cache-size"):
            Cache.from_environment()


def upload(memory: Any, clips: Path, folder: str = "/b/clips") -> str:
    for path in clips.iterdir():
        memory.pipe_file(f"{folder}/{path.name}", path.read_bytes())
    return f"memory:/{folder}"


def hashes(folder: Path, suite: str) -> dict[str, str]:
    matched = match_clips(folder, load_suite(suite))
    return {item.sample.id: content_hash(item.source) for item in matched.items if item.source is not None}


def test_a_folder_elsewhere_is_the_same_clips(memory: Any, clips: Path, cache: Cache) -> None:
    url = upload(memory, clips)
    folder = gather(url, cache)
    assert sum(path.stat().st_size for path in folder.glob("*.mp4")) < 1000  # names alone
    assert hashes(folder, url) == hashes(clips, str(clips))
    assert load_suite(url).hash == load_suite(str(clips)).hash
    assert load_suite(url).source == url


def test_names_follow_what_is_there(memory: Any, clips: Path, cache: Cache) -> None:
    url = upload(memory, clips)
    before = hashes(gather(url, cache), url)
    memory.rm_file("/b/clips/a0.mp4")
    memory.pipe_file("/b/clips/a1.mp4", (clips / "a2.mp4").read_bytes())
    after = hashes(gather(url, cache), url)
    assert "a0" not in after
    assert after["a1"] != before["a1"]
    assert after["a2"] == before["a2"]


def packed(clips: Path, target: Path, names: list[str]) -> Path:
    with tarfile.open(target, "w") as tar:
        for name in names:
            tar.add(clips / name, f"deep/{name}")
    return target


def test_tars_here_and_elsewhere_are_the_same_clips(memory: Any, clips: Path, cache: Cache, tmp_path: Path) -> None:
    names = sorted(path.name for path in clips.iterdir())
    for number, part in enumerate((names[:3], names[3:])):
        packed(clips, tmp_path / f"part-{number:02d}.tar", part)
        memory.put_file(str(tmp_path / f"part-{number:02d}.tar"), f"/b/part-{number:02d}.tar")
    wanted = hashes(clips, str(clips))
    for spec in (f"{tmp_path}/part-*.tar", "memory://b/part-{00..01}.tar", "memory://b"):
        folder = gather(spec, cache, prompts=True)
        assert hashes(folder, str(folder)) == wanted, spec


def test_tables_with_a_video_column_are_clips(memory: Any, clips: Path, cache: Cache, tmp_path: Path) -> None:
    cells = [{"bytes": (clips / f"a{n}.mp4").read_bytes(), "path": f"{n}.mp4"} for n in range(3)]
    table = pa.table({"id": ["a0", "a1", "a2"], "video": cells, "text": [f"prompt {n}" for n in range(3)]})
    pq.write_table(table, tmp_path / "test-0.parquet", row_group_size=2)
    memory.put_file(str(tmp_path / "test-0.parquet"), "/b/set/data/test-0.parquet")
    for spec in (tmp_path / "test-0.parquet", "memory://b/set"):
        folder = gather(spec, cache, prompts=True)
        assert {path.name: path.read_text() for path in folder.glob("*.txt")}["a1.txt"] == "prompt 1"
        for number in range(3):
            with cache.held(folder / f"a{number}.mp4") as here:
                assert here.read_bytes() == cells[number]["bytes"]


def test_containers_that_cannot_be_read_say_why(memory: Any, clips: Path, cache: Cache, tmp_path: Path) -> None:
    memory.pipe_file("/b/no.tar", b"nothing of that kind" * 100)
    memory.pipe_file("/b/no.parquet", b"nothing of that kind" * 100)
    for url in ("memory://b/no.tar", "memory://b/no.parquet"):
        with pytest.raises(PlaceError, match=r"is no .*"):
            gather(url, cache)
    with pytest.raises(UsageError, match=r"plain \.tar"):
        gather("memory://b/x.tar.gz", cache)
    with pytest.raises(PlaceError, match="nothing"):
        gather("memory://b/none-*.tar", cache)
    with pytest.raises(PlaceError, match="nothing there"):
        gather("memory://nowhere/clips", cache)
    with pytest.raises(UsageError, match="no file system"):
        gather("nonsense://x", cache)
    packed(clips, tmp_path / "one.tar", ["a0.mp4"])
    packed(clips, tmp_path / "two.tar", ["a0.mp4"])
    with pytest.raises(UsageError, match="one name"):
        gather(f"{tmp_path}/*.tar", cache)


def test_members_of_tars_lead_nowhere_else(cache: Cache, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        for name, kind in (
            ("../../up.mp4", tarfile.REGTYPE),
            ("link.mp4", tarfile.SYMTYPE),
            ("pipe", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, "/etc/passwd", 3 if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(b"abc"))
    folder = gather(tmp_path / "bad.tar", cache)
    assert [path.name for path in folder.iterdir()] == ["up.mp4"]
    with cache.held(folder / "up.mp4") as here:
        assert here.read_bytes() == b"abc"


def test_a_file_that_looks_like_a_name_is_none_outside_the_cache(cache: Cache, tmp_path: Path) -> None:
    trap = tmp_path / "trap.mp4"
    trap.write_bytes(Remote("https://host/x").to_bytes())
    with cache.held(trap) as here:
        assert here == trap


def test_a_full_cache_drops_what_was_not_read_for_longest(memory: Any, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "small", max_bytes=2500)
    for number in range(4):
        memory.pipe_file(f"/b/c/{number}.mp4", bytes([number]) * 1000)
    folder = gather("memory://b/c", cache)
    with cache.held(folder / "0.mp4") as first:
        for number in (1, 2, 3):
            with cache.held(folder / f"{number}.mp4") as here:
                assert here.read_bytes() == bytes([number]) * 1000
        assert first.read_bytes() == bytes(1000)  # is read, so it stays
        kept = [path.read_bytes()[0] for path in (cache.folder / "clips").glob("*/*")]
        assert sorted(kept) == [0, 3]


def test_clips_are_scored_in_parts_that_fit_into_the_cache(memory: Any, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "small", max_bytes=2600)
    for number in range(5):
        memory.pipe_file(f"/b/c/{number}.mp4", bytes(1000))
    folder = gather("memory://b/c", cache)
    clips = [ClipSource(str(number), folder / f"{number}.mp4", None, cache) for number in range(5)]
    here = ClipSource("here", tmp_path / "here.mp4")
    parts = [[source.sample_id for source in part] for part in _parts([*clips, here])]
    assert parts == [["0", "1"], ["2", "3"], ["4", "here"]]
    assert list(_parts([here] * 3)) == [[here] * 3]


def test_an_object_larger_than_the_cache_is_refused(memory: Any, tmp_path: Path) -> None:
    memory.pipe_file("/b/c/0.mp4", bytes(3000))
    cache = Cache(tmp_path / "small", max_bytes=2500)
    with pytest.raises(PlaceError, match="--cache-size"), cache.held(gather("memory://b/c", cache) / "0.mp4"):
        pass


def test_one_group_of_rows_comes_once(
    memory: Any, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [{"bytes": bytes([n]) * 100, "path": f"{n}.mp4"} for n in range(6)]
    pq.write_table(pa.table({"clip": cells}), tmp_path / "t.parquet")
    memory.put_file(str(tmp_path / "t.parquet"), "/b/t.parquet")
    folder = gather("memory://b/t.parquet", cache)
    begun = []
    whole = bring_row_group
    monkeypatch.setattr("javisbench.places.cache.bring_row_group", lambda *a: (begun.append(a), whole(*a)))

    def read(number: int) -> bytes:
        with cache.held(folder / f"{number}.mp4") as here:
            return here.read_bytes()

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(read, range(6))) == [cell["bytes"] for cell in cells]
    assert len(begun) == 1


def test_names_that_no_file_can_have_are_left_out(memory: Any, cache: Cache) -> None:
    for name in ("a.mp4", "x" * 300 + ".mp4", "sub/b.mp4"):
        memory.pipe_file(f"/b/odd/{name}", b"abc")
    assert [path.name for path in gather("memory://b/odd", cache).iterdir()] == ["a.mp4"]


def test_what_is_asked_of_a_web_server_names_no_file(cache: Cache) -> None:
    assert cache.path_of("https://host/my.csv?key=1") == cache.path_of("https://host/my.csv?key=2")
    assert is_table("https://host/my.csv?key=1", (".csv",))


def test_a_suite_elsewhere_names_clips_beside_it(memory: Any, clips: Path, cache: Cache) -> None:
    upload(memory, clips, "/b/s/real clips")
    memory.pipe_file("/b/s/suite.csv", b"id,text,path\nx,one,real clips/a0.mp4\ny,two,real clips/a1.mp4\n")
    suite = load_suite("memory://b/s/suite.csv")
    assert suite.source == "memory://b/s/suite.csv"
    items = match_paths(suite).items
    assert [item.source.title for item in items if item.source] == [f"memory://b/s/real clips/a{n}.mp4" for n in (0, 1)]
    assert all(item.source is not None and item.source.audio is not None for item in items)
    memory.pipe_file("/b/s/out.csv", b"text,path\none,../../other/a0.mp4\n")
    with pytest.raises(SuiteError, match="leaves the suite's folder"):
        load_suite("memory://b/s/out.csv")


def test_urls_in_cells_are_for_those_who_allow_them(memory: Any, clips: Path, tmp_path: Path) -> None:
    url = upload(memory, clips)
    (tmp_path / "s.csv").write_text(f"text,path\none,{url}/a0.mp4\n")
    with pytest.raises(SuiteError, match="is a URL; allow it with --allow-outside"):
        load_suite(str(tmp_path / "s.csv"))
    (item,) = match_paths(load_suite(str(tmp_path / "s.csv"), allow_outside=True)).items
    assert item.source is not None
    assert content_hash(item.source) == hashes(clips, str(clips))["a0"]


@pytest.fixture
def server(clips: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(clips))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_the_page_of_a_web_server_is_a_folder(server: str, clips: Path, cache: Cache) -> None:
    folder = gather(server, cache)
    assert hashes(folder, str(clips)) == hashes(clips, str(clips))
    with pytest.raises(PlaceError, match="nothing there"):
        cache.file(f"{server}/none.csv")


# Folders that are written back

FAST = Pace(write_s=0.05, silence_s=0.2)


def test_what_is_written_is_written_back_and_what_is_removed_is_removed(memory: Any) -> None:
    with worked_on("memory://b/run", pace=FAST) as folder:
        (folder / "features").mkdir(parents=True)
        (folder / "features/shard-000000.safetensors").write_bytes(b"one")
        (folder / "run.json").write_text("{}")
        (folder / ".tmp-1-run.json").write_text("half")
    assert sorted(memory.find("/b/run")) == ["/b/run/features/shard-000000.safetensors", "/b/run/run.json"]
    with worked_on("memory://b/run", pace=FAST) as folder:
        (folder / "run.json").write_text('{"a": 1}')
        (folder / "features/shard-000000.safetensors").unlink()
    assert memory.find("/b/run") == ["/b/run/run.json"]
    assert memory.cat("/b/run/run.json") == b'{"a": 1}'


def test_it_is_written_back_while_the_work_goes_on(memory: Any) -> None:
    with worked_on("memory://b/run", pace=FAST) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text("{}")
        written = threading.Event()
        while not memory.exists("/b/run/run.json"):
            written.wait(0.02)


def test_another_machine_goes_on_from_the_bucket(memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with worked_on("memory://b/run", pace=FAST) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text("first")
    monkeypatch.setenv("JAVISBENCH_CACHE_DIR", str(tmp_path / "other machine"))
    with worked_on("memory://b/run", pace=FAST) as folder:
        assert (folder / "run.json").read_text() == "first"
        (folder / "run.json").write_text("second one")
        (folder / "more.json").write_text("more")
    monkeypatch.setenv("JAVISBENCH_CACHE_DIR", str(tmp_path / "cache"))
    folder = fetched("memory://b/run")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"run.json": "second one", "more.json": "more"}


def test_what_a_killed_job_had_not_written_back_is_written_back_by_the_next(memory: Any) -> None:
    slow = Pace(write_s=600, silence_s=0.2)
    with pytest.raises(KeyboardInterrupt), worked_on("memory://b/run", pace=slow) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text("old")
        raise KeyboardInterrupt
    # A kill: nobody writes what was made since.
    (folder / "run.json").write_text("newer")
    (folder / "new.json").write_text("new")
    with worked_on("memory://b/run", pace=FAST) as folder:
        pass
    assert memory.cat("/b/run/run.json") == b"newer"
    assert memory.cat("/b/run/new.json") == b"new"


def test_reading_leaves_alone_what_is_worked_on_here(memory: Any) -> None:
    with worked_on("memory://b/run", pace=Pace(write_s=600)) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text("newer")
        memory.pipe_file("/b/run/run.json", b"old")
        assert (fetched("memory://b/run") / "run.json").read_text() == "newer"


def test_file_urls_are_paths(tmp_path: Path) -> None:
    with worked_on(f"file://{tmp_path}/run") as folder:
        assert folder == tmp_path / "run"


def test_clips_of_a_run_are_names_until_they_are_read(memory: Any, clips: Path, cache: Cache) -> None:
    upload(memory, clips, "/b/run/clips")
    memory.pipe_file("/b/run/clips/a0.json", b"{}")
    with worked_on("memory://b/run", pace=FAST) as folder:
        assert (folder / "clips/a0.json").read_text() == "{}"
        assert (folder / "clips/a0.mp4").stat().st_size < 1000
        with cache.held(folder / "clips/a0.mp4") as here:
            assert here.read_bytes() == (clips / "a0.mp4").read_bytes()
    assert memory.cat("/b/run/clips/a0.mp4") == (clips / "a0.mp4").read_bytes()
    with worked_on("memory://b/run", media=True, pace=FAST) as folder:
        assert (folder / "clips/a0.mp4").read_bytes() == (clips / "a0.mp4").read_bytes()


def test_a_run_in_other_hands_is_refused_until_they_are_silent(memory: Any) -> None:
    life = {"token": "x", "host": "other", "pid": 1, "beat": 0}
    memory.pipe_file("/b/run/.lease.json", json.dumps(life).encode())
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.02):
            life["beat"] += 1  # type: ignore[operator]
            memory.pipe_file("/b/run/.lease.json", json.dumps(life).encode())

    other = threading.Thread(target=beat)
    other.start()
    # Long enough that one sign of life comes, on however busy a machine.
    with (
        pytest.raises(RunError, match="in use by process 1 on other"),
        worked_on("memory://b/run", pace=Pace(write_s=0.05, silence_s=60)),
    ):
        pass
    stop.set()
    other.join()
    with worked_on("memory://b/run", pace=FAST) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text("{}")
    assert not memory.exists("/b/run/.lease.json")


def test_who_was_silent_for_too_long_writes_nothing_more(memory: Any) -> None:
    with (
        pytest.raises(RunError, match="in other hands by now"),
        worked_on("memory://b/run", pace=Pace(write_s=600, silence_s=0.2)) as folder,
    ):
        memory.pipe_file("/b/run/.lease.json", b'{"token": "y", "host": "other", "pid": 2}')
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text("mine")
    assert not memory.exists("/b/run/run.json")


def test_a_place_that_lets_nobody_write_is_said_before_the_work(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("Forbidden")

    monkeypatch.setattr(type(memory), "pipe_file", refuse)
    with (
        pytest.raises(JavisbenchError, match=r"memory://b/run may not be written.*same command"),
        worked_on("memory://b/run"),
    ):
        pytest.fail("the work began")
