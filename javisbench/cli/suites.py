"""``javisbench suites``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from javisbench.cli import options, output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from javisbench.cards import SuiteCard
    from javisbench.suite import Suite
    from javisbench.tasks import TaskFacts


@click.group("suites")
def command() -> None:
    """List, show and validate suites."""


@command.command("list")
@options.json_option
def list_(as_json: bool) -> int:
    """List the known suites."""
    from javisbench.suite import known_suites, suite_notices

    suites = known_suites()
    for notice in suite_notices():
        output.line(notice, err=True)
    if as_json:
        output.json_document(suites)
        return 0
    width = max(map(len, suites))
    for name, title in sorted(suites.items()):
        output.line(f"{name:<{width}}  {title}")
    return 0


@command.command("show")
@options.suite_argument
@options.slice_by_option
@options.allow_outside_option
@options.json_option
def show(suite: str, slice_by: tuple[str, ...], allow_outside: bool, as_json: bool) -> int:
    """Show a SUITE's setting and how many samples each category has."""
    from javisbench.cards import suite_cards
    from javisbench.suite import load_suite

    card = suite_cards().get(suite.partition(":")[0])
    if card is not None and not as_json:
        _show_card(card)
    # Without the data of a published suite, its card has been shown, and the error tells how they are fetched.
    loaded = load_suite(suite, allow_outside=allow_outside).sliced_by(slice_by)
    facts = _facts(loaded)
    if as_json:
        reports = () if card is None else card.reports
        told = {"reports": [dataclasses.asdict(report) for report in reports]} if reports else {}
        output.json_document({**facts, **told})
        return 0
    output.line(f"{loaded.name}: {loaded.total} sample{'s' * (loaded.total != 1)} from {loaded.source}")
    if card is None and loaded.task != "t2av":
        output.line(_task(loaded.task_facts))
    output.line(_asked(loaded))
    _show_counts(loaded, facts["categories"])
    for notice in loaded.notices():
        output.line(notice)
    for sample in loaded.samples[:3]:
        output.line(f"  {sample.id}: {sample.text[:100]}")
    return 0


def _show_card(card: SuiteCard) -> None:
    from javisbench.tasks import TASKS

    output.document(f"{card.title}\n" + (f"{card.notes}\n" if card.notes else ""))
    if card.source:
        output.line(f"layout as in {card.source}" + (f" at {card.revision}" if card.revision else ""))
    if card.task != "t2av":
        output.line(_task(TASKS[card.task]))
    for line in _reported(card):
        output.line(line)


def _reported(card: SuiteCard) -> Iterator[str]:
    """What the suite's paper reports: computed here, and lacking."""
    computed = [f"{r.name} ({r.metric})" for r in card.reports if r.metric]
    lacking = [r.name for r in card.reports if not r.metric]
    if computed:
        yield f"its paper reports, and {card.protocol} computes: {', '.join(computed)}"
    if lacking:
        yield f"its paper reports, and javisbench lacks: {', '.join(lacking)}"


def _facts(suite: Suite) -> dict[str, Any]:
    setting = suite.setting
    counts: dict[str, dict[str, int]] = {}
    for (aspect, category), rows in suite.slices().items():
        counts.setdefault(aspect, {})[category] = len(rows)
    return {
        "name": suite.name,
        "source": suite.source,
        "hash": suite.hash,
        "samples": suite.total,
        "task": suite.task,
        "given": suite.task_facts.condition,
        "unconditional": suite.unconditional,
        "setting": setting
        and {
            "width": setting.width,
            "height": setting.height,
            "fps": str(setting.fps),
            "duration_s": setting.duration_s,
            "sample_rate": setting.sample_rate,
        },
        "categories": counts,
        "columns": {name: column.distinct for name, column in suite.columns.items()},
        "warnings": list(suite.warnings),
    }


def _task(facts: TaskFacts) -> str:
    makes = "picture and sound" if facts.makes_both else "the picture" if facts.makes_picture else "the sound"
    return f"task {facts.id}, {facts.title}: each row gives its column {facts.condition}, the model makes {makes}"


def _asked(suite: Suite) -> str:
    setting = suite.setting
    if setting is None:
        return "states no size, rates or length"
    return (
        f"asks for {setting.width}x{setting.height} pixels, {setting.fps} fps, {setting.duration_s} s, "
        f"{setting.sample_rate} Hz"
    )


def _show_counts(suite: Suite, counts: dict[str, dict[str, int]]) -> None:
    for aspect in suite.aspects:
        shown = (f"{category.title} {counts[aspect.id][category.id]}" for category in aspect.categories)
        output.line(f"{aspect.title}: {', '.join(shown)}")


@command.command("validate")
@options.suite_argument
@options.slice_by_option
@options.allow_outside_option
@options.json_option
def validate(suite: str, slice_by: tuple[str, ...], allow_outside: bool, as_json: bool) -> int:
    """Check every row of a SUITE; name each bad one by file, row, column and reason. Exit code 2 if there are any.

    What it gives to models is opened and read: pictures and sounds whole, of videos the headers. What is read but may
    not be meant, and columns that are not used, are told as well.
    """
    from javisbench.run.given import given_problems
    from javisbench.suite import read_suite

    loaded, problems = read_suite(suite, allow_outside=allow_outside)
    if loaded is not None:
        problems = given_problems(loaded)
        loaded = None if problems else loaded.sliced_by(slice_by)
    if as_json:
        rows = [{"file": p.file, "row": p.row, "column": p.column, "reason": p.reason} for p in problems]
        told = {"valid": loaded is not None, "problems": rows}
        if loaded is not None:
            told |= {"samples": loaded.total, "warnings": list(loaded.notices())}
        output.json_document(told)
    elif loaded is None:
        for problem in problems:
            output.line(str(problem))
        output.line("1 problem." if len(problems) == 1 else f"{len(problems):,} problems.")
    else:
        _show_valid(loaded)
    return 0 if loaded is not None else 2


def _show_valid(suite: Suite) -> None:
    notices = suite.notices()
    told = {0: ".", 1: "; 1 warning:"}.get(len(notices), f"; {len(notices)} warnings:")
    output.line(f"{suite.name}: {suite.total} sample{'s' * (suite.total != 1)}, no problem{told}")
    for notice in notices:
        output.line(f"  {notice}")
