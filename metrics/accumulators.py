"""FVD, KVD and FAD inside a training loop: update batch by batch, merge across processes, compute at the end.

    fvd = FVD(weights="i3d_pretrained_400.pt", device="cuda")
    for batch in real_loader:
        fvd.update(batch["video"], real=True)      # uint8 (B, T, H, W, 3), or embeddings (B, 400)
    ...
    fvd.update(generated, real=False)
    value = fvd.sync().compute()                   # sync: over all processes of torch.distributed
    fvd.reset(real=False)                          # keep the real side for the next epoch

Fréchet distances keep the mean and the centred scatter matrix in float64, whatever the number of clips (Chan, Golub
and LeVeque, 1983, equation 2.1, for merging). A kernel has no such summary: KVD keeps every row, 1.6 kB a clip.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from javisbench.clip import Clip
from javisbench.errors import MetricError, UsageError
from javisbench.metrics.distances import Moments, frechet_from_moments, polynomial_mmd
from javisbench.metrics.embeddings import embed
from javisbench.metrics.encoders.set_specs import audioclip_spec, i3d_spec
from javisbench.protocol import DEFAULT_PROTOCOL, Protocol, parse_protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.metrics.encoders.base import Encoder

Accumulator = TypeVar("Accumulator", bound="SetAccumulator")

I3D_WIDTH = 400
AUDIOCLIP_WIDTH = 1024


class SetAccumulator(ABC):
    """Two growing sets of embeddings, and the distance between them.

    Args:
        width: length of an embedding.
        device: where the state lives; on one without float64 (``mps``) it lives on the CPU.
    """

    def __init__(self, width: int, device: str | torch.device = "cpu") -> None:
        if width < 1:
            raise UsageError(f"The width of an embedding is at least 1; got {width}.")
        self.width = width
        wanted = torch.device(device)
        self.device = torch.device("cpu") if wanted.type == "mps" else wanted
        self.reset()

    def update(self, batch: Tensor | NDArray[Any], *, real: bool) -> None:
        """Add a batch to the real or to the generated side.

        Args:
            batch: embeddings, floats, shape ``(B, width)``, on any device, B >= 0. Not kept, not changed.
            real: which side.

        Raises:
            MetricError: another shape, or NaN or infinite entries; the batch is then not added.
        """
        embeddings = torch.as_tensor(batch).detach().to(self.device)
        if embeddings.ndim != 2 or embeddings.shape[1] != self.width:
            raise MetricError(
                f"Embeddings must have shape (B, {self.width}); got {tuple(embeddings.shape)}.", kind="shape"
            )
        if not bool(torch.isfinite(embeddings).all()):
            side = "real" if real else "generated"
            raise MetricError(f"The {side} batch holds NaN or infinite embeddings.", kind="non_finite")
        if len(embeddings):
            self._add(embeddings, real)

    def count(self, *, real: bool) -> int:
        """Rows seen on a side."""
        return self._count(real)

    def merge(self: Accumulator, other: Accumulator) -> None:
        """Add what `other` (say, of another process or shard) has seen. `other` is not changed.

        Raises:
            UsageError: it is another kind of accumulator, or of another width.
        """
        if type(other) is not type(self) or other.width != self.width:
            raise UsageError(
                f"Cannot merge {type(other).__name__} of width {other.width} into {type(self).__name__} of width "
                f"{self.width}."
            )
        for real in (True, False):
            self._merge_side(other, real)

    def reset(self, *, real: bool = True, fake: bool = True) -> None:
        """Forget the real side, the generated side, or both."""
        for side, wanted in ((True, real), (False, fake)):
            if wanted:
                self._clear(side)

    def sync(self: Accumulator, group: dist.ProcessGroup | None = None) -> Accumulator:
        """A new accumulator holding what all processes of `group` have seen; the same as a copy without them.

        This one is left as it is, so that calling `sync` after every epoch counts nothing twice. Every process of the
        group must call it.
        """
        total = copy.copy(self)
        total._copy_state(self)
        if dist.is_available() and dist.is_initialized():
            for real in (True, False):
                total._gather(real, group)
        return total

    def compute(self) -> float:
        """The distance between both sides.

        Raises:
            MetricError: fewer than two rows on a side.
        """
        for real, side in ((True, "real"), (False, "generated")):
            if self._count(real) < 2:
                raise MetricError(
                    f"A distance needs at least two samples in each set; the {side} one has {self._count(real)}.",
                    kind="small_n",
                )
        return self._distance()

    @abstractmethod
    def _add(self, batch: Tensor, real: bool) -> None: ...

    @abstractmethod
    def _count(self, real: bool) -> int: ...

    @abstractmethod
    def _merge_side(self: Accumulator, other: Accumulator, real: bool) -> None: ...

    @abstractmethod
    def _clear(self, real: bool) -> None: ...

    @abstractmethod
    def _copy_state(self: Accumulator, other: Accumulator) -> None: ...

    @abstractmethod
    def _gather(self, real: bool, group: dist.ProcessGroup | None) -> None: ...

    @abstractmethod
    def _distance(self) -> float: ...


@dataclass(frozen=True, eq=False)
class _Side:
    """Count, mean ``(d,)`` and centred scatter ``(d, d)`` of the rows seen, in float64."""

    n: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def empty(cls, width: int, device: torch.device) -> _Side:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=device)

        return cls(0, zeros(width), zeros(width, width))

    @classmethod
    def of(cls, batch: Tensor) -> _Side:
        rows = batch.to(torch.float64)
        mean = rows.mean(dim=0)
        rows = rows - mean
        return cls(len(rows), mean, rows.T @ rows)

    def merged(self, other: _Side) -> _Side:
        if self.n == 0 or other.n == 0:
            return other if self.n == 0 else self
        n = self.n + other.n
        gap = other.mean.to(self.mean.device) - self.mean
        scatter = self.scatter + other.scatter.to(self.scatter.device)
        scatter += torch.outer(gap, gap) * (self.n * other.n / n)
        return _Side(n, self.mean + gap * (other.n / n), scatter)


class FrechetAccumulator(SetAccumulator):
    """Fréchet distance of two growing sets, in constant memory.

    Args:
        width: length of an embedding.
        device: where the state lives.
        factor: multiplies the distance.
    """

    def __init__(self, width: int, device: str | torch.device = "cpu", *, factor: float = 1.0) -> None:
        self.factor = factor
        self._sides: dict[bool, _Side] = {}
        super().__init__(width, device)

    def moments(self, *, real: bool) -> Moments:
        """Mean and covariance of a side, to be kept as a reference.

        Raises:
            MetricError: fewer than two rows.
        """
        side = self._sides[real]
        if side.n < 2:
            raise MetricError(f"A covariance needs at least two samples; got {side.n}.", kind="small_n")
        return Moments(side.n, side.mean.cpu().numpy(), side.scatter.cpu().numpy() / (side.n - 1))

    def _add(self, batch: Tensor, real: bool) -> None:
        self._sides[real] = self._sides[real].merged(_Side.of(batch))

    def _count(self, real: bool) -> int:
        return self._sides[real].n

    def _merge_side(self: FrechetAccumulator, other: FrechetAccumulator, real: bool) -> None:
        self._sides[real] = self._sides[real].merged(other._sides[real])

    def _clear(self, real: bool) -> None:
        self._sides[real] = _Side.empty(self.width, self.device)

    def _copy_state(self: FrechetAccumulator, other: FrechetAccumulator) -> None:
        self._sides = dict(other._sides)

    def _gather(self, real: bool, group: dist.ProcessGroup | None) -> None:
        side = self._sides[real]
        count = torch.tensor([side.n], dtype=torch.float64, device=self.device)
        mean = side.mean * side.n
        dist.all_reduce(count, group=group)
        dist.all_reduce(mean, group=group)
        n = int(count.item())
        if n == 0:
            return
        mean /= n
        gap = side.mean - mean
        scatter = side.scatter + torch.outer(gap, gap) * side.n
        dist.all_reduce(scatter, group=group)
        self._sides[real] = _Side(n, mean, scatter)

    def _distance(self) -> float:
        return self.factor * frechet_from_moments(self.moments(real=False), self.moments(real=True))


class KernelAccumulator(SetAccumulator):
    """Polynomial-kernel distance of two growing sets. Keeps every row: memory grows with the number of clips.

    Args:
        width: length of an embedding.
        device: where the rows are kept.
        centred: subtract each set's own mean first (as `javisbench-v1` does).
    """

    def __init__(self, width: int, device: str | torch.device = "cpu", *, centred: bool = False) -> None:
        self.centred = centred
        self._rows: dict[bool, list[Tensor]] = {}
        super().__init__(width, device)

    def rows(self, *, real: bool) -> Tensor:
        """All rows of a side, shape ``(n, width)``."""
        kept = self._rows[real]
        return torch.cat(kept) if kept else torch.zeros(0, self.width, device=self.device)

    def _add(self, batch: Tensor, real: bool) -> None:
        # A copy: the caller may go on using its buffer. Half precision has no exact sums but is exact in float32.
        kept = batch if batch.dtype == torch.float64 else batch.to(torch.float32)
        self._rows[real].append(kept.clone())

    def _count(self, real: bool) -> int:
        return sum(len(batch) for batch in self._rows[real])

    def _merge_side(self: KernelAccumulator, other: KernelAccumulator, real: bool) -> None:
        self._rows[real].extend([batch.to(self.device) for batch in other._rows[real]])

    def _clear(self, real: bool) -> None:
        self._rows[real] = []

    def _copy_state(self: KernelAccumulator, other: KernelAccumulator) -> None:
        self._rows = {real: list(batches) for real, batches in other._rows.items()}

    def _gather(self, real: bool, group: dist.ProcessGroup | None) -> None:
        # float64 everywhere: the processes may have been given different precisions.
        rows = self.rows(real=real).to(torch.float64)
        counts = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(dist.get_world_size(group))]
        dist.all_gather(counts, torch.tensor([len(rows)], dtype=torch.int64, device=self.device), group=group)
        longest = max(int(count.item()) for count in counts)
        padded = torch.zeros(longest, self.width, dtype=torch.float64, device=self.device)
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(gathered, padded, group=group)
        self._rows[real] = [part[: int(count.item())] for part, count in zip(gathered, counts, strict=True)]

    def _distance(self) -> float:
        fake, real = (self.rows(real=side).cpu().numpy() for side in (False, True))
        return polynomial_mmd(fake, real, centred=self.centred)


class _Encoding:
    """Turns batches of media into embeddings, loading the encoder on the first one.

    Args:
        encoder: one that is loaded already, or None.
        weights: the checkpoint of the encoder; may be None when only embeddings are ever given.
        device: where the encoder runs.
        protocol: a protocol or its name.
    """

    def __init__(
        self,
        encoder: Encoder | None,
        weights: str | Path | None,
        device: str | torch.device,
        protocol: Protocol | str,
    ) -> None:
        self.protocol = parse_protocol(protocol) if isinstance(protocol, str) else protocol
        self._encoder = encoder
        self._weights = None if weights is None else Path(weights)
        self._device = str(device)

    def frames(self, frames: Tensor | NDArray[np.uint8], fps: float | Fraction) -> NDArray[np.floating[Any]]:
        """I3D logits of videos, uint8 ``(B, T, H, W, 3)``."""
        videos = _array(frames)
        if videos.ndim != 5 or videos.shape[-1] != 3 or videos.dtype != np.uint8 or not videos.shape[1]:
            raise MetricError(
                f"Videos must be uint8 RGB of shape (B, T, H, W, 3); got {videos.dtype} {videos.shape}.", kind="shape"
            )
        rate = Fraction(fps).limit_denominator(100_000)
        clips = [Clip(video, rate, None, None, name=f"video {i} of the batch") for i, video in enumerate(videos)]
        return embed(self._loaded("i3d"), clips, i3d_spec(self.protocol))

    def audio(self, audio: Tensor | NDArray[np.floating[Any]], sample_rate: int) -> NDArray[np.floating[Any]]:
        """AudioCLIP embeddings of sounds, floats in [-1, 1], ``(B, channels, samples)``."""
        sounds = _array(audio)
        if sounds.ndim != 3 or sounds.dtype.kind != "f" or not sounds.shape[2]:
            raise MetricError(
                f"Sounds must be floats of shape (B, channels, samples); got {sounds.dtype} {sounds.shape}.",
                kind="shape",
            )
        # A clip has at least one frame; this encoder looks at none.
        blank = np.zeros((1, 1, 1, 3), dtype=np.uint8)
        clips = [
            Clip(blank, Fraction(1), sound.astype(np.float32), sample_rate, "sidecar", name=f"sound {i} of the batch")
            for i, sound in enumerate(sounds)
        ]
        return embed(self._loaded("audioclip"), clips, audioclip_spec(self.protocol))

    def _loaded(self, name: str) -> Encoder:
        if self._encoder is None:
            if self._weights is None:
                raise UsageError(
                    f"Give `weights`, the {name} checkpoint, to encode clips; without it only embeddings can be added."
                )
            from javisbench.metrics.encoders import ENCODERS

            encoder = ENCODERS.get(name)()
            encoder.load(self._weights, self._device)
            self._encoder = encoder
        return self._encoder


class FVD(FrechetAccumulator):
    """FVD in a training loop.

    Args:
        weights: the I3D checkpoint, read when the first video comes; not needed for embeddings.
        device: of the encoder and of the state.
        protocol: how videos are prepared.
        encoder: a loaded `I3DEncoder` to share, instead of `weights`.
    """

    higher_is_better = False

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str | torch.device = "cpu",
        *,
        protocol: Protocol | str = DEFAULT_PROTOCOL,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__(I3D_WIDTH, device)
        self._encoding = _Encoding(encoder, weights, device, protocol)

    def update(self, batch: Tensor | NDArray[Any], *, real: bool, fps: float | Fraction = 24) -> None:
        """Add videos, or their embeddings.

        Args:
            batch: uint8 RGB ``(B, T, H, W, 3)``, or embeddings ``(B, 400)``.
            real: which side.
            fps: frames per second of the videos; matters only where the protocol samples by time (`javisbench-v2`).

        Raises:
            MetricError: another shape, or NaN or infinite embeddings; the batch is then not added.
            UsageError: videos, but no weights.
        """
        super().update(batch if batch.ndim == 2 else self._encoding.frames(batch, fps), real=real)


class KVD(KernelAccumulator):
    """KVD in a training loop. Keeps every row (1.6 kB a clip), because a kernel needs them all.

    Args:
        weights: the I3D checkpoint, read when the first video comes; not needed for embeddings.
        device: of the encoder and of the kept rows.
        protocol: how videos are prepared, and whether each set is centred.
        encoder: a loaded `I3DEncoder` to share, instead of `weights`.
    """

    higher_is_better = False

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str | torch.device = "cpu",
        *,
        protocol: Protocol | str = DEFAULT_PROTOCOL,
        encoder: Encoder | None = None,
    ) -> None:
        self._encoding = _Encoding(encoder, weights, device, protocol)
        super().__init__(I3D_WIDTH, device, centred=self._encoding.protocol.fvd.kvd_centred)

    def update(self, batch: Tensor | NDArray[Any], *, real: bool, fps: float | Fraction = 24) -> None:
        """Add videos, uint8 ``(B, T, H, W, 3)``, or their embeddings ``(B, 400)``; as `FVD.update`."""
        super().update(batch if batch.ndim == 2 else self._encoding.frames(batch, fps), real=real)


class FAD(FrechetAccumulator):
    """FAD in a training loop.

    Args:
        weights: the AudioCLIP checkpoint, read when the first sound comes; not needed for embeddings.
        device: of the encoder and of the state.
        protocol: how sounds are prepared, and the factor on the distance.
        encoder: a loaded `AudioCLIPEncoder` to share, instead of `weights`.
    """

    higher_is_better = False

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str | torch.device = "cpu",
        *,
        protocol: Protocol | str = DEFAULT_PROTOCOL,
        encoder: Encoder | None = None,
    ) -> None:
        self._encoding = _Encoding(encoder, weights, device, protocol)
        super().__init__(AUDIOCLIP_WIDTH, device, factor=self._encoding.protocol.fad.fad_factor)

    def update(self, batch: Tensor | NDArray[Any], *, real: bool, sample_rate: int = 16000) -> None:
        """Add sounds, or their embeddings.

        Args:
            batch: floats in [-1, 1], ``(B, channels, samples)``, or embeddings ``(B, 1024)``. Mono sounds need their
                channel axis: two axes are always embeddings.
            real: which side.
            sample_rate: Hz of the sounds.

        Raises:
            MetricError: another shape, or NaN or infinite embeddings; the batch is then not added.
            UsageError: sounds, but no weights.
        """
        super().update(batch if batch.ndim == 2 else self._encoding.audio(batch, sample_rate), real=real)


def _array(batch: Tensor | NDArray[Any]) -> NDArray[Any]:
    return batch.detach().cpu().numpy() if isinstance(batch, Tensor) else np.asarray(batch)
