"""`I3DEncoder`: Kinetics-400 logits of a clip's frames, for FVD and KVD."""

from __future__ import annotations

from collections.abc import Sequence
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
    StreamEncoder,
    timeline_for,
)
from javisbench.metrics.encoders.batching import forward_in_batches
from javisbench.metrics.encoders.intakes import ChosenFrames, on_device
from javisbench.metrics.encoders.network_encoder import NetworkEncoder
from javisbench.metrics.encoders.preprocessing.frame_sampling import evenly_spaced_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead, FrameRun, Timeline
    from javisbench.metrics.encoders.i3d.network import I3D

# What the reference evaluation uses; larger batches gain nothing once a GPU is busy.
_BATCH = 8


class I3DEncoder(NetworkEncoder["I3D"], StreamEncoder):
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
    )

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
        return _I3DIntake(head, specs, self._device)

    def features(self, intakes: Sequence[Intake]) -> list[Encoded]:
        """Logits of each clip for each spec."""
        import torch

        results: list[Encoded] = [{} for _ in intakes]
        with torch.inference_mode():
            for spec in intakes[0].specs if intakes else ():
                for result, logits in zip(results, self._logits(intakes, spec), strict=True):
                    result[spec] = {"embedding": logits.numpy()}
        return results

    def _logits(self, intakes: Sequence[Intake], spec: FeatureSpec) -> Tensor:
        import torch

        from javisbench.metrics.encoders.i3d.preparation import network_input

        network = self._loaded()
        prepared = torch.stack([cast("_I3DIntake", intake).input(spec) for intake in intakes])
        return forward_in_batches(lambda batch: network(network_input(batch)), prepared, _BATCH).cpu()


class _I3DIntake(Intake):
    """Specs mostly differ in which frames they take, and may differ in how: each has its own."""

    def __init__(self, head: ClipHead, specs: Sequence[FeatureSpec], device: str) -> None:
        super().__init__(head, specs)
        self._sampled = {spec: sampled_frames(head.timeline, spec) for spec in self.specs}
        self._parts = {
            spec: ChosenFrames(head, (spec,), chosen, partial(_prepare, spec, device))
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


def _prepare(spec: FeatureSpec, device: str, pixels: NDArray[np.uint8]) -> Tensor:
    from javisbench.metrics.encoders.i3d.preparation import pad_to_square, quantise

    settings = spec.settings
    squares = pad_to_square(on_device(pixels, device), int(settings["image_size"]))
    return quantise(squares, cast("Literal['signed', 'unit']", settings["video_range"]))


def sampled_frames(timeline: Timeline, spec: FeatureSpec) -> NDArray[np.int64]:
    """Indices of the frames that I3D sees of a clip."""
    settings = spec.settings
    seconds = float(settings["max_audio_len_s"]) if settings["video_span"] == "audio_span" else None
    return evenly_spaced_frames(timeline_for(timeline, spec), int(settings["max_frames"]), seconds)
