"""What tests of tables share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _metric_cards(fixed_cards: None) -> None:
    """Every test here is of tables and verdicts, not of cards."""
