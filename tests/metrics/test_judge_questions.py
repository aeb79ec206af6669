"""Question sets, what is made of them, and of what judges say."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from javisbench.errors import FeatureError, MetricError, UsageError
from javisbench.metrics.base import SampleContext
from javisbench.metrics.judges.inquiry import answer_key, read_answers, schema_of, words_of
from javisbench.metrics.judges.metric import JudgeMetric, judge_metric
from javisbench.metrics.judges.question_set import Question, QuestionSet, checklist, parse, read_file
from javisbench.metrics.registry import METRICS, metric_groups
from javisbench.protocol import V1, parse_protocol
from javisbench.registry import Plugin
from javisbench.suite import Sample
from javisbench.taxonomy import TAXONOMY

CARD: dict[str, Any] = {
    "id": "mine",
    "model": {"name": "maker/model-7b"},
    "questions": [
        {"id": "first", "text": "How bright?", "answer": "scale", "scale": [1, 5], "weight": 3, "group": "picture"},
        {"id": "second", "text": "Any crackle?", "good": "low", "hears": True, "group": "sound"},
    ],
}
JUDGES = tuple(name for name in METRICS if name.startswith("judge:"))


def judge_of(**changes: Any) -> JudgeMetric:
    return judge_metric(parse({**CARD, **changes}, "mine.toml"))()


def sample(**extra: str) -> Sample:
    categories = {"sound_type": ("speech_sounds",), "event_scenario": ("urban_scenario", "living_scenario")}
    return Sample("a", 0, "A prompt.", categories=categories, extra=extra)


def test_every_shipped_judge_is_one_metric_of_the_group() -> None:
    assert {"judge:javisbench", "judge:avgen-bench", "judge:t2av-compass", "judge:vabench"} <= set(JUDGES)
    assert set(metric_groups()["judges"]) == set(JUDGES)
    for name in JUDGES:
        cls = METRICS.get(name)
        assert cls.card.id == name and not cls.card.by_default and METRICS.plugin(name) is None
        assert isinstance(cls(), JudgeMetric) and METRICS.get(name) is cls
        assert METRICS.get(name).questions.source  # type: ignore[union-attr]


def test_javisbench_asks_about_each_category_once() -> None:
    questions: QuestionSet = METRICS.get("judge:javisbench").questions  # type: ignore[union-attr]
    asked = [name for question in questions.questions for name in question.when]
    assert sorted(asked) == sorted(f"{a.id}/{c}" for a in TAXONOMY for c in a.category_ids)
    assert {q.group for q in questions.questions} == {"picture", "sound", "sync", "clean"}
    ids = [q.id for q in questions.asked_of(sample(), sound=True)]
    assert ids == ["picture_follows", "sound_follows", "in_step", "picture_whole", "sound_whole", "urban_scenario",
                   "living_scenario", "speech_sounds"]  # fmt: skip
    assert not any(q.hears for q in questions.asked_of(sample(), sound=False))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"id": "My Set"}, "id: 'My Set' is not of small letters"),
    ({"id": 3}, "id: is not text but int"),
    ({"about": 1}, "about: is not text but int"),
    ({"colour": "red"}, "colour: is no field"),
    ({"average": "median"}, "average: 'median' is not one of questions, groups"),
    ({"questions": []}, "questions: there are none"),
    ({"questions": "How?"}, "questions: is not a list of tables"),
    ({"questions": ["How?"]}, "questions[1]: is no table but str"),
    ({"questions": [CARD["questions"][0]] * 2}, "questions: the id 'first' stands twice"),
    ({"questions": [{"id": "x"}]}, "questions[1].text: is missing"),
    ({"questions": [{"id": "a b", "text": "?"}]}, "questions[1].id: 'a b' is not of"),
    ({"questions": [{"id": "x", "text": "?", "answer": "maybe"}]}, "questions[1].answer: 'maybe'"),
    ({"questions": [{"id": "x", "text": "?", "answer": "scale", "scale": [5, 1]}]}, "questions[1].scale: [5, 1]"),
    ({"questions": [{"id": "x", "text": "?", "scale": [1, 5]}]}, 'stands beside answer = "yes_no"'),
    ({"questions": [{"id": "x", "text": "?", "weight": -1}]}, "questions[1].weight: -1"),
    ({"questions": [{"id": "x", "text": "?", "weight": 0}]}, "questions[1].weight: is not above 0"),
    ({"questions": [{"id": "x", "text": "?", "when": ["nowhere"]}]}, "questions[1].when: 'nowhere'"),
    ({"questions": [{"id": "x", "text": "?", "levels": {"7": "x"}}]}, "questions[1].levels: '7'"),
    ({"questions": [{"id": "x", "text": "y" * 5000}]}, "questions[1].text: has 5,000 characters"),
    ({"model": {}}, "model.name: is missing"),
    ({"model": {"name": "a model"}}, "model.name: 'a model' is not of letters"),
    ({"model": {"name": "m", "structure": "xml"}}, "model.structure: 'xml'"),
    ({"model": {"name": "m", "key": "sk-secret"}}, "model.key: is no field"),
    ({"sampling": {"temperature": "hot"}}, "sampling.temperature: is not a number but str"),
    ({"sampling": {"repeats": 1.5}}, "sampling.repeats: is not a whole number but float"),
    ({"sampling": {"repeats": 1000}}, "repeats is from 1 to 20, not 1000"),
    ({"sampling": {"seed": True}}, "sampling.seed: is not a whole number but bool"),
    ({"shows": {"frames": 0}}, "frames is from 1 to 128, not 0"),
    ({"shows": {"sound": False}}, "shows.sound: is false, and some questions need sound"),
    ({"shows": ["frames"]}, "shows: is no table but list"),
    ({"price": {"input": 1}}, "price.output: is missing"),
    ({"per_sample": {"column": 3}}, "per_sample.column: is not text"),
]


@pytest.mark.parametrize(("change", "told"), WRONG, ids=[told[:40] for _, told in WRONG])
def test_each_wrong_field_is_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as wrong:
        parse({**CARD, **change}, "mine.toml")
    assert told in wrong.value.message and wrong.value.message.startswith("mine.toml is no question set")


def test_all_that_is_wrong_is_listed_together() -> None:
    with pytest.raises(UsageError) as wrong:
        parse({"id": "?", "model": {"name": ""}, "extra": 1}, "mine.toml")
    assert len(wrong.value.details) == 4


@pytest.mark.parametrize("data", [b"\xff\xfe", b"id = ", b"# " + b"x" * (2 << 20)])
def test_files_that_are_none_are_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(data)
    with pytest.raises(UsageError, match="question set"):
        read_file(tmp_path / "mine.toml")
    with pytest.raises(UsageError):
        read_file(tmp_path / "nothing.toml")


def test_names_from_results_read_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text('id = "mine"')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="There is no question set"):
        METRICS.get("judge:mine.toml")
    assert "judge:mine.toml" not in METRICS and METRICS.has_parameter("judge:mine.toml")


def test_settings_are_part_of_the_protocol_and_questions_cannot_be_set() -> None:
    judge = METRICS.get("judge:javisbench")()
    assert isinstance(judge, JudgeMetric)
    varied = parse_protocol("javisbench-v1+judge:javisbench.model=maker--model+judge:javisbench.frames=4")
    assert judge.settings_in(varied).model_name == "maker/model"
    assert dict(judge.needs(varied)["view"].prep)["frames"] == 4
    own = judge.settings_in(V1).questions
    for override, told in (
        ("questions=000000000000", "give another question set"),
        ("frames=500", "frames is from 1 to 128"),
        ("colour=red", "has no setting 'colour'"),
        ("sound=maybe", "true or false"),
    ):
        with pytest.raises(UsageError, match=told):
            parse_protocol(f"javisbench-v1+judge:javisbench.{override}")
    changed = parse({**CARD, "about": "Otherwise."}, "mine.toml")
    assert changed.settings().questions != parse(CARD, "mine.toml").settings().questions != own


def test_the_score_weighs_shares_of_the_best_answer() -> None:
    judge = judge_of()
    answers = ({"first": 5, "second": 0}, {"first": 3, "second": 1})
    found = judge.score({}, SampleContext(V1, sample=sample(), answers=answers))
    # First: shares 1 and 0.5, weight 3. Second, where no is good: 1 and 0, weight 1.
    assert found.value == pytest.approx((3 * 0.75 + 0.5) / 4)
    assert found.details["answer.first"] == (1.0, 0.5) and found.details["answer.second"] == (1.0, 0.0)
    assert (found.details["group.picture"], found.details["group.sound"]) == ((0.75,), (0.5,))
    by_groups = judge_of(average="groups").score({}, SampleContext(V1, sample=sample(), answers=answers))
    assert by_groups.value == pytest.approx((0.75 + 0.5) / 2)
    with pytest.raises(MetricError, match="No judge has answered"):
        judge.score({}, SampleContext(V1, sample=sample()))


def test_facts_tell_how_far_repeats_agree() -> None:
    details = [
        {"answer.first": (1.0, 1.0, 0.5), "group.picture": (0.8,)},
        {"answer.first": (0.0, 0.0, 0.0), "group.picture": (0.2,)},
    ]
    facts = judge_of().facts(np.array([0.8, 0.2]), details, np.array([0, 1]), 0)
    assert facts["mean_picture"] == pytest.approx(0.5)
    assert facts["repeat_agreement"] == pytest.approx(4 / 6)
    # By hand: within units 2 (3 * 2.25 - 2.5 ** 2) / 2 = 0.5 over six values; among all 2 (6 * 2.25 - 2.5 ** 2) / 30.
    assert facts["repeat_alpha"] == pytest.approx(1 - (0.5 / 6) / (2 * (6 * 2.25 - 6.25) / 30))
    alone = judge_of().facts(np.array([0.8]), [{"answer.first": (1.0,)}], np.array([0]), 0)
    assert alone == {}, "asked once, nothing is known of agreement"
    same = judge_of().facts(np.array([1.0]), [{"answer.first": (1.0, 1.0)}], np.array([0]), 0)
    assert same == {"repeat_agreement": 1.0}, "where all answers are the same, alpha is not defined"
    assert "repeats agree on 66.7 % of the answers" in (judge_of().remark(facts) or "")


OWN: dict[str, Any] = {"questions": [], "per_sample": {"column": "checklist", "answer": "scale", "scale": [1, 5]}}


def test_questions_of_the_suites_own_stand_in_a_column() -> None:
    judge = judge_of(**OWN)
    assert judge.needs_columns == ("checklist",)
    cell = json.dumps(["Is there rain?", {"question": "Is it heard?", "hears": True, "group": "sound"}])
    first, second = judge.asked_of(sample(checklist=cell), V1)
    assert (first.id, first.text, first.scale, first.group) == ("own_1", "Is there rain?", (1, 5), "")
    assert (second.id, second.hears, second.group) == ("own_2", True, "sound")
    with pytest.raises(MetricError) as none:
        judge.asked_of(sample(), V1)
    assert none.value.kind == "no_questions" and none.value.kind in judge.not_applicable
    with pytest.raises(MetricError) as without:
        judge.asked_of(Sample("a", 0, "", extra={"checklist": cell}), V1)
    assert without.value.kind == "no_prompt" and judge.needs_prompt
    assert not judge_of(shows={"prompt": False}).needs_prompt
    quiet = parse_protocol("javisbench-v1+judge:vabench.sound=false")
    vabench = METRICS.get("judge:vabench")()
    assert isinstance(vabench, JudgeMetric)
    assert [q.id for q in vabench.asked_of(sample(checklist=cell), quiet)] == ["own_1"]


@pytest.mark.parametrize(
    "cell",
    ["Is there rain?", "{}", "[1]", '[""]', '[{"text": "x"}]', '[{"question": "x", "group": "a b"}]',
     '[{"question": "x", "answer": "yes"}]', json.dumps(["x"] * 101), "[" * 100_000, json.dumps(["x" * 300_000])],
)  # fmt: skip
def test_a_bad_list_of_questions_costs_its_sample(cell: str) -> None:
    with pytest.raises(MetricError, match="The column checklist") as wrong:
        judge_of(**OWN).asked_of(sample(checklist=cell), V1)
    assert wrong.value.kind == "bad_checklist" and len(wrong.value.message) < 2000


SCALE = Question("scale", "?", (1, 5), yes_no=False)
BOTH = (SCALE, Question("flag", "?"))


def said(scale: Any, flag: Any) -> str:
    return json.dumps({"scale": {"reason": "r", "answer": scale}, "flag": {"reason": "r", "answer": flag}})


def test_answers_in_form_are_read() -> None:
    assert read_answers(said(3, "yes"), BOTH) == {"scale": 3, "flag": 1}
    assert read_answers(f"```json\n{said(5, 'No')}\n```\n", BOTH) == {"scale": 5, "flag": 0}
    assert schema_of(BOTH)["properties"]["scale"]["properties"]["answer"]["enum"] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "text",
    [said(6, "yes"), said(3.0, "yes"), said("3", "yes"), said(True, "yes"), said(3, "maybe"), said(3, True),
     said(3, None), "", "3", "[]", '{"scale": {"answer": 3}}', said(3, "yes")[:-1], f"Sure! {said(3, 'yes')}",
     said(3, "yes")[:-1] + ', "scale": {"answer": 5}}', said(3, "yes")[:-1] + ', "other_clip": {"answer": 5}}',
     '{"scale": 3, "flag": "yes"}', said(float("nan"), "yes"), "[" * 100_000],
)  # fmt: skip
def test_answers_out_of_form_are_failures_with_their_text(text: str) -> None:
    with pytest.raises(FeatureError) as wrong:
        read_answers(text, BOTH)
    assert wrong.value.kind == "judge_malformed" and text[:20] in wrong.value.message


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                                lambda inner: st.dictionaries(st.sampled_from(["scale", "flag", "answer"]) | st.text(),
                                                              inner)).map(json.dumps))  # fmt: skip
def test_whatever_a_judge_says_gives_answers_on_the_scale_or_a_failure(text: str) -> None:
    try:
        found = read_answers(text, BOTH)
    except FeatureError:
        return
    assert found.keys() == {"scale", "flag"} and 1 <= found["scale"] <= 5 and found["flag"] in (0, 1)


@given(st.text())
def test_a_prompt_stays_between_its_marks(prompt: str) -> None:
    words = words_of(BOTH, parse(CARD, "mine.toml"), prompt)
    if not prompt:
        assert words.prompt == ""
        return
    _, first, data, last = words.prompt.split("\n")
    assert first == last and first.startswith("PROMPT-") and first not in data
    assert json.loads(data).encode("utf-8", "backslashreplace") == prompt.encode("utf-8", "backslashreplace")


def test_keys_tell_apart_whatever_changes_an_answer() -> None:
    card = parse(CARD, "mine.toml")
    settings = card.settings()
    base: dict[str, Any] = {"content": "c", "view": [1, ["frames", 8]], "repeat": 0, "attempt": 0}

    def key(prompt: str = "p", settings: Any = settings, **changes: Any) -> str:
        return answer_key(words_of(card.questions, card, prompt), settings, **{**base, **changes})

    others = [
        key("q"), key(content="d"), key(view=[1, ["frames", 4]]), key(repeat=1), key(attempt=1),
        *(key(settings=card.settings(**{name: value})) for name, value in CHANGED.items()),
    ]  # fmt: skip
    assert len({key(), *others}) == 1 + len(others)
    assert key() == key(settings=card.settings(repeats=9, tries=5)), "asking more often asks nothing anew"


CHANGED: Mapping[str, Any] = {
    "model": "other", "revision": "b", "structure": "text", "temperature": 0.5, "max_tokens": 99, "seed": 7,
}  # fmt: skip


def test_a_package_brings_a_judge_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from javisbench.cards import CardFile
    from javisbench.errors import PluginError
    from javisbench.metrics.judges import family

    plugin = Plugin("theirs:cards", "theirs", "1.0")
    cards = {
        "good": CardFile("good", Path("good.toml"), {**CARD, "id": "good", "package": "theirs 1.0"}, plugin),
        "bad": CardFile("bad", Path("bad.toml"), {"id": "bad", "package": "theirs 1.0"}, plugin),
    }
    monkeypatch.setattr(family, "card_files", lambda folder: cards)
    found = family.JudgeFamily()
    assert list(found.names()) == ["good", "bad"]
    assert found.get("good").card.id == "judge:good" and found.plugin("good") is plugin
    with pytest.raises(PluginError, match=r"The judge 'bad' of the package theirs 1\.0"):
        found.get("bad")


def test_the_example_of_the_page_is_a_question_set() -> None:
    text = (Path(__file__).parents[2] / "docs" / "judges.md").read_text(encoding="utf-8")
    found = parse(tomllib.loads(text.split("```toml\n")[1].split("```")[0]), "docs/judges.md")
    assert [question.id for question in found.questions] == ["hits", "crackle"] and found.price is not None
    cell = text.split("low_is_good`: `", 1)[1].split("`.", 1)[0]
    assert found.per_sample is not None and len(checklist(found.per_sample, sample(checklist=cell))) == 2


def test_the_lists_that_loaders_of_suites_write_are_questions() -> None:
    from javisbench.suite_layouts.base import checklist_of

    cell = checklist_of([{"question": "Is it raining?", "group": "World Knowledge", "hears": False}, {"question": "x"}])
    per_sample = METRICS.get("judge:t2av-compass").questions.per_sample  # type: ignore[union-attr]
    first, second = checklist(per_sample, sample(checklist=cell))
    assert (first.text, first.group, first.scale, second.group) == ("Is it raining?", "World_Knowledge", (1, 5), "")
