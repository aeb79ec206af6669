"""The set metrics as torchmetrics' metrics: equal to the accumulators, in collections, over processes, in Lightning."""

from __future__ import annotations

import copy
import json
import math
import pickle
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

import javisbench.metrics
from javisbench.errors import MetricError

torchmetrics: Any = None
for_torchmetrics: Any = None


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """Not where tests are collected: that takes seconds in every process of tests."""
    global torchmetrics, for_torchmetrics
    torchmetrics = pytest.importorskip("torchmetrics", reason="pip install 'javisbench[torchmetrics]'")
    for_torchmetrics = pytest.importorskip("javisbench.metrics.for_torchmetrics")


ROOT = Path(__file__).parents[2]
WIDTHS = {"FVD": 400, "KVD": 400, "FAD": 30, "FID": 30}


def rows(width: int, count: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return 1.3 * torch.randn(count, width, generator=random) + 0.2, torch.randn(count + 3, width, generator=random)


@pytest.mark.parametrize("name", WIDTHS)
def test_it_is_the_accumulator_as_torchmetrics_has_metrics(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in ("FAD", "FID"):  # a small width, for the time that 2048 features take
        monkeypatch.setattr(getattr(javisbench.metrics, name), "features", WIDTHS[name])
    fake, real = rows(WIDTHS[name])
    metric, plain = getattr(for_torchmetrics, name)(), getattr(javisbench.metrics, name)()
    assert isinstance(metric, torchmetrics.Metric) and metric.higher_is_better is False
    for one in (metric, plain):
        for half in (slice(0, 5), slice(5, None)):
            one.update(fake[half], real=False)
            one.update(real[half], real=True)
    value = metric.compute()
    assert value.shape == () and float(value) == pytest.approx(plain.compute(), rel=1e-6)
    for other in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric.clone()):  # noqa: S301
        assert other.compute() == value
    loaded = getattr(for_torchmetrics, name)()
    loaded.load_state_dict(metric.state_dict())
    loaded.update(fake[:0], real=False)
    assert loaded.compute() == value
    metric.half()
    assert {state.dtype for state in metric.state_dict().values() if isinstance(state, torch.Tensor)} <= {
        torch.float64,
        torch.int64,
    }
    metric.reset()
    with pytest.raises(MetricError, match="the real one has 0"):
        metric.update(fake, real=False) or metric.compute()


def test_the_real_side_may_outlive_a_reset() -> None:
    fake, real = rows(400)
    for kind in (for_torchmetrics.FVD, for_torchmetrics.KVD):
        metric = kind(reset_real_features=False)
        metric.update(real, real=True)
        values = []
        for _ in range(2):
            metric.update(fake, real=False)
            values.append(float(metric.compute()))
            metric.reset()
        assert values[0] == values[1]
        with pytest.raises(MetricError, match="the generated one has 0"):
            metric.update(real[:0], real=True) or metric.compute()


def test_forward_gives_the_distance_so_far() -> None:
    fake, real = rows(400)
    metric = for_torchmetrics.FVD()
    assert math.isnan(metric(real, real=True))
    metric(fake[:6], real=False)
    last = metric(fake[6:], real=False, fps=24)
    assert float(last) == pytest.approx(float(metric.compute()), rel=1e-6)
    plain = javisbench.metrics.FVD()
    assert math.isnan(plain(real, real=True))
    assert plain(fake, real=False) == pytest.approx(float(last), rel=1e-6)


def test_a_collection_takes_them_all_at_once() -> None:
    fake, real = rows(400)
    collection = torchmetrics.MetricCollection(
        {"fvd": for_torchmetrics.FVD(), "kvd": for_torchmetrics.KVD(protocol="javisbench-v2")}
    )
    for _ in range(2):
        collection.update(real, real=True, fps=24)
        collection.update(fake[:7], real=False, fps=24)
        collection.update(fake[7:], real=False, fps=24)
        found = collection.compute()
        for name, kind in (("fvd", javisbench.metrics.FVD), ("kvd", javisbench.metrics.KVD)):
            plain = kind(protocol="javisbench-v2")
            plain.update(real, real=True)
            plain.update(fake, real=False)
            assert float(found[name]) == pytest.approx(plain.compute(), rel=1e-5)
        collection.reset()
    assert set(collection(fake, real=False)) == {"fvd", "kvd"}


@pytest.mark.parametrize("shares", [(13, 7), (20, 0), (0, 20)])
def test_what_another_process_has_seen_is_joined_and_left_again(shares: tuple[int, int]) -> None:
    """torchmetrics' synchronisation with its gathering replaced: this process's state, and that of another one."""
    fake, real = rows(400, 20)
    for kind in (for_torchmetrics.FVD, for_torchmetrics.KVD):
        other = kind()
        other.update(fake[shares[0] :], real=False)
        other.update(real, real=True)
        waiting: list[torch.Tensor] = []

        def gather(state: torch.Tensor, group: object = None, waiting: Any = waiting) -> list[torch.Tensor]:
            return [state, waiting.pop(0)]

        metric = kind(dist_sync_fn=gather, distributed_available_fn=lambda: True)
        metric.update(fake[: shares[0]], real=False)
        whole = kind()
        whole.update(fake, real=False)
        whole.update(real, real=True)
        for _ in range(2):
            states = [getattr(other, name) for name in other._defaults]
            waiting += [state[0].double() if isinstance(state, list) else state for state in states]
            torch.testing.assert_close(metric.compute(), whole.compute(), rtol=1e-5, atol=1e-6)
            assert not waiting
            # The synchronisation is undone: the next one counts nothing twice.
            metric.update(fake[:0], real=False)


@pytest.mark.slow
def test_two_processes_see_the_sum(tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import torch
            import torch.distributed as dist
            from javisbench.metrics.for_torchmetrics import FVD, KVD

            rank, meeting = int(sys.argv[1]), sys.argv[2]
            torch.set_num_threads(1)
            dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
            fake, real = 1.3 * torch.randn(20, 400, generator=torch.Generator().manual_seed(1)), torch.ones(9, 400)
            real = real + torch.randn(9, 400, generator=torch.Generator().manual_seed(2))
            for kind in (FVD, KVD):
                whole, part = kind(sync_on_compute=False), kind()
                whole.update(fake, real=False)
                whole.update(real, real=True)
                # Unequal shares of one side; the other has been seen by one process alone.
                part.update(fake[:13] if rank else fake[13:], real=False)
                if rank:
                    part.update(real, real=True)
                for _ in range(2):
                    torch.testing.assert_close(part.compute(), whole.compute(), rtol=1e-5, atol=1e-6)
                    # Not what the other process has: the synchronisation is undone.
                    part.update(fake[:0], real=False)
            dist.destroy_process_group()
            """
        ),
        encoding="utf-8",
    )
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(tmp_path / "meeting")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    for process in ranks:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output


def test_the_example_logs_distances_that_fall_as_the_model_learns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pytorch_lightning")
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # the example seeds everything: here until its end
    with torch.random.fork_rng():
        runpy.run_path(str(ROOT / "examples" / "training" / "lightning_validation.py"), run_name="__main__")
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    epochs = told["epochs"]
    assert len(epochs) == 4
    assert epochs[-1]["fvd"] < 0.7 * epochs[0]["fvd"] and epochs[-1]["kvd"] < epochs[0]["kvd"]
    for name, value in epochs[-1].items():
        assert told["logged"][name] == pytest.approx(value, rel=1e-5)
