"""Settings of metrics and encoders of other packages: in a protocol's name, in what a result records, and read back."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from javisbench.errors import PluginError, UsageError
from javisbench.protocol import V1, V2, parse_protocol, recorded_protocol
from javisbench.settings import plugin_settings

SOURCE = """
from dataclasses import dataclass, field
from typing import Literal

@dataclass(frozen=True)
class Steps:
    window_s: float = 0.5
    count: int = 3
    squared: bool = False
    shape: Literal["flat", "hann"] = "flat"
    label: str = "plain"

    def __post_init__(self):
        if self.count < 1:
            raise ValueError(f"count must be 1 or more; got {self.count}")

class Metric:
    settings = Steps

class Bare:
    settings = None

@dataclass
class Thawed:
    size: int = 1

class Loose:
    settings = Thawed

@dataclass(frozen=True)
class Deep:
    sizes: tuple = ()

class Nested:
    settings = Deep

@dataclass(frozen=True)
class Odd:
    size: int = 1.5

class Wrong:
    settings = Odd

@dataclass(frozen=True)
class Few:
    size: int = 1

class Small:
    settings = Few
"""
ENTRIES = """[javisbench.metrics]
steps = stepper:Metric
bare = stepper:Bare
loose = stepper:Loose
nested = stepper:Nested
wrong = stepper:Wrong
[javisbench.encoders]
other = elsewhere:Encoder
"""


@pytest.fixture(autouse=True)
def stepper(packages: Any) -> Any:
    packages.install("stepper", ENTRIES, SOURCE)
    return packages


def steps() -> type:
    return plugin_settings("steps")


def test_an_override_derives_the_name_and_mounts_the_settings() -> None:
    protocol = parse_protocol("javisbench-v1+steps.squared=TRUE+steps.window_s=1")
    assert protocol.name == "javisbench-v1+steps.squared=true+steps.window_s=1.0" and protocol.base == "javisbench-v1"
    assert protocol.mounted("steps", steps()) == steps()(window_s=1.0, squared=True)
    assert parse_protocol("javisbench-v1+steps.window_s=1+steps.squared=true") == protocol
    assert V1.mounted("steps", steps()) == steps()()
    settings = protocol.settings()
    plugins = {"count": 3, "label": "plain", "shape": "flat", "squared": True, "window_s": 1.0}
    assert settings.pop("plugins") == {"steps": plugins} and settings == V1.settings()


def test_the_default_is_no_override_and_own_settings_may_be_written_with_their_concern() -> None:
    assert parse_protocol("javisbench-v1+steps.window_s=0.5") is V1
    assert parse_protocol("javisbench-v1+javis_score.top_k=0.5") == parse_protocol("javisbench-v1+top_k=0.5")
    assert "elsewhere" not in sys.modules, "only the plugin that is named is imported"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps.windows=1", "steps has no setting 'windows'. Did you mean 'window_s'"),
        ("steps.count=1.5", "steps.count is a int"),
        ("steps.count=0", "steps cannot have these settings: count must be 1 or more; got 0"),
        ("steps.window_s=nan", "which that setting cannot be"),
        ("steps.shape=round", "one of flat, hann"),
        ("steps.squared=2", "is true or false"),
        ("steps.label=../up", "is a word of letters"),
        ("steps.count", "not SETTING=VALUE"),
        ("stepps.count=1", "'stepps' is no metric or encoder of an installed package"),
        ("bare.count=1", "'bare' has no settings"),
        ("fvd.top_k=0.5", "'fvd' is no metric or encoder of an installed package"),
        ("loose.size=2", r"'loose' of the package stepper 1.0 failed in its settings.*Thawed is no frozen dataclass"),
        ("nested.sizes=2", "Deep.sizes is neither int, float"),
        ("wrong.size=2", "has the default 1.5, which it cannot be"),
        ("other.size=2", "'other' of the package stepper 1.0 does not import|needs the module elsewhere"),
    ],
)
def test_what_cannot_be_says_why(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_protocol(f"javisbench-v1+{override}")


def test_a_metric_and_an_encoder_of_one_id_share_their_settings_or_are_refused(packages: Any) -> None:
    entries = "[javisbench.metrics]\n{0} = stepper:Metric\n[javisbench.encoders]\n{0} = stepper:{1}\n"
    packages.install("double", entries.format("both", "Small"))
    with pytest.raises(PluginError, match="A metric and an encoder are both called 'both', with settings of their own"):
        plugin_settings("both")
    packages.install("single", entries.format("one", "Metric"))
    assert plugin_settings("one") is steps()


def test_a_result_with_them_reads_when_the_package_is_gone(stepper: Any) -> None:
    protocol = parse_protocol("javisbench-v2+steps.count=5").derived("bf16")
    recorded = json.loads(json.dumps(protocol.settings()))
    cls = steps()
    stepper.uninstall("stepper")
    again = recorded_protocol(protocol.name, recorded)
    assert again == protocol and again.mounted("steps", cls) == cls(count=5)
    # Where nothing is recorded, the name tells what is known here.
    assert recorded_protocol(protocol.name, None).fvd == V2.fvd
    with pytest.raises(UsageError, match="is no metric or encoder of an installed package"):
        parse_protocol("javisbench-v2+steps.count=5")


def test_a_setting_that_the_installed_version_does_not_know_is_named() -> None:
    recorded = {**V2.settings(), "plugins": {"steps": {"window_s": 1, "taper": "soft"}}}
    protocol = recorded_protocol("javisbench-v2", recorded)
    with pytest.raises(UsageError, match=r"has the setting steps\.taper, which the installed steps does not know"):
        protocol.mounted("steps", steps())
    bad = recorded_protocol("javisbench-v2", {**V2.settings(), "plugins": {"steps": {"count": "many"}}})
    with pytest.raises(UsageError, match="count = 'many', which that setting cannot be"):
        bad.mounted("steps", steps())


@pytest.mark.parametrize(
    "plugins",
    [
        [],
        {"steps": 3},
        {"../up": {"a": 1}},
        {"steps": {"a b": 1}},
        {"steps": {"a": "../up"}},
        {"steps": {"a": float("inf")}},
        {"steps": {"a": 2**64}},
        {"steps": {"a": [1]}},
        {"steps": {"a": None}},
        {"steps": {f"a{i}": i for i in range(1001)}},
    ],
)
def test_recorded_ones_that_are_none_are_refused(plugins: Any) -> None:
    with pytest.raises(UsageError, match=r"protocol_settings\.plugins"):
        recorded_protocol("javisbench-v1", {"plugins": plugins})
