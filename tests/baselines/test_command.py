"""External programs: both modes, and everything that a program can do wrong."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import javisbench
from javisbench.baselines import subprocess_guard
from javisbench.baselines.command import ExternalCommand
from javisbench.clip import Clip, ClipSpec
from javisbench.durable import read_json, read_jsonl
from javisbench.errors import GenerationError, RunError, UsageError
from javisbench.media import read_clip, write_clip
from javisbench.results.run_folder import load_result
from javisbench.results.table import run_table
from javisbench.run.generate import GenerateSettings
from javisbench.run.progress import Silent
from javisbench.suite import Suite, load_suite

EXAMPLES = Path(__file__).parents[2] / "examples" / "generators"
TINY = ClipSpec(width=32, height=24, duration_s=0.5, fps=Fraction(8), sample_rate=8000)

# A program that copies a ready clip for each request, and misbehaves as its first argument says.
PROGRAM = """
import json, os, shutil, subprocess, sys, time
how, ready, scratch = sys.argv[1:4]
def answer(request, **facts):
    print(json.dumps({"id": request["id"], "status": "ok", **facts}), flush=True)
def make(request):
    shutil.copy(ready, request["output"] + ".mp4")
once = os.path.join(scratch, "once")
def first_time():
    if os.path.exists(once):
        return False
    open(once, "w").close()
    return True
held = []
for line in sys.stdin:
    request = json.loads(line)
    bad = request["id"] == "sample_0001"
    if how == "crash" and bad:
        print("out of luck", file=sys.stderr, flush=True); os._exit(3)
    if how == "crash-once" and bad and first_time():
        os._exit(3)
    if how == "hang" and bad:
        time.sleep(600)
    if how == "hang-with-child" and bad:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open(os.path.join(scratch, "child"), "w").write(str(child.pid)); time.sleep(600)
    if how == "flood" and bad:
        for _ in range(300):
            sys.stderr.write("x" * 99999 + "\\n")
        print("y" * 3_000_000)
        print("{not json")
    if how == "say-no" and bad:
        answer(request, status="failed", message="too hard", kind="refused_prompt", retryable=False); continue
    if how == "no-file" and bad:
        answer(request); continue
    if how == "nonsense" and bad:
        answer(request, status=["what"]); continue
    if how == "lie" and bad:
        make(request); answer(request, width=64, height=24); continue
    if how == "garbage" and bad:
        open(request["output"] + ".mp4", "wb").write(b"no video"); answer(request); continue
    if how == "outside" and bad:
        answer(request, video=shutil.copy(ready, os.path.join(scratch, "elsewhere.mp4"))); continue
    if how == "dots" and bad:
        answer(request, video="../../../" + os.path.basename(ready)); continue
    if how == "link" and bad:
        os.symlink(ready, request["output"] + ".mp4"); answer(request); continue
    if how == "link-folder" and bad:
        os.symlink(os.path.dirname(ready), request["output"])
        answer(request, video=request["output"] + "/" + os.path.basename(ready)); continue
    if how == "nan" and bad:
        make(request); answer(request, info={"loss": float("nan")}); continue
    if how == "nan-claim" and bad:
        make(request); answer(request, fps=float("nan")); continue
    if how == "leak":
        print("key is", os.environ["MY_API_KEY"], file=sys.stderr, flush=True)
        answer(request, status="failed", message="401 for " + os.environ["MY_API_KEY"]); continue
    make(request)
    if how == "backwards":
        held.append(request)
        if len(held) == 3:
            for one in reversed(held): answer(one)
            held = []
        continue
    answer(request, info={"steps": 4})
    if how == "twice":
        answer(request); answer({"id": "sample_9999"})
"""


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of the tiny setting: an mp4 with its sound inside."""
    path = tmp_path_factory.mktemp("ready") / "ready.mp4"
    frames = np.random.default_rng(0).integers(0, 256, (4, 24, 32, 3)).astype(np.uint8)
    audio = (0.1 * np.sin(np.arange(4000) / 9)).astype(np.float32)[None]
    write_clip(Clip(frames, TINY.fps, audio, TINY.sample_rate), path, sidecar=False)
    return path


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """Three prompts at the tiny setting."""
    (tmp_path / "s.csv").write_text('text\na cat\n"a ""dog"", barking"\nrain\n')
    return replace(load_suite(str(tmp_path / "s.csv")), setting=TINY)


Run = Callable[..., tuple[Path, list[dict[str, Any]]]]


@pytest.fixture
def run(tmp_path: Path, ready: Path, suite: Suite) -> Run:
    """Run the misbehaving program; returns the run folder and its failures."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "scratch").mkdir()

    def go(how: str, **params: str) -> tuple[Path, list[dict[str, Any]]]:
        command = shlex.join([sys.executable, str(tmp_path / "program.py"), how, str(ready), str(tmp_path / "scratch")])
        given = {"timeout_s": "30", "start_timeout_s": "30", **params}
        folder = javisbench.generate(f"command:{command}", suite=suite, params=given, out=tmp_path / "run")
        return folder, read_jsonl(folder / "failures.jsonl")

    return go


def clips(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "clips").glob("*.json")}


EVERY = {"sample_0000", "sample_0001", "sample_0002"}


def test_clips_are_kept_as_made_with_their_sound_lossless_beside(run: Run, ready: Path) -> None:
    folder, failures = run("well")
    assert failures == []
    assert clips(folder) == EVERY
    assert (folder / "clips/sample_0001.mp4").read_bytes() == ready.read_bytes()
    inside, beside = read_clip(ready), read_clip(folder / "clips/sample_0001.mp4")
    assert (inside.audio_source, beside.audio_source) == ("container", "sidecar")
    assert inside.audio is not None and beside.audio is not None
    np.testing.assert_array_equal(inside.audio, beside.audio)
    sidecar = read_json(folder / "clips/sample_0001.json")
    assert sidecar["info"]["program"] == {"steps": 4}
    assert sidecar["info"]["differs"] == []
    assert not (folder / "staging").exists()


def test_a_second_run_asks_for_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("well")

    def not_again(*_: object, **__: object) -> None:
        raise AssertionError("the program was started")

    monkeypatch.setattr(ExternalCommand, "_start", not_again)
    assert run("well")[1] == []


def test_another_script_is_refused_by_name(run: Run, tmp_path: Path) -> None:
    run("well")
    script = tmp_path / "program.py"
    script.write_text(script.read_text() + "\n# Another model.\n")
    with pytest.raises(RunError, match=r"other files of the model.*script \(program\.py\)"):
        run("well")


def test_another_revision_makes_the_clips_again(run: Run) -> None:
    run("well")
    with pytest.raises(javisbench.errors.RunError, match="other settings"):
        run("well", revision="2")


# What each misbehaviour is listed as; other clips are not touched by it.
@pytest.mark.parametrize(
    ("how", "kind", "told"),
    [
        ("crash", "crash", "exit status 3; last line: out of luck"),
        ("say-no", "refused_prompt", "too hard"),
        ("no-file", "no_file", "no file"),
        ("nonsense", "bad_answer", "status"),
        ("lie", "shape", "said width 64; the file has 32"),
        ("nan", "bad_answer", "info holds a number that is none"),
        ("nan-claim", "shape", "said fps nan; the file has 8"),
        ("garbage", "unsupported_format", "text"),
        ("outside", "outside", "outside its folder"),
        ("dots", "outside", "outside its folder"),
        ("link", "outside", "link"),
        ("link-folder", "outside", "link"),
    ],
)
def test_misbehaviour_costs_its_own_clip_and_is_listed(run: Run, ready: Path, how: str, kind: str, told: str) -> None:
    folder, failures = run(how)
    assert [(row["sample_id"], row["kind"]) for row in failures] == [("sample_0001", kind)]
    assert told in failures[0]["message"]
    assert clips(folder) == EVERY - {"sample_0001"}
    assert ready.is_file()


def test_a_crash_is_tried_once_more(run: Run) -> None:
    folder, failures = run("crash-once")
    assert failures == []
    assert clips(folder) == EVERY


def test_a_crash_in_a_batch_costs_only_what_was_not_answered(run: Run) -> None:
    folder, failures = run("crash", batch="3")
    assert [row["sample_id"] for row in failures] == ["sample_0001"]
    assert clips(folder) == EVERY - {"sample_0001"}


def test_a_hanging_program_is_ended_with_its_children(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clock that is set forward by days must not end the clips that are fine.
    days = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: 86400.0 * next(days))
    folder, failures = run("hang-with-child", timeout_s="3")
    assert [(row["sample_id"], row["kind"]) for row in failures] == [("sample_0001", "timeout")]
    assert "within 3 s" in failures[0]["message"]
    assert clips(folder) == EVERY - {"sample_0001"}
    assert not is_running(int((tmp_path / "scratch/child").read_text()))


OWNER = """
import os, sys
from pathlib import Path
from javisbench.baselines.subprocess_guard import Program, ProgramLog
child = "import os, sys, time; os.fork(); print(os.getpid(), file=open(sys.argv[1], 'a'), flush=True); time.sleep(600)"
Program([sys.executable, "-c", child, sys.argv[1]], os.environ, ProgramLog(Path(os.devnull)), talks=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_javisbench_leaves_no_program_behind(tmp_path: Path, sign: signal.Signals) -> None:
    pids = tmp_path / "pids"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(pids)], stdin=subprocess.PIPE, env=environment)
    assert owner.stdin is not None
    begun = time.monotonic()
    while not pids.exists() or len(pids.read_text().split()) < 2:
        assert owner.poll() is None
        assert time.monotonic() - begun < 60
        time.sleep(0.01)
    owner.send_signal(sign)
    owner.wait()
    owner.stdin.close()
    programs = [int(pid) for pid in pids.read_text().split()]
    deadline = time.monotonic() + 60
    while any(is_running(pid) for pid in programs) and time.monotonic() < deadline:
        time.sleep(0.01)
    left = [pid for pid in programs if is_running(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_interrupt_does_not_wait_for_the_clip_at_hand(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange, finish = subprocess_guard.Program.exchange, []

    def interrupted(self: subprocess_guard.Program, *given: Any) -> Any:
        yield next(exchange(self, *given))
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess_guard.Program, "exchange", interrupted)
    monkeypatch.setattr(subprocess_guard.Program, "finish", lambda self: finish.append(self))
    with pytest.raises(KeyboardInterrupt):
        run("well", batch="3")
    assert finish == [], "it was given ten seconds to end by itself"


def test_answers_out_of_order_belong_to_their_requests(run: Run) -> None:
    folder, failures = run("backwards", batch="3")
    assert failures == []
    assert clips(folder) == EVERY


def test_a_second_answer_counts_for_nothing_and_is_logged(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    folder, failures = run("twice", batch="3")
    assert failures == []
    assert clips(folder) == EVERY
    assert "answered or never asked" in caplog.text


def test_floods_neither_block_nor_fill_the_disk(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess_guard, "LOG_BYTES", 200_000)
    folder, failures = run("flood")
    assert failures == []
    assert clips(folder) == EVERY
    assert 0 < (folder / "command.log").stat().st_size < 400_000
    assert (folder / "command.log").read_text().count("it is not kept") == 1


def test_secrets_are_recorded_nowhere(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "sk-3141592653589793")
    _, failures = run("leak")
    assert failures[0]["message"] == "401 for <MY_API_KEY>"
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(written) > 2
    assert not any(b"sk-3141592653589793" in path.read_bytes() for path in written)


def test_a_program_that_does_not_exist_stops_at_once(suite: Suite, tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match="does not exist"):
        javisbench.generate("command:./no_such_program", suite=suite, out=tmp_path / "run")
    (tmp_path / "plain.sh").write_text("#!/bin/sh\n")
    with pytest.raises(GenerationError, match="chmod"):
        javisbench.generate(f"command:{tmp_path}/plain.sh", suite=suite, out=tmp_path / "run")


def test_no_shell_reads_the_command(suite: Suite, tmp_path: Path) -> None:
    marker = tmp_path / "made-by-a-shell"
    javisbench.generate(f"command:echo hi ; touch {marker} {{out}}", suite=suite, out=tmp_path / "run")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"timeout": "3"}, "timeout_s"),
        ({"timeout_s": "soon"}, "above 0"),
        ({"batch": "0"}, "above 0"),
        ({"unconditional": "perhaps"}, "true or false"),
    ],
)
def test_bad_parameters_are_named(params: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        ExternalCommand("true", params)


def test_bad_commands_are_named() -> None:
    with pytest.raises(UsageError, match="which program"):
        ExternalCommand(None)
    with pytest.raises(UsageError, match="split"):
        ExternalCommand('x "unfinished')


def test_programs_without_prompts_fit_suites_without_prompts(suite: Suite) -> None:
    from javisbench.run.generate import check_suite

    unconditional = ExternalCommand("true", {"unconditional": "true"})
    check_suite(unconditional, replace(suite, unconditional=True))
    with pytest.raises(GenerationError, match="unconditional"):
        check_suite(unconditional, suite)
    with pytest.raises(GenerationError, match="needs prompts"):
        check_suite(ExternalCommand("true"), replace(suite, unconditional=True))


BATCH = """
import json, shutil, sys, time
how, ready, requests, out = sys.argv[1:5]
for line in open(requests):
    request = json.loads(line)
    assert request["output"] == out + "/" + request["id"]
    if request["id"] == "sample_0001":
        if how == "leaves-out": continue
        if how == "fails": sys.exit("cannot do more")
        if how == "hangs": time.sleep(600)
    shutil.copy(ready, request["output"] + ".mp4")
"""


@pytest.fixture
def run_batch(tmp_path: Path, ready: Path, suite: Suite) -> Run:
    """Run a program that is started once a batch."""
    (tmp_path / "batch.py").write_text(BATCH)

    def go(how: str, **params: str) -> tuple[Path, list[dict[str, Any]]]:
        words = [sys.executable, str(tmp_path / "batch.py"), how, str(ready), "{requests}", "{out}"]
        given = {"timeout_s": "10", "start_timeout_s": "30", **params}
        folder = javisbench.generate(f"command:{shlex.join(words)}", suite=suite, params=given, out=tmp_path / "run")
        return folder, read_jsonl(folder / "failures.jsonl")

    return go


@pytest.mark.parametrize(("how", "kinds"), [("well", []), ("leaves-out", ["no_answer"]), ("fails", ["crash"])])
def test_batches_of_files_are_matched_by_id(run_batch: Run, how: str, kinds: list[str]) -> None:
    folder, failures = run_batch(how)
    assert [row["kind"] for row in failures] == kinds
    assert clips(folder) == (EVERY - {"sample_0001"} if kinds else EVERY)
    if how == "fails":
        assert "cannot do more" in failures[0]["message"]


def test_a_hanging_batch_is_made_one_by_one(run_batch: Run) -> None:
    folder, failures = run_batch("hangs", timeout_s="1", start_timeout_s="1")
    assert [(row["sample_id"], row["kind"]) for row in failures] == [("sample_0001", "timeout")]
    assert clips(folder) == EVERY - {"sample_0001"}


def test_the_python_example_runs(suite: Suite, tmp_path: Path) -> None:
    command = shlex.join([sys.executable, str(EXAMPLES / "minimal_adapter.py")])
    folder = javisbench.generate(f"command:{command}", suite=suite, out=tmp_path / "run")
    assert read_jsonl(folder / "failures.jsonl") == []
    clip = read_clip(folder / "clips/sample_0002.mp4")
    assert clip.frames.shape == (4, 24, 32, 3)
    assert clip.audio is not None
    assert np.abs(clip.audio).max() > 0.05


def test_the_bash_example_runs(suite: Suite, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The model: a program with options of its own, which here copies a ready clip.
    model = tmp_path / "model"
    model.write_text(
        f"#!{sys.executable}\nimport json, shutil, sys\n"
        f"shutil.copy({str(ready)!r}, sys.argv[sys.argv.index('--out') + 1])\n"
        f"print(json.dumps(sys.argv[1:]), file=open({str(tmp_path / 'calls')!r}, 'a'))\n"
    )
    model.chmod(0o755)
    monkeypatch.setenv("MODEL", str(model))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    command = shlex.join([str(EXAMPLES / "minimal_adapter.sh"), "{requests}", "{out}"])
    folder = javisbench.generate(f"command:{command}", suite=suite, out=tmp_path / "run")
    assert read_jsonl(folder / "failures.jsonl") == []
    assert clips(folder) == EVERY
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert [call[1] for call in calls] == ["a cat", 'a "dog", barking', "rain"]
    assert calls[0][4:8] == ["--size", "32x24", "--seconds", "0.5"]


def test_conform_exact_brings_clips_to_the_setting(run: Run, suite: Suite, tmp_path: Path, ready: Path) -> None:
    command = shlex.join([sys.executable, str(tmp_path / "program.py"), "well", str(ready), str(tmp_path / "scratch")])
    larger = replace(suite, setting=replace(TINY, width=48, duration_s=1.0))
    folder = javisbench.generate(
        f"command:{command}", suite=larger, settings=GenerateSettings(conform="exact"), out=tmp_path / "exact"
    )
    clip = read_clip(folder / "clips/sample_0000.mp4")
    assert clip.frames.shape == (8, 24, 48, 3)
    differs = read_json(folder / "clips/sample_0000.json")["info"]["differs"]
    # An encoded sound is padded to whole packets.
    assert differs == ["width 48 -> 32", "frames 8 -> 4", "sound 1 s -> 0.512 s"]


# Clips that are not what was asked: 32x24 pixels, 4 frames at 8 fps, with half a second of sound.
NOT_AS_ASKED = {
    "no_sound": Clip(np.zeros((4, 24, 32, 3), np.uint8), Fraction(8), None, None),
    "silent": Clip(np.zeros((4, 24, 32, 3), np.uint8), Fraction(8), np.zeros((1, 4000), np.float32), 8000),
    "too_short": Clip(np.zeros((2, 24, 32, 3), np.uint8), Fraction(8), np.ones((1, 2000), np.float32), 8000),
    "wrong_size": Clip(np.zeros((4, 48, 64, 3), np.uint8), Fraction(8), np.ones((1, 4000), np.float32), 8000),
}
COPIES = """
import json, shutil, sys
from pathlib import Path
for line in sys.stdin:
    request = json.loads(line)
    source = Path(sys.argv[1], request["prompt"])
    for suffix in (".mp4", ".wav"):
        if source.with_suffix(suffix).exists():
            shutil.copy(source.with_suffix(suffix), request["output"] + suffix)
    print(json.dumps({"id": request["id"], "status": "ok"}), flush=True)
"""


class Said(Silent):
    """What a user is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_clips_that_are_not_as_asked_are_told_or_with_exact_refused(tmp_path: Path, ready: Path) -> None:
    shutil.copy(ready, tmp_path / "good.mp4")
    for name, clip in NOT_AS_ASKED.items():
        write_clip(clip, tmp_path / f"{name}.mp4", tmp_path / f"{name}.wav")
    (tmp_path / "s.csv").write_text("\n".join(["text", "good", *NOT_AS_ASKED, "missing"]))
    suite = replace(load_suite(str(tmp_path / "s.csv")), setting=TINY)
    (tmp_path / "copies.py").write_text(COPIES)
    model = f"command:{shlex.join([sys.executable, str(tmp_path / 'copies.py'), str(tmp_path)])}"
    settings, said = GenerateSettings(max_failures=9), Said()
    kept = javisbench.generate(model, suite=suite, out=tmp_path / "kept", settings=settings, progress=said)
    assert [(r["sample_id"], r["kind"]) for r in read_jsonl(kept / "failures.jsonl")] == [("sample_0005", "no_file")]
    assert said.lines[-3:] == [
        "Clips: 5 made, 0 there already, 1 failed",
        f"  1 x no_file: {read_jsonl(kept / 'failures.jsonl')[0]['message']}",
        "  4 are not quite as asked (by sample in not_as_asked.jsonl): 1 x sound -> none; 1 x sound -> silence; 1 x "
        "frames 4 -> 2; and others",
    ]
    told = [read_json(kept / f"clips/sample_000{n}.json")["info"]["differs"] for n in range(5)]
    assert told == [
        [],
        ["sound -> none"],
        ["sound -> silence"],
        ["frames 4 -> 2", "sound 0.5 s -> 0.25 s"],
        ["width 32 -> 64", "height 24 -> 48"],
    ]
    listed = [{"sample_id": f"sample_000{n}", "repeat": 0, "differs": told[n]} for n in range(1, 5)]
    assert read_jsonl(kept / "not_as_asked.jsonl") == listed
    javisbench.score(kept, suite=suite, metrics=["health_silence"])
    notes = run_table(load_result(kept)).notes
    assert "4 clips were not made as asked; not_as_asked.jsonl in the run folder says how." in notes
    assert not {row["sample_id"] for row in read_jsonl(kept / "failures.jsonl")} & {"sample_0003", "sample_0004"}
    exact = javisbench.generate(
        model, suite=suite.limited(5), params={"exact": "true"}, out=tmp_path / "exact", settings=GenerateSettings()
    )
    rows = read_jsonl(exact / "failures.jsonl")
    assert [(row["sample_id"], row["kind"]) for row in rows] == [
        ("sample_0001", "no_sound"),
        ("sample_0002", "silent"),
        ("sample_0003", "shape"),
        ("sample_0004", "shape"),
    ]
    assert rows[2]["message"] == "Not as asked: frames 4 -> 2; sound 0.5 s -> 0.25 s."
    assert clips(exact) == {"sample_0000"}
    # A clip that is made again leaves no line behind, and a job with nothing to make lists what is there.
    write_clip(read_clip(ready), tmp_path / "silent.mp4", tmp_path / "silent.wav")
    (kept / "clips/sample_0002.json").unlink()
    for again in (suite, suite.limited(5)):
        (kept / "not_as_asked.jsonl").unlink()
        javisbench.generate(model, suite=again, out=kept, settings=settings)
        assert read_jsonl(kept / "not_as_asked.jsonl") == [listed[0], *listed[2:]]


def test_a_program_may_be_asked_with_its_arguments_once_a_clip(tmp_path: Path, ready: Path) -> None:
    (tmp_path / "ask.py").write_text(
        "import json, shutil, sys\n"
        "prompt, seed, size, output = sys.argv[1:]\n"
        "if prompt == 'bad':\n    sys.exit('no luck')\n"
        "if prompt != 'nothing':\n    shutil.copy(sys.argv[0] + '.mp4', output)\n"
        f"open({str(tmp_path / 'asked')!r}, 'a').write(json.dumps([prompt, int(seed) > 0, size]) + chr(10))\n"
    )
    shutil.copy(ready, tmp_path / "ask.py.mp4")
    prompts = ["{seed} $(reboot) 'quoted'", "bad", "--nothing", "nothing"]
    rows = [{"text": prompt} for prompt in prompts]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite = replace(load_suite(str(tmp_path / "s.jsonl")), setting=TINY)
    words = [sys.executable, str(tmp_path / "ask.py"), "{prompt}", "{seed}", "{width}x{height}", "{output}.mp4"]
    model = f"command:{shlex.join(words)}"
    folder = javisbench.generate(model, suite=suite, out=tmp_path / "run")
    failures = [(row["sample_id"], row["kind"]) for row in read_jsonl(folder / "failures.jsonl")]
    assert failures == [("sample_0001", "crash"), ("sample_0003", "no_answer")]
    assert clips(folder) == {"sample_0000", "sample_0002"}
    asked = [json.loads(line) for line in (tmp_path / "asked").read_text().splitlines()]
    # A clip that failed is tried once more.
    assert asked == [[prompt, True, "32x24"] for prompt in (prompts[0], *prompts[2:], prompts[3])]
    given = f"command:{shlex.join([*words, '{image}'])}"
    folder = javisbench.generate(given, suite=suite.limited(1), out=tmp_path / "given")
    (row,) = read_jsonl(folder / "failures.jsonl")
    assert (row["kind"], "{image}" in row["message"]) == ("no_condition", True)
