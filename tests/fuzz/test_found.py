"""Files that once brought a traceback, one of each kind: what the fuzzing found, kept."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from javisbench.durable import read_jsonl
from javisbench.errors import JavisbenchError, RunError, UsageError, WeightsError
from javisbench.metrics.encoders.checkpoint import load_checkpoint
from javisbench.results.run_folder import read_failures
from javisbench.run.features import FeatureStore
from tests.fuzz.harness import good_files
from tests.fuzz.targets import TARGETS


def changed(name: str, change: Callable[[dict], object]) -> Callable[[], bytes]:
    """The target's first good file, as JSON, with a change."""

    def make() -> bytes:
        document = json.loads(good_files(TARGETS[name])[0][1])
        change(document)
        return json.dumps(document).encode()

    return make


def header(name: str, change: Callable[[dict, dict], object]) -> Callable[[], bytes]:
    """A safetensors file whose header, and the facts in it, are changed."""

    def make() -> bytes:
        data = good_files(TARGETS[name])[0][1]
        size = int.from_bytes(data[:8], "little")
        found = json.loads(data[8 : 8 + size])
        ((key, facts),) = list(found["__metadata__"].items())[:1]
        told = json.loads(facts)
        change(found, told)
        found["__metadata__"][key] = json.dumps(told)
        text = json.dumps(found).encode()
        return len(text).to_bytes(8, "little") + text + data[8 + size :]

    return make


# Target, name of the file, its content.
FOUND: dict[str, tuple[str, str, Callable[[], bytes]]] = {
    "versions that are a number": ("sidecar", "a.json", changed("sidecar", lambda d: d.update(versions=0.5))),
    "a device that is a list": ("sidecar", "a.json", changed("sidecar", lambda d: d.update(device=[1]))),
    "hardware that is text": ("manifest", "run.json", changed("manifest", lambda d: d["scoring"].update(hardware="x"))),
    "clips under a name that is too long": (
        "manifest", "run.json", changed("manifest", lambda d: d["model"].update(clips="x" * 5000)),
    ),
    "a number beyond all floats": (
        "reference json", "r.json", changed("reference json", lambda d: d.update(fvd=10**400)),
    ),
    "protocols that are lists": (
        "reference", "r.safetensors", header("reference", lambda h, t: t["features"][0].update(protocols=[["x"]])),
    ),
    "JSON nested by thousands": ("failures", "failures.jsonl", lambda: b"[" * 100_000),
    "a number of 5,000 digits": ("failures", "failures.jsonl", lambda: b'{"repeat": ' + b"9" * 5000 + b"}"),
    "TOML nested by thousands": ("cascade toml", "c.toml", lambda: b"t2v = " + b"[" * 5000),
    "TOML with 5,000 digits": ("cascade toml", "c.toml", lambda: b"t2v = " + b"9" * 5000),
    "a configuration nested by thousands": ("model config toml", "c.toml", lambda: b"network = " + b"[" * 5000),
    "a clip's name that is too long": (
        "pairs csv", "pairs.csv", lambda: b"clip_a,clip_b,better\n" + b"9" * 5000 + b".mp4,b.mp4,a\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOUND)
def test_what_was_found_is_read_or_refused_in_a_sentence(kind: str, tmp_path: Path) -> None:
    name, file, content = FOUND[kind]
    (tmp_path / "own").mkdir()
    (tmp_path / "input").mkdir()
    path = tmp_path / "input" / file
    path.write_bytes(content())
    read = TARGETS[name].reader(tmp_path / "own")
    try:
        read(path)
    except JavisbenchError as error:
        assert "\n" not in error.sentence


def test_lines_that_are_no_json_are_skipped(tmp_path: Path) -> None:
    lines = ['{"a": 1}', "[" * 100_000, '{"n": ' + "9" * 5000 + "}", '{"torn', '{"b": 2}']
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    assert read_jsonl(tmp_path / "x.jsonl") == [{"a": 1}, {"b": 2}]
    assert read_jsonl(tmp_path / "x.jsonl", 1) == [{"a": 1}]


def test_failures_without_end_are_refused_before_all_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"sample_id": "a", "repeat": 0, "stage": "decode", "metric": None, "kind": "x", "message": "m"}
    (tmp_path / "failures.jsonl").write_text((json.dumps(row) + "\n") * 50)
    monkeypatch.setattr("javisbench.results.run_folder.MAX_FAILURES", 10)
    with pytest.raises(RunError, match="is not a list of at most 10 entries"):
        read_failures(tmp_path)


def test_a_recursive_cascade_is_a_usage_error(tmp_path: Path) -> None:
    from javisbench.baselines.cascade import Cascade

    (tmp_path / "c.toml").write_text("t2v = " + "[" * 5000)
    with pytest.raises(UsageError, match=r"The cascade .*c\.toml cannot be read"):
        Cascade(str(tmp_path / "c.toml"), {})


def test_shards_of_strangers_are_passed_over(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    odd = {name: torch.ones(2) for name in ("no slash", "ü/rows", "a\nb/rows")}
    odd["half/x"] = torch.ones(2).bfloat16()
    save_file(odd, tmp_path / "shard-first.safetensors")
    store = FeatureStore(tmp_path)
    assert list(store) == ["half"] and store.find("half") == {}
    store.put("mine", {"rows": torch.ones(2).numpy()})
    store.flush()
    assert (tmp_path / "shard-000000.safetensors").exists()
    assert list(FeatureStore(tmp_path).find("mine")) == ["rows"]


def damaged_checkpoints() -> dict[str, bytes]:
    whole, old = io.BytesIO(), io.BytesIO()
    torch.save({"w": torch.ones(3)}, whole)
    torch.save({"w": torch.ones(3)}, old, _use_new_zipfile_serialization=False)
    zipped, pickled = whole.getvalue(), old.getvalue()
    directory = zipped.rindex(b"PK\x01\x02")
    out = io.BytesIO()
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            # What is stacked is taken away before it is asked for.
            target.writestr(name, data[:2] + b"0" * 40 + data[2:] if name.endswith("data.pkl") else data)
    key = re.findall(rb"\d{8,}", pickled)[-1]
    return {
        "no directory": zipped[:directory] + b"XX" + zipped[directory + 2 :],
        "an empty stack": out.getvalue(),
        "another storage": pickled.replace(key, key[::-1], 1),
        "half": pickled[: len(pickled) // 2],
    }


@pytest.mark.parametrize("kind", damaged_checkpoints())
def test_damaged_checkpoints_are_refused(kind: str, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(damaged_checkpoints()[kind])
    with pytest.raises(WeightsError, match=r"w\.pth"):
        load_checkpoint(tmp_path / "w.pth")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold processes to a limit")
def test_no_reader_asks_for_memory_that_the_file_cannot_fill(tmp_path: Path) -> None:
    """A text of 4 GiB in a pickle of 30 bytes, and a suite of two lines, under 256 MiB more than there is."""
    (tmp_path / "w.pth").write_bytes(b"\x80\x02X\xff\xff\xff\xffabc")  # BINUNICODE, whose length has four bytes
    (tmp_path / "s.csv").write_text("text\na\n")
    script = (
        "import resource, sys, torch\nfrom pathlib import Path\n"
        "from javisbench.suite import load_suite\n"
        "from javisbench.errors import WeightsError\n"
        "from javisbench.metrics.encoders.checkpoint import load_checkpoint\n"
        "pages = int(Path('/proc/self/statm').read_text().split()[0])\n"
        "most = pages * resource.getpagesize() + 2**28\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "assert len(load_suite(sys.argv[2])) == 1\n"
        "try:\n    load_checkpoint(Path(sys.argv[1]))\nexcept WeightsError:\n    print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "w.pth", tmp_path / "s.csv"], capture_output=True, text=True
    )
    assert done.stdout == "refused\n", done.stderr
