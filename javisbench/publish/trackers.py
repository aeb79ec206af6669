"""Scores of a run where training is watched already: TensorBoard and Weights & Biases.

    from javisbench.publish.trackers import TensorBoardCallback, WandbCallback

    javisbench.score("clips/step_4000", suite="my.csv", callbacks=[TensorBoardCallback("logs", step=4000)])

Every slice with a value becomes a scalar ``javisbench-v1/av_align/overall`` or
``javisbench-v1/av_align/sound_type/musical_sounds``, the ends of its interval ``.../ci_low`` and ``.../ci_high``; the
table of slices and, with W&B, the scores of each clip, are logged as tables.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from javisbench.api import Result

_COLUMNS = ("metric", "aspect", "category", "value", "ci_low", "ci_high", "n", "status")


def scalars(result: Result) -> dict[str, float]:
    """Name to value of every slice of a scored run that has one, with the ends of its interval."""
    found: dict[str, float] = {}
    for row in result.table.to_dict("records"):
        name = "/".join(filter(None, (result.protocol, row["metric"], row["aspect"], row["category"])))
        for key, tag in (("value", name), ("ci_low", f"{name}/ci_low"), ("ci_high", f"{name}/ci_high")):
            number = row.get(key)
            if number is not None and math.isfinite(number):
                found[tag] = float(number)
    return found


def slices(result: Result) -> pd.DataFrame:
    """The table of a scored run: a row a metric and slice, with value, interval, n and status."""
    table = result.table
    return table[[column for column in _COLUMNS if column in table]]


class TensorBoardCallback:
    """Logs scored runs as scalars and a text table.

    Args:
        target: folder of event files, or a ``SummaryWriter`` of the caller's, which stays open.
        step: of the training that the scores belong to.

    Raises:
        UsageError: the package tensorboard is not installed.
    """

    def __init__(self, target: str | Path | Any, *, step: int = 0) -> None:
        self._own = isinstance(target, str | Path)
        self._writer = _summary_writer(Path(target)) if isinstance(target, str | Path) else target
        self.step = step

    def __call__(self, result: Result) -> None:
        """Log one run."""
        for tag, value in scalars(result).items():
            self._writer.add_scalar(tag, value, self.step)
        self._writer.add_text(f"{result.protocol}/table", _markdown(slices(result)), self.step)
        self._writer.flush()
        if self._own:
            self._writer.close()


class WandbCallback:
    """Logs scored runs as scalars, a table of slices and a table of clips.

    Args:
        run: a run of the caller's (``wandb.init(...)``), or None to begin one and finish it afterwards.
        step: of the training that the scores belong to.
        **init: for ``wandb.init``, when a run is begun here (``project``, ``mode="offline"``, ...).

    Raises:
        UsageError: the package wandb is not installed.
    """

    def __init__(self, run: Any = None, *, step: int | None = None, **init: Any) -> None:
        if run is not None and init:
            raise UsageError("Give WandbCallback a run, or what wandb.init needs to begin one, not both.")
        self._wandb = _imported_wandb()
        self._run, self._init = run, init
        self.step = step

    def __call__(self, result: Result) -> None:
        """Log one run."""
        run = self._run or self._wandb.init(**self._init)
        name = f"javisbench/{result.protocol}"
        run.log(
            {
                **scalars(result),
                f"{name}/slices": self._wandb.Table(dataframe=slices(result)),
                f"{name}/clips": self._wandb.Table(dataframe=result.scores),
            },
            step=self.step,
        )
        if self._run is None:
            run.finish()


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "TensorBoardCallback needs the package tensorboard: pip install 'javisbench[tensorboard]'"
        ) from error
    return SummaryWriter(str(folder))


def _imported_wandb() -> Any:
    try:
        import wandb
    except ImportError as error:
        raise UsageError("WandbCallback needs the package wandb: pip install 'javisbench[wandb]'") from error
    return wandb


def _markdown(table: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    for row in table.itertuples(index=False):
        cells = (
            "" if value is None or value != value else f"{value:.4g}" if isinstance(value, float) else value
            for value in row
        )
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
