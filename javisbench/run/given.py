"""The files that a suite gives to a model: what they hold, and bringing them where a model can read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from javisbench.baselines.base import Conditions, Request
from javisbench.errors import MediaError
from javisbench.media.given import check_there, here_of
from javisbench.suite import Suite
from javisbench.weights.hashes import file_sha256


@dataclass
class GivenFiles:
    """SHA-256 of given files by path; each is read once."""

    _known: dict[Path, str | MediaError] = field(default_factory=dict)

    def digests(self, conditions: Conditions) -> dict[str, str]:
        """Column to the SHA-256 of its file.

        Raises:
            MediaError: a file cannot be read.
        """
        return {column: self._digest(path) for column, path in conditions.files.items()}

    def _digest(self, path: Path) -> str:
        found = self._known.get(path)
        if found is None:
            try:
                with here_of(path) as here:
                    check_there(here)
                    found = file_sha256(here)
            except MediaError as error:
                if error.kind == "unreachable":
                    raise
                found = error
            self._known[path] = found
        if isinstance(found, MediaError):
            raise MediaError(found.message, kind=found.kind)
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
