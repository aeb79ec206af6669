"""The dataset: written to a folder that `datasets` reads back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from javisbench.cli import run as cli
from javisbench.errors import UsageError
from javisbench.publish.push import measured_rows, push_dataset, write_dataset
from javisbench.results.run_folder import load_result

pytestmark = pytest.mark.usefixtures("fixed_cards")


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


class Hub:
    """A stand-in for the hub's API that keeps what it is given."""

    def __init__(self) -> None:
        self.made: list[tuple[str, dict[str, Any]]] = []
        self.files: dict[str, bytes] = {}

    def create_repo(self, name: str, **facts: Any) -> str:
        self.made.append((name, facts))
        return f"https://hub.example/datasets/{name}"

    def upload_folder(self, *, repo_id: str, folder_path: Path, **facts: Any) -> None:
        assert (repo_id, facts["repo_type"]) == (self.made[0][0], "dataset")
        self.files = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}


def test_the_hub_gets_what_a_folder_gets(write_run, tmp_path, monkeypatch, capsys):
    hub = Hub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    run = write_run(metrics=("tv_ib",))
    assert cli(["leaderboard", "push", str(run), "--to", "hub:lab/results", "--private"]) == 0
    assert capsys.readouterr().out.strip() == "https://hub.example/datasets/lab/results"
    assert hub.made == [("lab/results", {"repo_type": "dataset", "private": True, "exist_ok": True})]
    folder = write_dataset([load_result(run)], tmp_path / "out", "JavisBench results")
    assert hub.files == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_hub_that_cannot_be_reached_is_an_error_with_a_way_out(write_run, monkeypatch):
    # Nothing listens on this port.
    api = HfApi(endpoint="http://127.0.0.1:9", token="hf_none")
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: api)
    with pytest.raises(UsageError, match="hf auth login"):
        push_dataset([load_result(write_run(metrics=("tv_ib",)))], "lab/results", "T")


def test_hub_names(write_run):
    with pytest.raises(UsageError, match="OWNER/NAME"):
        push_dataset([load_result(write_run())], "../evil", "T")
