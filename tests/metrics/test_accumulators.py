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
from javisbench.metrics.accumulators import (
    FAD,
    FID,
    FVD,
    KVD,
    FrechetAccumulator,
    RowsAccumulator,
    SetAccumulator,
)
from javisbench.metrics.base import Distance, MetricCard, SetMetric
from javisbench.metrics.distances import frechet_distance, polynomial_mmd
from javisbench.metrics.encoders.base import Encoder, EncoderCard, Features, FeatureSpec
from javisbench.metrics.kvd import KVDMetric
from javisbench.protocol import Protocol


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
    for protocol, centred in (("javisbench-v1", True), ("javisbench-v2", False)):
        kernel = filled(RowsAccumulator(KVDMetric(), width, protocol=protocol), fake, real, batch)
        assert kernel.compute() == pytest.approx(polynomial_mmd(fake, real, centred=centred), rel=1e-12)


@pytest.mark.parametrize("make", [lambda: FrechetAccumulator(6), lambda: RowsAccumulator(KVDMetric(), 6)])
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
        rows = isinstance(make(), RowsAccumulator)
        with pytest.raises(UsageError, match="width 5"):
            make().merge(RowsAccumulator(KVDMetric(), 5) if rows else FrechetAccumulator(5))
        other = FrechetAccumulator(6) if rows else RowsAccumulator(KVDMetric(), 6)
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


def test_frames_come_as_bytes_or_floats_with_colours_last_or_third() -> None:
    random = torch.Generator().manual_seed(0)
    video = torch.randint(1, 256, (3, 4, 8, 6, 3), generator=random, dtype=torch.uint8)
    floats = video.float() / 255
    same = (
        video,
        video.permute(0, 1, 4, 2, 3),
        floats,
        floats.permute(0, 1, 4, 2, 3),
        floats.double().numpy(),
        [*video],
    )
    for kind in (FVD, KVD):
        found = []
        for batch in same:
            metric = kind(encoder=MeanEncoder())
            metric.update(batch, real=False)
            metric.update(torch.stack(tuple(video)) // 2 + 1, real=True)
            found.append(metric.compute())
        assert found == [found[0]] * len(same)


def test_fid_counts_every_frame() -> None:
    metric, fake, real = FID(), *sets(10, 2048)
    metric.update(fake.reshape(5, 2, 2048), real=False)
    metric.update(real, real=True)
    assert (metric.count(real=False), metric.count(real=True)) == (10, 15)
    other = FrechetAccumulator(2048)
    other.update(fake, real=False)
    for name in ("n", "mean", "scatter"):
        assert torch.equal(getattr(metric, f"fake_{name}"), getattr(other, f"fake_{name}"))


class TestModule:
    """Accumulators are modules: their state is saved, moved and kept exact like that of any other."""

    @pytest.mark.parametrize("kind", [FVD, KVD])
    def test_a_saved_state_goes_on(self, kind: Callable[[], SetAccumulator], tmp_path: Path) -> None:
        fake, real = sets(20, 400)
        first = filled(kind(), fake[:15], real)
        torch.save(first.state_dict(), tmp_path / "state.pt")
        second = kind()
        second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        assert second.compute() == first.compute()
        second.update(fake[15:], real=False)
        assert (second.count(real=False), first.count(real=False)) == (20, 15)
        holder = torch.nn.ModuleDict({"distance": second, "network": torch.nn.Linear(2, 2)})
        assert {name for name in holder.state_dict() if name.startswith("distance.")} == {
            f"distance.{name}" for name in first.state_dict()
        }

    def test_another_width_is_refused(self) -> None:
        for wide, narrow in (
            (FrechetAccumulator(6), FrechetAccumulator(5)),
            (RowsAccumulator(KVDMetric(), 6), RowsAccumulator(KVDMetric(), 5)),
        ):
            wide.update(np.ones((3, 6)), real=True)
            with pytest.raises(RuntimeError, match="size mismatch"):
                narrow.load_state_dict(wide.state_dict())

    @pytest.mark.parametrize("lower", [torch.nn.Module.half, torch.nn.Module.bfloat16, torch.nn.Module.float])
    def test_sums_keep_their_precision(self, lower: Callable[[torch.nn.Module], torch.nn.Module]) -> None:
        fake, real = sets()
        metric = filled(FrechetAccumulator(6), fake, real)
        value = metric.compute()
        lower(torch.nn.Sequential(metric))
        assert metric.compute() == value
        assert metric.to("cpu", torch.float16).compute() == value

    def test_it_moves_with_the_module_that_holds_it(self) -> None:
        metric = filled(FVD(encoder=MeanEncoder()), *sets(5, 400))
        torch.nn.Sequential(metric).to("meta")
        assert metric.device == torch.device("meta") and metric.real_scatter.shape == (400, 400)

    def test_another_devices_encoder_is_read_again_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loaded = []

        class Loading(MeanEncoder):
            def load(self, weights: Path | None, device: str) -> None:
                loaded.append(device)

        monkeypatch.setattr("javisbench.metrics.encoders.i3d.I3DEncoder", Loading)
        metric, video = FVD("i3d.pt"), torch.ones(2, 2, 4, 4, 3, dtype=torch.uint8)
        for _ in range(2):
            metric.update(video, real=True)
        metric._encoding.moved(torch.device("cuda:1"))
        metric._encoding.moved(torch.device("cpu"))
        metric.update(video, real=True)
        assert loaded == ["cpu", "cpu"]

    def test_calling_it_adds_and_gives_the_distance_so_far(self) -> None:
        fake, real = sets(12, 400)
        metric = KVD()
        assert np.isnan(metric(real, real=True)) and np.isnan(metric(fake[:1], real=False))
        assert metric(fake[1:], real=False) == metric.compute()


class Gap(SetMetric):
    """A set metric of another package: how far the means are apart."""

    card = MetricCard("gap", "Gap", False, (0.0, None), "set", "means", "all else", "none")

    def needs(self, protocol: Protocol) -> FeatureSpec:
        return FeatureSpec("mean", "level", ())

    def distance(self, fake: np.ndarray, real: np.ndarray, protocol: Protocol) -> Distance:
        return Distance(float(np.abs(fake.mean(axis=0) - real.mean(axis=0)).sum()), n_fake=len(fake), n_real=len(real))


def test_set_metrics_of_other_packages_accumulate_too() -> None:
    fake, real = sets()
    gap = filled(RowsAccumulator(Gap(), 6), fake, real[:60])
    assert gap.compute() == pytest.approx(np.abs(fake.mean(axis=0) - real[:60].mean(axis=0)).sum(), rel=1e-6)
    gap.update(real[60:], real=True)
    with pytest.raises(MetricError, match="60 generated and 65 real"):
        gap.compute()


def test_what_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(UsageError, match="Give `weights`, the i3d checkpoint"):
        FVD().update(torch.zeros(1, 9, 8, 8, 3, dtype=torch.uint8), real=True)
    for wrong, message in (
        (torch.zeros(1, 9, 4, 8, 8), r"video 0 of the batch has float32 \(9, 4, 8, 8\)"),
        (torch.zeros(1, 9, 8, 8, 3, dtype=torch.int16), "has int16"),
        (torch.full((1, 9, 3, 8, 8), 200.0), r"in \[0, 1\]; video 0 of the batch has 200"),
        (torch.zeros(9, 3, 8, 8), "five axes"),
    ):
        with pytest.raises(UsageError, match=message):
            FVD(encoder=MeanEncoder()).update(wrong, real=True)
    with pytest.raises(UsageError, match="2 clips of frames, but 3 of fps"):
        FVD(encoder=MeanEncoder()).update(torch.zeros(2, 9, 3, 8, 8), real=True, fps=[24, 25, 30])
    for sound, message in (
        (torch.zeros(1, 1, 100, dtype=torch.int16), "has int16"),
        (torch.zeros(1, 1, 0), "sound 0 of the batch has none"),
        (torch.zeros(100), "three axes"),
    ):
        with pytest.raises(UsageError, match=message):
            FAD(encoder=MeanEncoder()).update(sound, real=True)
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
            from javisbench.metrics.accumulators import FrechetAccumulator, KVD

            rank, meeting = int(sys.argv[1]), sys.argv[2]
            torch.set_num_threads(1)
            dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
            rng = np.random.default_rng(0)
            fake, real = 1.3 * rng.normal(size=(40, 400)) + 0.2, rng.normal(size=(30, 400))
            for whole, part in ((FrechetAccumulator(400), FrechetAccumulator(400)), (KVD(), KVD())):
                whole.update(fake, real=False)
                whole.update(real, real=True)
                # Unequal shares, and a side that one process has not seen.
                part.update(fake[:13] if rank else fake[13:], real=False)
                if rank:
                    part.update(real, real=True)
                for _ in range(2):
                    total = part.sync()
                    assert (total.count(real=False), total.count(real=True)) == (40, 30)
                    # 40 rows of width 400: small directions are known to the root of rounding only.
                    np.testing.assert_allclose(total.compute(), whole.compute(), rtol=1e-6)
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


def test_without_torchmetrics_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    monkeypatch.delitem(sys.modules, "javisbench.metrics.for_torchmetrics", raising=False)
    with pytest.raises(UsageError, match=r"javisbench\[torchmetrics\]"):
        import javisbench.metrics.for_torchmetrics  # noqa: F401
