"""What the statistics of a trial say of metrics whose sight is known, and how a trial is told."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from javisbench.errors import RunError
from javisbench.metrics.base import MetricCard
from javisbench.results.checked_json import Checker
from javisbench.results.trial import (
    Effect,
    MetricTrial,
    Trial,
    effects_frame,
    parse_trial,
    read_trial,
    recorded_trials,
)
from javisbench.results.trial_effects import Case, PairValues, relative_change, sample_effects

CARD = MetricCard("toy", "Toy", True, (None, None), "sample", "", "", "")
DOSES = (40.0, 160.0, 640.0)


def pairs(case: Case, better: Any, worse: Any, **more: Any) -> PairValues:
    first, second = (np.asarray(values, dtype=float) for values in (better, worse))
    return PairValues(case, first, second, more.pop("sources", np.arange(len(first))), **more)


def shifts(values: Any, n: int = 40) -> list[PairValues]:
    """Cases whose good clips have shift 0 and whose damaged ones have the dose, as `values(shift)` scores them."""
    cases = [Case("shift", dose, "ms", dose) for dose in DOSES]
    return [pairs(case, values(np.zeros(n)), values(np.full(n, case.dose))) for case in cases]


def test_the_true_shift_has_an_area_of_one() -> None:
    for card, sign in ((CARD, -1.0), (replace(CARD, higher_is_better=False), 1.0)):
        found = sample_effects(card, shifts(lambda shift, sign=sign: sign * shift))
        assert [e.auroc for e in found] == [e.auroc_low for e in found] == [1.0, 1.0, 1.0]
        assert [e.accuracy_strict for e in found] == [1.0, 1.0, 1.0]
        assert [e.effect for e in found] == list(DOSES)
        assert {e.verdict for e in found} == {"seen"}
        trial = MetricTrial("toy", found)
        assert trial.curves[0].monotony == 1.0
        assert trial.curves[0].smallest_seen == found[0]
        assert trial.sentence() == "sees shift from 40 ms"


def test_a_random_metric_has_a_half_within_its_interval() -> None:
    random = np.random.default_rng(4)
    found = sample_effects(CARD, shifts(lambda shift: random.normal(size=len(shift)), n=200))
    for effect in found:
        assert effect.auroc_low is not None and effect.auroc_high is not None
        assert effect.auroc_low < 0.5 < effect.auroc_high
        assert effect.verdict == "unseen"
    assert MetricTrial("toy", found).sentence() == "not shift"


def test_chance_findings_are_as_rare_as_holm_promises() -> None:
    random = np.random.default_rng(11)
    wrong = 0
    for _ in range(200):
        found = sample_effects(CARD, shifts(lambda shift: random.normal(size=len(shift)), n=12))
        wrong += any(effect.verdict != "unseen" for effect in found)
    # At most 5 % of 200, plus three standard errors of such a count.
    assert wrong <= 19


def test_a_constant_metric_is_said_to_be_blind() -> None:
    found = sample_effects(CARD, shifts(lambda shift: np.ones(len(shift))))
    assert {e.verdict for e in found} == {"blind"}
    assert {(e.auroc, e.accuracy, e.effect) for e in found} == {(0.5, 0.5, 0.0)}
    assert {(e.n_for_power, e.effect_in_spreads) for e in found} == {(None, None)}
    assert MetricTrial("toy", found).sentence() == "blind: no damage changes its value"


def test_a_metric_that_likes_the_damage_is_told_apart() -> None:
    found = sample_effects(CARD, shifts(lambda shift: shift))
    assert {e.verdict for e in found} == {"opposite"}
    assert MetricTrial("toy", found).sentence() == "prefers clips with shift"


def test_the_smallest_dose_is_the_one_from_which_all_are_seen() -> None:
    def told(*verdicts: str) -> MetricTrial:
        doses = zip(DOSES, verdicts, strict=True)
        return MetricTrial("toy", tuple(Effect("toy", "shift", d, "ms", d, verdict=v) for d, v in doses))  # type: ignore[arg-type]

    assert told("unseen", "seen", "seen").sentence() == "sees shift from 160 ms"
    assert told("seen", "unseen", "seen").sentence() == "sees shift from 640 ms"
    assert told("seen", "seen", "unseen").sentence() == "at some doses shift"
    assert told("unseen", "blind", "opposite").sentence() == "prefers clips with shift"
    assert told("untested", "untested", "untested").sentence() == "not tested: no clip has a value"
    one = pairs(Case("silent"), [1.0, 2.0], [0.0, 0.0], sources=np.zeros(2, int))
    same = pairs(Case("blurred"), [1.0, 2.0], [1.0, 2.0], sources=np.zeros(2, int))
    assert MetricTrial("toy", sample_effects(CARD, [one, same])).sentence() == "not tested: one source: no interval"


def test_power_is_that_of_the_effect() -> None:
    random = np.random.default_rng(2)
    gaps = random.normal(0.5, 1, 50)
    (found,) = sample_effects(CARD, [pairs(Case("blurred", 2, "%"), gaps, np.zeros(50))])
    assert found.effect_in_spreads == pytest.approx(gaps.mean() / gaps.std(ddof=1))
    # Cohen's table for a paired t test, two-sided 5 %, power 80 %: n = (2.80 / d)^2 and about two more for Student's t.
    expected = (2.802 / (gaps.mean() / gaps.std(ddof=1))) ** 2
    assert found.n_for_power == pytest.approx(expected + 2, abs=1.5)


def test_pairs_without_a_value_are_counted_with_their_reasons() -> None:
    values = pairs(Case("silent"), [1, 2, np.nan, 4], [0, 1, 0, np.nan], lacking={"no onsets": 2, "too short": 1})
    (found,) = sample_effects(CARD, [values])
    assert (found.pairs, found.n) == (5, 2)
    assert found.without_value == pytest.approx(0.6)
    assert found.accuracy_strict == 1.0 and found.accuracy_of_all == pytest.approx(0.4)
    assert found.lacking == {"no onsets": 2, "too short": 1}
    (none,) = sample_effects(CARD, [pairs(Case("silent"), [np.nan], [1.0], lacking={"no onsets": 1})])
    assert (none.verdict, none.auroc, none.note) == ("untested", None, "no pair has a value")
    (one,) = sample_effects(CARD, [pairs(Case("silent"), [1.0], [0.0])])
    assert (one.verdict, one.auroc, one.auroc_low, one.note) == ("untested", 1.0, None, "one source: no interval")


def test_differences_are_of_what_is_averaged() -> None:
    values = pairs(Case("silent"), [1.0, 2.0, 90.0], [0.0, 0.5, -3.0])
    (found,) = sample_effects(CARD, [values], mean_range=(0.0, 5.0))
    assert found.effect == pytest.approx((1 + 1.5 + 5) / 3)
    (plain,) = sample_effects(CARD, [values])
    assert plain.effect == pytest.approx((1 + 1.5 + 93) / 3)
    assert (found.auroc, found.accuracy) == (plain.auroc, plain.accuracy)


def test_pairs_of_one_source_stay_together() -> None:
    random = np.random.default_rng(3)
    gaps = np.repeat(random.normal(0.3, 1, 10), 8)
    case = Case("shift", 40.0, "ms")
    together = sample_effects(CARD, [pairs(case, gaps, 0 * gaps, sources=np.repeat(np.arange(10), 8))])[0]
    apart = sample_effects(CARD, [pairs(case, gaps, 0 * gaps)])[0]
    assert (together.sources, apart.sources) == (10, 80)
    assert together.p_value is not None and apart.p_value is not None and together.p_value > apart.p_value
    assert together.note == "10 sources: intervals are too narrow"


def test_what_should_not_matter() -> None:
    same = [Case("volume", dose, "dB", kind="same") for dose in (-6.0, -12.0, -20.0)]
    good = np.array([1.0, 2.0, 4.0])
    found = sample_effects(
        CARD, [pairs(case, good, good * factor) for case, factor in zip(same, (1, 0.97, 0.5), strict=True)]
    )
    assert [e.relative_change for e in found] == pytest.approx([0, 0.03, 0.5])
    assert [e.verdict for e in found] == ["kept", "kept", "changed"]
    assert [e.p_adjusted for e in found] == [None] * 3
    assert MetricTrial("toy", found).sentence() == "moved by volume (50 %)"
    assert relative_change(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 2.0])) == 0
    assert relative_change(np.array([0.0, 0.0, 1.0]), np.array([1.0, 1.0, 1.0])) is None
    assert relative_change(np.zeros(0), np.zeros(0)) is None


def test_judged_pairs_with_ties_and_one_sided_groups() -> None:
    # Group 0: both right. Group 1: a judged tie and one wrong. Group 2: ties alone.
    better, worse = [3, 2, 1, 1, 5], [1, 1, 1, 2, 4]
    tied, groups = np.array([False, False, True, False, True]), np.array([0, 0, 1, 1, 2])
    (found,) = sample_effects(CARD, [pairs(Case("votes", kind="judged"), better, worse, tied=tied, sources=groups)])
    assert (found.pairs, found.n, found.ties) == (5, 5, 2)
    assert (found.accuracy, found.accuracy_of_all) == pytest.approx((2 / 3, 2 / 3))
    assert found.tau == pytest.approx(0.0), "1 in the first group, -1 in the second, none in the third"
    assert MetricTrial("toy", (found,)).sentence() == "of judged pairs votes 66.7 % right (n = 3)"
    (ties,) = sample_effects(CARD, [pairs(Case("votes", kind="judged"), [1], [2], tied=np.array([True]))])
    assert (ties.verdict, ties.accuracy, ties.note) == ("untested", None, "all pairs are judged ties: no accuracy")


@pytest.fixture
def trial() -> Trial:
    found = sample_effects(CARD, shifts(lambda shift: -shift))
    lacking = replace(found[0], damage="silent", dose=None, unit="", lacking={"no sound": 3}, note="x")
    material = {"kind": "scenes", "suite": "demo", "clips": 40}
    return Trial(
        material, "javisbench-v1", False, 0, "0.1.0", (MetricTrial("toy", (*found, lacking)),), {"fvd": "no weights"},
        {"s7": "too short"}, {"shift": {"title": "Shift"}},
    )  # fmt: skip


def test_a_trial_reads_back(trial: Trial, tmp_path: Path) -> None:
    (tmp_path / "trial.json").write_text(json.dumps(trial.to_json()))
    assert read_trial(tmp_path) == trial
    document = trial.to_json()
    assert document["metrics"]["toy"]["curves"][0] == {"damage": "shift", "smallest_seen": "shift=40", "monotony": 1.0}
    frame = effects_frame(trial.effects)
    assert list(frame["dose"].fillna(-1)) == [*DOSES, -1] and frame["lacking"].iloc[3] == "3 x no sound"
    with pytest.raises(RunError, match="no trial at"):
        read_trial(tmp_path / "other")


def test_a_recorded_trial_is_told_with_date_n_and_commit(trial: Trial, tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "docs" / "make_trials.py"
    spec = importlib.util.spec_from_file_location("make_trials", path)
    assert spec is not None and spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    maker.TRIALS = tmp_path / "trials"
    blind = replace(trial.effects[0], damage="swapped", verdict="blind", auroc=0.123456)
    whole = replace(trial, metrics=(MetricTrial("toy", (*trial.effects, blind)),))
    (tmp_path / "trial.json").write_text(json.dumps(whole.to_json()))
    maker.record(tmp_path, "scenes", "javisbench validate-metrics", "2026-11-29", "abc1234")
    (found,) = recorded_trials(tmp_path / "trials")
    assert (found.name, found.date, found.commit) == ("scenes", "2026-11-29", "abc1234")
    line = found.line("toy")
    assert line.startswith("sees shift from 40 ms") and line.endswith("(40 clips of demo, 2026-11-29, abc1234)")
    assert found.line("fvd") == "not run here: no weights (40 clips of demo, 2026-11-29, abc1234)"
    kept = found.trial.effects
    assert kept[-1].auroc is None and kept[-1].n == 40, "of what is blind the counts are enough"
    assert kept[0].p_adjusted == float(f"{trial.effects[0].p_adjusted:.4g}")
    assert found.trial.of("toy").curves[0].smallest_seen.dose == 40  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 9}, "has schema 9"),
        ({"metrics": {"toy": {"effects": 3}}}, "is no list of effects"),
        ({"metrics": {"toy": {"effects": [{"dose": 1}]}}}, "without a damage"),
        ({"metrics": {"toy": {"effects": [{"damage": "x", "auroc": "high"}]}}}, "auroc is not a number"),
        ({"metrics": {"toy": {"effects": [{"damage": "x", "verdict": "great"}]}}}, "verdict is not one of"),
        ({"seed": -1}, "seed is not a count"),
    ],
)
def test_a_damaged_trial_is_refused_by_field(trial: Trial, change: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        parse_trial({**trial.to_json(), **change}, Checker("trial.json"))


class Means:
    """A set metric without networks: the distance of two means."""

    card = replace(CARD, id="means", kind="set", higher_is_better=False)

    def measure(self, fake: NDArray[Any], real: NDArray[Any], slices: Any, protocol: object) -> dict[str, Any]:
        from javisbench.metrics.distance import Distance

        return {
            name: Distance(float(np.abs(fake[rows].mean(0) - real[rows].mean(0)).sum()))
            for name, rows in slices.items()
        }


def test_set_metrics_see_what_moves_a_set_further_than_chance_does() -> None:
    from javisbench.results.trial_effects import SetCase, set_effects

    random = np.random.default_rng(0)
    good = random.normal(size=(40, 3))
    moves = (0.0, 0.05, 5.0)
    damaged = np.concatenate([good + move for move in moves])
    cases = [
        SetCase(Case("blurred", move, "%", move), np.arange(40) + 40 * place, 40) for place, move in enumerate(moves)
    ]
    found = set_effects(Means(), damaged, np.tile(good, (3, 1)), np.arange(40), cases, None)  # type: ignore[arg-type]
    assert [e.verdict for e in found] == ["blind", "unseen", "seen"]
    assert [e.effect for e in found] == pytest.approx([0, 0.15, 15])
    assert MetricTrial("means", found).curves[0].monotony == 1.0
    assert found[0].floor is not None and 0.15 < found[0].floor < 5
