"""The board of `procedural` and three deliberately damaged variants of it: made by the commands, opened in Chromium."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import javisbench
from javisbench.cli import run as cli
from javisbench.clip import ClipSpec
from javisbench.suite import load_suite
from javisbench.taxonomy import TAXONOMY

pytestmark = pytest.mark.browser

DAMAGES = ("none", "shuffled", "frozen", "hiss")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Four runs of the 60 samples of the demo suite, as `javisbench eval` makes them but for the clips' size."""
    root = tmp_path_factory.mktemp("real")
    suite = replace(load_suite("demo").limited(60), setting=ClipSpec(width=160, height=96, duration_s=2.0))
    found = {}
    for damage in DAMAGES:
        found[damage] = root / damage
        javisbench.evaluate(
            "procedural", suite=suite, params={"damage": damage}, name=f"procedural {damage}", out=found[damage],
            metrics=["av_align", "health_*"], workers=1,
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def summaries(runs: dict[str, Path]) -> dict[str, Any]:
    return {damage: json.loads((run / "summary.json").read_text())["metrics"] for damage, run in runs.items()}


@pytest.fixture(scope="module")
def site(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("real-site") / "site"
    sources = [str(run) for run in runs.values()]
    assert cli(["leaderboard", "build", *sources, "--out", str(out), "--clips", "extremes", "--plots", "--quiet"]) == 0
    return out


def opened(browser: Any, page: Path, fragment: str = "") -> None:
    browser.open(page, fragment)
    browser.wait("return document.readyState === 'complete'")


def test_the_damage_is_seen(runs: dict[str, Path], summaries: dict[str, Any]) -> None:
    still = {name: cells["health_frozen"]["overall"]["value"] for name, cells in summaries.items()}
    assert still["frozen"] > 0.7 > 2 * still["hiss"], still
    scores = {name: cells["av_align"]["overall"]["value"] for name, cells in summaries.items()}
    assert all(scores["none"] > value for name, value in scores.items() if name != "none"), scores
    assert cli(["report", *map(str, runs.values()), "--format", "markdown"]) == 0


@pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (1400, "dark"), (390, "light"), (390, "dark")])
def test_pages_are_quiet_and_ask_for_nothing_outside(browser: Any, site: Path, width: int, theme: str) -> None:
    browser.console(), browser.requests()
    browser.look(width=width, theme=theme)
    pages = sorted(site.rglob("*.html"))
    # index, categories, compare, published, metrics, about; aspects; models; samples; prompts; protocols
    assert len(pages) == 6 + 5 + 4 + 4 + 1 + 1, pages
    for page in pages:
        opened(browser, page, "#sample_0001" if page.parent.name == "samples" else "")
        assert browser.console() == [], page
        urls = browser.requests()
        assert urls and [url for url in urls if not url.startswith(("file:", "about:", "data:"))] == [], page
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), page
    browser.look()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Any, site: Path, axe: Any, theme: str) -> None:
    browser.look(theme=theme)
    for page in sorted(site.rglob("*.html")):
        opened(browser, page, "#sample_0001" if page.parent.name == "samples" else "")
        assert axe() == [], page
    browser.look()


def test_every_link_resolves_as_the_browser_reads_it(browser: Any, site: Path) -> None:
    ids: dict[Path, set[str]] = {}
    links: dict[str, Path] = {}
    for page in sorted(site.rglob("*.html")):
        opened(browser, page)
        ids[page] = set(browser.run("return Array.from(document.querySelectorAll('[id]'), e => e.id)"))
        if page.parent.name == "samples":
            browser.wait("return document.querySelector('#samples tbody button') !== null")
            data = site / "data" / page.stem / "samples.js"
            text = data.read_text().removeprefix('javisbench.receive("samples",').removesuffix(");\n")
            ids[page] |= set(json.loads(text)["clips"])
        found = browser.run("return Array.from(document.querySelectorAll('[href], [src]'), e => e.href || e.src)")
        links |= dict.fromkeys(found, page)
    assert len(links) > 100
    for link, page in links.items():
        parts = urlsplit(link)
        target = Path(unquote(parts.path))
        assert parts.scheme == "file" and target.is_file() and target.is_relative_to(site), f"{page} refers to {link}"
        if parts.fragment:
            assert unquote(parts.fragment) in ids[target], f"{page} refers to {link}"


def test_sorting_shows_the_runs_own_order(browser: Any, site: Path, summaries: dict[str, Any]) -> None:
    opened(browser, site / "index.html")
    browser.run("document.getElementById('checks').open = true")
    boards = {"av_align": "[aria-label^=Headline]", "health_loudness": "[aria-label^=Checks]"}
    for metric, board in boards.items():
        heading = f"document.querySelector('{board} [data-metric={metric}] .dt-column-order')"
        browser.wait(f"return {heading} !== null")
        names = f"return Array.from(document.querySelectorAll('{board} tbody th a'), a => a.textContent)"
        state = f"return document.querySelector('{board} [data-metric={metric}]').getAttribute('aria-sort')"
        if browser.run(state) != "descending":
            browser.run(heading + ".click()")
        values = {f"procedural {name}": cells[metric]["overall"]["value"] for name, cells in summaries.items()}
        for order in ("descending", "ascending"):
            browser.wait(f"{state} === '{order}'")
            shown = [values[name] for name in browser.run(names)]
            assert shown == sorted(values.values(), reverse=order == "descending")
            browser.run(heading + ".click()")


def test_filters_hold_on_every_board_of_a_page(browser: Any, site: Path) -> None:
    opened(browser, site / "aspects/sound_type.html")
    browser.wait("return document.querySelector('[aria-sort]') !== null")
    browser.run(
        "const f = document.getElementById('f-model'); f.value = 'HISS';"
        "f.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    names = "Array.from(document.querySelectorAll('table[data-board] tbody th a'), e => e.innerText)"
    shown = browser.run(f"return {names}")
    assert shown == ["procedural hiss"] * 5
    assert "5 of 20 rows" in browser.run("return document.getElementById('f-count').textContent")
    browser.run("document.querySelector('#filters [type=reset]').click()")
    browser.wait("return document.querySelectorAll('table[data-board] tbody th').length === 20")


def test_every_category_s_cell_is_the_run_s(browser: Any, site: Path, summaries: dict[str, Any]) -> None:
    for aspect in TAXONOMY:
        opened(browser, site / f"aspects/{aspect.id}.html")
        browser.wait("return document.querySelector('[aria-sort]') !== null")
        boards = browser.run(
            "return Array.from(document.querySelectorAll('table[data-board]'), t => {"
            "const k = Array.from(t.tHead.rows[0].cells).findIndex(h => h.dataset.metric === 'av_align');"
            "const name = r => r.cells[0].querySelector('a').innerText;"
            "return Array.from(t.tBodies[0].rows, r => [name(r), r.cells[k].dataset.order])})"
        )
        assert len(boards) == len(aspect.categories)
        for category, rows in zip(aspect.categories, boards, strict=True):
            shown = {name: float(value) for name, value in rows}
            assert shown == {
                f"procedural {name}": cells["av_align"][aspect.id][category.id]["value"]
                for name, cells in summaries.items()
            }


def test_a_published_clip_plays(browser: Any, site: Path) -> None:
    page = next((site / "samples").glob("procedural-none-*.html"))
    folder = site / "data" / page.stem / "clips"
    clip = next(path.stem for path in sorted(folder.glob("*.mp4")))
    opened(browser, page, f"#{clip}")
    browser.wait("return document.querySelector('#detail video')?.readyState >= 2")
    browser.run("const v = document.querySelector('#detail video'); v.muted = true; v.play()")
    browser.wait("return document.querySelector('#detail video').currentTime > 0.1")
    assert browser.run("return document.querySelector('#detail video').videoWidth") == 160
    assert browser.console() == []
