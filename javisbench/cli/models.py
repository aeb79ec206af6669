"""``javisbench models``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from javisbench.cli import names, options, output
from javisbench.errors import JavisbenchError, UsageError

if TYPE_CHECKING:
    from javisbench.clip import ClipSpec

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
    names = set(GENERATORS)
    facts = [
        {**_brief(name, card), "runs_here": "run" in card or name.split("-v")[0] in names}
        for name, card in cards.items()
    ]
    if as_json:
        output.json_document(facts)
        return 0
    from rich.table import Table

    table = Table(box=None)
    columns = ("id", "title", "family", "parameters", "licence", "status")
    for heading in ("id", "model", "family", "parameters", "weights' licence", "status"):
        table.add_column(heading, overflow="fold")
    for fact in facts:
        table.add_row(*(str(fact[column] or "") for column in columns))
    output.console().print(table)
    return 0


def _brief(name: str, card: dict[str, Any]) -> dict[str, Any]:
    licences, parameters = card.get("licences", {}), card.get("parameters")
    return {
        "id": name,
        "title": card.get("title", name),
        "family": card.get("family"),
        # Programs and scenes have a table of -M parameters under that name, and no weights.
        "parameters": parameters if isinstance(parameters, int) else None,
        "run": card.get("run"),
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
    from javisbench.cards import read_cards, suite_cards
    from javisbench.clip import ClipSpec
    from javisbench.registry import did_you_mean

    cards = read_cards("models")
    card_suite = suite_cards().get(suite.partition(":")[0])
    setting = (card_suite.setting if card_suite else None) or ClipSpec()
    spec = _spec(model, cards.get(model, {}))
    plan, card_id = _plan(spec, params, setting, cards) if spec else (None, model)
    if card_id not in cards and plan is None:
        raise UsageError(
            f"There is no model {model!r}.{did_you_mean(model, cards)} `javisbench models list` shows all."
        )
    facts: dict[str, Any] = {**cards.get(card_id, {"id": card_id}), "plan": plan}
    if as_json:
        output.json_document(facts, default=str)
        return 0
    _print(facts)
    return 0


def _spec(model: str, card: dict[str, Any]) -> str | None:
    """What can be given to ``--model`` and planned: the name itself, or the pipeline that its card names."""
    from javisbench.baselines.registry import GENERATORS

    if model.partition(":")[0] in (*GENERATORS, "python"):
        return model
    told = str(card.get("run", "")).partition(" ")[0].rstrip(",")
    return told if told.startswith("diffusers:") else None


def _plan(
    spec: str, params: tuple[str, ...], setting: ClipSpec, cards: dict[str, Any]
) -> tuple[dict[str, Any] | None, str]:
    from javisbench.baselines.registry import create_generator

    generator = create_generator(spec, options.parse_pairs("-M", params))
    try:
        plan = generator.plan(setting)
    except JavisbenchError as error:
        return {"refused": error.message}, generator.card_id
    parts = [stage.generator.card_id for stage in getattr(generator, "stages", ())] or [generator.card_id]
    used = [cards[part] for part in parts if part in cards]
    facts: dict[str, Any] = {
        "size": f"{plan.width}x{plan.height} pixels",
        "frames": f"{plan.frames} at {plan.fps} fps ({plan.frames / float(plan.fps):.2f} s)" if plan.frames else "none",
        "audio": f"{plan.audio_samples} samples at {plan.sample_rate} Hz, {plan.channels} channel(s)"
        if plan.audio_samples
        else "none",
        "differs": list(plan.notes) or ["nothing: as the suite asks"],
        "downloads": [line for card in used for line in _downloads(card)],
        "memory_and_time": [f"{card['title']}: {line}" for card in used for line in _needs(card)],
        "parameters": dict(generator.resolved()),
    }
    if not generator.needs_text:
        facts["suites"] = "without prompts alone (landscape, aist++)"
    return facts, generator.card_id


def _downloads(card: dict[str, Any]) -> list[str]:
    """Every file of a card with its source, size and licence, and whether it is on this machine (registry alone)."""
    from javisbench.cards import read_cards
    from javisbench.errors import MissingWeightsError
    from javisbench.weights import WeightStore

    store, weights, lines = WeightStore(), read_cards("weights"), []
    for file in card.get("files", ()):
        if "entry" not in file:
            lines.append(f"{file['component']}: {file['source']}, {file['size']}, licence {file['licence']}")
            continue
        entry = store.entry(file["entry"])
        known, guessed = entry.total_bytes, weights[entry.id].get("estimated_bytes")
        size = _gigabytes(known) if known else f"about {_gigabytes(guessed)}" if guessed else "size not recorded"
        try:
            place = f"here: {store.find(entry.id)}"
        except MissingWeightsError:
            place = f"not here: {entry.fetch_command}"
        lines.append(f"{file['component']}: {entry.source}, {size}, licence {entry.licence}; {place}")
    return lines


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


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
            output.line(f"{pad}{key}: {value}")
