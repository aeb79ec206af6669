"""The metrics, by id, in the order of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from javisbench.errors import JavisbenchError, PluginError
from javisbench.registry import METRIC_FAMILIES, METRIC_GROUP, Registry

if TYPE_CHECKING:
    from javisbench.metrics.base import Fault, MetricCard, SampleMetric, SetMetric


def _wrong(name: str, found: object) -> str | None:
    """What keeps an object of another package from being the metric `name`; None for a metric."""
    from javisbench.metrics.base import Fault, MetricCard, SampleMetric, SetMetric

    if not (isinstance(found, type) and issubclass(found, SampleMetric | SetMetric)):
        return "is no subclass of SampleMetric or SetMetric"
    card = getattr(found, "card", None)
    if not isinstance(card, MetricCard):
        return "has no MetricCard as `card`"
    if card.id != name:
        return f"has the id {card.id!r} on its card, which must be that of its entry point"
    if not isinstance(getattr(found, "fault", None), Fault | None):
        return "has something else than a Fault as `fault`"
    kind = "set" if issubclass(found, SetMetric) else "sample"
    return None if card.kind == kind else f"has the kind {card.kind!r} on its card, and is one of the kind {kind!r}"


METRICS: Registry[type[SampleMetric] | type[SetMetric]] = Registry(
    "metric",
    METRIC_GROUP,
    {
        "fvd": "javisbench.metrics.fvd:FVDMetric",
        "kvd": "javisbench.metrics.kvd:KVDMetric",
        "fad": "javisbench.metrics.fad:FADMetric",
        "fid": "javisbench.metrics.fid:FIDMetric",
        "fad_vggish": "javisbench.metrics.fad_vggish:FADVGGish",
        "fd_panns": "javisbench.metrics.panns:FDPANNs",
        "kl_panns": "javisbench.metrics.panns:KLPANNs",
        "is_panns": "javisbench.metrics.panns:ISPANNs",
        "fd_panns_32k": "javisbench.metrics.panns:FDPANNs32k",
        "kl_panns_32k": "javisbench.metrics.panns:KLPANNs32k",
        "is_panns_32k": "javisbench.metrics.panns:ISPANNs32k",
        "fd_passt": "javisbench.metrics.passt:FDPaSST",
        "kl_passt": "javisbench.metrics.passt:KLPaSST",
        "visual_quality": "javisbench.metrics.visual_quality:VisualQuality",
        "motion_quality": "javisbench.metrics.motion_quality:MotionQuality",
        "audio_quality": "javisbench.metrics.audio_quality:AudioQuality",
        "audio_pq": "javisbench.metrics.audio_axes:ProductionQuality",
        "audio_pc": "javisbench.metrics.audio_axes:ProductionComplexity",
        "audio_ce": "javisbench.metrics.audio_axes:ContentEnjoyment",
        "audio_cu": "javisbench.metrics.audio_axes:ContentUsefulness",
        "wer": "javisbench.metrics.speech_errors:WER",
        "cer": "javisbench.metrics.speech_errors:CER",
        "cpcer": "javisbench.metrics.speech_errors:CpCER",
        "dnsmos_sig": "javisbench.metrics.dnsmos:DNSMOSSig",
        "dnsmos_bak": "javisbench.metrics.dnsmos:DNSMOSBak",
        "dnsmos_ovrl": "javisbench.metrics.dnsmos:DNSMOSOvrl",
        "dnsmos_p808": "javisbench.metrics.dnsmos:DNSMOSP808",
        "tv_ib": "javisbench.metrics.tv_ib:TVIB",
        "ta_ib": "javisbench.metrics.ta_ib:TAIB",
        "av_ib": "javisbench.metrics.av_ib:AVIB",
        "clip_score": "javisbench.metrics.clip_score:CLIPScore",
        "clap_score": "javisbench.metrics.clap_score:CLAPScore",
        "cavp_score": "javisbench.metrics.cavp_score:CAVPScore",
        "av_align": "javisbench.metrics.av_align:AVAlign",
        "avh_score": "javisbench.metrics.avh_score:AVHScore",
        "javis_score": "javisbench.metrics.javis_score:JavisScoreMetric",
        "desync": "javisbench.metrics.desync:DeSync",
        "av_sync": "javisbench.metrics.av_sync:AVSyncMetric",
        "lse_c": "javisbench.metrics.lse_c:LSEC",
        "lse_d": "javisbench.metrics.lse_d:LSED",
        "av_offset_ms": "javisbench.metrics.av_offset_ms:AVOffsetMs",
        "health_silence": "javisbench.metrics.health:SilenceShare",
        "health_frozen": "javisbench.metrics.health:FrozenShare",
        "health_black": "javisbench.metrics.health:BlackShare",
        "health_clipping": "javisbench.metrics.health:ClippingShare",
        "health_loudness": "javisbench.metrics.health:Loudness",
        "health_duration": "javisbench.metrics.health:DurationRatio",
        "health_fps": "javisbench.metrics.health:FrameRateRatio",
        "health_size": "javisbench.metrics.health:SizeRatio",
        "health_rate": "javisbench.metrics.health:SampleRateRatio",
        "health_timing": "javisbench.metrics.health:TimingFault",
        "health_damaged": "javisbench.metrics.health:Damaged",
    },
    _wrong,
    METRIC_FAMILIES,
)


def card_of(metric_id: str) -> MetricCard | None:
    """The metric's card; None for a metric that is not installed here, or whose plugin does not import."""
    try:
        return METRICS.get(metric_id).card
    except (JavisbenchError, ImportError, AttributeError):
        return None


def metric_groups() -> dict[str, list[str]]:
    """Group to the ids of its metrics, in the order of tables."""
    groups: dict[str, list[str]] = {}
    for metric_id in METRICS:
        card = card_of(metric_id)
        if card is not None and card.group:
            groups.setdefault(card.group, []).append(metric_id)
    return groups


def fault_of(metric_id: str) -> Fault | None:
    """What a check of clips counts; None for metrics that are scores, and for those that are not installed here."""
    return None if card_of(metric_id) is None else getattr(METRICS.get(metric_id), "fault", None)


def set_metric(metric_id: str) -> SetMetric | None:
    """An object of the set metric; None for per-sample metrics and for what is not installed here, or is broken."""
    from javisbench.metrics.base import SetMetric

    card = card_of(metric_id)
    if card is None or card.kind != "set":
        return None
    cls = METRICS.get(metric_id)
    try:
        with METRICS.guarded(metric_id, "its constructor"):
            return cls() if isinstance(cls, type) and issubclass(cls, SetMetric) else None
    except PluginError:
        return None


def sample_metric(metric_id: str) -> SampleMetric | None:
    """An object of the per-sample metric; None for set metrics and for what is not installed here, or is broken."""
    from javisbench.metrics.base import SampleMetric

    if card_of(metric_id) is None:
        return None
    cls = METRICS.get(metric_id)
    try:
        with METRICS.guarded(metric_id, "its constructor"):
            return cls() if isinstance(cls, type) and issubclass(cls, SampleMetric) else None
    except PluginError:
        return None


def default_set_metrics() -> tuple[str, ...]:
    """Ids of the set metrics that are computed without being asked for by name."""
    cards = {metric_id: card_of(metric_id) for metric_id in METRICS}
    return tuple(name for name, card in cards.items() if card is not None and card.kind == "set" and card.by_default)
