"""What ImageBind hears of a clip: the distinct 2-second pieces of its sound as log-mels, and its windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from javisbench.errors import FeatureError
from javisbench.metrics.encoders.base import FeatureSpec, timeline_for
from javisbench.metrics.encoders.batching import one_thread
from javisbench.metrics.encoders.imagebind.config import AUDIO_RATE
from javisbench.metrics.encoders.imagebind.windows import Windows, common_windows, separate_windows
from javisbench.metrics.encoders.preprocessing.kaldi_mel import frame_count

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead
    from javisbench.metrics.encoders.imagebind.preprocessing import AudioSegments
    from javisbench.metrics.encoders.transfer import Transfer


class Sounds:
    """The sound of one clip on its way into the network.

    Attributes:
        plans: spec to the rows of `mels`, three a window, and its windows (None: the whole clip).
        mels: normalised log-mels, float32 ``(segments, 1, 128, 204)``, on the device; only where there are plans.
        errors: spec to the reason why it has no feature.
    """

    mels: Tensor

    def __init__(self) -> None:
        self.plans: dict[FeatureSpec, tuple[list[int], Windows | None]] = {}
        self.errors: dict[FeatureSpec, FeatureError] = {}

    def prepare(self, head: ClipHead, specs: Sequence[FeatureSpec], transfer: Transfer) -> None:
        """Cut and transform what `specs` need; all that is equal is made once."""
        import torch

        from javisbench.metrics.encoders.imagebind.preprocessing import AudioSegments

        segments = AudioSegments()
        with torch.inference_mode(), one_thread():
            for spec in specs:
                try:
                    self.plans[spec] = _plan(head, spec, segments, transfer)
                except FeatureError as error:
                    self.errors[spec] = error
            if self.plans:
                self.mels = segments.mels()

    def __len__(self) -> int:
        """Distinct pieces."""
        return len(self.mels) if self.plans else 0

    @property
    def held_bytes(self) -> int:
        """Bytes of log-mels."""
        return self.mels.nbytes if self.plans else 0


def _plan(
    clip: ClipHead, spec: FeatureSpec, segments: AudioSegments, transfer: Transfer
) -> tuple[list[int], Windows | None]:
    from javisbench.metrics.encoders.imagebind.preprocessing import prepare_waveform

    if clip.audio is None or clip.sample_rate is None:
        raise FeatureError(f"{clip.name} has no sound: there is nothing for ImageBind to hear.", kind="no_audio")
    settings = spec.settings
    channels = str(settings["channels"])
    waveform = prepare_waveform(transfer.up(clip.audio), clip.sample_rate, channels)
    samples = int(waveform.shape[1])
    windows = sound_windows(clip, samples, spec) if spec.feature == "audio_windows" else None
    spans = [(0, samples)] if windows is None else list(windows.audio)
    shortest = min(end - first for first, end in spans)
    if not frame_count(shortest, AUDIO_RATE):
        raise FeatureError(
            f"{clip.name} has {1000 * shortest / AUDIO_RATE:.1f} ms of sound to compare; ImageBind needs 25 ms.",
            kind="audio_too_short",
        )
    in_place = settings["mean_removal"] == "in_place"
    return segments.cut((channels, in_place), waveform, spans, in_place=in_place), windows


def sound_windows(clip: ClipHead, samples: int, spec: FeatureSpec) -> Windows:
    """JavisScore's windows of a clip with `samples` at 16 kHz."""
    settings = spec.settings
    lay = common_windows if settings["windows"] == "common" else separate_windows
    return lay(timeline_for(clip.timeline, spec), samples, float(settings["window_s"]), float(settings["overlap_s"]))


def window_arrays(windows: Windows, clip: ClipHead, spec: FeatureSpec) -> dict[str, NDArray[np.generic]]:
    """Where the windows lie: frames, samples and seconds, as `ImageBindEncoder` describes them."""
    line = timeline_for(clip.timeline, spec)
    return {
        "video_windows": np.asarray(windows.video, dtype=np.int64),
        "audio_windows": np.asarray(windows.audio, dtype=np.int64),
        "window_times_s": np.array([[line.start_of(first), line.start_of(end)] for first, end in windows.video]),
    }
