"""Caption cleaning against the reference's, and what goes to the text encoders."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from javisbench.baselines.diffusers_models.table import PIPELINES
from javisbench.baselines.javisdit import JavisDiT
from javisbench.baselines.javisdit.text import WAN_NEGATIVE_PROMPT, clean_caption, prepare_v01, prepare_v10


def test_two_passes_equal_the_reference(golden_json):
    pairs = golden_json("javisdit/v01_text_clean")["pairs"]
    assert len(pairs) == 9
    for prompt, cleaned in pairs:
        assert clean_caption(clean_caption(prompt)) == cleaned


def test_v01_appends_the_score_before_cleaning():
    assert prepare_v01("A Bear growls!") == "a bear growls! aesthetic score: 6.5."
    assert prepare_v01("A Bear growls!", suffix="") == "a bear growls!"


# One pass of the cleaner that diffusers ships for PixArt, with beautifulsoup4 4.15 (not a dependency here). On 47 792
# strings of the suites and on 30 000 random mixtures of such pieces both agreed everywhere.
ONE_PASS = [
    ("R&B by AT&T", "r b by att"),
    ("salt&pepper, x", "salt pepper, x"),
    ("&copy2020 by me", "copy2020 by me"),
    ("5 < 6 and 7 > 3", "5 < 6 and 7 > 3"),
    ("<b>bold</b> move<br/>now", "bold movenow"),
    ("100%20sure+thing", "100 sure thing"),
    ("see photo.jpg or www.site.org/p?q=1", "see or ?q=1"),
    ("it-is-a-very-long_name", "it is a very long name"),
    ("free shipping, page 12", ""),
]


@pytest.mark.parametrize(("text", "cleaned"), ONE_PASS)
def test_one_pass(text, cleaned):
    assert clean_caption(text) == cleaned


def test_v10_keeps_everything_but_white_space_and_broken_characters():
    assert prepare_v10("  A  DJ\n says\t&amp;amp; “hi” é\u00c3\u00a9 ") == 'A DJ says & "hi" éé'


def test_v10_moves_away_from_the_authors_whole_negative_prompt():
    """Picture, then sound, as in the authors' inference configurations (225 characters)."""
    negative = JavisDiT("v1.0").resolved()["negative_prompt"]
    assert len(negative) == 225
    assert negative.startswith("色调艳丽，过曝，")
    assert "倒着走，低音质，差音质，" in negative
    assert negative.endswith("录音质量差，业余录音")
    digest = hashlib.sha256(negative.encode()).hexdigest()
    assert digest == "a949badac6c12a21a0ca0fe5b34c32ca685ea29cc40714022d5851db92eefcc9"
    # ftfy makes full-width signs plain, for Wan's own pipeline as well; nothing else changes.
    assert prepare_v10(negative) == negative.replace("，", ",")


def test_plain_wan_keeps_the_visual_sentence():
    assert len(WAN_NEGATIVE_PROMPT) == 137
    assert PIPELINES["WanPipeline"].negative_prompt == WAN_NEGATIVE_PROMPT


@given(st.text(max_size=80))
def test_cleaning_never_fails_and_leaves_no_double_space(text):
    cleaned = clean_caption(text)
    assert cleaned == cleaned.strip()
    assert "  " not in cleaned
    assert "  " not in prepare_v10(text)
