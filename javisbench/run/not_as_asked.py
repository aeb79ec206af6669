"""``not_as_asked.jsonl``: which clips of a run are not as the model was asked, and in what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from javisbench.durable import read_json, write_jsonl
from javisbench.errors import RunError, SystemFaultError
from javisbench.results.run_folder import NOT_AS_ASKED


def list_not_as_asked(run: Path) -> None:
    """Write the file anew from the sidecars of the run's clips, in the suite's order; none where all are as asked.

    The sidecars alone are the record (``info.differs``): a clip that is made again, or comes from another shard, cannot
    leave a line behind.

    Raises:
        SystemFaultError: the disk is full or cannot be written.
    """
    found = [row for path in (run / "clips").glob("*.json") if (row := _row(path)) is not None]
    target = run / NOT_AS_ASKED
    if found:
        write_jsonl(target, [row for _, row in sorted(found, key=lambda entry: entry[0])])
    else:
        target.unlink(missing_ok=True)


def _row(sidecar: Path) -> tuple[tuple[int, int, str], dict[str, Any]] | None:
    try:
        facts = read_json(sidecar)
        differs = facts["info"].get("differs")
        sample, repeat, index = str(facts["sample_id"]), int(facts["repeat"]), int(facts["index"])
    except SystemFaultError:
        raise
    except (RunError, AttributeError, KeyError, TypeError, ValueError):
        return None  # a file of another form beside the clips
    if not isinstance(differs, list) or not differs:
        return None
    return (index, repeat, sample), {"sample_id": sample, "repeat": repeat, "differs": [str(told) for told in differs]}
