from __future__ import annotations

import csv
from pathlib import Path

import pytest

from javisbench.baselines.procedural.kinds import kinds_in
from javisbench.cards import suite_cards
from javisbench.suite import Suite, load_suite
from javisbench.taxonomy import TAXONOMY


@pytest.fixture(scope="module")
def demo() -> Suite:
    return load_suite("demo")


def test_it_has_sixty_prompts_or_more_and_its_card_says_how_many(demo: Suite) -> None:
    assert len(demo) >= 60
    assert len(demo) == demo.total == suite_cards()["demo"].samples


def test_every_category_has_five_prompts_or_more(demo: Suite) -> None:
    slices = demo.slices()
    assert len(slices) == 19
    assert min(len(rows) for rows in slices.values()) >= 5


def test_every_prompt_has_a_category_of_every_aspect_and_some_have_several(demo: Suite) -> None:
    for sample in demo:
        assert all(sample.categories.get(aspect.id) for aspect in TAXONOMY), sample.id
    assert any(len(ids) > 1 for sample in demo for ids in sample.categories.values())


def test_prompts_are_sentences_and_differ(demo: Suite) -> None:
    texts = [sample.text for sample in demo]
    assert len(set(texts)) == len(texts)
    for text in texts:
        assert text[0].isupper() and text.endswith(".") and 5 <= len(text.split()) <= 30, text


def test_most_have_an_audio_prompt_of_their_own_and_some_have_none(demo: Suite) -> None:
    given = [sample.audio_text for sample in demo if sample.audio_text]
    assert len(demo) / 2 < len(given) < len(demo)


def test_the_procedural_generator_has_a_kind_for_every_prompt(demo: Suite) -> None:
    for sample in demo:
        assert kinds_in(f"{sample.text} {sample.audio_text or ''}"), sample.text


def test_its_columns_are_those_of_javisbench(demo: Suite) -> None:
    with Path(demo.source).open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    assert header == ["id", "text", "audio_text", "cat0_ind", "cat1_ind", "cat2_ind", "cat3_ind", "cat4_ind"]
