"""Runs with metrics and encoders of other packages: their defects cost their own column, and results outlive them."""

from __future__ import annotations

import json
import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import javisbench
from javisbench.cli import run as cli
from javisbench.clip import Clip
from javisbench.media import write_clip
from javisbench.results.compare import compare
from javisbench.results.run_folder import load_result
from javisbench.results.table import run_table

N = 12
SOURCE = """
from dataclasses import dataclass
import numpy as np
from javisbench.errors import MetricError
from javisbench.metrics.base import Distance, MetricCard, SampleMetric, SampleScore, SetMetric
from javisbench.metrics.encoders.base import EncoderCard, FeatureSpec
from javisbench.metrics.encoders.host_encoder import HostEncoder, HostIntake


@dataclass(frozen=True)
class Bright:
    floor: float = 0.0


class _Light(HostIntake):
    def __init__(self, head, specs):
        super().__init__(head, specs)
        self.levels = []

    def see(self, index, frame):
        self.levels.append(float(frame.mean()) / 255)

    def make(self, spec):
        levels = np.array(self.levels)
        return {"levels": levels, "embedding": np.array([levels.mean(), levels.std()])}


class Light(HostEncoder):
    card = EncoderCard("light", "Light", {"plain": None}, host=True)
    intake_type = _Light


class Brightness(SampleMetric):
    settings = Bright
    card = MetricCard(
        "brightness", "Brightness", False, (0.0, 1.0), "sample", "light", "all else", "a test", unit="share", digits=4
    )

    def needs(self, protocol):
        return {"light": FeatureSpec.of("light", "levels")}

    def score(self, features, context):
        floor = context.protocol.mounted("brightness", Bright).floor
        return SampleScore(max(float(features["light"]["levels"].mean()), floor))


class Gap(SetMetric):
    card = MetricCard("gap", "Gap", False, (0.0, None), "set", "light", "all else", "a test")

    def needs(self, protocol):
        return FeatureSpec.of("light", "rows")

    def distance(self, fake, real, protocol):
        gap = float(np.abs(fake.mean(axis=0) - real.mean(axis=0)).sum())
        return Distance(gap, n_fake=len(fake), n_real=len(real), width=fake.shape[1])
"""
ENTRIES = """[javisbench.metrics]
brightness = luminous:Brightness
gap = luminous:Gap
[javisbench.encoders]
light = luminous:Light
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small clips without sound, each of another brightness; for each a real one."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(N):
        for side, level in (("made", 20 * number), ("real", 240 - 20 * number)):
            (folder / side).mkdir(exist_ok=True)
            frames = np.full((3, 16, 16, 3), level, np.uint8)
            write_clip(Clip(frames, Fraction(8), None, None), folder / side / f"sample_{number:04d}.mp4", sidecar=False)
    (folder / "suite.csv").write_text("text\n" + "a light\n" * N)
    return folder


def score(clips: Path, out: Path, metrics: str = "brightness,gap,health_black", **options: Any) -> Any:
    return javisbench.score(
        clips / "made",
        suite=str(clips / "suite.csv"),
        out=out,
        name=options.pop("name", "lamp"),
        metrics=metrics.split(","),
        reference=str(clips / "real"),
        workers=1,
        **options,
    )


def test_a_column_with_settings_in_the_protocol(packages: Any, clips: Path, tmp_path: Path) -> None:
    packages.install("luminous", ENTRIES, SOURCE)
    first = score(clips, tmp_path / "run", protocol=["javisbench-v1", "javisbench-v1+brightness.floor=0.5"])
    plain = load_result(tmp_path / "run")
    cell = plain.cell("brightness")
    expected = [20 * number / 255 for number in range(N)]
    # Coding moves a flat picture by a level or two.
    assert cell is not None and cell.value == pytest.approx(np.mean(expected), abs=0.01) and cell.n == N
    floored = load_result(tmp_path / "run/protocols/javisbench-v1+brightness.floor=0.5").cell("brightness")
    assert floored is not None and floored.value == pytest.approx(np.maximum(expected, 0.5).mean(), abs=0.01)
    assert plain.run["protocol_settings"]["plugins"] == {"brightness": {"floor": 0.0}}, "defaults are recorded too"
    gap = plain.cell("gap")
    assert gap is not None and gap.status == "ok" and gap.n == N
    assert plain.run["plugins"]["brightness"]["package"] == "luminous 1.0"
    assert plain.run["encoders"]["light"]["package"] == "luminous 1.0"
    assert first.summary["metrics"]["brightness"]["overall"]["value"] == cell.value


def test_a_run_outlives_the_package(
    packages: Any, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packages.install("luminous", ENTRIES, SOURCE)
    runs = [str(tmp_path / name) for name in ("one", "two")]
    for run in runs:
        score(clips, Path(run), name=Path(run).name)
    before = load_result(runs[0])
    assert cli(["submit", "pack", runs[0], "--out", str(tmp_path / "one.zip")]) == 0
    packages.uninstall("luminous")
    after = load_result(runs[0])
    assert after.metrics == before.metrics
    table = run_table(after)
    column = next(column for column in table.columns if column.id == "brightness")
    assert column.heading == "Brightness (share) ↓" and column.digits == 4
    told = [note for note in table.notes if "not installed" in note]
    assert told == ["Brightness, Gap: as stored. The metric of luminous 1.0 is not installed here."]
    assert cli(["report", *runs]) == 0
    assert "Brightness" in capsys.readouterr().out
    assert cli(["compare", *runs]) == 0
    assert "Brightness (share) ↓" in capsys.readouterr().out
    assert cli(["doctor", runs[0]]) == 0
    capsys.readouterr()
    site = tmp_path / "site"
    assert cli(["leaderboard", "build", *runs, "--out", str(site), "--quiet"]) == 0
    assert "Brightness" in (site / "index.html").read_text(encoding="utf-8")
    assert cli(["submit", "pack", runs[1], "--out", str(tmp_path / "two.zip")]) == 0
    capsys.readouterr()
    assert cli(["submit", "verify", str(tmp_path / "one.zip")]) == 0
    assert (
        "note: [metric] brightness of luminous 1.0 is not installed here, so its values can be neither"
        in capsys.readouterr().out
    )
    assert cli(["leaderboard", "build", str(tmp_path / "one.zip"), "--out", str(tmp_path / "shown"), "--quiet"]) == 0
    # Nobody has checked the archive's values of it: no table and no clip's page shows them.
    shown = [*(tmp_path / "shown/tables").iterdir(), *(tmp_path / "shown").rglob("samples.js")]
    texts = "".join(page.read_text(encoding="utf-8") for page in shown)
    assert "health_black" in texts and "brightness" not in texts.lower()


def test_results_with_other_defaults_of_the_same_package_are_not_tested(
    packages: Any, clips: Path, tmp_path: Path
) -> None:
    packages.install("luminous", ENTRIES, SOURCE)
    score(clips, tmp_path / "old", name="old")
    packages.uninstall("luminous")
    packages.install("luminous", ENTRIES, SOURCE.replace("floor: float = 0.0", "floor: float = 0.25"))
    score(clips, tmp_path / "new", name="new")
    rows = {row.metric: row for row in compare(load_result(tmp_path / "old"), load_result(tmp_path / "new")).rows}
    assert "different weights or settings" in (rows["brightness"].difference.note or "")
    assert rows["brightness"].difference.p_value is None


DEFECTS = {
    "import": ("import numpy as np", "import no_such_module", "needs the module no_such_module, which"),
    "id": ('"brightness", "Brightness"', '"light", "Brightness"', "has the id 'light' on its card"),
    "settings": ("(frozen=True)\nclass Bright", "()\nclass Bright", "Bright is no frozen dataclass"),
    "stream": ("= _Light", "= _Light\n    def stream(cls, spec): 1 / 0", "settings and streams: TypeError"),
    "needs": ('return {"light": F', 'return {"dark": 1 / 0, "light": F', "failed in needs: ZeroDivisionError"),
    "no specs": ('return {"light": FeatureSpec.of("light", "levels")}', "return {}", "failed in needs: TypeError"),
    "score": ("floor = context", "1 / 0; floor = context", "failed in score of sample_0000: Zero"),
    "late": ("floor = c", "1 / int(features['light']['levels'].mean() < 0.5); floor = c", "score of sample_0007"),
    "no score": ("return SampleScore(max(", "return (max(", "failed in score of sample_0000: TypeError: it gives"),
    "load": ("= _Light", "= _Light\n    def load(self, *_): 1 / 0", "failed in load: ZeroDivisionError"),
    "encoder": ('"light", "Light"', '"lights", "Light"', "has the name 'lights' on its card"),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_costs_its_own_column(packages: Any, clips: Path, tmp_path: Path, defect: str) -> None:
    old, new, message = DEFECTS[defect]
    assert old in SOURCE
    packages.install("luminous", ENTRIES, SOURCE.replace(old, new))
    score(clips, tmp_path / "run", metrics="brightness,health_black")
    result = load_result(tmp_path / "run")
    cell = result.cell("brightness")
    assert cell is not None and (cell.value, cell.status, cell.n) == (None, "failed", 0)
    assert "luminous 1.0" in (cell.note or "") and message in (cell.note or "")
    assert result.cell("health_black").n == N  # type: ignore[union-attr]
    frame = result.scores()
    assert frame is not None and "brightness" not in frame.columns
    log = (tmp_path / "run/log.txt").read_text(encoding="utf-8")
    assert message in log and ("Traceback" in log or defect in ("id", "encoder"))
    assert cli(["report", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("gap = float(", "gap = 1 / 0 * float(", "failed in distance: ZeroDivisionError"),
        ("gap = float(", "gap = np.inf * float(", "failed in distance: ValueError: the distance is not finite"),
        ("levels.std()])", "levels.std()])[: 1 + int(levels[0] > 0.5)]", "failed in distance: ValueError: all input"),
        ("return Distance(gap, n", "return (gap); (dict)(n", "failed in distance: AttributeError: 'float'"),
    ],
    ids=["raises", "infinite", "ragged", "no distance"],
)
def test_a_set_metric_s_defect_costs_its_own_column(
    packages: Any, clips: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in SOURCE
    packages.install("luminous", ENTRIES, SOURCE.replace(old, new))
    score(clips, tmp_path / "run")
    result = load_result(tmp_path / "run")
    cell = result.cell("gap")
    assert cell is not None and cell.status == "failed" and cell.value is None
    assert "luminous 1.0" in (cell.note or "") and message in (cell.note or "")
    assert all(result.cell(metric).n == N for metric in ("brightness", "health_black"))  # type: ignore[union-attr]


def test_an_encoder_s_defect_on_one_clip_names_the_package_and_costs_that_clip(
    packages: Any, clips: Path, tmp_path: Path
) -> None:
    broken = SOURCE.replace(
        "levels = np.array(self.levels)", "levels = np.array(self.levels); 1 / int(levels[0] > 0.05)"
    )
    packages.install("luminous", ENTRIES, broken)
    result = score(clips, tmp_path / "run", metrics="brightness")
    cell = load_result(tmp_path / "run").cell("brightness")
    assert cell is not None and cell.n == N - 1
    (failure,) = result.failures.to_dict("records")
    assert failure["sample_id"] == "sample_0000" and failure["kind"] == "encoder_failed"
    assert "The encoder 'light' of the package luminous 1.0 failed in encode: ZeroDivisionError" in failure["message"]


def test_what_is_no_feature_costs_the_clips(packages: Any, clips: Path, tmp_path: Path) -> None:
    packages.install("luminous", ENTRIES, SOURCE.replace('"levels": levels, ', '"levels": list(levels), '))
    result = score(clips, tmp_path / "run", metrics="brightness,health_black")
    assert len(result.failures) == N
    assert (tmp_path / "run/log.txt").read_text(encoding="utf-8").count("Traceback") == 1, "one is enough"
    assert "levels/levels is no array of numbers but list" in result.failures["message"].iloc[0]
    assert load_result(tmp_path / "run").cell("health_black").n == N  # type: ignore[union-attr]


def test_a_defect_in_a_metric_of_javisbench_is_no_row_but_a_traceback(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from javisbench.metrics.health import BlackShare

    monkeypatch.setattr(BlackShare, "score", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        score(clips, tmp_path / "run", metrics="health_black")


def test_names_that_are_taken_or_cannot_be_are_told_and_left_out(
    packages: Any, clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packages.install("luminous", ENTRIES.replace("gap =", "health_black =") + "a.b = luminous:Light\n", SOURCE)
    packages.install("another", "[javisbench.metrics]\nbrightness = another:Metric\n")
    with caplog.at_level(logging.WARNING, "javisbench"):
        score(clips, tmp_path / "run", metrics="brightness,health_black")
    told = caplog.text
    assert "luminous 1.0 registers the metric 'health_black', which javisbench has already: its own is used" in told
    assert "luminous 1.0 registers the encoder 'a.b', which cannot be called so" in told
    result = load_result(tmp_path / "run")
    assert result.cell("health_black").n == N  # type: ignore[union-attr]
    cell = result.cell("brightness")
    assert cell is not None and "is registered more than once, by another 1.0" in (cell.note or "")


def test_a_plain_score_goes_on_beside_a_broken_package(packages: Any, clips: Path, tmp_path: Path) -> None:
    packages.install("luminous", ENTRIES, "raise RuntimeError('half installed')")
    score(clips, tmp_path / "run", metrics="all")
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["metrics"]["health_black"]["overall"]["n"] == N
    assert "luminous 1.0 does not import" in summary["metrics"]["brightness"]["overall"]["note"]


MODEL = """
from fractions import Fraction
import numpy as np
from javisbench.baselines.base import Generated, Generator, Plan
from javisbench.clip import Clip


class Model(Generator):
    card_id = "broken"

    def plan(self, spec):
        BREAK_PLAN
        return Plan(spec.width, spec.height, 4, Fraction(4), 16000, 16000)

    def load(self, device, dtype, weights):
        BREAK_LOAD

    def generate(self, batch):
        BREAK_GENERATE
        for request in batch:
            yield Generated(request, Clip(np.zeros((4, 32, 48, 3), np.uint8), Fraction(4), None, None))
"""


@pytest.mark.parametrize("where", ["plan", "load", "generate"])
def test_a_defect_of_a_model_is_told_with_its_package(
    packages: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    source = MODEL
    for place in ("plan", "load", "generate"):
        source = source.replace(f"BREAK_{place.upper()}", "raise ZeroDivisionError('no')" if place == where else "pass")
    packages.install("maker", "[javisbench.generators]\nbroken = maker:Model\n", source)
    (tmp_path / "s.csv").write_text("text\na cat\n")
    code = cli(["generate", "--model", "broken", "--suite", str(tmp_path / "s.csv"), "--out", str(tmp_path / "run")])
    told = capsys.readouterr().err
    if where == "generate":
        told = (tmp_path / "run/failures.jsonl").read_text()
    else:
        assert code == 2
    assert "maker" in told and f"failed in {where}: ZeroDivisionError: no" in told
