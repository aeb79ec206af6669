"""Votes: what is read, what is not, and what follows from them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from javisbench.cli import run
from javisbench.errors import RunError, UsageError
from javisbench.publish.export import render
from javisbench.results.run_folder import load_result
from javisbench.results.votes.against import agreements, people_with_people
from javisbench.results.votes.forms import ImportOptions, pseudonym
from javisbench.results.votes.imported import import_votes
from javisbench.results.votes.known import Known
from javisbench.results.votes.page_key import PageKey, PagePair, load_key, save_key
from javisbench.results.votes.people import hear, people_table, standings, voters_of, votes_lines
from javisbench.results.votes.record import Vote, Votes, load_votes, save_votes

NAMES = ("Alpha", "Beta", "Gamma")


def imported(path: Path, text: str, known: Known | None = None, **options):
    path.write_text(text, encoding="utf-8")
    return import_votes([path], ImportOptions(**options), known)


def told(found) -> list[tuple[str, str, str, str, str]]:
    return [(v.sample_id, v.model_a, v.model_b, v.answer, v.voter) for v in found.votes.votes]


ARENA = """question_id,model_a,model_b,winner,judge,language
s1,X,Y,model_a,ann,English
s1,X,Z,tie (bothbad),ann,English
s2,Y,X,model_b,bob,English
s2,Y,X,tie,cy,English
"""


def test_an_arena_s_export_is_read(tmp_path):
    found = imported(tmp_path / "arena.csv", ARENA)
    assert told(found) == [
        ("s1", "X", "Y", "a", "ann"),
        ("s1", "X", "Z", "bad", "ann"),
        ("s2", "Y", "X", "b", "bob"),
        ("s2", "Y", "X", "tie", "cy"),
    ]
    (source,) = found.votes.sources
    assert (source["form"], source["rows"], source["votes"], len(source["sha256"])) == ("pairs", 4, 4, 64)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("v.jsonl", '{"sample_id": "s1", "model_a": "X", "model_b": "Y", "winner": "X"}'),
        ("v.json", '[{"prompt_id": "s1", "model_1": "X", "model_2": "Y", "preference": "left"}]'),
        ("v.tsv", "sample\tmodel_a\tmodel_b\tbetter\ns1\tX\tY\tA\n"),
        ("v.csv", "sample;model_a;model_b;winner_model_a;winner_model_b;winner_tie\ns1;X;Y;1;0;0\n"),
    ],
)
def test_forms_and_names_of_columns_are_guessed(tmp_path, name, text):
    assert told(imported(tmp_path / name, text)) == [("s1", "X", "Y", "a", "")]


def test_columns_and_answers_can_be_told(tmp_path):
    text = "clip,one,two,x,who\ns1,X,Y,2,ann\ns2,X,Y,0,ann\n"
    columns = {"sample": "clip", "model_a": "one", "model_b": "two", "winner": "x", "voter": "who"}
    with pytest.raises(UsageError, match=r"holds 0, 2, and nothing says which is better.*--answer 2=a"):
        imported(tmp_path / "v.csv", text, columns=columns)
    found = imported(tmp_path / "v.csv", text, columns=columns, answers={"2": "b", "0": "tie"}, models={"X": "Xi"})
    assert told(found) == [("s1", "Xi", "Y", "b", "ann"), ("s2", "Xi", "Y", "tie", "ann")]
    with pytest.raises(UsageError, match="no column 'clop'"):
        imported(tmp_path / "v.csv", text, columns={"sample": "clop"})
    with pytest.raises(UsageError, match=r"no role 'winer'.*winner"):
        ImportOptions(columns={"winer": "x"})
    with pytest.raises(UsageError, match="columns 'clip', 'one'"):
        imported(tmp_path / "v.csv", text)


def test_two_votes_of_one_person_on_one_pair_are_one_or_none(tmp_path):
    text = (
        "sample,model_a,model_b,winner,voter\n"
        "s1,X,Y,a,ann\ns1,Y,X,b,ann\n"  # the same twice
        "s2,X,Y,a,ann\ns2,X,Y,tie,ann\n"  # a contradiction
        "s1,X,Y,b,bob\ns1,X,Y,b,\ns1,X,Y,b,\n"  # others, and people who are not known
    )
    found = imported(tmp_path / "v.csv", text)
    assert told(found) == [
        ("s1", "X", "Y", "a", "ann"),
        ("s1", "X", "Y", "b", "bob"),
        ("s1", "X", "Y", "b", ""),
        ("s1", "X", "Y", "b", ""),
    ]
    assert found.votes.left_out == {
        "a second vote of one person on one pair that says the same": 1,
        "votes of one person on one pair that contradict each other": 2,
    }
    assert found.first["a second vote of one person on one pair that says the same"] == "v.csv, row 2"


def test_rows_that_are_no_votes_are_counted_and_placed(tmp_path):
    text = (
        "sample,model_a,model_b,winner,repeat\n"
        "s1,X,Y,a,\ns1,X,X,a,\ns1,X,,a,\n,X,Y,a,\ns1,X,Y,better,\ns1,X,Y,,\ns1,X,Y,a,-1\ns1,X,Y,a,0,more\n"
    )
    found = imported(tmp_path / "v.csv", text)
    assert len(found.votes.votes) == 1
    assert {why: found.first[why] for why in found.votes.left_out} == {
        "a model against itself": "v.csv, row 2",
        "a model is not named": "v.csv, row 3",
        "no prompt is named": "v.csv, row 4",
        "the answer 'better' is not understood": "v.csv, row 5",
        "there is no answer": "v.csv, row 6",
        "a repeat that is no number from 0 to 9999": "v.csv, row 7",
        "not readable as a row of the table": "v.csv, row 8",
    }
    lines = '{"sample": "s1", "model_a": "X", "model_b": "Y", "winner": "a"}\n{torn\n[1]\n'
    found = imported(tmp_path / "v.jsonl", lines)
    assert found.votes.left_out == {"not readable as a row of the table": 2}


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("v.csv", "", "v.csv is empty, or names no columns"),
        ("v.csv", 'sample,model_a,model_b,winner\n"s1,X,Y,a\n', "v.csv, row 1 cannot be read: not readable as CSV"),
        ("v.csv", "sample,sample,model_a,winner\n", "v.csv cannot be read: column sample: the column stands twice"),
        ("v.csv", "sample,model_a,model_b,winner\ns1,X,X,a\n", "not one vote.*1 a model against itself"),
        ("v.json", "{}", "no list of objects"),
        ("v.json", "[]", "v.json is empty, or names no columns"),
        ("v.json", "[1, 2]", "v.json, row 1 cannot be read: not a JSON object"),
        ("v.jsonl", "[1]\n2\n", "v.jsonl, row 1 cannot be read: not a JSON object"),
        ("v.json", "[" * 100_000, "v.json cannot be read: not readable as JSON: nested too deeply"),
        ("v.json", "[" + "9" * 5000 + "]", "v.json cannot be read: .* is too large a number"),
    ],
)
def test_files_without_any_vote_are_refused(tmp_path, name, text, why):
    with pytest.raises(UsageError, match=why) as refused:
        imported(tmp_path / name, text)
    assert str(refused.value).split(" (first: ")[0].count(name) == 1, "the file is named once"


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path):
    with pytest.raises(UsageError, match=r"gone\.csv is not there"):
        import_votes([tmp_path / "gone.csv"], ImportOptions(), None)
    with pytest.raises(UsageError, match="is no plain file"):
        import_votes([tmp_path], ImportOptions(), None)


def test_ratings_of_one_person_become_pairs(tmp_path):
    text = (
        "sample,model,rating,voter\n"
        "s1,X,4,ann\ns1,Y,2,ann\ns1,Z,2,ann\n"
        "s1,X,1,bob\n"  # nothing to compare it with: ann's scale is another
        "s2,X,3,ann\ns2,X,5,ann\ns2,Y,1,ann\n"  # two ratings of one clip that differ
        "s3,X,nan,ann\n"
    )
    found = imported(tmp_path / "r.csv", text)
    assert told(found) == [("s1", "X", "Y", "a", "ann"), ("s1", "X", "Z", "a", "ann"), ("s1", "Y", "Z", "tie", "ann")]
    assert found.votes.left_out == {
        "a rating that is no number": 1,
        "a second rating of one clip by one person": 1,
        "ratings of one clip by one person that differ": 1,
        "the only rating of a person on a prompt": 2,
    }
    assert found.votes.notices == ["r.csv: 7 ratings became 3 votes: those of one person on one prompt, two by two"]


def test_vbench_s_annotations_are_read(tmp_path):
    entries = [
        {
            "prompt_en": "a blue clock",
            "videos": {"lavie": "x/a blue clock-3.mp4", "gen": "y/a blue clock-3.mp4"},
            "human_anno": {"lavie": {"gen": 0}, "gen": {"lavie": 1}},
        },
        {"prompt_en": "a dog", "human_anno": {"lavie": {"gen": 0.5, "pika": 1}, "gen": {"lavie": 1}}},
        {"prompt_en": "a cat", "human_anno": {"lavie": {"gen": 0.7}}},
        {"prompt_en": "a cat", "human_anno": {"lavie": {"gen": 10**400}}},
        {"prompt_en": "a cat", "human_anno": [1]},
    ]
    found = imported(tmp_path / "color.json", json.dumps(entries))
    assert [(v.sample_id, v.repeat, v.model_a, v.model_b, v.answer, v.question) for v in found.votes.votes] == [
        ("a blue clock", 3, "gen", "lavie", "a", "color"),
        ("a dog", 0, "lavie", "pika", "a", "color"),
    ]
    assert found.votes.left_out == {
        "annotations of one pair that contradict each other": 1,
        "an annotation that is not 0, 0.5 or 1": 2,
        "no annotations in the entry": 1,
    }


def test_voters_have_pseudonyms_that_need_the_secret(tmp_path):
    found = imported(tmp_path / "v.csv", ARENA, salt=b"secret")
    names = {vote.voter for vote in found.votes.votes}
    assert names == {pseudonym(name, b"secret") for name in ("ann", "bob", "cy")}
    assert found.votes.names == "pseudonyms" and not any("ann" in name or "bob" in name for name in names)
    assert names.isdisjoint(vote.voter for vote in imported(tmp_path / "v.csv", ARENA, salt=b"other").votes.votes)


def test_votes_are_added_to_earlier_ones(tmp_path):
    earlier = imported(tmp_path / "v.csv", ARENA + "s3,X,X,a,dy,English\n", salt=b"secret").votes
    save_votes(earlier, tmp_path / "votes.jsonl")
    (tmp_path / "more.csv").write_text("sample,model_a,model_b,winner,voter\ns1,X,Y,a,ann\ns9,X,Y,b,ann\n")
    found = import_votes([tmp_path / "votes.jsonl", tmp_path / "more.csv"], ImportOptions(salt=b"secret")).votes
    assert found.votes[:4] == earlier.votes and found.votes[4].sample_id == "s9"
    assert found.left_out == {
        "a model against itself": 1,
        "a second vote of one person on one pair that says the same": 1,
    }
    assert [source["form"] for source in found.sources] == ["votes", "pairs"] and found.names == "pseudonyms"
    save_votes(replace(earlier, names="kept"), tmp_path / "votes.jsonl")
    again = import_votes([tmp_path / "votes.jsonl"], ImportOptions(salt=b"secret")).votes
    assert again.names == "kept", "what was not pseudonymous does not become so"


def test_the_same_file_twice_is_read_once(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("sample,model_a,model_b,winner\ns1,X,Y,a\n")
    found = import_votes([tmp_path / "a.csv", tmp_path / "b.csv"], ImportOptions())
    assert len(found.votes.votes) == 1 and "b.csv holds the same" in found.votes.notices[0]


def test_a_page_s_answers_need_its_key(tmp_path):
    key = PageKey("0123abcd", "demo", "h", {"q1": "Which?"}, {"p1": PagePair("s1", 1, "X", "Y")})
    save_key(key, tmp_path / "key.json")
    text = (
        "page,pair,question,answer,voter\n"
        "0123abcd,p1,q1,1,ann\n0123abcd,p1,q1,bad,bob\n0123abcd,p1,q1,skip,cy\n0123abcd,p9,q1,1,ann\n0123abcd,p1,q1,3,dy\n"
    )
    with pytest.raises(UsageError, match=r"whose key was not given.*--key"):
        imported(tmp_path / "answers.csv", text)
    found = imported(tmp_path / "answers.csv", text, keys={"0123abcd": load_key(tmp_path / "key.json")})
    assert told(found) == [("s1", "X", "Y", "a", "ann"), ("s1", "X", "Y", "bad", "bob")]
    assert found.votes.votes[0].repeat == 1 and found.votes.questions == {"q1": "Which?"}
    assert (found.votes.suite, found.votes.suite_hash) == ("demo", "h")
    assert found.votes.left_out == {
        "skipped by the voter": 1, "no such pair on the page": 1, "no answer that the page gives": 1,
    }  # fmt: skip


def test_a_file_of_votes_reads_back_and_is_checked(tmp_path):
    path = tmp_path / "votes.jsonl"
    votes = imported(tmp_path / "v.csv", ARENA, salt=b"x").votes
    save_votes(votes, path)
    again = load_votes(path)
    assert again == replace(votes, sources=tuple(votes.sources), notices=tuple(votes.notices))
    head, *lines = path.read_text().splitlines()
    wrong = [
        ("v.csv", ARENA, "no file of votes of javisbench.*votes import"),
        ("v.jsonl", "\n".join([head, *lines[:-1]]), "says 4, but 3 lines"),
        ("v.jsonl", "\n".join([head, *lines[:-1], lines[0]]), "second vote of one person"),
        ("v.jsonl", "\n".join([head, *lines[:-1], lines[-1].replace("tie", "draw")]), "line 5, vote is 'draw'"),
        ("v.jsonl", "\n".join([head, *lines[:-1], "{"]), "line 5 is not readable"),
        ("v.jsonl", "\n".join([head.replace('"schema": 1', '"schema": 9'), *lines]), "schema 9"),
        ("v.jsonl", "\n".join([head, *lines[:-1], lines[-1].replace('"Y"', '"X"')]), "with itself"),
    ]
    for name, text, why in wrong:
        (tmp_path / name).write_text(text)
        with pytest.raises(RunError, match=why):
            load_votes(tmp_path / name)
    with pytest.raises(RunError, match="no file of votes at"):
        load_votes(tmp_path / "none.jsonl")


# With runs


@pytest.fixture
def runs(write_run, fixed_cards) -> list[Path]:
    return [write_run(name, n=30, shift=shift) for name, shift in zip(NAMES, (0.0, 0.02, 0.06), strict=True)]


def simulated(scale: float = 20.0, voters: int = 12, each: int = 25, metric: str = "av_align", runs=()) -> Votes:
    """Voters who prefer the clip with the better value, the surer the larger the difference."""
    frames = {name: pd.read_parquet(path / "scores.parquet") for name, path in zip(NAMES, runs, strict=True)}
    rng = np.random.default_rng(4)
    votes = {}
    for voter in range(voters):
        for _ in range(each):
            a, b = rng.choice(NAMES, 2, replace=False)
            row = int(rng.integers(30))
            gap = scale * (frames[a][metric][row] - frames[b][metric][row])
            answer = "tie" if rng.random() < 0.15 else "a" if rng.random() < 1 / (1 + np.exp(-gap)) else "b"
            key = (voter, row, *sorted((a, b)))
            votes[key] = Vote(f"sample_{row:04d}", 0, str(a), str(b), answer, f"v{voter}")
    return Votes(tuple(votes.values()), "demo", "hash-of-demo")


def test_votes_on_what_is_not_there_are_left_out(tmp_path, runs):
    known = Known.of_runs([load_result(path) for path in runs])
    text = (
        "sample,text,model_a,model_b,winner\nsample_0001,,Alpha,Beta,a\n,Prompt  2,Alpha,Beta,a\n"
        "sample_0001,,Alpha,Gama,a\nsample_9999,,Alpha,Beta,a\nsample_0001,,Alpha,Beta,a\n"
    )
    frame = pd.read_parquet(runs[1] / "scores.parquet")
    frame[frame.sample_id != "sample_0005"].to_parquet(runs[1] / "scores.parquet")
    text += "sample_0005,,Alpha,Beta,a\n"
    known = Known.of_runs([load_result(path) for path in runs])
    found = imported(tmp_path / "v.csv", text, known)
    assert [vote.sample_id for vote in found.votes.votes] == ["sample_0001", "sample_0002", "sample_0001"]
    assert found.votes.left_out == {
        "no run of the model 'Gama'. Did you mean 'Gamma'?": 1,
        "no such prompt in demo": 1,
        "Beta has no such clip": 1,
    }
    assert (found.votes.suite, found.votes.suite_hash) == ("demo", "hash-of-demo")


def test_of_a_summary_alone_the_model_is_known(tmp_path, runs):
    results = [load_result(path / "summary.json") for path in runs]
    text = "sample,model_a,model_b,winner\nsample_0001,Alpha,Beta,a\nsample_0001,Alpha,Delta,a\n"
    found = imported(tmp_path / "v.csv", text, Known.of_runs(results))
    assert len(found.votes.votes) == 1 and list(found.votes.left_out) == [
        "no run of the model 'Delta'. Did you mean 'Beta'?"
    ]
    assert len(hear(found.votes, results).votes.votes) == 1


def test_votes_of_another_suite_or_model_do_not_count(runs):
    results = [load_result(path) for path in runs[:2]]
    votes = simulated(runs=runs)
    heard = hear(votes, results)
    assert {name for v in heard.votes.votes for name in (v.model_a, v.model_b)} == {"Alpha", "Beta"}
    assert list(heard.left_out) == ["on Gamma, which is not among the results"]
    for other in (replace(votes, suite="other"), replace(votes, suite_hash="changed")):
        assert hear(other, results).votes.votes == () and hear(other, results).left_out


def test_the_better_model_stands_first_with_its_interval_and_rank(runs):
    heard = hear(simulated(scale=60.0, voters=25, runs=runs), [load_result(path) for path in runs])
    found = {one.model: one for one in standings(heard, "overall").standings}
    assert found["Gamma"].points.rank == (1, 1) and found["Alpha"].points.rank is not None
    assert found["Gamma"].points.value > found["Beta"].points.value > found["Alpha"].points.value
    for one in found.values():
        assert one.points.ci_low < one.points.value < one.points.ci_high
        assert one.wins + one.ties + one.losses == one.points.n
    assert np.mean([one.points.value for one in found.values()]) == pytest.approx(1000)
    table = people_table(heard, "visual_style")
    assert [group.title for group in table.groups] == ["Camera Shooting", "2D-Animate", "3D-Animate"]
    assert "rank 1" in render(people_table(heard), "markdown")


def test_a_category_counts_its_own_votes(runs):
    heard = hear(simulated(runs=runs), [load_result(path) for path in runs])
    name = "visual_style/2d_animate"
    inside = sum(vote.sample_id in heard.members[name] for vote in heard.votes.votes)
    assert 0 < inside < len(heard.votes.votes)
    assert standings(heard, "overall", name).n == inside


def votes_of_two(answers: tuple[str, str], prompts: int = 20) -> Votes:
    return Votes(
        tuple(
            Vote(f"s{i}", 0, "X", "Y", answer, f"v{voter}")
            for i in range(prompts)
            for voter, answer in enumerate(answers)
        )
    )


def test_two_voters_who_always_disagree_are_shown_as_such():
    heard = hear(votes_of_two(("a", "b")))
    found = voters_of(heard.votes.votes)
    assert found.alpha.value == pytest.approx(-1 + 1 / 20)
    assert found.concord.same.value == 0 and [fact.same for fact in found.voters] == [0, 0]
    text = render(people_table(heard), "markdown")
    assert "say the same in 0 % of 20 pairs of votes" in text and "contradict each other more than chance" in text
    one = standings(heard, "overall").standings[0].points
    assert one.value == pytest.approx(1000) and one.ci_low is None and one.rank is None
    assert "whichever voter or prompt is left out, the votes say the same" in str(one.note)


def test_one_voter_who_gave_nearly_all_votes_tells_nothing_of_other_voters():
    others = [Vote(f"s{i}", 0, "X", "Y", "ab"[i % 2], f"v{i}") for i in range(11)]
    of_one = [Vote(f"s{i}", 0, "X", "Y", "a" if i % 3 else "b", "ann") for i in range(400)]
    assert standings(hear(Votes(tuple(others))), "overall").standings[0].points.ci_low is not None
    found = standings(hear(Votes((*others, *of_one))), "overall")
    assert found.standings[0].points.value > 1000 and found.standings[0].points.rank is None
    assert found.standings[0].points.ci_low is None and "nearly all votes are of one voter" in str(found.note)


def test_few_voters_are_said():
    heard = hear(votes_of_two(("a", "a"), prompts=12))
    found = standings(heard, "overall")
    assert "2 voters: intervals are over 12 prompts" in str(found.note)
    assert "X won every vote that was no tie, Y lost every vote" in str(found.note)
    x, y = (one.points for one in found.standings)
    assert x.value > 1200 and x.ci_low is None, "an interval would be that of the votes that were added"
    assert (x.rank, y.rank) == ((1, 1), (2, 2))
    few = standings(hear(votes_of_two(("a", "b"), prompts=4)), "overall")
    assert "too few for intervals and ranks" in str(few.note)
    assert all(one.points.ci_low is None and one.points.rank is None for one in few.standings)


def test_a_model_that_nobody_compared_with_the_others_has_no_value():
    votes = Votes((Vote("s1", 0, "W", "X", "a"), Vote("s1", 0, "X", "Y", "b"), Vote("s1", 0, "P", "Q", "a")))
    found = {one.model: one.points for one in standings(hear(votes), "overall").standings}
    assert found["P"].value is None and "no chain of votes" in str(found["P"].note)
    assert found["W"].value is not None


def test_several_questions_have_columns_of_their_own():
    votes = tuple(replace(vote, question=q) for q in ("sound", "overall") for vote in votes_of_two(("a", "a")).votes)
    table = people_table(hear(Votes(votes)))
    assert [column.title for column in table.columns] == ["People: overall", "People: sound"]


def test_metrics_are_held_against_people(runs):
    results = [load_result(path) for path in runs]
    heard = hear(simulated(scale=1000.0, runs=runs), results)
    found = {one.metric: one for one in agreements(heard, results, "overall")}
    assert found["av_align"].accuracy.value > 0.97 and found["av_align"].tau.value > 0.9
    assert found["av_align"].ties > 0 and found["av_align"].models_tau == 1.0
    assert 0.3 < found["tv_ib"].accuracy.value < 0.8
    assert found["fvd"].accuracy.value is None and found["fvd"].models_tau is not None
    assert people_with_people(heard, "overall").same_side.value > 0.95


def test_lower_is_better_where_the_card_says_so(runs):
    results = [load_result(path) for path in runs]
    heard = hear(simulated(scale=-1000.0, metric="desync", runs=runs), results)
    (found,) = agreements(heard, results, "overall", ["desync"])
    assert found.accuracy.value > 0.97 and found.tau.value > 0.9


def test_clips_without_a_value_and_other_weights_are_counted(runs):
    frame = pd.read_parquet(runs[0] / "scores.parquet")
    frame.loc[:9, "av_align"] = np.nan
    frame.to_parquet(runs[0] / "scores.parquet")
    results = [load_result(path) for path in runs]
    heard = hear(simulated(runs=runs), results)
    (found,) = agreements(heard, results, "overall", ["av_align"])
    lacking = sum("Alpha" in (v.model_a, v.model_b) and int(v.sample_id[-4:]) < 10 for v in heard.votes.votes)
    assert found.lacking == {"a clip without a value": lacking} and lacking > 0
    assert found.accuracy.n < found.votes


def test_votes_without_any_about_the_runs_say_so(runs):
    heard = hear(Votes((Vote("s1", 0, "P", "Q", "a"),)), [load_result(path) for path in runs])
    assert "No vote is about these models" in " ".join(votes_lines(heard))


# On the command line


def test_the_commands_from_import_to_agreement(tmp_path, runs, capsys):
    votes = simulated(voters=12, runs=runs)
    rows = "".join(f"{v.sample_id},{v.model_a},{v.model_b},{v.answer},person {v.voter}\n" for v in votes.votes)
    (tmp_path / "votes.csv").write_text("sample,model_a,model_b,winner,voter\n" + rows)
    out, salt = tmp_path / "votes.jsonl", tmp_path / "salt"
    given = [arg for path in runs for arg in ("--run", str(path))]
    assert run(["votes", "import", str(tmp_path / "votes.csv"), "--out", str(out), "--salt", str(salt), *given]) == 0
    told_ = capsys.readouterr()
    assert told_.out.strip() == str(out) and "Voters have pseudonyms." in told_.err and "12 voters" in told_.err
    assert "person" not in out.read_text() and salt.stat().st_mode & 0o077 == 0
    first = out.read_text()
    assert run(["votes", "import", str(tmp_path / "votes.csv"), "--out", str(out), "--salt", str(salt), *given]) == 0
    assert out.read_text() == first
    capsys.readouterr()
    assert run(["votes", "show", str(out), *map(str, runs), "--voters"]) == 0
    shown = capsys.readouterr().out
    assert "People (Elo)" in shown and "others say the same" in shown
    assert run(["votes", "show", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "People"
    assert run(["votes", "agreement", *map(str, runs), "--votes", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {one["metric"] for one in found["metrics"]} >= {"av_align", "desync", "fvd"}
    assert run(["votes", "agreement", *map(str, runs), "--votes", str(out)]) == 0
    assert "People with each other" in capsys.readouterr().out


def test_wrong_use_is_told(tmp_path, runs, capsys):
    (tmp_path / "votes.csv").write_text("sample,model_a,model_b,winner\ns1,X,Y,a\n")
    out = str(tmp_path / "votes.jsonl")
    base = ["votes", "import", str(tmp_path / "votes.csv"), "--out", out]
    assert run([*base, "--run", str(runs[0]), "--suite", "demo"]) == 2
    assert "either --run or --suite" in capsys.readouterr().err
    (tmp_path / "short").write_text("abc")
    assert run([*base, "--salt", str(tmp_path / "short")]) == 2
    assert "no secret of pseudonyms" in capsys.readouterr().err
    assert run(base) == 0
    told_ = capsys.readouterr().err
    assert "was not checked" in told_ and "1 vote of unknown voters on 1 prompt;" in told_ and "of 1 vote." in told_
    made = Path(out).read_bytes()
    assert run([*base, "--answer", "a=b"]) == 2
    assert "name it among FILES" in capsys.readouterr().err and Path(out).read_bytes() == made
    assert run([*base, "--answer", "a=b", "--overwrite"]) == 0
    assert [vote.answer for vote in load_votes(Path(out)).votes] == ["b"]
    assert run([*base, out]) == 0
    assert [vote.answer for vote in load_votes(Path(out)).votes] == ["a", "b"]
    assert run(base) == 2
    table = (tmp_path / "votes.csv").read_bytes()
    for more in ([], ["--overwrite"], ["--salt", str(tmp_path / "salt")]):
        assert run(["votes", "import", str(tmp_path / "votes.csv"), "--out", str(tmp_path / "votes.csv"), *more]) == 2
        assert "is no file of votes" in capsys.readouterr().err
        assert (tmp_path / "votes.csv").read_bytes() == table, "what people said is not written over"
    Path(out).unlink()
    assert run(base) == 0
    capsys.readouterr()
    assert run(["votes", "show", out, str(runs[0])]) == 2
    assert "No vote is about these runs: 1 on X, which is not among the results" in capsys.readouterr().err
    assert run(["votes", "show", out, "--aspect", "visual_style"]) == 2
    assert "name the runs" in capsys.readouterr().err


def test_the_command_s_help_imports_nothing_heavy():
    script = "import sys; from javisbench.cli import run; run(['votes', 'import', '--help']); "
    check = "assert not {'torch', 'pandas', 'numpy', 'scipy'} & sys.modules.keys(), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", script + check], check=True, capture_output=True, timeout=120)
