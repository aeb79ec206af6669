"""Whether a server can be reached, found out within two seconds."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from javisbench.cli import run
from javisbench.hub import reachable, retry_after_s


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_a_server_that_listens_is_reachable(listening: int) -> None:
    assert reachable(f"http://127.0.0.1:{listening}/x")


def test_a_port_where_nobody_listens_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert not reachable(f"http://127.0.0.1:{port}")
    assert not reachable("http://127.0.0.1:nonsense")


def test_behind_a_proxy_it_is_the_proxy_that_counts(listening: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not reachable("https://nowhere.invalid/x")
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listening}")
    assert reachable("https://nowhere.invalid/x")
    monkeypatch.setenv("https_proxy", f"127.0.0.1:{listening}")
    assert reachable("https://nowhere.invalid/x")
    monkeypatch.setenv("no_proxy", "nowhere.invalid")
    assert not reachable("https://nowhere.invalid/x")


def test_a_name_that_takes_for_ever_to_look_up_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def never(*_: object, **__: object) -> None:
        over.wait(40)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", never)
    begun = time.monotonic()
    assert not reachable("https://example.invalid")
    assert time.monotonic() - begun < 20
    over.set()


def test_a_suite_of_the_hub_without_network_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("JAVISBENCH_SUITES", raising=False)
    begun = time.monotonic()
    assert run(["eval", "--model", "procedural", "--suite", "javisbench", "--limit", "1"]) == 2
    assert time.monotonic() - begun < 28  # an import of torch, on a busy machine; the library's own tries take 31 s
    assert "is not on this machine and could not be fetched" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["eval", "--model", "procedural", "--suite", "demo", "--device", "cuda:99"],
        ["generate", "--model", "command:/nowhere/at/all", "--suite", "demo"],
        ["eval", "--model", "procedural", "--suite", "demo", "--metrics", "nope"],
        ["score", "clips", "--suite", "demo", "--device", "cuda:99"],
        ["score", "clips", "--suite", "demo", "--metrics", "nope"],
    ],
)
def test_a_failed_start_leaves_no_folder(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "sample_0000.mp4").write_bytes(b"x")
    assert run(command) == 2
    assert "Error" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["clips"]


def test_what_an_earlier_run_made_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "mine.txt").touch()
    command = ["generate", "--model", "command:/nowhere/at/all", "--suite", "demo", "--out", str(folder)]
    assert run(command) == 2
    assert (folder / "mine.txt").exists()


def test_retry_after_is_a_number_of_seconds_or_a_date_and_a_day_at_most() -> None:
    assert retry_after_s("1.5") == 1.5 and retry_after_s(" 2 ") == 2
    assert retry_after_s("-3") == 0 and retry_after_s("1e30") == retry_after_s("9" * 400) == 86_400
    assert retry_after_s(formatdate(time.time() - 60, usegmt=True)) == 0
    # A date has whole seconds, and the test takes some time itself.
    in_an_hour = retry_after_s(formatdate(time.time() + 3600, usegmt=True))
    assert in_an_hour is not None and 3000 < in_an_hour <= 3600
    assert [retry_after_s(text) for text in ("soon", "nan", "", "²", None)] == [None] * 5
