"""Frame rate conversion: positions in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.metrics.encoders.preprocessing.frame_rate import due_positions, shown_frames


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1000, 12800, 15360, 30000, 90000, 10**6]), st.sampled_from([4, 25]))
def test_positions_round_halves_up_in_exact_numbers(ticks: int, per_second: int, fps: int) -> None:
    exact = (Fraction(ticks, per_second) * fps + Fraction(1, 2)).__floor__()
    assert due_positions(np.array([ticks / per_second]), fps).tolist() == [exact]
    assert due_positions(np.array([ticks * (1 / per_second)]), fps).tolist() == [exact]


def test_the_last_frame_due_is_shown() -> None:
    due = due_positions(np.array([0.0, 0.1, 0.2, 1.0, 0.9]), 4)
    assert due.tolist() == [0, 0, 1, 4, 4]
    assert shown_frames(due, np.arange(6)).tolist() == [1, 2, 2, 2, 4, 4]
