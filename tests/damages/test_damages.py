"""What each damage does to a clip, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from javisbench.clip import Clip
from javisbench.damages import DAMAGES, TrialDamage
from javisbench.damages.base import window_of
from javisbench.errors import DamageError, UsageError

RATE, FPS, SECONDS = 8000, 24, 6
HITS_S = (0.5, 1.25, 2.5, 3.5, 4.75)


@pytest.fixture(scope="module")
def clip() -> Clip:
    """A textured square that moves, over a tone burst at each of `HITS_S`, each softer than the one before."""
    random = np.random.default_rng(3)
    # Grey, because codecs halve the colour's resolution.
    ground = np.repeat(random.integers(40, 90, (1, 48, 64, 1), dtype=np.uint8), 3, axis=3)
    frames = np.repeat(ground, FPS * SECONDS, axis=0)
    for place, frame in enumerate(frames):
        left = place % 40
        frame[10:30, left : left + 20] = 200
        frame[0, :, 0] = place
    audio = 0.001 * random.standard_normal(RATE * SECONDS)
    time = np.arange(RATE * SECONDS) / RATE
    for number, hit in enumerate(HITS_S):
        burst = (time >= hit) & (time < hit + 0.1)
        audio[burst] += (0.5 - 0.05 * number) * np.sin(2 * np.pi * 440 * time[burst])
    return Clip(frames, Fraction(FPS), (np.rint(audio * 32768) / 32768).astype(np.float32)[None], RATE, "sidecar")


@pytest.fixture(scope="module")
def other(clip: Clip) -> Clip:
    """Another sound, at another rate and length."""
    random = np.random.default_rng(8)
    audio = 0.1 * random.standard_normal((2, 11025 * 4)).astype(np.float32)
    return replace(clip, frames=clip.frames[:1], audio=audio, sample_rate=11025, frame_times_s=None)  # type: ignore[arg-type]


def apply(name: str, clip: Clip, dose: float = 0.0, other: Clip | None = None, seed: int = 0) -> Clip:
    damage: TrialDamage = DAMAGES.get(name)()
    return damage.apply(clip, dose, np.random.default_rng(seed), other)


def cases() -> list[tuple[str, float]]:
    found = []
    for name in DAMAGES:
        card = DAMAGES.get(name).card
        found += [(name, dose) for dose in card.doses or (0.0,)]
    # These change nothing of so small a picture, of a sound of 4 kHz, of mono.
    return [case for case in found if case not in (("blurred", 0.5), ("low_pass", 4000), ("mono", 0.0))]


@pytest.mark.parametrize(("name", "dose"), cases())
def test_a_damage_changes_its_own_stream_and_is_the_same_again(name: str, dose: float, clip: Clip, other: Clip) -> None:
    card = DAMAGES.get(name).card
    assert card.id == name
    card.check(dose if card.unit else None)
    found, again = (apply(name, clip, dose, other) for _ in range(2))
    good = window_of(clip, DAMAGES.get(name)().margin_s(clip, dose)) if card.windowed else clip
    assert found.audio is not None and good.audio is not None and again.audio is not None
    assert found.frames.dtype == np.uint8 and found.audio.dtype == np.float32
    assert np.abs(found.audio).max() <= 1
    same_picture = found.frames.shape == good.frames.shape and np.array_equal(found.frames, good.frames)
    same_sound = found.audio.shape == good.audio.shape and np.array_equal(found.audio, good.audio)
    assert (same_picture, same_sound) == (card.stream != "picture", card.stream != "sound")
    np.testing.assert_array_equal(found.frames, again.frames)
    np.testing.assert_array_equal(found.audio, again.audio)


@pytest.mark.parametrize("name", [name for name in DAMAGES if len(DAMAGES.get(name).card.doses) > 1])
def test_the_mildest_dose_comes_first(name: str) -> None:
    card = DAMAGES.get(name).card
    severities = [card.severity(dose) for dose in card.doses]
    if card.harms:
        assert severities == sorted(severities)


@given(st.sampled_from([-640, -320, -40, 40, 250, 700, 1000, 1280]))
def test_a_windowed_shift_loses_and_fills_in_nothing(dose: int) -> None:
    # A ramp tells of each sample where it was.
    ramp = (np.arange(RATE * SECONDS) / (RATE * SECONDS)).astype(np.float32)[None]
    clip = Clip(np.zeros((FPS * SECONDS, 4, 4, 3), np.uint8), Fraction(FPS), ramp, RATE)
    damage = DAMAGES.get("shift")()
    margin_s = damage.margin_s(clip, dose)
    good, bad = window_of(clip, margin_s), damage.apply(clip, dose, np.random.default_rng(0), None)
    assert good.audio is not None and bad.audio is not None
    assert good.audio.shape == bad.audio.shape and len(good.frames) == len(bad.frames)
    assert abs(good.audio_duration_s - good.duration_s) < 1 / RATE + 1e-9
    late = (good.audio - bad.audio)[0] * SECONDS * 1000
    np.testing.assert_allclose(late, dose, atol=0.6 / RATE * 1000 + 0.01)
    assert margin_s == max(1.0, abs(dose) / 1000)


def test_windows_of_short_clips_are_wider_and_too_short_ones_are_told(clip: Clip) -> None:
    short = replace(clip, frames=clip.frames[: 4 * FPS], audio=clip.audio[:, : 4 * RATE], frame_times_s=None)  # type: ignore[index,arg-type]
    shift = DAMAGES.get("shift")()
    assert shift.margin_s(short, 40) == 0.7
    assert shift.margin_s(short, 1280) == 1.28
    with pytest.raises(DamageError, match=r"4.00 s are too short for shift=1600: .* needs 4.20 s"):
        shift.margin_s(short, 1600)
    with pytest.raises(DamageError, match="no sound"):
        window_of(replace(clip, audio=None), 1.0)


def test_windows_keep_irregular_times(clip: Clip) -> None:
    times = np.arange(len(clip.frames)) / FPS
    times[1::2] += 0.01
    found = window_of(replace(clip, frame_times_s=times), 1.0)
    assert found.frame_times_s[0] == 0
    np.testing.assert_allclose(np.diff(found.frame_times_s), np.diff(times[24 : 24 + len(found.frames)]), atol=1e-12)


def test_shifts(clip: Clip) -> None:
    sound = clip.audio
    assert sound is not None
    late, early = apply("shift_cut", clip, 250).audio, apply("shift_cut", clip, -250).audio
    assert late is not None and early is not None
    np.testing.assert_array_equal(late[:, 2000:], sound[:, :-2000])
    np.testing.assert_array_equal(early[:, :-2000], sound[:, 2000:])
    assert not late[:, :2000].any() and not early[:, -2000:].any()
    assert not np.any(apply("shift_cut", clip, 60_000).audio)
    np.testing.assert_array_equal(apply("shift_circular", clip, 250).audio, np.roll(sound, 2000, 1))
    gap, twice = apply("gap", clip, 500).audio, apply("repeated", clip, 500).audio
    assert gap is not None and twice is not None and gap.shape == twice.shape == sound.shape
    middle = sound.shape[1] // 2
    np.testing.assert_array_equal(gap[:, middle + 4000 :], sound[:, middle:-4000])
    np.testing.assert_array_equal(twice[:, middle : middle + 4000], sound[:, middle - 4000 : middle])


def test_only_the_middle_third_changes_speed(clip: Clip) -> None:
    time = np.arange(RATE * 6) / RATE
    tone = replace(clip, audio=(0.5 * np.sin(2 * np.pi * 400 * time)).astype(np.float32)[None])
    for dose in (50, 200):
        found = apply("middle_speed", tone, dose).audio
        assert found is not None and found.shape == tone.audio.shape  # type: ignore[union-attr]
        outside = np.r_[0 : RATE * 2, RATE * 4 : RATE * 6]
        np.testing.assert_array_equal(found[:, outside], tone.audio[:, outside])  # type: ignore[index]
        spectrum = np.abs(np.fft.rfft(found[0, RATE * 2 : RATE * 4]))
        assert np.argmax(spectrum) / 2 == pytest.approx(400 * dose / 100, abs=2)


def test_the_loudest_events_go_first(clip: Clip) -> None:
    def heard(dose: float) -> list[float]:
        audio = apply("removed", clip, dose).audio
        assert audio is not None
        starts = [round(hit * RATE) for hit in HITS_S]
        return [hit for hit, at in zip(HITS_S, starts, strict=True) if np.abs(audio[0, at : at + 800]).max() > 0.1]

    assert heard(20) == list(HITS_S[1:])
    assert heard(60) == list(HITS_S[3:])
    assert heard(100) == []
    with pytest.raises(DamageError, match="no events"):
        apply("removed", replace(clip, audio=np.zeros((1, RATE), np.float32)), 50)


@pytest.mark.parametrize("snr", [20, 0, -10])
@pytest.mark.parametrize("name", ["white_noise", "added"])
def test_additions_have_the_level_asked_for(name: str, snr: float, clip: Clip, other: Clip) -> None:
    found = apply(name, clip, snr, other).audio
    assert found is not None and clip.audio is not None
    # The sum was lowered where it would clip: the own sound's share is found by regression.
    share = float((found * clip.audio).sum() / (clip.audio**2).sum())
    rest = found - share * clip.audio
    assert 10 * np.log10((share * clip.audio).var() / rest.var()) == pytest.approx(snr, abs=0.2)
    with pytest.raises(DamageError, match="silence"):
        apply(name, replace(clip, audio=np.zeros_like(clip.audio)), snr, other)


def test_band_limits_have_no_delay(clip: Clip) -> None:
    low, high = apply("low_pass", clip, 1000).audio, apply("high_pass", clip, 2000).audio
    assert low is not None and high is not None and clip.audio is not None
    lag = np.argmax(np.correlate(low[0], clip.audio[0], "full")) - (clip.audio.shape[1] - 1)
    assert lag == 0
    assert (high**2).sum() < 0.01 * (clip.audio**2).sum()
    with pytest.raises(DamageError, match="nothing above 4000 Hz"):
        apply("low_pass", clip, 4000)


def test_what_should_not_matter_changes_little(clip: Clip) -> None:
    assert clip.audio is not None
    recoded = apply("recoded_sound", clip).audio
    assert recoded is not None and recoded.shape == clip.audio.shape
    # The codec's delay is taken off: any other lag would lose most of the correlation.
    assert np.corrcoef(recoded[0], clip.audio[0])[0, 1] > 0.99
    assert np.abs(apply("recoded", clip).frames.astype(int) - clip.frames).mean() < 8
    assert np.abs(apply("compressed", clip, 51).frames.astype(int) - clip.frames).mean() > 4
    bars = apply("bars", clip, 25)
    np.testing.assert_array_equal(bars.frames[:, 8:-8], clip.frames)
    assert bars.frames.shape[1] == 64 and not bars.frames[:, :8].any()
    resized = apply("resized", clip, 50)
    assert resized.frames.shape[1:3] == (24, 32)
    assert apply("resampled", clip, 16000).audio_duration_s == clip.audio_duration_s
    with pytest.raises(DamageError, match="limited"):
        apply("volume", clip, 20)
    with pytest.raises(DamageError, match="mono already"):
        apply("mono", clip)
    stereo = apply("stereo", clip)
    np.testing.assert_array_equal(apply("mono", stereo).audio, clip.audio)
    with pytest.raises(DamageError, match="2 channels"):
        apply("stereo", stereo)


@pytest.mark.parametrize("dose", [50, 125, 200])
def test_frame_rates_show_the_same_moments(dose: float, clip: Clip) -> None:
    found = apply("frame_rate", clip, dose)
    assert found.fps == Fraction(FPS) * Fraction(dose) / 100
    assert found.duration_s == clip.duration_s
    shown = found.frames[:, 0, 0, 0].astype(int)
    np.testing.assert_array_equal(shown, np.floor(np.arange(len(shown)) / float(found.fps) * FPS + 1e-9))


def test_damage_of_the_picture(clip: Clip) -> None:
    number = clip.frames[:, 0, 0, 0]
    paused = apply("paused", clip, 1000).frames[:, 0, 0, 0]
    assert (paused[48:73] == 48).all() and paused[-1] == number[-1 - FPS] and len(paused) == len(number)
    with pytest.raises(DamageError, match="too short for a pause"):
        apply("paused", clip, 4000)
    np.testing.assert_array_equal(apply("cyclic", clip, 500).frames[:, 0, 0, 0], np.roll(number, 12))
    fast = apply("played", clip, 150).frames[:, 0, 0, 0]
    assert fast[40] == 60 and fast[-1] == number[-1]
    dropped = apply("dropped", clip, 75).frames[:, 0, 0, 0].astype(int)
    assert len(np.unique(dropped)) == 1 + round((len(number) - 1) * 0.25)
    assert (np.diff(dropped) >= 0).all() and (dropped <= number).all()
    masked = apply("masked", clip, 40).frames
    grey = (masked == 128).all(axis=(0, 3))
    assert grey.mean() == pytest.approx(0.4, abs=0.02)
    moving = (apply("intruder", clip, 20).frames != clip.frames).any(axis=3)
    assert moving.any(axis=(1, 2)).all() and 0.01 < moving.mean() < 0.06
    assert len({int(np.argmax(frame.any(axis=0))) for frame in moving}) > 20
    noisy = [np.abs(apply("noise", clip, dose).frames.astype(int) - clip.frames).mean() for dose in (10, 50, 100)]
    assert noisy[0] < noisy[1] / 3 < noisy[2] / 3


def test_other_clips_sounds_fit(clip: Clip, other: Clip) -> None:
    found = apply("swapped", clip, 0, other)
    assert found.audio is not None and other.audio is not None
    assert found.sample_rate == 11025 and found.audio_duration_s == pytest.approx(clip.audio_duration_s, abs=1e-3)
    np.testing.assert_array_equal(found.audio[:, : other.audio.shape[1]], other.audio)
    np.testing.assert_array_equal(
        found.audio[:, other.audio.shape[1] :], other.audio[:, : found.audio.shape[1] - 44100]
    )


def test_doses_that_a_damage_does_not_have_are_refused() -> None:
    for name, dose, message in (
        ("masked", 101, "takes 0 to 100 %; got 101"),
        ("masked", None, "needs a dose in %, such as masked=20"),
        ("silent", 1, "has no doses; name it as silent"),
        ("shift", float("nan"), "got nan"),
    ):
        with pytest.raises(UsageError, match=message):
            DAMAGES.get(name).card.check(dose)
