"""``javisbench models``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from javisbench.cli import names, options, output
from javisbench.errors import JavisbenchError

if TYPE_CHECKING:
    from javisbench.baselines.base import Default, Generator
    from javisbench.clip import ClipSpec
    from javisbench.run.dry_run import Download

_LONGEST_DEFAULT = 80

_WAYS = ("cascade", "checkout", "command", "diffusers", "hosted")
"""Cards of ways to name a model, which have no plan without one."""
EPILOG = """\b
Examples:
  javisbench models list
  javisbench models show javisdit
  javisbench models show cascade:t2v=wan2.1-1.3b,v2a=mmaudio --suite demo
"""


@click.group("models", epilog=EPILOG)
def command() -> None:
    """List and show generators."""


@command.command("list")
@options.json_option
def list_(as_json: bool) -> int:
    """List the model cards: what can be run here, and what is only known from papers."""
    from javisbench.baselines.registry import GENERATORS
    from javisbench.cards import card_problems, read_cards

    cards = read_cards("models")
    for notice in (*card_problems("models"), *GENERATORS.notices()):
        output.line(notice, err=True)
    facts = [_brief(name, card) for name, card in cards.items()]
    if as_json:
        output.json_document(facts)
        return 0
    from rich.table import Table

    table = Table(box=None)
    for heading in ("id", "model", "family", "parameters", "weights' licence", "status", "how to run, or why not"):
        table.add_column(heading, overflow="fold")
    for fact in facts:
        told = fact["how_to_run"] or f"no: {fact['why_not']}"
        columns = ("id", "title", "family", "parameters", "licence", "status")
        table.add_row(*(str(fact[column] or "") for column in columns), told)
    output.console().print(table)
    return 0


def _brief(name: str, card: dict[str, Any]) -> dict[str, Any]:
    from javisbench.baselines.model_cards import how_to_run, tasks, why_not

    licences, parameters = card.get("licences", {}), card.get("parameters")
    return {
        "id": name,
        "title": card.get("title", name),
        "family": card.get("family"),
        # Programs and scenes have a table of -M parameters under that name, and no weights.
        "parameters": parameters if isinstance(parameters, int) else None,
        "run": card.get("run"),
        "runs_here": "run" in card,
        "how_to_run": how_to_run(name, card),
        "why_not": None if "run" in card else why_not(card),
        "tasks": list(tasks(card)),
        "licence": licences.get("weights") if isinstance(licences, dict) else None,
        "status": card.get("status"),
    }


@command.command("show")
@click.argument("model", shell_complete=names.completer(names.models))
@click.option("-M", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the model; repeatable.")
@options.suite_option
@options.json_option
def show(model: str, params: tuple[str, ...], suite: str, as_json: bool) -> int:
    """Show a MODEL's card and its plan: native size, frames, rate, downloads, and what differs from the suite."""
    from javisbench.baselines.model_cards import how_to_run, why_not
    from javisbench.cards import read_cards, suite_cards
    from javisbench.clip import ClipSpec

    cards = read_cards("models")
    card_suite = suite_cards().get(suite.partition(":")[0])
    setting = (card_suite.setting if card_suite else None) or ClipSpec()
    plan, card_id = _plan(model, params, setting, cards) if _runs(model, cards) else (None, model)
    card = cards.get(model, cards.get(card_id, {"id": card_id}))
    if model in cards:
        told = {"how_to_run": how_to_run(model, card)} if "run" in card else {"why_not": why_not(card)}
        card = {**card, **told}
    facts: dict[str, Any] = {**card, "plan": plan}
    if as_json:
        output.json_document(facts, default=str)
        return 0
    # How a checkout or a service is driven is for --json; what can be set stands in the plan.
    _print({name: fact for name, fact in facts.items() if name not in ("run", "example", "recipe", "service")})
    return 0


def _runs(model: str, cards: dict[str, Any]) -> bool:
    """Whether there is a plan to show: not for cards that cannot be run, nor for the ways to name a model."""
    if model in cards and "run" not in cards[model]:
        return False
    return not (model in cards and model in _WAYS)


def _plan(
    spec: str, params: tuple[str, ...], setting: ClipSpec, cards: dict[str, Any]
) -> tuple[dict[str, Any] | None, str]:
    from javisbench.baselines.registry import create_generator
    from javisbench.run.dry_run import cards_of, downloads
    from javisbench.tasks import TASKS
    from javisbench.weights import WeightStore

    generator = create_generator(spec, options.parse_pairs("-M", params))
    try:
        plan = generator.plan(setting)
    except JavisbenchError as error:
        return {"refused": error.message}, generator.card_id
    used = cards_of(generator)
    facts: dict[str, Any] = {
        "size": f"{plan.width}x{plan.height} pixels",
        "frames": f"{plan.frames} at {plan.fps} fps ({plan.frames / float(plan.fps):.2f} s)" if plan.frames else "none",
        "audio": f"{plan.audio_samples} samples at {plan.sample_rate} Hz, {plan.channels} channel(s)"
        if plan.audio_samples
        else "none",
        "differs": list(plan.notes) or ["nothing: as the suite asks"],
        "downloads": [_download_line(file) for file in downloads(generator, WeightStore())],
        "memory_and_time": [f"{card['title']}: {line}" for card in used for line in _needs(card)],
        "tasks": [f"{task} ({told.title})" for task, told in TASKS.items() if task in generator.tasks],
        "parameters": dict(generator.resolved()),
        "defaults": {name: f"{_told(default.value)} ({default.source})" for name, default in _defaults(generator)},
    }
    if not generator.needs_text:
        facts["suites"] = "without prompts alone (landscape, aist++)"
    return facts, generator.card_id


def _defaults(generator: Generator) -> list[tuple[str, Default]]:
    """What the model does by itself, by parameter, in the order of its call; of a cascade stage by stage."""
    stages = getattr(generator, "stages", ())
    if stages:
        return [(f"{s.role}.{name}", found) for s in stages for name, found in s.generator.defaults().items()]
    return list(generator.defaults().items())


def _told(value: Any) -> str:
    text = "none" if value in (None, "") else str(value)
    return text if len(text) <= _LONGEST_DEFAULT else f"{text[: _LONGEST_DEFAULT - 1]}…"


def _download_line(file: Download) -> str:
    place = f"here: {file.here}" if file.here else f"not here: {file.fetch}" if file.fetch else ""
    return f"{file.part}: {file.source}, {file.size}, licence {file.licence}{place and '; '}{place}"


def _needs(card: dict[str, Any]) -> list[str]:
    """What the card says of memory and time; each line names where its number comes from."""
    return [f"{name.replace('_', ' ')}: {told}" for name, told in card.get("memory", {}).items()]


def _print(facts: Any, indent: int = 0) -> None:
    pad = "  " * indent
    for key, value in facts.items():
        if value in (None, "", [], {}):
            continue
        if isinstance(value, dict):
            output.line(f"{pad}{key}:")
            _print(value, indent + 1)
        elif isinstance(value, list):
            output.line(f"{pad}{key}:")
            for entry in value:
                text = "; ".join(f"{k}: {v}" for k, v in entry.items()) if isinstance(entry, dict) else str(entry)
                output.line(f"{pad}  - {text}")
        else:
            output.line(f"{pad}{key}: {str(value).rstrip()}")  # texts of several lines end with one
