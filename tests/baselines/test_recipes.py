"""The recipes of examples/generators, against stand-ins that take and give what the models do."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import javisbench
from javisbench.clip import Clip
from javisbench.durable import read_json, read_jsonl
from javisbench.media import read_clip, write_clip
from javisbench.suite import Suite

RECIPES = Path(__file__).parents[2] / "examples" / "generators"
ADDED = ("tempotokens", "seeing_and_hearing", "foleycrafter", "rewas", "ovi", "http_api", "output_folder")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished clip, as models would write it: 4 frames of 64x48 pixels, grey 90, with half a second of sound."""
    path = tmp_path_factory.mktemp("ready") / "ready.mp4"
    audio = (0.1 * np.sin(np.arange(4000) / 9)).astype(np.float32)[None]
    write_clip(Clip(np.full((4, 48, 64, 3), 90, np.uint8), Fraction(8), audio, 8000), path)
    return path


def command(recipe: str, *words: str) -> str:
    return f"command:{shlex.join([sys.executable, str(RECIPES / f'{recipe}.py'), *words])}"


def run(model: str, suite: Suite, out: Path, prefix: str = "") -> list[Clip]:
    params = {f"{prefix}timeout_s": "60", f"{prefix}start_timeout_s": "60"}
    folder = javisbench.generate(model, suite=suite, params=params, out=out)
    assert read_jsonl(folder / "failures.jsonl") == []
    return [read_clip(folder / f"clips/sample_{number:04d}.mp4") for number in range(len(suite))]


def levels(clips: list[Clip]) -> list[int]:
    """Each sound's value in 1/1000; the stand-ins write one constant a clip."""
    found = []
    for clip in clips:
        assert clip.audio is not None
        assert np.ptp(clip.audio) < 1e-4
        found.append(round(1000 * float(clip.audio.mean())))
    return found


# Writes a sound whose constant is the length of its prompt.
SOUND = """
import wave
def write_sound(path, prompt, seconds=0.5):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(round(len(prompt) * 32.768).to_bytes(2, "little") * int(seconds * 16000))
"""


@pytest.mark.parametrize("name", ADDED)
def test_recipes_are_short(name: str) -> None:
    assert len((RECIPES / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 80


def test_foleycrafter(tiny_suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inference.py").write_text(
        SOUND
        + """
from pathlib import Path
def build_models(config):
    print("loading, on the standard output")
    return "pipe", "vocoder", "detector"
def run_inference(config, pipe, vocoder, time_detector):
    assert (pipe, vocoder, time_detector) == ("pipe", "vocoder", "detector") and config.nprompt == ""
    assert 0 <= config.seed < 2**32
    (video,) = Path(config.input).glob("*.mp4")
    out = Path(config.save_dir, "audio")
    out.mkdir(parents=True)
    write_sound(out / f"{video.stem}.wav", config.prompt)
"""
    )
    monkeypatch.setenv("FOLEYCRAFTER", str(tmp_path))
    clips = run(f"cascade:t2v=procedural,v2a={command('foleycrafter')}", tiny_suite, tmp_path / "run", "v2a.")
    assert levels(clips) == [len("a meow"), len("a dog")]


def test_rewas(tiny_suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test.py").write_text(
        SOUND
        + """
import argparse, json
from pathlib import Path
parser = argparse.ArgumentParser()
for name in ("--control_type", "--testlist", "--save_path"):
    parser.add_argument(name)
parser.add_argument("--seed", type=int)
parser.add_argument("--duration", type=float)
parser.add_argument("--re_encode", action="store_true")
args = parser.parse_args()
for entry in map(json.loads, open(args.testlist, "rb")):
    assert Path(entry["video_name"]).stat().st_size > 0 and args.control_type == "energy_video"
    Path(args.save_path, "sub").mkdir(parents=True)
    write_sound(Path(args.save_path, "sub", "any name.wav"), entry["prompt"], args.duration)
"""
    )
    monkeypatch.setenv("REWAS", str(tmp_path))
    clips = run(f"cascade:t2v=procedural,v2a={command('rewas')}", tiny_suite, tmp_path / "run", "v2a.")
    assert levels(clips) == [len("a meow"), len("a dog")]
    assert clips[0].audio_duration_s == pytest.approx(0.5)


def test_seeing_and_hearing(tiny_suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "v2a").mkdir()
    (tmp_path / "v2a/video2audio.py").write_text(
        SOUND
        + """
import argparse
from glob import glob
from pathlib import Path
parser = argparse.ArgumentParser()
for name in ("--eval_set_root", "--out_root", "--prompt_root"):
    parser.add_argument(name)
parser.add_argument("--seed", type=int, default=30)
args = parser.parse_args()
config_seed_dict = {"theirs": 30}
for video in glob(f"{args.eval_set_root}/*.mp4"):
    video_name = Path(video).stem
    seed = config_seed_dict[video_name]
    prompt = open(f"{args.prompt_root}/{video_name}_0.txt").readline().strip()
    out = Path(f"{args.out_root}_inf_steps30_lr0.1", Path(args.eval_set_root).name)
    out.mkdir(parents=True)
    write_sound(out / f"name_{video_name}_seed{seed}.wav", prompt)
"""
    )
    monkeypatch.setenv("SEEING_AND_HEARING", str(tmp_path))
    clips = run(f"cascade:t2v=procedural,v2a={command('seeing_and_hearing')}", tiny_suite, tmp_path / "run", "v2a.")
    assert levels(clips) == [len("a meow"), len("a dog")]


def test_tempotokens(tiny_suite: Suite, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inference.py").write_text(
        f"""
import argparse, os, random, shutil
from pathlib import Path
parser = argparse.ArgumentParser()
for name in ("--mapper_weights", "--audio_path", "--output_dir"):
    parser.add_argument(name)
args = parser.parse_args()
assert args.output_dir.startswith("./") and Path(args.audio_path).stat().st_size > 1000
out = Path(args.output_dir, "cerspense/zeroscope_v2_576w")
out.mkdir(parents=True)
shutil.copy({str(ready)!r}, out / f"{{Path(args.audio_path).stem}}_c.mp4")
print(random.random(), file=open("noise", "a"))
"""
    )
    monkeypatch.setenv("TEMPOTOKENS", str(tmp_path))
    model = f"cascade:t2a=procedural,a2v={command('tempotokens')}"
    for name in ("one", "two"):
        clips = run(model, tiny_suite.limited(1), tmp_path / name, "a2v.")
    assert clips[0].frames.shape == (4, 48, 64, 3)
    assert clips[0].frames.mean() == pytest.approx(90, abs=2)
    first, second = (tmp_path / "noise").read_text().split()
    assert first == second
    assert [path.name for path in tmp_path.glob("tmp*")] == []


def test_ovi(tiny_suite: Suite, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {
        "omegaconf.py": """
import json
class OmegaConf:
    load = staticmethod(lambda path: json.load(open(path)))
""",
        "ovi/distributed_comms/parallel_states.py": "initialize_sequence_parallel_state = print",
        "ovi/ovi_fusion_engine.py": """
class OviFusionEngine:
    def __init__(self, config, device, target_dtype):
        assert str(target_dtype) == "torch.bfloat16"
    def generate(self, text_prompt, image_path, video_frame_height_width, seed, **settings):
        assert image_path is None and video_frame_height_width == [512, 992] and settings["sample_steps"] == 7
        return text_prompt, seed, None
""",
        "ovi/utils/io_utils.py": f"""
import shutil
def save_video(path, video, audio, fps, sample_rate):
    assert (fps, sample_rate) == (24, 16000)
    shutil.copy({str(ready)!r}, path)
""",
        "ovi/configs/inference/inference_fusion.yaml": json.dumps(
            {"video_frame_height_width": [512, 992], "sample_steps": 7}
        ),
    }
    for name, text in modules.items():
        (tmp_path / "ovi-checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ovi-checkout" / name).write_text(text)
    monkeypatch.setenv("OVI", str(tmp_path / "ovi-checkout"))
    clips = run(command("ovi"), tiny_suite, tmp_path / "run")
    assert clips[0].frames.shape == (4, 48, 64, 3)
    prompts = [read_json(tmp_path / f"run/clips/sample_000{n}.json")["info"]["program"]["prompt"] for n in (0, 1)]
    assert prompts == ["a cat in grass <AUDCAP>a meow<ENDAUDCAP>", "a dog"]


@pytest.fixture
def server(ready: Path) -> Iterator[ThreadingHTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers["Authorization"] != "Bearer sk-0123456789":
                self.send_error(401)
            elif asked["prompt"] == "a cat":
                self.answer("video/mp4", ready.read_bytes())
            else:
                address = f"http://localhost:{server.server_port}/made.mp4"
                self.answer("application/json", json.dumps({"url": address}).encode())

        def do_GET(self) -> None:
            self.server.keys_seen.append(self.headers["Authorization"])  # type: ignore[attr-defined]
            self.answer("video/mp4", ready.read_bytes())

        def answer(self, kind: str, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("localhost", 0), Handler)
    server.keys_seen = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_http_api(
    server: ThreadingHTTPServer, tiny_suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_URL", f"http://localhost:{server.server_port}/v1")
    monkeypatch.setenv("MY_API_KEY", "sk-0123456789")
    clips = run(command("http_api"), tiny_suite, tmp_path / "run")
    assert [clip.frames.shape for clip in clips] == [(4, 48, 64, 3)] * 2
    # The address of the finished clip may be anybody's.
    assert server.keys_seen == [None]  # type: ignore[attr-defined]

    monkeypatch.setenv("MY_API_KEY", "sk-wrong-9876543210")
    folder = javisbench.generate(command("http_api"), suite=tiny_suite, out=tmp_path / "refused")
    rows = read_jsonl(folder / "failures.jsonl")
    assert [row["kind"] for row in rows] == ["http_401", "http_401"]
    assert not any(b"9876543210" in path.read_bytes() for path in folder.rglob("*") if path.is_file())

    monkeypatch.setenv("MY_API_URL", "http://example.org/v1")
    folder = javisbench.generate(command("http_api"), suite=tiny_suite.limited(1), out=tmp_path / "plain")
    assert "no https address" in read_jsonl(folder / "failures.jsonl")[0]["message"]


def test_output_folder(ready: Path, tiny_suite: Suite, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(ready, outputs / name)
    shutil.copy(ready.with_suffix(".wav"), outputs / "b.wav")
    entries = [
        {"request_id": "r1", "prompt": "a cat", "video": "a.mp4"},
        {"request_id": "sample_0001", "prompt": "another", "video": "b.mp4", "audio": "b.wav"},
    ]
    (outputs / "index.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    clips = run(command("output_folder", str(outputs)), tiny_suite, tmp_path / "run")
    assert [clip.frames.shape for clip in clips] == [(4, 48, 64, 3)] * 2
    assert (tmp_path / "run/clips/sample_0001.wav").read_bytes() == (outputs / "b.wav").read_bytes()

    (outputs / "index.jsonl").write_text(json.dumps({"prompt": "a cat", "video": "../../etc/passwd"}))
    folder = javisbench.generate(command("output_folder", str(outputs)), suite=tiny_suite, out=tmp_path / "bad")
    rows = read_jsonl(folder / "failures.jsonl")
    assert [row["kind"] for row in rows] == ["no_clip", "no_clip"]
    assert "outside" in rows[0]["message"]
