"""A judge in this process: a multimodal model of transformers, from a folder on this machine."""

from __future__ import annotations

import io
import threading
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import UsageError
from javisbench.metrics.encoders.judge_view import SAMPLE_RATE
from javisbench.run.judging.judge import RejectedError, Reply
from javisbench.system_faults import is_out_of_memory
from javisbench.text import printable

if TYPE_CHECKING:
    from javisbench.metrics.judges.inquiry import Inquiry, Part


class LocalModel:
    """Answers one inquiry at a time. Nothing holds it to the form of answers but the words of the inquiry.

    Args:
        folder: with config.json, safetensors and what the processor needs. Nothing is fetched, no code in it is run.
        device: torch device.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self._folder = folder
        self._device = device
        self._lock = threading.Lock()
        self._processor: Any = None
        self._model: Any = None

    @property
    def where(self) -> str:
        """The folder."""
        return str(self._folder)

    @property
    def parallel(self) -> int:
        """One."""
        return 1

    def check(self) -> None:
        """See that the folder is one of a model, without loading it.

        Raises:
            UsageError: it is not, or transformers is not installed.
        """
        if not (self._folder / "config.json").is_file():
            raise UsageError(f"{self._folder} is no model's folder: it has no config.json.", kind="no_endpoint")
        try:
            import transformers  # noqa: F401
        except ImportError as error:
            raise UsageError(
                f"A judge in this process needs transformers ({error}): pip install 'javisbench[clip]'",
                kind="missing_extra",
            ) from error

    def ask(self, inquiry: Inquiry) -> Reply:
        """Its answer to one inquiry."""
        with self._lock:
            if self._model is None:
                self._load()
            try:
                return self._answer(inquiry)
            except Exception as error:
                if is_out_of_memory(error):
                    raise RejectedError("the model has no memory for it") from error
                raise

    def close(self) -> None:
        """Drop the model."""
        self._model = self._processor = None

    def _load(self) -> None:
        import transformers

        kind: Any = getattr(transformers, "AutoModelForMultimodalLM", transformers.AutoModelForImageTextToText)
        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._processor = transformers.AutoProcessor.from_pretrained(self._folder, **local)
            model = kind.from_pretrained(self._folder, use_safetensors=True, **local)
        except Exception as error:  # whatever a damaged file makes the library raise
            said = printable(str(error)).strip()[:300]
            raise UsageError(
                f"{self._folder} cannot be read as a multimodal model of transformers: {type(error).__name__}: {said}",
                kind="no_endpoint",
            ) from error
        # Models that also speak have the part that reads and answers inside.
        self._model = getattr(model, "thinker", model).eval().requires_grad_(False).to(self._device)

    def _answer(self, inquiry: Inquiry) -> Reply:
        import torch

        if any(part.kind == "sound" for part in inquiry.parts):
            self._check_hearing()
        messages = [
            {"role": "system", "content": [{"type": "text", "text": inquiry.rules}]},
            {"role": "user", "content": [_content(part) for part in inquiry.parts]},
        ]
        given = self._processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        ).to(self._device)
        own = inquiry.settings
        sampling = {"do_sample": True, "temperature": own.temperature} if own.temperature > 0 else {"do_sample": False}
        devices = [torch.device(self._device)] if self._device.startswith("cuda") else []
        with torch.inference_mode(), torch.random.fork_rng(devices):
            torch.manual_seed(inquiry.seed or 0)
            made = self._model.generate(**given, max_new_tokens=own.max_tokens, **sampling)
        length = int(given["input_ids"].shape[1])
        tokens = made[0][length:]
        (text,) = self._processor.batch_decode(tokens[None], skip_special_tokens=True)
        finish = "length" if len(tokens) >= own.max_tokens else "stop"
        return Reply(str(text), "", finish, self._folder.name, length, len(tokens))

    def _check_hearing(self) -> None:
        """Raise `RejectedError` where the model takes no sound, or takes it at another rate than judges are sent."""
        extractors = (getattr(self._processor, name, None) for name in ("feature_extractor", "audio_processor"))
        extractor = next((found for found in extractors if found is not None), None)
        if extractor is None:
            raise RejectedError("this model does not take sound (say so in the protocol: judge:SET.sound=false)")
        rate = getattr(extractor, "sampling_rate", SAMPLE_RATE)
        if rate != SAMPLE_RATE:
            raise RejectedError(f"this model takes sound at {rate} Hz, and judges are sent {SAMPLE_RATE} Hz")


def _content(part: Part) -> dict[str, Any]:
    if part.kind == "text":
        return {"type": "text", "text": part.text}
    if part.kind == "picture":
        from PIL import Image

        return {"type": "image", "image": Image.open(io.BytesIO(part.data)).convert("RGB")}
    import numpy as np

    with wave.open(io.BytesIO(part.data)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    return {"type": "audio", "audio": samples.astype(np.float32) / 32768}
