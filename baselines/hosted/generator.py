"""`Hosted`: ``hosted:FILE.toml`` or ``hosted:CARD``: clips from an HTTP API that is told in a description."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from javisbench.baselines.base import Failed, Generated, Generator, Json, Plan, Request
from javisbench.baselines.command import differences
from javisbench.baselines.hosted.jobs import Clock, Jobs, Limits, Order, Outcome
from javisbench.baselines.hosted.ledger import Ledger
from javisbench.baselines.hosted.orders import data_address, order_key, places
from javisbench.baselines.hosted.program import LEDGER
from javisbench.baselines.hosted.service import Service
from javisbench.baselines.parameters import Parser, like, number, read_parameters
from javisbench.errors import GenerationError, MediaError, UsageError
from javisbench.registry import did_you_mean

if TYPE_CHECKING:
    from javisbench.clip import ClipSpec
    from javisbench.media import ClipReader
    from javisbench.weights import WeightStore

_LEAST = 1e-6
"""Of a limit: 0 would read as "spend nothing", and `Limits` takes it for "no limit"."""
_PARSERS: Mapping[str, Parser] = {
    "in_flight": number(int, 1, 256, "a number of jobs"),
    "per_minute": number(float, _LEAST, 6000, "a number of submissions"),
    "retries": number(int, 0, 100, "a number of tries"),
    "timeout_s": number(float, 1, 7 * 86400, "seconds"),
    "max_clips": number(int, 1, 10**9, "a number of clips"),
    "max_cost": number(float, _LEAST, 10**9, "an amount of money"),
    "price": number(float, 0, 10**6, "the price of a clip"),
    "price_per_s": number(float, 0, 10**6, "the price of a second"),
}


_WAITING = 4


@dataclass
class _Staging:
    folder: Path
    reader: ClipReader


class Hosted(Generator):
    """A model behind an HTTP API.

    Jobs that are begun and paid for are written to ``hosted_jobs.jsonl`` in the run's folder before anything else
    happens: a run that was killed goes on with them, and orders none twice.

    Args:
        variant: a description in TOML (`Service`), or the id of a model card with a table ``[service]``.
        params: fields of `Limits`, and the description's own names (its `defaults`).

    Raises:
        UsageError: no such description, or an unknown or bad parameter.
    """

    card_id: ClassVar[str] = "hosted"
    one_process = True
    computes_here = False

    def __init__(self, variant: str | None = None, params: Mapping[str, str] | None = None) -> None:
        super().__init__(variant, params)
        self.service, self._file, self.card_id = _described(variant)  # type: ignore[misc]  # one class for all cards
        own = dict(self.service.defaults)
        parsers = {**_PARSERS, **{name: like(value) for name, value in own.items()}}
        given = read_parameters(f"hosted:{variant}", self.params, parsers)
        self.limits = Limits(**{name: value for name, value in given.items() if name not in own})
        if self.limits.max_cost and not (self.limits.price or self.limits.price_per_s):
            raise UsageError(
                "-M max_cost needs to know what a clip costs: give -M price=... or -M price_per_s=... too."
            )
        self.chosen = {name: given.get(name, value) for name, value in own.items()}
        # More than are at work at a time, so that no slow one keeps the others waiting.
        self.max_batch = _WAITING * self.limits.in_flight
        self.tasks = frozenset({"i2av"} if self.service.takes_image else {"t2av"})
        self.clock = Clock()
        self._jobs: Jobs | None = None
        self._staging: _Staging | None = None

    def plan(self, spec: ClipSpec) -> Plan:
        """What is asked of the service: the suite's setting as far as it is on offer; what it makes may differ."""
        from fractions import Fraction

        width, height = self.service.chosen_size(spec.width, spec.height)
        seconds = self.service.chosen_seconds(spec.duration_s)
        fps = Fraction(self.service.fps).limit_denominator(1001) if self.service.fps else spec.fps
        notes = ["what a service makes is only known afterwards; differences stand in each clip's sidecar"]
        if (width, height) != (spec.width, spec.height):
            notes.append(
                f"size {spec.width}x{spec.height} -> {width}x{height}: on offer are {', '.join(self.service.sizes)}"
            )
        if seconds != spec.duration_s:
            offered = ", ".join(f"{length:g}" for length in self.service.seconds)
            notes.append(f"seconds {spec.duration_s:g} -> {seconds:g}: on offer are {offered}")
        cost = self.limits.price + self.limits.price_per_s * seconds
        notes.append(f"a clip costs {cost:g}" if cost else "what a clip costs is not told: -M price=, -M price_per_s=")
        samples = round(seconds * spec.sample_rate)
        return Plan(width, height, round(seconds * fps), fps, samples, spec.sample_rate, notes=tuple(notes))

    def resolved(self) -> Mapping[str, Json]:
        """The description and the parameters that reach the service; what may be spent changes no clip."""
        told = {f.name: getattr(self.service, f.name) for f in fields(self.service)}
        asked = ("name", "submit", "body", "headers", "seconds", "sizes", "seed_below")
        return {**{name: _plain(told[name]) for name in asked}, "parameters": self.chosen}

    def key_name(self, spec: str) -> str:
        """The service's name: its description is in `resolved`, wherever the file lies."""
        return f"hosted:{self.service.name}"

    def load(self, device: str, dtype: str, weights: WeightStore) -> None:
        """Make sure that there is a key, and read which jobs were begun before.

        Raises:
            GenerationError: the key is not in the environment.
        """
        from javisbench.media import ClipReader

        self.service.authorization()
        ledger = Ledger(self.staging.parent / LEDGER if self.staging is not None else None)
        self._jobs = Jobs(self.service, ledger, self.limits, self.clock)
        if self.staging is not None:
            self.staging.mkdir(parents=True, exist_ok=True)
        self._staging = _Staging(Path(tempfile.mkdtemp(prefix="hosted-", dir=self.staging)).resolve(), ClipReader(1))

    def generate(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        """Order the batch's clips, `Limits.in_flight` at a time, and yield them as they are finished.

        Raises:
            BudgetError: the budget allows no more; what was begun is yielded before.
            RunError: the service does not take the key.
            SystemFaultError: it does not answer.
        """
        if self._jobs is None or self._staging is None:
            raise GenerationError("The service was asked to generate before it was loaded. Call load first.")
        jobs = self._jobs
        for number_, request in enumerate(batch):
            try:
                jobs.add(self._order(request, self._staging.folder / f"{number_:04d}.mp4"))
            except MediaError as error:
                yield Failed(request, "generate", error.kind, error.message, retryable=False)
        try:
            for outcome in jobs.outcomes():
                yield self._answer(outcome, self._staging.reader)
        finally:
            jobs.forget()

    def close(self) -> None:
        """End the reading process and remove what was not taken. Jobs at work go on; the next run asks for them."""
        if self._staging is not None:
            self._staging.reader.close()
            shutil.rmtree(self._staging.folder, ignore_errors=True)
            self._staging = None

    def _order(self, request: Request, target: Path) -> Order:
        plan = request.plan
        duration_s = plan.frames / float(plan.fps)
        text = request.prompts.get("text", "")
        fps = float(plan.fps)
        asked = places(
            self.service, text, request.seed, width=plan.width, height=plan.height, duration_s=duration_s, fps=fps
        )
        values = {**asked, **self.chosen}
        if request.conditions.image is not None and self.service.takes_image:
            values["image"] = data_address(request.conditions.image)
        key = order_key([dict(self.resolved()), values, request.sample.id, request.repeat, request.seed])
        return Order(key, values, target, float(values["seconds"]), request)

    def _answer(self, outcome: Outcome, reader: ClipReader) -> Generated | Failed:
        from javisbench.media import ClipSource

        request: Request = outcome.order.tag
        if outcome.kind:
            return Failed(request, "generate", outcome.kind, outcome.message, retryable=False)
        target = outcome.order.target
        _, clip = next(iter(reader.read([ClipSource(request.sample.id, target)])))
        if isinstance(clip, MediaError):
            # The same job is asked for the file once more.
            whose = f"the file of job {outcome.job}" if outcome.job else f"what {self.service.name} answered"
            message = clip.message.replace(str(target), whose)
            return Failed(request, "generate", clip.kind, message)
        facts = {"job": outcome.job, "service": self.service.name, "seconds_asked": outcome.order.seconds}
        differs = list(differences(request.plan, clip).values())
        return Generated(request, clip, {**facts, "differs": differs}, {"video": str(target)})


def _described(variant: str | None) -> tuple[Service, Path | None, str]:
    from javisbench.cards import read_cards

    if not variant:
        raise UsageError("Say which API: --model hosted:FILE.toml, or a hosted model of `javisbench models list`.")
    path = Path(variant).expanduser()
    if path.suffix == ".toml":
        return Service.read(path), path, "hosted"
    cards = {name: card["service"] for name, card in read_cards("models").items() if "service" in card}
    if variant not in cards:
        raise UsageError(
            f"hosted:{variant}: there is no such card.{did_you_mean(variant, cards)} Known: {', '.join(cards)}; or "
            f"give a description, hosted:FILE.toml."
        )
    return Service.of(cards[variant], variant, f"the card {variant}"), None, variant


def _plain(value: Any) -> Json:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
