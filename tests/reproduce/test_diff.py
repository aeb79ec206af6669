"""`javisbench diff`: nothing between a run and itself, settings between protocols, clips by content, moved samples."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from javisbench.cli import run as cli
from javisbench.errors import UsageError
from javisbench.protocol import V1, V2
from javisbench.results.clip_facts import clip_facts
from javisbench.results.compare import compare
from javisbench.results.diff import diff
from javisbench.results.differences import flat
from javisbench.results.run_folder import load_result

METRICS = ("fvd", "tv_ib", "desync")


def with_clips(run: Path, content: dict[str, bytes]) -> Path:
    (run / "clips").mkdir()
    for name, data in content.items():
        (run / "clips" / name).write_bytes(data)
    (run / "run.json").write_text(json.dumps({"schema": 1, "model": {"name": "Alpha"}}))
    return run


def scores(run: Path, metric: str, changes: dict[int, float | None]) -> None:
    frame = pd.read_parquet(run / "scores.parquet")
    for row, value in changes.items():
        frame.loc[row, metric] = float("nan") if value is None else frame.loc[row, metric] + value
    frame.to_parquet(run / "scores.parquet")


def test_a_run_differs_from_itself_in_nothing(
    write_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = with_clips(write_run("Alpha", metrics=METRICS), {"sample_0000.mp4": b"a", "sample_0000.wav": b"b"})
    found = diff(load_result(run), load_result(run))
    assert found.empty and found == diff(*(load_result(run) for _ in "ab"))
    assert found.to_json()["causes"] == found.to_json()["values"] == found.to_json()["unknown"] == []
    shutil.copytree(run, tmp_path / "copy")
    assert diff(load_result(run), load_result(tmp_path / "copy")).empty
    assert cli(["diff", str(run), str(tmp_path / "copy")]) == 0
    assert "Nothing differs." in capsys.readouterr().out


def test_two_protocols_differ_in_exactly_their_settings(write_run: Any) -> None:
    run = write_run("Alpha", metrics=METRICS)
    second = write_run("Alpha", metrics=METRICS, shift=0.1, protocol="javisbench-v2", folder="v2/demo")
    found = diff(load_result(run), load_result(second))
    (cause,) = found.causes
    told = {difference.name: (difference.here, difference.there) for difference in cause.differences}
    assert told.pop("protocol") == ("javisbench-v1", "javisbench-v2")
    first, other = flat(V1.settings(), "protocol_settings"), flat(V2.settings(), "protocol_settings")
    # Those that act on values that deviate stand before the others.
    assert list(told)[-1] == "protocol_settings.text.clap_padding"
    assert told == {name: (first[name], other[name]) for name in first if first[name] != other[name]}
    assert len(told) == 18 and told["protocol_settings.fvd.kvd_centred"] == (True, False)
    assert {value.metric for value in found.values} == set(METRICS)


def test_one_run_under_two_protocols_is_asked_for_by_their_names(
    write_run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run("Alpha", metrics=METRICS)
    write_run(
        "Alpha",
        metrics=METRICS,
        shift=0.1,
        protocol="javisbench-v2",
        folder="alpha-00000000/demo/protocols/javisbench-v2",
    )
    asked = ["diff", str(run), "--protocol", "javisbench-v1", "--protocol", "javisbench-v2"]
    assert cli([*asked, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [cause["topic"] for cause in document["causes"]] == ["protocol"] and not document["empty"]
    assert cli(asked) == 0
    out = capsys.readouterr().out
    assert "1. Protocol" in out and "TV-IB" in out and "and 13 more (--json lists all)" in out
    assert cli(["diff", str(run)]) == 2 and "two --protocol" in capsys.readouterr().err
    assert cli(["diff", str(run), str(run), "--protocol", "javisbench-v9"]) == 2
    assert "it has javisbench-v1, javisbench-v2" in capsys.readouterr().err
    assert cli(["diff", str(run), str(run), *(["--protocol", "a"] * 3)]) == 2


def test_samples_that_moved_most_come_first_and_lost_ones_before_them(write_run: Any, tmp_path: Path) -> None:
    run = write_run("Alpha", metrics=METRICS)
    other = tmp_path / "other"
    shutil.copytree(run, other)
    scores(other, "tv_ib", {3: 0.5, 7: -0.9, 9: None, 11: 0.1})
    found = diff(load_result(run), load_result(other))
    assert not found.empty and found.moved_counts == {"tv_ib": 4}
    told = [(moved.sample_id, moved.change) for moved in found.moved]
    assert [name for name, _ in told] == ["sample_0009", "sample_0007", "sample_0003", "sample_0011"]
    assert told[0][1] is None and found.moved[0].b is None and found.moved[0].a is not None
    assert told[1][1] == pytest.approx(-0.9)


def test_values_over_all_samples_have_paired_intervals(write_run: Any) -> None:
    """The noise of prompts, which both have, is in neither end of the interval of a mean's difference."""
    a, b = write_run("Alpha", n=200, metrics=METRICS), write_run("Alpha", n=200, metrics=METRICS, shift=0.02, seed=1)
    found = {value.metric: value.difference for value in diff(load_result(a), load_result(b)).values}
    assert found["tv_ib"].value == pytest.approx(0.02, abs=0.01)
    assert found["tv_ib"].ci_low is not None and found["tv_ib"].ci_high is not None
    assert found["tv_ib"].ci_high - found["tv_ib"].ci_low < 2 * 1.96 * (2 * 0.03**2 / 200) ** 0.5 * 1.2
    assert found["fvd"].value == pytest.approx(-2.0, abs=1.0) and found["fvd"].ci_low is None


def test_prompts_left_out_act_on_the_values_that_they_move(write_run: Any, tmp_path: Path) -> None:
    run = write_run("Alpha", metrics=("tv_ib",))
    part = shutil.copytree(run, tmp_path / "part")
    frame = pd.read_parquet(run / "scores.parquet").iloc[:-1]
    frame.to_parquet(part / "scores.parquet")
    summary = json.loads((run / "summary.json").read_text())
    summary["run"]["prompts"] = len(frame)
    value = float(frame["tv_ib"].mean())
    summary["metrics"]["tv_ib"]["overall"] |= {"value": value, "n": len(frame)}
    (part / "summary.json").write_text(json.dumps(summary))
    found = diff(load_result(run), load_result(part))
    (moved,) = found.values
    assert moved.difference.value == 0.0, "of the samples that both have"
    assert moved.size == pytest.approx(abs(value - moved.a.value)) and moved.size > 0
    assert (found.causes[0].topic, found.causes[0].share) == ("prompts", None)


def test_clips_differ_by_content_and_not_by_time(write_run: Any) -> None:
    first = {"a.mp4": b"1", "a.wav": b"2", "b.mp4": b"3", "gone.mp4": b"4", "a.json": b"{}"}
    second = {"a.mp4": b"1", "a.wav": b"two", "b.mp4": b"3", "new.mp4": b"5", "a.json": b"{ }"}
    runs = [with_clips(write_run("Alpha", folder=f"{i}/demo"), content) for i, content in enumerate((first, second))]
    found = diff(*map(load_result, runs))
    assert {(clip.name, clip.what) for clip in found.clips} == {
        ("a.wav", "differs"), ("gone.mp4", "only in A"), ("new.mp4", "only in B"),
    }  # fmt: skip
    assert found.clips_compared == 3
    # A summary alone has no clips.
    assert diff(load_result(runs[0]), load_result(runs[1] / "summary.json")).clips_compared is None


def test_other_suites_are_refused_and_other_models_are_a_cause(write_run: Any) -> None:
    run = write_run("Alpha")
    with pytest.raises(UsageError, match="Score both on one suite"):
        diff(load_result(run), load_result(write_run("Alpha", suite="landscape")))
    other = write_run("Beta", seed=2)
    for path, spec in ((run, "javisdit"), (other, "procedural")):
        identity = {"model": spec, "parameters": {"steps": 30}}
        (path / "run.json").write_text(json.dumps({"schema": 1, "model": {"name": spec, "identity": identity}}))
    found = diff(load_result(run), load_result(other))
    assert found.causes[0].topic == "model" and found.causes[0].differences[0].line.endswith("javisdit / procedural")


def test_a_difference_is_that_of_the_values_and_the_one_that_compare_tells(write_run: Any) -> None:
    """AV-Sync has heavy tails: it is averaged between -2 and 6."""
    runs = [write_run(name, metrics=("av_sync",)) for name in ("Alpha", "Beta")]
    for run, step in zip(runs, (9.0, -0.5), strict=True):
        scores(run, "av_sync", dict.fromkeys(range(0, 20, 2), step))
        (run / "details.parquet").unlink(missing_ok=True)
    a, b = (load_result(run) for run in runs)
    found = next(value.difference for value in diff(a, b).values)
    told = next(row.difference for row in compare(a, b).rows if row.slice == "overall")
    assert told is not None and told.value is not None and told.ci_low is not None and found.ci_high is not None
    assert found.value == pytest.approx(-told.value, abs=1e-12)
    assert found.ci_high == pytest.approx(-told.ci_low, abs=1e-9)
    frames = [pd.read_parquet(run / "scores.parquet")["av_sync"].clip(-2, 6) for run in runs]
    assert found.value == pytest.approx((frames[1] - frames[0]).mean(), abs=1e-12)


@pytest.mark.parametrize("width", ['"inf"', "1" + "0" * 400, "null", '"1e999"', "[]"])
def test_a_sidecar_of_another_form_tells_nothing_of_its_clip(write_run: Any, width: str) -> None:
    run = with_clips(write_run("Alpha", metrics=METRICS), {"sample_0000.mp4": b"a"})
    plan = f'{{"fps": "24", "width": {width}, "height": 240, "frames": 96, "sample_rate": 16000}}'
    (run / "clips/sample_0000.json").write_text(f'{{"plan": {plan}}}')
    assert diff(load_result(run), load_result(run)).empty
    assert "width" not in clip_facts(load_result(run))
