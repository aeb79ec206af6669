"""What the site is made from: generated pages, quoted messages, the API reference, schemas. `make docs` builds it."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import numpy as np
import pytest

from javisbench.cards import read_cards, suite_cards
from javisbench.media.errors import KINDS
from javisbench.metrics.registry import METRICS
from javisbench.results.cell import STATUSES
from javisbench.results.published import published_results

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def make() -> Iterator[dict[str, ModuleType]]:
    """The modules in docs/ that write pages, as mkdocs imports them."""
    names = ("make_metrics", "make_cards", "make_pictures")
    sys.path.insert(0, str(DOCS))
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(DOCS))
        for name in names:
            sys.modules.pop(name, None)


# Messages


@cache
def messages() -> list[str]:
    """Every text of the package's sources, with ``…`` for what is filled in."""
    found = []
    for folder in ("javisbench", "metrics", "baselines"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
                elif isinstance(node, ast.JoinedStr):
                    parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values]
                    found.append("".join(parts))
    return found


def quoted() -> list[str]:
    return re.findall(r"^### `([^`]+)`$", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_on_troubleshooting_quotes_many_messages() -> None:
    assert len(quoted()) >= 20


@pytest.mark.parametrize("message", quoted())
def test_messages_are_those_of_the_code(message: str) -> None:
    pattern = re.compile(".*?".join(re.escape(part) for part in message.split("…")), re.DOTALL)
    assert any(pattern.search(text) for text in messages()), message


def test_kinds_of_clips_that_cannot_be_read_are_told_as_the_code_tells_them() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| ([^|:]+)", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(rows) >= 5
    for kind, meaning in rows:
        assert meaning.strip() == KINDS[kind], kind


# File formats


def test_every_status_is_on_the_page_of_file_formats() -> None:
    text = (DOCS / "file-formats.md").read_text(encoding="utf-8")
    table = text[text.index("| status |") :].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(STATUSES)


def test_every_schema_is_on_the_page_of_file_formats() -> None:
    text = (DOCS / "file-formats.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "data_cards" / "schemas").glob("*.json")):
        jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))
        assert f"](../data_cards/schemas/{path.name})" in text


# Generated pages


def test_every_card_has_a_page_that_tells_what_it_holds(make: dict[str, ModuleType]) -> None:
    pages = make["make_cards"].model_pages()
    cards = read_cards("models")
    assert set(pages) == {f"models/{name}.md" for name in cards}
    for name, card in cards.items():
        _, text = pages[f"models/{name}.md"]
        told = [card["title"], *(quirk["effect"] for quirk in card.get("quirks", []))]
        assert all(part.strip() in text for part in told), name
    assert set(make["make_cards"].suite_pages()) == {f"suites/{name}.md" for name in suite_cards()}


def test_published_values_stand_on_the_pages_of_their_metric_and_model(make: dict[str, ModuleType]) -> None:
    rows = published_results()
    for metric in {metric for row in rows for metric in row.values} & set(METRICS.own):
        text = "\n".join(make["make_cards"].published_of_metric(metric))
        for row in (row for row in rows if metric in row.values):
            assert f"| {row.model} | {row.values[metric][1]} | {row.source}" in text
    _, page = make["make_cards"].model_pages()["models/javisdit.md"]
    (row,) = [row for row in rows if row.model == "JavisDiT++" and "2602.19163" in row.source]
    assert f"| {row.values['fvd'][1]} |" in page and row.source in page


def test_pictures_show_what_they_say(make: dict[str, ModuleType]) -> None:
    """FVD is biased upward and falls with n; KVD is not; the drawing has the colours of the page."""
    pictures = make["make_pictures"]
    fvd = pictures.same_source("fvd", 50, (25, 100, 400))
    kvd = pictures.same_source("kvd", 50, (25, 100, 400))
    assert fvd[0] > fvd[1] > fvd[2] > 0
    assert np.abs(kvd).max() < 0.05 * fvd[0]
    svg = pictures._svg(lambda axis: axis.plot([0, 1], [0, 1]), "A line.")
    assert svg.startswith('<svg class="drawing"') and "\n" not in svg
    assert "currentColor" in svg and "#010203" not in svg and "http://www.w3.org/2000/svg" in svg


# The API reference


@cache
def site_table() -> dict[str, str]:
    """`API` of docs/make_site.py, which needs mkdocs to be imported."""
    tree = ast.parse((DOCS / "make_site.py").read_text(encoding="utf-8"))
    (value,) = [n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "API"]  # type: ignore[attr-defined]
    return dict(ast.literal_eval(value))


def public(module: str) -> Iterator[tuple[str, Any]]:
    """Names that a module offers, with the public members of classes."""
    loaded = importlib.import_module(module)
    names = getattr(loaded, "__all__", None) or [
        name
        for name, value in vars(loaded).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module
    ]
    for name in names:
        value = getattr(loaded, name)
        if not callable(value):
            continue
        yield f"{module}.{name}", value
        for member, inner in vars(value).items() if isinstance(value, type) else ():
            if not member.startswith("_") and (inspect.isfunction(inner) or isinstance(inner, property | classmethod)):
                yield f"{module}.{name}.{member}", inner


def written(value: Any) -> str:
    """The docstring that somebody wrote; what dataclasses and exceptions have by themselves is none."""
    text = (value.__dict__.get("__doc__") if isinstance(value, type) else value.__doc__) or ""
    made = isinstance(value, type) and dataclasses.is_dataclass(value) and text.startswith(f"{value.__name__}(")
    return "" if made else text.strip()


@pytest.mark.parametrize("module", sorted(site_table()))
def test_every_public_name_has_a_docstring(module: str) -> None:
    found = dict(public(module))
    assert found
    assert [name for name, value in found.items() if not written(value)] == []
