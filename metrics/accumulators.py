"""FVD, KVD, FAD and FID inside a training loop: update batch by batch, merge across processes, compute at the end.

    fvd = FVD(weights="i3d_pretrained_400.pt", device="cuda")
    for batch in real_loader:
        fvd.update(batch["video"], real=True)      # uint8 (B, T, H, W, 3), or embeddings (B, 400)
    ...
    fvd.update(generated, real=False)          # or float (B, T, 3, H, W) in [0, 1]
    value = fvd.sync().compute()                   # sync: over all processes of torch.distributed
    fvd.reset(real=False)                          # keep the real side for the next epoch

Fréchet distances keep the mean and the centred scatter matrix in float64, whatever the number of clips (Chan, Golub
and LeVeque, 1983, equation 2.1, for merging). A kernel has no such summary: KVD keeps every row, 1.6 kB a clip.

Each is a `torch.nn.Module` whose buffers are what it has seen, and asks its set metric (`fvd.FVDMetric`, ...) for
features and distance. `for_torchmetrics` holds the same objects as `torchmetrics.Metric`.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from javisbench.errors import MetricError, UsageError
from javisbench.metrics.distances import Moments, frechet_from_moments
from javisbench.metrics.embeddings import embed
from javisbench.metrics.fad import FADMetric
from javisbench.metrics.fid import FIDMetric
from javisbench.metrics.fvd import FVDMetric
from javisbench.metrics.kvd import KVDMetric
from javisbench.metrics.tensor_inputs import as_pictures, as_sounds
from javisbench.protocol import DEFAULT_PROTOCOL, Protocol, parse_protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import Clip
    from javisbench.metrics.base import SetMetric
    from javisbench.metrics.encoders.base import Encoder
    from javisbench.metrics.frechet_metric import FrechetMetric

Accumulator = TypeVar("Accumulator", bound="SetAccumulator")

I3D_WIDTH = 400
AUDIOCLIP_WIDTH = 1024
INCEPTION_WIDTH = 2048


class SetAccumulator(nn.Module, ABC):
    """Two growing sets of embeddings, and the distance between them.

    A module: its buffers (``real_...`` and ``fake_...``) are what it has seen. They go with ``state_dict`` and move
    with ``to``, but keep their precision under ``half`` and the like.

    Args:
        width: length of an embedding.
        device: where the state lives; on one without float64 (``mps``) it lives on the CPU.
    """

    higher_is_better: ClassVar[bool] = False

    def __init__(self, width: int, device: str | torch.device = "cpu") -> None:
        if width < 1:
            raise UsageError(f"The width of an embedding is at least 1; got {width}.")
        super().__init__()
        self.width = width
        for real in (True, False):
            for name, empty in self._empty(_with_float64(torch.device(device))).items():
                self.register_buffer(_buffer(real, name), empty)

    @property
    def device(self) -> torch.device:
        """Where the state lives."""
        return next(self.buffers()).device

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

    def forward(self, batch: Tensor | NDArray[Any], *, real: bool, **facts: Any) -> float:
        """`update`, and the distance between all that both sides have seen; NaN while one has fewer than two rows.

        A distance costs far more than an update: call `update` where the value is not looked at.
        """
        self.update(batch, real=real, **facts)
        return self.compute() if min(self.count(real=True), self.count(real=False)) >= 2 else float("nan")

    @abstractmethod
    def count(self, *, real: bool) -> int:
        """Rows seen on a side: clips; for FID their frames."""

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
                self._set(side, self._empty(self.device))

    def sync(self: Accumulator, group: dist.ProcessGroup | None = None) -> Accumulator:
        """A new accumulator holding what all processes of `group` have seen; the same as a copy without them.

        This one is left as it is, so that calling `sync` after every epoch counts nothing twice. Every process of the
        group must call it.
        """
        total = self._copied()
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
            if self.count(real=real) < 2:
                raise MetricError(
                    f"A distance needs at least two samples in each set; the {side} one has {self.count(real=real)}.",
                    kind="small_n",
                )
        return self._distance()

    def filled(self: Accumulator, parts: Mapping[str, Tensor]) -> Accumulator:
        """A new accumulator of the kind, with these buffers by name; the encoder is shared."""
        made = self._copied()
        made._buffers.update(parts)
        return made

    def _copied(self: Accumulator) -> Accumulator:
        """A copy with buffers of its own; buffers are replaced and never changed in place, so they may be shared."""
        made = copy.copy(self)
        made._buffers = dict(self._buffers)
        return made

    def _set(self, real: bool, parts: Mapping[str, Tensor]) -> None:
        self._buffers.update({_buffer(real, name): part for name, part in parts.items()})

    def _part(self, real: bool, name: str) -> Tensor:
        part = self._buffers[_buffer(real, name)]
        assert part is not None
        return part

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # What moves a network may lower its precision as well, which would spoil sums: only the place is followed.
        wanted = fn(torch.empty(0, device=self.device)).device
        place = _with_float64(wanted)
        self._buffers.update({name: part.to(place) for name, part in self._buffers.items() if part is not None})
        self._moved(wanted)
        return self

    def _moved(self, device: torch.device) -> None:
        """What is no buffer and goes along; nothing here."""

    @abstractmethod
    def _empty(self, device: torch.device) -> dict[str, Tensor]:
        """The state of a side that has seen nothing."""

    @abstractmethod
    def _add(self, batch: Tensor, real: bool) -> None: ...

    @abstractmethod
    def _merge_side(self: Accumulator, other: Accumulator, real: bool) -> None: ...

    @abstractmethod
    def _gather(self, real: bool, group: dist.ProcessGroup | None) -> None: ...

    @abstractmethod
    def _distance(self) -> float: ...


def _buffer(real: bool, name: str) -> str:
    return f"{'real' if real else 'fake'}_{name}"


def _with_float64(device: torch.device) -> torch.device:
    return torch.device("cpu") if device.type == "mps" else device


@dataclass(frozen=True, eq=False)
class _Side:
    """Count, mean ``(d,)`` and centred scatter ``(d, d)`` of the rows seen, in float64."""

    n: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, batch: Tensor) -> _Side:
        rows = batch.to(torch.float64)
        mean = rows.mean(dim=0)
        rows = rows - mean
        return cls(len(rows), mean, rows.T @ rows)

    def merged(self, other: _Side) -> _Side:
        if self.n == 0 or other.n == 0:
            return other.on(self.mean.device) if self.n == 0 else self
        n = self.n + other.n
        gap = other.mean.to(self.mean.device) - self.mean
        scatter = self.scatter + other.scatter.to(self.scatter.device)
        scatter += torch.outer(gap, gap) * (self.n * other.n / n)
        return _Side(n, self.mean + gap * (other.n / n), scatter)

    def on(self, device: torch.device) -> _Side:
        return _Side(self.n, self.mean.to(device), self.scatter.to(device))

    def parts(self) -> dict[str, Tensor]:
        return {"n": torch.tensor(self.n, device=self.mean.device), "mean": self.mean, "scatter": self.scatter}


class FrechetAccumulator(SetAccumulator):
    """Fréchet distance of two growing sets, in constant memory.

    Args:
        width: length of an embedding.
        device: where the state lives.
    """

    def count(self, *, real: bool) -> int:
        """Rows seen on a side: clips; for FID their frames."""
        return int(self._part(real, "n").item())

    def moments(self, *, real: bool) -> Moments:
        """Mean and covariance of a side, to be kept as a reference.

        Raises:
            MetricError: fewer than two rows.
        """
        side = self._side(real)
        if side.n < 2:
            raise MetricError(f"A covariance needs at least two samples; got {side.n}.", kind="small_n")
        return Moments(side.n, side.mean.cpu().numpy(), side.scatter.cpu().numpy() / (side.n - 1))

    def _empty(self, device: torch.device) -> dict[str, Tensor]:
        mean = torch.zeros(self.width, dtype=torch.float64, device=device)
        return _Side(0, mean, torch.outer(mean, mean)).parts()

    def _side(self, real: bool) -> _Side:
        return _Side(self.count(real=real), self._part(real, "mean"), self._part(real, "scatter"))

    def _add(self, batch: Tensor, real: bool) -> None:
        self._set(real, self._side(real).merged(_Side.of(batch)).parts())

    def _merge_side(self: FrechetAccumulator, other: FrechetAccumulator, real: bool) -> None:
        self._set(real, self._side(real).merged(other._side(real)).parts())

    def _gather(self, real: bool, group: dist.ProcessGroup | None) -> None:
        side = self._side(real)
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
        self._set(real, _Side(n, mean, scatter).parts())

    def _distance(self) -> float:
        return frechet_from_moments(self.moments(real=False), self.moments(real=True))


class RowsAccumulator(SetAccumulator):
    """Any set metric's distance of two growing sets. Keeps every row: memory grows with the number of clips.

    Args:
        metric: whose distance; one of another package as well.
        width: length of an embedding.
        device: where the rows are kept.
        protocol: a protocol or its name.
    """

    def __init__(
        self,
        metric: SetMetric,
        width: int,
        device: str | torch.device = "cpu",
        *,
        protocol: Protocol | str = DEFAULT_PROTOCOL,
    ) -> None:
        super().__init__(width, device)
        self.metric = metric
        self.protocol = parse_protocol(protocol) if isinstance(protocol, str) else protocol

    def rows(self, *, real: bool) -> Tensor:
        """All rows of a side, shape ``(n, width)``."""
        return self._part(real, "rows")

    def count(self, *, real: bool) -> int:
        """Rows seen on a side: clips."""
        return len(self.rows(real=real))

    def _empty(self, device: torch.device) -> dict[str, Tensor]:
        return {"rows": torch.zeros(0, self.width, device=device)}

    def _add(self, batch: Tensor, real: bool) -> None:
        # Half precision has no exact sums but is exact in float32. `cat` copies: the caller may go on using its buffer.
        kept = batch if batch.dtype == torch.float64 else batch.to(torch.float32)
        self._set(real, {"rows": torch.cat([self.rows(real=real), kept])})

    def _merge_side(self: RowsAccumulator, other: RowsAccumulator, real: bool) -> None:
        self._add(other.rows(real=real).to(self.device), real)

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
        parts = [part[: int(count.item())] for part, count in zip(gathered, counts, strict=True)]
        self._set(real, {"rows": torch.cat(parts)})

    def _distance(self) -> float:
        fake, real = (self.rows(real=side).to(torch.float64).cpu().numpy() for side in (False, True))
        return self.metric.unpaired(fake, real, self.protocol)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        # Other than a network's, these buffers are as long as what was seen.
        for real in (True, False):
            kept = state_dict.get(prefix + _buffer(real, "rows"))
            if isinstance(kept, Tensor) and kept.ndim == 2 and kept.shape[1] == self.width:
                self._set(real, {"rows": torch.zeros(kept.shape, dtype=kept.dtype, device=self.device)})
        super()._load_from_state_dict(state_dict, prefix, *rest)


class _Encoding:
    """Turns batches of media into the embeddings that a set metric needs, loading its encoder on the first one.

    Args:
        metric: whose.
        encoder: one that is loaded already, or None.
        weights: the checkpoint of the encoder; may be None when only embeddings are ever given.
        device: where the encoder runs.
        protocol: a protocol or its name.
    """

    def __init__(
        self,
        metric: SetMetric,
        encoder: Encoder | None,
        weights: str | Path | None,
        device: str | torch.device,
        protocol: Protocol | str,
    ) -> None:
        self.protocol = parse_protocol(protocol) if isinstance(protocol, str) else protocol
        self._spec = metric.needs(self.protocol)
        self._encoder = encoder
        self._weights = None if weights is None else Path(weights)
        self._device = str(device)

    def pictures(self, batch: Any, fps: Any) -> Any:
        """Embeddings of videos (see `as_pictures`); embeddings as they are."""
        return batch if _is_embeddings(batch) else self._embedded(as_pictures(batch, fps))

    def sounds(self, batch: Any, sample_rate: Any) -> Any:
        """Embeddings of sounds (see `as_sounds`); embeddings as they are."""
        return batch if _is_embeddings(batch) else self._embedded(as_sounds(batch, sample_rate))

    def moved(self, device: torch.device) -> None:
        """Run on another device from now on. An encoder that was given stays where its owner put it."""
        if str(device) != self._device and self._weights is not None:
            self._encoder = None
        self._device = str(device)

    def _embedded(self, clips: list[Clip]) -> NDArray[np.floating[Any]]:
        with torch.autocast(torch.device(self._device).type, enabled=False):
            return embed(self._loaded(), clips, self._spec)

    def _loaded(self) -> Encoder:
        if self._encoder is None:
            if self._weights is None:
                raise UsageError(
                    f"Give `weights`, the {self._spec.encoder} checkpoint, to encode clips; without it only embeddings "
                    f"can be added."
                )
            from javisbench.metrics.encoders import ENCODERS

            encoder = ENCODERS.get(self._spec.encoder)()
            encoder.load(self._weights, self._device)
            self._encoder = encoder
        return self._encoder


def _is_embeddings(batch: Any) -> bool:
    return getattr(batch, "ndim", 0) == 2


class _FrechetOfMetric(FrechetAccumulator):
    """What FVD, FAD and FID share: the metric's features and unit."""

    metric: ClassVar[FrechetMetric]
    features: ClassVar[int]

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str | torch.device = "cpu",
        *,
        protocol: Protocol | str = DEFAULT_PROTOCOL,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__(self.features, device)
        self._encoding = _Encoding(self.metric, encoder, weights, device, protocol)

    def _distance(self) -> float:
        fake, real = self.moments(real=False), self.moments(real=True)
        return self.metric.from_moments(fake, real, self._encoding.protocol)

    def _moved(self, device: torch.device) -> None:
        self._encoding.moved(device)


class FVD(_FrechetOfMetric):
    """FVD in a training loop.

    Args:
        weights: the I3D checkpoint, read when the first video comes; not needed for embeddings.
        device: of the encoder and of the state.
        protocol: how videos are prepared.
        encoder: a loaded `I3DEncoder` to share, instead of `weights`.
    """

    metric = FVDMetric()
    features = I3D_WIDTH

    def update(self, batch: Tensor | NDArray[Any], *, real: bool, fps: float | Fraction = 24) -> None:
        """Add videos, or their embeddings.

        Args:
            batch: RGB, uint8 or float in [0, 1], ``(B, T, H, W, 3)`` or ``(B, T, 3, H, W)`` (see `as_pictures`), or
                embeddings ``(B, 400)``.
            real: which side.
            fps: frames per second of the videos; matters only where the protocol samples by time (`javisbench-v2`).

        Raises:
            UsageError: another shape, type or range of videos, or no weights.
            MetricError: another shape, or NaN or infinite embeddings; the batch is then not added.
        """
        super().update(self._encoding.pictures(batch, fps), real=real)


class KVD(RowsAccumulator):
    """KVD in a training loop. Keeps every row (1.6 kB a clip), because a kernel needs them all.

    Args:
        weights: the I3D checkpoint, read when the first video comes; not needed for embeddings.
        device: of the encoder and of the kept rows.
        protocol: how videos are prepared, and whether each set is centred.
        encoder: a loaded `I3DEncoder` to share, instead of `weights`.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str | torch.device = "cpu",
        *,
        protocol: Protocol | str = DEFAULT_PROTOCOL,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__(KVDMetric(), I3D_WIDTH, device, protocol=protocol)
        self._encoding = _Encoding(self.metric, encoder, weights, device, protocol)

    def update(self, batch: Tensor | NDArray[Any], *, real: bool, fps: float | Fraction = 24) -> None:
        """Add videos, or their embeddings ``(B, 400)``; as `FVD.update`."""
        super().update(self._encoding.pictures(batch, fps), real=real)

    def _moved(self, device: torch.device) -> None:
        self._encoding.moved(device)


class FAD(_FrechetOfMetric):
    """FAD in a training loop.

    Args:
        weights: the AudioCLIP checkpoint, read when the first sound comes; not needed for embeddings.
        device: of the encoder and of the state.
        protocol: how sounds are prepared, and the factor on the distance.
        encoder: a loaded `AudioCLIPEncoder` to share, instead of `weights`.
    """

    metric = FADMetric()
    features = AUDIOCLIP_WIDTH

    def update(self, batch: Tensor | NDArray[Any], *, real: bool, sample_rate: int = 16000) -> None:
        """Add sounds, or their embeddings.

        Args:
            batch: floats in [-1, 1], ``(B, channels, samples)``, or embeddings ``(B, 1024)``. Mono sounds need their
                channel axis: two axes are always embeddings.
            real: which side.
            sample_rate: Hz of the sounds.

        Raises:
            UsageError: another shape, type or range of sounds, or no weights.
            MetricError: another shape, or NaN or infinite embeddings; the batch is then not added.
        """
        super().update(self._encoding.sounds(batch, sample_rate), real=real)


class FID(_FrechetOfMetric):
    """FID of frames in a training loop; needs the extra ``fid`` to encode them.

    Args:
        weights: the Inception checkpoint, read when the first video comes; not needed for embeddings.
        device: of the encoder and of the state.
        protocol: how many frames of each clip count (``fid_frames``).
        encoder: a loaded `InceptionEncoder` to share, instead of `weights`.
    """

    metric = FIDMetric()
    features = INCEPTION_WIDTH

    def update(self, batch: Tensor | NDArray[Any], *, real: bool, fps: float | Fraction = 24) -> None:
        """Add videos, or embeddings of frames, ``(B, 2048)`` or ``(B, frames, 2048)``; else as `FVD.update`."""
        if getattr(batch, "ndim", 0) == 3:
            rows = batch
        else:
            rows = self._encoding.pictures(batch, fps)
        super().update(rows.reshape(-1, rows.shape[-1]), real=real)
