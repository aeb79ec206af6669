"""Why a clip cannot be read or written: the values of ``MediaError.kind``.

They stand in ``failures.jsonl`` and are part of the public interface: a kind is never renamed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from javisbench.errors import MediaError
from javisbench.places import PlaceError
from javisbench.system_faults import Fault, Places, fault_of

KINDS: dict[str, str] = {
    "not_found": "there is no such file, or a link leads nowhere",
    "not_a_file": "a folder, pipe, socket or device where a media file should be",
    "no_permission": "the file may not be read",
    "unreadable": "the system gives an error when this file is read, and not for others (a bad sector, say)",
    "empty_file": "the file has no bytes",
    "unsupported_format": "the content is none of the accepted container formats, whatever the name says",
    "bad_container": "the container's own structure is damaged or incomplete (no index, broken header)",
    "no_video_stream": "a media file without a picture track",
    "no_frames": "a picture track from which not one frame comes",
    "short_read": "the file ends early, or holds fewer frames than it declares",
    "decode_error": "the decoder met damaged or impossible picture data",
    "bad_audio": "the container's sound track is damaged, or holds values that are not numbers",
    "bad_sidecar": "the sound file beside the video is missing, damaged, empty or of no accepted format",
    "too_large": "the clip decodes to more bytes than the limit allows",
    "timeout": "reading took longer than the deadline",
    "worker_died": "the decoding process was killed or crashed while it read this clip",
    "unreachable": "the place where the clip lies cannot be reached; the job stops and goes on later",
    "no_access": "the place where the clip lies does not let it be read with these credentials; the job stops",
    "worker_start": "no decoding process can be started on this machine",
    "cannot_write": "the clip cannot be encoded or stored as asked",
}

OUT_OF_REACH = frozenset(("unreachable", "no_access"))
"""Kinds of a place that does not answer, or lets nothing be read."""

STOPPING = frozenset(("worker_start", *OUT_OF_REACH))
"""Kinds that say nothing of a clip: the job stops, and goes on with the same command."""


OF_CONTENT = (
    "bad_container",
    "no_video_stream",
    "no_frames",
    "short_read",
    "decode_error",
    "bad_audio",
    "bad_sidecar",
)
"""Kinds of bytes that are not what they should be; FFmpeg takes a disk that fails for damage, or for a file's end."""

MAYBE_PASSED = (*OF_CONTENT, "not_found", "no_permission", "unreadable")
"""Kinds that a trouble of the system looks like which is over when it is asked for: such a clip is looked at twice."""


OWN = ("not_a_file", "empty_file", "too_large", "unsupported_format")
"""Kinds of a file's type, size or first bytes alone, which no trouble of the system looks like."""


def fault_of_reading(failure: Exception, files: Iterable[Path], places: Places) -> Fault | None:
    """Whether it is the system's fault that the files of a clip could not be read (`javisbench.system_faults`)."""
    if isinstance(failure, MediaError) and failure.kind in OWN:
        return None
    return fault_of(failure) or next(filter(None, map(places.lost, files)), None)


def media_error(kind: str, message: str) -> MediaError:
    """A `MediaError` of one of the documented kinds.

    Raises:
        KeyError: the kind is not documented in `KINDS`.
    """
    KINDS[kind]
    return MediaError(message, kind=kind)


def not_brought(error: PlaceError) -> MediaError:
    """Why a file that lies elsewhere cannot be had, as a `MediaError`."""
    own = {
        "no_permission": "no_access",
        "refused": "not_found",
        "not_found": "not_found",
        "too_large": "too_large",
        "damaged": "bad_container",
    }
    return media_error(own.get(error.kind, "unreachable"), error.message)
