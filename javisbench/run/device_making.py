"""Clips made by several devices of one machine: a process with the model for each, which take batches in turn.

A clip follows from its seed and prompts alone, so that it is the same whichever device makes it. What a process that
dies was asked for, and has not answered, is made again.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path

from javisbench.baselines.base import Failed as NotMade
from javisbench.baselines.base import Request
from javisbench.baselines.fingerprint import Hashes
from javisbench.run.clean import PROMPTS, STAGING
from javisbench.run.device_messages import Answer, Batch, Failed, MakingSetup, Ready
from javisbench.run.device_worker import DeviceWorker
from javisbench.run.generate import MadeFiles
from javisbench.run.making import Making, torch_threads

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class DeviceMaker:
    """Makes clips on several devices.

    Attributes:
        devices: torch devices.
        how: model and settings.
        run: the run's folder, where what is on its way lies.
        prepares: whether the model encodes prompts before its first clip: the first process does so alone, and the
            others find them.
    """

    devices: Sequence[str]
    how: Making
    run: Path
    prepares: bool

    def make(
        self, batches: Sequence[list[Request]], hashes: Hashes | None
    ) -> Generator[MadeFiles | NotMade, None, None]:
        """One answer a request, in any order; the files of this machine need no comparing.

        Raises:
            JavisbenchError: the model cannot be loaded, or its processes die again and again.
        """
        requests = [request for batch in batches for request in batch]
        how = replace(
            self.how,
            threads=torch_threads(),
            requests=requests if self.prepares else (),
            prompts=self.run / PROMPTS,
            staging=self.run / STAGING,
        )
        # The last batches are smaller where that keeps more devices at work.
        size = max(1, min(len(batches[0]), -(-len(requests) // len(self.devices))))
        tasks = [_Task(requests[start : start + size]) for start in range(0, len(requests), size)]
        hands = [_Hand(_worker(how, device)) for device in self.devices[: len(tasks)]]
        with contextlib.ExitStack() as stack:
            for hand in hands:
                stack.callback(hand.worker.end)
            yield from _Making(deque(tasks), hands, alone=self.prepares).answers()
            for hand in hands:
                hand.worker.leave()


def _worker(how: Making, device: str) -> DeviceWorker:
    """A process that sees no other GPU: neither does a program that it starts, or a model that takes the first."""
    if device.startswith("cuda"):
        index = int(device.partition(":")[2] or 0)
        listed = os.environ.get(_VISIBLE)
        environment = {_VISIBLE: listed.split(",")[index].strip() if listed else str(index)}
        how = replace(how, device="cuda", told_device=device)
    else:
        environment = {}
        how = replace(how, device=device)
    return DeviceWorker(device, partial(_setup, how), environment)


def _setup(how: Making) -> MakingSetup:
    return MakingSetup(how, logging.getLogger("javisbench").getEffectiveLevel())


class _Task:
    """A batch, without the clips that were answered, and how often it was begun."""

    def __init__(self, batch: Sequence[Request]) -> None:
        self.open = {_name(request): request for request in batch}
        self.tries = 0


def _name(request: Request) -> tuple[int, int]:
    return request.index, request.repeat


class _Hand:
    """A process and what it was asked for."""

    def __init__(self, worker: DeviceWorker) -> None:
        self.worker = worker
        self.tasks: list[_Task] = []
        self.starts = 0
        self.waits = False

    def start(self) -> Connection:
        self.starts += 1
        return self.worker.start()

    def begin(self, task: _Task) -> None:
        task.tries += 1
        self.tasks.append(task)
        self.waits = False
        self.worker.send(Batch(list(task.open.values())))

    def ready(self) -> None:
        self.starts = 0
        self.waits = True

    def take(self, answer: Answer) -> MadeFiles | NotMade | None:
        """The answer with the request as it was asked; None when it is no answer to what is open here."""
        name = _name(answer.made.request)
        for task in self.tasks:
            if name in task.open:
                request = task.open.pop(name)
                self.tasks = [task for task in self.tasks if task.open]
                return replace(answer.made, request=request)
        return None

    def lose(self, waiting: int) -> list[_Task]:
        """What is to be made again, of a process that has died; `waiting` clips were not asked for yet."""
        lost, self.tasks, self.waits = self.tasks, [], False
        tries = max([self.starts, *(task.tries for task in lost)])
        self.worker.lost(tries, sum(len(task.open) for task in lost) or waiting, "made")
        return lost


class _Making:
    def __init__(self, waiting: deque[_Task], hands: list[_Hand], *, alone: bool) -> None:
        self._waiting = waiting
        self._first, *self._later = hands
        self._alone = alone
        self._at_work: dict[Connection, _Hand] = {}

    def answers(self) -> Generator[MadeFiles | NotMade, None, None]:
        self._start(self._first)
        if not self._alone:
            self._start_others()
        while self._waiting or any(hand.tasks for hand in self._at_work.values()):
            for connection in wait(list(self._at_work)):
                hand = self._at_work[connection]  # type: ignore[index]
                message = hand.worker.hear()
                if isinstance(message, Failed):
                    raise message.error
                if isinstance(message, Answer) and (made := hand.take(message)) is not None:
                    yield made
                elif isinstance(message, Ready):
                    hand.ready()
                    self._start_others()
                elif message is None:
                    del self._at_work[connection]  # type: ignore[arg-type]
                    self._waiting.extendleft(reversed(hand.lose(sum(len(task.open) for task in self._waiting))))
                    if self._waiting:
                        self._start(hand)
            for hand in self._at_work.values():
                if hand.waits and self._waiting:
                    hand.begin(self._waiting.popleft())

    def _start(self, hand: _Hand) -> None:
        self._at_work[hand.start()] = hand

    def _start_others(self) -> None:
        while self._later:
            self._start(self._later.pop(0))
