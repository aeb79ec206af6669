"""Protocols: names tell everything that changes a number."""

from __future__ import annotations

import pytest

from javisbench.errors import UsageError
from javisbench.protocol import PROTOCOLS, V1, V2, parse_protocol


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
    assert len(PROTOCOLS) == 3
    assert V1.settings() != V2.settings()
