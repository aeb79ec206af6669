"""What votes may be about: the prompts of a suite, and the clips of runs on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from javisbench.errors import UsageError

if TYPE_CHECKING:
    from javisbench.results.run_folder import StoredResult
    from javisbench.suite import Suite


@dataclass(frozen=True)
class Known:
    """What votes may be about.

    Attributes:
        suite: its name.
        suite_hash: of its rows.
        samples: ids of its prompts.
        texts: prompt to id, of those that occur once.
        clips: model to its clips, as sample and repeat; None where only the suite is known.
    """

    suite: str
    suite_hash: str
    samples: frozenset[str]
    texts: Mapping[str, str]
    clips: Mapping[str, frozenset[tuple[str, int]]] | None = None

    @classmethod
    def of_suite(cls, suite: Suite) -> Known:
        """The prompts of a suite."""
        texts = [(sample.text, sample.id) for sample in suite]
        return cls(suite.name, suite.hash, frozenset(sample.id for sample in suite), _unique(texts))

    @classmethod
    def of_runs(cls, results: Sequence[StoredResult]) -> Known:
        """The clips of runs on one suite.

        Raises:
            UsageError: they are of several suites.
        """
        names = dict.fromkeys((result.suite, result.suite_hash) for result in results)
        if len(names) > 1:
            told = " and ".join(f"{result.model}: {result.suite}" for result in results[:4])
            raise UsageError(f"The runs are of several suites, or revisions of one ({told}). Give those of one suite.")
        clips: dict[str, frozenset[tuple[str, int]]] = {}
        texts: dict[str, str] = {}
        for result in results:
            clips[result.model] = clips.get(result.model, frozenset()) | clips_of(result)
            texts |= {sample_id: info.text for sample_id, info in result.samples_by_id().items()}
        samples = frozenset(texts) | {sample_id for own in clips.values() for sample_id, _ in own}
        suite, suite_hash = next(iter(names))
        return cls(suite, suite_hash, samples, _unique((text, key) for key, text in texts.items()), clips)


def clips_of(result: StoredResult) -> frozenset[tuple[str, int]]:
    """Sample and repeat of each clip that a result has a row of scores for."""
    frame = result.scores()
    if frame is None:
        return frozenset()
    return frozenset((str(s), int(r)) for s, r in zip(frame["sample_id"], frame["repeat"], strict=True))


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for text, sample_id in pairs:
        found.setdefault(" ".join(text.split()), []).append(sample_id)
    return {text: ids[0] for text, ids in found.items() if text and len(ids) == 1}
