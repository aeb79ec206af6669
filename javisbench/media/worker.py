"""The decoding process: ``python -m javisbench.media.worker``, started by `javisbench.media.pool`.

Standard input is a socket that carries messages as `javisbench.media.wire` says. The process takes its limits first,
then one clip after the other, and ends when the socket closes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from javisbench.errors import MediaError
from javisbench.media.source import DecodeLimits
from javisbench.media.wire import receive, send

_GRACE_S = 5.0


def main() -> None:
    """Answer requests until the parent hangs up."""
    import av

    from javisbench.media import decode

    # FFmpeg's complaints go into error messages, and nowhere else: a hostile file can cause millions of them.
    av.logging.set_level(av.logging.ERROR)
    logging.disable()
    # Ctrl-C reaches the whole group of processes; the parent decides what ends. The alarm of `_answer` must end it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as connection:
        limits = DecodeLimits(**receive(connection)[0])
        _limit_resources(limits)
        send(connection, {"ready": True})
        while True:
            try:
                request, _ = receive(connection)
            except EOFError:
                return
            _answer(connection, request, limits, decode)


def _answer(connection: socket.socket, request: dict[str, Any], limits: DecodeLimits, decode: Any) -> None:
    from javisbench.media import buffers

    video = Path(request["video"])
    audio = None if request.get("audio") is None else Path(request["audio"])
    # The parent keeps the deadline; this ends the process if the parent is gone, even within the decoder.
    signal.setitimer(signal.ITIMER_REAL, limits.deadline_s + _GRACE_S)
    descriptor = buffers.create()
    try:
        if request["do"] == "probe":
            reply = {"info": _info_as_json(decode.probe_headers(video, limits))}
        else:
            reply = {"clip": decode.decode_clip(video, audio, limits, descriptor).as_json()}
        send(connection, reply, [descriptor])
    except MediaError as failure:
        send(connection, {"kind": failure.kind, "message": failure.message})
    except MemoryError:
        size = limits.address_space_bytes / 2**30
        message = f"{video}: decoding needs more memory than the {size:.1f} GiB that the process may have."
        send(connection, {"kind": "too_large", "message": message})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.close(descriptor)


def _info_as_json(info: Any) -> dict[str, Any]:
    values = dict(vars(info))
    values["fps"] = [info.fps.numerator, info.fps.denominator]
    return values


def _limit_resources(limits: DecodeLimits) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    size = limits.address_space_bytes if hard == resource.RLIM_INFINITY else min(limits.address_space_bytes, hard)
    # macOS knows the limit but refuses to set it.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (size, hard))


if __name__ == "__main__":
    main()
