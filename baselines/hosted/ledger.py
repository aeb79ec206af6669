"""`Ledger`: which jobs were started and paid for, so that a run that was killed goes on with them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from javisbench.durable import append_jsonl, read_jsonl

Event = Literal["sending", "job", "rejected", "failed", "lost"]


@dataclass
class Entry:
    """What is known of a clip.

    Attributes:
        epoch: how often a new job was begun for it; part of what names it to the service.
        event: what happened last.
        job: the service's id of its job, or empty.
    """

    epoch: int = 0
    event: Event | None = None
    job: str = ""


class Ledger:
    """A file of JSON lines, each written to the disk before what it tells of goes on.

    A clip's key has one job until that failed or is gone, whatever happens to this process.

    Args:
        path: the file; made with the first line. None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._entries: dict[str, Entry] = {}
        self._costs: dict[tuple[str, int], float] = {}
        for row in read_jsonl(path) if path is not None else []:
            self._take(row)

    def entry(self, key: str) -> Entry:
        """What is known of a clip."""
        return self._entries.setdefault(key, Entry())

    @property
    def clips(self) -> int:
        """Jobs begun that the service did not reject."""
        return len(self._costs)

    @property
    def cost(self) -> float:
        """What they cost, in the money of the price that was told."""
        return sum(self._costs.values())

    def note(self, key: str, event: Event, *, job: str = "", cost: float = 0.0) -> None:
        """Write what happened; ``sending`` begins a job unless one is being begun."""
        entry = self.entry(key)
        epoch = entry.epoch + 1 if event == "sending" and entry.event != "sending" else entry.epoch
        row = {"key": key, "event": event, "epoch": epoch, "job": job, "cost": cost, "at": round(time.time(), 3)}
        if self._path is not None:
            append_jsonl(self._path, row)
        self._take(row)

    def _take(self, row: dict[str, Any]) -> None:
        key, event, epoch = str(row.get("key")), row.get("event"), row.get("epoch")
        if event not in ("sending", "job", "rejected", "failed", "lost") or not isinstance(epoch, int):
            return
        entry = self.entry(key)
        entry.epoch, entry.event = epoch, event
        entry.job = str(row.get("job") or "") if event == "job" else ""
        if event == "sending":
            cost = row.get("cost")
            self._costs[key, epoch] = float(cost) if isinstance(cost, int | float) else 0.0
        elif event == "rejected":
            self._costs.pop((key, epoch), None)
