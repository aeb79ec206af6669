"""CAVP embeddings of a clip's picture and sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from javisbench.errors import FeatureError, UsageError
from javisbench.metrics.encoders.base import Encoded, EncoderCard, FeatureSpec, Intake, StreamEncoder, timeline_for
from javisbench.metrics.encoders.cavp import preparation
from javisbench.metrics.encoders.intakes import ChosenFrames
from javisbench.metrics.encoders.network_encoder import NetworkEncoder

if TYPE_CHECKING:
    from torch import Tensor

    from javisbench.clip import ClipHead
    from javisbench.metrics.encoders.cavp.network import CAVP

#: Frames that the network sees together; the published features were made so.
FRAMES_AT_ONCE = 40
_CLIPS_AT_ONCE = 4
# What this network is made of; a training checkpoint may hold more.
_PARTS = ("logit_scale", "video_encoder.", "video_project_head.", "spec_encoder.")


class CAVPEncoder(NetworkEncoder["CAVP"], StreamEncoder):
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
    )

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
        return ChosenFrames(head, specs, wanted, preparation.prepare_frames)

    def features(self, intakes: Sequence[Intake]) -> list[Encoded]:
        """Embeddings of each clip's picture and sound."""
        import torch

        self._loaded()
        clips = cast("Sequence[ChosenFrames]", intakes)
        results: list[Encoded] = [{} for _ in clips]
        embedders = {"video": self._embed_videos, "audio": self._embed_sounds}
        prepare = {"video": _video, "audio": _sound}
        with torch.inference_mode():
            for spec in clips[0].specs if clips else ():
                inputs = [_input_or_error(prepare[spec.feature], clip, spec) for clip in clips]
                usable = [value for value in inputs if not isinstance(value, FeatureError)]
                embedded = iter(embedders[spec.feature](usable))
                for result, value in zip(results, inputs, strict=True):
                    result[spec] = value if isinstance(value, FeatureError) else {"embeddings": next(embedded).numpy()}
        return results

    def _embed_videos(self, videos: Sequence[Tensor]) -> list[Tensor]:
        """Frames ``(T, 3, 224, 224)``, 40 at a time, to ``(T, 512)``."""
        import torch

        network = self._loaded()
        pieces = [piece for video in videos for piece in _pieces(video)]
        embedded = iter(_by_length(lambda x: network.embed_video(_pixels(x)), pieces, self._device))
        return [torch.cat([next(embedded) for _ in _pieces(video)]) for video in videos]

    def _embed_sounds(self, spectrograms: Sequence[Tensor]) -> list[Tensor]:
        """Spectrograms ``(128, 16 n)`` to ``(n, 512)``."""
        network = self._loaded()
        return _by_length(network.embed_audio, spectrograms, self._device)


def _video(clip: ChosenFrames, spec: FeatureSpec) -> Tensor:
    """uint8, shape ``(4 seconds, 3, 224, 224)``."""
    line = timeline_for(clip.head.timeline, spec)
    return clip.prepared()[clip.rows(preparation.frame_indices(clip.head, line))]


def _sound(clip: ChosenFrames, spec: FeatureSpec) -> Tensor:
    return preparation.prepare_audio(clip.head, timeline_for(clip.head.timeline, spec))


def _input_or_error(
    prepare: Callable[[ChosenFrames, FeatureSpec], Tensor], clip: ChosenFrames, spec: FeatureSpec
) -> Tensor | FeatureError:
    try:
        return prepare(clip, spec)
    except FeatureError as error:
        return error


def _pieces(video: Tensor) -> list[Tensor]:
    return [video[start : start + FRAMES_AT_ONCE] for start in range(0, len(video), FRAMES_AT_ONCE)]


def _pixels(frames: Tensor) -> Tensor:
    """uint8 ``(n, T, 3, H, W)`` to float32 in [0, 1], ``(n, 3, T, H, W)``."""
    return frames.transpose(1, 2).float() / 255


def _by_length(forward: Callable[[Tensor], Tensor], inputs: Sequence[Tensor], device: str) -> list[Tensor]:
    """Apply `forward` to stacks of equally shaped inputs; the outputs on the CPU, in the inputs' order."""
    import torch

    from javisbench.metrics.encoders.batching import forward_in_batches

    outputs: dict[int, Tensor] = {}
    for shape in {value.shape for value in inputs}:
        places = [place for place, value in enumerate(inputs) if value.shape == shape]
        stacked = torch.stack([inputs[place] for place in places]).to(device)
        outputs |= dict(zip(places, forward_in_batches(forward, stacked, _CLIPS_AT_ONCE).cpu(), strict=True))
    return [outputs[place] for place in range(len(inputs))]
