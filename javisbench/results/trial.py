"""A trial's outcome: what each metric can and cannot see, as ``trial.json`` holds it and tables and pages tell it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

from javisbench.agreement import monotony
from javisbench.cards import CARDS
from javisbench.errors import RunError
from javisbench.results.checked_json import Checker, parse_json
from javisbench.results.table import column, metric_order

TRIAL_SCHEMA = 2
KEPT_CHANGE = 0.05
"""Median relative change up to which a metric counts as unmoved by what should not matter."""
MAX_TEXT = 400
MAX_EFFECTS = 100_000

Kind: TypeAlias = Literal["harm", "same", "judged"]
Verdict: TypeAlias = Literal["seen", "unseen", "opposite", "blind", "untested", "kept", "changed"]
VERDICT_TEXT: Mapping[Verdict, str] = {
    "seen": "seen",
    "unseen": "not seen",
    "opposite": "prefers the damaged clips",
    "blind": "blind: no value changes",
    "untested": "not tested",
    "kept": "unmoved",
    "changed": "moved",
}


@dataclass(frozen=True)
class Effect:
    """What one damage at one dose does to one metric. Numbers that cannot be had are None.

    Attributes:
        metric: id.
        damage: name.
        dose: in the damage's unit; None for a damage without doses.
        unit: of the dose, or empty.
        severity: grows with the harm over the doses of a damage.
        kind: ``harm``, where a metric should notice; ``same``, where its value should not change; ``judged``, where
            somebody said which of two clips is better.
        branch: ``negative`` for the negative doses of a damage that works both ways, else empty.
        pairs: of clips that were asked for.
        n: pairs of which both members have a value.
        sources: independent clips, prompts or groups behind them.
        ties: pairs that were judged equally good; they count in `tau` alone.
        auroc: chance that a better clip scores better than a worse one drawn at random, in [0, 1].
        auroc_low: lower end of its 95 % interval over sources.
        auroc_high: upper end.
        accuracy: share of pairs whose better clip scores better, a tie of scores counting half.
        accuracy_low: lower end of its 95 % interval over sources.
        accuracy_high: upper end.
        accuracy_strict: the same with ties wrong.
        accuracy_relaxed: the same with ties right.
        accuracy_of_all: ties wrong, and pairs without a value wrong too.
        effect: mean difference of the pairs in the metric's unit, above 0 where the better clip scores better; of a set
            metric the distance of the damaged clips from the good ones.
        effect_low: lower end of its 95 % interval.
        effect_high: upper end.
        effect_in_spreads: the mean difference in standard deviations of the differences.
        p_value: of no difference, two-sided.
        p_adjusted: Holm-adjusted over all damages and doses of the metric in this trial.
        n_for_power: sources with which so large an effect is found in 80 of 100 trials.
        relative_change: median over pairs of the size of the change over that of the good clip's value.
        tau: mean over groups of Kendall's tau-b of scores and judgements.
        tau_low: lower end of its 95 % interval over groups.
        tau_high: upper end.
        floor: of a set metric, the largest distance of random halves of the good clips.
        verdict: see `VERDICT_TEXT`.
        lacking: why a pair has no value, and how often.
        note: a sentence, or None.
    """

    metric: str
    damage: str
    dose: float | None = None
    unit: str = ""
    severity: float = 0.0
    kind: Kind = "harm"
    branch: str = ""
    pairs: int = 0
    n: int = 0
    sources: int = 0
    ties: int = 0
    auroc: float | None = None
    auroc_low: float | None = None
    auroc_high: float | None = None
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    accuracy_strict: float | None = None
    accuracy_relaxed: float | None = None
    accuracy_of_all: float | None = None
    effect: float | None = None
    effect_low: float | None = None
    effect_high: float | None = None
    effect_in_spreads: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    n_for_power: int | None = None
    relative_change: float | None = None
    tau: float | None = None
    tau_low: float | None = None
    tau_high: float | None = None
    floor: float | None = None
    verdict: Verdict = "untested"
    lacking: Mapping[str, int] = field(default_factory=dict)
    note: str | None = None

    @property
    def case(self) -> str:
        """Damage and dose as on the command line: ``shift=160``."""
        return case_name(self.damage, self.dose)

    @property
    def changed(self) -> bool:
        """Whether any pair's members have different values; of a set metric, whether the distance is any."""
        if self.accuracy_strict is None or self.accuracy_relaxed is None:
            return bool(self.effect) and self.verdict != "blind"
        return self.accuracy_strict > 0 or self.accuracy_relaxed < 1

    @property
    def dose_text(self) -> str:
        """``160 ms``; empty without a dose."""
        return "" if self.dose is None else f"{self.dose:g} {self.unit}".rstrip()

    @property
    def without_value(self) -> float | None:
        """Share of the pairs that have no value, in [0, 1]; None without pairs."""
        return 1 - self.n / self.pairs if self.pairs else None


@dataclass(frozen=True)
class Curve:
    """One metric over the doses of one damage, the mildest first. Both ways of a signed damage have their own."""

    damage: str
    effects: tuple[Effect, ...]

    @property
    def title(self) -> str:
        """The damage's name; with a minus for its negative doses."""
        return f"-{self.damage}" if self.effects[0].branch else self.damage

    @property
    def smallest_seen(self) -> Effect | None:
        """The mildest dose from which on every dose is seen; None when the strongest is not."""
        found = None
        for effect in reversed(self.effects):
            if effect.verdict != "seen":
                break
            found = effect
        return found

    @property
    def monotony(self) -> float | None:
        """Kendall's tau-b of mean effect over dose; None for fewer than three doses, or where nothing changes."""
        tested = [(effect.severity, effect.effect) for effect in self.effects if effect.effect is not None]
        return monotony(*zip(*tested, strict=True)) if len(tested) > 2 else None


@dataclass(frozen=True)
class MetricTrial:
    """All that a trial found of one metric."""

    metric: str
    effects: tuple[Effect, ...]

    @property
    def curves(self) -> tuple[Curve, ...]:
        """One a damage, in the order of the trial."""
        found: dict[tuple[str, str], list[Effect]] = {}
        for effect in self.effects:
            found.setdefault((effect.damage, effect.branch), []).append(effect)
        return tuple(Curve(key[0], tuple(sorted(own, key=lambda e: e.severity))) for key, own in found.items())

    def sentence(self, streams: Mapping[str, str] | None = None) -> str:
        """What it sees and what not, on one line.

        Args:
            streams: damage to the stream that it changes; being blind to all damages of one is then said in few words.
        """
        harmful = [effect for effect in self.effects if effect.kind == "harm"]
        if harmful and all(effect.verdict in ("blind", "untested") for effect in harmful):
            changed = [effect for effect in harmful if effect.changed]
            if not changed and any(effect.verdict == "blind" for effect in harmful):
                return "blind: no damage changes its value"
            return f"not tested: {changed[0].note or 'too few clips'}" if changed else "not tested: no clip has a value"
        parts = [f"{lead} {', '.join(found)}" for lead, found in self._groups(streams or {}) if found]
        return "; ".join(parts) or "nothing was tested"

    def _groups(self, streams: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
        curves = self.curves
        harmful = [curve for curve in curves if curve.effects[0].kind == "harm"]
        yield "sees", [_seen(curve) for curve in harmful if curve.smallest_seen is not None]
        rest = [curve for curve in harmful if curve.smallest_seen is None]
        partly = [c for c in rest if any(e.verdict == "seen" for e in c.effects)]
        yield "at some doses", [curve.title for curve in partly]
        opposite = [c for c in rest if c not in partly and any(e.verdict == "opposite" for e in c.effects)]
        yield "prefers clips with", [curve.title for curve in opposite]
        unsaid = [c for c in rest if all(e.verdict in ("blind", "untested") for e in c.effects)]
        untested = [
            c for c in unsaid if any(e.changed for e in c.effects) or all(e.verdict == "untested" for e in c.effects)
        ]
        blind = [curve for curve in unsaid if curve not in untested]
        told = (*partly, *opposite, *untested, *blind)
        yield "not", [curve.title for curve in rest if curve not in told]
        yield "blind to", _by_stream(blind, harmful, streams)
        yield "not tested on", [curve.title for curve in untested]
        yield "moved by", [_moved(curve) for curve in curves if any(e.verdict == "changed" for e in curve.effects)]
        yield "of judged pairs", [_judged(e) for e in self.effects if e.kind == "judged"]


def _by_stream(blind: Sequence[Curve], harmful: Sequence[Curve], streams: Mapping[str, str]) -> list[str]:
    """Damages by name, but for streams of which no damage changes anything."""
    words, left = [], list(blind)
    for stream in dict.fromkeys(streams.values()):
        own = [curve for curve in harmful if streams.get(curve.damage) == stream]
        if len(own) > 1 and all(curve in blind for curve in own):
            words.append(f"all that changes the {stream} alone")
            left = [curve for curve in left if curve not in own]
    return words + [curve.title for curve in left]


def _seen(curve: Curve) -> str:
    first = curve.smallest_seen
    assert first is not None
    return curve.title if first.dose is None else f"{curve.title} from {first.dose_text}"


def _moved(curve: Curve) -> str:
    changed = [effect for effect in curve.effects if effect.verdict == "changed"]
    shares = [effect.relative_change for effect in changed if effect.relative_change is not None]
    if not shares:
        return curve.title
    most = 100 * max(shares)
    return f"{curve.title} ({'' if len(changed) == 1 else 'up to '}{most:.{0 if most >= 10 else 1}f} %)"


def _judged(effect: Effect) -> str:
    right = "none has a value" if effect.accuracy is None else f"{100 * effect.accuracy:.1f} % right"
    return f"{effect.case} {right} (n = {effect.n - effect.ties})"


@dataclass(frozen=True)
class Trial:
    """What ``trial.json`` holds.

    Attributes:
        material: what the clips were: ``kind`` (scenes, clips, pairs, av-syncbench), ``suite``, ``clips``, ``sources``.
        protocol: name.
        stand_in: whether any weights were stand-ins, so that nothing follows for the metrics.
        seed: of scenes, random damage and bootstrap.
        version: of javisbench.
        metrics: what was found, in the order of tables.
        missing: metric id to why nothing was found.
        left_out: clip or row to why it was not used.
        damages: name to title, unit and what it does, of the damages of this trial.
    """

    material: Mapping[str, Any]
    protocol: str
    stand_in: bool
    seed: int
    version: str
    metrics: tuple[MetricTrial, ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    damages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def of(self, metric: str) -> MetricTrial | None:
        """What was found of one metric; None when it has no test."""
        return next((found for found in self.metrics if found.metric == metric), None)

    def sentence_of(self, found: MetricTrial) -> str:
        """What one of its metrics sees and what not, on one line."""
        return found.sentence({name: facts["stream"] for name, facts in self.damages.items() if "stream" in facts})

    @property
    def effects(self) -> list[Effect]:
        """All of all metrics."""
        return [effect for metric in self.metrics for effect in metric.effects]

    @property
    def clips_line(self) -> str:
        """``112 clips of demo``."""
        clips, suite = self.material.get("clips", 0), self.material.get("suite", "")
        return f"{clips} clips of {suite}" if suite else f"{clips} clips"

    def to_json(self) -> dict[str, Any]:
        """The document; equal trials give equal documents."""
        return {
            "schema": TRIAL_SCHEMA,
            "material": dict(self.material),
            "protocol": self.protocol,
            "stand_in": self.stand_in,
            "seed": self.seed,
            "version": self.version,
            "left_out": dict(self.left_out),
            "missing": dict(self.missing),
            "damages": {name: dict(facts) for name, facts in self.damages.items()},
            "metrics": {
                found.metric: {
                    "summary": self.sentence_of(found),
                    "curves": [_curve_json(curve) for curve in found.curves],
                    "effects": [_effect_json(effect) for effect in found.effects],
                }
                for found in self.metrics
            },
        }


@dataclass(frozen=True)
class RecordedTrial:
    """A trial that ships with javisbench.

    Attributes:
        name: of the record.
        date: when it was run, ``YYYY-MM-DD``.
        commit: of javisbench, as given.
        command: that made it.
        trial: what it found.
    """

    name: str
    date: str
    commit: str
    command: str
    trial: Trial

    def line(self, metric: str) -> str:
        """One line for the metric's documentation, with date, n and commit."""
        found = self.trial.of(metric)
        what = (
            self.trial.sentence_of(found)
            if found
            else f"not run here: {self.trial.missing.get(metric, 'not part of this trial')}"
        )
        return f"{what} ({self.trial.clips_line}, {self.date}, {self.commit})"


def case_name(damage: str, dose: float | None) -> str:
    """``shift=160``, or ``silent`` without a dose."""
    return damage if dose is None else f"{damage}={dose:g}"


def read_trial(path: Path) -> Trial:
    """A trial from its folder or its ``trial.json``.

    Raises:
        RunError: it is not there, damaged, or of a version that is not read here.
    """
    target = path / "trial.json" if path.is_dir() else path
    if not target.is_file():
        raise RunError(f"There is no trial at {target}. Make one: javisbench validate-metrics --out {path}.")
    check = Checker(str(target))
    return parse_trial(check.read(target), check)


def recorded_trials(folder: Path = CARDS / "trials") -> list[RecordedTrial]:
    """The trials that ship with javisbench, by name."""
    found = []
    for path in sorted(folder.glob("*.json")):
        check = Checker(str(path))
        data = check.mapping(parse_json(path.read_bytes(), str(path)), "the file")
        date, commit, command = (check.text(data, name, MAX_TEXT) for name in ("date", "commit", "command"))
        trial = parse_trial(check.mapping(data.get("trial"), "trial"), check)
        found.append(RecordedTrial(path.stem, date, commit, command, trial))
    return found


def parse_trial(data: Mapping[str, Any], check: Checker) -> Trial:
    """A trial from its document.

    Raises:
        RunError: another schema, or a value of another type.
    """
    if data.get("schema") != TRIAL_SCHEMA:
        raise RunError(f"{check.where} has schema {data.get('schema')!r}; this javisbench reads {TRIAL_SCHEMA}.")
    metrics = []
    for metric, entry in check.mapping(data.get("metrics"), "metrics").items():
        rows = check.mapping(entry, f"metrics.{metric}").get("effects")
        if not isinstance(rows, list) or len(rows) > MAX_EFFECTS:
            check.fail(f"metrics.{metric}.effects", "is no list of effects")
        metrics.append(MetricTrial(check.id(metric, "metrics"), tuple(_effect(metric, row, check) for row in rows)))
    return Trial(
        material=check.mapping(data.get("material"), "material"),
        protocol=check.text(data, "protocol", MAX_TEXT),
        stand_in=check.flag(data.get("stand_in"), "stand_in"),
        seed=check.count(data.get("seed"), "seed"),
        version=check.text(data, "version", MAX_TEXT),
        metrics=tuple(metrics),
        missing=_texts(data.get("missing", {}), "missing", check),
        left_out=_texts(data.get("left_out", {}), "left_out", check),
        damages={
            name: _texts(facts, f"damages.{name}", check)
            for name, facts in check.mapping(data.get("damages", {}), "damages").items()
        },
    )


def ordered(metrics: Iterable[MetricTrial]) -> tuple[MetricTrial, ...]:
    """In the order of tables."""
    by_id = {found.metric: found for found in metrics}
    return tuple(by_id[metric] for metric in metric_order(by_id))


def title_of(metric: str) -> str:
    """The metric's title."""
    return column(metric).title


def _curve_json(curve: Curve) -> dict[str, Any]:
    first, steady = curve.smallest_seen, curve.monotony
    return {
        "damage": curve.title,
        "smallest_seen": None if first is None else first.case,
        "monotony": None if steady is None else round(steady, 12),
    }


_LEAN = tuple(f for f in dataclasses.fields(Effect) if f.name != "metric")


def _effect_json(effect: Effect) -> dict[str, Any]:
    """All members but those that have nothing to say."""
    document = {}
    for member in _LEAN:
        value = getattr(effect, member.name)
        if value is not None and value != "" and value != {}:
            document[member.name] = dict(value) if member.name == "lacking" else value
    return document


_COUNTS = ("pairs", "n", "sources", "ties")
_WORDS = {"kind": get_args(Kind), "verdict": get_args(Verdict)}


def _effect(metric: str, row: Any, check: Checker) -> Effect:
    data = check.mapping(row, f"an effect of {metric}")
    values: dict[str, Any] = {"metric": metric}
    for member in _LEAN:
        if member.name in data:
            values[member.name] = _member(member.name, data[member.name], f"metrics.{metric}.{member.name}", check)
    if "damage" not in values:
        check.fail(f"metrics.{metric}", "has an effect without a damage")
    return Effect(**values)


def _member(name: str, value: Any, field_: str, check: Checker) -> Any:
    if name in _WORDS:
        return cast(str, value) if value in _WORDS[name] else check.fail(field_, f"is not one of {_WORDS[name]}")
    if name in _COUNTS or name == "n_for_power":
        return check.count(value, field_)
    if name == "lacking":
        reasons = check.mapping(value, field_)
        return {check.string(why, field_, MAX_TEXT, cut=True): check.count(n, field_) for why, n in reasons.items()}
    if name in ("damage", "unit", "branch", "note"):
        return check.string(value, field_, MAX_TEXT, cut=True)
    return check.number(value, field_)


def _texts(value: Any, field_: str, check: Checker) -> dict[str, str]:
    return {
        name: check.string(text, field_, 4 * MAX_TEXT, cut=True) for name, text in check.mapping(value, field_).items()
    }


def effects_frame(effects: Sequence[Effect]) -> Any:
    """The effects as a pandas table, one row each; the reasons for pairs without a value stand in one text column."""
    import pandas as pd

    rows = []
    for effect in effects:
        row = {member.name: getattr(effect, member.name) for member in dataclasses.fields(Effect)}
        rows.append({**row, "lacking": "; ".join(f"{count} x {why}" for why, count in effect.lacking.items())})
    return pd.DataFrame(rows, columns=[member.name for member in dataclasses.fields(Effect)])
