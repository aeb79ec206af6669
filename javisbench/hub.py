"""What can go wrong with the Hugging Face hub, and whether it can be reached at all."""

from __future__ import annotations

import socket
import threading
import urllib.parse
import urllib.request

_PATIENCE_S = 2.0
_PORTS = {"http": 80, "https": 443}


def hub_errors() -> tuple[type[Exception], ...]:
    """What the hub's library raises when it cannot be reached, refuses, or breaks off.

    Its own errors are OSErrors. A connection that breaks is an error of its HTTP client, which changes from version to
    version.
    """
    from huggingface_hub.errors import HfHubHTTPError

    clients = [base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception) and base is not Exception]
    return (OSError, *clients)


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
