"""SIGKILL at random moments of every command that writes: nothing is lost, and going on ends like an undisturbed job.

    python tests/kills.py [--kills 100] [--seed 0] [--only score,eval] [--json FILE]

Every attempt is a fork of a process that has imported what commands import, so that the moments fall into the work and
not into the start; it calls the command line's own `run` and is killed with all its children.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests import judge_endpoint
from tests.baselines import misbehaving_service

METRICS = "av_align,health_*"
SHARES = {"score": 20, "score again": 16, "eval": 20, "merge": 14, "pack": 8, "build": 12, "fetch": 10, "generate": 8,
          "hosted": 8, "judge": 8, "validate": 10, "votes page": 8, "votes import": 8, "reproduce": 10}  # fmt: skip
MODEL = '''
import numpy as np
from fractions import Fraction
from javisbench.baselines.base import Generated, Generator, Plan
from javisbench.clip import Clip


class Tiny(Generator):
    """Moving noise with clicks, small whatever is asked for."""

    card_id = "tiny"
    max_batch = 2

    def plan(self, spec):
        return Plan(64, 48, 8, Fraction(8), 8000, 8000)

    def generate(self, batch):
        for request in batch:
            random = np.random.default_rng(request.seed)
            still = random.integers(0, 256, (48, 64, 3)).astype(np.uint8)
            audio = 0.01 * random.standard_normal(8000).astype(np.float32)
            audio[::2000] = 0.9
            frames = np.stack([np.roll(still, step, 1) for step in np.cumsum(random.integers(0, 5, 8))])
            yield Generated(request, Clip(frames, Fraction(8), audio[None], 8000, "sidecar"), {"seed": request.seed})
'''
JUDGE = """
id = "mine"
about = "You judge how bright it is."
[model]
name = "stand-in/stand-in-7b"
[sampling]
temperature = 0.0
tries = 2
repeats = 1
[shows]
frames = 2
frame_px = 96
[[questions]]
id = "quality"
text = "How bright is it?"
answer = "scale"
"""
# Servers of this machine that commands ask; they last as long as the process that runs the commands.
ENDPOINTS = ExitStack()
WEIGHTS = random.Random(0).randbytes(3_000_000)


@dataclass
class Count:
    """What came of a command's kills.

    Attributes:
        kills: processes that were killed at work.
        ended: attempts that ended before their moment came.
        rounds: jobs that were brought to their end and compared.
        lost: things that were done before a kill and had to be done again.
        wrong: states that passed for a result and were none, and ends unlike the undisturbed one.
        named: kills after which a reader named a mix of two scorings, or that nothing is there yet.
    """

    kills: int = 0
    ended: int = 0
    rounds: int = 0
    lost: int = 0
    wrong: int = 0
    named: int = 0


@dataclass
class Command:
    """One command under test.

    Attributes:
        name: in the table.
        argv: its arguments, given the place it writes to.
        fresh: puts that place into the state before the command.
        state: what lies there, as it is read: equal states are equal results; None for no result, or one that is named
            as none.
        done: what is finished there, by name, with what changes if it is made again.
    """

    name: str
    argv: Callable[[Path], Sequence[str]]
    state: Callable[[Path], Any]
    fresh: Callable[[Path], None] = lambda place: None
    done: Callable[[Path], dict[str, Any]] = lambda place: {}
    count: Count = field(default_factory=Count)


_sync = os.fsync


def slow_sync(descriptor: int) -> None:
    """As of a disk: between the files of a result there is time to be killed."""
    time.sleep(0.02)
    _sync(descriptor)


def attempt(argv: Sequence[str], before: Callable[[], None] = lambda: None) -> int:
    """Fork, and run the command line in a session of its own; returns the process id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        os.fsync = slow_sync
        before()
        from javisbench.cli import run

        code = run([*argv])
    finally:
        os._exit(code)


def kill(child: int) -> None:
    """As the machine's end would: the process and all its children, without a word."""
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:  # so early that it leads no group yet
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def ended(child: int, within_s: float) -> int | None:
    """The exit code if the process ends in time; None while it is at work."""
    until = time.monotonic() + within_s
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            return None
        time.sleep(0.002)


def to_the_end(argv: Sequence[str]) -> float:
    """Run a command undisturbed; returns its seconds."""
    begun = time.monotonic()
    code = ended(attempt(argv), 600)
    assert code == 0, f"{' '.join(argv)} ended with exit code {code}"
    return time.monotonic() - begun


def trial(command: Command, kills: int, work: Path, rng: random.Random, say: Callable[[str], None]) -> None:
    """Kill a command so many times, going on after each, and compare every end with the undisturbed one."""
    whole, place = work / "whole", work / "killed"
    command.fresh(whole)
    before = command.state(whole)
    lasts_s = to_the_end(command.argv(whole))
    expected = command.state(whole)
    assert expected is not None and expected != before, command.name
    count, begun = command.count, False
    while count.kills < kills or begun:
        if not begun:
            shutil.rmtree(place, ignore_errors=True)
            command.fresh(place)
            begun, kept = True, {}
        child = attempt(command.argv(place))
        moment_s = rng.uniform(0, lasts_s) if count.kills < kills else 600
        code = ended(child, moment_s)
        if code is None:
            kill(child)
            count.kills += 1
        made = command.done(place)
        count.lost += sum(made.get(name) != value for name, value in kept.items())
        kept |= made
        found = command.state(place)
        if code is None:
            count.named += found is None
            count.wrong += found not in (None, before, expected)
            continue
        assert code == 0, f"{command.name} ended with exit code {code}"
        count.ended += count.kills < kills
        count.rounds += 1
        count.wrong += found != expected or bool(leftovers(place))
        begun = False
    say(f"{command.name}: {count}; undisturbed {lasts_s:.1f} s")


def leftovers(place: Path) -> list[Path]:
    """What killed processes left there, and beside it."""
    below = (
        [path for path in place.rglob("*") if ".tmp" in path.name or path.name == "staging"] if place.is_dir() else []
    )
    beside = [path for path in place.parent.iterdir() if path.name.startswith(f".{place.name}")]
    return [*below, *beside]


def run_state(run: Path) -> dict[str, str] | None:
    """A run's result as a reader sees it: hashes of its files, if the reader takes them for a result."""
    from javisbench.errors import RunError
    from javisbench.results.run_folder import load_results

    try:
        load_results(run)
    except RunError:
        return None
    names = ("scores.parquet", "details.parquet", "samples.parquet", "summary.json", "failures.jsonl")
    clips = sorted(p for p in (run / "clips").glob("[!.]*") if p.suffix in (".mp4", ".wav"))
    return {str(path.relative_to(run)): digest(path) for path in (*(run / name for name in names), *clips)}


def run_done(run: Path) -> dict[str, Any]:
    """Finished clips by their sidecars, and features that are on the disk."""
    from javisbench.run.features import FeatureStore

    clips = {path.name: path.stat().st_mtime_ns for path in (run / "clips").glob("[!.]*.json")}
    features = FeatureStore(run / "features") if (run / "features").is_dir() else {}
    return {**clips, **dict.fromkeys(features, True)}


def clips_state(run: Path) -> dict[str, str] | None:
    """All clips of a run that was not scored; None while some are missing."""
    from javisbench.durable import read_jsonl

    if len(list((run / "clips").glob("[!.]*.json"))) < 6:
        return None
    made = sorted(p for p in (run / "clips").glob("[!.]*") if p.suffix in (".mp4", ".wav"))
    return {path.name: digest(path) for path in made} | {"failures": repr(read_jsonl(run / "failures.jsonl"))}


def trial_state(folder: Path) -> dict[str, str] | None:
    """What a trial found; what a clip costs in seconds differs each time."""
    files = [folder / "trial.json", folder / "trial.parquet"]
    return {file.name: digest(file) for file in files} if all(file.exists() for file in files) else None


def votes_state(place: Path) -> list[Any] | None:
    """Votes with their voters by number: pseudonyms come of a secret that is drawn anew."""
    from javisbench.results.votes.record import load_votes

    file = place / "votes.jsonl"
    if not file.exists():
        return None
    numbers: dict[str, int] = {}
    found = load_votes(file)
    return [(replace(vote, voter=""), numbers.setdefault(vote.voter, len(numbers))) for vote in found.votes]


def merge_done(run: Path) -> dict[str, Any]:
    """As `run_done`, with sidecars by what they hold: from another disk they are copied, again after a kill."""
    return run_done(run) | {path.name: digest(path) for path in (run / "clips").glob("[!.]*.json")}


def archive_state(place: Path) -> dict[str, str] | None:
    """An archive's members, but for the moment at which it was made."""
    file = place / "run.zip"
    if not file.exists():
        return None
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = {**json.loads(members.pop("manifest.json")), "created": None}
    return {name: hashlib.sha256(data).hexdigest() for name, data in members.items()} | {"manifest": repr(manifest)}


def tree(folder: Path) -> dict[str, str]:
    """Hashes of all files of a folder."""
    return {str(path.relative_to(folder)): digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Slow(http.server.BaseHTTPRequestHandler):
    """Serves the weights in pieces, with ranges, so that a download lasts about a second."""

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(WEIGHTS):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(WEIGHTS)}")
            self.end_headers()
            return
        self.send_response(206 if asked else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(WEIGHTS) - start))
        self.end_headers()
        try:
            for at in range(start, len(WEIGHTS), 60_000):
                self.wfile.write(WEIGHTS[at : min(at + 60_000, len(WEIGHTS))])
                time.sleep(0.02)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def server() -> Iterator[str]:
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}/w.pth"
    httpd.shutdown()


def register(url: str) -> None:
    """A card of weights that the local server has."""
    import javisbench.weights.store as store
    from javisbench.weights import WeightsEntry, WeightsFile

    file = WeightsFile("w.pth", len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest())
    entry = WeightsEntry("w", "Weights W", url, (file,), ("w.pth",), "MIT")
    store.weights_registry = lambda: {"w": entry}  # type: ignore[attr-defined]


def write_clips(folder: Path, count: int) -> None:
    """Small clips with clicks, a prompt beside each."""
    import numpy as np

    from javisbench.clip import Clip
    from javisbench.media import write_clip

    folder.mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        sound = (rng.normal(size=(1, 16000)) * (rng.random(16000) < 0.01)).clip(-1, 1).astype(np.float32)
        clip = Clip(rng.integers(0, 255, (8, 48, 64, 3), dtype=np.uint8), Fraction(8), sound, 16000)
        write_clip(clip, folder / f"clip{number}.mp4")
        (folder / f"clip{number}.txt").write_text(f"prompt {number}")


def commands(base: Path, url: str) -> dict[str, Command]:
    """All that is killed, over material that is made first."""
    clips, suite = base / "clips", base / "suite.csv"
    write_clips(clips, 6)
    (base / "models").mkdir()
    (base / "models/kill_model.py").write_text(MODEL)
    sys.path.insert(0, str(base / "models"))
    suite.write_text("text\n" + "".join(f"prompt {number}\n" for number in range(6)))
    scoring = ["--metrics", METRICS, "--workers", "1", "-q"]
    score = ["score", str(clips), *scoring]
    made = ["eval", "--model", "python:kill_model:Tiny", "--suite", str(suite), *scoring]
    scored, parts = base / "scored", [base / f"part-{shard}" for shard in range(2)]
    to_the_end([*score, "--out", str(scored)])
    for shard, part in enumerate(parts):
        to_the_end([*made, "--shard", f"{shard}/2", "--out", str(part)])

    def earlier_site(place: Path) -> None:
        place.mkdir(parents=True)
        to_the_end(["leaderboard", "build", str(parts[0]), "--title", "Earlier", "-q", "--out", str(place / "site")])

    def cached(place: Path) -> Sequence[str]:
        # Forks inherit it.
        os.environ["XDG_CACHE_HOME"] = str(place)
        return ["weights", "fetch", "w", "--accept-licence", "-q"]

    def fetched(place: Path) -> str | None:
        path = place / "javisbench/weights/w/w.pth"
        return digest(path) if path.exists() else None

    register(url)
    all_commands = [
        *_newer_commands(base, made, scored, parts),
        Command("score", lambda p: [*score, "--out", str(p)], run_state, done=run_done),
        Command(
            "score again",
            lambda p: [*score, "--seed", "1", "--protocol", "javisbench-v1", "--name", "anew", "--out", str(p)],
            run_state,
            fresh=lambda p: shutil.copytree(scored, p) and None,
            done=run_done,
        ),
        Command("eval", lambda p: [*made, "--out", str(p)], run_state, done=run_done),
        Command("merge", lambda p: ["merge", *map(str, parts), "-q", "--out", str(p)], run_state, done=merge_done),
        Command("pack", lambda p: ["submit", "pack", str(scored), "-q", "--out", str(p / "run.zip")], archive_state),
        Command(
            "build",
            lambda p: ["leaderboard", "build", str(scored), str(parts[0]), "-q", "--out", str(p / "site")],
            lambda p: tree(p / "site") or None,
            fresh=earlier_site,
        ),
        Command("fetch", cached, fetched),
    ]
    return {command.name: command for command in all_commands}


def _newer_commands(base: Path, made: Sequence[str], scored: Path, parts: Sequence[Path]) -> list[Command]:
    """Those that make clips without scoring them, ask somebody else, or collect what people say."""
    clips, suite = base / "clips", base / "suite.csv"
    generate = ["generate", *made[1 : made.index("--metrics")], "-q"]
    other, answers, recipe = base / "other", base / "answers.csv", base / "recipe.toml"
    whole = base / "whole"
    to_the_end([*made, "--out", str(whole)])
    to_the_end([*made, "--name", "Other", "--seed", "1", "--out", str(other)])
    to_the_end(["reproduce", "new", str(scored), "--out", str(recipe)])
    votes = (f"clip{i % 6},Tiny,Other,{'ab'[i % 2]},person {i % 3}" for i in range(12))
    answers.write_text("sample_id,model_a,model_b,winner,voter\n" + "".join(f"{vote}\n" for vote in votes))
    trial = ["validate-metrics", "--clips", str(clips), "--suite", str(clips), "--limit", "3", "--metrics", "av_align"]
    return [
        Command("generate", lambda p: [*generate, "--out", str(p)], clips_state, done=run_done),
        Command(
            "validate",
            lambda p: [*trial, "--damages", "shift=320;silent", "--workers", "1", "-q", "--out", str(p)],
            trial_state,
        ),
        Command(
            "votes page",
            lambda p: ["votes", "page", str(whole), str(other), "-q", "--out", str(p / "page")],
            lambda p: {**tree(p / "page"), "key": digest(p / "page-key.json")} if (p / "page").exists() else None,
        ),
        Command(
            "votes import",
            lambda p: ["votes", "import", str(answers), "-q",
                       "--salt", str(p / "salt"), "--out", str(p / "votes.jsonl")],
            votes_state,
            fresh=lambda p: p.mkdir(parents=True),
        ),
        Command(
            "reproduce",
            lambda p: ["reproduce", "run", str(recipe), "--clips", str(clips), "--suite", str(clips), "--workers", "1",
                       "-q", "--out", str(p)],
            run_state,
            done=run_done,
        ),
        _judge_command(base, clips),
        _hosted_command(base, suite),
    ]  # fmt: skip


def _judge_command(base: Path, clips: Path) -> Command:
    questions = base / "mine.toml"
    questions.write_text(JUDGE)
    os.environ["JAVISBENCH_JUDGE_KEY"] = judge_endpoint.KEY
    endpoint = ENDPOINTS.enter_context(judge_endpoint.stand_in())
    endpoint.wait = lambda: time.sleep(0.1)
    words = ["score", str(clips), "--metrics", f"judge:{questions},health_*", "--workers", "1", "-q"]
    words += ["--judge-url", endpoint.url, "--judge-parallel", "1"]

    def kept(place: Path) -> dict[str, Any]:
        # What is on the disk must not be paid again: a second answer would be a second line.
        path = place / "answers.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return {json.loads(line)["key"]: line for line in reversed(lines) if line.endswith(b"\n")} | run_done(place)

    return Command("judge", lambda p: [*words, "--out", str(p)], run_state, done=kept)


def _hosted_command(base: Path, suite: Path) -> Command:
    os.environ["TEST_API_KEY"] = misbehaving_service.KEY
    clip = next(iter(sorted((base / "clips").glob("*.mp4")))).read_bytes()
    service = misbehaving_service.MisbehavingService(clip)
    ENDPOINTS.callback(service.close)
    card = base / "api.toml"
    card.write_text(
        f'submit = "{service.url}"\npoll = "{service.url}/{{job}}"\nkey = "TEST_API_KEY"\npoll_s = 0.1\n'
        'body = { prompt = "{prompt}", seed = "{seed}" }\n'
    )
    words = ["generate", "--suite", str(suite), "--model", f"hosted:{card}", "-q"]
    return Command("hosted", lambda p: [*words, "--out", str(p)], clips_state, done=run_done)


def warm() -> None:
    """Import what commands import, without threads of its own."""
    import torch

    torch.set_num_threads(1)
    modules = """av cv2 pandas pyarrow.parquet safetensors.numpy scipy.stats soundfile rich.table javisbench.api
        javisbench.cli.score javisbench.cli.merge javisbench.leaderboard.build javisbench.metrics.registry
        javisbench.run.score javisbench.publish.archive"""
    for name in modules.split():
        __import__(name)


def run_kills(kills: int, seed: int, only: Sequence[str], say: Callable[[str], None]) -> dict[str, Count]:
    """`kills` kills in all, spread as `SHARES` says over the commands of `only` (all for none)."""
    warm()
    counts = {}
    with tempfile.TemporaryDirectory(prefix="javisbench-kills-") as folder, server() as url:
        base = Path(folder)
        for name, command in commands(base, url).items():
            if only and name not in only:
                continue
            work = base / "work" / name.replace(" ", "-")
            work.mkdir(parents=True)
            share = max(1, round(kills * SHARES[name] / sum(SHARES.values())))
            trial(command, share, work, random.Random(f"{seed} {name}"), say)
            counts[name] = command.count
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=sum(SHARES.values()))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="names of commands, by commas")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    only = [name for name in args.only.split(",") if name]
    with ENDPOINTS:
        counts = run_kills(args.kills, args.seed, only, lambda line: print(line, flush=True))
    if args.json:
        args.json.write_text(json.dumps({name: vars(count) for name, count in counts.items()}, indent=1) + "\n")
    sys.exit(any(count.lost or count.wrong for count in counts.values()))


if __name__ == "__main__":
    main()
