"""One clip under the lens: its facts, its scores, and the series behind them on one time axis."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from javisbench.errors import UsageError
from javisbench.results.cell import OVERALL
from javisbench.results.table import column

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.clip import ClipHead, Damage, FrameRun
    from javisbench.media import ClipSource, MediaInfo
    from javisbench.metrics.encoders.base import Features, FeatureSpec
    from javisbench.results.run_folder import StoredResult
    from javisbench.run.scoring_job import ScoringOptions
    from javisbench.suite import Suite

SCHEMA = 1
_ID = "clip"
_MOST_STILLS = 64
_STILL_PIXELS = 640


@dataclass(frozen=True)
class Missing:
    """Metrics without a value, for one reason.

    Attributes:
        metrics: ids.
        status: ``missing_weights``, ``not_applicable`` or ``failed``.
        note: what is missing and how to get it.
    """

    metrics: tuple[str, ...]
    status: str
    note: str


@dataclass(frozen=True, eq=False)
class SyncView:
    """What AV-Sync compares, on its clock of 50 Hz.

    Attributes:
        times_s: float64 ``(steps,)``.
        change: how much the velocity of `region` changes, to the power 0.25, ``(steps,)``.
        region: grid, row and column of the region that agrees most with the sound; the whole picture without a score.
        rise: how much the sound rises, ``(steps,)``.
        level: how loud it is, as a share of its maximum, to the power 0.25, ``(steps,)``.
        lags_s: lags of the sound, float64 ``(lags,)``, positive where it is late.
        agreement: S at these lags; empty without a score.
    """

    times_s: NDArray[np.float64]
    change: NDArray[np.float64]
    region: tuple[int, int, int]
    rise: NDArray[np.float64]
    level: NDArray[np.float64]
    lags_s: NDArray[np.float64]
    agreement: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Inspection:
    """All that is known of one clip.

    Attributes:
        source: its files.
        head: the clip without its pixels.
        stills: some of its frames, evenly spread over its time, small enough to be drawn.
        damage: what the file should hold and does not.
        info: what the video's headers say.
        prompt: the text that it was scored against; empty for none.
        protocol: name of the protocol behind the scores.
        stand_in: whether any weights were stand-ins, so that their scores mean nothing.
        scores: id to value of every per-sample metric that has one, in the order of tables.
        series: metric id to name to values: window scores, onset times in seconds, ...
        motion: mean optical flow of each frame in pixels, shape ``(T,)``; None when it was not computed.
        sync: what AV-Sync compares; None when it was not computed.
        missing: metrics without a value.
    """

    source: ClipSource
    head: ClipHead
    stills: FrameRun
    damage: tuple[Damage, ...]
    info: MediaInfo
    prompt: str
    protocol: str
    stand_in: bool
    scores: Mapping[str, float]
    series: Mapping[str, Mapping[str, NDArray[np.float64]]]
    motion: NDArray[np.float64] | None
    sync: SyncView | None
    missing: tuple[Missing, ...]

    def facts(self) -> dict[str, str]:
        """Media facts in words, by name."""
        clip, info, line = self.head, self.info, self.head.timeline
        count = len(line)
        rate = f"{float(line.fps):.6g} fps"
        if line.is_mistimed:
            rate += f" on average (the header says {float(line.declared_fps):.6g})"
        facts = {
            "file": str(self.source.video),
            "picture": f"{clip.width}x{clip.height} pixels, {info.video_codec} ({info.pixel_format}), {info.container}",
            "length": f"{count} frame{'s' * (count != 1)} at {rate}, {clip.duration_s:.3f} s",
            "sound": "none",
        }
        if self.damage:
            facts["damage"] = "; ".join(damage.message for damage in self.damage)
        if clip.audio is not None:
            channels = clip.audio.shape[0]
            where = str(self.source.audio) if clip.audio_source == "sidecar" else f"{info.audio_codec} in the video"
            facts["sound"] = (
                f"{clip.sample_rate} Hz, {channels} channel{'s' * (channels != 1)}, {clip.audio_duration_s:.3f} s, "
                f"from {where}"
            )
        return facts

    def to_json(self) -> dict[str, Any]:
        """As ``inspect --json`` prints it."""
        clip, info, line = self.head, self.info, self.head.timeline
        return {
            "schema": SCHEMA,
            "video": str(self.source.video),
            "audio": None if self.source.audio is None else str(self.source.audio),
            "prompt": self.prompt or None,
            "protocol": self.protocol,
            "stand_in": self.stand_in,
            "media": {
                "container": info.container,
                "video_codec": info.video_codec,
                "pixel_format": info.pixel_format,
                "audio_codec": info.audio_codec,
                "width": clip.width,
                "height": clip.height,
                "frames": len(line),
                "fps": float(line.fps),
                "declared_fps": float(line.declared_fps),
                "duration_s": clip.duration_s,
                "audio_source": clip.audio_source,
                "audio_duration_s": clip.audio_duration_s,
                "sample_rate": clip.sample_rate,
                "channels": 0 if clip.audio is None else clip.audio.shape[0],
                "damage": [damage.message for damage in self.damage],
            },
            "scores": dict(self.scores),
            "series": {metric: {n: v.tolist() for n, v in named.items()} for metric, named in self.series.items()},
            "motion": None if self.motion is None else self.motion.tolist(),
            "missing": [{"metrics": list(m.metrics), "status": m.status, "note": m.note} for m in self.missing],
        }


def inspect_clip(
    video: Path, audio: Path | None = None, *, prompt: str = "", options: ScoringOptions | None = None
) -> Inspection:
    """Decode one clip and compute every per-sample metric that needs nothing that is not here.

    Args:
        video: the video file.
        audio: its sound; None for the file of the same name beside it, else the video's own track.
        prompt: what the clip was to show; metrics of the prompt are computed only with one.
        options: protocol, encoders, weights and device. Of several protocols the first counts.

    Raises:
        MediaError: the clip cannot be read.
        UsageError: unknown metrics, protocols or encoders, or none but set metrics asked for.
    """
    from javisbench.media import ClipSource, probe, sidecar_for, stream_clip
    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.run.scoring_job import ScoringJob, ScoringOptions, plan_scoring

    options = options or ScoringOptions()
    source = ClipSource(_ID, video, audio if audio is not None else sidecar_for(video))
    limits = options.limits
    seen, info = stream_clip(source, _Stills, limits=limits), probe(video, limits=limits)
    suite = _suite_of_one(source, prompt)
    plan = plan_scoring(suite, options)
    if not plan.parts[0].sample_metrics:
        reasons = {reason.note or "" for reason in plan.parts[0].unavailable.values()}
        raise UsageError(f"None of these metrics can be computed for one clip: {'; '.join(sorted(reasons))}.")
    with tempfile.TemporaryDirectory(prefix="javisbench-") as folder:
        result = ScoringJob.prepare(None, suite, out=Path(folder) / "run", name=_ID).score(options)
        run, series = Path(folder) / "run", _series(result)
        motion = _feature(run, source, "flow", FeatureSpec.of("flow", "motion"))
        return Inspection(
            source=source,
            head=seen.head,
            stills=seen.run(),
            damage=seen.damage,
            info=info,
            prompt=prompt,
            protocol=result.protocol,
            stand_in=result.stand_in,
            scores=_scores(result),
            series=series,
            motion=None if motion is None else motion["magnitude"].astype(float),
            sync=_sync(run, source, series.get("av_sync", {})),
            missing=tuple(_missing(result)),
        )


class _Stills:
    """Keeps some frames of a clip, made small (see `javisbench.media.process.Consumer`)."""

    def __init__(self, head: ClipHead) -> None:
        import numpy as np

        self.head = head
        self.damage: tuple[Damage, ...] = ()
        end = Fraction(head.duration_s)
        places = [head.timeline.frame_at(end * (2 * k + 1) / (2 * _MOST_STILLS)) for k in range(_MOST_STILLS)]
        self.wanted = np.unique(np.array(places, np.int64))
        self._frames: list[NDArray[np.uint8]] = []

    def take(self, run: FrameRun) -> None:
        import cv2

        height, width = self.head.height, self.head.width
        share = min(1.0, _STILL_PIXELS / max(height, width))
        size = max(1, round(width * share)), max(1, round(height * share))
        for frame in run.frames:
            small = frame.copy() if share == 1 else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            self._frames.append(cast("NDArray[np.uint8]", small))

    def end(self, damage: tuple[Damage, ...]) -> None:
        self.damage = damage

    def run(self) -> FrameRun:
        import numpy as np

        from javisbench.clip import FrameRun

        return FrameRun(self.wanted, np.stack(self._frames))


def _suite_of_one(source: ClipSource, prompt: str) -> Suite:
    from javisbench.suite import Sample, Suite, suite_hash

    sample = Sample(_ID, 0, prompt, pred_video_path=source.video, pred_audio_path=source.audio)
    return Suite("one clip", (sample,), None, not prompt, suite_hash([sample]), "inspect", 1)


def _feature(run: Path, source: ClipSource, encoder: str, spec: FeatureSpec) -> Features | None:
    """What a metric was computed from, out of the run's feature store; None where it was not made."""
    from javisbench.media import content_hash
    from javisbench.metrics.encoders import ENCODERS
    from javisbench.run.features import FeatureStore, contents, feature_key

    cls, store = ENCODERS.get(encoder), FeatureStore(run / "features")
    label = f"{encoder}={cls.card.default_variant}"
    for content in contents(store, content_hash(source), cls.stream(spec)):
        key = feature_key(content, label, cls.card.revision, "", spec)
        if key in store:
            return store.get(key)
    return None


def _sync(run: Path, source: ClipSource, found: Mapping[str, NDArray[np.float64]]) -> SyncView | None:
    import numpy as np

    from javisbench.errors import MetricError
    from javisbench.metrics.av_sync import STEP_S, AVSyncMetric, Streams, region_index
    from javisbench.protocol import V2

    needs = AVSyncMetric().needs(V2)
    motion, sound = (_feature(run, source, needs[role].encoder, needs[role]) for role in ("motion", "sound"))
    if motion is None or sound is None:
        return None
    try:
        streams = Streams.of(motion, sound)
    except MetricError:
        return None
    region = (1, 0, 0)
    if "correlation" in found:
        grid, row, column = (int(found[name][0]) for name in ("region_grid", "region_row", "region_column"))
        region = (grid, row, column)
    agreement = found.get("correlation", np.zeros(0))
    return SyncView(
        times_s=np.asarray(np.arange(len(streams.heard["rise"])) * STEP_S, dtype=np.float64),
        change=streams.seen["change"][region_index(*region)],
        region=region,
        rise=streams.heard["rise"],
        level=streams.heard["level"],
        lags_s=np.asarray((np.arange(len(agreement)) - len(agreement) // 2) * STEP_S, dtype=np.float64),
        agreement=agreement,
    )


def _scores(result: StoredResult) -> dict[str, float]:
    scores = result.scores()
    assert scores is not None
    row = scores.iloc[0].drop(["sample_id", "repeat"]).dropna()
    return {metric: float(row[metric]) for metric in result.metrics if metric in row}


def _series(result: StoredResult) -> dict[str, dict[str, NDArray[np.float64]]]:
    import numpy as np

    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    details = result.details()
    assert details is not None
    for row in details.itertuples():
        found.setdefault(str(row.metric), {})[str(row.name)] = np.asarray(row.values, dtype=np.float64)
    return found


def _missing(result: StoredResult) -> Iterator[Missing]:
    for row in result.not_applicable:
        yield Missing((row.metric or "",), "not_applicable", row.message)
    told = {row.metric for row in result.not_applicable}
    by_reason: dict[tuple[str, str], list[str]] = {}
    for metric, cells in result.metrics.items():
        if metric in told:
            continue
        cell = cells[OVERALL]
        # Distances between sets say nothing of one clip, so their absence is no news.
        if cell.status in ("missing_weights", "not_applicable") and column(metric).kind == "sample":
            by_reason.setdefault((cell.status, cell.note or ""), []).append(metric)
    for failure in result.failures:
        by_reason.setdefault(("failed", failure.message), []).append(failure.metric or "all")
    for (status, note), metrics in by_reason.items():
        yield Missing(tuple(metrics), status, "needs a prompt: --text" if _lacks_prompt(status, metrics) else note)


def _lacks_prompt(status: str, metrics: Sequence[str]) -> bool:
    """Whether that is why metrics are not applicable to a clip; the others want a suite's setting."""
    from javisbench.metrics.registry import METRICS, card_of

    known = [METRICS.get(metric) for metric in metrics if card_of(metric) is not None]
    return status == "not_applicable" and not any(getattr(metric, "needs_setting", False) for metric in known)
