"""Fetching weights: announced, resumable, checked, locked across processes; never behind the user's back."""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from javisbench.durable import locked, read_json, sweep_temporaries, write_json
from javisbench.errors import RunError, SystemFaultError, UsageError, WeightsError
from javisbench.weights.download import Remote, Report, download, not_fetched
from javisbench.weights.hashes import file_sha256
from javisbench.weights.store import WeightsEntry, WeightsFile, WeightStore, content_files

log = logging.getLogger(__name__)
_RECORD = "fetched.json"
_HUB_FOLDER = ".hub"
_POLL_S = 0.5


def needs_acknowledgement(store: WeightStore, entry: WeightsEntry) -> bool:
    """Whether the licence of `entry` has not been accepted on this machine yet."""
    record = _read_record(store.cache / entry.id)
    return record.get("licence") != entry.licence


def fetch(
    store: WeightStore,
    entry: WeightsEntry,
    *,
    accept_licence: bool,
    allow_http: bool = False,
    report: Report | None = None,
) -> Path:
    """Fetch an entry's files into the cache and check them.

    Files go to ``<cache>/<entry id>/``, under a temporary name until they are whole; an interrupted download goes on
    where it stopped. The SHA-256 must be the registry's; where that knows none, the first one is recorded and later
    downloads must agree with it.

    Args:
        store: knows the cache and whether connections are allowed.
        entry: what to fetch.
        accept_licence: the user has seen and accepted the licence.
        allow_http: the user accepts an address that is not https; this machine's own may be so anyhow.
        report: called with file name, bytes done and bytes in all (None if unknown).

    Returns:
        the local file or folder.

    Raises:
        WeightsError: offline, refused, no such file, not https, or a wrong size or hash (the file is then removed).
        UsageError: the licence is not accepted, or the weights cannot be fetched at all.
    """
    if not entry.fetchable:
        raise UsageError(
            f"{entry.title} cannot be fetched: its source is {entry.source}. Put {entry.wanted_names} into a folder "
            f"and give it with --weights-dir."
        )
    if needs_acknowledgement(store, entry) and not accept_licence:
        raise UsageError(
            f"{entry.title} is licensed under {entry.licence} ({entry.licence_url or 'see its source'}). Accept it "
            f"with --accept-licence."
        )
    if store.offline:
        raise WeightsError(
            f"{entry.title} is not fetched: HF_HUB_OFFLINE is set. Unset it, or put {entry.wanted_names} into a "
            f"folder and give it with --weights-dir."
        )
    folder = store.cache / entry.id
    with _turn(folder):
        sweep_temporaries(folder)
        record = _read_record(folder)
        hashes = dict(record.get("sha256", {}))
        if _is_folder(entry):
            hashes |= _fetch_folder(store, entry, folder, hashes)
        else:
            for file in entry.files:
                known = hashes.get(file.path)
                address = f"{entry.source}/{file.path}" if entry.loose else entry.source
                remote = Remote(address, file.bytes, bool(file.sha256 or known), allow_http)
                hashes[file.path] = _fetch_file(entry, file, folder, known, remote, report)
        write_json(folder / _RECORD, {"licence": entry.licence, "source": entry.source, "sha256": hashes})
    return store.find(entry.id)


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """The folder's lock, after whoever fetches into it now: jobs of an array start at the same moment."""
    told = False
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(locked(folder))
                break
            except RunError as error:
                if error.kind != "locked":
                    raise
            if not told:
                log.warning("another process fetches into %s: waiting for it", folder)
                told = True
            time.sleep(_POLL_S)
        yield


@dataclass(frozen=True)
class Verdict:
    """What a check of an entry's local files found.

    Attributes:
        problems: everything that does not hold; empty when all does.
        unknown: files whose SHA-256 nobody has recorded, each with the one that it has.
        good: files that are as recorded.
    """

    problems: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    good: tuple[str, ...] = ()


def verify(store: WeightStore, entry: WeightsEntry) -> Verdict:
    """Compare an entry's local files with the registry, or with what was recorded when they were fetched.

    Raises:
        MissingWeightsError: there are none.
    """
    path = store.find(entry.id)
    recorded = _read_record(store.cache / entry.id).get("sha256", {})
    found: dict[str, list[str]] = {"problems": [], "unknown": [], "good": []}
    files = _local_files(entry, path)
    if not files:
        return Verdict(problems=(f"{path} holds nothing of {entry.title}",))
    for file, local in files:
        kind, told = _compare(local, file, recorded.get(file.path))
        found[kind].append(told)
    return Verdict(**{kind: tuple(told) for kind, told in found.items()})


def _compare(local: Path, file: WeightsFile, recorded: str | None) -> tuple[str, str]:
    """Which of a verdict's lists a local file belongs to, and what is said of it. The file is read anew."""
    if not local.is_file():
        return "problems", f"{local} is missing"
    if file.bytes is not None and local.stat().st_size != file.bytes:
        return "problems", f"{local} has {local.stat().st_size} bytes, expected {file.bytes}"
    found, expected = file_sha256(local), file.sha256 or recorded
    if expected is None:
        return "unknown", f"{local}: {found}"
    if found != expected:
        return "problems", f"{local} has SHA-256 {found}, expected {expected}"
    return "good", str(local)


def _local_files(entry: WeightsEntry, path: Path) -> list[tuple[WeightsFile, Path]]:
    """What an entry has at `path`, each file with its place; those that it names even where they are missing."""
    if not path.is_dir():
        forms = entry.hashed or entry.files[:1] or (WeightsFile(path.name),)
        return [(next((form for form in forms if form.bytes == path.stat().st_size), forms[0]), path)]
    root = entry.root(path)
    files = {file.path: file for file in entry.accepted if (root / file.path).is_file()}
    # Where another form of the weights lies, the files that would be fetched need not.
    named = (file for file in entry.files if "*" not in file.path)
    files |= {file.path: file for file in named if not files or (root / file.path).is_file()}
    for name in (local.relative_to(root).as_posix() for local in content_files(path)):
        if any(fnmatch.fnmatch(name, file.path) for file in entry.files):
            files.setdefault(name, WeightsFile(name))
    return [(file, root / name) for name, file in files.items()]


def _read_record(folder: Path) -> dict[str, Any]:
    if not (folder / _RECORD).exists():
        return {}
    try:
        record = read_json(folder / _RECORD)
    except SystemFaultError:  # the hashes in it are what later files are held against
        raise
    except RunError:
        return {}
    return record if isinstance(record, dict) else {}


def _is_folder(entry: WeightsEntry) -> bool:
    """Whether an entry is (part of) a hub repository, kept as a folder, rather than one file."""
    return not entry.is_url and (len(entry.files) > 1 or any("*" in file.path for file in entry.files))


def _fetch_folder(store: WeightStore, entry: WeightsEntry, folder: Path, recorded: Mapping[str, str]) -> dict[str, str]:
    """Fetch part of a hub repository; returns the SHA-256 of every file of it."""
    target = folder / entry.source.rpartition("/")[2]
    _snapshot(entry, target)
    lacking = entry.lacking(target)
    if lacking:
        at = f" at {entry.revision}" if entry.revision else ""
        raise WeightsError(
            f"{entry.source}{at} has no {', '.join(lacking)}: the registry and the repository disagree. Put the files "
            f"of {entry.title} into a folder and give it with --weights-dir.",
            kind="incomplete",
        )
    return {
        file.path: _checked(local, store.hashes.sha256(local), entry, file, recorded.get(file.path))
        for file, local in _local_files(entry, target)
    }


def _snapshot(entry: WeightsEntry, target: Path) -> None:
    from huggingface_hub import snapshot_download

    from javisbench.hub import hub_errors, hub_reachable

    log.info("fetching %s of %s", ", ".join(file.path for file in entry.files), entry.source)
    if not hub_reachable():
        raise not_fetched(entry.source, OSError("the hub cannot be reached"))
    try:
        # The hub's library resumes, locks and checks by itself.
        snapshot_download(
            entry.source, revision=entry.revision, allow_patterns=[file.path for file in entry.files], local_dir=target
        )
    except hub_errors() as error:
        raise not_fetched(entry.source, error) from error


def _fetch_file(
    entry: WeightsEntry, file: WeightsFile, folder: Path, recorded: str | None, remote: Remote, report: Report | None
) -> str:
    target = folder / (file.path if entry.loose else entry.local_names[0])
    expected = file.sha256 or recorded
    if target.is_file() and expected is not None and file_sha256(target) == expected:
        return expected
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    if entry.is_url:
        download(remote, part, report)
    else:
        _from_hub(entry, file, part)
    digest = _checked(part, file_sha256(part), entry, file, recorded)
    part.replace(target)
    return digest


def _checked(fetched: Path, digest: str, entry: WeightsEntry, file: WeightsFile, recorded: str | None) -> str:
    """The digest of a fetched file, which is removed when it is not the registry's, or else the recorded one.

    Raises:
        WeightsError: it is not.
    """
    expected = file.sha256 or recorded
    if expected is not None and digest != expected:
        fetched.unlink()
        raise WeightsError(
            f"{file.path} from {entry.source} has SHA-256 {digest}, expected {expected}. It was removed; fetch it "
            f"again, and if this persists, do not trust the source.",
            kind="wrong_hash",
        )
    return digest


def _from_hub(entry: WeightsEntry, file: WeightsFile, part: Path) -> None:
    from huggingface_hub import hf_hub_download

    from javisbench.hub import hub_errors, hub_reachable

    log.info("fetching %s of %s", file.path, entry.source)
    if not hub_reachable():
        raise not_fetched(f"{file.path} of {entry.source}", OSError("the hub cannot be reached"))
    try:
        # The hub's library resumes and locks by itself. It has a folder of our own: from its cache, a file that was
        # refused for its hash would come again.
        fetched = hf_hub_download(entry.source, file.path, revision=entry.revision, local_dir=part.parent / _HUB_FOLDER)
    except hub_errors() as error:
        raise not_fetched(f"{file.path} of {entry.source}", error) from error
    Path(fetched).replace(part)
