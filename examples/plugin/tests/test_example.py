"""What the example promises. Run with the package installed, or with its folder on PYTHONPATH for the code alone."""

import hashlib
import tomllib
from fractions import Fraction
from pathlib import Path

import javisbench_example
import numpy as np
import pytest
from javisbench_example.light_sound import LightEncoder, LightSound, LightSoundSettings
from javisbench_example.make_weights import weights
from javisbench_example.palette import PaletteEncoder
from javisbench_example.palette_gap import PaletteGap

from javisbench.clip import Clip
from javisbench.errors import MetricError
from javisbench.metrics.base import SampleContext
from javisbench.protocol import V1

CARDS = Path(javisbench_example.__file__).parent / "data_cards"


def glowing(light: np.ndarray, loud: np.ndarray) -> Clip:
    """A clip at 10 fps whose frames have this light, and whose sound has this level while each is shown."""
    frames = np.broadcast_to((255 * light).astype(np.uint8)[:, None, None, None], (len(light), 8, 8, 3)).copy()
    noise = np.random.default_rng(0).choice([-1.0, 1.0], len(light) * 1600)
    return Clip(frames, Fraction(10), (noise * np.repeat(loud, 1600)).astype(np.float32)[None], 16000)


def score(clip: Clip, window_s: float = 0.0) -> float:
    protocol = V1.with_mounted("light_sound", LightSoundSettings(window_s))
    (spec,) = LightSound().needs(protocol).values()
    features = LightEncoder().encode([clip], [spec])[0][spec]
    return LightSound().score({"levels": features}, SampleContext(protocol)).value


def test_light_and_sound_that_go_together_correlate() -> None:
    level = np.array([0.1, 0.9, 0.4, 0.6, 0.2, 0.8])
    assert score(glowing(level, level)) == pytest.approx(1, abs=1e-3)  # pixels are whole numbers
    assert score(glowing(level, 1 - level)) == pytest.approx(-1, abs=1e-3)
    with pytest.raises(MetricError, match="does not change"):
        score(glowing(np.full(6, 0.5), level))


def test_a_window_hides_what_is_shorter() -> None:
    slow, fast = np.repeat([0.2, 0.8, 0.4, 0.6], 4), np.tile([0.1, -0.1], 8)
    clip = glowing(slow + fast, slow - fast)
    assert score(clip, 0.4) == pytest.approx(1, abs=0.01) and score(clip) < 0.8
    with pytest.raises(ValueError, match="between 0 and 10"):
        LightSoundSettings(-1)


def test_the_weights_are_those_of_the_card(tmp_path: Path) -> None:
    (file,) = tomllib.loads((CARDS / "weights/example_palette.toml").read_text())["files"]
    assert hashlib.sha256(weights()).hexdigest() == file["sha256"] and len(weights()) == file["bytes"]
    path = tmp_path / file["path"]
    path.write_bytes(weights())
    encoder, level = PaletteEncoder(), np.array([0.2, 0.6])
    encoder.load(path, "cpu")
    spec = PaletteGap().needs(V1)
    embedding = encoder.encode([glowing(level, level)], [spec])[0][spec]["embedding"]
    palette = np.array([0.4] * 3 + [0.2] * 3)
    angle = np.pi * (np.arange(6) + 0.5) / 6
    expected = np.round(np.cos(np.arange(1, 5)[:, None] * angle), 3) @ palette
    assert embedding == pytest.approx(expected, abs=0.01)  # pixels are whole numbers


def test_the_gap_of_two_sets() -> None:
    x = np.random.default_rng(0).normal(size=(30, 4))
    found = PaletteGap().distance(x + np.array([1, 0, 0, 2]), x, V1)
    assert found.value == pytest.approx(5)
    assert PaletteGap().distance(x, x, V1).value == 0
