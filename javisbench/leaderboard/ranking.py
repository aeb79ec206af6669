"""Rank intervals of comparable results, from their per-sample scores on the same prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from javisbench.leaderboard.table import MIN_N_TO_RANK, column

if TYPE_CHECKING:
    import pandas as pd

    from javisbench.leaderboard.results import Result


class Ranker:
    """Ranks results by a metric, over all samples or over a category.

    Keeps the scores that it has read, so one ranker serves a whole site. Called with results that
    `javisbench.leaderboard.table.board_table` found comparable; gives None for each where no test can be made: a set
    metric, no per-sample scores, no category of the samples known, or too few samples in common.
    """

    def __init__(self) -> None:
        self._frames: dict[str, pd.DataFrame | None] = {}
        self._members: dict[str, dict[str, frozenset[str]] | None] = {}

    def __call__(
        self, results: Sequence[Result], metric: str, aspect: str | None, category: str | None
    ) -> list[tuple[int, int] | None]:
        """The best and worst rank that the data allow each of `results`."""
        import numpy as np

        from javisbench.stats import pairwise_p_values, rank_intervals

        unranked: list[tuple[int, int] | None] = [None] * len(results)
        higher_is_better = column(metric).higher_is_better
        scores = self._common(results, metric)
        if scores is None or higher_is_better is None:
            return unranked
        if aspect is not None and category is not None:
            members = self._category(results, f"{aspect}/{category}")
            if members is None:
                return unranked
            scores = scores[scores.index.get_level_values("sample_id").isin(members)]
        if len(scores) < MIN_N_TO_RANK:
            return unranked
        contributions = scores.to_numpy(dtype=np.float64)
        values = contributions.mean(axis=0)
        _, clusters = np.unique(scores.index.get_level_values("sample_id"), return_inverse=True)
        p_values = pairwise_p_values(values, contributions, clusters)
        return rank_intervals(values, p_values, higher_is_better=higher_is_better)

    def _common(self, results: Sequence[Result], metric: str) -> pd.DataFrame | None:
        """One column a result, one row a clip that all of them have a value for."""
        import pandas as pd

        columns = []
        for result in results:
            frame = self._frame(result)
            if frame is None or metric not in frame:
                return None
            columns.append(frame[metric])
        return pd.concat(columns, axis=1, join="inner", keys=range(len(columns))).dropna()

    def _frame(self, result: Result) -> pd.DataFrame | None:
        if result.key not in self._frames:
            frame = result.scores()
            self._frames[result.key] = None if frame is None else frame.set_index(["sample_id", "repeat"])
        return self._frames[result.key]

    def _category(self, results: Sequence[Result], name: str) -> frozenset[str] | None:
        """Ids of the samples in a category, from the first result that knows them: all are of the same suite."""
        for result in results:
            if result.key not in self._members:
                self._members[result.key] = _members(result)
            members = self._members[result.key]
            if members is not None:
                return members.get(name, frozenset())
        return None


def _members(result: Result) -> dict[str, frozenset[str]] | None:
    infos = result.samples_by_id()
    if not any(info.categories for info in infos.values()):
        return None
    found: dict[str, set[str]] = {}
    for sample_id, info in infos.items():
        for name in info.categories:
            found.setdefault(name, set()).add(sample_id)
    return {name: frozenset(ids) for name, ids in found.items()}
