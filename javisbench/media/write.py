"""Writing clips: H.264 and AAC in mp4, and the sound once more as a lossless wav beside it."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from javisbench.media.errors import media_error

if TYPE_CHECKING:
    import numpy as np
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from javisbench.clip import Clip

OddSize = Literal["yuv444p", "pad"]

# What AAC can hold. The layouts are those of FFmpeg's encoder, by number of channels.
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_AAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_AAC_BITS_PER_CHANNEL = 96_000
_AAC_BITS_PER_SAMPLE = 5
# FFmpeg's numbers for BT.601 (SMPTE 170M) and for video levels.
_BT601 = 6
_LIMITED_RANGE = 1
_VARIABLE_RATE_CLOCK = Fraction(1, 90_000)
# x264's macroblock tree gives other bytes in about one of four runs over equal pictures, even on one thread.
_REPEATABLE = {"mbtree": "0"}
_TIME_TOLERANCE_S = 0.0015


def write_clip(
    clip: Clip,
    video: Path | str,
    audio: Path | str | None = None,
    *,
    sidecar: bool = True,
    crf: int = 18,
    odd_size: OddSize = "yuv444p",
) -> None:
    """Store a clip as an mp4 with H.264 and AAC, and its sound as 16-bit PCM in a wav beside it.

    Equal clips give equal bytes on one machine (one thread, and no encoder option whose outcome varies), and the
    mp4's index stands at its front. Both files appear whole or not at all: they are written under temporary names in
    their folders, flushed to the disk and renamed, the sound first. Folders are made. A clip without sound gets
    neither a sound track nor a wav, and a wav that stands at ``audio`` from before is removed, since it would count
    as the clip's sound.

    Frame rates are constant at ``clip.fps``, unless ``clip.frame_times_s`` says otherwise by more than rounding; then
    the times are kept, counted from the first frame.

    Args:
        clip: what to store. The sound is rounded to 16 bits; what comes from 16-bit files comes back exactly.
        video: path of the mp4.
        audio: path of the wav; by default that of ``video`` with the suffix ``.wav``, where `read_clip` looks for it.
        sidecar: False leaves the wav out (and removes none).
        crf: H.264 quality, 1 (best, large) to 51; 18 is visually transparent.
        odd_size: H.264 with halved colour (yuv420p, what every browser plays) has even sizes only. A clip of an odd
            width or height is stored with full colour instead (``"yuv444p"``), which keeps its size and plays in
            Chromium-based browsers but not in all others; or (``"pad"``) its last column or row is doubled, which
            plays everywhere and makes it one pixel larger.

    Raises:
        MediaError: ``cannot_write``: the arrays are no clip, the sound has more than eight channels, or the
            files cannot be stored.
    """
    video = Path(video)
    audio = video.with_suffix(".wav") if audio is None else Path(audio)
    import av.error
    import soundfile

    if not 1 <= crf <= 51:
        raise ValueError("crf must be within 1 and 51")
    _check(clip, video)
    try:
        if sidecar:
            _write_sidecar(clip, audio)
        with _replacing(video, ".mp4") as temporary:
            _encode(clip, temporary, crf, odd_size)
    except (OSError, av.error.FFmpegError, soundfile.SoundFileError) as failure:
        raise media_error("cannot_write", f"{video}: the clip cannot be stored ({failure}).") from failure


def write_sound(clip: Clip, path: Path) -> None:
    """Store a clip's sound alone, as `write_clip` stores it beside the video.

    Args:
        clip: with sound.
        path: of the wav.

    Raises:
        MediaError: ``cannot_write``: there is no sound, it is none, or the file cannot be stored.
    """
    import soundfile

    if clip.audio is None:
        raise media_error("cannot_write", f"{path}: the clip has no sound to store.")
    _check_sound(clip, path)
    try:
        _write_sidecar(clip, path)
    except (OSError, soundfile.SoundFileError) as failure:
        raise media_error("cannot_write", f"{path}: the sound cannot be stored ({failure}).") from failure


def _check(clip: Clip, video: Path) -> None:
    frames = clip.frames
    if frames.ndim != 4 or frames.shape[3] != 3 or str(frames.dtype) != "uint8" or 0 in frames.shape:
        raise media_error(
            "cannot_write",
            f"{video}: frames must be uint8 (T, H, W, 3) with T, H, W above 0, not {frames.dtype} {frames.shape}.",
        )
    if clip.fps <= 0:
        raise media_error("cannot_write", f"{video}: the frame rate must be above 0, not {clip.fps}.")
    if clip.audio is not None:
        _check_sound(clip, video)


def _check_sound(clip: Clip, path: Path) -> None:
    import numpy as np

    audio = clip.audio
    assert audio is not None
    if audio.ndim != 2 or not clip.sample_rate or audio.shape[0] not in _AAC_LAYOUTS or audio.shape[1] == 0:
        raise media_error(
            "cannot_write",
            f"{path}: sound must be (channels, samples) with 1 to 8 channels and a sample rate, not "
            f"{audio.shape} at {clip.sample_rate} Hz; use None for no sound.",
        )
    if not np.isfinite(audio).all():
        raise media_error("cannot_write", f"{path}: the sound holds values that are not numbers (NaN or infinite).")


def _write_sidecar(clip: Clip, path: Path) -> None:
    if clip.audio is None or clip.sample_rate is None:
        path.unlink(missing_ok=True)
        return
    import soundfile

    with _replacing(path, ".wav") as temporary:
        # As bytes: the name may be none that UTF-8 can hold.
        sound = _to_int16(clip.audio).T
        soundfile.write(os.fsencode(temporary), sound, clip.sample_rate, subtype="PCM_16", format="WAV")


def _to_int16(audio: NDArray[np.float32]) -> NDArray[np.int16]:
    """Round to 16 bits such that k / 32768 becomes k; what lies outside is limited."""
    import numpy as np

    return np.clip(np.rint(audio.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)


@contextlib.contextmanager
def _replacing(path: Path, suffix: str) -> Iterator[Path]:
    """A temporary name in the same folder; the file takes the place of ``path`` once it is complete and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.stem}-{secrets.token_hex(8)}.tmp{suffix}"
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
        _flush_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encode(clip: Clip, path: Path, crf: int, odd_size: OddSize) -> None:
    import av

    frames = clip.frames
    odd = frames.shape[1] % 2 == 1 or frames.shape[2] % 2 == 1
    if odd and odd_size == "pad":
        frames = _padded_to_even(frames)
    # Without a delta, packets wait until the other track has caught up, so that both are laid down by time.
    options = {"movflags": "+faststart", "max_interleave_delta": "0"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        times, clock = _time_stamps(clip)
        picture = container.add_stream("libx264", rate=clip.fps, options={"crf": str(crf), **_REPEATABLE})
        picture.width, picture.height = frames.shape[2], frames.shape[1]
        picture.pix_fmt = "yuv444p" if odd and odd_size == "yuv444p" else "yuv420p"
        picture.codec_context.thread_count = 1
        picture.codec_context.time_base = clock
        # The conversion to YUV below uses these; saying so keeps players from guessing by the picture's size.
        picture.codec_context.colorspace = _BT601
        picture.codec_context.color_range = _LIMITED_RANGE
        track = None if clip.audio is None else _add_sound_track(container, clip)
        _encode_pictures(container, picture, frames, times, clock)
        if track is not None:
            _encode_sound(container, track, clip)


def _padded_to_even(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import numpy as np

    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _time_stamps(clip: Clip) -> tuple[list[int], Fraction]:
    """Each frame's time in units of the returned clock: its number, or its own time where the rate varies."""
    import numpy as np

    count = clip.frames.shape[0]
    if clip.frame_times_s is None or count == 1:
        return list(range(count)), 1 / clip.fps
    times = clip.frame_times_s - clip.frame_times_s[0]
    if np.abs(times - np.arange(count) / float(clip.fps)).max() <= _TIME_TOLERANCE_S:
        return list(range(count)), 1 / clip.fps
    stamps = [round(float(time) * _VARIABLE_RATE_CLOCK.denominator) for time in times]
    if any(later <= earlier for earlier, later in itertools.pairwise(stamps)):
        raise media_error("cannot_write", f"{clip.name}: the frame times do not increase.")
    return stamps, _VARIABLE_RATE_CLOCK


def _encode_pictures(
    container: OutputContainer, stream: VideoStream, frames: NDArray[np.uint8], times: list[int], clock: Fraction
) -> None:
    import av
    import numpy as np
    from av.video.reformatter import VideoReformatter

    from javisbench.media.colour import ONE_SCALER_THREAD

    reformatter = VideoReformatter()
    for pixels, time in zip(frames, times, strict=True):
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = reformatter.reformat(rgb, format=stream.pix_fmt, **ONE_SCALER_THREAD)
        frame.pts, frame.time_base = time, clock
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _add_sound_track(container: OutputContainer, clip: Clip) -> AudioStream:
    assert clip.audio is not None and clip.sample_rate is not None
    # AAC knows few rates; for others the track, which is there for listening, takes the next higher one.
    rate = next((rate for rate in _AAC_RATES if rate >= clip.sample_rate), _AAC_RATES[-1])
    channels = clip.audio.shape[0]
    stream = container.add_stream("aac", rate=rate, layout=_AAC_LAYOUTS[channels])
    stream.bit_rate = channels * min(_AAC_BITS_PER_CHANNEL, _AAC_BITS_PER_SAMPLE * rate)
    return stream


def _encode_sound(container: OutputContainer, stream: AudioStream, clip: Clip) -> None:
    import av
    import numpy as np

    assert clip.audio is not None and clip.sample_rate is not None
    layout = _AAC_LAYOUTS[clip.audio.shape[0]]
    # Channels interleaved: PyAV fills separate planes wrongly when there are eight.
    samples = np.ascontiguousarray(np.clip(clip.audio, -1, 1).T, dtype=np.float32).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(samples, format="flt", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = clip.sample_rate, 0, Fraction(1, clip.sample_rate)
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=stream.codec_context.sample_rate)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(part))
    container.mux(stream.encode(None))
