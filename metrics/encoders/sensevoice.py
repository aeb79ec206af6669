"""What is said in a clip, by SenseVoiceSmall through `funasr`, where Silero VAD hears speech (extra ``sensevoice``)."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from javisbench.errors import UsageError, WeightsError
from javisbench.metrics.encoders.base import EncoderCard
from javisbench.metrics.encoders.checkpoint import first_line, load_checkpoint, load_strict
from javisbench.metrics.encoders.recogniser import SAMPLE_RATE, Recogniser, Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW_S = 30
_FILES = ("model.pt", "config.yaml", "configuration.json", "am.mvn", "chn_jpn_yue_eng_ko_spectok.bpe.model")
_TAG = re.compile(r"<\|([^|<>]*)\|>")


class SenseVoiceEncoder(Recogniser):
    """SenseVoiceSmall, its own choice of language, with inverse text normalisation (numbers as digits, punctuation).

    Its feature is that of all recognisers (`Recogniser`). Sound of up to 30 s is heard as a whole; longer sound in
    stretches of up to 30 s from the beginning of speech to the end of speech, joined by spaces. What it says of
    emotions and events is left out.

    Weights: a folder as FunAudioLLM/SenseVoiceSmall has it. Nothing of it is executed.

    Source: An et al., FunAudioLLM, arXiv:2407.04051; Silero VAD 6.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="sensevoice",
        title="SenseVoiceSmall",
        variants={"small": "sensevoice_small"},
        licence="FunASR Model License 1.1",
        source="An et al., FunAudioLLM, arXiv:2407.04051; the package funasr; Silero VAD 6",
        extra="sensevoice",
        module="funasr",
    )

    # Without torchaudio, which does not import beside every torch, funasr makes its spectrograms by the last of these.
    needs_modules: ClassVar[tuple[str, ...]] = (*Recogniser.needs_modules, "kaldi_native_fbank")

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self._model: Any = None

    def load(self, weights: Path | None, device: str) -> None:
        """Let the package read the folder, and check its tensors. Nothing is downloaded.

        Raises:
            UsageError: funasr or silero-vad cannot be imported.
            WeightsError: no folder was given, a file is missing, or it does not hold this network.
        """
        if weights is None:
            raise WeightsError("SenseVoiceSmall needs its weights; give the path of their folder.")
        folder = weights if weights.is_dir() else weights.parent
        missing = [name for name in _FILES if not (folder / name).is_file()]
        if missing:
            raise WeightsError(f"{folder} lacks {', '.join(missing)}. Fetch the whole folder of SenseVoiceSmall.")
        # The package fills what a file lacks with numbers drawn by chance, and goes on.
        state = load_checkpoint(folder / "model.pt")
        model = _opened(folder, device)
        network: Any = getattr(model, "model", None)
        if network is None or type(network).__name__ != "SenseVoiceSmall":
            raise WeightsError(f"{folder} holds a {type(network).__name__}, not a SenseVoiceSmall. Fetch it again.")
        load_strict(network, state, what="SenseVoiceSmall", path=folder / "model.pt")
        self._load_vad()
        self._model = model

    def close(self) -> None:
        """Drop the networks."""
        super().close()
        self._model = None

    def _heard(self, sound: NDArray[np.float32], spans: Sequence[Span]) -> tuple[str, str]:
        """The text, and the language of its first part."""
        texts: list[str] = []
        language = ""
        for start, end in stretches(len(sound), spans):
            found = self._model.generate(input=[sound[start:end]], language="auto", use_itn=True, cache={})
            told = str(found[0]["text"]) if found else ""
            language = language or next(iter(_TAG.findall(told)), "")
            texts.append(_TAG.sub(" ", told))
        return " ".join(" ".join(texts).split()), language


def stretches(samples: int, spans: Sequence[Span]) -> list[Span]:
    """What is heard at once: the whole of a sound of up to 30 s; else speech, joined up to 30 s, and cut where a span
    by itself is longer.

    Args:
        samples: of the sound, at 16 kHz.
        spans: where there is speech, in order.
    """
    most = WINDOW_S * SAMPLE_RATE
    if samples <= most:
        return [(0, samples)]
    found: list[Span] = []
    for start, end in spans:
        if found and end - found[-1][0] <= most:
            found[-1] = (found[-1][0], end)
            continue
        found += [(cut, min(cut + most, end)) for cut in range(start, end, most)]
    return found


def _opened(folder: Path, device: str) -> Any:
    """The package's model of a folder, on `device`.

    Raises:
        UsageError: the package cannot be imported.
        WeightsError: it cannot read the folder.
    """
    import torch

    try:
        with _quiet():
            from funasr import AutoModel
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise UsageError(
            f"funasr cannot be imported ({first_line(error)}). Install it with: pip install 'javisbench[sensevoice]'",
            kind="missing_extra",
        ) from error
    try:
        # It seeds every generator, and would take four threads.
        with _quiet(), torch.random.fork_rng(devices=[]):
            return AutoModel(
                model=str(folder),
                device=device,
                ncpu=torch.get_num_threads(),
                trust_remote_code=False,
                disable_update=True,
                disable_pbar=True,
                disable_log=True,
            )
    except Exception as error:  # whatever a damaged folder makes the library raise
        raise WeightsError(f"{folder} cannot be read as SenseVoiceSmall: {first_line(error)}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The package prints, where results belong, and writes to the root logger, which would give itself a handler that
    writes everything twice.
    """
    root, nothing = logging.getLogger(), logging.NullHandler()
    root.addHandler(nothing)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        root.removeHandler(nothing)
