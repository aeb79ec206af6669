from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from javisbench.clip import Clip, ClipSpec
from javisbench.errors import MetricError
from javisbench.metrics.base import SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.health import HealthEncoder
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1, V2

HEALTH = [name for name in METRICS if name.startswith("health_")]


def healthy() -> Clip:
    rng = np.random.default_rng(5)
    frames = rng.integers(60, 200, (96, 60, 106, 3), dtype=np.uint8)
    audio = (0.1 * rng.standard_normal((1, 64000))).astype(np.float32)
    return Clip(frames, Fraction(24), audio, 16000, name="healthy")


def measure(name: str, clip: Clip, setting: ClipSpec | None = None) -> SampleScore:
    metric = METRICS.get(name)()
    assert isinstance(metric, SampleMetric)
    spec = metric.needs(V1)["health"]
    features = HealthEncoder().encode([clip], [spec])[0][spec]
    assert not isinstance(features, Exception)
    return metric.score({"health": features}, SampleContext(V1, setting or ClipSpec(width=106, height=60)))


def test_all_eleven_are_registered_under_their_own_ids() -> None:
    assert len(HEALTH) == 11
    for name in HEALTH:
        card = METRICS.get(name).card
        assert card.id == name and card.kind == "sample" and card.measures and card.blind_to


def test_a_healthy_clip() -> None:
    values = {name: measure(name, healthy()).value for name in HEALTH}
    loudness = values.pop("health_loudness")
    assert -25 < loudness < -15
    assert values == {
        "health_silence": 0, "health_frozen": 0, "health_black": 0, "health_clipping": 0,
        "health_duration": 1, "health_fps": 1, "health_size": 1, "health_rate": 1,
        "health_timing": 0, "health_damaged": 0,
    }  # fmt: skip


def test_half_silent_half_frozen_quarter_black() -> None:
    clip = healthy()
    assert clip.audio is not None
    audio, frames = clip.audio.copy(), clip.frames.copy()
    audio[:, 32000:] = 0.0005  # -66 dBFS
    frames[48:] = frames[47]
    frames[72:] = 20
    broken = replace(clip, audio=audio, frames=frames)
    assert measure("health_silence", broken).value == 0.5
    assert measure("health_frozen", broken).value == 47 / 95
    assert measure("health_black", broken).value == 0.25


def test_a_slow_fade_and_a_small_moving_thing_are_not_frozen() -> None:
    fade = np.repeat(np.arange(60, 156, dtype=np.uint8)[:, None], 60 * 106 * 3, axis=1).reshape(96, 60, 106, 3)
    assert measure("health_frozen", replace(healthy(), frames=fade)).value == 0
    dot = np.full((96, 60, 106, 3), 90, np.uint8)
    for index in range(96):
        dot[index, 30:33, index : index + 3] = 250
    assert measure("health_frozen", replace(healthy(), frames=dot)).value == 0


def test_coding_noise_on_a_still_picture_is_frozen() -> None:
    rng = np.random.default_rng(1)
    still = np.repeat(healthy().frames[:1], 96, axis=0)
    noisy = still + (rng.uniform(size=still.shape[:3]) < 0.02).astype(np.uint8)[..., None]
    assert measure("health_frozen", replace(healthy(), frames=noisy)).value == 1


@pytest.mark.parametrize(
    ("name", "features", "expected"),
    [
        ("silence", {"level_dbfs": [-60.01, -60.0, -59.99, -55.0]}, 0.25),
        ("silence", {"level_dbfs": []}, 1.0),
        ("frozen", {"change": [0.0999, 0.1, 0.0999, 0.15], "changed_share": [0.99e-4, 0.99e-4, 1e-4, 5e-4]}, 0.25),
        ("frozen", {"change": [], "changed_share": []}, 1.0),
        ("black", {"dark_share": [0.98, 0.9799, 0.975, 1.0]}, 0.5),
        ("timing", {"timing_fault_frames": [0.5]}, 0.0),
        ("timing", {"timing_fault_frames": [0.501]}, 1.0),
    ],
)
def test_limits(name: str, features: dict[str, list[float]], expected: float) -> None:
    metric = METRICS.get(f"health_{name}")()
    assert isinstance(metric, SampleMetric)
    arrays = {key: np.array(values, dtype=np.float64) for key, values in features.items()}
    assert metric.score({"health": arrays}, SampleContext(V1)).value == expected


def test_clipped_sound() -> None:
    clip = healthy()
    assert clip.audio is not None
    loud = np.clip(clip.audio * 20, -1, 1)
    share = measure("health_clipping", replace(clip, audio=loud)).value
    assert share == pytest.approx(float((np.abs(loud) >= 1).mean()), abs=1e-3)
    assert share > 0.5


def test_ratios_against_the_setting() -> None:
    setting = ClipSpec(width=53, height=30, duration_s=8.0, fps=Fraction(12), sample_rate=32000)
    duration = measure("health_duration", healthy(), setting)
    assert duration.value == 0.5
    assert duration.details == {"duration_s": (4.0,), "audio_duration_s": (4.0,)}
    assert measure("health_fps", healthy(), setting).value == 2
    size = measure("health_size", healthy(), setting)
    assert size.value == 4 and size.details == {"width": (106.0,), "height": (60.0,)}
    assert measure("health_rate", healthy(), setting).value == 0.5


@pytest.mark.parametrize(
    ("name", "samples", "kind"),
    [
        ("health_loudness", 0, "no_audio"),
        ("health_clipping", 0, "no_audio"),
        ("health_rate", 0, "no_audio"),
        ("health_loudness", 3200, "too_short"),
    ],
)
def test_values_that_a_clip_does_not_have(name: str, samples: int, kind: str) -> None:
    audio = np.zeros((1, samples), np.float32) if samples else None
    with pytest.raises(MetricError) as caught:
        measure(name, replace(healthy(), audio=audio, sample_rate=16000 if samples else None))
    assert caught.value.kind == kind


@pytest.mark.parametrize("level", [0.0, 1e-5])
def test_silence_and_a_faint_hum_lie_at_the_gate(level: float) -> None:
    hum = (level * np.sin(np.arange(32000))).astype(np.float32)[None]
    assert measure("health_loudness", replace(healthy(), audio=hum)).value == -70.0


def test_a_silent_single_frame_is_all_silence_and_all_frozen() -> None:
    clip = Clip(np.zeros((1, 8, 8, 3), np.uint8), Fraction(24), None, None)
    assert [measure(f"health_{name}", clip).value for name in ("silence", "frozen", "black")] == [1, 1, 1]


def test_every_protocol_shares_the_features() -> None:
    for name in HEALTH:
        metric = METRICS.get(name)()
        assert metric.needs(V1) == metric.needs(V2)


@pytest.mark.parametrize(("certain", "value"), [([], 0.0), ([0.0], 0.5), ([0.0, 1.0], 1.0)])
def test_an_open_end_is_half_of_damage(certain: list[float], value: float) -> None:
    arrays = {"lost_frames": np.zeros(len(certain)), "lost_s": np.zeros(len(certain)), "certain": np.array(certain)}
    metric = METRICS.get("health_damaged")()
    assert metric.score({"health": arrays}, SampleContext(V1)).value == value  # type: ignore[union-attr]
