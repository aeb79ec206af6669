"""`javisbench metrics check`: what ships keeps the contract, and each way of breaking it fails a check of its own."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from javisbench.cli import run as cli
from javisbench.metrics.contract import Report, check, targets
from javisbench.metrics.contract.targets import _asked_of
from javisbench.metrics.encoders import ENCODERS, encoder_card
from javisbench.metrics.registry import METRICS, card_of
from javisbench.weights import WeightStore

WITHOUT_WEIGHTS = [name for name in ENCODERS.own if set(ENCODERS.get(name).card.variants.values()) == {None}]


def needs_no_weights(metric_id: str) -> bool:
    from javisbench.metrics.contract.metrics import needed
    from javisbench.protocol import V1

    return all(spec.encoder in WITHOUT_WEIGHTS for spec in needed(metric_id, V1))


def failures(report: Report) -> dict[str, str]:
    return {row.name: row.note for row in report.rows if row.status == "failed"}


def statuses(report: Report) -> dict[str, str]:
    return {row.name: row.status for row in report.rows}


# With its real networks, which come with its package, a contract takes half a minute.
SLOW = {name: pytest.param(name, marks=pytest.mark.slow) for name in [*METRICS.own, *ENCODERS.own] if "dnsmos" in name}


JUDGES = [name for name in METRICS if METRICS.has_parameter(name)]


@pytest.mark.parametrize("metric_id", [SLOW.get(name, name) for name in (*METRICS.own, *JUDGES)])
def test_metrics_keep_it(metric_id: str, store: WeightStore) -> None:
    report = check("metric", metric_id, store)
    assert failures(report) == {}
    made = [row for row in report.rows if row.status == "ok"]
    # A distance needs no encoder; a score needs one that runs here.
    card = card_of(metric_id)
    assert card is not None
    everything = card.kind == "set" or (needs_no_weights(metric_id) and metric_id != "visual_quality")
    assert len(made) >= (10 if everything else 4), report.rows


@pytest.mark.parametrize("name", [SLOW.get(name, name) for name in ENCODERS.own])
def test_encoders_keep_it(name: str, store: WeightStore) -> None:
    report = check("encoder", name, store)
    assert failures(report) == {} and statuses(report)["card"] == "ok"
    if name in WITHOUT_WEIGHTS and encoder_card(name).host:  # type: ignore[union-attr]
        assert statuses(report)["frames in runs"] == statuses(report)["odd clips"] == "ok"
    elif statuses(report)["load"] != "ok":
        (reason,) = [row.note for row in report.rows if row.name == "load"]
        told = ("not on this machine", "set JAVISBENCH_", "which is not installed: pip install 'javisbench[")
        assert any(words in reason for words in told), reason


SOURCE = '''
from dataclasses import dataclass
import numpy as np
from javisbench.errors import FeatureError, MetricError
from javisbench.metrics.base import Distance, MetricCard, SampleMetric, SampleScore, SetMetric
from javisbench.metrics.encoders.base import EncoderCard, FeatureSpec
from javisbench.metrics.encoders.host_encoder import HostEncoder, HostIntake

SEEN, SHARED = [], {}


@dataclass(frozen=True)
class Levels:
    """floor: lowest value."""

    floor: float = 0.0


class _Levels(HostIntake):
    def __init__(self, head, specs):
        super().__init__(head, specs)
        self.levels = {}

    def see(self, index, frame):
        self.levels[index] = float(frame.mean())

    def make(self, spec):
        sound = self.sound()
        if sound is None:
            raise FeatureError("no sound", kind="no_audio")
        return {"levels": np.array(list(self.levels.values())), "loud": np.array([float(np.abs(sound).mean())])}


class Encoder(HostEncoder):
    card = EncoderCard("level", "Level", {"plain": None}, host=True)
    intake_type = _Levels


class Metric(SampleMetric):
    settings = Levels
    card = MetricCard("mean_level", "Level", True, (0.0, 255.0), "sample", "light", "all else", "a test")

    def needs(self, protocol):
        return {"level": FeatureSpec.of("level", "levels")}

    def score(self, features, context):
        return SampleScore(max(float(features["level"]["levels"].mean()), 0.0))


class Gap(SetMetric):
    card = MetricCard("gap", "Gap", False, (0.0, None), "set", "light", "all else", "a test")

    def needs(self, protocol):
        return FeatureSpec.of("level", "rows")

    def distance(self, fake, real, protocol):
        parts = fake.mean(axis=0) - real.mean(axis=0)
        own = (fake - fake.mean(axis=0)) @ parts * 2
        other = (real - real.mean(axis=0)) @ parts * -2
        return Distance(float(parts @ parts), own, other, len(fake), len(real), fake.shape[1])
'''
ENTRIES = """[javisbench.metrics]
mean_level = levels:Metric
gap = levels:Gap
[javisbench.encoders]
level = levels:Encoder
"""
SPEC = 'FeatureSpec.of("level", "levels")'
SCORE = "return SampleScore("
LEVELS = "features['level']['levels']"
ANOTHER = "SEEN.append(1) or len(SEEN)"
BY_RUNS = "def take(self, run):\n        self.levels[int(run.indices[0])] = float(run.frames.mean())\n\n    def see("
STREAM = "= _Levels\n\n    @classmethod\n    def stream(cls, spec):\n        return 'picture'"
NAN_SOUND = "sound = self.head.audio\n        int(sound.sum())"
SETS = "def distances(self, fake, *more):\n        fake[0] = 0\n        return super().distances(fake, *more)\n\n"
CARD = '"all else", "a test")\n\n    def needs(self, protocol):\n        return {'
CLAIMED = CARD.replace('"a test"', '"a test", differentiable=frozenset({"sound"})')
MEAN = f"def traced(self, features, context):\n        return {LEVELS}.mean()\n\n    "
TRACED = CLAIMED.replace("def needs", f"{MEAN}def needs")
# Of whom; what is replaced by what; the check that fails, and how.
BROKEN: dict[str, tuple[str, str, str, str, str]] = {
    "no module": ("mean_level", "import numpy as np", "import nump", "import", "needs the module nump"),
    "no blindness": ("mean_level", '"light", "all else"', '"light", ""', "card", "has no blind_to"),
    "infinite end": ("gap", "(0.0, None)", "(0.0, float('inf'))", "direction and range", "an open end"),
    "empty range": ("mean_level", "(0.0, 255.0)", "(255.0, 0.0)", "direction and range", "is empty"),
    "no explanation": ("mean_level", "floor: lowest value.", "a number.", "settings", "does not explain floor"),
    "other needs": (
        "mean_level",
        '"levels")}',
        '"levels" * (' + ANOTHER + "))}",
        "needs",
        "other features at the second",
    ),
    "unsorted": ("mean_level", SPEC, 'FeatureSpec("level", "levels", (("b", 1), ("a", 2)))', "needs", "are not sorted"),
    "no encoder": ("mean_level", SPEC, SPEC.replace("level", "lever", 1), "needs", "no encoder 'lever'"),
    "out of range": ("mean_level", SCORE, SCORE + "-1 - ", "values in range", "lies outside the range"),
    "not finite": ("mean_level", SCORE, SCORE + "np.nan * ", "values in range", "nan is not finite"),
    "drifts": ("mean_level", SCORE, SCORE + f"({ANOTHER}) + ", "determinism", "another value"),
    "spoils": ("mean_level", SCORE, f"{LEVELS}[0] = 0; {SCORE}", "pure", "changes the features level/levels"),
    "breaks on NaN": ("mean_level", SCORE, f"int({LEVELS}[0]); {SCORE}", "NaN in features", "cannot convert float NaN"),
    "no gradient": ("mean_level", CARD, CLAIMED, "gradient", "has no `traced`"),
    "dead gradient": ("mean_level", CARD, TRACED, "gradient", "no gradient in the sound, which the card claims"),
    "other traced": ("mean_level", CARD, TRACED.replace("mean()", "max()"), "gradient", "with a gradient the score is"),
    "breaks on odd": ("mean_level", SCORE, f"{LEVELS}[1]; {SCORE}", "odd clips", "IndexError"),
    "order": (
        "gap",
        "parts = fake",
        "fake = fake * np.arange(len(fake))[:, None]; parts = fake",
        "order of samples",
        "rows",
    ),
    "direction": ("gap", '"Gap", False', '"Gap", True', "closer sets", "which is not the card's direction"),
    "influences": ("gap", "own = (fake - fake.mean(axis=0))", "own = (1 + fake)", "influences", "not to 0"),
    "changes sets": ("gap", "def distance(", SETS + "    def distance(", "pure", "changes the sets"),
    "set range": ("gap", "float(parts @ parts)", "-float(parts @ parts)", "values in range", "lies outside the range"),
    "unkeyed": (
        "level",
        "    intake_type",
        "    settings = Levels\n    intake_type",
        "settings",
        "floor is not in the prep",
    ),
    "leaks": ("level", "self.levels = {}", "self.levels = SHARED", "batch independence", "by itself and in a batch"),
    "random": ("level", "float(np.abs(sound).mean())", "np.random.rand()", "determinism", "the same clips again"),
    "lists": ("level", '"levels": np.array(', '"levels": list(', "shapes", "is no array of numbers but list"),
    "by runs": ("level", "def see(", BY_RUNS, "frames in runs", "1 frames at a time: level"),
    "stream": ("level", "= _Levels", STREAM, "stream", "said to be of the picture alone"),
    "raises": (
        "level",
        'raise FeatureError("no sound", kind="no_audio")',
        "raise KeyError",
        "odd clips",
        "raises KeyError",
    ),
    "NaN in sound": ("level", "sound = self.sound()", NAN_SOUND, "NaN in the sound", "raises ValueError"),
}


@pytest.mark.parametrize("defect", [None, *BROKEN])
def test_each_defect_fails_its_check(packages: Any, store: WeightStore, defect: str | None) -> None:
    name, old, new, row, message = BROKEN[defect] if defect else ("", "", "", "", "")
    assert old in SOURCE
    source = SOURCE.replace(old, new, 1 if defect != "infinite end" else -1).replace(
        "SEEN = []", "SEEN, SEEN_LEVELS = [], {}"
    )
    packages.install("levels", ENTRIES, source)
    if defect is None:
        reports = [check(kind, found, store) for found in ("mean_level", "gap", "level") for kind, _ in targets(found)]
        assert [failures(report) for report in reports] == [{}] * 3
        assert {report.package for report in reports} == {"levels 1.0"}
        assert [len([row for row in report.rows if row.status == "ok"]) for report in reports] == [11, 13, 11]
        return
    (target,) = targets(name)
    found = failures(check(*target, store))
    assert message in found.get(row, ""), found


def test_the_example_package_keeps_it(example_package: Any, tmp_path: Path) -> None:
    make = importlib.import_module("javisbench_example.make_weights")
    (tmp_path / "example_palette.safetensors").write_bytes(make.weights())
    weights = WeightStore([tmp_path])
    for name in ("light_sound", "palette_gap", "light", "palette"):
        (target,) = targets(name)
        report = check(*target, weights)
        assert failures(report) == {} and report.package == "javisbench-example 1.0"
        assert list(statuses(report).values()).count("ok") >= 10
    assert weights.locate("example_palette").official is True


@pytest.mark.parametrize(
    ("kinds", "status"), [('{"no_face": "without a face"}', "not applicable"), ('{"silent": "silent"}', "failed")]
)
def test_a_metric_that_does_not_apply_to_the_made_clips_is_not_broken(
    kinds: str, status: str, packages: Any, store: WeightStore
) -> None:
    source = SOURCE.replace(
        "    settings = Levels\n    card", f"    settings = Levels\n    not_applicable = {kinds}\n    card"
    )
    source = source.replace(
        SCORE, "raise MetricError('There is no face.', kind='no_face')\n        return SampleScore("
    )
    source = source.replace("import numpy as np", "import numpy as np\nfrom javisbench.errors import MetricError")
    packages.install("levels", ENTRIES, source)
    report = check("metric", "mean_level", store)
    rows = {row.name: row for row in report.rows}
    for name in ("pure", "values in range", "determinism"):
        assert rows[name].status == status and "There is no face" in rows[name].note, rows[name]
    assert rows["odd clips"].status == "ok"


def test_the_command_tells_and_counts(packages: Any, store: WeightStore, capsys: pytest.CaptureFixture[str]) -> None:
    packages.install("levels", ENTRIES, SOURCE.replace("(0.0, 255.0)", "(0.0, 1.0)"))
    assert cli(["metrics", "check", "mean_level", "level"]) == 1
    out = capsys.readouterr().out
    assert "metric mean_level (levels 1.0)" in out and "encoder level (levels 1.0)" in out
    assert "lies outside the range 0.0 to 1.0 of the card" in " ".join(out.split()) and "failed." in out
    assert cli(["metrics", "check", "level", "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["kind"] == "encoder" and report["package"] == "levels 1.0"
    assert {"name": "shapes", "status": "ok"}.items() <= report["rows"][5].items()
    assert cli(["metrics", "check", "mean_levels"]) == 2
    assert "There is no metric or encoder 'mean_levels'. Did you mean 'mean_level'" in capsys.readouterr().err


def test_broken_metrics_ask_encoders_for_nothing(packages: Any) -> None:
    packages.install("levels", ENTRIES, SOURCE.replace('return {"level"', 'return 1 / 0, {"level"'))
    assert [spec.feature for spec in _asked_of("level")] == ["rows"]


def test_lists_show_packages_and_what_is_broken(packages: Any, capsys: pytest.CaptureFixture[str]) -> None:
    packages.install("levels", ENTRIES, SOURCE.replace('return {"level"', 'return 1 / 0, {"level"'))
    assert cli(["metrics", "list", "--json"]) == 0
    facts = {fact["id"]: fact for fact in json.loads(capsys.readouterr().out)}
    assert facts["mean_level"]["state"] == "broken" and "levels 1.0" in facts["mean_level"]["fault"]
    assert facts["gap"]["package"] == "levels 1.0" and facts["fvd"]["package"] == "javisbench"
    packages.uninstall("levels")
    packages.install("levels", ENTRIES, SOURCE)
    assert cli(["metrics", "show", "mean_level"]) == 0
    shown = capsys.readouterr().out
    assert "mean_level.floor=0.0" in shown and "levels 1.0" in shown
