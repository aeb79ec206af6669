"""How two results were made differently, or a result and what a recipe says: the one list of causes.

Everything that is known of how a result was made is a fact with a dotted name (``protocol_settings.fvd.max_frames``,
``clips.fps``). Facts that differ are gathered under topics, which have a documented order; measured effects put them in
another order where there are any (`causes`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from javisbench.errors import UsageError
from javisbench.protocol import protocol_label, recorded_protocol
from javisbench.results.clip_facts import clip_facts
from javisbench.results.measured_effects import Measured, measured

if TYPE_CHECKING:
    from javisbench.protocol import Protocol
    from javisbench.results.run_folder import StoredResult

Facts: TypeAlias = Mapping[str, Any]
"""Dotted name to value; a name that is not there is not known."""
Acts: TypeAlias = Literal["all", "picture", "sound", "set", "encoder", "setting"]

_NOT_TOLD = (
    "model", "slug", "card", "created", "audio", "samples", "clips", "first_protocol", "aspects", "begun",
    "generations", "requests", "plugins", "protocol", "protocol_settings", "precision", "prompts",
)  # fmt: skip
"""Facts that say nothing of how numbers were made, or are told under another name."""


MAX_DEPTH = 8
MAX_NAME = 200
_RATIO = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?|\d{1,15}/\d{1,15}")
NO_FILES = "none"
"""What stands for the files of a model that reads none."""


@dataclass(frozen=True)
class Topic:
    """What differences are gathered under.

    Attributes:
        id: short name.
        title: as tables show it.
        names: pattern of the names of facts.
        acts: on which metrics a difference can act: ``all``, those that look at the ``picture`` or hear the ``sound``,
            ``set`` metrics, those of one ``encoder``, or of one ``setting`` of a protocol.
        usual: whether a published number depends on it, so that its absence is worth a line.
    """

    id: str
    title: str
    names: str
    acts: Acts = "all"
    usual: bool = True


_SIZE = r"width|height|size|resolution|image_size|aspect_ratio"
_LENGTH = r"frames|num_frames|fps|frame_rate|duration|duration_s|seconds|length_s"
_GIVEN = r"generation model\.parameters"
TOPICS = (
    Topic("model", "Model", rf"model|generation model\.(?:model|card)|{_GIVEN}\.variant", usual=False),
    Topic("protocol", "Protocol", r"protocol|protocol_settings\..*", "setting"),
    Topic("suite", "Suite", r"suite|suite_hash|suite_total|task|given"),
    Topic("frames", "Frames and rate", rf"clips\.(?:frames|fps|duration_s)|{_GIVEN}\.(?:{_LENGTH})"),
    Topic("resolution", "Resolution", rf"clips\.(?:width|height)|{_GIVEN}\.(?:{_SIZE})", "picture"),
    Topic("metric_weights", "Weights of the metrics' networks", r"encoders\..*|stand_in", "encoder"),
    Topic("model_weights", "Weights of the model", r"generation files(?:\..*)?"),
    Topic("sampling", "Sampling", r"generation model(?:\..*)?"),
    Topic("reference", "Real side of set metrics", r"reference(?:\..*)?", "set"),
    Topic("prompts", "Prompts", r"prompts|failed|generation\.limit|generation\.shard"),
    Topic("sound", "Where the sound comes from", r"sound", "sound"),
    Topic("sample_rate", "Sample rate of the sound", r"clips\.sample_rate", "sound", usual=False),
    Topic("precision", "Precision", r"precision|generation\.(?:dtype|conform)"),
    Topic("seed", "Seed of the noise", r"generation\.(?:seed|repeats)"),
    Topic("software", "Software", r"versions\..*", usual=False),
    Topic("other", "Other", r".*", usual=False),
)
"""In the documented order of size (docs/reproduce.md): the first whose pattern fits a name has it."""

ENOUGH = 0.5
"""Share of a deviation from which on a measured effect counts as one that explains it."""
MAX_TOLD = 3

_SETTING_ACTS: Mapping[str, tuple[str, ...]] = {
    "kvd_centred": ("kvd",),
    "fid_frames": ("fid",),
    "max_frames": ("fvd", "kvd"),
    "long_prompts": ("tv_ib", "ta_ib"),
    "channels": ("ta_ib", "av_ib", "avh_score", "javis_score"),
    "mean_removal": ("ta_ib", "av_ib", "avh_score", "javis_score"),
    "clip_frames": ("clip_score",),
    "channel_order": ("clip_score",),
    "clap_padding": ("clap_score",),
    "clap_resampler": ("clap_score",),
    "max_audio_len_s": ("fvd", "kvd", "fid", "fad", "desync", "audio_quality"),
    "video_range": ("fvd", "kvd", "fid"),
    "video_span": ("fvd", "kvd", "fid"),
    "image_size": ("fvd", "kvd", "fid"),
    "revision": (),
    "precision_tolerance": (),
    "metrics": (),
}
"""Metrics that a setting of a protocol acts on, where these are not all of its concern."""
_CONCERN_ACTS: Mapping[str, tuple[str, ...]] = {
    "fvd": ("fvd", "kvd", "fid"),
    "fad": ("fad",),
    "javis_score": ("javis_score",),
    "av_align": ("av_align",),
    "desync": ("desync",),
    "audio_quality": ("audio_quality",),
}


@dataclass(frozen=True)
class Difference:
    """A fact that is not the same.

    Attributes:
        name: dotted.
        here: in the result that is looked at; None where it has none.
        there: in the other, or in the recipe.
    """

    name: str
    here: Any
    there: Any

    @property
    def line(self) -> str:
        """``clips.fps: 16 / 24``."""
        return f"{self.name[:MAX_NAME]}: {shown(self.here)} / {shown(self.there)}"


@dataclass(frozen=True)
class Cause:
    """A topic with what differs in it.

    Attributes:
        topic: its id.
        title: of the topic.
        differences: at least one.
        share: of a deviation, how much the largest effect that was measured of these differences makes up: 1 is all of
            it; 0 where nothing here acts on a value that deviates; None where nothing was measured.
        told: sentences on what was measured, and on known faults that the differences are.
    """

    topic: str
    title: str
    differences: tuple[Difference, ...]
    share: float | None = None
    told: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "topic": self.topic,
            "title": self.title,
            "differences": [{"name": d.name, "a": _plain(d.here), "b": _plain(d.there)} for d in self.differences],
            "share": self.share,
            "told": list(self.told),
        }


@dataclass(frozen=True)
class Deviation:
    """A value that deviates from another: what causes are weighed against.

    Attributes:
        metric: id.
        value: that of the other side.
        size: of the deviation, above 0.
    """

    metric: str
    value: float
    size: float


def made_with(result: StoredResult) -> dict[str, Any]:
    """What a result says of how it was made, by dotted name: what `compare` and boards ask, without its clips."""
    facts: dict[str, Any] = {name: value for name, value in result.run.items() if name not in _NOT_TOLD}
    if result.folder is not None:
        manifest = result.manifest
        told = manifest.get("model", {})
        facts["generation"] = manifest.get("generation")
        facts["generation model"] = told.get("identity")
        facts["generation files"] = told.get("weights")
        scoring = manifest.get("scoring") or {}
        facts["scoring"] = {name: value for name, value in scoring.items() if name not in _NOT_TOLD}
        if told.get("weights") == {}:
            facts["generation files"] = NO_FILES
    found = {name: value for name, value in flat(facts).items() if value is not None}
    return {**found, **_protocol_facts(result), **_precision(result)}


def facts_of(result: StoredResult) -> dict[str, Any]:
    """As `made_with`, with its clips and where their sound was taken from.

    Raises:
        RunError: its tables cannot be read.
    """
    found = {**made_with(result), **clip_facts(result), **_sound(result), "failed": result.failed_samples}
    prompts = result.run.get("prompts", result.samples)
    return {**found, "prompts": prompts} if isinstance(prompts, int) and prompts else found


def protocol_facts(protocol: Protocol) -> dict[str, Any]:
    """A protocol's name and settings as facts."""
    settings = protocol.settings()
    return {
        "protocol": protocol_label(protocol.base, protocol.revision),
        **{name: value for name, value in flat(settings, "protocol_settings").items() if value not in ((), [])},
    }


def _protocol_facts(result: StoredResult) -> dict[str, Any]:
    # What a name adds about weights and precision is told by these themselves.
    base, *derived = result.protocol.split("+")
    known = "+".join([base, *(part for part in derived if part != "imported")])
    try:
        protocol = recorded_protocol(known, result.run.get("protocol_settings"))
    except UsageError:
        return {"protocol": result.protocol_label}
    return protocol_facts(protocol)


def _precision(result: StoredResult) -> dict[str, Any]:
    recorded = result.run.get("precision")
    own = recorded.get(result.protocol) if isinstance(recorded, Mapping) else None
    word = own.get("precision") if isinstance(own, Mapping) else recorded if isinstance(recorded, str) else None
    return {"precision": word} if isinstance(word, str) else {}


def _sound(result: StoredResult) -> dict[str, Any]:
    words = {"sidecar": "files beside the clips", "container": "tracks in the clips", "none": "no sound"}
    counts = {name: count for name, count in result.audio.items() if count and name in words}
    if len(counts) == 1:
        return {"sound": words[next(iter(counts))]}
    return {"sound": ", ".join(f"{words[name]}: {count}" for name, count in counts.items())} if counts else {}


def flat(value: Any, name: str = "", depth: int = MAX_DEPTH) -> dict[str, Any]:
    """Nested facts by dotted names; what lies deeper than any of ours is one fact."""
    if isinstance(value, Mapping) and depth:
        found: dict[str, Any] = {}
        for key, inner in value.items():
            found |= flat(inner, f"{name}.{key}" if name else str(key), depth - 1)
        return found
    return {name: value}


def shown(value: Any) -> str:
    """A fact as text, of at most 60 characters."""
    text = "absent" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def same(a: Any, b: Any) -> bool:
    """Whether two facts are the same: numbers as numbers, however they are written."""
    if a == b:
        return True
    first, second = _number(a), _number(b)
    return first is not None and second is not None and abs(first - second) <= 1e-9 * max(abs(first), abs(second))


def _number(value: Any) -> float | None:
    """A finite number, also of text as ``24`` or ``24000/1001``; an exponent in it would cost what its writer likes."""
    try:
        if isinstance(value, str) and _RATIO.fullmatch(value):
            value = Fraction(value)
        number = None if isinstance(value, bool | str) or not isinstance(value, Real) else float(value)
    except (OverflowError, ZeroDivisionError):
        return None
    return number if number is not None and math.isfinite(number) else None


def differing(here: Facts, there: Facts, *, absent: bool = False) -> list[Difference]:
    """Facts that differ, by name.

    Args:
        here: of one side.
        there: of the other.
        absent: also those that one side alone has.
    """
    names = here.keys() | there.keys() if absent else here.keys() & there.keys()
    return [
        Difference(name, here.get(name), there.get(name))
        for name in sorted(names)
        if not same(here.get(name), there.get(name))
    ]


def topic_of(name: str) -> Topic:
    """The topic of a fact."""
    return next(topic for topic in TOPICS if re.fullmatch(topic.names, name))


def causes(differences: Iterable[Difference], deviations: Sequence[Deviation] = ()) -> tuple[Cause, ...]:
    """Differences by topic, the one that explains most first.

    First come topics of which an effect was measured that makes up at least half of a deviation, the largest share
    first; then those of which nothing was measured, in the order of `TOPICS`; then those whose measured effects are
    smaller; then those that act on no value that deviates. Without deviations, the order is that of `TOPICS`.

    Args:
        differences: of `differing`.
        deviations: what is to be explained.
    """
    gathered: dict[Topic, list[Difference]] = {}
    for difference in differences:
        gathered.setdefault(topic_of(difference.name), []).append(difference)
    found = [(topic, _cause(topic, parts, deviations)) for topic, parts in gathered.items()]
    return tuple(cause for _, cause in sorted(found, key=lambda pair: _place(*pair)))


def _place(topic: Topic, cause: Cause) -> tuple[int, float, int]:
    order = TOPICS.index(topic)
    if cause.share is None:
        return 1, 0.0, order
    if not cause.share:
        return 3, 0.0, order
    return (0 if cause.share >= ENOUGH else 2), -cause.share, order


def _cause(topic: Topic, parts: Sequence[Difference], deviations: Sequence[Deviation]) -> Cause:
    # A protocol's name stands for its settings.
    acting = [part for part in parts if part.name != "protocol"] or parts
    touched = [(part, d) for part in acting for d in deviations if d.size > 0 and acts_on(part.name, d.metric)]
    shares: dict[Measured, float] = {}
    everything_measured = True
    for part, deviation in touched:
        effects = measured(part.name, deviation.metric)
        shares |= {effect: effect.size(deviation.value) / deviation.size for effect in effects}
        everything_measured &= bool(effects)
    share = max(shares.values(), default=None)
    if deviations and not touched:
        share = 0.0
    elif not everything_measured and share is not None and share < ENOUGH:
        share = None  # what was not measured may be the larger part
    told = sorted(shares, key=lambda effect: -shares[effect])[:MAX_TOLD]
    # What acts on values that deviate stands first; before it, a protocol's name.
    acting_names = {part.name for part, _ in touched}
    ordered = sorted(parts, key=lambda part: (part.name != "protocol", part.name not in acting_names, part.name))
    return Cause(topic.id, topic.title, tuple(ordered), share, tuple(effect.sentence for effect in told))


def acts_on(name: str, metric: str) -> bool:
    """Whether a difference in the fact `name` can act on a metric."""
    acts = topic_of(name).acts
    if acts == "all":
        return True
    if acts == "setting":
        return _setting_acts(name, metric)
    known = _seen_by(metric)
    if known is not None and acts == "encoder":
        return name == "stand_in" or name.split(".")[1] in known[0]
    return _may_act(topic_of(name), known)


def _setting_acts(name: str, metric: str) -> bool:
    _, _, path = name.partition(".")
    concern, _, setting = path.rpartition(".")
    if not path or metric in _SETTING_ACTS.get(setting, ()):
        return True
    if setting in _SETTING_ACTS:
        return False
    if concern.startswith("plugins."):
        known = _seen_by(metric)
        plugin = concern.removeprefix("plugins.")
        return known is None or plugin == metric or plugin in known[0]
    return metric in _CONCERN_ACTS[concern] if concern in _CONCERN_ACTS else True


def _seen_by(metric: str) -> tuple[frozenset[str], frozenset[str], bool] | None:
    """A metric's encoders, the streams that these look at, and whether it is one of sets; None where unknown."""
    from javisbench.errors import JavisbenchError
    from javisbench.metrics.base import SetMetric, needed_features
    from javisbench.metrics.encoders import ENCODERS
    from javisbench.metrics.registry import METRICS
    from javisbench.protocol import DEFAULT_PROTOCOL, parse_protocol

    try:
        cls = METRICS.get(metric)
        specs = needed_features(cls(), parse_protocol(DEFAULT_PROTOCOL))
        # Prompts are no stream of a clip.
        streams = frozenset(ENCODERS.get(s.encoder).stream(s) for s in specs if s.subject == "clip")
        return frozenset(spec.encoder for spec in specs), streams, issubclass(cls, SetMetric)
    except (JavisbenchError, ImportError, AttributeError, TypeError):
        return None


def unknown_topics(here: Facts, there: Facts, metrics: Iterable[str]) -> Iterator[Topic]:
    """Topics that values of these metrics usually depend on, of which nothing is known on both sides."""
    either = {**here, **there}.items()
    known = {topic_of(name).id for name, value in either if value == NO_FILES or name in here.keys() & there.keys()}
    seen = [_seen_by(metric) for metric in metrics]
    for topic in TOPICS:
        if topic.usual and topic.id not in known and any(_may_act(topic, of) for of in seen):
            yield topic


def _may_act(topic: Topic, seen: tuple[frozenset[str], frozenset[str], bool] | None) -> bool:
    if seen is None or topic.acts not in ("set", "picture", "sound"):
        return True
    _, streams, is_set = seen
    return is_set if topic.acts == "set" else topic.acts in streams or "both" in streams


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
