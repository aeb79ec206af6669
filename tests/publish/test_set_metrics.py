"""Set metrics from clips to a board: each stage gives the values of the metric's own distance, whatever that is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import javisbench
from javisbench.cli import run as cli
from javisbench.clip import ClipSpec
from javisbench.metrics.distances import frechet_distance
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.registry import METRICS
from javisbench.publish.archive import pack
from javisbench.publish.reference_json import import_reference, read_reference
from javisbench.registry import Plugin
from javisbench.results.compare import compare
from javisbench.results.ranking import Ranker
from javisbench.results.run_folder import load_result
from javisbench.results.set_features import rows_by_metric
from javisbench.results.table import board_table
from javisbench.suite import load_suite

N = 20
METRIC_IDS = ("energy", "energy_doubled", "fid")
DAMAGES = {"near": "none", "far": "noise"}


@pytest.fixture(scope="module")
def own_metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Metrics and encoders of another package, as its entry points would register them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        for registry, entries in (
            (METRICS, {"energy": "Energy", "energy_doubled": "DoubledEnergy"}),
            (ENCODERS, {"colours": "Colours"}),
        ):
            registered = {name: (Plugin(f"energy_metric:{cls}", "energy-metric"),) for name, cls in entries.items()}
            patch.setitem(registry.__dict__, "_plugins", registered)
        patch.setattr(ENCODERS, "_own", {**ENCODERS._own, "inception": "energy_metric:FrameColours"})
        import energy_metric

        yield energy_metric
    sys.modules.pop("energy_metric", None)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, own_metrics: Any) -> SimpleNamespace:
    """Two scored runs against real clips, and their archives."""
    root = tmp_path_factory.mktemp("sets")
    rows = [f"a ball bounces {i},{i % 2}" for i in range(N)]
    (root / "tiny.csv").write_text("\n".join(["text,cat0_ind", *rows]) + "\n")
    suite = replace(load_suite(str(root / "tiny.csv")), setting=ClipSpec(width=32, height=32, duration_s=0.5))
    real = javisbench.generate("procedural", suite=suite, out=root / "real", params={"damage": "blurred"}) / "clips"
    runs, archives = {}, {}
    for name, damage in DAMAGES.items():
        made = javisbench.generate("procedural", suite=suite, out=root / f"made-{name}", params={"damage": damage})
        runs[name] = root / name
        javisbench.score(
            made / "clips", suite=suite, out=runs[name], name=name, metrics=METRIC_IDS, workers=1, reference=str(real)
        )
        archives[name] = pack(runs[name], root / f"{name}.zip")
    return SimpleNamespace(root=root, runs=runs, archives=archives)


def expected(metric: str, run: Path, own_metrics: Any, rows: Any = slice(None)) -> float:
    """From the stored rows, by a formula written again here or by the function behind the metric."""
    stored = rows_by_metric(run)[metric]
    fake, real = stored.fake[rows].astype(np.float64), stored.real[rows].astype(np.float64)
    if metric == "fid":
        return frechet_distance(fake, real)
    return 1000 * float(own_metrics.energy(fake, real))


@pytest.fixture
def value(world: SimpleNamespace, own_metrics: Any) -> Callable[..., Any]:
    return lambda metric, run, rows=slice(None): pytest.approx(expected(metric, world.runs[run], own_metrics, rows))


@pytest.mark.parametrize("metric", METRIC_IDS)
def test_scores_and_slices(world: SimpleNamespace, value: Callable[..., Any], metric: str) -> None:
    found = load_result(world.runs["near"])
    cell = found.cell(metric)
    assert cell is not None and (cell.value, cell.n, cell.status) == (value(metric, "near"), N, "ok")
    assert cell.ci_low is not None and cell.ci_high is not None and cell.ci_low < cell.value < cell.ci_high
    part = found.cell(metric, "event_scenario", "urban_scenario")
    assert part is not None and part.value == value(metric, "near", slice(1, None, 2)) and part.n == N // 2
    empty = found.cell(metric, "event_scenario", "virtual_scenario")
    assert empty is not None and (empty.value, empty.status) == (None, "small_n")


def test_two_features_of_one_encoder_do_not_overwrite_each_other(world: SimpleNamespace) -> None:
    rows = rows_by_metric(world.runs["near"])
    assert rows.keys() == set(METRIC_IDS)
    np.testing.assert_allclose(rows["energy_doubled"].fake, 2 * rows["energy"].fake)
    assert rows["fid"].fake.shape == (N, 2, 3)


@pytest.mark.parametrize("metric", METRIC_IDS)
def test_comparison_and_ranks(world: SimpleNamespace, value: Callable[..., Any], metric: str) -> None:
    near, far = (load_result(run) for run in world.runs.values())
    rows = {row.slice: row for row in compare(near, far).rows if row.metric == metric}
    assert (rows["overall"].a, rows["overall"].b) == (value(metric, "near"), value(metric, "far"))
    assert rows["event_scenario/urban_scenario"].a == value(metric, "near", slice(1, None, 2))
    assert rows["overall"].difference.p_value is not None
    cells = [row.cells[metric] for row in board_table([near, far], None, Ranker()).rows]
    assert [cell.value for cell in cells] == [value(metric, "near"), value(metric, "far")]
    assert all(cell.rank is not None for cell in cells)


def test_archives_hold_and_make_a_board(world: SimpleNamespace, value: Callable[..., Any], tmp_path: Path) -> None:
    for archive in world.archives.values():
        assert cli(["submit", "verify", str(archive)]) == 0
    site = tmp_path / "site"
    assert cli(["leaderboard", "build", *map(str, world.archives.values()), "--out", str(site), "--quiet"]) == 0
    table = json.loads((site / "tables/overall.json").read_text())
    (group,) = table["groups"]
    for row in group["rows"]:
        for metric in METRIC_IDS:
            assert row["cells"][metric]["value"] == value(metric, row["label"])
    notes = " ".join(table["notes"])
    assert "Energy is no Fréchet distance." in notes and "Fréchet distances are biased upward" in notes
    assert "Left out" not in (site / "index.html").read_text(encoding="utf-8")


def test_the_reference_evaluation_s_file(world: SimpleNamespace, value: Callable[..., Any], tmp_path: Path) -> None:
    target = tmp_path / "results.json"
    assert cli(["leaderboard", "export", str(world.runs["near"]), "--out", str(target)]) == 0
    document = json.loads(target.read_text())
    for metric in METRIC_IDS:
        assert document[metric]["overall"] == value(metric, "near") and "all" not in document[metric]
        assert document[metric]["0"][1] == value(metric, "near", slice(1, None, 2))
        assert read_reference(target)[metric]["overall"] == value(metric, "near")
    again = load_result(import_reference(target, tmp_path / "run", model="Again", suite="tiny"))
    assert again.cell("energy").value == value("energy", "near")


def test_damaged_and_unknown_archives_leave_the_board_standing(
    world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "<b>torn.zip").write_bytes(world.archives["far"].read_bytes()[:2000])
    (tmp_path / "none.zip").write_text("nothing")
    (tmp_path / "twice.zip").write_bytes(world.archives["near"].read_bytes())
    bad = [tmp_path / name for name in ("<b>torn.zip", "none.zip", "twice.zip")]
    site = tmp_path / "site"
    sources = [world.archives["near"], *bad]
    assert cli(["leaderboard", "build", *map(str, sources), "--out", str(site), "--quiet"]) == 0
    page = (site / "index.html").read_text(encoding="utf-8")
    assert "Left out" in page and "&lt;b&gt;torn.zip" in page and "<b>torn" not in page
    assert page.count("no readable zip archive") == 2 and "are both near on" in page
    assert capsys.readouterr().err.count("left out ") == 3
    # Here the metrics of the other package are not installed: nobody can check their values, so none is shown.
    monkeypatch.setitem(METRICS.__dict__, "_plugins", {})
    assert cli(["leaderboard", "build", str(world.archives["near"]), "--out", str(site)]) == 0
    assert "energy, energy_doubled is not installed here: not shown" in capsys.readouterr().err
    columns = json.loads((site / "tables/overall.json").read_text())["columns"]
    assert [column["id"] for column in columns] == ["fid"]


def test_a_metric_with_a_defect_costs_its_archive_and_not_the_board(
    world: SimpleNamespace, own_metrics: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(own_metrics.Energy, "distance", broken)
    assert cli(["submit", "verify", str(world.archives["near"])]) == 2
    near, far = (load_result(run) for run in world.runs.values())
    rows = {row.metric: row for row in compare(near, far).rows if row.slice == "overall"}
    assert rows["energy"].a is None and "ZeroDivisionError: a defect" in (rows["energy"].difference.note or "")
    assert rows["fid"].difference.p_value is not None
    ranks = {metric: cell.rank for metric, cell in board_table([near, far], None, Ranker()).rows[0].cells.items()}
    assert ranks["energy"] is None and ranks["fid"] is not None
