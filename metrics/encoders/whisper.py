"""What is said in a clip, by Whisper through `transformers`, where Silero VAD hears speech (extra ``speech``)."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.encoders.base import Encoded, EncoderCard, Features, FeatureSpec, SoundEncoder
from javisbench.metrics.encoders.checkpoint import first_line
from javisbench.metrics.encoders.preprocessing.mono import mono

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.clip import ClipHead

SAMPLE_RATE = 16000
WINDOW_S = 30
_LONGEST_S = 3600.0
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


class WhisperEncoder(SoundEncoder):
    """Whisper, its own choice of language, greedy, without memory of the window before.

    Feature ``transcript``: ``text`` and ``language``, uint8, UTF-8; ``speech_s``, float64, shape ``()``, seconds in
    which Silero VAD hears speech. Where it hears none, the text is empty and Whisper is not asked: on silence and
    noise it makes words up. Settings: ``vad_threshold``, and ``vad_least_ms``, the shortest speech that counts.

    Sound is the channels' mean at 16 kHz, at most an hour; beyond 30 s Whisper goes on by its own time stamps.

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
        self._vad: Any = None
        self._device = "cpu"

    @classmethod
    def lacking(cls) -> str | None:
        """Silero VAD, or jiwer, which compares what is heard."""
        for module in ("silero_vad", "jiwer"):
            if importlib.util.find_spec(module) is None:
                return f"Whisper needs the module {module}, which is not installed: pip install 'javisbench[speech]'"
        return None

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
            from silero_vad import load_silero_vad
        except ImportError as error:
            raise UsageError(
                f"Whisper needs transformers and silero-vad ({error}). Install them with: "
                "pip install 'javisbench[speech]'",
                kind="missing_extra",
            ) from error
        self._model = self._network(transformers, folder).eval().requires_grad_(False).to(device)
        try:
            self._hearing = transformers.WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
            self._tokenizer = transformers.WhisperTokenizerFast.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # whatever a damaged JSON file makes the library raise
            raise WeightsError(f"{folder} holds no tokenizer or preparation of Whisper: {first_line(error)}") from error
        self._vad = load_silero_vad(onnx=True)
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
        self._model = self._hearing = self._tokenizer = self._vad = None

    def encode_sounds(self, heads: Sequence[ClipHead], specs: Sequence[FeatureSpec]) -> list[Encoded]:
        """What is said in each clip."""
        if self._model is None:
            raise UsageError("Call WhisperEncoder.load before encode.")
        for spec in specs:
            if spec.feature != "transcript" or spec.subject != "clip":
                raise UsageError(f"The encoder whisper has 'transcript' of clips, not {spec.feature!r}.")
        results: list[Encoded] = []
        for head in heads:
            try:
                sound = _mono(head)
                results.append({spec: self._transcript(sound, spec) for spec in specs})
            except FeatureError as error:
                results.append(dict.fromkeys(specs, error))
        return results

    def _transcript(self, sound: NDArray[np.float32], spec: FeatureSpec) -> Features:
        speech_s = self._speech_s(sound, spec)
        text, language = self._heard(sound) if speech_s else ("", "")
        coded = {"text": text, "language": language}
        return {
            **{name: np.frombuffer(value.encode("utf-8"), np.uint8).copy() for name, value in coded.items()},
            "speech_s": np.array(speech_s),
        }

    def _speech_s(self, sound: NDArray[np.float32], spec: FeatureSpec) -> float:
        """Seconds in which Silero VAD hears speech."""
        import torch
        from silero_vad import get_speech_timestamps

        self._vad.reset_states()
        spans = get_speech_timestamps(
            torch.from_numpy(sound),
            self._vad,
            threshold=float(spec.settings["vad_threshold"]),
            min_speech_duration_ms=int(spec.settings["vad_least_ms"]),
            sampling_rate=SAMPLE_RATE,
        )
        return float(sum(span["end"] - span["start"] for span in spans)) / SAMPLE_RATE

    def _heard(self, sound: NDArray[np.float32]) -> tuple[str, str]:
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


def _mono(clip: ClipHead) -> NDArray[np.float32]:
    """The channels' mean at 16 kHz.

    Raises:
        FeatureError: the clip has no sound, values that are not numbers, or more than an hour of it.
    """
    import torch

    from javisbench.metrics.encoders.preprocessing.windowed_sinc import resample

    samples, rate = mono(clip, "nothing is said", longest_s=_LONGEST_S)
    sound: NDArray[np.float32] = resample(torch.from_numpy(samples), rate, SAMPLE_RATE).numpy()
    return sound
