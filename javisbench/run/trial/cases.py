"""Which damages at which doses a trial has, from text such as ``shift=160,320;blurred=2;silent``."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from javisbench.damages import DAMAGES, TrialDamage
from javisbench.errors import PluginError, UsageError
from javisbench.results.trial import Kind, case_name
from javisbench.results.trial_effects import Case

log = logging.getLogger(__name__)
_DOSE = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")
# Seconds of sound moved, with silence in its place, as trials called it before doses.
_SECONDS = {"late": 1000.0, "early": -1000.0}
_OLD_NAMES = {"late": "shift_cut", "early": "shift_cut"}


@dataclass(frozen=True)
class TrialCase:
    """One damage at one dose; None for a damage without doses."""

    damage: TrialDamage
    dose: float | None

    @property
    def name(self) -> str:
        """``shift=160``: on the command line, in files."""
        return case_name(self.damage.card.id, self.dose)

    @property
    def case(self) -> Case:
        """What the statistics need to know."""
        card = self.damage.card
        branch = "negative" if card.signed and (self.dose or 0) < 0 else ""
        kind: Kind = "harm" if card.harms else "same"
        return Case(card.id, self.dose, card.unit, card.severity(self.dose), kind, branch)


def default_cases() -> list[TrialCase]:
    """Every damage at its own doses, also those of other packages that work."""
    found = []
    for name in DAMAGES:
        try:
            found += _cases_of(name, [])
        except PluginError as error:
            log.warning("%s", error)
    return found


def parse_cases(text: str) -> list[TrialCase]:
    """The cases that a text names, each once, in its order.

    Args:
        text: damages separated by semicolons, each with its doses after ``=``, separated by commas: ``shift=160,320;
            blurred=2; silent``. Without doses, all of the damage's own; ``all`` stands for every damage. A comma may
            separate damages too. ``late=SECONDS`` and ``early=SECONDS`` are ``shift_cut`` in milliseconds.

    Raises:
        UsageError: a damage or dose that there is not, or none at all.
    """
    found: dict[str, TrialCase] = {}
    for part in re.split(r"[;,](?=\s*[A-Za-z_])", text):
        name, _, doses = (piece.strip() for piece in part.partition("="))
        if not name and not doses:
            continue
        cases = default_cases() if name == "all" and not doses else _cases_of(name, _doses(name, doses))
        found |= {case.name: case for case in cases if case.name not in found}
    if not found:
        raise UsageError("Name at least one damage, such as shift=160 or silent.")
    return list(found.values())


def _doses(name: str, text: str) -> list[float]:
    words = [word.strip() for word in text.split(",") if word.strip()] if text else []
    for word in words:
        if not _DOSE.fullmatch(word):
            raise UsageError(f"{word!r} is no dose of {name}: doses are numbers, such as {name}=10,20.")
    return [float(word) for word in words]


def _cases_of(name: str, doses: list[float]) -> list[TrialCase]:
    if name in _OLD_NAMES:
        if not doses:
            raise UsageError(f"{name} needs seconds, such as {name}=0.25.")
        factor, name = _SECONDS[name], _OLD_NAMES[name]
        doses = [factor * dose for dose in doses]
    damage = DAMAGES.get(name)()
    card = damage.card
    if card.unit and not doses:
        doses = list(card.doses)
    if not doses:
        card.check(None)
        return [TrialCase(damage, None)]
    for dose in doses:
        card.check(dose)
    return [TrialCase(damage, dose) for dose in doses]
