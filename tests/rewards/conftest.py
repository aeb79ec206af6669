"""Two clips that were scored as files by every metric that is a reward, with seeded networks of few numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

import javisbench
from javisbench.clip import Clip
from javisbench.media import read_clip, write_clip
from javisbench.metrics.contract.samples import SAMPLE_RATE, ordinary_clips
from javisbench.metrics.encoders import clip as clip_encoder
from javisbench.metrics.encoders import whisper
from javisbench.metrics.encoders.cavp import network as cavp
from javisbench.metrics.encoders.synchformer import network as synchformer
from javisbench.metrics.encoders.videoreward import COMMAND
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1
from javisbench.rewards import Reward, Rewarded, combine, reward_ids

PROMPTS = ["a man says a sentence", "rain on a roof"]
COLUMNS = {"transcript": ["the quick brown fox", "two bangs"], "language": ["en", "en"]}
VARIANTS = {"imagebind": "tiny", "clip": "small", "clap": "small", "synchformer": "small", "syncnet": "small",
            "whisper": "tiny"}  # fmt: skip
SECONDS = 1.6
#: Its networks cost four seconds of a core for two clips.
COSTLY = tuple(name for name in reward_ids() if name.startswith("dnsmos_"))
PANGRAM = Path(__file__).parents[1] / "metrics/speech/pangram.flac"

SCORER = """
import json, sys
import numpy as np

sys.stdin.readline()
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    question = json.loads(line)
    frames = np.load(question["frames"]).astype(float)
    answer = {"id": question["id"], "VQ": frames[-1].mean() / 100, "MQ": np.abs(np.diff(frames, axis=0)).mean()}
    print(json.dumps(answer), flush=True)
"""


class StandInPredictor:
    """Audiobox Aesthetics as far as javisbench asks it: numbers that follow from the samples."""

    def __init__(self, checkpoint: str) -> None:
        self.model = torch.nn.Linear(1, 1)
        self.device: Any = "cpu"

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, float]]:
        sounds = [item["path"][0] for item in batch]
        return [
            {"PQ": float(x.std()), "PC": float(x.abs().mean()), "CE": float(x.max()), "CU": float(x[:999].mean())}
            for x in sounds
        ]


@dataclass(frozen=True)
class Scored:
    """The clips' scores as files, and what the files hold."""

    run: Path
    scores: pd.DataFrame
    frames: list[torch.Tensor]
    audio: list[torch.Tensor]
    fps: list[float]
    sample_rate: int
    prompts: list[str]
    columns: dict[str, list[str]]
    variants: dict[str, str]
    _made: dict[frozenset[str], Rewarded] = field(default_factory=dict)

    def given(self, *, prompts: bool = True) -> tuple[Any, ...]:
        return self.frames, self.fps, self.audio, self.sample_rate, *([self.prompts] if prompts else [])

    def made(self, *metrics: str, **more: Any) -> Reward:
        """The reward with the variants of the encoders that it needs."""
        used = frozenset().union(*map(encoders_of, metrics))
        variants = {name: self.variants[name] for name in used & self.variants.keys()}
        return combine(dict.fromkeys(metrics, 1.0), variants=variants, **more)

    def column(self, metric: str) -> np.ndarray:
        """The scores of both files; what the run does not have is scored on its own."""
        if metric not in self.scores:
            alike = [name for name in reward_ids() if encoders_of(name) == encoders_of(metric)]
            found = scored_as_files(self.run.parent, alike, self.made(metric).protocol.base)
            self.scores[alike] = found[alike]
        return self.scores[metric].to_numpy(np.float64)

    def rewarded(self, metric: str) -> Rewarded:
        """What rewards of the same encoders give of both clips, networks run once for all of them."""
        used = encoders_of(metric)
        if used not in self._made:
            made = self.made(*(name for name in reward_ids() if encoders_of(name) == used))
            self._made[used] = made.detailed(*self.given(), columns=self.columns)
        return self._made[used]


def scored_as_files(folder: Path, metrics: list[str], protocol: str = "javisbench-v1") -> pd.DataFrame:
    result = javisbench.score(
        folder / "clips", suite=str(folder / "s.csv"), out=folder / f"run-{metrics[0]}", metrics=metrics,
        protocol=protocol, encoders=VARIANTS, workers=1,
    )  # fmt: skip
    return result.scores.set_index("sample_id")


def encoders_of(metric: str) -> frozenset[str]:
    return frozenset(spec.encoder for spec in METRICS.get(metric)().needs(V1).values())


@pytest.fixture(scope="module")
def scored(
    tmp_path_factory: pytest.TempPathFactory,
    golden_json: Callable[[str], Any],
    seeded_weights: ModuleType,
    lip_inputs: ModuleType,
    tiny_whisper: ModuleType,
    save_stand_in_tokenizer: Callable[[Path], None],
) -> Iterator[Scored]:
    folder = tmp_path_factory.mktemp("rewards")
    (folder / "clips").mkdir()
    speech, rate = soundfile.read(PANGRAM, dtype="float32")
    assert rate == SAMPLE_RATE
    speaks = Clip(lip_inputs.reference_frames(0, int(SECONDS * 25)), Fraction(25), None, None)
    bangs = next(iter(ordinary_clips().values()))
    assert bangs.audio is not None
    paths = [folder / f"clips/sample_{row:04d}.mp4" for row in (0, 1)]
    for path, clip, sound in zip(paths, (speaks, bangs), (speech[: int(SECONDS * rate)], bangs.audio[0]), strict=True):
        write_clip(replace(clip, audio=None, sample_rate=None), path)
        soundfile.write(path.with_suffix(".wav"), sound, SAMPLE_RATE, subtype="PCM_16")
    cells = zip(PROMPTS, *COLUMNS.values(), strict=True)
    (folder / "s.csv").write_text("\n".join(["text,transcript,language", *map(",".join, cells)]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        save_networks(folder / "weights", patch, golden_json, seeded_weights, lip_inputs, tiny_whisper)
        save_stand_in_tokenizer(folder / "weights/clap_small.tokenizer.json")
        patch.setenv("JAVISBENCH_WEIGHTS", str(folder / "weights"))
        cheap = [name for name in reward_ids() if name not in (*V1.without, *COSTLY)]
        scores = scored_as_files(folder, cheap)
        clips = [read_clip(path, path.with_suffix(".wav")) for path in paths]
        yield Scored(
            folder / f"run-{cheap[0]}",
            scores,
            [torch.from_numpy(one.frames) for one in clips],
            [torch.from_numpy(one.audio) for one in clips],
            [float(one.fps) for one in clips],
            SAMPLE_RATE,
            PROMPTS,
            COLUMNS,
            VARIANTS,
        )


def save_networks(
    folder: Path,
    patch: pytest.MonkeyPatch,
    golden_json: Callable[[str], Any],
    seeded: ModuleType,
    lip_inputs: ModuleType,
    tiny_whisper: ModuleType,
) -> None:
    """Weights of every encoder of `VARIANTS` and of those that have one variant, where they are looked for."""
    folder.mkdir()

    def save(shapes: Any, preset: str, file: str, *integers: str) -> None:
        arrays = seeded.seeded_state_dict(shapes, preset, 0, integer_names=integers)
        torch.save({name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}, folder / file)

    def stored(name: str) -> dict[str, Any]:
        return {name: entry[0] for name, entry in golden_json(name)["tensors"].items()}

    save(stored("statedict_imagebind_tiny"), "imagebind", "imagebind_tiny.pth")
    whole = [name for name, entry in golden_json("statedict_clap_small")["tensors"].items() if entry[1] == "int64"]
    save(stored("statedict_clap_small"), "clap", "clap_small.pt", *whole)
    save(
        of(clip_encoder.to_openai_names(clip_encoder.build_clip(clip_encoder.VARIANTS["small"]).state_dict())),
        "clip",
        "clip_small.pt",
    )
    # Of these no stored variant is small enough.
    narrow = synchformer.SynchformerConfig(visual_depth=1, audio_depth=1, sync_depth=1, width=24, heads=2, sync_heads=2)
    patch.setitem(synchformer.VARIANTS, "small", narrow)
    save(of(synchformer.Synchformer(narrow).state_dict()), "synchformer", "synchformer_small.pth")
    thin = cavp.CAVPConfig(video_width=2, video_depths=(1, 2, 1, 1), audio_width=2, embed_dim=16)
    patch.setitem(cavp.VARIANTS, "full", thin)
    save(of(cavp.CAVP(thin).state_dict()), "cavp", "cavp_epoch66.ckpt")
    lip_inputs.save_weights(
        folder / "syncnet_small", "small", golden_json("field/syncnet"), seeded, 0, lip_inputs.one_face("small")
    )
    patch.setitem(whisper.SIZES, "tiny", tiny_whisper.SIZE)
    tiny_whisper.save_tiny_whisper(folder / "whisper-tiny", 0)
    # Two that run outside javisbench.
    (folder / "audiobox_aesthetics.pt").write_bytes(b"none")
    package, module = ModuleType("audiobox_aesthetics"), ModuleType("audiobox_aesthetics.infer")
    package.__spec__ = ModuleSpec("audiobox_aesthetics", None)
    module.initialize_predictor = StandInPredictor  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "audiobox_aesthetics", package)
    patch.setitem(sys.modules, "audiobox_aesthetics.infer", module)
    (folder / "VideoReward").mkdir()
    (folder / "VideoReward/config.json").write_text("{}")
    (folder / "scorer.py").write_text(SCORER)
    patch.setenv(COMMAND, f"{sys.executable} {folder / 'scorer.py'}")


def of(state: Any) -> dict[str, Any]:
    """Shapes of tensors."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
