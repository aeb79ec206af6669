"""`reproduce check` and `reproduce new`: verdicts, how often they are wrong, causes, and what is said of bad input."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from javisbench.errors import RunError, UsageError
from javisbench.results.cell import Cell
from javisbench.results.differences import (
    TOPICS,
    Deviation,
    Difference,
    acts_on,
    causes,
    flat,
    same,
    topic_of,
)
from javisbench.results.measured_effects import measured
from javisbench.results.recipe import Expected, KnownFault, Recipe
from javisbench.results.recipe_toml import parse_recipe, recipe_text
from javisbench.results.recipes import load_recipe
from javisbench.results.reproduction import Reproduction, Verdict, check, check_trial, compared, recipe_of
from javisbench.results.run_folder import StoredResult, load_result
from javisbench.results.trial import Effect, MetricTrial, Trial
from javisbench.stats import slice_means

CLIPS = {"width": 426.0, "height": 240.0, "fps": 24.0, "duration_s": 4.0, "sample_rate": 16000.0}
DETAILS = {
    "width": "health_size", "height": "health_size", "fps": "health_fps", "duration_s": "health_duration",
    "sample_rate": "health_rate",
}  # fmt: skip
METRICS = ("av_align", "javis_score", "tv_ib")

Make = Callable[..., StoredResult]


@pytest.fixture
def make(write_run: Any) -> Make:
    """A run of a model that was made and scored here, with what its clips are; everything may be changed."""

    def made(
        folder: str,
        *,
        clips: dict[str, float] | None = None,
        sound: str = "sidecar",
        noise: int = 0,
        parameters: dict[str, Any] | None = None,
        facts: dict[str, Any] | None = None,
        **run: Any,
    ) -> StoredResult:
        given = {"metrics": METRICS, "n": 400, "seed": noise, **run}
        path = write_run("Alpha", folder=folder, **given)
        n = given["n"]
        document = json.loads((path / "summary.json").read_text())
        document["run"] |= {
            "audio": {"sidecar": 0, "container": 0, "none": 0, sound: n},
            "prompts": n,
            "suite_hash": "0a" * 32,
            "suite_total": 400,
            "encoders": {"imagebind": {"variant": "huge", "weights_sha256": "ab" * 32}},
            **(facts or {}),
        }
        cell = {"value": 1.0, "n": n, "ci_low": 1.0, "ci_high": 1.0, "status": "ok"}
        document["metrics"] |= {metric: {"overall": cell} for metric in set(DETAILS.values())}
        (path / "summary.json").write_text(json.dumps(document))
        ids = [f"sample_{i:04d}" for i in range(n)]
        told = {**CLIPS, **(clips or {})}
        rows = [(i, 0, DETAILS[name], name, [value]) for i in ids for name, value in told.items()]
        pd.DataFrame(rows, columns=["sample_id", "repeat", "metric", "name", "values"]).to_parquet(
            path / "details.parquet"
        )
        manifest = {
            "schema": 1,
            "model": {
                "name": "Alpha", "spec": "procedural",
                "identity": {"model": "procedural", "card": "procedural", "parameters": parameters or {"steps": 30}},
                "weights": {"network": {"model.safetensors": "cd" * 32}},
            },
            "generation": {"seed": noise, "repeats": 1, "shard": [0, 1], "conform": "native", "dtype": "auto"},
        }  # fmt: skip
        (path / "run.json").write_text(json.dumps(manifest))
        return load_result(path)

    return made


@pytest.fixture
def base(make: Make) -> StoredResult:
    return make("base/demo")


def verdicts(found: Reproduction) -> dict[str, Verdict]:
    return {row.expected.metric: row.verdict for row in found.rows}


def first_topic(found: Reproduction) -> str:
    return found.causes[0].topic


# Verdicts


def test_a_run_is_equal_to_its_own_recipe_everywhere(base: StoredResult) -> None:
    recipe = recipe_of(base, "mine")
    assert [value.metric for value in recipe.expected] == list(METRICS)
    read = parse_recipe(tomllib.loads(recipe_text(recipe)), "mine.toml")
    assert read == replace(recipe, path=None)
    found = check(base, read)
    assert found.verdict == "equal" and set(verdicts(found).values()) == {"equal"}
    assert all(row.deviation == 0 for row in found.rows)
    assert not found.causes and not found.notices


def test_another_seed_of_the_same_model_is_equal_and_the_seed_is_named(base: StoredResult, make: Make) -> None:
    found = check(make("other/demo", noise=1), recipe_of(base, "mine"))
    assert set(verdicts(found).values()) == {"equal"}
    assert all(row.deviation for row in found.rows)
    assert [cause.topic for cause in found.causes] == ["seed"]


@pytest.mark.parametrize(
    ("topic", "line", "change"),
    [
        ("protocol", "protocol: javisbench-v2 / javisbench-v1", {"protocol": "javisbench-v2"}),
        ("frames", "clips.duration_s: 2 / 4", {"clips": {"duration_s": 2.0}}),
        ("frames", "clips.fps: 16 / 24", {"clips": {"fps": 16.0}}),
        ("resolution", "clips.height: 120 / 240", {"clips": {"width": 212.0, "height": 120.0}}),
        ("sound", "sound: tracks in the clips / files beside the clips", {"sound": "container"}),
        ("sampling", "generation model.parameters.steps: 10 / 30", {"parameters": {"steps": 10}}),
        ("prompts", "prompts: 300 / 400", {"n": 300}),
        (
            "metric_weights",
            f"encoders.imagebind.weights_sha256: {'12' * 28 + '1'}... / {'ab' * 28 + 'a'}...",
            {"facts": {"encoders": {"imagebind": {"variant": "huge", "weights_sha256": "12" * 32}}}},
        ),
        ("suite", f"suite_hash: {'ef' * 28 + 'e'}... / {'0a' * 28 + '0'}...", {"facts": {"suite_hash": "ef" * 32}}),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_a_known_change_differs_and_is_the_cause_named_first(
    topic: str, line: str, change: dict[str, Any], base: StoredResult, make: Make
) -> None:
    recipe = recipe_of(base, "mine")
    changed = make("changed/demo", shift=0.05, **change)
    found = check(changed, recipe)
    assert set(verdicts(found).values()) == {"differs"} and found.verdict == "differs"
    assert first_topic(found) == topic
    assert line in [difference.line for difference in found.causes[0].differences]
    assert {cause.topic for cause in found.causes} == {topic}
    assert bool(found.notices) == (topic == "suite")


def test_all_three_verdicts_occur_with_their_reasons(base: StoredResult, make: Make) -> None:
    """Values near, far, and known too badly: the reason says how many clips would tell."""
    run = make("few/demo", n=100)
    means = {metric: run.metrics[metric]["overall"] for metric in METRICS}

    def expected(metric: str, away: float, tolerance: float) -> Expected:
        value = means[metric].value
        assert value is not None
        return Expected(metric, metric, value + away, None, "overall", 400, tolerance, "by hand", "test")

    recipe = replace(
        recipe_of(base, "mine"),
        expected=(
            expected("av_align", 0.001, 0.05),
            expected("javis_score", 0.2, 0.01),
            expected("tv_ib", 0.001, 0.008),
        ),
    )
    found = check(run, recipe)
    assert list(verdicts(found).values()) == ["equal", "differs", "cannot tell"]
    assert found.line == "1 equal, 1 differs, 1 cannot tell"
    near, far, unclear = found.rows
    assert near.reason == far.reason == "" and far.p_adjusted is not None and far.p_adjusted < 1e-6
    assert "is known to ±" in unclear.reason and unclear.needed is not None and unclear.needed > 100
    # A little above the n that is told, the same value has another verdict; a little below, it has not.
    cell = means["tv_ib"]
    assert cell.value is not None and cell.ci_low is not None and cell.ci_high is not None
    for share, verdict in ((0.9, "cannot tell"), (1.1, "equal")):
        n = round(share * unclear.needed)
        side = (cell.ci_high - cell.value) * (cell.n / n) ** 0.5
        more = replace(cell, n=n, ci_low=cell.value - side, ci_high=cell.value + side)
        assert compared([(unclear.expected, more, "")], n)[0].verdict == verdict, share


def test_where_no_number_of_clips_would_tell_that_is_said() -> None:
    value = Expected("tv_ib", "TV-IB", 0.3, 3, "overall", 50, 0.001, "x", "x")
    (row,) = compared([(value, Cell(0.3002, 400, 0.29, 0.31), "")], 400)
    assert row.verdict == "cannot tell" and row.needed is None and "no number of clips would tell" in row.reason


@pytest.mark.parametrize(
    ("cell", "n", "told"),
    [
        (Cell(0.3, 400), 400, "no interval"),
        (Cell(0.3, 5, 0.2, 0.4), 400, "fewer than 10"),
        (Cell(0.3, 400, note="n is not recorded"), 400, "n is not recorded"),
        (Cell(0.3, 400, status="biased", note="n = 400 is below 800: biased"), 400, "biased"),
    ],
)
def test_what_cannot_be_tested_is_no_verdict(cell: Cell, n: int, told: str) -> None:
    value = Expected("av_align", "av_align", 0.1, 1, "overall", n, 0.01, "x", "x")
    (row,) = compared([(value, cell, "")], n)
    assert row.verdict == "cannot tell" and told in row.reason and row.p is None


def test_distances_of_sets_are_compared_at_one_n_alone() -> None:
    value = Expected("fvd", "FVD", 204.1, 1, "overall", 10140, 5.0, "x", "x")
    one, other = Cell(204.0, 10100, 203.0, 205.0), Cell(204.0, 1000, 203.0, 205.0)
    assert compared([(value, one, "")], 10100)[0].verdict == "equal"
    (row,) = compared([(value, other, "")], 1000)
    assert row.verdict == "cannot tell" and "1,000 here, 10,140 published" in row.reason
    # A mean does not depend on n.
    mean = replace(value, metric="tv_ib", tolerance=50.0)
    assert compared([(mean, other, "")], 1000)[0].verdict == "equal"


def simulated(reps: int, n: int, published_n: int, away: float, margin: float, values: int = 4) -> list[set[Verdict]]:
    """Verdicts of recipes of some values: skewed scores, ours in pairs of a prompt, the others not."""
    rng = np.random.default_rng(n + published_n)
    found = []
    for _ in range(reps):
        rows = []
        for _ in range(values):
            ours = np.repeat(rng.exponential(0.1, n // 2), 2) + rng.normal(0, 0.02, n)
            theirs = rng.exponential(0.1, published_n) + rng.normal(0, 0.02, published_n)
            cell = Cell.of(slice_means(ours, np.arange(n) // 2, {"overall": np.arange(n)})["overall"])
            value = Expected("tv_ib", "x", round(theirs.mean() + away, 3), 3, "overall", published_n, margin, "x", "x")
            rows.append((value, cell, ""))
        found.append({row.verdict for row in compared(rows, n // 2)})
    return found


@pytest.mark.parametrize(("n", "published_n"), [(60, 60), (100, 1000)])
def test_a_true_repetition_is_said_to_differ_in_at_most_five_of_a_hundred_recipes(n: int, published_n: int) -> None:
    reps = 200
    wrong = sum("differs" in found for found in simulated(reps, n, published_n, 0.0, 0.0005))
    # Three standard errors of 200 simulated recipes; benchmarks/reproduction.py simulates more.
    assert wrong / reps <= 0.05 + 3 * (0.05 * 0.95 / reps) ** 0.5


def test_a_deviation_of_two_margins_is_rarely_called_equal() -> None:
    found = simulated(200, 100, 100, 0.12, 0.06, values=1)
    assert sum("equal" in verdicts for verdicts in found) / 200 <= 0.025 + 3 * (0.025 * 0.975 / 200) ** 0.5
    assert sum("equal" in verdicts for verdicts in simulated(100, 100, 100, 0.0, 0.06, values=1)) > 80


# Causes


def test_a_cause_that_acts_on_no_deviating_value_stands_last() -> None:
    sound, size = Difference("sound", "a", "b"), Difference("clips.width", 212, 426)
    found = causes([size, sound], [Deviation("clap_score", 0.4, 0.1)])
    assert [cause.topic for cause in found] == ["sound", "resolution"]
    assert found[1].share == 0 and found[0].share is None
    assert [cause.topic for cause in causes([size, sound])] == ["resolution", "sound"], "without values: as documented"


def test_a_measured_effect_that_explains_comes_before_what_was_not_measured() -> None:
    """CLIP's channel order was measured to move it by 0.14 of a small network; a seed was not measured."""
    order = Difference("protocol_settings.text.channel_order", "rgb", "bgr")
    (effect,) = measured(order.name, "clip_score")
    assert effect.absolute == pytest.approx(0.142, abs=0.001)
    model = Difference("generation model.model", "a", "b")
    explained = causes([model, order], [Deviation("clip_score", 0.3, 0.2)])
    assert [cause.topic for cause in explained] == ["protocol", "model"]
    assert explained[0].share == pytest.approx(0.142 / 0.2, abs=0.01)
    assert "channel_order moved clip_score by 0.14 (12 real clips, stand-in weights)" in explained[0].told
    # Of a deviation that is ten times as large, it is a small part.
    assert [cause.topic for cause in causes([model, order], [Deviation("clip_score", 0.3, 2.0)])] == [
        "model",
        "protocol",
    ]


def test_trials_lend_their_effects_to_rates_and_sizes() -> None:
    (effect,) = measured("clips.fps", "av_align")
    assert effect.what == "frame_rate=50" and effect.relative == pytest.approx(0.80, abs=0.01)
    assert effect.size(0.5) == pytest.approx(0.40, abs=0.01)
    assert not measured("clips.fps", "clap_score") and not measured("generation.seed", "av_align")


def test_effects_that_ship_are_those_that_were_measured() -> None:
    from importlib.util import module_from_spec, spec_from_file_location

    root = Path(__file__).parents[2]
    spec = spec_from_file_location("protocol_effects", root / "benchmarks" / "protocol_effects.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    written = json.loads(module.CARD.read_text(encoding="utf-8"))
    assert written == module.card(json.loads(module.RESULTS.read_text(encoding="utf-8"))), "run it with --card"


def test_every_fact_has_a_topic_and_settings_act_where_they_are_used() -> None:
    assert [topic.id for topic in TOPICS][-1] == "other" and topic_of("anything at all").id == "other"
    assert acts_on("protocol_settings.fvd.kvd_centred", "kvd")
    assert not acts_on("protocol_settings.fvd.kvd_centred", "fvd")
    assert not acts_on("protocol_settings.desync.fps_conversion", "fvd")
    assert acts_on("encoders.i3d.weights_sha256", "fvd") and not acts_on("encoders.i3d.weights_sha256", "clap_score")
    assert acts_on("reference.kind", "fad") and not acts_on("reference.kind", "av_align")
    assert acts_on("clips.width", "a_metric_of_nobody")


def test_facts_are_compared_as_what_they_are_whoever_wrote_them() -> None:
    for a, b in ((24, "24"), (24.0, 24), ("24000/1001", 24000 / 1001), (None, None), ("x", "x")):
        assert same(a, b), (a, b)
    for a, b in ((24, 25), ("24", "24x"), (True, 1.5), (None, 0), ("1/0", 0), (10**400, 1.0)):
        assert not same(a, b), (a, b)
    assert not same("1e999999999", 1.0), "which would take hours to write out"
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}
    ((name, _),) = flat(deep).items()
    assert name.count(".") < 10


def test_known_faults_are_told_where_the_protocol_mends_them_and_left_open_where_none_does(make: Make) -> None:
    run = make("v2/demo", protocol="javisbench-v2")
    faults = (
        KnownFault("long", "Long prompts lose their end.", ("tv_ib",), "long_prompts=cut"),
        KnownFault("seed", "One seed a process."),
        KnownFault("crop", "A random 10 s.", (), "", 10.0),
        KnownFault("fad", "Only FAD.", ("fad",)),
    )
    recipe = replace(recipe_of(make("base/demo", shift=0.2), "mine"), faults=faults)
    found = check(run, recipe)
    assert first_topic(found) == "protocol" and "Long prompts lose their end." in found.causes[0].told
    assert [line for line in found.open if line.startswith("Published code")] == ["Published code: One seed a process."]
    same = check(make("again/demo"), recipe)
    assert not [cause for cause in same.causes if cause.topic == "protocol"]
    assert not any("Long prompts" in line for line in same.open), "both have the fault"


def test_what_is_not_known_cannot_be_ruled_out(write_run: Any) -> None:
    run = load_result(write_run("Beta", metrics=("tv_ib",)))
    recipe = replace(load_recipe("javisdit-v0.1"), suite="demo")
    found = check(run, recipe)
    told = "\n".join(found.open)
    for title in ("Frames and rate", "Resolution", "Weights of the model", "Sampling", "Seed of the noise"):
        assert f"{title}: not recorded in the result" in told, title
    assert "Real side" not in told, "no value here depends on it"
    assert "one seed a process" in told and "FAD" not in told
    assert [row.verdict for row in found.rows].count("not run") == 11


# Bad input


def test_metrics_that_were_not_run_have_no_number(base: StoredResult) -> None:
    value = Expected("fad", "FAD", 7.2, 1, "overall", 400, 0.2, "x", "x")
    lacking = Expected("", "FD-VGG", 0.79, 2, "overall", 400, 0.01, "x", "x", note="javisbench has no VGGish.")
    found = check(base, replace(recipe_of(base, "mine"), expected=(value, lacking)))
    assert found.verdict == "not run" and {row.verdict for row in found.rows} == {"not run"}
    assert "javisbench score RUN --metrics fad" in found.rows[0].reason
    assert found.rows[1].reason == "javisbench has no VGGish."
    assert all(row.to_json()["value"] is None and row.to_json()["deviation"] is None for row in found.rows)


def test_another_suite_is_refused_and_another_revision_is_one_sentence(base: StoredResult) -> None:
    recipe = recipe_of(base, "mine")
    with pytest.raises(UsageError, match=r"mine is about the suite javisbench; .* was scored on demo"):
        check(base, replace(recipe, suite="javisbench"))
    (notice,) = check(base, replace(recipe, suite_hash="f" * 64)).notices
    assert "another revision of demo" in notice


def test_a_run_without_scores_makes_no_recipe(write_run: Any) -> None:
    with pytest.raises(RunError, match=r"no value that a recipe could expect.*--metrics"):
        recipe_of(load_result(write_run("Gamma", metrics=("health_silence",))), "mine")


# Trials


def trial(accuracies: dict[int, float], n: int = 3000, kind: str = "av-syncbench") -> Trial:
    effects = tuple(
        Effect(
            "desync", "time_shifted", dose, pairs=n, n=n, sources=1500, accuracy=strict + 0.1,
            accuracy_low=strict + 0.085, accuracy_high=strict + 0.115, accuracy_strict=strict,
        )
        for dose, strict in accuracies.items()
    )  # fmt: skip
    return Trial({"kind": kind, "clips": 3000, "suite": "AV-SyncBench"}, "javisbench-v2", False, 0, "0.2.0",
                 (MetricTrial("desync", effects),))  # fmt: skip


def test_a_trial_is_checked_by_its_strict_accuracies() -> None:
    recipe = load_recipe("synchformer-av-syncbench")
    found = check_trial(trial({50: 0.512, 100: 0.30, 500: 0.70}), recipe)
    told = {row.expected.slice: row.verdict for row in found.rows if row.expected.metric}
    assert told["time_shifted=100"] == "differs" and told["time_shifted=200"] == "not run"
    assert told["time_shifted=50"] in ("equal", "cannot tell")
    assert found.rows[-1].reason == "A trial tells the offsets apart and has no accuracy over all of them."
    with pytest.raises(UsageError, match="this is a trial of clips"):
        check_trial(trial({50: 0.5}, kind="clips"), recipe)


def test_a_recipe_of_a_suite_is_no_recipe_of_a_trial(base: StoredResult) -> None:
    with pytest.raises(UsageError, match="nothing can be compared"):
        check_trial(trial({50: 0.5}), recipe_of(base, "mine"))
    assert isinstance(recipe_of(base, "mine"), Recipe)
