"""The page of blind pairs: which pairs it has, that it is blind, and that its answers come back."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from javisbench.cli import run
from javisbench.errors import UsageError
from javisbench.leaderboard.votes_page import VotesPageOptions, key_of, write_votes_page
from javisbench.results.run_folder import load_result
from javisbench.results.votes.page_key import load_key

MODELS = ("Alpha", "Beta", "Gamma")


@pytest.fixture
def results(write_run, clips_fake, tmp_path):
    """Runs whose clips are empty files: enough for what is chosen."""
    found = []
    for model in MODELS:
        path = write_run(model, n=6, folder=f"{model.lower()}/demo")
        (path / "clips").mkdir()
        for i in range(6):
            (path / "clips" / f"sample_{i:04d}.mp4").write_bytes(b"")
        found.append(path)
    return [load_result(path) for path in found]


def test_models_meet_equally_often_on_different_prompts_and_sides(results, tmp_path):
    report = write_votes_page(results, tmp_path / "page", VotesPageOptions(pairs=12))
    pairs = load_key(report.key).pairs.values()
    assert (report.pairs, report.possible, report.models) == (12, 18, MODELS)
    assert Counter(frozenset((pair.left, pair.right)) for pair in pairs).most_common()[-1][1] == 4
    sides = Counter((pair.left, pair.right) for pair in pairs)
    assert all(sides[b, a] == count for (a, b), count in sides.items())
    assert set(Counter(pair.sample_id for pair in pairs).values()) == {2}
    assert len({(pair.sample_id, *sorted((pair.left, pair.right))) for pair in pairs}) == 12


def test_the_seed_decides_and_asks_for_all_there_are(results, tmp_path):
    made = [
        load_key(write_votes_page(results, tmp_path / name, VotesPageOptions(pairs=100, seed=seed)).key)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert made[0] == made[1] and made[0].page != made[2].page
    assert list(made[0].pairs.values()) != list(made[2].pairs.values())
    assert len(made[0].pairs) == 18


def test_the_page_names_no_model_anywhere(page):
    key = load_key(key_of(page))
    assert not key_of(page).is_relative_to(page)
    names = {name.lower() for pair in key.pairs.values() for name in (pair.left, pair.right, pair.sample_id)}
    for path in page.rglob("*"):
        assert not any(name in str(path.relative_to(page)).lower() for name in names), path
        if path.is_file() and path.suffix in (".html", ".js", ".css", ""):
            text = path.read_text(encoding="utf-8").lower()
            assert not any(name in text for name in names - {"beta"}), path
    data = (page / "pairs.js").read_text()
    assert "<" not in data and "Prompt \\u003c" in data
    videos = sorted(path.name for path in (page / "clips").iterdir())
    assert all(len(Path(name).stem) == 16 and name.endswith(".mp4") for name in videos)
    found = json.loads(data[data.index(",") + 1 : -3])
    assert {clip["video"] for pair in found["pairs"] for clip in pair["clips"]} == {f"clips/{name}" for name in videos}


def test_a_page_whose_key_would_be_lost_stays(results, tmp_path):
    out = tmp_path / "page"
    write_votes_page(results, out)
    write_votes_page(results, out)
    with pytest.raises(UsageError, match=r"page-key\.json is the key of another page"):
        write_votes_page(results, out, VotesPageOptions(seed=5))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="no page of votes"):
        write_votes_page(results, tmp_path / "full")
    assert (tmp_path / "full" / "thesis.tex").exists()


def test_what_gives_no_pairs_is_refused(results, tmp_path, write_run):
    with pytest.raises(UsageError, match="two models at least"):
        write_votes_page(results[:1], tmp_path / "page")
    with pytest.raises(UsageError, match="Two of the runs are of Alpha"):
        write_votes_page([*results, results[0]], tmp_path / "page")
    other = load_result(write_run("Delta", n=6, suite="other", folder="delta/other"))
    with pytest.raises(UsageError, match="several suites"):
        write_votes_page([results[0], other], tmp_path / "page")
    bare = load_result(write_run("Delta", n=6, folder="delta/demo"))
    with pytest.raises(UsageError, match=r"No prompt has clips of two of the models.*Delta 0"):
        write_votes_page([results[0], bare], tmp_path / "page")
    with pytest.raises(UsageError, match="A question is an id"):
        VotesPageOptions(questions={"sync": " "})
    assert not (tmp_path / "page").exists()


def test_answers_come_back_through_import(results, tmp_path, capsys):
    runs = [str(result.path) for result in results]
    out, answers = tmp_path / "blind", tmp_path / "answers.csv"
    assert run(["votes", "page", *runs, "--out", str(out), "--pairs", "4", "--question", "sync=In step?"]) == 0
    assert "Keep" in capsys.readouterr().err
    key = load_key(key_of(out))
    frame = pd.DataFrame(
        {
            "page": key.page,
            "pair": list(key.pairs),
            "question": "sync",
            "answer": ["1", "2", "tie", "skip"],
            "voter": "ann",
        }
    )
    frame.to_csv(answers, index=False)
    command = ["votes", "import", str(answers), "--out", str(tmp_path / "votes.jsonl"), "--key", str(key_of(out))]
    assert run([*command, *(arg for path in runs for arg in ("--run", path))]) == 0
    head, *lines = map(json.loads, (tmp_path / "votes.jsonl").read_text().splitlines())
    assert head["left_out"] == {"skipped by the voter": 1} and head["questions"] == {"sync": "In step?"}
    for line, pair, vote in zip(lines, key.pairs.values(), ("a", "b", "tie"), strict=False):
        assert (line["sample_id"], line["a"], line["b"], line["vote"]) == (pair.sample_id, pair.left, pair.right, vote)
