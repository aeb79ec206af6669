"""FID over frames: pytorch-fid's distance, and statistics that count clips."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from javisbench.errors import MetricError
from javisbench.metrics.distance import distance_error
from javisbench.metrics.distances import frechet, frechet_distance
from javisbench.metrics.fid import FIDMetric
from javisbench.metrics.registry import METRICS
from javisbench.protocol import AIST_LANDSCAPE, V1, V2, parse_protocol
from javisbench.run.plan import select_metrics

WHOLE = {"overall": np.arange(11)}


def test_equals_pytorch_fid(golden_npz: Callable[[str], dict[str, np.ndarray]]) -> None:
    stored = golden_npz("fid/fid")
    cell = FIDMetric().compute(stored["fake"], stored["real"], WHOLE, V1)["overall"]
    # pytorch-fid takes a matrix square root of a product of covariances whose eigenvalues span six decades.
    assert cell.value == pytest.approx(float(stored["fid"]), rel=1e-6)
    assert (cell.n, cell.status, cell.ci_low) == (11, "biased", None)
    assert cell.note == "n = 11 is below 2d = 32: biased upward"


def test_is_the_distance_of_all_frames() -> None:
    rng = np.random.default_rng(0)
    fake, real = rng.normal(size=(2, 30, 4, 3))
    part = np.arange(5, 20)
    found = FIDMetric().compute(fake, real, {"overall": np.arange(30), "part": part, "one": np.arange(1)}, V1)
    assert found["overall"].value == pytest.approx(
        frechet_distance(fake.reshape(-1, 3), real.reshape(-1, 3)), rel=1e-12
    )
    expected = frechet_distance(fake[part].reshape(-1, 3), real[part].reshape(-1, 3))
    assert found["part"].value == pytest.approx(expected, rel=1e-12)
    assert found["one"].value is None and found["one"].status == "small_n"


def test_influence_of_a_clip_is_what_leaving_it_out_changes() -> None:
    rng = np.random.default_rng(1)
    fake = rng.normal(size=(2000, 1, 3)) + 0.3 * rng.normal(size=(2000, 4, 3)) + 0.2
    real = rng.normal(size=(2000, 4, 3))
    found = frechet(fake, real)
    assert found.influences_fake is not None and found.influences_fake.shape == (2000,)
    assert found.influences_fake.sum() == pytest.approx(0, abs=1e-9)
    for i in (0, 7, 1999):
        left_out = 1999 * (found.value - frechet_distance(np.delete(fake, i, axis=0), real))
        assert left_out == pytest.approx(found.influences_fake[i], abs=0.02 * found.influences_fake.std())


def test_more_frames_of_the_same_picture_make_no_interval_narrower() -> None:
    rng = np.random.default_rng(2)
    fake, real = 1.2 * rng.normal(size=(60, 1, 3)) + 0.3, rng.normal(size=(60, 1, 3))
    one = distance_error(frechet(fake, real))
    eight = distance_error(frechet(np.repeat(fake, 8, axis=1), np.repeat(real, 8, axis=1)))
    assert one is not None and eight is not None
    # The covariance is divided by n - 1 rows: 59 or 479.
    assert eight[0] == pytest.approx(one[0], rel=0.03) and eight[1] == one[1] == 59


def test_is_computed_when_asked_for_and_has_a_setting() -> None:
    assert METRICS.get("fid") is FIDMetric
    for protocol in (V1, V2, AIST_LANDSCAPE):
        assert "fid" not in select_metrics(None, protocol) and select_metrics(["fid"], protocol) == ["fid"]
    needs = FIDMetric().needs
    assert needs(V1).settings == {"frames": 4, "video_span": "whole_clip"}
    span = {"frames": 4, "video_span": "audio_span", "max_audio_len_s": 4.0}
    assert needs(V2).settings == {**span, "frame_times": "shown"}
    assert needs(parse_protocol("javisbench-v1+fid_frames=9")).settings["frames"] == 9


def test_nan_features_are_refused() -> None:
    fake = np.ones((5, 2, 3))
    fake[3, 1, 0] = np.nan
    with pytest.raises(MetricError, match="row 3"):
        FIDMetric().compute(fake, np.ones((5, 2, 3)), {"overall": np.arange(5)}, V1)
