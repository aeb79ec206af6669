"""Protocols: everything that changes a number, in one frozen, named object.

`javisbench-v1` computes what the reference evaluation of JavisBench computes, its quirks included where published
numbers depend on them; `javisbench-v2` computes the same metrics as their papers define them. docs/protocols.md
lists each difference. A user's own variation has a derived name (``javisbench-v1+top_k=0.5``). Settings of metrics and
encoders of other packages are mounted under their ids (``javisbench-v1+my_metric.window_s=1``).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_type_hints

from javisbench.errors import UsageError
from javisbench.registry import did_you_mean
from javisbench.settings import WORD, Setting, checked_value, format_value, parse_value, plugin_settings, setting_types

if TYPE_CHECKING:
    from javisbench.suite import Sample

S = TypeVar("S")
PluginSettings: TypeAlias = tuple[tuple[str, tuple[tuple[str, Setting], ...]], ...]
MAX_PLUGIN_SETTINGS = 1000
_PLUGIN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_:-]{0,63}")


@dataclass(frozen=True)
class FVDSettings:
    """Input of FVD, KVD and FID. Setting names are unique over all concerns, so that overrides need no prefix.

    Attributes:
        max_frames: frames a clip, evenly spaced, both ends included.
        image_size: pixels of the padded square.
        video_range: ``signed`` quantises [0, 1] pixels with the formula for [-1, 1] (quirk 1); ``unit`` feeds
            round(255 x).
        video_span: ``whole_clip`` spreads the frames over the whole clip (quirk 19); ``audio_span`` over its first
            `max_audio_len_s` seconds.
        kvd_centred: subtract each set's own mean before KVD (quirk 2).
        fid_frames: frames a clip for FID, evenly spaced over the same span, both ends included.
    """

    max_frames: int = 24
    image_size: int = 224
    video_range: Literal["signed", "unit"] = "signed"
    video_span: Literal["whole_clip", "audio_span"] = "whole_clip"
    kvd_centred: bool = True
    fid_frames: int = 4


@dataclass(frozen=True)
class FADSettings:
    """Input of FAD.

    Attributes:
        fad_sample_rate: Hz.
        fad_scale: factor on the waveform before AudioCLIP's own rescaling (quirk 3: 1.0 instead of 32768).
        fad_resampler: ``kaiser_best`` is resampy's.
        fbsp_dtype: precision of the FBSP weights and product.
        fad_factor: factor on the Fréchet distance (10 000 in the reference).
    """

    fad_sample_rate: int = 16000
    fad_scale: float = 1.0
    fad_resampler: Literal["kaiser_best"] = "kaiser_best"
    fbsp_dtype: Literal["float32", "float64"] = "float32"
    fad_factor: float = 10000.0


@dataclass(frozen=True)
class ImageBindSettings:
    """Input of ImageBind.

    Attributes:
        long_prompts: ``cut`` loses the end token of prompts over 75 tokens (quirk 5); ``keep_end`` puts it back.
        channels: ``left`` uses channel 0 alone (quirk 9); ``mean`` the mono mix.
        mean_removal: ``in_place`` lets overlapping windows see earlier windows' removed means (quirk 8);
            ``per_clip`` works on copies.
        tv_prompt: what TV-IB compares the picture with: the prompt (``text``), or that of the picture where there is
            one (``video_text``).
    """

    long_prompts: Literal["cut", "keep_end"] = "cut"
    channels: Literal["left", "mean"] = "left"
    mean_removal: Literal["in_place", "per_clip"] = "in_place"
    tv_prompt: Literal["text", "video_text"] = "text"


@dataclass(frozen=True)
class JavisScoreSettings:
    """JavisScore's windows.

    Attributes:
        window_s: seconds of a window.
        overlap_s: seconds shared by neighbouring windows.
        top_k: share of a window's least similar frames that is averaged, in (0, 1].
        k_rounding: ``floor`` (quirk 18; at least 1 here) or ``ceil``.
        windows: ``separate`` lays and clamps video and audio windows each on their own (quirk 10); ``common`` cuts
            both to the common duration and lays windows in seconds.
    """

    window_s: float = 2.0
    overlap_s: float = 1.5
    top_k: float = 0.4
    k_rounding: Literal["floor", "ceil"] = "floor"
    windows: Literal["separate", "common"] = "separate"


@dataclass(frozen=True)
class AVAlignSettings:
    """AV-Align. `matching`: ``many_to_one`` may count one video peak for several onsets (quirk 12)."""

    matching: Literal["many_to_one", "one_to_one"] = "many_to_one"


@dataclass(frozen=True)
class DeSyncSettings:
    """DeSync. `fps_conversion`: ``drop_last`` loses the last source frame (quirk 16); ``round_up`` keeps it."""

    fps_conversion: Literal["drop_last", "round_up"] = "drop_last"


@dataclass(frozen=True)
class TextSimilaritySettings:
    """CLIP, CLAP and CAVP scores.

    Attributes:
        clip_frames: frames a clip for the CLIP score.
        channel_order: ``bgr`` is the reference's double swap (quirk 7).
        clap_padding: ``pad`` fills short audio with zeros (quirk 11), ``repeatpad`` repeats it.
        clap_resampler: ``kaiser_best`` is resampy's.
    """

    clip_frames: int = 48
    channel_order: Literal["bgr", "rgb"] = "bgr"
    clap_padding: Literal["pad", "repeatpad"] = "pad"
    clap_resampler: Literal["kaiser_best"] = "kaiser_best"


@dataclass(frozen=True)
class AudioQualitySettings:
    """Audio quality. `quality_resampling`: ``gain`` keeps the samples and scales them (quirk 13)."""

    quality_resampling: Literal["gain", "resample"] = "gain"


@dataclass(frozen=True)
class SpeechSettings:
    """Speech metrics.

    Attributes:
        dnsmos_windows: ``all`` rates every window of 9.01 s; ``rounded`` leaves out those that the published program
            loses to rounding (7 to 23 s into a sound).
        speech_rule: text as error rates compare it: ``basic`` takes punctuation out, ``raw`` counts it.
        vad_threshold: probability from which on Silero VAD hears speech.
        vad_least_ms: shortest speech that counts, in ms.
        recogniser: who hears the words: ``whisper``, ``sensevoice``, or the name of another one, whose transcripts are
            given (`javisbench.transcripts`).
    """

    dnsmos_windows: Literal["all", "rounded"] = "all"
    speech_rule: Literal["basic", "raw"] = "basic"
    vad_threshold: float = 0.5
    vad_least_ms: int = 100
    recogniser: str = "whisper"


@dataclass(frozen=True)
class SoundSetSettings:
    """Sets of sounds.

    Attributes:
        panns_16k_s: seconds of a sound that PANNs at 16 kHz hears.
        panns_32k_s: seconds that PANNs at 32 kHz hears; shorter sound is followed by silence.
        vggish_s: seconds that VGGish hears, one window for each 0.96 s; shorter sound is followed by silence.
        passt_windows: ``one`` shows PaSST the first `passt_s` seconds, their mean taken off, followed by silence up to
            the 10 s that it takes; ``every_5_s`` shows it all of a sound, its peak at -1 dB, in windows of 10 s that
            begin every 5 s, and takes the mean of what it makes of them.
        passt_s: seconds that PaSST hears in one window, at most 10.
    """

    panns_16k_s: float = 8.0
    panns_32k_s: float = 10.0
    vggish_s: float = 4.0
    passt_windows: Literal["one", "every_5_s"] = "one"
    passt_s: float = 8.0


@dataclass(frozen=True)
class LipSettings:
    """Lip synchrony.

    Attributes:
        min_track_frames: a face counts when it is found in more frames than that, at 25 a second.
        several_faces: ``best`` takes the face with the largest confidence less distance, ``mean`` the mean over all.
        edge_offsets: what an offset of 14 or 15 frames, at the edge of the search, means for a clip: ``kept`` is an
            offset like any other, ``dropped`` leaves the clip without a value.
        least_confidence: faces with a smaller confidence (LSE-C) do not count; 0 for all.
    """

    min_track_frames: int = 20
    several_faces: Literal["best", "mean"] = "best"
    edge_offsets: Literal["kept", "dropped"] = "kept"
    least_confidence: float = 0.0


@dataclass(frozen=True)
class Counted:
    """For which samples some metrics count; they are not applicable to clips of the others.

    Attributes:
        metrics: their ids.
        column: of the suite, what decides.
        other_than: values for which they do not count; when there are none, they count where the column holds anything.
    """

    metrics: tuple[str, ...]
    column: str
    other_than: tuple[str, ...] = ()

    def reason(self, cell: str) -> str | None:
        """Why a sample with this cell does not count; None where it does."""
        if self.other_than:
            return f"its {self.column} is {cell}" if cell.strip() in self.other_than else None
        return None if cell.strip() else f"it has no {self.column}"


@dataclass(frozen=True)
class Protocol:
    """A named way of computing every metric.

    Attributes:
        name: stored with every result and printed on every table; `derived` adds to it what makes it another.
        max_audio_len_s: seconds of audio that FAD, DeSync and audio quality see.
        precision_tolerance: how far a score may move in a faster precision for the name to be kept.
        frame_times: ``declared`` takes frame i to be shown at i over the rate in the file's header, as the reference's
            decoders do; ``shown`` goes by when frames are shown.
        revision: raised when what the protocol computes changes; values of two revisions never rank beside each other.
        metrics: ids to which the protocol restricts "all metrics"; empty for no restriction.
        headline: ids of the metrics that stand for the whole: a comparison adjusts over them together. Changes no
            number, and is no setting.
        without: ids of metrics that the protocol does not have, asked for by name or not; no setting either.
        counted: for which samples of a suite some metrics count. It follows from the name, and is no setting.
        plugins: settings of metrics and encoders of other packages, by id, as (name, value) pairs; see `mounted`.
    """

    name: str
    max_audio_len_s: float = 4.0
    precision_tolerance: float = 5e-4
    frame_times: Literal["declared", "shown"] = "declared"
    revision: int = 1
    fvd: FVDSettings = field(default_factory=FVDSettings)
    fad: FADSettings = field(default_factory=FADSettings)
    imagebind: ImageBindSettings = field(default_factory=ImageBindSettings)
    javis_score: JavisScoreSettings = field(default_factory=JavisScoreSettings)
    av_align: AVAlignSettings = field(default_factory=AVAlignSettings)
    desync: DeSyncSettings = field(default_factory=DeSyncSettings)
    text: TextSimilaritySettings = field(default_factory=TextSimilaritySettings)
    audio_quality: AudioQualitySettings = field(default_factory=AudioQualitySettings)
    speech: SpeechSettings = field(default_factory=SpeechSettings)
    sound_sets: SoundSetSettings = field(default_factory=SoundSetSettings)
    lips: LipSettings = field(default_factory=LipSettings)
    metrics: tuple[str, ...] = ()
    headline: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    counted: tuple[Counted, ...] = ()
    plugins: PluginSettings = ()

    @property
    def base(self) -> str:
        """The name without its derivations."""
        return self.name.split("+", 1)[0]

    def derived(self, suffix: str) -> Protocol:
        """The same settings under a derived name (``bf16``, ``weights=1a2b3c4d``, ``stand-in``)."""
        if suffix in self.name.split("+")[1:]:
            return self
        return replace(self, name=f"{self.name}+{suffix}")

    def not_counted(self, metric_id: str, sample: Sample) -> str | None:
        """Why a metric does not count for a sample under this protocol; None where it does."""
        reasons = (rule.reason(sample.cell(rule.column)) for rule in self.counted if metric_id in rule.metrics)
        return next((reason for reason in reasons if reason), None)

    def mounted(self, plugin_id: str, settings: type[S]) -> S:
        """The settings of a metric or encoder of another package: as this protocol has them, else the defaults.

        Args:
            plugin_id: id of the metric, or name of the encoder.
            settings: its frozen dataclass.

        Raises:
            UsageError: the protocol has a setting that the dataclass does not know, or a value that it cannot be.
        """
        types = setting_types(settings)
        values = dict(dict(self.plugins).get(plugin_id, ()))
        unknown = sorted(values.keys() - types.keys())
        if unknown:
            raise UsageError(
                f"The protocol {self.name} has the setting {plugin_id}.{unknown[0]}, which the installed {plugin_id} "
                f"does not know. Install the version that the result was made with."
            )
        return _made(plugin_id, settings, {name: checked_value(name, v, types[name]) for name, v in values.items()})

    def with_mounted(self, plugin_id: str, settings: object) -> Protocol:
        """The same protocol, under the same name, with the settings of a metric or encoder of another package."""
        values = tuple(sorted(dataclasses.asdict(settings).items()))  # type: ignore[call-overload]
        return replace(self, plugins=tuple(sorted({**dict(self.plugins), plugin_id: values}.items())))

    def settings(self) -> dict[str, Any]:
        """Every setting by name, as plain JSON values; what a run's manifest records."""
        own = {key: value for key, value in dataclasses.asdict(self).items() if key not in _NO_SETTINGS}
        return {**own, "plugins": {name: dict(values) for name, values in self.plugins}} if self.plugins else own


_NO_SETTINGS = ("name", "headline", "without", "counted", "plugins")


def _made(plugin_id: str, settings: type[S], values: Mapping[str, Any]) -> S:
    try:
        return settings(**values)
    except ValueError as error:  # what a dataclass says in __post_init__ of values that do not go together
        raise UsageError(f"{plugin_id} cannot have these settings: {error}") from error


V1 = Protocol(
    "javisbench-v1",
    headline=(
        "fvd",
        "kvd",
        "fad",
        "tv_ib",
        "ta_ib",
        "clip_score",
        "clap_score",
        "av_ib",
        "avh_score",
        "javis_score",
    ),
    # What the reference evaluation does not have.
    without=("av_sync",),
)
V2 = Protocol(
    "javisbench-v2",
    frame_times="shown",
    revision=2,
    fvd=FVDSettings(video_range="unit", video_span="audio_span", kvd_centred=False),
    fad=FADSettings(fad_sample_rate=44100, fad_scale=32768.0, fbsp_dtype="float64"),
    imagebind=ImageBindSettings(long_prompts="keep_end", channels="mean", mean_removal="per_clip"),
    javis_score=JavisScoreSettings(k_rounding="ceil", windows="common"),
    av_align=AVAlignSettings(matching="one_to_one"),
    desync=DeSyncSettings(fps_conversion="round_up"),
    text=TextSimilaritySettings(channel_order="rgb", clap_padding="repeatpad"),
    audio_quality=AudioQualitySettings(quality_resampling="resample"),
    headline=("fvd", "fad", "tv_ib", "ta_ib", "av_ib", "javis_score", "desync", "av_sync"),
)
AIST_LANDSCAPE = Protocol(
    "aist-landscape",
    frame_times="shown",
    revision=2,
    metrics=("fvd", "kvd", "fad", "av_ib", "avh_score", "javis_score", "av_align", "desync"),
    headline=("fvd", "kvd", "fad", "av_ib", "avh_score", "javis_score", "av_align", "desync"),
)


def _of_suite(name: str, metrics: tuple[str, ...], *, revision: int = 1, **settings: Any) -> Protocol:
    """A suite's own protocol: the metrics that its paper reports and javisbench has, computed as `javisbench-v2` does
    but for `settings`, which are the paper's."""
    return replace(V2, name=name, revision=revision, metrics=metrics, headline=metrics, **settings)


_AUDIOBOX = ("audio_ce", "audio_cu", "audio_pc", "audio_pq")
# LatentSync's rule, which several suites took over: faces in sight for more than 50 frames, the mean over all of them.
_ALL_FACES = LipSettings(min_track_frames=50, several_faces="mean")
VERSE_BENCH = _of_suite(
    "verse-bench",
    ("clap_score", *_AUDIOBOX, "kl_passt", "wer", "lse_c", "desync"),
    max_audio_len_s=5.0,
    speech=replace(V2.speech, speech_rule="raw"),
    sound_sets=SoundSetSettings(passt_windows="every_5_s"),
    lips=replace(_ALL_FACES, edge_offsets="dropped"),
    counted=(
        Counted(("clap_score", *_AUDIOBOX, "desync"), "set", other_than=("set3",)),
        Counted(("clap_score", "desync"), "audio_text"),
        Counted(("lse_c",), "transcript"),
    ),
)
T2AV_COMPASS = _of_suite(
    "t2av-compass",
    (*_AUDIOBOX, "tv_ib", "ta_ib", "av_ib", "desync", "lse_c"),
    imagebind=replace(V2.imagebind, tv_prompt="video_text"),
    lips=_ALL_FACES,
    counted=(Counted(("ta_ib",), "audio_text"),),
)
VABENCH = _of_suite(
    "vabench",
    ("dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808", *_AUDIOBOX, "clap_score", "desync", "lse_c", "av_ib"),
    max_audio_len_s=8.0,
    lips=_ALL_FACES,
)
AVGEN_BENCH = _of_suite(
    "avgen-bench",
    ("audio_pq", "desync", "av_offset_ms"),
    # One window of Synchformer's 14 segments from the start.
    max_audio_len_s=4.8,
    # Its README and its one-click program pass 1.0; the script by itself takes 5.
    lips=LipSettings(min_track_frames=30, several_faces="mean", least_confidence=1.0),
    revision=2,
)
VGGSOUND = _of_suite(
    "vggsound",
    ("fad_vggish", "fd_panns", "fd_passt", "kl_panns", "kl_passt", "is_panns", "av_ib", "desync", "clap_score"),
    max_audio_len_s=8.0,
    sound_sets=SoundSetSettings(vggish_s=8.0),
)
SUITE_PROTOCOLS = (VERSE_BENCH, T2AV_COMPASS, VABENCH, AVGEN_BENCH, VGGSOUND)

PROTOCOLS: dict[str, Protocol] = {p.name: p for p in (V1, V2, AIST_LANDSCAPE, *SUITE_PROTOCOLS)}
_EARLIER: dict[tuple[str, int], Protocol] = {
    # Revision 1 went by the rate in the file's header.
    **{(p.name, 1): replace(p, frame_times="declared", revision=1) for p in (V2, AIST_LANDSCAPE)},
    # Revision 1 counted all faces.
    ("avgen-bench", 1): replace(AVGEN_BENCH, lips=replace(AVGEN_BENCH.lips, least_confidence=0.0), revision=1),
}
DEFAULT_PROTOCOL = V1.name


def parse_protocol(spec: str) -> Protocol:
    """The protocol that `spec` names: ``javisbench-v1``, or with overrides ``javisbench-v1+top_k=0.5+window_s=1``.

    Raises:
        UsageError: an unknown protocol or setting, or a value that the setting cannot have.
    """
    base, *overrides = spec.split("+")
    if base not in PROTOCOLS:
        raise UsageError(
            f"There is no protocol {base!r}.{did_you_mean(base, PROTOCOLS)} Known: {', '.join(PROTOCOLS)}."
        )
    protocol = PROTOCOLS[base]
    for override in sorted(overrides):
        protocol = _override(protocol, override)
    return protocol


def headline_of(name: str) -> tuple[str, ...]:
    """Ids of the headline metrics of a protocol, of an earlier revision of it, or of what is derived from it.

    Empty for one that is not known here.
    """
    known = PROTOCOLS.get(name.partition("+")[0].partition(" ")[0])
    return () if known is None else known.headline


def protocol_at(name: str, revision: int) -> Protocol | None:
    """The protocol `name` (not a derived one) as it was at a revision; None where that is not known here."""
    protocol = PROTOCOLS.get(name)
    if protocol is not None and protocol.revision == revision:
        return protocol
    return _EARLIER.get((name, revision))


def protocol_label(name: str, revision: int) -> str:
    """How a protocol is called in tables: ``javisbench-v2``, and of a revision that is not today's with its number."""
    today = PROTOCOLS.get(name.partition("+")[0])
    return name if revision == (1 if today is None else today.revision) else f"{name} (revision {revision})"


def recorded_protocol(name: str, settings: object) -> Protocol:
    """The protocol `name` with the settings that a result recorded, which may be those of another revision.

    Args:
        name: possibly derived.
        settings: what `Protocol.settings` gave, read back from JSON; None where nothing was recorded. What it lacks is
            as in the protocol of that name and revision, and where none is known, as in `javisbench-v1`.

    Raises:
        UsageError: a setting that is no such value, or no settings of a protocol that is not known here.
    """
    base, *derivations = name.split("+")
    revision = recorded_revision(settings)
    known = protocol_at(base, revision) or PROTOCOLS.get(base)
    if not isinstance(settings, Mapping):
        if known is None:
            parse_protocol(base)
        protocol = known or V1
        for derivation in sorted(part for part in derivations if _is_setting(part.partition("=")[0])):
            protocol = _override(protocol, derivation)
        return replace(protocol, name=name)
    protocol = replace(known or V1, name=name, revision=revision, plugins=recorded_plugins(settings))
    for setting, (concern, annotation) in _setting_places().items():
        part = settings if concern is None else settings.get(concern)
        if isinstance(part, Mapping) and setting in part:
            value = checked_value(setting, part[setting], annotation)
            protocol = _with_setting(protocol, concern, setting, value)
    _check(protocol)
    return protocol


def recorded_revision(settings: object) -> int:
    """The revision of recorded settings; 1 where none is recorded.

    Raises:
        UsageError: it is no revision.
    """
    revision = settings.get("revision", 1) if isinstance(settings, Mapping) else 1
    if type(revision) is not int or not 1 <= revision < 1_000_000:
        raise UsageError(f"protocol_settings.revision is {str(revision)[:40]!r}, which is no revision of a protocol.")
    return revision


def _with_setting(protocol: Protocol, concern: str | None, name: str, value: Any) -> Protocol:
    if concern is None:
        return replace(protocol, **{name: value})
    return replace(protocol, **{concern: replace(getattr(protocol, concern), **{name: value})})


def recorded_plugins(settings: object) -> PluginSettings:
    """The settings of metrics and encoders of other packages among recorded ones, whether these are installed or not.

    Raises:
        UsageError: they are none.
    """
    recorded = settings.get("plugins", {}) if isinstance(settings, Mapping) else {}
    if not isinstance(recorded, Mapping) or not all(isinstance(values, Mapping) for values in recorded.values()):
        raise UsageError("protocol_settings.plugins holds no settings by id.")
    pairs = [(plugin, name, value) for plugin, values in recorded.items() for name, value in values.items()]
    if len(pairs) > MAX_PLUGIN_SETTINGS:
        raise UsageError(f"protocol_settings.plugins has over {MAX_PLUGIN_SETTINGS} settings; no more are read.")
    for plugin, name, value in pairs:
        if not (_PLUGIN_ID.fullmatch(plugin) and WORD.fullmatch(name) and _is_plain(value)):
            told = f"{plugin[:40]}.{name[:40]} = {str(value)[:40]}"
            raise UsageError(f"protocol_settings.plugins has {told!r}, which is no setting.")
    return tuple(sorted((plugin, tuple(sorted(values.items()))) for plugin, values in recorded.items()))


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return WORD.fullmatch(value) is not None
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) < 2**63


def setting_names() -> frozenset[str]:
    """Every setting that an override may name."""
    return frozenset(_setting_places())


def _is_setting(name: str) -> bool:
    """Whether a derivation of a recorded name is one of a setting that is known here."""
    if name in _setting_places():
        return True
    try:
        return bool("." in name and plugin_settings(name.partition(".")[0]))
    except UsageError:
        return False


def _override(protocol: Protocol, override: str) -> Protocol:
    name, separator, text = override.partition("=")
    places = _setting_places()
    concern, dot, inner = name.partition(".")
    if dot and separator and places.get(inner, (None, None))[0] != concern:
        return _override_plugin(protocol, concern, inner, text)
    name = inner or name
    if not separator or name not in places:
        raise UsageError(
            f"The protocol override {override!r} is not SETTING=VALUE with a known setting."
            f"{did_you_mean(name, places)} Settings: {', '.join(sorted(places))}; ID.SETTING=VALUE for a metric or "
            f"encoder of another package."
        )
    place, annotation = places[name]
    value = parse_value(name, text, annotation)
    changed = _with_setting(protocol, place, name, value)
    _check(changed)
    if changed.settings() == protocol.settings():
        return protocol
    return replace(changed, name=f"{protocol.name}+{name}={format_value(value)}")


def _override_plugin(protocol: Protocol, plugin_id: str, name: str, text: str) -> Protocol:
    settings = plugin_settings(plugin_id)
    types = setting_types(settings)
    if name not in types:
        raise UsageError(
            f"{plugin_id} has no setting {name!r}.{did_you_mean(name, types)} Settings: {', '.join(sorted(types))}."
        )
    value = checked_value(name, parse_value(f"{plugin_id}.{name}", text, types[name]), types[name])
    before: Any = protocol.mounted(plugin_id, settings)
    after: Any = _made(plugin_id, settings, {**dataclasses.asdict(before), name: value})
    if after == before:
        return protocol
    return replace(
        protocol.with_mounted(plugin_id, after), name=f"{protocol.name}+{plugin_id}.{name}={format_value(value)}"
    )


def _setting_places() -> dict[str, tuple[str | None, Any]]:
    places: dict[str, tuple[str | None, Any]] = {
        "max_audio_len_s": (None, float),
        "precision_tolerance": (None, float),
        "frame_times": (None, Literal["declared", "shown"]),
    }
    for concern, cls in get_type_hints(Protocol).items():
        if dataclasses.is_dataclass(cls):
            hints = get_type_hints(cls)
            places |= {f.name: (concern, hints[f.name]) for f in fields(cls)}
    return places


def _check(protocol: Protocol) -> None:
    windows = protocol.javis_score
    if not 0 < windows.top_k <= 1:
        raise UsageError(f"top_k is a share in (0, 1]; got {windows.top_k}.")
    if not 0 <= windows.overlap_s < windows.window_s:
        raise UsageError(
            f"overlap_s must be at least 0 and below window_s; got {windows.overlap_s} and {windows.window_s}."
        )
    if not 0.1 <= protocol.max_audio_len_s <= 3600:
        raise UsageError(f"max_audio_len_s is seconds between 0.1 and 3600; got {protocol.max_audio_len_s}.")
    if not 9 <= protocol.fvd.max_frames <= 4096:
        raise UsageError(
            f"max_frames is between 9 (I3D needs two time positions) and 4096; got {protocol.fvd.max_frames}."
        )
    if not 1 <= protocol.fvd.fid_frames <= 256:
        raise UsageError(f"fid_frames is between 1 and 256; got {protocol.fvd.fid_frames}.")
    if not 8 <= protocol.fvd.image_size <= 4096 or not 1 <= protocol.text.clip_frames <= 4096:
        raise UsageError("image_size is between 8 and 4096 pixels, clip_frames between 1 and 4096.")
    if not 0 < protocol.speech.vad_threshold < 1 or not 10 <= protocol.speech.vad_least_ms <= 30000:
        raise UsageError("vad_threshold is a share in (0, 1), vad_least_ms between 10 and 30000.")
    for name in ("panns_16k_s", "panns_32k_s"):
        if not 0.5 <= getattr(protocol.sound_sets, name) <= 600:
            raise UsageError(f"{name} is seconds between 0.5 and 600; got {getattr(protocol.sound_sets, name)}.")
    if not 1 <= protocol.sound_sets.vggish_s <= 600:
        raise UsageError(
            f"vggish_s is between 1 (a window takes 0.975 s) and 600 seconds; got {protocol.sound_sets.vggish_s}."
        )
    if not 0.5 <= protocol.sound_sets.passt_s <= 10:
        raise UsageError(
            f"passt_s is seconds between 0.5 and 10, which is what PaSST takes; got {protocol.sound_sets.passt_s}."
        )
    if not 6 <= protocol.lips.min_track_frames <= 45_000:
        raise UsageError(
            f"min_track_frames is between 6 (a face's place is smoothed over 13 frames) and 45000; got "
            f"{protocol.lips.min_track_frames}."
        )
    if not 0 <= protocol.lips.least_confidence <= 100:
        raise UsageError(f"least_confidence is between 0 (all faces) and 100; got {protocol.lips.least_confidence}.")
    if not 1000 <= protocol.fad.fad_sample_rate <= 192000:
        raise UsageError(f"fad_sample_rate is between 1000 and 192000 Hz; got {protocol.fad.fad_sample_rate}.")
