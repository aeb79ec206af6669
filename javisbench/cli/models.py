"""``javisbench models``."""

from __future__ import annotations

import json
from typing import Any

import click

from javisbench.cli import options
from javisbench.errors import JavisbenchError, UsageError

EPILOG = """\b
Examples:
  javisbench models list
  javisbench models show javisdit
"""


@click.group("models", epilog=EPILOG)
def command() -> None:
    """List and show generators."""


@command.command("list")
@options.json_option
def list_(as_json: bool) -> int:
    """List the model cards: what can be run here, and what is only known from papers."""
    from javisbench.baselines.registry import GENERATORS
    from javisbench.cards import read_cards

    cards = read_cards("models")
    runnable = set(GENERATORS)
    facts = [{**_brief(name, card), "runs_here": name.split("-v")[0] in runnable} for name, card in cards.items()]
    if as_json:
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for heading in ("id", "model", "family", "parameters", "weights' licence", "status"):
        table.add_column(heading, overflow="fold")
    for fact in facts:
        table.add_row(*(str(fact[k] or "") for k in ("id", "title", "family", "parameters", "licence", "status")))
    Console(highlight=False).print(table)
    return 0


def _brief(name: str, card: dict[str, Any]) -> dict[str, Any]:
    licences = card.get("licences", {})
    return {
        "id": name,
        "title": card.get("title", name),
        "family": card.get("family"),
        "parameters": card.get("parameters"),
        "licence": licences.get("weights") if isinstance(licences, dict) else None,
        "status": card.get("status"),
    }


@command.command("show")
@click.argument("model")
@click.option("-M", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the model; repeatable.")
@options.suite_option
@options.json_option
def show(model: str, params: tuple[str, ...], suite: str, as_json: bool) -> int:
    """Show a MODEL's card and its plan: native size, frames, rate, downloads, and what differs from the suite."""
    from javisbench.cards import read_cards, suite_cards
    from javisbench.clip import ClipSpec
    from javisbench.registry import did_you_mean

    cards = read_cards("models")
    card_suite = suite_cards().get(suite)
    setting = card_suite.setting if card_suite else ClipSpec()
    plan, card_id = _plan(model, params, setting) if model not in cards or _runs(model) else (None, model)
    if card_id not in cards and plan is None:
        raise UsageError(
            f"There is no model {model!r}.{did_you_mean(model, cards)} `javisbench models list` shows all."
        )
    facts: dict[str, Any] = {**cards.get(card_id, {"id": card_id}), "plan": plan}
    if as_json:
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False, default=str))
        return 0
    _print(facts)
    return 0


def _runs(model: str) -> bool:
    from javisbench.baselines.registry import GENERATORS

    return model.partition(":")[0] in GENERATORS


def _plan(model: str, params: tuple[str, ...], setting: Any) -> tuple[dict[str, Any] | None, str]:
    from javisbench.baselines.registry import create_generator

    generator = create_generator(model, options.parse_pairs("-M", params))
    try:
        plan = generator.plan(setting)
    except JavisbenchError as error:
        return {"refused": error.message}, generator.card_id
    facts: dict[str, Any] = {
        "size": f"{plan.width}x{plan.height} pixels",
        "frames": f"{plan.frames} at {plan.fps} fps ({plan.frames / float(plan.fps):.2f} s)" if plan.frames else "none",
        "audio": f"{plan.audio_samples} samples at {plan.sample_rate} Hz, {plan.channels} channel(s)",
        "differs": list(plan.notes),
        "parameters": dict(generator.resolved()),
    }
    return facts, generator.card_id


def _print(facts: Any, indent: int = 0) -> None:
    pad = "  " * indent
    for key, value in facts.items():
        if value in (None, "", [], {}):
            continue
        if isinstance(value, dict):
            click.echo(f"{pad}{key}:")
            _print(value, indent + 1)
        elif isinstance(value, list):
            click.echo(f"{pad}{key}:")
            for entry in value:
                text = "; ".join(f"{k}: {v}" for k, v in entry.items()) if isinstance(entry, dict) else str(entry)
                click.echo(f"{pad}  - {text}")
        else:
            click.echo(f"{pad}{key}: {value}")
