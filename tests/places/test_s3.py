"""A real S3 server on this machine: score, resume after a kill, board, all from a bucket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("s3fs", reason="pip install 'javisbench[cloud]'")
server_module = pytest.importorskip("moto.server", reason="pip install 'moto[server]'")

METRICS = "av_align,health_*"


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """The environment of processes that use the server, which has one empty bucket."""
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    yield environment
    server.stop()


@pytest.fixture
def bucket(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch, clips: Path) -> Any:
    import s3fs

    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    if system.exists("bucket"):
        system.rm("bucket", recursive=True)
    system.mkdir("bucket")
    for path in clips.iterdir():
        system.put_file(str(path), f"bucket/clips/{path.name}")
    return system


def javisbench(*arguments: str, cache: Path, **more: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "JAVISBENCH_CACHE_DIR": str(cache)}
    command = [sys.executable, "-m", "javisbench", *arguments]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def done(*arguments: str, cache: Path, code: int = 0) -> str:
    process = javisbench(*arguments, cache=cache)
    out, err = process.communicate()
    assert process.returncode == code, err
    return out + err


def test_score_resume_after_a_kill_and_board_all_from_a_bucket(bucket: Any, clips: Path, tmp_path: Path) -> None:
    done("score", str(clips), "--metrics", METRICS, "--out", str(tmp_path / "here"), cache=tmp_path / "none")
    score = ("score", "s3://bucket/clips", "--metrics", METRICS, "--out", "s3://bucket/runs/mine", "--workers", "1")
    # A job that is killed once it has begun to write back; another machine (another cache) goes on.
    first = javisbench(*score, cache=tmp_path / "one", start_new_session=True)
    while first.poll() is None and not bucket.exists("bucket/runs/mine/.lease.json"):
        time.sleep(0.05)
        bucket.invalidate_cache()
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert bucket.exists("bucket/runs/mine/.lease.json")
    done(*score, cache=tmp_path / "two")
    bucket.invalidate_cache()
    assert not bucket.exists("bucket/runs/mine/.lease.json")
    here = (tmp_path / "here/scores.parquet").read_bytes()
    assert bucket.cat("bucket/runs/mine/scores.parquet") == here
    # Scored already: nothing of a clip is read.
    done(*score, cache=tmp_path / "three")
    assert not (tmp_path / "three/clips").exists()
    board = ("leaderboard", "build", "s3://bucket/runs/mine", "--out", "s3://bucket/board")
    assert "s3://bucket/board/index.html" in done(*board, cache=tmp_path / "four")
    bucket.invalidate_cache()
    assert b"<html" in bucket.cat("bucket/board/index.html")


def test_generate_and_score_into_a_bucket_and_score_there(bucket: Any, tmp_path: Path) -> None:
    evaluate = ("eval", "--model", "procedural", "--suite", "demo", "--limit", "2", "--metrics", "health_frozen")
    done(*evaluate, "--out", "s3://bucket/runs/made", cache=tmp_path / "one")
    bucket.invalidate_cache()
    before = bucket.cat("bucket/runs/made/scores.parquet")
    assert len([name for name in bucket.find("bucket/runs/made/clips") if name.endswith(".mp4")]) == 2
    # Another machine, the run scored in place, and its clips on a board.
    done("score", "s3://bucket/runs/made", "--metrics", "health_frozen", cache=tmp_path / "two")
    bucket.invalidate_cache()
    assert bucket.cat("bucket/runs/made/scores.parquet") == before
    out = str(tmp_path / "board")
    done("leaderboard", "build", "s3://bucket/runs/made", "--clips", "all", "--out", out, cache=tmp_path / "three")
    assert len(list((tmp_path / "board").rglob("*.mp4"))) == 2
    assert all(path.stat().st_size > 2000 for path in (tmp_path / "board").rglob("*.mp4"))


def test_what_is_wrong_with_a_bucket_is_one_sentence(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = done("score", "s3://none/clips", "--metrics", METRICS, cache=tmp_path, code=2)
    assert "s3://none/clips" in said
    assert "Traceback" not in said
    said = done("score", "s3://bucket/clips", "--metrics", METRICS, "--out", "s3://none/run", cache=tmp_path, code=2)
    assert "s3://none/run" in said
    assert not bucket.exists("none")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    said = done("score", "s3://bucket/clips", "--metrics", METRICS, cache=tmp_path, code=3)
    assert "cannot be" in said
    assert "same command" in said
    assert "Traceback" not in said
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    said = done("score", "s3://bucket/clips", "--metrics", METRICS, cache=tmp_path, code=2)
    assert "Traceback" not in said
    assert "credentials" in said.lower()
