"""Exports: what each format must hold, and what may not get through it."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import javisbench
from javisbench.errors import UsageError
from javisbench.publish.export import format_value, render, to_rich
from javisbench.results.cell import Cell
from javisbench.results.ranking import Ranker
from javisbench.results.run_folder import load_result
from javisbench.results.table import Column, Row, RowGroup, Table, board_table, run_table

pytestmark = pytest.mark.usefixtures("fixed_cards")

STATUSES = ("small_n", "biased", "not_applicable", "missing_weights", "missing_reference", "failed")
HOSTILE = 'x|y <script>alert(1)</script> `${\\write18{ls}} *_#&%~^ [a](b)\x1b[31m\n=1+1 "q"'


def board(write_run, name="Alpha"):
    results = [load_result(write_run(name, shift=0.1)), load_result(write_run("Beta", folder="beta"))]
    return board_table(results, None, Ranker())


def empty_table(label: str, cell: Cell | None = None) -> Table:
    column = Column("m", "Metric", True)
    row = Row("r", label, {"m": cell or Cell(0.5, 20, 0.4, 0.6)}, "javisbench-v1")
    return Table("Title", "Protocol javisbench-v1.", (column,), (RowGroup("g", "Group", (row, row)),), (), "Model")


def test_markdown_is_a_github_table(write_run):
    lines = render(run_table(load_result(write_run())), "markdown").splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert rows[0].startswith("| Category | n | FVD ↓ |")
    assert re.fullmatch(r"\| --- \|( ---: \|)+", rows[1])
    widths = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert widths == {8}
    assert len(rows) == 2 + 1 + 19 + 5


def test_markdown_marks_best_and_second(write_run):
    text = render(board(write_run), "markdown")
    alpha, beta = (line for line in text.splitlines() if line.startswith(("| Alpha", "| Beta")))
    assert re.search(r"\*\*0\.\d{3}\*\* \[0\.\d{3}, 0\.\d{3}\] rank 1 ", alpha)
    assert re.search(r"<ins>0\.\d{3}</ins> \[0\.\d{3}, 0\.\d{3}\] rank 2 ", beta)
    assert "Protocol javisbench-v1" in text


def test_too_few_samples_are_marked_in_their_row(write_run):
    results = [load_result(write_run(name, n=n)) for name, n in (("Two", 2), ("Sixty", 60))]
    text = render(board_table(results), "markdown")
    assert "| Two | 2¶ |" in text and "| Sixty | 60 |" in text
    assert "¶" not in render(run_table(results[0]), "markdown")


@pytest.mark.parametrize("format", ["markdown", "csv", "latex", "json"])
def test_every_format_says_protocol_and_stand_in(write_run, format):
    run = write_run("Toy", protocol="javisbench-v1+stand-in", stand_in=True)
    text = render(run_table(load_result(run)), format)
    assert "javisbench-v1+stand-in" in text
    assert "stand-in weights" in text or "true" in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


@pytest.mark.parametrize("status", STATUSES)
def test_statuses_without_a_value_look_different(status):
    text = {s: render(empty_table("A", Cell(status=s)), "markdown").splitlines()[6] for s in STATUSES}
    same = [s for s in STATUSES if text[s] == text[status]]
    assert same == [status]
    assert "nan" not in text[status].lower() and "None" not in text[status]


def test_csv_reads_back(write_run):
    run = write_run()
    rows = list(csv.DictReader(io.StringIO(render(run_table(load_result(run)), "csv"))))
    summary = json.loads((run / "summary.json").read_text())["metrics"]
    assert len(rows) == 20
    assert float(rows[0]["tv_ib"]) == summary["tv_ib"]["overall"]["value"]
    assert float(rows[0]["tv_ib_ci_low"]) == summary["tv_ib"]["overall"]["ci_low"]
    assert rows[0]["tv_ib_n"] == "60" and rows[0]["protocol"] == "javisbench-v1"


def test_csv_holds_no_formula():
    for label in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1"):
        rows = list(csv.DictReader(io.StringIO(render(empty_table(label), "csv"))))
        assert rows[0]["label"] == f"'{label}"


def test_latex_is_booktabs_with_marks(write_run):
    text = render(board(write_run), "latex")
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"\textbf{", r"\underline{", r"$\uparrow$", r"$\downarrow$"):
        assert part in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1


def test_latex_splits_many_metrics(write_run):
    metrics = ("fvd", "kvd", "fad", "tv_ib", "ta_ib", "av_ib", "av_align", "javis_score")
    text = render(run_table(load_result(write_run(metrics=metrics))), "latex")
    assert text.count(r"\begin{table}") == 2
    assert "(part 2 of 2)" in text


LATEX_OURS = re.compile(
    r"\\text(backslash|asciicircum|asciitilde|less|greater|bar|quotedbl)\{\}"
    r"|\\textsuperscript\{\\(textdagger|textdaggerdbl|S|P)\}|\$\\(up|down)arrow\$|\\[{}$&#_%]"
)


@given(st.text(max_size=40))
def test_latex_escapes_every_special_character(label):
    from javisbench.publish.export import _latex_text

    assert not set(LATEX_OURS.sub("", _latex_text(label))) & set("\\{}$&#_%^~")


@given(st.text(max_size=40))
def test_markdown_labels_cannot_leave_their_cell(label):
    from javisbench.publish.export import _markdown_text
    from javisbench.text import printable

    text = _markdown_text(printable(label))
    assert not re.search(r"(?<!\\)(\\\\)*\|", text.replace("\\\\", ""))
    assert "<" not in text and "\n" not in text


def test_hostile_names(write_run):
    name = HOSTILE.replace("\n", "\\n").replace("\x1b", "\\x1b")
    table = board(write_run, name)
    markdown, latex = render(table, "markdown"), render(table, "latex")
    assert "<script" not in markdown and "\\write18" not in latex
    assert json.loads(render(table, "json"))["groups"][0]["rows"][0]["label"] == name


@pytest.mark.parametrize("status", STATUSES)
def test_json_fits_its_schema(write_run, status):
    schema = Path(javisbench.__file__).parent / "data_cards" / "schemas" / "table.schema.json"
    gone = {"value": None, "n": 1, "ci_low": None, "ci_high": None, "status": status, "note": "why"}
    results = [load_result(write_run("A", cells={"kvd": {"overall": gone}})), load_result(write_run("B", shift=0.2))]
    for table in (run_table(results[0]), board_table(results, None, Ranker())):
        jsonschema.validate(json.loads(render(table, "json")), json.loads(schema.read_text()))


def test_unknown_format():
    with pytest.raises(UsageError, match="Did you mean 'markdown'"):
        render(empty_table("A"), "markdwn")


@pytest.mark.parametrize("width", [60, 100, 200])
def test_terminal_table_fits_the_width(write_run, width):
    metrics = ("fvd", "kvd", "fad", "tv_ib", "ta_ib", "av_ib", "clip_score", "av_align", "javis_score", "desync")
    result = load_result(write_run(metrics=metrics))
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(to_rich(run_table(result)))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for heading in ("FVD", "JavisScore", "DeSync", "Off-screen Sound"):
        assert heading in text


def test_terminal_gets_no_markup_or_escapes(write_run):
    table = board(write_run, "[red]A[/red]\x1b[31m")
    console = Console(width=120, file=io.StringIO(), color_system=None)
    console.print(to_rich(table))
    text = console.file.getvalue()
    assert "[red]A[/red]" in text and "\x1b" not in text


def test_no_negative_zero():
    assert format_value(-0.0004, 3) == "0.000"
    assert format_value(-0.0006, 3) == "-0.001"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex (Debian's texlive-latex-recommended)")
def test_latex_compiles(write_run, tmp_path):
    metrics = ("fvd", "kvd", "fad", "tv_ib", "ta_ib", "av_ib", "av_align", "javis_score")
    name = HOSTILE.replace("\n", " ").replace("\x1b", "") + " é 日本 ‡"
    results = [load_result(write_run(name, metrics=metrics, shift=0.1)), load_result(write_run("B", metrics=metrics))]
    parts = [render(board_table(results, None, Ranker()), "latex"), render(run_table(results[0]), "latex")]
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}\usepackage{graphicx}\begin{document}"
    (tmp_path / "t.tex").write_text(head + "\n".join(parts) + r"\end{document}", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
