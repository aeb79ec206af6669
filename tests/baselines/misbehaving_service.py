"""A local HTTP service that makes clips, and misbehaves as it is told, for the tests of hosted models."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-0123456789-of-the-test"


class MisbehavingService:
    """Jobs are made once for an idempotency key; each way ("post", "poll", "file") has a list of what goes wrong next.

    What goes wrong: an HTTP status; ``(status, headers)``; ``drop`` (the connection ends before anything was done);
    ``drop after`` (it ends after the job was made); ``short`` (half of the file).
    """

    def __init__(self, clip: bytes) -> None:
        self.clip = clip
        self.wrong: dict[str, list[Any]] = {"post": [], "poll": [], "file": []}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.made: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.polls_until_done = 2
        self.kind_of_files = "video/mp4"
        self.refuses: Callable[[str], bool] = lambda prompt: False
        self.keys_at_files: list[str | None] = []
        self._lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                service.post(self)

            def do_GET(self) -> None:
                service._get(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("localhost", 0), Handler)
        self.url = f"http://localhost:{self._server.server_port}/v1/videos"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _next(self, way: str) -> Any:
        self.asked[way] += 1
        return self.wrong[way].pop(0) if self.wrong[way] else None

    def post(self, handler: BaseHTTPRequestHandler) -> None:
        asked = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            wrong = self._next("post")
            if self._went_wrong(handler, wrong):
                return
            if handler.headers["Authorization"] != f"Bearer {KEY}":
                self._tell(handler, 401, {"error": {"message": f"no such key: {handler.headers['Authorization']}"}})
                return
            if self.refuses(asked["prompt"]):
                told = {"message": "The prompt is against the rules", "code": "content_policy_violation"}
                self._tell(handler, 400, {"error": told})
                return
            name = handler.headers["Idempotency-Key"]
            known = name in self.jobs
            if not known:
                self.made[asked["prompt"]] += 1
                self.jobs[name] = {"id": f"job-{len(self.jobs)}", "polls": 0, "asked": asked, "links": 0}
            if wrong == "drop after":
                self._drop(handler)
                return
            self._tell(handler, 409 if known else 200, {"id": self.jobs[name]["id"], "status": "queued"})

    def _get(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            way = "file" if "/file" in handler.path else "poll"
            wrong = self._next(way)
            if self._went_wrong(handler, wrong):
                return
            if way == "file":
                self.keys_at_files.append(handler.headers["Authorization"])
                content = self.clip[: len(self.clip) // 2] if wrong == "short" else self.clip
                self._send(handler, 200, self.kind_of_files, content, {"Content-Length": str(len(self.clip))})
                return
            job = next((job for job in self.jobs.values() if handler.path.endswith(job["id"])), None)
            if job is None:
                self._tell(handler, 404, {"error": {"message": "no such job"}})
                return
            job["polls"] += 1
            if job["polls"] < self.polls_until_done:
                self._tell(handler, 200, {"id": job["id"], "status": "running"})
                return
            job["links"] += 1
            link = f"http://localhost:{self._server.server_port}/file/{job['id']}?signature={job['links']}"
            self._tell(handler, 200, {"id": job["id"], "status": "succeeded", "url": link})

    def _went_wrong(self, handler: BaseHTTPRequestHandler, wrong: Any) -> bool:
        if wrong == "drop":
            self._drop(handler)
        elif isinstance(wrong, int | tuple):
            status, headers = wrong if isinstance(wrong, tuple) else (wrong, {})
            self._tell(handler, status, {"error": {"message": "not now"}}, headers)
        else:
            return False
        return True

    def _drop(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    def _tell(
        self, handler: BaseHTTPRequestHandler, status: int, value: Any, headers: dict[str, str] | None = None
    ) -> None:
        self._send(handler, status, "application/json", json.dumps(value).encode(), headers or {})

    def _send(
        self, handler: BaseHTTPRequestHandler, status: int, kind: str, content: bytes, headers: dict[str, str]
    ) -> None:
        handler.send_response(status)
        if kind:
            handler.send_header("Content-Type", kind)
        for name, text in {"Content-Length": str(len(content)), **headers}.items():
            handler.send_header(name, text)
        handler.end_headers()
        handler.wfile.write(content)
