"""A stand-in for a judge's endpoint, to rehearse with: no model, no money, nothing leaves this machine.

It speaks OpenAI's chat completions as vLLM or llama.cpp do, and answers every question by how bright the first picture
is. What it says is about nothing; that requests, answers, repeats and costs work is what it shows.
"""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image


def brightness(body: dict[str, Any]) -> float:
    """Of the first picture of a request, in [0, 1]."""
    part = next(part for part in body["messages"][-1]["content"] if part["type"] == "image_url")
    data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
    return float(np.asarray(Image.open(io.BytesIO(data))).mean() / 255)


def completion(body: dict[str, Any]) -> dict[str, Any]:
    """A chat completion in the form that the request asks for."""
    forms = body["response_format"]["json_schema"]["schema"]["properties"]
    share, answers = brightness(body), {}
    for name, form in forms.items():
        marks = form["properties"]["answer"]["enum"]  # 1 to 5, or yes and no
        good = sorted(marks)[round(share * (len(marks) - 1))]
        answers[name] = {"reason": f"the first picture is {share:.0%} bright", "answer": good}
    message = {"role": "assistant", "content": json.dumps(answers)}
    return {
        "model": body["model"],
        "choices": [{"message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2000, "completion_tokens": 60},
    }


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answered({"data": []})  # /models, by which it is seen whether anybody is there

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answered(completion(body))

    def answered(self, found: dict[str, Any]) -> None:
        data = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def stand_in() -> Iterator[str]:
    """The endpoint's URL; it is there for as long as the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
