"""Clips a second of the five ImageBind scores: javisbench against the way the reference evaluation goes about it.

    python benchmarks/imagebind.py                                    # tiny network, CPU, both ways, ratio
    python benchmarks/imagebind.py --variant huge --device cuda --clips 200 --precision bf16 --ours-only --json

Both ways score the same clips with the same random weights, each clip with two prompts of its own, and the scores are
compared. `imagebind_reference.py` says what the model of the reference's way does. Both use the same number of torch
threads; ours decodes in other processes besides (`--workers`), whose CPU time counts.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from imagebind_reference import ReferenceTowers, reference_way

from javisbench.cli.memory import keep_freed_memory
from javisbench.media import ClipReader, ClipSource
from javisbench.metrics.av_ib import AVIB
from javisbench.metrics.avh_score import AVHScore
from javisbench.metrics.base import SampleContext, SampleMetric
from javisbench.metrics.encoders.imagebind import ImageBindEncoder
from javisbench.metrics.encoders.imagebind.config import CONFIGS, ImageBindConfig, TowerConfig
from javisbench.metrics.encoders.imagebind.network import ImageBindNetwork
from javisbench.metrics.encoders.preprocessing.clip_tokenizer import clip_tokenizer
from javisbench.metrics.javis_score import JavisScoreMetric
from javisbench.metrics.ta_ib import TAIB
from javisbench.metrics.tv_ib import TVIB
from javisbench.protocol import V1
from javisbench.reference.wanted import EncoderChoice
from javisbench.run.content_index import ContentIndex
from javisbench.run.encode import _ClipLoop, encode_prompts
from javisbench.run.encode_session import PRECISIONS, EncodeSession, arithmetic, prompt_hash
from javisbench.run.features import FeatureStore
from javisbench.run.progress import Silent

METRICS: tuple[SampleMetric, ...] = (TVIB(), TAIB(), AVIB(), AVHScore(), JavisScoreMetric())
PROMPTS = ("A ball bounces {} times on the floor with a dull thud.", "{} dull thuds of a ball")
# Dense peaks from NVIDIA's data sheets, FLOP/s: 16-bit tensor cores, float32 without them.
PEAKS = {"H100": (989e12, 67e12), "H200": (989e12, 67e12), "A100": (312e12, 19.5e12)}


@dataclass
class Stages:
    """Wall and CPU seconds that this process spent, by stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    device: str = "cpu"

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        start, cpu = time.perf_counter(), time.process_time()
        yield
        if self.device != "cpu":
            torch.cuda.synchronize()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
        self.cpu[stage] = self.cpu.get(stage, 0.0) + time.process_time() - cpu


def write_random_weights(folder: Path, variant: str) -> Path:
    """A checkpoint of random numbers under the official names."""
    with torch.device("meta"):
        network = ImageBindNetwork(CONFIGS[variant])
    noise = torch.empty(2**20).uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    state = {}
    for name, shape in ((n, t.shape) for n, t in network.state_dict().items()):
        size = math.prod(shape)
        if name.endswith("text.mask"):
            state[name] = torch.full(shape, -math.inf).triu(1)
        elif len(shape) > 1:
            scale = math.sqrt(3 / (size // shape[0]))
            state[name] = noise.repeat(-(-size // len(noise)))[:size].reshape(shape) * scale
        else:
            state[name] = torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
    path = folder / f"imagebind_{variant}.pth"
    torch.save(state, path)
    return path


# Ours


def ours(
    sources: list[ClipSource], encoder: ImageBindEncoder, args: argparse.Namespace, stages: Stages
) -> list[dict[str, float]]:
    """The way of `javisbench score`, but that equal clips count as different ones, each with its own features."""
    specs = sorted({spec for metric in METRICS for spec in metric.needs(V1).values()}, key=repr)
    choices = {"imagebind": EncoderChoice("imagebind", args.variant, ImageBindEncoder, None)}
    with tempfile.TemporaryDirectory() as folder, arithmetic(args.precision):
        session = EncodeSession(
            choices,
            FeatureStore(Path(folder)),
            args.device,
            args.workers,
            args.batch_clips or (1 if args.device == "cpu" else None),
            precision=args.precision,
        )
        session._loaded["imagebind"] = encoder
        index = ContentIndex({source: f"clip {source.sample_id}" for source in sources})
        with stages.time("prompts"):
            for place, subject in enumerate(("text", "audio_text")):
                prompts = [prompts_of(number)[place] for number in range(len(sources))]
                encode_prompts(prompts, [s for s in specs if s.subject == subject], session, Silent())
        todo = {source: {"imagebind": [spec for spec in specs if spec.subject == "clip"]} for source in sources}
        with stages.time("clips"), ClipReader(args.workers) as reader:
            loop = _ClipLoop(todo, index, session, None)
            loop.run(loop.begin(reader), Silent())
        with stages.time("scores"):
            return [score(number, source, index, session) for number, source in enumerate(sources)]


def prompts_of(clip: int) -> tuple[str, str]:
    return PROMPTS[0].format(clip), PROMPTS[1].format(clip)


def score(number: int, source: ClipSource, index: ContentIndex, session: EncodeSession) -> dict[str, float]:
    text, audio_text = map(prompt_hash, prompts_of(number))
    contents = {"clip": index.hashes[source], "text": text, "audio_text": audio_text}
    return {
        metric.card.id: metric.score(
            {role: session.stored(contents[spec.subject], spec) for role, spec in metric.needs(V1).items()},
            SampleContext(V1),
        ).value
        for metric in METRICS
    }


# Arithmetic


def tower_flops(tower: TowerConfig, tokens: int, *, first_only: bool) -> float:
    """Of one input: projections and MLP (24 width^2 a token), scores and sums (4 tokens width a token)."""
    block = tokens * (24 * tower.width**2 + 4 * tokens * tower.width)
    last = tokens * 4 * tower.width**2 + 20 * tower.width**2 + 4 * tokens * tower.width
    return (tower.blocks - 1) * block + (last if first_only else block)


def clip_flops(config: ImageBindConfig, frames: int, crops: int, sounds: int) -> float:
    """Of our way for one clip; patch projections included."""
    vision = tower_flops(config.vision, 257, first_only=True) + 2 * 256 * 588 * config.vision.width
    audio = tower_flops(config.audio, 229, first_only=True) + 2 * 228 * 256 * config.audio.width
    return (frames + crops) * vision + sounds * audio


def share_of_peak(args: argparse.Namespace, clips_per_s: float) -> dict[str, Any]:
    """Assumes 4-s clips at 24 fps: 96 frames, 15 crops, 7 distinct sounds."""
    flops = clip_flops(CONFIGS[args.variant], 96, 15, 7)
    found: dict[str, Any] = {"gflop_per_4s_clip": round(flops / 1e9, 1)}
    if args.device == "cpu":
        return found
    name = torch.cuda.get_device_name()
    found["device"] = name
    peak = next((peaks for key, peaks in PEAKS.items() if key in name), None)
    if peak:
        found["share_of_16_bit_peak"] = round(flops * clips_per_s / peak[0], 4)
        found["share_of_fp32_peak"] = round(flops * clips_per_s / peak[1], 4)
    return found


class Clock:
    """Wall and CPU seconds while it runs; CPU includes ended child processes, and is what a busy machine spares."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), self._cpu()
        yield
        self.wall += time.perf_counter() - wall
        self.cpu += self._cpu() - cpu

    def report(self, name: str, count: int, stages: Stages) -> dict[str, Any]:
        per_clip = {stage: round(1000 * s / count, 2) for stage, s in stages.seconds.items()}
        cpu_per_clip = {stage: round(1000 * s / count, 2) for stage, s in stages.cpu.items()}
        return {
            "way": name,
            "clips": count,
            "clips_per_s": round(count / self.wall, 3),
            "cpu_ms_per_clip": round(1000 * self.cpu / count, 1),
            "ms_per_clip": per_clip,
            "cpu_ms_per_clip_by_stage": cpu_per_clip,
        }

    def _cpu(self) -> float:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in both)


def main() -> None:
    here = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=here / "tests" / "golden" / "clips" / "fake")
    parser.add_argument("--clips", type=int, default=11, help="how many; the folder's are taken over and over")
    parser.add_argument("--variant", choices=list(CONFIGS), default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--workers", type=int, default=1, help="decoding processes of our way")
    parser.add_argument("--batch-clips", type=int, help="[default: 1 on a CPU, what fills a GPU]")
    parser.add_argument("--threads", type=int, default=1, help="torch threads of both ways")
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print_report(run(args), args.json)


def run(args: argparse.Namespace, *, without_networks: bool = False) -> dict[str, Any]:
    """Both ways over the same clips; `benchmarks/host.py` leaves the networks out."""
    videos = sorted(args.folder.glob("*.mp4"))
    if not videos:
        raise SystemExit(f"There are no .mp4 files in {args.folder}.")
    chosen = [videos[i % len(videos)] for i in range(args.clips)]
    sources = [ClipSource(f"{i}", video, video.with_suffix(".wav")) for i, video in enumerate(chosen)]
    result: dict[str, Any] = {"settings": {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}}
    with tempfile.TemporaryDirectory() as folder:
        encoder = ImageBindEncoder(args.variant)
        encoder.load(write_random_weights(Path(folder), args.variant), args.device)
    clip_tokenizer()
    towers: Any = ReferenceTowers(encoder._loaded())
    if without_networks:
        leave_out_networks(encoder, towers)
    with torch.inference_mode():
        # Half of the reference's way before and half after: machines get faster and slower meanwhile. It knows nothing
        # of memory that is kept, which helps its second half.
        half = 0 if args.ours_only else -(-len(sources) // 2)
        reference = None if args.ours_only else ReferenceRun(towers, args)
        expected = [] if reference is None else reference(sources[:half], 0)
        keep_freed_memory()  # as the command line does
        scores = run_ours(sources, encoder, args, result)
        if reference is not None:
            expected += reference(sources[half:], half)
            result["reference"] = reference.report()
    encoder.close()
    if expected:
        made, other = result["ours"], result["reference"]
        result["ratio"] = round(made["clips_per_s"] / other["clips_per_s"], 2)
        result["ratio_of_cpu_time"] = round(other["cpu_ms_per_clip"] / made["cpu_ms_per_clip"], 2)
        result["largest_score_difference"] = max(
            abs(a[name] - b[name]) for a, b in zip(scores, expected, strict=True) for name in a
        )
    return result


def leave_out_networks(encoder: Any, towers: Any) -> None:
    """In both ways every input comes to the same embedding, at once."""
    network, width = encoder._loaded(), CONFIGS[encoder.variant].embedding

    def embed(inputs: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(inputs), width)

    for name in ("vision", "audio", "text"):
        setattr(network, f"embed_{name}", embed)
        setattr(towers, name, embed)


class ReferenceRun:
    """The reference's way, over some clips after others."""

    def __init__(self, towers: ReferenceTowers, args: argparse.Namespace) -> None:
        self._towers = towers
        self._device = args.device
        self._stages = Stages(device=args.device)
        self._clock = Clock()
        self._clips = 0

    def __call__(self, sources: list[ClipSource], first: int) -> list[dict[str, float]]:
        """Scores of the clips, which are numbered from `first`."""
        if not sources:
            return []
        reference_way(sources[0], prompts_of(first), self._towers, self._device, Stages().time)
        self._clips += len(sources)
        with self._clock.running():
            return [
                reference_way(source, prompts_of(number), self._towers, self._device, self._stages.time)
                for number, source in enumerate(sources, first)
            ]

    def report(self) -> dict[str, Any]:
        return self._clock.report("the reference's way", self._clips, self._stages)


def run_ours(
    sources: list[ClipSource], encoder: ImageBindEncoder, args: argparse.Namespace, result: dict[str, Any]
) -> list[dict[str, float]]:
    ours(sources[:1], encoder, args, Stages())
    stages, clock = Stages(device=args.device), Clock()
    with clock.running():
        scores = ours(sources, encoder, args, stages)
    result["ours"] = clock.report("javisbench", len(sources), stages)
    result["arithmetic"] = share_of_peak(args, result["ours"]["clips_per_s"])
    return scores


def print_report(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    for way in ("ours", "reference"):
        if way in result:
            made = result[way]
            stages = ", ".join(f"{stage} {ms:.0f} ms" for stage, ms in made["cpu_ms_per_clip_by_stage"].items())
            speed = f"{made['clips_per_s']:.2f} clips/s, {made['cpu_ms_per_clip']:.0f} ms of CPU a clip"
            print(f"{made['way']}: {speed} ({stages})")
    if "ratio" in result:
        print(f"ratio {result['ratio']:.2f}, of CPU time {result['ratio_of_cpu_time']:.2f}")
        print(f"scores differ by at most {result['largest_score_difference']:.1e}")
    print(", ".join(f"{key} {value}" for key, value in result["arithmetic"].items()))


if __name__ == "__main__":
    main()
