from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from javisbench.text import encodable, json_text, printable, printable_lines

# Every kind of character that matters here, lone surrogates too, which `st.text` leaves out unless asked.
ANY = st.text(st.characters(exclude_categories=()) | st.sampled_from("\x00\x1b\n\t\x7f\x9b\u202e\u2066\u2028\udce9"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b]0;owned\x07b.mp4", r"a\x1b]0;owned\x07b.mp4"),
        ("a\nfake: all is well", r"a\nfake: all is well"),
        ("a\tb\r", r"a\tb\r"),
        ("\x7f\x9b1m", r"\x7f\x9b1m"),
        ("a\u202egpj.exe\u2069", r"a\u202egpj.exe\u2069"),
        ("a\u2028b\x85c", r"a\u2028b\x85c"),
        (b"caf\xe9.mp4".decode("utf-8", "surrogateescape"), r"caf\udce9.mp4"),
        ("日本語 é 👩\u200d🔬 [red]x[/] C:\\new 'q'", "日本語 é 👩\u200d🔬 [red]x[/] C:\\new 'q'"),
        ("\u200e a \u200f", "\u200e a \u200f"),
    ],
)
def test_what_steers_a_terminal_is_shown_instead(text, shown):
    assert printable(text) == shown


@given(ANY)
def test_printable_text_is_one_harmless_line_that_files_can_hold(text):
    shown = printable(text)
    assert printable(shown) == shown
    assert shown.splitlines() in ([], [shown])
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in shown)
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", shown)
    shown.encode("utf-8")


@given(ANY)
def test_clean_text_is_left_alone(text):
    clean = "".join(char for char in text if printable(char) == char)
    assert printable(clean) == clean
    assert set(printable(text)) <= set(text) | set("\\xu0123456789abcdefntr")


@given(ANY)
def test_lines_of_a_document_stay(text):
    shown = printable_lines(text)
    assert shown.count("\n") == text.count("\n")
    assert [printable(line) for line in text.split("\n")] == shown.split("\n")


@given(ANY)
def test_encodable_text_changes_nothing_but_surrogates(text):
    assert encodable(text) == "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text)


@given(st.dictionaries(ANY, st.lists(ANY, max_size=2), max_size=2), st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_json_reads_back_and_harms_no_terminal(value, encoding):
    text = json_text(value, indent=1, encoding=encoding)
    assert printable_lines(text) == text
    text.encode(encoding)
    pair = re.compile("([\ud800-\udbff])([\udc00-\udfff])")

    def joined(part):  # two halves side by side are one character in JSON
        return pair.sub(lambda m: chr(0x10000 + (ord(m[1]) - 0xD800) * 1024 + ord(m[2]) - 0xDC00), part)

    assert json.loads(text) == {joined(k): list(map(joined, v)) for k, v in value.items()}


def test_json_keeps_letters_where_it_can():
    assert json_text({"é": "日本"}) == '{"é": "日本"}'
    assert json_text("é日", encoding="latin-1") == r'"\u00e9\u65e5"'
    with pytest.raises(ValueError, match="JSON compliant"):
        json_text(float("nan"))
