"""DNSMOS: how listeners would rate speech in noise, by ONNX files of the package `speechmos` (extra ``speech``)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.encoders.base import Encoded, EncoderCard, Features, FeatureSpec, SoundEncoder
from javisbench.metrics.encoders.preprocessing.mel_filters import slaney_mel_filters
from javisbench.metrics.encoders.preprocessing.mono import mono

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import ClipHead

SAMPLE_RATE = 16000
WINDOW_S = 9.01
WINDOW = 144160
P808_SAMPLES = 144000
P808_FFT, P808_HOP, P808_MELS, P808_FRAMES = 321, 160, 120, 900
RANGE_DB, POWER_FLOOR = 80.0, 1e-10
SILENT_DBFS = -60.0
_LEVEL_WINDOW_S = 0.02
_LONGEST_S = 3600.0

Windows = Literal["all", "rounded"]


@dataclass(frozen=True)
class Fit:
    """Polynomials that bring the network's outputs to the scale of listeners, highest power first."""

    sig: tuple[float, ...]
    bak: tuple[float, ...]
    ovrl: tuple[float, ...]


FITS = {
    "p835": Fit(
        (-0.08397278, 1.22083953, 0.0052439),
        (-0.13166888, 1.60915514, -0.39604546),
        (-0.06766283, 1.11546468, 0.04602535),
    ),
    "personalized": Fit(
        (-0.01019296, 0.02751166, 1.19576786, -0.24348726),
        (-0.04976499, 0.44276479, -0.1644611, 0.96883132),
        (-0.00533021, 0.005101, 1.18058466, -0.11236046),
    ),
}
FILES = {
    "p835": ("dnsmos_models/sig_bak_ovr.onnx", "269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd"),
    "personalized": (
        "pdnsmos_models/sig_bak_ovr.onnx",
        "9e3a197449ca2177f0997afec3bd6b890117ce2f17b89d6eea7fa0d47272c81c",
    ),
    "p808": ("dnsmos_models/model_v8.onnx", "9246480c58567bc6affd4200938e77eef49468c8bc7ed3776d109c07456f6e91"),
}


class DNSMOSEncoder(SoundEncoder):
    """DNSMOS P.835 and P.808 of a clip's sound, as the mean over windows of 9.01 s that begin every second.

    Sound is the channels' mean at 16 kHz. Shorter than a window, it is doubled until it fills one. Sound of which no
    20 ms window reaches an RMS level of -60 dBFS has no features: the networks give digital silence a background of
    3.5.

    Features, all float64:
        ``p835``: ``ratings``, shape ``(3,)``: speech (SIG), background (BAK), overall (OVRL), on a scale of about 1
            to 5, each fitted window by window; ``windows``, shape ``(n, 3)``.
        ``p808``: ``ratings``, shape ``(1,)``: overall, about 1 to 5; ``windows``, shape ``(n, 1)``.

    Setting ``windows``: ``all`` hears every whole window; ``rounded`` skips, as the published program does, those whose
    end in seconds rounds to a sample too few (the windows from 7 to 23 s, and some beyond 100 s).

    The variant ``personalized`` has a network and polynomials of its own for P.835; P.808 is the same.

    Weights: they come with the package, and are known by their SHA-256.

    Source: Reddy, Gopal and Cutler, DNSMOS P.835, ICASSP 2022; Reddy, Gopal and Cutler, DNSMOS, ICASSP 2021 (P.808).
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="dnsmos",
        title="DNSMOS",
        variants={"official": None, "personalized": None},
        licence="MIT",
        source="Reddy, Gopal and Cutler, DNSMOS P.835, ICASSP 2022, and DNSMOS, ICASSP 2021",
        extra="speech",
        module="speechmos",
    )

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self._sessions: dict[str, Any] = {}

    @classmethod
    def lacking(cls) -> str | None:
        """ONNX Runtime, which the package uses but does not ask for."""
        if importlib.util.find_spec("onnxruntime") is None:
            return "DNSMOS needs the module onnxruntime, which is not installed: pip install 'javisbench[speech]'"
        return None

    def load(self, weights: Path | None, device: str) -> None:
        """Open the package's networks. They run on the CPU, on one thread, whatever the device.

        Raises:
            UsageError: the package, or onnxruntime, cannot be imported.
            WeightsError: a file of the package is missing, or is not the published one.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise UsageError(
                f"DNSMOS needs onnxruntime ({error}). Install it with: pip install 'javisbench[speech]'",
                kind="missing_extra",
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        p835 = "personalized" if self.variant == "personalized" else "p835"
        for feature, name in (("p835", p835), ("p808", "p808")):
            self._sessions[feature] = onnxruntime.InferenceSession(
                _package_file(*FILES[name]), options, providers=["CPUExecutionProvider"]
            )

    def close(self) -> None:
        """Drop the networks."""
        self._sessions = {}

    def encode_sounds(self, heads: Sequence[ClipHead], specs: Sequence[FeatureSpec]) -> list[Encoded]:
        """The ratings of each clip's sound."""
        if not self._sessions:
            raise UsageError("Call DNSMOSEncoder.load before encode.")
        for spec in specs:
            if spec.feature not in self._sessions or spec.subject != "clip":
                raise UsageError(f"The encoder dnsmos has 'p835' and 'p808' of clips, not {spec.feature!r}.")
        results: list[Encoded] = []
        for head in heads:
            try:
                sound = audible(head)
                results.append({spec: self._rate(sound, spec) for spec in specs})
            except FeatureError as error:
                results.append(dict.fromkeys(specs, error))
        return results

    def _rate(self, sound: NDArray[np.float32], spec: FeatureSpec) -> Features:
        rows: list[list[float]] = []
        for window in windows(sound, "rounded" if spec.settings["windows"] == "rounded" else "all"):
            if spec.feature == "p808":
                rows.append(self._run("p808", p808_input(window)).tolist())
            else:
                fit = FITS["personalized" if self.variant == "personalized" else "p835"]
                raw = self._run("p835", window)
                rows.append([float(np.polyval(c, x)) for c, x in zip((fit.sig, fit.bak, fit.ovrl), raw, strict=True)])
        rated = np.asarray(rows, dtype=np.float64)
        return {"ratings": rated.mean(axis=0), "windows": rated}

    def _run(self, feature: str, values: NDArray[np.float32]) -> NDArray[np.float64]:
        session = self._sessions[feature]
        (output,) = session.run(None, {session.get_inputs()[0].name: values[None]})
        return np.asarray(output[0], dtype=np.float64)


def audible(clip: ClipHead) -> NDArray[np.float32]:
    """The channels' mean at 16 kHz, shape ``(samples,)``.

    Raises:
        FeatureError: the clip has no sound (``no_audio``), it is silent throughout (``silent``), holds values that are
            not numbers, or is longer than an hour.
    """
    import torch

    from javisbench.metrics.encoders.preprocessing.windowed_sinc import resample

    samples, rate = mono(clip, "there is no speech to rate", longest_s=_LONGEST_S)
    if _loudest_dbfs(samples, rate) < SILENT_DBFS:
        raise FeatureError(f"{clip.name} is silent, so there is no speech to rate.", kind="silent")
    sound: NDArray[np.float32] = resample(torch.from_numpy(samples), rate, SAMPLE_RATE).numpy()
    return sound


def _loudest_dbfs(samples: NDArray[np.float32], rate: int) -> float:
    """RMS level of the loudest 20 ms, in dB of full scale."""
    size = max(1, min(len(samples), round(_LEVEL_WINDOW_S * rate)))
    whole = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64)
    return float(10 * np.log10(max(np.square(whole).mean(axis=1).max(), 1e-30)))


def windows(sound: NDArray[np.float32], which: Windows) -> list[NDArray[np.float32]]:
    """The windows of `sound`, each float32 of 144160 samples; shorter sound is doubled until it fills one.

    Args:
        sound: mono at 16 kHz, at least one sample.
        which: as the encoder's setting.
    """
    while len(sound) < WINDOW:
        sound = np.concatenate([sound, sound])
    count = max(1, int(len(sound) // SAMPLE_RATE - WINDOW_S) + 1)
    if which == "all":
        return [sound[k * SAMPLE_RATE : k * SAMPLE_RATE + WINDOW] for k in range(count)]
    ends = [int((k + WINDOW_S) * SAMPLE_RATE) for k in range(count)]
    return [sound[end - WINDOW : end] for k, end in enumerate(ends) if end - k * SAMPLE_RATE >= WINDOW]


def p808_input(window: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the P.808 network sees of a window: log-mels, float32 ``(900, 120)``, from -1 to 1 at the loudest."""
    padded = np.pad(window[:P808_SAMPLES], P808_FFT // 2).astype(np.float64)
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(P808_FFT) / P808_FFT)
    frames = np.lib.stride_tricks.sliding_window_view(padded, P808_FFT)[::P808_HOP] * hann
    power: NDArray[np.float64] = np.square(np.abs(np.fft.rfft(frames, axis=1)))
    mel = power @ slaney_mel_filters(SAMPLE_RATE, P808_FFT, P808_MELS, 0.0, SAMPLE_RATE / 2).T
    level = 10 * np.log10(np.maximum(mel, POWER_FLOOR))
    level -= 10 * np.log10(max(mel.max(), POWER_FLOOR))
    level = np.maximum(level, level.max() - RANGE_DB)
    seen: NDArray[np.float32] = ((level[:P808_FRAMES] + 40.0) / 40.0).astype(np.float32)
    return seen


def _package_file(name: str, sha256: str) -> bytes:
    """A network of the installed package.

    Raises:
        UsageError: the package is not installed.
        WeightsError: it lacks the file, or holds another one.
    """
    import hashlib

    found = importlib.util.find_spec("speechmos")
    if found is None or not found.submodule_search_locations:
        raise UsageError(
            "DNSMOS needs the package speechmos. Install it with: pip install 'javisbench[speech]'",
            kind="missing_extra",
        )
    path = Path(found.submodule_search_locations[0]) / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"speechmos lacks {name} ({error}). Install the package again.") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise WeightsError(
            f"{path} is not the published network: its SHA-256 is {digest}, not {sha256}. Install speechmos again."
        )
    return content
