"""Results as a `datasets` dataset: one row a model, protocol, metric and slice; in a folder or on the hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import UsageError
from javisbench.results.cell import OVERALL
from javisbench.results.published import EXTRA_COLUMNS, published_results
from javisbench.results.ranking import Ranker
from javisbench.results.table import aspects_of, board_table
from javisbench.text import printable

if TYPE_CHECKING:
    from datasets import Dataset

    from javisbench.results.run_folder import StoredResult

_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")
MEASURED, REPORTED = "measured", "reported"

_CARD = """---
pretty_name: {title}
license: cc-by-4.0
tags:
- audio-video-generation
- leaderboard
configs:
- config_name: {measured}
  default: true
  data_files: {measured}.parquet
- config_name: {reported}
  data_files: {reported}.parquet
---

# {title}

Results of {models} on {suites}, computed by javisbench under {protocols}.

* `{measured}`: one row a model, protocol, metric and slice (`overall` or a category of an aspect): `value`, `n`, the
  95 % interval `ci_low` to `ci_high`, `status` (`ok`, `small_n`, `biased`, `not_applicable`, `missing_weights`,
  `missing_reference`, `failed`), and the interval of possible ranks `rank_best` to `rank_worst` among results of equal
  suite, protocol and n. Values are null where they cannot be had. Rows with `stand_in` show that the program works,
  not how good a model is.
* `{reported}`: numbers as papers print them, with their source. Nobody measured them here; never rank them together
  with `{measured}`.
"""


def measured_rows(results: Sequence[StoredResult]) -> list[dict[str, Any]]:
    """The tidy rows of some results, ranked as on their board."""
    ranker = Ranker()
    by_key = {result.key: result for result in results}
    rows = []
    for aspect in (None, *(aspect.id for aspect in aspects_of(results))):
        for group in board_table(results, aspect, ranker).groups:
            category = None if aspect is None else group.id.rpartition("-")[0]
            for row in group.rows:
                result = by_key[row.id]
                for metric, cell in row.cells.items():
                    rows.append(
                        {
                            "model": printable(result.model),
                            "family": result.family,
                            "licence": result.licence,
                            "params_b": result.params_b,
                            "suite": result.suite,
                            "suite_hash": result.suite_hash,
                            "samples": result.samples,
                            "protocol": result.protocol_label,
                            "stand_in": result.stand_in,
                            "metric": metric,
                            "aspect": aspect or OVERALL,
                            "category": category or OVERALL,
                            "value": cell.value,
                            "n": cell.n,
                            "ci_low": cell.ci_low,
                            "ci_high": cell.ci_high,
                            "status": cell.status,
                            "note": cell.note,
                            "rank_best": cell.rank[0] if cell.rank else None,
                            "rank_worst": cell.rank[1] if cell.rank else None,
                        }
                    )
    return rows


def reported_rows() -> list[dict[str, Any]]:
    """The tidy rows of the published record."""
    return [
        {
            "model": row.model,
            "family": row.family,
            "params_b": row.params_b,
            "suite": row.suite,
            "metric": metric,
            "value": value,
            "printed": printed,
            "source": row.source,
            "table": row.table,
        }
        for row in published_results()
        for metric, (value, printed) in row.values.items()
        if metric not in EXTRA_COLUMNS
    ]


def _datasets(results: Sequence[StoredResult]) -> dict[str, Dataset]:
    from datasets import Dataset, Features, Value

    text, number, count = Value("string"), Value("float64"), Value("int64")
    common = {"model": text, "family": text, "params_b": number, "suite": text, "metric": text, "value": number}
    measured = Features(
        common
        | dict.fromkeys(("licence", "suite_hash", "protocol", "aspect", "category", "status", "note"), text)
        | dict.fromkeys(("samples", "n", "rank_best", "rank_worst"), count)
        | dict.fromkeys(("ci_low", "ci_high"), number)
        | {"stand_in": Value("bool")}
    )
    reported = Features(common | dict.fromkeys(("printed", "source", "table"), text))
    return {
        MEASURED: Dataset.from_list(measured_rows(results), features=measured),
        REPORTED: Dataset.from_list(reported_rows(), features=reported),
    }


def dataset_card(results: Sequence[StoredResult], title: str) -> str:
    """The README of the dataset."""

    def listed(names: Sequence[str]) -> str:
        unique = list(dict.fromkeys(re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", printable(name)) for name in names))
        return ", ".join(unique[:20]) + (f" and {len(unique) - 20} more" if len(unique) > 20 else "")

    return _CARD.format(
        title=re.sub(r"[^\w .,()-]", "", printable(title)) or "Leaderboard",
        measured=MEASURED,
        reported=REPORTED,
        models=listed([result.model for result in results]),
        suites=listed([result.suite for result in results]),
        protocols=listed([result.protocol_label for result in results]),
    )


def write_dataset(results: Sequence[StoredResult], folder: Path, title: str) -> Path:
    """Write the dataset into a folder that ``datasets.load_dataset`` reads.

    Raises:
        UsageError: the folder holds something else.
    """
    if folder.exists() and (not folder.is_dir() or set(_names(folder)) - _OWN_FILES):
        raise UsageError(f"{folder} holds other files. Give --to a new or empty folder, or hub:OWNER/NAME.")
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in _datasets(results).items():
        data.to_parquet(str(folder / f"{name}.parquet"))
    (folder / "README.md").write_text(dataset_card(results, title), encoding="utf-8", errors="backslashreplace")
    return folder


_OWN_FILES = {f"{MEASURED}.parquet", f"{REPORTED}.parquet", "README.md"}


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def push_dataset(results: Sequence[StoredResult], name: str, title: str, *, private: bool = False) -> str:
    """Upload the dataset to the hub, as the account that is logged in there.

    Args:
        results: what to push.
        name: ``owner/name``.
        title: of the dataset card.
        private: whether a new dataset is private.

    Returns:
        the dataset's address.

    Raises:
        UsageError: a bad name, no login, or a hub that refuses.
    """
    import tempfile

    from huggingface_hub import HfApi

    from javisbench.hub import hub_errors

    if not _HUB_NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a dataset on the hub. Write hub:OWNER/NAME.")
    with tempfile.TemporaryDirectory() as work:
        folder = write_dataset(results, Path(work) / "dataset", title)
        try:
            api = HfApi()
            url = api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
            api.upload_folder(
                repo_id=name, repo_type="dataset", folder_path=folder, commit_message="Results of javisbench"
            )
        except hub_errors() as error:
            raise UsageError(f"The hub did not take {name}: {error}. Log in with: hf auth login") from error
    return str(url)
