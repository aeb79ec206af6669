"""What a listing of clips elsewhere finds: files by name, and prompts."""

from __future__ import annotations

from dataclasses import dataclass

from javisbench.errors import UsageError
from javisbench.places.remote import Remote

PROMPT = ".txt"
MAX_PROMPT_BYTES = 2**16


@dataclass(frozen=True)
class Entry:
    """A file of a clip, or a prompt.

    Attributes:
        name: in the folder of names.
        remote: where its bytes are.
        text: the prompt, where it came with the listing.
    """

    name: str
    remote: Remote
    text: bytes | None = None


def check_prompt(remote: Remote) -> None:
    """Refuse a prompt that is too large to be one.

    Raises:
        UsageError: it is.
    """
    if remote.size is not None and remote.size > MAX_PROMPT_BYTES:
        raise UsageError(f"{remote.title}: {remote.size:,} bytes; a prompt has at most {MAX_PROMPT_BYTES:,}.")


def file_name(name: str, remote: Remote) -> str:
    """The last part of a member's name.

    Raises:
        UsageError: it can be no file's name.
    """
    last = name.rstrip("/").rpartition("/")[2]
    if last in ("", ".", "..") or "\0" in last or len(last.encode("utf-8", "replace")) > 200:
        raise UsageError(f"{remote.title[:200]}: that can be no file's name.")
    return last
