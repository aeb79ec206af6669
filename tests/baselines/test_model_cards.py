"""The model cards: complete, consistent with the table of pipelines, and one for every published model."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from javisbench.baselines.cascade import SHORT_NAMES
from javisbench.baselines.diffusers_pipelines import DiffusersPipeline
from javisbench.baselines.diffusers_table import REPOSITORIES
from javisbench.baselines.registry import GENERATORS
from javisbench.cards import CARDS as FOLDER
from javisbench.cards import read_cards

ALL = read_cards("models")
EXAMPLES = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ALL)
def test_cards_are_complete(name: str) -> None:
    card = ALL[name]
    assert (FOLDER / "models" / f"{name}.toml").is_file()
    assert card["family"] in ("t2av", "t2v", "t2a", "v2a", "a2v", "av")
    assert card["status"] in ("run", "equal", "read", "reported only")
    assert card["noncommercial"] in (True, False, "unknown", "depends on the model")
    # Nothing is said of a licence that nobody has seen.
    unseen = str(card.get("licences", {}).get("weights", "")).startswith("unknown")
    assert (card["noncommercial"] == "unknown") == unseen
    assert card["title"]
    assert card["summary"].strip()
    if card["status"] != "reported only" and name not in ("command", "procedural"):
        assert card["licences"]["code"]
        assert card["licences"]["weights"]
    for quirk in card.get("quirks", ()):
        assert quirk["effect"].endswith(".")


def test_every_published_model_has_one_card() -> None:
    with (FOLDER / "published/published_results.csv").open(encoding="utf-8") as file:
        published = {row["model"] for row in csv.DictReader(file)}
    owners: dict[str, list[str]] = {}
    for name, card in ALL.items():
        for title in card.get("published_names", ()):
            owners.setdefault(title, []).append(name)
    assert {title: len(names) for title, names in owners.items()} == dict.fromkeys(published, 1)


def test_every_generator_and_card_of_the_table_exists() -> None:
    assert {known.card for known in REPOSITORIES.values()} <= set(ALL)
    assert {"cascade", "diffusers", "mm-diffusion", "mmaudio", "command", "javisdit"} <= set(ALL)
    assert set(SHORT_NAMES) <= set(ALL)


def described() -> list[tuple[str, str]]:
    """Repositories whose cards are of them alone: other checkpoints of a card may have settings of their own."""
    return [
        (repository, known.card)
        for repository, known in REPOSITORIES.items()
        if known.card != "diffusers" and ALL[known.card].get("run", "").startswith(f"diffusers:{repository}")
    ]


def test_cards_name_the_repositories_that_they_describe() -> None:
    assert len(described()) >= 4


@pytest.mark.parametrize(("repository", "name"), described())
def test_cards_of_pipelines_say_what_is_done(repository: str, name: str) -> None:
    rules, card = DiffusersPipeline(repository).rules(), ALL[name]
    defaults = {key: default.value for key, default in rules.defaults.items()}
    assert card["family"] == rules.family
    assert (card["defaults"]["steps"], card["defaults"]["guidance"]) == (defaults["steps"], defaults["guidance"])
    if rules.frames is not None:
        assert f"at {defaults['fps']} fps, {defaults['width']}x{defaults['height']}" in card["limits"]["native"]
        assert f"multiples of {rules.known.multiple}" in card["limits"]["size"]
        assert card["limits"]["frames"].startswith(f"{rules.known.frame_step}k + 1")
    if rules.known.sample_rate is not None and name != "ltx-2.3":
        assert f"{rules.known.sample_rate / 1000:g} kHz" in card["limits"]["audio"]
    assert card["max_batch"] == (DiffusersPipeline.max_batch if rules.known.together else 1)


def test_scripts_that_cards_name_are_there() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (FOLDER / "models").glob("*.toml"))
    named = set(re.findall(r"examples/generators/[\w.]+\.(?:py|sh)", text))
    assert len(named) >= 5
    assert [name for name in named if not (EXAMPLES / name).is_file()] == []


def test_no_hash_or_revision_is_made_up() -> None:
    """Nobody has fetched these files: a card may name neither (``revision`` is also a parameter of programs)."""

    def keys(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value) | {key for inner in value.values() for key in keys(inner)}
        return {key for inner in value for key in keys(inner)} if isinstance(value, list | tuple) else set()

    assert all(not {"sha256", "revision"} & keys(card.get("files", ())) for card in ALL.values())


def test_names_on_the_command_line_are_cards() -> None:
    assert {name for name in GENERATORS if name not in ALL} == set()


def show(monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    from click.testing import CliRunner

    from javisbench.cli.models import command

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(command, words, standalone_mode=False)
    assert result.exception is None, result.output
    return result.output


def test_show_prints_the_plan_with_downloads_memory_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    text = show(monkeypatch, "show", "javisdit", "--suite", "demo")
    for told in (
        "size: 432x240 pixels",
        "frames: 65 at 16 fps (4.06 s)",
        "width 426 -> 432",
        "text encoder: Wan-AI/Wan2.1-T2V-1.3B-Diffusers, about 22.7 GB, licence Apache-2.0",
        "javisbench weights fetch javisdit-v1.0-network",
        "time: paper: 10 s a clip on an H100; not measured here",
    ):
        assert told in text


def test_show_counts_both_stages_of_a_cascade(monkeypatch: pytest.MonkeyPatch) -> None:
    text = show(monkeypatch, "show", "cascade:t2v=wan2.1-1.3b,v2a=mmaudio", "-M", "v2a.steps=7")
    assert "Wan-AI/Wan2.1-T2V-1.3B-Diffusers, about" in text
    assert "hkchengrex/MMAudio" in text
    assert "CC BY-NC 4.0" in text
    assert "steps: 7" in text


def test_show_plans_the_pipeline_that_a_card_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "97 at 24 fps" in show(monkeypatch, "show", "ltx-2")
    assert "without prompts alone" in show(monkeypatch, "show", "mm-diffusion")
    assert "plan:" not in show(monkeypatch, "show", "ovi")
    assert "refused: The pipeline a/b is not on this machine" in show(monkeypatch, "show", "diffusers:a/b")


def test_list_has_a_row_for_every_card(monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    rows = {row["id"]: row for row in json.loads(show(monkeypatch, "list", "--json"))}
    assert set(rows) == set(ALL)
    assert rows["javisdit-v0.1"]["runs_here"]
    assert rows["ovi"]["runs_here"]
    assert not rows["tpos"]["runs_here"]
    assert rows["command"]["parameters"] is None
