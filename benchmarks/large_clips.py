"""Peak memory and time of scoring four clips of everyday size: 1080p, 4K, 120 frames a second, ten minutes.

    python benchmarks/large_clips.py                             # all metrics that need no weights
    python benchmarks/large_clips.py --metrics 'health_*'        # without optical flow, most of whose time it is
    python benchmarks/large_clips.py --only uhd24 --workers 1

Each clip is drawn and encoded first, then scored by itself with the public command line. Memory is the largest sum over
all processes of their share of resident memory (PSS), looked at five times a second; Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZES = {"hd30": (1920, 1080, 30, 12), "uhd24": (3840, 2160, 24, 8), "hd120": (1280, 720, 120, 8)}
SIZES["long240p"] = (426, 240, 24, 600)
RATE = 16_000


def draw(path: Path, width: int, height: int, fps: int, seconds: int) -> None:
    """A square that wanders over a gradient, with a click each second."""
    base = np.linspace(0, 160, width, dtype=np.uint8)[None, :, None].repeat(height, 0).repeat(3, 2)
    side = height // 6
    with av.open(str(path), "w") as out:
        options = {"preset": "ultrafast", "crf": "35"}
        picture = out.add_stream("libx264", rate=Fraction(fps), options=options)
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        sound = out.add_stream("aac", rate=RATE, layout="mono")
        for index in range(fps * seconds):
            frame = base.copy()
            left = index * 4 * width // (fps * 4) % (width - side)
            frame[height // 3 : height // 3 + side, left : left + side] = 230
            out.mux(picture.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(picture.encode(None))
        samples = np.zeros((1, RATE * seconds), np.float32)
        samples[:, ::RATE] = 0.8
        for start in range(0, samples.shape[1], 1024):
            block = av.AudioFrame.from_ndarray(samples[:, start : start + 1024], format="fltp", layout="mono")
            block.sample_rate, block.pts = RATE, start
            out.mux(sound.encode(block))
        out.mux(sound.encode(None))


def resident_bytes(pid: int) -> int:
    """PSS of a process and all below it; those that end meanwhile count as nothing."""
    total = 0
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total = int(rollup.split("Pss:")[1].split()[0]) * 1024
        children = [c for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    except (OSError, IndexError):
        return total
    return total + sum(resident_bytes(int(child)) for child in children)


def score(clip: Path, metrics: str, workers: int) -> tuple[float, float, int]:
    """Seconds, peak GiB and number of failures of scoring one clip."""
    folder = clip.parent
    (folder / "s.csv").write_text(f"id,text\n{clip.stem},a square\n")
    command = ["score", str(folder), "--suite", str(folder / "s.csv"), "--metrics", metrics, "--workers", str(workers)]
    begun, peak = time.monotonic(), 0
    with (folder / "out.json").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "javisbench", *command, "--out", str(folder / "run"), "--json", "-q"], stdout=out
        )
        while process.poll() is None:
            peak = max(peak, resident_bytes(process.pid))
            time.sleep(0.2)
    failures = json.loads((folder / "out.json").read_text())["failures"]
    return time.monotonic() - begun, peak / 2**30, len(failures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", default="av_align,health_*")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=sorted(SIZES))
    args = parser.parse_args()
    print(
        "| clip | size | frames | as RGB | time | peak memory | failures |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    for name, (width, height, fps, seconds) in SIZES.items():
        if args.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            clip = Path(folder) / f"{name}.mp4"
            draw(clip, width, height, fps, seconds)
            spent, peak, failures = score(clip, args.metrics, args.workers)
        frames = fps * seconds
        size = f"{width}x{height}, {fps} fps | {frames} | {width * height * 3 * frames / 2**30:.1f} GiB"
        print(f"| {name} | {size} | {spent:.0f} s | {peak:.2f} GiB | {failures} |", flush=True)


if __name__ == "__main__":
    main()
