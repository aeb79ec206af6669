"""What a published number was made with, the number, and how far an honest repetition may lie from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from javisbench.protocol import DEFAULT_PROTOCOL, parse_protocol
from javisbench.results.differences import flat, protocol_facts

Kind: TypeAlias = Literal["run", "score", "trial", "check"]
KINDS: Mapping[Kind, str] = {
    "run": "made and scored",
    "score": "scored, from clips of yours",
    "trial": "a metric on trial, on a data set of yours",
    "check": "checked only",
}
"""What can be done with a recipe, besides checking a result against it."""
SOUNDS = {"sidecar": "files beside the clips", "container": "tracks in the clips"}


@dataclass(frozen=True)
class Expected:
    """One published value.

    Attributes:
        metric: id here; empty where javisbench has no metric that computes it (`note` says why not).
        name: as the source calls it.
        value: in the unit of our tables.
        digits: after the point, as printed; None for a value that is not rounded.
        slice: ``overall``, ``aspect/category``, or the case of a trial (``time_shifted=50``).
        n: clips behind it, or pairs; None where the source does not say.
        tolerance: how far an honest repetition may lie from it, in the same unit.
        tolerance_from: where the tolerance comes from.
        source: paper, table.
        ci_low: lower end of its 95 % interval, or None.
        ci_high: upper end, or None.
        note: what must be said of it, or empty.
    """

    metric: str
    name: str
    value: float
    digits: int | None
    slice: str
    n: int | None
    tolerance: float
    tolerance_from: str
    source: str
    ci_low: float | None = None
    ci_high: float | None = None
    note: str = ""

    @property
    def margin(self) -> float:
        """The tolerance, and half a unit of the last printed digit at least."""
        return max(self.tolerance, 0.0 if self.digits is None else 0.5 * 10.0**-self.digits)

    @property
    def printed(self) -> str:
        """The value as it was printed."""
        return f"{self.value:.6g}" if self.digits is None else f"{self.value:.{self.digits}f}"


@dataclass(frozen=True)
class Doubt:
    """What is doubtful of a recipe's settings; `about` is a word on what."""

    about: str
    text: str


@dataclass(frozen=True)
class KnownFault:
    """A fault of the published code, or a property of it that keeps numbers from being repeated.

    Attributes:
        id: short name.
        text: a sentence or two.
        metrics: ids that it acts on; empty for all.
        setting: the protocol's setting that keeps the fault, as ``NAME=VALUE``; empty where no protocol has it.
        longer_than_s: it acts on clips longer than this alone; 0 for all.
    """

    id: str
    text: str
    metrics: tuple[str, ...] = ()
    setting: str = ""
    longer_than_s: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """What was published, and how to get there.

    Attributes:
        id: for ``reproduce show ID``.
        title: one line.
        kind: what can be done with it; see `KINDS`.
        source: papers and code.
        summary: a paragraph, or empty.
        suite: name of the suite, or of the data set of a trial.
        suite_revision: of its data set, or empty.
        suite_hash: over its rows, or empty.
        samples: how many it has; None where not stated.
        model: as the source calls it.
        spec: what `--model` takes; empty where nothing makes its clips.
        model_revision: of its weights, in words.
        parameters: of the model, for ``-M``.
        model_weights: component to file to SHA-256.
        generation: ``seed``, ``repeats``, ``conform``, ``dtype``, ``limit``.
        clips: ``width``, ``height`` (pixels), ``frames``, ``fps``, ``duration_s``, ``sample_rate`` (Hz).
        sound: where the published code takes sound from: ``sidecar``, ``container``, or empty.
        protocol: under which to score.
        metrics: ids or globs to compute; empty for those of `expected`.
        encoders: encoder to variant.
        encoder_weights: encoder to SHA-256.
        reference: real side of the set metrics, in words; empty for the suite's own.
        expected: the published values.
        doubts: what is doubtful of the settings.
        faults: known faults of the published code.
        path: where it was read.
        package: of another package, with its version.
    """

    id: str
    title: str
    kind: Kind
    source: str
    suite: str
    model: str
    expected: tuple[Expected, ...]
    summary: str = ""
    suite_revision: str = ""
    suite_hash: str = ""
    samples: int | None = None
    spec: str = ""
    model_revision: str = ""
    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    model_weights: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    generation: Mapping[str, str | int] = field(default_factory=dict)
    clips: Mapping[str, int | float | str] = field(default_factory=dict)
    sound: str = ""
    protocol: str = DEFAULT_PROTOCOL
    metrics: tuple[str, ...] = ()
    encoders: Mapping[str, str] = field(default_factory=dict)
    encoder_weights: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""
    doubts: tuple[Doubt, ...] = ()
    faults: tuple[KnownFault, ...] = ()
    path: Path | None = None
    package: str = ""

    @property
    def asked_metrics(self) -> tuple[str, ...]:
        """Ids or globs of the metrics that its values need, with the checks of clips, which tell what the clips are."""
        return self.metrics or (*dict.fromkeys(value.metric for value in self.expected if value.metric), "health_*")

    def facts(self) -> dict[str, Any]:
        """What it says of how its values were made, by the names of `javisbench.results.differences`."""
        found: dict[str, Any] = {"suite": self.suite, "failed": 0, **protocol_facts(parse_protocol(self.protocol))}
        if self.spec:
            found["generation model.model"] = self.spec
        if not self.encoder_weights:
            found["stand_in"] = False  # of published numbers
        if self.suite_hash:
            found["suite_hash"] = self.suite_hash
        wanted = self.generation.get("limit", self.samples)
        if wanted is not None:
            found["prompts"] = wanted
        found |= flat(dict(self.parameters), "generation model.parameters") if self.parameters else {}
        found |= flat(dict(self.model_weights), "generation files") if self.model_weights else {}
        found |= {f"generation.{name}": value for name, value in self.generation.items() if name != "limit"}
        found |= {f"clips.{name}": value for name, value in self.clips.items()}
        found |= {f"encoders.{name}.variant": value for name, value in self.encoders.items()}
        found |= {f"encoders.{name}.weights_sha256": value for name, value in self.encoder_weights.items()}
        return {**found, "sound": SOUNDS[self.sound]} if self.sound else found
