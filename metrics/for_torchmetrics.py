"""FVD, KVD, FAD and FID as `torchmetrics.Metric`: for `MetricCollection` and Lightning's ``self.log``.

    from javisbench.metrics.for_torchmetrics import FVD, KVD

    metrics = MetricCollection({"fvd": FVD("i3d_pretrained_400.pt"), "kvd": KVD("i3d_pretrained_400.pt")})
    metrics.update(videos, real=False, fps=24)

Needs the extra ``torchmetrics``. Each holds an accumulator of `javisbench.metrics.accumulators`, which does the work;
its buffers are the metric's states, so that processes are joined the way torchmetrics does it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from javisbench.errors import UsageError
from javisbench.metrics import accumulators
from javisbench.protocol import DEFAULT_PROTOCOL

try:
    from torchmetrics import Metric
    from torchmetrics.utilities import dim_zero_cat
except ImportError as error:
    raise UsageError(
        f"javisbench.metrics.for_torchmetrics needs the package torchmetrics: pip install 'javisbench[torchmetrics]' "
        f"({error})."
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from javisbench.metrics.accumulators import SetAccumulator
    from javisbench.metrics.encoders.base import Encoder
    from javisbench.protocol import Protocol


class SetDistance(Metric):  # type: ignore[misc]  # torchmetrics may be absent where types are checked
    """A distance of two growing sets as a torchmetrics metric.

    Args:
        accumulator: does the work; its state is taken over.
        reset_real_features: whether `reset` forgets the real side too. Lightning resets what it logs after every epoch:
            False keeps a real side that was added once.
        kwargs: of `torchmetrics.Metric` (``sync_on_compute``, ``process_group``, ...).
    """

    is_differentiable: ClassVar[bool] = False
    higher_is_better: ClassVar[bool] = False
    full_state_update: ClassVar[bool] = False

    def __init__(self, accumulator: SetAccumulator, *, reset_real_features: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reset_real_features = reset_real_features
        # In a tuple, so that torch does not take it for a part with a state of its own.
        self._accumulator = (accumulator,)
        for name, state in accumulator.named_buffers():
            if name.endswith("_rows"):
                self.add_state(name, [], dist_reduce_fx="cat", persistent=True)
            else:
                self.add_state(name, state, dist_reduce_fx=None, persistent=True)

    def compute(self) -> Tensor:
        """The distance between both sides, shape ``()``.

        Raises:
            MetricError: fewer than two rows on a side.
        """
        return torch.tensor(self._filled().compute(), device=self.device)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """`update`, and the distance between all that both sides have seen; NaN while one has fewer than two rows.

        Not that of the batch alone, as other metrics have it: sets as small as a batch have no distance worth looking
        at. It costs far more than an update.
        """
        self.update(*args, **kwargs)
        seen = self._filled()
        enough = min(seen.count(real=real) for real in (True, False)) >= 2
        self._forward_cache = torch.tensor(seen.compute() if enough else float("nan"), device=self.device)
        return self._forward_cache

    def reset(self) -> None:
        """Forget the generated side, and the real one unless it is to be kept."""
        kept = {} if self.reset_real_features else {n: getattr(self, n) for n in self._defaults if n.startswith("real")}
        kept = {name: list(state) if isinstance(state, list) else state for name, state in kept.items()}
        super().reset()
        for name, state in kept.items():
            setattr(self, name, state)

    def _add(self, batch: Any, real: bool, **facts: Any) -> None:
        seen = self._filled()
        seen.update(batch, real=real, **facts)
        for name, state in seen.named_buffers():
            setattr(self, name, [state] if isinstance(self._defaults[name], list) else state)

    def _filled(self) -> SetAccumulator:
        """An accumulator with the metric's state: after a synchronisation, that of all processes."""
        (accumulator,) = self._accumulator
        accumulator.to(self.device)
        parts = [self._states(process) for process in range(self._processes())]
        total = accumulator.filled(parts[0])
        for part in parts[1:]:
            total.merge(accumulator.filled(part))
        return total

    def _processes(self) -> int:
        """How many processes' states lie side by side: torchmetrics stacks those that it does not know to join."""
        stacked = [getattr(self, name) for name, default in self._defaults.items() if isinstance(default, Tensor)]
        counts = [state for state in stacked if not state.is_floating_point()]
        return len(counts[0]) if counts and counts[0].ndim else 1

    def _states(self, process: int) -> dict[str, Tensor]:
        states = {}
        for name, default in self._defaults.items():
            state = getattr(self, name)
            if isinstance(default, list):
                states[name] = dim_zero_cat(state) if len(state) else self._no_rows()
            else:
                states[name] = state[process] if state.ndim > default.ndim else state
        return states

    def _no_rows(self) -> Tensor:
        return torch.zeros(0, self._accumulator[0].width, dtype=torch.float64, device=self.device)

    def _sync_dist(self, dist_sync_fn: Callable[..., Any] | None = None, process_group: Any = None) -> None:
        # Rows of one type and rank everywhere, also where a process has seen none.
        for name, default in self._defaults.items():
            if isinstance(default, list):
                setattr(self, name, [self._states(0)[name].to(torch.float64)])
        given = {} if dist_sync_fn is None else {"dist_sync_fn": dist_sync_fn}
        super()._sync_dist(process_group=process_group, **given)


class _Named(SetDistance):
    """What the metrics below share."""

    kind: ClassVar[type[Any]]

    def __init__(
        self,
        weights: str | Path | None = None,
        *,
        protocol: Protocol | str = DEFAULT_PROTOCOL,
        encoder: Encoder | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(self.kind(weights, protocol=protocol, encoder=encoder), **kwargs)


class _OfVideos(_Named):
    def update(self, batch: Tensor | NDArray[np.generic], *, real: bool, fps: float | Fraction = 24) -> None:
        """As the class of this name in `javisbench.metrics` has it."""
        self._add(batch, real, fps=fps)


class FVD(_OfVideos):
    """FVD for torchmetrics; arguments as for `javisbench.metrics.FVD` and `SetDistance`."""

    kind = accumulators.FVD


class KVD(_OfVideos):
    """KVD for torchmetrics; arguments as for `javisbench.metrics.KVD` and `SetDistance`."""

    kind = accumulators.KVD


class FID(_OfVideos):
    """FID of frames for torchmetrics; arguments as for `javisbench.metrics.FID` and `SetDistance`."""

    kind = accumulators.FID


class FAD(_Named):
    """FAD for torchmetrics; arguments as for `javisbench.metrics.FAD` and `SetDistance`."""

    kind = accumulators.FAD

    def update(self, batch: Tensor | NDArray[np.generic], *, real: bool, sample_rate: int = 16000) -> None:
        """See `javisbench.metrics.FAD.update`."""
        self._add(batch, real, sample_rate=sample_rate)
