"""What a run of the checks found: a row a check."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from javisbench.errors import JavisbenchError

log = logging.getLogger(__name__)
Status: TypeAlias = Literal["ok", "failed", "not applicable"]


class BrokenError(Exception):
    """A check that does not hold; the message says how, as a clause without a full stop."""


class NotApplicableError(Exception):
    """A check that cannot be made here, or says nothing of this metric or encoder; the message says why."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: short.
        status: ``ok``, ``failed`` or ``not applicable``.
        note: what was found, or why the check cannot be made; may be empty where it holds.
    """

    name: str
    status: Status
    note: str = ""


@dataclass
class Report:
    """All checks of one metric or encoder.

    Attributes:
        kind: ``metric`` or ``encoder``.
        id: of the metric, or name of the encoder.
        package: that it comes with.
        rows: in the order made.
    """

    kind: Literal["metric", "encoder"]
    id: str
    package: str
    rows: list[Check] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether any check does not hold."""
        return any(row.status == "failed" for row in self.rows)

    @contextmanager
    def row(self, name: str) -> Iterator[list[str]]:
        """Inside, a check: it holds unless something is raised. The list given takes notes."""
        notes: list[str] = []
        status: Status = "failed"
        try:
            yield notes
            status = "ok"
        except NotApplicableError as reason:
            status, notes = "not applicable", [str(reason)]
        except BrokenError as problem:
            notes.append(str(problem))
        except JavisbenchError as error:
            notes.append(error.message)
        except Exception as error:
            # Whatever it is, it is what the check looks for; the traceback is for whoever mends it.
            log.debug("the check %s of %s", name, self.id, exc_info=True)
            notes.append(f"{type(error).__name__}: {error}")
        self.rows.append(Check(name, status, "; ".join(notes)))
