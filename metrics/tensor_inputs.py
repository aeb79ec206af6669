"""Clips for metrics as objects: tensors or arrays in, one clip or a batch, every wrong input named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from javisbench.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import Clip

# Decoders overshoot a little, and that is clipped; what exceeds this is on another scale.
_PIXEL_OVERSHOOT = 0.25
_LOUDEST = 10.0


@dataclass(frozen=True)
class Given:
    """One clip as it came, for whoever wants the gradient of its tensors.

    Attributes:
        clip: pixels as bytes, and sound, in memory of the CPU.
        pixels: ``(T, H, W, 3)`` in [0, 1] with a gradient; None where none is asked for.
        sound: ``(channels, samples)``, float32, with a gradient; None where none is asked for.
    """

    clip: Clip
    pixels: Tensor | None = None
    sound: Tensor | None = None

    @property
    def traced(self) -> frozenset[str]:
        """Of what gradients are asked for: ``picture``, ``sound``."""
        asked = {"picture": self.pixels, "sound": self.sound}
        return frozenset(name for name, tensor in asked.items() if tensor is not None)


def given(frames: Any, fps: Any, audio: Any, sample_rate: Any) -> list[Given]:
    """Clips of what a training loop has, with their tensors where those ask for gradients; as `as_clips`."""
    import torch

    clips = as_clips(frames, fps, audio, sample_rate)
    if not torch.is_grad_enabled():
        return [Given(clip) for clip in clips]
    pictures, sounds = (frames, audio) if is_batch(frames) else ([frames], [audio])
    return [
        Given(clip, _traced_pixels(picture), _traced_sound(sound))
        for clip, picture, sound in zip(clips, pictures, sounds, strict=True)
    ]


def _traced_pixels(pixels: Any) -> Tensor | None:
    if not getattr(pixels, "requires_grad", False):
        return None
    shown: Tensor = pixels if pixels.shape[-1] == 3 else pixels.permute(0, 2, 3, 1)
    return shown.float().clamp(0.0, 1.0)


def _traced_sound(sound: Any) -> Tensor | None:
    if not getattr(sound, "requires_grad", False):
        return None
    heard: Tensor = sound[None] if sound.ndim == 1 else sound
    return heard.float()


def without_nan(frames: Any, audio: Any) -> tuple[Any, Any, list[str]]:
    """Clips in which NaN and infinity are replaced by 0, and of each clip what held them, or an empty text.

    What is no batch of floating-point tensors or arrays is passed on as it is.
    """
    told: dict[int, list[str]] = {}
    batch = is_batch(frames)
    kept = []
    for name, values in (("its frames", frames), ("its sound", audio)):
        each = values if batch else [values]
        bad = [row for row, one in enumerate(each) if not _is_finite(one)] if hasattr(each, "__len__") else []
        if bad:
            import torch

            each = [torch.nan_to_num(torch.as_tensor(one)) if row in bad else one for row, one in enumerate(each)]
            each = [one.clamp(-1, 1) if row in bad else one for row, one in enumerate(each)]
            values = each if batch else each[0]
        for row in bad:
            told.setdefault(row, []).append(name)
        kept.append(values)
    count = len(frames) if batch else 1
    return kept[0], kept[1], [" and ".join(told.get(row, ())) for row in range(count)]


def _is_finite(values: Any) -> bool:
    if hasattr(values, "detach"):
        return not values.is_floating_point() or bool(values.isfinite().all())
    return not isinstance(values, np.ndarray) or values.dtype.kind != "f" or bool(np.isfinite(values).all())


def is_batch(frames: Any) -> bool:
    """Whether `frames` are those of several clips: a list, or one more axis in front."""
    return isinstance(frames, list | tuple) or getattr(frames, "ndim", 4) == 5


def as_clips(frames: Any, fps: Any, audio: Any, sample_rate: Any) -> list[Clip]:
    """Clips of what a training loop has.

    Args:
        frames: ``(T, H, W, 3)`` or ``(T, 3, H, W)``, uint8 or float in [0, 1] (rounded to bytes); tensor or array.
            Colours are the last axis if it has three entries, else the second. A batch is a list of such, or one more
            axis in front.
        fps: frames per second, int, float or Fraction; for a batch one for all, or one each.
        audio: float in [-1, 1], ``(samples,)`` or ``(channels, samples)``; a batch is a list of such, or a tensor
            ``(B, channels, samples)``.
        sample_rate: Hz; for a batch one for all, or one each.

    Raises:
        UsageError: shapes, types, ranges, rates or lengths that do not fit; of a batch, which clip.
    """
    if not is_batch(frames):
        return [_clip(frames, fps, audio, sample_rate, "the clip")]
    count = len(frames)
    each = {"audio": audio, "fps": fps, "sample_rate": sample_rate}
    if not hasattr(audio, "__len__"):
        raise UsageError(
            f"A batch has a sound for each clip, (B, channels, samples) or a list; got {type(audio).__name__}. A clip "
            f"without sound has one of no samples."
        )
    for name in ("fps", "sample_rate"):
        if not isinstance(each[name], Sequence) and getattr(each[name], "ndim", 0) == 0:
            each[name] = [each[name]] * count
    for name, values in each.items():
        if len(values) != count:
            raise UsageError(f"There are {count} clips of frames, but {len(values)} of {name}.")
    return [
        _clip(f, r, a, s, f"clip {index} of the batch")
        for index, (f, r, a, s) in enumerate(zip(frames, each["fps"], each["audio"], each["sample_rate"], strict=True))
    ]


def prompts_for(count: int, name: str, prompts: str | Sequence[str]) -> list[str]:
    """A prompt for each of `count` clips.

    Args:
        count: how many clips there are.
        name: of the argument, for the message.
        prompts: one for a single clip, or one each.

    Raises:
        UsageError: they are more or fewer, or no texts.
    """
    found = list(prompts) if isinstance(prompts, Iterable) and not isinstance(prompts, str) else [prompts]
    if len(found) != count or not all(isinstance(prompt, str) for prompt in found):
        raise UsageError(f"{name} is one prompt for each of {count} clips; got {len(found)}: {str(found)[:80]}.")
    return found


def as_pictures(frames: Any, fps: Any) -> list[Clip]:
    """Silent clips of a batch of videos; arguments and errors as for `as_clips`, without sound.

    Args:
        frames: ``(B, T, H, W, 3)`` or ``(B, T, 3, H, W)``, uint8 or float in [0, 1]; or a list of videos without the
            first axis.
        fps: frames per second, one for all, or one each.
    """
    if not is_batch(frames):
        raise UsageError(
            f"A batch of videos has five axes, (B, T, H, W, 3) or (B, T, 3, H, W), or is a list of videos; got "
            f"{_array(frames).dtype} {_array(frames).shape}."
        )
    from javisbench.clip import Clip

    count = len(frames)
    rates = list(fps) if np.ndim(fps) else [fps] * count
    if len(rates) != count:
        raise UsageError(f"There are {count} clips of frames, but {len(rates)} of fps.")
    names = [f"video {index} of the batch" for index in range(count)]
    return [
        Clip(_pixels(_array(video), name), _rate(rate, name), None, None, name=name)
        for video, rate, name in zip(frames, rates, names, strict=True)
    ]


def as_sounds(audio: Any, sample_rate: int) -> list[Clip]:
    """Clips with sound, and one black frame each, for encoders that look at none.

    Args:
        audio: float in [-1, 1], ``(B, channels, samples)``; or a list of ``(channels, samples)`` or ``(samples,)``.
        sample_rate: Hz.

    Raises:
        UsageError: other shapes, types or ranges; which sound.
    """
    if not isinstance(audio, list | tuple) and getattr(audio, "ndim", 0) != 3:
        raise UsageError(
            f"A batch of sounds has three axes, (B, channels, samples), or is a list of sounds; got "
            f"{_array(audio).dtype} {_array(audio).shape}."
        )
    from javisbench.clip import Clip

    blank = np.zeros((1, 1, 1, 3), dtype=np.uint8)
    clips = []
    for index, sound in enumerate(audio):
        name = f"sound {index} of the batch"
        samples = _samples(_array(sound), name)
        if not samples.shape[1]:
            raise UsageError(f"Sounds have samples; {name} has none.")
        clips.append(Clip(blank, Fraction(1), samples, int(_rate(sample_rate, name)), "sidecar", name=name))
    return clips


def _clip(frames: Any, fps: Any, audio: Any, sample_rate: Any, name: str) -> Clip:
    from javisbench.clip import Clip

    rate, samples_per_s = _rate(fps, name), _rate(sample_rate, name)
    if samples_per_s.denominator != 1:
        raise UsageError(f"A sample rate is a whole number of Hz; {name} has {sample_rate}.")
    return Clip(
        frames=_pixels(_array(frames), name),
        fps=rate,
        audio=_samples(_array(audio), name),
        sample_rate=int(samples_per_s),
        audio_source="sidecar",
        name=name,
    )


def _rate(value: Any, name: str) -> Fraction:
    try:
        rate = value if isinstance(value, Fraction) else Fraction(float(value)).limit_denominator(1001)
    except (TypeError, ValueError, OverflowError):
        rate = Fraction(0)
    if rate <= 0:
        raise UsageError(f"Rates are positive numbers a second; {name} has {value!r}.")
    return rate


def _pixels(pixels: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """``(T, H, W, 3)``, of these axes or of ``(T, 3, H, W)``."""
    is_float = pixels.dtype.kind == "f"
    shaped = pixels.ndim == 4 and 3 in (pixels.shape[-1], pixels.shape[1]) and pixels.size
    if not shaped or not (is_float or pixels.dtype == np.uint8):
        raise UsageError(
            f"Clips are frames as (T, H, W, 3) or (T, 3, H, W), uint8 or float in [0, 1]; {name} has {pixels.dtype} "
            f"{pixels.shape}."
        )
    if is_float:
        _check_range(pixels, -_PIXEL_OVERSHOOT, 1 + _PIXEL_OVERSHOOT, f"Float frames are in [0, 1]; {name} has")
        pixels = np.rint(np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8)
    if pixels.shape[-1] != 3:
        pixels = pixels.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels)


def _samples(samples: NDArray[Any], name: str) -> NDArray[np.float32]:
    """``(channels, samples)``."""
    samples = samples[None] if samples.ndim == 1 else samples
    if samples.ndim != 2 or samples.dtype.kind != "f" or not samples.shape[0]:
        raise UsageError(
            f"Clips have audio as float (samples,) or (channels, samples) in [-1, 1]; {name} has "
            f"{samples.dtype} {samples.shape}."
        )
    _check_range(samples, -_LOUDEST, _LOUDEST, f"Audio is in [-1, 1]; {name} has")
    return np.ascontiguousarray(samples, dtype=np.float32)


def _check_range(values: NDArray[Any], low: float, high: float, told: str) -> None:
    if not values.size:
        return
    least, most = float(values.min()), float(values.max())
    if not (low <= least and most <= high):  # false for NaN, too
        raise UsageError(f"{told} {least:.4g} to {most:.4g}. Scale it first.")


def _array(values: Any) -> NDArray[Any]:
    """A numpy array of an array or tensor; half precision, which numpy may lack, as float32."""
    if hasattr(values, "detach"):
        values = values.detach()
        values = (values.float() if values.is_floating_point() else values).cpu().numpy()
    return np.asarray(values)
