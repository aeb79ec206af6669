"""``judge:NAME``: the judges of question sets that ship with javisbench or another package; and of a file."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from javisbench.cards import CardFile, card_files
from javisbench.errors import PluginError, UsageError
from javisbench.metrics.judges.metric import PREFIX, JudgeMetric, judge_metric
from javisbench.metrics.judges.question_set import parse, read_file
from javisbench.registry import Plugin, did_you_mean


class JudgeFamily:
    """Question set to metric, by the id of its card.

    No file of the user's is read here: ids also come from results of others.
    """

    def __init__(self) -> None:
        self._made: dict[str, type[JudgeMetric]] = {}

    @cached_property
    def _cards(self) -> dict[str, CardFile]:
        return card_files("judges")

    def names(self) -> Iterable[str]:
        """Ids of the cards."""
        return self._cards

    def plugin(self, rest: str) -> Plugin | None:
        """The other package whose card it is."""
        return self._cards[rest].plugin if rest in self._cards else None

    def get(self, rest: str) -> type[JudgeMetric]:
        """The metric.

        Raises:
            UsageError: there is no such question set, or it is none.
        """
        if rest not in self._cards:
            raise UsageError(
                f"There is no question set {rest!r}.{did_you_mean(rest, self._cards)} Known: "
                f"{', '.join(self._cards)}; or the path of a .toml file (docs/judges.md)."
            )
        if rest not in self._made:
            self._made[rest] = self._of_card(self._cards[rest])
        return self._made[rest]

    def _of_card(self, file: CardFile) -> type[JudgeMetric]:
        card = {name: value for name, value in file.card.items() if name != "package"}
        try:
            return judge_metric(parse({"id": file.id, **card}, str(file.path)))
        except UsageError as error:
            if file.plugin is None:
                raise
            raise PluginError(
                f"The judge {file.id!r} of the package {file.plugin.label}: {error.sentence}", details=error.details
            ) from error


def is_file(metric_id: str) -> bool:
    """Whether what a user asked for is a judge of a file: ``judge:PATH.toml``."""
    return metric_id.startswith(f"{PREFIX}:") and metric_id.endswith(".toml")


def judge_of_file(metric_id: str) -> type[JudgeMetric]:
    """The judge of a file that the user named.

    Raises:
        UsageError: it cannot be read, is no question set, or has the id of one that ships with javisbench.
    """
    path = Path(metric_id.removeprefix(f"{PREFIX}:")).expanduser()
    found = read_file(path)
    taken = card_files("judges").get(found.id)
    if taken is not None:
        raise UsageError(f"{path} has the id {found.id!r}, which {taken.path} has too. Give another.")
    return judge_metric(found)
