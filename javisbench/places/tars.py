"""Clips in tars, as WebDataset packs them (``KEY.mp4``, ``KEY.wav``, ``KEY.txt``), each read by its range of bytes."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

from javisbench.places.entry import PROMPT, Entry, check_prompt, file_name
from javisbench.places.remote import Remote, version_of
from javisbench.places.urls import PlaceError, explained, file_system, shown

_BLOCK = 2**16


def members(url: str, *, prompts: bool) -> Iterator[Entry]:
    """The plain files of a tar, without a compression; headers alone are read.

    Raises:
        PlaceError: it is none, is cut, or cannot be read.
    """
    system, path = file_system(url)
    with explained(url, "read"):
        version = version_of(system.info(path))
        try:
            with (
                system.open(path, "rb", block_size=_BLOCK, cache_type="readahead") as file,
                tarfile.open(fileobj=file, mode="r:", ignore_zeros=False) as tar,
            ):
                for member in tar:
                    # Links could lead anywhere, and a sparse file's bytes are not its content.
                    if not member.isreg() or member.issparse():
                        continue
                    remote = Remote(url, member.size, version, member.offset_data, member.name)
                    name = file_name(member.name, remote)
                    if not name.lower().endswith(PROMPT):
                        yield Entry(name, remote)
                    elif prompts:
                        check_prompt(remote)
                        content = tar.extractfile(member)
                        assert content is not None
                        yield Entry(name, remote, content.read())
        except tarfile.TarError as error:
            raise PlaceError(f"{shown(url)} is no whole tar ({error}). Pack it again.", kind="damaged") from error
