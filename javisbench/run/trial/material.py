"""Good clips for a trial: scenes that are rendered for it, or a folder of clips with their prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from javisbench import __version__
from javisbench.errors import JavisbenchError, MediaError

if TYPE_CHECKING:
    from javisbench.clip import Clip
    from javisbench.matching import Matched
    from javisbench.media import DecodeLimits
    from javisbench.suite import Sample, Suite


class Material(Protocol):
    """Where good clips come from."""

    def describe(self) -> dict[str, Any]:
        """What the trial says of it; equal for equal clips."""

    def origin(self, sample: Sample) -> str:
        """What this sample's clip is made of: copies of another origin are made again."""

    def missing(self) -> dict[str, str]:
        """Ids of samples that have no clip, with the reason."""

    def clips(self, samples: Sequence[Sample]) -> Iterator[tuple[Sample, Clip | JavisbenchError]]:
        """The good clips of these samples, in their order, or why one cannot be had."""


@dataclass(frozen=True)
class Scenes:
    """Scenes that a generator renders, whose sound and picture belong together.

    Attributes:
        suite: the prompts.
        generator: its specification, as for ``--model``.
        seed: of the scenes.
    """

    suite: Suite
    generator: str
    seed: int

    def describe(self) -> dict[str, Any]:
        """Suite, its hash, and the generator."""
        return {"kind": "scenes", "suite": self.suite.name, "suite_hash": self.suite.hash, "generator": self.generator}

    def origin(self, sample: Sample) -> str:
        """Prompt, generator, seed and version."""
        return f"{self.generator} {__version__} {self.seed} {self.suite.hash} {sample.id}"

    def missing(self) -> dict[str, str]:
        """None: every scene can be rendered."""
        return {}

    def clips(self, samples: Sequence[Sample]) -> Iterator[tuple[Sample, Clip | JavisbenchError]]:
        """Render one scene after the other."""
        from javisbench.baselines.base import Generated, Request
        from javisbench.baselines.registry import create_generator
        from javisbench.errors import GenerationError
        from javisbench.run.generate import sample_seed

        generator = create_generator(self.generator)
        plan = generator.plan(self.suite.setting_to_make)
        for sample in samples:
            own = sample_seed(self.seed, self.suite.name, sample.id, 0)
            (outcome,) = generator.generate([Request(sample, sample.index, 0, own, plan, sample.prompts)])
            yield sample, outcome.clip if isinstance(outcome, Generated) else GenerationError(outcome.message)


class FolderClips:
    """Clips of a folder, matched to a suite's samples.

    Args:
        folder: of the clips.
        suite: the prompts.
        workers: decoding processes.
        limits: what one clip may cost.
    """

    def __init__(self, folder: Path, suite: Suite, workers: int, limits: DecodeLimits) -> None:
        from javisbench.matching import match_folder

        self._suite = suite
        self._workers = workers
        self._limits = limits
        self._matched: Matched = match_folder(folder, suite, repeats=1)
        self._sources = {item.sample.id: item.source for item in self._matched.items}

    def describe(self) -> dict[str, Any]:
        """Suite and its hash."""
        return {"kind": "clips", "suite": self._suite.name, "suite_hash": self._suite.hash}

    def origin(self, sample: Sample) -> str:
        """The version and the content of the clip's files; empty for files that cannot be read."""
        from javisbench.media import content_hash

        source = self._sources[sample.id]
        try:
            return "" if source is None else f"{__version__} {content_hash(source)}"
        except (MediaError, OSError):
            return ""

    def missing(self) -> dict[str, str]:
        """Samples without a clip."""
        return {name: "there is no clip" for name, source in self._sources.items() if source is None}

    def clips(self, samples: Sequence[Sample]) -> Iterator[tuple[Sample, Clip | JavisbenchError]]:
        """Decode one clip after the other."""
        from javisbench.media import ClipReader

        wanted = {source: sample for sample in samples if (source := self._sources[sample.id]) is not None}
        with ClipReader(self._workers, self._limits, lookahead=2) as reader:
            for source, clip in reader.read(list(wanted)):
                yield wanted[source], clip


def in_step(suite: Suite) -> Suite:
    """A suite of scenes without those families whose picture and sound do not agree in time as they are: of these a
    damage could spoil nothing. Other suites stay as they are."""
    from javisbench.baselines.procedural.sync.families import FAMILIES

    told = {sample.id: FAMILIES.get(sample.extra.get("family", "")) for sample in suite}
    kept = [s for s in suite if (family := told[s.id]) is None or family.expected == "in step"]
    return suite if len(kept) == len(suite) else replace(suite, samples=tuple(kept))


def generator_for(suite: Suite) -> str:
    """What renders a suite's scenes: ``procedural:sync`` where a column names their family, else ``procedural``."""
    return "procedural:sync" if "family" in suite.columns else "procedural"


def source_of(sample: Sample) -> str:
    """What a sample's clip has in common with others, so that they are no independent ones: its columns ``source`` or
    ``group``, else itself."""
    return sample.extra.get("source") or sample.extra.get("group") or sample.id


def kinds_of(sample: Sample) -> frozenset[str]:
    """What kind of sound a sample has: its columns ``family`` or ``group``, else its categories of sound."""
    named = sample.extra.get("family") or sample.extra.get("group")
    return frozenset([named] if named else sample.categories.get("sound_type", ()))
