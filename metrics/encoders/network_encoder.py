"""Encoders whose networks run on a device, and those among them that are one network, filled from one checkpoint."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from javisbench.errors import UsageError, WeightsError
from javisbench.metrics.encoders.base import Encoded, Encoder, FeatureSpec, Intake, StreamEncoder
from javisbench.metrics.encoders.batching import ACTIVATION_BYTES, Batches, inputs_within_bound
from javisbench.metrics.encoders.checkpoint import load_checkpoint, load_strict, without_values
from javisbench.metrics.encoders.transfer import Transfer

if TYPE_CHECKING:
    from torch import Tensor, nn

Network = TypeVar("Network", bound="nn.Module")


# Sixteen inputs to a forward pass on a GPU, for encoders that do not say what one takes.
_UNKNOWN_BYTES = ACTIVATION_BYTES // 16


class DeviceEncoder(Encoder):
    """Base of encoders whose networks run on a device.

    Attributes:
        cpu_batch: network inputs of a forward pass on a CPU.
        input_bytes: what the tensors of a forward pass take at the peak for each input (float32); decides how many
            inputs a pass has on a GPU (`javisbench.metrics.encoders.batching.ACTIVATION_BYTES`).
    """

    cpu_batch: ClassVar[int] = 16
    input_bytes: ClassVar[int] = _UNKNOWN_BYTES

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self._move("cpu")

    def _move(self, device: str) -> None:
        """From now on inputs go to `device`."""
        self._device = device
        self._transfer = Transfer(device)
        self._batches = Batches(self.cpu_batch if device == "cpu" else inputs_within_bound(self.input_bytes))

    def full_batch(self, specs: Sequence[FeatureSpec]) -> int:
        """One forward pass."""
        return self._batches.size


class StartingEncoder(StreamEncoder):
    """Base of encoders that say what their device is to do in `start`, and take the results later."""

    @abstractmethod
    def start(self, intakes: Sequence[Intake]) -> Callable[[], list[Encoded]]:
        """Set the features of a batch going; see `Encoder.start`."""

    def features(self, intakes: Sequence[Intake]) -> list[Encoded]:
        """Features of a batch of clips."""
        return self.start(intakes)()


class NetworkEncoder(DeviceEncoder, Generic[Network]):
    """Loads strictly, keeps the network for inference on one device, and drops it when closed."""

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self._network: Network | None = None

    @abstractmethod
    def _build(self) -> Network:
        """The variant's network; its values are filled afterwards."""

    def _state(self, checkpoint: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The tensors of `checkpoint` that belong to the network, under the network's names."""
        return checkpoint

    def _trim(self, network: Network) -> None:
        """Drop what never runs, before it is moved."""

    def load(self, weights: Path | None, device: str) -> None:
        """Read the checkpoint at `weights` and move the network to `device`. Nothing is downloaded.

        Raises:
            WeightsError: no file was given, or it does not hold this network; every wrong name is listed.
            UsageError: a package that the network is made of cannot be imported.
        """
        what = f"{self.card.title} ({self.variant})"
        if weights is None:
            raise WeightsError(f"{what} needs its weights; give the path of the checkpoint.")
        with without_values():
            network = self._build()
        load_strict(network, self._state(load_checkpoint(weights)), what=what, path=weights)
        self._trim(network)
        self._network = network.eval().requires_grad_(False).to(device)
        self._move(device)

    def compile(self) -> None:
        """Compile the network's `compiled_parts`, each when it first runs, and again for inputs of another size."""
        for name in self.compiled_parts:
            self._loaded().get_submodule(name).compile()

    def close(self) -> None:
        """Drop the network."""
        self._network = None

    def _loaded(self) -> Network:
        if self._network is None:
            raise UsageError(f"Call {type(self).__name__}.load before encode.")
        return self._network
