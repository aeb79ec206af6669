"""`AudioCLIPEncoder`: AudioCLIP's embedding of a clip's sound, for FAD."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from javisbench.errors import FeatureError, UsageError
from javisbench.metrics.encoders.base import Encoded, EncoderCard, FeatureSpec, Intake, Stream
from javisbench.metrics.encoders.intakes import PreparedSounds
from javisbench.metrics.encoders.network_encoder import NetworkEncoder, StartingEncoder
from javisbench.metrics.encoders.preprocessing.kaiser_best import resample_kaiser_best

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead
    from javisbench.metrics.encoders.audioclip.network import ESResNeXt
    from javisbench.metrics.encoders.transfer import Returned

# Of the reference evaluation. In float32 the batch's neighbours decide how digital silence is rounded, on any device.
_FLOAT32_BATCH = 8


class AudioCLIPEncoder(NetworkEncoder["ESResNeXt"], StartingEncoder):
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
        reduced_precision=True,
    )

    cpu_batch = 8
    input_bytes = 80_100_000  # the float64 transform of one sound; the network takes 31 MB more for each further one

    def _build(self) -> ESResNeXt:
        from javisbench.metrics.encoders.audioclip.network import ESResNeXt

        return ESResNeXt()

    def _state(self, checkpoint: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        part = "audio."
        return {name.removeprefix(part): tensor for name, tensor in checkpoint.items() if name.startswith(part)}

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        """The sound alone."""
        return "sound"

    def full_batch(self, specs: Sequence[FeatureSpec]) -> int:
        """A forward pass: that of the reference evaluation where results go by it."""
        sizes = [_most_at_once(spec) or self._batches.size for spec in specs]
        return min([self._batches.size, *sizes])

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        """The sound, resampled and scaled."""
        for spec in specs:
            if spec.feature != "embedding" or spec.subject != "clip":
                raise UsageError(f"The encoder audioclip has 'embedding' of clips only, not {spec.feature!r}.")
        return PreparedSounds(head, specs, _waveform)

    def start(self, intakes: Sequence[Intake]) -> Callable[[], list[Encoded]]:
        """Set the embedding of each clip for each spec going; a clip without usable audio has a `FeatureError`."""
        import torch

        clips = cast("Sequence[PreparedSounds]", intakes)
        results: list[Encoded] = [dict(clip.errors) for clip in clips]
        made: list[tuple[FeatureSpec, list[int], Returned]] = []
        with torch.inference_mode():
            for spec in clips[0].specs if clips else ():
                places = [place for place, clip in enumerate(clips) if spec in clip.sounds]
                if places:
                    made.append((spec, places, self._embed([clips[place].sounds[spec] for place in places], spec)))

        def finished() -> list[Encoded]:
            for spec, places, returned in made:
                for place, embedding in zip(places, returned.array(), strict=True):
                    results[place][spec] = {"embedding": embedding}
            return results

        return finished

    def _embed(self, waveforms: Sequence[Tensor], spec: FeatureSpec) -> Returned:
        import torch

        network = self._loaded()
        dtype = {"float32": torch.float32, "float64": torch.float64}[str(spec.settings["fbsp_dtype"])]
        sounds = self._transfer.up(torch.stack(list(waveforms)))
        return self._transfer.down(
            self._batches(lambda some: network(some, dtype), sounds, at_most=_most_at_once(spec))
        )


def _most_at_once(spec: FeatureSpec) -> int | None:
    return _FLOAT32_BATCH if spec.settings["fbsp_dtype"] == "float32" else None


def _waveform(head: ClipHead, spec: FeatureSpec) -> Tensor:
    import torch

    return torch.from_numpy(prepare_waveform(head, spec))


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
