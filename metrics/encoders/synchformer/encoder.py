"""Logits over 21 audio-video offsets, from Synchformer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from javisbench.errors import FeatureError, UsageError
from javisbench.metrics.encoders.base import Encoded, EncoderCard, FeatureSpec, Intake, StreamEncoder
from javisbench.metrics.encoders.intakes import ChosenFrames
from javisbench.metrics.encoders.network_encoder import NetworkEncoder
from javisbench.metrics.encoders.synchformer import preparation as prep

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead
    from javisbench.metrics.encoders.synchformer.network import Synchformer
    from javisbench.metrics.encoders.synchformer.segments import MelSegments, VideoSegments


class SynchformerEncoder(NetworkEncoder["Synchformer"], StreamEncoder):
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

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        """The pictures of all segments."""
        for spec in specs:
            if spec.feature != "offset_logits" or spec.subject != "clip":
                raise UsageError(f"The encoder synchformer has 'offset_logits' of clips only, not {spec.feature!r}.")
        return _SegmentIntake(head, specs)

    def features(self, intakes: Sequence[Intake]) -> list[Encoded]:
        """Logits of each clip; segments of many clips pass through the network together."""
        from javisbench.metrics.encoders.synchformer.segments import MelSegments, VideoSegments

        video, mels = VideoSegments(), MelSegments()
        jobs: list[_Job] = []
        results: list[Encoded] = []
        for place, clip in enumerate(cast("Sequence[_SegmentIntake]", intakes)):
            results.append(dict(clip.errors))
            if clip.sources:
                rows = video.add(clip, list(clip.sources.values()))
                for (spec, mel), visual in zip(clip.mels(), rows, strict=True):
                    jobs.append(_Job(place, spec, visual, mels.add(mel)))
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


class _SegmentIntake(ChosenFrames):
    """The source frames of each spec's segments, resized and cropped; a spec without segments or sound has an error."""

    def __init__(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> None:
        self.sources: dict[FeatureSpec, NDArray[np.int64]] = {}
        self.errors: dict[FeatureSpec, FeatureError] = {}
        self._samples: dict[FeatureSpec, Tensor] = {}
        for spec in specs:
            seconds = float(spec.settings["max_audio_len_s"])
            try:
                keep_last = spec.settings["fps_conversion"] == "round_up"
                sources = prep.segment_sources(head.timeline, seconds, keep_last=keep_last)
                self._samples[spec] = prep.prepare_audio(head, seconds)
                self.sources[spec] = sources
            except FeatureError as error:
                self.errors[spec] = error
        used = np.concatenate([np.zeros(0, np.int64), *(sources.ravel() for sources in self.sources.values())])
        super().__init__(head, specs, used[used != prep.BLACK], prep.resize_and_crop)

    def mels(self) -> Iterator[tuple[FeatureSpec, Tensor]]:
        """The mel segments of each spec that has any."""
        for spec, sources in self.sources.items():
            yield spec, prep.normalise_mel(prep.log_mel_segments(self._samples[spec], len(sources)))
