"""The picture of one clip: frames, waveform, mel spectrogram, motion and scores above one time axis."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.durable import write_bytes, write_text
from javisbench.leaderboard.site_extra import FIGURES, require_site_extra
from javisbench.private import Scrubber
from javisbench.publish.export import format_value
from javisbench.results.table import column
from javisbench.text import printable, printable_lines

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from javisbench.clip import ClipHead
    from javisbench.leaderboard.inspect import Inspection, SyncView

MAX_EMBEDDED_BYTES = 16 * 2**20
_WIDTH, _LEFT, _RIGHT = 13.0, 0.075, 0.985
_DPI = 110
_LAGS_INCHES = 2.5
_INK, _MUTED, _SOUND, _MOTION, _SCORE = "#1b1f27", "#68707d", "#2457c5", "#b3470f", "#0a7d54"
_MEL_BANDS = 96
_MEL_RANGE_DB = 80.0
_WAVE_COLUMNS = 2400
_VIDEO_TYPES = {"mov": "video/mp4", "matroska": "video/webm"}
_AUDIO_TYPES = {".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg", ".m4a": "audio/mp4"}


def write_png(found: Inspection, target: Path) -> None:
    """Draw the clip's timeline.

    Raises:
        UsageError: matplotlib is not installed.
    """
    write_bytes(target, draw_png(found))


def write_html(found: Inspection, target: Path) -> None:
    """Write a page of the timeline, the numbers and, where they are small enough, the clip's own files.

    The page holds all that it shows, loads nothing and runs nothing.

    Raises:
        UsageError: matplotlib is not installed.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent
    env = Environment(
        loader=FileSystemLoader(folder / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (folder / "assets" / "inspect.css").read_text(encoding="utf-8")
    # A page may be handed on: it says which file, and not where that lies on this machine.
    scrub = Scrubber.of_this_machine(found.source.video.absolute().parent)
    page = env.get_template("inspect.html.j2").render(
        title=printable(found.source.video.name),
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        prompt=printable_lines(found.prompt),
        protocol=found.protocol,
        stand_in=found.stand_in,
        picture=_data_url("image/png", draw_png(found)),
        scores=[(column(metric), score_text(metric, value)) for metric, value in found.scores.items()],
        facts={name: printable(scrub.text(text)) for name, text in found.facts().items()},
        missing=[replace(entry, note=scrub.text(entry.note)) for entry in found.missing],
        players=_players(found),
    )
    write_text(target, page)


def score_text(metric: str, value: float) -> str:
    """A score with its metric's digits."""
    return format_value(value, column(metric).digits)


@dataclass(frozen=True)
class _Player:
    tag: str
    kind: str
    url: str
    label: str


def _players(found: Inspection) -> list[_Player]:
    """The clip's files as data URLs; what is too large or unknown to browsers is left out."""
    players = []
    video, audio = found.source.video, found.source.audio
    kind = _VIDEO_TYPES.get(found.info.container)
    if kind and video.stat().st_size <= MAX_EMBEDDED_BYTES:
        players.append(_Player("video", kind, _data_url(kind, video.read_bytes()), "The video, with its own sound"))
    kind = None if audio is None else _AUDIO_TYPES.get(audio.suffix.lower())
    if kind and audio is not None and audio.stat().st_size <= MAX_EMBEDDED_BYTES:
        players.append(_Player("audio", kind, _data_url(kind, audio.read_bytes()), "The sound that was scored"))
    return players


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def draw_png(found: Inspection) -> bytes:
    """The timeline as PNG.

    Raises:
        UsageError: matplotlib is not installed.
    """
    figure = _figure(found)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def _figure(found: Inspection) -> Figure:
    require_site_extra(FIGURES, "A picture of a clip")
    from matplotlib.figure import Figure

    clip = found.head
    end = max(clip.duration_s, clip.audio_duration_s)
    strip, strip_height = _strip(found, end)
    rows: list[tuple[float, Any]] = [(strip_height, lambda axis: _draw_strip(axis, strip, clip.duration_s))]
    if clip.audio is not None:
        rows += [(1.0, lambda axis: _draw_wave(axis, found)), (1.5, lambda axis: _draw_mel(axis, clip))]
    if found.motion is not None:
        rows.append((1.1, lambda axis: _draw_motion(axis, found)))
    if "javis_score" in found.series or "avh_score" in found.series:
        rows.append((1.5, lambda axis: _draw_scores(axis, found)))
    if found.sync is not None:
        sync = found.sync
        rows.append((1.2, lambda axis: _draw_sync(axis, sync)))
    heights = [height for height, _ in rows]
    gap, top, bottom = 0.22, 0.62, 0.5
    lags = 0.0 if found.sync is None or not len(found.sync.agreement) else _LAGS_INCHES
    total = sum(heights) + gap * (len(rows) - 1) + top + bottom + lags
    figure = Figure(figsize=(_WIDTH, total), facecolor="white")
    axes: list[Axes] = []
    y = total - top
    for height, draw in rows:
        y -= height
        axis = figure.add_axes((_LEFT, y / total, _RIGHT - _LEFT, height / total))
        y -= gap
        draw(axis)
        _finish(axis, end, last=draw is rows[-1][1])
        axes.append(axis)
    if lags and found.sync is not None:
        # Its axis is no time of the clip: a panel of its own, below and narrower.
        height = (lags - bottom - 0.3) / total
        _draw_lags(figure.add_axes((_LEFT, bottom / total, (_RIGHT - _LEFT) / 2, height)), found)
    _title(figure, found, total)
    return figure


def _title(figure: Figure, found: Inspection, total: float) -> None:
    def text(y_inches: float, words: str, **style: Any) -> None:
        # File names may hold dollars; they are no formulas.
        figure.text(_LEFT, 1 - y_inches / total, words, va="center", parse_math=False, **style)

    name = _ascii(found.source.video.name)
    text(0.2, name if len(name) <= 110 else f"{name[:109]}...", fontsize=12, color=_INK, fontweight="bold")
    facts = found.facts()
    line = f"{facts['picture'].split(',')[0]} · {facts['length']} · {found.protocol}"
    if found.stand_in:
        line += " · STAND-IN WEIGHTS: window scores and cosines mean nothing"
    text(0.43, line, fontsize=9, color=_MOTION if found.stand_in else _MUTED)


def _ascii(text: str) -> str:
    """What the drawing's font surely has."""
    return "".join(c if " " <= c < "\x7f" or "\xa1" <= c <= "\u024f" else "?" for c in printable(text))


def _finish(axis: Axes, end: float, *, last: bool) -> None:
    axis.set_xlim(0, end)
    axis.tick_params(labelsize=8, colors=_MUTED, labelbottom=last, length=3)
    for side, spine in axis.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#c3c9d2")
    if last:
        axis.set_xlabel("seconds", fontsize=9, color=_MUTED)


def _label(axis: Axes, text: str) -> None:
    axis.set_ylabel(text, fontsize=8.5, color=_INK)


def _strip(found: Inspection, end: float) -> tuple[NDArray[np.uint8], float]:
    """Frames side by side at the times they are shown, and the height in inches that keeps their shape."""
    import cv2
    import numpy as np

    clip, indices = found.head, found.stills.indices
    count = len(indices)
    inches = _WIDTH * (_RIGHT - _LEFT) * clip.duration_s / end
    aspect = clip.width / clip.height
    shown = min(count, max(1, round(inches / (1.05 * aspect))))
    tall = min(inches / shown / aspect, 1.5)
    across, down = max(shown, round(inches * _DPI)), max(1, round(tall * _DPI))
    strip = np.full((down, across, 3), 255, dtype=np.uint8)
    slot = across // shown
    wide = max(1, min(slot - 2, round(down * aspect)))
    for place in range(shown):
        due = clip.timeline.frame_at(Fraction(clip.duration_s) * (2 * place + 1) / (2 * shown))
        frame = found.stills.frames[np.abs(indices - due).argmin()]
        left = across * place // shown + (slot - wide) // 2
        strip[:, left : left + wide] = cv2.resize(frame, (wide, down), interpolation=cv2.INTER_AREA)
    return strip, tall


def _draw_strip(axis: Axes, strip: NDArray[np.uint8], duration_s: float) -> None:
    axis.imshow(strip, extent=(0, duration_s, 0, 1), aspect="auto", interpolation="antialiased")
    axis.set_yticks([])
    _label(axis, "frames")


def _draw_wave(axis: Axes, found: Inspection) -> None:
    import numpy as np

    clip = found.head
    assert clip.audio is not None and clip.sample_rate
    mono = clip.audio.mean(axis=0)
    edges = np.unique(np.linspace(0, mono.size, min(_WAVE_COLUMNS, mono.size) + 1).astype(int))
    times = edges[:-1] / clip.sample_rate
    low, high = np.minimum.reduceat(mono, edges[:-1]), np.maximum.reduceat(mono, edges[:-1])
    axis.fill_between(times, low, high, color=_SOUND, linewidth=0.3, step="post")
    reach = max(float(np.abs(mono).max()), 1e-3) * 1.08
    axis.set_ylim(-reach, reach)
    onsets = found.series.get("av_align", {}).get("onset_times_s")
    if onsets is not None:
        axis.vlines(onsets, -reach, reach, color=_INK, linewidth=0.9, linestyle=(0, (3, 2)))
    _label(axis, "sound" + _counted(onsets, "onset"))


def _draw_mel(axis: Axes, clip: ClipHead) -> None:
    import numpy as np

    assert clip.audio is not None and clip.sample_rate
    levels, centres_hz, (start, end) = log_mel(clip.audio.mean(axis=0), clip.sample_rate)
    top = float(levels.max())
    axis.imshow(
        levels,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=top - _MEL_RANGE_DB,
        vmax=top,
        extent=(start, end, 0, len(levels)),
        interpolation="nearest",
    )
    ticks = [hz for hz in (250, 1000, 4000, 12000) if hz < centres_hz[-1]]
    axis.set_yticks(np.interp(ticks, centres_hz, np.arange(len(levels)) + 0.5), [_hertz(hz) for hz in ticks])
    _label(axis, "mel (Hz)")


def _hertz(value: int) -> str:
    return f"{value // 1000}k" if value >= 1000 else str(value)


def log_mel(
    samples: NDArray[np.floating], sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float]]:
    """Mel spectrogram for the eye: 96 Slaney bands up to half the rate, windows of about 46 ms.

    Args:
        samples: shape ``(samples,)``.
        sample_rate: Hz.

    Returns:
        decibels, shape ``(96, frames)``; the centres of the bands in Hz; when the frames begin and end in seconds.
    """
    import numpy as np
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    from javisbench.metrics.encoders.preprocessing.mel_filters import slaney_mel_filters

    size = 2 ** round(np.log2(0.046 * sample_rate))
    hop = max(size // 8, samples.size // 3000)
    padded = np.pad(np.asarray(samples, dtype=np.float64), (0, max(0, size - samples.size)))
    transform = ShortTimeFFT(hann(size, sym=False), hop, fs=sample_rate)
    power, times, half = transform.spectrogram(padded), transform.t(padded.size), hop / sample_rate / 2
    filters = slaney_mel_filters(sample_rate, size, _MEL_BANDS, 0.0, sample_rate / 2)
    frequencies = np.arange(size // 2 + 1) * sample_rate / size
    weights = np.maximum(filters.sum(axis=1), 1e-30)
    centres: NDArray[np.float64] = filters @ frequencies / weights
    levels: NDArray[np.float64] = 10 * np.log10(np.maximum(filters @ power, 1e-12))
    return levels, np.maximum.accumulate(centres), (float(times[0] - half), float(times[-1] + half))


def _draw_motion(axis: Axes, found: Inspection) -> None:
    import numpy as np

    assert found.motion is not None
    times = found.head.timeline.times_s
    axis.plot(times, found.motion, color=_MOTION, linewidth=1.2)
    axis.fill_between(times, 0, found.motion, color=_MOTION, alpha=0.15, linewidth=0)
    peaks = found.series.get("av_align", {}).get("peak_times_s")
    if peaks is not None:
        # Where the protocol takes them to be, which is not where they are shown if it trusts a wrong header.
        axis.plot(peaks, np.interp(peaks, times, found.motion), "o", color=_MOTION, markersize=3.5)
    axis.set_ylim(0, max(float(found.motion.max()) * 1.15, 1e-3))
    _label(axis, "motion (px/frame)" + _counted(peaks, "peak"))


def _draw_sync(axis: Axes, sync: SyncView) -> None:
    """Rises of the sound upwards, changes of motion downwards: what agrees stands opposite."""
    rise, change = (series / max(float(series.max()), 1e-9) for series in (sync.rise, sync.change))
    level = sync.level / max(float(sync.level.max()), 1e-9)
    axis.fill_between(sync.times_s, 0, rise, color=_SOUND, alpha=0.8, linewidth=0, label="sound rises")
    axis.plot(sync.times_s, level, color=_SOUND, linewidth=0.8, alpha=0.55, label="sound level")
    words = f"motion changes, {region_words(*sync.region)}"
    axis.fill_between(sync.times_s, 0, -change, color=_MOTION, alpha=0.8, linewidth=0, label=words)
    axis.axhline(0, color=_INK, linewidth=0.6)
    axis.set_ylim(-1.05, 1.05)
    axis.set_yticks([])
    _legend(axis)
    _label(axis, "AV-Sync\nsound, motion")


def region_words(grid: int, row: int, column: int) -> str:
    """Where a region of a square grid is: ``row 2, column 1 of 4 x 4``, from the top left."""
    return "whole picture" if grid == 1 else f"row {row + 1}, column {column + 1} of {grid} x {grid}"


def _draw_lags(axis: Axes, found: Inspection) -> None:
    """Agreement over lags of the sound, with the 60 ms around 0 that the score takes its maximum of."""
    from javisbench.metrics.av_sync import NEAR_S

    assert found.sync is not None
    lags_ms, agreement = 1000 * found.sync.lags_s, found.sync.agreement
    told = found.series["av_sync"]
    axis.axvspan(-1000 * NEAR_S, 1000 * NEAR_S, color=_SCORE, alpha=0.15, linewidth=0)
    axis.plot(lags_ms, agreement, color=_SCORE, linewidth=1.4)
    offset = float(told["offset_ms"][0])
    believed = "" if told["offset_believed"][0] else ", not to be believed"
    axis.axvline(offset, color=_INK, linewidth=0.9, linestyle=(0, (3, 2)))
    axis.set_title(
        f"AV-Sync {found.scores['av_sync']:.2f}, p = {told['p'][0]:.3f}; largest at {offset:+.0f} ms{believed}",
        fontsize=8.5,
        color=_INK,
        loc="left",
    )
    axis.set_xlim(lags_ms[0], lags_ms[-1])
    axis.tick_params(labelsize=8, colors=_MUTED, length=3)
    for side, spine in axis.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#c3c9d2")
    axis.set_xlabel("lag of the sound in ms: a peak right of 0 means that it is late", fontsize=9, color=_MUTED)
    _label(axis, "agreement\n(deviations)")


def _legend(axis: Axes) -> None:
    style: dict[str, Any] = {"fontsize": 8, "frameon": False, "ncols": 3, "borderaxespad": 0}
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), **style)


def _draw_scores(axis: Axes, found: Inspection) -> None:

    frames = found.series.get("avh_score", {}).get("frame_cosine")
    if frames is not None:
        axis.plot(found.head.timeline.times_s, frames, color=_MUTED, linewidth=1.1, label="cosine of frame and sound")
    windows = found.series.get("javis_score")
    if windows is not None:
        starts, ends, values = (windows[n] for n in ("window_times_s", "window_end_times_s", "windows"))
        axis.hlines(values, starts, ends, color=_SCORE, linewidth=2.6, alpha=0.75, label="JavisScore of window")
        axis.plot((starts + ends) / 2, values, "o", color=_SCORE, markersize=4)
    axis.grid(axis="y", color="#e3e7eb", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.margins(y=0.15)
    _legend(axis)
    _label(axis, "ImageBind\ncosine")


def _counted(times: NDArray[np.float64] | None, what: str) -> str:
    return "" if times is None else f"\n{len(times)} {what}{'s' * (len(times) != 1)}"
