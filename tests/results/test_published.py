"""The published record: read, checked, and compared with itself."""

from __future__ import annotations

import pytest

from javisbench.errors import UsageError
from javisbench.metrics.registry import METRICS
from javisbench.results.published import disagreements, metric_validation, published_results

HEAD = "model,family,params_b,suite,tv_ib,source,table\n"


def test_the_record_ships_and_every_row_has_a_source():
    record = published_results()
    assert len(record) == 37
    assert all(row.source and row.values for row in record)
    assert len(metric_validation()) == 5


def test_ltx_2_has_two_av_ib_values():
    found = [d for d in disagreements() if (d.model, d.metric) == ("LTX-2", "av_ib")]
    assert [(d.first, d.second) for d in found] == [("0.318", "0.180")]
    assert found[0].ratio == pytest.approx(0.138 / 0.18)
    assert not found[0].rounding


def test_equal_values_do_not_disagree():
    # Both JavisDiT papers print an FVD of 539.8 for TempoTokens.
    assert not [d for d in disagreements() if (d.model, d.metric) == ("TempoTokens", "fvd")]
    assert all(d.metric != "runtime_s" for d in disagreements())


def test_one_unit_of_the_last_digit_may_be_rounding(tmp_path):
    path = tmp_path / "record.csv"
    path.write_text(HEAD + "A,t2av,,s,0.20,P1,T\nA,t2av,,s,0.21,P2,T\nA,t2av,,s,0.25,P3,T\n")
    found = {(d.first, d.second): d.rounding for d in disagreements(published_results(path))}
    assert found == {("0.20", "0.21"): True, ("0.20", "0.25"): False, ("0.21", "0.25"): False}


def test_a_column_of_a_table_has_one_number_of_digits(tmp_path):
    path = tmp_path / "record.csv"
    path.write_text(HEAD + "A,t2av,,s,0.2,P1,T\nB,t2av,,s,0.213,P1,T\nA,t2av,,s,0.21,P2,T\n")
    record = published_results(path)
    assert [row.values["tv_ib"] for row in record] == [(0.2, "0.200"), (0.213, "0.213"), (0.21, "0.21")]
    assert [d.rounding for d in disagreements(record)] == [True]


def test_tables_of_one_paper_do_not_disagree_with_themselves(tmp_path):
    path = tmp_path / "record.csv"
    path.write_text(HEAD + "A,t2av,,s,0.20,P1,T\nA,t2av,,s,0.30,P1,U\nA,t2av,,other,0.40,P2,T\n")
    assert disagreements(published_results(path)) == []


@pytest.mark.parametrize(("row", "words"), [(",,,s,1,P,T", "no model"), ("A,,,s,high,P,T", "not a number")])
def test_bad_rows_are_named(tmp_path, row, words):
    path = tmp_path / "record.csv"
    path.write_text(HEAD + row + "\n")
    with pytest.raises(UsageError, match=f"row 1.*{words}"):
        published_results(path)


def test_columns_are_metric_ids():
    known = set(METRICS) | {"runtime_s"}
    assert {metric for row in published_results() for metric in row.values} <= known
