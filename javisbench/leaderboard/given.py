"""What suites give to models that make one stream alone, for clips that are published: a sound with its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from javisbench.errors import UsageError
from javisbench.run.given import GivenFiles
from javisbench.run.given_features import given_hash
from javisbench.suite import Suite, load_suite

if TYPE_CHECKING:
    from javisbench.results.run_folder import StoredResult

Stream: TypeAlias = Literal["video", "audio"]


@dataclass(frozen=True)
class GivenMedia:
    """Files that a suite gives.

    Attributes:
        stream: which stream of a clip they are.
        files: by sample id.
    """

    stream: Stream
    files: Mapping[str, Path]

    def joined(self, sample_id: str, made: Mapping[str, Path]) -> dict[str, Path] | None:
        """What was given with what was made, as files of one clip by kind; None where either is not there."""
        given = self.files.get(sample_id)
        if self.stream == "video":
            sound = made.get("audio")
            return None if given is None or sound is None else {"video": given, "audio": sound}
        picture = made.get("video")
        return None if given is None or picture is None else {"video": picture, "audio": given}


def given_media(suites: Sequence[str], results: Sequence[StoredResult]) -> dict[tuple[str, str], GivenMedia]:
    """What these suites give, by the name and hash that results on them share.

    Args:
        suites: as for ``--suite``.
        results: that are published.

    Raises:
        SuiteError: a suite cannot be read.
        UsageError: a suite gives no stream of a clip, no result is of it, or its files are not those that were scored.
    """
    found = {}
    for spec in suites:
        suite = load_suite(spec)
        facts = suite.task_facts
        if facts.makes_both or facts.condition not in ("video", "audio"):
            raise UsageError(
                f"The suite {suite.name} gives no picture or sound of a clip (task {suite.task}): its models made both."
            )
        own = [result for result in results if (result.suite, result.suite_hash) == (suite.name, suite.hash)]
        if not own:
            raise UsageError(f"No result is of the suite {suite.name} as it lies at {spec} (hash {suite.hash[:12]}).")
        for result in own:
            _check_same(suite, result)
        files = {sample.id: path for sample in suite if (path := getattr(sample, facts.condition)) is not None}
        found[suite.name, suite.hash] = GivenMedia(facts.condition, files)
    return found


def _check_same(suite: Suite, result: StoredResult) -> None:
    """The files are those that the result was scored with, by content.

    Raises:
        UsageError: they are not.
    """
    scored = result.samples_by_id()
    rows = replace(suite, samples=tuple(sample for sample in suite if sample.id in scored))
    if result.given and given_hash(rows, GivenFiles()) != result.given:
        raise UsageError(
            f"{result.model} was scored with other files than the suite {suite.name} gives now. Give the suite as it "
            f"was, or leave out --given."
        )
