"""VGGish: of a small network, and against the network and the front end of its package with weights drawn by chance."""

from __future__ import annotations

import dataclasses
import sys
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from javisbench.clip import Clip
from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.encoders.vggish import VGGishEncoder
from javisbench.metrics.fad_vggish import FADVGGish
from javisbench.protocol import V1, parse_protocol

SPEC = FADVGGish().needs(V1)
CLIP = Clip(np.zeros((1, 8, 8, 3), np.uint8), Fraction(24), None, None)


def sounding(seconds: float, seed: int, rate: int = 16000) -> Clip:
    audio = np.random.default_rng(seed).normal(0, 0.2, (2, round(seconds * rate))).clip(-1, 1).astype(np.float32)
    return dataclasses.replace(CLIP, audio=audio, sample_rate=rate)


def checkpoint(path: Path, **more: torch.Tensor) -> Path:
    """Names and shapes of the package's network; each tensor one number, so that the file is small."""
    package = pytest.importorskip("torchvggish")
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in package.VGG(package.make_layers(), postprocess=False).state_dict().items()}
    torch.save({name: torch.tensor(1e-3).expand(shape) for name, shape in shapes.items()} | more, path)
    return path


@pytest.mark.slow
def test_numbers_are_those_of_the_package_before_its_last_activation() -> None:
    package = pytest.importorskip("torchvggish")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = package.VGG(package.make_layers(), postprocess=False).eval()
    clips = [sounding(4, 0), sounding(5, 1), sounding(1.5, 2), CLIP]
    clips.append(dataclasses.replace(CLIP, audio=np.full((1, 16000), np.nan, np.float32), sample_rate=16000))
    wanted = []
    with torch.inference_mode():
        for clip in clips[:3]:
            assert clip.audio is not None
            heard = np.zeros(64000)
            sound = clip.audio.mean(axis=0)[:64000]
            heard[: len(sound)] = sound
            wanted.append(network(package.waveform_to_examples(heard, 16000)).numpy())
    encoder = VGGishEncoder()
    encoder._trim(network)
    encoder._network = network
    *found, none, broken = (result[SPEC] for result in encoder.encode(clips, [SPEC]))
    for made, theirs in zip(found, wanted, strict=True):
        assert isinstance(made, dict) and made["embedding"].shape == (4, 128)
        assert (made["embedding"] < 0).any() and (theirs > 0).any()
        # Batches of other sizes sum in another order.
        np.testing.assert_allclose(np.maximum(made["embedding"], 0), theirs, rtol=0, atol=1e-6)
    assert isinstance(none, FeatureError) and none.kind == "no_audio"
    assert isinstance(broken, FeatureError) and broken.kind == "non_finite"


@pytest.mark.slow
def test_the_package_s_checkpoint_is_loaded_strictly(tmp_path: Path) -> None:
    encoder = VGGishEncoder()
    encoder.load(checkpoint(tmp_path / "w.pth"), "cpu")
    (found,) = encoder.encode([sounding(1, 0)], [SPEC])
    assert found[SPEC]["embedding"].shape == (4, 128)  # type: ignore[index]
    with pytest.raises(WeightsError) as caught:
        VGGishEncoder().load(checkpoint(tmp_path / "w.pth", more=torch.zeros(1)), "cpu")
    assert "unexpected (1): more" in str(caught.value.details)


def test_every_sound_has_as_many_windows(
    sound_packages: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    encoder = VGGishEncoder()
    encoder.load(sound_packages.install_vggish(monkeypatch, tmp_path), "cpu")
    clips = [sounding(9, 0), CLIP, sounding(1, 1, 44100), sounding(9, 0)]
    found = [result[SPEC] for result in encoder.encode(clips, [SPEC])]
    assert isinstance(found[1], FeatureError) and found[1].kind == "no_audio"
    rows = [made["embedding"] for made in found if isinstance(made, dict)]
    assert [row.shape for row in rows] == [(4, 128)] * 3
    assert (rows[0] < 0).any()  # before the activation
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-6)  # each clip has its own
    # After a second, silence: the same in each window.
    np.testing.assert_allclose(rows[1][2], rows[1][3], atol=1e-6)
    assert np.abs(rows[1][0] - rows[1][3]).max() > 1e-2


def test_a_package_that_does_not_import_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvggish", None)
    assert "pip install 'javisbench[vggish]'" in (VGGishEncoder.lacking() or "")


def test_seconds_are_a_setting_within_bounds() -> None:
    longer = FADVGGish().needs(parse_protocol("javisbench-v1+vggish_s=10"))
    assert longer.settings["seconds"] == 10 and SPEC.settings["seconds"] == 4
    with pytest.raises(UsageError, match="vggish_s is between 1"):
        parse_protocol("javisbench-v1+vggish_s=0.5")


def test_clips_are_counted_and_not_windows() -> None:
    rng = np.random.default_rng(0)
    fake, real = rng.normal(size=(2, 20, 4, 3))
    found = FADVGGish().compute(fake, real, {"overall": np.arange(20), "few": np.arange(5)}, V1)
    assert found["overall"].n == 20 and found["overall"].ci_low is not None
    assert found["few"].status == "biased" and found["few"].ci_low is None
