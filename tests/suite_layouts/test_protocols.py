"""Protocols of published suites: what they list, and for which samples their metrics count."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import javisbench
from javisbench.cards import suite_cards
from javisbench.errors import SuiteError
from javisbench.metrics.base import needed_features
from javisbench.metrics.registry import METRICS, card_of
from javisbench.protocol import PROTOCOLS, SUITE_PROTOCOLS, V2, Counted, Protocol, parse_protocol
from javisbench.run.plan import select_metrics
from javisbench.run.score import _prompt
from javisbench.run.scoring_job import ScoringOptions, resolve_protocols
from javisbench.suite import SUITES, Sample, load_suite, suite_notices, suites_in_folders


@pytest.mark.parametrize("name", sorted(SUITES.own))
def test_a_card_and_its_protocol_name_the_same_metrics(published_suites: Any, name: str, tmp_path: Path) -> None:
    card = suite_cards()[name]
    published_suites.BUILDERS[name](tmp_path, False)
    (protocol,) = resolve_protocols(ScoringOptions(), load_suite(f"{name}:{tmp_path}"))
    assert protocol.name == card.protocol and protocol in SUITE_PROTOCOLS
    reported = {report.metric for report in card.reports if report.metric}
    assert reported <= set(protocol.metrics) <= set(METRICS)
    told = " ".join(report.note for report in card.reports)
    assert [m for m in protocol.metrics if m not in reported and m not in told] == [], (
        "each is some number of the paper"
    )
    assert all(report.note for report in card.reports if report.metric is None), "what is lacking is named"
    assert all(card.task in metric.tasks for m in protocol.metrics if (metric := card_of(m)) is not None)


@pytest.mark.parametrize("protocol", SUITE_PROTOCOLS, ids=lambda protocol: protocol.name)
def test_all_metrics_are_those_that_the_protocol_lists(protocol: Protocol) -> None:
    chosen = [m for m in select_metrics(None, protocol) if not m.startswith("health_")]
    assert sorted(chosen) == sorted(protocol.metrics) and protocol.headline == protocol.metrics
    assert protocol.settings() != V2.settings() and parse_protocol(protocol.name) is protocol


COUNTS = [
    ("verse-bench", "clap_score", {"set": "set1"}, "rain", True),
    ("verse-bench", "clap_score", {"set": "set1"}, None, False),
    ("verse-bench", "clap_score", {"set": "set3"}, "rain", False),
    ("verse-bench", "audio_pq", {"set": "set2"}, None, True),
    ("verse-bench", "audio_pq", {"set": "set3"}, None, False),
    ("verse-bench", "lse_c", {"set": "set3", "transcript": "Hi."}, None, True),
    ("verse-bench", "lse_c", {"set": "set2"}, None, False),
    ("verse-bench", "desync", {"set": "set2"}, "rain", True),
    ("verse-bench", "desync", {"set": "set2"}, None, False),
    ("verse-bench", "tv_ib", {"set": "set3"}, None, True),
    ("t2av-compass", "ta_ib", {}, None, False),
    ("t2av-compass", "ta_ib", {}, "rain", True),
    ("javisbench-v2", "ta_ib", {}, None, True),
]


@pytest.mark.parametrize(("protocol", "metric", "cells", "audio_text", "counts"), COUNTS)
def test_which_samples_count(
    protocol: str, metric: str, cells: dict[str, str], audio_text: str | None, counts: bool
) -> None:
    sample = Sample("a", 0, "prompt", audio_text, extra=cells)
    reason = PROTOCOLS[protocol].not_counted(metric, sample)
    assert (reason is None) is counts, reason
    assert parse_protocol(f"{protocol}+top_k=0.5").not_counted(metric, sample) == reason


def test_tv_ib_goes_by_the_prompt_of_the_picture_where_the_paper_does() -> None:
    metric = METRICS.get("tv_ib")()
    subjects = {
        p.name: next(s.subject for s in needed_features(metric, p) if s.subject != "clip") for p in PROTOCOLS.values()
    }
    assert {name for name, subject in subjects.items() if subject == "video_text"} == {"t2av-compass"}
    whole, seen = Sample("a", 0, "prompt"), Sample("a", 0, "prompt", video_text="picture")
    assert [_prompt(sample, "video_text") for sample in (whole, seen)] == ["prompt", "picture"]


def test_what_a_protocol_does_not_count_is_told_and_no_failure(
    tmp_path: Path, clips_fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picky = replace(V2, name="picky", metrics=("health_loudness",), counted=(Counted(("health_loudness",), "words"),))
    monkeypatch.setitem(PROTOCOLS, "picky", picky)
    (tmp_path / "s.jsonl").write_text('{"text": "a", "words": "hello"}\n{"text": "b"}\n', encoding="utf-8")
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("sample_0000", "sample_0001"):
        (clips / f"{name}.mp4").write_bytes((clips_fake / "sample_0000.mp4").read_bytes())
    result = javisbench.score(
        clips,
        suite=tmp_path / "s.jsonl",
        out=tmp_path / "run",
        protocols=["picky"],
        metrics=["health_loudness"],
        workers=1,
    )
    assert result.failed_samples == 0
    cell = result.summary["metrics"]["health_loudness"]["overall"]
    assert (cell["n"], cell["not_applicable"]) == (1, 1)
    (row,) = result.summary["failures"]
    assert (row["sample_id"], row["stage"], row["kind"]) == ("sample_0001", "not_applicable", "not_counted")
    assert row["message"] == "picky does not count health_loudness for this sample: it has no words."


LAYOUT = """
from javisbench.suite_layouts import SuiteLayout
from javisbench.suite_layouts.base import Reading


class Pairs(SuiteLayout):
    slices = ("mood",)

    def read(self, folder, *, allow_outside):
        reading = Reading(folder, allow_outside)
        reading.rows.columns = ["id", "text", *self.slices]
        for item in reading.objects_of("pairs.json"):
            cells = {"id": item.text("name"), "text": item.text("prompt", needed=True), "mood": item.text("mood")}
            reading.add(item, cells)
        return reading.rows


PAIRS = Pairs()
"""
CARD = 'title = "pairs"\nsamples = 2\nfetch = "ask the author"\n'


def test_a_suite_of_another_package_may_lie_in_a_folder(packages: Any, tmp_path: Path) -> None:
    entries = "[javisbench.suites]\npairs = pairs_suite:PAIRS\n[javisbench.data_cards]\npairs = pairs_suite:cards\n"
    packages.install("pairs-suite", entries, LAYOUT, files={"cards/suites/pairs.toml": CARD})
    (tmp_path / "pairs.json").write_text(
        json.dumps([{"name": "a", "prompt": "A.", "mood": "calm"}, {"name": "b", "prompt": "B."}])
    )
    suite = load_suite(f"pairs:{tmp_path}")
    assert [sample.id for sample in suite] == ["a", "b"] and suite.own_aspects[0].category_ids == ("calm",)
    assert "pairs" in suites_in_folders() and not suite_notices()
    with pytest.raises(SuiteError, match="ask the author"):
        load_suite("pairs")
    (tmp_path / "pairs.json").write_text(json.dumps([{"name": "a", "prompt": 5}]))
    with pytest.raises(SuiteError, match=r"pairs.json: row 1, column prompt: text is needed, got a number"):
        load_suite(f"pairs:{tmp_path}")
