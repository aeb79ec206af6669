"""Asking many questions at once: within rate and budget, again where that may help, each answer kept as it comes."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from javisbench.errors import FeatureError, JavisbenchError, SystemFaultError, UsageError
from javisbench.run.judging.judge import AskAgainError, RejectedError
from javisbench.run.judging.options import dollars

if TYPE_CHECKING:
    from javisbench.metrics.judges.inquiry import Inquiry
    from javisbench.run.judging.answers import Answers
    from javisbench.run.judging.case import Case
    from javisbench.run.judging.judge import Judge, Reply
    from javisbench.run.judging.options import JudgeOptions
    from javisbench.run.progress import Stage

log = logging.getLogger(__name__)
_FIRST_WAIT_S = 0.5
_MOST_WAIT_S = 30.0
# Requests under way when a run is stopped have so long to bring their answers, which are paid.
_GRACE_S = 5.0
# An endpoint that takes none of so many first requests takes none at all.
_REJECTED_IN_A_ROW = 3


@dataclass(frozen=True)
class Task:
    """One answer to get.

    Attributes:
        metric_id: of the judge.
        case: clip and questions.
        repeat: which repeat.
        attempt: which try of it.
        key: of the answer.
    """

    metric_id: str
    case: Case
    repeat: int
    attempt: int
    key: str


@dataclass
class _Pace:
    """At most so many requests a minute, evenly spread."""

    rate: float | None
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait_s(self) -> float:
        """How long the next request has to wait; counts it."""
        if self.rate is None:
            return 0.0
        with self._lock:
            now = time.monotonic()
            begin = max(now, self._next)
            self._next = begin + 60.0 / self.rate
            return begin - now


class Asking:
    """Threads that ask, and what they share.

    Args:
        judge: who is asked.
        answers: where replies go.
        options: rate, budget, number of threads.
        patience_s: seconds that the judge may be out of reach, for each request.
        stage: shown to the user.
        cost: US dollars that a reply has cost.
        works: whether such requests were answered before, so that one that is not taken is alone in that.
    """

    def __init__(
        self,
        judge: Judge,
        answers: Answers,
        options: JudgeOptions,
        patience_s: float,
        stage: Stage,
        cost: Callable[[Task, Reply], float],
        *,
        works: bool = False,
    ) -> None:
        self._judge = judge
        self._answers = answers
        self._options = options
        self._patience_s = patience_s
        self._stage = stage
        self._cost = cost
        self._works = works
        self._stop = threading.Event()
        self._pace = _Pace(options.rate)
        self._todo: queue.Queue[tuple[Task, Inquiry] | None] = queue.Queue()
        self._done: queue.Queue[tuple[Task, Reply | Exception]] = queue.Queue()
        self._spent = 0.0
        self._answered = 0
        self._rejected: list[tuple[Task, str]] = []

    def run(self, tasks: Sequence[Task], inquiry: Callable[[Task], Inquiry]) -> None:
        """Ask all of them.

        Args:
            tasks: what to ask.
            inquiry: writes a request, when its turn comes; raises `FeatureError` where the clip cannot be shown.

        Raises:
            UsageError: no request is taken.
            SystemFaultError: out of reach for longer than the patience, or the budget is spent.
        """
        waiting = list(reversed(tasks))
        under_way = 0
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._judge.parallel)]
        for thread in threads:
            thread.start()
        try:
            while waiting or under_way:
                while waiting and under_way < len(threads):
                    task = waiting.pop()
                    try:
                        self._todo.put((task, inquiry(task)))
                        under_way += 1
                    except FeatureError:  # The clip's own failure, which its view tells.
                        self._stage.advance()
                if under_way:
                    task, outcome = self._done.get()
                    under_way -= 1
                    again = self._take(task, outcome, len(tasks))
                    waiting += [] if again is None else [again]
        finally:
            # After an error or a signal: threads that wait to ask give up, those that have asked keep what they get.
            self._stop.set()
            for _ in threads:
                self._todo.put(None)
            self._gather(under_way)
        if self._rejected and not self._works:
            raise self._none_taken()
        for task, reason in self._rejected:
            self._answers.reject(task.key, reason, _about(task))

    def _gather(self, under_way: int) -> None:
        """Wait a little for requests under way: each thread keeps what it gets."""
        ends = time.monotonic() + _GRACE_S
        while under_way and (left := ends - time.monotonic()) > 0:
            try:
                self._done.get(timeout=left)
            except queue.Empty:
                return
            under_way -= 1

    def _take(self, task: Task, outcome: Reply | Exception, total: int) -> Task | None:
        """Count an outcome; the next try where the answer is out of form."""
        if isinstance(outcome, RejectedError):
            self._rejected.append((task, str(outcome)))
            if not self._works and len(self._rejected) >= _REJECTED_IN_A_ROW:
                raise self._none_taken()
            self._stage.advance(failed=task.case.label)
            return None
        if isinstance(outcome, AskAgainError):
            raise self._stopped(f"The judge is out of reach: {outcome.reason}", total, "unreachable") from outcome
        if isinstance(outcome, Exception):
            raise outcome
        self._answered += 1
        self._works = True
        self._spent += self._cost(task, outcome)
        again = self._next_try(task)
        if again is None:
            self._stage.advance()
        if self._options.budget is not None and self._spent > self._options.budget:
            raise self._stopped(
                f"The budget of {dollars(self._options.budget)} is spent ({dollars(self._spent)})", total, "budget"
            )
        return again

    def _next_try(self, task: Task) -> Task | None:
        attempt = task.case.next_attempt(task.repeat, self._answers)
        if attempt is None:
            return None
        return Task(task.metric_id, task.case, task.repeat, attempt, task.case.key(task.repeat, attempt))

    def _none_taken(self) -> UsageError:
        return UsageError(
            f"The judge takes no request: {self._rejected[0][1]}. Nothing was paid. Where it does not take sound, a "
            f"schema or a seed, say so in the protocol: judge:SET.sound=false, judge:SET.structure=json_object, "
            f"judge:SET.seed=-1.",
            kind="judge_rejected",
        )

    def _stopped(self, what: str, total: int, kind: str) -> SystemFaultError:
        return SystemFaultError(
            f"{what}. {self._answered} of {total} requests were answered, and every answer is kept. Run the same "
            f"command again{' with a larger --judge-budget' if kind == 'budget' else ''}: it goes on from there.",
            kind=kind,
        )

    def _work(self) -> None:
        while (given := self._todo.get()) is not None:
            task, inquiry = given
            outcome: Reply | Exception
            try:
                outcome = self._answer(task, inquiry)
            except Exception as error:  # noqa: BLE001 - whoever waits for the outcome raises it
                outcome = error
            self._done.put((task, outcome))

    def _answer(self, task: Task, inquiry: Inquiry) -> Reply:
        """A reply, kept on the disk before anybody hears of it."""
        ends: float | None = None
        wait_s = _FIRST_WAIT_S
        while True:
            self._pause(self._pace.wait_s())
            try:
                reply = self._judge.ask(inquiry)
            except AskAgainError as error:
                now = time.monotonic()
                ends = now + self._patience_s if ends is None else ends
                # Spread, so that many who were turned away at once do not come back at once.
                asked_s = error.wait_s if error.wait_s is not None else wait_s * random.uniform(0.5, 1.0)
                if now + asked_s > ends:
                    raise
                log.warning("%s; asked again in %.3g s", error.reason, asked_s)
                self._pause(asked_s)
                wait_s = min(2 * wait_s, _MOST_WAIT_S)
                continue
            self._answers.keep(task.key, reply, _about(task))
            return reply

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise JavisbenchError("The run is being stopped.", kind="stopped")


def _about(task: Task) -> dict[str, Any]:
    case = task.case
    return {
        "metric": task.metric_id,
        "sample_id": case.sample.id,
        "clip_repeat": case.clip_repeat,
        "repeat": task.repeat,
        "attempt": task.attempt,
        "asked": case.settings.model_name,
        "questions": [question.id for question in case.questions],
    }
