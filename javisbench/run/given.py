"""The files that a suite gives to a model: what they hold, and bringing them where a model can read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from javisbench.baselines.base import Conditions, Request
from javisbench.errors import MediaError, SuiteError
from javisbench.media.errors import OUT_OF_REACH
from javisbench.media.given import GivenReader, check_there, here_of
from javisbench.places import Cache
from javisbench.suite import Suite
from javisbench.suite_rows import Problem
from javisbench.weights.hashes import file_sha256

if TYPE_CHECKING:
    from javisbench.run.progress import Progress

_READERS = 8


@dataclass
class GivenFiles:
    """SHA-256 of given files by path; each is read once."""

    _known: dict[Path, str | MediaError] = field(default_factory=dict)

    def read(self, paths: Iterable[Path], progress: Progress) -> None:
        """Read many files, several at a time; what cannot be read is told when its digest is asked for."""
        unread = [path for path in dict.fromkeys(paths) if path not in self._known]
        if not unread:
            return
        with (
            ThreadPoolExecutor(_READERS) as threads,
            progress.stage("reading what is given", len(unread), "files") as stage,
        ):
            for found in threads.map(self._read, unread):
                stage.advance(failed=None if isinstance(found, str) else found.message[:200])

    def digests(self, conditions: Conditions) -> dict[str, str]:
        """Column to the SHA-256 of its file.

        Raises:
            MediaError: a file cannot be read.
        """
        return {column: self._digest(path) for column, path in conditions.files.items()}

    def digest_here(self, path: Path) -> str | None:
        """Of a file on this machine; None for one that lies elsewhere or cannot be read."""
        if Cache.of(path) is not None:
            return None
        try:
            return self._digest(path)
        except MediaError:
            return None

    def _digest(self, path: Path) -> str:
        found = self._read(path)
        if isinstance(found, MediaError):
            raise MediaError(found.message, kind=found.kind)
        return found

    def _read(self, path: Path) -> str | MediaError:
        found = self._known.get(path)
        if found is None:
            try:
                with here_of(path) as here:
                    check_there(here)
                    found = file_sha256(here)
            except MediaError as error:
                if error.kind in OUT_OF_REACH:
                    raise
                found = error
            self._known[path] = found
        return found


@contextmanager
def brought(requests: Sequence[Request]) -> Iterator[dict[int, Request]]:
    """Requests by the id of the one that was asked for, whose given files are on this machine until the block ends.

    Raises:
        MediaError: a file cannot be had.
    """
    with ExitStack() as stack:
        found: dict[int, Request] = {}
        for request in requests:
            here = {column: stack.enter_context(here_of(path)) for column, path in request.conditions.files.items()}
            same = all(here[column] == path for column, path in request.conditions.files.items())
            found[id(request)] = (
                request if same else replace(request, conditions=replace(request.conditions, **here))  # type: ignore[arg-type]
            )
        yield found


def missing_files(suite: Suite) -> list[tuple[str, MediaError]]:
    """Ids of samples whose given file is not there or cannot be opened, with the reason; nothing is fetched or read."""
    found = []
    for sample in suite:
        for path in Conditions.of(sample, suite.task).files.values():
            try:
                check_there(path)
            except MediaError as error:
                found.append((sample.id, error))
    return found


def check_given(suite: Suite) -> list[str]:
    """Sentences on what the suite should give and does not; the samples in question fail, each with its reason.

    Raises:
        SuiteError: none of its files is there.
    """
    missing = missing_files(suite)
    if not missing:
        return []
    condition = suite.task_facts.condition
    sample_id, error = missing[0]
    if len(missing) == len(suite):
        raise SuiteError(
            f"None of the {len(suite):,} {condition} files of {suite.name} (task {suite.task}) can be read, such as "
            f"that of {sample_id}: {error.message} Put them where the suite's column {condition} says, from the folder "
            f"of its file."
        )
    return [
        f"{len(missing):,} of {len(suite):,} {condition} files of {suite.name} cannot be read, such as that of "
        f"{sample_id}: {error.message} These samples fail."
    ]


def given_problems(suite: Suite) -> list[Problem]:
    """What is wrong with the files that the suite gives, by row: missing, of another kind, or not readable.

    Pictures and sounds are decoded, of videos the headers and the first frame are read, in a process of its own.
    """
    condition = suite.task_facts.condition
    if condition is None:
        return []
    found = []
    with GivenReader() as reader:
        for sample in suite:
            path = getattr(sample, condition)
            reason = "there is none" if path is None else reader.trouble(condition, path)
            if reason is not None:
                in_table = Path(suite.source).is_file()
                # Of other suites only their own reader knows which row of which file a sample came from.
                place = (Path(suite.source).name, sample.index + 1) if in_table else (sample.id, 0)
                found.append(Problem(*place, condition, reason))
    return found
