"""The page of a trial: what stands on it, that it runs nothing, and how it looks in Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from javisbench.leaderboard.trial_page import dose_plots, write_trial_page
from javisbench.metrics.registry import METRICS
from javisbench.results.trial import Effect, MetricTrial, RecordedTrial, Trial
from javisbench.results.trial_effects import Case, PairValues, sample_effects
from javisbench.run.trial.cases import parse_cases

HOSTILE = "</td><script>alert(1)</script>"


@pytest.fixture
def trial() -> Trial:
    """One metric that sees shifts and is moved by resizing, one that is blind; judged pairs; hostile words."""
    random = np.random.default_rng(0)
    cases = parse_cases("shift=40,160,640;shift=-160,-640;silent;resized=50;mono")
    found = []
    for metric, sight in (("av_align", 1.0), ("avh_score", 0.0)):
        card, values = METRICS.get(metric).card, []
        for case in cases:
            good = random.uniform(0.4, 0.6, 30)
            loss = sight * ((case.case.severity / 1000) ** 0.5 + random.normal(0, 0.1, 30))
            lacking = {HOSTILE: 30} if case.name == "mono" else {}
            bad = good - loss if card.higher_is_better else good + loss
            values.append(
                PairValues(case.case, good if not lacking else good * np.nan, bad, np.arange(30), None, lacking)
            )
        votes = PairValues(Case("votes", 1.0, "", 1.0, "judged"), np.array([1.0, 2]), np.array([0.5, 3]), np.arange(2))
        found.append(MetricTrial(metric, sample_effects(card, [*values, votes])))
    damages = {
        c.damage.card.id: {"title": c.damage.card.title, "stream": "sound", "unit": "", "does": HOSTILE} for c in cases
    }
    material = {"kind": "scenes", "suite": HOSTILE, "clips": 30, "sources": 30, "published": {"votes=1": 0.51}}
    return Trial(
        material, "javisbench-v1", True, 0, "0.1.0", tuple(found), {"fvd": HOSTILE}, {HOSTILE: "too short"}, damages
    )  # fmt: skip


@pytest.fixture
def page(trial: Trial, tmp_path: Path) -> Path:
    target = tmp_path / "trial.html"
    record = RecordedTrial("scenes", "2026-11-29", "abc1234", "javisbench validate-metrics", trial)
    write_trial_page(trial, target, {"av_align": 1.234}, record)
    return target


def test_the_page_says_what_was_found(page: Path) -> None:
    text = page.read_text()
    for words in (
        "sees shift from", "blind: no damage changes its value", "1.23", "Shift in a window", "160 ms", "0.510",
        "2026-11-29, commit abc1234", "Stand-in weights", "negative doses", "javisbench validate-metrics",
    ):  # fmt: skip
        assert words in text, words
    rows = re.findall(r"<tr[^>]*><th scope=\"row\">(.*?)</tr>", text, re.S)
    strongest = next(row for row in rows if ">640 ms<" in row)
    assert re.search(
        r'class="cell a(9|10) seen" title="seen; n = 30; pairs right [^"]*; n for 80 % power \d+">(0\.9|1\.0)',
        strongest,
    )
    assert 'class="cell none" title="blind: no value changes; n = 30">·' in strongest
    moved = next(row for row in rows if ">Resized<" in row)
    assert 'class="cell moved"' in moved


def test_the_page_runs_and_loads_nothing(page: Path) -> None:
    text = page.read_text()
    assert "<script" not in text and "alert(1)" in text
    assert "default-src 'none'" in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)


def test_curves_are_drawn_for_damages_with_doses(trial: Trial) -> None:
    plots = dose_plots(trial)
    assert [plot.title.split(":")[0] for plot in plots] == ["Shift in a window", "Shift in a window, negative doses"]
    assert "AV-Align" in plots[0].title and "AVH" not in plots[0].title, "who is blind has no line"
    drawn = ElementTree.fromstring(plots[0].svg)
    texts = [element.text for element in drawn.iter() if element.text]
    assert [text for text in texts if text in ("40", "160", "640")] == ["40", "160", "640"]


def test_distances_of_sets_are_drawn_over_chance(trial: Trial) -> None:
    effects = [
        Effect("fvd", "blurred", dose, "%", dose, n=9, pairs=9, effect=10 * dose, floor=20.0,
               verdict="seen" if dose > 2 else "unseen")
        for dose in (1.0, 2.0, 5.0)
    ]  # fmt: skip
    (plot,) = dose_plots(replace(trial, metrics=(MetricTrial("fvd", tuple(effects)),)))
    assert "distance over chance" in plot.title
    ratios = re.findall(r'"ratio": ([0-9.]+)', json.dumps(plot.spec))
    assert sorted(set(map(float, ratios))) == [0.5, 1.0, 2.5]


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_fits_the_screen(page: Path, browser: Any, width: int, theme: str) -> None:
    browser.look(width=width, theme=theme)
    browser.console()
    browser.open(page)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.console() == []
    light = browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (theme == "light")
    browser.look()


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_can_be_read_by_all(page: Path, browser: Any, axe: Callable[[], list[list[Any]]], theme: str) -> None:
    browser.look(width=1400, theme=theme)
    browser.open(page)
    assert axe() == []
    browser.look()
