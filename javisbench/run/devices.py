"""Several devices of one machine: a process for each, which take the clips block by block.

A block is encoded as it would be on one device, batches included (`javisbench.run.encode.BLOCK_CLIPS`), so results do
not depend on how many devices there are. A process that dies is replaced and its block encoded again; features that it
had stored are found.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from javisbench.run.content_index import spread_errors
from javisbench.run.device_messages import Advance, Block, Failed, LogLine, Outcome, Setup
from javisbench.run.device_worker import DeviceWorker
from javisbench.run.encode import BLOCK_CLIPS, PROMPTS_AT_ONCE, encode_clips, missing_of_clips
from javisbench.run.encode_session import prompt_hash
from javisbench.run.progress import ENCODING

if TYPE_CHECKING:
    from javisbench.media import ClipSource
    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.run.content_index import ContentIndex
    from javisbench.run.encode_session import EncodeSession
    from javisbench.run.progress import Progress, Stage


def encode_on_devices(
    wanted: Mapping[ClipSource, Iterable[FeatureSpec]],
    index: ContentIndex,
    session: EncodeSession,
    progress: Progress,
    texts: Sequence[tuple[Collection[FeatureSpec], Sequence[str]]] = (),
) -> None:
    """Make the features of prompts and clips that are not stored yet, on all of the session's devices.

    As `encode_prompts` and `encode_clips` do on one; prompts, too, are spread over the devices.
    """
    several = len(session.devices) > 1
    missing = missing_of_clips(wanted, index, session) if several else {}
    if not missing:
        encode_clips({} if several else wanted, index, session, progress, texts)
        return
    todo = {s: (index.hashes[s], [spec for specs in found.values() for spec in specs]) for s, found in missing.items()}
    sources = list(todo)
    parts = (sources[start : start + BLOCK_CLIPS] for start in range(0, len(sources), BLOCK_CLIPS))
    tasks = deque(map(_Task, _text_blocks(texts, session)))
    tasks.extend(_Task(Block({source: todo[source] for source in part})) for part in parts)
    session.leave_device()  # which the processes need for themselves
    session.store.flush()  # or they would not find what is pending
    with progress.stage(ENCODING, len(todo)) as stage, ExitStack() as stack:
        workers = [
            DeviceWorker(device, partial(worker_setup, session, device)) for device in session.devices[: len(tasks)]
        ]
        for worker in workers:
            stack.callback(worker.end)
        _run(tasks, workers, index, session, stage)
    session.store.refresh()
    spread_errors(wanted, index)


def _text_blocks(
    texts: Iterable[tuple[Collection[FeatureSpec], Sequence[str]]], session: EncodeSession
) -> Iterator[Block]:
    """Missing prompts in whole batches of one device."""
    size = session.batch_clips or PROMPTS_AT_ONCE
    size *= -(-PROMPTS_AT_ONCE // size)
    for specs, prompts in texts:
        lacking = [text for text in dict.fromkeys(prompts) if session.missing(prompt_hash(text), specs)]
        for start in range(0, len(lacking), size):
            yield Block({}, (tuple(specs), tuple(lacking[start : start + size])))


class _Task:
    """A block, how often it was begun, and how many of its clips were counted as done."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.tries = 0
        self.counted = 0


def _run(
    tasks: deque[_Task],
    workers: list[DeviceWorker],
    index: ContentIndex,
    session: EncodeSession,
    stage: Stage,
) -> None:
    busy: dict[Connection, tuple[DeviceWorker, _Task]] = {}
    idle = deque(workers)
    while tasks or busy:
        while tasks and idle:
            worker, task = idle.popleft(), tasks.popleft()
            task.tries += 1
            busy[worker.send(task.block)] = worker, task
        for connection in wait(list(busy)):
            worker, task = busy[connection]  # type: ignore[index]
            message = worker.hear()
            if isinstance(message, Advance):
                if task.counted < len(task.block.clips):  # a block that is encoded again counts once
                    task.counted += 1
                    stage.advance(failed=message.failed)
            elif isinstance(message, Failed):
                raise message.error
            elif not isinstance(message, LogLine):
                del busy[connection]  # type: ignore[arg-type]
                idle.append(worker)
                if isinstance(message, Outcome):
                    _take(message, task, index, session, stage)
                else:
                    worker.lost(task.tries, len(task.block.clips) or len(task.block.texts[1]), "encoded")
                    tasks.appendleft(task)


def _take(outcome: Outcome, task: _Task, index: ContentIndex, session: EncodeSession, stage: Stage) -> None:
    index.errors |= outcome.errors
    session.feature_errors |= outcome.feature_errors
    session.broken |= outcome.broken
    if task.counted < len(task.block.clips):
        stage.advance(len(task.block.clips) - task.counted)


def worker_setup(session: EncodeSession, device: str) -> Setup:
    """What the process of a device is told before its first block."""
    import torch

    return Setup(
        folder=session.store.folder,
        writer=secrets.token_hex(4),
        encoders={name: (choice.variant, choice.weights) for name, choice in session.encoders.items()},
        device=device,
        threads=torch.get_num_threads(),
        workers=max(1, session.workers // len(session.devices)),
        batch_clips=session.batch_clips,
        limits=session.limits,
        precision=session.precision,
        compiled=session.compiled,
        log_level=logging.getLogger("javisbench").getEffectiveLevel(),
        listed=session.listed,
    )
