"""Logits over 21 audio-video offsets, from Synchformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from javisbench.errors import FeatureError, UsageError
from javisbench.metrics.encoders.base import Encoded, EncoderCard, FeatureSpec, Intake
from javisbench.metrics.encoders.batching import on_the_host
from javisbench.metrics.encoders.intakes import ChosenFrames
from javisbench.metrics.encoders.network_encoder import NetworkEncoder, StartingEncoder
from javisbench.metrics.encoders.synchformer import preparation as prep

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead, Damage
    from javisbench.metrics.encoders.synchformer.network import Synchformer
    from javisbench.metrics.encoders.synchformer.segments import MelSegments, VideoSegments


class SynchformerEncoder(NetworkEncoder["Synchformer"], StartingEncoder):
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
        reduced_precision=True,
    )
    compiled_parts = ("vfeat_extractor", "afeat_extractor", "transformer")
    cpu_batch = 16  # segments
    input_bytes = 53_100_000

    def _build(self) -> Synchformer:
        from javisbench.metrics.encoders.synchformer.network import VARIANTS, Synchformer

        return Synchformer(VARIANTS[self.variant])

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        """The pictures of all segments."""
        for spec in specs:
            if spec.feature != "offset_logits" or spec.subject != "clip":
                raise UsageError(f"The encoder synchformer has 'offset_logits' of clips only, not {spec.feature!r}.")
        return _SegmentIntake(head, specs)

    def start(self, intakes: Sequence[Intake]) -> Callable[[], list[Encoded]]:
        """Set the logits of each clip going; segments of many clips pass through the network together."""
        import torch

        from javisbench.metrics.encoders.synchformer.segments import MelSegments, VideoSegments

        clips = cast("Sequence[_SegmentIntake]", intakes)
        results: list[Encoded] = [dict(clip.errors) for clip in clips]
        video, mels = VideoSegments(self._transfer), MelSegments(self._transfer)
        jobs: list[_Job] = []
        with torch.inference_mode():
            for place, clip in enumerate(clips):
                if clip.sources:
                    rows = video.add(clip, list(clip.sources.values()))
                    for spec, visual in zip(clip.sources, rows, strict=True):
                        jobs.append(_Job(place, spec, visual, mels.add(clip.mels[spec])))
            if not jobs:
                return lambda: results
            groups = [prep.segment_groups(len(job.video)) for job in jobs]
            returned = self._transfer.down(self._logits(jobs, groups, video, mels).float())

        def finished() -> list[Encoded]:
            ends = np.cumsum([len(g) for g in groups])[:-1]
            for job, logits in zip(jobs, np.split(returned.array(), ends), strict=True):
                results[job.item][job.spec] = {"logits": logits}
            return results

        return finished

    def _logits(
        self,
        jobs: Sequence[_Job],
        groups: Sequence[NDArray[np.int64]],
        video: VideoSegments,
        mels: MelSegments,
    ) -> Tensor:
        """The logits of all groups of all jobs, ``(n, 21)``."""
        import torch

        network, batches = self._loaded(), self._batches

        def see(pixels: Tensor) -> Tensor:
            return network.visual_features(prep.normalise_pixels(pixels))

        def compare(rows: Tensor) -> Tensor:
            return network.offset_logits(visual[rows[:, 0]], audio[rows[:, 1]])

        visual = torch.cat([batches(see, chunk) for chunk in video.chunks(batches.size)])
        audio = torch.cat([batches(network.audio_features, chunk) for chunk in mels.chunks(batches.size)])
        pairs = [np.stack([job.video[g], job.audio[g]], axis=1) for job, g in zip(jobs, groups, strict=True)]
        return batches(compare, self._transfer.up(np.concatenate(pairs)))


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
        self.mels: dict[FeatureSpec, Tensor] = {}
        self._samples: dict[FeatureSpec, Tensor] = {}
        for spec in specs:
            seconds = float(spec.settings["max_audio_len_s"])
            try:
                keep_last = spec.settings["fps_conversion"] == "round_up"
                sources = prep.segment_sources(head.timeline, seconds, keep_last=keep_last)
                with on_the_host():
                    self._samples[spec] = prep.prepare_audio(head, seconds)
                self.sources[spec] = sources
            except FeatureError as error:
                self.errors[spec] = error
        used = np.concatenate([np.zeros(0, np.int64), *(sources.ravel() for sources in self.sources.values())])
        super().__init__(head, specs, used[used != prep.BLACK], prep.resize_and_crop)

    def end(self, damage: tuple[Damage, ...]) -> None:
        """The mel segments of each spec that has any."""
        with on_the_host():
            for spec, sources in self.sources.items():
                samples = self._samples.pop(spec)
                self.mels[spec] = prep.normalise_mel(prep.log_mel_segments(samples, len(sources)))

    @property
    def held_bytes(self) -> int:
        """Bytes of pictures and sound."""
        return super().held_bytes + sum(sound.nbytes for sound in (*self._samples.values(), *self.mels.values()))

    @property
    def inputs(self) -> int:
        """Segments of the picture."""
        return sum(len(sources) for sources in self.sources.values())
