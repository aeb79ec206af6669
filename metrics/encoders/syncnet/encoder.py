"""Embeddings of the faces and of the sound of a clip, from S3FD and SyncNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.encoders.base import (
    Encoded,
    EncoderCard,
    Features,
    FeatureSpec,
    Intake,
    Stream,
    StreamEncoder,
    timeline_for,
)
from javisbench.metrics.encoders.batching import on_cores, one_thread
from javisbench.metrics.encoders.checkpoint import load_checkpoint, load_strict, without_values
from javisbench.metrics.encoders.network_encoder import NetworkEncoder
from javisbench.metrics.encoders.preprocessing.frame_rate import frames_at_rate
from javisbench.metrics.encoders.syncnet.mfcc import SAMPLE_RATE, mfcc
from javisbench.metrics.encoders.syncnet.shots import Cuts

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from javisbench.clip import ClipHead, Damage, FrameRun
    from javisbench.metrics.encoders.syncnet.network import LipNetworks
    from javisbench.metrics.encoders.syncnet.tracks import Tracker

FPS = 25
SAMPLES_A_FRAME = SAMPLE_RATE // FPS
ROWS_A_FRAME = 4
#: S3FD sees pictures at a quarter of their size, and what scores more is a face.
DETECTION_SCALE, LEAST_SCORE = 0.25, 0.9
#: Corners of a face lie within so many pixels of the picture's corner. Only broken weights put them further off.
FURTHEST_PX = 1e6
#: Half an hour.
MOST_FRAMES = 30 * 60 * FPS
#: Pixels that S3FD sees at once, and pictures.
_PIXELS_AT_ONCE, _PICTURES_AT_ONCE = 2**18, 16
_SOUNDS_AT_ONCE = 256
#: Pieces of faces that a CPU's cores work on at once.
_PIECES_AT_ONCE = 4
FEATURES: Mapping[str, Stream] = {"lips": "picture", "voice": "sound"}
FILES: Mapping[str, tuple[str, str]] = {
    "official": ("syncnet_v2.model", "sfd_face.pth"),
    "small": ("syncnet_small.pth", "s3fd_small.pth"),
}


class SyncNetEncoder(NetworkEncoder["LipNetworks"], StreamEncoder):
    """SyncNet v2 over the face tracks of a clip, which S3FD finds.

    Feature ``lips``, of the picture at 25 frames a second: ``embeddings``, float32 ``(n, 1024)``, windows of five
    frames of each track, one track after the other, its last possible window left out; of each track, int64
    ``(tracks,)``: ``first_frame``, ``frames`` (frames - 5 windows) and ``detections`` (frames in which the face was
    found), and ``size_px``, float64, the larger of mean width and height; ``faces``, float32 ``(m, 6)``, all that S3FD
    found: frame, left, top, right, bottom (pixels), score; ``cuts``, int64, frames that begin a shot; ``frame_count``,
    int64 ``(1,)``. Setting: ``frame_times``. Tracks of up to six detections or up to 100 pixels are left out. Pictures
    of under 112 pixels a side have no faces.

    Feature ``voice``, of the sound as int16 mono at 16 kHz: ``embeddings``, float32 ``(n, 1024)``, window i from i / 25
    s on; ``first_embeddings``, the same of sounds that begin there; ``frame_count``, int64 ``(1,)``, whole 25ths of a
    second, five more than there are windows; ``rms``, float64 ``(1,)``, of the sound, full scale 1. No settings.

    Weights: a folder with the official ``syncnet_v2.model`` and ``sfd_face.pth``.

    Source: Chung and Zisserman, Out of time: automated lip sync in the wild, ACCV 2016 workshops; Zhang et al., S3FD,
    ICCV 2017.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="syncnet",
        title="SyncNet v2 on S3FD faces",
        variants={"official": "syncnet", "small": "syncnet_small"},
        licence="not stated (code: MIT)",
        source="Chung and Zisserman, ACCV 2016 workshops; Zhang et al., S3FD, ICCV 2017",
    )

    def _build(self) -> LipNetworks:
        from javisbench.metrics.encoders.syncnet.network import VARIANTS, LipNetworks

        return LipNetworks(VARIANTS[self.variant])

    def load(self, weights: Path | None, device: str) -> None:
        """Read both checkpoints from the folder `weights` and move the networks to `device`. Nothing is downloaded.

        Raises:
            WeightsError: no folder was given, or a file of it does not hold its network; every wrong name is listed.
        """
        if weights is None:
            raise WeightsError(
                f"{self.card.title} needs its weights; give the folder that holds {self._named_files()}."
            )
        with without_values():
            network = self._build()
        parts: tuple[tuple[nn.Module, str], ...] = ((network.sync, "SyncNet v2"), (network.faces, "S3FD"))
        for (part, what), name in zip(parts, FILES[self.variant], strict=True):
            path = weights / name
            if not path.is_file():
                raise WeightsError(f"There is no {name} in {weights}. {self.card.title} needs {self._named_files()}.")
            load_strict(part, _with_counters(part, load_checkpoint(path)), what=what, path=path)
        self._network = network.eval().requires_grad_(False).to(device)
        self._move(device)

    def _named_files(self) -> str:
        return " and ".join(FILES[self.variant])

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        """The picture alone, or the sound alone."""
        return FEATURES.get(spec.feature, "both")

    def full_batch(self, specs: Sequence[FeatureSpec]) -> int:
        """One clip: its own frames and windows fill the device."""
        return 1

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        """Faces are found and followed as frames come."""
        for spec in specs:
            if spec.feature not in FEATURES or spec.subject != "clip":
                raise UsageError(f"The encoder syncnet has 'lips' and 'voice' of clips only, not {spec.feature!r}.")
        return _LipIntake(head, specs, self)

    def features(self, intakes: Sequence[Intake]) -> list[Encoded]:
        """Embeddings of each clip: of the crops that still wait, and of the sound."""
        return [cast("_LipIntake", intake).encoded() for intake in intakes]

    def find_faces(self, pictures: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The faces of pictures as S3FD sees them, which are scaled already.

        Args:
            pictures: uint8 RGB, shape ``(n, h, w, 3)``.

        Returns:
            of each picture float32 ``(faces, 5)``: left, top, right, bottom, in shares of the picture, and score; best
            first.
        """
        import torch

        from javisbench.metrics.encoders.syncnet import s3fd

        height, width = pictures.shape[1:3]
        if min(height, width) < s3fd.LEAST_SIDE:
            return [np.zeros((0, 5), np.float32) for _ in pictures]
        network, at_once = self._loaded().faces, pictures_at_once(height, width)

        def said(batch: Tensor) -> Tensor:
            offsets, shares = network(batch)
            return torch.cat([offsets, shares[..., 1:]], dim=-1)

        # A thread that reads clips has as many threads for PyTorch as were set last anywhere, and sums go by them.
        with torch.inference_mode(), one_thread():
            found = self._batches(said, s3fd.network_input(pictures, self._device), at_most=at_once).cpu().numpy()
        priors = s3fd.anchors(height, width)
        return [s3fd.boxes(each[:, :4], each[:, 4], priors, LEAST_SCORE) for each in found]

    def embed_lips(self, pieces: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Windows of faces: of each piece uint8 RGB ``(T, 224, 224, 3)`` to float32 ``(T - 4, 1024)``."""
        found = []
        for start in range(0, len(pieces), _PIECES_AT_ONCE):
            jobs = [partial(self._embed_piece, piece) for piece in pieces[start : start + _PIECES_AT_ONCE]]
            found += on_cores(jobs, self._device)
        return found

    def _embed_piece(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        pixels = torch.from_numpy(crops).to(self._device).flip(-1).permute(3, 0, 1, 2).float()[None]
        with torch.inference_mode(), one_thread():
            return np.asarray(self._loaded().sync.lips(pixels)[0].cpu().numpy(), dtype=np.float32)

    def embed_voice(self, head: ClipHead) -> Features:
        """The feature ``voice`` of a clip.

        Raises:
            FeatureError: it has no sound, or one that is not finite.
        """
        from javisbench.metrics.encoders.syncnet.network import WIDTH, WINDOW_FRAMES

        samples = prepare_sound(head)[: MOST_FRAMES * SAMPLES_A_FRAME]
        frames = len(samples) // SAMPLES_A_FRAME
        windows = max(0, frames - WINDOW_FRAMES)
        going_on = first = np.zeros((0, WIDTH), np.float32)
        if windows:
            rows = mfcc(samples)
            going_on, first = self._embed_rows(rows[0], None, windows), self._embed_rows(rows[0], rows[1], windows)
        return {
            "embeddings": going_on,
            "first_embeddings": first,
            "frame_count": np.array([frames]),
            "rms": np.array([np.sqrt(np.square(samples / 2.0**15).mean()) if len(samples) else 0.0]),
        }

    def _embed_rows(
        self, rows: NDArray[np.float64], begun: NDArray[np.float64] | None, windows: int
    ) -> NDArray[np.float32]:
        """Of every window of 20 rows, its first one taken from `begun` where that is given."""
        import torch

        from javisbench.metrics.encoders.syncnet.network import WINDOW_ROWS

        network = self._loaded().sync
        found = []
        for start in range(0, windows, _SOUNDS_AT_ONCE):
            firsts = ROWS_A_FRAME * np.arange(start, min(start + _SOUNDS_AT_ONCE, windows))
            chosen = rows[firsts[:, None] + np.arange(WINDOW_ROWS)]
            if begun is not None:
                chosen[:, 0] = begun[firsts]
            batch = torch.from_numpy(chosen).to(self._device, torch.float32).transpose(1, 2)[:, None]
            with torch.inference_mode(), one_thread():
                found.append(network.sound(batch).cpu().numpy())
        return np.concatenate(found)


def pictures_at_once(height: int, width: int) -> int:
    """How many scaled pictures S3FD sees at once: it goes by their size alone, so that sums do."""
    return int(np.clip(_PIXELS_AT_ONCE // (height * width), 1, _PICTURES_AT_ONCE))


def prepare_sound(head: ClipHead) -> NDArray[np.int16]:
    """The channels' mean at 16 kHz in 16 bits, shape ``(n,)``.

    Raises:
        FeatureError: there is none, or it is not finite.
    """
    import torch

    from javisbench.metrics.encoders.preprocessing.windowed_sinc import resample

    if head.audio is None or not head.sample_rate or head.audio.shape[1] == 0:
        raise FeatureError(f"{head.name} has no sound, so there is nothing that lips could fit.", kind="no_audio")
    if not np.isfinite(head.audio).all():
        raise FeatureError(f"The sound of {head.name} holds values that are not numbers.", kind="non_finite")
    mono = torch.from_numpy(np.ascontiguousarray(head.audio)).mean(dim=0)
    scaled = resample(mono, head.sample_rate, SAMPLE_RATE).mul(2.0**15).round().clamp(-(2.0**15), 2.0**15 - 1)
    return np.asarray(scaled.numpy(), dtype=np.int16)


def _with_counters(part: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with the batch counters that files of before PyTorch 0.4.1 lack; nothing is computed from them."""
    import torch

    counters = {name for name in part.state_dict() if name.endswith("num_batches_tracked")}
    return {**{name: torch.zeros((), dtype=torch.int64) for name in counters}, **state}


class _LipIntake(Intake):
    """The faces of a clip, under each timing that is asked for."""

    def __init__(self, head: ClipHead, specs: Sequence[FeatureSpec], encoder: SyncNetEncoder) -> None:
        super().__init__(head, specs)
        self._encoder = encoder
        self._walks: dict[bytes, _Walk] = {}
        self._walk_of: dict[FeatureSpec, _Walk] = {}
        for spec in (spec for spec in specs if spec.feature == "lips"):
            sources = frames_at_rate(timeline_for(head.timeline, spec), FPS, MOST_FRAMES + 1, keep_last=True)
            if len(sources) > MOST_FRAMES:
                raise FeatureError(
                    f"{head.name} lasts over {MOST_FRAMES // (60 * FPS)} minutes; faces are followed no longer. "
                    "Cut it into shorter clips.",
                    kind="too_large",
                )
            self._walk_of[spec] = self._walks.setdefault(sources.tobytes(), _Walk(sources, encoder))

    @property
    def wanted(self) -> NDArray[np.int64]:
        """The frames that are shown at some 25th of a second; none for the sound alone."""
        return np.unique(np.concatenate([np.zeros(0, np.int64), *(walk.sources for walk in self._walks.values())]))

    def take(self, run: FrameRun) -> None:
        """Find the faces of some frames, and follow them."""
        for walk in self._walks.values():
            for index, frame in zip(run.indices.tolist(), run.frames, strict=True):
                walk.take(index, frame)

    def end(self, damage: tuple[Damage, ...]) -> None:
        """All frames have come."""
        for walk in self._walks.values():
            walk.end()

    @property
    def held_bytes(self) -> int:
        """Bytes of frames, crops and embeddings."""
        return sum(walk.held_bytes for walk in self._walks.values())

    def encoded(self) -> Encoded:
        """All features of the clip."""
        made = {id(walk): walk.features() for walk in self._walks.values()}
        found: Encoded = {spec: made[id(walk)] for spec, walk in self._walk_of.items()}
        for spec in (spec for spec in self.specs if spec.feature == "voice"):
            try:
                found[spec] = self._encoder.embed_voice(self.head)
            except FeatureError as error:
                found[spec] = error
        return found


class _Walk:
    """A clip's frames at 25 a second on their way through S3FD, shots and tracks.

    Attributes:
        sources: the clip's frame that each one shows, not decreasing.
        tracker: what follows the faces.
    """

    def __init__(self, sources: NDArray[np.int64], encoder: SyncNetEncoder) -> None:
        from javisbench.metrics.encoders.syncnet.tracks import Tracker

        self.sources = sources
        self.tracker: Tracker = Tracker(encoder.embed_lips)
        self._encoder = encoder
        self._cuts = Cuts()
        self._faces: list[NDArray[np.float32]] = []
        self._queue: list[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]] = []

    def take(self, index: int, frame: NDArray[np.uint8]) -> None:
        """See the clip's frame `index`, if it is shown."""
        first = int(np.searchsorted(self.sources, index))
        if first == len(self.sources) or self.sources[first] != index:
            return
        # The run that it came in need not stay for it.
        self._queue.append((index, frame.copy(), _scaled(frame)))
        if len(self._queue) == pictures_at_once(*self._queue[0][2].shape[:2]):
            self._find()

    def _find(self) -> None:
        queue, self._queue = self._queue, []
        found = self._encoder.find_faces(np.stack([small for _, _, small in queue]))
        for (index, frame, _), boxes in zip(queue, found, strict=True):
            first, end = np.searchsorted(self.sources, [index, index + 1]).tolist()
            faces = _in_pixels(boxes, *frame.shape[:2])
            cut = self._cuts.is_cut(first, frame)
            for position in range(first, end):
                places = np.full((len(faces), 1), position, np.float32)
                self._faces.append(np.concatenate([places, faces], axis=1))
                self.tracker.see(position, frame, faces[:, :4].astype(np.float64), cut=cut and position == first)

    def end(self) -> None:
        """All frames have come."""
        if self._queue:
            self._find()
        self.tracker.end()

    @property
    def held_bytes(self) -> int:
        waiting = sum(frame.nbytes + small.nbytes for _, frame, small in self._queue)
        return waiting + self.tracker.held_bytes

    def features(self) -> Features:
        """The feature ``lips``."""
        from javisbench.metrics.encoders.syncnet.network import WIDTH

        tracks = self.tracker.done
        for track in tracks:
            track.embed(self._encoder.embed_lips, ended=True)
        empty = np.zeros((0, WIDTH), np.float32)
        return {
            "embeddings": np.concatenate([empty, *(track.embeddings() for track in tracks)]),
            "first_frame": np.array([track.first for track in tracks], np.int64),
            "frames": np.array([track.frames for track in tracks], np.int64),
            "detections": np.array([track.detections for track in tracks], np.int64),
            "size_px": np.array([track.size_px for track in tracks], np.float64),
            "faces": np.concatenate([np.zeros((0, 6), np.float32), *self._faces]),
            "cuts": np.array(self._cuts.found, np.int64),
            "frame_count": np.array([len(self.sources)]),
        }


def _scaled(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    scale = DETECTION_SCALE
    # By the factor, not to a size: a size that is rounded would move the grid.
    size = [max(1, round(side * scale)) for side in frame.shape[:2]]
    if min(size) < 2:
        return np.zeros((*size, 3), np.uint8)
    return np.asarray(cv2.resize(frame, (0, 0), fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _in_pixels(found: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Boxes in pixels ``(faces, 5)``, without doubles and without those that are none."""
    from javisbench.metrics.encoders.syncnet.s3fd import distinct

    with np.errstate(over="ignore", invalid="ignore"):
        pixels = found * np.array([width, height, width, height, 1], np.float32)
        sides = pixels[:, 2:4] - pixels[:, :2]
        possible = (np.abs(pixels[:, :4]) < FURTHEST_PX).all(axis=1) & (sides > 0).all(axis=1)
    return distinct(pixels[possible])
