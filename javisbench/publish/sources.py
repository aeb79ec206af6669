"""Results from wherever they lie: run folders, summaries, and archives, which are verified first."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from javisbench.errors import SubmissionError, UsageError
from javisbench.publish.archive import unpack
from javisbench.publish.verify import verify_folder
from javisbench.results.run_folder import Result, load_results


@contextmanager
def loaded_results(sources: Iterable[Path | str]) -> Iterator[list[Result]]:
    """All results of some runs and submissions, by model; archives stay unpacked until the block ends.

    Raises:
        RunError: a source has no readable result.
        SubmissionError: an archive does not hold what it claims.
        UsageError: no source, or the same result twice.
    """
    with tempfile.TemporaryDirectory(prefix="javisbench-") as work:
        yield _load_all(sources, Path(work))


def _load_all(sources: Iterable[Path | str], work: Path) -> list[Result]:
    results: dict[str, Result] = {}
    for source in map(Path, sources):
        for result in _load(source, work):
            if result.key in results:
                raise UsageError(
                    f"{source} and {results[result.key].path} are both {result.model} on {result.suite} under "
                    f"{result.protocol}. Leave one out, or score it under another --name."
                )
            results[result.key] = result
    if not results:
        raise UsageError("A leaderboard needs at least one run folder, summary.json or submission archive.")
    return sorted(results.values(), key=lambda r: (r.model.lower(), r.suite, r.protocol))


def _load(source: Path, work: Path) -> list[Result]:
    if not source.is_file() or source.suffix == ".json":
        return load_results(source)
    return load_results(unpack_verified(source, work), follow_clips=False)


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
