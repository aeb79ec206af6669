"""Rank intervals of comparable results, as `javisbench.results.verdicts` gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from javisbench.results.cell import OVERALL, slice_name
from javisbench.results.verdicts import Judge, Rank, Verdicts

if TYPE_CHECKING:
    from javisbench.results.run_folder import StoredResult


class Ranker:
    """Ranks results by a metric, over all samples or over a category.

    Keeps what it has read and computed, so one ranker serves a whole site. Called with results that
    `javisbench.results.table.board_table` found comparable; gives None for each where no test can be made: no
    per-sample scores (set metrics: no stored features, or too few samples for influences), no category of the samples
    known, or too few samples in common.

    Args:
        seen: is shown the verdicts behind all ranks, with the results that they are of.
    """

    def __init__(self, seen: Callable[[Sequence[StoredResult], Verdicts], None] | None = None) -> None:
        self._judge = Judge(ranks_only=True)
        self._seen = seen

    def __call__(
        self, results: Sequence[StoredResult], metric: str, aspect: str | None, category: str | None
    ) -> Sequence[Rank]:
        """The best and worst rank that the data allow each of `results`."""
        name = OVERALL if aspect is None or category is None else slice_name(aspect, category)
        found = self._judge(results, metric, name)
        if self._seen is not None:
            self._seen(results, found)
        return found.ranks

    def weighted(self, results: Sequence[StoredResult], metric: str) -> Sequence[Rank]:
        """The same over all samples, by means that weight clips by how much they can tell; empty without such."""
        found = self._judge.weighted(results, metric)
        return () if found is None else found.ranks
