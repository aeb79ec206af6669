"""The family of speaking mouths: syllables that are seen as the mouth opens and heard as the voice swells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from javisbench.baselines.procedural import sounds
from javisbench.baselines.procedural.actors import DARK, WHITE
from javisbench.baselines.procedural.painting import Color, Painter, mixed
from javisbench.baselines.procedural.sync.bystanders import elsewhere, movers, seen_of
from javisbench.baselines.procedural.sync.mixing import Track, in_a_place
from javisbench.baselines.procedural.sync.motion import eased, wander
from javisbench.baselines.procedural.sync.picture import Stage, any_color
from javisbench.baselines.procedural.sync.scene import MARGIN_S, Event, Scene, Setting, events_in
from javisbench.baselines.procedural.sync.timing import irregular, shift_off_ends
from javisbench.baselines.procedural.sync.tools import any_skin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.baselines.procedural.sync.scene import Times

RISE_S = 0.07
"""How long the voice takes to swell at the start of a syllable; its event lies in the middle of that."""


@dataclass(frozen=True)
class Speech:
    """Syllables over the whole scene.

    Attributes:
        onsets: when each swells fastest.
        lengths_s: until each has faded.
        loud: of each, 0.4 to 1.
        vowels: index into `sounds.VOWELS_HZ`.
    """

    onsets: Times
    lengths_s: Times
    loud: Times
    vowels: NDArray[np.int64]

    def openness(self, times: Times) -> Times:
        """How far the mouth is open, 0 to 1: the loudness of the voice, more for open vowels, smoothed by muscles."""
        since = times[:, None] - self.onsets[None]
        rise = eased(since / (2 * RISE_S) + 0.5)
        fade = eased((self.lengths_s - since) / (0.6 * self.lengths_s))
        wide = np.asarray([1.0, 0.65, 0.5, 0.8, 0.55])[self.vowels]
        opened: Times = (self.loud * wide * rise * fade).max(axis=1)
        return opened

    def roundness(self, times: Times) -> Times:
        """How far the lips are drawn together, 0 to 1, of the syllable at hand."""
        last = np.maximum(np.searchsorted(self.onsets, times + RISE_S, side="right") - 1, 0)
        round_ = np.asarray([0.2, 0.0, 0.0, 0.8, 0.9])[self.vowels]
        before = round_[np.maximum(last - 1, 0)]
        share = eased((times + RISE_S - self.onsets[last]) / 0.1)
        lips: Times = before + (round_[last] - before) * share
        return lips


def speech(setting: Setting, rng: np.random.Generator) -> Speech:
    """Phrases of two to nine syllables, with pauses between them."""
    pace, moment, end = rng.uniform(0.15, 0.24), -MARGIN_S - rng.uniform(0, 1), setting.duration_s + MARGIN_S
    onsets, lengths = [], []
    while moment < end:
        for _ in range(int(rng.integers(2, 10))):
            length = pace * rng.uniform(0.75, 1.5)
            onsets.append(moment)
            lengths.append(length)
            moment += length
        lengths[-1] *= 1.3
        moment += rng.uniform(0.25, 0.9)
    count = len(onsets)
    loud = 0.4 + 0.6 * rng.beta(2, 1.2, count)
    times = np.asarray(onsets)
    times = times + shift_off_ends(setting, times)
    return Speech(times, np.asarray(lengths), loud, rng.integers(len(sounds.VOWELS_HZ), size=count))


def spoken(setting: Setting, talk: Speech, purpose: str = "voice") -> Track:
    """The voice of a speaker: harmonics of a pitch that falls along each phrase, shaped by the vowels."""
    rng, track, rate = setting.random(purpose), Track(setting), setting.sample_rate
    base = rng.uniform(90, 230)
    formants_shift = (base / 130) ** 0.25
    gaps = np.diff(talk.onsets, prepend=talk.onsets[0] - 1)
    fall = 1.0
    for onset, length, loud, vowel, gap in zip(talk.onsets, talk.lengths_s, talk.loud, talk.vowels, gaps, strict=True):
        fall = 1.12 if gap > 0.35 else max(0.8, fall * 0.97)
        t = np.arange(round((length + RISE_S) * rate)) / rate
        hz = base * fall * (1 + 0.06 * np.sin(np.pi * t / t[-1])) * rng.uniform(0.96, 1.04)
        first, second, third = (round(hz_ * formants_shift) for hz_ in sounds.VOWELS_HZ[vowel])
        swell = eased(t / (2 * RISE_S)) * eased((length + RISE_S - t) / (0.6 * length))
        voiced = sounds.voice(t, rate, hz, (first, second, third)) * swell
        if rng.uniform() < 0.4:
            puff = sounds.band(rng, rate, t.size, 2000, 6000) * np.exp(-(((t - 0.03) / 0.025) ** 2))
            voiced = voiced + 0.06 * puff
        track.add(float(onset) - RISE_S, voiced, 0.7 * float(loud))
    return track


def mouths(setting: Setting) -> Scene:
    """Somebody speaks, close to the camera; sometimes somebody else stands by, silent."""
    rng = setting.random("times")
    talk = speech(setting, rng)
    lead_s, listener = rng.uniform(0, 0.06), rng.uniform() < 0.3 or "listen" in setting.words
    blinks = irregular(setting, rng, 0.8, 4.0)
    background, other = movers(setting), elsewhere(setting, talk.onsets)

    def picture() -> NDArray[np.uint8]:
        looks, stage, times = setting.random("looks"), Stage(setting), setting.frame_times_s
        speaker = Face.drawn(looks)
        # A mouth prepares what it says: it moves a little before the sound.
        opened, lips = talk.openness(times + lead_s), talk.roundness(times + lead_s)
        shut = np.exp(-(((times[:, None] - blinks[None]) / 0.06) ** 2)).max(axis=1)
        nod = 0.6 * wander(looks, times, 1.6) + 0.4 * opened
        turn = wander(looks, times, 2.5)
        unit = looks.uniform(0.6, 0.95) * stage.height
        left = looks.uniform() < 0.5
        x = looks.uniform(0.4, 0.6) if not listener else (0.3 if left else 0.7)
        still, quiet_nod, quiet_turn = Face.drawn(looks), wander(looks, times, 2.1), wander(looks, times, 1.4)

        def frame(p: Painter, number: int) -> None:
            for mover in background:
                mover.draw(stage, p, number)
            if listener:
                stage.place(p, (1 - x) * stage.width, 0.8 * unit, -0.3 * unit)
                still.draw(p, 0.0, 0.3, float(quiet_nod[number]), float(quiet_turn[number]), 0.0)
            stage.place(p, x * stage.width, unit, -0.3 * unit)
            speaker.draw(
                p, float(opened[number]), float(lips[number]), float(nod[number]), float(turn[number]),
                float(shut[number]),
            )  # fmt: skip

        return stage.film(frame)

    seen = (*events_in(setting, blinks, "blink"), *seen_of(background))
    return Scene(
        events=events_in(setting, talk.onsets, "syllable"),
        seen_only=tuple(sorted(seen, key=_time)),
        heard_only=other.heard(setting),
        expected="in step",
        facts={"thing": "mouth", "mouth_leads_s": round(lead_s, 4)},
        picture=picture,
        sound=lambda: in_a_place(setting, [spoken(setting, talk), other.track(setting)]),
    )


def _time(event: Event) -> float:
    return event.time_s


@dataclass(frozen=True)
class Face:
    """A head with shoulders, from the shoulders at y = 0 to 1.1 high."""

    skin: Color
    hair: Color
    shirt: Color
    lips: Color
    round_: float
    long_hair: bool
    beard: bool
    glasses: bool

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Face:
        """One by lot."""
        skin = any_skin(rng)
        hairs: tuple[Color, ...] = ((0.72, 0.52, 0.25), (0.25, 0.16, 0.1), (0.1, 0.09, 0.1), (0.6, 0.58, 0.56))
        return cls(
            skin,
            hairs[int(rng.integers(len(hairs)))],
            any_color(rng),
            mixed(skin, (0.75, 0.2, 0.25), rng.uniform(0.35, 0.8)),
            rng.uniform(0.85, 1.15),
            bool(rng.uniform() < 0.45),
            bool(rng.uniform() < 0.25),
            bool(rng.uniform() < 0.25),
        )

    def draw(self, p: Painter, opened: float, lips: float, nod: float, turn: float, shut: float) -> None:
        """With the mouth `opened` 0 to 1, the lips drawn together 0 to 1, the eyes `shut` 0 to 1."""
        wide = 0.27 * self.round_
        x, y = 0.03 * turn, 0.7 + 0.012 * nod
        p.ellipse((0, 0.02), (0.52, 0.3), self.shirt)
        p.box(-0.52, -0.4, 0.52, 0.02, self.shirt)
        p.flush()
        p.box(-0.1, 0.25, 0.1, 0.5, mixed(self.skin, DARK, 0.15))
        if self.long_hair:
            p.ellipse((x * 0.6, y - 0.05), (wide + 0.09, 0.45), self.hair)
        p.ellipse((x * 0.6, y + 0.08), (wide + 0.04, 0.36), self.hair)
        for side in (-1, 1):
            p.ellipse((x * 0.5 + side * wide, y), (0.045, 0.07), mixed(self.skin, DARK, 0.1))
        # The jaw goes down with the mouth.
        p.ellipse((x, y - 0.035 * opened), (wide, 0.33 + 0.035 * opened), self.skin)
        if self.beard:
            p.ellipse((x, y - 0.22 - 0.06 * opened), (0.75 * wide, 0.14), mixed(self.hair, self.skin, 0.2))
        p.ellipse((x * 0.8, y + 0.28), (wide, 0.12), self.hair)
        p.flush()
        for side in (-1, 1):
            eye = (x * 1.6 + side * 0.11, y + 0.07)
            p.ellipse(eye, (0.05, 0.034 * (1 - 0.85 * shut)), mixed(WHITE, self.skin, shut))
            if shut < 0.5:
                p.circle((eye[0] + 0.015 * turn, eye[1]), 0.022, DARK)
            p.line([(eye[0] - 0.055, eye[1] + 0.075), (eye[0] + 0.055, eye[1] + 0.08)], 0.018, self.hair)
            if self.glasses:
                ring = [(eye[0] + 0.075 * math.cos(a), eye[1] + 0.06 * math.sin(a)) for a in np.linspace(0, 6.29, 13)]
                p.line(ring, 0.012, DARK)
        p.line([(x * 1.8, y + 0.04), (x * 1.8 + 0.03, y - 0.06), (x * 1.8 - 0.01, y - 0.07)], 0.014,
               mixed(self.skin, DARK, 0.3))  # fmt: skip
        across, high = 0.1 * (1 - 0.35 * lips) * (1 - 0.15 * opened), 0.02 + 0.08 * opened
        middle = (x * 1.6, y - 0.18 - 0.03 * opened)
        p.ellipse(middle, (across + 0.012, high + 0.012), self.lips)
        if opened > 0.04:
            p.ellipse(middle, (across - 0.012, max(0.004, high - 0.012)), (0.25, 0.06, 0.07))
        p.flush(plain=True)
