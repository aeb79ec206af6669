"""Rank intervals of comparable results: from per-sample scores on the same prompts, or from paired influences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from javisbench.results.cell import OVERALL
from javisbench.results.rankability import MIN_N_TO_RANK
from javisbench.results.table import column

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from javisbench.results.run_folder import Result

SAME_REAL_SIDE = 0.02
"""How far the means of two real sides may lie apart, relative to their size, and still be the same clips: encoders of
two machines differ by less, another reference by more."""


@dataclass(frozen=True, eq=False)
class _Influence:
    """What each sample contributes to a set metric on one slice."""

    value: float
    sample_ids: tuple[str, ...]
    contributions: NDArray[np.float64]
    real_mean: NDArray[np.float64]


class Ranker:
    """Ranks results by a metric, over all samples or over a category.

    Keeps what it has read and computed, so one ranker serves a whole site. Called with results that
    `javisbench.results.table.board_table` found comparable; gives None for each where no test can be made: no
    per-sample scores (set metrics: no stored features, or too few samples for influences), no category of the samples
    known, or too few samples in common.
    """

    def __init__(self) -> None:
        self._frames: dict[str, pd.DataFrame | None] = {}
        self._members: dict[str, dict[str, frozenset[str]] | None] = {}
        self._influences: dict[str, dict[tuple[str, str], _Influence]] = {}

    def __call__(
        self, results: Sequence[Result], metric: str, aspect: str | None, category: str | None
    ) -> list[tuple[int, int] | None]:
        """The best and worst rank that the data allow each of `results`."""
        col = column(metric)
        unranked: list[tuple[int, int] | None] = [None] * len(results)
        if col.higher_is_better is None:
            return unranked
        name = OVERALL if aspect is None or category is None else f"{aspect}/{category}"
        found = self._of_sets(results, metric, name) if col.kind == "set" else self._of_samples(results, metric, name)
        if found is None:
            return unranked
        from javisbench.stats import pairwise_p_values, rank_intervals

        values, contributions, clusters = found
        p_values = pairwise_p_values(values, contributions, clusters)
        return rank_intervals(values, p_values, higher_is_better=col.higher_is_better)

    def _of_samples(
        self, results: Sequence[Result], metric: str, name: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp] | None] | None:
        import numpy as np

        scores = self._common(results, metric)
        if scores is None:
            return None
        if name != OVERALL:
            members = self._category(results, name)
            if members is None:
                return None
            scores = scores[scores.index.get_level_values("sample_id").isin(members)]
        if len(scores) < MIN_N_TO_RANK:
            return None
        contributions = scores.to_numpy(dtype=np.float64)
        _, clusters = np.unique(scores.index.get_level_values("sample_id"), return_inverse=True)
        return contributions.mean(axis=0), contributions, clusters

    def _of_sets(
        self, results: Sequence[Result], metric: str, name: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp] | None] | None:
        import numpy as np

        parts = [self._influence(result, metric, name) for result in results]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts) or any(part.sample_ids != found[0].sample_ids for part in found):
            return None
        size = float(np.linalg.norm(found[0].real_mean))
        if any(np.linalg.norm(part.real_mean - found[0].real_mean) > SAME_REAL_SIDE * size for part in found):
            return None
        values = np.array([part.value for part in found])
        return values, np.stack([part.contributions for part in found], axis=1), None

    def _influence(self, result: Result, metric: str, name: str) -> _Influence | None:
        if result.key not in self._influences:
            self._influences[result.key] = dict(_influences(result, self._categories(result)))
        return self._influences[result.key].get((metric, name))

    def _common(self, results: Sequence[Result], metric: str) -> pd.DataFrame | None:
        """One column a result, one row a clip that all of them have a value for."""
        import pandas as pd

        columns = []
        for result in results:
            frame = self._frame(result)
            if frame is None or metric not in frame:
                return None
            columns.append(frame[metric])
        return pd.concat(columns, axis=1, join="inner", keys=range(len(columns))).dropna().sort_index()

    def _frame(self, result: Result) -> pd.DataFrame | None:
        if result.key not in self._frames:
            frame = result.scores()
            self._frames[result.key] = None if frame is None else frame.set_index(["sample_id", "repeat"])
        return self._frames[result.key]

    def _category(self, results: Sequence[Result], name: str) -> frozenset[str] | None:
        """Ids of the samples in a category, from the first result that knows them: all are of the same suite."""
        for result in results:
            members = self._categories(result)
            if members is not None:
                return members.get(name, frozenset())
        return None

    def _categories(self, result: Result) -> dict[str, frozenset[str]] | None:
        if result.key not in self._members:
            self._members[result.key] = _members(result)
        return self._members[result.key]


def _influences(
    result: Result, members: dict[str, frozenset[str]] | None
) -> Iterator[tuple[tuple[str, str], _Influence]]:
    """Every set metric and slice of a result that has influences, from the features stored beside it."""
    import numpy as np

    from javisbench.errors import UsageError
    from javisbench.metrics.registry import set_metric
    from javisbench.results.set_distances import protocol_of, set_distances
    from javisbench.results.set_features import rows_by_metric

    if result.folder is None:
        return
    try:
        protocol = protocol_of(result)
    except UsageError:
        # Settings that this version does not know: nobody can compute with them here.
        return
    for name, rows in rows_by_metric(result.folder).items():
        metric = set_metric(name)
        if metric is None:
            continue
        order = np.argsort(np.array(rows.sample_ids))
        ids = [rows.sample_ids[i] for i in order]
        slices = {}
        for part, chosen in {OVERALL: None, **(members or {})}.items():
            taken = order if chosen is None else order[[sample_id in chosen for sample_id in ids]]
            if len(taken) >= MIN_N_TO_RANK:
                slices[part] = taken
        for part, found in set_distances(metric, rows, slices, protocol).items():
            if metric.ranks(found) and found.value is not None and found.influences is not None:
                taken = slices[part]
                sample_ids = tuple(rows.sample_ids[i] for i in taken)
                mean = rows.real[taken].reshape(-1, rows.real.shape[-1]).mean(axis=0)
                yield (name, part), _Influence(found.value, sample_ids, found.influences, mean)


def _members(result: Result) -> dict[str, frozenset[str]] | None:
    infos = result.samples_by_id()
    if not any(info.categories for info in infos.values()):
        return None
    found: dict[str, set[str]] = {}
    for sample_id, info in infos.items():
        for name in info.categories:
            found.setdefault(name, set()).add(sample_id)
    return {name: frozenset(ids) for name, ids in found.items()}
