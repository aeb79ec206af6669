"""CAVP embeddings of a clip's picture and sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeAlias, cast

import numpy as np

from javisbench.errors import FeatureError, UsageError
from javisbench.metrics.encoders.base import Encoded, EncoderCard, FeatureSpec, Intake, timeline_for
from javisbench.metrics.encoders.batching import on_the_host
from javisbench.metrics.encoders.cavp import preparation
from javisbench.metrics.encoders.intakes import ChosenFrames
from javisbench.metrics.encoders.network_encoder import NetworkEncoder, StartingEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead, Damage
    from javisbench.metrics.encoders.cavp.network import CAVP

#: Frames that the network sees together; the published features were made so.
FRAMES_AT_ONCE = 40
# What this network is made of; a training checkpoint may hold more.
_PARTS = ("logit_scale", "video_encoder.", "video_project_head.", "spec_encoder.")
_Embedded: TypeAlias = "Callable[[], list[NDArray[np.float32]]]"


class CAVPEncoder(NetworkEncoder["CAVP"], StartingEncoder):
    """CAVP, trained on VGGSound and AudioSet for Diff-Foley.

    Feature ``video``: ``embeddings``, float32, shape ``(4 s, 512)``, L2-normalised, of frames at 4 fps over the s
    whole seconds of video. Feature ``audio``: ``embeddings`` of the same shape, of the sound in the same seconds.
    Setting ``frame_times``.

    Weights: ``cavp_epoch66.ckpt``; entries of other parts of the training are passed over.

    Source: Luo et al., Diff-Foley: Synchronized Video-to-Audio Synthesis with Latent Diffusion Models, NeurIPS 2023.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="cavp",
        title="CAVP",
        variants={"full": "cavp"},
        licence="MIT",
        source="Luo et al., Diff-Foley, NeurIPS 2023, section 4.1",
        reduced_precision=True,
    )

    cpu_batch = 4  # pieces of 40 frames, or sounds
    input_bytes = 546_000_000

    def _build(self) -> CAVP:
        from javisbench.metrics.encoders.cavp.network import CAVP, VARIANTS

        return CAVP(VARIANTS[self.variant])

    def _state(self, checkpoint: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        named = {name.removeprefix("module."): tensor for name, tensor in checkpoint.items()}
        return {name: tensor for name, tensor in named.items() if name.startswith(_PARTS)}

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        """The frames at 4 fps, squeezed."""
        for spec in specs:
            if spec.feature not in ("video", "audio") or spec.subject != "clip":
                raise UsageError(f"The encoder cavp has 'video' and 'audio' of clips, not {spec.feature!r}.")
        shown = [preparation.frame_indices(head, timeline_for(head.timeline, s)) for s in specs if s.feature == "video"]
        wanted = np.concatenate([np.zeros(0, np.int64), *shown])
        return _CAVPIntake(head, specs, wanted, preparation.prepare_frames)

    def start(self, intakes: Sequence[Intake]) -> Callable[[], list[Encoded]]:
        """Set the embeddings of each clip's picture and sound going."""
        import torch

        self._loaded()
        clips = cast("Sequence[_CAVPIntake]", intakes)
        results: list[Encoded] = [{} for _ in clips]
        going: list[tuple[FeatureSpec, list[int], _Embedded]] = []
        embedders = {"video": self._embed_videos, "audio": self._embed_sounds}
        with torch.inference_mode():
            for spec in clips[0].specs if clips else ():
                inputs = [clip.input(spec) for clip in clips]
                for result, value in zip(results, inputs, strict=True):
                    if isinstance(value, FeatureError):
                        result[spec] = value
                usable = {place: value for place, value in enumerate(inputs) if not isinstance(value, FeatureError)}
                going.append((spec, list(usable), embedders[spec.feature](list(usable.values()))))

        def finished() -> list[Encoded]:
            for spec, places, embedded in going:
                for place, rows in zip(places, embedded(), strict=True):
                    results[place][spec] = {"embeddings": rows}
            return results

        return finished

    def _embed_videos(self, videos: Sequence[Tensor]) -> _Embedded:
        """Frames ``(T, 3, 224, 224)``, 40 at a time, to ``(T, 512)``."""
        network = self._loaded()
        pieces = [piece for video in videos for piece in _pieces(video)]
        embedded = self._by_length(lambda x: network.embed_video(_pixels(x)), pieces)

        def finished() -> list[NDArray[np.float32]]:
            made = iter(embedded())
            return [np.concatenate([next(made) for _ in _pieces(video)]) for video in videos]

        return finished

    def _embed_sounds(self, spectrograms: Sequence[Tensor]) -> _Embedded:
        """Spectrograms ``(128, 16 n)`` to ``(n, 512)``."""
        return self._by_length(self._loaded().embed_audio, spectrograms)

    def _by_length(self, forward: Callable[[Tensor], Tensor], inputs: Sequence[Tensor]) -> _Embedded:
        """Apply `forward` to stacks of equally shaped inputs; the outputs come in the inputs' order."""
        import torch

        going = []
        for shape in dict.fromkeys(value.shape for value in inputs):
            places = [place for place, value in enumerate(inputs) if value.shape == shape]
            stacked = self._transfer.up(torch.stack([inputs[place] for place in places]))
            going.append((places, self._transfer.down(self._batches(forward, stacked))))

        def finished() -> list[NDArray[np.float32]]:
            outputs = {place: row for places, made in going for place, row in zip(places, made.array(), strict=True)}
            return [outputs[place] for place in range(len(inputs))]

        return finished


class _CAVPIntake(ChosenFrames):
    """Squeezed frames, and the spectrogram of the sound, made by the thread that reads the clip."""

    def __init__(
        self,
        head: ClipHead,
        specs: Sequence[FeatureSpec],
        wanted: NDArray[np.int64],
        prepare: Callable[[NDArray[np.uint8]], Tensor],
    ) -> None:
        super().__init__(head, specs, wanted, prepare)
        self._sounds: dict[FeatureSpec, Tensor | FeatureError] = {}

    def end(self, damage: tuple[Damage, ...]) -> None:
        for spec in self.specs:
            if spec.feature == "audio":
                try:
                    with on_the_host():
                        line = timeline_for(self.head.timeline, spec)
                        self._sounds[spec] = preparation.prepare_audio(self.head, line)
                except FeatureError as error:
                    self._sounds[spec] = error

    @property
    def held_bytes(self) -> int:
        return super().held_bytes + sum(s.nbytes for s in self._sounds.values() if not isinstance(s, FeatureError))

    @property
    def inputs(self) -> int:
        """Pieces of 40 frames, or the sound."""
        return max(1, -(-len(self.wanted) // FRAMES_AT_ONCE))

    def input(self, spec: FeatureSpec) -> Tensor | FeatureError:
        """uint8 ``(4 seconds, 3, 224, 224)`` for the picture, a spectrogram for the sound, or why there is none."""
        if spec.feature == "audio":
            return self._sounds[spec]
        try:
            line = timeline_for(self.head.timeline, spec)
            return self.prepared()[self.rows(preparation.frame_indices(self.head, line))]
        except FeatureError as error:
            return error


def _pieces(video: Tensor) -> list[Tensor]:
    return [video[start : start + FRAMES_AT_ONCE] for start in range(0, len(video), FRAMES_AT_ONCE)]


def _pixels(frames: Tensor) -> Tensor:
    """uint8 ``(n, T, 3, H, W)`` to float32 in [0, 1], ``(n, 3, T, H, W)``."""
    return frames.transpose(1, 2).float() / 255
