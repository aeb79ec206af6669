"""Cells of a per-sample metric: what they are over, and what they do not depend on."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.matching import Item
from javisbench.results.cell import Cell
from javisbench.results.summary import by_id, sample_cells
from javisbench.stats import slice_means
from javisbench.suite import Sample, Suite

PROMPTS, REPEATS = 12, 2
CATEGORIES = ("natural_scenario", "urban_scenario")


def items_of(order: list[int]) -> list[Item]:
    """Every repeat of every prompt; `order` says in which row of the suite a prompt stands."""
    samples = [
        # Names whose order is neither that of the rows nor that of the numbers in them.
        Sample(f"s{7 * i % PROMPTS}", row, "text", categories={"event_scenario": (CATEGORIES[i % 2],)})
        for row, i in enumerate(order)
    ]
    return [Item(sample, repeat, None) for sample in samples for repeat in range(REPEATS)]


def cells(order: list[int], rows: list[int] | None = None) -> dict[str, Cell]:
    """Cells of scores that belong to the prompts, one of them missing."""
    items = items_of(order)
    items = items if rows is None else [items[i] for i in rows]
    scores = dict(
        zip(sorted(f"s{i}" for i in range(PROMPTS)), np.random.default_rng(3).exponential(size=PROMPTS), strict=True)
    )
    values = np.array([scores[item.sample.id] * (1 + 0.1 * item.repeat) for item in items])
    values[[item.sample.id == "s4" and item.repeat == 1 for item in items]] = np.nan
    samples = tuple({item.sample.id: item.sample for item in items_of(order)}.values())
    suite = Suite("own", samples, None, False, "0" * 64, "test", PROMPTS)
    return sample_cells(values, suite, items, seed=5)


@given(st.permutations(range(PROMPTS)), st.permutations(range(PROMPTS * REPEATS)))
@settings(max_examples=15)
def test_cells_do_not_depend_on_the_order_of_a_suite(order: list[int], rows: list[int]) -> None:
    assert cells(order, rows) == cells(list(range(PROMPTS)))


def test_cells_are_those_of_the_bootstrap_over_prompts() -> None:
    items = items_of(list(range(PROMPTS)))
    order = by_id(items)
    assert [(items[i].sample.id, items[i].repeat) for i in order] == sorted((i.sample.id, i.repeat) for i in items)
    found = cells(list(range(PROMPTS)))
    scores = np.random.default_rng(3).exponential(size=PROMPTS)
    values = np.array([scores[k // 2] * (1 + 0.1 * (k % 2)) for k in range(2 * PROMPTS)])
    ids = np.repeat(sorted(f"s{i}" for i in range(PROMPTS)), 2)
    kept = ~((ids == "s4") & (np.arange(2 * PROMPTS) % 2 == 1))
    whole = {"overall": np.arange(kept.sum())}
    expected = slice_means(values[kept], np.repeat(np.arange(PROMPTS), 2)[kept], whole, seed=5)["overall"]
    assert found["overall"] == Cell.of(expected) and found["overall"].n == 2 * PROMPTS - 1


def test_a_category_without_a_value_says_so() -> None:
    items = items_of(list(range(PROMPTS)))
    values = np.array([1.0 if "natural_scenario" in i.sample.categories["event_scenario"] else np.nan for i in items])
    suite = Suite("own", tuple({i.sample.id: i.sample for i in items}.values()), None, False, "0" * 64, "test", PROMPTS)
    found = sample_cells(values, suite, items, seed=0)
    assert found["event_scenario/natural_scenario"].n == PROMPTS
    assert (found["event_scenario/urban_scenario"].status, found["event_scenario/urban_scenario"].n) == ("failed", 0)
    assert found["event_scenario/urban_scenario"].note == f"none of {PROMPTS} clips has a value; see failures"


def test_a_category_without_clips_is_empty_and_not_one_that_nothing_applies_to() -> None:
    found = cells(list(range(PROMPTS)))
    assert {cell.status for name, cell in found.items() if cell.n == 0} == {"small_n"}
    assert sum(cell.n == 0 for cell in found.values()) > 3
