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

if TYPE_CHECKING:
    from pathlib import Path

    from javisbench.suite import Sample
    from javisbench.weights import WeightStore

Json: TypeAlias = Any
Family: TypeAlias = Literal["t2av", "t2v", "t2a", "v2a", "a2v", "av"]


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
        conditions: a clip made by an earlier stage of a cascade, for v2a and a2v generators; otherwise None.
    """

    sample: Sample
    index: int
    repeat: int
    seed: int
    plan: Plan
    prompts: Mapping[str, str]
    conditions: Clip | None = None


@dataclass
class Generated:
    """A clip made; `clip.frames` uint8 ``(T, H, W, 3)``, `clip.audio` float32 ``(channels, samples)`` or None.

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
        max_batch: 1 when batching would change the numbers.
        needs_text: False for unconditional models, which refuse text suites.
        uses_categories: True when the clip depends on the sample's categories too; they are then part of its key.
        uses_columns: the suite's own columns that the clip depends on; their cells are then part of its key.
        staging: a folder for files on their way, inside the run's; the runner sets it before `load` and removes it
            after `close`. None outside a run.

    Args:
        variant: what stands behind the colon of ``name:variant``, or None.
        params: ``-M key=value`` as given, values still text; unknown keys raise `UsageError` with near matches.
    """

    card_id: ClassVar[str]
    family: ClassVar[Family] = "t2av"
    max_batch: int = 1
    needs_text: ClassVar[bool] = True
    uses_categories: bool = False
    uses_columns: tuple[str, ...] = ()
    staging: Path | None = None

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

    def key_name(self, spec: str) -> str:
        """The model specification as a clip's key holds it: `spec`, without the places of `files`."""
        return spec

    def load(self, device: str, dtype: str, weights: WeightStore) -> None:  # noqa: B027 - some have nothing to load
        """Read weights; `dtype` is ``float32``, ``bfloat16`` or ``auto``.

        Raises:
            MissingWeightsError: what would be fetched, from where, how large, under which licence.
        """

    @abstractmethod
    def generate(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        """Yield one answer a request, as they finish, in any order. Same seed, same clip, whatever the batch."""

    def close(self) -> None:  # noqa: B027 - most hold nothing but memory
        """Free what `load` took; end child processes."""
