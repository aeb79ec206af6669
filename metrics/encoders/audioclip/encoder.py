"""`AudioCLIPEncoder`: AudioCLIP's embedding of a clip's sound, for FAD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.errors import FeatureError, UsageError
from javisbench.metrics.encoders.base import Encoded, EncoderCard, FeatureSpec, SoundEncoder
from javisbench.metrics.encoders.batching import forward_in_batches
from javisbench.metrics.encoders.network_encoder import NetworkEncoder
from javisbench.metrics.encoders.preprocessing.kaiser_best import resample_kaiser_best

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead
    from javisbench.metrics.encoders.audioclip.network import ESResNeXt

# What the reference evaluation uses; larger batches gain nothing once a GPU is busy.
_BATCH = 8


class AudioCLIPEncoder(NetworkEncoder["ESResNeXt"], SoundEncoder):
    """The audio branch of AudioCLIP.

    Feature ``embedding``: one array ``embedding``, float32, shape ``(1024,)``, not normalised. Settings (see
    `FADSettings`): ``sample_rate``, ``scale``, ``resampler``, ``fbsp_dtype`` and ``max_audio_len_s``.

    With ``fbsp_dtype`` float32, digital silence becomes amplified rounding noise: features of clips that hold any
    repeat on the same machine with the same number of threads, but move by up to 0.1 (relative L2) on another, while
    clips without silence hold 1e-4. With float64 all hold 1e-5.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="audioclip",
        title="AudioCLIP (audio branch)",
        variants={"full": "audioclip"},
        licence="MIT",
        source="Guzhov et al., ICASSP 2022",
    )

    def _build(self) -> ESResNeXt:
        from javisbench.metrics.encoders.audioclip.network import ESResNeXt

        return ESResNeXt()

    def _state(self, checkpoint: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        part = "audio."
        return {name.removeprefix(part): tensor for name, tensor in checkpoint.items() if name.startswith(part)}

    def encode_sounds(self, heads: Sequence[ClipHead], specs: Sequence[FeatureSpec]) -> list[Encoded]:
        """The embedding of each clip for each spec; a clip without usable audio gets a `FeatureError`."""
        results: list[Encoded] = [{} for _ in heads]
        for spec in specs:
            waveforms: dict[int, NDArray[np.float32]] = {}
            for index, head in enumerate(heads):
                try:
                    waveforms[index] = prepare_waveform(head, spec)
                except FeatureError as error:
                    results[index][spec] = error
            embeddings = self._embed(list(waveforms.values()), spec)
            for index, embedding in zip(waveforms, embeddings, strict=True):
                results[index][spec] = {"embedding": embedding}
        return results

    def _embed(self, waveforms: Sequence[NDArray[np.float32]], spec: FeatureSpec) -> Sequence[NDArray[np.float32]]:
        import torch

        if spec.feature != "embedding" or spec.subject != "clip":
            raise UsageError(f"The encoder audioclip has the feature 'embedding' of clips only, not {spec.feature!r}.")
        network = self._loaded()
        if not waveforms:
            return []
        dtype = {"float32": torch.float32, "float64": torch.float64}[str(spec.settings["fbsp_dtype"])]
        batch = torch.from_numpy(np.stack(waveforms)).to(self._device)
        with torch.inference_mode():
            embeddings = forward_in_batches(lambda some: network(some, dtype), batch, _BATCH)
        return list(embeddings.cpu().numpy())


def prepare_waveform(clip: ClipHead, spec: FeatureSpec) -> NDArray[np.float32]:
    """The mono mix of `clip`, resampled, cut or filled with zeros to ``max_audio_len_s`` and multiplied by ``scale``.

    Returns:
        float32, shape ``(int(max_audio_len_s * sample_rate),)``.

    Raises:
        FeatureError: the clip has no audio (kind ``no_audio``) or samples that are no numbers (``bad_audio``).
    """
    settings = spec.settings
    if clip.audio is None or not clip.sample_rate or not clip.audio.size:
        raise FeatureError(f"{clip.name} has no audio; FAD needs some. Add a wav file beside it.", kind="no_audio")
    rate = int(settings["sample_rate"])
    length = int(float(settings["max_audio_len_s"]) * rate)
    mono = clip.audio.mean(axis=0, dtype=np.float32)
    resampled = resample_kaiser_best(mono, clip.sample_rate, rate, max_samples=length)
    if not np.isfinite(resampled).all():
        raise FeatureError(f"{clip.name} has audio samples that are no finite numbers.", kind="bad_audio")
    waveform = np.zeros(length, dtype=np.float32)
    waveform[: resampled.size] = resampled
    return waveform * np.float32(float(settings["scale"]))
