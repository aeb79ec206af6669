"""Errors that a person can act on.

Every error of javisbench says what is wrong, where (file, row, field) and what to do. Anything else that
escapes is a defect and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence

from javisbench.text import printable

SYSTEM_KINDS = frozenset(("unreachable", "cluster"))
"""Kinds that are nobody's mistake: a place or a cluster does not answer. The same command goes on later."""


class JavisbenchError(Exception):
    """Base of all errors meant for the user.

    Args:
        message: what is wrong, where, and what to do about it, in full sentences, on one line: line breaks and other
            controls (of a file's name, say) become visible escapes.
        kind: short machine-readable reason (``short_read``, ``no_audio``, ...) as it stands in
            ``failures.jsonl``; defaults to the class's own.
        details: what the sentence announces (all bad rows, say), one a line.

    Attributes:
        sentence: `message` as shown.
        details: as shown.
    """

    kind: str = "error"
    exit_code: int = 2

    def __init__(self, message: str, *, kind: str | None = None, details: Sequence[str] = ()) -> None:
        self.sentence = printable(message)
        self.details = tuple(map(printable, details))
        super().__init__("\n".join([self.sentence, *(f"  {detail}" for detail in self.details)]))
        if kind is not None:
            self.kind = kind
        if self.kind in SYSTEM_KINDS:
            self.exit_code = 3

    @property
    def message(self) -> str:
        """What is shown to the user: the sentence, then its details, each on a line of its own and indented."""
        return str(self.args[0])

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (decode workers); the default would drop ``kind``.
        return (_rebuild, (type(self), self.sentence, self.kind, self.details))


def _rebuild(cls: type[JavisbenchError], message: str, kind: str, details: Sequence[str]) -> JavisbenchError:
    return cls(message, kind=kind, details=details)


class UsageError(JavisbenchError):
    """A wrong option, name or combination of them."""

    kind = "usage"


class PluginError(UsageError):
    """Something that another package registers and that does not work; the message names the package."""

    kind = "plugin"


class SuiteError(JavisbenchError):
    """A prompt suite that cannot be read, or has bad rows (all of them listed)."""

    kind = "suite"


class MediaError(JavisbenchError):
    """A clip that cannot be read or written. ``kind`` says why."""

    kind = "media"


class DamageError(JavisbenchError):
    """A clip that cannot take a deliberate damage: too short for a shift, say."""

    kind = "damage"


class WeightsError(JavisbenchError):
    """Weights that cannot be found, read or trusted."""

    kind = "weights"


class MissingWeightsError(WeightsError):
    """Weights that are not on this machine; the message holds the command that fetches them."""

    kind = "missing_weights"


class FeatureError(JavisbenchError):
    """One clip (or prompt) that an encoder cannot turn into features; the others go on."""

    kind = "feature"


class MetricError(JavisbenchError):
    """One sample, or one set, for which a metric has no value. ``kind`` says why."""

    kind = "metric"


class RunError(JavisbenchError):
    """A run folder that is locked, damaged, or was made with other settings."""

    kind = "run"


class SystemFaultError(RunError):
    """The system failed: a file system is gone, memory or disk is full. The same command goes on later.

    ``kind`` is ``system``, or ``no_space`` or ``not_writable`` where a disk is full or has become read-only.
    """

    kind = "system"
    exit_code = 3


class ReferenceFeaturesError(JavisbenchError):
    """Reference statistics that do not fit the run."""

    kind = "reference"


class GenerationError(JavisbenchError):
    """A generator that cannot make what was asked of it."""

    kind = "generation"


class SubmissionError(JavisbenchError):
    """A submission archive that does not hold what it claims."""

    kind = "submission"


class RecipeError(JavisbenchError):
    """A recipe of a published result that cannot be read."""

    kind = "recipe"
