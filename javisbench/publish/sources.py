"""Results to publish, from wherever they lie: run folders, summaries, and archives, which are verified first.

None of them tells of this machine (`javisbench.publish.public`).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from javisbench.errors import JavisbenchError, SubmissionError, SystemFaultError, UsageError
from javisbench.private import Scrubber
from javisbench.publish.archive import unpack
from javisbench.publish.public import public_result
from javisbench.publish.reference_json import import_reference, is_reference
from javisbench.publish.verify import checkable, verify_folder
from javisbench.results.run_folder import StoredResult, load_results

log = logging.getLogger(__name__)


@contextmanager
def results_at(source: Path, suite: str) -> Iterator[list[StoredResult]]:
    """All results at one place, whatever it is; an archive stays unpacked until the block ends.

    Args:
        source: a run folder, a summary.json, a submission archive, which is verified first, or the reference
            evaluation's JSON file.
        suite: the name of the suite that a file of the reference evaluation is of, which it does not say itself.

    Raises:
        RunError: there is no readable result.
        SubmissionError: an archive does not hold what it claims.
    """
    with tempfile.TemporaryDirectory(prefix="javisbench-") as work:
        if source.is_file() and source.suffix == ".json" and is_reference(source):
            folder = import_reference(source, Path(work) / "imported", model=source.stem, suite=suite)
            yield load_results(folder, follow_clips=False)
        else:
            yield _load(source, Path(work))


@dataclass(frozen=True)
class Refused:
    """An archive whose result is not shown.

    Attributes:
        name: of its file.
        reasons: at least one sentence.
    """

    name: str
    reasons: tuple[str, ...]


@contextmanager
def loaded_results(sources: Iterable[Path | str], refused: list[Refused] | None = None) -> Iterator[list[StoredResult]]:
    """All results of some runs and submissions, by model; archives stay unpacked until the block ends.

    Args:
        sources: run folders, summary.json files, or submission archives, which are verified first.
        refused: gets the archives that do not hold what they claim, or hold a result that is there already; None when
            one of them shall be an error.

    Raises:
        RunError: a run folder or summary.json has no readable result.
        SubmissionError: an archive does not hold what it claims, and `refused` is None or nothing else is there.
        UsageError: no source, or the same result twice.
    """
    with tempfile.TemporaryDirectory(prefix="javisbench-") as work:
        yield _load_all(sources, Path(work), refused)


def _load_all(sources: Iterable[Path | str], work: Path, refused: list[Refused] | None) -> list[StoredResult]:
    results: dict[str, StoredResult] = {}
    for source in map(Path, sources):
        try:
            found = [public_result(result) for result in _load(source, work)]
            _check_new(source, found, results)
        except JavisbenchError as error:
            if refused is None or not _is_archive(source) or isinstance(error, SystemFaultError):
                raise
            told = map(Scrubber.of_this_machine(work).text, (error.sentence, *error.details))
            refused.append(Refused(source.name, tuple(told)))
            continue
        results.update((result.key, result) for result in found)
    if not results and refused:
        reasons = [f"{archive.name}: {reason}" for archive in refused for reason in archive.reasons]
        raise SubmissionError("None of the archives can be shown:", kind="archive", details=reasons)
    if not results:
        raise UsageError("A leaderboard needs at least one run folder, summary.json or submission archive.")
    return sorted(results.values(), key=lambda r: (r.model.lower(), r.suite, r.protocol_label))


def _check_new(source: Path, found: Iterable[StoredResult], results: Mapping[str, StoredResult]) -> None:
    for result in found:
        if result.key in results:
            raise UsageError(
                f"{source} and {results[result.key].path} are both {result.model} on {result.suite} under "
                f"{result.protocol_label}. Leave one out, or score it under another --name."
            )


def _is_archive(source: Path) -> bool:
    return source.is_file() and source.suffix != ".json"


def _load(source: Path, work: Path) -> list[StoredResult]:
    if not _is_archive(source):
        return load_results(source)
    return [_checked_values(result) for result in load_results(unpack_verified(source, work), follow_clips=False)]


def _checked_values(result: StoredResult) -> StoredResult:
    """A result of an archive without the metrics that are not installed here, whose values nobody has checked."""
    unchecked = [metric_id for metric_id in result.metrics if not checkable(metric_id)]
    if unchecked:
        log.warning("%s: %s is not installed here: not shown", result.model, ", ".join(unchecked))
    kept = {metric_id: cells for metric_id, cells in result.metrics.items() if metric_id not in unchecked}
    return replace(result, metrics=kept)


def unpack_verified(file: Path, work: Path) -> Path:
    """Unpack an archive below `work` after every check of `javisbench submit verify`; returns the folder.

    Raises:
        SubmissionError: what does not hold, all of it.
    """
    folder = Path(tempfile.mkdtemp(dir=work))
    manifest = unpack(file, folder)
    problems = [finding for finding in verify_folder(folder, manifest) if finding.refuses]
    if problems:
        raise SubmissionError(
            f"{file.name} does not hold what it claims:", kind=problems[0].kind, details=list(map(str, problems))
        )
    return folder


def chosen_result(results: Sequence[StoredResult], run: Path, protocol: str | None) -> StoredResult:
    """The result under a protocol, by its name or its label with the revision; the first for None.

    Raises:
        UsageError: `run`, whose results these are, was not scored under it.
    """
    chosen = next((result for result in results if protocol in (None, result.protocol, result.protocol_label)), None)
    if chosen is None:
        has = ", ".join(result.protocol for result in results)
        raise UsageError(f"{run} was not scored under {protocol}; it has {has}.")
    return chosen
