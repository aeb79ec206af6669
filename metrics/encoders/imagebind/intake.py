"""A clip on its way into ImageBind: what is kept of its frames until the network runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from javisbench.metrics.encoders.base import FeatureSpec, Intake, timeline_for
from javisbench.metrics.encoders.batching import on_cores, one_thread
from javisbench.metrics.encoders.imagebind.config import IMAGE_SIZE
from javisbench.metrics.encoders.intakes import ChosenFrames, on_device
from javisbench.metrics.encoders.preprocessing.pil_resize import bicubic_centre_crop

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead, FrameRun

Embed = Callable[["Tensor"], "NDArray[np.float32]"]

# Frames that wait as they are: their crops can then be made beside the network, on all cores.
_WAITING_BYTES = 64 * 2**20


class ImageBindIntake(Intake):
    """Stills of every frame, and the frames of the five clips.

    Args:
        head: the clip.
        specs: the features to make.
        device: where frames are prepared.
        batch_size: of the network.
        embed: makes the embeddings of a batch of stills.
    """

    def __init__(
        self, head: ClipHead, specs: Sequence[FeatureSpec], device: str, batch_size: int, embed: Embed
    ) -> None:
        super().__init__(head, specs)
        self._all = any(spec.feature == "frames" for spec in specs)
        self.stills = Stills(device, batch_size, embed)
        pairs = [
            frame for spec in specs if spec.feature == "video_clips" for pair in self._pairs(spec) for frame in pair
        ]
        self._clips = ChosenFrames(head, specs, np.array(pairs, np.int64), lambda pixels: _scaled(pixels, device))

    def _pairs(self, spec: FeatureSpec) -> list[tuple[int, int]]:
        from javisbench.metrics.encoders.imagebind.preprocessing import clip_pairs

        return clip_pairs(timeline_for(self.head.timeline, spec))

    @property
    def wanted(self) -> NDArray[np.int64] | None:
        """All frames, or those of the five clips, or none."""
        return None if self._all else self._clips.wanted

    def take(self, run: FrameRun) -> None:
        """Scale the frames of the clips; keep the stills."""
        chosen = run.only(self._clips.wanted)
        if len(chosen.indices):
            self._clips.take(chosen)
        if self._all:
            self.stills.take(run.frames)

    @property
    def held_bytes(self) -> int:
        """Bytes of frames and crops."""
        return self._clips.held_bytes + self.stills.held_bytes

    def specs_by_frames(self, specs: Sequence[FeatureSpec]) -> list[list[FeatureSpec]]:
        """Those that take the same frames of this clip, together."""
        groups: dict[tuple[tuple[int, int], ...], list[FeatureSpec]] = {}
        for spec in specs:
            groups.setdefault(tuple(self._pairs(spec)), []).append(spec)
        return list(groups.values())

    def video_crops(self, spec: FeatureSpec) -> tuple[Tensor, list[int]]:
        """The distinct crops of the five clips, and which of them each of the 15 is."""
        from javisbench.metrics.encoders.imagebind.preprocessing import video_crops

        rows = self._clips.rows(np.array(self._pairs(spec), np.int64)).tolist()
        return video_crops(self._clips.prepared(), [(a, b) for a, b in rows])


class Stills:
    """Every frame of a clip, on its way to an embedding.

    A few wait as they are. When they get many, they are cropped, and full batches embedded at once, counted from the
    clip's first frame: the network sees the same batches however the frames come.

    Attributes:
        seen: frames that have come.
        done: frames that are embedded.
    """

    def __init__(self, device: str, batch_size: int, embed: Embed) -> None:
        self._device = device
        self._batch_size = batch_size
        self._embed = embed
        self._waiting: list[NDArray[np.uint8]] = []
        self._cropped: Tensor | None = None
        self._embedded: list[NDArray[np.float32]] = []
        self.seen = 0
        self.done = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of frames and crops."""
        cropped = 0 if self._cropped is None else self._cropped.nbytes
        return cropped + sum(frames.nbytes for frames in self._waiting)

    def take(self, frames: NDArray[np.uint8]) -> None:
        """See the next frames, uint8 ``(n, H, W, 3)``."""
        self._waiting.append(frames)
        self.seen += len(frames)
        if sum(waiting.nbytes for waiting in self._waiting) > _WAITING_BYTES:
            self._embed_full_batches()

    def _embed_full_batches(self) -> None:
        import torch

        with torch.inference_mode():
            self._cropped = self.crops(self.done, self.seen)
            self._waiting.clear()
            full = len(self._cropped) // self._batch_size * self._batch_size
            batches = [self._cropped[start : start + self._batch_size] for start in range(0, full, self._batch_size)]
            self._embedded += on_cores([partial(self._embed_alone, batch) for batch in batches], self._device)
            self._cropped = self._cropped[full:].clone()
            self.done += full

    def _embed_alone(self, crops: Tensor) -> NDArray[np.float32]:
        # A thread that reads clips has as many threads for PyTorch as were set last anywhere, and sums go by them.
        with one_thread():
            return self._embed(crops)

    def crops(self, first: int, end: int) -> Tensor:
        """Squares of frames that are not embedded yet: uint8 ``(end - first, 3, 224, 224)``."""
        import torch

        parts: list[Tensor] = []
        position = self.done
        if self._cropped is not None and len(self._cropped):
            parts.append(self._cropped[max(first - position, 0) : max(end - position, 0)])
            position += len(self._cropped)
        for frames in self._waiting:
            part = frames[max(first - position, 0) : max(end - position, 0)]
            if len(part):
                parts.append(bicubic_centre_crop(on_device(part, self._device), IMAGE_SIZE))
            position += len(frames)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def room(self, width: int) -> NDArray[np.float32]:
        """An array for the embeddings of all frames, ``(seen, width)``, those that are made already filled in."""
        embeddings = np.empty((self.seen, width), np.float32)
        if self._embedded:
            embeddings[: self.done] = np.concatenate(self._embedded)
        return embeddings


def _scaled(pixels: NDArray[np.uint8], device: str) -> Tensor:
    from javisbench.metrics.encoders.imagebind.preprocessing import scaled_frames

    with one_thread():
        return scaled_frames(on_device(pixels, device))
