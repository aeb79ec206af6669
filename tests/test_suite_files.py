"""Suite files as spreadsheets, scripts and strangers write them: what is read, what is refused, what is warned of."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from javisbench.cli import cli, run
from javisbench.errors import UsageError
from javisbench.matching import match_folder
from javisbench.media import read_clip
from javisbench.places import PlaceError
from javisbench.suite import Suite, read_suite
from javisbench.suite_rows import MAX_COLUMNS, SEPARATORS, Problem
from javisbench.suite_samples import MISSING_WORDS

ROWS = [["id", "text", "cat0_ind"], ["one", "a dog; a cat,\n| and\ta bird", "0"], ["two", "rain", "natural_scenario|4"]]


def table(separator: str, line_end: str = "\n", rows: list[list[str]] = ROWS) -> str:
    """A CSV file in which only what must be is quoted."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=separator, lineterminator=line_end).writerows(rows)
    return file.getvalue()


def read(path: Path, content: str | bytes, name: str = "s.csv") -> tuple[Suite | None, list[Problem]]:
    """The suite of a file with this content."""
    path = path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_suite(str(path))


def suite(path: Path, content: str | bytes, name: str = "s.csv") -> Suite:
    found, problems = read(path, content, name)
    assert found is not None, [str(problem) for problem in problems]
    return found


def reasons(path: Path, content: str | bytes, name: str = "s.csv") -> str:
    found, problems = read(path, content, name)
    assert found is None and problems
    return "\n".join(map(str, problems))


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_dialect_is_the_same_suite(tmp_path: Path, separator: str, line_end: str, encoding: str) -> None:
    found = suite(tmp_path, table(separator, line_end).encode(encoding))
    assert [sample.id for sample in found] == ["one", "two"]
    assert [sample.text for sample in found] == ["a dog; a cat,\n| and\ta bird", "rain"]
    assert found.samples[1].categories == {"event_scenario": ("natural_scenario", "virtual_scenario")}
    assert found.hash == suite(tmp_path, table(","), "plain.csv").hash


def test_the_first_line_may_name_the_separator_as_excel_does(tmp_path: Path) -> None:
    assert suite(tmp_path, "sep=;\nid;text\none;a, b\n").samples[0].text == "a, b"


@pytest.mark.parametrize("separator", SEPARATORS)
def test_cells_may_all_be_quoted(tmp_path: Path, separator: str) -> None:
    lines = ['"id"{}"text"', '"one"{}"a, ""b"";|\t"', ""]
    found = suite(tmp_path, "\n".join(lines).format(separator, separator))
    assert found.samples[0].text == 'a, "b";|\t'


def test_of_separators_that_fit_the_comma_wins(tmp_path: Path) -> None:
    assert suite(tmp_path, "text\na;b\n").samples[0].text == "a;b"
    assert suite(tmp_path, "a;b,text\n1;2,dog\n").samples[0].text == "dog"


def test_a_header_without_text_is_told_in_columns(tmp_path: Path) -> None:
    told = reasons(tmp_path, "id;Text;mood\none;a;b\n")
    assert "no such column (it has ['id', 'Text', 'mood'])" in told and "Did you mean 'Text'" in told


@pytest.mark.parametrize("ending", ["\n\n\n", ";;\n;;\n", " ; ;\n", "\n;;\n\n"])
def test_empty_rows_and_columns_at_the_end_are_none(tmp_path: Path, ending: str) -> None:
    found = suite(tmp_path, f"id;text;;\none;a dog;;\ntwo;rain\nthree;hail;;;;\n{ending}")
    assert [sample.id for sample in found] == ["one", "two", "three"]
    assert not found.columns and not found.notices()


def test_an_empty_row_between_others_is_named(tmp_path: Path) -> None:
    assert "s.csv: row 2, column text: empty" in reasons(tmp_path, "id,text\none,a\n,\ntwo,b\n")


def test_the_row_numbers_of_pandas_are_a_column_that_is_not_used(tmp_path: Path) -> None:
    found = suite(tmp_path, ",id,text,mood\n0,one,a dog,glad\n1,two,rain,\n")
    assert [notice.split(" (--")[0] for notice in found.notices()] == ["columns not used: (column 1), mood"]
    assert found.sliced_by(["mood"]).unused_columns == ("(column 1)",)


@pytest.mark.parametrize("word", sorted(MISSING_WORDS))
def test_words_for_missing_stay_text_with_one_warning(tmp_path: Path, word: str) -> None:
    words = [word, word.upper(), f" {word} "]
    found = suite(tmp_path, table(";", rows=[["text"], *[[w] for w in words], ["rain"]]))
    assert [sample.text for sample in found] == [*words, "rain"]
    (warning,) = found.warnings
    assert warning.startswith("column text: 3 cells (the first in row 1) hold") and word.upper() in warning


def test_the_words_are_those_of_pandas(tmp_path: Path) -> None:
    from pandas._libs.parsers import STR_NA_VALUES

    assert {word.lower() for word in STR_NA_VALUES if word} <= MISSING_WORDS


def test_null_of_json_is_missing_and_a_word_is_not(tmp_path: Path) -> None:
    found = suite(tmp_path, '{"text": "a", "audio_text": null}\n{"text": "b", "audio_text": "null"}\n', "s.jsonl")
    assert [sample.audio_text for sample in found] == [None, "null"]
    assert [warning.split(" holds")[0] for warning in found.warnings] == ["column audio_text: 1 cell (row 2)"]
    assert "row 1, column text: empty" in reasons(tmp_path, '{"text": null}\n', "s.jsonl")


@pytest.mark.parametrize("column", ["id", "text", "audio_text", "path", "cat0_ind", "mood"])
@pytest.mark.parametrize(("bad", "said"), [("\\u0000", "NUL"), ("\\ud83d", "surrogate"), ("\\udc00", "surrogate")])
def test_what_is_no_text_is_refused_by_row_and_column(tmp_path: Path, column: str, bad: str, said: str) -> None:
    cells = {"text": '"a"', column: f'"x{bad}y"'}
    line = ", ".join(f'"{name}": {value}' for name, value in cells.items())
    told = reasons(tmp_path, f'{{"text": "fine"}}\n{{{line}}}\n', "s.jsonl")
    assert told.startswith(f"s.jsonl: row 2, column {column}: holds") and said in told and "\n" not in told
    assert "holds" in reasons(tmp_path, f'{{"text": "a", "mood{bad}": 1}}\n', "s.jsonl")


def test_nul_in_a_csv_is_named_and_utf16_without_a_mark_is_explained(tmp_path: Path) -> None:
    assert "row 2, column text: holds a NUL" in reasons(tmp_path, "id,text\none,a\ntwo,b\0\n")
    assert "save it as UTF-8" in reasons(tmp_path, "id,text\none,a\n".encode("utf-16-le"))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp1251", "shift_jis"])
def test_other_encodings_are_refused_with_the_byte(tmp_path: Path, encoding: str) -> None:
    text = {"cp1251": "дождь", "shift_jis": "雨"}.get(encoding, "a café")
    told = reasons(tmp_path, f"text\nrain\n{text}\n".encode(encoding))
    assert "not UTF-8 text (byte" in told and "in line 3" in told and "save it as UTF-8" in told


@pytest.mark.parametrize("char", ["\x1b", "\x07", "\x7f", "\x9b", "\x0b"])
def test_control_characters_are_kept_in_prompts_and_escaped_where_shown(tmp_path: Path, char: str) -> None:
    found = suite(tmp_path, f"id,text\none,a{char}b\n")
    assert found.samples[0].text == f"a{char}b"
    assert ["control characters" in warning for warning in found.warnings] == [True]
    for command in ("show", "validate"):
        shown = CliRunner().invoke(cli, ["suites", command, found.source]).stdout
        assert char not in shown.replace("\n", "")
    assert "control characters" in reasons(tmp_path, f"text,path\na,b{char}c.mp4\n")
    assert "row 1, column id" in reasons(tmp_path, f"id,text\na{char}b,c\n")
    assert char not in reasons(tmp_path, f"id,text,mo{char}od\n,,\na,,\n").replace("\n", "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "a", "text": "b"}', "'text' stands twice"),
        ('{"text": "a", "more": {"x": 1, "x": 2}}', "'x' stands twice"),
        ('{"text": "a", "n": 1e999}', "1e999 is too large"),
        ('{"text": "a", "n": NaN}', "NaN is not JSON"),
        ('{"text": "a", "n": -Infinity}', "Infinity is not JSON"),
        ('{"text": "a", "n": ' + "9" * 5000 + "}", "99999999999999999999... is too large a number (5,000 digits)"),
        ('{"text": "a", "n": ' + "[" * 100_000 + "}", "not readable as JSON"),
        ('{"text": ["a"]}', "column text: text is needed, got a list"),
        ('{"text": {"en": "a"}}', "column text: text is needed, got an object"),
        ('{"text": true}', "column text: text is needed, got true or false"),
        ('{"text": "a", "audio_text": 5}', "column audio_text: text is needed, got a number"),
        ('{"text": "a", "id": 1.5}', "column id: text or a whole number is needed"),
        ('{"text": "a", "id": true}', "column id: text or a whole number is needed"),
        ('{"text": "a", "id": ["x"]}', "column id: text or a whole number is needed"),
        ('{"text": "a", "path": ["x.mp4"]}', "column path: a path is needed, got a list"),
        ('{"text": "a", "cat0_ind": [[0]]}', "column cat0_ind: '[0]' is no category"),
        ('{"text": "a", "cat0_ind": {"0": 1}}', "is no category of Event Scenario"),
        ('{"text": "' + "a" * 131_073 + '"}', "column text: has 131,073 characters"),
    ],
)
def test_traps_of_json_are_refused_by_row(tmp_path: Path, line: str, said: str) -> None:
    told = reasons(tmp_path, f'{{"text": "fine"}}\n{line}\n', "s.jsonl")
    assert told.startswith("s.jsonl: row 2") and said in told and len(told) < 500


def test_pairs_of_surrogates_are_one_character(tmp_path: Path) -> None:
    assert suite(tmp_path, '{"text": "a \\ud83d\\ude00"}\n', "s.jsonl").samples[0].text == "a \N{GRINNING FACE}"


def test_prompts_under_another_name_are_told_once(tmp_path: Path) -> None:
    assert "Call the one that is meant text" in reasons(tmp_path, "id,prompt\none,a\n")
    lines = '{"id": "a", "prompt": "x"}\n{"id": "b", "prompt": "y"}\n'
    assert reasons(tmp_path, lines, "s.jsonl") == (
        "s.jsonl: file, column text: no row has such a member (they have ['id', 'prompt'])"
    )


def test_ids_may_be_whole_numbers(tmp_path: Path) -> None:
    found = suite(tmp_path, '{"id": 7, "text": "a", "score": 0.5, "tags": ["x"], "none": null}\n', "s.ndjson")
    assert found.samples[0].id == "7"
    assert found.samples[0].extra == {"score": "0.5", "tags": '["x"]'}


def test_endless_cells_and_columns_are_bounded(tmp_path: Path) -> None:
    assert "not readable as CSV" in reasons(tmp_path, 'text\n"' + "a" * 200_000 + '"\n')
    assert "columns" in reasons(tmp_path, "text," * (MAX_COLUMNS + 1) + "\n")
    lines = "".join(json.dumps({"text": "a", f"column{i}": 1}) + "\n" for i in range(MAX_COLUMNS + 1))
    assert "different names of columns" in reasons(tmp_path, lines, "s.jsonl")


@pytest.mark.parametrize(("first", "second"), [("one", "one"), ("one", "ONE"), ("1", "1"), ("sample_0002", "")])
def test_an_id_twice_names_both_rows(tmp_path: Path, first: str, second: str) -> None:
    told = reasons(tmp_path, table(";", rows=[["id", "text"], [first, "a"], ["x", "b"], [second, "c"]]))
    assert told.startswith("s.csv: row 3, column id:") and "row 1" in told


@pytest.mark.parametrize(
    ("cell", "ids"),
    [
        ("0", ("natural_scenario",)),
        ("urban_scenario", ("urban_scenario",)),
        ("Urban Scenario", ("urban_scenario",)),
        ("1.0, natural scenario", ("urban_scenario", "natural_scenario")),
        ("0|Virtual Scenario|0", ("natural_scenario", "virtual_scenario")),
    ],
)
def test_categories_may_be_names(tmp_path: Path, cell: str, ids: tuple[str, ...]) -> None:
    found = suite(tmp_path, table(";", rows=[["text", "cat0_ind"], ["a", cell]]))
    assert found.samples[0].categories == {"event_scenario": ids}


def test_a_category_of_another_aspect_is_refused_with_the_names(tmp_path: Path) -> None:
    told = reasons(tmp_path, "text,cat1_ind\na,speech sounds\n")
    assert "'speech sounds' is no category of Visual Style; use 0 to 2, or camera_shooting" in told


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=30)


@given(
    st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5), st.sampled_from(list(SEPARATORS)), st.booleans()
)  # fmt: skip
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]], separator: str, windows: bool
) -> None:
    """Any text survives any dialect (line ends within cells as newlines)."""
    rows = [["text", "mood"], *([f"a{text}", mood] for text, mood in cells)]
    content = table(separator, "\r\n" if windows else "\n", rows)
    found = suite(tmp_path_factory.mktemp("any"), content)
    assert [(sample.text, sample.extra.get("mood", "")) for sample in found] == [(f"a{t}", m) for t, m in cells]


# What the command says


def test_validate_tells_counts_and_warnings(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("id,text,mood,note\none,NaN,glad,\ntwo,rain,sad,\n")
    plain = CliRunner().invoke(cli, ["suites", "validate", str(path)])
    assert plain.exit_code == 0
    assert "2 samples, no problem; 2 warnings:" in plain.stdout
    assert "(NaN)" in plain.stdout and "columns not used: mood, note" in plain.stdout
    sliced = CliRunner().invoke(cli, ["suites", "validate", str(path), "--json", "--slice-by", "mood"])
    told = json.loads(sliced.stdout)
    assert (told["valid"], told["samples"], len(told["warnings"])) == (True, 2, 2)
    assert "columns not used: note" in told["warnings"][1]
    path.write_text("id,text\none,a\none,b\n")
    assert run(["suites", "validate", str(path)]) == 2


# Manifests are tables too


@pytest.mark.parametrize("separator", SEPARATORS)
def test_manifests_may_use_any_separator(tmp_path: Path, clips_fake: Path, separator: str) -> None:
    prompts = suite(tmp_path, "id,text\none,a\n")
    manifest = tmp_path / "m.txt"
    video = str(clips_fake / "sample_0000.mp4")
    manifest.write_text(table(separator, "\r\n", [["id", "video"], ["one", video]]), encoding="utf-8-sig")
    (item,) = match_folder(tmp_path, prompts, manifest=manifest).items
    assert item.source is not None and read_clip(item.source.video).frames.size
    manifest.write_text(table(separator, rows=[["id", "video"], ["one", video], ["one", video]]))
    with pytest.raises(UsageError, match="rows 1 and 2 are the same clip of one"):
        match_folder(tmp_path, prompts, manifest=manifest)


# Parquet


def test_a_parquet_table_is_a_suite(tmp_path: Path) -> None:
    whole = pa.table({
        "id": ["one", "two"],
        "text": ["a dog; a cat,\n| and\ta bird", "rain"],
        "cat0_ind": [["0"], ["natural_scenario", "4"]],
        "seed": pa.array([7, None]),
        "level": pa.array([float("nan"), 0.5]),
    })  # fmt: skip
    pq.write_table(whole, tmp_path / "s.parquet")
    found, problems = read_suite(str(tmp_path / "s.parquet"))
    assert found is not None and not problems
    assert (found.name, found.hash) == ("s", suite(tmp_path, table(",")).hash)
    assert [dict(sample.extra) for sample in found] == [{"seed": "7"}, {"level": "0.5"}]
    # Several tables are one suite, here and by URL; what is wrong is named by file and row.
    for number in range(2):
        pq.write_table(whole.slice(number, 1), tmp_path / f"part-{number}.parquet")
    parts, problems = read_suite(f"{tmp_path}/part-*.parquet")
    assert parts is not None and not problems
    assert (parts.name, parts.hash, [sample.index for sample in parts]) == ("part", found.hash, [0, 1])
    assert parts.source == f"{tmp_path}/part-*.parquet"
    pq.write_table(whole.slice(0, 1), tmp_path / "part-1.parquet")
    parts, problems = read_suite(f"{tmp_path}/part-*.parquet")
    assert parts is None
    told = "part-1.parquet: row 1, column id: 'one' is also the id of row 1 of part-0.parquet"
    assert [str(problem) for problem in problems] == [told]


def test_parquet_tables_of_the_hub_are_read_by_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVISBENCH_CACHE_DIR", str(tmp_path / "cache"))
    system = fsspec.filesystem("memory")
    for number in range(2):
        with system.open(f"/prompts/set/data/train-{number}.parquet", "wb") as file:
            pq.write_table(pa.table({"text": [f"prompt {number}"]}), file)
    for spec in ("memory://prompts/set", "memory://prompts/set/data/*.parquet"):
        found, _ = read_suite(spec)
        assert found is not None and [sample.text for sample in found] == ["prompt 0", "prompt 1"]
        assert found.source == spec
    one, _ = read_suite("memory://prompts/set/data/train-1.parquet")
    assert one is not None and (one.name, one.source) == ("train-1", "memory://prompts/set/data/train-1.parquet")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"prompt": ["a"]}, "file, column text: the table has no such column"),
        ({"text": [1]}, "row 1, column text: text is needed, got a number"),
        ({"text": ["a"], "weight": [float("inf")]}, "row 1, column weight: is infinite"),
        ({"text": ["a"], "image": [{"note": "x"}]}, "file: holds struct<note: string> in its column image"),
        ({"text": ["a" * 600_000]}, "file: has more than 524,288 bytes in one cell of its column text"),
        ({"text": ["a"], "id": ["../x"]}, "row 1, column id: '../x' is no id"),
        ({"text": pa.array([], pa.string())}, "no rows"),
    ],
)
def test_a_parquet_table_that_is_no_suite_says_why(tmp_path: Path, columns: dict[str, Any], reason: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "s.parquet")
    found, problems = read_suite(str(tmp_path / "s.parquet"))
    assert found is None and reason in str(problems[0])


def test_a_damaged_parquet_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlaceError, match="is no Parquet table"):
        read(tmp_path, b"PAR1 not quite", "s.parquet")
    with pytest.raises(UsageError, match="no such file"):
        read_suite(str(tmp_path / "absent.parquet"))
