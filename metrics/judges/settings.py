"""What changes a judge's answers besides its questions: model, sampling, and what it is shown."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from typing import Any, ClassVar, Literal

Structure = Literal["json_schema", "json_object", "text"]


@dataclass(frozen=True)
class JudgeSettings:
    """Settings of a judge, mounted in the protocol under its id (``javisbench-v1+judge:javisbench.repeats=1``).

    Attributes:
        questions: first digits of the SHA-256 of the questions; those of the card, and no others.
        model: which model answers; ``--`` stands for the ``/`` of its name.
        revision: of the model, as its maker calls it; ``any`` where that is not said.
        structure: how the endpoint is held to the form of answers: by a schema, as any JSON object, or by words alone.
        temperature: of sampling; below 0: as the endpoint has it.
        max_tokens: longest answer.
        seed: of the first repeat, counted up for further ones; below 0: none is sent.
        repeats: how often each clip is judged; the score is the mean.
        tries: how often one answer is asked for when what comes is out of form.
        frames: pictures of a clip.
        frame_px: longest side of a picture.
        sound: whether the judge hears the clip. Without, questions that need sound are not asked.
        sound_s: seconds of sound from the clip's start.
    """

    own_questions: ClassVar[str] = ""

    questions: str = "none"
    model: str = "none"
    revision: str = "any"
    structure: Structure = "json_schema"
    temperature: float = 0.0
    max_tokens: int = 1024
    seed: int = 0
    repeats: int = 1
    tries: int = 2
    frames: int = 8
    frame_px: int = 512
    sound: bool = True
    sound_s: float = 30.0

    def __post_init__(self) -> None:
        if self.own_questions and self.questions != self.own_questions:
            raise ValueError(f"its questions are {self.own_questions}, not {self.questions}: give another question set")
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is from {least:g} to {most:g}, not {value:g}")

    @property
    def model_name(self) -> str:
        """As its maker calls it."""
        return self.model.replace("--", "/")


LIMITS: dict[str, tuple[float, float]] = {
    "temperature": (-1, 5),
    "max_tokens": (16, 65_536),
    "seed": (-1, 2**31 - 10_000),
    "repeats": (1, 20),
    "tries": (1, 5),
    "frames": (1, 128),
    "frame_px": (32, 2048),
    "sound_s": (1, 600),
}


def settings_type(questions: str, values: dict[str, Any]) -> type[JudgeSettings]:
    """The settings of one question set: `JudgeSettings` with its own defaults.

    Args:
        questions: first digits of the hash of the questions.
        values: setting to default.

    Raises:
        ValueError: a value that the setting cannot have.
    """
    base = JudgeSettings()
    defaults = {**vars(base), **values, "questions": questions}
    JudgeSettings(**defaults)
    kinds = JudgeSettings.__annotations__
    fields = [(name, kinds[name], value) for name, value in defaults.items()]
    made = make_dataclass(
        "JudgeSettingsOfCard",
        fields,
        bases=(JudgeSettings,),
        frozen=True,
        namespace={"own_questions": questions, "__module__": __name__},
    )
    assert issubclass(made, JudgeSettings)
    return made
