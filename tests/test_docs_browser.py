"""The documentation as `make docs` builds it, opened from its folder in Chromium."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

SITE = Path(__file__).parent.parent / "site-docs"
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    if not (SITE / "index.html").is_file():
        if os.environ.get("JAVISBENCH_BROWSER") == "required":
            pytest.fail("site-docs/ is missing: make docs comes first")
        pytest.skip("run make docs first")


def test_search_works_without_a_server_and_asks_nobody(browser: Any) -> None:
    browser.requests()
    browser.open(SITE / "index.html", "?q=kernel")
    browser.wait("return document.querySelectorAll('.md-search-result__item a').length > 0")
    found = browser.run("return [...document.querySelectorAll('.md-search-result__item a')].map(a => a.href)")
    assert any("metrics/kvd.html" in link for link in found)
    assert [url for url in browser.requests() if url.startswith(("http:", "https:"))] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "page", ["index", "metrics/fvd", "metrics", "architecture", "troubleshooting", "api/javisbench"]
)
def test_pages_fit_narrow_screens_and_drawings_have_the_colour_of_text(browser: Any, page: str, theme: str) -> None:
    browser.look(width=390, theme=theme)
    try:
        browser.open(SITE / f"{page}.html")
        width, inner = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
        assert width <= inner + 1
        if page == "metrics/fvd":
            script = "return ['svg.drawing text', '.md-typeset p'].map(s => getComputedStyle(document.querySelector(s))"
            fill, text = browser.run(f"{script}).map((style, i) => i ? style.color : style.fill)")
            assert fill == text
    finally:
        browser.look()
