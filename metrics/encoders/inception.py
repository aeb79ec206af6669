"""`InceptionEncoder`: pooled Inception features of a clip's frames, for frame FID; extra ``fid``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from javisbench.errors import UsageError
from javisbench.metrics.encoders.base import (
    Encoded,
    EncoderCard,
    FeatureSpec,
    Intake,
    Stream,
    timeline_for,
    what_lacks,
)
from javisbench.metrics.encoders.batching import one_thread
from javisbench.metrics.encoders.checkpoint import without_values
from javisbench.metrics.encoders.intakes import ChosenFrames
from javisbench.metrics.encoders.network_encoder import NetworkEncoder, StartingEncoder
from javisbench.metrics.encoders.preprocessing.frame_sampling import evenly_spaced_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from javisbench.clip import ClipHead, Timeline

WIDTH = 2048
_SIDE = 299
# The network up to its last pooling; the two max pools stand between convolutions. It ends with logits of 1,008
# classes, which the checkpoint holds and FID does not use.
_STAGES = (
    ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"),
    ("Conv2d_3b_1x1", "Conv2d_4a_3x3"),
    tuple(f"Mixed_{name}" for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")),
)


class InceptionEncoder(NetworkEncoder["nn.Module"], StartingEncoder):
    """The Inception v3 of FID, as the package pytorch-fid ports it from TensorFlow.

    Feature ``pool3``: one array ``embedding``, float32, shape ``(frames, 2048)``: outputs of the last average pooling.
    Frames are RGB in [0, 1], brought to 299 x 299 by bilinear interpolation without antialiasing (`align_corners`
    False, aspect ratio not kept), and scaled to [-1, 1], as pytorch-fid's own network does it.
    Settings: ``frames``, evenly spaced with both ends; ``video_span`` and, when that is ``audio_span``,
    ``max_audio_len_s`` (see `FVDSettings`); ``frame_times``.

    Source: Heusel et al. 2017 (arXiv:1706.08500), section 3; pytorch-fid.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="inception",
        title="Inception v3 (FID)",
        variants={"fid": "inception_fid"},
        licence="Apache-2.0",
        source="Szegedy et al., CVPR 2016; pytorch-fid's port of TensorFlow's 2015-12-05 weights",
        extra="fid",
        module="pytorch_fid",
        reduced_precision=True,
    )

    cpu_batch = 32  # frames
    input_bytes = 20_000_000

    @classmethod
    def lacking(cls) -> str | None:
        """The sentence for a pytorch-fid or torchvision that cannot be imported."""
        return what_lacks(_blocks)

    def _build(self) -> nn.Module:
        return inception_network()

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        """The picture alone."""
        return "picture"

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        """Sampled frames at the network's size."""
        for spec in specs:
            if spec.feature != "pool3" or spec.subject != "clip":
                raise UsageError(f"The encoder inception has the feature 'pool3' of clips only, not {spec.feature!r}.")
        wanted = np.concatenate([sampled_frames(head.timeline, spec) for spec in specs])
        return ChosenFrames(head, specs, wanted, self._prepare)

    def _prepare(self, pixels: NDArray[np.uint8]) -> Tensor:
        with one_thread():
            return network_input(self._transfer.up(pixels))

    def start(self, intakes: Sequence[Intake]) -> Callable[[], list[Encoded]]:
        """Set the features of the sampled frames of each clip, for each spec, going."""
        import torch

        network = self._loaded()
        clips = cast("Sequence[ChosenFrames]", intakes)
        if not clips:
            return list
        with torch.inference_mode():
            frames = torch.cat([clip.prepared() for clip in clips])
            returned = self._transfer.down(self._batches(lambda batch: pooled(network, batch), frames))

        def finished() -> list[Encoded]:
            ends = np.cumsum([len(clip.wanted) for clip in clips])[:-1]
            results: list[Encoded] = []
            for clip, pool3 in zip(clips, np.split(returned.array(), ends), strict=True):
                rows = {spec: clip.rows(sampled_frames(clip.head.timeline, spec)) for spec in clip.specs}
                results.append({spec: {"embedding": pool3[chosen]} for spec, chosen in rows.items()})
            return results

        return finished


def sampled_frames(timeline: Timeline, spec: FeatureSpec) -> NDArray[np.int64]:
    """Indices of the frames that Inception sees of a clip."""
    settings = spec.settings
    seconds = float(settings["max_audio_len_s"]) if settings["video_span"] == "audio_span" else None
    return evenly_spaced_frames(timeline_for(timeline, spec), int(settings["frames"]), seconds)


def network_input(frames: Tensor) -> Tensor:
    """Frames as Inception takes them.

    Args:
        frames: uint8 RGB, shape ``(B, H, W, 3)``.

    Returns:
        float32 in [-1, 1], shape ``(B, 3, 299, 299)``.
    """
    from torch.nn import functional

    pixels = frames.permute(0, 3, 1, 2).float() / 255
    return 2 * functional.interpolate(pixels, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False) - 1


def pooled(network: nn.Module, pixels: Tensor) -> Tensor:
    """The last average pooling of `network`, shape ``(B, 2048)``."""
    from torch.nn import functional

    x = pixels
    for stage, names in enumerate(_STAGES):
        for name in names:
            x = network.get_submodule(name)(x)
        if stage < len(_STAGES) - 1:
            x = functional.max_pool2d(x, kernel_size=3, stride=2)
    return x.mean(dim=(2, 3))


def inception_network() -> nn.Module:
    """FID's Inception without weights, on the meta device, under the names of the checkpoint.

    pytorch-fid's own constructor downloads its weights; this one only takes its blocks.

    Raises:
        UsageError: pytorch-fid, or the torchvision that it needs, cannot be imported.
    """

    blocks, torchvision = _blocks()
    with without_values():
        network: nn.Module = torchvision.models.inception_v3(
            weights=None, num_classes=1008, aux_logits=False, init_weights=False
        )
        for name, pool in (("5b", (192, 32)), ("5c", (256, 64)), ("5d", (288, 64))):
            setattr(network, f"Mixed_{name}", blocks.FIDInceptionA(pool[0], pool_features=pool[1]))
        for name, channels in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            setattr(network, f"Mixed_{name}", blocks.FIDInceptionC(768, channels_7x7=channels))
        network.add_module("Mixed_7b", blocks.FIDInceptionE_1(1280))
        network.add_module("Mixed_7c", blocks.FIDInceptionE_2(WIDTH))
    return network


def _blocks() -> tuple[Any, Any]:
    """The modules `pytorch_fid.inception` and `torchvision`."""
    try:
        import torchvision
        from pytorch_fid import inception
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        # A torchvision of another torch does not fail with ImportError: its operators are not there.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"pytorch-fid and its torchvision cannot be imported ({reason}). Install them with pip install "
            "'javisbench[fid]', together with a torchvision built for the installed torch.",
            kind="missing_extra",
        ) from error
    return inception, torchvision
