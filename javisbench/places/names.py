"""The names of clips that lie elsewhere, as a folder of the cache: of a folder, of tars, of tables of videos."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from javisbench.durable import write_bytes
from javisbench.errors import UsageError
from javisbench.places.cache import Cache
from javisbench.places.entry import PROMPT, Entry, check_prompt
from javisbench.places.remote import Remote, version_of
from javisbench.places.tables import cells
from javisbench.places.tars import members
from javisbench.places.urls import PlaceError, explained, file_system, is_url, joined, scheme_of, shown

MAX_FILES = 1_000_000
CONTAINERS = (".tar", ".parquet")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_PRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def holds_clips(spec: str | Path) -> bool:
    """Whether `spec` is a URL, or a file (or pattern of files) that holds clips: a tar or a Parquet table."""
    text = str(spec)
    return is_url(text) or (text.lower().endswith((*CONTAINERS, *_PRESSED)) and not Path(text).is_dir())


def gather(spec: str | Path, cache: Cache, *, prompts: bool = False) -> Path:
    """Make the folder of names of the clips in a folder, tars or tables elsewhere.

    Args:
        spec: URL of a folder, or URL or path of a ``.tar`` or ``.parquet`` file; ``*`` and ``{0000..0015}`` stand for
            several. A folder of nothing but such files is read as all of them.
        cache: where the folder is made.
        prompts: bring the prompts beside the clips too (``ID.txt``).

    Returns:
        the folder; each file in it stands for one that is elsewhere (`Remote`), but for prompts, which are here.

    Raises:
        PlaceError: nothing is there, or it cannot be listed.
        UsageError: it holds no file at all, two of one name, or names that cannot be.
    """
    url = _as_url(spec)
    folder = cache.path_of(url)
    found: dict[str, Entry] = {}
    for entry in _entries(url, prompts=prompts):
        if len(found) >= MAX_FILES:
            raise UsageError(f"{shown(url)} holds more than {MAX_FILES:,} files.")
        earlier = found.setdefault(entry.name, entry)
        if earlier is not entry:
            raise UsageError(f"{entry.remote.title} and {earlier.remote.title} have one name. Rename one of them.")
    if not found:
        raise UsageError(f"{shown(url)} holds no clips.")
    _write(folder, found)
    return folder


def tables_at(spec: str | Path) -> list[str | Path]:
    """The Parquet tables that `spec` names, as for `gather`: URLs, and paths of those on this machine."""
    url = _as_url(spec)
    if url.lower().endswith(CONTAINERS):
        found = _expanded(url)
    else:
        found = [joined(url, name) for name, _ in _listed(url) if name.lower().endswith(".parquet")]
        found = found or _expanded(joined(url, "data", "*.parquet"))
    return [Path(file_system(one)[1]) if scheme_of(one) == "file" else one for one in found]


def _as_url(spec: str | Path) -> str:
    text = str(spec)
    if text.lower().endswith(_PRESSED):
        raise UsageError(
            f"{shown(text)} is compressed as a whole, so single clips cannot be read. Pack it as a plain .tar."
        )
    return text.rstrip("/") if is_url(text) else f"file://{Path(text).absolute()}"


def is_table(url: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a URL names a file by its suffix, whatever is asked of the server behind it."""
    return url.partition("?")[0].lower().endswith(suffixes)


def _entries(url: str, *, prompts: bool) -> Iterator[Entry]:
    if url.lower().endswith(CONTAINERS):
        yield from _of_containers(_expanded(url), prompts=prompts)
        return
    files = list(_listed(url))
    containers = [joined(url, name) for name, _ in files if name.lower().endswith(CONTAINERS)]
    if not containers and not any(_is_media(name) for name, _ in files):
        # Data sets of the hub keep their tables in a folder of this name.
        containers = _expanded(joined(url, "data", "*.parquet"), needed=False)
    if containers and not any(_is_media(name) for name, _ in files):
        yield from _of_containers(containers, prompts=prompts)
        return
    yield from _of_folder(url, files, prompts=prompts)


def _is_media(name: str) -> bool:
    return name.lower().endswith((".mp4", ".mov", ".mkv", ".webm", ".avi"))


def _of_containers(urls: Iterable[str], *, prompts: bool) -> Iterator[Entry]:
    for url in urls:
        yield from (members if url.lower().endswith(".tar") else cells)(url, prompts=prompts)


def _expanded(url: str, *, needed: bool = True) -> list[str]:
    """The URLs that a pattern stands for."""
    if match := _RANGE.search(url):
        first, last = match[1], match[2]
        if not int(first) <= int(last) < int(first) + MAX_FILES:
            raise UsageError(f"{shown(url)}: {match[0]} is no range.")
        numbers = range(int(first), int(last) + 1)
        one_by_one = (url[: match.start()] + f"{number:0{len(first)}d}" + url[match.end() :] for number in numbers)
        return [found for other in one_by_one for found in _expanded(other)]
    if "*" not in url:
        return [url]
    system, path = file_system(url)
    with explained(url, "listed"):
        found = sorted(system.glob(path))
    if needed and not found:
        raise PlaceError(f"{shown(url)}: nothing is called so.", kind="not_found")
    return [system.unstrip_protocol(name) for name in found]


def _listed(url: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and facts of the files right in a folder; those of a web server are the links of its page."""
    system, path = file_system(url)
    with explained(url, "listed"):
        system.invalidate_cache()
        listed: list[dict[str, Any]] = system.ls(f"{path}/" if scheme_of(url).startswith("http") else path, detail=True)
    inside = path.rstrip("/") + "/"
    for info in listed:
        name = str(info["name"])
        rest = name.removeprefix(inside)
        if info.get("type") == "file" and name.startswith(inside) and _can_be_a_name(rest):
            yield rest, info


def _can_be_a_name(name: str) -> bool:
    """Whether a file may be called so, and a clip could be: ids are shorter still."""
    return name not in ("", ".", "..") and not {"/", "\0"} & set(name) and len(name.encode("utf-8", "replace")) <= 200


def _of_folder(url: str, files: Iterable[tuple[str, dict[str, Any]]], *, prompts: bool) -> Iterator[Entry]:
    texts: dict[str, Remote] = {}
    for name, info in files:
        remote = Remote(joined(url, name), info.get("size"), version_of(info))
        if not name.lower().endswith(PROMPT):
            yield Entry(name, remote)
        elif prompts:
            texts[name] = remote
    contents = _contents(list(texts.values()))
    for (name, remote), text in zip(texts.items(), contents, strict=True):
        yield Entry(name, remote, text)


def _contents(remotes: list[Remote]) -> list[bytes]:
    """The bytes of many small files, brought side by side where the file system can."""
    if not remotes:
        return []
    for remote in remotes:
        check_prompt(remote)
    system, _ = file_system(remotes[0].url)
    paths = [file_system(remote.url)[1] for remote in remotes]
    with explained(remotes[0].url, "read"):
        found = system.cat(paths)
    return [found] if isinstance(found, bytes) else [found[path] for path in paths]


def _write(folder: Path, found: dict[str, Entry]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in found and path.is_file() and (path.suffix == PROMPT or Remote.read(path)):
            with suppress(FileNotFoundError):
                path.unlink()
    for name, entry in found.items():
        path = folder / name
        if entry.text is not None:
            write_bytes(path, entry.text)
        # A clip of a run that is worked on here is here as it is.
        elif not path.exists() or Remote.read(path) is not None:
            entry.remote.write(path)
