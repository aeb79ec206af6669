"""What makes clips in another process than the run's: a model that stays loaded, and answers with finished files."""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from javisbench.baselines.base import Failed, Generated, Request
from javisbench.baselines.fingerprint import Hashes, content, deciding_files, difference, hash_files
from javisbench.errors import JavisbenchError, RunError
from javisbench.matching import clip_name
from javisbench.run.conform import conform_clip
from javisbench.run.generate import FILE_SUFFIXES, Conform, MadeFiles, making_facts
from javisbench.run.model_answers import answers, prepare
from javisbench.run.store_clip import place_clip

if TYPE_CHECKING:
    from javisbench.clip import ClipSpec


def torch_threads() -> int | None:
    """How many threads torch has here, which others take over; None while nobody has imported it."""
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


@dataclass(frozen=True)
class Making:
    """How clips are made in other processes.

    Attributes:
        model: as given on the command line.
        params: the model's parameters, as text.
        weights_dirs: folders with checkpoints.
        hashes: of the model's files on the machine that began the job; None where it has none, and on itself.
        device: torch device; empty until the machines of a cluster are known.
        dtype: as for `javisbench.run.generate.GenerateSettings`.
        conform: likewise.
        setting: what clips are brought to under ``exact``.
        threads: of torch on a CPU, so that all machines compute alike; None for models without torch.
        requests: every clip that is still to be made, here or elsewhere, for `Generator.prepare`.
        prompts: folder of encoded prompts that processes of one machine share; None for one of this process alone.
        staging: folder for files on their way; None for one of this process alone, among the system's temporary ones.
        told_device: what sidecars call the device; None for `device`.
    """

    model: str
    params: Mapping[str, str]
    weights_dirs: Sequence[Path]
    hashes: Hashes | None
    device: str
    dtype: str
    conform: Conform
    setting: ClipSpec
    threads: int | None = None
    requests: Sequence[Request] = ()
    prompts: Path | None = None
    staging: Path | None = None
    told_device: str | None = None


class Maker:
    """Makes batch after batch; the model stays loaded.

    Raises:
        RunError: the model's files are others than those of the machine that began the job.
        MissingWeightsError: they are not on this machine.
    """

    kind = "making"

    def __init__(self, how: Making) -> None:
        from javisbench.baselines.registry import create_generator, naming_package
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
        if how.staging is not None:
            how.staging.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(prefix="javisbench-", dir=how.staging)
        self._generator.staging = Path(self._folder.name) / "staging"
        self._generator.prompt_folder = how.prompts or Path(self._folder.name) / "prompts"
        with naming_package(self._generator, "plan"):
            self._generator.plan(how.setting)  # cascades remember what they have planned
        with naming_package(self._generator, "load"):
            self._generator.load(how.device, how.dtype, weights)
        if how.threads is not None and (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(how.threads)
        if how.requests:
            prepare(self._generator, how.requests)

    def told(self, group: list[Request]) -> str:
        """The first clip, and how many more."""
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        return f"{clip_name(group[0].sample.id, group[0].repeat)}{more}"

    def __call__(self, group: list[Request]) -> list[MadeFiles | Failed]:
        """One answer a request."""
        return [self.finished(answer, made_s) for answer, made_s in self.made(group)]

    def made(self, group: list[Request]) -> Iterator[tuple[Generated | Failed, float]]:
        """The model's answers, each with the seconds that it took."""
        asked = time.monotonic()
        for answer in answers(self._generator, group):
            yield answer, time.monotonic() - asked
            asked = time.monotonic()

    def close(self) -> None:
        """Free the model and remove what is on its way."""
        self._generator.close()
        self._folder.cleanup()

    def finished(self, answer: Generated | Failed, made_s: float) -> MadeFiles | Failed:
        """The files of a clip; a thread of its own may write them while the next is made.

        Raises:
            RunError: a full disk, or a folder that may not be written.
        """
        if isinstance(answer, Failed):
            return answer
        started = time.monotonic()
        clip, finished = answer.clip, answer.files
        with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
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
        how["device"] = self._how.told_device or self._how.device
        return MadeFiles(answer.request, files, dict(answer.info), how)
