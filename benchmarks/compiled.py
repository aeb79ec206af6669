"""What `--compile` gains on a CPU: networks at official width as they are, and as torch.compile makes them.

    OMP_NUM_THREADS=1 python benchmarks/compiled.py --json FILE

Each network runs in turn both ways; a row has the least processor seconds of a call of each, those of compiling (with
the compiler's processes, and nothing kept from before), and how far the values are from each other. CUDA graphs and
GPUs are not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from javisbench.metrics.encoders.i3d import I3DEncoder
from javisbench.metrics.encoders.imagebind.config import CONFIGS
from javisbench.metrics.encoders.imagebind.network import Trunk
from javisbench.metrics.encoders.synchformer.network import Synchformer

# All blocks of a trunk are alike: what two of them gain, 32 do, and a checkpoint of 4 GB is not needed.
_BLOCKS = 2


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        network: which, and its input.
        plain_s: least processor seconds of a call.
        compiled_s: the same once it is compiled.
        compiling_s: processor seconds of the first call, which compiles.
        difference: largest difference of any output, over the largest output.
    """

    network: str
    plain_s: float
    compiled_s: float
    compiling_s: float
    difference: float

    @property
    def calls(self) -> float:
        """How many calls pay for compiling; infinite where none do."""
        gain = self.plain_s - self.compiled_s
        return self.compiling_s / gain if gain > 0 else float("inf")


def used_s() -> float:
    """Processor seconds of this process and of those that have ended for it."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in spent)


def measured(network: str, plain: torch.nn.Module, inputs: torch.Tensor, calls: int) -> Row:
    """Both ways in turn, `calls` times."""
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    plain.eval().requires_grad_(False)
    compiled: Callable[[torch.Tensor], torch.Tensor] = torch.compile(plain)
    with torch.inference_mode():
        expected = plain(inputs)
        before = used_s()
        gap = float((compiled(inputs) - expected).abs().max() / expected.abs().max())
        compiling_s = used_s() - before
        best = {plain: float("inf"), compiled: float("inf")}
        for _ in range(calls):
            for way in best:
                start = time.process_time()
                way(inputs)
                best[way] = min(best[way], time.process_time() - start)
    return Row(network, best[plain], best[compiled], compiling_s, gap)


def rows(calls: int) -> Iterator[Row]:
    """The networks that take the most of a GPU's time (docs/benchmarks.md)."""
    tower = replace(CONFIGS["huge"].vision, blocks=_BLOCKS)
    trunk = Trunk(tower, norm_first=True)
    yield measured(f"ImageBind, {_BLOCKS} of 32 blocks, 2 pictures", trunk, torch.randn(2, 257, tower.width), calls)
    yield measured("I3D, 24 frames", I3DEncoder()._build(), torch.randn(1, 3, 24, 224, 224), calls)
    yield measured("Synchformer, sound, 4 segments", Synchformer().afeat_extractor, torch.randn(4, 128, 66), calls)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=5, help="each way")
    parser.add_argument("--json", type=Path, help="where results go")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        # In this process, whose seconds are counted.
        os.environ |= {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        torch.manual_seed(0)
        found = []
        for row in rows(args.calls):
            found.append(row)
            print(
                f"{row.network}: {row.plain_s:.3f} s, compiled {row.compiled_s:.3f} s "
                f"({row.plain_s / row.compiled_s:.2f} times), compiling {row.compiling_s:.0f} s, paid for after "
                f"{row.calls:.0f} calls, differs by {row.difference:.0e}",
                flush=True,
            )
    if args.json is not None:
        facts = {"torch": torch.__version__, "threads": torch.get_num_threads(), "rows": [asdict(row) for row in found]}
        args.json.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
