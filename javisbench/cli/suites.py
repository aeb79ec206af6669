"""``javisbench suites``."""

from __future__ import annotations

from typing import Any

import click

from javisbench.cli import options, output


@click.group("suites")
def command() -> None:
    """List, show and validate suites."""


@command.command("list")
@options.json_option
def list_(as_json: bool) -> int:
    """List the known suites."""
    from javisbench.suite import known_suites

    suites = known_suites()
    if as_json:
        output.json_document(suites)
        return 0
    width = max(map(len, suites))
    for name, title in sorted(suites.items()):
        output.line(f"{name:<{width}}  {title}")
    return 0


@command.command("show")
@click.argument("suite")
@options.allow_outside_option
@options.json_option
def show(suite: str, allow_outside: bool, as_json: bool) -> int:
    """Show a SUITE's setting and how many samples each category has."""
    from javisbench.cards import suite_cards
    from javisbench.suite import load_suite

    loaded = load_suite(suite, allow_outside=allow_outside)
    setting = loaded.setting
    counts: dict[str, dict[str, int]] = {}
    for (aspect, category), rows in loaded.slices().items():
        counts.setdefault(aspect, {})[category] = len(rows)
    facts: dict[str, Any] = {
        "name": loaded.name,
        "source": loaded.source,
        "hash": loaded.hash,
        "samples": loaded.total,
        "unconditional": loaded.unconditional,
        "setting": {
            "width": setting.width,
            "height": setting.height,
            "fps": str(setting.fps),
            "duration_s": setting.duration_s,
            "sample_rate": setting.sample_rate,
        },
        "categories": counts,
    }
    if as_json:
        output.json_document(facts)
        return 0
    card = suite_cards().get(loaded.name)
    output.line(f"{loaded.name}: {loaded.total} samples from {loaded.source}")
    if card is not None:
        output.document(f"{card.title}\n" + (f"{card.notes}\n" if card.notes else ""))
    output.line(
        f"asks for {setting.width}x{setting.height} pixels, {setting.fps} fps, {setting.duration_s} s, "
        f"{setting.sample_rate} Hz"
    )
    _show_counts(counts)
    for sample in loaded.samples[:3]:
        output.line(f"  {sample.id}: {sample.text[:100]}")
    return 0


def _show_counts(counts: dict[str, dict[str, int]]) -> None:
    from javisbench.taxonomy import ASPECTS, category_title

    for aspect, categories in counts.items():
        output.line(f"{ASPECTS[aspect].title}: {', '.join(f'{category_title(c)} {n}' for c, n in categories.items())}")


@command.command("validate")
@click.argument("suite")
@options.allow_outside_option
@options.json_option
def validate(suite: str, allow_outside: bool, as_json: bool) -> int:
    """Check every row of a SUITE; name each bad one by file, row, column and reason. Exit code 2 if there are any."""
    from javisbench.suite import read_suite

    loaded, problems = read_suite(suite, allow_outside=allow_outside)
    if as_json:
        rows = [{"file": p.file, "row": p.row, "column": p.column, "reason": p.reason} for p in problems]
        output.json_document({"valid": loaded is not None, "problems": rows})
    elif loaded is None:
        for problem in problems:
            output.line(str(problem))
    else:
        output.line(f"{loaded.name}: {loaded.total} samples, no problem.")
    return 0 if loaded is not None else 2
