"""A clip on its way into ImageBind: what is kept of it until the network runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from javisbench.metrics.encoders.base import FeatureSpec, Intake, timeline_for
from javisbench.metrics.encoders.batching import on_cores, one_thread
from javisbench.metrics.encoders.imagebind.config import IMAGE_SIZE
from javisbench.metrics.encoders.imagebind.sounds import Sounds
from javisbench.metrics.encoders.intakes import ChosenFrames
from javisbench.metrics.encoders.preprocessing.pil_resize import bicubic_centre_crop

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead, Damage, FrameRun
    from javisbench.metrics.encoders.transfer import Returned, Transfer

Embed = Callable[["Tensor"], "Returned"]

# Frames that wait as they are on a CPU: their crops can then be made beside the network, on all cores.
_WAITING_BYTES = 64 * 2**20
# Batches of crops that a long clip keeps on another device before they are embedded; shorter ones share theirs.
_WAITING_BATCHES = 8


class ImageBindIntake(Intake):
    """Stills of every frame, the frames of the five clips, and the sound.

    Args:
        head: the clip.
        specs: the features to make.
        transfer: leads to where the clip is prepared.
        batch_size: of the network.
        embed: makes the embeddings of a batch of stills.

    Attributes:
        stills: every frame, where they are wanted.
        sounds: what is made of the sound; filled when the clip is over.
    """

    def __init__(
        self, head: ClipHead, specs: Sequence[FeatureSpec], transfer: Transfer, batch_size: int, embed: Embed
    ) -> None:
        super().__init__(head, specs)
        self._transfer = transfer
        self._all = any(spec.feature == "frames" for spec in specs)
        self.stills = Stills(transfer, batch_size, embed)
        self.sounds = Sounds()
        pairs = [
            frame for spec in specs if spec.feature == "video_clips" for pair in self._pairs(spec) for frame in pair
        ]
        self._clips = ChosenFrames(head, specs, np.array(pairs, np.int64), lambda pixels: _scaled(pixels, transfer))

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

    def end(self, damage: tuple[Damage, ...]) -> None:
        """Prepare the sound."""
        heard = [spec for spec in self.specs if spec.feature in ("audio", "audio_windows")]
        if heard:
            self.sounds.prepare(self.head, heard, self._transfer)

    def prepare(self) -> None:
        """Crop the frames that wait as they are."""
        with one_thread():
            self.stills.crop_waiting()

    @property
    def held_bytes(self) -> int:
        """Bytes of frames, crops and log-mels."""
        return self._clips.held_bytes + self.stills.held_bytes + self.sounds.held_bytes

    @property
    def inputs(self) -> int:
        """Frames and crops to embed, or pieces of sound where those are more."""
        crops = 15 if len(self._clips.wanted) else 0
        return max(self.stills.seen - self.stills.done + crops, len(self.sounds))

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

    On a CPU a few wait as they are; on another device they are cropped as they come. When they get many, full batches
    are embedded at once, counted from the clip's first frame: the network sees the same ones however the frames come.

    Attributes:
        seen: frames that have come.
        done: frames that are embedded.
    """

    def __init__(self, transfer: Transfer, batch_size: int, embed: Embed) -> None:
        on_cpu = transfer.device == "cpu"
        self._transfer = transfer
        self._waiting_bytes = _WAITING_BYTES if on_cpu else 0
        self._embed_from = batch_size if on_cpu else _WAITING_BATCHES * batch_size
        self._batch_size = batch_size
        self._embed = embed
        self._cropped: list[Tensor] = []
        self._waiting: list[NDArray[np.uint8]] = []
        self._embedded: list[Returned] = []
        self.seen = 0
        self.done = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of frames and crops."""
        return sum(part.nbytes for part in self._parts)

    @property
    def _parts(self) -> list[Tensor | NDArray[np.uint8]]:
        """Squares, then frames as they are."""
        return [*self._cropped, *self._waiting]

    def take(self, frames: NDArray[np.uint8]) -> None:
        """See the next frames, uint8 ``(n, H, W, 3)``."""
        import torch

        self._waiting.append(frames)
        self.seen += len(frames)
        if sum(waiting.nbytes for waiting in self._waiting) <= self._waiting_bytes:
            return
        with torch.inference_mode():
            self.crop_waiting()
            if self.seen - self.done >= self._embed_from:
                self._embed_full_batches()

    def crop_waiting(self) -> None:
        """Crop the frames that wait as they are."""
        self._cropped += [self._crop(waiting) for waiting in self._waiting]
        self._waiting.clear()

    def _embed_full_batches(self) -> None:
        import torch

        cropped = torch.cat(self._cropped)
        full = len(cropped) // self._batch_size * self._batch_size
        batches = [cropped[start : start + self._batch_size] for start in range(0, full, self._batch_size)]
        jobs = [partial(self._embed_alone, batch) for batch in batches]
        self._embedded += on_cores(jobs, self._transfer.device)
        self._cropped = [cropped[full:].clone()]
        self.done += full

    def _embed_alone(self, crops: Tensor) -> Returned:
        # A thread that reads clips has as many threads for PyTorch as were set last anywhere, and sums go by them.
        with one_thread():
            return self._embed(crops)

    def crops(self, first: int, end: int) -> Tensor:
        """Squares of frames that are not embedded yet: uint8 ``(end - first, 3, 224, 224)``."""
        import torch

        parts: list[Tensor] = []
        position = self.done
        for part in self._parts:
            some = part[max(first - position, 0) : max(end - position, 0)]
            if len(some):
                parts.append(some if isinstance(some, torch.Tensor) else self._crop(some))
            position += len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _crop(self, frames: NDArray[np.uint8]) -> Tensor:
        return bicubic_centre_crop(self._transfer.up(frames), IMAGE_SIZE)

    def room(self, width: int) -> NDArray[np.float32]:
        """An array for the embeddings of all frames, ``(seen, width)``, those that are made already filled in."""
        embeddings = np.empty((self.seen, width), np.float32)
        if self._embedded:
            embeddings[: self.done] = np.concatenate([returned.array() for returned in self._embedded])
        return embeddings


def _scaled(pixels: NDArray[np.uint8], transfer: Transfer) -> Tensor:
    from javisbench.metrics.encoders.imagebind.preprocessing import scaled_frames

    with one_thread():
        return scaled_frames(transfer.up(pixels))
