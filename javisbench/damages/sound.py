"""Damages of the sound; the picture stays as it is."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.damages.base import DamageCard, TrialDamage, seconds_in_samples, sound_of, window_of
from javisbench.errors import DamageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import Clip

PIECES = 8
SHIFTS_MS = (40, 80, 160, 320, 640, 1280)
_HOP_S, _EVENT_GAP_S, _BEFORE_S, _AFTER_S, _FADE_S = 0.01, 0.1, 0.1, 0.4, 0.005
_AAC_FRAME = 1024


class Shift(TrialDamage):
    """Sound late within a window, so that nothing is cut, filled in or spliced."""

    card: ClassVar[DamageCard] = DamageCard(
        "shift", "Shift in a window", "sound",
        "Good clip and damaged one are cut to a window, 1 s from either end (0.7 s in clips under 5 s, more for longer "
        "shifts); the sound of the damaged one is taken from so much earlier. Negative doses: later.",
        unit="ms", doses=SHIFTS_MS, least=-60_000, most=60_000, signed=True, windowed=True,
    )  # fmt: skip

    def reach_s(self, dose: float) -> float:
        """The shift."""
        return abs(dose) / 1000

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """The window, its sound late by the dose."""
        return window_of(clip, self.margin_s(clip, dose), dose / 1000)


class ShiftCut(TrialDamage):
    """Sound late, silence moved in."""

    card: ClassVar[DamageCard] = DamageCard(
        "shift_cut", "Shift with silence", "sound",
        "The sound is late; silence stands before it, and its end is cut. Negative doses: early.",
        unit="ms", doses=SHIFTS_MS, least=-60_000, most=60_000, signed=True,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Silence before, or after."""
        audio, rate = sound_of(clip)
        return replace(clip, audio=shifted(audio, seconds_in_samples(dose, rate)))


class ShiftCircular(TrialDamage):
    """Sound late, its end moved to the start."""

    card: ClassVar[DamageCard] = DamageCard(
        "shift_circular", "Circular shift", "sound",
        "The sound is late, and what is pushed out at its end stands at its start. Negative doses: early.",
        unit="ms", doses=SHIFTS_MS, least=-60_000, most=60_000, signed=True,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Samples rolled."""
        audio, rate = sound_of(clip)
        return replace(clip, audio=np.roll(audio, seconds_in_samples(dose, rate), axis=1))


class Gap(TrialDamage):
    """Silence in the middle, and all later sound late."""

    card: ClassVar[DamageCard] = DamageCard(
        "gap", "Inserted silence", "sound",
        "Silence is put in at the middle; what follows is late by it, and the end is cut.",
        unit="ms", doses=(100, 250, 500, 1000), least=1, most=60_000,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Zeros put in."""
        audio, rate = sound_of(clip)
        middle = audio.shape[1] // 2
        pause = np.zeros((len(audio), seconds_in_samples(dose, rate)), np.float32)
        return replace(
            clip, audio=np.concatenate([audio[:, :middle], pause, audio[:, middle:]], 1)[:, : audio.shape[1]]
        )


class Repeated(TrialDamage):
    """A part twice, and all later sound late."""

    card: ClassVar[DamageCard] = DamageCard(
        "repeated", "Repeated part", "sound",
        "The part before the middle is heard twice; what follows is late by it, and the end is cut.",
        unit="ms", doses=(100, 250, 500, 1000), least=1, most=60_000,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """A copy put in."""
        audio, rate = sound_of(clip)
        middle, part = audio.shape[1] // 2, seconds_in_samples(dose, rate)
        if part > middle:
            raise DamageError(f"the sound before the middle is shorter than the {dose:g} ms to repeat")
        pieces = [audio[:, :middle], audio[:, middle - part :]]
        return replace(clip, audio=np.concatenate(pieces, 1)[:, : audio.shape[1]])


class MiddleSpeed(TrialDamage):
    """The middle third at another speed."""

    card: ClassVar[DamageCard] = DamageCard(
        "middle_speed", "Middle third's speed", "sound",
        "The middle third is played at this share of its speed, pitch and all, in the time it had: cut where it has "
        "become longer, begun again where shorter. What follows is in its place.",
        unit="%", doses=(200, 50), least=25, most=400,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """The third resampled."""
        audio, _ = sound_of(clip)
        first, last = audio.shape[1] // 3, 2 * audio.shape[1] // 3
        part = fitted(_resampled(audio[:, first:last], 100 / Fraction(dose).limit_denominator(1000)), last - first)
        return replace(clip, audio=np.concatenate([audio[:, :first], part, audio[:, last:]], 1))


class Shuffled(TrialDamage):
    """Pieces in another order."""

    card: ClassVar[DamageCard] = DamageCard(
        "shuffled", "Shuffled", "sound", "Eight pieces of the sound in another order."
    )

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """A random order other than the true one."""
        audio, _ = sound_of(clip)
        order = rng.permutation(PIECES)
        order = np.roll(order, 1) if (order == np.arange(PIECES)).all() else order
        pieces = np.array_split(audio, PIECES, axis=1)
        return replace(clip, audio=np.concatenate([pieces[piece] for piece in order], axis=1))


class Reversed(TrialDamage):
    """Backwards."""

    card: ClassVar[DamageCard] = DamageCard("reversed", "Reversed", "sound", "The sound backwards.")

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Samples from last to first."""
        return replace(clip, audio=np.ascontiguousarray(sound_of(clip)[0][:, ::-1]))


class Removed(TrialDamage):
    """Events that are seen and not heard."""

    card: ClassVar[DamageCard] = DamageCard(
        "removed", "Removed events", "sound",
        "This share of the sound's events (peaks of its level), the loudest first, is silent.",
        unit="%", doses=(25, 50, 100), least=1, most=100,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Silence from 0.1 s before a peak to 0.4 s after it, or to the next event, with short fades."""
        audio, rate = sound_of(clip)
        peaks, loudness = _events(audio, rate)
        if not peaks.size:
            raise DamageError("the sound has no events that could be removed")
        gain = np.ones(audio.shape[1], np.float32)
        chosen = np.sort(np.argsort(-loudness, kind="stable")[: max(1, round(peaks.size * dose / 100))])
        for place in chosen:
            earlier = (peaks[place - 1] + peaks[place]) // 2 if place else 0
            later = (peaks[place] + peaks[place + 1]) // 2 if place + 1 < peaks.size else audio.shape[1]
            gain[
                max(earlier, peaks[place] - round(_BEFORE_S * rate)) : min(later, peaks[place] + round(_AFTER_S * rate))
            ] = 0
        fade = max(1, round(_FADE_S * rate))
        gain = np.minimum(gain, np.convolve(gain, np.full(fade, 1 / fade, np.float32), "same")).astype(np.float32)
        return replace(clip, audio=audio * gain)


class Silent(TrialDamage):
    """No sound."""

    card: ClassVar[DamageCard] = DamageCard("silent", "Silent", "sound", "Digital silence.")

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Zeros."""
        return replace(clip, audio=np.zeros_like(sound_of(clip)[0]))


class Hiss(TrialDamage):
    """Noise instead of sound."""

    card: ClassVar[DamageCard] = DamageCard("hiss", "Hiss", "sound", "White noise at -20 dBFS instead of the sound.")

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Normal deviates."""
        audio = (0.1 * rng.standard_normal(sound_of(clip)[0].shape)).clip(-1, 1).astype(np.float32)
        return replace(clip, audio=audio)


class WhiteNoise(TrialDamage):
    """Noise over the sound."""

    card: ClassVar[DamageCard] = DamageCard(
        "white_noise", "Sound noise", "sound", "White noise is added; the dose is the ratio of the sound to it.",
        unit="dB SNR", doses=(20, 10, 0, -10), least=-60, most=80,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Noise of the sound's level less the dose; the sum is lowered where it would clip."""
        audio, _ = sound_of(clip)
        return replace(clip, audio=mixed(audio, rng.standard_normal(audio.shape).astype(np.float32), dose))


class Clipped(TrialDamage):
    """Too loud by far."""

    card: ClassVar[DamageCard] = DamageCard(
        "clipped", "Clipping", "sound", "The sound is made so much louder and limited at full scale.",
        unit="dB", doses=(6, 12, 24), least=0, most=80,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Amplified and limited."""
        return replace(clip, audio=(sound_of(clip)[0] * np.float32(_gain(dose))).clip(-1, 1))


class LowPass(TrialDamage):
    """No high tones."""

    card: ClassVar[DamageCard] = DamageCard(
        "low_pass", "Band limit, high", "sound", "Nothing above this frequency (Butterworth, eighth order, no delay).",
        unit="Hz", doses=(4000, 2000, 1000, 500), least=20, most=96_000,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Filtered."""
        return replace(clip, audio=_filtered(clip, dose, "lowpass"))


class HighPass(TrialDamage):
    """No low tones."""

    card: ClassVar[DamageCard] = DamageCard(
        "high_pass", "Band limit, low", "sound", "Nothing below this frequency (Butterworth, eighth order, no delay).",
        unit="Hz", doses=(200, 500, 1000, 2000), least=20, most=96_000,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Filtered."""
        return replace(clip, audio=_filtered(clip, dose, "highpass"))


class Volume(TrialDamage):
    """Louder or softer."""

    card: ClassVar[DamageCard] = DamageCard(
        "volume", "Volume", "sound", "The sound is so much louder, or softer for negative doses.",
        unit="dB", doses=(-6, -12, -20), least=-60, most=40, harms=False,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Amplified; a clip that would be limited cannot take the dose."""
        louder = sound_of(clip)[0] * np.float32(_gain(dose))
        if np.abs(louder).max() > 1:
            raise DamageError(f"the sound would be limited {dose:g} dB louder")
        return replace(clip, audio=louder)


class Stereo(TrialDamage):
    """One channel becomes two."""

    card: ClassVar[DamageCard] = DamageCard("stereo", "Mono as stereo", "sound", "The one channel twice.", harms=False)

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Two equal channels."""
        audio, _ = sound_of(clip)
        if len(audio) != 1:
            raise DamageError(f"the sound has {len(audio)} channels already")
        return replace(clip, audio=np.repeat(audio, 2, axis=0))


class Mono(TrialDamage):
    """Channels become one."""

    card: ClassVar[DamageCard] = DamageCard(
        "mono", "Stereo as mono", "sound", "The mean of the channels as the only one.", harms=False
    )

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """The mean channel."""
        audio, _ = sound_of(clip)
        if len(audio) == 1:
            raise DamageError("the sound is mono already")
        return replace(clip, audio=audio.mean(axis=0, keepdims=True))


class Resampled(TrialDamage):
    """Another sample rate."""

    card: ClassVar[DamageCard] = DamageCard(
        "resampled", "Sample rate", "sound", "The same sound at this sample rate.",
        unit="Hz", doses=(22_050, 44_100, 48_000), least=4000, most=192_000, harms=False,
    )  # fmt: skip

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Resampled by polyphase filtering."""
        audio, rate = sound_of(clip)
        target = round(dose)
        return replace(clip, audio=_resampled(audio, Fraction(target, rate)), sample_rate=target)


class Recoded(TrialDamage):
    """Lossy compression at a high rate."""

    card: ClassVar[DamageCard] = DamageCard(
        "recoded_sound", "AAC", "sound", "AAC at 128 kbit/s a channel.", harms=False
    )

    def apply(self, clip: Clip, dose: float, rng: np.random.Generator, other: Clip | None) -> Clip:
        """Encoded and decoded again, the encoder's delay taken off."""
        audio, rate = sound_of(clip)
        return replace(clip, audio=np.stack([_through_aac(channel, rate) for channel in audio]))


def shifted(audio: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Sound moved to `count` samples later (earlier if negative), silence where none is left."""
    moved = np.zeros_like(audio)
    if abs(count) < audio.shape[1]:
        if count >= 0:
            moved[:, count:] = audio[:, : audio.shape[1] - count]
        else:
            moved[:, :count] = audio[:, -count:]
    return moved


def fitted(audio: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Repeated or cut to `count` samples."""
    return np.tile(audio, (1, -(-count // audio.shape[1])))[:, :count]


def mixed(audio: NDArray[np.float32], addition: NDArray[np.float32], snr_db: float) -> NDArray[np.float32]:
    """Sound and an addition that lies `snr_db` below it in mean power, lowered as a whole where it would clip.

    Raises:
        DamageError: either is silent.
    """
    own, added = (float(np.mean(np.square(part, dtype=np.float64))) for part in (audio, addition))
    if own == 0 or added == 0:
        raise DamageError("silence has no level that another sound could be set against")
    total = audio + addition * np.float32((own / added) ** 0.5 / _gain(snr_db))
    return (total / np.float32(max(1.0, float(np.abs(total).max())))).astype(np.float32)


def at_rate(audio: NDArray[np.float32], rate: int, target: int) -> NDArray[np.float32]:
    """The same sound at another sample rate."""
    return audio if rate == target else _resampled(audio, Fraction(target, rate))


def _gain(decibels: float) -> float:
    return float(10 ** (decibels / 20))


def _resampled(audio: NDArray[np.float32], ratio: Fraction) -> NDArray[np.float32]:
    from scipy.signal import resample_poly

    found: NDArray[np.float32] = resample_poly(audio, ratio.numerator, ratio.denominator, axis=1)
    return found.astype(np.float32).clip(-1, 1)


def _filtered(clip: Clip, edge_hz: float, kind: str) -> NDArray[np.float32]:
    from scipy.signal import butter, sosfiltfilt

    audio, rate = sound_of(clip)
    if edge_hz >= rate / 2:
        raise DamageError(f"sound at {rate} Hz has nothing above {rate / 2:g} Hz")
    # Forwards and backwards: the delays cancel, and the order doubles from 4 to 8.
    found: NDArray[np.float64] = sosfiltfilt(butter(4, edge_hz, kind, fs=rate, output="sos"), audio, axis=1)
    return found.astype(np.float32).clip(-1, 1)


def _events(audio: NDArray[np.float32], rate: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Peaks of the sound's level: their samples and heights. A peak rises a fifth of the highest above its valleys."""
    from scipy.signal import find_peaks

    hop = max(1, round(_HOP_S * rate))
    count = audio.shape[1] // hop
    power = np.square(audio[:, : count * hop], dtype=np.float64).mean(axis=0).reshape(count, hop).mean(axis=1)
    level = np.sqrt(np.convolve(power, np.full(3, 1 / 3), "same"))
    if not count or not level.max():
        return np.zeros(0, np.int64), np.zeros(0)
    # A valley on either side of the ends, so that an event there is one too.
    peaks, _ = find_peaks(np.pad(level, 1), prominence=0.2 * level.max(), distance=round(_EVENT_GAP_S / _HOP_S))
    return (peaks - 1) * hop + hop // 2, level[peaks - 1]


def _through_aac(channel: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    import av
    import av.error

    writer = av.CodecContext.create("aac", "w")
    writer.sample_rate, writer.format, writer.layout, writer.bit_rate = rate, "fltp", "mono", 128_000
    writer.time_base = Fraction(1, rate)
    try:
        writer.open()
    except av.error.FFmpegError as error:
        raise DamageError(f"AAC does not hold sound at {rate} Hz") from error
    padded = np.pad(channel, (0, -len(channel) % _AAC_FRAME))
    packets = []
    for start in range(0, len(padded), _AAC_FRAME):
        frame = av.AudioFrame.from_ndarray(padded[None, start : start + _AAC_FRAME], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, writer.time_base
        packets += writer.encode(frame)
    packets += writer.encode(None)
    reader = av.CodecContext.create("aac", "r")
    reader.extradata = writer.extradata
    pieces = [frame.to_ndarray()[0] for packet in [*packets, None] for frame in reader.decode(packet)]
    # FFmpeg's encoder puts one frame of silence before the sound.
    decoded = np.concatenate(pieces)[_AAC_FRAME:]
    return np.pad(decoded, (0, max(0, len(channel) - len(decoded))))[: len(channel)].clip(-1, 1).astype(np.float32)
