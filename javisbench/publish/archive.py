"""Submissions: one archive that holds all that a leaderboard needs to recompute and show a result.

An archive is a zip file of a few files with fixed names and no folders. Reading one trusts nothing: names, number,
sizes and hashes are checked before anything is unpacked, and unpacking stops at the declared size.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from javisbench.durable import atomic_path, sweep_earlier
from javisbench.errors import RunError, SubmissionError
from javisbench.publish.public import public_document, public_manifest, scrubber
from javisbench.results.checked_json import parse_json
from javisbench.results.clip_hashes import PACKED, clip_hashes
from javisbench.results.rankability import refuse_unrankable
from javisbench.results.run_folder import load_results
from javisbench.results.seal import check_tables, unsealed
from javisbench.run.manifest import now_text, versions
from javisbench.system_faults import raise_if_system
from javisbench.text import json_text, printable
from javisbench.weights.hashes import SHA256

SUBMISSION_SCHEMA = 1
MANIFEST = "manifest.json"
# Member to whether every submission has it, and to its largest size in bytes.
MEMBERS: dict[str, tuple[bool, int]] = {
    "summary.json": (True, 64 * 2**20),
    "scores.parquet": (True, 256 * 2**20),
    "samples.parquet": (True, 256 * 2**20),
    "details.parquet": (False, 1024 * 2**20),
    "set_features.safetensors": (False, 1024 * 2**20),
    PACKED: (False, 64 * 2**20),
}
MAX_MANIFEST_BYTES = 1 * 2**20
MAX_ARCHIVE_BYTES = 2 * 2**30
_CHUNK = 1 << 20
# What zipfile raises for damaged, encrypted or exotic archives; its decompressors have errors of their own.
_UNREADABLE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    EOFError,
    RuntimeError,
    OSError,
    UnicodeError,
)


@dataclass(frozen=True)
class Contents:
    """What goes into an archive.

    Attributes:
        manifest: facts, and size and SHA-256 of every member.
        members: name to bytes, without the manifest.
        hidden: what was left out or rewritten because it told of this machine or looked like a secret.
    """

    manifest: Mapping[str, Any]
    members: Mapping[str, bytes]
    hidden: tuple[str, ...]


def contents(run: Path, *, protocol: str | None = None) -> Contents:
    """What `pack` would write of a run.

    Raises:
        RunError: the run is not scored, or not under that protocol.
        SubmissionError: boards would refuse it (stand-in weights, a derived protocol).
    """
    results = load_results(run)
    chosen = next((r for r in results if protocol in (None, r.protocol)), None)
    if chosen is None or chosen.folder is None:
        raise RunError(f"{run} was not scored under {protocol}; it has {', '.join(r.protocol for r in results)}.")
    refuse_unrankable(chosen)
    scrub = scrubber(chosen)
    # What is left out of it breaks its seal, and an archive has hashes of its own.
    document = public_document(unsealed(chosen.document), scrub)
    members = {name: (chosen.folder / name).read_bytes() for name in MEMBERS if (chosen.folder / name).is_file()}
    # A job that scores the run anew may have written since it was read.
    check_tables(chosen.document, chosen.folder)
    members["summary.json"] = (json_text(document, indent=1) + "\n").encode()
    members[PACKED] = json.dumps(clip_hashes(chosen)).encode()
    manifest = {
        "schema": SUBMISSION_SCHEMA,
        "created": now_text(),
        "model": printable(document["run"]["model"]),  # as readers of the summary show it
        "suite": chosen.suite,
        "suite_hash": chosen.suite_hash,
        "protocol": chosen.protocol,
        **public_manifest(chosen.manifest, scrub),
        "packed_with": versions(),
        "members": {name: {"bytes": len(data), "sha256": _sha256(data)} for name, data in sorted(members.items())},
    }
    return Contents(manifest, dict(sorted(members.items())), tuple(dict.fromkeys(scrub.changed)))


def pack(run: Path, out: Path, *, protocol: str | None = None) -> Path:
    """Write a run's submission: what `contents` says, and nothing of the machine (not even its time zone).

    Args:
        run: a scored run folder.
        out: the archive, ``.zip``.
        protocol: which of the run's protocols; None for its first.

    Returns:
        `out`.

    Raises:
        RunError: the run is not scored, or not under that protocol.
        SubmissionError: boards would refuse it (stand-in weights, a derived protocol).
    """
    found = contents(run, protocol=protocol)
    sweep_earlier(out)
    with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {MANIFEST: json_text(found.manifest, indent=1).encode(), **found.members}.items():
            info = zipfile.ZipInfo(name)  # of no time: that of this machine would be its local one
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, data)
    return out


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def unpack(file: Path, folder: Path) -> dict[str, Any]:
    """Unpack an archive into an empty folder after checking its outside; returns its manifest.

    Raises:
        SubmissionError: the first thing that does not hold: not an archive, a member that has no place in one, a
            path, a link, an oversized or damaged member, a wrong hash, an unknown schema.
    """
    if not file.is_file() or file.stat().st_size > MAX_ARCHIVE_BYTES:
        raise _refused(file, f"it is no file of at most {MAX_ARCHIVE_BYTES >> 30} GiB", "archive")
    try:
        with zipfile.ZipFile(file) as archive:
            _check_directory(file, archive)
            manifest = _manifest(file, archive)
            for name, facts in manifest["members"].items():
                _unpack_member(file, archive, name, facts, folder / name)
    except _UNREADABLE as error:
        raise_if_system(error, file)
        raise _refused(file, f"it is no readable zip archive ({error})", "archive") from error
    return manifest


def _refused(file: Path, reason: str, kind: str) -> SubmissionError:
    return SubmissionError(f"{file.name} is refused: {reason}.", kind=kind)


def _check_directory(file: Path, archive: zipfile.ZipFile) -> None:
    seen: set[str] = set()
    allowed = {MANIFEST, *MEMBERS}
    if len(archive.infolist()) > len(allowed):
        raise _refused(file, f"it has {len(archive.infolist())} members", "members")
    for info in archive.infolist():
        name = info.filename
        if name not in allowed:
            kind = "path" if any(part in name for part in ("/", "\\", "..")) else "members"
            raise _refused(file, f"it has a member {name[:80]!r}, which has no place in a submission", kind)
        if name in seen:
            raise _refused(file, f"it has {name} twice", "members")
        seen.add(name)
        mode = info.external_attr >> 16
        if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
            raise _refused(file, f"{name} is a link or a special file", "link")
        if info.flag_bits & 0x1:
            raise _refused(file, f"{name} is encrypted", "archive")
        limit = MAX_MANIFEST_BYTES if name == MANIFEST else MEMBERS[name][1]
        if info.file_size > limit:
            raise _refused(file, f"{name} unpacks to {info.file_size:,} bytes, more than {limit:,}", "oversized")
    absent = [name for name, (needed, _) in {MANIFEST: (True, 0), **MEMBERS}.items() if needed and name not in seen]
    if absent:
        raise _refused(file, f"it lacks {', '.join(absent)}", "members")


def _manifest(file: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    try:
        manifest = parse_json(b"".join(_chunks(file, archive, MANIFEST, MAX_MANIFEST_BYTES)), MANIFEST)
    except RunError as error:
        raise _refused(file, error.message.rstrip("."), "manifest") from error
    if not isinstance(manifest, dict):
        raise _refused(file, f"{MANIFEST} is no object", "manifest")
    schema, members = manifest.get("schema"), manifest.get("members")
    if type(schema) is not int or schema != SUBMISSION_SCHEMA:
        raise _refused(file, f"its schema is {schema!r:.40}; this javisbench reads {SUBMISSION_SCHEMA}", "schema")
    if not isinstance(members, dict) or not all(map(_is_member, members.values())):
        raise _refused(file, f"{MANIFEST} does not give bytes and SHA-256 of each member", "manifest")
    present = {info.filename for info in archive.infolist()} - {MANIFEST}
    if members.keys() != present:
        odd = sorted(members.keys() ^ present)
        raise _refused(file, f"manifest and content differ in {', '.join(odd)[:200]}", "members")
    return manifest


def _is_member(facts: object) -> bool:
    if not isinstance(facts, dict):
        return False
    size, digest = facts.get("bytes"), facts.get("sha256")
    return type(size) is int and size >= 0 and isinstance(digest, str) and SHA256.fullmatch(digest) is not None


def _unpack_member(file: Path, archive: zipfile.ZipFile, name: str, facts: Mapping[str, Any], target: Path) -> None:
    digest, size = hashlib.sha256(), 0
    # No more than was said, which is known to be within the limit.
    most = min(MEMBERS[name][1], facts["bytes"])
    with target.open("wb") as out:
        for chunk in _chunks(file, archive, name, most):
            digest.update(chunk)
            size += out.write(chunk)
    if size != facts["bytes"] or digest.hexdigest() != facts["sha256"]:
        told = digest.hexdigest()[:12]
        raise _refused(file, f"{name} is not what the manifest says (SHA-256 {told}...)", "wrong_hash")


def _chunks(file: Path, archive: zipfile.ZipFile, name: str, limit: int) -> Iterator[bytes]:
    # The size in the directory may lie; what comes out is counted.
    size = 0
    with archive.open(name) as member:
        while chunk := member.read(_CHUNK):
            size += len(chunk)
            if size > limit:
                raise _refused(file, f"{name} unpacks to more than {limit:,} bytes", "oversized")
            yield chunk
