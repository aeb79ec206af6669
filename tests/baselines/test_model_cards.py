"""The model cards: complete, consistent with the table of pipelines, and one for every published model."""

from __future__ import annotations

import csv
import json
import re
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import javisbench.api
from javisbench.baselines.checkout import RECIPES
from javisbench.baselines.diffusers_models import DiffusersPipeline
from javisbench.baselines.diffusers_models.table import REPOSITORIES
from javisbench.baselines.registry import GENERATORS, create_generator, resolved_spec
from javisbench.cards import CARDS as FOLDER
from javisbench.cards import read_cards
from javisbench.clip import Clip, ClipSpec
from javisbench.errors import GenerationError, UsageError
from javisbench.media import write_clip
from javisbench.run.generate import GenerateSettings
from javisbench.run.generation_job import GenerationJob
from javisbench.suite import load_suite

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
    if rules.known.sample_rate is not None and not name.startswith("ltx-2."):
        assert f"{rules.known.sample_rate / 1000:g} kHz" in card["limits"]["audio"]
    assert card["max_batch"] == (DiffusersPipeline.max_batch if rules.known.together else 1)


def test_recipes_and_cards_name_each_other() -> None:
    named = {card["recipe"]["script"] for card in ALL.values() if "recipe" in card}
    there = {path.name for path in RECIPES.glob("*.py")} - {"__init__.py", "serving.py", "mm_diffusion.py"}
    assert named == there
    text = "\n".join(path.read_text(encoding="utf-8") for path in (FOLDER / "models").glob("*.toml"))
    examples = set(re.findall(r"examples/generators/[\w.]+\.(?:py|sh)", text))
    assert [name for name in examples if not (EXAMPLES / name).is_file()] == []


@pytest.mark.parametrize("name", [name for name, card in ALL.items() if "service" in card])
def test_services_of_cards_are_descriptions(name: str) -> None:
    from javisbench.baselines.hosted import Hosted

    hosted = Hosted(name)
    assert hosted.card_id == name
    assert hosted.plan(ClipSpec()).frames > 0
    # No price is known that holds for long.
    assert "price" not in ALL[name]["service"]


def test_every_system_of_the_paper_has_its_row() -> None:
    runs = {"mm-diffusion", "seeing-and-hearing", "foleycrafter", "mmaudio", "tempotokens", "tpos", "rewas", "ovi"}
    assert all("run" in ALL[name] for name in runs)
    assert all("run" not in ALL[name] and ALL[name]["why_not"] for name in ("av-dit", "mm-ldm", "syncflow"))


@pytest.mark.parametrize("name", ALL)
def test_a_card_runs_or_says_why_not(name: str) -> None:
    assert ("run" in ALL[name]) != ("why_not" in ALL[name])
    assert ALL[name].get("why_not", "x.").endswith((".", "folder"))


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
        "text encoder: Wan-AI/Wan2.1-T2V-1.3B, 11.4 GB, licence Apache-2.0",
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


def test_show_plans_what_a_card_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "97 at 24 fps" in show(monkeypatch, "show", "ltx-2")
    assert "without prompts alone" in show(monkeypatch, "show", "mm-diffusion")
    assert "how_to_run: --model ovi -M repo=FOLDER" in show(monkeypatch, "show", "ovi")
    assert not re.search(r"\\n$", show(monkeypatch, "show", "ovi"), re.MULTILINE)
    assert "sound 0.5" not in show(monkeypatch, "show", "veo-3.1")
    assert "size: 1280x720" in show(monkeypatch, "show", "veo-3.1")
    assert "published no code" in show(monkeypatch, "show", "syncflow")
    assert "refused: The pipeline a/b is not on this machine" in show(monkeypatch, "show", "diffusers:a/b")


def rows(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in json.loads(show(monkeypatch, "list", "--json"))}


def test_list_has_a_row_for_every_card(monkeypatch: pytest.MonkeyPatch) -> None:
    found = rows(monkeypatch)
    assert set(found) == set(ALL)
    assert found["javisdit-v0.1"]["runs_here"]
    assert found["ovi"]["how_to_run"] == "--model ovi -M repo=FOLDER -M python=PATH"
    assert not found["av-dit"]["runs_here"]
    assert found["command"]["parameters"] is None
    text = show(monkeypatch, "list")
    assert "no: its authors published no code" in " ".join(text.split())


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A suite of every task, by task."""
    folder = tmp_path_factory.mktemp("suites")
    sound = (0.1 * np.sin(np.arange(4000) / 9)).astype(np.float32)[None]
    write_clip(Clip(np.full((4, 48, 64, 3), 90, np.uint8), Fraction(8), sound, 8000), folder / "given.mp4")
    Image.new("RGB", (64, 48)).save(folder / "given.png")
    found = {"t2av": "demo", "av": "landscape"}
    for task, column, suffix in (("v2a", "video", "mp4"), ("a2v", "audio", "wav"), ("i2av", "image", "png")):
        (folder / task).mkdir()
        shutil.copy(folder / f"given.{suffix}", folder / task)
        (folder / f"{task}/suite.csv").write_text(f"text,{column}\nrain,given.{suffix}\n")
        (folder / f"{task}/suite.toml").write_text(f'task = "{task}"\n')
        found[task] = str(folder / task / "suite.csv")
    return found


WAYS = {
    "cascade": "cascade:t2v=wan2.1-1.3b,v2a=mmaudio",
    "checkout": "checkout:foleycrafter",
    "command": "command:./my_model --flag",
    "diffusers": "diffusers:Lightricks/LTX-2",
    "hosted": "hosted:kling",
}


@pytest.mark.parametrize("name", ALL)
def test_every_row_is_shown_and_planned_or_says_why_not(
    name: str, suites: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = rows(monkeypatch)[name]
    assert ALL[name]["title"] in show(monkeypatch, "show", name)
    model = WAYS.get(name, name)
    if not row["runs_here"]:
        with pytest.raises(UsageError, match=re.escape(f"cannot be run: {row['why_not']}")):
            javisbench.api.look_ahead(model, suite="demo")
        return
    if name in WAYS:
        with pytest.raises(UsageError):  # what it needs is told
            create_generator(name)
    generator = create_generator(model)
    task = next(task for task in ("t2av", "v2a", "a2v", "i2av") if task in generator.tasks)
    suite = suites["av" if not generator.needs_text else task]
    if row["family"] == "t2a":
        # A sound alone is no clip of a suite of prompts: what it is good for is told.
        with pytest.raises(GenerationError, match="cascade:"):
            javisbench.api.look_ahead(model, suite=suite, out=tmp_path / "run")
        model = row["how_to_run"].removeprefix("--model ")
    found = javisbench.api.look_ahead(model, suite=suite, limit=1, out=tmp_path / "run")
    assert found.as_json()
    assert not (tmp_path / "run").exists()


def test_ids_of_cards_are_names_of_models_and_of_stages() -> None:
    assert resolved_spec("ltx-2") == "diffusers:Lightricks/LTX-2"
    assert resolved_spec("javisdit-v0.1") == "javisdit:v0.1"
    assert resolved_spec("mmaudio:small_16k") == "mmaudio:small_16k"
    assert resolved_spec("ovi") == "checkout:ovi"
    cascade = create_generator("cascade:t2v=ltx-video,v2a=foleycrafter", {"v2a.repo": "x"})
    assert [stage.generator.card_id for stage in cascade.stages] == ["ltx-video", "foleycrafter"]  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"no model 'foleycraft'\. Did you mean 'foleycrafter'"):
        create_generator("foleycraft")
    with pytest.raises(UsageError, match=r"t2v=wan2\.1: there is no such model.*Did you mean .*'wan2\.1-1\.3b'"):
        create_generator("cascade:t2v=wan2.1,v2a=mmaudio")
    with pytest.raises(UsageError, match="SyncFlow cannot be run: its authors published no code"):
        create_generator("syncflow")
    with pytest.raises(GenerationError, match="that model is v2a, and cannot be a t2v stage"):
        create_generator("cascade:t2v=foleycrafter,v2a=mmaudio").plan(ClipSpec())


def test_an_id_and_what_it_stands_for_are_one_model(tmp_path: Path) -> None:
    suite = load_suite("demo")
    jobs = [
        GenerationJob.prepare(model, None, suite, GenerateSettings(), tmp_path, None)
        for model in ("ltx-2", "diffusers:Lightricks/LTX-2")
    ]
    assert jobs[0].model["identity"] == jobs[1].model["identity"]
    assert jobs[0].model["name"] == "ltx-2"
