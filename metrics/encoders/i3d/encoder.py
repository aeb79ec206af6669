"""`I3DEncoder`: Kinetics-400 logits of a clip's frames, for FVD and KVD."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import numpy as np

from javisbench.errors import UsageError
from javisbench.metrics.encoders.base import (
    Encoded,
    EncoderCard,
    FeatureSpec,
    Intake,
    Stream,
    timeline_for,
)
from javisbench.metrics.encoders.intakes import ChosenFrames
from javisbench.metrics.encoders.network_encoder import NetworkEncoder, StartingEncoder
from javisbench.metrics.encoders.preprocessing.frame_sampling import evenly_spaced_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead, FrameRun, Timeline
    from javisbench.metrics.encoders.i3d.network import I3D
    from javisbench.metrics.encoders.transfer import Returned, Transfer


class I3DEncoder(NetworkEncoder["I3D"], StartingEncoder):
    """I3D.

    Feature ``logits``: one array ``embedding``, float32, shape ``(400,)``: logits without softmax, averaged over time.
    Settings (see `FVDSettings`): ``max_frames``, ``image_size``, ``video_range``, ``video_span`` and, when that is
    ``audio_span``, ``max_audio_len_s``; ``frame_times``. Clips with fewer frames than ``max_frames`` repeat some.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="i3d",
        title="I3D, Kinetics-400",
        variants={"kinetics400": "i3d"},
        licence="Apache-2.0",
        source="Carreira and Zisserman, CVPR 2017",
        reduced_precision=True,
    )
    compiled_parts = ("",)

    cpu_batch = 8  # clips, as in the reference evaluation
    input_bytes = 131_100_000  # 24 frames

    def _build(self) -> I3D:
        from javisbench.metrics.encoders.i3d.network import I3D

        return I3D()

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        """The picture alone."""
        return "picture"

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        """Sampled frames as padded squares, for each spec."""
        for spec in specs:
            if spec.feature != "logits" or spec.subject != "clip":
                raise UsageError(f"The encoder i3d has the feature 'logits' of clips only, not {spec.feature!r}.")
        return _I3DIntake(head, specs, self._transfer)

    def start(self, intakes: Sequence[Intake]) -> Callable[[], list[Encoded]]:
        """Set the logits of each clip for each spec going."""
        import torch

        clips = cast("Sequence[_I3DIntake]", intakes)
        with torch.inference_mode():
            made = {spec: self._logits(clips, spec) for spec in (clips[0].specs if clips else ())}

        def finished() -> list[Encoded]:
            logits = {spec: returned.array() for spec, returned in made.items()}
            return [{spec: {"embedding": rows[i]} for spec, rows in logits.items()} for i in range(len(clips))]

        return finished

    def _logits(self, clips: Sequence[_I3DIntake], spec: FeatureSpec) -> Returned:
        import torch

        from javisbench.metrics.encoders.i3d.preparation import network_input

        network = self._loaded()
        prepared = torch.stack([clip.input(spec) for clip in clips])
        return self._transfer.down(self._batches(lambda batch: network(network_input(batch)), prepared))


class _I3DIntake(Intake):
    """Specs mostly differ in which frames they take, and may differ in how: each has its own."""

    def __init__(self, head: ClipHead, specs: Sequence[FeatureSpec], transfer: Transfer) -> None:
        super().__init__(head, specs)
        self._sampled = {spec: sampled_frames(head.timeline, spec) for spec in self.specs}
        self._parts = {
            spec: ChosenFrames(head, (spec,), chosen, partial(_prepare, spec, transfer))
            for spec, chosen in self._sampled.items()
        }

    @property
    def wanted(self) -> NDArray[np.int64]:
        return np.unique(np.concatenate(list(self._sampled.values())))

    def take(self, run: FrameRun) -> None:
        for part in self._parts.values():
            chosen = run.only(part.wanted)
            if len(chosen.indices):
                part.take(chosen)

    @property
    def held_bytes(self) -> int:
        return sum(part.held_bytes for part in self._parts.values())

    def input(self, spec: FeatureSpec) -> Tensor:
        """uint8 ``(max_frames, 3, image_size, image_size)``."""
        part = self._parts[spec]
        return part.prepared()[part.rows(self._sampled[spec])]


def _prepare(spec: FeatureSpec, transfer: Transfer, pixels: NDArray[np.uint8]) -> Tensor:
    from javisbench.metrics.encoders.i3d.preparation import pad_to_square, quantise

    settings = spec.settings
    squares = pad_to_square(transfer.up(pixels), int(settings["image_size"]))
    return quantise(squares, cast("Literal['signed', 'unit']", settings["video_range"]))


def sampled_frames(timeline: Timeline, spec: FeatureSpec) -> NDArray[np.int64]:
    """Indices of the frames that I3D sees of a clip."""
    settings = spec.settings
    seconds = float(settings["max_audio_len_s"]) if settings["video_span"] == "audio_span" else None
    return evenly_spaced_frames(timeline_for(timeline, spec), int(settings["max_frames"]), seconds)
