"""What a GPU makes of javisbench: one command, four phases, each with its own time limit, results as they come.

    python benchmarks/gpu.py --out gpu.jsonl                     all of it, within 8 minutes on an H100 with 16 cores
    python benchmarks/gpu.py --out gpu.jsonl --phase encoders    one phase
    python benchmarks/gpu.py --rehearse                          all of it at tiny size on a CPU, within a minute

* ``golden``: the tests that need a GPU, and how far scores are from the reference numbers in fp32, tf32, bf16, fp16.
* ``encoders``: clips a second of each network at official size with random weights, share of the card's 16-bit peak,
  memory.
* ``score``: ``javisbench score`` over 200 distinct clips, optical flow included, with utilisation second by second, and
  the time that 10,140 clips would take.
* ``javisdit``: both versions at official size: seconds a clip by stage, memory, and steps of several clips at once.

Each phase is a process of its own: one that fails or runs out of time costs its own results alone. Every result is a
line of JSON in the file, written when it is there. Weights are random and drawn on the device; nothing is downloaded.
`score` writes about 8 GB of checkpoints to a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from torch import nn

    from javisbench.baselines.javisdit.options import Version
    from javisbench.clip import Clip
    from javisbench.metrics.encoders.base import Encoder, FeatureSpec

ROOT = Path(__file__).resolve().parent.parent
# Dense peaks from NVIDIA's data sheets, FLOP/s: 16-bit tensor cores; float32 without them.
PEAKS = {"H100": (989e12, 67e12), "H200": (989e12, 67e12), "A100": (312e12, 19.5e12)}
ALL_CLIPS = 10140
GPU_TESTS = ("tests/metrics/encoders/test_imagebind.py", "tests/metrics/encoders/test_farneback.py")
Record = Callable[..., None]


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        variants: of encoders, in place of the official ones.
        precisions: of the golden numbers and of ImageBind.
        golden_clips: of the reference clips.
        clips: that are scored.
        real_clips: that FVD and FAD compare them with.
        seconds: of a clip.
        clips_at_once: in a batch of an encoder.
        measure_s: for which an encoder is measured at least, after a first batch.
        metrics: that are scored.
        batches: of JavisDiT, in clips.
        steps: of JavisDiT's clips; None for as many as each version takes.
        tiny: whether JavisDiT's networks are tiny.
        limits_s: seconds of each phase.
    """

    variants: Mapping[str, str] = field(default_factory=dict)
    precisions: tuple[str, ...] = ("fp32", "tf32", "bf16", "fp16")
    golden_clips: int = 11
    clips: int = 200
    real_clips: int = 16
    seconds: float = 4.0
    clips_at_once: int = 8
    measure_s: float = 3.0
    metrics: tuple[str, ...] = (
        "fvd",
        "fad",
        "tv_ib",
        "ta_ib",
        "av_ib",
        "avh_score",
        "javis_score",
        "clip_score",
        "clap_score",
        "desync",
        "av_align",
    )
    batches: tuple[int, ...] = (1, 2, 4, 8)
    steps: int | None = None
    tiny: bool = False
    limits_s: Mapping[str, float] = field(
        default_factory=lambda: {"golden": 110.0, "encoders": 110.0, "score": 150.0, "javisdit": 110.0}
    )


TINY = Size(
    variants={"imagebind": "tiny", "synchformer": "small", "clip": "small", "clap": "small"},
    precisions=("fp32", "bf16"),
    golden_clips=2,
    clips=4,
    real_clips=2,
    seconds=0.75,
    clips_at_once=1,
    measure_s=0.0,
    metrics=("tv_ib", "av_ib", "clip_score", "av_align"),
    batches=(1, 2),
    tiny=True,
    limits_s=dict.fromkeys(("golden", "encoders", "score", "javisdit"), 240.0),
)
ENCODERS = ("imagebind", "i3d", "audioclip", "synchformer", "clip", "clap")


# Golden numbers


def golden(size: Size, device: str, record: Record) -> None:
    """The tests that need a GPU, then the reference clips in each precision."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", *GPU_TESTS, "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    record("gpu tests", exit_code=done.returncode, last_line=(done.stdout.strip().splitlines() or [""])[-1])
    with tempfile.TemporaryDirectory() as folder:
        tests = golden_tests()
        weights = stand_ins(tests, Path(folder), size)
        for precision in size.precisions:
            record("golden numbers", precision=precision, **deviations(tests, weights, precision, size, device))


def golden_tests() -> Any:
    """The module of the tests that reach the reference's numbers: its weights and names are theirs."""
    return module_at(ROOT / "tests/run/test_golden_cli.py")


def module_at(path: Path) -> Any:
    """A Python file outside of any package, imported."""
    import importlib.util

    found = importlib.util.spec_from_file_location(f"of_gpu_benchmark_{path.stem}", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[module.__name__] = module
    found.loader.exec_module(module)
    return module


def stand_ins(tests: Any, folder: Path, size: Size) -> Path:
    """The weights with which the reference's numbers were made."""
    seeded = module_at(ROOT / "tests/golden/seeded_weights.py")
    tests.write_weights(folder, reference_numbers, seeded, 0, "imagebind_tiny.pth")
    if not size.tiny:
        tests.write_weights(folder, reference_numbers, seeded, 0, "synchformer_small.pth")
        tests.write_clip_weights(folder / "clip_small.pt", seeded, 0)
    return folder


def reference_numbers(name: str) -> Any:
    """A file of tests/golden."""
    return json.loads((ROOT / f"tests/golden/{name}.json").read_text(encoding="utf-8"))


def deviations(tests: Any, weights: Path, precision: str, size: Size, device: str) -> dict[str, Any]:
    """How far each metric's scores are from the reference's, at most."""
    import javisbench

    expected = reference_numbers("evaluator_output")
    of_imagebind = ("tv_ib", "ta_ib", "av_ib", "avh_score", "javis_score")
    wanted = of_imagebind if size.tiny else (*tests.SAMPLE_METRICS, "desync")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        scored = javisbench.score(
            ROOT / "tests/golden/clips/fake",
            suite=ROOT / "tests/golden/suite.csv",
            out=Path(folder) / "run",
            limit=size.golden_clips,
            metrics=wanted,
            protocols=("javisbench-v1",),
            encoders={"imagebind": "tiny", "synchformer": "small", "clip": "small"},
            weights_dirs=[weights],
            device=device,
            precision=precision,
        )
        scores = scored.scores
    found = {}
    for metric in wanted:
        reference = expected[tests.SAMPLE_METRICS.get(metric, metric)]["all"][: size.golden_clips]
        found[metric] = float(f"{np.abs(scores[metric].to_numpy() - np.array(reference)).max():.3g}")
    return {
        "largest_deviation": found,
        "protocol": scored.protocol,
        "seconds": round(time.monotonic() - started, 1),
    }


# Encoders


def encoders(size: Size, device: str, record: Record) -> None:
    """Each network alone, with clips that are already decoded."""
    clips = [random_clip(number, size.seconds) for number in range(size.clips_at_once)]
    for name in ENCODERS:
        encoder = loaded_encoder(name, size.variants.get(name), device)
        # A rehearsal has no time for all networks in all precisions.
        reduced = encoder.card.reduced_precision and (name == "imagebind" or not size.tiny)
        for precision in size.precisions if reduced else ("fp32",):
            measured = throughput(encoder, clips, precision, device, size.measure_s)
            record("encoder", name=name, variant=encoder.variant, precision=precision, **measured)
        encoder.close()
        free(device)


def loaded_encoder(name: str, variant: str | None, device: str) -> Encoder:
    """An encoder with random weights."""
    from random_weights import checkpoint_of, fill, network_of, write_tokenizer

    from javisbench.metrics.encoders import ENCODERS as REGISTRY
    from javisbench.metrics.encoders import checkpoint, network_encoder

    encoder = REGISTRY.get(name)(variant)
    state = checkpoint_of(encoder, fill(network_of(encoder, device)))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for module in (checkpoint, network_encoder):
            stack.enter_context(mock.patch.object(module, "load_checkpoint", lambda path: state))
        path = Path(folder) / "weights.pt"
        write_tokenizer(path.with_name("tokenizer.json"))
        encoder.load(path, device)
    return encoder


def random_clip(number: int, seconds: float) -> Clip:
    """A clip of the suite's setting in which no two frames are alike."""
    from javisbench.clip import Clip

    draw = np.random.default_rng(number)
    frames = draw.integers(0, 256, (round(24 * seconds), 240, 426, 3), np.uint8)
    sound = draw.normal(0, 0.1, (1, round(16000 * seconds))).astype(np.float32)
    return Clip(frames, Fraction(24), sound, 16000, name=f"clip-{number}")


def throughput(encoder: Encoder, clips: Sequence[Clip], precision: str, device: str, least_s: float) -> dict[str, Any]:
    """Clips a second, preparation included, and what they take; the first batch counts when no other is asked for."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from javisbench.errors import JavisbenchError

    specs = specs_of(encoder.card.name)
    with inference(precision, device):
        started = time.monotonic()
        with FlopCounterMode(display=False) as counter:
            made = encoder.encode(clips, specs)
        first_s = time.monotonic() - started
        wrong = next(
            (value for features in made for value in features.values() if isinstance(value, JavisbenchError)), None
        )
        if wrong is not None:
            raise wrong
        synchronise(device)
        reset_peak(device)
        times: list[float] = []
        while sum(times) < least_s:
            started = time.monotonic()
            encoder.encode(clips, specs)
            synchronise(device)
            times.append(time.monotonic() - started)
    flops = counter.get_total_flops() / len(clips)
    rate = len(clips) / statistics.median(times or [first_s])
    peak = peak_of(device)
    return {
        "clips_per_s": round(rate, 3),
        "batches": len(times),
        "tflop_per_clip": float(f"{flops / 1e12:.3g}"),
        "share_of_16_bit_peak": None if peak is None else round(flops * rate / peak[0], 4),
        "share_of_fp32_peak": None if peak is None else round(flops * rate / peak[1], 4),
        "peak_bytes": torch.cuda.max_memory_allocated(device) if on_gpu(device) else None,
    }


def specs_of(name: str) -> list[FeatureSpec]:
    """What the metrics of javisbench-v1 want of clips from an encoder."""
    from javisbench.metrics.base import needed_features
    from javisbench.metrics.registry import METRICS
    from javisbench.protocol import V1

    needed = (spec for metric in METRICS.own for spec in needed_features(METRICS.get(metric)(), V1))
    return sorted({spec for spec in needed if spec.encoder == name and spec.subject == "clip"}, key=repr)


@contextmanager
def inference(precision: Any, device: str) -> Iterator[None]:
    """As a run computes in a precision."""
    import torch

    from javisbench.run.encode_session import arithmetic

    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    cast: AbstractContextManager[Any] = torch.autocast(device.partition(":")[0], half) if half else nullcontext()
    with arithmetic(precision), cast:
        yield


# The whole of score


def score(size: Size, device: str, record: Record) -> None:
    """`javisbench.score` over clips in files."""
    with tempfile.TemporaryDirectory(prefix="javisbench-gpu-") as folder:
        weights, fake, real = (Path(folder) / name for name in ("weights", "fake", "real"))
        started = time.monotonic()
        write_weights(weights, size, device)
        write_clips(fake, range(size.clips), size.seconds)
        write_clips(real, range(10**6, 10**6 + size.real_clips), size.seconds)
        record("score's input", clips=size.clips, seconds=round(time.monotonic() - started, 1))
        precision = "fp16" if "fp16" in size.precisions else "fp32"
        watch, clock = Watch(), Clock()
        with watch:
            scored = score_clips(fake, real, weights, size, device, precision, clock)
        told = scored.summary["metrics"]
        record(
            "score",
            clips=size.clips,
            precision=precision,
            cores=os.cpu_count(),
            seconds=round(clock.seconds, 1),
            failed=scored.failed_samples,
            values={metric: cells["overall"]["value"] for metric, cells in told.items()},
            **clock.report(size.clips),
            utilisation=watch.samples,
        )


def score_clips(fake: Path, real: Path, weights: Path, size: Size, device: str, precision: str, clock: Clock) -> Any:
    """Score a folder of clips with official sizes of networks."""
    import javisbench

    with clock:
        return javisbench.score(
            fake,
            out=fake.parent / "run",
            metrics=size.metrics,
            protocols=("javisbench-v1",),
            encoders=dict(size.variants),
            weights_dirs=[weights],
            reference=real if "fvd" in size.metrics else None,
            device=device,
            precision=precision,
            progress=clock,
        )


def write_weights(folder: Path, size: Size, device: str) -> None:
    """Checkpoints of random numbers for what is scored, under the names that a folder of weights has them under."""
    from random_weights import write_checkpoint

    from javisbench.metrics.base import needed_features
    from javisbench.metrics.encoders import ENCODERS as REGISTRY
    from javisbench.metrics.registry import METRICS
    from javisbench.protocol import V1
    from javisbench.weights import WeightStore

    folder.mkdir()
    store = WeightStore([folder], offline=True)
    needed = {spec.encoder for metric in size.metrics for spec in needed_features(METRICS.get(metric)(), V1)}
    for name in needed & set(ENCODERS):
        encoder = REGISTRY.get(name)(size.variants.get(name))
        local = folder / store.entry(encoder.card.variants[encoder.variant] or "").local_names[0]
        write_checkpoint(encoder, local if local.suffix else local / "pytorch_model.bin", device)
        free(device)


def write_clips(folder: Path, numbers: Iterable[int], seconds: float) -> None:
    """Clips with prompts beside them, as many at once as there are cores."""
    folder.mkdir()
    with ProcessPoolExecutor() as pool:
        list(pool.map(write_one, *zip(*((folder, number, seconds) for number in numbers), strict=True)))


def write_one(folder: Path, number: int, seconds: float) -> None:
    """A clip in which a texture slides, with clicks, and its prompt."""
    import cv2

    from javisbench.clip import Clip
    from javisbench.media.write import write_clip

    cv2.setNumThreads(1)
    draw = np.random.default_rng(number)
    noise = draw.uniform(0, 255, (304, 490, 3)).astype(np.float32)
    picture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 5), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    count = round(24 * seconds)
    phase, speed = draw.uniform(0, 2 * math.pi), draw.uniform(0.05, 0.4)
    places = 32 + np.round(30 * np.sin(phase + speed * np.arange(count))).astype(int)
    frames = np.stack([picture[place : place + 240, 64 - place : 490 - place] for place in places])
    sound = 0.01 * draw.normal(0, 1, round(16000 * seconds))
    for onset in draw.integers(0, len(sound) - 800, 5):
        sound[onset : onset + 800] += draw.normal(0, 0.2, 800) * np.linspace(1, 0, 800)
    clip = Clip(frames, Fraction(24), sound[None].astype(np.float32), 16000)
    write_clip(clip, folder / f"clip_{number:07}.mp4", crf=23)
    (folder / f"clip_{number:07}.txt").write_text(f"Texture {number} slides and clicks\n", encoding="utf-8")


@dataclass
class Clock:
    """A `Progress` that keeps when each stage began, ended and advanced, in seconds from its start."""

    stages: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    _begun: float = 0.0

    def __enter__(self) -> Clock:
        self._begun = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = self._now()

    def _now(self) -> float:
        return time.monotonic() - self._begun

    def expect(self, steps: object) -> None:
        """Nothing is kept of them."""

    def say(self, message: str) -> None:
        """Nothing is kept of it."""

    @contextmanager
    def stage(self, title: str, total: int, unit: str = "clips") -> Iterator[Clock]:
        """Keep a stage."""
        self.stages.append({"title": title, "total": total, "begun_s": self._now(), "advances_s": []})
        yield self
        self.stages[-1]["ended_s"] = self._now()

    def advance(self, done: int = 1, failed: str | None = None) -> None:
        """Keep the moment."""
        self.stages[-1]["advances_s"] += [self._now()] * done

    def report(self, clips: int) -> dict[str, Any]:
        """Seconds by stage, and 10,140 clips at the pace of the second half of the largest stage of encoding.

        Start and end and the trial of a faster precision stay what they are; encoding grows with the clips.
        """
        from javisbench.run.progress import ENCODING

        # The trial's stages come first; the run's own encodes what the trial left.
        encoding = max((s for s in self.stages if s["title"] == ENCODING), key=lambda stage: stage["total"])
        times = encoding["advances_s"]
        half = len(times) // 2
        pace = (
            (times[-1] - times[half - 1]) / (len(times) - half)
            if half
            else (times[-1] - encoding["begun_s"]) / len(times)
        )
        whole = self.seconds + (ALL_CLIPS - clips) * pace
        return {
            "stages_s": [[s["title"], s["total"], round(s["ended_s"] - s["begun_s"], 2)] for s in self.stages],
            "clips_per_s": round(1 / pace, 3) if pace else None,
            "extrapolated": {"clips": ALL_CLIPS, "minutes": round(whole / 60, 1)},
        }


class Watch:
    """Utilisation of processors and card, once a second, while it is entered.

    Attributes:
        samples: second, share of the cores that were busy, percent of time in which the card was, and GiB held on it
            (None where nvidia-smi does not run).
    """

    def __init__(self) -> None:
        self.samples: list[tuple[float, float, float | None, float | None]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        begun, before = time.monotonic(), cpu_ticks()
        while not self._over.wait(1.0):
            now = cpu_ticks()
            busy, all_ticks = now[0] - before[0], now[1] - before[1]
            before = now
            card = nvidia_smi()
            self.samples.append((round(time.monotonic() - begun, 1), round(busy / max(1, all_ticks), 3), *card))


def cpu_ticks() -> tuple[int, int]:
    """Busy and all ticks of all cores since the machine started."""
    numbers = [int(number) for number in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return sum(numbers) - numbers[3] - numbers[4], sum(numbers)


def nvidia_smi() -> tuple[float | None, float | None]:
    """Percent of the last moments in which the first card was busy, and GiB held on it."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "--id=0"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.split(",")
        return float(told[0]), round(float(told[1]) / 1024, 2)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None, None


# JavisDiT


def javisdit(size: Size, device: str, record: Record) -> None:
    """Both versions: a clip stage by stage, then steps of several clips at once."""
    for version in ("v1.0", "v0.1"):
        with tempfile.TemporaryDirectory() as folder:
            record("javisdit", version=version, **generated(version, size, device, Path(folder)))
        free(device)


def generated(version: Version, size: Size, device: str, folder: Path) -> dict[str, Any]:
    """A clip and steps of one version."""
    import javisdit as of_version
    from random_weights import fill, javisdit_without_files

    from javisbench.baselines.javisdit import JavisDiT

    params, sizes = tiny_javisdit(version, folder / "tiny") if size.tiny else ({}, of_version.Sizes())
    started = time.monotonic()
    networks: dict[str, nn.Module] = of_version.networks(version, sizes, device)
    for network in networks.values():
        fill(network.bfloat16() if on_gpu(device) else network)
    (folder / "weights").mkdir()
    generator = JavisDiT(version, params if size.steps is None else {**params, "steps": str(size.steps)})
    # Each is taken out when it is read, so that it can be freed.
    given = {name: partial(networks.pop, name) for name in networks}
    with javisdit_without_files(version, given, folder / "weights") as weights:
        generator.load(device, "auto", weights)
        free(device)
        built_s = time.monotonic() - started
        calls: list[tuple[Any, Any]] = []
        pipeline = generator._pipeline
        assert pipeline is not None
        hook = pipeline.network.register_forward_pre_hook(
            lambda _, args, kwargs: calls.append((args, kwargs)) if not calls else None, with_kwargs=True
        )
        made = of_version.generated(generator, 1)[0]
        hook.remove()
    steps = [step_of(pipeline.network, *calls[0], clips, device) for clips in size.batches]
    generator.close()
    best = min((step for step in steps if "seconds_per_clip" in step), key=lambda step: step["seconds_per_clip"])
    return {
        "build_s": round(built_s, 1),
        "seconds": made["seconds"],
        "peak_bytes": made["peak_bytes"],
        "steps": steps,
        "best_batch": best["clips"],
    }


def step_of(network: nn.Module, args: Any, kwargs: Any, clips: int, device: str) -> dict[str, Any]:
    """One step of several clips at once, each as its two rows, from the arguments of one clip's step."""
    import torch
    from torch.utils._pytree import tree_map_only

    def repeated(tensor: torch.Tensor) -> torch.Tensor:
        return torch.cat([tensor] * clips) if tensor.ndim and len(tensor) == 2 else tensor

    found: dict[str, Any] = {"clips": clips}
    try:
        with torch.inference_mode():
            args, kwargs = tree_map_only(torch.Tensor, repeated, (args, kwargs))
            network(*args, **kwargs)
            synchronise(device)
            reset_peak(device)
            started = time.monotonic()
            network(*args, **kwargs)
            synchronise(device)
    except torch.cuda.OutOfMemoryError:
        return {**found, "error": "out of memory"}
    seconds = time.monotonic() - started
    peak = torch.cuda.max_memory_allocated(device) if on_gpu(device) else None
    return {**found, "seconds_per_clip": round(seconds / clips, 4), "peak_bytes": peak}


def tiny_javisdit(version: Version, folder: Path) -> tuple[dict[str, str], Any]:
    """Parameters and sizes of networks that only show that everything runs."""
    import javisdit as of_version

    from javisbench.baselines.javisdit.config import V01Config, V10Config, read_config

    config = module_at(ROOT / "tests/baselines/javisdit/tiny_checkpoint.py").write_tiny(folder, version)
    text = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 4, "vocab_size": 128}
    sizes = of_version.Sizes(
        text={"v1.0": text, "v0.1": {**text, "feed_forward_proj": "gated-gelu"}},
        wan={"base_dim": 8, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1},
        audio_vae={"block_out_channels": (8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4},
        vocoder={"upsample_initial_channel": 32, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1]]},
    )
    if version == "v1.0":
        sizes = replace(sizes, v10=read_config(config, V10Config()))
    else:
        sizes = replace(sizes, v01=read_config(config, V01Config()))
    return {"config": str(config)}, sizes


# The device


def on_gpu(device: str) -> bool:
    """Whether `device` is one of CUDA."""
    return device.startswith("cuda")


def synchronise(device: str) -> None:
    """Wait for what was asked of the device."""
    import torch

    if on_gpu(device):
        torch.cuda.synchronize(device)


def reset_peak(device: str) -> None:
    """Count memory anew."""
    import torch

    if on_gpu(device):
        torch.cuda.reset_peak_memory_stats(device)


def free(device: str) -> None:
    """Give back what no tensor needs."""
    import gc

    import torch

    gc.collect()
    if on_gpu(device):
        torch.cuda.empty_cache()


def peak_of(device: str) -> tuple[float, float] | None:
    """FLOP/s of the card in 16 and 32 bits; None for one that is not in the table."""
    import torch

    if not on_gpu(device):
        return None
    name = torch.cuda.get_device_name(device)
    return next((peaks for key, peaks in PEAKS.items() if key in name), None)


def machine(device: str) -> dict[str, Any]:
    """What this runs on."""
    import torch

    from javisbench.run.manifest import hardware, versions

    return {
        "device": torch.cuda.get_device_name(device) if on_gpu(device) else "CPU",
        "hardware": hardware(device),
        "versions": versions(),
    }


# The command

PHASES: Mapping[str, Callable[[Size, str, Record], None]] = {
    "golden": golden,
    "encoders": encoders,
    "score": score,
    "javisdit": javisdit,
}


def recorder(out: Path, phase: str) -> Record:
    """Appends results to a file, each as a line, on the disk before it returns."""

    def record(what: str, **facts: Any) -> None:
        line = json.dumps({"phase": phase, "what": what, **facts})
        with out.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        print(line if len(line) < 400 else f"{line[:400]}...", flush=True)

    return record


def run_phases(names: Sequence[str], size: Size, given: argparse.Namespace) -> bool:
    """Each phase in a process of its own; whether all went well."""
    good = True
    for name in names:
        command = [sys.executable, __file__, "--out", str(given.out), "--device", given.device, "--run-phase", name]
        started = time.monotonic()
        process = subprocess.Popen([*command, *(["--rehearse"] if given.rehearse else [])], start_new_session=True)
        try:
            status = process.wait(timeout=size.limits_s[name])
            how = "done" if status == 0 else f"failed with status {status}"
        except subprocess.TimeoutExpired:
            how = f"stopped after {size.limits_s[name]:g} s"
        finally:
            end(process)
        recorder(given.out, name)("phase", status=how, seconds=round(time.monotonic() - started, 1))
        good = good and how == "done"
    return good


def end(process: subprocess.Popen[bytes]) -> None:
    """End a phase with all that it started."""
    import contextlib
    import signal

    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def default_device(rehearse: bool) -> str:
    """A GPU, unless it is a rehearsal.

    Raises:
        SystemExit: there is none.
    """
    if rehearse:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("There is no GPU here. To see that everything runs: python benchmarks/gpu.py --rehearse")
    return "cuda"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file to which lines of JSON are appended; needed unless rehearsed")
    parser.add_argument("--phase", choices=list(PHASES), action="append", help="one of them; may be given again")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on a CPU")
    parser.add_argument("--device", help="torch device; default cuda, or cpu in a rehearsal")
    parser.add_argument("--run-phase", choices=list(PHASES), help=argparse.SUPPRESS)
    given = parser.parse_args()
    size = TINY if given.rehearse else Size()
    given.device = given.device or default_device(given.rehearse)
    if given.run_phase:
        PHASES[given.run_phase](size, given.device, recorder(given.out, given.run_phase))
        return
    if given.out is None and not given.rehearse:
        parser.error("--out FILE is needed")
    with tempfile.TemporaryDirectory() as folder:
        given.out = given.out or Path(folder) / "rehearsal.jsonl"
        recorder(given.out, "all")("machine", **machine(given.device), size=asdict(size))
        if not run_phases(given.phase or list(PHASES), size, given):
            raise SystemExit(1)


if __name__ == "__main__":
    main()
