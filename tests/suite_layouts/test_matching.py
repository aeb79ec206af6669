"""Clips named as each suite's own programs name them are found without a manifest."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from javisbench.errors import UsageError
from javisbench.matching import match_folder
from javisbench.suite import Suite, load_suite


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.fixture(scope="module")
def suite_of(published_suites: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Suite]:
    made: dict[str, Suite] = {}

    def load(name: str) -> Suite:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            published_suites.BUILDERS[name](folder, False)
            made[name] = load_suite(f"{name}:{folder}")
        return made[name]

    return load


# File to the position of its sample; `n` stands for a number of the suite's.
NAMES: list[tuple[str, dict[str, int], str]] = [
    ("verse-bench", {"00000002.mp4": 1, "1.mp4": 0, "00003.mp4": 2}, "id"),
    ("verse-bench", {"2.mp4": 1, "00000001.mp4": 0, "0003-1.mp4": 2}, "name"),
    ("verse-bench-t2av", {"set1/002.mp4": 1, "set2/clip_00000004.mp4": 3}, "id"),
    (
        "verse-bench",
        {"set1/00000002_video_A man_step50_seed42.mp4": 1, "set2/clip_00000004_video_x_seed1.mp4": 3},
        "name",
    ),
    ("t2av-compass", {"sample_0001.mp4": 0, "sample_0006.mp4": 5}, "id"),
    ("t2av-compass", {"sample_1.mp4": 0, "0002.mp4": 1, "3.mp4": 2, "video_0004.mp4": 3, "video_5.mp4": 4}, "name"),
    ("vabench", {"phrase number 0. and more.mp4": 0, "phrase number 1.mp4": 2}, "name"),
    ("vabench", {"video/easy_topic_0/phrase number 0.mp4": 0, "video/easy_topic_1/phrase number 1.mp4": 2}, "name"),
    ("vabench-i2av", {"frame_0.mp4": 0, "frame_1.jpg.mp4": 2}, "id"),
    ("avgen-bench", {"ads/Lute_ G_C chord 0_.mp4": 0, "movie_trailer/Lute_ G_C chord 0_.mp4": 2}, "name"),
    ("avgen-bench", {"ads.lute_g_c_chord_1.mp4": 1}, "id"),
    ("vggsound", {"-0000000000_000030.wav": 0, "a0000000002_000032.flac": 2}, "id"),
    ("vggsound-full", {"-0000000000_000030.wav": 0}, "name"),
]


@pytest.mark.parametrize(("name", "files", "how"), NAMES)
def test_clips_are_found_by_the_suites_own_names(
    suite_of: Callable[[str], Suite], tmp_path: Path, name: str, files: dict[str, int], how: str
) -> None:
    suite = suite_of(name)
    for file in files:
        touch(tmp_path / file)
    matched = match_folder(tmp_path, suite)
    found = {
        item.source.video if suite.task_facts.makes_picture else item.source.audio: item.sample.index
        for item in matched.items
        if item.source is not None
    }
    assert found == {tmp_path / file: index for file, index in files.items()}
    assert (matched.how, matched.extra) == (how, ())


def test_sounds_that_lie_apart_are_found(suite_of: Callable[[str], Suite], tmp_path: Path) -> None:
    touch(tmp_path / "video/easy_topic_0/phrase number 0.mp4")
    touch(tmp_path / "audio/easy_topic_0/phrase number 0.wav")
    item = match_folder(tmp_path, suite_of("vabench")).items[0]
    assert item.source is not None and item.source.audio == tmp_path / "audio/easy_topic_0/phrase number 0.wav"
    touch(tmp_path / "video/easy_topic_0/phrase number 0.wav")
    item = match_folder(tmp_path, suite_of("vabench")).items[0]
    assert item.source is not None and item.source.audio == tmp_path / "video/easy_topic_0/phrase number 0.wav"


def test_a_name_that_two_samples_share_is_neithers(suite_of: Callable[[str], Suite], tmp_path: Path) -> None:
    touch(tmp_path / "Lute_ G_C chord 0_.mp4")
    touch(tmp_path / "ads/Lute_ G_C chord 1_.mp4")
    matched = match_folder(tmp_path, suite_of("avgen-bench"))
    assert [path.name for path in matched.extra] == ["Lute_ G_C chord 0_.mp4"]


def test_accents_taken_apart_by_a_file_system_are_the_same_letters(
    suite_of: Callable[[str], Suite], tmp_path: Path
) -> None:
    suite = suite_of("avgen-bench")
    first = replace(suite.samples[0], clip_names=("ads/Café",))
    touch(tmp_path / "ads" / unicodedata.normalize("NFD", "Café.mp4"))
    matched = match_folder(tmp_path, replace(suite, samples=(first, *suite.samples[1:])))
    assert matched.items[0].source is not None


def test_clips_counted_from_0_are_refused_where_the_suite_counts_from_1(
    suite_of: Callable[[str], Suite], tmp_path: Path
) -> None:
    for number in range(6):
        touch(tmp_path / f"sample_{number:04d}.mp4")
    with pytest.raises(UsageError, match=r"counted from 0 .* counts from 1"):
        match_folder(tmp_path, suite_of("t2av-compass"))


def test_folders_are_searched_for_such_suites_alone(tmp_path: Path) -> None:
    touch(tmp_path / "ads/demo_0001.mp4")
    with pytest.raises(UsageError, match="holds no video"):
        match_folder(tmp_path, load_suite("demo"))
