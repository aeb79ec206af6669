"""Tasks: what a suite gives to a model, and what the model makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Task: TypeAlias = Literal["t2av", "v2a", "a2v", "i2av"]
Condition: TypeAlias = Literal["image", "video", "audio"]
"""Columns of a suite that hold what is given."""


@dataclass(frozen=True)
class TaskFacts:
    """What a task is.

    Attributes:
        id: as suites and models name it.
        title: in words.
        condition: the suite's column of what is given besides the prompt; None for the prompt alone.
        makes_picture: whether the picture is the model's; otherwise it is the suite's, and is not scored as made.
        makes_sound: likewise for the sound.
    """

    id: Task
    title: str
    condition: Condition | None = None
    makes_picture: bool = True
    makes_sound: bool = True

    @property
    def makes_both(self) -> bool:
        """Whether picture and sound are both the model's."""
        return self.makes_picture and self.makes_sound


TASKS: Mapping[Task, TaskFacts] = {
    facts.id: facts
    for facts in (
        TaskFacts("t2av", "text to sounding video"),
        TaskFacts("v2a", "video to sound", "video", makes_picture=False),
        TaskFacts("a2v", "sound to video", "audio", makes_sound=False),
        TaskFacts("i2av", "image to sounding video", "image"),
    )
}
ALL_TASKS: frozenset[Task] = frozenset(TASKS)
BOTH_MADE: frozenset[Task] = frozenset(task for task, facts in TASKS.items() if facts.makes_both)
PICTURE_MADE: frozenset[Task] = frozenset(task for task, facts in TASKS.items() if facts.makes_picture)
SOUND_MADE: frozenset[Task] = frozenset(task for task, facts in TASKS.items() if facts.makes_sound)


def task_named(name: object) -> Task:
    """The task that a value from a file names.

    Raises:
        ValueError: it names none.
    """
    for task in TASKS:
        if name == task:
            return task
    raise ValueError(f"the task {name!r:.40} is none of {', '.join(TASKS)}")
