"""Speech, sound-quality and sound-set metrics from the command line: values, groups, what does not apply, archives."""

from __future__ import annotations

import importlib.util
import json
import shutil
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

from javisbench.cli import run as cli
from javisbench.clip import Clip
from javisbench.media import write_clip
from javisbench.metrics import panns as panns_metrics
from javisbench.metrics.encoders import panns
from javisbench.metrics.registry import METRICS, metric_groups

N = 12
HERE = Path(__file__).parent
PANGRAM = HERE.parent / "metrics" / "speech" / "pangram.flac"


def _panns_tests() -> ModuleType:
    spec = importlib.util.spec_from_file_location("panns_tests", HERE.parent / "metrics/encoders/test_panns.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(folder: Path, name: str, audio: np.ndarray, rate: int = 16000) -> None:
    rng = np.random.default_rng(list(name.encode()))
    frames = rng.integers(0, 255, (4, 32, 48, 3), dtype=np.uint8)
    write_clip(Clip(frames, Fraction(4), None, None), folder / f"{name}.mp4")
    soundfile.write(folder / f"{name}.wav", audio, rate, subtype="PCM_16")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Generated and real clips, and their suite: two taxa of noises of different colours."""
    root = tmp_path_factory.mktemp("sounds")
    rows = ["id,text"]
    for side in ("fake", "real"):
        (root / side).mkdir()
        for k in range(N):
            rng = np.random.default_rng([k, side == "real"])
            tone = np.sin(2 * np.pi * (200 + 150 * k) * np.arange(16000) / 16000)
            write(root / side, f"s{k:02d}", 0.2 * tone + 0.1 * rng.normal(size=16000).clip(-2, 2))
    rows += [f"s{k:02d},a sound of kind {k % 2}" for k in range(N)]
    (root / "suite.csv").write_text("\n".join(rows) + "\n")
    return root / "fake", root / "real", root / "suite.csv"


@pytest.fixture
def small_panns(monkeypatch: pytest.MonkeyPatch, seeded_weights: ModuleType, tmp_path: Path) -> Path:
    """A weights folder with networks of few channels under the official names."""
    folder, tests = tmp_path / "weights", _panns_tests()
    folder.mkdir()
    for name, file in (("panns_16k", "Cnn14_16k_mAP=0.438.pth"), ("panns_32k", "Cnn14_mAP=0.431.pth")):
        config = panns.Cnn14Config(width=2, classes=20)
        monkeypatch.setitem(panns.VARIANTS[name], "cnn14", config)
        tests.save(folder / file, seeded_weights, config, 7)
    return folder


def summary(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def test_sets_of_sounds_with_and_without_real_ones(
    folders: tuple[Path, Path, Path], small_panns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake, real, suite = map(str, folders)
    common = ["--suite", suite, "--weights-dir", str(small_panns), "--workers", "1", "--quiet", "--name", "a"]
    wanted = ["--metrics", "is_panns,kl_panns,fd_panns,is_panns_32k"]
    assert cli(["score", fake, *common, *wanted, "--out", str(tmp_path / "alone")]) == 0
    alone = summary(tmp_path / "alone")["metrics"]
    assert alone["kl_panns"]["overall"]["status"] == "missing_reference"
    assert alone["is_panns"]["overall"]["value"] >= 1 and alone["is_panns_32k"]["overall"]["n"] == N

    assert cli(["score", fake, *common, *wanted, "--reference", real, "--out", str(tmp_path / "both")]) == 0
    both = summary(tmp_path / "both")["metrics"]
    assert both["is_panns"]["overall"]["value"] == alone["is_panns"]["overall"]["value"]
    assert both["fd_panns"]["overall"]["status"] == "biased" and both["fd_panns"]["overall"]["value"] > 0
    kl = both["kl_panns"]["overall"]
    assert kl["ci_low"] < kl["value"] < kl["ci_high"]

    archive = tmp_path / "a.zip"
    assert cli(["submit", "pack", str(tmp_path / "both"), "--out", str(archive)]) == 0
    capsys.readouterr()
    assert cli(["submit", "verify", str(archive)]) == 0
    assert "[copies]" not in capsys.readouterr().out

    # The real clips against themselves differ in nothing, and that is told.
    assert cli(["score", real, *common, *wanted, "--reference", real, "--out", str(tmp_path / "same")]) == 0
    same = summary(tmp_path / "same")["metrics"]
    assert same["kl_panns"]["overall"]["value"] == pytest.approx(0, abs=1e-9)
    assert same["fd_panns"]["overall"]["value"] == pytest.approx(0, abs=1e-6)


def test_sets_of_sounds_through_other_packages(
    folders: tuple[Path, Path, Path],
    sound_packages: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake, real, suite = map(str, folders)
    (tmp_path / "weights").mkdir()
    for install in (sound_packages.install_passt, sound_packages.install_vggish):
        install(monkeypatch, tmp_path / "weights")
    common = ["--suite", suite, "--weights-dir", str(tmp_path / "weights"), "--workers", "1", "--quiet", "--name", "a"]
    wanted = ["--metrics", "fad_vggish,fd_passt,kl_passt", "--reference", real]
    assert cli(["score", fake, *common, *wanted, "--out", str(tmp_path / "run")]) == 0
    found = summary(tmp_path / "run")["metrics"]
    assert all(found[name]["overall"]["n"] == N for name in ("fad_vggish", "fd_passt", "kl_passt"))
    assert all(found[name]["overall"]["value"] > 0 for name in ("fad_vggish", "fd_passt", "kl_passt"))
    assert found["fad_vggish"]["overall"]["status"] == found["fd_passt"]["overall"]["status"] == "biased"
    assert found["kl_passt"]["overall"]["ci_low"] < found["kl_passt"]["overall"]["value"]
    archive = tmp_path / "a.zip"
    assert cli(["submit", "pack", str(tmp_path / "run"), "--out", str(archive)]) == 0
    capsys.readouterr()
    assert cli(["submit", "verify", str(archive)]) == 0
    assert "[copies]" not in capsys.readouterr().out


def test_speech_is_rated_and_what_has_none_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    clean, rate = soundfile.read(PANGRAM, dtype="float32")
    noise = np.random.default_rng(0).normal(0, 0.05, clean.shape)
    write(clips, "clean", clean, rate)
    write(clips, "noisy", (clean + noise).clip(-1, 1), rate)
    write(clips, "mute", np.zeros(32000))
    shutil.copy(clips / "mute.mp4", clips / "none.mp4")
    (tmp_path / "s.csv").write_text("id,text\nclean,a\nnoisy,b\nmute,c\nnone,d\n")
    wanted = ["--metrics", "dnsmos_*", "--suite", str(tmp_path / "s.csv"), "--workers", "1"]
    assert cli(["score", str(clips), *wanted, "--out", str(tmp_path / "run"), "--json"]) == 0
    metrics = summary(tmp_path / "run")["metrics"]
    import pandas as pd

    scores = pd.read_parquet(tmp_path / "run/scores.parquet").set_index("sample_id")
    for name in ("dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808"):
        assert scores.loc["clean", name] > scores.loc["noisy", name] + 0.3
    assert scores.loc[["mute", "none"], "dnsmos_ovrl"].isna().all()
    assert metrics["dnsmos_ovrl"]["overall"]["n"] == 2
    failures = [json.loads(line) for line in (tmp_path / "run/failures.jsonl").read_text().splitlines()]
    found = {(row["sample_id"], row["kind"], row["stage"]) for row in failures if row["metric"] == "dnsmos_sig"}
    assert found == {("mute", "silent", "not_applicable"), ("none", "no_audio", "not_applicable")}


def test_groups_stand_for_their_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    groups = metric_groups()
    assert set(groups["sound-quality"]) == {"audio_pq", "audio_pc", "audio_ce", "audio_cu"}
    assert {"fd_panns", "kl_panns_32k", "is_panns"} <= set(groups["sound-sets"])
    assert {"dnsmos_sig", "dnsmos_p808"} <= set(groups["speech"])
    for group in groups.values():
        assert not any(METRICS.get(metric_id).card.by_default for metric_id in group)
    assert cli(["metrics", "list", "--json"]) == 0
    assert {row["id"] for row in json.loads(capsys.readouterr().out)} >= {"audio_pq", "dnsmos_ovrl", "is_panns"}
    assert panns_metrics.KLPANNs.card.group == "sound-sets"


def test_each_says_its_weights_licence_and_how_to_get_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["metrics", "list", "--json", "--weights-dir", str(tmp_path)]) == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) >= set(METRICS)
    for metric_id in ("wer", "lse_c", "audio_pq", "fd_panns", "is_panns_32k", "fad_vggish", "kl_passt", "clap_score"):
        for encoder in rows[metric_id]["encoder"].values():
            assert encoder["licence"] and encoder["source"]
            assert encoder["weights"] != "missing" or encoder["fetch"].startswith("javisbench weights fetch ")


def test_a_group_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "a.txt").write_text("a")
    assert cli(["score", str(tmp_path), "--metrics", "speach"]) == 2
    assert "Did you mean 'speech'" in capsys.readouterr().err
