"""Registries: own entries, plugins of other packages, and what is said of those that do not work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from javisbench.errors import MetricError, PluginError, UsageError
from javisbench.registry import Registry

OWN = {"own": "javisbench.clip:Clip", "gone": "javisbench.no_such_module:Thing"}


def install(folder: Path, entries: str, name: str = "someones-plugin", requires: Sequence[str] = ()) -> None:
    """What pip leaves of a package: its entry points."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    needed = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needed}")
    (info / "entry_points.txt").write_text(entries)


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def things() -> Registry[object]:
    return Registry("thing", "javisbench.tests_things", OWN)


def test_own_entries() -> None:
    from javisbench.clip import Clip

    registry = things()
    assert list(registry) == ["own", "gone"]
    assert "own" in registry and "other" not in registry
    assert registry.get("own") is Clip
    # A module of ours that is missing is a defect, not the user's mistake.
    with pytest.raises(ImportError):
        registry.get("gone")
    with pytest.raises(UsageError, match=r"no thing 'onw'\. Did you mean 'own' or 'gone'\? Known: gone, own"):
        registry.get("onw")


def test_entries_of_plugins(plugins: Path) -> None:
    install(plugins, "[javisbench.tests_things]\nextra = fractions:Fraction\nbroken = fractions:Thing\n")
    registry = things()
    assert sorted(registry) == ["broken", "extra", "gone", "own"]
    assert registry.get("extra").__name__ == "Fraction"  # type: ignore[attr-defined]
    assert (registry.plugin("extra").label, registry.plugin("own")) == ("someones-plugin 1.0", None)  # type: ignore[union-attr]
    for _ in range(2):  # the second answer is the first one's
        with pytest.raises(PluginError, match=r"'broken' of the package someones-plugin 1\.0 does not import .*Attr"):
            registry.get("broken")


@pytest.mark.parametrize(
    ("lacks", "told"),
    [
        ("no_such_codec", r"needs the module no_such_codec, which is not .*: pip install 'someones-plugin\[sound\]'\."),
        ("no_such_thing", r"needs the module no_such_thing, which is not .*: pip install --upgrade someones-plugin\."),
        ("lone.part", r"does not import \(lone:Thing\): ModuleNotFoundError"),
    ],
)
def test_a_module_that_lacks_is_named_with_the_extra_that_brings_it(plugins: Path, lacks: str, told: str) -> None:
    requires = ("numpy", 'no-such.codec>=2; extra == "sound"')
    install(plugins, "[javisbench.tests_things]\nneedy = lone:Thing\n", requires=requires)
    (plugins / "lone.py").write_text(f"import {lacks}\n")
    with pytest.raises(PluginError, match=told):
        things().get("needy")


def test_a_plugin_cannot_replace_an_own_entry(plugins: Path) -> None:
    from javisbench.clip import Clip

    install(plugins, "[javisbench.tests_things]\nown = fractions:Fraction\n")
    registry = things()
    assert registry.get("own") is Clip and registry.plugin("own") is None and list(registry) == ["own", "gone"]
    (notice,) = registry.notices()
    assert notice.startswith("someones-plugin 1.0 registers the thing 'own', which javisbench has already")


def test_a_name_of_two_packages_is_nobodys(plugins: Path) -> None:
    install(plugins, "[javisbench.tests_things]\nextra = fractions:Fraction\nother = fractions:Fraction\n")
    install(plugins, "[javisbench.tests_things]\nextra = decimal:Decimal\n", name="anothers")
    registry = things()
    with pytest.raises(
        PluginError, match=r"'extra' is registered more than once, by .*decimal:Decimal.*Uninstall all"
    ) as told:
        registry.get("extra")
    assert "someones-plugin 1.0" in told.value.message and "anothers 1.0" in told.value.message
    assert registry.notices() == [told.value.message]
    assert registry.get("other").__name__ == "Fraction"  # type: ignore[attr-defined]


def test_what_is_registered_must_be_one(plugins: Path) -> None:
    from javisbench.metrics.encoders import ENCODERS
    from javisbench.metrics.registry import METRICS

    install(
        plugins,
        "[javisbench.metrics]\nblack = javisbench.metrics.health:BlackShare\nnumber = fractions:Fraction\n"
        "[javisbench.encoders]\nmotion = javisbench.metrics.encoders.flow:FlowEncoder\nnumber = fractions:Fraction\n",
    )
    metrics = Registry("metric", "javisbench.metrics", {}, METRICS._wrong)
    with pytest.raises(PluginError, match=r"someones-plugin 1\.0 .*has the id 'health_black' on its card"):
        metrics.get("black")
    with pytest.raises(PluginError, match="is no subclass of SampleMetric or SetMetric"):
        metrics.get("number")
    encoders = Registry("encoder", "javisbench.encoders", {}, ENCODERS._wrong)
    with pytest.raises(PluginError, match="has the name 'flow' on its card"):
        encoders.get("motion")
    with pytest.raises(PluginError, match="is no subclass of Encoder"):
        encoders.get("number")


def test_defects_of_plugins_are_named_and_own_ones_stay(plugins: Path) -> None:
    install(plugins, "[javisbench.tests_things]\nextra = fractions:Fraction\n")
    registry = things()
    told = r"'extra' of .* 1\.0 failed in half: ZeroDivisionError: .*The log"
    with pytest.raises(PluginError, match=told), registry.guarded("extra", "half"):
        1 / 0  # noqa: B018
    told = r"^The thing 'extra' of the package someones-plugin 1\.0: no such key\.$"
    with pytest.raises(PluginError, match=told), registry.guarded("extra", "half"):
        raise UsageError("no such key.")
    with pytest.raises(ZeroDivisionError), registry.guarded("own", "half"):
        1 / 0  # noqa: B018
    with pytest.raises(MetricError), registry.guarded("extra", "half"):
        raise MetricError("this clip has no value")


def test_plugins_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("javisbench.registry.entry_points", lambda group: asked.append(group) or [])
    registry = things()
    assert [registry.get("own") for _ in range(3)] and "own" in registry and list(registry)
    assert asked == ["javisbench.tests_things"]


PLUGIN = """
from javisbench.baselines.procedural.generator import Procedural
from javisbench.metrics.health import BlackShare
from javisbench.suite import load_suite
from dataclasses import replace


class Dark(BlackShare):
    card = replace(BlackShare.card, id="dark", title="Darkness")


class Maker(Procedural):
    pass


def short_suite():
    return load_suite("demo").limited(2)
"""


def test_a_package_adds_a_metric_a_generator_and_a_suite(tmp_path: Path) -> None:
    (tmp_path / "someones_plugin.py").write_text(PLUGIN)
    install(
        tmp_path,
        "[javisbench.metrics]\ndark = someones_plugin:Dark\n"
        "[javisbench.generators]\nmaker = someones_plugin:Maker\n"
        "[javisbench.suites]\nshort = someones_plugin:short_suite\n",
    )
    run = subprocess.run(
        [
            *(sys.executable, "-m", "javisbench", "eval", "--model", "maker", "--suite", "short", "--metrics", "dark"),
            *("--out", str(tmp_path / "run"), "--workers", "1", "--json", "--quiet"),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    summary = json.loads(run.stdout)
    assert summary["metrics"]["dark"]["overall"]["n"] == 2
    assert summary["run"]["model"] == "maker"
