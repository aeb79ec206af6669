"""A site of synthetic runs."""

from __future__ import annotations

import shutil
from functools import partial
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

if TYPE_CHECKING:
    from javisbench.results.votes.record import Votes


@pytest.fixture(autouse=True)
def _metric_cards(fixed_cards: None) -> None:
    """Every test here is of tables and pages, not of cards."""


HOSTILE_NAME = "Beta <b>bold</b></script><script>alert(1)</script>"
HOSTILE_PROMPT = 'A dog </script><img src=x onerror=alert(2)> barks & "runs" {{ 7 * 7 }}'


def _webm(path: Path) -> None:
    """A video that plays in browsers and cannot stand in mp4: VP8, 2 s."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        track = container.add_stream("libvpx", rate=12, options={"deadline": "realtime", "cpu-used": "8"})
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        for k in range(24):
            pixels = np.full((48, 64, 3), 10 * k, np.uint8)
            container.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(track.encode(None))


def _votes() -> Votes:
    """Of eleven voters on three models, which like the later one better; one is hostile."""
    from javisbench.results.votes.record import Vote, Votes

    models = ("Alpha", HOSTILE_NAME, "Gamma")
    answers = ("a", "b", "b", "tie", "b", "bad", "a")
    votes = [
        Vote(f"sample_{i:04d}", 0, *two, answers[(3 * i + 5 * voter + place) % 7], f"<b>v-{voter}</b>")
        for i in range(20)
        for voter in range(11)
        for place, two in enumerate(combinations(models, 2))
        if (i + voter) % 4 == 0
    ]
    return Votes(tuple(votes), "demo", "hash-of-demo", names="kept")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, clips_fake: Path, synthetic_runs: ModuleType) -> Path:
    """A site with every case: several models, protocols, stand-ins, n = 2, failures, hostile text, clips, plots."""
    from javisbench.leaderboard.build import SiteOptions, build_site
    from javisbench.results.votes.record import save_votes

    root = tmp_path_factory.mktemp("leaderboard")
    metrics = ("fvd", "javis_score", "av_align", "health_silence")
    # Two aspects and few metrics, because every plot takes a tenth of a second to draw.
    write = partial(
        synthetic_runs.RunWriter(root / "runs"), metrics=metrics, aspects=("visual_style", "temporal_composition")
    )
    cards = [{"family": "t2av", "licence_weights": "MIT", "params_b": 1.5}, {"family": "t2v+v2a", "params_b": 3.1}]
    failure = {"sample_id": "sample_0004", "repeat": 0, "stage": "decode", "metric": None, "kind": "short"}
    gone = {
        "value": None,
        "n": 0,
        "ci_low": None,
        "ci_high": None,
        "status": "missing_weights",
        "note": "Fetch <i>X</i>.",
    }
    with synthetic_runs.fixed_cards():
        runs = [
            write("Alpha", shift=0.1, card=cards[0]),
            write(
                HOSTILE_NAME,
                card=cards[1],
                folder="beta/demo",
                prompts=lambda i: f"{i}: {HOSTILE_PROMPT}",
                failures=[{**failure, "message": "<script>alert(3)</script> ends early"}],
            ),
            write("Gamma", shift=0.3, card=cards[1], cells={"fvd": {"overall": gone}}),
            write("Two", n=2),
            write("Toy", protocol="javisbench-v1+stand-in", stand_in=True),
        ]
        write("Alpha", protocol="javisbench-v2", folder="alpha-00000000/demo/protocols/javisbench-v2")
        scores = pd.read_parquet(runs[0] / "scores.parquet")
        scores.loc[:2, "health_silence"] = 0.9
        scores.to_parquet(runs[0] / "scores.parquet")
        # Gamma's second clip is of a format that keeps its sound beside it.
        published = {
            0: ("sample_0000.mp4", "sample_0000.wav", "sample_0001.mp4", "sample_0001.wav"),
            1: ("sample_0000.mp4", "sample_0000.wav"),
            2: ("sample_0000.mp4", "sample_0000.wav"),
        }
        for number, names in published.items():
            (runs[number] / "clips").mkdir()
            for name in names:
                shutil.copy(clips_fake / name, runs[number] / "clips" / name)
        _webm(runs[2] / "clips" / "sample_0001.webm")
        shutil.copy(clips_fake / "sample_0001.wav", runs[2] / "clips")
        (runs[0] / "clips" / "sample_0002.mp4").symlink_to("/etc/passwd")
        save_votes(_votes(), root / "votes.jsonl")
        options = SiteOptions(title="Test <board>", clips="all", plots=True, votes=root / "votes.jsonl")
        build_site(runs, root / "site", options)
    return root / "site"


VOTED_MODELS = ("Alpha", "Beta", "Gamma")
VOTED_CLIPS = 4


def voted_runs(root: Path, write_run: Any, clips: Path) -> list[Path]:
    """Runs of three models with the same few prompts; each model's clips are others' shifted by one."""
    runs = []
    for shift, model in enumerate(VOTED_MODELS):
        path = write_run(model, n=VOTED_CLIPS, folder=f"{model.lower()}/demo", prompts=lambda i: f"Prompt <{i}> & more")
        (path / "clips").mkdir()
        for i in range(VOTED_CLIPS):
            for suffix in (".mp4", ".wav"):
                source = clips / f"sample_{(i + shift) % VOTED_CLIPS:04d}{suffix}"
                shutil.copy(source, path / "clips" / f"sample_{i:04d}{suffix}")
        runs.append(path)
    return runs


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory, synthetic_runs: ModuleType, clips_fake: Path) -> Path:
    """A page of five pairs of one question."""
    from javisbench.leaderboard.votes_page import VotesPageOptions, write_votes_page
    from javisbench.results.run_folder import load_result

    root = tmp_path_factory.mktemp("votes")
    with synthetic_runs.fixed_cards():
        runs = voted_runs(root, synthetic_runs.RunWriter(root / "runs"), clips_fake)
        write_votes_page([load_result(path) for path in runs], root / "page", VotesPageOptions(pairs=5))
    return root / "page"
