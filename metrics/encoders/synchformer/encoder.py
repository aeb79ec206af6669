"""Logits over 21 audio-video offsets, from Synchformer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from javisbench.errors import FeatureError, JavisbenchError, UsageError
from javisbench.metrics.encoders.base import EncoderCard, Features, FeatureSpec
from javisbench.metrics.encoders.network_encoder import NetworkEncoder
from javisbench.metrics.encoders.synchformer import preparation as prep

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import Clip
    from javisbench.metrics.encoders.synchformer.network import Synchformer
    from javisbench.metrics.encoders.synchformer.segments import MelSegments, VideoSegments


class SynchformerEncoder(NetworkEncoder["Synchformer"]):
    """Synchformer over the first seconds of a clip.

    Feature ``offset_logits``: ``logits``, float32, shape ``(groups, 21)``, one row for each 14 segments of 0.64 s;
    class c stands for an offset of ``-2 + 0.2 c`` seconds. Settings: ``fps_conversion`` (``drop_last`` or
    ``round_up``) and ``max_audio_len_s`` (seconds; shorter clips are followed by black frames and silence).

    Weights: the official ``synchformer_state_dict.pth``.

    Source: Iashin et al., Synchformer: Efficient Synchronization from Sparse Cues, ICASSP 2024.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="synchformer",
        title="Synchformer",
        variants={"full": "synchformer", "small": "synchformer_small"},
        licence="MIT",
        source="Iashin et al., Synchformer: Efficient Synchronization from Sparse Cues, ICASSP 2024",
    )
    #: Segments that pass through the network at once (0.3 GB of activations for 16).
    segments_at_once: int = 16

    def _build(self) -> Synchformer:
        from javisbench.metrics.encoders.synchformer.network import VARIANTS, Synchformer

        return Synchformer(VARIANTS[self.variant])

    def encode(
        self, items: Sequence[Clip] | Sequence[str], specs: Sequence[FeatureSpec]
    ) -> list[dict[FeatureSpec, Features | JavisbenchError]]:
        """Logits of each clip; segments of many clips pass through the network together."""
        from javisbench.metrics.encoders.synchformer.segments import MelSegments, VideoSegments

        for spec in specs:
            if spec.feature != "offset_logits" or spec.subject != "clip":
                raise UsageError(f"The encoder synchformer has 'offset_logits' of clips only, not {spec.feature!r}.")
        video, mels = VideoSegments(), MelSegments()
        jobs: list[_Job] = []
        results: list[dict[FeatureSpec, Features | JavisbenchError]] = []
        for clip in cast("Sequence[Clip]", items):
            inputs, errors = _prepare(clip, specs)
            results.append(dict(errors))
            if inputs:
                rows = video.add(clip, [sources for sources, _ in inputs.values()])
                for (spec, (_, mel)), visual in zip(inputs.items(), rows, strict=True):
                    jobs.append(_Job(len(results) - 1, spec, visual, mels.add(mel)))
        for job, logits in zip(jobs, self._logits(jobs, video, mels), strict=True):
            results[job.item][job.spec] = {"logits": logits}
        return results

    def _logits(self, jobs: Sequence[_Job], video: VideoSegments, mels: MelSegments) -> list[NDArray[np.float32]]:
        """The logits of each job, ``(groups, 21)``."""
        import torch

        network, at_once = self._loaded(), self.segments_at_once
        if not jobs:
            return []
        with torch.inference_mode():
            chunks = (prep.normalise_pixels(chunk.to(self._device)) for chunk in video.chunks(at_once))
            visual = torch.cat([network.visual_features(chunk) for chunk in chunks])
            audio = torch.cat([network.audio_features(mel.to(self._device)) for mel in mels.chunks(at_once)])
            groups = [prep.segment_groups(len(job.video)) for job in jobs]
            visual_rows = np.concatenate([job.video[g] for job, g in zip(jobs, groups, strict=True)])
            audio_rows = np.concatenate([job.audio[g] for job, g in zip(jobs, groups, strict=True)])
            logits = [
                network.offset_logits(visual[visual_rows[i : i + at_once]], audio[audio_rows[i : i + at_once]])
                for i in range(0, len(visual_rows), at_once)
            ]
        ends = np.cumsum([len(g) for g in groups])[:-1]
        return np.split(torch.cat(logits).float().cpu().numpy(), ends)


@dataclass(frozen=True)
class _Job:
    """One feature of one clip, as rows of the batch's segments."""

    item: int
    spec: FeatureSpec
    video: NDArray[np.int64]
    audio: NDArray[np.int64]


def _prepare(
    clip: Clip, specs: Sequence[FeatureSpec]
) -> tuple[dict[FeatureSpec, tuple[NDArray[np.int64], Tensor]], dict[FeatureSpec, FeatureError]]:
    """For each spec the source frames of its video segments and its mel segments, or why there are none."""
    inputs: dict[FeatureSpec, tuple[NDArray[np.int64], Tensor]] = {}
    errors: dict[FeatureSpec, FeatureError] = {}
    for spec in specs:
        seconds = float(spec.settings["max_audio_len_s"])
        try:
            sources = prep.segment_sources(clip, seconds, keep_last=spec.settings["fps_conversion"] == "round_up")
            samples = prep.prepare_audio(clip, seconds)
        except FeatureError as error:
            errors[spec] = error
            continue
        inputs[spec] = sources, prep.normalise_mel(prep.log_mel_segments(samples, len(sources)))
    return inputs, errors
