"""What a board says of any two of its models: the verdicts behind its ranks, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from javisbench.results.compare import Row, verdict_row, with_headline

if TYPE_CHECKING:
    from javisbench.results.run_folder import StoredResult
    from javisbench.results.verdicts import Verdicts


@dataclass(frozen=True)
class Family:
    """The models that were judged together by a metric on a slice: p-values are adjusted over all their pairs.

    Attributes:
        keys: of the results.
        n: samples that all of them have.
        note: why they were not tested, or None.
    """

    keys: tuple[str, ...]
    n: int
    note: str | None


class PairBook:
    """Collects the verdicts that a `javisbench.results.ranking.Ranker` has seen.

    A comparison of two alone (`javisbench.results.compare.compare`) is of the samples that these two have, and adjusts
    over one pair; here both are of the board's models.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], dict[tuple[str, str], Row]] = {}
        self._families: dict[tuple[str, str, str], Family] = {}

    def __call__(self, results: Sequence[StoredResult], found: Verdicts) -> None:
        """Keep the verdicts on all pairs of `results`; those on the same results again are skipped."""
        family = Family(tuple(result.key for result in results), found.n, found.note)
        name = found.metric, found.slice
        if all(self._families.get((*name, key)) == family for key in family.keys):
            return
        for key in family.keys:
            self._families[(*name, key)] = family
        for i, j in combinations(range(len(results)), 2):
            pair = family.keys[i], family.keys[j]
            self._rows.setdefault(pair, {})[name] = verdict_row(found, i, j)

    def family(self, result: StoredResult, metric: str, slice_name: str) -> Family | None:
        """The models that a result was judged with; None where it was not."""
        return self._families.get((metric, slice_name, result.key))

    def rows(self, a: StoredResult, b: StoredResult) -> list[Row]:
        """The verdicts on two results that were judged together, the first of them earlier in the board's order.

        With p-values adjusted over the headline metrics of the protocol, as `compare` adds them.
        """
        return with_headline(list(self._rows.get((a.key, b.key), {}).values()), a.protocol)
