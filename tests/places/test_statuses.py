"""A web server that answers with a status instead of a file: whether the clip is missing, or nobody can tell."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from javisbench.cli import run
from javisbench.errors import MediaError
from javisbench.media.errors import not_brought
from javisbench.places import Cache, PlaceError
from javisbench.places.remote import Remote


class Server:
    """Lists clips, and answers for them with a status.

    Attributes:
        url: of the folder.
        status: of every clip; 0 for a connection that is shut without an answer.
    """

    def __init__(self) -> None:
        self.status = 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listing = self.path.endswith("/")
                status = 200 if listing else outer.status
                if not status:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                body = b'<a href="a0.mp4">a0</a> <a href="a1.mp4">a1</a>' if listing else b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815 - the name that the server calls

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._httpd.server_port}/clips"
        threading.Thread(target=self._httpd.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("javisbench.places.cache.time.sleep", lambda _: None)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.close()


@pytest.mark.parametrize(
    ("status", "kind", "of_clip", "code"),
    [
        (404, "not_found", "not_found", 2),
        (410, "not_found", "not_found", 2),
        (403, "no_permission", "no_access", 2),
        (401, "no_permission", "no_access", 2),
        (400, "refused", "not_found", 2),
        (408, "unreachable", "unreachable", 3),
        (429, "unreachable", "unreachable", 3),
        (500, "unreachable", "unreachable", 3),
        (503, "unreachable", "unreachable", 3),
        (0, "unreachable", "unreachable", 3),
    ],
)
def test_a_status_says_whose_fault_it_is(
    server: Server, cache: Cache, status: int, kind: str, of_clip: str, code: int
) -> None:
    server.status = status
    path = cache.path_of(f"{server.url}/a0.mp4")
    path.parent.mkdir(parents=True)
    Remote(f"{server.url}/a0.mp4").write(path)
    with pytest.raises(PlaceError) as raised, cache.held(path):
        pass
    assert (raised.value.kind, raised.value.exit_code) == (kind, code)
    error = not_brought(raised.value)
    assert isinstance(error, MediaError)
    assert (error.kind, error.exit_code) == (of_clip, code)


@pytest.mark.parametrize(("status", "code"), [(503, 3), (0, 3), (403, 2)])
def test_no_good_clip_is_set_aside_for_a_server_that_fails(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, code: int
) -> None:
    server.status = status
    suite = tmp_path / "suite.csv"
    suite.write_text("id,text\na0,one\na1,two\n")
    words = ["score", server.url, "--suite", str(suite), "--metrics", "health_black", "--workers", "1", "-q"]
    assert run([*words, "--patience", "0", "--out", str(tmp_path / "run")]) == code
    told = capsys.readouterr().err
    assert f"{server.url}/a0.mp4" in told and ("run the same command again" in told or code == 2)
    assert not (tmp_path / "run/failures.jsonl").exists()
