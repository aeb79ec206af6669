"""Downloads from addresses, against servers on this machine that misbehave in one way each."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from javisbench import pace
from javisbench.errors import WeightsError
from javisbench.hub import hub_token, is_this_machine
from javisbench.weights import WeightsEntry, WeightsFile, WeightStore
from javisbench.weights import download as module
from javisbench.weights.download import Remote, check_address, download
from javisbench.weights.fetch import fetch

CONTENT = bytes(range(256)) * 400
HALF = len(CONTENT) // 2
TOKEN = "hf_aSecretThatMustNotBeWritten"
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Server:
    """Answers with what the test says, and notes what it was asked.

    Attributes:
        url: of its file.
        answers: one an answer; the last one for all that follow.
        asked: path and headers of every request.
    """

    def __init__(self) -> None:
        self.answers: list[Answer] = [whole()]
        self.asked: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, dict(self.headers)))
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                answer(self)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._httpd.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/w.pth"
        threading.Thread(target=self._httpd.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()


def answer(status: int, body: bytes, **headers: str) -> Answer:
    """An answer with these headers (``_`` for ``-``)."""

    def send(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return send


def whole(body: bytes = CONTENT, **headers: str) -> Answer:
    return answer(200, body, **{"Content_Length": str(len(body)), **headers})


def cut(**headers: str) -> Answer:
    """The first half of what was announced."""
    return answer(200, CONTENT[:HALF], Content_Length=str(len(CONTENT)), **headers)


def rest(start: int = HALF, **headers: str) -> Answer:
    body = CONTENT[start:]
    place = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
    return answer(206, body, **{"Content_Length": str(len(body)), "Content_Range": place, **headers})


def trickling(beginning: bytes) -> Answer:
    """One byte after the other behind a beginning, for as long as anybody listens."""

    def send(handler: http.server.BaseHTTPRequestHandler) -> None:
        with contextlib.suppress(OSError):
            handler.wfile.write(beginning)
            while True:
                handler.wfile.write(b"x")
                time.sleep(0.01)

    return send


def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
    """A body without a length, which ends when the client leaves."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(1 << 16))
    except OSError:
        return


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def other() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def remote(url: str, *, size: int | None = len(CONTENT), known: bool = False) -> Remote:
    return Remote(url, size, known)


# Parts are joined under a known hash or the same strong ETag, and otherwise never.


@pytest.mark.parametrize(
    ("first", "second", "known", "joined"),
    [
        (cut(ETag='"one"'), rest(ETag='"one"'), False, True),
        (cut(), rest(), True, True),
        (cut(ETag='"one"'), rest(ETag='"one"'), True, True),
        (cut(ETag='"one"'), rest(ETag='"two"'), True, False),
        (cut(ETag='"one"'), rest(ETag='"two"'), False, False),
        (cut(ETag='"one"'), rest(), False, False),
        (cut(ETag='W/"one"'), rest(ETag='W/"one"'), False, False),
        (cut(), rest(), False, False),
        (cut(), rest(HALF + 5), True, False),
        (cut(), rest(HALF, Content_Range="nonsense"), True, False),
        (cut(ETag='"one"'), whole(CONTENT, ETag='"two"'), False, False),
    ],
    ids=[
        "same tag", "known hash", "both", "changed under a known hash", "changed", "no tag any more", "weak tag",
        "neither", "another place", "no place", "whole again",
    ],
)  # fmt: skip
def test_parts_are_joined_only_when_they_are_of_one_file(
    server: Server, tmp_path: Path, first: Answer, second: Answer, known: bool, joined: bool
) -> None:
    part = tmp_path / "w.pth.part"
    server.answers = [first, second, whole()]
    with pytest.raises(WeightsError, match="ended after") as broken:
        download(remote(server.url, known=known), part, None)
    assert part.stat().st_size == HALF
    promised = "goes on there" in broken.value.message
    download(remote(server.url, known=known), part, None)
    assert part.read_bytes() == CONTENT
    asked = [headers.get("Range") for _, headers in server.asked]
    if joined:
        assert promised and asked == [None, f"bytes={HALF}-"]
    else:
        assert asked[-1] is None or len(asked) == 2, "fetched whole in the end"
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth.part"]


@pytest.mark.parametrize(
    ("failing", "exit_code"),
    [(answer(404, b""), 2), (answer(403, b""), 2), (answer(429, b""), 3), (answer(503, b""), 3), (cut(), 3)],
    ids=["not there", "forbidden", "too many requests", "busy", "cut"],
)
def test_only_what_may_pass_is_the_systems_fault(
    server: Server, tmp_path: Path, failing: Answer, exit_code: int
) -> None:
    server.answers = [failing]
    with pytest.raises(WeightsError, match="could not be fetched") as stopped:
        download(remote(server.url), tmp_path / "part", None)
    assert stopped.value.exit_code == exit_code


def test_a_server_that_is_not_there_is_the_systems_fault(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be reached") as stopped:
        download(remote("http://127.0.0.1:9/w.pth"), tmp_path / "part", None)
    assert stopped.value.exit_code == 3


def test_a_server_that_sends_nothing_but_wrong_parts_is_given_up(server: Server, tmp_path: Path) -> None:
    server.answers = [rest(7)]
    with pytest.raises(WeightsError, match="a part where it was asked for all"):
        download(remote(server.url, known=True), tmp_path / "part", None)
    assert len(server.asked) == 2


# Size


def test_a_body_without_end_is_cut_off_and_removed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [endless]
    with pytest.raises(WeightsError, match=r"goes on, but 102,400 are recorded .*It was removed") as caught:
        download(remote(server.url), tmp_path / "part", None)
    assert caught.value.kind == "wrong_size"
    monkeypatch.setattr(module, "MAX_UNKNOWN_BYTES", 5 << 20)
    with pytest.raises(WeightsError, match=r"goes on, but at most 5,242,880 are taken"):
        download(remote(server.url, size=None), tmp_path / "part", None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [1, len(CONTENT) - 1, len(CONTENT) + 1])
def test_a_wrong_length_is_refused_before_the_body(server: Server, tmp_path: Path, size: int) -> None:
    with pytest.raises(WeightsError, match=f"has 102,400 bytes, but {size:,} are recorded"):
        download(remote(server.url, size=size), tmp_path / "part", None)
    assert not list(tmp_path.iterdir())


# Where it may come from


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_only_the_machine_itself_is_this_machine(host: str, own: bool) -> None:
    assert is_this_machine(host) == own


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/w.pth",
        "http://127.0.0.1.evil.example/w.pth",
        "http://localhost@evil.example/w.pth",
        "http://localhost:80@evil.example/w.pth",
        "ftp://127.0.0.1/w.pth",
        "file:///etc/passwd",
        "https:///w.pth",
        "//example.org/w.pth",
    ],
)
def test_what_is_not_https_is_refused_before_it_is_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not https") as caught:
        download(remote(url), tmp_path / "part", None)
    assert caught.value.kind == "insecure"
    if url.startswith("http://"):
        check_address(url, allow_http=True)
    check_address("https://example.org/w.pth", allow_http=False)


@pytest.mark.parametrize(
    "target", ["http://huggingface.co.evil.example/w.pth", "http://10.1.2.3/w.pth", "ftp://127.0.0.1/w.pth"]
)
def test_redirects_go_where_the_first_address_could_have_been(server: Server, tmp_path: Path, target: str) -> None:
    server.answers = [answer(302, b"", Location=target, Content_Length="0")]
    with pytest.raises(WeightsError, match="not https"):
        download(remote(server.url), tmp_path / "part", None)
    assert len(server.asked) == 1 and not list(tmp_path.iterdir())


def test_another_machine_cannot_send_us_to_this_one() -> None:
    check_address("http://127.0.0.1/w.pth", allow_http=False)
    with pytest.raises(WeightsError, match="not https"):
        check_address("http://127.0.0.1/w.pth", allow_http=False, local=False)


def test_a_loop_of_redirects_ends(server: Server, tmp_path: Path) -> None:
    server.answers = [answer(302, b"", Location="/w.pth", Content_Length="0")]
    with pytest.raises(WeightsError, match="could not be fetched"):
        download(remote(server.url), tmp_path / "part", None)
    assert len(server.asked) <= 12


def test_the_command_line_accepts_http_only_when_told_to(
    store: WeightStore, server: Server, other: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy answers for a host that is elsewhere, so that no name has to be looked up."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://user:{TOKEN}@127.0.0.1:{other.port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    weights = entry(store, "http://models.example/w.pth?signature=abc")
    with pytest.raises(WeightsError, match=r"http://models\.example/w\.pth is not fetched: it is not https"):
        fetch(store, weights, accept_licence=True)
    assert not other.asked
    assert fetch(store, weights, accept_licence=True, allow_http=True).read_bytes() == CONTENT
    assert other.asked[0][0] == "http://models.example/w.pth?signature=abc", "the proxy was asked"
    assert not server.asked


# Tokens


def entry(store: WeightStore, url: str) -> WeightsEntry:
    digest = hashlib.sha256(CONTENT).hexdigest()
    made = WeightsEntry("w", "Weights W", url, (WeightsFile("w.pth", len(CONTENT), digest),), ("w.pth",), "MIT")
    store._entries["w"] = made
    return made


def test_a_token_goes_to_the_hub_itself_and_is_never_written(
    store: WeightStore,
    server: Server,
    other: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.port}")
    server.answers = [answer(302, b"", Location=f"{other.url}?X-Amz-Signature=abc", Content_Length="0")]
    other.answers = [cut(), whole()]
    weights = entry(store, server.url)
    with pytest.raises(WeightsError) as broken:
        fetch(store, weights, accept_licence=True)
    path = fetch(store, weights, accept_licence=True)
    assert path.read_bytes() == CONTENT
    assert [headers.get("Authorization") for _, headers in server.asked] == [f"Bearer {TOKEN}"] * 2
    assert [headers.get("Authorization") for _, headers in other.asked] == [None] * 2
    assert TOKEN not in caplog.text + broken.value.message
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert written and not [file for file in written if TOKEN.encode() in file.read_bytes()]


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://huggingface.co/a/b/resolve/main/w.pth", True),
        ("https://HUGGINGFACE.co/a", True),
        ("https://huggingface.co.evil.example/w.pth", False),
        ("https://huggingface.co@evil.example/w.pth", False),
        ("https://evil.example/huggingface.co/w.pth", False),
        ("https://huggingface.co:444/w.pth", False),
        ("http://huggingface.co/w.pth", False),
        ("https://cdn.huggingface.co/w.pth", False),
    ],
)
def test_hosts_are_compared_whole(url: str, sent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://huggingface.co")
    assert hub_token(url) == (TOKEN if sent else None)


@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 102400\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"HTTP/1.1 200 ",
        b"",
    ],
    ids=["body", "chunk", "header", "status", "nothing"],
)
def test_a_server_that_trickles_is_hung_up_on_and_the_same_command_goes_on(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    """One byte a hundredth of a second is a tenth of what may be the least, however fast this machine is."""
    monkeypatch.setattr(pace, "WINDOW_S", 0.3)
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.3)
    part = tmp_path / "w.pth.part"
    part.write_bytes(CONTENT[:HALF])
    server.answers = [trickling(beginning), rest()]
    with pytest.raises(WeightsError, match="goes on there") as raised:
        download(Remote(server.url, len(CONTENT), hash_known=True), part, None)
    assert (raised.value.kind, raised.value.exit_code) == ("unreachable", 3)
    part.write_bytes(CONTENT[:HALF])
    download(Remote(server.url, len(CONTENT), hash_known=True), part, None)
    assert part.read_bytes() == CONTENT


def test_time_in_which_nobody_waits_for_the_server_is_not_counted(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk on which each piece takes as long as the window is."""
    monkeypatch.setattr(pace, "WINDOW_S", 0.2)
    part = tmp_path / "w.pth.part"
    download(Remote(server.url, len(CONTENT), hash_known=True), part, lambda *_: time.sleep(0.3))
    assert part.read_bytes() == CONTENT
