"""What a judge is to whoever asks it, and how asking it can end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from javisbench.metrics.judges.inquiry import Inquiry


@dataclass(frozen=True)
class Reply:
    """What came back for one inquiry.

    Attributes:
        text: the answer as it was given; empty for a refusal.
        refusal: why the model declines, or empty.
        finish: why it ended: ``stop``, ``length``, ``content_filter``, ...
        model: as whoever answers calls itself.
        input_tokens: of the inquiry; 0 where not told.
        output_tokens: of the answer.
    """

    text: str
    refusal: str = ""
    finish: str = "stop"
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


class AskAgainError(Exception):
    """Nobody answered, for a reason that may pass.

    Args:
        reason: in words.
        wait_s: seconds after which whoever is asked wants to be asked again; None where it did not say.
    """

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_s = wait_s


class RejectedError(Exception):
    """This inquiry was not taken, for what is in it; the reason is the message. Nothing was answered or paid."""


class Judge(Protocol):
    """A model that answers inquiries; called from several threads."""

    @property
    def where(self) -> str:
        """The address or folder, for messages."""

    @property
    def parallel(self) -> int:
        """How many inquiries it takes at once, at most."""

    def check(self) -> None:
        """See whether it is there, before anything is asked.

        Raises:
            UsageError: it is not, or does not let us in; the message says what to do.
        """

    def ask(self, inquiry: Inquiry) -> Reply:
        """Its reply.

        Raises:
            AskAgainError: no reply for now.
            RejectedError: this inquiry is not taken.
            UsageError: no inquiry will be: the key or the model is wrong.
        """

    def close(self) -> None:
        """Let go of it."""
