"""Clips made by a cluster: actors load the model, make batches of clips and send the finished files."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from javisbench.baselines.base import Failed, Request
from javisbench.baselines.fingerprint import Hashes
from javisbench.run.cluster.connect import Pool, connected
from javisbench.run.generate import Conform, MadeFiles
from javisbench.run.making import Maker, Making

if TYPE_CHECKING:
    from javisbench.clip import ClipSpec


@dataclass(frozen=True)
class RayMaker:
    """Makes clips on a cluster.

    Attributes:
        address: of the cluster; None for ``$RAY_ADDRESS``, else for one on this machine alone.
        model: as given on the command line.
        params: the model's parameters, as text.
        device: torch device of the actors; None for cuda where the cluster has GPUs.
    """

    address: str | None
    model: str
    params: Mapping[str, str]
    device: str | None

    def make(
        self,
        batches: Sequence[list[Request]],
        *,
        weights_dirs: Sequence[Path],
        hashes: Hashes | None,
        dtype: str,
        conform: Conform,
        setting: ClipSpec,
        run: Path,
    ) -> Generator[MadeFiles | Failed, None, None]:
        """Answers to all requests, in any order of the batches.

        Raises:
            JavisbenchError: the model cannot be loaded, or the cluster fails.
        """
        with connected(self.address) as cluster:
            torch = sys.modules.get("torch")
            threads = None if torch is None else int(torch.get_num_threads())
            device = self.device or ("cuda" if cluster.gpus else "cpu")
            requests = [request for batch in batches for request in batch]
            how = Making(
                self.model, self.params, weights_dirs, hashes, device, dtype, conform, setting, threads, requests
            )
            with contextlib.closing(cluster.mapped(batches, [_pool(how)])) as made:
                for some in made:
                    yield from some


def _pool(how: Making) -> Pool:
    return Pool(Maker, how, cpus=1, gpus=1 if how.device.startswith("cuda") else 0)
