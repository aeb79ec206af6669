"""The contract between encoders, the feature store and metrics.

A metric names the features it needs (`FeatureSpec`); an encoder makes them from clips or prompts; the runner stores
them once under a key of content + encoder + weights + spec, and hands them to the metric. Two protocols whose specs
are equal share the features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, cast

from javisbench.clip import FrameRun
from javisbench.errors import FeatureError, JavisbenchError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import Clip, ClipHead, Damage, Timeline
    from javisbench.protocol import Protocol

WHOLE_CLIP_BYTES = 2 * 2**30
Setting: TypeAlias = str | int | float | bool
Subject: TypeAlias = Literal["clip", "text", "audio_text", "video_text"]
Stream: TypeAlias = Literal["picture", "sound", "both"]
Features: TypeAlias = "Mapping[str, NDArray[np.generic]]"


def what_lacks(importing: Callable[[], object]) -> str | None:
    """The sentence with which an import is refused; None where it succeeds. For `Encoder.lacking`."""
    try:
        importing()
    except UsageError as error:
        return error.message
    return None


@dataclass(frozen=True)
class FeatureSpec:
    """What a metric asks of an encoder for one clip or prompt.

    Attributes:
        encoder: the encoder's registry name.
        feature: which of the encoder's features (its docstring lists them with shapes).
        prep: every setting that changes the feature, as sorted (name, value) pairs. Settings that do not change this
            feature must be left out, so that protocols share it.
        subject: made from the clip, from the prompt, or from the prompt of the sound or the picture (`text` when there
            is none).
    """

    encoder: str
    feature: str
    prep: tuple[tuple[str, Setting], ...] = ()
    subject: Subject = "clip"

    @classmethod
    def of(cls, encoder: str, feature: str, *, subject: Subject = "clip", **prep: Setting) -> FeatureSpec:
        """A spec with `prep` sorted by name."""
        return cls(encoder, feature, tuple(sorted(prep.items())), subject)

    @property
    def settings(self) -> dict[str, Setting]:
        """`prep` as a dictionary."""
        return dict(self.prep)


def timed(spec: FeatureSpec, protocol: Protocol) -> FeatureSpec:
    """A spec whose feature depends on when frames are shown, with the protocol's word on that.

    Frames at the declared rate are not named: features that were stored before there was a choice keep their keys.
    """
    if protocol.frame_times == "declared":
        return spec
    return replace(spec, prep=tuple(sorted((*spec.prep, ("frame_times", protocol.frame_times)))))


def timeline_for(timeline: Timeline, spec: FeatureSpec) -> Timeline:
    """The times that a feature goes by: with the setting ``frame_times`` = ``shown`` when frames are shown, else their
    indices over the rate that the file declares.
    """
    return timeline if spec.settings.get("frame_times") == "shown" else timeline.declared


Encoded: TypeAlias = "dict[FeatureSpec, Features | JavisbenchError]"


@dataclass(frozen=True)
class EncoderCard:
    """Facts about an encoder, for `javisbench metrics show`, docs and the planner.

    Attributes:
        name: registry name.
        title: name in prose (``ImageBind huge``).
        variants: variant name to the id of its weights in data_cards/weights (None: needs no weights). The first is
            the default, official one.
        licence: of the weights; empty when there are none.
        source: paper or project.
        extra: the optional dependency group of its package that it needs (``clip``), or None.
        module: what that group brings, as it is imported (``transformers``); None where nothing need be looked for.
        host: True when it has no network: the runner then makes its features as the frames come, in the threads that
            read clips. Optical flow hands clips on to a GPU from there.
        reduced_precision: True when its network may run in a faster precision where the user asks for it
            (`--precision`).
        revision: raised when the computation changes, so that stored features of an older one are not used.
    """

    name: str
    title: str
    variants: Mapping[str, str | None]
    licence: str = ""
    source: str = ""
    extra: str | None = None
    module: str | None = None
    host: bool = False
    reduced_precision: bool = False
    revision: int = 1

    @property
    def default_variant(self) -> str:
        """The official variant."""
        return next(iter(self.variants))


class Intake(ABC):
    """One clip on its way into an encoder: it says which frames it needs, sees them run by run, and keeps what is made.

    Attributes:
        head: the clip without its pixels; its sound is complete.
        specs: the features to make.
    """

    def __init__(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> None:
        self.head = head
        self.specs = tuple(specs)

    @property
    @abstractmethod
    def wanted(self) -> NDArray[np.int64] | None:
        """Indices of the frames that are needed, ascending; None for all of them."""

    @abstractmethod
    def take(self, run: FrameRun) -> None:
        """See some of the wanted frames, in the order shown. What is kept of them should be small."""

    def end(self, damage: tuple[Damage, ...]) -> None:  # noqa: B027 - few need to know
        """All frames have come; what the file should have held besides."""

    def prepare(self) -> None:  # noqa: B027 - few leave anything
        """Do what is left to be done beside the network; called after `end` where clips wait for the network anyway.

        May be left out, and may fail for want of memory: then the encoder does it when it gets the clip.
        """

    @property
    def held_bytes(self) -> int:
        """Bytes of what is kept of the frames."""
        return 0

    @property
    def inputs(self) -> int:
        """What the clip adds to a batch of its network (frames, windows), as `Encoder.full_batch` counts them.

        Asked after `end`.
        """
        return 1


class Encoder(ABC):
    """Base of all encoders. Constructing one is cheap; `load` reads weights; `encode` may be called many times.

    An encoder of clips that says no more than this class gets whole clips, and cannot have long ones. `StreamEncoder`
    and `SoundEncoder` are for those that need not keep every frame.

    Attributes:
        compiled_parts: modules of its networks that `compile` is for; none where it does nothing.
        settings: for an encoder of another package: a frozen dataclass of what changes its features, which
            ``protocol.mounted(name, MySettings)`` gives with the values of the protocol; None for none. Whoever writes
            a `FeatureSpec` of this encoder puts them into its ``prep``.

    Args:
        variant: a key of ``card.variants``; None for the default.
    """

    card: ClassVar[EncoderCard]
    compiled_parts: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[type | None] = None

    def __init__(self, variant: str | None = None) -> None:
        self.variant = variant or self.card.default_variant

    @classmethod
    def lacking(cls) -> str | None:
        """What this machine lacks besides weights (a program, a setting), as a sentence; None when nothing."""
        return None

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        """What of a clip a feature is made from. One of the picture alone (its frames and when they are shown) or of
        the sound alone is found again for every clip that shares that stream.
        """
        return "both"

    def load(self, weights: Path | None, device: str) -> None:  # noqa: B027 - host encoders have nothing to load
        """Read `weights` (the local checkpoint of this variant; None when it needs none) and move to `device`.

        Raises:
            WeightsError: the file does not hold this network; every missing and unexpected name is listed.
        """

    def compile(self) -> None:  # noqa: B027 - few are worth it
        """From the next call on, run `compiled_parts` as ``torch.compile`` makes them (`--compile`); after `load`."""

    @abstractmethod
    def encode(self, items: Sequence[Clip] | Sequence[str], specs: Sequence[FeatureSpec]) -> list[Encoded]:
        """Features of a batch: all `items` are clips, or all are prompts, as the specs' subjects say.

        All specs on the same items come in one call, so that work they share is done once. One entry an item, holding
        each spec's feature arrays, or the `FeatureError` that says why this item has none: one bad item must not
        raise. Results do not depend on the other items of the batch beyond float rounding (1e-5 on cosines).
        """

    def traced(
        self, clip: Clip, spec: FeatureSpec, pixels: Tensor | None, sound: Tensor | None
    ) -> dict[str, Tensor] | None:
        """A clip's feature as `encode` makes it, through which a gradient flows; None where it has none of these.

        Args:
            clip: in memory.
            spec: the feature.
            pixels: of the clip, ``(T, H, W, 3)`` in [0, 1], where their gradient is asked for.
            sound: of the clip, float32 ``(channels, samples)``, where its gradient is asked for.
        """
        return None

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        """Begin a clip whose frames will come in runs. Called, as the intake is, in any thread.

        Raises:
            FeatureError: the clip has none of the features, whatever its frames show.
        """
        return _WholeIntake(head, specs)

    def features(self, intakes: Sequence[Intake]) -> list[Encoded]:
        """Features of a batch of clips of which all frames have come; all intakes have the same specs."""
        clips = [cast("_WholeIntake", intake).clip() for intake in intakes]
        return self.encode(clips, intakes[0].specs) if clips else []

    def start(self, intakes: Sequence[Intake]) -> Callable[[], list[Encoded]]:
        """Set the features of a batch going, as `features`; the function that is returned waits for them.

        An encoder whose device works by itself can so be given the next batch before this one is done.
        """
        made = self.features(intakes)
        return lambda: made

    def full_batch(self, specs: Sequence[FeatureSpec]) -> int:
        """How many inputs (`Intake.inputs`) make a batch that is worth its while on a GPU.

        A run collects clips up to it; on a CPU each clip is a batch of its own.
        """
        return 16

    def close(self) -> None:  # noqa: B027 - most encoders hold nothing but memory
        """Free what `load` took."""


class StreamEncoder(Encoder):
    """Base of encoders that see a clip's frames in runs and keep little of them."""

    @abstractmethod
    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        """Begin a clip; see `Encoder.intake`."""

    @abstractmethod
    def features(self, intakes: Sequence[Intake]) -> list[Encoded]:
        """Features of a batch of clips; see `Encoder.features`."""

    def encode_prompts(self, prompts: Sequence[str], specs: Sequence[FeatureSpec]) -> list[Encoded]:
        """Features of prompts, for encoders that have any.

        Raises:
            UsageError: this one has none.
        """
        raise UsageError(f"{self.card.name} has no features of prompts; {specs[0].feature!r} was asked for.")

    def encode(self, items: Sequence[Clip] | Sequence[str], specs: Sequence[FeatureSpec]) -> list[Encoded]:
        """Features of whole clips, or of prompts."""
        if not items or not specs:
            return [{} for _ in items]
        of_clips = {spec.subject == "clip" for spec in specs}
        if len(of_clips) > 1 or of_clips == {isinstance(items[0], str)}:
            subjects = ", ".join(sorted({spec.subject for spec in specs}))
            raise UsageError(f"{self.card.name} takes clips or prompts, as the features ask; these are of {subjects}.")
        if of_clips == {False}:
            return self.encode_prompts(cast("Sequence[str]", items), specs)
        results: list[Encoded] = [{} for _ in items]
        intakes: dict[int, Intake] = {}
        for place, clip in enumerate(cast("Sequence[Clip]", items)):
            try:
                intakes[place] = self._shown(clip, specs)
            except FeatureError as error:
                results[place] = dict.fromkeys(specs, error)
        if intakes:
            for place, made in zip(intakes, self.features(list(intakes.values())), strict=True):
                results[place] = made
        return results

    def _shown(self, clip: Clip, specs: Sequence[FeatureSpec]) -> Intake:
        import numpy as np

        intake = self.intake(clip.head, specs)
        run = FrameRun(np.arange(len(clip.frames)), clip.frames).only(intake.wanted)
        if len(run.indices):
            intake.take(run)
        intake.end(clip.damage)
        return intake


class SoundEncoder(StreamEncoder):
    """Base of encoders that see nothing of a clip but its sound."""

    @abstractmethod
    def encode_sounds(self, heads: Sequence[ClipHead], specs: Sequence[FeatureSpec]) -> list[Encoded]:
        """Features of a batch of clips from their sound; see `Encoder.encode`."""

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        """The sound alone."""
        return "sound"

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        """A clip of which no frame is asked for."""
        return _SoundIntake(head, specs)

    def features(self, intakes: Sequence[Intake]) -> list[Encoded]:
        """Features from the sound of each clip."""
        return self.encode_sounds([intake.head for intake in intakes], intakes[0].specs) if intakes else []


class _SoundIntake(Intake):
    @property
    def wanted(self) -> NDArray[np.int64]:
        import numpy as np

        return np.zeros(0, np.int64)

    def take(self, run: FrameRun) -> None:
        raise AssertionError("no frames were asked for")


class _WholeIntake(Intake):
    """Keeps every frame, for encoders that do not say what they need."""

    def __init__(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> None:
        super().__init__(head, specs)
        size = len(head.timeline) * head.frame_bytes
        if size > WHOLE_CLIP_BYTES:
            raise FeatureError(
                f"{head.name} takes {size / 2**20:,.0f} MiB as a whole, and an encoder that wants it whole may have "
                f"{WHOLE_CLIP_BYTES / 2**20:,.0f} MiB; it should say which frames it needs (StreamEncoder).",
                kind="too_large",
            )
        self._frames: list[NDArray[np.uint8]] = []
        self._damage: tuple[Damage, ...] = ()

    @property
    def wanted(self) -> None:
        return None

    def take(self, run: FrameRun) -> None:
        self._frames.append(run.frames)

    def end(self, damage: tuple[Damage, ...]) -> None:
        self._damage = damage

    @property
    def held_bytes(self) -> int:
        return sum(frames.nbytes for frames in self._frames)

    def clip(self) -> Clip:
        import numpy as np

        from javisbench.clip import Clip

        frames = self._frames[0] if len(self._frames) == 1 else np.concatenate(self._frames)
        return Clip.of(self.head, frames, self._damage)
