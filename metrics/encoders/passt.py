"""PaSST: what a sound is, as features and as AudioSet classes, through the package `hear21passt` (extra ``passt``)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from javisbench.errors import FeatureError, UsageError
from javisbench.metrics.encoders.base import Encoded, EncoderCard, FeatureSpec, SoundEncoder, what_lacks
from javisbench.metrics.encoders.checkpoint import first_line
from javisbench.metrics.encoders.network_encoder import NetworkEncoder
from javisbench.metrics.encoders.preprocessing.mono import mono

if TYPE_CHECKING:
    from torch import Tensor, nn

    from javisbench.clip import ClipHead

SAMPLE_RATE = 32000
WINDOW = 10 * SAMPLE_RATE
STEP = 5 * SAMPLE_RATE
CLASSES = 527
_LONGEST_S = 3600.0
_PEAK = 10 ** (-1 / 20)
_N_FFT, _HANN, _HOP = 1024, 800, 320
_BANDS, _HIGHEST_HZ = 128, 15000.0
_COLUMNS = 998
_PRE_EMPHASIS = 0.97


class PaSSTEncoder(NetworkEncoder["nn.Module"], SoundEncoder):
    """PaSST-S with overlapping patches (10 x 10), as the package hear21passt has it.

    Features, float32, of the channels' mean at 32 kHz: ``features``: ``embedding``, shape ``(768,)``, the mean of the
    two tokens that stand for the sound; ``logits``: ``embedding``, shape ``(527,)``, of AudioSet's classes, before the
    sigmoid. Setting ``windows``: ``one``, of the first ``seconds``, their mean taken off, followed by silence up to
    10 s; ``every_5_s``, of all of the sound (an hour at most), its peak at -1 dB, in windows of 10 s that begin every
    5 s while there is sound that the one before did not reach, the last one followed by silence; what the network
    makes of them is averaged.

    The spectrogram is made here: the package's own needs a torchaudio, which its network does not.

    Weights: ``passt-s-f128-p16-s10-ap.476-swa.pt``.

    Source: Koutini et al., Efficient Training of Audio Transformers with Patchout, Interspeech 2022 (arXiv:2110.05069).
    """

    cpu_batch = 4  # windows
    input_bytes = 158_000_000

    card: ClassVar[EncoderCard] = EncoderCard(
        name="passt",
        title="PaSST",
        variants={"s-ap476": "passt"},
        licence="Apache-2.0",
        source="Koutini et al., Interspeech 2022 (arXiv:2110.05069); the package hear21passt",
        extra="passt",
        module="hear21passt",
    )

    @classmethod
    def lacking(cls) -> str | None:
        """The sentence for a hear21passt that cannot be imported."""
        return what_lacks(_package)

    def _build(self) -> nn.Module:
        import torch

        package = _package()
        # Its constructor reads values back, which tensors without values do not have.
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            network: nn.Module = package.PaSST(
                img_size=(_BANDS, _COLUMNS), patch_size=16, stride=10, num_classes=CLASSES, distilled=True
            )
        return network

    def encode_sounds(self, heads: Sequence[ClipHead], specs: Sequence[FeatureSpec]) -> list[Encoded]:
        """Features and logits of each clip's sound."""
        self._loaded()
        for spec in specs:
            if spec.feature not in ("features", "logits") or spec.subject != "clip":
                raise UsageError(f"The encoder passt has 'features' and 'logits' of clips, not {spec.feature!r}.")
        results: list[Encoded] = [{} for _ in heads]
        for prep in dict.fromkeys(spec.prep for spec in specs):
            alike = [spec for spec in specs if spec.prep == prep]
            sounds: dict[int, Tensor] = {}
            for place, head in enumerate(heads):
                try:
                    sounds[place] = windows(head, alike[0])
                except FeatureError as error:
                    results[place] |= dict.fromkeys(alike, error)
            for place, row in self._embed(sounds).items():
                for spec in alike:
                    made = row[CLASSES:] if spec.feature == "features" else row[:CLASSES]
                    results[place][spec] = {"embedding": made}
        return results

    def _embed(self, sounds: Mapping[int, Tensor]) -> dict[int, np.ndarray]:
        """Place to logits and features, one after the other, the mean over the sound's windows."""
        import torch

        if not sounds:
            return {}
        network = self._loaded()
        with torch.inference_mode():
            columns = self._transfer.up(torch.cat([log_mel(sound) for sound in sounds.values()]))
            made = self._transfer.down(self._batches(lambda x: torch.cat(network(x[:, None]), dim=1), columns)).array()
        ends = np.cumsum([len(sound) for sound in sounds.values()])[:-1]
        return {
            place: rows.mean(axis=0, dtype=np.float64).astype(np.float32)
            for place, rows in zip(sounds, np.split(made, ends), strict=True)
        }


def windows(clip: ClipHead, spec: FeatureSpec) -> Tensor:
    """What PaSST hears of a clip: float32, shape ``(windows, 320000)``.

    Raises:
        FeatureError: the clip has no sound (``no_audio``), more than an hour of it (``too_large``), or values that are
            not numbers (``non_finite``).
    """
    import torch

    from javisbench.metrics.encoders.preprocessing.windowed_sinc import resample

    samples, rate = mono(clip, "PaSST has nothing to hear", longest_s=_LONGEST_S)
    sound = torch.from_numpy(samples)
    if spec.settings["windows"] == "one":
        total = round(SAMPLE_RATE * float(spec.settings["seconds"]))
        sound = resample(sound - sound.mean(), rate, SAMPLE_RATE)[:total]
        return torch.nn.functional.pad(sound, (0, WINDOW - len(sound)))[None]
    sound = resample(sound, rate, SAMPLE_RATE)
    loudest = float(sound.abs().max())
    if loudest > 0:
        sound = sound * (_PEAK / loudest)
    starts = range(0, max(STEP, len(sound) - STEP), STEP)
    padded = torch.nn.functional.pad(sound, (0, starts[-1] + WINDOW - min(len(sound), starts[-1] + WINDOW)))
    return torch.stack([padded[start : start + WINDOW] for start in starts])


def log_mel(sounds: Tensor) -> Tensor:
    """Log-mel spectrogram as PaSST was trained on.

    Pre-emphasis 0.97, Hann windows of 25 ms every 10 ms in transforms of 1024 samples, power, 128 triangles as Kaldi
    has them from 0 to 15000 Hz, log(x + 1e-5), and (x + 4.5) / 5. The last two of 1000 columns lie beyond all patches.

    Args:
        sounds: float32 at 32 kHz, shape ``(n, 320000)``.

    Returns:
        float32, shape ``(n, 128, 998)``.
    """
    import torch

    from javisbench.metrics.encoders.preprocessing.kaldi_mel import mel_banks

    sharpened = sounds[:, 1:] - _PRE_EMPHASIS * sounds[:, :-1]
    window = torch.hann_window(_HANN, periodic=False)
    spectrum = torch.stft(sharpened, _N_FFT, _HOP, _HANN, window, center=True, pad_mode="reflect", return_complex=True)
    banks = mel_banks(_BANDS, _N_FFT, SAMPLE_RATE, 0.0, _HIGHEST_HZ)
    power = spectrum[:, :-1].abs().square()
    return (((banks @ power + 1e-5).log() + 4.5) / 5)[..., :_COLUMNS]


def _package() -> Any:
    """The module of hear21passt that holds the network.

    Raises:
        UsageError: it cannot be imported.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its raw strings
            from hear21passt.models import passt
    except (ImportError, OSError, RuntimeError, AttributeError, SyntaxError) as error:
        raise UsageError(
            f"hear21passt and its timm cannot be imported ({first_line(error)}). Install them with pip install "
            "'javisbench[passt]', together with a torchvision built for the installed torch.",
            kind="missing_extra",
        ) from error
    # It would print the shape of everything in its first forward pass.
    passt.first_RUN = False
    return passt
