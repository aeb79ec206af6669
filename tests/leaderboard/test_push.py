"""The dataset: written to a folder that `datasets` reads back."""

from __future__ import annotations

import pytest

from javisbench.errors import UsageError
from javisbench.leaderboard.push import measured_rows, push_dataset, write_dataset
from javisbench.leaderboard.results import load_result


def test_a_folder_that_datasets_loads(write_run, tmp_path):
    import datasets

    results = [load_result(write_run(name, shift=s, metrics=("fvd", "tv_ib"))) for name, s in (("A", 0.2), ("B", 0.0))]
    folder = write_dataset(results, tmp_path / "out", "My: results")
    measured = datasets.load_dataset(str(folder), "measured", split="train", cache_dir=str(tmp_path / "cache"))
    assert len(measured) == 2 * 2 * 20
    row = next(r for r in measured if (r["model"], r["metric"], r["category"]) == ("A", "tv_ib", "overall"))
    assert row["value"] == results[0].cell("tv_ib").value
    assert (row["rank_best"], row["rank_worst"], row["status"]) == (1, 1, "ok")
    reported = datasets.load_dataset(str(folder), "reported", split="train", cache_dir=str(tmp_path / "cache"))
    assert {"LTX-2", "JavisDiT"} <= set(reported["model"])


def test_every_slice_has_its_own_row(write_run):
    rows = measured_rows([load_result(write_run(metrics=("tv_ib",)))])
    assert len({(row["aspect"], row["category"]) for row in rows}) == 20
    row = next(r for r in rows if r["category"] == "off_screen_sound")
    assert row["aspect"] == "spatial_composition"


def test_a_second_push_replaces_the_first_and_nothing_else(write_run, tmp_path):
    results = [load_result(write_run(metrics=("tv_ib",)))]
    write_dataset(results, tmp_path / "out", "T")
    write_dataset(results, tmp_path / "out", "T")
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="other files"):
        write_dataset(results, tmp_path / "out", "T")


def test_hub_names(write_run):
    with pytest.raises(UsageError, match="OWNER/NAME"):
        push_dataset([load_result(write_run())], "../evil", "T")
