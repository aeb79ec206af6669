"""The reference evaluation's result file: read, written, and round again."""

from __future__ import annotations

import json
import math

import pytest

from javisbench.errors import RunError
from javisbench.publish.reference_json import REFERENCE_KEYS, import_reference, read_reference, to_reference
from javisbench.results.ranking import Ranker
from javisbench.results.run_folder import load_result
from javisbench.results.table import board_table

pytestmark = pytest.mark.usefixtures("fixed_cards")


def imported(source, folder):
    return load_result(import_reference(source, folder / "run", model="Theirs", suite="golden"))


def test_the_golden_file_survives_a_round_trip(golden, tmp_path):
    # Written by the reference evaluation (commit b505b37) on 11 clip pairs with stand-in weights.
    source = golden / "evaluator_output.json"
    original = json.loads(source.read_text())
    assert to_reference(imported(source, tmp_path)) == original
    assert list(to_reference(load_result(tmp_path / "run"))) == list(original)


def test_nan_is_read_and_never_written(tmp_path):
    source = tmp_path / "theirs.json"
    lists = {"0": [0.1, float("nan"), 0.2, 0.3, 0.4]}
    source.write_text(json.dumps({"ib_tv": {"overall": float("nan"), "all": [0.1, float("nan")], **lists}, "fvd": 3.5}))
    assert "NaN" in source.read_text()
    result = imported(source, tmp_path)
    assert result.cell("tv_ib").value is None and result.cell("tv_ib").status == "failed"
    assert result.cell("tv_ib").n == 1
    written = to_reference(result)
    assert written == {"fvd": 3.5, "ib_tv": {"overall": None, "all": [0.1, None], "0": [0.1, None, 0.2, 0.3, 0.4]}}
    assert not any(isinstance(v, float) and math.isnan(v) for v in written["ib_tv"]["all"])


def test_a_run_of_ours_in_their_form(write_run):
    result = load_result(write_run())
    written = to_reference(result)
    assert list(written) == ["fvd", "ib_tv", "av_align", "javis_score", "desync"]
    assert "all" not in written["fvd"] and len(written["ib_tv"]["all"]) == 60
    assert [len(written["ib_tv"][str(i)]) for i in range(5)] == [5, 3, 5, 3, 3]
    assert written["ib_tv"]["3"][0] == result.cell("tv_ib", "temporal_composition", "single_event").value


def test_imported_results_are_not_ranked_with_measured_ones(write_run, golden, tmp_path):
    theirs = imported(golden / "evaluator_output.json", tmp_path)
    table = board_table([load_result(write_run(suite="golden", n=11)), theirs], None, Ranker())
    assert len(table.groups) == 2
    assert theirs.protocol == "javisbench-v1+imported"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "not an object"),
        ({"psnr": 1}, "none of the reference"),
        ({"fvd": "low"}, "fvd is not a finite number"),
        ({"fvd": {"overall": 1, "0": [1, 2]}}, r"fvd\.0 is not a list of 5"),
        ({"ib_tv": {"overall": 1, "all": {"a": 1}}}, r"ib_tv\.all is not a list"),
        ({"ib_tv": {"overall": 1, "all": [True]}}, r"ib_tv\.all\[0\] is not a finite number"),
    ],
)
def test_other_files_are_refused(tmp_path, document, words):
    path = tmp_path / "other.json"
    path.write_text(json.dumps(document))
    with pytest.raises(RunError, match=words):
        read_reference(path)


def test_an_existing_folder_is_left_alone(golden, tmp_path):
    with pytest.raises(RunError, match="is there already"):
        import_reference(golden / "evaluator_output.json", tmp_path, model="A", suite="s")


def test_keys_are_those_of_the_reference():
    assert list(REFERENCE_KEYS.values())[7:9] == ["ib_ta", "ib_av"]
    assert len(REFERENCE_KEYS) == 16
