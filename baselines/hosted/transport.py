"""One exchange over HTTP: what came back, or that nothing did. Addresses are https, or this machine's own."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from javisbench.durable import disk_trouble
from javisbench.hub import is_this_machine, retry_after_s
from javisbench.pace import Pace, paced
from javisbench.private import redacted, shown_address

JSON_BYTES = 8 * 2**20
FILE_BYTES = 2**30
_HEAD_BYTES = 512
_REDIRECTS = 5
_NO_WAY = 310
"""Status of an address that leads nowhere, however often it is asked."""
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Answer:
    """What a request brought.

    Attributes:
        status: of HTTP; 0 when there was no (whole) answer.
        value: the JSON that it holds, or None.
        saved: whether it was a file, which now lies where it was wanted.
        retry_after_s: seconds that the service asks to wait, or None.
        trouble: why there was no answer.
    """

    status: int
    value: Any = None
    saved: bool = False
    retry_after_s: float | None = None
    trouble: str = ""

    @property
    def passing(self) -> bool:
        """Whether the same request may well succeed later."""
        return self.status in (0, 408, 425, 429) or self.status >= 500


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def exchange(
    url: str,
    *,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    authorization: Mapping[str, str] | None = None,
    target: Path | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> Answer:
    """POST `body`, or GET without one.

    Args:
        url: where; http that is not this machine's becomes https.
        body: posted as JSON.
        headers: further ones.
        authorization: headers with the key; they are not sent on to another host.
        target: where a file that comes back is written; what is JSON is returned all the same.
        timeout_s: seconds without a sign of life.
    """
    first = urlsplit(url).hostname
    try:
        for _ in range(_REDIRECTS):
            url = _encrypted(url)
            sent = {"User-Agent": "javisbench", **(headers or {})}
            if urlsplit(url).hostname == first:
                sent |= authorization or {}
            data = None
            if body is not None:
                data = json.dumps(body).encode()
                sent["Content-Type"] = "application/json"
            request = urllib.request.Request(url, data, sent)
            with paced(timeout_s) as pace:
                opener = urllib.request.build_opener(_NoRedirects, *pace.handlers())
                try:
                    with pace.waiting():
                        response = opener.open(request, timeout=timeout_s)
                    with response:
                        return _read(pace, response, response.status, response.headers, target)
                except urllib.error.HTTPError as error:
                    with error:
                        follows = body is None and error.code in range(301, 309)
                        onward = error.headers.get("Location") if follows else None
                        if onward is None:
                            return _read(pace, error, error.code, error.headers, None)
                        url = urljoin(url, onward)
    except _NotFollowedError as error:
        return Answer(_NO_WAY, trouble=f"{first or 'the service'} gave {error}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        told = shown_address(redacted(str(error))) or type(error).__name__
        return Answer(0, trouble=f"no whole answer from {first or 'there'}: {told}")
    return Answer(_NO_WAY, trouble=f"{first} sends from one address to the next")


class _NotFollowedError(ValueError):
    """An address that is never asked, so that asking again would change nothing."""


def _encrypted(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and is_this_machine(parts.hostname or "")):
        return url
    if parts.scheme == "http":
        return parts._replace(scheme="https").geturl()
    raise _NotFollowedError(f"an address of the kind {parts.scheme or 'none'!r}; https alone is followed")


def _read(pace: Pace, response: Any, status: int, headers: Any, target: Path | None) -> Answer:
    told: dict[str, Any] = {"retry_after_s": retry_after_s(headers.get("Retry-After"))}
    kind = headers.get_content_type().lower() if "Content-Type" in headers else ""
    length = headers.get("Content-Length")
    chunks = pace.chunks(response)
    head = _joined(chunks, _HEAD_BYTES)
    if target is not None and status == 200 and _is_file(kind, head):
        size = _save(chain([head], chunks), target)
        if length is not None and length.isdigit() and int(length) != size:
            target.unlink(missing_ok=True)
            return Answer(0, trouble=f"the file broke off after {size} of {length} bytes")
        return Answer(status, saved=True, **told)
    content = head + _joined(chunks, JSON_BYTES + 1 - len(head))
    if len(content) > JSON_BYTES:
        return Answer(status, None, trouble="the answer is longer than 8 MiB", **told)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        text = " ".join(content[:300].decode("utf-8", "replace").split())
        return Answer(status, None, trouble=f"{kind or 'an answer'} and no JSON: {text}", **told)
    return Answer(status, value, **told)


def _joined(chunks: Iterator[bytes], least_bytes: int) -> bytes:
    """What comes, until it is as much, or all."""
    joined = bytearray()
    while len(joined) < least_bytes and (chunk := next(chunks, b"")):
        joined += chunk
    return bytes(joined)


def _is_file(kind: str, head: bytes) -> bool:
    """Whether an answer is a file, and no JSON or text: by its kind, which servers leave out or take from a name."""
    if b"\0" in head:
        return True
    if not kind:
        return not head.lstrip().startswith((b"{", b"["))
    return not kind.endswith("json") and not kind.startswith("text/")


def _save(chunks: Iterable[bytes], target: Path) -> int:
    size = 0
    try:
        with target.open("wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > FILE_BYTES:
                    raise ValueError("the file is larger than 1 GiB")
                _write(file, chunk, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return size


def _write(file: IO[bytes], chunk: bytes, target: Path) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        # A full disk is no trouble of the service.
        raise disk_trouble(error, target) or error from error
