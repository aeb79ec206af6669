from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.clip import Clip
from javisbench.errors import FeatureError, JavisbenchError, MetricError, UsageError
from javisbench.metrics.accumulators import FAD, FVD, KVD, FrechetAccumulator, KernelAccumulator, SetAccumulator
from javisbench.metrics.distances import frechet_distance, polynomial_mmd
from javisbench.metrics.encoders.base import Encoder, EncoderCard, Features, FeatureSpec


def sets(n: int = 60, width: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return 1.3 * rng.normal(size=(n, width)) + 0.2, rng.normal(size=(n + 5, width))


def filled(accumulator: SetAccumulator, fake: np.ndarray, real: np.ndarray, batch: int = 7) -> SetAccumulator:
    for rows, is_real in ((fake, False), (real, True)):
        for start in range(0, len(rows), batch):
            accumulator.update(torch.from_numpy(rows[start : start + batch]), real=is_real)
    return accumulator


@given(st.integers(0, 1000), st.integers(2, 50), st.integers(1, 8), st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_batches_merge_to_the_whole(seed: int, n: int, width: int, batch: int) -> None:
    fake, real = sets(n, width, seed)
    scale = np.var(fake, axis=0).sum() + np.var(real, axis=0).sum()
    # With few rows the covariance knows its small directions to the root of rounding only.
    exact = {"rel": 1e-10, "abs": 1e-10 * scale} if n > 2 * width else {"rel": 1e-6, "abs": 1e-6 * scale}
    found = filled(FrechetAccumulator(width), fake, real, batch).compute()
    assert found == pytest.approx(frechet_distance(fake, real), **exact)
    for centred in (False, True):
        kernel = filled(KernelAccumulator(width, centred=centred), fake, real, batch)
        assert kernel.compute() == pytest.approx(polynomial_mmd(fake, real, centred=centred), rel=1e-12)


@pytest.mark.parametrize("make", [lambda: FrechetAccumulator(6), lambda: KernelAccumulator(6)])
class TestEveryAccumulator:
    def test_merge_equals_the_whole(self, make: Callable[[], SetAccumulator]) -> None:
        fake, real = sets()
        whole = filled(make(), fake, real).compute()
        left, right = filled(make(), fake[:20], real[:50]), filled(make(), fake[20:], real[50:])
        before = right.compute()
        left.merge(right)
        assert left.compute() == pytest.approx(whole, rel=1e-10)
        assert right.compute() == before
        empty = make()
        empty.merge(left)
        empty.merge(make())
        assert empty.compute() == pytest.approx(whole, rel=1e-10)

    def test_sides_reset_apart(self, make: Callable[[], SetAccumulator]) -> None:
        fake, real = sets()
        accumulator = filled(make(), fake, real)
        accumulator.reset(real=False)
        assert (accumulator.count(real=False), accumulator.count(real=True)) == (0, 65)
        with pytest.raises(MetricError, match="the generated one has 0"):
            accumulator.compute()
        accumulator.update(fake[::2], real=False)
        fresh = filled(make(), fake[::2], real)
        assert accumulator.compute() == pytest.approx(fresh.compute(), rel=1e-10)
        accumulator.reset()
        assert accumulator.count(real=True) == 0

    def test_order_of_batches_is_rounding_only(self, make: Callable[[], SetAccumulator]) -> None:
        fake, real = sets()
        there, back = filled(make(), fake, real), filled(make(), fake[::-1].copy(), real[::-1].copy(), batch=11)
        assert there.compute() == pytest.approx(back.compute(), rel=1e-9)

    def test_bad_batches_are_refused_and_not_added(self, make: Callable[[], SetAccumulator]) -> None:
        accumulator = filled(make(), *sets())
        value = accumulator.compute()
        bad = torch.ones(3, 6)
        bad[1, 2] = torch.nan
        with pytest.raises(MetricError, match="generated batch holds NaN"):
            accumulator.update(bad, real=False)
        with pytest.raises(MetricError, match=r"\(B, 6\)"):
            accumulator.update(torch.ones(3, 5), real=True)
        accumulator.update(torch.ones(0, 6), real=True)
        assert accumulator.compute() == value

    def test_callers_buffers_are_neither_kept_nor_changed(self, make: Callable[[], SetAccumulator]) -> None:
        fake, real = sets()
        accumulator = filled(make(), fake, real)
        value = accumulator.compute()
        buffer = torch.from_numpy(fake[:7].copy())
        again = make()
        filled(again, fake[7:], real)
        again.update(buffer, real=False)
        assert (buffer.numpy() == fake[:7]).all()
        buffer.zero_()
        assert again.compute() == pytest.approx(value, rel=1e-10)

    def test_the_graph_of_a_batch_is_let_go(self, make: Callable[[], SetAccumulator]) -> None:
        accumulator = make()
        accumulator.update(torch.ones(3, 6, requires_grad=True) * 2, real=True)
        # Torch refuses to copy a tensor that still hangs on a graph.
        assert copy.deepcopy(accumulator).count(real=True) == 3

    def test_half_precision_batches(self, make: Callable[[], SetAccumulator]) -> None:
        fake, real = sets()
        halves = [torch.from_numpy(rows).to(torch.bfloat16) for rows in (fake, real)]
        accumulator = make()
        accumulator.update(halves[0], real=False)
        accumulator.update(halves[1], real=True)
        exact = filled(make(), *(half.double().numpy() for half in halves))
        assert accumulator.compute() == pytest.approx(exact.compute(), rel=1e-9)

    def test_a_pickled_or_copied_one_goes_on_by_itself(self, make: Callable[[], SetAccumulator]) -> None:
        fake, real = sets()
        first = filled(make(), fake[:40], real)
        for other in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):  # noqa: S301 - our own bytes
            assert other.compute() == first.compute()
            other.update(fake[40:], real=False)
            assert (other.count(real=False), first.count(real=False)) == (60, 40)
            assert other.compute() == pytest.approx(filled(make(), fake, real).compute(), rel=1e-10)

    def test_only_like_merges_with_like(self, make: Callable[[], SetAccumulator]) -> None:
        with pytest.raises(UsageError, match="width 5"):
            make().merge(type(make())(5))
        other = KernelAccumulator(6) if isinstance(make(), FrechetAccumulator) else FrechetAccumulator(6)
        with pytest.raises(UsageError, match="Cannot merge"):
            make().merge(other)

    def test_sync_alone_is_a_copy(self, make: Callable[[], SetAccumulator]) -> None:
        fake, real = sets()
        accumulator = filled(make(), fake, real)
        alone = accumulator.sync()
        assert alone.compute() == accumulator.compute()
        alone.update(fake, real=False)
        assert accumulator.count(real=False) == 60


def test_a_large_mean_loses_nothing() -> None:
    # Sums of squares in float32 lose 2.6e-2 of the covariance at mean 50.
    fake, real = sets(500)
    shifted = filled(FrechetAccumulator(6), fake + 1e4, real + 1e4).compute()
    assert shifted == pytest.approx(frechet_distance(fake, real), rel=1e-8)


def test_moments_serve_as_a_reference() -> None:
    fake, real = sets()
    accumulator = filled(FrechetAccumulator(6), fake, real)
    assert isinstance(accumulator, FrechetAccumulator)
    moments = accumulator.moments(real=True)
    assert moments.n == 65
    assert moments.mean == pytest.approx(real.mean(axis=0))
    assert moments.covariance == pytest.approx(np.cov(real.T), abs=1e-12)
    with pytest.raises(MetricError, match="at least two"):
        FrechetAccumulator(6).moments(real=True)


def test_named_metrics_equal_the_evaluator_on_stored_embeddings(
    golden_npz: Callable[[str], dict[str, np.ndarray]], golden_json: Callable[[str], dict[str, dict[str, float]]]
) -> None:
    # Reference evaluation, commit b505b37, stand-in weights seed 0. 11 rows: see the note on small directions above.
    embeddings, targets = golden_npz("embeds_fvd_fad"), golden_json("evaluator_output_float64")
    for metric, modality, key, tolerance in (
        (FVD(), "video", "fvd", 1e-6),
        (KVD(), "video", "kvd_centred", 1e-8),
        (KVD(protocol="javisbench-v2"), "video", "kvd_uncentred", 1e-8),
        (FAD(), "audio", "fad", 1e-6),
    ):
        filled(metric, embeddings[f"fake_{modality}"], embeddings[f"real_{modality}"], batch=4)
        assert metric.compute() == pytest.approx(targets[key]["overall"], rel=tolerance)
        assert metric.higher_is_better is False


class MeanEncoder(Encoder):
    """Stands in for I3D and AudioCLIP: brightness, or loudness, as every feature."""

    card = EncoderCard("mean", "Mean", {"only": None})

    def encode(
        self, items: Sequence[Clip] | Sequence[str], specs: Sequence[FeatureSpec]
    ) -> list[dict[FeatureSpec, Features | JavisbenchError]]:
        made: list[dict[FeatureSpec, Features | JavisbenchError]] = []
        for clip in items:
            assert isinstance(clip, Clip)
            (spec,) = specs
            if spec.encoder == "i3d":
                level, width = float(clip.frames.mean()), 400
            else:
                assert clip.audio is not None and clip.sample_rate == 8000
                level, width = float(np.abs(clip.audio).mean()), 1024
            quiet = FeatureError("nothing there", kind="silent")
            made.append({spec: quiet if level == 0 else {"embedding": np.full(width, level, np.float32)}})
        return made


def test_videos_and_sounds_pass_through_the_encoder() -> None:
    fvd = FVD(encoder=MeanEncoder())
    videos = torch.tensor([10, 20, 30], dtype=torch.uint8).reshape(3, 1, 1, 1, 1).expand(3, 4, 8, 8, 3)
    fvd.update(videos, real=True, fps=29.97)
    fvd.update(videos.numpy() + 10, real=False)
    # Brightness 10 apart in each of 400 features, equal covariances.
    assert fvd.compute() == pytest.approx(400 * 100, rel=1e-9)
    fad = FAD(encoder=MeanEncoder())
    for is_real in (True, False):
        fad.update(torch.tensor([0.1, 0.3]).reshape(2, 1, 1).expand(2, 1, 100), real=is_real, sample_rate=8000)
    assert fad.compute() == pytest.approx(0, abs=1e-3)
    kvd = KVD(encoder=MeanEncoder())
    kvd.update(videos, real=True)
    assert kvd.count(real=True) == 3
    with pytest.raises(FeatureError, match="video 1 of the batch: nothing there"):
        fvd.update(np.stack([np.ones((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 4, 3), np.uint8)]), real=True)
    assert fvd.count(real=True) == 3


def test_what_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(UsageError, match="Give `weights`, the i3d checkpoint"):
        FVD().update(torch.zeros(1, 9, 8, 8, 3, dtype=torch.uint8), real=True)
    with pytest.raises(MetricError, match="uint8 RGB"):
        FVD(encoder=MeanEncoder()).update(torch.zeros(1, 9, 3, 8, 8), real=True)
    with pytest.raises(MetricError, match="floats of shape"):
        FAD(encoder=MeanEncoder()).update(torch.zeros(1, 1, 100, dtype=torch.int16), real=True)
    with pytest.raises(UsageError, match="no protocol"):
        FVD(protocol="javisbench-v9")
    with pytest.raises(UsageError, match="at least 1"):
        FrechetAccumulator(0)


def test_two_processes_see_the_sum_and_may_sync_twice(tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import numpy as np
            import torch
            import torch.distributed as dist
            from javisbench.metrics.accumulators import FrechetAccumulator, KernelAccumulator

            rank, meeting = int(sys.argv[1]), sys.argv[2]
            torch.set_num_threads(1)
            dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
            rng = np.random.default_rng(0)
            fake, real = 1.3 * rng.normal(size=(40, 5)) + 0.2, rng.normal(size=(30, 5))
            for whole, part in ((FrechetAccumulator(5), FrechetAccumulator(5)),
                                (KernelAccumulator(5), KernelAccumulator(5))):
                whole.update(fake, real=False)
                whole.update(real, real=True)
                # Unequal shares, and a side that one process has not seen.
                part.update(fake[:13] if rank else fake[13:], real=False)
                if rank:
                    part.update(real, real=True)
                for _ in range(2):
                    total = part.sync()
                    assert (total.count(real=False), total.count(real=True)) == (40, 30)
                    np.testing.assert_allclose(total.compute(), whole.compute(), rtol=1e-9)
                assert part.count(real=False) == (13 if rank else 27)
            assert FrechetAccumulator(5).sync().count(real=True) == 0
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
