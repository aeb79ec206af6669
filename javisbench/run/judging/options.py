"""Where a judge is asked, and what that may cost. Nothing here changes a number."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeAlias

from javisbench.errors import UsageError

Price: TypeAlias = tuple[float, float]
URL_VARIABLE = "JAVISBENCH_JUDGE_URL"
KEY_VARIABLE = "JAVISBENCH_JUDGE_KEY"
LOCAL = "transformers:"


@dataclass(frozen=True)
class JudgeOptions:
    """How judges are asked.

    Attributes:
        url: of an OpenAI-compatible endpoint, up to ``/v1``; or ``transformers:FOLDER``; None for
            ``$JAVISBENCH_JUDGE_URL``. The endpoint's key is ``$JAVISBENCH_JUDGE_KEY``.
        alias: what the endpoint calls the model, where that is not the name of the question set.
        parallel: requests at once.
        rate: most requests a minute; None for any.
        budget: US dollars that this command may spend; None for any.
        price: US dollars for a million tokens sent and for a million answered; None for the question set's.
        timeout_s: seconds that one answer may take.
        ask: False to ask nothing: what was answered before counts, and the rest has no value.
    """

    url: str | None = None
    alias: str | None = None
    parallel: int = 4
    rate: float | None = None
    budget: float | None = None
    price: Price | None = None
    timeout_s: float = 120.0
    ask: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.parallel <= 256 or not 0 < self.timeout_s <= 86_400:
            raise UsageError("A judge is asked 1 to 256 questions at once, each for up to a day.")
        if self.rate is not None and not 0 < self.rate <= 1e6:
            raise UsageError(f"The rate of requests is above 0 a minute; got {self.rate:g}.")
        if self.budget is not None and not 0 <= self.budget <= 1e9:
            raise UsageError(f"The budget is US dollars from 0; got {self.budget:g}.")
        if self.price is not None and not all(0 <= amount <= 1e6 for amount in self.price):
            raise UsageError("Prices are US dollars for a million tokens, from 0.")

    @property
    def place(self) -> str | None:
        """Where the judge is; None where nobody said."""
        return self.url or os.environ.get(URL_VARIABLE, "").strip() or None


def dollars(amount: float) -> str:
    """US dollars, with parts of a cent where there is less than one dollar."""
    return f"{amount:,.2f} US dollars" if amount >= 1 or amount == 0 else f"{amount:.4f} US dollars"


def parse_price(text: str | None) -> Price | None:
    """``IN,OUT`` as numbers.

    Raises:
        UsageError: it is something else.
    """
    if text is None:
        return None
    try:
        sent, answered = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--judge-price takes IN,OUT in US dollars for a million tokens; got {text!r}.") from None
    return sent, answered
