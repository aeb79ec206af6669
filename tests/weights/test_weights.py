"""Weights: found in folders, fetched from a server on this machine, never trusted on their name alone."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from javisbench.cli import run as cli
from javisbench.errors import MissingWeightsError, UsageError, WeightsError
from javisbench.metrics.encoders import ENCODERS
from javisbench.reference.wanted import EncoderChoice
from javisbench.weights import WeightsEntry, WeightsFile, WeightStore, weights_registry
from javisbench.weights.fetch import Verdict, fetch, needs_acknowledgement, verify

CONTENT = bytes(range(256)) * 5000


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `content`, with ranges; the first `cut` answers break off half-way, each after `delay_s` seconds."""

    content = CONTENT
    etag: str | None = None
    cut = 0
    delay_s = 0.0
    chunked = False
    ranges: list[str | None] = []  # noqa: RUF012 - reset by the fixture

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        type(self).ranges.append(asked)
        if self.headers.get("If-Range") not in (None, self.etag):
            asked = None
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(self.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.content)}")
            self.end_headers()
            return
        time.sleep(self.delay_s)
        self.send_response(206 if asked else 200)
        if self.etag:
            self.send_header("ETag", self.etag)
        body = self.content[start:]
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if type(self).cut:
            type(self).cut -= 1
            body = body[: len(body) // 2]
        # A chunk that says it is longer than what comes.
        self.wfile.write(b"%x\r\n%b" % (len(self.content), body) if self.chunked else body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, usual in (("content", CONTENT), ("etag", None), ("cut", 0), ("delay_s", 0.0), ("chunked", False)):
        monkeypatch.setattr(Handler, name, usual)
    monkeypatch.setattr(Handler, "ranges", [])
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}/w.pth"
    httpd.shutdown()
    httpd.server_close()


def entry(store: WeightStore, url: str, sha256: str | None = None, **more: bool) -> WeightsEntry:
    made = WeightsEntry("w", "Weights W", url, (WeightsFile("w.pth", len(CONTENT), sha256),), ("w.pth",), "MIT", **more)
    store._entries["w"] = made
    return made


def test_fetching_checks_the_hash_and_records_it(store: WeightStore, server: str) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    path = fetch(store, entry(store, server, digest), accept_licence=True)
    assert path.read_bytes() == CONTENT
    assert store.locate("w").official is True
    assert verify(store, store.entry("w")) == Verdict(good=(str(path),))
    fetch(store, store.entry("w"), accept_licence=False)
    assert len(Handler.ranges) == 1, "a whole file is not fetched again, its licence not asked again"


def test_what_a_killed_fetch_was_writing_is_removed_by_the_next(store: WeightStore, server: str) -> None:
    folder = store.cache / "w"
    folder.mkdir(parents=True)
    (folder / ".tmp-0bbfd16a-14486-4052def7-fetched.json").write_text("{")
    fetch(store, entry(store, server, hashlib.sha256(CONTENT).hexdigest()), accept_licence=True)
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".tmp-")]


def test_a_broken_download_goes_on_where_it_stopped(store: WeightStore, server: str) -> None:
    Handler.cut = 1
    weights = entry(store, server, hashlib.sha256(CONTENT).hexdigest())
    with pytest.raises(WeightsError, match="goes on there"):
        fetch(store, weights, accept_licence=True)
    with pytest.raises(MissingWeightsError):
        store.find("w")
    assert fetch(store, weights, accept_licence=True).read_bytes() == CONTENT
    assert Handler.ranges == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_file_that_changed_in_between_is_fetched_whole(store: WeightStore, server: str) -> None:
    weights = entry(store, server)
    Handler.cut, Handler.etag = 1, '"one"'
    with pytest.raises(WeightsError, match="goes on there"):
        fetch(store, weights, accept_licence=True)
    Handler.content, Handler.etag = CONTENT[::-1], '"two"'
    assert fetch(store, weights, accept_licence=True).read_bytes() == CONTENT[::-1]
    assert Handler.ranges[1] is not None, "the rest was asked for"
    assert not list(store.cache.rglob("*.etag"))


@pytest.mark.parametrize("more", [0, 7])
def test_a_part_that_lacks_nothing_is_the_file_unless_it_is_longer(store: WeightStore, server: str, more: int) -> None:
    weights = entry(store, server, hashlib.sha256(CONTENT).hexdigest())
    folder = store.cache / "w"
    folder.mkdir(parents=True)
    (folder / "w.pth.part").write_bytes(CONTENT + bytes(more))
    assert fetch(store, weights, accept_licence=True).read_bytes() == CONTENT
    assert Handler.ranges == [f"bytes={len(CONTENT) + more}-", *([None] if more else [])]


def test_a_connection_that_breaks_inside_a_chunk_is_said(store: WeightStore, server: str) -> None:
    Handler.chunked, Handler.cut = True, 1
    with pytest.raises(WeightsError, match=r"could not be fetched.*fetches it from its beginning"):
        fetch(store, entry(store, server), accept_licence=True)


def test_processes_that_fetch_the_same_take_turns(
    store: WeightStore, server: str, caplog: pytest.LogCaptureFixture
) -> None:
    weights = entry(store, server)
    Handler.delay_s = 1.5
    # Locks belong to open files, so that two threads stand for two processes.
    with ThreadPoolExecutor(3) as pool:
        paths = {pool.submit(fetch, store, weights, accept_licence=True).result for _ in range(3)}
        assert {result().read_bytes() for result in paths} == {CONTENT}
    assert Handler.ranges == [None], "fetched once"
    assert caplog.text.count("waiting for it") == 2


# Its arguments: the size that it announces for every file, of which it sends 1000 bytes, and the names of all files.
HUB = """
import http.server, json, re, sys
size, names = sys.argv[1], sys.argv[2:]
class Hub(http.server.BaseHTTPRequestHandler):
    def head(self, size):
        print(self.path, flush=True)
        self.send_response(200)
        commit = re.search("[0-9a-f]{40}", self.path)
        for name, value in (("ETag", '"abc"'), ("X-Repo-Commit", commit[0] if commit else "a" * 40)):
            self.send_header(name, value)
        self.send_header("Content-Length", size)
        self.end_headers()
    def do_HEAD(self):
        self.head(size)
    def do_GET(self):
        body, told = b"x" * 1000, size
        if self.path.startswith("/api/"):
            files = [{"type": "file", "path": name, "size": int(size), "oid": "0" * 40} for name in names]
            body = json.dumps(files if "/tree/" in self.path else {"id": "of/any", "sha": "a" * 40}).encode()
            told = len(body)
        self.head(told)
        self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def fetch_from_hub(weights: str, folder: Path, size: int) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """What `javisbench weights fetch` says to a hub that announces files of `size` bytes, and what it asks for."""
    # The hub's address is read when its library is imported, in a process of its own.
    names = [file.path for file in weights_registry()[weights].files]
    command = [sys.executable, "-c", HUB, str(size), *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as hub:
        assert hub.stdout is not None
        address = f"http://127.0.0.1:{hub.stdout.readline().strip()}"
        usual = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "JAVISBENCH_"))}
        places = {"HF_ENDPOINT": address, "HF_HOME": str(folder / "hf"), "XDG_CACHE_HOME": str(folder)}
        try:
            run = subprocess.run(
                [sys.executable, "-m", "javisbench", "weights", "fetch", weights, "--accept-licence"],
                env={**usual, **places},
                capture_output=True,
                text=True,
            )
        finally:
            hub.kill()
        asked = hub.stdout.read().split()
    assert "Traceback" not in run.stderr
    return run, asked


@pytest.mark.parametrize("weights", ["cavp", "javisdit-v1.0-video-vae"])
def test_a_hub_that_breaks_off_is_an_error_not_a_traceback(weights: str, tmp_path: Path) -> None:
    run, _ = fetch_from_hub(weights, tmp_path, 1_000_000)
    assert run.returncode == 3
    assert "could not be fetched" in run.stderr and "goes on there" in run.stderr


@pytest.mark.parametrize("weights", ["cavp", "clip_vit_b_32", "clap_htsat_unfused"])
def test_a_hub_that_sends_another_file_is_refused_and_asked_for_the_revision(weights: str, tmp_path: Path) -> None:
    """One file, and folders; neither leaves what was refused, or makes its weights look present."""
    known = weights_registry()[weights]
    run, asked = fetch_from_hub(weights, tmp_path, 1000)
    assert run.returncode == 2
    first = known.hashed[0]
    found = hashlib.sha256(b"x" * 1000).hexdigest()
    assert (
        f"{first.path} from {known.source} has SHA-256 {found}, expected {first.sha256}. It was removed" in run.stderr
    )
    left = [path for path in (tmp_path / "javisbench").rglob(f"{Path(first.path).name}*") if ".cache" not in path.parts]
    assert not left
    files = [path for path in asked if "/resolve/" in path]
    assert files and all(f"/{known.source}/resolve/{known.revision or 'main'}/" in path for path in files), asked
    shown = subprocess.run(
        [sys.executable, "-m", "javisbench", "weights", "path", weights],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 2 and "not on this machine" in shown.stderr


def test_a_wrong_hash_on_a_download_is_an_error_and_leaves_nothing(store: WeightStore, server: str) -> None:
    with pytest.raises(WeightsError, match="expected 0000") as caught:
        fetch(store, entry(store, server, "0" * 64), accept_licence=True)
    assert caught.value.kind == "wrong_hash"
    with pytest.raises(MissingWeightsError):
        store.find("w")
    assert not list(store.cache.rglob("*.part"))


def test_the_first_hash_is_recorded_where_none_is_known(store: WeightStore, server: str) -> None:
    path = fetch(store, entry(store, server), accept_licence=True)
    assert verify(store, store.entry("w")) == Verdict(good=(str(path),))
    path.write_bytes(CONTENT[:-1] + b"x")
    assert "SHA-256" in verify(store, store.entry("w")).problems[0]


def test_a_file_of_unknown_hash_is_not_said_to_be_as_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "imagebind_tiny.pth").write_bytes(b"mine")
    assert cli(["weights", "verify", "imagebind_tiny", "--weights-dir", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "No SHA-256 is known" in told and hashlib.sha256(b"mine").hexdigest() in told and "recorded" not in told


def test_only_what_can_be_fetched_is_told_to_be(store: WeightStore) -> None:
    for weights in weights_registry().values():
        with pytest.raises(MissingWeightsError) as caught:
            store.find(weights.id)
        fetch_it = f"javisbench weights fetch {weights.id}" in caught.value.message
        assert fetch_it == weights.fetchable, weights.id
        if not fetch_it:
            assert "--weights-dir" in caught.value.message
            with pytest.raises(UsageError, match="cannot be fetched"):
                fetch(store, weights, accept_licence=True)
    assert not weights_registry()["imagebind_tiny"].fetchable and not weights_registry()["videoreward"].fetchable
    assert all(weights_registry()[name].fetchable for name in ("imagebind_huge", "i3d", "cavp"))


def test_the_licence_is_asked_for_once(store: WeightStore, server: str) -> None:
    weights = entry(store, server)
    assert needs_acknowledgement(store, weights)
    with pytest.raises(UsageError, match="--accept-licence"):
        fetch(store, weights, accept_licence=False)
    assert Handler.ranges == []
    fetch(store, weights, accept_licence=True)
    assert not needs_acknowledgement(store, weights)


def test_offline_and_stand_ins_are_never_fetched(
    store: WeightStore, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="--weights-dir"):
        fetch(store, entry(store, server, stand_in=True), accept_licence=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = WeightStore()
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE"):
        fetch(offline, entry(offline, server), accept_licence=True)
    assert Handler.ranges == []


def test_local_folders_win_and_another_hash_is_told(store: WeightStore, server: str, tmp_path: Path) -> None:
    fetch(store, entry(store, server), accept_licence=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/w.pth").write_bytes(b"my own")
    own = WeightStore([tmp_path / "mine"])
    entry(own, server, hashlib.sha256(CONTENT).hexdigest())
    assert own.locate("w").path == tmp_path / "mine/w.pth"
    assert own.locate("w").official is False


def test_a_changed_file_has_a_new_hash(store: WeightStore, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(b"one")
    first = store.sha256(path)
    path.write_bytes(b"three")
    assert store.sha256(path) != first


def test_the_registry_is_complete_and_its_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for name, known in weights_registry().items():
        assert known.title and known.licence and known.local_names, name
        assert known.stand_in or known.files or known.source.startswith("a part of"), name
    assert cli(["weights", "list"]) == 0
    assert re.search(r"imagebind_huge .*4\.80 GB", capsys.readouterr().out)
    assert cli(["weights", "path", "imagebind_hug"]) == 2
    assert "Did you mean 'imagebind_huge'" in capsys.readouterr().err


def test_known_hashes_are_hashes_and_belong_to_files_of_known_size() -> None:
    registry = weights_registry().values()
    for known in registry:
        for file in known.hashed:
            assert re.fullmatch(r"[0-9a-f]{64}", str(file.sha256)), (known.id, file.path)
            assert "*" not in file.path and (file.bytes or known.estimated_bytes), (known.id, file.path)
        assert known.revision is None or (re.fullmatch(r"[0-9a-f]{40}", known.revision) and not known.is_url), known.id
        assert not known.hashed or known.fetchable, known.id
    hashes = [file.sha256 for known in registry for file in known.hashed]
    assert len(set(hashes)) == len(hashes)


def test_every_metric_of_javisbench_has_weights_of_known_hash() -> None:
    """Of those computed without being asked for; VideoReward's excepted, which a program of the user's reads."""
    from javisbench.metrics.base import needed_features
    from javisbench.metrics.encoders import ENCODERS
    from javisbench.metrics.registry import METRICS
    from javisbench.protocol import V1

    metrics = [METRICS.get(metric_id) for metric_id in METRICS.own]
    encoders = {spec.encoder for cls in metrics if cls.card.by_default for spec in needed_features(cls(), V1)}
    cards = [ENCODERS.get(name).card for name in encoders]
    entries = {card.variants[card.default_variant] for card in cards} - {None, "videoreward"}
    assert len(entries) == 8
    assert all(weights_registry()[str(name)].hashed for name in entries), entries


def test_every_encoder_variant_has_its_entry() -> None:
    from javisbench.metrics.encoders import ENCODERS

    registry = weights_registry()
    for name in ENCODERS:
        for variant, weights in ENCODERS.get(name).card.variants.items():
            assert weights is None or weights in registry, (name, variant)


NO_CHECKPOINTS = [b"", b"PK\x03\x04 and then nothing", b"<html>not found</html>", b"\x80\x02}q\x00."]


@pytest.mark.parametrize("content", NO_CHECKPOINTS)
def test_damaged_weights_are_one_sentence_with_both_hashes(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "weights" / "ImageBind.pth"
    file.parent.mkdir()
    file.write_bytes(content)
    store = WeightStore([file.parent])
    entry = store.entry("imagebind_huge")
    file.rename(file.with_name(entry.local_names[0]))
    located = store.locate("imagebind_huge")
    choice = EncoderChoice("imagebind", "huge", ENCODERS.get("imagebind"), located)
    with pytest.raises(WeightsError) as caught:
        choice.load("cpu")
    told = caught.value.message
    assert str(located.path) in told and hashlib.sha256(content).hexdigest() in told
    assert all(str(known.sha256) in told for known in entry.hashed) and entry.hashed
    assert "\n" not in caught.value.sentence and "weights fetch imagebind_huge" in told


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        WeightStore([tmp_path / "nowhere"])


def test_other_weights_under_an_official_name_change_the_protocols_name(
    store: WeightStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning and a derived name, which boards refuse; the official file keeps the name."""
    from javisbench.protocol import V1, V2
    from javisbench.run.plan import make_plan, warn_of_other_weights
    from javisbench.suite import load_suite

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/imagebind_huge.pth").write_bytes(b"my own")
    (tmp_path / "mine/synchformer_state_dict.pth").write_bytes(b"mine too")
    one, two = (hashlib.sha256(content).hexdigest() for content in (b"my own", b"mine too"))
    other = hashlib.sha256(CONTENT).hexdigest()
    for known, name in (
        (other, f"{V1.name}+weights={one[:8]}+weights={two[:8]}"),
        (one, f"{V1.name}+weights={two[:8]}"),
    ):
        own = WeightStore([tmp_path / "mine"])
        files = (WeightsFile("imagebind_huge.pth", sha256=known),)
        own._entries["imagebind_huge"] = replace(own.entry("imagebind_huge"), files=files)
        metrics = ["desync", "av_ib"]
        plan = make_plan(load_suite("demo"), [V1, V2], metrics=metrics, variants={}, weights=own, has_reference=False)
        warn_of_other_weights(plan)
        assert plan.parts[0].protocol.name == name, "in the order of the encoders' names"
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == name.count("weights="), "once, whatever the number of protocols"
        assert (
            f"synchformer_state_dict.pth is not the official file of Synchformer: its SHA-256 is {two[:8]}..., not 8aff"
            in told[-1]
        )
        assert f"gets +weights={two[:8]}, and boards refuse" in told[-1]
        assert "javisbench weights fetch synchformer" in told[-1]
        caplog.clear()


def test_large_weights_are_hashed_once_not_once_a_run(
    store: WeightStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from javisbench.weights import hashes

    monkeypatch.setattr(hashes, "LARGE_BYTES", 8)
    monkeypatch.setattr(hashes, "_SETTLED_S", -1.0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/imagebind_huge.pth").write_bytes(b"many gigabytes")
    assert WeightStore([tmp_path / "mine"]).locate("imagebind_huge").official is False
    monkeypatch.setattr(hashes, "file_sha256", lambda file: pytest.fail(f"{file} is read again"))
    assert WeightStore([tmp_path / "mine"]).locate("imagebind_huge").official is False
