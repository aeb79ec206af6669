"""What is said in a clip, by Whisper through `transformers`, where Silero VAD hears speech (extra ``speech``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from javisbench.errors import UsageError, WeightsError
from javisbench.metrics.encoders.base import EncoderCard
from javisbench.metrics.encoders.checkpoint import first_line
from javisbench.metrics.encoders.recogniser import SAMPLE_RATE, Recogniser, Span

if TYPE_CHECKING:
    from numpy.typing import NDArray


WINDOW_S = 30
_ON_DEVICE = ("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json")


@dataclass(frozen=True)
class WhisperSize:
    """Numbers by which a checkpoint is known; everything else is alike.

    Attributes:
        width: of the model.
        encoder_layers: of the part that hears.
        decoder_layers: of the part that writes.
        mels: bands of the spectrogram.
    """

    width: int
    encoder_layers: int
    decoder_layers: int
    mels: int = 80


SIZES = {
    "large-v3": WhisperSize(1280, 32, 32, 128),
    "large-v3-turbo": WhisperSize(1280, 32, 4, 128),
    "large-v2": WhisperSize(1280, 32, 32),
    "medium": WhisperSize(1024, 24, 24),
    "small": WhisperSize(768, 12, 12),
    "base": WhisperSize(512, 6, 6),
    "tiny": WhisperSize(384, 4, 4),
}


class WhisperEncoder(Recogniser):
    """Whisper, its own choice of language, greedy, without memory of the window before.

    Its feature is that of all recognisers (`Recogniser`). Beyond 30 s of sound Whisper goes on by its own time stamps.

    Weights: a folder as openai/whisper-large-v3 has it, with model.safetensors, config.json, generation_config.json,
    preprocessor_config.json and tokenizer.json. Silero VAD's come with the package `silero-vad`.

    Source: Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, ICML 2023; Silero VAD 6.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="whisper",
        title="Whisper",
        variants={size: f"whisper_{size.replace('-', '_')}" for size in SIZES},
        licence="Apache-2.0",
        source="Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, ICML 2023",
        extra="speech",
        module="transformers",
    )

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self._model: Any = None
        self._hearing: Any = None
        self._tokenizer: Any = None
        self._device = "cpu"

    def load(self, weights: Path | None, device: str) -> None:
        """Read the folder, and move the network to `device`. Nothing is downloaded and nothing of the folder executed.

        Raises:
            UsageError: transformers or silero-vad is not installed.
            WeightsError: no folder was given, a file is missing, or it does not hold this network.
        """
        if weights is None:
            raise WeightsError("Whisper needs its weights; give the path of their folder.")
        folder = weights if weights.is_dir() else weights.parent
        missing = [name for name in ("model.safetensors", *_ON_DEVICE) if not (folder / name).is_file()]
        if missing:
            raise WeightsError(f"{folder} lacks {', '.join(missing)}. Fetch the whole folder of openai/whisper.")
        try:
            import transformers
        except ImportError as error:
            raise UsageError(
                f"Whisper needs transformers ({error}). Install it with: pip install 'javisbench[speech]'",
                kind="missing_extra",
            ) from error
        self._model = self._network(transformers, folder).eval().requires_grad_(False).to(device)
        try:
            self._hearing = transformers.WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
            self._tokenizer = transformers.WhisperTokenizerFast.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # whatever a damaged JSON file makes the library raise
            raise WeightsError(f"{folder} holds no tokenizer or preparation of Whisper: {first_line(error)}") from error
        self._load_vad()
        self._device = device

    def _network(self, transformers: Any, folder: Path) -> Any:
        size = SIZES[self.variant]
        try:
            config = transformers.WhisperConfig.from_pretrained(folder, local_files_only=True)
            found = WhisperSize(config.d_model, config.encoder_layers, config.decoder_layers, config.num_mel_bins)
            if found != size:
                raise WeightsError(f"{folder} holds another Whisper than {self.variant}: {found} instead of {size}.")
            with _no_bar(transformers):
                model, told = transformers.WhisperForConditionalGeneration.from_pretrained(
                    folder, config=config, local_files_only=True, use_safetensors=True, output_loading_info=True
                )
        except WeightsError:
            raise
        except Exception as error:  # as above
            raise WeightsError(f"{folder} cannot be read as Whisper {self.variant}: {first_line(error)}") from error
        # The last layer shares its weights with the first, and files leave it out.
        lacking = sorted(set(told["missing_keys"]) - {"proj_out.weight"})
        if lacking or told["unexpected_keys"] or told["mismatched_keys"]:
            parts = {"missing": lacking, "unexpected": told["unexpected_keys"], "other shapes": told["mismatched_keys"]}
            found_wrong = [
                f"{what} ({len(names)}): {', '.join(map(str, names))}" for what, names in parts.items() if names
            ]
            raise WeightsError(f"{folder} does not hold the weights of Whisper {self.variant}:", details=found_wrong)
        return model

    def close(self) -> None:
        """Drop the networks."""
        super().close()
        self._model = self._hearing = self._tokenizer = None

    def _heard(self, sound: NDArray[np.float32], spans: Sequence[Span]) -> tuple[str, str]:
        """The text, and the code of the language that Whisper took it for."""
        import torch

        is_long = len(sound) > WINDOW_S * SAMPLE_RATE
        more = {"truncation": False, "padding": "longest"} if is_long else {}
        inputs = self._hearing(
            sound, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True, **more
        )
        with torch.inference_mode():
            features = inputs["input_features"].to(self._device, self._model.dtype)
            mask = inputs["attention_mask"].to(self._device)
            language = self._model.detect_language(features[..., : 100 * WINDOW_S])[0]
            code = str(self._tokenizer.convert_ids_to_tokens(int(language))).strip("<|>")
            tokens = self._model.generate(
                features,
                attention_mask=mask,
                language=code,
                task="transcribe",
                num_beams=1,
                do_sample=False,
                temperature=0.0,
                condition_on_prev_tokens=False,
                return_timestamps=is_long,
            )
        (text,) = self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return str(text).strip(), code


@contextmanager
def _no_bar(transformers: Any) -> Iterator[None]:
    """Without a bar of the library's own beside the run's."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
