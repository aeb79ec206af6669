"""What encoding clips while others are made saves: `javisbench eval` of a model that works elsewhere, in both ways.

    python benchmarks/overlap.py [--clips 24] [--latency-s 6] [--pairs 2] [--json benchmarks/results/overlap.json]

A service on this machine takes so many seconds for each clip, as a model behind an API does, and answers with a clip
that was drawn before: it costs next to no processor time. `eval` asks for four at a time, and scores AV-Align and the
checks of clips, with `--overlap` and with `--no-overlap`; the order changes from pair to pair. The tables must be
equal.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from shards import drawn_clip

METRICS = "av_align,health_*"
DESCRIPTION = """
submit = "{address}/videos"
poll = "{address}/videos/{{job}}"
poll_s = 0.5
download = "{address}/files/{{job}}"

[body]
prompt = "{{prompt}}"
seed = "{{seed}}"
"""


def draw_clips(folder: Path, count: int) -> None:
    """Clips of 4 s, their sound in the same file."""
    from javisbench.media import write_clip

    folder.mkdir()
    for number in range(count):
        write_clip(drawn_clip(number), folder / f"{number}.mp4", sidecar=False)


@contextmanager
def service(clips: Path, latency_s: float) -> Iterator[str]:
    """The address of a service that makes the eighth clip of the prompt ``clip 7``, in so many seconds."""
    done_at: dict[str, float] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            number = asked["prompt"].split()[-1]
            done_at[number] = time.monotonic() + latency_s
            self._answer(json.dumps({"id": number, "status": "queued"}).encode(), "application/json")

        def do_GET(self) -> None:
            kind, number = self.path.strip("/").split("/")
            if kind == "files":
                self._answer((clips / f"{int(number)}.mp4").read_bytes(), "video/mp4")
            else:
                status = "completed" if time.monotonic() >= done_at[number] else "running"
                self._answer(json.dumps({"id": number, "status": status}).encode(), "application/json")

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("localhost", 0), Handler)
    address = f"http://localhost:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()


def evaluate(folder: Path, run: Path, way: str) -> dict[str, Any]:
    """One `javisbench eval`, with its wall seconds and what it says of the clips that it encoded meanwhile."""
    command = [sys.executable, "-m", "javisbench", "eval", "--model", f"hosted:{folder / 'service.toml'}"]
    command += ["--suite", str(folder / "s.csv"), "--metrics", METRICS, "--out", str(run), way, "--quiet"]
    begun = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    spent_s = time.monotonic() - begun
    log = (run / "log.txt").read_text(encoding="utf-8") if (run / "log.txt").exists() else ""
    told = [line.rpartition("Clips: ")[2] for line in log.splitlines() if "were encoded while others" in line]
    return {"way": way.removeprefix("--"), "seconds": round(spent_s, 1), "told": told[-1] if told else ""}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--latency-s", type=float, default=6.0, help="seconds that the service takes for a clip")
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where the result goes")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_clips(folder / "drawn", args.clips)
        (folder / "s.csv").write_text("text\n" + "".join(f"clip {number}\n" for number in range(args.clips)))
        with service(folder / "drawn", args.latency_s) as address:
            (folder / "service.toml").write_text(DESCRIPTION.format(address=address))
            for pair in range(args.pairs):
                ways = ("--overlap", "--no-overlap")[:: 1 if pair % 2 == 0 else -1]
                rows += [evaluate(folder, folder / f"run-{pair}{way}", way) for way in ways]
                check_equal(*(folder / f"run-{pair}{way}" for way in ways))
                for row in rows[-2:]:
                    print(row, flush=True)
    seconds = {way: sum(row["seconds"] for row in rows if row["way"] == way) for way in ("overlap", "no-overlap")}
    making_s = args.clips * args.latency_s / 4
    result = {
        "clips": args.clips,
        "latency_s": args.latency_s,
        "making_alone_s": making_s,
        "rows": rows,
        "ratio": round(seconds["no-overlap"] / seconds["overlap"], 2),
        "load_average": round(os.getloadavg()[0], 1),
    }
    print(f"ratio {result['ratio']}; making alone takes {making_s:g} s")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def check_equal(first: Path, second: Path) -> None:
    import pandas as pd

    for table in ("scores.parquet", "details.parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(first / table), pd.read_parquet(second / table), check_exact=True)


if __name__ == "__main__":
    main()
