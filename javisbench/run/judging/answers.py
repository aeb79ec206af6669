"""What judges said, kept in the run's folder as it came: each answer is written before anything is made of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from javisbench.durable import append_jsonl, patiently, read_jsonl, write_jsonl
from javisbench.run.judging.judge import Reply

FILE = "answers.jsonl"
_REJECTED = "rejected"


class Answers:
    """Key to reply, in ``answers.jsonl``; a line torn by a kill counts as not answered.

    Requests that were not taken stand there too, with the reason: they are no answers, and may be made again.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: Path, patience_s: float = 0.0) -> None:
        self._path = run / FILE
        self._patience_s = patience_s
        self._lock = threading.Lock()
        rows = [row for row in read_jsonl(self._path) if isinstance(row.get("key"), str)]
        self._rows: dict[str, dict[str, Any]] = {row["key"]: row for row in rows if _REJECTED not in row}
        self._rejections = {row["key"]: str(row[_REJECTED]) for row in rows if _REJECTED in row}

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def get(self, key: str) -> Reply:
        """A stored reply.

        Raises:
            KeyError: there is none.
        """
        row = self._rows[key]
        text, refusal, finish, model = (str(row.get(name) or "") for name in ("text", "refusal", "finish", "model"))
        sent, answered = (_count(row.get(name)) for name in ("input_tokens", "output_tokens"))
        return Reply(text, refusal, finish, model, sent, answered)

    def keep(self, key: str, reply: Reply, about: dict[str, Any]) -> None:
        """Write a reply to the disk, at once.

        Args:
            key: of the answer.
            reply: as it came.
            about: what it is about, for readers: metric, sample, repeats, questions.
        """
        row = {"key": key, **about, **vars(reply)}
        with self._lock:
            self._append(row)
            self._rows[key] = row

    def reject(self, key: str, reason: str, about: dict[str, Any]) -> None:
        """Note why a request was not taken."""
        with self._lock:
            self._append({"key": key, **about, _REJECTED: reason})
            self._rejections[key] = reason

    def _append(self, row: dict[str, Any]) -> None:
        # What is lost here was paid for.
        patiently(lambda: append_jsonl(self._path, row), self._patience_s)

    def rejection(self, key: str) -> str | None:
        """Why a request was not taken; None where it was, or was never made."""
        return None if key in self._rows else self._rejections.get(key)


def _count(value: Any) -> int:
    return value if type(value) is int else 0


def join_answers(parts: Iterable[Path], target: Path) -> None:
    """Write the answers of several runs into one, each key once, in the order of keys."""
    found = [row for part in parts for row in read_jsonl(part / FILE) if "key" in row]
    # An answer counts more than that another job had none.
    rows = {str(row["key"]): row for row in sorted(found, key=lambda row: _REJECTED not in row)}
    if rows:
        write_jsonl(target / FILE, [rows[key] for key in sorted(rows)])
