"""What an examination found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from javisbench.run.doctor.bounds import Bound
    from javisbench.run.doctor.forecast import Forecast

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: ``problem``: something will fail; ``warning``: a part of the results will be missing; ``ok``: a fact.
        area: ``machine``, ``weights``, ``clips``, ``model`` or ``run``.
        message: a sentence, with what to do.
    """

    level: Level
    area: str
    message: str


@dataclass
class Report:
    """Everything that an examination found.

    Attributes:
        findings: in the order of looking.
        forecasts: what stages would cost, each with how that was found out.
        bounds: how far failed samples could move each score; for scored runs.
    """

    findings: list[Finding] = field(default_factory=list)
    forecasts: list[Forecast] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)

    @property
    def problems(self) -> list[Finding]:
        """What will fail."""
        return [finding for finding in self.findings if finding.level == "problem"]

    def add(self, level: Level, area: str, message: str) -> None:
        """Note something."""
        self.findings.append(Finding(level, area, message))

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "findings": [asdict(finding) for finding in self.findings],
            "forecasts": [asdict(forecast) for forecast in self.forecasts],
            "bounds": [asdict(bound) for bound in self.bounds],
        }
