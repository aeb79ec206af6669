"""What a scoring job will do: which metrics, through which encoders, with which weights; and what is missing."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from javisbench.errors import MissingWeightsError, PluginError, ReferenceFeaturesError, UsageError
from javisbench.metrics.base import SampleMetric, SetMetric, needed_features
from javisbench.metrics.encoders import ENCODERS, lacking
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.judges.family import is_file, judge_of_file
from javisbench.metrics.registry import METRICS, card_of, metric_groups
from javisbench.protocol import PROTOCOLS
from javisbench.reference.wanted import EncoderChoice, Wanted, named_after
from javisbench.registry import did_you_mean
from javisbench.results.cell import Cell

if TYPE_CHECKING:
    from javisbench.protocol import Protocol
    from javisbench.reference.real_side import Reference
    from javisbench.suite import Suite
    from javisbench.weights import WeightStore

log = logging.getLogger(__name__)


@dataclass
class ProtocolPlan:
    """One protocol's part of the job.

    Attributes:
        protocol: under its final (possibly derived) name.
        sample_metrics: id to metric.
        set_metrics: id to metric.
        unavailable: id to a cell without a value, which says why.
        of_given: ids of metrics that nobody asked for by name and that say nothing of a model where the suite gives
            what they look at: no table has them.
    """

    protocol: Protocol
    sample_metrics: dict[str, SampleMetric] = field(default_factory=dict)
    set_metrics: dict[str, SetMetric] = field(default_factory=dict)
    unavailable: dict[str, Cell] = field(default_factory=dict)
    of_given: list[str] = field(default_factory=list)

    def specs(self, metric_id: str) -> dict[str, FeatureSpec]:
        """Role to feature of one metric; set metrics have the single role ``row``."""
        if metric_id in self.sample_metrics:
            return dict(self.sample_metrics[metric_id].needs(self.protocol))
        return {"row": self.set_metrics[metric_id].needs(self.protocol)}

    def all_specs(self) -> Iterator[FeatureSpec]:
        """Every feature that the protocol's metrics need, possibly repeated."""
        for metric_id in (*self.sample_metrics, *self.set_metrics):
            yield from self.specs(metric_id).values()

    def set_specs(self) -> set[FeatureSpec]:
        """Features that real clips are needed for."""
        return {metric.needs(self.protocol) for metric in self.set_metrics.values() if metric.needs_real}


@dataclass
class ScorePlan:
    """The whole job: one part a protocol, and the encoders that all of them share."""

    parts: list[ProtocolPlan]
    encoders: dict[str, EncoderChoice]

    @property
    def stand_in(self) -> bool:
        """Whether any weights are stand-ins."""
        return any(choice.weights and choice.weights.entry.stand_in for choice in self.encoders.values())

    def clip_specs(self) -> set[FeatureSpec]:
        """Every feature made from clips."""
        return {spec for part in self.parts for spec in part.all_specs() if spec.subject == "clip"}

    def text_specs(self) -> set[FeatureSpec]:
        """Every feature made from prompts."""
        return {spec for part in self.parts for spec in part.all_specs() if spec.subject != "clip"}


def select_metrics(requested: Iterable[str] | None, protocol: Protocol) -> list[str]:
    """Metric ids for what the user asked: ids, globs (``health_*``), groups (``speech``) or ``all``; None for all that
    apply.

    Raises:
        UsageError: a name that matches nothing.
    """
    known = list(METRICS)
    groups = metric_groups()
    chosen: set[str] = set()
    files: dict[str, None] = {}
    for name in ["all"] if requested is None else requested:
        if is_file(name):
            files[name] = None
            continue
        if name == "all":
            matching = _default_metrics(known, protocol)
        else:
            matching = groups.get(name) or fnmatch.filter(known, name)
        if not matching:
            near = did_you_mean(name, [*known, *groups])
            raise UsageError(
                f"There is no metric {name!r}.{near} Known: {', '.join(known)}; the groups {', '.join(groups)}; or all."
            )
        chosen.update(matching)
    return [*(metric_id for metric_id in known if metric_id in chosen), *files]


def _default_metrics(known: Iterable[str], protocol: Protocol) -> list[str]:
    # What a protocol leaves out is left out; clip health explains scores under any protocol.
    listed = [m for m in known if not protocol.metrics or m in protocol.metrics or m.startswith("health_")]
    allowed = [m for m in listed if m not in protocol.without]
    # Of a metric that does not import nobody knows whether it is one by default: its column says what is wrong.
    cards = {metric_id: card_of(metric_id) for metric_id in allowed}
    return [m for m, card in cards.items() if m in protocol.metrics or card is None or card.by_default]


def make_plan(
    suite: Suite,
    protocols: Iterable[Protocol],
    *,
    metrics: Iterable[str] | None,
    variants: Mapping[str, str],
    weights: WeightStore,
    has_reference: bool,
) -> ScorePlan:
    """Decide what is computed. Reads no clip and loads no network.

    Args:
        suite: the prompts.
        protocols: the first is the run's.
        metrics: as the user asked; None for all that apply.
        variants: encoder to variant (``{"imagebind": "tiny"}``).
        weights: where to look for checkpoints.
        has_reference: whether real features will be at hand.

    Raises:
        UsageError: unknown metrics, encoders or variants.
    """
    for name, variant in variants.items():
        check_variant(name, variant)
    requested = None if metrics is None else list(metrics)
    encoders: dict[str, EncoderChoice | Cell] = {}
    parts = []
    for protocol in protocols:
        part = ProtocolPlan(protocol)
        for metric_id in select_metrics(requested, protocol):
            card = card_of(metric_id)
            if card is not None and suite.task not in card.tasks:
                if metric_id in (requested or ()):
                    note = f"{suite.task} gives what it looks at: it would say nothing of the model"
                    part.unavailable[metric_id] = Cell(status="not_applicable", note=note)
                else:
                    part.of_given.append(metric_id)
                continue
            try:
                _place(part, metric_id, suite, has_reference, encoders, variants, weights)
            except PluginError as error:
                part.unavailable[metric_id] = failed(error)
        parts.append(part)
    chosen = {name: choice for name, choice in encoders.items() if isinstance(choice, EncoderChoice)}
    for part in parts:
        used = {spec.encoder for spec in part.all_specs()}
        part.protocol = named_after(_with_plugin_settings(part), (chosen[name] for name in used))
    return ScorePlan(parts, chosen)


def fit_reference(plan: ScorePlan, reference: Reference, suite: Suite, *, required: bool) -> None:
    """Take out the set metrics that the reference does not fit; they are reported as missing, with the reason.

    Raises:
        ReferenceFeaturesError: it fits none of them, although the user gave it.
    """
    fits, problem = 0, None
    for part in plan.parts:
        for metric_id in list(part.set_metrics):
            if not part.set_metrics[metric_id].needs_real:
                continue
            spec = part.set_metrics[metric_id].needs(part.protocol)
            try:
                reference.check(suite, Wanted(spec, part.protocol, plan.encoders[spec.encoder]))
                fits += 1
            except ReferenceFeaturesError as error:
                problem = error
                del part.set_metrics[metric_id]
                part.unavailable[metric_id] = Cell(status="missing_reference", note=error.message)
    if required and problem is not None and not fits:
        raise problem


def check_variant(name: str, variant: str) -> None:
    """Refuse a variant that an encoder does not have.

    Raises:
        UsageError: no such encoder or variant.
    """
    card = ENCODERS.get(name).card
    if variant not in card.variants:
        raise UsageError(
            f"The encoder {name} has no variant {variant!r}.{did_you_mean(variant, card.variants)} "
            f"Known: {', '.join(card.variants)}."
        )


def _place(
    part: ProtocolPlan,
    metric_id: str,
    suite: Suite,
    has_reference: bool,
    encoders: dict[str, EncoderChoice | Cell],
    variants: Mapping[str, str],
    weights: WeightStore,
) -> None:
    if metric_id in part.protocol.without:
        note = f"{part.protocol.base} has no {metric_id}: javisbench score --protocol {having(metric_id)}"
        part.unavailable[metric_id] = Cell(status="not_applicable", note=note)
        return
    cls = judge_of_file(metric_id) if is_file(metric_id) else METRICS.get(metric_id)
    metric_id = cls.card.id  # of a judge of a file, what the file says
    if metric_id in part.sample_metrics:
        raise UsageError(f"Two question sets have the id {metric_id!r}. Give one of them another.")
    with METRICS.guarded(metric_id, "needs"):
        metric = cls()
        if cls.settings is not None:
            part.protocol.mounted(metric_id, cls.settings)
        specs = needed_features(metric, part.protocol)
    reads_prompt = isinstance(metric, SampleMetric) and metric.needs_prompt
    if suite.unconditional and (reads_prompt or any(spec.subject != "clip" for spec in specs)):
        note = f"{suite.name} has no prompts"
        part.unavailable[metric_id] = Cell(status="not_applicable", note=note)
        return
    if isinstance(metric, SampleMetric) and metric.needs_setting and suite.setting is None:
        note = f"{suite.name} states no size, rates or length to compare with"
        part.unavailable[metric_id] = Cell(status="not_applicable", note=note)
        return
    lacking_columns = _lacking_columns(metric, suite)
    if lacking_columns:
        note = f"{suite.name} has no column {' or '.join(lacking_columns)}"
        part.unavailable[metric_id] = Cell(status="not_applicable", note=note)
        return
    with METRICS.guarded(metric_id, "lacking"):
        lacks = metric.lacking(part.protocol) if isinstance(metric, SampleMetric) else None
    if lacks is not None:
        part.unavailable[metric_id] = Cell(status="missing_weights", note=lacks)
        return
    # Sorted: the order of a set differs from process to process, and summaries list encoders as they come here.
    for name in sorted({spec.encoder for spec in specs}):
        if name not in encoders:
            encoders[name] = _choose(name, variants.get(name), weights)
        choice = encoders[name]
        if isinstance(choice, Cell):
            part.unavailable[metric_id] = choice
            return
        with ENCODERS.guarded(name, "its settings and streams"):
            choice.cls.stream(next(spec for spec in specs if spec.encoder == name))
            if choice.cls.settings is not None:
                part.protocol.mounted(name, choice.cls.settings)
    if isinstance(metric, SetMetric) and metric.needs_real and not has_reference:
        note = "needs real clips: --reference FOLDER, --reference suite, or a file of `javisbench reference build`"
        part.unavailable[metric_id] = Cell(status="missing_reference", note=note)
    elif isinstance(metric, SetMetric):
        part.set_metrics[metric_id] = metric
    else:
        part.sample_metrics[metric_id] = metric


def _lacking_columns(metric: SampleMetric | SetMetric, suite: Suite) -> list[str]:
    """Columns that a metric reads and no sample of the suite has."""
    columns = metric.needs_columns if isinstance(metric, SampleMetric) else ()
    return [name for name in columns if not any(sample.extra.get(name) for sample in suite)]


def having(metric_id: str) -> str:
    """Name of the protocol that has the metric among its headline, else any that has it."""
    able = [protocol for protocol in PROTOCOLS.values() if metric_id not in protocol.without]
    return next((p.name for p in able if metric_id in p.headline), able[0].name)


def failed(error: PluginError) -> Cell:
    """The cell of a metric whose package has a defect; the traceback goes to the log."""
    log.warning("%s", error.message, exc_info=error.__cause__ or error)
    return Cell(status="failed", note=error.message)


def _choose(name: str, variant: str | None, weights: WeightStore) -> EncoderChoice | Cell:
    try:
        lacks = lacking(name)
        if lacks is not None:
            return Cell(status="missing_weights", note=lacks)
        cls = ENCODERS.get(name)
        variant = variant or cls.card.default_variant
        entry = cls.card.variants[variant]
        if entry is None:
            return EncoderChoice(name, variant, cls, None)
        with ENCODERS.guarded(name, "its weights"):
            try:
                return EncoderChoice(name, variant, cls, weights.locate(entry))
            except MissingWeightsError as error:
                return Cell(status="missing_weights", note=error.message)
    except PluginError as error:
        return failed(error)


def _with_plugin_settings(part: ProtocolPlan) -> Protocol:
    """The protocol with all settings of the plugins in use, so that a result records its defaults too."""
    protocol = part.protocol
    metrics: dict[str, SampleMetric | SetMetric] = {**part.sample_metrics, **part.set_metrics}
    used = {name: metric.settings for name, metric in metrics.items()}
    encoders = {spec.encoder for spec in part.all_specs()}
    for name, settings in (*used.items(), *((name, ENCODERS.get(name).settings) for name in encoders)):
        if settings is not None:
            protocol = protocol.with_mounted(name, protocol.mounted(name, settings))
    return protocol


def warn_of_other_weights(plan: ScorePlan) -> None:
    """Say once of each encoder in use that its weights are not the official ones, and what follows."""
    for name in sorted({spec.encoder for part in plan.parts for spec in part.all_specs()}):
        choice = plan.encoders[name]
        weights = choice.weights
        if weights is not None and choice.other_weights:
            log.warning(
                "%s is not the official file of %s: %s. The protocol's name gets +%s, and boards refuse the run. The "
                "official file: %s",
                weights.path,
                weights.entry.title,
                weights.difference,
                choice.other_weights,
                weights.entry.fetch_command,
            )
