"""Downloading a file from an address: over https, no larger than it may be, and never made of parts of two files."""

from __future__ import annotations

import http.client
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from javisbench import __version__
from javisbench.durable import disk_trouble
from javisbench.errors import WeightsError
from javisbench.hub import hub_token, is_this_machine, reachable
from javisbench.pace import Pace, paced
from javisbench.private import shown_address

log = logging.getLogger(__name__)
MAX_UNKNOWN_BYTES = 32 * 2**30
"""Of a file whose size nobody has recorded."""

GOES_ON = "What came so far is kept; the same command goes on there."
_TIMEOUT_S = 60.0
_FOR_NOW = (408, 425, 429)
"""Statuses below 500 that say nothing of the next try."""
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

Report = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Remote:
    """A file to download.

    Attributes:
        url: where it lies.
        bytes: its size, where known.
        hash_known: whether the whole file will be held against a SHA-256.
        allow_http: the user accepts addresses whose answers anybody on the way can change.
    """

    url: str
    bytes: int | None
    hash_known: bool
    allow_http: bool = False

    @property
    def most_bytes(self) -> int:
        """More than these are not taken."""
        return MAX_UNKNOWN_BYTES if self.bytes is None else self.bytes


def check_address(url: str, *, allow_http: bool, local: bool = True) -> None:
    """Refuse an address that is not https; of this machine it may be http.

    Args:
        url: the address.
        allow_http: http is accepted from anywhere.
        local: this machine may be asked without https. False where another machine sends us there.

    Raises:
        WeightsError: ``insecure``.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" and host:
        return
    if parts.scheme == "http" and host and (allow_http or (local and is_this_machine(host))):
        return
    raise WeightsError(
        f"{shown_address(url)} is not fetched: it is not https, so that anybody on the way could change what comes. "
        "Give an https address; --allow-http accepts http.",
        kind="insecure",
    )


def download(remote: Remote, part: Path, report: Report | None) -> None:
    """Download to `part`, from where an earlier attempt stopped if that surely was the same file.

    It was where the whole is held against a known SHA-256 afterwards, or where the server gives the same strong ETag.

    Raises:
        WeightsError: not https, too large, cut short, refused, or out of reach.
    """
    check_address(remote.url, allow_http=remote.allow_http)
    log.info("fetching %s", shown_address(remote.url))
    try:
        if not reachable(remote.url):
            raise OSError("the server cannot be reached")
        if _rest(remote, part, report):
            return
        _forget(part)
        if not _rest(remote, part, report):
            raise OSError("the server sends a part where it was asked for all")
    except (OSError, http.client.HTTPException) as error:
        trouble = disk_trouble(error, part)
        if trouble is not None and trouble.kind != "system":  # what else is the system's fault is the network's here
            raise trouble from error
        joined = remote.hash_known or _tag_file(part).exists()
        raise not_fetched(remote.url, error, goes_on=joined) from error


def not_fetched(what: str, error: Exception, *, goes_on: bool = True) -> WeightsError:
    """A download that failed: ``refused`` where the same command would get the same answer, else ``unreachable``."""
    status = _status(error)
    if status is not None and status not in _FOR_NOW and status < 500:
        return WeightsError(f"{shown_address(what)} could not be fetched: {shown_address(str(error))}", kind="refused")
    more = GOES_ON if goes_on else "The same command fetches it from its beginning."
    sentence = f"{shown_address(what)} could not be fetched: {shown_address(str(error))}. {more}"
    return WeightsError(sentence, kind="unreachable")


def _status(error: Exception) -> int | None:
    """The status that a server answered with, where it answered."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, urllib.error.HTTPError):
        return error.code
    if isinstance(error, HfHubHTTPError):
        return getattr(error.response, "status_code", 400)
    return None


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


def _rest(remote: Remote, part: Path, report: Report | None) -> bool:
    """Append to `part` what it lacks; False when what the server has is not what `part` begins."""
    seen = _tag_file(part)
    tag = seen.read_text(encoding="latin-1") if seen.exists() else ""
    if not (tag or remote.hash_known):
        _forget(part)
    start = part.stat().st_size if part.exists() else 0
    try:
        with paced(_TIMEOUT_S) as pace, _open(remote, start, tag, pace) as response:
            if response.status == 206:
                if not start or not _continues(response, start, tag, remote):
                    return False
            else:
                start = 0
                seen.unlink(missing_ok=True)
            told = response.headers.get("ETag", "")
            if told.startswith('"'):  # weak tags say nothing of bytes
                seen.write_text(told, encoding="latin-1")
            _copy(pace, response, part, start, remote, report)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not start:
            raise
        # Nothing is left to send: the part is whole, or longer than the file and so of another one.
        if error.headers.get("Content-Range") != f"bytes */{start}":
            return False
    seen.unlink(missing_ok=True)
    return True


def _open(remote: Remote, start: int, tag: str, pace: Pace) -> Any:
    request = urllib.request.Request(remote.url, headers={"User-Agent": f"javisbench/{__version__}"})
    token = hub_token(remote.url)
    if token:
        # Not for whoever the hub sends us on to.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    if start:
        request.add_header("Range", f"bytes={start}-")
        if tag:
            # The whole file comes instead where it has changed since.
            request.add_header("If-Range", tag)
    opener = urllib.request.build_opener(_Redirects(remote), *pace.handlers())
    with pace.waiting():
        return opener.open(request, timeout=_TIMEOUT_S)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to where the first address could have been, and nowhere else."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The request to follow with. Raises `WeightsError`."""
        local = is_this_machine(urlsplit(req.full_url).hostname or "")
        check_address(newurl, allow_http=self._remote.allow_http, local=local)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _continues(response: Any, start: int, tag: str, remote: Remote) -> bool:
    """Whether a partial answer goes on where the part ends, in the same file as far as anybody can tell."""
    place = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    told = response.headers.get("ETag", "")
    same = told == tag if tag and told else remote.hash_known
    return place is not None and int(place[1]) == start and same


def _copy(pace: Pace, response: Any, part: Path, start: int, remote: Remote, report: Report | None) -> None:
    total = None if response.length is None else start + response.length
    if total is not None and (total > remote.most_bytes or (remote.bytes is not None and total != remote.bytes)):
        _forget(part)
        raise _wrong_size(remote, f"has {total:,} bytes")
    done = start
    with part.open("ab" if start else "wb") as file:
        for chunk in pace.chunks(response):
            done += len(chunk)
            if done > remote.most_bytes:
                break
            file.write(chunk)
            if report is not None:
                report(part.name.removesuffix(".part"), done, total)
    if done > remote.most_bytes:
        _forget(part)
        raise _wrong_size(remote, "goes on")
    if total is not None and done != total:
        raise OSError(f"the connection ended after {done} of {total} bytes")


def _wrong_size(remote: Remote, found: str) -> WeightsError:
    limit = f"{remote.bytes:,} are recorded for it" if remote.bytes else f"at most {remote.most_bytes:,} are taken"
    return WeightsError(
        f"{shown_address(remote.url)} {found}, but {limit}. It was removed; if this persists, do not trust the source.",
        kind="wrong_size",
    )
