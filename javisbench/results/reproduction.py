"""Whether a result repeats what was published: each value beside the printed one, a verdict, and what explains it.

A verdict is of a value with its interval, the published value, and a margin: the recipe's tolerance, half a unit of the
last printed digit at least. With the deviation d = ours - published and its standard error s, of both values' noise:

* ``differs``: |d| is larger than the margin by more than noise explains, at 5 % with Holm's adjustment over the values
  of the recipe. Where a result truly repeats the published one, that is said of any value in at most 5 of 100 cases.
* ``equal``: |d| is within the margin, and the half-width of d's 95 % interval is no larger than the margin, so that a
  true deviation of twice the margin would be called equal in at most 2.5 of 100 cases.
* ``cannot tell``: all else, with the reason, and the n that would tell where one would.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from javisbench.errors import RunError, UsageError
from javisbench.results.cell import OVERALL, STATUS_REASON, Cell
from javisbench.results.differences import (
    Cause,
    Deviation,
    Facts,
    Topic,
    causes,
    differing,
    facts_of,
    topic_of,
    unknown_topics,
)
from javisbench.results.rankability import MIN_N_TO_RANK
from javisbench.results.recipe import Expected, KnownFault, Recipe
from javisbench.results.recipe_toml import is_digest, parse_recipe, recipe_text
from javisbench.stats import holm, t_test

if TYPE_CHECKING:
    from javisbench.results.run_folder import StoredResult
    from javisbench.results.trial import Trial

Verdict: TypeAlias = Literal["equal", "differs", "cannot tell", "not run"]
ALPHA = 0.05
SAME_N = 0.01
"""How far n may lie from the published n, relative to it, for distances of sets, whose bias goes with 1 / n."""
SKEW = 6
"""Prompts that count as one degree of freedom. Few skewed scores tell their own spread badly, and what is published has
none of its own: with a degree for each, 15 of 100 recipes of ten values called true repetitions of 20 clips different
(benchmarks/reproduction.py)."""
OWN_MARGIN = 1.25
"""Tolerance of a recipe that is written from a run, in half-widths of the interval of a repetition's deviation: the
half-width is itself an estimate, and a repetition's may be wider."""


@dataclass(frozen=True)
class Row:
    """One published value beside ours.

    Attributes:
        expected: the published value.
        cell: ours; None where the result has none.
        verdict: see the module; ``not run`` where the result has no such value.
        reason: why the verdict is no other, or empty.
        deviation: ours less the published one, or None.
        ci_low: lower end of the deviation's 95 % interval, or None.
        ci_high: upper end, or None.
        p: that no more than the margin and noise keep the two apart; None where nothing was tested.
        p_adjusted: the same by Holm over the recipe.
        needed: n from which on the verdict would be another than ``cannot tell``; None where none is known.
    """

    expected: Expected
    cell: Cell | None
    verdict: Verdict
    reason: str = ""
    deviation: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    needed: int | None = None

    @property
    def not_asked(self) -> bool:
        """Whether a metric of ours would compute the value, and was not run."""
        return self.cell is None and self.expected.slice == OVERALL and _is_ours(self.expected.metric)

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        cell = self.cell
        return {
            **{name: getattr(self.expected, name) for name in ("metric", "name", "slice", "source")},
            "published": self.expected.value,
            "published_n": self.expected.n,
            "margin": self.expected.margin,
            "tolerance_from": self.expected.tolerance_from,
            "value": None if cell is None else cell.value,
            "n": None if cell is None else cell.n,
            "value_ci_low": None if cell is None else cell.ci_low,
            "value_ci_high": None if cell is None else cell.ci_high,
            **{name: getattr(self, name) for name in ("deviation", "ci_low", "ci_high", "p", "p_adjusted")},
            "verdict": self.verdict,
            "reason": self.reason,
            "n_needed": self.needed,
        }


@dataclass(frozen=True)
class Reproduction:
    """What a check found.

    Attributes:
        recipe: what was checked against.
        result: name of the model, suite and protocol that were checked.
        rows: one a published value.
        causes: what is known to differ from the recipe, the first explaining most.
        open: what cannot be ruled out, a sentence each.
        notices: what must be said of the whole, a sentence each.
    """

    recipe: Recipe
    result: str
    rows: tuple[Row, ...]
    causes: tuple[Cause, ...] = ()
    open: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Of the whole: ``differs`` where any value does, ``equal`` where all that were computed here are."""
        found = {row.verdict for row in self.rows}
        if "differs" in found:
            return "differs"
        if "cannot tell" in found:
            return "cannot tell"
        return "equal" if "equal" in found else "not run"

    def count(self, verdict: Verdict) -> int:
        """Rows with a verdict."""
        return sum(row.verdict == verdict for row in self.rows)

    @property
    def line(self) -> str:
        """``3 equal, 1 differs, 2 cannot tell, 4 not run``."""
        words: tuple[Verdict, ...] = ("equal", "differs", "cannot tell", "not run")
        counts = ((word, self.count(word)) for word in words)
        return ", ".join(f"{count} {word}" for word, count in counts if count)

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "schema": 1,
            "recipe": self.recipe.id,
            "title": self.recipe.title,
            "result": self.result,
            "verdict": self.verdict,
            "rows": [row.to_json() for row in self.rows],
            "causes": [cause.to_json() for cause in self.causes],
            "cannot_be_ruled_out": list(self.open),
            "notices": list(self.notices),
        }


def check(result: StoredResult, recipe: Recipe) -> Reproduction:
    """A result against a recipe.

    Raises:
        UsageError: it is of another suite.
        RunError: its tables cannot be read.
    """
    if result.suite != recipe.suite:
        raise UsageError(
            f"{recipe.id} is about the suite {recipe.suite}; {result.path} was scored on {result.suite}: nothing can "
            f"be compared. Score clips of {recipe.suite}."
        )
    here, there = facts_of(result), recipe.facts()
    cells = [(value, _cell_of(result, value), _why_no_value(result, value)) for value in recipe.expected]
    rows = compared(cells, here.get("prompts", result.samples))
    return _explained(recipe, rows, here, there, f"{result.model}, {result.suite}, {result.protocol_label}")


def check_trial(trial: Trial, recipe: Recipe) -> Reproduction:
    """A trial of a metric against a recipe of kind ``trial``: its strict accuracies are the values.

    Raises:
        UsageError: the recipe is about no trial, or about other material.
    """
    if recipe.kind != "trial" or trial.material.get("kind") != recipe.suite:
        raise UsageError(
            f"{recipe.id} is about {recipe.suite}; this is a trial of {trial.material.get('kind', 'other clips')}: "
            f"nothing can be compared."
        )
    effects = {(effect.metric, effect.case): effect for effect in trial.effects}
    cells: list[tuple[Expected, Cell | None, str]] = []
    sources = 0
    for value in recipe.expected:
        effect = effects.get((value.metric, value.slice))
        if effect is None or effect.accuracy_strict is None:
            lacking = value.note or f"the trial has no {value.metric} for {value.slice}"
            cells.append((value, None, lacking))
            continue
        # The trial's interval is of the accuracy with ties as half; strict ones vary as much.
        reach = None
        if effect.accuracy is not None and effect.accuracy_low is not None and effect.accuracy_high is not None:
            reach = max(effect.accuracy - effect.accuracy_low, effect.accuracy_high - effect.accuracy)
        low, high = (None, None) if reach is None else (effect.accuracy_strict - reach, effect.accuracy_strict + reach)
        cells.append((value, Cell(effect.accuracy_strict, effect.n, low, high), ""))
        sources = max(sources, effect.sources)
    notices = ("The networks' weights were stand-ins.",) if trial.stand_in else ()
    here = {"suite": recipe.suite}
    told = f"{trial.clips_line}, {trial.protocol}"
    return replace(_explained(recipe, compared(cells, sources), here, here, told), notices=notices)


def _cell_of(result: StoredResult, value: Expected) -> Cell | None:
    return result.metrics.get(value.metric, {}).get(value.slice) if value.metric else None


def _why_no_value(result: StoredResult, value: Expected) -> str:
    if not value.metric:
        return value.note
    cell = _cell_of(result, value)
    if cell is None:
        if not _is_ours(value.metric):
            return f"no metric of javisbench or of an installed package is called {value.metric}"
        where = "" if value.slice == OVERALL else f" for {value.slice}"
        return f"not computed in this run{where}: javisbench score RUN --metrics {value.metric}"
    return cell.note or STATUS_REASON.get(cell.status, cell.status)


def _is_ours(metric: str) -> bool:
    """Whether javisbench or an installed package has such a metric; a judge may be one of a file."""
    from javisbench.metrics.registry import METRICS

    return bool(metric) and (metric in METRICS or METRICS.has_parameter(metric))


# Verdicts


def compared(values: Sequence[tuple[Expected, Cell | None, str]], prompts: Any) -> tuple[Row, ...]:
    """Published values beside ours, with verdicts, adjusted over all of them.

    Args:
        values: each with our cell, or None, and why there is none.
        prompts: independent prompts behind the cells; what is no count is taken for as many as clips.
    """
    return _adjusted([_row(value, cell, prompts, lacking) for value, cell, lacking in values])


def _row(value: Expected, cell: Cell | None, prompts: Any, lacking: str) -> Row:
    if cell is None or cell.value is None:
        return Row(value, None, "not run", lacking)
    deviation = cell.value - value.value
    found = Row(value, cell, "cannot tell", deviation=deviation)
    if value.digits is None and deviation == 0:
        return replace(found, verdict="equal", ci_low=0.0, ci_high=0.0)
    reason = _untestable(value, cell)
    noise = None if reason else deviation_error(cell, value, prompts)
    if noise is None:
        return replace(found, reason=reason or "it has no interval")
    error, freedom = noise
    reach = _quantile(freedom) * error
    beyond = max(0.0, abs(deviation) - value.margin)
    found = replace(found, ci_low=deviation - reach, ci_high=deviation + reach, p=t_test(beyond, error, freedom))
    if abs(deviation) <= value.margin and reach <= value.margin * (1 + 1e-9):
        return replace(found, verdict="equal")
    needed = _needed(value, cell, deviation, error)
    told = f"its deviation is known to ±{reach:.2g}, the margin is {value.margin:.2g}"
    if needed is None:
        told += "; no number of clips would tell, by the published value's own noise"
    return replace(found, reason=told, needed=needed)


def _untestable(value: Expected, cell: Cell) -> str:
    """Why nothing can be tested; empty where it can."""
    if cell.status != "ok":
        return cell.note or STATUS_REASON.get(cell.status, cell.status)
    if cell.n and cell.n < MIN_N_TO_RANK:
        return f"n = {cell.n}: intervals of fewer than {MIN_N_TO_RANK} clips are too narrow"
    if value.n is not None and cell.n and _is_biased(value.metric) and abs(cell.n - value.n) > SAME_N * value.n:
        return f"the value depends on n: {cell.n:,} here, {value.n:,} published"
    return "" if cell.ci_low is not None else cell.note or "it has no interval"


def _is_biased(metric: str) -> bool:
    from javisbench.metrics.registry import set_metric

    return set_metric(metric) is not None


def deviation_error(cell: Cell, value: Expected, prompts: Any) -> tuple[float, int] | None:
    """Standard error of our value less a published one, and its degrees of freedom; None without an interval.

    The published value has the noise of its own interval where one is known; else that of our clips at its n (at ours,
    where the source does not say). Both are taken for independent, which is on the safe side: of common prompts, some
    noise is common.
    """
    if cell.value is None or cell.ci_low is None or cell.ci_high is None:
        return None
    last = max(1, (min(cell.n, prompts) if isinstance(prompts, int) and prompts > 0 else cell.n) - 1)
    # An interval may lie to one side of its value: the longer side counts. That of a bootstrap is a normal one of the
    # population's spread, so that it is too narrow for few prompts.
    side = max(cell.value - cell.ci_low, cell.ci_high - cell.value)
    own = side / _normal() * math.sqrt((last + 1) / last)
    if value.ci_low is not None and value.ci_high is not None:
        other = max(value.value - value.ci_low, value.ci_high - value.value) / _normal()
    else:
        other = own * math.sqrt(cell.n / (value.n or cell.n))
    return math.hypot(own, other), max(1, round(last / SKEW))


def _normal() -> float:
    from scipy.special import ndtri

    return float(ndtri(1 - ALPHA / 2))


def _quantile(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - ALPHA / 2))


def _needed(value: Expected, cell: Cell, deviation: float, error: float) -> int | None:
    """Clips from which on the interval is within the margin, or beside it if the deviation stays; None for none."""
    other = value.n or cell.n
    spread = error**2 / (1 / cell.n + 1 / other)
    beyond = abs(deviation) - value.margin
    goal = (value.margin if beyond <= 0 else beyond) / _normal()
    if goal <= 0 or spread <= 0:
        return None
    rest = goal**2 / spread - 1 / other
    return math.ceil(1 / rest) if rest > 1e-9 else None


def _adjusted(rows: Sequence[Row]) -> tuple[Row, ...]:
    tested = [place for place, row in enumerate(rows) if row.p is not None]
    found = list(rows)
    for place, p in zip(tested, holm([rows[place].p or 0.0 for place in tested]), strict=True):
        row = replace(rows[place], p_adjusted=float(p))
        if row.verdict == "cannot tell" and p <= ALPHA:
            row = replace(row, verdict="differs", reason="", needed=None)
        found[place] = row
    return tuple(found)


# Causes


def _explained(recipe: Recipe, rows: tuple[Row, ...], here: Facts, there: Facts, told: str) -> Reproduction:
    differences = differing(here, there)
    found = causes(differences, _deviations(rows))
    found = tuple(_with_faults(cause, recipe.faults) for cause in found)
    notices = []
    if any(difference.name == "suite_hash" for difference in differences):
        notices.append(
            f"The prompts are those of another revision of {recipe.suite} than the recipe's: the values are not of the "
            f"same prompts."
        )
    return Reproduction(recipe, told, rows, found, tuple(_open(recipe, rows, here, there)), tuple(notices))


def _deviations(rows: Sequence[Row]) -> list[Deviation]:
    """What is to be explained: values that differ; where none does, all that deviate."""
    known = [row for row in rows if row.deviation]
    chosen = [row for row in known if row.verdict == "differs"] or [row for row in known if row.verdict != "equal"]
    return [Deviation(row.expected.metric, row.expected.value, abs(row.deviation or 0.0)) for row in chosen]


def _with_faults(cause: Cause, faults: Sequence[KnownFault]) -> Cause:
    """A cause with the known faults of published code that its differences mend."""
    names = {difference.name.rpartition(".")[2] for difference in cause.differences}
    told = [fault.text for fault in faults if fault.setting and fault.setting.partition("=")[0] in names]
    return replace(cause, told=(*cause.told, *told)) if cause.topic == "protocol" else cause


def _open(recipe: Recipe, rows: Sequence[Row], here: Facts, there: Facts) -> Iterator[str]:
    metrics = {row.expected.metric for row in rows if row.expected.metric and row.verdict != "not run"}
    for topic in unknown_topics(here, there, metrics):
        yield f"{topic.title}: {_not_known(topic, here, there)}"
    deviating = {deviation.metric for deviation in _deviations(rows)}
    length = here.get("clips.duration_s")
    for fault in recipe.faults:
        acts = not fault.metrics or not deviating or deviating & set(fault.metrics)
        reaches = not fault.longer_than_s or not isinstance(length, int | float) or length > fault.longer_than_s
        if not fault.setting and acts and reaches:
            yield f"Published code: {fault.text}"


def _not_known(topic: Topic, here: Facts, there: Facts) -> str:
    known = [{topic_of(name).id for name in side} for side in (here, there)]
    told = "recorded in the result", "stated by the recipe"
    lacking = [word for ids, word in zip(known, told, strict=True) if topic.id not in ids]
    return f"not {' and not '.join(lacking)}" if lacking else "told in other words by the two"


# Recipes from runs


def recipe_of(result: StoredResult, recipe_id: str, *, title: str = "", source: str = "") -> Recipe:
    """A recipe that says what a run was made with and what it found; checked against it, the run is equal everywhere.

    Args:
        result: of a run.
        recipe_id: lower-case letters, digits, ``.``, ``_``, ``+``, ``-``.
        title: one line; default from model and suite.
        source: where the values are published; default: this run.

    Raises:
        RunError: it has no value but checks of clips.
    """
    facts = facts_of(result)
    values = tuple(_own_values(result, facts.get("prompts", result.samples)))
    if not values:
        raise RunError(
            f"{result.path} has no value that a recipe could expect: checks of clips (health_*) are none. Score it "
            "with other metrics first (--metrics)."
        )
    told = result.manifest.get("model", {})
    spec = told.get("spec") if isinstance(told.get("spec"), str) else ""
    generation = result.manifest.get("generation") or {}
    wanted = ("seed", "repeats", "conform", "dtype", "limit")
    version = (result.run.get("versions") or {}).get("javisbench", "")
    source = source or f"run of {result.model}, javisbench {version}".rstrip()
    parameters = (told.get("identity") or {}).get("parameters") or {}
    weights = told.get("weights") or {}
    own = ("variant",)  # stands in the specification already
    made = Recipe(
        id=recipe_id,
        title=title or f"{result.model} on {result.suite}",
        kind="run" if spec else "score",
        source=source,
        suite=result.suite,
        suite_hash=result.suite_hash if is_digest(result.suite_hash) else "",
        samples=_whole(result.run.get("suite_total")) or result.samples or None,
        model=result.model,
        spec=spec or "",
        parameters={k: v for k, v in parameters.items() if _is_scalar(v) and k not in own},
        model_weights={
            k: dict(v) for k, v in weights.items() if isinstance(v, Mapping) and v and all(map(is_digest, v.values()))
        },
        generation={k: generation[k] for k in wanted if isinstance(generation.get(k), str | int)},
        clips={k.partition(".")[2]: v for k, v in facts.items() if k.startswith("clips.") and not isinstance(v, str)},
        sound={"files beside the clips": "sidecar", "tracks in the clips": "container"}.get(facts.get("sound", ""), ""),
        protocol=_protocol_name(result),
        encoders={name: of for name, of in _of_encoders(facts, "variant").items() if not _is_default(name, of)},
        encoder_weights={name: sha for name, sha in _of_encoders(facts, "weights_sha256").items() if is_digest(sha)},
        expected=tuple(replace(value, source=source) for value in values),
    )
    # A result may come from somebody else: what could not be read back is refused by its member.
    return parse_recipe(tomllib.loads(recipe_text(made)), f"a recipe of {result.path}")


def _own_values(result: StoredResult, prompts: Any) -> Iterator[Expected]:
    from javisbench.metrics.registry import fault_of

    for metric, cells in result.metrics.items():
        cell = cells.get(OVERALL)
        if cell is None or cell.value is None or fault_of(metric) is not None:
            continue
        n, ends = cell.n or None, (cell.ci_low, cell.ci_high)
        value = Expected(metric, metric, cell.value, None, OVERALL, n, 0.0, "", "", *ends)
        noise = None if _untestable(value, cell) else deviation_error(cell, value, prompts)
        if noise is None:
            yield replace(value, tolerance_from="no interval at this n: only the same number is equal")
        else:
            reach = OWN_MARGIN * _quantile(noise[1]) * noise[0]
            told = f"{OWN_MARGIN:g} half-widths of the 95 % interval of a repetition's deviation, by the run's noise"
            yield replace(value, tolerance=float(f"{reach:.3g}"), tolerance_from=told)


def _protocol_name(result: StoredResult) -> str:
    from javisbench.protocol import parse_protocol

    # What a name tells of weights and precision is recorded apart, and no protocol that can be asked for.
    name = result.protocol
    while True:
        try:
            return parse_protocol(name).name
        except UsageError:
            if "+" not in name:
                raise
            name = name.rpartition("+")[0]


def _of_encoders(facts: Facts, member: str) -> dict[str, str]:
    ending = f".{member}"
    return {
        name.removeprefix("encoders.").removesuffix(ending): value
        for name, value in facts.items()
        if name.startswith("encoders.") and name.endswith(ending) and isinstance(value, str)
    }


def _is_default(encoder: str, variant: str) -> bool:
    from javisbench.metrics.encoders import encoder_card

    card = encoder_card(encoder)
    return card is not None and card.default_variant == variant


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | bool) and value != ""


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
