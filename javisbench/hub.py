"""What can go wrong with the Hugging Face hub, and what is asked of any server: is it there, how long to wait."""

from __future__ import annotations

import email.utils
import ipaddress
import socket
import threading
import time
import urllib.parse
import urllib.request

_PATIENCE_S = 2.0
_PORTS = {"http": 80, "https": 443}
_LONGEST_WAIT_S = 86_400.0


def hub_errors() -> tuple[type[Exception], ...]:
    """What the hub's library raises when it cannot be reached, refuses, or breaks off.

    Its own errors are OSErrors. A connection that breaks is an error of its HTTP client, which changes from version to
    version.
    """
    from huggingface_hub.errors import HfHubHTTPError

    clients = [base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception) and base is not Exception]
    return (OSError, *clients)


def is_this_machine(host: str) -> bool:
    """Whether a host's name, or its address, is that of the machine itself; names that only begin so are others."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def retry_after_s(told: str | None) -> float | None:
    """Seconds that a header ``Retry-After`` asks to wait, from 0 to a day; None where it asks nothing that can be read.

    Args:
        told: a number of seconds, or a date.
    """
    text = (told or "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return min(max(0.0, seconds), _LONGEST_WAIT_S) if seconds == seconds else None


def hub_token(url: str) -> str | None:
    """The user's token for the hub, where `url` is of the hub's own host; None for all others.

    Hosts are compared whole: ``huggingface.co.example`` is another one.
    """
    from huggingface_hub import constants, get_token

    hub, asked = urllib.parse.urlsplit(constants.ENDPOINT), urllib.parse.urlsplit(url)
    same = (hub.scheme, hub.hostname, hub.port) == (asked.scheme, asked.hostname, asked.port)
    return get_token() if same and asked.hostname else None


def hub_reachable() -> bool:
    """Whether a connection to the hub, or to the proxy on the way to it, opens within two seconds.

    The hub's library tries five times, longer each time, before it says that there is no network.
    """
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and reachable(constants.ENDPOINT)


def reachable(url: str) -> bool:
    """Whether a connection to the host of `url`, or to the proxy on the way to it, opens within two seconds."""
    target = urllib.parse.urlsplit(url)
    if not urllib.request.proxy_bypass(target.hostname or ""):
        proxy = urllib.request.getproxies().get(target.scheme)
        if proxy:
            target = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    opened = threading.Event()

    def connect() -> None:
        try:
            port = target.port or _PORTS.get(target.scheme, 80)
            with socket.create_connection((target.hostname or "", port), timeout=_PATIENCE_S):
                opened.set()
        except (OSError, ValueError):
            return

    # In a thread, since nothing bounds the time that looking up a name takes.
    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(_PATIENCE_S)
    return opened.is_set()
