"""What is taken out of text before it leaves the machine, and what stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from javisbench.private import Scrubber, is_secret_name, redacted, shown_address

SCRUB = Scrubber(("/data/my runs/first", "/home/mara lind"), ("maralind", "calc17"), (("tr0ub4dor-x", "MY_VALUE"),))


@pytest.mark.parametrize(
    ("told", "seen"),
    [
        ("/home/u/clips/a.mp4: no video stream", "a.mp4: no video stream"),
        ("reading (/srv/x/y.wav) failed", "reading (y.wav) failed"),
        ("'/srv/x/y.wav' and \"/srv/z\"", "'y.wav' and \"z\""),
        ("--out=/scratch/r1/", "--out=r1"),
        ("file:///etc/passwd", "passwd"),
        ("/home/mara lind/clips/a.mp4 is bad", "a.mp4 is bad"),
        ("/data/my runs/first/clips/a.mp4 is bad", "a.mp4 is bad"),
        ("~/clips/a.mp4", "a.mp4"),
        ("by maralind on calc17.", "by <hidden> on <hidden>."),
        ("maralinda and calc170 stay", "maralinda and calc170 stay"),
        ("said tr0ub4dor-x", "said <MY_VALUE>"),
        ("--token abc123 --fps 24", "--token <hidden> --fps 24"),
        ("--hf-token=abc123", "--hf-token=<hidden>"),
        ("['--token', 'abc', '-x']", "['--token', <hidden>, '-x']"),
        ("api_key: 'a b c', next", "api_key: <hidden>, next"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer <hidden>"),
        ("PASSWORD=x", "PASSWORD=<hidden>"),
        ("401 for hf_abcdefghijklmnopqrst", "401 for <hidden>"),
        ("key sk-abcdefghijklmnop failed", "key <hidden> failed"),
        ("https://me:pw@host.example/a/b?sig=1#x", "https://host.example/a/b"),
    ],
)
def test_what_tells_of_the_machine_goes(told: str, seen: str) -> None:
    assert SCRUB.text(told) == seen
    assert SCRUB.text(seen) == seen


@pytest.mark.parametrize(
    "text",
    [
        "visual_style/2d_animate and/or 24/25 fps",
        "KeyError: 'x'",
        "the token limit of 77 was reached",
        "a keyframe: every 12 frames",
        "Beta <b>bold</b></i>",
        "org/model at https://huggingface.co/org/model",
        "2 of 3 rows (a / b)",
        "no sound; the picture ends at 3.96 s",
        "monkey=3, turkey: 4",
    ],
)
def test_what_does_not_stays(text: str) -> None:
    assert SCRUB.text(text) == text


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("command:/home/u/gen.sh --token abc {requests}", "command:gen.sh"),
        ("command:python3.11 /home/u/gen.py --steps 4", "command:gen.py"),
        ("command:python -m my.module --password x", "command:my.module"),
        ("command:bash -c 'curl https://host/x'", "command:bash"),
        ("command:env A=/x/y python gen.py", "command:python"),
        ("cascade:t2v=command:/a/b.sh x,v2a=command:/c/d.sh y", "cascade:t2v=command:b.sh,v2a=command:d.sh"),
        ("python:/home/u/my_model.py:Model", "python:my_model.py:Model"),
        ("folder:/home/u/clips", "folder:clips"),
        ("diffusers:org/model", "diffusers:org/model"),
        ("JavisDiT (maralind's)", "JavisDiT (maralind's)"),
        ("command:", "command:"),
    ],
)
def test_names_of_models(name: str, seen: str) -> None:
    assert SCRUB.name(name) == seen


@pytest.mark.parametrize("name", ["api_key", "apiKey", "API-KEY", "token", "hf_token", "authToken", "my.secret",
                                  "password", "credentials", "AWS_SECRET_ACCESS_KEY", "tokens"])  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["keyframes", "monkey", "steps", "tokenizer", "secretary", "revision", "keyed"])
def test_other_names(name: str) -> None:
    assert not is_secret_name(name)


def test_members_that_are_called_like_secrets_are_left_out_and_numbers_stay() -> None:
    scrub = Scrubber()
    found = scrub.value({"api_key": "abc", "max_tokens": 77, "a": [{"b": "/x/y"}], "n": None}, "identity")
    assert found == {"max_tokens": 77, "a": [{"b": "y"}], "n": None}
    assert scrub.changed == ["identity.api_key: left out", "identity.a[0].b: y"]


def test_this_machine_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home" / "margarethe"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOGNAME", "margarethe")
    monkeypatch.setenv("MY_ENDPOINT", "https://inside.example:8443")
    monkeypatch.setattr("socket.gethostname", lambda: "calc17.lab.example")
    scrub = Scrubber.of_this_machine(tmp_path / "my run")
    told = (
        f"{home}/x and {tmp_path}/my run/y of margarethe on calc17 (calc17.lab.example) at https://inside.example:8443"
    )
    assert scrub.text(told) == "x and y of <hidden> on <hidden> (<hidden>) at <MY_ENDPOINT>"


@given(st.text())
def test_any_text_can_be_gone_through_again(text: str) -> None:
    once = SCRUB.text(text)
    assert SCRUB.text(once) == once
    assert "/home/mara lind/" not in once and "tr0ub4dor-x" not in once


def test_values_of_secret_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "abcdefgh123")
    assert redacted("401 for abcdefgh123") == "401 for <MY_API_KEY>"


@pytest.mark.parametrize(
    ("told", "seen"),
    [
        ("https://me:pw@host/a.pth?X-Sig=1 failed", "https://host/a.pth failed"),
        ("(http://host:80/a#frag)", "(http://host:80/a"),
        ("https://host/a", "https://host/a"),
        ("no address", "no address"),
    ],
)
def test_addresses_are_shown_without_secrets(told: str, seen: str) -> None:
    assert shown_address(told) == seen
