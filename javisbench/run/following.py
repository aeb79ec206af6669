"""Encoding the clips of a run while the rest is made: a process beside the model, a few steps behind it.

It takes full blocks of clips in the suite's order, so that their batches are those of a job that encodes after it has
made everything. What it makes lies in the run's store under the same keys, where scoring finds it. What it does not
make, scoring makes: whatever goes wrong here costs time alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from javisbench.durable import sweep_temporaries
from javisbench.errors import JavisbenchError, UsageError
from javisbench.matching import generated_item
from javisbench.metrics.encoders.batching import ACTIVATION_BYTES
from javisbench.run.content_index import hash_sources
from javisbench.run.device_messages import Advance, Block, Failed, LogLine, Outcome, Setup
from javisbench.run.device_worker import DeviceWorker
from javisbench.run.devices import worker_setup
from javisbench.run.encode import BLOCK_CLIPS
from javisbench.run.encode_session import EncodeSession
from javisbench.run.features import FeatureStore
from javisbench.run.given import GivenFiles
from javisbench.run.given_features import GivenFeatures, given_stream
from javisbench.run.progress import Silent

if TYPE_CHECKING:
    from javisbench.baselines.base import Generator
    from javisbench.media import ClipSource
    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.run.generate import Fate, Settled
    from javisbench.run.plan import ScorePlan
    from javisbench.run.progress import Progress
    from javisbench.run.score import ScoreSettings
    from javisbench.suite import Sample, Suite

log = logging.getLogger(__name__)
# Where each clip is a batch, which clips share a block changes nothing: it may be small, and is not waited for.
_SINGLE_CLIPS = 8
# Files may hold numbers of 16 bits, which take 32 in memory.
_WIDER = 2
# What is prepared and waits; on a GPU besides it activations, and what its driver takes.
_WAITING_BYTES = 2 * 2**30
_ON_GPU_BYTES = ACTIVATION_BYTES + 2**30


@dataclass(frozen=True)
class Overlap:
    """Whether clips are encoded while others are made.

    Attributes:
        on: whether; on a GPU its free memory still decides, once the model has made a block of clips.
        reason: in words, after "because".
    """

    on: bool
    reason: str

    @property
    def told(self) -> str:
        """In a sentence."""
        when = "while others are made" if self.on else "after all are made"
        return f"Clips are encoded {when}: {self.reason}"


def overlap_of(
    asked: bool | None, generator: Generator, engine: str, devices: Sequence[str], plan: ScorePlan
) -> Overlap:
    """Decide whether to encode clips while others are made.

    Args:
        asked: what the user said; None for nothing.
        generator: makes the clips.
        engine: of the job.
        devices: of the networks that score.
        plan: what is scored.

    Raises:
        UsageError: it is asked of a cluster.
    """
    if engine != "local":
        if asked:
            raise UsageError(
                f"--overlap is for this machine; --engine {engine} works elsewhere. Leave one of them out."
            )
        return Overlap(False, f"--engine {engine}")
    if asked is False:
        return Overlap(False, "--no-overlap")
    if not plan.clip_specs():
        return Overlap(False, "no metric needs anything of them that takes time")
    if devices[0] != "cpu":
        needed = f"{needed_bytes(plan, devices[0]) / 1e9:.1f} GB"
        return Overlap(True, f"if {needed} of {' and '.join(devices)} are free beside the model that makes them")
    if asked:
        return Overlap(True, "--overlap")
    if not generator.computes_here:
        return Overlap(True, "the model does not work on this machine")
    return Overlap(False, "model and networks would share the cores of this machine (--overlap does it all the same)")


def needed_bytes(plan: ScorePlan, device: str) -> int:
    """Memory that the networks of a job take of a device at most, as far as their files tell."""
    found = [choice.weights.path for choice in plan.encoders.values() if choice.weights is not None]
    return _WIDER * sum(map(_size, found)) + _WAITING_BYTES + (0 if device == "cpu" else _ON_GPU_BYTES)


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def following(
    overlap: Overlap,
    run: Path,
    suite: Suite,
    clips: Sequence[tuple[Sample, int]],
    plan: ScorePlan,
    settings: ScoreSettings,
    progress: Progress,
) -> AbstractContextManager[Settled]:
    """Inside, clips that the function is told of are encoded, if that is to be.

    Args:
        overlap: whether.
        run: the run's folder, locked by the caller.
        suite: the prompts of this shard.
        clips: sample and repeat of all of them, in order.
        plan: what will be scored.
        settings: how.
        progress: shown to the user.
    """
    progress.say(overlap.told)
    if not overlap.on:
        return nullcontext(lambda *_: None)
    return _Follower(run, suite, clips, plan, settings, progress)


class _Follower:
    """Threads that wait for clips, each with the process of a device, which encodes them."""

    def __init__(
        self,
        run: Path,
        suite: Suite,
        clips: Sequence[tuple[Sample, int]],
        plan: ScorePlan,
        settings: ScoreSettings,
        progress: Progress,
    ) -> None:
        self._folder = run / "clips"
        self._suite = suite
        self._clips = clips
        self._specs = frozenset(plan.clip_specs())
        self._needed = needed_bytes(plan, settings.devices[0])
        self._progress = progress
        # Trouble of the system is scoring's to wait for.
        self._session = EncodeSession(
            plan.encoders,
            FeatureStore(run / "features"),
            settings.devices[0],
            settings.workers,
            settings.batch_clips,
            replace(settings.limits, patience_s=0.0),
            precision=settings.precision,
            compiled=settings.compiled,
            devices=settings.devices,
        )
        self._single = settings.batch_clips == 1
        self._block_clips = _SINGLE_CLIPS if self._single else BLOCK_CLIPS
        self._workers = [DeviceWorker(device, partial(self._setup, device)) for device in settings.devices]
        self._threads = [
            threading.Thread(target=self._serve, args=(worker,), name="javisbench-follower", daemon=True)
            for worker in self._workers
        ]
        # Held while a block is filled, and guards what that needs.
        self._filling = threading.Lock()
        self._seen: set[str] = set()
        self._brought = False
        # Guards everything below.
        self._changed = threading.Condition()
        self._settled: set[tuple[str, int]] = set()
        self._next = 0
        self._made = 0
        self._encoded = 0
        self._at_work = 0
        self._ending = self._aborted = False
        self._reasons: list[str] = []

    def __enter__(self) -> Settled:
        for thread in self._threads:
            thread.start()
        return self._settle

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._end()
            if kind is None and not self._single:
                self._finish()
        finally:
            self._abort()
        if kind is None:
            told = f"at least {self._encoded} of {len(self._clips)}"
            self._progress.say(f"Clips: {told} were encoded while others were made")
        for reason in self._reasons if kind is None else ():
            log.warning(
                "No more clips were encoded while others were made: %s. All that is left is encoded now", reason
            )

    def _settle(self, sample: Sample, repeat: int, fate: Fate) -> None:
        with self._changed:
            self._settled.add((sample.id, repeat))
            self._made += fate == "made"
            self._changed.notify_all()

    def _end(self) -> None:
        """No further block is begun."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def _finish(self) -> None:
        """Wait for the blocks at hand, whose batches would be others if they were broken off."""
        if self._at_work:
            self._progress.say(f"Waiting for {self._at_work} clips that are being encoded")
        for thread in self._threads:
            thread.join()

    def _abort(self) -> None:
        """End the processes, whatever they do."""
        self._aborted = True
        for worker in self._workers:
            worker.kill()
        for thread in self._threads:
            thread.join()
        sweep_temporaries(self._session.store.folder)  # nobody else writes there now

    def _serve(self, worker: DeviceWorker) -> None:
        try:
            while (block := self._block()) is not None:
                self._count(at_work=len(block.clips))
                try:
                    if not self._encode(block, worker):
                        return
                finally:
                    self._count(at_work=-len(block.clips))
        except (JavisbenchError, OSError) as error:
            self._stop(error)
        finally:
            worker.end()

    def _encode(self, block: Block, worker: DeviceWorker) -> bool:
        worker.send(block)
        if self._aborted:  # which may have been before there was a process to kill
            worker.kill()
        message = worker.hear()
        while isinstance(message, Advance | LogLine):
            message = worker.hear()
        if isinstance(message, Outcome):
            self._count(encoded=len(block.clips) - len(message.errors))
            return True
        if isinstance(message, Failed):
            self._stop(message.error)
        elif not self._aborted:
            # Most often for want of memory, which another try would take from the model.
            self._stop(f"its process on {worker.device} died")
        return False

    def _stop(self, why: str | Exception) -> None:
        reason = (why.sentence if isinstance(why, JavisbenchError) else str(why)).rstrip(".")
        log.debug("encoding while clips are made has ended: %s", reason)
        with self._changed:
            self._reasons.append(reason)

    def _count(self, at_work: int = 0, encoded: int = 0) -> None:
        with self._changed:
            self._at_work += at_work
            self._encoded += encoded

    def _block(self) -> Block | None:
        """The next clips to encode, as soon as there are enough; None at the end."""
        with self._filling:
            if not self._brought:
                self._bring_given()
            wanted: dict[ClipSource, tuple[str, Sequence[FeatureSpec]]] = {}
            while len(wanted) < self._block_clips:
                clip = self._clip()
                if clip is None:
                    return None
                wanted |= self._wanted(*clip)
            return Block(wanted)

    def _bring_given(self) -> None:
        """What other runs have made of the suite's own pictures or sounds is not made again."""
        stream = given_stream(self._suite)
        self._brought = True
        if stream is not None:
            given = GivenFeatures(self._suite, stream, GivenFiles(), self._session)
            given.bring((sample for sample, _ in self._clips), self._specs, (), ())

    def _clip(self) -> tuple[Sample, int] | None:
        """The next clip in the suite's order, once it is settled; None when there is none to wait for.

        None is taken before the model has made as many as a block holds: until then nobody knows what memory it needs.
        """
        with self._changed:
            while not self._ending and self._next < len(self._clips):
                sample, repeat = self._clips[self._next]
                if self._made >= self._block_clips and (sample.id, repeat) in self._settled:
                    self._next += 1
                    return sample, repeat
                self._changed.wait()
        return None

    def _wanted(self, sample: Sample, repeat: int) -> Mapping[ClipSource, tuple[str, Sequence[FeatureSpec]]]:
        """What is missing of a clip; nothing of one that failed, cannot be read, or equals an earlier one."""
        source = generated_item(self._folder, sample, repeat, self._suite.task_facts).source
        if source is None:
            return {}
        content = hash_sources([source], 1, Silent(), limits=self._session.limits).hashes.get(source)
        if content is None or content in self._seen:
            return {}
        missing = self._session.missing(content, self._specs)
        if not missing:
            return {}
        self._seen.add(content)
        return {source: (content, [spec for specs in missing.values() for spec in specs])}

    def _setup(self, device: str) -> Setup:
        return replace(worker_setup(self._session, device), beside_bytes=self._needed)
