"""What may be ranked, and with what: enough samples, official weights, a named protocol, and equal conditions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from javisbench.errors import SubmissionError

if TYPE_CHECKING:
    from javisbench.protocol import PluginSettings
    from javisbench.results.cell import Cell
    from javisbench.results.run_folder import StoredResult

MIN_N_TO_RANK = 10
"""Below this many samples a table shows values but neither ranks nor marks them: an interval from so few samples
misses the truth far more often than one time in twenty."""


@dataclass(frozen=True, order=True)
class Comparison:
    """What two results must share before one may be called better than the other."""

    suite: str
    suite_hash: str
    protocol: str
    """With its revision where that is not today's."""
    samples: int
    stand_in: bool = field(default=False)
    part: tuple[int, ...] = field(default=())
    """(prompts, prompts of the whole suite) of a run over a part of its suite; else empty."""
    given: str = field(default="")
    """SHA-256 over the files that the suite gave; empty where it gave none."""

    @property
    def title(self) -> str:
        """``javisbench-v1, suite javisbench, 10,140 samples``."""
        weights = ", stand-in weights" if self.stand_in else ""
        part = f" ({self.part[0]:,} of {self.part[1]:,} prompts)" if self.part else ""
        return f"{self.protocol}, suite {self.suite}, {self.samples:,} sample{'s' * (self.samples != 1)}{part}{weights}"


def comparison(result: StoredResult) -> Comparison:
    """The group that `result` may be compared in."""
    prompts, total = result.run.get("prompts"), result.run.get("suite_total")
    part: tuple[int, ...] = ()
    if isinstance(prompts, int) and isinstance(total, int) and prompts < total:
        part = (prompts, total)
    return Comparison(
        result.suite, result.suite_hash, result.protocol_label, result.samples, result.stand_in, part, result.given
    )


def weights_behind(results: Iterable[StoredResult], metric: str) -> list[tuple[tuple[str, str], ...]]:
    """For each result, what its values of `metric` went through besides what the protocol's name says.

    That is the networks, as (encoder, SHA-256 of its weights), and the settings of plugins, as (``ID.name``, value):
    the defaults of another version of a package may be others. Values may be compared only where these are equal. A
    metric that is not installed here may have used anything of its run.
    """
    used = _encoders_of(metric)
    ours = None if used is None else used | {metric}
    found = []
    for result in results:
        recorded = result.run.get("encoders")
        facts = recorded.items() if isinstance(recorded, dict) else ()
        pairs = [(str(name), fact.get("weights_sha256")) for name, fact in facts if isinstance(fact, dict)]
        networks = [(name, str(sha)) for name, sha in pairs if sha and (used is None or name in used)]
        settings = [(plugin, named) for plugin, named in _plugin_settings(result) if ours is None or plugin in ours]
        mounted = [(f"{plugin}.{name}", repr(value)) for plugin, named in settings for name, value in named]
        found.append(tuple(sorted([*networks, *mounted])))
    return found


def _plugin_settings(result: StoredResult) -> PluginSettings:
    from javisbench.errors import UsageError
    from javisbench.protocol import recorded_plugins

    try:
        return recorded_plugins(result.run.get("protocol_settings"))
    except UsageError:
        return ()


def _encoders_of(metric: str) -> frozenset[str] | None:
    """Names of the encoders that a metric needs; None when it is not installed here, or broken."""
    from javisbench.errors import JavisbenchError
    from javisbench.metrics.base import needed_features
    from javisbench.metrics.registry import METRICS
    from javisbench.protocol import DEFAULT_PROTOCOL, parse_protocol

    protocol = parse_protocol(DEFAULT_PROTOCOL)
    try:
        cls = METRICS.get(metric)
        with METRICS.guarded(metric, "needs"):
            return frozenset(spec.encoder for spec in needed_features(cls(), protocol))
    except (JavisbenchError, ImportError, AttributeError, TypeError):
        return None


def rankable(cell: Cell | None) -> bool:
    """Whether a value is good enough to be compared with others of the same n."""
    return cell is not None and cell.value is not None and cell.status == "ok" and cell.n >= MIN_N_TO_RANK


def refuse_unrankable(result: StoredResult) -> None:
    """Boards show measured results of official weights under a named protocol, nothing else.

    Raises:
        SubmissionError: stand-in weights, or a derived protocol.
    """
    if result.stand_in:
        raise SubmissionError(
            f"{result.model} was scored with stand-in weights: its numbers are no trained model's. Score it with the "
            f"official weights.",
            kind="stand_in",
        )
    base, *derivations = result.protocol.split("+")
    if derivations:
        other_weights = any(part.startswith("weights=") for part in derivations)
        with_what = " with the official weights (`javisbench weights fetch`)" if other_weights else ""
        raise SubmissionError(
            f"{result.protocol} is a derived protocol, which boards do not rank. Score the run under "
            f"{base}{with_what}.",
            kind="derived_protocol",
        )
