"""What archives and sites tell of the machine that a run was made on: nothing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from javisbench.cli import run as cli
from javisbench.leaderboard.build import SiteOptions, build_site
from javisbench.private import Scrubber
from javisbench.publish.public import public_manifest
from javisbench.publish.sources import unpack_verified

USER, HOST, SECRET, OTHER = "margarethe", "calcnode17", "s3cr3t-token-42", "h0stile-value-77"
PROGRAM = f"""
import json, os, pathlib, shutil, sys
here = pathlib.Path(sys.argv[0]).parent
for line in sys.stdin:
    request = json.loads(line)
    if request["id"].endswith("1"):
        told = f"no {{here}}/weights.pt for {USER} on {HOST} with {{sys.argv[1:3]}} and " + os.environ["MY_SETTING"]
        answer = {{"id": request["id"], "status": "failed", "message": told}}
    else:
        shutil.copy(here / "ready.mp4", request["output"] + ".mp4")
        answer = {{"id": request["id"], "status": "ok", "info": {{"seen": str(here)}}}}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clips_fake: Path) -> Path:
    """A run of a program with a secret in its arguments, in a home with a name; a clip of it fails."""
    home = tmp_path / "home" / USER
    (home / "work").mkdir(parents=True)
    for name, value in (("HOME", str(home)), ("USER", USER), ("LOGNAME", USER), ("MY_SETTING", OTHER)):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("socket.gethostname", lambda: f"{HOST}.lab.example")
    monkeypatch.chdir(home / "work")
    Path("gen.py").write_text(PROGRAM)
    Path("ready.mp4").write_bytes((clips_fake / "sample_0000.mp4").read_bytes())
    Path("tiny.csv").write_text("id,text\n" + "".join(f"s{i},a ball of kind {i}\n" for i in range(3)))
    model = f"command:python3 {home}/work/gen.py --token {SECRET} --data {home}/data --name {USER}"
    assert cli(["eval", "--model", model, "--suite", "tiny.csv", "--metrics", "health_silence", "--out",
                str(home / "work" / "run"), "--workers", "1", "--quiet"]) == 0  # fmt: skip
    return home / "work" / "run"


def leaks(text: bytes, tmp_path: Path) -> list[str]:
    told = (USER, HOST, SECRET, OTHER, str(tmp_path), "/work", "gen.py --", "--data")
    return [word for word in told if word.encode() in text]


def test_archives_and_sites_tell_nothing_of_the_machine(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leaks((run / "run.json").read_bytes() + (run / "summary.json").read_bytes(), tmp_path), "there is something"
    archive = tmp_path / "a.zip"
    capsys.readouterr()
    assert cli(["submit", "pack", str(run), "--show"]) == 0
    shown = capsys.readouterr().out
    assert not leaks(shown.encode(), tmp_path) and not archive.exists()
    assert '"model": "command:gen.py"' in shown and "failures[0]: " in shown and "scores.parquet" in shown
    assert cli(["submit", "pack", str(run), "--out", str(archive)]) == 0
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            assert not leaks(file.read(name), tmp_path), name
            assert file.getinfo(name).date_time == (1980, 1, 1, 0, 0, 0)
        assert (
            "weights.pt for <hidden> on <hidden> with ['--token', <hidden>"
            in json.loads(file.read("summary.json"))["failures"][0]["message"]
        )
    # Nothing that a check needs was lost.
    (tmp_path / "unpacked").mkdir()
    unpack_verified(archive, tmp_path / "unpacked")
    for sources in ([run], [archive]):
        build_site(sources, tmp_path / "site", SiteOptions(clips="all"))
        pages = [path for path in (tmp_path / "site").rglob("*") if path.is_file()]
        assert len(pages) > 5
        assert {path.name: found for path in pages if (found := leaks(path.read_bytes(), tmp_path))} == {}
    assert cli(["submit", "pack", str(run)]) == 0
    assert next(iter(Path.cwd().glob("*.zip"))).name == "command-gen.py-tiny-javisbench-v1.zip"


def test_a_manifest_keeps_what_tells_models_apart() -> None:
    manifest = {
        "model": {
            "identity": {"model": "python:/home/u/m.py:M", "card": None, "parameters": {"api_key": "abc", "steps": 4}},
            "weights": {"net": {"home/u/a.pt": "1" * 64, "opt/b.pt": "2" * 64, "opt/c/b.pt": "3" * 64}},
        },
        "generation": {"seed": 0},
        "scoring": {"hardware": {"machine": "x86_64"}, "requests": {"weights_dirs": ["/home/u/w"]}},
    }
    found = public_manifest(manifest, Scrubber())
    assert found["identity"] == {"model": "python:m.py:M", "card": None, "parameters": {"steps": 4}}
    assert list(found["weights"]["net"]) == ["a.pt", "b.pt", "2-b.pt"]
    program = {"model": "command:/x/a.sh --n 3", "variant": "/x/a.sh --n 3", "revision": "2"}
    identity = {"model": "cascade:t2v=command:/x/a.sh --n 3,v2a=b", "parameters": {"variant": None, "t2v": program}}
    stages = public_manifest({"model": {"identity": identity}}, Scrubber())["identity"]
    assert stages["model"] == "cascade:t2v=command:a.sh,v2a=b"
    assert stages["parameters"] == {"t2v": {"model": "command:a.sh", "revision": "2"}}
    assert found["generation"] == {"seed": 0} and found["hardware"] == {"machine": "x86_64"}
    assert "/home" not in json.dumps(found)
    assert public_manifest({}, Scrubber())["identity"] is None
