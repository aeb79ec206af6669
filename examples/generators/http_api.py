"""A model behind an HTTP API: one POST a clip, the answer is an mp4 or a JSON object with the address of one.

    MY_API_URL=https://example.org/v1/generate MY_API_KEY=... javisbench eval --suite demo \\
        --model 'command:python examples/generators/http_api.py'

The key comes from the environment; javisbench records neither it nor messages that hold it. Change `body` to what your
API wants. Only https addresses (and this machine) are followed.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

LIMIT = 2**30


def body(request):
    names = ("prompt", "seed", "width", "height", "duration_s", "fps")
    return {name: request[name] for name in names}


def fetch(url, data=None, key=None):
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1"):
        raise ValueError(f"{url} is no https address")
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=600) as answer:
        content = answer.read(LIMIT + 1)
        if len(content) > LIMIT:
            raise ValueError("the answer is longer than 1 GiB")
        return answer.headers.get_content_type(), content


def make_clip(request):
    key = os.environ.get("MY_API_KEY")
    kind, content = fetch(os.environ["MY_API_URL"], json.dumps(body(request)).encode(), key)
    if kind == "application/json":
        # The address may be another company's: it gets no key.
        _, content = fetch(json.loads(content)["url"])
    Path(request["output"] + ".mp4").write_bytes(content)


for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"], "status": "ok"}
    try:
        make_clip(request)
    except urllib.error.HTTPError as error:
        # What was refused stays refused; a busy server is asked once more.
        retry = error.code == 429 or error.code >= 500
        answer.update(status="failed", kind=f"http_{error.code}", message=str(error), retryable=retry)
    except (OSError, ValueError, KeyError) as error:
        answer.update(status="failed", message=f"{type(error).__name__}: {error}")
    print(json.dumps(answer), flush=True)
