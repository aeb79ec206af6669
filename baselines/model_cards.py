"""What the model cards say of running: a card's id is a name for ``--model``, and every card that has none says why.

A card's ``run`` is the specification that its id stands for. ``example`` is the whole of what is typed behind
``--model`` where the id alone does not do (a stage of a cascade, options that must be given). ``why_not`` takes the
place of both where nothing can be run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from javisbench.cards import read_cards
from javisbench.errors import UsageError
from javisbench.tasks import TASKS, Task

# A sound from text alone is a stage of cascades, and no clip of any suite.
_TASKS_OF: Mapping[str, tuple[Task, ...]] = {"v2a": ("v2a",), "a2v": ("a2v",), "t2a": ()}


def aliases() -> dict[str, str]:
    """Ids of cards to the specifications that they stand for."""
    return {name: str(card["run"]) for name, card in read_cards("models").items() if "run" in card}


def specification(spec: str) -> str:
    """`spec` with a card's id replaced by what it stands for: ``mmaudio:small_16k`` keeps its variant.

    Raises:
        UsageError: the card says that the model cannot be run, and why.
    """
    cards = read_cards("models")
    name, colon, variant = (spec, "", "") if spec in cards else spec.partition(":")
    card = cards.get(name)
    if card is None:
        return spec
    if "run" not in card:
        raise UsageError(f"{card.get('title', name)} cannot be run: {why_not(card)}")
    run = str(card["run"])
    return f"{run}{colon}{variant}" if variant else run


def how_to_run(name: str, card: Mapping[str, Any]) -> str | None:
    """What is typed behind ``javisbench eval``: ``--model ID ...``; None where nothing can be run."""
    if "run" not in card:
        return None
    return f"--model {card.get('example', name)}"


def why_not(card: Mapping[str, Any]) -> str:
    """Why the model cannot be run here."""
    return str(card.get("why_not") or card.get("status_note") or "nothing is known of its code.")


def tasks(card: Mapping[str, Any]) -> tuple[Task, ...]:
    """The tasks that a card's model takes: those it names, else its family's."""
    named = card.get("tasks")
    if named is not None:
        return tuple(task for task in TASKS if task in named)
    return _TASKS_OF.get(str(card.get("family")), ("t2av",))
