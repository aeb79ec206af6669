"""What people say, on a board."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from javisbench.cli import run
from javisbench.errors import RunError, UsageError
from javisbench.leaderboard.build import SiteOptions, build_site
from javisbench.leaderboard.people import people_of
from javisbench.results.run_folder import load_result
from javisbench.results.votes.record import Vote, Votes, save_votes

MODELS = ("Alpha", "Be<b>ta")


@pytest.fixture
def runs(write_run) -> list[Path]:
    metrics = ("av_align", "health_silence")
    return [
        write_run(
            name, n=24, metrics=metrics, shift=0.1 * i, folder=f"{i}/demo", aspects=("visual_style",), details=False
        )
        for i, name in enumerate(MODELS)
    ]


def votes_on(suite: str = "demo", samples: int = 24) -> Votes:
    """Twelve voters who like the second model best on two prompts of three; "sound" was asked too."""
    votes = [
        Vote(
            f"sample_{i:04d}",
            0,
            *MODELS,
            "a" if (7 * i + 5 * voter + voter * i) % 11 < 3 else "b",
            f"v-{voter}",
            question,
        )
        for i, voter, question in product(range(samples), range(12), ("overall", "sound"))
        if question == "overall" or voter < 3
    ]
    return Votes(tuple(votes), suite, f"hash-of-{suite}", {"sound": "Which <i>sounds</i> better?"}, names="pseudonyms")


def test_a_board_shows_what_people_say(runs, tmp_path):
    save_votes(votes_on(), tmp_path / "votes.jsonl")
    report = build_site(runs, tmp_path / "site", SiteOptions(votes=tmp_path / "votes.jsonl"))
    assert report.voted
    index, people, style, metrics = (
        (tmp_path / "site" / name).read_text(encoding="utf-8")
        for name in ("index.html", "people.html", "aspects/visual_style.html", "metrics.html")
    )
    for page in (index, people, style):
        assert "People: overall (Elo)" in page.replace("\n", "") and "<b>ta" not in page
    assert "rank </span>#1" in people and "Which &lt;i&gt;sounds&lt;/i&gt; better?" in people
    assert "12 voters: intervals may be too narrow" in style, "how few spoke is said where their values stand"
    assert "Camera Shooting" in style and 'href="../people.html"' in style
    assert "How metrics agree with people" in people and "v-11" in people
    assert "360 votes of 12 voters on 24 prompts" in people
    assert 'href="people.html"' in metrics and (tmp_path / "site" / "tables" / "people.csv").is_file()


def test_a_board_without_votes_has_no_such_page(runs, tmp_path, capsys):
    site = tmp_path / "site"
    save_votes(votes_on(suite="other"), tmp_path / "votes.jsonl")
    sources = ["leaderboard", "build", *map(str, runs), "--out", str(site), "--votes", str(tmp_path / "votes.jsonl")]
    assert run(sources) == 0
    assert "no vote of" in capsys.readouterr().err
    assert not (site / "people.html").exists() and "people.html" not in (site / "index.html").read_text()
    (tmp_path / "votes.jsonl").write_text("{}")
    with pytest.raises(RunError, match="no file of votes"):
        build_site(runs, site, SiteOptions(votes=tmp_path / "votes.jsonl"))
    assert (site / "index.html").exists()


def test_each_suite_and_protocol_has_its_own(write_run, runs):
    others = [write_run(name, n=24, suite="other", folder=f"{i}/other") for i, name in enumerate(MODELS)]
    second = [write_run(name, n=24, protocol="javisbench-v2", folder=f"{i}/v2") for i, name in enumerate(MODELS)]
    results = [load_result(path) for path in (*runs, *second, *others)]
    found = people_of(votes_on(), results)
    assert found.suite == "demo"
    assert [table.title for table in found.agreements] == [
        "People: overall, javisbench-v1", "People: sound, javisbench-v1",
        "People: overall, javisbench-v2", "People: sound, javisbench-v2",
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"does not say which of these suites it is about: demo .* and other"):
        people_of(Votes(votes_on().votes), results)
    assert people_of(Votes(votes_on().votes), results[:2]).suite == "demo"
    assert people_of(votes_on(suite="third"), results) is None


def test_names_of_voters_and_of_this_machine_stay_here(runs, tmp_path):
    votes = votes_on()
    home = Path.home() / "secret" / "run.sh"
    kept = replace(
        votes,
        votes=tuple(replace(vote, voter=f"Ann {vote.voter}") for vote in votes.votes),
        names="kept",
        left_out={f"no run of the model 'command:{home}'": 3},
    )
    save_votes(kept, tmp_path / "votes.jsonl")
    build_site(runs, tmp_path / "site", SiteOptions(votes=tmp_path / "votes.jsonl"))
    for page in (tmp_path / "site").rglob("*.*"):
        if page.suffix in (".html", ".js", ".csv", ".json", ".md", ".tex"):
            text = page.read_text(encoding="utf-8")
            assert "Ann v-" not in text and str(home.parent) not in text, page
    assert "voter 12" in (tmp_path / "site" / "people.html").read_text()
