"""What it costs that features are on the disk after 15 s at the latest: the same job with and without, in pairs.

    python benchmarks/shards.py [--pairs 4] [--clips 24] [--json benchmarks/results/shards.json]

Scores clips of 320x240 and 4 s in a process of its own, alternately with shards as they are (128 items, 64 MiB or 15 s)
and with shards that are written at the end alone; the order within a pair changes from pair to pair. Processor time of
the job and its decoding processes is compared, since other work on the machine moves it least; and the seconds spent in
writing shards are counted by themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from javisbench.clip import Clip

METRICS = "av_align,health_*"
JOB = """
import json, sys, time
import javisbench
from javisbench.run import features
from javisbench.run.features import FeatureStore
clips, out, late = sys.argv[1], sys.argv[2], sys.argv[3] == "late"
if late:
    features._SHARD_S = features._SHARD_ITEMS = features._SHARD_BYTES = float("inf")
flush, spent, written = FeatureStore.flush, [0.0], [0]
def timed(self):
    before, pending = time.monotonic(), bool(self._pending)
    flush(self)
    spent[0] += time.monotonic() - before
    written[0] += pending
FeatureStore.flush = timed
javisbench.score(clips, out=out, metrics=sys.argv[4].split(","), workers=1)
print(json.dumps({"flush_s": spent[0], "shards": written[0]}))
"""


def drawn_clip(number: int) -> Clip:
    """Moving noise of 320x240 with clicks, 4 s."""
    import numpy as np

    from javisbench.clip import Clip

    rng = np.random.default_rng(number)
    still = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    frames = np.stack([np.roll(still, int(step), 1) for step in np.cumsum(rng.integers(0, 8, 96))])
    sound = (0.01 * rng.standard_normal((1, 64000))).astype(np.float32)
    sound[:, :: 16000 + number] = 0.9
    return Clip(frames, Fraction(24), sound, 16000)


def write_clips(folder: Path, count: int) -> None:
    """Drawn clips, a prompt beside each."""
    from javisbench.media import write_clip

    for number in range(count):
        write_clip(drawn_clip(number), folder / f"clip{number:03d}.mp4")
        (folder / f"clip{number:03d}.txt").write_text(f"prompt {number}")


def run(clips: Path, out: Path, way: str) -> dict[str, Any]:
    """One job; seconds on the wall and on processors."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-c", JOB, str(clips), str(out), way, METRICS]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wall_s": round(time.monotonic() - begun, 3),
        "processor_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3),
        **json.loads(done.stdout.splitlines()[-1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    pairs = []
    with tempfile.TemporaryDirectory(prefix="javisbench-shards-") as folder:
        base = Path(folder)
        (base / "clips").mkdir()
        write_clips(base / "clips", args.clips)
        run(base / "clips", base / "warm", "15 s")
        for number in range(args.pairs):
            order = ("15 s", "late") if number % 2 == 0 else ("late", "15 s")
            pair = {way: run(base / "clips", base / f"{number}-{way[:2]}", way) for way in order}
            pairs.append(pair)
            print(json.dumps(pair), flush=True)
    ratios = [pair["15 s"]["processor_s"] / pair["late"]["processor_s"] for pair in pairs]
    shares = [pair["15 s"]["flush_s"] / pair["15 s"]["wall_s"] for pair in pairs]
    result = {
        "what": __doc__.partition("\n")[0],
        "clips": args.clips,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}; load average {os.getloadavg()[0]:.0f}",
        "pairs": pairs,
        "processor_time_ratio": {"median": statistics.median(ratios), "of_pairs": ratios},
        "share_of_wall_time_in_writing_shards": {"median": statistics.median(shares), "of_pairs": shares},
    }
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
