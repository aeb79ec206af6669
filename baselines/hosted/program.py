"""`serve`: an API as a program of one's own behind ``command:``, for APIs that need code (signatures, odd answers)."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from javisbench.baselines.hosted.jobs import Clock, Jobs, Limits, Order, Outcome
from javisbench.baselines.hosted.ledger import Ledger
from javisbench.baselines.hosted.orders import order_key, places
from javisbench.baselines.hosted.service import Service
from javisbench.errors import JavisbenchError

LEDGER = "hosted_jobs.jsonl"
_LOOK_S = 0.5


def serve(
    service: Service,
    limits: Limits | None = None,
    *,
    requests: IO[str] | None = None,
    answers: IO[str] | None = None,
    clock: Clock | None = None,
) -> None:
    """Answer the requests of ``command:`` until there are no more; several are at work at a time with ``-M batch=N``.

    Jobs are remembered in ``$JAVISBENCH_STATE``, a folder of the run.

    Args:
        service: the API.
        limits: what may be spent.
        requests: JSON lines; standard input unless given.
        answers: where answers go; standard output unless given.
        clock: time.
    """
    state = os.environ.get("JAVISBENCH_STATE")
    ledger = Ledger(Path(state) / LEDGER if state else None)
    jobs = Jobs(service, ledger, limits or Limits(in_flight=64), clock or Clock())
    answers = answers or sys.stdout

    def tell(name: str, **facts: Any) -> None:
        answers.write(json.dumps({"id": name, **facts}) + "\n")
        answers.flush()

    arrived = _arriving(requests or sys.stdin)
    left: dict[str, Order] = {}
    ended = False
    while not ended or left:
        ended = _take(arrived, jobs, left, service, wait=not left) or ended
        try:
            for outcome in jobs.step():
                left.pop(outcome.order.tag, None)
                tell(outcome.order.tag, **_answer(outcome))
        except JavisbenchError as error:
            # A program can only fail clip by clip: whoever started it stops after a few.
            for name in left:
                tell(name, status="failed", kind=error.kind, message=error.sentence, retryable=False)
            left.clear()
            jobs = Jobs(service, ledger, jobs.limits, jobs.clock)
        if left:
            jobs.clock.sleep(min(max(0.0, jobs.wait_s()), _LOOK_S))


def _arriving(requests: IO[str]) -> queue.Queue[str | None]:
    """Lines as they come; None at the end."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in requests:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _take(
    arrived: queue.Queue[str | None], jobs: Jobs, left: dict[str, Order], service: Service, *, wait: bool
) -> bool:
    """Order what has come, waiting for it if there is nothing else to do; whether that was all."""
    while True:
        try:
            line = arrived.get(block=wait)
        except queue.Empty:
            return False
        if line is None:
            return True
        wait = False
        order = _order(json.loads(line), service)
        left[order.tag] = order
        jobs.add(order)


def _order(request: Mapping[str, Any], service: Service) -> Order:
    wanted = {name: request[name] for name in ("width", "height", "duration_s", "fps")}
    values = places(service, request["prompt"], request["seed"], **wanted)
    key = order_key([service.name, service.submit, service.body, values])
    return Order(key, values, Path(request["output"] + ".mp4"), float(values["seconds"]), request["id"])


def _answer(outcome: Outcome) -> dict[str, Any]:
    if outcome.kind:
        return {"status": "failed", "kind": outcome.kind, "message": outcome.message, "retryable": False}
    return {"status": "ok", "info": {"job": outcome.job}}
