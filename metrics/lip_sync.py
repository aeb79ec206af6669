"""What SyncNet says of the lips and the voice of a clip: the common part of `lse_c`, `lse_d` and `av_offset_ms`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from javisbench.errors import MetricError
from javisbench.metrics.base import SampleContext, SampleMetric, SampleScore
from javisbench.metrics.encoders.base import Features, FeatureSpec, timed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.protocol import LipSettings, Protocol

FRAME_S = 0.04
#: Windows of five frames, of which the last possible one is not used.
WINDOW_FRAMES = 5
#: Frames by which the sound is moved to either side.
REACH = 15
#: What SyncNet adds to each difference under the root.
EPSILON = 1e-6
#: Offsets of so many frames and more lie at the edge of the search, where a smallest distance is no minimum.
EDGE_FRAMES = 14
SILENT_RMS = 1e-4
_WINDOWS_AT_ONCE = 512

SOURCE = "Chung and Zisserman, Out of time: automated lip sync in the wild, ACCV 2016 workshops, section 4"
CHAIN = (
    "Frames go from the decoder to the networks as they are; the authors' pipeline compresses them with loss four "
    "times on the way (video, pictures, crops, pictures), so that published numbers of a clip are not met to every "
    "digit. The shortest track is min_track_frames (20 by default: over 20 detections at 25 frames a second, "
    "so that clips of 4 s count; the authors' 100 leaves them out, others take 30 or 50)."
)
BLIND = (
    "Small faces (up to 100 pixels) and such as are in sight for less than the shortest track, offsets beyond 0.6 s, "
    "what is said, and the voice's fit to the face. Clips without a face, without sound or with silence have no value, "
    "neither good nor bad: their count stands beside the mean, and models for which it differs are not ranked. Of "
    "several faces the one with the largest confidence less distance counts (several_faces=mean: all of them). Beyond "
    "both ends of the sound its embeddings are zeros, which biases large offsets. "
)


@dataclass(frozen=True, eq=False)
class TrackSync:
    """One face against the sound.

    Attributes:
        first_frame: at 25 frames a second.
        frames: from the first to the last.
        detections: frames in which the face was found.
        distances: mean distance of the windows to the sound moved by -15 to 15 frames, float64 ``(31,)``.
    """

    first_frame: int
    frames: int
    detections: int
    distances: NDArray[np.float64]

    @property
    def distance(self) -> float:
        """The smallest mean distance (LSE-D)."""
        return float(self.distances.min())

    @property
    def confidence(self) -> float:
        """Median of the mean distances less the smallest one (LSE-C)."""
        return float(np.median(self.distances)) - self.distance

    @property
    def offset_frames(self) -> int:
        """SyncNet's offset: positive where the picture fits earlier sound, so where the sound comes too early."""
        return REACH - int(self.distances.argmin())


def mean_distances(lips: NDArray[np.floating], sound: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean Euclidean distance of windows of the picture to windows of the sound at each offset.

    Beyond both ends the sound's embeddings are 0, which biases large offsets; SyncNet does so.

    Args:
        lips: embeddings, shape ``(n, d)``, n >= 1.
        sound: of the same shape.

    Returns:
        float64, shape ``(31,)``: entry j for picture window i against sound window i + j - 15.
    """
    padded = np.pad(np.asarray(sound, np.float64), ((REACH, REACH), (0, 0)))
    sums = np.zeros(2 * REACH + 1)
    for start in range(0, len(lips), _WINDOWS_AT_ONCE):
        part = np.asarray(lips[start : start + _WINDOWS_AT_ONCE], np.float64) + EPSILON
        for offset in range(2 * REACH + 1):
            begin = start + offset
            sums[offset] += np.linalg.norm(part - padded[begin : begin + len(part)], axis=1).sum()
    return sums / len(lips)


def tracks_of(lips: Features, voice: Features, min_track_frames: int) -> list[TrackSync]:
    """The faces of a clip that are long enough, against its sound.

    Args:
        lips: the feature of that name of the encoder ``syncnet``.
        voice: likewise.
        min_track_frames: a face must be found in more frames.

    Raises:
        MetricError: there is none (``too_short``, ``silent``, ``no_face``).
    """
    if int(lips["frame_count"][0]) <= min_track_frames:
        seconds = int(lips["frame_count"][0]) * FRAME_S
        raise MetricError(
            f"The picture lasts {seconds:.2f} s, and a face must be found in more than {min_track_frames} frames "
            "(min_track_frames) at 25 a second.",
            kind="too_short",
        )
    if float(voice["rms"][0]) < SILENT_RMS:
        raise MetricError("The sound is silent, so there is nothing that lips could fit.", kind="silent")
    detections = lips["detections"].astype(np.int64)
    long_enough = np.flatnonzero(detections > min_track_frames)
    if not len(long_enough):
        raise MetricError(
            f"No face of over 100 pixels is found in more than {min_track_frames} frames of a shot (min_track_frames).",
            kind="no_face",
        )
    found = [_compared(lips, voice, int(place)) for place in long_enough]
    heard = [track for track in found if track is not None]
    if not heard:
        raise MetricError("The sound ends before a face has been seen for 0.24 s of it.", kind="too_short")
    return heard


def _compared(lips: Features, voice: Features, place: int) -> TrackSync | None:
    """One face against the sound from its first frame to its last; None without a window of both."""
    frames = lips["frames"].astype(np.int64)
    windows = np.maximum(frames - WINDOW_FRAMES, 0)
    begin, first = int(windows[:place].sum()), int(lips["first_frame"][place])
    count = min(int(frames[place]), int(voice["frame_count"][0]) - first) - WINDOW_FRAMES
    if count < 1:
        return None
    # The sound is cut where the face appears, and has nothing before.
    sound = np.concatenate(
        [voice["first_embeddings"][first : first + 1], voice["embeddings"][first + 1 : first + count]]
    )
    distances = mean_distances(lips["embeddings"][begin : begin + count], sound)  # type: ignore[arg-type]
    return TrackSync(first, int(frames[place]), int(lips["detections"][place]), distances)


def counting(tracks: Sequence[TrackSync], settings: LipSettings) -> list[TrackSync]:
    """The faces that count, of those with enough confidence: the one with the most confidence less distance, or all.

    Raises:
        MetricError: none has enough confidence (``unclear_lips``), or one fits best at the edge of the search, and such
            clips are dropped (``edge_offset``).
    """
    chosen = [track for track in tracks if track.confidence >= settings.least_confidence]
    if not chosen:
        most = max(track.confidence for track in tracks)
        raise MetricError(
            f"No face's lips fit the sound with a confidence of {settings.least_confidence:g} (least_confidence); the "
            f"largest is {most:.2f}.",
            kind="unclear_lips",
        )
    if settings.several_faces == "best":
        chosen = [max(chosen, key=lambda track: track.confidence - track.distance)]
    at_edge = [track.offset_frames for track in chosen if abs(track.offset_frames) >= EDGE_FRAMES]
    if at_edge and settings.edge_offsets == "dropped":
        raise MetricError(
            f"The lips fit best with the sound moved by {at_edge[0]} frames, at the edge of the search "
            "(edge_offsets=dropped).",
            kind="edge_offset",
        )
    return chosen


class LipMetric(SampleMetric):
    """Base of the three metrics: the mean of a number over the faces that count.

    Details, one number a face that is long enough: ``first_s`` and ``last_s``, when it is in sight; ``confidence``,
    ``distance`` and ``offset_frames`` as SyncNet prints them (an offset is positive where the sound is early);
    ``counts``, 1 or 0. ``offset_ms``, of each face that counts, is positive when the sound is late.
    ``mean_distances``: of the first face that counts, at offsets of -600 to 600 ms of the sound in steps of 40.
    """

    not_applicable: ClassVar[Mapping[str, str]] = {
        "no_audio": "without sound",
        "silent": "silent",
        "no_face": "without a face in sight for long enough",
        "too_short": "too short",
        "edge_offset": "with an offset at the edge of the search",
        "unclear_lips": "without a face whose lips fit clearly enough",
    }

    def needs(self, protocol: Protocol) -> Mapping[str, FeatureSpec]:
        """Embeddings of faces and of sound."""
        return {
            "lips": timed(FeatureSpec.of("syncnet", "lips"), protocol),
            "voice": FeatureSpec.of("syncnet", "voice"),
        }

    @abstractmethod
    def of_track(self, track: TrackSync) -> float:
        """The number of one face."""

    def score(self, features: Mapping[str, Features], context: SampleContext) -> SampleScore:
        """The mean over the faces that count.

        Raises:
            MetricError: of a kind in `not_applicable`, or ``non_finite`` for features that are no numbers.
        """
        if not all(np.isfinite(array).all() for made in features.values() for array in made.values()):
            raise MetricError("The features of this clip are NaN or infinite.", kind="non_finite")
        settings = context.protocol.lips
        tracks = tracks_of(features["lips"], features["voice"], settings.min_track_frames)
        chosen = counting(tracks, settings)
        details = {
            "first_s": tuple(FRAME_S * track.first_frame for track in tracks),
            "last_s": tuple(FRAME_S * (track.first_frame + track.frames) for track in tracks),
            "confidence": tuple(track.confidence for track in tracks),
            "distance": tuple(track.distance for track in tracks),
            "offset_frames": tuple(float(track.offset_frames) for track in tracks),
            "counts": tuple(float(track in chosen) for track in tracks),
            "offset_ms": tuple(0.0 - 1000 * FRAME_S * track.offset_frames for track in chosen),
            "mean_distances": tuple(chosen[0].distances.tolist()),
        }
        return SampleScore(float(np.mean([self.of_track(track) for track in chosen])), details)
