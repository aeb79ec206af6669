"""``judge:NAME``: the judges of question sets that ship with javisbench or another package, or of a file."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from javisbench.cards import CardFile, card_files
from javisbench.errors import PluginError, UsageError
from javisbench.metrics.judges.metric import JudgeMetric, judge_metric
from javisbench.metrics.judges.question_set import parse, read_file
from javisbench.registry import Plugin, did_you_mean


class JudgeFamily:
    """Question set to metric. NAME is the id of a card, or the path of a ``.toml`` file."""

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
        if rest.endswith(".toml"):
            return self._of_file(Path(rest).expanduser())
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

    def _of_file(self, path: Path) -> type[JudgeMetric]:
        found = read_file(path)
        if found.id in self._cards:
            raise UsageError(
                f"{path} has the id {found.id!r}, which {self._cards[found.id].path} has too. Give another."
            )
        return judge_metric(found)
