"""The Inception of FID. Its package needs a torchvision that imports beside the installed torch: tests that build the
network skip where there is none, and hold what pytorch-fid itself gave (tests/golden/fid/make_fid.py) elsewhere.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from javisbench.clip import Clip
from javisbench.errors import UsageError, WeightsError
from javisbench.media import read_clip
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.inception import InceptionEncoder, inception_network, network_input
from javisbench.metrics.encoders.set_specs import inception_spec
from javisbench.protocol import V1, V2

LACKING = InceptionEncoder.lacking()
needs_torchvision = pytest.mark.skipif(LACKING is not None, reason=LACKING or "")


@pytest.fixture(scope="module")
def weights(seeded_weights: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    shapes = {name: list(tensor.shape) for name, tensor in inception_network().state_dict().items()}
    arrays = seeded_weights.seeded_state_dict(shapes, "cavp", 0)
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save({name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}, path)
    return path


def test_input_is_rgb_in_minus_one_to_one_stretched_without_antialias() -> None:
    frames = torch.zeros(1, 2, 4, 3, dtype=torch.uint8)
    frames[:, :, 2:, 0] = 255
    pixels = network_input(frames)
    assert pixels.shape == (1, 3, 299, 299) and pixels.dtype == torch.float32
    red, green = pixels[0, 0], pixels[0, 1]
    ends = torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(red[:, [50, -50]], ends.expand(299, 2), rtol=0, atol=1e-6)
    torch.testing.assert_close(green, torch.full((299, 299), -1.0), rtol=0, atol=1e-6)
    # Half-pixel centres: the middle of the picture lies halfway between the columns 1 and 2.
    assert float(red[0, 149]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "error", [ImportError("No module named 'torchvision'"), RuntimeError("operator torchvision::nms does not exist")]
)
def test_a_torchvision_that_does_not_import_is_one_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    genuine = builtins.__import__

    def failing(name: str, *args: Any, **kwargs: Any) -> ModuleType:
        if name == "torchvision":
            raise error
        return genuine(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(builtins, "__import__", failing)
    said = InceptionEncoder.lacking()
    assert said is not None and str(error) in said and "javisbench[fid]" in said and "\n" not in said
    path = tmp_path / "weights.pth"
    torch.save({"fc.bias": torch.zeros(1008)}, path)
    with pytest.raises(UsageError, match="built for the installed torch"):
        InceptionEncoder().load(path, "cpu")


def test_card_and_refusals(noise_clip: Callable[..., Clip]) -> None:
    assert ENCODERS.get("inception") is InceptionEncoder
    assert InceptionEncoder.card.extra == "fid"
    with pytest.raises(WeightsError, match="give the path"):
        InceptionEncoder().load(None, "cpu")
    with pytest.raises(UsageError, match="load before encode"):
        InceptionEncoder().encode([noise_clip(1)], [inception_spec(V1)])


@needs_torchvision
@pytest.mark.slow
def test_features_are_those_of_pytorch_fid(
    weights: Path,
    golden_npz: Callable[[str], dict[str, np.ndarray]],
    clips_fake: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pytorch_fid import inception

    def refused(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("nothing may be downloaded")

    monkeypatch.setattr(inception, "load_state_dict_from_url", refused)
    encoder = InceptionEncoder()
    encoder.load(weights, "cpu")
    stored, spec = golden_npz("fid/fid"), inception_spec(V1)
    clips = [read_clip(clips_fake / f"sample_{index:04d}.mp4") for index in (0, 7)]
    found = [result[spec]["embedding"] for result in encoder.encode(clips, [spec])]  # type: ignore[index]
    assert [features.shape for features in found] == [(4, 2048), (4, 2048)]
    # float32 sums in another order, on features of about 1.
    np.testing.assert_allclose(np.stack(found), stored["whole"], rtol=0, atol=2e-5)
    np.testing.assert_allclose(found[0][:, stored["columns"]], stored["fake"][0], rtol=0, atol=2e-5)


@needs_torchvision
@pytest.mark.slow
def test_v2_sees_the_span_of_the_audio_and_one_frame_is_enough(weights: Path) -> None:
    encoder = InceptionEncoder()
    encoder.load(weights, "cpu")
    frames = np.zeros((12, 8, 8, 3), dtype=np.uint8)
    frames[8:] = 255  # after 4 s at 2 frames a second
    clip = Clip(frames, Fraction(2), None, None)
    first, second = inception_spec(V1), inception_spec(V2)
    (made,) = encoder.encode([clip], [first, second])
    whole, span = made[first]["embedding"], made[second]["embedding"]  # type: ignore[index]
    assert not np.allclose(whole[0], whole[-1], atol=1e-3) and np.allclose(span[0], span[-1], atol=1e-5)
    (single,) = encoder.encode([Clip(frames[:1], Fraction(2), None, None)], [first])
    assert single[first]["embedding"].shape == (4, 2048)  # type: ignore[index]


@needs_torchvision
@pytest.mark.slow
def test_wrong_names_are_refused(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    state["fc.weights"] = state.pop("fc.weight")
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"missing \(1\): fc.weight\n.*unexpected \(1\): fc.weights"):
        InceptionEncoder().load(tmp_path / "other.pth", "cpu")
