"""Encoders and generators at official size on a GPU that is not there: what they would compute and hold.

    make fake-gpu                                            in an environment of its own, with torch for CUDA
    python benchmarks/fake_gpu.py [NAME ...] [--out FILE]    in one that has it; with names, the file's other rows stay

Each goes its usual way, from its checkpoint to numpy arrays, over tensors without numbers (`fake_device.py`); weights
are shapes too, so nothing is read. What would fail on a GPU for a tensor on the wrong device, or of the wrong type or
shape, fails here, and the exit status is 1. Nothing is timed and nothing measured: operations are counted (matrix
products, convolutions and attention), and divided by the peak of an H100's data sheet.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import javisdit
import numpy as np
import torch
from fake_device import DEVICE, Memory, fake_device
from random_weights import checkpoint_of, javisdit_without_files, network_of, write_tokenizer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from javisbench.baselines.javisdit import JavisDiT
from javisbench.baselines.javisdit.options import Version
from javisbench.clip import Clip
from javisbench.errors import JavisbenchError
from javisbench.metrics.base import needed_features
from javisbench.metrics.encoders import ENCODERS, checkpoint, lacking, network_encoder
from javisbench.metrics.encoders.base import Encoder, FeatureSpec
from javisbench.metrics.encoders.pair_flows import SharedFlowEncoder
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1, V2, Protocol

# FLOP/s of an H100 (SXM) by its data sheet, without sparsity: 32-bit without tensor cores, 16-bit with them.
PEAKS = {"fp32": 67e12, "bf16": 989e12, "fp16": 989e12}
GIB = 2**30
CLIPS = 8
PROMPT = "A dog barks twice at a passing train"
STEPS = 2
LEFT_OUT = {
    "audiobox": "its network is the package audiobox-aesthetics'",
    "dnsmos": "runs on the CPU, whatever the device",
    "passt": "its network is the package hear21passt's",
    "sensevoice": "its network, and how it finds words, are the package funasr's",
    "syncnet": "looks for faces first, and tensors without numbers have none",
    "vggish": "its network is the package torchvggish's",
    "whisper": "its network, and how it finds words, are the package transformers'",
    "videoreward": "runs in a process of its own",
    "cascade": "its networks, and their sizes, come with their packages and checkpoints",
    "checkout": "runs in a process of its own",
    "command": "runs in a process of its own",
    "hosted": "runs elsewhere",
    "mmaudio": "its network is the package mmaudio's",
    "diffusers": "its networks, and their sizes, come with the checkpoint",
    "mm-diffusion": "runs in a process of its own",
    "opensora": "its network is the picture's half of javisdit:v0.1, which is checked",
    "procedural": "has no network",
}


@dataclass(frozen=True)
class Row:
    """One way of one encoder, or one stage of one generator.

    Attributes:
        name: the encoder, or the generator and its version.
        what: the protocol whose features were made, or the stage.
        precision: of the products.
        tflop: for one clip, or one step of one clip.
        weights_gib: of the networks on the device.
        activations_gib: the most that was held besides.
        least_s: the operations at the card's peak: what a clip (a step) takes at least.
    """

    name: str
    what: str
    precision: str
    tflop: float
    weights_gib: float
    activations_gib: float
    least_s: float


@dataclass(frozen=True)
class Counted:
    """What `counting` found: operations, and the largest number of bytes held on the device."""

    flops: int
    peak_bytes: int


def row(name: str, what: str, precision: str, counted: Counted, weights_bytes: int, share: float) -> Row:
    """A row of `counted` divided by `share` clips or steps."""
    flops = counted.flops / share
    return Row(
        name,
        what,
        precision,
        tflop=float(f"{flops / 1e12:.3g}"),
        weights_gib=round(weights_bytes / GIB, 2),
        activations_gib=round(max(0, counted.peak_bytes - weights_bytes) / GIB, 2),
        least_s=float(f"{flops / PEAKS[precision]:.3g}"),
    )


@contextmanager
def counting(memory: Memory) -> Iterator[Callable[[], Counted]]:
    """Counts what happens inside."""
    memory.restart()
    with FlopCounterMode(display=False) as counter:
        yield lambda: Counted(counter.get_total_flops(), memory.peak)


# Encoders


def encoder_rows(name: str, memory: Memory) -> Iterator[Row]:
    """An encoder on the features of each protocol, and in each precision that it may run in."""
    cls = ENCODERS.get(name)
    # fp16 has the same operations and sizes as bf16.
    precisions = ("fp32", "bf16") if cls.card.reduced_precision else ("fp32",)
    before: list[FeatureSpec] = []
    for protocol in (V1, V2):
        specs = wanted(name, protocol)
        if specs == before or not specs:
            continue
        before = specs
        for precision in precisions if protocol is V1 else ("fp32",):
            encoder = cls()
            held = memory.held
            with fake_checkpoint(encoder) as path:
                encoder.load(path, DEVICE)
            weights_bytes = memory.held - held
            counted = encode(encoder, specs, precision, memory)
            encoder.close()
            yield row(name, protocol.name, precision, counted, weights_bytes, clips_at_once(cls))


def clips_at_once(cls: type[Encoder]) -> int:
    """Clips that an encoder is shown together; of optical flow, the others would be the CPU's."""
    return 1 if issubclass(cls, SharedFlowEncoder) else CLIPS


def wanted(name: str, protocol: Protocol) -> list[FeatureSpec]:
    """What the metrics of a protocol, and those that are asked for by name, want of an encoder."""
    found: set[FeatureSpec] = set()
    for metric in METRICS.own:
        found |= {spec for spec in needed_features(METRICS.get(metric)(), protocol) if spec.encoder == name}
    return sorted(found, key=repr)


def encode(encoder: Encoder, specs: Sequence[FeatureSpec], precision: str, memory: Memory) -> Counted:
    """Clips and prompts through an encoder, as a run does it.

    Raises:
        JavisbenchError: it made no features.
    """
    of_clips = [spec for spec in specs if spec.subject == "clip"]
    of_prompts = [spec for spec in specs if spec.subject != "clip"]
    with torch.inference_mode(), autocast(precision), counting(memory) as counted:
        numbers = range(clips_at_once(type(encoder)))
        made = encoder.encode([clip(number) for number in numbers], of_clips)
        if of_prompts:
            made += encoder.encode([f"{PROMPT}, {number}" for number in numbers], of_prompts)
    for features in made:
        for spec, value in features.items():
            if isinstance(value, JavisbenchError):
                raise value
            for array in value.values():
                assert type(array) is np.ndarray, f"{spec.feature} is a {type(array).__name__}"
    return counted()


def autocast(precision: str) -> AbstractContextManager[Any]:
    """As `EncodeSession.precise` enters it."""
    return nullcontext() if precision == "fp32" else torch.autocast(DEVICE, getattr(torch, _TYPES[precision]))


_TYPES = {"bf16": "bfloat16", "fp16": "float16"}


def clip(number: int) -> Clip:
    """A clip of the suite's setting with a quiet tone; its pictures are black but for a pixel, and all different."""
    count = int(javisdit.SETTING.duration_s * javisdit.SETTING.fps)
    frames = np.zeros((count, javisdit.SETTING.height, javisdit.SETTING.width, 3), np.uint8)
    frames[np.arange(count), number, np.arange(count)] = 255
    seconds = (
        np.arange(int(javisdit.SETTING.duration_s * javisdit.SETTING.sample_rate), dtype=np.float32)
        / javisdit.SETTING.sample_rate
    )
    sound = 0.1 * np.sin(2 * np.pi * (200 + 10 * number) * seconds)
    return Clip(
        frames,
        javisdit.SETTING.fps,
        sound[None].astype(np.float32),
        javisdit.SETTING.sample_rate,
        name=f"clip-{number}",
    )


@contextmanager
def fake_checkpoint(encoder: Encoder) -> Iterator[Path | None]:
    """The path of a checkpoint that, read inside, holds shapes under the encoder's names; None for one without."""
    if encoder.card.variants[encoder.variant] is None:
        yield None
        return
    state = checkpoint_of(encoder, network_of(encoder, "cpu"))
    with ExitStack() as stack:
        for module in (checkpoint, network_encoder):
            stack.enter_context(mock.patch.object(module, "load_checkpoint", lambda path: dict(state)))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        path = Path(folder) / "pytorch_model.bin"
        write_tokenizer(path.with_name("tokenizer.json"))
        yield path


# Generators


def without_numbers(network: nn.Module) -> nn.Module:
    """A network of the meta device on the CPU, as a checkpoint would hold it."""

    def on_cpu(tensor: Tensor) -> Tensor:
        dtype = torch.bfloat16 if tensor.is_floating_point() else tensor.dtype
        return torch.empty(tensor.shape, dtype=dtype, device="cpu")

    return copy.deepcopy(network)._apply(on_cpu)


def javisdit_rows(version: Version, memory: Memory) -> Iterator[Row]:
    """JavisDiT's stages, a prompt, a step and a clip."""
    from javisbench.baselines.javisdit.pipeline import Cost

    counts: dict[str, Counted] = {}

    @contextmanager
    def of(cost: Cost, stage: str, device: str) -> Iterator[None]:
        with counting(memory) as counted:
            yield
        counts[stage] = counted()
        cost.seconds[stage] = 0.0

    shapes = javisdit.networks(version, javisdit.Sizes())
    networks = {name: partial(without_numbers, network) for name, network in shapes.items()}
    generator = JavisDiT(version, {"steps": str(STEPS)})
    with tempfile.TemporaryDirectory() as folder, javisdit_without_files(version, networks, Path(folder)) as weights:
        held = memory.held
        generator.load(DEVICE, "auto", weights)
        with mock.patch.object(Cost, "of", of):
            javisdit.generated(generator, 1)
        weights_bytes = memory.held - held
        generator.close()
    name = f"javisdit:{version}"
    yield row(name, "prompt", "bf16", counts["encode_batch"], 0, 1)
    yield row(name, "step", "bf16", counts["denoise"], weights_bytes, STEPS)
    yield row(name, "decoding", "fp32", counts["decode"], weights_bytes, 1)


# The command


def checks() -> dict[str, Callable[[Memory], Iterator[Row]]]:
    """All that can be checked, by name."""
    encoders = {name: partial(encoder_rows, name) for name in ENCODERS.own if on_gpu(name)}
    return {**encoders, **{f"javisdit:{version}": partial(javisdit_rows, version) for version in ("v1.0", "v0.1")}}


def on_gpu(name: str) -> bool:
    """Whether an encoder computes on a GPU, and is checked here."""
    cls = ENCODERS.get(name)
    return name not in LEFT_OUT and (not cls.card.host or issubclass(cls, SharedFlowEncoder))


def run(names: Sequence[str]) -> dict[str, Any]:
    """Run checks one after another; a failed one has its error in place of rows."""
    rows: list[Mapping[str, Any]] = []
    failed: dict[str, str] = {}
    left_out = dict(LEFT_OUT)
    for name in names:
        if name in ENCODERS.own and (reason := lacking(name)):
            left_out[name] = reason
            continue
        started = time.monotonic()
        try:
            with fake_device() as memory:
                rows += [asdict(found) for found in checks()[name](memory)]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the next one is tried
            traceback.print_exc()
            failed[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        print(f"{name}: {failed.get(name, 'passes')} ({time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)
    return {
        "what": "arithmetic over tensors without numbers; nothing was measured",
        "peak_flops": PEAKS,
        "clips_at_once": CLIPS,
        "torch": torch.__version__,
        "rows": rows,
        "failed": failed,
        "left_out": left_out,
    }


def joined(earlier: Mapping[str, Any], result: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A result of some checks with those of an earlier one for the others, in the order of a whole one."""
    order = list(checks())
    rows = [found for found in earlier["rows"] if found["name"] not in names] + result["rows"]
    rows = sorted((found for found in rows if found["name"] in order), key=lambda found: order.index(found["name"]))
    failed = {name: why for name, why in earlier["failed"].items() if name not in names} | result["failed"]
    return {**result, "rows": rows, "failed": failed, "left_out": earlier["left_out"] | result["left_out"]}


def table(result: Mapping[str, Any]) -> str:
    """The rows as a table in Markdown."""
    lines = [
        "| | what | precision | TFLOP | weights, GiB | besides, at most, GiB | at the peak, ms |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for found in result["rows"]:
        numbers = (found["tflop"], found["weights_gib"], found["activations_gib"], 1000 * found["least_s"])
        cells = (f"`{found['name']}`", found["what"], found["precision"], *(f"{number:.3g}" for number in numbers))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(checks())}; all when none is given")
    parser.add_argument("--out", type=Path, help="file for the JSON, otherwise it is printed")
    given = parser.parse_args()
    if unknown := sorted(set(given.names) - set(checks())):
        parser.error(f"there is no {', '.join(unknown)}")
    result = run(given.names or list(checks()))
    if given.names and given.out and given.out.exists():
        result = joined(json.loads(given.out.read_text(encoding="utf-8")), result, given.names)
    text = json.dumps(result, indent=1) + "\n"
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    else:
        print(text)
    if result["failed"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
