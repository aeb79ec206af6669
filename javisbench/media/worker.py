"""The decoding process: ``python -m javisbench.media.worker``, started by `javisbench.media.pool`.

Standard input is a socket that carries messages as `javisbench.isolated.wire` says. The process takes its limits first,
then one clip after the other, and ends when the socket closes. A clip is a conversation: head, wanted frames, runs,
end.
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
from javisbench.isolated.process import confine, leave_signals_to_parent
from javisbench.isolated.wire import receive, send
from javisbench.media.errors import OF_CONTENT
from javisbench.media.source import DecodeLimits
from javisbench.system_faults import errno_of, read_failure

_GRACE_S = 5.0
_BEYOND_DEADLINE = 8.0


def main() -> None:
    """Answer requests until the parent hangs up."""
    import av

    from javisbench.media import decode

    # FFmpeg's complaints go into error messages, and nowhere else: a hostile file can cause millions of them.
    av.logging.set_level(av.logging.ERROR)
    logging.disable()
    leave_signals_to_parent()
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as connection:
        limits = DecodeLimits(**receive(connection)[0])
        confine(limits.address_space_bytes)
        send(connection, {"ready": True})
        while True:
            try:
                request, _ = receive(connection)
            except EOFError:
                return
            _answer(connection, request, limits, decode)


def _answer(connection: socket.socket, request: dict[str, Any], limits: DecodeLimits, decode: Any) -> None:
    # Whatever is asked, `video` is the file that answers tell of.
    video = Path(request["video"])
    audio = None if request.get("audio") is None else Path(request["audio"])
    _keep_alive(limits, 0)
    try:
        if request["do"] == "probe":
            send(connection, {"info": _info_as_json(decode.probe_headers(video, limits))})
        elif request["do"] == "image":
            _send_image(connection, video, limits)
        elif request["do"] == "sound":
            _send_sound(connection, video, limits)
        elif request["do"] == "join":
            _join(video, audio, Path(request["target"]), limits)
            send(connection, {"joined": True})
        else:
            _stream(connection, video, audio, limits, decode)
    except MediaError as failure:
        code = errno_of(failure)
        if code is None and failure.kind in OF_CONTENT:
            # FFmpeg takes a disk that fails for the end of the file, or for damage.
            with contextlib.suppress(MemoryError):
                code = next(filter(None, map(read_failure, filter(None, (video, audio)))), None)
        send(connection, {"kind": failure.kind, "message": failure.message, "errno": code})
    except OSError as failure:
        message = f"{failure.filename or video}: {failure.strerror or failure}."
        send(connection, {"kind": "unreadable", "message": message, "errno": failure.errno})
    except MemoryError:
        size = limits.address_space_bytes / 2**30
        message = f"{video}: decoding needs more memory than the {size:.1f} GiB that the process may have."
        send(connection, {"kind": "too_large", "message": message})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _join(video: Path, audio: Path | None, target: Path, limits: DecodeLimits) -> None:
    from javisbench.media.join import join

    assert audio is not None
    join(video, audio, target, limits)


def _keep_alive(limits: DecodeLimits, pixels: int) -> None:
    """The parent keeps the deadline; this ends the process if the parent is gone, even within the decoder."""
    signal.setitimer(signal.ITIMER_REAL, _BEYOND_DEADLINE * limits.time_s(pixels) + _GRACE_S)


def _stream(connection: socket.socket, video: Path, audio: Path | None, limits: DecodeLimits, decode: Any) -> None:
    """Hand a clip over: its head, and, once the parent has said which frames it wants, these in runs, when asked for.

    If the frames turn out to be others than the head told, everything is handed over once more.
    """
    known = None
    while True:
        with decode.ClipDecoder(video, audio, limits, known) as clip:
            _keep_alive(limits, len(clip.timeline) * clip.height * clip.width)
            _send_head(connection, clip)
            wanted = _wanted(*receive(connection), len(clip.timeline))
            if wanted is None or not _send_runs(connection, clip, wanted):
                return
            known = clip.corrected()
            if known is None:
                send(connection, {"end": [vars(damage) for damage in clip.damage()]})
                return


def _send_head(connection: socket.socket, clip: Any) -> None:
    from javisbench.isolated import buffers

    line, sound = clip.timeline, clip.sound
    head = {
        "frames": len(line),
        "size": [clip.height, clip.width],
        "fps": [line.fps.numerator, line.fps.denominator],
        "declared_fps": [line.declared_fps.numerator, line.declared_fps.denominator],
        "last_frame_s": line.last_frame_s,
        "channels": 0 if sound is None else sound.samples.shape[0],
        "samples": 0 if sound is None else sound.samples.shape[1],
        "sample_rate": None if sound is None else sound.rate,
        "audio_source": clip.audio_source,
        "hashes": clip.stream_hashes,
    }
    descriptor = buffers.create()
    try:
        head["samples_at"] = buffers.aligned(buffers.append(descriptor, 0, line.times_s))
        if sound is not None:
            buffers.append(descriptor, head["samples_at"], sound.samples)
            clip.sound = None
        send(connection, {"head": head}, [descriptor])
    finally:
        buffers.close(descriptor)


def _send_image(connection: socket.socket, path: Path, limits: DecodeLimits) -> None:
    from javisbench.media.image import decode_image

    pixels = decode_image(path, limits)
    _send_array(connection, {"image": list(pixels.shape[:2])}, pixels)


def _send_sound(connection: socket.socket, path: Path, limits: DecodeLimits) -> None:
    from javisbench.media.sound_file import read_sidecar

    sound = read_sidecar(path, limits)
    _send_array(connection, {"sound": list(sound.samples.shape), "rate": sound.rate}, sound.samples)


def _send_array(connection: socket.socket, message: dict[str, Any], array: Any) -> None:
    from javisbench.isolated import buffers

    descriptor = buffers.create()
    try:
        buffers.append(descriptor, 0, array)
        send(connection, message, [descriptor])
    finally:
        buffers.close(descriptor)


def _wanted(message: dict[str, Any], descriptors: list[int], frames: int) -> Any:
    """Which frames the parent wants, as an array of booleans; None when it has given the clip up."""
    import numpy as np

    from javisbench.isolated import buffers

    if message["wanted"] == "stop":
        return None
    if message["wanted"] == "all":
        return np.ones(frames, np.bool_)
    (descriptor,) = descriptors
    try:
        return np.frombuffer(buffers.map_for_reading(descriptor), np.bool_, frames)
    finally:
        buffers.close(descriptor)


def _send_runs(connection: socket.socket, clip: Any, wanted: Any) -> bool:
    """Hand over the wanted frames; False when the parent has given the clip up.

    While the parent works on one run, the next one is decoded, and no more than that.
    """
    from javisbench.isolated import buffers

    waiting = False
    for indices, descriptor in clip.runs(wanted):
        try:
            if waiting and receive(connection)[0]["run"] != "next":
                return False
            # Consecutive for the most part; a sparse choice of frames of a long clip is short.
            spans = _spans(indices)
            send(connection, {"run": len(indices), "spans": spans}, [descriptor])
            waiting = True
        finally:
            buffers.close(descriptor)
    return not waiting or bool(receive(connection)[0]["run"] == "next")


def _spans(indices: Any) -> list[list[int]]:
    """Ascending integers as [first, past the last] of stretches without a gap."""
    import numpy as np

    cuts = np.flatnonzero(np.diff(indices) != 1) + 1
    starts, ends = np.append(0, cuts), np.append(cuts, len(indices))
    return [[int(indices[a]), int(indices[b - 1]) + 1] for a, b in zip(starts, ends, strict=True)]


def _info_as_json(info: Any) -> dict[str, Any]:
    values = dict(vars(info))
    values["fps"] = [info.fps.numerator, info.fps.denominator]
    return values


if __name__ == "__main__":
    main()
