"""An encoder with weights: one small PyTorch network over the colours of a clip."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from javisbench.clip import ClipHead, FrameRun
from javisbench.metrics.encoders.base import Encoded, EncoderCard, FeatureSpec, Intake, Stream, StreamEncoder
from javisbench.metrics.encoders.network_encoder import NetworkEncoder

if TYPE_CHECKING:
    from torch import nn


class _PaletteIntake(Intake):
    """Keeps the mean colour of each frame: six numbers a clip are left of all its pixels."""

    def __init__(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> None:
        super().__init__(head, specs)
        self._colours: list[NDArray[np.float64]] = []

    @property
    def wanted(self) -> None:
        return None

    def take(self, run: FrameRun) -> None:
        self._colours += [frame.mean(axis=(0, 1)) / 255 for frame in run.frames]

    def palette(self) -> NDArray[np.float32]:
        colours = np.array(self._colours)
        return np.concatenate([colours.mean(axis=0), colours.std(axis=0)]).astype(np.float32)


class PaletteEncoder(NetworkEncoder["nn.Linear"], StreamEncoder):
    """A projection of a clip's colours.

    Features:
        ``palette``: ``embedding``, float32 ``(4,)``, of mean and standard deviation of the frames' mean colours.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="palette",
        title="Example palette",
        variants={"default": "example_palette"},  # the id of its weights: data_cards/weights/example_palette.toml
        licence="Apache-2.0",
        source="an example",
    )

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        return "picture"  # another sound under the same picture has the same features

    def _build(self) -> "nn.Linear":
        from torch import nn

        return nn.Linear(6, 4)

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        return _PaletteIntake(head, specs)

    def features(self, intakes: Sequence[Intake]) -> list[Encoded]:
        import torch

        found: list[Encoded] = []
        for intake in intakes:
            assert isinstance(intake, _PaletteIntake)
            row = torch.from_numpy(intake.palette()).to(self._device)
            embedding = self._loaded()(row).cpu().numpy()
            found.append({spec: {"embedding": embedding} for spec in intake.specs})
        return found
