"""Comparing two results: paired differences, adjusted significance, and what else differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from javisbench.cli import run as cli
from javisbench.errors import UsageError
from javisbench.results.compare import compare, explain
from javisbench.results.run_folder import load_result
from javisbench.results.set_features import SetRows, write_set_features

N = 60


def write_run(
    folder: Path, model: str, scores: dict[str, Any], *, rows: dict[str, SetRows] | None = None, **facts: Any
) -> Path:
    """A run folder of N prompts in two categories."""
    folder.mkdir()
    ids = [f"sample_{i:04d}" for i in range(N)]
    frame = pd.DataFrame({"sample_id": ids, "repeat": 0, **scores})
    frame.to_parquet(folder / "scores.parquet")
    categories = [["event_scenario/natural_scenario" if i % 2 else "event_scenario/urban_scenario"] for i in range(N)]
    pd.DataFrame({"sample_id": ids, "index": range(N), "text": "x", "audio_text": None, "categories": categories}
                 ).to_parquet(folder / "samples.parquet")  # fmt: skip
    write_set_features(folder, rows or {})
    cell = {"value": 0.5, "n": N, "ci_low": 0.4, "ci_high": 0.6, "status": "ok"}
    run = {
        "model": model, "slug": model, "suite": "demo", "suite_hash": "0" * 64, "samples": N, "stand_in": False,
        "protocol": "javisbench-v1", "audio": {"sidecar": N, "container": 0, "none": 0}, **facts,
    }  # fmt: skip
    summary = {"schema": 1, "run": run, "metrics": {m: {"overall": cell} for m in scores}, "failures": []}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture
def noise() -> np.random.Generator:
    return np.random.default_rng(7)


def test_a_real_difference_is_found_and_its_direction_follows_the_metric(
    tmp_path: Path, noise: np.random.Generator
) -> None:
    base = noise.normal(size=N)
    a = write_run(tmp_path / "a", "one", {"av_align": base + 0.5, "desync": base + 0.5})
    b = write_run(tmp_path / "b", "two", {"av_align": base + noise.normal(0, 0.1, N), "desync": base})
    found = compare(load_result(a), load_result(b))
    overall = {row.metric: row for row in found.rows if row.slice == "overall"}
    assert overall["av_align"].better == "a"
    assert overall["desync"].better == "b"
    assert overall["desync"].difference.value == pytest.approx(0.5)
    assert overall["av_align"].difference.n == N
    assert {row.slice for row in found.rows if row.difference.n == N // 2} == {
        "event_scenario/natural_scenario",
        "event_scenario/urban_scenario",
    }
    assert found.comparable


def test_equal_models_are_not_told_apart_and_p_values_are_adjusted(tmp_path: Path, noise: np.random.Generator) -> None:
    a = write_run(tmp_path / "a", "one", {"av_align": noise.normal(size=N)})
    b = write_run(tmp_path / "b", "two", {"av_align": noise.normal(size=N)})
    found = compare(load_result(a), load_result(b))
    assert not [row for row in found.rows if row.better]
    for row in found.rows:
        assert row.p_adjusted is not None and row.difference.p_value is not None
        assert row.p_adjusted >= row.difference.p_value


def test_only_samples_that_both_have_count(tmp_path: Path, noise: np.random.Generator) -> None:
    base = noise.normal(size=N)
    broken = np.where(np.arange(N) < 10, np.nan, base)
    a = write_run(tmp_path / "a", "one", {"av_align": base})
    b = write_run(tmp_path / "b", "two", {"av_align": broken})
    row = next(row for row in compare(load_result(a), load_result(b)).rows if row.slice == "overall")
    assert row.difference.n == N - 10
    assert row.difference.value == pytest.approx(0.0)


def set_rows(fake: Any, real: Any) -> dict[str, SetRows]:
    ids = tuple(f"sample_{i:04d}" for i in range(N))
    return {"i3d": SetRows("i3d", ("fvd", "kvd"), ids, fake.astype(np.float32), real.astype(np.float32))}


def test_set_metrics_are_recomputed_on_the_common_samples(tmp_path: Path, noise: np.random.Generator) -> None:
    real = noise.normal(size=(N, 4))
    near, far = real + noise.normal(0, 0.3, (N, 4)), 3 * real + noise.normal(0, 0.3, (N, 4))
    scores = {"av_align": np.zeros(N)}
    a = write_run(tmp_path / "a", "near", scores, rows=set_rows(near, real))
    b = write_run(tmp_path / "b", "far", scores, rows=set_rows(far, real))
    overall = {row.metric: row for row in compare(load_result(a), load_result(b)).rows if row.slice == "overall"}
    from javisbench.metrics.distances import frechet_distance

    assert overall["fvd"].a == pytest.approx(frechet_distance(near.astype(np.float32), real.astype(np.float32)))
    assert overall["fvd"].better == "a"
    assert overall["kvd"].difference.value is not None


def test_a_comparison_does_not_depend_on_the_order_of_the_suites(tmp_path: Path, noise: np.random.Generator) -> None:
    real = noise.normal(size=(N, 4))
    order = noise.permutation(N)
    found = []
    for name in ("in order", "shuffled"):
        sides = []
        for side in (0, 1):
            rng = np.random.default_rng(side)
            rows = set_rows((1 + side) * real + rng.normal(0, 0.3, (N, 4)), real)
            run = write_run(tmp_path / f"{name}{side}", "model", {"av_align": rng.normal(size=N)}, rows=rows)
            if name == "shuffled" and side == 0:
                for file in ("scores.parquet", "samples.parquet"):
                    pd.read_parquet(run / file).iloc[order].to_parquet(run / file, index=False)
                i3d = rows["i3d"]
                ids = tuple(i3d.sample_ids[i] for i in order)
                write_set_features(run, {"i3d": SetRows("i3d", i3d.metrics, ids, i3d.fake[order], i3d.real[order])})
            sides.append(load_result(run))
        found.append(compare(*sides).rows)
    assert {row.metric for row in found[0]} == {"av_align", "fvd", "kvd"}
    assert found[0] == found[1]


def test_explain_lists_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = {"av_align": np.zeros(N)}
    a = write_run(tmp_path / "a", "one", scores, versions={"torch": "2.13.0"})
    b = write_run(
        tmp_path / "b", "two", scores, versions={"torch": "2.12.0"}, protocol="javisbench-v2", stand_in=True,
        audio={"sidecar": 0, "container": N, "none": 0},
    )  # fmt: skip
    text = "\n".join(explain(load_result(a), load_result(b)))
    assert "protocol: javisbench-v1 / javisbench-v2" in text
    assert "versions.torch: 2.13.0 / 2.12.0" in text
    assert f"audio from container: 0 / {N} clips" in text
    capsys.readouterr()
    assert cli(["compare", str(a), str(b), "--explain"]) == 2
    said = capsys.readouterr()
    assert "protocol: javisbench-v1 / javisbench-v2" in said.out and "one was scored under javisbench-v1" in said.err


def test_explain_names_files_of_the_model_that_differ(tmp_path: Path) -> None:
    results = []
    for name, digest in (("a", "1234"), ("b", "5678")):
        run = write_run(tmp_path / name, name, {"av_align": np.zeros(N)})
        facts = {"schema": 1, "model": {"weights": {"network": {"model.safetensors": digest, "config.json": "1"}}}}
        (run / "run.json").write_text(json.dumps(facts))
        results.append(load_result(run))
    assert "generation files.network.model.safetensors: 1234 / 5678" in compare(*results).differences
    assert not any("config.json" in line for line in compare(*results).differences)


def other_prompts(folder: Path, changed: int) -> None:
    samples = pd.read_parquet(folder / "samples.parquet")
    samples.loc[: changed - 1, "text"] = "y"
    samples.to_parquet(folder / "samples.parquet")


def test_samples_whose_prompt_changed_between_revisions_are_left_out(
    tmp_path: Path, noise: np.random.Generator
) -> None:
    base = noise.normal(size=N)
    other = np.where(np.arange(N) < 5, base + 9, base + noise.normal(0, 0.1, N))
    a = write_run(tmp_path / "a", "one", {"av_align": base})
    b = write_run(tmp_path / "b", "two", {"av_align": other}, suite_hash="1" * 64)
    other_prompts(b, 5)
    found = compare(load_result(a), load_result(b))
    assert {row.slice: row.difference.n for row in found.rows}["overall"] == N - 5
    assert abs(found.rows[0].difference.value or 0) < 0.1
    assert any("prompts: 5 samples" in line for line in found.differences)
    assert any(line.startswith("suite_hash") for line in found.differences)


def test_two_suites_that_share_nothing_but_ids_are_not_compared(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", "one", {"av_align": np.zeros(N)})
    other = write_run(tmp_path / "other", "two", {"av_align": np.zeros(N)}, suite="other", suite_hash="1" * 64)
    with pytest.raises(UsageError, match="one was scored on the suite demo, two on other"):
        compare(load_result(a), load_result(other))
    b = write_run(tmp_path / "b", "two", {"av_align": np.zeros(N)}, suite_hash="1" * 64)
    other_prompts(b, N)
    with pytest.raises(UsageError, match="no metric with a value for the same samples"):
        compare(load_result(a), load_result(b))
    (b / "samples.parquet").unlink()
    with pytest.raises(UsageError, match="different suites"):
        compare(load_result(a), load_result(b))


def test_the_protocol_that_both_runs_have_is_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], noise: np.random.Generator
) -> None:
    base = noise.normal(size=N)
    a = write_run(tmp_path / "a", "one", {"av_align": base}, protocol="javisbench-v1")
    b = write_run(tmp_path / "b", "two", {"av_align": base + noise.normal(size=N)}, protocol="javisbench-v2")
    assert cli(["compare", str(a), str(b), "--json"]) == 2
    assert "one was scored under javisbench-v1, two under javisbench-v2 (revision 1)" in capsys.readouterr().err
    (a / "protocols").mkdir()
    write_run(a / "protocols" / "javisbench-v2", "one", {"av_align": base}, protocol="javisbench-v2")
    assert cli(["compare", str(a), str(b), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["comparable"]


def test_revisions_of_a_protocol_are_refused_by_name_before_anything_is_read(tmp_path: Path) -> None:
    runs = []
    for name, settings in (("a", {"protocol_settings": {"revision": 2}}), ("b", {})):
        runs.append(write_run(tmp_path / name, name, {"av_align": np.zeros(N)}, protocol="javisbench-v2", **settings))
        (runs[-1] / "scores.parquet").write_bytes(b"damaged")
    with pytest.raises(UsageError, match=r"a was scored under javisbench-v2, b under javisbench-v2 \(revision 1\)"):
        compare(*map(load_result, runs))


def test_the_time_of_scoring_is_no_difference(tmp_path: Path) -> None:
    runs = []
    for name in ("a", "b"):
        runs.append(write_run(tmp_path / name, name, {"av_align": np.zeros(N)}))
        facts = {"schema": 1, "scoring": {"created": f"at {name}", "hardware": {"cpu": name}}}
        (runs[-1] / "run.json").write_text(json.dumps(facts))
    found = compare(*map(load_result, runs))
    assert found.differences == ("scoring.hardware.cpu: a / b",)


def test_nothing_in_common_is_an_error(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", "one", {"av_align": np.zeros(N)})
    b = write_run(tmp_path / "b", "two", {"desync": np.zeros(N)})
    with pytest.raises(UsageError, match="no metric"):
        compare(load_result(a), load_result(b))


def test_the_command_prints_draws_and_gives_json(
    tmp_path: Path, noise: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    base = noise.normal(size=N)
    a = write_run(tmp_path / "a", "one", {"av_align": base + 0.5})
    b = write_run(tmp_path / "b", "two", {"av_align": base})
    assert cli(["compare", str(a), str(b), "--plot", str(tmp_path / "d.svg"), "--explain"]) == 0
    assert "AV-Align" in capsys.readouterr().out
    assert (tmp_path / "d.svg").read_text().startswith("<?xml")
    assert cli(["compare", str(a), str(b), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0]["better"] == "a"
    assert cli(["compare", str(a), str(b), "--plot", str(tmp_path / "d.jpg")]) == 2
