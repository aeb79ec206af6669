"""Registries: own entries, plugins of other packages, and what is said of those that do not work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from javisbench.errors import UsageError
from javisbench.registry import Registry

OWN = {"own": "javisbench.clip:Clip", "gone": "javisbench.no_such_module:Thing"}


def install(folder: Path, entries: str) -> None:
    """What pip leaves of a package: its entry points."""
    info = folder / "someones_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someones-plugin\nVersion: 1.0\n")
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
    install(plugins, "[javisbench.tests_things]\nextra = fractions:Fraction\nbroken = no_such_package:Thing\n")
    registry = things()
    assert sorted(registry) == ["broken", "extra", "gone", "own"]
    assert registry.get("extra").__name__ == "Fraction"  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"'broken' of an installed plugin does not import.*no_such_package:Thing"):
        registry.get("broken")


def test_a_plugin_cannot_replace_an_own_entry(plugins: Path) -> None:
    install(plugins, "[javisbench.tests_things]\nown = fractions:Fraction\n")
    with pytest.raises(UsageError, match=r"'fractions:Fraction' registers the thing 'own', which javisbench has"):
        things().get("own")


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
