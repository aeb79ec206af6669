"""`Jobs`: many clips on their way through one service at a time: sent, looked after, fetched, each paid for once."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from javisbench.baselines.hosted.ledger import Ledger
from javisbench.baselines.hosted.service import Service, lookup
from javisbench.baselines.hosted.transport import Answer, exchange
from javisbench.errors import RunError, SystemFaultError
from javisbench.private import redacted

log = logging.getLogger(__name__)
REFUSED = "refused_prompt"
_TROUBLED_KEY = (401, 402, 403)
_GONE = (404, 410)
_EXPIRED = (400, 401, 403, 404, 410)
_LINKS = 3
_JOBS = 2
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
_LONGEST_POLL_S = 30.0
_LOOK_S = 0.2
_JOB = re.compile(r"[\w.:@+=~-][\w.:@+=~/-]{0,499}")


@dataclass(frozen=True)
class Limits:
    """What may be spent.

    Attributes:
        in_flight: jobs at a time.
        per_minute: submissions a minute; 0 for no limit.
        retries: times that a request is sent again after a passing trouble.
        timeout_s: seconds from a submission to the finished file.
        max_clips: jobs in all, those of earlier starts of this run too; 0 for no limit.
        max_cost: money in all; 0 for no limit.
        price: of a clip.
        price_per_s: of a second of a clip, added to `price`.
    """

    in_flight: int = 4
    per_minute: float = 0.0
    retries: int = 6
    timeout_s: float = 1800.0
    max_clips: int = 0
    max_cost: float = 0.0
    price: float = 0.0
    price_per_s: float = 0.0


@dataclass(frozen=True)
class Order:
    """A clip that is wanted.

    Attributes:
        key: names it among all, whenever and however often it is asked for.
        values: for the places in the service's description.
        target: where the file goes.
        seconds: its length, for its price.
        tag: whatever the caller likes.
    """

    key: str
    values: Mapping[str, Any]
    target: Path
    seconds: float = 0.0
    tag: Any = None


@dataclass(frozen=True)
class Outcome:
    """What became of an order: a file at its target, or `kind` and `message` of a failure."""

    order: Order
    kind: str = ""
    message: str = ""
    job: str = ""


def usable(job: str) -> bool:
    """Whether a job's id can stand in an address without leading elsewhere: it may come from anybody's file."""
    return _JOB.fullmatch(job) is not None and not {".", ".."} & set(job.split("/"))


class BudgetError(RunError):
    """The budget is spent; what was begun with it is finished."""

    kind = "budget"


@dataclass
class Clock:
    """Time, as tests may replace it."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass
class _Work:
    order: Order
    step: Literal["send", "poll", "fetch"] = "send"
    due: float = 0.0
    begun: float | None = None
    tries: int = 0
    polls: int = 0
    links: int = 0
    jobs: int = 0
    job: str = ""
    link: str = ""
    heard: int = 0


@dataclass
class Jobs:
    """The clips at work.

    Args:
        service: the API.
        ledger: what was begun before.
        limits: what may be spent.
        clock: time.
    """

    service: Service
    ledger: Ledger
    limits: Limits = field(default_factory=Limits)
    clock: Clock = field(default_factory=Clock)
    _open: list[_Work] = field(default_factory=list)
    _not_before: float = 0.0
    _heard: int = 0
    _spent: bool = False
    _random: random.Random = field(default_factory=random.Random)

    def add(self, order: Order) -> None:
        """Begin with an order, or go on with the job that was begun for it before."""
        entry = self.ledger.entry(order.key)
        work = _Work(order, due=self.clock.now(), heard=self._heard)
        if entry.event == "job" and usable(entry.job):
            work.step, work.job, work.begun = "poll", entry.job, self.clock.now()
            log.info("going on with job %s of %s", entry.job, self.service.name)
        self._open.append(work)

    @property
    def waiting(self) -> bool:
        """Whether orders are open."""
        return bool(self._open)

    def forget(self) -> None:
        """Leave what is open; jobs that were begun stand in the ledger."""
        self._open.clear()

    def outcomes(self) -> Iterator[Outcome]:
        """Everything that becomes of the orders, as it does.

        Raises:
            BudgetError: orders are left that the budget does not allow; all others are finished.
            RunError: the service does not take the key, or asks for money.
            SystemFaultError: it does not answer at all.
        """
        while self._open:
            yield from self.step()
            if self._open:
                self.clock.sleep(max(0.0, self.wait_s()))

    def wait_s(self) -> float:
        """Seconds until something is due."""
        return min((work.due for work in self._open), default=self.clock.now()) - self.clock.now()

    def step(self) -> Iterator[Outcome]:
        """Do what is due now."""
        for work in list(self._open):
            if work.due > self.clock.now():
                continue
            outcome = self._advance(work)
            if outcome is not None:
                self._open.remove(work)
                yield outcome
        if self._spent and self._open and all(work.begun is None for work in self._open):
            left, self._open = len(self._open), []
            raise BudgetError(
                f"The budget is spent: {self._told_spent()}. {left} clips of this batch and all that follow were not "
                f"asked for; what was made is kept. Raise -M max_clips or -M max_cost and run the same command again."
            )

    def _told_spent(self) -> str:
        cost = f" for {self.ledger.cost:g}" if self.ledger.cost else ""
        return f"{self.ledger.clips} clips were ordered{cost}"

    def _advance(self, work: _Work) -> Outcome | None:
        now = self.clock.now()
        if work.begun is not None and now - work.begun > self.limits.timeout_s:
            told = f"{self.service.name} did not finish within {self.limits.timeout_s:g} s"
            told += f"; job {work.job} is asked for again in the next run." if work.job else "."
            return Outcome(work.order, "timeout", told, work.job)
        if work.step == "send":
            return self._send(work)
        return self._poll(work) if work.step == "poll" else self._fetch(work)

    # Sending

    def _send(self, work: _Work) -> Outcome | None:
        now = self.clock.now()
        busy = sum(1 for other in self._open if other.begun is not None)
        if work.begun is None and (self._not_before > now or busy >= self.limits.in_flight):
            # Whoever is at work is due before, so that this loses nothing.
            work.due = max(self._not_before, now + _LOOK_S)
            return None
        entry = self.ledger.entry(work.order.key)
        if entry.event != "sending":
            cost = self.limits.price + self.limits.price_per_s * work.order.seconds
            if self._too_much(cost):
                work.due = now + _LOOK_S
                return None
            self.ledger.note(work.order.key, "sending", cost=cost)
        if work.begun is None:
            work.begun = now
            if self.limits.per_minute:
                self._not_before = now + 60.0 / self.limits.per_minute
        answer = self._post(work)
        if answer.passing:
            return self._again(work, answer)
        job, link = lookup(answer.value, self.service.job), lookup(answer.value, self.service.result)
        job = str(job) if job is not None and usable(str(job)) else None
        if answer.status == 409 and job is not None:
            log.info("%s has a job for this clip already: %s", self.service.name, job)
        elif not 200 <= answer.status < 300:
            return self._rejected(work, answer)
        if answer.saved:
            return Outcome(work.order)
        if self.service.poll and job is not None:
            work.job = job
            self.ledger.note(work.order.key, "job", job=work.job)
            work.step, work.due, work.tries = "poll", self.clock.now() + self.service.poll_s, 0
            return None
        if isinstance(link, str) and link:
            work.step, work.link, work.tries = "fetch", link, 0
            return None
        return self._not_known(work, answer)

    def _not_known(self, work: _Work, answer: Answer) -> Outcome:
        """An answer that says that all is well, and has neither a job nor a file."""
        refused, told = self.service.trouble(answer.value)
        if refused:
            return self._rejected(work, answer)
        self.ledger.note(work.order.key, "failed")
        lacking = f"neither {self.service.job!r} nor {self.service.result!r} is in it"
        told = self._shown(answer.trouble or f"{lacking}; {told}")
        return Outcome(
            work.order, "bad_answer", f"{self.service.name} took the order with an answer not known: {told}."
        )

    def _too_much(self, cost: float) -> bool:
        limits = self.limits
        clips = limits.max_clips and self.ledger.clips + 1 > limits.max_clips
        # Prices are decimal, sums of them are binary.
        money = limits.max_cost and self.ledger.cost + cost > limits.max_cost * (1 + 1e-9)
        self._spent = self._spent or bool(clips or money)
        return bool(clips or money)

    def _post(self, work: _Work) -> Answer:
        service, entry = self.service, self.ledger.entry(work.order.key)
        name = f"{work.order.key}-{entry.epoch}"
        values = {**service.defaults, **work.order.values, "idempotency": name}
        headers = {header: str(service.filled(text, values)) for header, text in service.headers.items()}
        if service.idempotency:
            headers[service.idempotency] = name
        return self._exchange(
            service.filled(service.submit, values),
            body=service.filled(service.body, values),
            headers=headers,
            target=work.order.target,
        )

    def _rejected(self, work: _Work, answer: Answer) -> Outcome:
        refused, told = self.service.trouble(answer.value)
        told = self._shown(answer.trouble if answer.value is None else told)
        self.ledger.note(work.order.key, "rejected")
        if refused:
            return Outcome(work.order, REFUSED, f"{self.service.name} refused the prompt: {told}.")
        if answer.status in _TROUBLED_KEY:
            self._no_key(answer, told)
        return Outcome(work.order, f"http_{answer.status}", f"{self.service.name} said {answer.status}: {told}.")

    def _no_key(self, answer: Answer, told: str) -> None:
        raise RunError(
            f"{self.service.name} said {answer.status} to the key in {self.service.key or 'none'}: {told}. What was "
            f"made is kept, and jobs that were begun are asked for again when the same command is run.",
            kind=f"http_{answer.status}",
        )

    # Looking after jobs

    def _poll(self, work: _Work) -> Outcome | None:
        answer = self._exchange(self.service.address(self.service.poll, work.job))
        if answer.passing:
            return self._again(work, answer)
        if answer.status in _GONE:
            return self._lost(work, answer)
        if answer.status in _TROUBLED_KEY:
            self._no_key(answer, self._shown(self.service.trouble(answer.value)[1]))
        if answer.status != 200 or answer.value is None:
            return Outcome(
                work.order, "bad_answer", f"Job {work.job}: {answer.status} {self._shown(answer.trouble)}.", work.job
            )
        work.tries = 0
        state = self.service.state(answer.value)
        if state == "gone":
            return self._lost(work, answer)
        if state == "open":
            work.polls += 1
            # Jobs take minutes: looks grow rarer.
            wait_s = min(_LONGEST_POLL_S, self.service.poll_s * 1.2 ** min(work.polls, 30))
            work.due = self.clock.now() + max(wait_s, answer.retry_after_s or 0.0)
            return None
        link = self.service.address(self.service.download, work.job) or lookup(answer.value, self.service.result)
        if state == "failed" or not isinstance(link, str) or not link:
            refused, told = self.service.trouble(answer.value)
            self.ledger.note(work.order.key, "failed")
            kind = REFUSED if refused else "job_failed"
            return Outcome(work.order, kind, f"{self.service.name}, job {work.job}: {self._shown(told)}.", work.job)
        work.step, work.link, work.due = "fetch", link, self.clock.now()
        return None

    def _lost(self, work: _Work, answer: Answer) -> Outcome | None:
        """The service does not know a job any more: its clip is gone, and is ordered once more."""
        self.ledger.note(work.order.key, "lost")
        work.jobs += 1
        if work.jobs >= _JOBS:
            told = f"{self.service.name} does not know job {work.job}, which it began ({answer.status})."
            return Outcome(work.order, "job_lost", told, work.job)
        log.warning("%s does not know job %s any more; the clip is ordered anew", self.service.name, work.job)
        work.step, work.job, work.begun, work.tries = "send", "", None, 0
        return None

    # Fetching

    def _fetch(self, work: _Work) -> Outcome | None:
        answer = self._exchange(work.link, target=work.order.target, keyed=self.service.keyed_download)
        if answer.saved:
            return Outcome(work.order, job=work.job)
        if answer.passing:
            return self._again(work, answer)
        if answer.status in _EXPIRED and work.job and work.links < _LINKS:
            # Links expire, jobs do not: the job has a new one.
            work.links += 1
            work.step, work.due = "poll", self.clock.now() + self._backoff_s(work.links - 1)
            return None
        kind = "expired" if answer.status in _EXPIRED else "bad_answer"
        told = self._shown(answer.trouble or self.service.trouble(answer.value)[1])
        return Outcome(
            work.order, kind, f"The file of {self.service.name} cannot be had ({answer.status}): {told}.", work.job
        )

    # What all have in common

    def _exchange(self, url: str, *, keyed: bool = True, **given: Any) -> Answer:
        # The address of a file, or of a state, may be anybody's: the key goes to one host alone.
        own = urlsplit(url).netloc == urlsplit(self.service.submit).netloc
        authorization = self.service.authorization() if keyed and own else None
        answer = exchange(url, authorization=authorization, **given)
        self._heard += answer.status != 0
        return answer

    def _again(self, work: _Work, answer: Answer) -> Outcome | None:
        """After a passing trouble: later, as the service asks or ever more rarely, and not for ever."""
        work.tries += 1
        asked_s = answer.retry_after_s or 0.0
        told = self._shown(answer.trouble or self.service.trouble(answer.value)[1])
        if work.tries > self.limits.retries or asked_s > self.limits.timeout_s:
            return self._given_up(work, answer, told)
        wait_s = max(asked_s, self._backoff_s(work.tries - 1))
        log.info("%s: %s; again in %.1f s", self.service.name, answer.status or told, wait_s)
        work.due = self.clock.now() + wait_s
        if answer.status == 429 or asked_s:
            self._not_before = max(self._not_before, work.due)
        return None

    def _given_up(self, work: _Work, answer: Answer, told: str) -> Outcome:
        if answer.status == 0 and self._heard == work.heard:
            raise SystemFaultError(
                f"{self.service.name} does not answer: {told}. No clip is listed for it, and what is made is kept. Run "
                f"the same command again.",
                kind="unreachable",
            )
        kind = f"http_{answer.status}" if answer.status else "unreachable"
        return Outcome(work.order, kind, f"{self.service.name}, after {work.tries} tries: {told}.", work.job)

    def _backoff_s(self, tries: int) -> float:
        longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0**tries)
        return self._random.uniform(longest / 2, longest)

    def _shown(self, text: str) -> str:
        return redacted(text).strip().rstrip(".")[:800]
