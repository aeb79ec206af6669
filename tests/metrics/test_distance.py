"""A distance with what each sample contributes to it."""

from __future__ import annotations

import numpy as np
import pytest

from javisbench.metrics.distance import Distance, distance_error
from javisbench.metrics.distances import frechet
from javisbench.stats import standard_error


def test_no_more_than_half_of_a_variance_is_taken_off() -> None:
    influences = np.random.default_rng(0).normal(size=40)
    influences -= influences.mean()
    spread = standard_error(influences)
    assert spread is not None
    for share, left in ((0.0, 1.0), (0.3, 0.7), (0.5, 0.5), (5.0, 0.5)):
        found = distance_error(Distance(1.0, influences, None, 40, 40, 3, excess=share * spread[0] ** 2))
        assert found == (pytest.approx(spread[0] * np.sqrt(left)), spread[1])


def test_a_clip_of_several_rows_weighs_as_one() -> None:
    rng = np.random.default_rng(1)
    fake, real = rng.normal(size=(200, 3)), rng.normal(0.5, 1.5, size=(200, 3))
    one = frechet(fake, real)
    three = frechet(np.repeat(fake[:, None], 3, axis=1), np.repeat(real[:, None], 3, axis=1))
    assert one.influences_fake is not None and three.influences_fake is not None
    # The same rows three times: only the n - 1 of the covariance is another.
    assert three.value == pytest.approx(one.value, rel=0.02)
    assert np.abs(three.influences_fake - one.influences_fake).max() < 0.02 * np.abs(one.influences_fake).max()
