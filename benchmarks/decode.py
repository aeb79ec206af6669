"""Decoding: once for all metrics against once for each of six metrics.

    python benchmarks/decode.py --clips FOLDER [--workers 1 2] [--metrics 6] [--rounds 3] [--json]

Every figure is the median over rounds in which the ways take turns, so that a busy machine slows all of them alike;
the ratios are what to look at. "peak MB" is the highest sum, sampled every 20 ms (Linux only), of the memory of the
caller and its decoding processes (PSS) and of the decoded clips that wait for the caller or are in its hands; clips
that are being decoded at that moment, one a process, come on top.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from javisbench.clip import Clip
from javisbench.media import ClipReader, ClipSource, sidecar_for


@dataclass
class Way:
    """One way of decoding: how many processes, and how often each clip is read."""

    name: str
    workers: int
    reads: int
    rates: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)

    def run(self, sources: Sequence[ClipSource]) -> None:
        """Decode all clips; note clips per second, start-up left out, and the peak of memory."""
        work = [source for source in sources for _ in range(self.reads)]
        with ClipReader(self.workers) as reader:
            for _ in reader.read(sources[: self.workers]):
                pass
            with PeakMemory(reader) as memory:
                started = time.perf_counter()
                for source, clip in reader.read(work):
                    if not isinstance(clip, Clip):
                        raise SystemExit(f"{source.video}: {clip}")
                    memory.in_hand_mb = clip.frames.nbytes / 2**20
                took = time.perf_counter() - started
        self.rates.append(len(sources) / took)
        self.peaks.append(memory.peak_mb)


class PeakMemory:
    """Samples the memory of this process, its children and a reader's clips while it is open."""

    def __init__(self, reader: ClipReader) -> None:
        self.peak_mb = 0.0
        self.in_hand_mb = 0.0
        self._reader = reader
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(0.02):
            processes = sum(map(_memory_mb, [os.getpid(), *_children()]))
            clips = self._reader.waiting_bytes / 2**20 + self.in_hand_mb
            self.peak_mb = max(self.peak_mb, processes + clips)


def _children() -> list[int]:
    me = os.getpid()
    tasks = Path(f"/proc/{me}/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def _memory_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, help="folder of videos, with or without sound files")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--metrics", type=int, default=6, help="reads a clip for the way that decodes for each metric")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    videos = sorted(
        path for path in options.clips.iterdir() if path.suffix in (".mp4", ".mov", ".mkv", ".webm", ".avi")
    )
    sources = [ClipSource(path.stem, path, sidecar_for(path)) for path in videos]
    if not sources:
        raise SystemExit(f"{options.clips}: no videos there.")
    ways = [Way(f"once, {workers} workers", workers, 1) for workers in options.workers]
    ways += [Way(f"for each of {options.metrics} metrics, {w} workers", w, options.metrics) for w in options.workers]
    for _ in range(options.rounds):
        for way in ways:
            way.run(sources)

    rates = {way.name: statistics.median(way.rates) for way in ways}
    slowest = rates[ways[len(options.workers)].name]
    rows = [
        {
            "way": way.name,
            "workers": way.workers,
            "reads_per_clip": way.reads,
            "clips_per_s": round(rates[way.name], 2),
            "peak_mb": round(statistics.median(way.peaks), 1),
            "ratio": round(rates[way.name] / slowest, 2),
        }
        for way in ways
    ]
    if options.json:
        print(
            json.dumps({"benchmark": "decode", "clips": len(sources), "rounds": options.rounds, "rows": rows}, indent=2)
        )
        return
    print(f"{len(sources)} clips, median of {options.rounds} rounds; ratio against '{ways[len(options.workers)].name}'")
    for row in rows:
        print(f"{row['way']:<36} {row['clips_per_s']:>8} clips/s {row['peak_mb']:>8} MB {row['ratio']:>6} x")


if __name__ == "__main__":
    main()
