"""Cards of other packages: weights, models and suites, found without importing the package."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from javisbench.cards import card_problems, read_cards, suite_cards
from javisbench.cli import run as cli
from javisbench.errors import MissingWeightsError, UsageError
from javisbench.suite import load_suite
from javisbench.weights import WeightStore, weights_registry
from javisbench.weights.fetch import verify
from javisbench.weights.store import weights_problems

CONTENT = b"the weights"
CARD = f"""id = "toy"
title = "Toy projection"
source = "somebody/toy"
licence = "MIT"
files = [{{ path = "toy.safetensors", bytes = {len(CONTENT)}, sha256 = "{hashlib.sha256(CONTENT).hexdigest()}" }}]
"""
FILES = {
    "cards/weights/toy.toml": CARD,
    "cards/models/toy-model.toml": 'title = "Toy model"\nfamily = "t2av"\nstatus = "run"\n',
    "cards/suites/toy-suite.toml": 'title = "Toy suite"\nsamples = 2\nfile = "toy.csv"\n[setting]\nfps = 12\n',
    "cards/suites/toy.csv": "text\na bell\na drum\n",
}
ENTRIES = "[javisbench.data_cards]\ntoys = toys:cards\n"


def test_they_stand_beside_those_of_javisbench(packages: Any, store: WeightStore, tmp_path: Path) -> None:
    before = set(weights_registry())
    packages.install("toys", ENTRIES, "raise RuntimeError('imported')", files=FILES)
    entry = weights_registry()["toy"]
    assert set(weights_registry()) == {*before, "toy"} and weights_problems() == []
    assert (entry.package, entry.local_names, entry.fetchable) == ("toys 1.0", ("toy.safetensors",), True)
    with pytest.raises(MissingWeightsError, match="Fetch them: javisbench weights fetch toy"):
        WeightStore().find("toy")
    (tmp_path / "local").mkdir()
    (tmp_path / "local/toy.safetensors").write_bytes(CONTENT)
    local = WeightStore([tmp_path / "local"])
    assert local.locate("toy").official is True and verify(local, local.entry("toy")).good
    (tmp_path / "local/toy.safetensors").write_bytes(b"others!!!!!")
    assert local.locate("toy").official is False and verify(local, local.entry("toy")).problems
    assert read_cards("models")["toy-model"]["package"] == "toys 1.0"
    assert suite_cards()["toy-suite"].setting.fps == 12
    assert [sample.text for sample in load_suite("toy-suite")] == ["a bell", "a drum"]


def test_the_commands_show_them(packages: Any, store: WeightStore, capsys: pytest.CaptureFixture[str]) -> None:
    packages.install("toys", ENTRIES, files={**FILES, "cards/weights/torn.toml": "title = "})
    assert cli(["weights", "list", "--json"]) == 0
    out, err = capsys.readouterr()
    facts = {fact["id"]: fact for fact in json.loads(out)}
    assert facts["toy"]["package"] == "toys 1.0" and facts["i3d"]["package"] == "javisbench"
    assert "The card weights/torn.toml of the package toys 1.0 cannot be read" in err
    assert cli(["weights", "list"]) == 0 and "toys 1.0" in capsys.readouterr().out
    assert cli(["weights", "fetch", "toy"]) == 2
    err = capsys.readouterr().err
    assert "Toy projection (of the package toys 1.0) from somebody/toy; licence MIT" in err


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("i3d.toml", CARD.replace('"toy"', '"i3d"'), "is left out: javisbench has a card 'i3d'"),
        ("up.toml", CARD.replace('"toy"', '"../up"'), "is left out: '../up' is no id"),
        ("bare.toml", 'title = "Bare"', "is left out: lacks 'source'"),
        ("hash.toml", CARD.replace('"toy"', '"hash"').replace("sha256 = \"", "sha256 = \"x"), "is no SHA-256"),
        ("file.toml", CARD.replace('"toy"', '"file"').replace("bytes", "octets"), "octets"),
        ("none.toml", 'title = "a"\nsource = "b"\nlicence = "c"', "names neither files nor local_names"),
    ],
)  # fmt: skip
def test_one_that_does_not_hold_is_left_out_and_told(packages: Any, name: str, text: str, message: str) -> None:
    packages.install("toys", ENTRIES, files={**FILES, f"cards/weights/{name}": text})
    assert {"toy", "i3d"} < set(weights_registry())
    (problem,) = weights_problems()
    assert message in problem and f"weights/{name}" in problem and "toys 1.0" in problem
    with pytest.raises(UsageError, match="There are no weights 'bare'") as told:
        WeightStore().entry("bare")
    assert told.value.details == (problem,)


def test_a_folder_that_is_not_there_is_told(packages: Any) -> None:
    packages.install("toys", ENTRIES.replace("toys:cards", "toys:kards") + "more = no_such_package:cards\n")
    problems = card_problems("weights")
    assert len(problems) == 2 and all("toys 1.0" in problem and "no such folder" in problem for problem in problems)
    assert "i3d" in weights_registry()


def test_lists_of_models_and_suites_say_what_is_left_out(packages: Any, capsys: pytest.CaptureFixture[str]) -> None:
    entries = "[javisbench.suites]\ndemo = toys:demo\nodd = toys:odd\n[javisbench.generators]\ncommand = toys:Command\n"
    source = "def odd():\n    return 3\n"
    packages.install("toys", ENTRIES + entries, source, files={**FILES, "cards/models/torn.toml": "x"})
    assert cli(["suites", "list"]) == 0
    out, err = capsys.readouterr()
    assert "toy-suite" in out and "of the package toys 1.0" in out
    assert err.strip() == "The suite 'demo' of the package toys 1.0 is left out: a card has it."
    assert cli(["models", "list", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "toy-model" in out and "models/torn.toml of the package toys 1.0 cannot be read" in err
    assert "toys 1.0 registers the model 'command', which javisbench has already" in err
    assert len(load_suite("demo")) == 72
    with pytest.raises(UsageError, match=r"The suite 'odd' of the package toys 1.0 failed in .*no Suite"):
        load_suite("odd")
