"""`I3DEncoder`: Kinetics-400 logits of a clip's frames, for FVD and KVD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from javisbench.errors import JavisbenchError, UsageError
from javisbench.metrics.encoders.base import EncoderCard, Features, FeatureSpec
from javisbench.metrics.encoders.batching import forward_in_batches
from javisbench.metrics.encoders.network_encoder import NetworkEncoder
from javisbench.metrics.encoders.preprocessing.frame_sampling import evenly_spaced_indices, frames_shown_within

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import Clip
    from javisbench.metrics.encoders.i3d.network import I3D

# What the reference evaluation uses; larger batches gain nothing once a GPU is busy.
_BATCH = 8


class I3DEncoder(NetworkEncoder["I3D"]):
    """I3D.

    Feature ``logits``: one array ``embedding``, float32, shape ``(400,)``: logits without softmax, averaged over time.
    Settings (see `FVDSettings`): ``max_frames``, ``image_size``, ``video_range``, ``video_span`` and, when that is
    ``audio_span``, ``max_audio_len_s``. Clips with fewer frames than ``max_frames`` repeat some.
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

    def encode(
        self, items: Sequence[Clip] | Sequence[str], specs: Sequence[FeatureSpec]
    ) -> list[dict[FeatureSpec, Features | JavisbenchError]]:
        """Logits of each clip for each spec."""
        import torch

        clips = cast("Sequence[Clip]", items)
        results: list[dict[FeatureSpec, Features | JavisbenchError]] = [{} for _ in clips]
        with torch.inference_mode():
            for spec in specs if clips else ():
                for result, logits in zip(results, self._logits(clips, spec), strict=True):
                    result[spec] = {"embedding": logits.numpy()}
        return results

    def _logits(self, clips: Sequence[Clip], spec: FeatureSpec) -> Tensor:
        import torch

        from javisbench.metrics.encoders.i3d.preparation import network_input

        if spec.feature != "logits" or spec.subject != "clip":
            raise UsageError(f"The encoder i3d has the feature 'logits' of clips only, not {spec.feature!r}.")
        network = self._loaded()
        prepared = torch.stack([self._prepare(clip, spec) for clip in clips])
        return forward_in_batches(lambda batch: network(network_input(batch)), prepared, _BATCH).cpu()

    def _prepare(self, clip: Clip, spec: FeatureSpec) -> Tensor:
        """The clip's sampled frames as uint8 ``(max_frames, 3, image_size, image_size)``."""
        import torch

        from javisbench.metrics.encoders.i3d.preparation import pad_to_square, quantise

        settings = spec.settings
        frames = torch.from_numpy(clip.frames[sampled_frames(clip, spec)]).to(self._device)
        pixels = pad_to_square(frames, int(settings["image_size"]))
        return quantise(pixels, cast("Literal['signed', 'unit']", settings["video_range"]))


def sampled_frames(clip: Clip, spec: FeatureSpec) -> NDArray[np.int64]:
    """Indices of the frames that I3D sees of `clip`."""
    settings = spec.settings
    count = clip.frames.shape[0]
    if settings["video_span"] == "audio_span":
        count = frames_shown_within(count, clip.fps, float(settings["max_audio_len_s"]))
    return evenly_spaced_indices(count, int(settings["max_frames"]))
