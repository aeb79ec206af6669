"""Verdicts: which of some models are better by a metric on a slice, as comparisons, ranks and boards tell it.

One function, `judge`, and one family: Holm's adjustment over the pairs of the models that are judged together, for
each metric and slice. Models are compared on the samples that all of them have: per-sample metrics by their scores, set
metrics by the paired influences of their own distance.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from javisbench.errors import JavisbenchError, RunError, UsageError
from javisbench.results.cell import OVERALL
from javisbench.results.rankability import MIN_N_TO_RANK, weights_behind
from javisbench.stats import Difference, Status, difference, holm, sign_test
from javisbench.taxonomy import ASPECTS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from javisbench.metrics.distance import Distance
    from javisbench.results.run_folder import SampleInfo, StoredResult
    from javisbench.results.set_features import SetRows

log = logging.getLogger(__name__)

ALPHA = 0.05
"""Bound on the chance that any verdict of a family is wrong where models are equal."""
SAME_REAL_SIDE = 0.02
"""How far the means of two real sides may lie apart, relative to their size, and still be the same clips: encoders of
two machines differ by less, another reference by more."""

Rank: TypeAlias = "tuple[int, int] | None"


@dataclass(frozen=True)
class Verdict:
    """Of two models.

    Attributes:
        difference: the first's value minus the second's, with interval and unadjusted p-value where they were tested.
        p_adjusted: Holm-adjusted over the pairs of the models judged together; None where no test can be made.
        better: ``a`` or ``b`` when the difference is significant and the metric has a direction, else None.
        error: standard error of the difference; None where no test can be made.
        prompts: independent prompts behind it.
    """

    difference: Difference
    p_adjusted: float | None = None
    better: Literal["a", "b"] | None = None
    error: float | None = None
    prompts: int = 0


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Of some models by one metric on one slice.

    Attributes:
        metric: id.
        slice: ``overall`` or ``aspect/category``.
        values: of each model on the samples that all have; None where a model has none.
        n: those samples.
        ranks: best and worst rank that the data allow each model, 1 being the best; None where a model is not ranked.
        status: why models were not tested, as of a value; ``ok`` where all were, or only n is too small.
        note: the same as a sentence, or None.
    """

    metric: str
    slice: str
    values: tuple[float | None, ...]
    n: int
    ranks: tuple[Rank, ...]
    status: Status
    note: str | None
    _tests: _Tests | None = field(default=None, repr=False)

    def pair(self, first: int = 0, second: int = 1) -> Verdict:
        """The verdict on two of the models, by their places."""
        a, b = self.values[first], self.values[second]
        if a is None or b is None:
            return Verdict(Difference(None, self.n, status=self.status, note=self.note))
        untested = Verdict(Difference(a - b, self.n, status=self.status, note=self.note))
        return untested if self._tests is None else self._tests.pair(first, second, a - b) or untested


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What some models have on common samples.

    Attributes:
        values: of each model.
        n: common samples.
        places: of the models that can be tested.
        contributions: of each sample to each of these, shape ``(n, len(places))``.
        clusters: integer prompt of each sample, or None when every sample has its own.
        status: why others cannot be tested.
        note: the same as a sentence.
    """

    values: tuple[float | None, ...]
    n: int
    places: tuple[int, ...] = ()
    contributions: NDArray[np.float64] | None = None
    clusters: NDArray[np.intp] | None = None
    status: Status = "ok"
    note: str | None = None


@dataclass(frozen=True, eq=False)
class _Tests:
    """The tests of all pairs of the models that can be tested."""

    places: tuple[int, ...]
    contributions: NDArray[np.float64]
    clusters: NDArray[np.intp] | None
    p: NDArray[np.float64]
    adjusted: NDArray[np.float64]
    higher_is_better: bool | None

    @classmethod
    def of(cls, found: _Evidence, higher_is_better: bool | None) -> _Tests:
        import numpy as np

        from javisbench.stats import pairwise_p_values

        assert found.contributions is not None
        values = np.array([found.values[place] for place in found.places], dtype=np.float64)
        p = pairwise_p_values(values, found.contributions, found.clusters)
        adjusted = np.full_like(p, np.nan)
        above = np.triu_indices(len(p), k=1)
        adjusted[above] = holm(p[above])
        adjusted.T[above] = adjusted[above]
        return cls(found.places, found.contributions, found.clusters, p, adjusted, higher_is_better)

    def ranks(self, values: Sequence[float | None]) -> tuple[Rank, ...]:
        from javisbench.stats import rank_intervals

        ranks: list[Rank] = [None] * len(values)
        if self.higher_is_better is not None:
            own = [float("nan") if (value := values[place]) is None else value for place in self.places]
            found = rank_intervals(own, self.p, higher_is_better=self.higher_is_better, alpha=ALPHA)
            for place, rank in zip(self.places, found, strict=True):
                ranks[place] = rank
        return tuple(ranks)

    def pair(self, first: int, second: int, gap: float) -> Verdict | None:
        import math

        from javisbench.stats import standard_error

        if first not in self.places or second not in self.places:
            return None
        i, j = self.places.index(first), self.places.index(second)
        parts = self.contributions[:, i] - self.contributions[:, j]
        found, spread = difference(gap, parts, self.clusters, level=1 - ALPHA), standard_error(parts, self.clusters)
        if spread is None or math.isnan(self.p[i, j]):
            return Verdict(found)
        adjusted = float(self.adjusted[i, j])
        better: Literal["a", "b"] | None = None
        if adjusted <= ALPHA and gap and self.higher_is_better is not None:
            better = "a" if (gap > 0) == self.higher_is_better else "b"
        found = replace(found, p_value=float(self.p[i, j]))
        return Verdict(found, adjusted, better, spread[0], spread[1] + 1)


def judge(models: Sequence[StoredResult], metric: str, slice_name: str = OVERALL) -> Verdicts:
    """Verdicts on some models; see `Judge`, which keeps what it has read."""
    return Judge()(models, metric, slice_name)


def judge_estimates(
    name: str,
    slice_name: str,
    values: NDArray[np.float64],
    contributions: NDArray[np.float64],
    clusters: NDArray[np.intp] | None,
    note: str | None = None,
) -> Verdicts:
    """Verdicts on models whose values were estimated together, as strengths are from votes; higher is better.

    Args:
        name: of what was estimated.
        slice_name: of what it was estimated on.
        values: of each model, NaN where there is none, ``(M,)``.
        contributions: what each observation contributes to them, ``(n, M)``.
        clusters: independent groups of observations, integers ``(n,)``; None where nothing can be tested.
        note: why, or what else there is to say.
    """
    import math

    told = tuple(None if math.isnan(value) else value for value in values.tolist())
    places = tuple(place for place, value in enumerate(told) if value is not None)
    found = _Evidence(told, len(contributions), places, contributions[:, list(places)], clusters, note=note)
    if clusters is None or len(places) < 2 or found.n < MIN_N_TO_RANK:
        return Verdicts(name, slice_name, told, found.n, (None,) * len(told), "ok", note)
    tests = _Tests.of(found, True)
    return Verdicts(name, slice_name, told, found.n, tests.ranks(told), "ok", note, tests)


class Judge:
    """Judges models by a metric, over all samples or over a slice.

    Keeps what it has read and computed, so that one judge serves a comparison or a whole site. Models are tested where
    they are results on the same samples with official weights, the same for this metric, and (set metrics) the same
    real side; of at least 10 samples; by a metric that is no check of clips.

    Args:
        aspects: ids of the aspects whose categories are slices; None for all.
        ranks_only: leave out the distances of slices that are too small to be ranked, which cost as much as others.
    """

    def __init__(self, aspects: frozenset[str] | None = None, *, ranks_only: bool = False) -> None:
        self._aspects = aspects
        self._ranks_only = ranks_only
        self._frames: dict[str, pd.DataFrame | None] = {}
        self._rows: dict[str, dict[str, SetRows]] = {}
        self._infos: dict[str, dict[str, SampleInfo]] = {}
        self._grounds: dict[tuple[str, ...], Ground] = {}
        self._joined: dict[tuple[str, ...], tuple[pd.MultiIndex, NDArray[np.float64]]] = {}
        self._distances: dict[tuple[str, ...], tuple[tuple[str, ...], dict[str, Distance]]] = {}

    def __call__(self, models: Sequence[StoredResult], metric: str, slice_name: str = OVERALL) -> Verdicts:
        """Verdicts on `models`.

        Raises:
            RunError: scores or features that cannot be read.
            UsageError: results on different suites whose prompts are not known.
        """
        from javisbench.metrics.registry import METRICS, card_of

        card = card_of(metric)
        is_set = metric in self._set_metrics(models) if card is None else card.kind == "set"
        try:
            found = (self._of_sets if is_set else self._of_samples)(models, metric, slice_name)
        except JavisbenchError:
            raise
        except Exception as error:  # Of another package's metric (its rules of bias, say): it costs that column.
            if METRICS.plugin(metric) is None:
                raise
            note = METRICS.defect(metric, "a comparison", error)
            log.warning("%s", note, exc_info=error)
            found = _Evidence((None,) * len(models), 0, status="failed", note=note)
        reason = _why_untested(models, metric, found, is_set)
        if reason is not None or found.contributions is None:
            reason = found.note or reason
            return Verdicts(metric, slice_name, found.values, found.n, (None,) * len(models), found.status, reason)
        stored = next((model.plugins[metric] for model in models if metric in model.plugins), None)
        told = card or stored
        tests = _Tests.of(found, None if told is None else told.higher_is_better)
        return Verdicts(
            metric, slice_name, found.values, found.n, tests.ranks(found.values), found.status, found.note, tests
        )

    def weighted(self, models: Sequence[StoredResult], metric: str, slice_name: str = OVERALL) -> Verdicts | None:
        """Verdicts by means that weight clips by how much they can tell, on the models and clips that are judged.

        None for a metric that weights nothing (`SampleMetric.weighted_by`), where nothing is tested, and where a model
        has no details. Each model's clips have its own weights; differences are tested by the influence of each clip
        on the two means, paired.
        """
        import numpy as np

        from javisbench.metrics.registry import sample_metric

        made = sample_metric(metric)
        if made is None or made.weighted_by is None:
            return None
        plain = self(models, metric, slice_name)
        if plain._tests is None:
            return None
        places = plain._tests.places
        chosen = [models[place] for place in places]
        index, table = self._on_slice(chosen, metric, self.ground(models), slice_name)
        columns = [self._detail(model, metric, made.weighted_by) for model in chosen]
        weights = np.stack([column.reindex(index).to_numpy(dtype=np.float64) for column in columns], axis=1)
        # NaN compares as False: a model may have no details, or of other clips.
        if not (weights > 0).all():
            return None
        values: list[float | None] = [None] * len(models)
        means = (weights * table).sum(axis=0) / weights.sum(axis=0)
        for place, mean in zip(places, means.tolist(), strict=True):
            values[place] = mean
        influences = weights / weights.mean(axis=0) * (table - means)
        found = _Evidence(tuple(values), len(table), places, influences, plain._tests.clusters)
        tests = _Tests.of(found, made.card.higher_is_better)
        return Verdicts(metric, slice_name, found.values, found.n, tests.ranks(found.values), "ok", None, tests)

    def metrics(self, models: Sequence[StoredResult]) -> frozenset[str]:
        """Ids of the metrics that all models have per-sample scores or stored features for."""
        found = [{*self._set_metrics([model]), *self._score_columns(model)} for model in models]
        return frozenset(found[0].intersection(*found[1:])) if found else frozenset()

    def slices(self, models: Sequence[StoredResult]) -> list[str]:
        """``overall``, and the categories that any common sample is in."""
        return [OVERALL, *sorted(self.ground(models).members)]

    def ground(self, models: Sequence[StoredResult]) -> Ground:
        """What the models have in common."""
        key = tuple(map(_key, models))
        if key not in self._grounds:
            self._grounds[key] = Ground.of(models, [self._samples(model) for model in models], self._aspects)
        return self._grounds[key]

    # Per-sample metrics

    def _of_samples(self, models: Sequence[StoredResult], metric: str, name: str) -> _Evidence:
        import numpy as np

        places = tuple(i for i, model in enumerate(models) if metric in self._score_columns(model))
        if not places:
            return _Evidence((None,) * len(models), 0)
        alike, note = self._of_like_shares(models, places, metric, name)
        # Two models whose shares differ still have values beside each other.
        shown = places if len(alike) < 2 else alike
        index, table = self._on_slice([models[i] for i in shown], metric, self.ground(models), name)
        values: list[float | None] = [None] * len(models)
        if len(table):
            # Relative to the first score, so that a constant one has its own value as mean.
            for place, column in zip(shown, table.T, strict=True):
                values[place] = float(column[0] + (column - column[0]).mean())
        if len(alike) < 2 <= len(places):
            return _Evidence(tuple(values), len(table), note=note)
        _, clusters = np.unique(_ids(index).astype(str), return_inverse=True)
        return _Evidence(tuple(values), len(table), shown, table, clusters.astype(np.intp), note=note)

    def _of_like_shares(
        self, models: Sequence[StoredResult], places: tuple[int, ...], metric: str, name: str
    ) -> tuple[tuple[int, ...], str | None]:
        """The models whose shares of clips that the metric does not apply to differ from none of the others', and a
        sentence on the rest.

        The model with the largest share goes first, until no two differ (exact paired test, Holm over all pairs).
        """
        import numpy as np

        if all(row.metric != metric for place in places for row in models[place].not_applicable) or len(places) < 2:
            return places, None
        ids, beside = self._not_applicable([models[i] for i in places], metric, self.ground(models), name)
        _, clusters = np.unique(ids.astype(str), return_inverse=True)
        pairs = [(i, j) for i in range(len(places)) for j in range(i)]
        p_values = holm([sign_test(beside[:, i], beside[:, j], clusters) for i, j in pairs])
        unlike = [pair for pair, p in zip(pairs, p_values, strict=True) if p <= ALPHA]
        shares = beside.mean(axis=0) if len(beside) else np.zeros(len(places))
        left = set(range(len(places)))
        while any(left.issuperset(pair) for pair in unlike):
            left.remove(max(left, key=lambda i: (shares[i], i)))
        if len(left) == len(places):
            return places, None
        told = ", ".join(f"{100 * shares[i]:.0f} % of {models[place].model}" for i, place in enumerate(places))
        note = f"not applicable to {told}: shares that differ significantly, so no rank"
        return tuple(place for i, place in enumerate(places) if i in left), note

    def _not_applicable(
        self, models: Sequence[StoredResult], metric: str, ground: Ground, name: str
    ) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
        """The samples of a slice's clips that all models have, with or without a value, and for which the metric does
        not apply, shape ``(n, models)``.
        """
        import numpy as np

        beside = [{(r.sample_id, r.repeat) for r in model.not_applicable if r.metric == metric} for model in models]
        known = []
        for model, left_out in zip(models, beside, strict=True):
            frame = self._frame(model)
            scored = set() if frame is None else set(frame.index[frame[metric].notna()])
            known.append(scored | left_out)
        clips = sorted(set.intersection(*known))
        ids = np.array([sample_id for sample_id, _ in clips], dtype=object)
        table = np.array([[clip in left_out for left_out in beside] for clip in clips], dtype=np.bool_)
        kept = ground.keeps(ids, name)
        return ids[kept], table.reshape(len(clips), len(models))[kept]

    def common_scores(self, models: Sequence[StoredResult], metric: str, name: str = OVERALL) -> NDArray[np.float64]:
        """A per-sample metric on the clips of a slice that all models have a value for, shape ``(n, models)``."""
        return self._on_slice(models, metric, self.ground(models), name)[1]

    def clips(self, model: StoredResult) -> frozenset[tuple[str, int]]:
        """Sample and repeat of each clip of the model that has a row of scores."""
        frame = self._frame(model)
        return frozenset() if frame is None else frozenset(frame.index)

    def _on_slice(
        self, models: Sequence[StoredResult], metric: str, ground: Ground, name: str
    ) -> tuple[pd.MultiIndex, NDArray[np.float64]]:
        index, table = self._common(models, metric)
        kept = ground.keeps(_ids(index), name)
        return index[kept], table[kept]

    def _common(self, models: Sequence[StoredResult], metric: str) -> tuple[pd.MultiIndex, NDArray[np.float64]]:
        """Sample and repeat of the clips that all models have a value for ``(n,)``, and the values ``(n, models)``."""
        import numpy as np

        from javisbench.metrics.registry import sample_metric

        key = (metric, *map(_key, models))
        if key not in self._joined:
            frames = [frame for model in models if (frame := self._frame(model)) is not None]
            index = frames[0].index
            for frame in frames[1:]:
                if not frame.index.equals(index):
                    index = index[index.isin(frame.index)]
            columns = [frame if frame.index.equals(index) else frame.loc[index] for frame in frames]
            table = np.stack([column[metric].to_numpy(dtype=np.float64) for column in columns], axis=1)
            made = sample_metric(metric)
            table = table if made is None else made.for_mean(table)
            present: NDArray[np.bool_] = np.asarray(~np.isnan(table).any(axis=1))
            self._joined[key] = cast("pd.MultiIndex", index[present]), table[present]
        return self._joined[key]

    def _detail(self, model: StoredResult, metric: str, name: str) -> pd.Series[Any]:
        """The first number of a detail of each clip of a model, by sample and repeat."""
        import pandas as pd

        frame = model.details()
        if frame is None:
            return pd.Series(dtype="float64", index=pd.MultiIndex.from_arrays([[], []]))
        rows = frame[(frame["metric"] == metric) & (frame["name"] == name)]
        rows = rows[rows["values"].str.len() > 0].drop_duplicates(["sample_id", "repeat"])
        return rows.set_index(["sample_id", "repeat"])["values"].str[0]

    def _frame(self, model: StoredResult) -> pd.DataFrame | None:
        key = _key(model)
        if key not in self._frames:
            frame = model.scores()
            if frame is not None:
                # By name: values do not depend on the order of a suite's rows.
                frame = frame.set_index(["sample_id", "repeat"]).sort_index()
                if not frame.index.is_unique:
                    raise RunError(
                        f"{model.path}/scores.parquet has a clip twice. Score the run again.", kind="damaged"
                    )
            self._frames[key] = frame
        return self._frames[key]

    def _score_columns(self, model: StoredResult) -> frozenset[str]:
        frame = self._frame(model)
        return frozenset() if frame is None else frozenset(map(str, frame.columns))

    # Set metrics

    def _of_sets(self, models: Sequence[StoredResult], metric: str, name: str) -> _Evidence:
        import numpy as np

        from javisbench.metrics.registry import set_metric

        ids, found = self._measured(models, metric, name)
        values = tuple(None if distance is None else distance.value for distance in found)
        first = next((distance for distance in found if distance is not None), None)
        if first is None:
            return _Evidence(values, 0)
        n = first.n_fake
        made = set_metric(metric)
        assert made is not None
        worse = next((d for d in found if d is not None and not made.ranks(d)), None)
        status, note = ("ok" if worse is None else worse.status), (None if worse is None else worse.note)
        places = tuple(i for i, distance in enumerate(found) if distance is not None and made.ranks(distance))
        if len(places) < 2:
            return _Evidence(values, n, status=status, note=note)
        if not self._same_real_side([models[i] for i in places], metric, ids):
            return _Evidence(values, n, note="the real sides differ: not tested")
        influences = [distance.influences for distance in found if distance is not None and made.ranks(distance)]
        parts = [part for part in influences if part is not None]
        return _Evidence(values, n, places, np.stack(parts, axis=1), status=status, note=note)

    def _measured(
        self, models: Sequence[StoredResult], metric: str, name: str
    ) -> tuple[tuple[str, ...], list[Distance | None]]:
        """The common samples, and each model's distance on those of a slice; None where it has no features."""
        ground = self.ground(models)
        having = [rows for model in models if (rows := self._set_metrics([model]).get(metric)) is not None]
        shared = set(having[0].sample_ids).intersection(*(rows.sample_ids for rows in having[1:])) if having else set()
        ids = tuple(sorted(shared - ground.changed))
        found: list[Distance | None] = []
        for model in models:
            rows = self._set_metrics([model]).get(metric)
            found.append(None if rows is None else self._distance(model, metric, rows, ids, ground).get(name))
        return ids, found

    def _distance(
        self, model: StoredResult, metric: str, rows: SetRows, ids: tuple[str, ...], ground: Ground
    ) -> dict[str, Distance]:
        """Distances of all slices at once: one pass serves them."""
        import numpy as np

        from javisbench.metrics.registry import set_metric
        from javisbench.results.set_distances import protocol_of, set_distances

        key = (metric, _key(model))
        made = set_metric(metric)
        if made is None:
            return {}
        if key not in self._distances or self._distances[key][0] != ids:
            place = {sample_id: i for i, sample_id in enumerate(rows.sample_ids)}
            taken = np.array([place[sample_id] for sample_id in ids], dtype=np.intp)
            own = replace(rows, sample_ids=ids, fake=rows.fake[taken], real=rows.real[taken])
            slices = {name: np.flatnonzero(ground.keeps(ids, name)) for name in (OVERALL, *ground.members)}
            if self._ranks_only:
                least = max(MIN_N_TO_RANK, made.unbiased_from(rows.fake.shape[-1]))
                slices = {name: chosen for name, chosen in slices.items() if len(chosen) >= least}
            try:
                self._distances[key] = ids, set_distances(made, own, slices, protocol_of(model))
            except RunError:
                # Settings that this version does not know. A board goes on without these ranks.
                if not self._ranks_only:
                    raise
                self._distances[key] = ids, {}
        return self._distances[key][1]

    def _same_real_side(self, models: Sequence[StoredResult], metric: str, ids: Sequence[str]) -> bool:
        import numpy as np

        means = []
        for rows in (self._set_metrics([model])[metric] for model in models):
            chosen = set(ids)
            taken = [i for i, sample_id in enumerate(rows.sample_ids) if sample_id in chosen]
            means.append(rows.real[taken].reshape(-1, rows.real.shape[-1]).mean(axis=0))
        size = float(np.linalg.norm(means[0]))
        return all(float(np.linalg.norm(mean - means[0])) <= SAME_REAL_SIDE * size for mean in means)

    def _set_metrics(self, models: Sequence[StoredResult]) -> Mapping[str, SetRows]:
        """Metric id to the rows of the first of `models` that has them."""
        found: dict[str, SetRows] = {}
        for model in models:
            key = _key(model)
            if key not in self._rows:
                self._rows[key] = {} if model.folder is None else _stored_rows(model)
            found = {**self._rows[key], **found}
        return found

    def _samples(self, model: StoredResult) -> dict[str, SampleInfo]:
        key = _key(model)
        if key not in self._infos:
            self._infos[key] = model.samples_by_id()
        return self._infos[key]


@dataclass(frozen=True, eq=False)
class Ground:
    """What some results have in common.

    Attributes:
        changed: ids that stand for different prompts in them.
        members: category to the ids that all of them, as far as they know the aspect, have in it.
    """

    changed: frozenset[str]
    members: Mapping[str, frozenset[str]]

    def keeps(self, ids: Iterable[str], name: str) -> NDArray[np.bool_]:
        """Which of some sample ids count on a slice, shape ``(n,)``."""
        import numpy as np

        inside = None if name == OVERALL else self.members.get(name, frozenset())
        return np.array([i not in self.changed and (inside is None or i in inside) for i in ids], dtype=np.bool_)

    @classmethod
    def of(
        cls, models: Sequence[StoredResult], infos: Sequence[Mapping[str, SampleInfo]], aspects: frozenset[str] | None
    ) -> Ground:
        """What they share; of `aspects` alone, where some are named.

        Raises:
            UsageError: suites of different hashes, and the prompts of one are not known here.
        """
        changed: frozenset[str] = frozenset()
        if len({model.suite_hash for model in models}) > 1:
            if not all(infos):
                names = " and ".join(model.model for model in models[:2])
                raise UsageError(
                    f"{names} were scored on different suites or revisions of one, and the prompts of one of them are "
                    "not known here, so that their common samples are not known either. Score both on one suite."
                )
            changed = frozenset(_changed(infos))
        known = [{own.id for own in model.own_aspects} | ASPECTS.keys() for model in models]
        members: dict[str, set[str]] = {}
        for sample_id in set().union(*infos):
            told = [(info, by) for own, by in zip(infos, known, strict=True) if (info := own.get(sample_id))]
            for name in {name for info, _ in told for name in info.categories}:
                aspect = name.partition("/")[0]
                # Of the same prompts, one result may be sliced by a column and another not.
                said = [name in info.categories for info, by in told if aspect in by]
                if said and all(said) and (aspects is None or aspect in aspects):
                    members.setdefault(name, set()).add(sample_id)
        return cls(changed, {name: frozenset(ids) for name, ids in members.items()})


def _ids(index: pd.MultiIndex) -> NDArray[np.object_]:
    """The samples of clips."""
    ids: NDArray[np.object_] = index.get_level_values("sample_id").to_numpy(dtype=object)
    return ids


def _changed(infos: Sequence[Mapping[str, SampleInfo]]) -> Iterator[str]:
    texts: dict[str, str] = {}
    for own in infos:
        for sample_id, info in own.items():
            if texts.setdefault(sample_id, info.text) != info.text:
                yield sample_id


def _key(model: StoredResult) -> str:
    """What is read of a result is kept by where it lies: two of one name may be compared."""
    return f"{model.path}\n{model.key}"


def _stored_rows(model: StoredResult) -> dict[str, SetRows]:
    from javisbench.results.set_features import rows_by_metric

    return {} if model.folder is None else rows_by_metric(model.folder)


def _why_untested(models: Sequence[StoredResult], metric: str, found: _Evidence, is_set: bool) -> str | None:
    """Why no test of these values would say anything about the models; None where it would."""
    from javisbench.metrics.registry import fault_of

    if any(model.stand_in for model in models):
        return "stand-in weights: not tested"
    if fault_of(metric) is not None:
        return "a check of clips: counted, not tested"
    judged = [models[place] for place in found.places]
    if len(judged) < 2:
        return None if not found.places else "only one of the models has it: not tested"
    if len(set(weights_behind(judged, metric))) > 1:
        return "made with different weights or settings: not tested"
    if is_set and len({model.reference_kind for model in judged}) > 1:
        return "the real sides are of different kinds: not tested"
    if found.n < MIN_N_TO_RANK:
        return f"n = {found.n} is below {MIN_N_TO_RANK}: too few to tell models apart"
    return None
