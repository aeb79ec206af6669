"""CNN14 of PANNs at 16 and at 32 kHz: what a sound is, as features and as AudioSet classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.errors import FeatureError, UsageError
from javisbench.metrics.encoders.base import Encoded, EncoderCard, FeatureSpec, SoundEncoder
from javisbench.metrics.encoders.network_encoder import NetworkEncoder
from javisbench.metrics.encoders.preprocessing.mono import mono

if TYPE_CHECKING:
    from torch import Tensor, nn

    from javisbench.clip import ClipHead

_POWER_FLOOR = 1e-10
# Five poolings by two: fewer columns leave nothing.
_LEAST_COLUMNS = 32


@dataclass(frozen=True)
class Cnn14Config:
    """Numbers of the network and of what it hears.

    Attributes:
        sample_rate: Hz.
        n_fft: samples of the Fourier transform and of its window.
        hop: samples between columns.
        mels: bands of the spectrogram.
        lowest_hz: of the bands.
        highest_hz: of the bands.
        width: channels after the first block; each of the six doubles it.
        classes: of AudioSet.
    """

    sample_rate: int = 16000
    n_fft: int = 512
    hop: int = 160
    mels: int = 64
    lowest_hz: float = 50.0
    highest_hz: float = 8000.0
    width: int = 64
    classes: int = 527

    @property
    def features(self) -> int:
        """Width of the embedding."""
        return self.width * 2**5


VARIANTS = {
    "panns_16k": {"cnn14": Cnn14Config()},
    "panns_32k": {"cnn14": Cnn14Config(sample_rate=32000, n_fft=1024, hop=320, highest_hz=14000.0)},
}


def build(config: Cnn14Config) -> nn.Module:
    """The network: float32 sounds ``(n, samples)`` to logits ``(n, classes)`` and features ``(n, features)``.

    The front end (a windowed Fourier transform as two convolutions, and the mel bands) is part of the checkpoint.

    Source: Kong et al., PANNs, IEEE/ACM TASLP 28, 2020, table 1 and section II.
    """
    import torch
    import torch.nn.functional as F
    from torch import nn

    from javisbench.metrics.encoders.cavp.network import ConvBlock

    bins = config.n_fft // 2 + 1

    class Fourier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv_real = nn.Conv1d(1, bins, config.n_fft, config.hop, bias=False)
            self.conv_imag = nn.Conv1d(1, bins, config.n_fft, config.hop, bias=False)

    class Spectrogram(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stft = Fourier()

        def forward(self, sounds: Tensor) -> Tensor:
            padded = F.pad(sounds[:, None], (config.n_fft // 2,) * 2, mode="reflect")
            power: Tensor = self.stft.conv_real(padded) ** 2 + self.stft.conv_imag(padded) ** 2
            return power.transpose(1, 2)

    class LogMel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.melW = nn.Parameter(torch.empty(bins, config.mels))

        def forward(self, power: Tensor) -> Tensor:
            return 10 * torch.log10((power @ self.melW).clamp(min=_POWER_FLOOR))

    class Cnn14(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spectrogram_extractor = Spectrogram()
            self.logmel_extractor = LogMel()
            self.bn0 = nn.BatchNorm2d(config.mels)
            widths = [1, *(config.width * 2**block for block in range(6))]
            for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
                self.add_module(f"conv_block{number}", ConvBlock(inputs, outputs, (1, 1) if number == 6 else (2, 2)))
            self.fc1 = nn.Linear(config.features, config.features)
            self.fc_audioset = nn.Linear(config.features, config.classes)

        def forward(self, sounds: Tensor) -> tuple[Tensor, Tensor]:
            x = self.logmel_extractor(self.spectrogram_extractor(sounds))[:, None]
            x = self.bn0(x.transpose(1, 3)).transpose(1, 3)
            for number in range(1, 7):
                x = self.get_submodule(f"conv_block{number}")(x)
            x = x.mean(dim=3)
            features = F.relu(self.fc1(x.amax(dim=2) + x.mean(dim=2)))
            return self.fc_audioset(features), features

    return Cnn14()


class _PANNsEncoder(NetworkEncoder["nn.Module"], SoundEncoder):
    """CNN14 of PANNs.

    Features, float32, of the channels' mean at the network's rate: ``features``: ``embedding``, shape ``(2048,)``;
    ``logits``: ``embedding``, shape ``(527,)``, of AudioSet's classes, before the sigmoid. Settings: ``seconds`` (what
    comes after is not heard), ``fill`` (whether shorter sound is followed by silence up to there) and ``centred``
    (whether the mean of the samples is taken off).
    """

    cpu_batch = 8

    def _build(self) -> nn.Module:
        return build(VARIANTS[self.card.name][self.variant])

    def _state(self, checkpoint: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return checkpoint

    def encode_sounds(self, heads: Sequence[ClipHead], specs: Sequence[FeatureSpec]) -> list[Encoded]:
        """Features and logits of each clip's sound."""
        self._loaded()
        for spec in specs:
            if spec.feature not in ("features", "logits") or spec.subject != "clip":
                raise UsageError(
                    f"The encoder {self.card.name} has 'features' and 'logits' of clips, not {spec.feature!r}."
                )
        results: list[Encoded] = [{} for _ in heads]
        for prep in dict.fromkeys(spec.prep for spec in specs):
            alike = [spec for spec in specs if spec.prep == prep]
            sounds: dict[int, Tensor] = {}
            for place, head in enumerate(heads):
                try:
                    sounds[place] = heard(head, VARIANTS[self.card.name][self.variant], alike[0])
                except FeatureError as error:
                    results[place] |= dict.fromkeys(alike, error)
            for place, (logits, features) in self._embed(sounds).items():
                for spec in alike:
                    made = features if spec.feature == "features" else logits
                    results[place][spec] = {"embedding": made}
        return results

    def _embed(self, sounds: Mapping[int, Tensor]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Place to logits and features; sounds of one length go together."""
        import torch

        network = self._loaded()
        classes = VARIANTS[self.card.name][self.variant].classes
        embedded: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        with torch.inference_mode():
            for length in dict.fromkeys(len(sound) for sound in sounds.values()):
                places = [place for place, sound in sounds.items() if len(sound) == length]
                stacked = self._transfer.up(torch.stack([sounds[place] for place in places]))
                both = self._transfer.down(self._batches(lambda x: torch.cat(network(x), dim=1), stacked))
                for place, row in zip(places, both.array(), strict=True):
                    embedded[place] = row[:classes], row[classes:]
        return embedded


class PANNs16kEncoder(_PANNsEncoder):
    """CNN14 of PANNs, trained at 16 kHz; see the base for its features.

    Weights: ``Cnn14_16k_mAP=0.438.pth``.

    Source: Kong et al., PANNs, IEEE/ACM TASLP 28, 2020.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="panns_16k",
        title="PANNs CNN14, 16 kHz",
        variants={"cnn14": "panns_cnn14_16k"},
        licence="CC BY 4.0",
        source="Kong et al., PANNs, IEEE/ACM TASLP 28, 2020",
    )


class PANNs32kEncoder(_PANNsEncoder):
    """CNN14 of PANNs, trained at 32 kHz; see the base for its features.

    Weights: ``Cnn14_mAP=0.431.pth``.

    Source: Kong et al., PANNs, IEEE/ACM TASLP 28, 2020.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="panns_32k",
        title="PANNs CNN14, 32 kHz",
        variants={"cnn14": "panns_cnn14_32k"},
        licence="CC BY 4.0",
        source="Kong et al., PANNs, IEEE/ACM TASLP 28, 2020",
    )


def heard(clip: ClipHead, config: Cnn14Config, spec: FeatureSpec) -> Tensor:
    """What the network hears of a clip: float32, shape ``(samples,)``.

    Raises:
        FeatureError: the clip has no sound (``no_audio``), too little of it (``too_short``), or values that are not
            numbers.
    """
    import torch

    from javisbench.metrics.encoders.preprocessing.windowed_sinc import resample

    samples, rate = mono(clip, "PANNs has nothing to hear")
    sound = torch.from_numpy(samples)
    if spec.settings["centred"]:
        sound = sound - sound.mean()
    total = round(config.sample_rate * float(spec.settings["seconds"]))
    sound = resample(sound, rate, config.sample_rate)[:total]
    if spec.settings["fill"]:
        sound = torch.nn.functional.pad(sound, (0, total - len(sound)))
    least = (_LEAST_COLUMNS - 1) * config.hop
    if len(sound) < least:
        raise FeatureError(
            f"The sound of {clip.name} is {len(sound) / config.sample_rate:.2f} s long; PANNs needs "
            f"{least / config.sample_rate:.2f} s.",
            kind="too_short",
        )
    return sound
