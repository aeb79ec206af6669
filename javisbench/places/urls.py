"""URLs: what is one, the file system behind it, and what went wrong there in a sentence."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from javisbench.errors import JavisbenchError, UsageError

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_WITHOUT_A_HOST = ("file", "memory")
# What the clients of buckets raise besides OSErrors; only what is imported can have been raised.
_CLIENT_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("aiohttp", "ClientError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("gcsfs.retry", "HttpError"),
    ("fsspec.exceptions", "FSTimeoutError"),
)
# Statuses below 500 that say nothing of the next try.
_FOR_NOW = (408, 425, 429)
_SECRETS = re.compile(r"(?<=://)[^/@\s]*@|\?\S*")


class PlaceError(JavisbenchError):
    """A place that cannot be reached, read or written; what was done before is kept."""

    kind = "place"


def is_url(text: object) -> bool:
    """Whether `text` names a file or folder by URL (``s3://...``)."""
    return isinstance(text, str) and _URL.match(text) is not None


def shown(url: str) -> str:
    """A URL without what may be secret in it: names, passwords and signatures."""
    return _SECRETS.sub("", url)


def scheme_of(url: str) -> str:
    """``s3``, ``gs``, ``https``, ..."""
    return url.partition("://")[0].lower()


def file_system(url: str) -> tuple[Any, str]:
    """The `fsspec` file system of a URL and the path in it.

    Raises:
        UsageError: there is no such file system, or its package is not installed.
    """
    import fsspec

    scheme = scheme_of(url)
    if "::" in url:
        raise UsageError(f"{shown(url)}: chains of file systems are not read.")
    try:
        with explained(url, "opened"):
            system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise UsageError(f"{shown(url)} needs another package: pip install 'javisbench[cloud]' ({error}).") from error
    except ValueError as error:
        raise UsageError(f"{shown(url)}: there is no file system {scheme}:// ({error}).") from error
    return system, path


@contextmanager
def explained(url: str, what: str) -> Iterator[None]:
    """Inside, errors of the place become a `PlaceError` that says it in a sentence.

    Its ``kind`` is ``not_found``, ``no_permission`` or ``refused`` where the same request would get the same answer,
    and ``unreachable`` where there was none, or one that may be another later.

    Args:
        url: of what is read or written.
        what: ``read``, ``listed``, ``written``, ... for the message.
    """
    try:
        yield
    except _client_errors() as error:
        raise _place_error(url, what, error) from error


def _place_error(url: str, what: str, error: Exception) -> PlaceError:
    status, lost = _status(error), _behind(error)
    if isinstance(error, PermissionError) or status in (401, 403) or "credential" in type(error).__name__.lower():
        return PlaceError(_no_rights(url, what), kind="no_permission")
    # Of a web server, fsspec calls a file missing whatever went wrong when it was asked for.
    missing = isinstance(error, FileNotFoundError | NotADirectoryError) and status is None and lost is None
    if missing or status in (404, 410):
        return PlaceError(f"{shown(url)}: there is nothing there.", kind="not_found")
    reason = " ".join(shown(str(lost or error) or type(lost or error).__name__).split())[:200]
    if status is not None and status < 500 and status not in _FOR_NOW:
        return PlaceError(f"{shown(url)} cannot be {what}: {reason}.", kind="refused")
    return PlaceError(
        f"{shown(url)} cannot be {what}: {reason}. What was done so far is kept: run the same command again.",
        kind="unreachable",
    )


def _behind(error: BaseException) -> BaseException | None:
    """What a client met, behind an error that says that nothing is there."""
    cause = error.__cause__
    while cause is not None and not (isinstance(cause, _client_errors()) and not isinstance(cause, FileNotFoundError)):
        cause = cause.__cause__
    return cause


def _no_rights(url: str, what: str) -> str:
    return (
        f"{shown(url)} may not be {what}: the credentials of this machine do not allow it, or there are none. What was "
        f"done so far is kept: mend that and run the same command again."
    )


def _client_errors() -> tuple[type[Exception], ...]:
    found = (getattr(sys.modules.get(module), name, None) for module, name in _CLIENT_ERRORS)
    return (OSError, TimeoutError, *(error for error in found if error is not None))


def _status(error: BaseException | None) -> int | None:
    """The status of HTTP that an error, or the one behind it, tells of."""
    while error is not None:
        for name in ("status", "code", "status_code"):
            if isinstance(value := getattr(error, name, None), int):
                return value
        response = getattr(error, "response", None)
        facts = response.get("ResponseMetadata") if isinstance(response, dict) else None
        if isinstance(facts, dict) and isinstance(facts.get("HTTPStatusCode"), int):
            return int(facts["HTTPStatusCode"])
        error = error.__cause__
    return None


def joined(url: str, *names: str) -> str:
    """The URL of something below another."""
    return "/".join([url.rstrip("/"), *names])


def last_name(url: str) -> str:
    """The last part of a URL's path."""
    rest = url.partition("://")[2]
    if scheme_of(url) not in _WITHOUT_A_HOST:
        rest = rest.partition("?")[0]
    return rest.rstrip("/").rpartition("/")[2] or rest.rstrip("/")
