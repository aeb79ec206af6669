"""A benchmark of many thousand clips, simulated: clips a second, peak memory, and what a resumed run costs.

    python benchmarks/scale.py encode --clips 500 2000 10140 --json FILE     # decoding and encoding, once each
    python benchmarks/scale.py resume --clips 10140 100000 --json FILE       # everything stored: index, scores, summary
    python benchmarks/scale.py cost --clips 10140 100000 --clips-per-s 8.4   # arithmetic, for clusters

Few small clips are drawn and linked under as many names as are wanted. Each name counts as a clip of its own: it is
decoded, encoded and stored, by `javisbench.score` and nothing else. The network is ImageBind's tiny one, for sound; the
rest are encoders without a network. Every phase has a process of its own, whose children count for memory (PSS).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

METRICS = ["ta_ib", "av_align", "health_silence", "health_black", "health_frozen"]
DRAWN = 8
_RATE = 16000


def draw_clips(folder: Path) -> list[Path]:
    """Small clips of two seconds: a moving texture and clicks."""
    from javisbench.clip import Clip
    from javisbench.media import write_clip

    for number in range(DRAWN):
        rng = np.random.default_rng(number)
        still = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        frames = np.stack([np.roll(still, step, axis=1) for step in np.cumsum(rng.integers(0, 4, 16))])
        sound = (rng.normal(size=(1, 2 * _RATE)) * (rng.random(2 * _RATE) < 0.01)).clip(-1, 1).astype(np.float32)
        write_clip(Clip(frames, Fraction(8), sound, _RATE), folder / f"drawn_{number}.mp4")
    return sorted(folder.glob("drawn_*.mp4"))


def link_clips(folder: Path, drawn: list[Path], count: int) -> None:
    """`count` clips, and their prompts in ``s.csv`` with two categories."""
    folder.mkdir()
    for number in range(count):
        source = drawn[number % len(drawn)]
        for suffix in (".mp4", ".wav"):
            (folder / f"sample_{number:04d}{suffix}").hardlink_to(source.with_suffix(suffix))
    rows = (f"prompt {number % 1000},{number % 2}" for number in range(count))
    (folder / "s.csv").write_text("\n".join(["text,cat0_ind", *rows]) + "\n", encoding="utf-8")


@contextmanager
def every_name_is_a_clip() -> Iterator[None]:
    """Content goes by the name; what two clips share is not looked for."""
    from javisbench.run import content_index, encode, encode_session

    before = content_index.content_hash, encode_session.contents, encode._Claims._take
    content_index.content_hash = lambda source: hashlib.sha256(str(source.video).encode()).hexdigest()  # type: ignore[assignment]
    encode_session.contents = lambda store, content, stream: iter([content])  # type: ignore[assignment]
    encode._Claims._take = lambda *_: True  # type: ignore[method-assign]
    try:
        yield
    finally:
        content_index.content_hash, encode_session.contents, encode._Claims._take = before  # type: ignore[method-assign]


class Peak:
    """The largest sum of proportional memory of this process and its children, looked at five times a second."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            self.bytes = max(self.bytes, sum(map(_pss, _family(os.getpid()))))


def _family(pid: int) -> list[int]:
    found = [pid]
    try:
        own = Path(f"/proc/{pid}/cmdline").read_bytes()
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                # One that is being started still has its parent's memory, which would count twice.
                if Path(f"/proc/{child}/cmdline").read_bytes() != own:
                    found += _family(int(child))
    except OSError:
        pass  # it has ended meanwhile
    return found


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def score(clips: Path, run: Path, weights: Path, workers: int) -> None:
    import javisbench

    javisbench.score(
        clips,
        suite=str(clips / "s.csv"),
        out=run,
        metrics=METRICS,
        encoders={"imagebind": "tiny"},
        weights_dirs=[weights],
        workers=workers,
        device="cpu",
    )


def prepared(folder: Path, count: int) -> tuple[Path, Path]:
    from imagebind import write_random_weights

    write_random_weights(folder, "tiny")
    (folder / "drawn").mkdir()
    clips = folder / "clips"
    link_clips(clips, draw_clips(folder / "drawn"), count)
    return clips, folder


def encode(count: int, workers: int) -> dict[str, Any]:
    """Score `count` clips."""
    with tempfile.TemporaryDirectory() as name, every_name_is_a_clip():
        clips, weights = prepared(Path(name), count)
        begun, cpu = time.perf_counter(), _cpu_s()
        with Peak() as peak:
            score(clips, Path(name) / "run", weights, workers)
        wall = time.perf_counter() - begun
        return {
            "clips": count,
            "clips_per_s": round(count / wall, 2),
            "cpu_ms_per_clip": round(1000 * (_cpu_s() - cpu) / count, 2),
            "peak_mib": round(peak.bytes / 2**20),
        }


def resume(count: int, workers: int) -> dict[str, Any]:
    """Score `count` clips whose features are stored: those of a few clips, under every clip's key."""
    from javisbench.run import score as scoring
    from javisbench.run.features import FeatureStore

    with tempfile.TemporaryDirectory() as name, every_name_is_a_clip():
        clips, weights = prepared(Path(name), count)
        run = Path(name) / "run"
        few = clips.with_name("few")
        link_clips(few, sorted((Path(name) / "drawn").glob("*.mp4")), DRAWN)
        score(few, Path(name) / "few_run", weights, workers)
        _spread(Path(name) / "few_run" / "features", run / "features", few, clips, count)
        times: dict[str, float] = {}
        timed(times, "index", lambda: len(FeatureStore(run / "features")))
        stages = scoring._Job._encode, scoring._Job._score, scoring._write
        scoring._Job._encode = _timed(times, "hashes, prompts and what is missing", stages[0])  # type: ignore[method-assign]
        scoring._Job._score = _timed(times, "scores and intervals", stages[1])  # type: ignore[method-assign]
        scoring._write = _timed(times, "tables and summary", stages[2])
        with Peak() as peak:
            timed(times, "all", lambda: score(clips, run, weights, workers))
        scoring._Job._encode, scoring._Job._score, scoring._write = stages  # type: ignore[method-assign]
        shards = list((run / "features").glob("shard-*"))
        return {
            "clips": count,
            "seconds": {step: round(spent, 2) for step, spent in times.items()},
            "peak_mib": round(peak.bytes / 2**20),
            "shards": len(shards),
            "features_mib": round(sum(path.stat().st_size for path in shards) / 2**20),
        }


def _spread(made: Path, target: Path, few: Path, clips: Path, count: int) -> None:
    """Copy the features of few clips, in an order of their own, to every clip's keys; and those of prompts."""
    from javisbench.run import encode_session
    from javisbench.run.features import FeatureStore, media_facts_key

    source, store = FeatureStore(made), FeatureStore(target)
    keys: list[dict[str, str]] = []
    original = encode_session.feature_key

    def content_of(folder: Path, number: int) -> str:
        return hashlib.sha256(str(folder / f"sample_{number:04d}.mp4").encode()).hexdigest()

    recorded: dict[str, Callable[[str], str]] = {}

    def recording(content: str, *rest: Any) -> str:
        key = original(content, *rest)
        recorded.setdefault(repr(rest), lambda other: original(other, *rest))
        return key

    encode_session.feature_key = recording  # type: ignore[assignment]
    try:
        score(few, made.parent, made.parent.parent, 1)  # all stored: tells which keys there are
    finally:
        encode_session.feature_key = original
    for number in range(DRAWN):
        content = content_of(few, number)
        keys.append({name: make(content) for name, make in recorded.items() if make(content) in source})
    assert all(keys), "nothing was stored"
    prompts = set(source) - {key for of in keys for key in of.values()}
    prompts -= {media_facts_key(content_of(few, number)) for number in range(DRAWN)}
    for key in sorted(prompts):
        store.put(key, source.get(key))
    for number in range(count):
        content = content_of(clips, number)
        for name, key in keys[number % DRAWN].items():
            store.put(recorded[name](content), source.get(key))
        store.put(media_facts_key(content), source.get(media_facts_key(content_of(few, number % DRAWN))))
    store.flush()


def timed(times: dict[str, float], step: str, work: Callable[[], Any]) -> Any:
    begun = time.perf_counter()
    try:
        return work()
    finally:
        times[step] = times.get(step, 0.0) + time.perf_counter() - begun


def _timed(times: dict[str, float], step: str, work: Callable[..., Any]) -> Any:
    return lambda *given, **named: timed(times, step, lambda: work(*given, **named))


def cost(clips: int, clips_per_s: float) -> list[dict[str, Any]]:
    """Wall hours and machine hours of so many clips by number of machines (or devices), from the pace of one.

    Fixed costs that do not shrink with machines: ten minutes of start, weights and joining.
    """
    fixed_h = 1 / 6
    work_h = clips / clips_per_s / 3600
    return [
        {
            "clips": clips,
            "machines": machines,
            "wall_h": round(work_h / machines + fixed_h, 2),
            "machine_h": round(work_h + fixed_h * machines, 2),
        }
        for machines in (1, 2, 4, 8, 16, 32, 64)
    ]


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phase", choices=["encode", "resume", "cost"])
    parser.add_argument("--clips", type=int, nargs="+", default=[500])
    parser.add_argument("--workers", type=int, default=2, help="decoding processes")
    parser.add_argument("--clips-per-s", type=float, default=1.0, help="of one machine, for cost")
    parser.add_argument("--alone", action="store_true", help="one size, in this process")
    parser.add_argument("--json", type=Path, help="where results go; those of other phases stay")
    args = parser.parse_args()
    if args.alone:
        measure = {"encode": encode, "resume": resume}[args.phase]
        print(json.dumps(measure(args.clips[0], args.workers)))
        return
    if args.phase == "cost":
        rows = [row for count in args.clips for row in cost(count, args.clips_per_s)]
    else:
        rows = [_apart(args, count) for count in args.clips]
    for row in rows:
        print(row)
    if args.json:
        known = json.loads(args.json.read_text(encoding="utf-8")) if args.json.exists() else {}
        known[args.phase] = {"load_average": round(os.getloadavg()[0], 1), "rows": rows}
        args.json.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def _apart(args: argparse.Namespace, count: int) -> dict[str, Any]:
    command = [sys.executable, __file__, args.phase, "--alone", "--clips", str(count), "--workers", str(args.workers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, encoding="utf-8")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
