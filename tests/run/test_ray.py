"""Ray: the numbers of one machine from two workers, one of which is killed; a machine is lost, another joins late."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from javisbench.clip import Clip
from javisbench.media.write import write_clip

pytestmark = pytest.mark.slow

ray = pytest.importorskip("ray", reason="pip install 'javisbench[ray]'")
pytest.importorskip("ray.data")

METRICS = "av_align,health_*"
RESULTS = ("scores.parquet", "details.parquet", "failures.jsonl", "summary.json")
BEGUN = re.compile(r"decoding and encoding: [1-9]")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty clips with their prompts beside them, one of them broken."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(40):
        random = np.random.default_rng(number)
        frames = random.integers(0, 256, (24, 96, 128, 3)).astype(np.uint8)
        sound = 0.1 * random.standard_normal((1, 24000)).astype(np.float32)
        clip = Clip(frames, Fraction(8), sound, 8000, "sidecar")
        write_clip(clip, folder / f"a{number:02d}.mp4", folder / f"a{number:02d}.wav")
        (folder / f"a{number:02d}.txt").write_text(f"prompt {number}")
    (folder / "a07.mp4").write_bytes(b"no clip")
    return folder


def javisbench(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "javisbench", *arguments]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def done(*arguments: str, code: int = 0) -> str:
    process = javisbench(*arguments)
    out, err = process.communicate()
    assert process.returncode == code, err
    return out + err


@pytest.fixture(scope="module")
def here(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one machine."""
    run = tmp_path_factory.mktemp("here") / "run"
    done("score", str(clips), "--metrics", METRICS, "--out", str(run), "--workers", "1")
    return run


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A cluster of one machine that does no work itself; tests add those that do."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


def begun(process: subprocess.Popen[str]) -> None:
    """Wait until some clips have come back."""
    assert process.stderr is not None
    for line in process.stderr:
        if BEGUN.search(line):
            return
    pytest.fail("the job ended before anything was seen of it")


def same(one: Path, other: Path) -> None:
    for name in RESULTS:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def same_clips(one: Path, other: Path) -> None:
    made = sorted(path.name for path in (one / "clips").iterdir())
    assert made == sorted(path.name for path in (other / "clips").iterdir())
    for name in made:
        if not name.endswith(".json"):
            assert (one / "clips" / name).read_bytes() == (other / "clips" / name).read_bytes()


def actors() -> list[int]:
    """Processes of this machine's cluster that encode."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"MapWorker" in title and os.getpgid(int(entry.name)):
                found.append(int(entry.name))
    return found


def test_a_killed_worker_costs_nothing(cluster: Any, clips: Path, here: Path, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=2)
    run = tmp_path / "run"
    job = javisbench(
        "score", str(clips), "--metrics", METRICS, "--out", str(run), "--engine", "ray",
        "--engine-address", cluster.address,
    )  # fmt: skip
    begun(job)
    os.kill(actors()[0], signal.SIGKILL)
    _, err = job.communicate()
    assert job.returncode == 0, err
    same(run, here)


def test_a_lost_machine_costs_nothing_and_one_that_joins_late_goes_on(
    cluster: Any, clips: Path, here: Path, tmp_path: Path
) -> None:
    first = cluster.add_node(num_cpus=1)
    run = tmp_path / "run"
    job = javisbench(
        "score", str(clips), "--metrics", METRICS, "--out", str(run), "--engine", "ray",
        "--engine-address", cluster.address,
    )  # fmt: skip
    begun(job)
    cluster.remove_node(first, allow_graceful=False)
    cluster.add_node(num_cpus=1)
    _, err = job.communicate()
    assert job.returncode == 0, err
    same(run, here)


def test_a_killed_job_goes_on_with_what_came_back(cluster: Any, clips: Path, here: Path, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=1)
    run = tmp_path / "run"
    command = (
        "score", str(clips), "--metrics", METRICS, "--out", str(run), "--engine", "ray",
        "--engine-address", cluster.address,
    )  # fmt: skip
    job = javisbench(*command)
    begun(job)
    job.terminate()
    _, err = job.communicate()
    assert job.returncode == 143, err
    assert list((run / "features").glob("shard-*"))
    said = done(*command)
    left = re.search(r"Ray: (\d+) clips", said)
    assert left is not None
    assert int(left[1]) < 40
    same(run, here)


def test_eval_makes_the_same_clips_and_scores(tmp_path: Path) -> None:
    command = ("eval", "--model", "procedural", "--suite", "demo", "--limit", "3", "--metrics", "health_*")
    done(*command, "--out", str(tmp_path / "here"))
    done(*command, "--out", str(tmp_path / "ray"), "--engine", "ray")
    for name in RESULTS:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes(), name
    same_clips(tmp_path / "here", tmp_path / "ray")
    # A run of the cluster goes on without one.
    assert "0 made, 3 there already" in done(*command, "--out", str(tmp_path / "ray"))


STAGES = """
from fractions import Fraction

import numpy as np

from javisbench.baselines.base import Generated, Generator, Plan
from javisbench.clip import Clip


class Prepared(Generator):
    \"\"\"Follows what it has encoded of all prompts before its first clip, and nothing else.\"\"\"

    card_id = "prepared"
    max_batch = 2
    samples = 8000

    def plan(self, spec):
        return Plan(64, 48, 8, Fraction(8), self.samples, 8000)

    def prepare(self, requests):
        self.prompt_folder.mkdir(parents=True, exist_ok=True)
        for request in requests:
            (self.prompt_folder / request.sample.id).write_text(request.prompts["text"])

    def generate(self, batch):
        for request in batch:
            level = len((self.prompt_folder / request.sample.id).read_text())
            random = np.random.default_rng(request.seed)
            frames = np.clip(random.integers(0, 99, (8, 48, 64, 3)) + level, 0, 255).astype(np.uint8)
            sound = random.uniform(-0.1, 0.1, (1, self.samples)).astype(np.float32) if self.samples else None
            yield Generated(request, Clip(frames, Fraction(8), sound, 8000 if self.samples else None))


class Picture(Prepared):
    family = "t2v"
    samples = 0


class Sound(Generator):
    \"\"\"As loud as the picture is bright.\"\"\"

    card_id = "sound"
    family = "v2a"
    max_batch = 2

    def plan(self, spec):
        return Plan(0, 0, 0, Fraction(8), 8000, 8000)

    def generate(self, batch):
        for request in batch:
            level = request.conditions.clip.frames.mean() / 1000
            sound = level * np.random.default_rng(request.seed).uniform(-1, 1, (1, 8000))
            empty = np.zeros((0, 0, 0, 3), np.uint8)
            yield Generated(request, Clip(empty, Fraction(8), sound.astype(np.float32), 8000))
"""


@pytest.mark.parametrize(
    "model",
    ["python:ray_stages:Prepared", "cascade:t2v=python:ray_stages:Picture,v2a=python:ray_stages:Sound"],
)
def test_prompts_are_encoded_in_actors_and_cascades_run_there(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ray_stages.py").write_text(STAGES)
    (tmp_path / "suite.csv").write_text("text\n" + "".join(f"{'long ' * number}prompt\n" for number in range(5)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    command = ("eval", "--model", model, "--suite", str(tmp_path / "suite.csv"), "--metrics", "health_*")
    done(*command, "--out", str(tmp_path / "here"))
    done(*command, "--out", str(tmp_path / "ray"), "--engine", "ray")
    assert (tmp_path / "here/failures.jsonl").read_bytes() == b""
    for name in RESULTS:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes(), name
    same_clips(tmp_path / "here", tmp_path / "ray")


def test_what_is_wrong_with_a_cluster_is_one_sentence(clips: Path, tmp_path: Path) -> None:
    command = ("score", str(clips), "--metrics", METRICS, "--out", str(tmp_path / "run"), "--engine", "ray")
    for address, told in (("127.0.0.1:9", "There is no Ray cluster"), ("ray://127.0.0.1:9", "ray job submit")):
        said = done(*command, "--engine-address", address, code=2)
        assert told in said
        assert "Traceback" not in said


def test_what_the_cluster_itself_fails_at_is_one_sentence() -> None:
    from javisbench.errors import RunError
    from javisbench.run.cluster.connect import _explained

    for error, told in (
        (ray.exceptions.ObjectStoreFullError("x"), "object store is full"),
        (ray.exceptions.OutOfDiskError("x"), "object store is full"),
        (ray.exceptions.OutOfMemoryError("x"), "ran out of memory"),
        (ray.exceptions.ActorDiedError(), "are gone"),
    ):
        with pytest.raises(RunError, match=f"{told}.*same command"), _explained():
            raise error


def test_groups_go_through_pools_one_after_the_other() -> None:
    from javisbench.media import DecodeLimits
    from javisbench.run.cluster.connect import Pool, connected
    from javisbench.run.cluster.encoding import Encoder, Encoding, Group

    how = Encoding({}, "cpu", 1, 1, DecodeLimits(), "fp32", 1)
    groups = [Group(made={str(number): {"x": np.arange(number)}}) for number in range(3)]
    with connected(None) as cluster:
        pools = [Pool(Encoder, how, cpus=0.5), Pool(Encoder, how, cpus=0.5)]
        answers = list(cluster.mapped(groups, pools))
    assert sorted(key for answer in answers for key in answer.made) == ["0", "1", "2"]


def test_a_group_that_ends_its_process_again_and_again_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    from javisbench.errors import RunError
    from javisbench.run.cluster.connect import Pool, connected

    (tmp_path / "deadly_worker.py").write_text(
        "import os\n\n\nclass Deadly:\n    kind = 'deadly'\n\n    def __init__(self, how):\n        pass\n\n"
        "    def told(self, group):\n        return group\n\n    def __call__(self, group):\n"
        "        if group == 'poison':\n            os._exit(1)\n        return group\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    deadly = importlib.import_module("deadly_worker").Deadly
    with connected(None) as cluster, pytest.raises(RunError, match=r"ended 6 times.*poison") as error:
        list(cluster.mapped(["harmless", "poison"], [Pool(deadly, None, cpus=0.5)]))
    assert error.value.exit_code == 3
