"""Clips made by a cluster: actors load the model, make batches of clips and send the finished files."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from javisbench.baselines.base import Failed, Request
from javisbench.baselines.fingerprint import Hashes
from javisbench.run.cluster.connect import Pool, connected
from javisbench.run.generate import MadeFiles
from javisbench.run.making import Maker, Making, torch_threads


@dataclass(frozen=True)
class RayMaker:
    """Makes clips on a cluster.

    Attributes:
        address: of the cluster; None for ``$RAY_ADDRESS``, else for one on this machine alone.
        how: model and settings; an empty device is cuda where the cluster has GPUs.
    """

    address: str | None
    how: Making

    def make(
        self, batches: Sequence[list[Request]], hashes: Hashes | None
    ) -> Generator[MadeFiles | Failed, None, None]:
        """Answers to all requests, in any order of the batches.

        Raises:
            JavisbenchError: the model cannot be loaded, or the cluster fails.
        """
        with connected(self.address) as cluster:
            device = self.how.device or ("cuda" if cluster.gpus else "cpu")
            requests = [request for batch in batches for request in batch]
            how = replace(self.how, hashes=hashes, device=device, threads=torch_threads(), requests=requests)
            with contextlib.closing(cluster.mapped(batches, [_pool(how)])) as made:
                for some in made:
                    yield from some


def _pool(how: Making) -> Pool:
    return Pool(Maker, how, cpus=1, gpus=1 if how.device.startswith("cuda") else 0)
