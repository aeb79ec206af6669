"""Names that a shell completes: suites, models, metrics, protocols, encoders. Looked up when the shell asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from click import Context, Parameter
    from click.shell_completion import CompletionItem

Completer: TypeAlias = "Callable[[Context, Parameter, str], list[CompletionItem]]"


def suites() -> Iterable[str]:
    """Known suites."""
    from javisbench.suite import known_suites

    return known_suites()


def models() -> Iterable[str]:
    """Known generators, and ids of cards that run."""
    from javisbench.baselines.model_cards import aliases
    from javisbench.baselines.registry import GENERATORS

    return dict.fromkeys((*GENERATORS, *aliases()))


def metrics() -> Iterable[str]:
    """Known metrics."""
    from javisbench.metrics.registry import METRICS

    return METRICS


def damages() -> Iterable[str]:
    """Known damages of trials."""
    from javisbench.damages import DAMAGES

    return DAMAGES


def checkable() -> Iterable[str]:
    """Known metrics and encoders."""
    from javisbench.metrics.encoders import ENCODERS
    from javisbench.metrics.registry import METRICS

    return sorted({*METRICS, *ENCODERS})


def protocols() -> Iterable[str]:
    """Known protocols."""
    from javisbench.protocol import PROTOCOLS

    return PROTOCOLS


def recipes() -> Iterable[str]:
    """Known recipes of published results."""
    from javisbench.cards import read_cards

    return read_cards("recipes")


def encoders() -> Iterable[str]:
    """Known encoders, each with its variants."""
    from javisbench.metrics.encoders import ENCODERS, encoder_card

    cards = {name: encoder_card(name) for name in ENCODERS}
    return [f"{name}={variant}" for name, card in cards.items() if card is not None for variant in card.variants]


def completer(known: Callable[[], Iterable[str]], *, listed: bool = False, files: bool = False) -> Completer:
    """What to complete an option or argument with.

    Args:
        known: the names.
        listed: several names may stand there, separated by commas.
        files: a path may stand there as well.
    """

    def complete(_: Context, __: Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        done, comma, begun = incomplete.rpartition(",") if listed else ("", "", incomplete)
        found = [CompletionItem(done + comma + name) for name in known() if name.startswith(begun)]
        # First, since bash begins its list anew at it.
        return [CompletionItem(incomplete, type="file"), *found] if files else found

    return complete
