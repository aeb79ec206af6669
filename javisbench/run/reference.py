"""Where the real side of the set metrics comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from javisbench.errors import JavisbenchError, MediaError, UsageError
from javisbench.run.sources import match_folder, match_paths

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.media import ClipSource
    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.protocol import Protocol as EvaluationProtocol
    from javisbench.run.sources import Matched
    from javisbench.suite import Suite


class Reference(Protocol):
    """Real features, one row a sample."""

    def sources(self, suite: Suite) -> Sequence[ClipSource]:
        """Real clips that must be encoded first; empty when features are stored already."""

    def rows(
        self,
        suite: Suite,
        spec: FeatureSpec,
        protocol: EvaluationProtocol,
        encoded: Callable[[ClipSource], NDArray[Any] | JavisbenchError],
    ) -> Mapping[str, NDArray[Any] | JavisbenchError]:
        """Sample id to its real row, float array ``(d,)``, or why there is none.

        Raises:
            ReferenceError: the reference was made under another protocol, encoder or sample set.
        """

    def describe(self) -> dict[str, Any] | None:
        """What the summary says about it."""


class NoReference:
    """No real side: set metrics are reported as missing."""

    def sources(self, suite: Suite) -> Sequence[ClipSource]:
        """None."""
        return ()

    def rows(
        self,
        suite: Suite,
        spec: FeatureSpec,
        protocol: EvaluationProtocol,
        encoded: Callable[[ClipSource], NDArray[Any] | JavisbenchError],
    ) -> Mapping[str, NDArray[Any] | JavisbenchError]:
        """None."""
        return {}

    def describe(self) -> dict[str, Any] | None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class RealClips:
    """A folder of real clips, or those that the suite's ``path`` column names, matched like generated ones."""

    matched: Matched
    origin: str

    def sources(self, suite: Suite) -> Sequence[ClipSource]:
        """The real clips of the suite's samples."""
        return [item.source for item in self.matched.items if item.source is not None]

    def rows(
        self,
        suite: Suite,
        spec: FeatureSpec,
        protocol: EvaluationProtocol,
        encoded: Callable[[ClipSource], NDArray[Any] | JavisbenchError],
    ) -> Mapping[str, NDArray[Any] | JavisbenchError]:
        """Rows of the clips that could be encoded."""
        rows: dict[str, NDArray[Any] | JavisbenchError] = {}
        for item in self.matched.items:
            if item.repeat == 0:
                missing = MediaError(f"{self.origin} has no real clip for this sample.", kind="missing_reference_clip")
                rows[item.sample.id] = missing if item.source is None else encoded(item.source)
        return rows

    def describe(self) -> dict[str, Any] | None:
        """Kind and origin."""
        present = sum(item.source is not None for item in self.matched.items)
        return {"kind": "clips", "origin": self.origin, "clips": present}


def reference_kind(spec: str | None, suite: Suite) -> Literal["folder", "suite"] | None:
    """What `spec` (of ``--reference``) names; None when there is no real side.

    Raises:
        UsageError: it names nothing that exists.
    """
    if spec is None:
        return None
    if spec == "suite":
        return "suite"
    if Path(spec).is_dir():
        return "folder"
    raise UsageError(f"--reference is a folder of real clips, `suite`, or a statistics file; {spec} does not exist.")


def open_reference(spec: str | None, suite: Suite) -> Reference:
    """The reference that `spec` names."""
    kind = reference_kind(spec, suite)
    if kind is None:
        return NoReference()
    if kind == "suite":
        return RealClips(match_paths(suite, "path"), "the suite's path column")
    return RealClips(match_folder(Path(str(spec)), suite, repeats=1), str(spec))
