"""Protocols: names tell everything that changes a number."""

from __future__ import annotations

import json

import pytest

from javisbench.errors import UsageError
from javisbench.metrics.registry import METRICS
from javisbench.protocol import (
    PROTOCOLS,
    V1,
    V2,
    parse_protocol,
    protocol_at,
    protocol_label,
    recorded_protocol,
)


def test_overrides_derive_the_name_and_change_only_their_setting() -> None:
    protocol = parse_protocol("javisbench-v1+top_k=0.5")
    assert protocol.name == "javisbench-v1+top_k=0.5"
    assert protocol.base == "javisbench-v1"
    assert "+" in protocol.name
    assert protocol.javis_score.top_k == 0.5
    changed = protocol.settings()
    changed["javis_score"]["top_k"] = 0.4
    assert changed == V1.settings()


def test_an_override_with_the_default_value_is_the_protocol_itself() -> None:
    assert parse_protocol("javisbench-v1+top_k=0.4") is V1


def test_the_order_of_overrides_does_not_matter() -> None:
    one = parse_protocol("javisbench-v2+window_s=1.0+overlap_s=0.5")
    other = parse_protocol("javisbench-v2+overlap_s=0.5+window_s=1.0")
    assert one == other


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("javisbench-v3", "Did you mean"),
        ("javisbench-v1+topk=0.5", "'top_k'"),
        ("javisbench-v1+top_k", "SETTING=VALUE"),
        ("javisbench-v1+top_k=2", r"\(0, 1\]"),
        ("javisbench-v1+top_k=nan", r"\(0, 1\]"),
        ("javisbench-v1+overlap_s=2", "below window_s"),
        ("javisbench-v1+channels=right", "one of left, mean"),
        ("javisbench-v1+kvd_centred=maybe", "true or false"),
        ("javisbench-v1+max_frames=8", "between 9"),
        ("javisbench-v1+max_frames=x", "is a int"),
        ("javisbench-v1+max_audio_len_s=inf", "between"),
    ],
)
def test_bad_specs_say_what_is_wrong(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_protocol(spec)


def test_derived_suffixes_are_added_once() -> None:
    assert V2.derived("bf16").derived("bf16").name == "javisbench-v2+bf16"


def test_names_are_unique_and_v2_differs_from_v1() -> None:
    assert len(PROTOCOLS) == 8
    assert V1.settings() != V2.settings()


def test_recorded_settings_give_the_protocol_that_a_result_was_made_with() -> None:
    for protocol in (*PROTOCOLS.values(), parse_protocol("javisbench-v2+top_k=0.5").derived("bf16")):
        settings = json.loads(json.dumps(protocol.settings()))
        assert recorded_protocol(protocol.name, settings).settings() == protocol.settings()
    # What a version before revisions recorded: neither of the two, and nothing of what came later.
    old = {name: value for name, value in V2.settings().items() if name not in ("revision", "frame_times")}
    found = recorded_protocol("javisbench-v2", old)
    assert (found.revision, found.frame_times, found.fvd) == (1, "declared", V2.fvd)
    assert found == protocol_at("javisbench-v2", 1) != V2
    assert recorded_protocol("javisbench-v1+top_k=0.5+weights=1a2b3c4d", None).javis_score.top_k == 0.5
    assert protocol_label("javisbench-v2+bf16", 1) == "javisbench-v2+bf16 (revision 1)"
    assert protocol_label("javisbench-v2", 2) == "javisbench-v2" and protocol_label("theirs", 1) == "theirs"


@pytest.mark.parametrize(
    "settings",
    [
        {"revision": True},
        {"revision": 0},
        {"revision": 10**400},
        {"fvd": {"kvd_centred": "yes"}},
        {"fad": {"fad_factor": float("inf")}},
        {"javis_score": {"k_rounding": "up"}},
        {"fvd": {"max_frames": 10**9}},
    ],
)
def test_recorded_settings_that_are_none_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        recorded_protocol("javisbench-v1", settings)


def test_headline_metrics_are_metrics_and_no_setting() -> None:
    for protocol in PROTOCOLS.values():
        assert set(protocol.headline) <= set(METRICS) and "headline" not in protocol.settings()
