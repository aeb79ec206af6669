"""`ImageBindEncoder`: one embedding space for frames, sounds and prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from javisbench.errors import FeatureError, UsageError
from javisbench.metrics.encoders.base import (
    Encoded,
    EncoderCard,
    FeatureSpec,
    Intake,
    Stream,
    StreamEncoder,
    timeline_for,
)
from javisbench.metrics.encoders.batching import forward_in_batches, on_cores
from javisbench.metrics.encoders.imagebind.config import AUDIO_RATE, CONFIGS
from javisbench.metrics.encoders.imagebind.intake import ImageBindIntake
from javisbench.metrics.encoders.imagebind.windows import Windows, common_windows, separate_windows
from javisbench.metrics.encoders.intakes import on_device
from javisbench.metrics.encoders.network_encoder import NetworkEncoder
from javisbench.metrics.encoders.preprocessing.clip_tokenizer import clip_tokenizer
from javisbench.metrics.encoders.preprocessing.kaldi_mel import frame_count
from javisbench.registry import did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import ClipHead
    from javisbench.metrics.encoders.imagebind.network import ImageBindNetwork
    from javisbench.metrics.encoders.imagebind.preprocessing import AudioSegments

CLIP_FEATURES = ("audio", "audio_windows", "frames", "video_clips")
_STREAMS: dict[str, Stream] = {"audio": "sound", "frames": "picture", "video_clips": "picture"}
_CROP_CLIPS = 8  # clips whose 15 crops are held at once


class ImageBindEncoder(NetworkEncoder["ImageBindNetwork"], StreamEncoder):
    """ImageBind's vision, audio and text towers. `d` is 1024 (48 for the tiny test network).

    Features of clips:

    * ``video_clips``: ``embedding`` ``(d,)``, mean of the unit embeddings of 15 crops: five 2-s clips of two frames in
      three squares. Setting ``frame_times``.
    * ``frames``: ``embeddings`` ``(T, d)``, the unit embedding of every frame as a still. No settings.
    * ``audio``: ``embedding`` ``(d,)``, mean of the embeddings (of length 20) of three 2-s clips. Settings ``channels``
      and ``mean_removal`` (see `ImageBindSettings`).
    * ``audio_windows``: ``embeddings`` ``(W, d)`` of JavisScore's windows; ``video_windows`` ``(W, 2)``, each window's
      first frame and the one past its last; ``audio_windows`` ``(W, 2)``, the same in samples at 16 kHz;
      ``window_times_s`` ``(W, 2)``, the start and end of each window's frames in seconds. Settings ``window_s``,
      ``overlap_s``, ``windows``, ``channels``, ``mean_removal``, ``frame_times``.

    Feature of prompts: ``text``: ``embedding`` ``(d,)``, with the learned factor. Setting ``long_prompts``.

    All embeddings are float32. Inputs that are equal pass through the network once, and those of all clips of a call
    in common batches. A clip without sound, or with less than 25 ms of it, has no ``audio`` and no ``audio_windows``.

    Source: Girdhar et al., ImageBind: One Embedding Space To Bind Them All, CVPR 2023.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="imagebind",
        title="ImageBind",
        variants={"huge": "imagebind_huge", "tiny": "imagebind_tiny"},
        licence="CC-BY-NC-SA-4.0",
        source="Girdhar et al., ImageBind: One Embedding Space To Bind Them All, CVPR 2023",
        reduced_precision=True,
    )
    #: Inputs of a forward pass; halved where memory does not suffice. 16 frames stay in a CPU's cache.
    batch_size_cpu: int = 16
    batch_size_gpu: int = 256

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        if self.variant not in CONFIGS:
            raise UsageError(
                f"ImageBind has no variant {self.variant!r}.{did_you_mean(self.variant, CONFIGS)} "
                f"Variants: {', '.join(CONFIGS)}."
            )

    def _build(self) -> ImageBindNetwork:
        from javisbench.metrics.encoders.imagebind.network import ImageBindNetwork

        return ImageBindNetwork(CONFIGS[self.variant])

    def _trim(self, network: ImageBindNetwork) -> None:
        network.drop_unused()

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        """The sound of JavisScore's windows goes by the frames, the other features by their own stream."""
        return _STREAMS.get(spec.feature, "both")

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        """Every frame for ``frames``, the ends of five clips for ``video_clips``, none for sound."""
        for spec in specs:
            if spec.feature not in CLIP_FEATURES or spec.subject != "clip":
                raise UsageError(
                    f"ImageBind has no feature {spec.feature!r} of clips.{did_you_mean(spec.feature, CLIP_FEATURES)}"
                )
        return ImageBindIntake(head, specs, self._device, self._batch_size, self._embed_crops)

    def features(self, intakes: Sequence[Intake]) -> list[Encoded]:
        """Features of clips; see the class."""
        import torch

        clips = cast("Sequence[ImageBindIntake]", intakes)
        results: list[Encoded] = [{} for _ in clips]
        if not clips:
            return results
        wanted: dict[str, list[FeatureSpec]] = {}
        for spec in clips[0].specs:
            wanted.setdefault(spec.feature, []).append(spec)
        with torch.inference_mode():
            jobs: list[Callable[[], None]] = []
            if "frames" in wanted:
                jobs += self._still_jobs(clips, wanted["frames"], results)
            if "video_clips" in wanted:
                jobs += self._video_clip_jobs(clips, wanted["video_clips"], results)
            if audio := [*wanted.get("audio", ()), *wanted.get("audio_windows", ())]:
                jobs.append(lambda: self._encode_audio([clip.head for clip in clips], audio, results))
            on_cores(jobs, self._device)
        return results

    def encode_prompts(self, prompts: Sequence[str], specs: Sequence[FeatureSpec]) -> list[Encoded]:
        """Features of prompts; see the class."""
        import torch

        results: list[Encoded] = [{} for _ in prompts]
        with torch.inference_mode():
            self._encode_prompts(prompts, specs, results)
        return results

    def _encode_prompts(self, prompts: Sequence[str], specs: Sequence[FeatureSpec], results: list[Encoded]) -> None:
        import torch

        tokenizer = clip_tokenizer()
        rows: dict[tuple[int, ...], int] = {}
        places: list[dict[FeatureSpec, int]] = []
        for prompt in prompts:
            places.append({})
            for spec in specs:
                if spec.feature != "text" or spec.subject == "clip":
                    raise UsageError(f"ImageBind has the feature 'text' of prompts only, not {spec.feature!r}.")
                ids = tuple(tokenizer.encode(prompt, keep_end=spec.settings["long_prompts"] == "keep_end"))
                places[-1][spec] = rows.setdefault(ids, len(rows))
        if not rows:
            return
        ids_of_all = torch.tensor(list(rows)).to(self._device)
        embeddings = self._forward(self._loaded().embed_text, ids_of_all).cpu().numpy()
        for result, place in zip(results, places, strict=True):
            result.update({spec: {"embedding": embeddings[row]} for spec, row in place.items()})

    def _still_jobs(
        self, clips: Sequence[ImageBindIntake], specs: Sequence[FeatureSpec], results: list[Encoded]
    ) -> list[Callable[[], None]]:
        """One for each batch of frames, full ones as far as they reach; a batch may hold frames of several clips."""
        import torch

        stills = [clip.stills for clip in clips]
        embeddings = [still.room(CONFIGS[self.variant].embedding) for still in stills]
        for result, embedded in zip(results, embeddings, strict=True):
            result.update({spec: {"embeddings": embedded} for spec in specs})
        places = [(clip, frame) for clip, still in enumerate(stills) for frame in range(still.done, still.seen)]
        size = self._batch_size

        def embed(start: int) -> None:
            """Fills in the embeddings of `size` frames that are left, counted over all clips."""
            batch = places[start : start + size]
            spans = [(clip, [frame for c, frame in batch if c == clip]) for clip in dict.fromkeys(c for c, _ in batch)]
            crops = [stills[clip].crops(frames[0], frames[-1] + 1) for clip, frames in spans]
            made = self._embed_crops(crops[0] if len(crops) == 1 else torch.cat(crops))
            first = 0
            for clip, frames in spans:
                embeddings[clip][frames[0] : frames[-1] + 1] = made[first : first + len(frames)]
                first += len(frames)

        return [partial(embed, start) for start in range(0, len(places), size)]

    def _video_clip_jobs(
        self, clips: Sequence[ImageBindIntake], specs: Sequence[FeatureSpec], results: list[Encoded]
    ) -> list[Callable[[], None]]:
        """One for each few clips. Specs that come to the same frames of a clip share its crops."""
        import torch

        cut = [(place, alike) for place, clip in enumerate(clips) for alike in clip.specs_by_frames(specs)]

        def embed(start: int) -> None:
            some = cut[start : start + _CROP_CLIPS]
            made = [clips[place].video_crops(alike[0]) for place, alike in some]
            embeddings = self._forward(self._loaded().embed_vision, torch.cat([crops for crops, _ in made]))
            first = 0
            for (place, alike), (crops, rows) in zip(some, made, strict=True):
                mean = embeddings[first : first + len(crops)][torch.tensor(rows, device=embeddings.device)].mean(dim=0)
                results[place].update({spec: {"embedding": mean.cpu().numpy()} for spec in alike})
                first += len(crops)

        return [partial(embed, start) for start in range(0, len(cut), _CROP_CLIPS)]

    def _embed_crops(self, crops: Tensor) -> NDArray[np.float32]:
        """uint8 squares ``(n, 3, 224, 224)`` as stills: ``(n, d)``."""
        return np.asarray(self._forward(self._loaded().embed_vision, crops).cpu().numpy(), dtype=np.float32)

    def _encode_audio(self, clips: Sequence[ClipHead], specs: Sequence[FeatureSpec], results: list[Encoded]) -> None:
        from javisbench.metrics.encoders.imagebind.preprocessing import AudioSegments

        segments = AudioSegments()
        plans: list[tuple[int, FeatureSpec, list[int], Windows | None]] = []
        for index, clip in enumerate(clips):
            for spec in specs:
                try:
                    plans.append((index, spec, *self._plan_audio(index, clip, spec, segments)))
                except FeatureError as error:
                    results[index][spec] = error
        if not plans:
            return
        embeddings = self._forward(self._loaded().embed_audio, segments.mels())
        for index, spec, rows, windows in plans:
            means = embeddings[rows].reshape(-1, 3, embeddings.shape[-1]).mean(dim=1).cpu().numpy()
            if windows is None:
                results[index][spec] = {"embedding": means[0]}
            else:
                results[index][spec] = {"embeddings": means, **_window_arrays(windows, clips[index], spec)}

    def _plan_audio(
        self, index: int, clip: ClipHead, spec: FeatureSpec, segments: AudioSegments
    ) -> tuple[list[int], Windows | None]:
        """Rows of `segments`, three a window, and the windows (None: the whole clip)."""
        from javisbench.metrics.encoders.imagebind.preprocessing import prepare_waveform

        if clip.audio is None or clip.sample_rate is None:
            raise FeatureError(f"{clip.name} has no sound: there is nothing for ImageBind to hear.", kind="no_audio")
        settings = spec.settings
        channels = str(settings["channels"])
        waveform = prepare_waveform(on_device(clip.audio, self._device), clip.sample_rate, channels)
        samples = int(waveform.shape[1])
        windows = _windows(clip, samples, spec) if spec.feature == "audio_windows" else None
        spans = [(0, samples)] if windows is None else list(windows.audio)
        shortest = min(end - first for first, end in spans)
        if not frame_count(shortest, AUDIO_RATE):
            raise FeatureError(
                f"{clip.name} has {1000 * shortest / AUDIO_RATE:.1f} ms of sound to compare; ImageBind needs 25 ms.",
                kind="audio_too_short",
            )
        in_place = settings["mean_removal"] == "in_place"
        return segments.cut((index, channels, in_place), waveform, spans, in_place=in_place), windows

    def _forward(self, forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        return forward_in_batches(forward, inputs, self._batch_size)

    @property
    def _batch_size(self) -> int:
        return self.batch_size_cpu if self._device == "cpu" else self.batch_size_gpu


def _windows(clip: ClipHead, samples: int, spec: FeatureSpec) -> Windows:
    settings = spec.settings
    lay = common_windows if settings["windows"] == "common" else separate_windows
    return lay(timeline_for(clip.timeline, spec), samples, float(settings["window_s"]), float(settings["overlap_s"]))


def _window_arrays(windows: Windows, clip: ClipHead, spec: FeatureSpec) -> dict[str, NDArray[np.generic]]:
    line = timeline_for(clip.timeline, spec)
    return {
        "video_windows": np.asarray(windows.video, dtype=np.int64),
        "audio_windows": np.asarray(windows.audio, dtype=np.int64),
        "window_times_s": np.array([[line.start_of(first), line.start_of(end)] for first, end in windows.video]),
    }
