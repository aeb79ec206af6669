"""Downloads that do not last for ever: a server that sends next to nothing is hung up on.

A time-out of a socket ends a silence, and a server that sends one byte a minute is never silent. So what comes is
counted, from the request to the last byte, and the connection is shut when it has been too little for too long.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

from javisbench.system_faults import awake_s

LEAST_BYTES_S = 1_000.0
"""Bytes a second, below which a server counts as not answering."""
WINDOW_S = 60.0
"""Seconds over which they are counted; the first answer may take as long."""

_LOOKS = 20
_CHUNK = 1 << 20


class Pace:
    """Counts what comes through the connections that it opens, while somebody waits for it.

    Time in which the caller does something else (writes to a slow disk), or in which the machine sleeps, is nobody's
    fault and is not counted.

    Args:
        window_s: seconds over which it is counted.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._sockets: list[socket.socket] = []
        self._bytes = 0
        self._waiting = False
        self._too_slow = False
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def handlers(self) -> tuple[urllib.request.BaseHandler, ...]:
        """For `urllib.request.build_opener`."""
        return _Http(self), _Https(self)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, the caller waits for the server.

        Raises:
            TimeoutError: too little came for too long; whatever the block ended with.
        """
        self._waiting = True
        try:
            yield
        except Exception as error:
            self._check(error)
            raise
        finally:
            self._waiting = False
        self._check(None)

    def chunks(self, response: Any) -> Iterator[bytes]:
        """What a response holds, in pieces of at most 1 MiB, as they come.

        Raises:
            TimeoutError: as `waiting`.
        """
        while True:
            with self.waiting():
                # One that waits for a whole piece would not tell a byte a second from nothing.
                chunk = response.read1(_CHUNK)
            if not chunk:
                return
            self._bytes += len(chunk)
            yield chunk

    def opened(self, connection: socket.socket) -> None:
        """Note a connection."""
        self._sockets.append(connection)

    def _check(self, error: Exception | None) -> None:
        if self._too_slow:
            raise TimeoutError(
                f"less than {LEAST_BYTES_S / 1000:g} kB a second came for {self._window_s:g} s; the connection was shut"
            ) from error

    def _look(self) -> None:
        asked_s, least_bytes = self._window_s / _LOOKS, LEAST_BYTES_S * self._window_s
        waited_s, before, begun = 0.0, 0, time.monotonic()
        while not self._over.wait(asked_s):
            now = time.monotonic()
            waited_s += awake_s(asked_s, now - begun) if self._waiting else 0.0
            begun = now
            if waited_s < self._window_s:
                continue
            if self._bytes - before < least_bytes:
                self._too_slow = True
                for connection in self._sockets:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
                return
            waited_s, before = 0.0, self._bytes


@contextlib.contextmanager
def paced(patience_s: float = 0.0) -> Iterator[Pace]:
    """A `Pace` that watches until the block ends.

    Args:
        patience_s: a server may take as long before it sends something, where that is more than `WINDOW_S`.
    """
    pace = Pace(max(WINDOW_S, patience_s))
    pace._watch.start()
    try:
        yield pace
    finally:
        pace._over.set()


class _Http(urllib.request.HTTPHandler):
    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace

    def http_open(self, req: urllib.request.Request) -> Any:
        pace = self._pace

        class Connection(http.client.HTTPConnection):
            def connect(self) -> None:
                super().connect()
                pace.opened(self.sock)

        return self.do_open(Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, pace: Pace) -> None:
        self._own_context = ssl.create_default_context()
        super().__init__(context=self._own_context)
        self._pace = pace

    def https_open(self, req: urllib.request.Request) -> Any:
        pace = self._pace

        class Connection(http.client.HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                pace.opened(self.sock)

        return self.do_open(Connection, req, context=self._own_context)
