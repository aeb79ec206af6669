"""Reading results: what is refused, and with which words."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import javisbench
from javisbench.api import Result
from javisbench.errors import RunError
from javisbench.isolated.parquet import TableLimits
from javisbench.results import checked_json, parquet
from javisbench.results.cell import OVERALL, STATUSES, Cell, slice_name
from javisbench.results.run_folder import load_result, load_results, read_failures, read_manifest
from javisbench.results.summary import nested

SCHEMA = Path(javisbench.__file__).parent / "data_cards" / "schemas" / "summary.schema.json"


def change(path: Path, *keys: str, to: object) -> Path:
    document = json.loads((path / "summary.json").read_text())
    place = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    (path / "summary.json").write_text(json.dumps(document))
    return path


def test_a_run_folder(write_run):
    failures = [
        {"sample_id": "s", "repeat": 0, "stage": "decode", "metric": None, "kind": "short", "message": "too short"}
    ]
    path = write_run("Al pha/../x", failures=failures, card={"family": "t2av", "licence": "MIT", "params_b": 3.1})
    result = load_result(path)
    assert (result.model, result.slug, result.suite, result.samples) == ("Al pha/../x", "al-pha-x", "demo", 60)
    assert (result.family, result.licence, result.params_b) == ("t2av", "MIT", 3.1)
    assert result.failures[0].kind == "short"
    assert result.audio == {"sidecar": 60, "container": 0, "none": 0}
    assert len(result.scores()) == 60
    assert set(result.details()["name"]) == {"windows", "window_times_s", "onset_times_s", "peak_times_s"}
    assert len(result.samples_by_id()["sample_0003"].categories) == 5


def test_written_summaries_fit_the_schema(write_run):
    document = json.loads((write_run() / "summary.json").read_text())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))


def test_a_summary_alone(write_run):
    result = load_result(write_run() / "summary.json")
    assert result.scores() is None and result.clips is None


def test_further_protocols(write_run):
    path = write_run()
    write_run(
        protocol="javisbench-v2", folder=str(path.relative_to(path.parent.parent) / "protocols" / "javisbench-v2")
    )
    assert [result.protocol for result in load_results(path)] == ["javisbench-v1", "javisbench-v2"]


def test_unknown_keys_are_ignored(write_run):
    path = change(write_run(), "run", "new_fact", to=[1])
    path = change(path, "metrics", "tv_ib", "new_aspect", to={"x": 3})
    assert load_result(path).cell("tv_ib").n == 60


def test_card_of_the_manifest(write_run):
    path = write_run(card=None)
    document = json.loads((path / "summary.json").read_text())
    del document["run"]["card"]
    (path / "summary.json").write_text(json.dumps(document))
    (path / "run.json").write_text(json.dumps({"schema": 1, "model": {"card": "procedural"}}))
    assert load_result(path).family == "t2av"


def test_clips_elsewhere_are_followed_only_when_trusted(write_run, tmp_path):
    path = write_run()
    (tmp_path / "mine").mkdir()
    (path / "run.json").write_text(json.dumps({"schema": 1, "model": {"clips": str(tmp_path / "mine")}}))
    assert load_result(path).clips == tmp_path / "mine"
    assert load_result(path, follow_clips=False).clips is None


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("schema",), 2, "schema 2"),
        (("run",), [], "run is not an object"),
        (("run", "model"), 3, "model is not text"),
        (("run", "model"), "  \n", "model is empty"),
        (("run", "model"), "x" * 201, "201 characters"),
        (("run", "stand_in"), "yes", "run.stand_in is not true or false"),
        (("run", "samples"), -1, "run.samples is not a count"),
        (("run", "samples"), True, "run.samples is not a count"),
        (("run", "card"), 3, "run.card is not text"),
        (("metrics", "tv_ib"), 3, "metrics.tv_ib is not an object"),
        (("metrics", "<b>"), {}, "not a metric id"),
        (("metrics", "tv_ib", "overall", "value"), "0.3", "metrics.tv_ib.overall.value is not a number"),
        (("metrics", "tv_ib", "overall", "value"), None, "is ok but has no value"),
        (("metrics", "tv_ib", "overall", "value"), 10**400, "is not finite"),
        (("metrics", "tv_ib", "overall", "n"), 1.5, "is not a count"),
        (("metrics", "tv_ib", "overall", "ci_low"), 5.0, "lower end lies above"),
        (("metrics", "tv_ib", "overall", "status"), "great", "is 'great'"),
        (("failures",), {}, "failures is not a list"),
        (("failures",), [{"sample_id": 3}], "sample_id is not text"),
    ],
)
def test_damaged_summaries_are_refused(write_run, keys, value, words):
    path = change(write_run(), *keys, to=value)
    with pytest.raises(RunError, match=words) as error:
        load_result(path)
    assert "summary.json" in error.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not readable as JSON"),
        ('{"schema": NaN}', "NaN"),
        ("[" * 100000, "not readable as JSON"),
        ("[]", "not an object"),
    ],
)
def test_what_is_not_json(write_run, text, words):
    path = write_run()
    (path / "summary.json").write_text(text)
    with pytest.raises(RunError, match=words):
        load_result(path)


def test_sizes_are_bounded_before_reading(write_run, monkeypatch):
    path = write_run()
    monkeypatch.setattr(parquet, "LIMITS", TableLimits(unpacked_bytes=10))
    with pytest.raises(RunError, match="unpacks to"):
        load_result(path).scores()
    monkeypatch.setattr(parquet, "LIMITS", TableLimits(file_bytes=10))
    with pytest.raises(RunError, match="at most 10 are read"):
        load_result(path).scores()
    monkeypatch.setattr(checked_json, "MAX_JSON_BYTES", 10)
    with pytest.raises(RunError, match="at most 10 are read"):
        load_result(path)


def test_damaged_parquet(write_run):
    path = write_run()
    (path / "scores.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(RunError, match="not a readable Parquet"):
        load_result(path).scores()
    pd.DataFrame({"sample_id": ["a"]}).to_parquet(path / "scores.parquet")
    with pytest.raises(RunError, match="lacks the columns repeat"):
        load_result(path).scores()


def test_a_suite_name_is_never_a_path(write_run, tmp_path):
    bait = tmp_path / "bait.csv"
    bait.write_text("id,text\nsample_0000,secret\n")
    path = write_run(suite="demo")
    (path / "samples.parquet").unlink()
    change(path, "run", "suite", to=str(bait))
    assert load_result(path).samples_by_id() == {}


def test_nothing_there(tmp_path):
    with pytest.raises(RunError, match="no run folder"):
        load_result(tmp_path / "none")
    with pytest.raises(RunError, match=r"no summary\.json"):
        load_result(tmp_path)


# One reader for all


HOSTILE_MANIFESTS = {
    "no JSON": ("{", "cannot be read"),
    "deep": ("[" * 100_000, "cannot be read"),
    "a list": ("[]", "no run manifest"),
    "a model that is text": ('{"model": "x"}', "model is not an object but str"),
    "shards in a list": ('{"generation": [0, 1]}', "generation is not an object but list"),
    "a schema that is text": ('{"schema": "1"}', "schema is not a count"),
    "a newer schema": ('{"schema": 99}', "newer javisbench"),
}


@pytest.mark.parametrize("what", HOSTILE_MANIFESTS)
def test_manifests_are_checked_whoever_reads(write_run, what):
    text, message = HOSTILE_MANIFESTS[what]
    path = write_run()
    (path / "run.json").write_text(text)
    for read in (read_manifest, load_result, Result):
        with pytest.raises(RunError, match=message):
            read(path)


@pytest.mark.parametrize(
    "row", ['{"repeat": 0}', '{"sample_id": 7}', '{"sample_id": "a", "repeat": "b"}', '{"sample_id": "a", "stage": {}}']
)
def test_failures_are_checked_whoever_reads(write_run, row):
    path = write_run()
    good = '{"sample_id": "a", "repeat": 1, "stage": "decode", "metric": null, "kind": "short", "message": "ends"}'
    (path / "failures.jsonl").write_text(f'{good}\n{{"sample_id": "torn\n{good}\n')
    assert [failure["sample_id"] for failure in read_failures(path)] == ["a", "a"]
    assert Result(path).failures["kind"].tolist() == ["short", "short"]
    (path / "failures.jsonl").write_text(f"{good}\n{row}\n")
    for read in (read_failures, lambda run: Result(run).failures):
        with pytest.raises(RunError, match=r"failures\.jsonl: "):
            read(path)


def test_the_front_door_has_the_reader_s_guards(write_run, monkeypatch):
    path = write_run()
    summary = (path / "summary.json").read_text()
    (path / "summary.json").write_text(summary.replace('"schema": 1', '"schema": 1, "schema": 1'))
    with pytest.raises(RunError, match="twice"):
        Result(path)
    (path / "summary.json").write_text(summary)
    result = Result(path)
    monkeypatch.setattr(parquet, "LIMITS", TableLimits(rows=10))
    with pytest.raises(RunError, match="at most 10 are read"):
        result.scores  # noqa: B018
    (path / "details.parquet").unlink()
    with pytest.raises(RunError, match=r"no details\.parquet"):
        result.details  # noqa: B018


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
CELLS = st.builds(
    Cell,
    value=NUMBERS,
    n=st.integers(0, 2**53 - 1),
    ci_low=st.none() | st.just(-sys.float_info.max),
    ci_high=st.none() | st.just(sys.float_info.max),
    status=st.sampled_from(STATUSES),
    note=st.none() | st.text(min_size=1, max_size=40),
)


@given(st.dictionaries(st.sampled_from([slice_name("sound_type", "musical_sounds"), OVERALL]), CELLS, min_size=1))
def test_cells_come_back_as_they_were_written(found):
    cells = {OVERALL: Cell(status="failed"), **found}
    run = {"model": "m", "suite": "s", "protocol": "p"}
    document = {"schema": 1, "run": run, "metrics": {"av_ib": nested(cells)}, "failures": []}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "summary.json").write_text(json.dumps(document))
        assert load_result(folder).metrics == {"av_ib": cells}
