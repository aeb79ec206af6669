"""The contract between generators and the runner.

Lifecycle: construct (cheap, no torch) -> `plan` (refuses what is impossible before any download) -> `load` once ->
`generate` per batch -> `close`. A generator never touches the run's files; the runner encodes and stores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from javisbench.clip import Clip, ClipSpec
from javisbench.tasks import TASKS, Task

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from javisbench.media import DecodeLimits
    from javisbench.suite import Sample
    from javisbench.weights import WeightStore

Json: TypeAlias = Any
Family: TypeAlias = Literal["t2av", "t2v", "t2a", "v2a", "a2v", "av"]
_TASK_OF: Mapping[Family, Task] = {"v2a": "v2a", "a2v": "a2v"}


@dataclass(frozen=True)
class Plan:
    """What a model will really do when asked for a `ClipSpec`.

    Attributes:
        width: pixels.
        height: pixels.
        frames: number of frames; 0 for a model without picture.
        fps: frames per second.
        audio_samples: samples a channel; 0 for a silent model.
        sample_rate: Hz.
        channels: audio channels.
        notes: differences from what was asked (``width 426 -> 432: multiple of 16``).
    """

    width: int
    height: int
    frames: int
    fps: Fraction
    audio_samples: int
    sample_rate: int
    channels: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Conditions:
    """What a clip is made from besides its prompt: files of the suite, or a clip that another model has made.

    Files are strangers' files: read them with the methods here, which decode in a process of its own, under limits.

    Attributes:
        image: the suite's picture, or None.
        video: the suite's video, whose picture is given and whose sound is not, or None.
        audio: the suite's sound, or None.
        clip: what an earlier stage of a cascade has made, the half that is given; otherwise None.
    """

    image: Path | None = None
    video: Path | None = None
    audio: Path | None = None
    clip: Clip | None = None

    @classmethod
    def of(cls, sample: Sample, task: Task) -> Conditions:
        """What the suite's row gives to a model of the task, and nothing else of it."""
        column = TASKS[task].condition
        path = None if column is None else getattr(sample, column)
        return NO_CONDITIONS if column is None or path is None else cls(**{column: path})

    def __bool__(self) -> bool:
        return self is not NO_CONDITIONS and any(
            given is not None for given in (self.image, self.video, self.audio, self.clip)
        )

    @property
    def files(self) -> dict[str, Path]:
        """The suite's files by column."""
        given = {"image": self.image, "video": self.video, "audio": self.audio}
        return {column: path for column, path in given.items() if path is not None}

    def picture(self, limits: DecodeLimits | None = None) -> Clip | None:
        """The given frames with their times, uint8 ``(T, H, W, 3)``, without sound; None where none are given.

        Raises:
            MediaError: the file cannot be read, or is larger than `limits` (`DecodeLimits()` by default) allow.
        """
        from javisbench.media.given import read_picture

        if self.video is not None:
            return read_picture(self.video, limits)
        return self.clip if self.clip is not None and len(self.clip.frames) else None

    def sound(self, limits: DecodeLimits | None = None) -> tuple[NDArray[np.float32], int] | None:
        """The given sound, float32 ``(channels, samples)`` in [-1, 1], and its rate in Hz; None where none is given.

        Raises:
            MediaError: as for `picture`.
        """
        from javisbench.media.given import read_sound

        if self.audio is not None:
            return read_sound(self.audio, limits)
        if self.clip is None or self.clip.audio is None or self.clip.sample_rate is None:
            return None
        return self.clip.audio, self.clip.sample_rate

    def still(self, limits: DecodeLimits | None = None) -> NDArray[np.uint8] | None:
        """The given image, uint8 ``(H, W, 3)``, upright, without transparency (laid over white); None without one.

        Raises:
            MediaError: as for `picture`.
        """
        from javisbench.media.given import read_image

        return None if self.image is None else read_image(self.image, limits)


NO_CONDITIONS = Conditions()
"""Of a clip that is made from its prompt alone."""


@dataclass(frozen=True)
class Default:
    """What a generator does unless told otherwise.

    Attributes:
        value: as ``-M`` would give it.
        source: where it comes from: a paper, a command line, a class of a library.
    """

    value: Json
    source: str


@dataclass(frozen=True)
class Request:
    """One clip to make.

    Attributes:
        sample: the suite's row.
        index: its row number in the whole suite, whatever the shard.
        repeat: 0, 1, ... for several clips of one prompt.
        seed: 63 bits, from base seed, suite id, sample id and repeat alone.
        plan: the generator's own plan.
        prompts: ``text``, and ``audio_text`` and ``video_text`` where the suite has them.
        conditions: what is given besides the prompt: the suite's files for its task, or the clip of an earlier stage of
            a cascade; never None.
        task: what is wanted of the generator, one of its `Generator.tasks`. For ``v2a`` it answers with sound alone
            (frames ``(0, 0, 0, 3)``), for ``a2v`` with a picture alone; what else it gives is not kept.
    """

    sample: Sample
    index: int
    repeat: int
    seed: int
    plan: Plan
    prompts: Mapping[str, str]
    conditions: Conditions = NO_CONDITIONS
    task: Task = "t2av"


@dataclass
class Generated:
    """A clip made; `clip.frames` uint8 ``(T, H, W, 3)``, `clip.audio` float32 ``(channels, samples)`` or None.

    For ``v2a`` the clip needs no frames.

    Attributes:
        request: what it answers.
        clip: the media.
        info: JSON-able facts for the sidecar (final prompts, event times in seconds, seconds a stage, warnings).
        files: for programs that write files themselves: paths of finished video and audio inside the runner's
            staging folder, used instead of `clip` (then a probe of them) to avoid encoding twice; usually empty.
    """

    request: Request
    clip: Clip
    info: Mapping[str, Json] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Failed:
    """A clip that could not be made.

    Attributes:
        request: what it answers.
        stage: ``generate`` or a cascade's stage.
        kind: short reason (``non_finite``, ``shape``, ``timeout``, ``crash``, ``out_of_memory``, ...).
        message: a sentence.
        retryable: whether a second attempt makes sense.
    """

    request: Request
    stage: str
    kind: str
    message: str
    retryable: bool = True


class Generator(ABC):
    """Base of all generators.

    Class attributes:
        card_id: the model card in data_cards/models that describes it.
        family: what the model is; decides `tasks` unless the class names them.
        tasks: the tasks of suites that it takes; by default ``v2a`` or ``a2v`` for such a family, else ``t2av``. The
            class or the object may say others.
        tasks_by_variant: variants that take other tasks than the class, for lists of models.
        max_batch: 1 when batching would change the numbers.
        needs_text: False for unconditional models, which refuse text suites.
        one_process: True where one process makes all clips of a run: what it orders and pays for is written down there.
        computes_here: False where another machine makes the clips, and this one waits.
        uses_categories: True when the clip depends on the sample's categories too; they are then part of its key.
        uses_columns: the suite's own columns that the clip depends on; their cells are then part of its key.
        condition_columns: likewise for tasks that give something besides the prompt: columns that tell more of it.
        staging: a folder for files on their way, inside the run's; the runner sets it before `load` and removes it
            after `close`. None outside a run.
        prompt_folder: where encoded prompts are kept (`javisbench.baselines.prompt_store`), inside the run's folder;
            the runner sets it before `load`, and removes it once every clip is made. None outside a run.

    Args:
        variant: what stands behind the colon of ``name:variant``, or None.
        params: ``-M key=value`` as given, values still text; unknown keys raise `UsageError` with near matches.
    """

    card_id: ClassVar[str]
    family: ClassVar[Family] = "t2av"
    tasks: frozenset[Task] = frozenset({"t2av"})
    tasks_by_variant: ClassVar[Mapping[str, frozenset[Task]]] = {}
    max_batch: int = 1
    needs_text: ClassVar[bool] = True
    one_process: ClassVar[bool] = False
    computes_here: ClassVar[bool] = True
    uses_categories: bool = False
    uses_columns: tuple[str, ...] = ()
    condition_columns: tuple[str, ...] = ()
    staging: Path | None = None
    prompt_folder: Path | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "family" in cls.__dict__ and "tasks" not in cls.__dict__:
            cls.tasks = frozenset({_TASK_OF.get(cls.family, "t2av")})

    def __init__(self, variant: str | None = None, params: Mapping[str, str] | None = None) -> None:
        self.variant = variant
        self.params = dict(params or {})

    @abstractmethod
    def plan(self, spec: ClipSpec) -> Plan:
        """What will be made when `spec` is asked for.

        Raises:
            GenerationError: the model cannot do it; the message says what it can.
        """

    def resolved(self) -> Mapping[str, Json]:
        """Every parameter that changes the clips, with its resolved value; part of a sample's key."""
        return {"variant": self.variant, **self.params}

    def defaults(self) -> Mapping[str, Default]:
        """What is done unless ``-M`` says otherwise, by parameter; empty when the model card tells it."""
        return {}

    def files(self, weights: WeightStore) -> Mapping[str, tuple[Path, ...]]:
        """The local files that decide the clips, by component; their content is part of a clip's key.

        Found without reading them and without importing torch. Empty for what has no files, or when they are not
        known: then `resolved` must name what decides the clips.

        Raises:
            MissingWeightsError: what would be fetched, from where, how large, under which licence.
        """
        return {}

    def lacks(self) -> str:
        """What is not here that `load` needs besides weights (a program, a checkout, a key), in a sentence, or nothing.

        For those who only look: cheap, and nothing is started.
        """
        return ""

    def key_name(self, spec: str) -> str:
        """The model specification as a clip's key holds it: `spec`, without the places of `files`."""
        return spec

    def load(self, device: str, dtype: str, weights: WeightStore) -> None:  # noqa: B027 - some have nothing to load
        """Read weights; `dtype` is ``float32``, ``bfloat16`` or ``auto``.

        Raises:
            MissingWeightsError: what would be fetched, from where, how large, under which licence.
        """

    def prepare(self, requests: Sequence[Request]) -> None:  # noqa: B027 - most have nothing to prepare
        """Do once what all requests of a run need, such as encoding their prompts; called after `load`, if at all.

        Args:
            requests: every clip that is still to be made, in any number; `generate` gets them batch by batch.
        """

    @abstractmethod
    def generate(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        """Yield one answer a request, as they finish, in any order. Same seed, same clip, whatever the batch.

        Raises:
            RunError: nothing more can be made (a budget is spent, say); the run stops. Any other error costs its clips.
        """

    def close(self) -> None:  # noqa: B027 - most hold nothing but memory
        """Free what `load` took; end child processes."""
