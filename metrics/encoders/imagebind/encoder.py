"""`ImageBindEncoder`: one embedding space for frames, sounds and prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TypeAlias, cast

import numpy as np

from javisbench.errors import UsageError
from javisbench.metrics.encoders.base import (
    Encoded,
    EncoderCard,
    FeatureSpec,
    Intake,
    Stream,
)
from javisbench.metrics.encoders.batching import on_cores
from javisbench.metrics.encoders.imagebind.config import CONFIGS
from javisbench.metrics.encoders.imagebind.intake import ImageBindIntake
from javisbench.metrics.encoders.imagebind.sounds import window_arrays
from javisbench.metrics.encoders.network_encoder import NetworkEncoder, StartingEncoder
from javisbench.metrics.encoders.preprocessing.clip_tokenizer import clip_tokenizer
from javisbench.registry import did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from javisbench.clip import Clip, ClipHead
    from javisbench.metrics.encoders.imagebind.network import ImageBindNetwork
    from javisbench.metrics.encoders.transfer import Returned

CLIP_FEATURES = ("audio", "audio_windows", "frames", "video_clips")
_STREAMS: dict[str, Stream] = {"audio": "sound", "frames": "picture", "video_clips": "picture"}
_CROP_CLIPS = 8  # clips whose 15 crops are held at once
_PASSES = 4

Finish: TypeAlias = Callable[[], None]  # takes results that the device was told to make


class ImageBindEncoder(NetworkEncoder["ImageBindNetwork"], StartingEncoder):
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
    compiled_parts = ("modality_trunks.vision", "modality_trunks.audio", "modality_trunks.text")
    cpu_batch = 16  # frames that stay in a CPU's cache
    input_bytes = 18_400_000  # two-frame crops; stills take 17.3 MB, sounds 9.3, prompts 4.1

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
        return ImageBindIntake(head, specs, self._transfer, self._batches.size, self._embed_crops)

    def full_batch(self, specs: Sequence[FeatureSpec]) -> int:
        """A few forward passes, so that crops and sounds, of which a clip has fewer, fill theirs as well."""
        return _PASSES * self._batches.size

    def start(self, intakes: Sequence[Intake]) -> Callable[[], list[Encoded]]:
        """Set the features of clips going; see the class."""
        import torch

        clips = cast("Sequence[ImageBindIntake]", intakes)
        results: list[Encoded] = [dict(clip.sounds.errors) for clip in clips]
        wanted: dict[str, list[FeatureSpec]] = {}
        for spec in clips[0].specs if clips else ():
            wanted.setdefault(spec.feature, []).append(spec)
        with torch.inference_mode():
            jobs: list[Callable[[], Finish]] = []
            if "frames" in wanted:
                jobs += self._still_jobs(clips, wanted["frames"], results)
            if "video_clips" in wanted:
                jobs += self._video_clip_jobs(clips, wanted["video_clips"], results)
            if any(len(clip.sounds) for clip in clips):
                jobs.append(lambda: self._embed_sounds(clips, results))
            finish = on_cores(jobs, self._device)

        def finished() -> list[Encoded]:
            for take in finish:
                take()
            return results

        return finished

    def traced(
        self, clip: Clip, spec: FeatureSpec, pixels: Tensor | None, sound: Tensor | None
    ) -> dict[str, Tensor] | None:
        """``video_clips`` in pixels, ``audio`` and ``audio_windows`` in sound; stills have no gradient."""
        from javisbench.metrics.encoders.imagebind import traced

        if spec.feature == "video_clips" and pixels is not None:
            return traced.traced_video(self._loaded(), clip, spec, pixels)
        if spec.feature in ("audio", "audio_windows") and sound is not None:
            return traced.traced_sound(self._loaded(), clip, spec, sound)
        return None

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
        ids_of_all = self._transfer.up(torch.tensor(list(rows)))
        embeddings = self._transfer.down(self._batches(self._loaded().embed_text, ids_of_all)).array()
        for result, place in zip(results, places, strict=True):
            result.update({spec: {"embedding": embeddings[row]} for spec, row in place.items()})

    def _still_jobs(
        self, clips: Sequence[ImageBindIntake], specs: Sequence[FeatureSpec], results: list[Encoded]
    ) -> list[Callable[[], Finish]]:
        """One for each batch of frames, full ones as far as they reach; a batch may hold frames of several clips."""
        import torch

        stills = [clip.stills for clip in clips]
        embeddings: list[NDArray[np.float32]] = []
        places = [(clip, frame) for clip, still in enumerate(stills) for frame in range(still.done, still.seen)]
        size = self._batches.size

        def lay_out() -> None:
            embeddings.extend(still.room(CONFIGS[self.variant].embedding) for still in stills)
            for result, embedded in zip(results, embeddings, strict=True):
                result.update({spec: {"embeddings": embedded} for spec in specs})

        def embed(start: int) -> Finish:
            """Makes the embeddings of `size` frames that are left, counted over all clips."""
            batch = places[start : start + size]
            spans = [(clip, [frame for c, frame in batch if c == clip]) for clip in dict.fromkeys(c for c, _ in batch)]
            crops = [stills[clip].crops(frames[0], frames[-1] + 1) for clip, frames in spans]
            returned = self._embed_crops(crops[0] if len(crops) == 1 else torch.cat(crops))

            def fill() -> None:
                made, first = returned.array(), 0
                for clip, frames in spans:
                    embeddings[clip][frames[0] : frames[-1] + 1] = made[first : first + len(frames)]
                    first += len(frames)

            return fill

        return [lambda: lay_out, *(partial(embed, start) for start in range(0, len(places), size))]

    def _video_clip_jobs(
        self, clips: Sequence[ImageBindIntake], specs: Sequence[FeatureSpec], results: list[Encoded]
    ) -> list[Callable[[], Finish]]:
        """One for each few clips. Specs that come to the same frames of a clip share its crops."""
        import torch

        cut = [(place, alike) for place, clip in enumerate(clips) for alike in clip.specs_by_frames(specs)]

        def embed(start: int) -> Finish:
            some = cut[start : start + _CROP_CLIPS]
            made = [clips[place].video_crops(alike[0]) for place, alike in some]
            embeddings = self._batches(self._loaded().embed_vision, torch.cat([crops for crops, _ in made]))
            means, first = [], 0
            for crops, rows in made:
                means.append(embeddings[self._transfer.up(first + torch.tensor(rows))].mean(dim=0))
                first += len(crops)
            returned = self._transfer.down(torch.stack(means))

            def fill() -> None:
                for (place, alike), mean in zip(some, returned.array(), strict=True):
                    results[place].update({spec: {"embedding": mean.copy()} for spec in alike})

            return fill

        return [partial(embed, start) for start in range(0, len(cut), _CROP_CLIPS)]

    def _embed_crops(self, crops: Tensor) -> Returned:
        """uint8 squares ``(n, 3, 224, 224)`` as stills: ``(n, d)``, float32."""
        return self._transfer.down(self._batches(self._loaded().embed_vision, crops).float())

    def _embed_sounds(self, clips: Sequence[ImageBindIntake], results: list[Encoded]) -> Finish:
        import torch

        mels = [clip.sounds.mels for clip in clips if len(clip.sounds)]
        embeddings = self._batches(self._loaded().embed_audio, mels[0] if len(mels) == 1 else torch.cat(mels))
        first, means, places = 0, [], []
        for place, clip in enumerate(clips):
            for spec, (rows, windows) in clip.sounds.plans.items():
                three = embeddings[self._transfer.up(first + torch.tensor(rows))].reshape(-1, 3, embeddings.shape[-1])
                means.append(three.mean(dim=1))
                places.append((place, spec, windows))
            first += len(clip.sounds)
        returned = self._transfer.down(torch.cat(means))

        def fill() -> None:
            ends = np.cumsum([len(rows) for rows in means])[:-1]
            for (place, spec, windows), rows in zip(places, np.split(returned.array(), ends), strict=True):
                if windows is None:
                    results[place][spec] = {"embedding": rows[0].copy()}
                else:
                    results[place][spec] = {
                        "embeddings": rows.copy(),
                        **window_arrays(windows, clips[place].head, spec),
                    }

        return fill
