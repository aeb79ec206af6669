"""Every frame and sound at its own time: clips of random rates, gaps and offsets give back when their events were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from javisbench.clip import Clip
from javisbench.media.sound import _steps

WIDTH, HEIGHT = 64, 48
TICKS = 60_000  # a second, as far as the container allows
CONTAINERS = {
    "mp4": ("libx264", "flac"),
    "mov": ("libx264", "alac"),
    "mkv": ("libx264", "pcm_s16le"),
    "avi": ("mpeg4", "pcm_s16le"),
}


@dataclass(frozen=True)
class Scene:
    """What a clip shows: frames at times, white where an event is, and a click at each event.

    Attributes:
        container: suffix.
        times_s: of frames, from 0.
        events: indices of frames that are white.
        rate: Hz of the sound.
        gap_s: begin and end of the sound's pause.
        lead_s: how much later than the sound the picture starts.
    """

    container: str
    times_s: tuple[Fraction, ...]
    events: tuple[int, ...]
    rate: int
    gap_s: tuple[float, float]
    lead_s: Fraction

    @property
    def event_times_s(self) -> list[float]:
        return [float(self.times_s[event]) for event in self.events]


def write(scene: Scene, path: Path) -> None:
    """The clip, its picture without B-frames so that an AVI's slots are its frames' places."""
    video_codec, audio_codec = CONTAINERS[scene.container]
    fastest = min(b - a for a, b in zip(scene.times_s, scene.times_s[1:], strict=False))
    with av.open(str(path), "w") as out:
        video = out.add_stream(video_codec, rate=1 / fastest, options={"g": "12", "bf": "0"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.time_base = fastest if scene.container == "avi" else Fraction(1, TICKS)
        audio = out.add_stream(audio_codec, rate=scene.rate, layout="mono")
        for index, time in enumerate(scene.times_s):
            grey = 250 if index in scene.events else 20 + index % 3
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), grey, np.uint8), format="rgb24")
            frame.time_base = video.codec_context.time_base
            frame.pts = round((time + scene.lead_s) / frame.time_base)
            for packet in video.encode(frame):
                out.mux(packet)
        for packet in video.encode(None):
            out.mux(packet)
        _write_sound(out, audio, scene)


def _write_sound(out: av.container.OutputContainer, audio: av.AudioStream, scene: Scene) -> None:
    length = int((scene.times_s[-1] + scene.lead_s + Fraction(1, 2)) * scene.rate)
    samples = (np.sin(np.arange(length) * 0.05) * 600).astype(np.int16)
    for time in scene.event_times_s:
        samples[round((time + float(scene.lead_s)) * scene.rate)] = 30_000
    step = audio.codec_context.frame_size or 512
    for start in range(0, length, step):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + step], format=planar(audio), layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = scene.rate, start, Fraction(1, scene.rate)
        for packet in audio.encode(frame):
            _mux_outside_gap(out, packet, scene)
    for packet in audio.encode(None):
        _mux_outside_gap(out, packet, scene)


def planar(audio: av.AudioStream) -> str:
    return "s16p" if audio.codec_context.name == "alac" else "s16"


def _mux_outside_gap(out: av.container.OutputContainer, packet: av.Packet, scene: Scene) -> None:
    begin, end = (edge + float(scene.lead_s) for edge in scene.gap_s)
    at, length = (float(ticks * packet.time_base) for ticks in (packet.pts, packet.duration or 0))
    if not begin <= at <= at + length <= end:
        out.mux(packet)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    container = draw(st.sampled_from(sorted(CONTAINERS)))
    # AVI has slots of one length, some of them empty; the others have times.
    fps = draw(st.sampled_from([Fraction(12), Fraction(24), Fraction(30_000, 1001), Fraction(50), Fraction(15, 2)]))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 3]), min_size=20, max_size=40))
    places = np.concatenate([[0], np.cumsum(steps)])
    times = tuple(Fraction(int(place)) / fps for place in places)
    events = tuple(sorted(draw(st.sets(st.integers(2, len(times) - 2), min_size=2, max_size=4))))
    events = tuple(e for i, e in enumerate(events) if i == 0 or e - events[i - 1] > 1)
    # A pause of the sound in which nothing happens, between two events.
    begin, end = (float(times[events[0]]) + 0.15, float(times[events[-1]]) - 0.15)
    pause = container != "avi" and end - begin > 0.3 and draw(st.booleans())
    quiet = [float(times[e]) for e in events[1:-1]]
    gap = (begin, end) if pause and not any(begin - 0.4 < t < end + 0.4 for t in quiet) else (-1.0, -1.0)
    lead = draw(st.sampled_from([Fraction(0), Fraction(1, 4), Fraction(7, 60)])) if container in ("mkv", "mov") else 0
    return Scene(container, times, events, draw(st.sampled_from([8_000, 16_000, 44_100])), gap, Fraction(lead))


@given(scene=scenes())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_events_are_where_they_were(scene: Scene, decode: Callable[..., Clip], tmp_path: Path) -> None:
    path = tmp_path / f"scene.{scene.container}"
    write(scene, path)

    clip = decode(path)

    times = np.array([float(time) for time in scene.times_s])
    assert len(clip.frames) == len(times)
    half_a_frame = float(min(b - a for a, b in zip(scene.times_s, scene.times_s[1:], strict=False))) / 2
    assert np.abs(clip.frame_times_s - times).max() < min(half_a_frame, 0.0011)  # Matroska rounds to 1 ms
    white = np.flatnonzero(clip.frames.mean(axis=(1, 2, 3)) > 130)
    assert white.tolist() == list(scene.events)
    assert clip.audio is not None and clip.sample_rate == scene.rate
    clicks = np.flatnonzero(clip.audio[0] > 0.5) / scene.rate
    assert np.abs(clicks - scene.event_times_s).max() < 0.001
    if scene.container != "avi":  # where one empty slot is within the container's rounding
        assert float(clip.fps) == pytest.approx((len(times) - 1) / times[-1], rel=2e-3)
    assert clip.duration_s == pytest.approx(clip.frame_times_s[-1] + clip.last_frame_s, abs=2e-3)
    assert not clip.damage


def test_two_packets_far_apart_stay_apart() -> None:
    lag = np.array([0.0, 1.024])
    assert _steps(lag) == [1] and _steps(np.array([0.0, 1.024, 1.024])) == [1]
    assert _steps(np.array([0.0])) == []


def test_times_that_waver_make_no_gaps() -> None:
    jitter = np.random.default_rng(0).uniform(-0.003, 0.003, 200)
    assert _steps(jitter) == []
    dropped = jitter + np.where(np.arange(200) >= 90, 0.1, 0.0)
    assert _steps(dropped) == [90]
