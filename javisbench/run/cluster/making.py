"""Clips made by a cluster: actors load the model, make batches of clips and send the finished files."""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from javisbench.baselines.base import Failed, Generated, Request
from javisbench.baselines.fingerprint import Hashes, content, deciding_files, difference, hash_files
from javisbench.errors import JavisbenchError, RunError
from javisbench.matching import clip_name
from javisbench.run.cluster.connect import Pool, connected
from javisbench.run.conform import conform_clip
from javisbench.run.generate import FILE_SUFFIXES, Conform, MadeFiles, answers, making_facts
from javisbench.run.store_clip import place_clip

if TYPE_CHECKING:
    from javisbench.clip import ClipSpec


@dataclass(frozen=True)
class Making:
    """How actors make clips.

    Attributes:
        model: as given on the command line.
        params: the model's parameters, as text.
        weights_dirs: folders with checkpoints.
        hashes: of the model's files on the machine that began the job; None where it has none.
        device: torch device.
        dtype: as for `javisbench.run.generate.GenerateSettings`.
        conform: likewise.
        setting: what clips are brought to under ``exact``.
        threads: of torch on a CPU, so that all machines compute alike; None for models without torch.
    """

    model: str
    params: Mapping[str, str]
    weights_dirs: Sequence[Path]
    hashes: Hashes | None
    device: str
    dtype: str
    conform: Conform
    setting: ClipSpec
    threads: int | None


class Maker:
    """Makes batch after batch; the model stays loaded.

    Raises:
        RunError: the model's files are others than those of the machine that began the job.
        MissingWeightsError: they are not on this machine.
    """

    kind = "making"

    def __init__(self, how: Making) -> None:
        from javisbench.baselines.registry import create_generator
        from javisbench.weights import WeightStore

        self._how = how
        weights = WeightStore(how.weights_dirs)
        self._generator = create_generator(how.model, how.params)
        if how.hashes is not None:
            found = hash_files(deciding_files(self._generator, weights), weights)
            if content(found) != content(how.hashes):
                raise RunError(
                    f"{socket.gethostname()} of the cluster has other files of the model than this machine: "
                    f"{'; '.join(difference(how.hashes, found))}. Give all machines the same ones."
                )
        self._staging = tempfile.TemporaryDirectory(prefix="javisbench-")
        self._generator.staging = Path(self._staging.name) / "staging"
        self._generator.load(how.device, how.dtype, weights)
        if how.threads is not None and (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(how.threads)

    def told(self, group: list[Request]) -> str:
        """The first clip, and how many more."""
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        return f"{clip_name(group[0].sample.id, group[0].repeat)}{more}"

    def __call__(self, group: list[Request]) -> list[MadeFiles | Failed]:
        """One answer a request."""
        finished: list[MadeFiles | Failed] = []
        asked = time.monotonic()
        for answer in answers(self._generator, group):
            made_s = time.monotonic() - asked
            finished.append(self._files(answer, made_s) if isinstance(answer, Generated) else answer)
            asked = time.monotonic()
        return finished

    def _files(self, answer: Generated, made_s: float) -> MadeFiles | Failed:
        started = time.monotonic()
        clip, finished = answer.clip, answer.files
        with tempfile.TemporaryDirectory(dir=self._staging.name) as folder:
            stem = Path(folder) / "clip"
            try:
                if self._how.conform == "exact":
                    clip, finished = conform_clip(clip, self._how.setting), {}
                place_clip(clip, finished, stem.with_suffix(".mp4"), stem.with_suffix(".wav"), answer.request.task)
            except JavisbenchError as error:
                if isinstance(error, RunError):
                    raise
                return Failed(answer.request, "generate", error.kind, error.message)
            files = {s: stem.with_suffix(s).read_bytes() for s in FILE_SUFFIXES if stem.with_suffix(s).exists()}
        how = making_facts(answer.clip, made_s, time.monotonic() - started, self._how.device)
        return MadeFiles(answer.request, files, dict(answer.info), how)


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
    ) -> Generator[MadeFiles | Failed, None, None]:
        """Answers to all requests, in any order of the batches.

        Raises:
            JavisbenchError: the model cannot be loaded, or the cluster fails.
        """
        with connected(self.address) as cluster:
            torch = sys.modules.get("torch")
            threads = None if torch is None else int(torch.get_num_threads())
            device = self.device or ("cuda" if cluster.gpus else "cpu")
            how = Making(self.model, self.params, weights_dirs, hashes, device, dtype, conform, setting, threads)
            with contextlib.closing(cluster.mapped(batches, [_pool(how)])) as made:
                for some in made:
                    yield from some


def _pool(how: Making) -> Pool:
    return Pool(Maker, how, cpus=1, gpus=1 if how.device.startswith("cuda") else 0)
