"""Recipes: those that ship, what a broken one says, and that a written one reads back."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import javisbench
from javisbench.baselines.registry import create_generator
from javisbench.errors import RecipeError, UsageError
from javisbench.metrics.registry import METRICS
from javisbench.protocol import parse_protocol
from javisbench.results.published import published_results
from javisbench.results.recipe import Doubt, Expected, KnownFault, Recipe
from javisbench.results.recipe_toml import parse_recipe, recipe_text
from javisbench.results.recipes import known_recipes, load_recipe, read_recipe, write_recipe
from javisbench.run.recipe_job import RecipeJob

PACKAGE = Path(javisbench.__file__).parent
SCHEMA = json.loads((PACKAGE / "data_cards" / "schemas" / "recipe.schema.json").read_text(encoding="utf-8"))
PATHS = sorted((PACKAGE / "data_cards" / "recipes").glob("*.toml"))
WHOLE: dict[str, Any] = {
    "schema": 1,
    "id": "mine",
    "title": "Mine on demo",
    "kind": "run",
    "source": "A paper",
    "summary": "A summary.",
    "n": 72,
    "tolerance_from": "two runs",
    "suite": {"name": "demo", "revision": "1", "hash": "0" * 64, "samples": 72},
    "model": {
        "name": "Mine",
        "spec": "procedural",
        "revision": "weights of May",
        "parameters": {"offset_s": 0.1, "damage": "none"},
        "weights": {"network": {"model.safetensors": "ab" * 32}},
    },
    "generation": {"seed": 3, "repeats": 2, "limit": 10, "conform": "exact", "dtype": "float32"},
    "clips": {
        "width": 64, "height": 36, "frames": 24, "fps": "24000/1001", "duration_s": 1.0, "sample_rate": 16000,
        "sound": "sidecar",
    },
    "scoring": {
        "protocol": "javisbench-v1+top_k=0.5",
        "metrics": ["av_align", "health_*"],
        "reference": "clips of ours",
        "encoders": {"imagebind": "tiny"},
        "weights": {"imagebind": "cd" * 32},
    },
    "expected": [
        {
            "metric": "av_align", "name": "AV-Align", "slice": "overall", "value": "0.263", "n": 70, "ci_low": 0.2,
            "ci_high": 0.3, "tolerance": 0.01, "tolerance_from": "three runs", "source": "Another", "table": "Table 1",
            "note": "A note.",
        },
        {"name": "Other", "value": 1.5, "tolerance": 0.1, "note": "nothing here computes it"},
    ],
    "doubts": [{"about": "weights", "text": "Perhaps others."}],
    "faults": [
        {"id": "half", "text": "Half.", "metrics": ["fvd"], "setting": "video_range=signed", "longer_than_s": 4.0}
    ],
}  # fmt: skip


# Those that ship


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_recipe_that_ships_is_one(path: Path) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(tomllib.loads(path.read_text(encoding="utf-8")))
    recipe = read_recipe(path)
    assert recipe.id == path.stem and recipe.doubts
    for value in recipe.expected:
        assert not value.metric or value.metric in METRICS, value.metric
        assert value.tolerance_from and value.source
        # A tolerance below what printing rounded off would call a repetition different for its digits.
        assert value.tolerance == value.margin
    concerns = parse_protocol(recipe.protocol).settings().values()
    settings = {name for concern in concerns if isinstance(concern, dict) for name in concern}
    assert {fault.setting.partition("=")[0] for fault in recipe.faults if fault.setting} <= settings
    assert all(metric in METRICS for fault in recipe.faults for metric in fault.metrics)


def test_recipes_are_those_that_the_published_settings_allow() -> None:
    kinds = {name: recipe.kind for name, recipe in known_recipes().items()}
    assert {name for name, kind in kinds.items() if kind == "run"} == {
        "javisdit-v0.1", "javisdit-v1.0-65-frames", "javisdit-v1.0-102-frames", "mmaudio-small-16k-vggsound",
    }  # fmt: skip
    assert kinds["synchformer-av-syncbench"] == "trial"
    assert {kind for name, kind in kinds.items() if name.startswith("avgen-bench")} == {"score"}
    for name in ("javisdit-v0.1", "javisdit-v1.0-65-frames", "javisdit-v1.0-102-frames"):
        recipe = load_recipe(name)
        # The model takes the parameters, and makes what the recipe says of the clips.
        generator = create_generator(recipe.spec, {k: str(v) for k, v in recipe.parameters.items()})
        plan = generator.plan(javisbench.ClipSpec())
        made = {"width": plan.width, "height": plan.height, "frames": plan.frames, "fps": plan.fps}
        assert made == {name: recipe.clips[name] for name in made}
        assert plan.frames / plan.fps == pytest.approx(recipe.clips["duration_s"])


def test_values_on_javisbench_are_those_of_the_published_record() -> None:
    """No second copy of a number: what a recipe expects stands in published_results.csv, under the same source."""
    record = {
        (row.source, row.table, metric, text)
        for row in published_results()
        if row.suite == "javisbench"
        for metric, (_, text) in row.values.items()
    }
    recipes = [recipe for recipe in known_recipes().values() if recipe.suite == "javisbench"]
    assert len(recipes) == 8
    for recipe in recipes:
        for value in recipe.expected:
            source, _, table = value.source.rpartition(", ")
            assert (source, table, value.metric, value.printed) in record, (recipe.id, value)


def test_the_page_names_every_recipe_and_shows_what_was_simulated() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "reproduce.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in known_recipes())
    spec = spec_from_file_location("reproduction", root / "benchmarks" / "reproduction.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    cases = json.loads(module.RESULTS.read_text(encoding="utf-8"))["cases"]
    assert module.table(cases) in page, "run python benchmarks/reproduction.py --table"
    # What the page says of recipes whose values truly agree, with three standard errors of so many of them.
    for case in (case for case in cases if not case["away"]):
        assert case["any_differs"] <= 0.05 + 3 * (0.05 * 0.95 / case["recipes"]) ** 0.5, case


# Reading


def test_every_member_is_read() -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(WHOLE)
    recipe = parse_recipe(WHOLE, "mine.toml")
    first, second = recipe.expected
    assert (first.value, first.digits, first.n, first.margin) == (0.263, 3, 70, 0.01)
    assert (first.tolerance_from, first.source) == ("three runs", "Another, Table 1")
    assert (second.metric, second.digits, second.n, second.tolerance_from) == ("", None, 72, "two runs")
    facts = recipe.facts()
    assert facts["protocol_settings.javis_score.top_k"] == 0.5 and facts["prompts"] == 10
    assert facts["clips.fps"] == "24000/1001" and facts["sound"] == "files beside the clips"
    assert facts["generation model.parameters.offset_s"] == 0.1
    assert facts["encoders.imagebind.weights_sha256"] == "cd" * 32
    assert "stand_in" not in facts and "generation.limit" not in facts


def changed(*path: Any, to: Any) -> Callable[[], dict[str, Any]]:
    def make() -> dict[str, Any]:
        document = copy.deepcopy(WHOLE)
        inner: Any = document
        for name in path[:-1]:
            inner = inner[name]
        if to is None:
            del inner[path[-1]]
        else:
            inner[path[-1]] = to
        return document

    return make


BROKEN = [
    (("schema",), 2, "schema is 2"),
    (("kind",), "copy", "kind is 'copy'"),
    (("title",), None, "title is needed"),
    (("title",), 3, "title is no text"),
    (("title",), "x" * 5000, "title has 5,000 characters"),
    (("id",), "../up", "id is '../up'"),
    (("seed",), 1, "seed is no member of a recipe"),
    (("suite", "name"), None, "suite.name is needed"),
    (("suite", "hash"), "xyz", "suite.hash is 'xyz'"),
    (("suite", "samples"), 0, "suite.samples is no whole number"),
    (("suite", "revison"), "1", "suite.revison is no member of a recipe. Did you mean 'revision'"),
    (("model", "spec"), None, "model.spec is needed by a recipe that is run"),
    (("model", "parameters", "damage"), ["none"], "model.parameters.damage is neither"),
    (("model", "parameters", "a b"), 1, "model.parameters has the member 'a b'"),
    (("model", "weights"), {"network": "ab"}, "model.weights.network is no table"),
    (("generation", "seed"), -1, "generation.seed is no whole number"),
    (("generation", "seed"), True, "generation.seed is no whole number"),
    (("generation", "conform"), "roughly", "generation.conform is 'roughly'"),
    (("clips", "fps"), "0/1", "clips.fps is no rate"),
    (("clips", "fps"), "1/0", "clips.fps is no rate"),
    (("clips", "fps"), "1e99999999", "clips.fps is no rate"),
    (("clips", "sound"), "disc", "clips.sound is 'disc'"),
    (("clips", "width"), 3.5, "clips.width is no whole number"),
    (("scoring", "protocol"), "javisbench-v9", "scoring.protocol is none: There is no protocol 'javisbench-v9'"),
    (("scoring", "metrics"), ["a b"], "scoring.metrics holds 'a b'"),
    (("scoring", "weights"), {"imagebind": "no"}, "scoring.weights.imagebind is 'no'"),
    (("expected",), [], "expected is empty"),
    (("expected",), {}, "expected is no list"),
    (("expected", 0, "value"), "about 3", "value is 'about 3', which is no printed number"),
    (("expected", 0, "value"), None, "value is needed"),
    (("expected", 0, "value"), float("nan"), "value is no number"),
    (("expected", 0, "tolerance"), -0.1, "tolerance is no number from 0 on"),
    (("expected", 0, "tolerance"), None, "tolerance is needed"),
    (("tolerance_from",), None, r"expected\[1\].tolerance_from is needed"),
    (("expected", 0, "ci_low"), 0.9, "ci_low and ci_high are no interval"),
    (("expected", 0, "ci_low"), None, "ci_low and ci_high are no interval"),
    (("expected", 0, "metric"), "a b", "metric is 'a b'"),
    (("expected", 1, "note"), None, "note is needed where there is no metric"),
    (("expected", 1), WHOLE["expected"][0], "expected has .* twice"),
    (("doubts", 0, "about"), None, "about is needed"),
    (("faults", 0, "setting"), "half", "setting is 'half'"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "to", "told"), BROKEN, ids=lambda part: None)
def test_a_broken_member_is_named(path: tuple[Any, ...], to: Any, told: str) -> None:
    with pytest.raises(RecipeError, match=rf"^mine\.toml: .*{told}"):
        parse_recipe(changed(*path, to=to)(), "mine.toml")


@pytest.mark.parametrize(("path", "to", "told"), BROKEN, ids=lambda part: None)
def test_the_schema_refuses_what_the_reader_refuses(path: tuple[Any, ...], to: Any, told: str) -> None:
    # A schema cannot tell these: one member needs another, a registry knows it, or JSON has no word for it.
    beyond = (
        "javisbench-v9",
        "twice",
        "no interval",
        "no rate",
        "tolerance_from",
        "model.spec",
        "no number$",
        "steps",
        "number of size",
    )
    valid = jsonschema.Draft202012Validator(SCHEMA).is_valid(changed(*path, to=to)())
    assert valid == any(re.search(word, told) for word in beyond)


@pytest.mark.parametrize(
    ("member", "told"),
    [
        ("clips.fps", "clips.fps is no rate"),
        ("clips.duration_s", "clips.duration_s is no number"),
        ("clips.frames", "clips.frames is no whole number"),
        ("generation.seed", "generation.seed is no whole number"),
        ("model.parameters.steps", "model.parameters.steps is neither"),
        ("schema", "schema is no whole number"),
    ],
)
def test_integers_without_end_are_refused(member: str, told: str) -> None:
    """TOML's hexadecimal integers have as many digits as their writer likes, which Python does not print."""
    document = tomllib.loads(f"{member} = 0x{'f' * 100_000}")
    with pytest.raises(RecipeError, match=told):
        parse_recipe({**WHOLE, **{name: {**WHOLE[name], **value} if isinstance(value, dict) else value
                                  for name, value in document.items()}}, "mine.toml")  # fmt: skip


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xff\xfe", "no TOML in UTF-8"),
        (b"a = ", "no TOML in UTF-8"),
        (b"a = " + b"[" * 100_000, "no TOML in UTF-8"),
        (b"#" * (2**20 + 1), "1,048,577 bytes; at most 1,048,576"),
        (b"schema = 1\n", "kind is needed"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_sentence(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(RecipeError, match=told):
        read_recipe(tmp_path / "x.toml")


def test_an_unknown_name_is_told_with_near_ones() -> None:
    with pytest.raises(UsageError, match=r"no recipe 'javisdit-v0.2'.*javisdit-v0.1"):
        load_recipe("javisdit-v0.2")
    with pytest.raises(UsageError, match=r"no recipe at nowhere.toml"):
        load_recipe("nowhere.toml")


# Writing

text = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=40)
line = text.map(lambda t: "".join(c for c in t if c.isprintable()).strip()).filter(bool)
number = st.floats(-1e9, 1e9, allow_nan=False)


@given(
    title=line, source=line, value=number, tolerance=st.floats(0, 1e6), n=st.none() | st.integers(1, 2**40),
    parameters=st.dictionaries(st.sampled_from(["a", "b_c", "d1"]), text | st.booleans() | st.integers(-9, 9) | number),
)  # fmt: skip
def test_a_written_recipe_reads_back_as_the_same(
    title: str, source: str, value: float, tolerance: float, n: int | None, parameters: dict[str, Any]
) -> None:
    recipe = Recipe(
        id="x",
        title=title,
        kind="run",
        source=source,
        suite=title,
        model=source,
        spec="procedural",
        parameters={name: given for name, given in parameters.items() if given != ""},
        model_weights={"net work": {"model.safetensors": "ab" * 32}},
        expected=(
            Expected("av_align", "av_align", value, None, "overall", n, tolerance, title, source),
            Expected("", title, 0.26, 2, "overall", n, tolerance, title, source, note=source),
        ),
        doubts=(Doubt(title, source),),
        faults=(KnownFault("f", title, ("fvd",), "video_range=signed", 4.5),),
    )
    assert parse_recipe(tomllib.loads(recipe_text(recipe)), "x", None) == recipe


def test_a_recipe_is_never_written_over_a_file(tmp_path: Path) -> None:
    recipe = parse_recipe(WHOLE, "mine.toml")
    write_recipe(recipe, tmp_path / "mine.toml")
    assert read_recipe(tmp_path / "mine.toml").expected == recipe.expected
    with pytest.raises(RecipeError, match="there already"):
        write_recipe(recipe, tmp_path / "mine.toml")
    (tmp_path / "prompts.csv").touch()
    with pytest.raises(RecipeError, match=r"card of the suite prompts\.csv"):
        write_recipe(recipe, tmp_path / "prompts.toml")


# Jobs


def test_what_cannot_be_done_with_a_recipe_is_said() -> None:
    with pytest.raises(UsageError, match=r"checked only.*reproduce check RUN omniforcing"):
        RecipeJob.of(load_recipe("omniforcing"))
    with pytest.raises(UsageError, match=r"needs clips that are made already.*--clips FOLDER"):
        RecipeJob.of(load_recipe("avgen-bench-ovi"))
    with pytest.raises(UsageError, match="needs the data set"):
        RecipeJob.of(load_recipe("synchformer-av-syncbench"))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("javisdit-v0.1", {}),
        ("javisdit-v1.0-102-frames", {"limit": 4, "out": "there", "device": "cpu", "workers": 2}),
        ("javisdit-v0.1", {"clips": "clips", "reference": "real"}),
        ("avgen-bench-ovi", {"clips": "clips", "suite": "mine.csv"}),
    ],
)
def test_the_printed_command_is_the_job(name: str, given: dict[str, Any]) -> None:
    """The command's own parser makes of the printed words what the job hands to the library."""
    from javisbench.cli.eval import command as eval_
    from javisbench.cli.generate import generate_settings
    from javisbench.cli.options import parse_pairs
    from javisbench.cli.score import command as score
    from javisbench.cli.score import scoring_options

    job = RecipeJob.of(load_recipe(name), **given)
    command = {"eval": eval_, "score": score}[job.command]
    parsed = command.make_context(job.command, job.arguments()[1:]).params
    assert scoring_options(parsed) == replace(job.options, metrics=list(job.options.metrics or ()))
    assert (parsed["suite"], parsed["limit"]) == (job.suite, job.limit)
    assert (None if parsed["out"] is None else str(parsed["out"])) == job.out
    if job.command == "eval":
        assert parsed["model"] == job.model and parse_pairs("-M", parsed["params"]) == job.params
        assert generate_settings(parsed) == job.settings
    else:
        assert str(parsed["clips"]) == job.clips and parsed["name"] == job.name
