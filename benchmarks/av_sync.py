"""What AV-Sync tells apart: clips against the same clips with their sound moved or swapped, beside AV-Align.

    python benchmarks/av_sync.py --scenes 14 --json FILE         scenes of procedural:sync, so many a family
    python benchmarks/av_sync.py --clips FOLDER --json FILE      clips of your own; folders in it are sources

Nothing is spliced. Scenes go on beyond both ends of their clips; of other clips a window is taken, from 1 s to 1 s
before the end (0.7 s for clips under 5 s), and the sound of the same window displaced, as far as it reaches. A swapped
sound is that of another family or source. Pictures of scenes go through H.264 first, as clips do. Intervals are of
95 %, by the bootstrap over clips (over sources, where there are folders).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.stats import rankdata

from javisbench.baselines.procedural.sync.clips import setting_of
from javisbench.baselines.procedural.sync.families import make_scene
from javisbench.baselines.procedural.sync.mixing import heard
from javisbench.clip import Clip, ClipSpec
from javisbench.errors import FeatureError, JavisbenchError, MetricError
from javisbench.media import read_clip, write_clip
from javisbench.metrics.av_align import AVAlign
from javisbench.metrics.av_sync import AVSyncMetric
from javisbench.metrics.base import SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders import ENCODERS
from javisbench.protocol import V2
from javisbench.run.generate import sample_seed
from javisbench.suite import load_suite

SHIFTS_S = (0.16, 0.32, 0.64, 1.28)
SWAPS = 2
METRICS: dict[str, SampleMetric] = {"av_sync": AVSyncMetric(), "av_align": AVAlign()}
WITHOUT_COMMON = ("rain", "music_over_cuts", "still_picture")
"""Families whose picture and sound have little or nothing in common."""
VIDEO_SUFFIXES = (".mp4", ".webm", ".mov", ".mkv")


@dataclass
class Case:
    """A clip whose sound can be moved.

    Attributes:
        name: for messages.
        family: of the scene, or the folder.
        picture: frames and their rate; without sound.
        sound: gives the sound that is late by so many seconds, or None where it does not reach.
        rate: Hz.
    """

    name: str
    family: str
    picture: Clip
    sound: Callable[[float], np.ndarray | None]
    rate: int
    features: dict[str, Any] = field(default_factory=dict)

    def with_sound(self, audio: np.ndarray, rate: int) -> Clip:
        return replace(self.picture, audio=audio, sample_rate=rate, audio_source="sidecar")


def coded(frames: np.ndarray, fps: Fraction) -> np.ndarray:
    """What a video file leaves of frames."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_clip(Clip(frames, fps, None, None), path, sidecar=False)
        return read_clip(path).frames


def scenes(count: int) -> Iterator[Case]:
    suite = load_suite("sync-scenes")
    taken: dict[str, int] = {}
    assert suite.setting is not None
    setting: ClipSpec = suite.setting
    for sample in suite:
        own = setting_of(sample, sample_seed(0, suite.name, sample.id, repeat=0), setting, "varied")
        taken[own.family] = taken.get(own.family, 0) + 1
        if taken[own.family] > count:
            continue
        scene = make_scene(own)
        picture = Clip(coded(scene.picture(), own.fps), own.fps, None, None, name=sample.id)
        signal = scene.sound()
        yield Case(sample.id, own.family, picture, lambda late, o=own, s=signal: heard(o, s, late), own.sample_rate)


def windows(folder: Path) -> Iterator[Case]:
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES):
        try:
            clip = read_clip(path)
        except JavisbenchError as error:
            print(f"{path}: {error.message}")
            continue
        end = min(clip.duration_s, clip.audio_duration_s)
        if clip.audio is None or clip.sample_rate is None or end < 3.5:
            print(f"{path}: no sound, or shorter than 3.5 s")
            continue
        margin = 1.0 if end >= 5 else 0.7
        times = clip.frame_times_s
        inside = (times >= margin) & (times < end - margin)
        picture = Clip(
            clip.frames[inside], clip.fps, None, None, frame_times_s=times[inside] - times[inside][0], name=path.name
        )
        start, length, audio, rate = float(times[inside][0]), picture.duration_s, clip.audio, clip.sample_rate

        def sound(
            late: float, a: np.ndarray = audio, r: int = rate, s: float = start, n: float = length
        ) -> np.ndarray | None:
            first, count = round((s - late) * r), round(n * r)
            return a[:, first : first + count] if first >= 0 and first + count <= a.shape[1] else None

        source = path.parent.name if path.parent != folder else path.stem
        yield Case(str(path.relative_to(folder)), source, picture, sound, rate)


def scored(case: Case, clip: Clip) -> dict[str, SampleScore | str]:
    """Metric to its score, or the reason for none; the picture's features are made once a case."""
    found: dict[str, SampleScore | str] = {}
    for name, metric in METRICS.items():
        features = {}
        try:
            for role, spec in metric.needs(V2).items():
                picture = ENCODERS.get(spec.encoder).stream(spec) == "picture"
                known = case.features.get(spec.encoder) if picture else None
                made = known or ENCODERS.get(spec.encoder)().encode([clip], [spec])[0][spec]
                if isinstance(made, JavisbenchError):
                    raise made
                if picture:
                    case.features[spec.encoder] = made
                features[role] = made
            found[name] = metric.score(features, SampleContext(V2))
        except (FeatureError, MetricError) as error:
            found[name] = error.kind
    return found


def measured(cases: list[Case]) -> list[dict[str, Any]]:
    """One row a case: metric to damage to scores; ``intact`` holds one."""
    rows = []
    for number, case in enumerate(cases):
        sounds: dict[str, list[tuple[np.ndarray, int]]] = {"intact": [], "swap": []}
        late = {"intact": True, "swap": True}
        intact = case.sound(0.0)
        assert intact is not None
        sounds["intact"].append((intact, case.rate))
        for shift in SHIFTS_S:
            moved = [case.sound(sign * shift) for sign in (1, -1)]
            sounds[f"{shift:g}"] = [(audio, case.rate) for audio in moved if audio is not None]
            # Later comes first: where it does not reach, nothing is told of a common offset.
            late[f"{shift:g}"] = moved[0] is not None
        others = [other for other in cases if other.family != case.family]
        seed = np.random.default_rng(zlib.crc32(case.name.encode()))
        for place in seed.permutation(len(others))[:SWAPS]:
            audio = others[place].sound(0.0)
            if audio is not None:
                sounds["swap"].append((audio, others[place].rate))
        row: dict[str, Any] = {"name": case.name, "family": case.family, **{metric: {} for metric in METRICS}}
        for damage, made in sounds.items():
            found = [scored(case, case.with_sound(audio, rate)) for audio, rate in made]
            for metric in METRICS:
                told = [one[metric] for one in found]
                row[metric][damage] = [one.value for one in told if isinstance(one, SampleScore)]
                if metric == "av_sync" and late.get(damage) and told and isinstance(told[0], SampleScore):
                    row.setdefault("told", {})[damage] = told[0]
                if damage == "intact" and isinstance(told[0], str):
                    row[metric]["reason"] = told[0]
                elif metric == "av_sync" and damage != "intact":
                    row.setdefault("p", {})[damage] = [o.details["p"][0] for o in told if isinstance(o, SampleScore)]
                elif metric == "av_sync" and isinstance(told[0], SampleScore):
                    row["informative"] = bool(told[0].details["informative"][0])
                    row["offset_ms"] = told[0].details["offset_ms"][0]
        rows.append(row)
        told = row["av_sync"].get("reason", row["av_sync"]["intact"])
        print(f"{number + 1}/{len(cases)} {case.name} {case.family} {told}", flush=True)
    return rows


def auroc(good: list[float], bad: list[float]) -> float:
    ranks = rankdata([*good, *bad])
    return float((ranks[: len(good)].sum() - len(good) * (len(good) + 1) / 2) / (len(good) * len(bad)))


DAMAGES = {
    "160 ms": ("0.16",),
    "320 ms": ("0.32",),
    "640 ms": ("0.64",),
    "1280 ms": ("1.28",),
    ">= 320 ms": ("0.32", "0.64", "1.28"),
    "swap": ("swap",),
}


def told_apart(rows: list[dict[str, Any]], metric: str, damages: tuple[str, ...]) -> float | None:
    good = [value for row in rows for value in row[metric]["intact"]]
    bad = [value for row in rows if row[metric]["intact"] for damage in damages for value in row[metric][damage]]
    return auroc(good, bad) if good and bad else None


def intervals(rows: list[dict[str, Any]], damages: tuple[str, ...], by_family: bool) -> dict[str, Any]:
    """AUROC of both metrics on the same clips, and the gain, with intervals."""
    rows = [row for row in rows if row["av_sync"]["intact"] and row["av_align"]["intact"]]
    if any(told_apart(rows, metric, damages) is None for metric in METRICS):
        return {"n": len(rows)}
    groups = sorted({row["family"] for row in rows}) if by_family else [row["name"] for row in rows]
    members = [[row for row in rows if row["family" if by_family else "name"] == group] for group in groups]
    rng, draws = np.random.default_rng(0), []
    for _ in range(400):
        drawn = [row for place in rng.integers(0, len(members), len(members)) for row in members[place]]
        draws.append([told_apart(drawn, metric, damages) for metric in METRICS])
    both = np.array(draws, dtype=np.float64)
    values = [told_apart(rows, metric, damages) for metric in METRICS]
    table = {"n": len(rows)}
    columns = {
        **dict(zip(METRICS, zip(values, both.T, strict=True), strict=True)),
        "gain": (values[0] - values[1], both[:, 0] - both[:, 1]),
    }
    return table | {
        n: [round(v, 3), *np.nanquantile(d, (0.025, 0.975)).round(3).tolist()] for n, (v, d) in columns.items()
    }


def common_offsets(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """What the set tells of its common offset, with all sounds late by so much, or swapped."""
    found = {}
    for damage in ("intact", *(f"{shift:g}" for shift in SHIFTS_S[:-1]), "swap"):
        told = [row["told"][damage] for row in rows if damage in row.get("told", {})]
        values = np.array([one.value for one in told])
        facts = AVSyncMetric().facts(values, [one.details for one in told], np.arange(len(told)), 0) if told else {}
        found[damage] = {"n": len(told), **{k: round(v, 3) for k, v in facts.items() if k.startswith("offset_ms")}}
    return found


def invariances(cases: list[Case], rows: list[dict[str, Any]], count: int) -> dict[str, float]:
    """Median relative change of scores above 1."""
    values = {row["name"]: row["av_sync"]["intact"] for row in rows}
    chosen = [case for case in cases if values[case.name] and values[case.name][0] > 1][:count]
    found: dict[str, list[float]] = {}
    for case in chosen:
        audio, picture, before = case.sound(0.0), case.picture, values[case.name][0]
        assert audio is not None
        frames, random = picture.frames, np.random.default_rng(0)
        noise = random.standard_normal(audio.shape) * np.sqrt(np.square(audio).mean()) / 10
        small = [
            cv2.resize(f, (128, max(2, round(128 * f.shape[0] / f.shape[1]))), interpolation=cv2.INTER_AREA)
            for f in frames
        ]
        jpeg = [
            cv2.imdecode(cv2.imencode(".jpg", f, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_COLOR) for f in frames
        ]
        changed = {
            "volume": case.with_sound(0.1 * audio, case.rate),
            "two channels": case.with_sound(np.repeat(audio[:1], 2, axis=0), case.rate),
            "noise 20 dB below": case.with_sound((audio + noise).astype(np.float32), case.rate),
            "bars": replace(
                case.with_sound(audio, case.rate), frames=np.pad(frames, ((0, 0), (40, 40), (0, 0), (0, 0)))
            ),
            "mirrored": replace(case.with_sound(audio, case.rate), frames=np.ascontiguousarray(frames[:, :, ::-1])),
            "128 pixels": replace(case.with_sound(audio, case.rate), frames=np.stack(small)),
            "JPEG of quality 20": replace(case.with_sound(audio, case.rate), frames=np.stack(jpeg)),
            "half the rate": case.with_sound(audio, case.rate).with_frames(frames[::2], picture.fps / 2),
        }
        for name, clip in changed.items():
            fresh = replace(case, features={"flow": case.features["flow"]})
            told = scored(fresh, clip)["av_sync"]
            if isinstance(told, SampleScore):
                found.setdefault(name, []).append(abs(told.value - before) / before)
    return {name: round(float(np.median(changes)), 4) for name, changes in found.items()} | {"clips": len(chosen)}


def cost(case: Case) -> dict[str, float]:
    """Seconds of one core for 10 s of 640x360 at 24 fps, beside decoding."""
    frames = np.stack([cv2.resize(case.picture.frames[i % len(case.picture.frames)], (640, 360)) for i in range(240)])
    sound = case.sound(0.0)
    assert sound is not None
    clip = Clip(frames, Fraction(24), np.tile(sound, 4)[:, : 10 * case.rate], case.rate)
    found, features = {}, {}
    for role, spec in METRICS["av_sync"].needs(V2).items():
        start = time.process_time()
        features[role] = ENCODERS.get(spec.encoder)().encode([clip], [spec])[0][spec]
        found[spec.encoder] = round(time.process_time() - start, 3)
    start = time.process_time()
    METRICS["av_sync"].score(features, SampleContext(V2))
    return {**found, "score": round(time.process_time() - start, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=7, help="of each family")
    parser.add_argument("--clips", type=Path, help="a folder of clips, instead of scenes")
    parser.add_argument(
        "--invariances", type=int, default=12, help="clips that are changed in ways that should not matter"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    cases = list(windows(options.clips) if options.clips else scenes(options.scenes))
    rows = measured(cases)
    applies = [row for row in rows if row["av_sync"]["intact"]]
    if not applies:
        parser.error("AV-Sync applies to none of these clips: nothing can be measured.")
    timed = applies if options.clips else [row for row in applies if row["family"] not in WITHOUT_COMMON]
    swapped = [value for row in applies for value in row["av_sync"]["swap"]]
    p_values = [p for row in applies for p in row["p"]["swap"]]
    folders = options.clips is not None and len({row["family"] for row in rows}) < len(rows)
    result: dict[str, Any] = {
        "clips": len(rows),
        "in_step": {name: intervals(timed, damages, folders) for name, damages in DAMAGES.items()},
        "informative": {
            name: intervals([r for r in timed if r["informative"]], damages, folders)
            for name, damages in DAMAGES.items()
        },
        "families": {
            family: {
                "n": len(own := [row for row in rows if row["family"] == family]),
                "not_applicable": {
                    k: sum(r["av_sync"].get("reason") == k for r in own)
                    for k in {r["av_sync"].get("reason") for r in own} - {None}
                },
                **{name: told_apart(own, "av_sync", damages) for name, damages in DAMAGES.items()},
                "mean": float(np.mean([v for r in own for v in r["av_sync"]["intact"]]))
                if any(r["av_sync"]["intact"] for r in own)
                else None,
            }
            for family in sorted({row["family"] for row in rows})
        },
        "unrelated": {
            "n": len(swapped),
            "mean": round(float(np.mean(swapped)), 3),
            "deviation": round(float(np.std(swapped)), 3),
            "share_p_below_0.05": round(float(np.mean(np.array(p_values) < 0.05)), 3),
        },
        "common_offset": common_offsets(timed),
        "informative_share": round(float(np.mean([row["informative"] for row in applies])), 3),
        "invariance": invariances(cases, rows, options.invariances),
        "cost_s": cost(cases[0]),
    }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
