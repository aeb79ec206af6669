"""The documentation: links lead somewhere, commands and names exist, tables are those of the code, snippets run."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import click
import numpy as np
import pytest

from javisbench.cards import suite_cards
from javisbench.cli import cli
from javisbench.clip import Clip
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.base import Encoder, EncoderCard, FeatureSpec
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1, V2, parse_protocol, setting_names
from javisbench.run.plan import select_metrics

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")] + sorted(
    ROOT.glob("docs/*.md")
)
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# Links


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}"


def test_tests_that_are_named_exist() -> None:
    """docs/precision.md says which test holds each bound, SECURITY.md which one holds each guard."""
    pages = (ROOT / "docs" / "precision.md", ROOT / "SECURITY.md")
    found = [re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text(encoding="utf-8")) for page in pages]
    assert min(map(len, found)) > 15
    named = [test for tests in found for test in tests]
    for path, function in named:
        assert (ROOT / path).is_file(), path
        assert f"def {function}" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{function}"


# Commands and names


def commands(page: Path) -> Iterator[list[str]]:
    """Every ``javisbench ...`` of code blocks and code spans, as words."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = "\n".join(re.findall(r"^```(?:sh|bash|console|text)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    indented = "\n".join(re.findall(r"^(?: {4}|\t)(.*)$", text, re.MULTILINE))
    lines = re.findall(r"^\$? ?(javisbench .*)$", f"{fenced}\n{indented}", re.MULTILINE)
    for line in [*lines, *re.findall(r"`(javisbench [^`\n]+)`", text)]:
        yield [word for word in shlex.split(line, comments=True)[1:] if word != "..."]


def parsed(words: Sequence[str]) -> dict[str, Any]:
    """What click makes of a command line before it looks at values."""
    command: click.Command = cli
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        names, group = rest[0].split("|"), command
        for name in names:
            found = group.get_command(click.Context(group), name)
            assert found is not None, f"there is no command {name!r}"
            command = found
        rest = [] if len(names) > 1 else rest[1:]
    context = click.Context(command)
    try:
        values, extra, _ = command.make_parser(context).parse_args(args=rest)
    except click.BadOptionUsage:  # a code span may end with an option's name
        values, extra, _ = command.make_parser(context).parse_args(args=[*rest, "VALUE"])
    assert not extra, f"too many arguments: {extra}"
    return values


@pytest.mark.usefixtures("example_package")
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_exist_with_their_options(page: Path) -> None:
    for words in commands(page):
        try:
            values = parsed(words)
        except (click.UsageError, AssertionError) as error:
            raise AssertionError(f"{page.name}: javisbench {' '.join(words)}: {error}") from error
        check_names(values)


def check_names(values: dict[str, Any]) -> None:
    for suite in filter(None, [values.get("suite")]):
        assert suite.partition(":")[0] in suite_cards() or suite.endswith((".csv", ".jsonl")) or suite.isupper(), suite
    for metric in (values.get("metrics") or "").split(",") if isinstance(values.get("metrics"), str) else []:
        assert not metric or select_metrics([metric], V1), metric
    for protocol in values.get("protocols") or ():
        parse_protocol(protocol)
    for encoder in values.get("encoders") or ():
        name, _, variant = encoder.partition("=")
        assert variant in ENCODERS.get(name).card.variants, encoder


def every_option() -> set[str]:
    found = {"--help", "--version"}
    waiting: list[click.Command] = [cli]
    while waiting:
        command = waiting.pop()
        found |= {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        if isinstance(command, click.Group):
            context = click.Context(command)
            waiting += [c for name in command.list_commands(context) if (c := command.get_command(context, name))]
    return found


@pytest.mark.usefixtures("example_package")
def test_options_and_protocols_that_are_mentioned_exist() -> None:
    options = every_option()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for span in re.findall(r"`([^`\n]+)`", text):
            for option in re.findall(r"^--[a-z-]+", span):
                assert option in options, f"{page.name}: {option}"
            for name in re.findall(r"^(?:javisbench-v\d|aist-landscape)[^ ,]*$", span):
                overrides = name.split("+")[1:]
                kept = [part for part in overrides if part.split("=")[0] in setting_names() or ".window_s=" in part]
                for part in set(overrides) - set(kept):
                    encoder, _, variant = part.partition("=")
                    known = part in ("tf32", "bf16", "fp16", "compiled", "imported", "...") or encoder == "weights"
                    assert known or variant in ENCODERS.get(encoder).card.variants, f"{page.name}: {name}"
                parse_protocol("+".join([name.split("+")[0], *kept]))


def test_the_readme_names_every_metric() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert set(select_metrics(named, V1)) == set(METRICS)
    assert set(select_metrics(None, V1)) <= set(select_metrics(named, V1))


# Tables


def test_the_metrics_page_is_that_of_the_cards() -> None:
    written = module(ROOT / "docs" / "make_metrics.py").page()
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == written, "run python docs/make_metrics.py"


def test_the_page_on_extending_shows_the_example_package_as_it_is() -> None:
    make, page = module(ROOT / "docs" / "make_extending.py"), ROOT / "docs" / "extending.md"
    text = page.read_text(encoding="utf-8")
    assert text == make.with_files(text), "run python docs/make_extending.py"
    package = ROOT / "examples" / "plugin"
    code = {path.relative_to(ROOT).as_posix() for path in (package / "javisbench_example").glob("*.py")}
    # What is told in words: an empty file, and the program that writes the weights.
    unseen = {f"examples/plugin/javisbench_example/{name}.py" for name in ("__init__", "make_weights")}
    assert code - unseen <= set(make.shown(text))


def test_the_licences_page_is_written_from_the_cards() -> None:
    written = module(ROOT / "docs" / "make_licences.py").page()
    assert (ROOT / "docs" / "licences.md").read_text(encoding="utf-8") == written, "run python docs/make_licences.py"


def test_the_trials_page_is_written_from_damages_and_recorded_trials() -> None:
    written = module(ROOT / "docs" / "make_trials.py").page()
    assert (ROOT / "docs" / "trial-results.md").read_text(encoding="utf-8") == written, "run python docs/make_trials.py"


def test_the_protocols_page_has_every_difference_with_its_measured_effect() -> None:
    effects = module(ROOT / "benchmarks" / "protocol_effects.py")
    differences = effects.differences()
    page = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
    first, second = V1.settings(), V2.settings()
    by_name = {
        name: (value, second[concern][name])
        for concern, settings in first.items()
        if isinstance(settings, dict)
        for name, value in settings.items()
    }
    # The revision tells versions of one protocol apart, and is no setting of its computation.
    by_name |= {name: (value, second[name]) for name, value in first.items() if not isinstance(value, dict)}
    del by_name["revision"]
    assert {name for name, (one, two) in by_name.items() if one != two} == set(differences)
    for name, values in differences.items():
        shown = [effects.as_override(name, value).partition("=")[2] for value in values]
        assert any(
            line.startswith(f"| `{name}` |") and all(f"`{value}`" in line for value in shown)
            for line in page.splitlines()
        ), name
    results = json.loads(effects.RESULTS.read_text(encoding="utf-8"))
    assert set(results["reference_clips"]["effects"]) == {*differences, "all"}, "run benchmarks/protocol_effects.py"
    assert effects.table(results) in page, "run python benchmarks/protocol_effects.py --table"


# Snippets


class MeanColour(Encoder):
    """I3D's place in the snippets: 400 cheap numbers a clip."""

    card: ClassVar[EncoderCard] = EncoderCard("i3d", "mean colour", {"kinetics400": None}, host=True)

    def encode(self, items: Any, specs: Sequence[FeatureSpec]) -> list[dict[FeatureSpec, Any]]:
        rows = [np.resize(item.frames.mean((0, 2), dtype=np.float32), 400) for item in items]
        return [{spec: {"embedding": row} for spec in specs} for row in rows]


class Samples(Encoder):
    """AudioCLIP's place in the snippets: the first 1024 samples."""

    card: ClassVar[EncoderCard] = EncoderCard("audioclip", "samples", {"full": None}, host=True)

    def encode(self, items: Any, specs: Sequence[FeatureSpec]) -> list[dict[FeatureSpec, Any]]:
        return [{spec: {"embedding": item.audio[0, :1024]} for spec in specs} for item in items]


def test_snippets_of_the_trial_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "trial.md").read_text(encoding="utf-8")
    made: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "docs/trial.md", "exec"), made)  # noqa: S102
    rows = (tmp_path / "pairs.csv").read_text().splitlines()
    assert rows[1:] == [
        "veo/0000.mp4,sora/0000.mp4,a,votes,0000", "veo/0000.mp4,wan/0000.mp4,a,votes,0000",
        "sora/0000.mp4,wan/0000.mp4,tie,votes,0000",
    ]  # fmt: skip
    clip = Clip(np.full((2, 4, 4, 3), 200, np.uint8), Fraction(8), None, None)
    assert (made["Inverted"]().apply(clip, 0.0, np.random.default_rng(0), None).frames == 55).all()


def test_snippets_of_the_training_page_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    golden_json: Callable[[str], Any],
    seeded_weights: ModuleType,
) -> None:
    import torch

    tensors = golden_json("statedict_imagebind_tiny")["tensors"]
    state = seeded_weights.seeded_state_dict({name: entry[0] for name, entry in tensors.items()}, "imagebind", 0)
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, tmp_path / "imagebind_tiny.pth")
    monkeypatch.setenv("JAVISBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("javisbench.metrics.encoders.i3d.I3DEncoder", MeanColour)
    monkeypatch.setattr("javisbench.metrics.encoders.audioclip.AudioCLIPEncoder", Samples)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(<!-- not run[^>]*-->\n)?```python\n(.*?)```", text, re.DOTALL)
    ran = [block for skipped, block in blocks if not skipped]
    assert len(ran) >= 8 and len(blocks) - len(ran) <= 3
    names: dict[str, Any] = {}
    for block in ran:
        small = re.sub(r"(JavisScore|ImageBindScores)\(device", r'\1(variant="tiny", device', block)
        exec(compile(small, "docs/training.md", "exec"), names)  # noqa: S102 - our own page
    assert names["rewards"].shape == (2,) and torch.isfinite(names["rewards"]).all()
    torch.testing.assert_close(names["rewards"][0], names["one"], rtol=0, atol=1e-5)
    assert set(names["made"]) == {"tv_ib", "ta_ib", "av_ib", "avh_score", "javis_score"}
    torch.testing.assert_close(names["made"]["javis_score"], names["rewards"], rtol=0, atol=1e-5)
    assert len(names["result"].details["windows"]) > 1
    assert names["value"] == pytest.approx(names["fvd"].compute())
    assert names["strict"].protocol.name == "javisbench-v2+top_k=0.2"


def test_the_objects_for_training_loops_are_where_the_page_says() -> None:
    import javisbench.metrics
    from javisbench.metrics.accumulators import FVD
    from javisbench.metrics.javis_score import JavisScore

    assert javisbench.metrics.FVD is FVD and javisbench.metrics.JavisScore is JavisScore
    with pytest.raises(AttributeError, match="no attribute 'FDV'"):
        javisbench.metrics.FDV  # noqa: B018
