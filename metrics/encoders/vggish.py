"""VGGish: what each 0.96 s of a sound is like, through the package `torchvggish` (extra ``vggish``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from javisbench.errors import FeatureError, UsageError
from javisbench.metrics.encoders.base import Encoded, EncoderCard, FeatureSpec, SoundEncoder, what_lacks
from javisbench.metrics.encoders.network_encoder import NetworkEncoder
from javisbench.metrics.encoders.preprocessing.mono import mono

if TYPE_CHECKING:
    from torch import Tensor, nn

    from javisbench.clip import ClipHead

SAMPLE_RATE = 16000


class VGGishEncoder(NetworkEncoder["nn.Module"], SoundEncoder):
    """VGGish as the package torchvggish ports it from TensorFlow.

    Feature ``windows``: ``embedding``, float32, shape ``(windows, 128)``: outputs of the last layer for each 0.96 s of
    the channels' mean at 16 kHz, before its activation, without principal components and without quantisation.
    Setting ``seconds``: what comes after is not heard; shorter sound is followed by silence up to there.

    Weights: ``vggish-10086976.pth``.

    Source: Hershey et al., ICASSP 2017 (arXiv:1609.09430); torchvggish.
    """

    cpu_batch = 16  # windows

    card: ClassVar[EncoderCard] = EncoderCard(
        name="vggish",
        title="VGGish",
        variants={"audioset": "vggish"},
        licence="Apache-2.0",
        source="Hershey et al., ICASSP 2017 (arXiv:1609.09430); torchvggish's port of TensorFlow's weights",
        extra="vggish",
        module="torchvggish",
    )

    @classmethod
    def lacking(cls) -> str | None:
        """The sentence for a torchvggish that cannot be imported."""
        return what_lacks(_package)

    def _build(self) -> nn.Module:
        package = _package()
        network: nn.Module = package.VGG(package.make_layers(), postprocess=False)
        return network

    def _trim(self, network: nn.Module) -> None:
        network.embeddings = network.embeddings[:-1]  # type: ignore[index]

    def encode_sounds(self, heads: Sequence[ClipHead], specs: Sequence[FeatureSpec]) -> list[Encoded]:
        """Embeddings of each clip's windows."""
        self._loaded()
        for spec in specs:
            if spec.feature != "windows" or spec.subject != "clip":
                raise UsageError(f"The encoder vggish has 'windows' of clips only, not {spec.feature!r}.")
        results: list[Encoded] = [{} for _ in heads]
        for spec in dict.fromkeys(specs):
            inputs: dict[int, Tensor] = {}
            for place, head in enumerate(heads):
                try:
                    inputs[place] = windows(head, spec)
                except FeatureError as error:
                    results[place][spec] = error
            for place, embedding in self._embed(inputs).items():
                results[place][spec] = {"embedding": embedding}
        return results

    def _embed(self, inputs: Mapping[int, Tensor]) -> dict[int, np.ndarray]:
        """Place to embeddings; every clip has as many windows."""
        import torch

        if not inputs:
            return {}
        network = self._loaded()
        with torch.inference_mode():
            stacked = self._transfer.up(torch.cat(list(inputs.values())))
            rows = self._transfer.down(self._batches(network, stacked)).array()
        return dict(zip(inputs, np.split(rows, len(inputs)), strict=True))


def windows(clip: ClipHead, spec: FeatureSpec) -> Tensor:
    """What the network sees of a clip's sound: float32 log mel columns, shape ``(windows, 1, 96, 64)``.

    Raises:
        FeatureError: the clip has no sound (``no_audio``), or values that are not numbers (``non_finite``).
    """
    import torch

    from javisbench.metrics.encoders.preprocessing.windowed_sinc import resample

    samples, rate = mono(clip, "VGGish has nothing to hear")
    total = round(SAMPLE_RATE * float(spec.settings["seconds"]))
    sound = resample(torch.from_numpy(samples), rate, SAMPLE_RATE)[:total]
    sound = torch.nn.functional.pad(sound, (0, total - len(sound)))
    made: Tensor = _package().waveform_to_examples(sound.double().numpy(), SAMPLE_RATE)
    return made.detach()


def _package() -> Any:
    try:
        import torchvggish
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise UsageError(
            f"torchvggish cannot be imported ({error}). Install it with pip install 'javisbench[vggish]'.",
            kind="missing_extra",
        ) from error
    return torchvggish
