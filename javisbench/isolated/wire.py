"""Messages between a decoding process and its parent.

JSON behind its length in 4 bytes, over a Unix socket. Never pickle: the parent need not trust what a decoder of
hostile files sends. A decoded clip's buffer travels with its message as a file descriptor.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from typing import Any

_MAX_MESSAGE_BYTES = 1 << 20


def send(connection: socket.socket, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
    """Send one JSON message, with file descriptors if there are any."""
    data = json.dumps(message).encode("ascii")
    head = len(data).to_bytes(4, "big")
    socket.send_fds(connection, [head], descriptors or [])
    connection.sendall(data)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Receive one JSON message and the file descriptors that came with it.

    Raises:
        EOFError: the other side has closed the connection.
        TimeoutError: the connection's timeout has passed.
        OSError: this process may have no more descriptors (EMFILE).
        ValueError: what came is not a message.
    """
    head, descriptors, flags, _ = socket.recv_fds(connection, 4, 1, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    complete = False
    try:
        if flags & socket.MSG_CTRUNC:  # the kernel drops a descriptor that has no place, without an error
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        head += _receive_exactly(connection, 4 - len(head))
        size = int.from_bytes(head, "big")
        if size > _MAX_MESSAGE_BYTES:
            raise ValueError(f"a message of {size} bytes")
        message = json.loads(_receive_exactly(connection, size))
        if not isinstance(message, dict):
            raise ValueError("not a message")
        complete = True
    finally:
        if not complete:
            for descriptor in descriptors:
                os.close(descriptor)
    return message, list(descriptors)


def _receive_exactly(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            raise EOFError("the connection was closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
