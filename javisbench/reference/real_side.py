"""Where the real side of the set metrics comes from: clips, a statistics file, or the reference evaluation's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from javisbench.errors import JavisbenchError, MediaError, ReferenceFeaturesError, UsageError
from javisbench.matching import Matched, match_folder, match_paths
from javisbench.places import Cache, gather, holds_clips, is_url

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.media import ClipSource
    from javisbench.protocol import Protocol as EvaluationProtocol
    from javisbench.reference.wanted import Wanted
    from javisbench.suite import Suite

Kind = Literal["folder", "suite", "statistics", "cache"]
_CACHE_MEMBERS = {"i3d": ("video", 400), "audioclip": ("audio", 1024)}


class Reference(Protocol):
    """Real features, one row a sample."""

    def sources(self, suite: Suite) -> Sequence[ClipSource]:
        """Real clips that must be encoded first; empty when features are stored already."""

    def check(self, suite: Suite, wanted: Wanted) -> None:
        """Refuse what does not fit, before anything is computed.

        Raises:
            ReferenceFeaturesError: made under another protocol, encoder or sample set.
        """

    def rows(
        self, suite: Suite, wanted: Wanted, encoded: Callable[[ClipSource], NDArray[Any] | JavisbenchError]
    ) -> Mapping[str, NDArray[Any] | JavisbenchError]:
        """Sample id to its real row, float array ``(d,)``, or why there is none."""

    def describe(self) -> dict[str, Any] | None:
        """What the summary says about it."""


class NoReference:
    """No real side: set metrics are reported as missing."""

    def sources(self, suite: Suite) -> Sequence[ClipSource]:
        """None."""
        return ()

    def check(self, suite: Suite, wanted: Wanted) -> None:
        """Nothing to check."""

    def rows(
        self, suite: Suite, wanted: Wanted, encoded: Callable[[ClipSource], NDArray[Any] | JavisbenchError]
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
        return self.matched.sources

    def check(self, suite: Suite, wanted: Wanted) -> None:
        """Clips fit every protocol."""

    def rows(
        self, suite: Suite, wanted: Wanted, encoded: Callable[[ClipSource], NDArray[Any] | JavisbenchError]
    ) -> Mapping[str, NDArray[Any] | JavisbenchError]:
        """Rows of the clips that could be encoded."""
        rows: dict[str, NDArray[Any] | JavisbenchError] = {}
        for item in self.matched.items:
            if item.repeat == 0:
                missing = MediaError(f"{self.origin} has no real clip for this sample.", kind="missing_reference_clip")
                rows[item.sample.id] = missing if item.source is None else encoded(item.source)
        return rows

    def describe(self) -> dict[str, Any] | None:
        """Kind, origin, and how many clips there are."""
        present = sum(item.source is not None for item in self.matched.items)
        return {"kind": "clips", "origin": self.origin, "clips": present}


@dataclass(frozen=True)
class ReferenceCache:
    """The reference evaluation's own features: ``video`` (n x 400) and ``audio`` (n x 1024), one row a suite sample."""

    path: Path
    arrays: Mapping[str, NDArray[Any]]

    @classmethod
    def load(cls, path: Path) -> ReferenceCache:
        """Read a torch file of two tensors.

        Raises:
            ReferenceFeaturesError: it holds something else.
        """
        from javisbench.errors import WeightsError
        from javisbench.metrics.encoders.checkpoint import load_checkpoint

        try:
            state = load_checkpoint(path)
        except WeightsError as error:
            raise ReferenceFeaturesError(f"{path} is no reference cache: {error.message}") from error
        arrays = {}
        for name, width in _CACHE_MEMBERS.values():
            tensor = state.get(name)
            if tensor is None or tensor.ndim != 2 or tensor.shape[1] != width:
                raise ReferenceFeaturesError(
                    f"{path} is no reference cache: it must hold `video` (n x 400) and `audio` (n x 1024); "
                    f"it has {sorted(state)[:10]}."
                )
            arrays[name] = tensor.double().numpy()
        rows = {name: len(array) for name, array in arrays.items()}
        if len(set(rows.values())) > 1:
            raise ReferenceFeaturesError(
                f"{path} is no reference cache: `video` has {rows['video']} rows and `audio` {rows['audio']}; both "
                "have one a sample. Fetch the file again."
            )
        return cls(path, arrays)

    def sources(self, suite: Suite) -> Sequence[ClipSource]:
        """None: the features are here."""
        return ()

    def check(self, suite: Suite, wanted: Wanted) -> None:
        """Only `javisbench-v1` with its own weights made this cache."""
        from javisbench.metrics.encoders.set_specs import audioclip_spec, i3d_spec
        from javisbench.protocol import V1

        if wanted.spec.encoder not in _CACHE_MEMBERS:
            raise ReferenceFeaturesError(
                f"{self.path.name} holds features of I3D and AudioCLIP alone, none of {wanted.encoder.cls.card.title}; "
                "that needs the real clips: --reference FOLDER."
            )
        if wanted.spec not in (i3d_spec(V1), audioclip_spec(V1)):
            raise ReferenceFeaturesError(
                f"{self.path.name} was made under javisbench-v1; {wanted.protocol.name} prepares "
                f"{wanted.encoder.cls.card.title}'s input differently and needs the real clips: --reference FOLDER."
            )
        weights = wanted.encoder.weights
        if weights is not None and (weights.official is False or weights.entry.stand_in):
            raise ReferenceFeaturesError(
                f"{self.path.name} was made with the official weights of {wanted.encoder.cls.card.title}; "
                f"{weights.path.name} is another file (SHA-256 {weights.sha256[:8]}...). Fetch the official one: "
                f"{weights.entry.fetch_command}"
            )
        self._places(suite)

    def rows(
        self, suite: Suite, wanted: Wanted, encoded: Callable[[ClipSource], NDArray[Any] | JavisbenchError]
    ) -> Mapping[str, NDArray[Any] | JavisbenchError]:
        """The suite's own rows."""
        member, _ = _CACHE_MEMBERS[wanted.spec.encoder]
        array = self.arrays[member]
        return {sample_id: array[place] for sample_id, place in self._places(suite).items()}

    def _places(self, suite: Suite) -> dict[str, int]:
        """Sample id to row; samples of a part of JavisBench are found in the whole by their real clip or prompt."""
        count = len(self.arrays["video"])
        if suite.total == count:
            return {sample.id: sample.index for sample in suite}
        from javisbench.suite import load_suite

        try:
            whole = load_suite("javisbench", offline=True)
        except JavisbenchError as error:
            raise ReferenceFeaturesError(
                f"{self.path.name} has {count} rows, {suite.name} {suite.total} samples: it belongs to another suite. "
                f"(Rows for a part of JavisBench are found by the whole one. {error.message})"
            ) from error
        if whole.total != count:
            raise ReferenceFeaturesError(
                f"{self.path.name} has {count} rows; {suite.name} has {suite.total} samples and {whole.name} "
                f"{whole.total}. It belongs to another suite."
            )
        by_clip = _only_once((sample.path.name, sample.index) for sample in whole if sample.path)
        by_text = _only_once((sample.text, sample.index) for sample in whole)
        places = {}
        for sample in suite:
            place = by_clip.get(sample.path.name) if sample.path else None
            if place is None:
                place = by_text.get(sample.text)
            if place is None:
                raise ReferenceFeaturesError(f"{self.path.name} has no row for {sample.id} of {suite.name}.")
            places[sample.id] = place
        return places

    def describe(self) -> dict[str, Any] | None:
        """Kind, file and rows."""
        return {"kind": "cache", "origin": self.path.name, "clips": len(self.arrays["video"])}


def _only_once(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Name to row, for names that stand for one row alone."""
    found: dict[str, int] = {}
    twice = set()
    for name, row in pairs:
        if name in found:
            twice.add(name)
        found[name] = row
    return {name: row for name, row in found.items() if name not in twice}


def reference_kind(spec: str | None) -> Kind | None:
    """What `spec` (of ``--reference``) names; None when there is no real side.

    Raises:
        UsageError: it names nothing that exists.
    """
    if spec is None:
        return None
    if spec == "suite":
        return "suite"
    path = Path(spec)
    there = is_url(spec) or path.is_file()
    if there and path.suffix in (".pt", ".pth"):
        return "cache"
    if there and path.suffix == ".safetensors":
        return "statistics"
    if path.is_dir() or holds_clips(spec):
        return "folder"
    raise UsageError(
        f"A reference is a folder of real clips (or its URL), `suite`, a .safetensors file of `javisbench reference "
        f"build`, or the reference evaluation's .pt cache; {spec} is none of these."
    )


def default_reference(suite: Suite, protocol: EvaluationProtocol) -> str | None:
    """The cache that a suite of the hub brings for `javisbench-v1`, when it is on this machine already; the suite's own
    clips where it gives a half of them, and has the other half, too."""
    from javisbench.cards import suite_cards

    if not suite.task_facts.makes_both:
        return "suite" if _has_other_half(suite) else None
    card = suite_cards().get(suite.name)
    if card is None or card.reference is None or protocol.base != "javisbench-v1":
        return None
    found = card.local_reference()
    return None if found is None else str(found)


def _has_other_half(suite: Suite) -> bool:
    """Whether the suite's real clips have what its models are to make: sound, or a picture; told by the first of them
    that can be read."""
    from javisbench.media import probe

    try:
        real = match_paths(suite, "path")
    except UsageError:
        return False
    for source in real.sources:
        if source.audio is not None or suite.task_facts.makes_picture:
            return True
        try:
            with source.here() as here:
                return probe(here.video).has_audio
        except MediaError:
            continue
    return False


def open_reference(spec: str | None, suite: Suite) -> Reference:
    """The reference that `spec` names."""
    kind = reference_kind(spec)
    if kind is None:
        return NoReference()
    if kind == "suite":
        origin = "the suite's path column" if suite.task_facts.makes_both else "the suite's own clips"
        return RealClips(match_paths(suite, "path"), origin)
    path = Path(str(spec))
    if kind == "folder":
        if holds_clips(str(spec)):
            path = gather(str(spec), Cache.from_environment())
        return RealClips(match_folder(path, suite, repeats=1), path.name)
    if is_url(spec):
        path = Cache.from_environment().file(str(spec))
    if kind == "cache":
        return ReferenceCache.load(path)
    from javisbench.reference.stored import StoredReference

    return StoredReference.load(path)
