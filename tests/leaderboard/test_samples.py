"""The data of the page of samples: what a metric does not apply to is told apart from failures."""

from __future__ import annotations

import json
from pathlib import Path

from javisbench.leaderboard.samples import write_samples
from javisbench.results.run_folder import load_result


def test_clips_that_a_metric_does_not_apply_to_are_told_apart_from_failures(write_run, tmp_path: Path) -> None:
    row = {"sample_id": "sample_0001", "repeat": 0, "metric": "av_align", "message": "The sound is <b>silent</b>."}
    rows = [
        {**row, "stage": "not_applicable", "kind": "silent"},
        {**row, "sample_id": "sample_0002", "stage": "metric", "kind": "broken"},
    ]
    result = load_result(write_run("One", n=4, failures=rows))
    page = write_samples(result, tmp_path / "samples", "none")
    assert page is not None and page.clips == 4
    overview, details = (
        json.loads((tmp_path / "samples" / name).read_text().split(",", 1)[1].removesuffix(");\n"))
        for name in ("samples.js", "details-0.js")
    )
    assert overview["failed"] == ["sample_0002"]
    assert [bool(one["failures"]) for one in details["rows"]] == [False, False, True, False]
    told = [one["not_applicable"] for one in details["rows"]]
    assert told[0] == told[2] == told[3] == [] and told[1][0][1] == "The sound is <b>silent</b>."
    assert "<b>" not in (tmp_path / "samples" / "details-0.js").read_text(), "no markup in a script"
