"""The recipes of baselines/recipes and examples/generators, against stand-ins that take and give what the models do."""

from __future__ import annotations

import ast
import json
import shlex
import shutil
import subprocess
import sys
import threading
import wave
from collections.abc import Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import javisbench
from javisbench.baselines.checkout import RECIPES, Checkout
from javisbench.baselines.registry import create_generator
from javisbench.clip import Clip
from javisbench.durable import read_json, read_jsonl
from javisbench.errors import GenerationError, UsageError
from javisbench.media import read_clip, write_clip
from javisbench.run.generate import GenerateSettings
from javisbench.suite import Suite
from javisbench.weights import WeightStore

EXAMPLES = Path(__file__).parents[2] / "examples" / "generators"


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished clip, as models would write it: 4 frames of 64x48 pixels, grey 90, with half a second of sound."""
    path = tmp_path_factory.mktemp("ready") / "ready.mp4"
    audio = (0.1 * np.sin(np.arange(4000) / 9)).astype(np.float32)[None]
    write_clip(Clip(np.full((4, 48, 64, 3), 90, np.uint8), Fraction(8), audio, 8000), path)
    return path


def command(recipe: str, *words: str) -> str:
    return f"command:{shlex.join([sys.executable, str(EXAMPLES / f'{recipe}.py'), *words])}"


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


# A stand-in of torch for stand-ins of checkouts: what recipes ask of it, and a note of every seed.
TORCH = """
import sys
bfloat16, float32 = "torch.bfloat16", "torch.float32"
def note(what):
    print(what, file=open("noted", "a"))
def manual_seed(seed):
    note(f"seed {seed}")
class cuda:
    is_available = staticmethod(lambda: False)
class Generator:
    def __init__(self, device="cpu"):
        pass
    def manual_seed(self, seed):
        self.seed = seed
        return self
def device(name):
    return name
def load(path, map_location, weights_only):
    assert weights_only
    return open(path).read()
class inference_mode:
    def __enter__(self): pass
    def __exit__(self, *error): pass
"""
# Writes a sound whose constant is the length of its prompt, and says when it was loaded.
SOUND = """
import wave
print("loaded", file=open("noted", "a"))
def write_sound(path, prompt, seconds=0.5):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(round(len(prompt) * 32.768).to_bytes(2, "little") * int(seconds * 16000))
"""
TENSOR = """
import numpy as np
class Tensor:
    def __init__(self, value): self.value = np.asarray(value, np.float32)
    def __getitem__(self, place): return Tensor(self.value[place])
    def __getattr__(self, name): return lambda *words, **given: self
    def numpy(self): return self.value
"""


def checkout(folder: Path, modules: dict[str, str]) -> Path:
    """A stand-in of a checkout, with a stand-in of torch."""
    for name, text in {"torch/__init__.py": TORCH, **modules}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def request(folder: Path, number: int, **given: str) -> dict[str, Any]:
    prompt = ("a meow", "a dog barks")[number]
    common = {"seed": 2**40 + number, "duration_s": 0.5, "fps": 8.0, "width": 64, "height": 48}
    output = str(folder / f"out{number}")
    return {"id": f"s{number}", "prompt": prompt, "prompts": {"text": prompt}, "output": output, **common} | (
        {"condition": given} if given else {}
    )


def drive(card: str, repo: Path, requests: list[dict[str, Any]], **params: str) -> list[dict[str, Any]]:
    """The recipe's answers; its program is started once, as javisbench starts it."""
    model = create_generator(card if card != "mmaudio" else "checkout:mmaudio", {"repo": str(repo), **params})
    model.load("cpu", "auto", WeightStore())
    assert isinstance(model, Checkout)
    lines = "".join(json.dumps(asked) + "\n" for asked in requests)
    done = subprocess.run(model._argv, input=lines, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def sound_levels(folder: Path) -> list[int]:
    """The value of each sound, in 1/1000."""
    found = []
    for path in sorted(folder.glob("out*.wav")):
        with wave.open(str(path)) as file:
            found.append(round(1000 * int(np.frombuffer(file.readframes(1), np.int16)[0]) / 32768))
    return found


def noted(repo: Path, what: str) -> int:
    return (repo / "noted").read_text().split().count(what)


@pytest.fixture
def film(ready: Path, tmp_path: Path) -> str:
    return str(shutil.copy(ready, tmp_path / "film.mp4"))


@pytest.fixture
def still(tmp_path: Path) -> str:
    from PIL import Image

    Image.new("RGB", (32, 24)).save(tmp_path / "still.png")
    return str(tmp_path / "still.png")


OK = ["ok", "ok"]


def told(answers: list[dict[str, Any]]) -> list[str]:
    return [answer["status"] for answer in answers]


FOLEYCRAFTER = (
    SOUND
    + """
from pathlib import Path
class CLIPVisionModelWithProjection:
    @classmethod
    def from_pretrained(cls, name, subfolder):
        print("encoder", file=open("noted", "a"))
def build_models(config):
    print("building, on the standard output")
    print("built", file=open("noted", "a"))
    assert (config.temporal_scale, config.semantic_scale, config.ckpt) == (0.2, 1.0, "checkpoints/")
    return "pipe", "vocoder", "detector"
def run_inference(config, pipe, vocoder, time_detector):
    CLIPVisionModelWithProjection.from_pretrained("h94/IP-Adapter", subfolder="models/image_encoder")
    assert (pipe, vocoder, time_detector) == ("pipe", "vocoder", "detector") and config.nprompt == ""
    assert 0 <= config.seed < 2**32
    (video,) = Path(config.input).glob("*.mp4")
    if config.prompt == "ends itself":
        raise SystemExit("no more")
    out = Path(config.save_dir, "audio")
    out.mkdir(parents=True)
    write_sound(out / f"{video.stem}.wav", config.prompt)
"""
)


def test_foleycrafter_serves_a_suite_and_a_cascade_from_one_process_each(
    tiny_suite: Suite, ready: Path, tmp_path: Path
) -> None:
    repo = checkout(tmp_path / "repo", {"inference.py": FOLEYCRAFTER, "foleycrafter/__init__.py": ""})
    params = {"repo": str(repo), "timeout_s": "60", "start_timeout_s": "60"}
    shutil.copy(ready, tmp_path / "given.mp4")
    rows = "".join(f"{text},given.mp4\n" for text in ("a meow", "a dog", "ends itself"))
    (tmp_path / "v2a.csv").write_text("text,video\n" + rows)
    (tmp_path / "suite.toml").write_text('task = "v2a"\n')
    folder = javisbench.generate("foleycrafter", suite=str(tmp_path / "v2a.csv"), params=params, out=tmp_path / "run")
    rows_of = read_jsonl(folder / "failures.jsonl")
    assert [(row["sample_id"], row["kind"], row["message"]) for row in rows_of] == [
        ("sample_0002", "exception", "SystemExit: no more")
    ]
    facts = read_json(folder / "clips/sample_0000.json")
    assert facts["model"]["card"] == "foleycrafter"
    assert set(facts["weights"]) == {"recipe", "code"}
    assert [noted(repo, word) for word in ("loaded", "built", "encoder")] == [1, 1, 1]
    model = "cascade:t2v=procedural,v2a=foleycrafter"
    in_cascade = {f"v2a.{name}": value for name, value in params.items()}
    one = GenerateSettings(batch=1)
    folder = javisbench.generate(model, suite=tiny_suite, params=in_cascade, out=tmp_path / "cascade", settings=one)
    clips = [read_clip(folder / f"clips/sample_{number:04d}.mp4") for number in range(2)]
    assert levels(clips) == [len("a meow"), len("a dog")]
    # Once more for both batches of the cascade.
    assert noted(repo, "built") == 2


def test_rewas_builds_its_models_once_for_all_seeds(film: str, tmp_path: Path) -> None:
    script = (
        SOUND
        + """
import json, os
from pathlib import Path
def build_control_model(ckpt_path, control_type, config, model_name):
    print("control", file=open("noted", "a"))
    return "control"
def get_pretrained(name, device):
    print("encoder", file=open("noted", "a"))
    return "encoder"
def main(args):
    assert build_control_model(ckpt_path=args.ckpt_path, control_type=args.control_type, config=args.config,
                               model_name=args.model_name) == "control"
    assert get_pretrained(args.synchformer_exp, 0) == "encoder"
    assert (args.ddim_steps, args.guidance_scale, args.control_type) == (200, 3.0, "energy_video")
    for entry in map(json.loads, open(args.testlist, "rb")):
        assert Path(entry["video_name"]).stat().st_size > 0
        Path(args.save_path, "sub").mkdir(parents=True)
        write_sound(Path(args.save_path, "sub", f"{args.seed}.wav"), entry["prompt"], args.duration)
"""
    )
    repo = checkout(tmp_path / "repo", {"test.py": script, "audioldm/__init__.py": ""})
    assert told(drive("rewas", repo, [request(tmp_path, n, video=film) for n in (0, 1)])) == OK
    assert sound_levels(tmp_path) == [6, 11]
    assert [noted(repo, word) for word in ("loaded", "control", "encoder")] == [1, 1, 1]


def test_seeing_and_hearing_keeps_its_pipeline_and_seeds_every_clip(film: str, tmp_path: Path) -> None:
    pipeline = """
import numpy as np, torch
from types import SimpleNamespace
class AudioLDMPipeline:
    @classmethod
    def from_pretrained(cls, place, unet):
        assert (place, unet) == ("ckpt/audioldm-m-full", "unet")
        torch.note("pipeline")
        return cls()
    def to(self, device):
        assert device == "cuda"
        return self
    def only_prepare_latents(self, prompt, audio_length_in_s, generator):
        return ("latents", prompt, audio_length_in_s, generator.seed)
    def bind_forward_double_loss(self, prompt, latents, num_inference_steps, audio_length_in_s, generator, video_paths,
                                 learning_rate, clip_duration, clips_per_video, num_optimization_steps):
        assert latents == ("latents", prompt, audio_length_in_s, generator.seed) and len(video_paths) == 1
        assert (num_inference_steps, learning_rate, clip_duration, num_optimization_steps) == (30, 0.1, 1, 1)
        assert clips_per_video == audio_length_in_s == 1 and generator.seed < 2**32
        return SimpleNamespace(audios=[np.full(16000, len(prompt) / 1000)])
"""
    unet = """
class UNet2DConditionModel:
    @classmethod
    def from_pretrained(cls, place, subfolder):
        return cls()
    def to(self, device):
        return "unet"
"""
    modules = {"audioldm/models/unet.py": unet, "audioldm/pipelines/pipeline_audioldm.py": pipeline}
    repo = checkout(tmp_path / "v2a", {"video2audio.py": "", **modules})
    assert told(drive("seeing-and-hearing", repo, [request(tmp_path, n, video=film) for n in (0, 1)])) == OK
    assert sound_levels(tmp_path) == [6, 11]
    assert noted(repo, "pipeline") == 1
    assert [noted(repo, str((2**40 + n) % 2**32)) for n in (0, 1)] == [1, 1]


def test_tempotokens_runs_its_script_anew_and_loads_once(ready: Path, tmp_path: Path) -> None:
    script = f"""
import argparse, random, shutil
from pathlib import Path
from train import load_primary_models
parser = argparse.ArgumentParser()
for name in ("--mapper_weights", "--audio_path", "--output_dir"):
    parser.add_argument(name)
args = parser.parse_args()
tokenizer, network = load_primary_models("zeroscope")
# As the original: a word that is there already is an error.
if "<temp>" in tokenizer.words:
    raise ValueError("The tokenizer already contains the token")
tokenizer.words.append("<temp>")
assert args.output_dir.startswith("./") and Path(args.audio_path).stat().st_size > 1000
out = Path(args.output_dir, "cerspense/zeroscope_v2_576w")
out.mkdir(parents=True)
shutil.copy({str(ready)!r}, out / f"{{Path(args.audio_path).stem}}_c.mp4")
print(random.random(), file=open("noise", "a"))
"""
    train = """
import torch
class Tokenizer:
    def __init__(self): self.words = []
def load_primary_models(name):
    torch.note("networks")
    return Tokenizer(), "network"
"""
    modules = {"inference.py": script, "train.py": train, "modules/__init__.py": "", "torch/torch.txt": ""}
    repo = checkout(tmp_path / "repo", modules)
    sound = str(ready.with_suffix(".wav"))
    asked = [request(tmp_path, 0, audio=sound), request(tmp_path, 1, audio=sound), request(tmp_path, 0, audio=sound)]
    assert told(drive("tempotokens", repo, asked)) == ["ok", "ok", "ok"]
    assert noted(repo, "networks") == 1
    first, second, again = (repo / "noise").read_text().split()
    assert first == again != second
    assert (tmp_path / "out1.mp4").read_bytes() == ready.read_bytes()
    assert [path.name for path in repo.glob("tmp*")] == []


def test_ovi(tiny_suite: Suite, ready: Path, still: str, tmp_path: Path) -> None:
    modules = {
        "omegaconf.py": """
import json
class OmegaConf:
    load = staticmethod(lambda path: json.load(open(path)))
""",
        "inference.py": "",
        "ovi/distributed_comms/parallel_states.py": "initialize_sequence_parallel_state = print",
        "ovi/ovi_fusion_engine.py": """
import torch
class OviFusionEngine:
    def __init__(self, config, device, target_dtype):
        assert target_dtype is torch.bfloat16
        torch.note("engine")
    def generate(self, text_prompt, image_path, video_frame_height_width, seed, **settings):
        assert video_frame_height_width == [512, 992] and settings["sample_steps"] == 7
        torch.note(f"image {image_path is not None}")
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
    repo = checkout(tmp_path / "repo", modules)
    params = {"repo": str(repo), "timeout_s": "60", "start_timeout_s": "60"}
    folder = javisbench.generate("ovi", suite=tiny_suite, params=params, out=tmp_path / "run")
    assert read_jsonl(folder / "failures.jsonl") == []
    assert read_clip(folder / "clips/sample_0000.mp4").frames.shape == (4, 48, 64, 3)
    prompts = [read_json(folder / f"clips/sample_000{n}.json")["info"]["program"]["prompt"] for n in (0, 1)]
    assert prompts == ["a cat in grass <AUDCAP>a meow<ENDAUDCAP>", "a dog"]
    assert noted(repo, "engine") == 1
    assert told(drive("ovi", repo, [request(tmp_path, 0, image=still)])) == ["ok"]
    assert [noted(repo, word) for word in ("False", "True")] == [2, 1]


def test_mova(ready: Path, still: str, tmp_path: Path) -> None:
    modules = {
        "torch/distributed.py": "is_initialized = lambda: True\n",
        "mova/utils/data.py": f"""
import shutil
def save_video_with_audio(frames, sound, path, fps, sample_rate, quality):
    assert (frames, fps, sample_rate) == ("frames", 24.0, 48000)
    shutil.copy({str(ready)!r}, path)
""",
        "mova/datasets/transforms/custom.py": """
def crop_and_resize(image, height, width):
    assert image.size == (32, 24)
    return image.resize((width, height))
""",
        "mova/diffusion/pipelines/pipeline_mova.py": TENSOR
        + """
import torch
class MOVA:
    audio_sample_rate = 48000
    @classmethod
    def from_pretrained(cls, place, torch_dtype):
        torch.note("pipeline")
        assert place == "weights"
        return cls()
    def to(self, place):
        assert place == "cpu"
    def __call__(self, prompt, image, seed, height, width, num_frames, num_inference_steps, video_fps, **settings):
        assert image.size == (640, 352) and (num_frames, num_inference_steps, video_fps) == (193, 50, 24.0)
        return ["frames"], [Tensor([0.0])]
""",
    }
    repo = checkout(tmp_path / "repo", modules)
    asked = [request(tmp_path, 0, image=still), request(tmp_path, 1)]
    answers = drive("mova", repo, asked, ckpt="weights")
    assert told(answers) == ["ok", "failed"]
    assert (answers[1]["kind"], answers[1]["retryable"]) == ("no_condition", False)
    assert noted(repo, "pipeline") == 1


def test_davinci_magihuman(ready: Path, tmp_path: Path) -> None:
    modules = {
        "inference/infra.py": "import os\ndef initialize_infra():\n    assert os.environ['WORLD_SIZE'] == '1'\n",
        "inference/common.py": """
import sys
from types import SimpleNamespace
def parse_config():
    assert sys.argv[1:] == ["--config-load-path", "example/distill/config.json"]
    return SimpleNamespace(arch_config="arch", engine_config="engine", evaluation_config="evaluation")
""",
        "inference/model/dit.py": "def get_dit(arch, engine):\n    return (arch, engine)\n",
        "inference/pipeline/__init__.py": f"""
import shutil, torch
class MagiPipeline:
    def __init__(self, model, config):
        torch.note("pipeline")
        assert (model, config) == (("arch", "engine"), "evaluation")
    def run_offline(self, prompt, image, audio, save_path_prefix, seed, seconds, br_width, br_height):
        assert image is None and audio is None and (seconds, br_width, br_height) == (1, 448, 256)
        shutil.copy({str(ready)!r}, save_path_prefix + "_1s_448x256.mp4")
""",
    }
    repo = checkout(tmp_path / "repo", modules)
    assert told(drive("davinci-magihuman", repo, [request(tmp_path, n) for n in (0, 1)])) == OK
    assert noted(repo, "pipeline") == 1


def test_hunyuanvideo_foley(film: str, tmp_path: Path) -> None:
    tools = "hunyuanvideo_foley/utils"
    modules = {
        f"{tools}/model_utils.py": TENSOR
        + """
import torch
def load_model(place, config, device):
    torch.note("model")
    return "parts", "cfg"
def denoise_process(seen, told, seconds, parts, config, guidance_scale, num_inference_steps):
    assert (guidance_scale, num_inference_steps, parts, config) == (4.5, 50, "parts", "cfg")
    return Tensor(np.full((1, 1, 100), told / 1000)), 48000
""",
        f"{tools}/feature_utils.py": """
from pathlib import Path
def feature_process(video, prompt, parts, config):
    assert Path(video).stat().st_size > 0
    return "seen", len(prompt), 0.5
""",
    }
    repo = checkout(tmp_path / "repo", modules)
    assert told(drive("hunyuanvideo-foley", repo, [request(tmp_path, n, video=film) for n in (0, 1)])) == OK
    assert sound_levels(tmp_path) == [6, 11]
    assert noted(repo, "model") == 1


def test_mmaudio_in_an_environment_of_its_own(film: str, tmp_path: Path) -> None:
    modules = {
        "mmaudio/eval_utils.py": TENSOR
        + """
from types import SimpleNamespace
class Lengths:
    duration, sampling_rate = 8.0, 44100
    latent_seq_len = clip_seq_len = sync_seq_len = property(lambda self: round(self.duration * 10))
class Config:
    model_name, model_path, vae_path, synchformer_ckpt, mode, bigvgan_16k_path = "large", "w.pth", "v", "s", "44k", None
    seq_cfg = Lengths()
    def download_if_needed(self):
        open("w.pth", "w").write("weights")
all_model_cfg = {"large_44k_v2": Config()}
def load_video(path, seconds):
    assert path.stat().st_size > 0
    frames = SimpleNamespace(unsqueeze=lambda axis: "frames")
    return SimpleNamespace(duration_sec=seconds, clip_frames=frames, sync_frames=frames)
def generate(clip, sync, texts, negative_text, feature_utils, net, fm, rng, cfg_strength):
    assert (clip, sync, negative_text, cfg_strength, fm, net.lengths) == ("frames", "frames", [""], 4.5, 25, (5, 5, 5))
    assert rng.seed < 2**32
    return Tensor(np.full((1, 1, 100), len(texts[0]) / 1000))
""",
        "mmaudio/model/networks.py": """
import torch
class Network:
    def to(self, device, dtype): return self
    def eval(self): return self
    def load_weights(self, weights):
        assert weights == "weights"
        torch.note("network")
    def update_seq_lengths(self, *lengths): self.lengths = lengths
def get_my_mmaudio(name):
    return Network()
""",
        "mmaudio/model/flow_matching.py": "FlowMatching = lambda min_sigma, inference_mode, num_steps: num_steps\n",
        "mmaudio/model/utils/features_utils.py": """
class FeaturesUtils:
    def __init__(self, **given): assert given["synchformer_ckpt"] == "s"
    def to(self, **place): return self
    def eval(self): return self
""",
    }
    repo = checkout(tmp_path / "repo", modules)
    assert told(drive("mmaudio", repo, [request(tmp_path, n, video=film) for n in (0, 1)])) == OK
    assert sound_levels(tmp_path) == [6, 11]
    assert noted(repo, "network") == 1


def test_thinksound(film: str, tmp_path: Path) -> None:
    predict = (
        SOUND
        + """
import csv, sys
from pathlib import Path
assert sys.argv[1::2] == ["--model-config", "--duration-sec", "--results-dir"] and Path("latents").is_file()
(row,) = csv.DictReader(open("cot_coarse/cot.csv"))
assert row["id"] == "demo" and row["caption"] == row["caption_cot"]
out = Path("results/1130_batch_size1")
out.mkdir()
write_sound(out / "demo.wav", row["caption"])
"""
    )
    extract = """
import sys
from pathlib import Path
assert sys.argv[1:] == ["--duration_sec", "1"] and Path("videos/demo.mp4").stat().st_size > 0
Path("latents").write_text("")
"""
    repo = checkout(tmp_path / "repo", {"predict.py": predict, "extract_latents.py": extract})
    assert told(drive("thinksound", repo, [request(tmp_path, n, video=film) for n in (0, 1)])) == OK
    assert sound_levels(tmp_path) == [6, 11]


def test_tpos(ready: Path, tmp_path: Path) -> None:
    script = f"""
import argparse, shutil
from pathlib import Path
parser = argparse.ArgumentParser()
for name in ("prompt", "ckpt", "audio", "outdir", "pt_file_name"):
    parser.add_argument("--" + name, required=True)
for name in ("n_samples", "n_iter", "interpolate", "audio_time", "se_value", "param_t", "seed"):
    parser.add_argument("--" + name, type=int)
parser.add_argument("--threshold_value", type=float)
for name in ("plms", "skip_grid"):
    parser.add_argument("--" + name, action="store_true")
args = parser.parse_args()
assert Path(args.audio).stat().st_size > 1000 and (args.se_value, args.threshold_value) == (7, 0.8)
if args.prompt == "a meow":
    shutil.copy({str(ready)!r}, Path(args.outdir, "made.mp4"))
"""
    repo = checkout(tmp_path / "repo", {"txt2img.py": script, "ldm/__init__.py": ""})
    sound = str(ready.with_suffix(".wav"))
    answers = drive("tpos", repo, [request(tmp_path, n, audio=sound) for n in (0, 1)])
    assert told(answers) == ["ok", "failed"]
    assert "neither a film nor pictures" in answers[1]["message"]


def test_universe_1(ready: Path, still: str, tmp_path: Path) -> None:
    # torchrun is a module of torch; the stand-in takes its words and runs the script.
    runner = """
import runpy, sys
words = sys.argv[1:]
assert words[:3] == ["--nnodes=1", "--nproc_per_node=1", "--standalone"]
sys.argv = words[3:]
runpy.run_path(words[3], run_name="__main__")
"""
    script = f"""
import json, shutil, sys
from pathlib import Path
words = [word for word in sys.argv[1:] if word != "--cpu_offload"]
args = dict(zip(words[::2], words[1::2]))
assert (args["--num_frames"], args["--num_inference_steps"], args["--guidance_scale_vid"]) == ("125", "35", "1.2")
told = json.loads(Path(args["--prompt_path"]).read_text())
assert set(told) == {{"video_prompt", "audio_prompt", "speech_prompt"}} and Path(args["--refimg_path"]).is_file()
Path(args["--output_path"]).mkdir()
shutil.copy({str(ready)!r}, Path(args["--output_path"], "still.mp4"))
"""
    modules = {
        "torch/distributed/__init__.py": "",
        "torch/distributed/run.py": runner,
        "fastvideo/sample/sample_universe.py": script,
    }
    repo = checkout(tmp_path / "repo", modules)
    assert told(drive("universe-1", repo, [request(tmp_path, 0, image=still)])) == ["ok"]
    assert (tmp_path / "out0.mp4").read_bytes() == ready.read_bytes()


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"foleycrafter runs in your checkout of https.*-M repo=FOLDER"):
        create_generator("foleycrafter").load("cpu", "auto", WeightStore())
    with pytest.raises(UsageError, match=r"is no checkout: it has no inference\.py"):
        create_generator("foleycrafter", {"repo": str(tmp_path)}).load("cpu", "auto", WeightStore())
    repo = checkout(tmp_path / "repo", {"inference.py": "", "foleycrafter/__init__.py": ""})
    with pytest.raises(GenerationError, match=r"interpreter \./nopython cannot be run\. -M python=PATH"):
        create_generator("foleycrafter", {"repo": str(repo), "python": "./nopython"}).load("cpu", "auto", WeightStore())
    with pytest.raises(UsageError, match="Did you mean 'temporal_scale'"):
        create_generator("foleycrafter", {"temporal_scal": "1"})
    with pytest.raises(UsageError, match="temporal_scale is a number"):
        create_generator("foleycrafter", {"temporal_scale": "much"})
    with pytest.raises(UsageError, match=r"no such recipe.*Known:"):
        create_generator("checkout:nothing")
    for nameless in ("checkout", "checkout:"):
        with pytest.raises(
            UsageError, match=r"^Say which checkout: --model checkout:CARD -M repo=FOLDER.*foleycrafter"
        ):
            create_generator(nameless)


def test_recipes_are_python_3_8() -> None:
    for path in RECIPES.glob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


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
