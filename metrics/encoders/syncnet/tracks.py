"""Faces followed from frame to frame, cut out of them, and embedded as they come.

Source: Chung and Zisserman, Out of time: automated lip sync in the wild, ACCV 2016 workshops, section 4 (face tracks);
the numbers are those of their published pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from javisbench.errors import FeatureError
from javisbench.metrics.encoders.syncnet.network import WIDTH, WINDOW_FRAMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Embeddings ``(T - 4, 1024)`` of each of several pieces of a face, crops ``(T, 224, 224, 3)``.
Embed = Callable[[Sequence["NDArray[np.uint8]"]], "list[NDArray[np.float32]]"]

CROP = 224
MOST_GAP_FRAMES = 25
LEAST_OVERLAP = 0.5
LEAST_SIZE_PX = 100.0
#: A track needs more detections; with up to six, the median of 13 frames would be a 0 from beyond its ends.
LEAST_DETECTIONS = 6
SMOOTHED_FRAMES = 13
BELOW, ASIDE, GREY = 1.8, 1.4, 110
#: A larger region is not made: only the pixels that a picture of 224 x 224 takes from it.
MOST_REGION_PX = 4096
#: Windows that pass through the network together. The same ones whatever waits, so that sums are the same.
GROUP = 20
#: Crops that may wait in one clip. More of them are embedded before it has ended, those of small faces too.
WAITING_BYTES = 128 * 2**20
MOST_WINDOWS = 100_000


class Track:
    """One face in neighbouring frames of one shot.

    Attributes:
        first: position of its first frame.
        last: position of the last frame that it was found in.
        detections: frames that it was found in.
        boxes: left, top, right, bottom of every frame from `first` to `last`, on lines where it was not found.
        number: of those that began before it.
    """

    def __init__(self, number: int, position: int, box: NDArray[np.float64]) -> None:
        self.number = number
        self.first = self.last = position
        self.detections = 1
        self.boxes = [box]
        self._cropped = 0
        self._waiting: list[NDArray[np.uint8]] = []
        self._rows: list[NDArray[np.float32]] = []

    def takes(self, position: int, box: NDArray[np.float64]) -> bool:
        """Whether a face is this one: not too long after, and in the same place."""
        return position - self.last <= MOST_GAP_FRAMES and _overlap(self.boxes[-1], box) > LEAST_OVERLAP

    def add(self, position: int, box: NDArray[np.float64]) -> None:
        """The face in a later frame."""
        before, gap = self.boxes[-1], position - self.last
        self.boxes += [before + (box - before) * step / gap for step in range(1, gap + 1)]
        self.last = position
        self.detections += 1

    @property
    def frames(self) -> int:
        """Frames from the first to the last."""
        return len(self.boxes)

    @property
    def size_px(self) -> float:
        """The larger of mean width and mean height, in pixels."""
        boxes = np.array(self.boxes)
        return float((boxes[:, 2:] - boxes[:, :2]).mean(axis=0).max())

    @property
    def counts(self) -> bool:
        """Whether it is found often enough, and large."""
        return self.detections > LEAST_DETECTIONS and self.size_px > LEAST_SIZE_PX

    @property
    def needs(self) -> int:
        """Position of the first frame that is still to be cut out."""
        return self.first + self._cropped

    def crop(self, frame_at: Callable[[int], NDArray[np.uint8]], *, ended: bool) -> None:
        """Cut the face out of every frame whose smoothed box is known: with the six after it, or when all has come."""
        known = self.frames if ended else self.frames - SMOOTHED_FRAMES // 2
        for place in range(self._cropped, known):
            self._waiting.append(cut_out(frame_at(self.first + place), *self._smoothed(place)))
        self._cropped = max(self._cropped, known)

    def _smoothed(self, place: int) -> tuple[float, float, float]:
        """Half size and centre of the box, each the median over 13 frames, of which those beyond the ends are 0."""
        reach = SMOOTHED_FRAMES // 2
        near = np.array(self.boxes[max(0, place - reach) : place + reach + 1])
        values = np.zeros((SMOOTHED_FRAMES, 3))
        values[: len(near), 0] = (near[:, 2:] - near[:, :2]).max(axis=1) / 2
        values[: len(near), 1:] = (near[:, :2] + near[:, 2:]) / 2
        half, x, y = np.sort(values, axis=0)[reach].tolist()
        return half, x, y

    @property
    def waiting_bytes(self) -> int:
        """Of crops that are not embedded."""
        return sum(crop.nbytes for crop in self._waiting)

    @property
    def embedded(self) -> int:
        """Windows that are."""
        return sum(map(len, self._rows))

    def embed(self, embed: Embed, *, ended: bool) -> None:
        """Embed the crops, in groups of 20 windows counted from the first frame, and the rest when all has come."""
        self._rows += embed([np.stack([_at_size(crop) for crop in crops]) for crops in self._groups(ended)])

    def _groups(self, ended: bool) -> Iterator[Sequence[NDArray[np.uint8]]]:
        beside = WINDOW_FRAMES - 1
        while len(self._waiting) >= GROUP + beside:
            yield self._waiting[: GROUP + beside]
            del self._waiting[:GROUP]
        # The last window that there is, is not used.
        if ended and len(self._waiting) > WINDOW_FRAMES:
            yield self._waiting[:-1]
        if ended:
            self._waiting.clear()

    def embeddings(self) -> NDArray[np.float32]:
        """Of all windows but the last one, ``(frames - 5, 1024)``."""
        found = np.concatenate(self._rows) if self._rows else np.zeros((0, WIDTH), np.float32)
        return found[: max(0, self.frames - WINDOW_FRAMES)]


class Tracker:
    """Follows all faces of a clip.

    A face joins the oldest track whose last face is at most 25 frames before and overlaps it by more than half; one
    that joins none begins a track. A cut ends all. Whatever the clip's length, at most 32 frames are kept, 128 MiB of
    crops and some 24 more of each face, and the embeddings.

    Attributes:
        done: tracks that have ended and count, in the order in which they began.

    Args:
        embed: makes the embeddings.
    """

    def __init__(self, embed: Embed) -> None:
        self.done: list[Track] = []
        self._embed = embed
        self._active: list[Track] = []
        self._begun = 0
        self._frames: dict[int, NDArray[np.uint8]] = {}

    def see(self, position: int, frame: NDArray[np.uint8], boxes: NDArray[np.float64], *, cut: bool) -> None:
        """The next frame.

        Args:
            position: at 25 frames a second, one more than that of the frame before.
            frame: uint8 RGB, shape ``(H, W, 3)``; it is kept.
            boxes: left, top, right, bottom of its faces in pixels, best first, shape ``(faces, 4)``.
            cut: whether it begins a shot.

        Raises:
            FeatureError: the clip's faces take too much memory.
        """
        self._end(lambda track: cut or position - track.last > MOST_GAP_FRAMES)
        self._assign(position, list(boxes))
        if self._active:
            self._frames[position] = frame
        for track in self._active:
            track.crop(self._frames.__getitem__, ended=False)
        first = min((track.needs for track in self._active), default=position + 1)
        for earlier in [known for known in self._frames if known < first]:
            del self._frames[earlier]
        if self.waiting_bytes > WAITING_BYTES:
            self._make_room()

    def end(self) -> None:
        """All frames have come."""
        self._end(lambda track: True)
        self._frames.clear()
        self.done.sort(key=lambda track: track.number)

    @property
    def waiting_bytes(self) -> int:
        """Of crops that are not embedded."""
        return sum(track.waiting_bytes for track in (*self._active, *self.done))

    @property
    def held_bytes(self) -> int:
        """Of frames, crops and embeddings."""
        frames = sum(frame.nbytes for frame in {id(frame): frame for frame in self._frames.values()}.values())
        windows = sum(track.embedded for track in (*self._active, *self.done))
        return self.waiting_bytes + frames + 4 * WIDTH * windows

    def _assign(self, position: int, boxes: list[NDArray[np.float64]]) -> None:
        for track in self._active:
            place = next((place for place, box in enumerate(boxes) if track.takes(position, box)), None)
            if place is not None:
                track.add(position, boxes.pop(place))
        self._active += [Track(number, position, box) for number, box in enumerate(boxes, self._begun)]
        self._begun += len(boxes)

    def _end(self, has_ended: Callable[[Track], bool]) -> None:
        for track in [track for track in self._active if has_ended(track)]:
            self._active.remove(track)
            if track.counts:
                track.crop(self._frames.__getitem__, ended=True)
                self.done.append(track)

    def _make_room(self) -> None:
        for track in self._active:
            track.embed(self._embed, ended=False)
        for track in self.done:
            track.embed(self._embed, ended=True)
        windows = sum(track.embedded for track in (*self._active, *self.done))
        if windows > MOST_WINDOWS:
            raise FeatureError(
                f"The faces of this clip fill {windows:,} windows of 0.2 s; no more than {MOST_WINDOWS:,} are "
                f"compared. "
                "Cut it into shorter clips.",
                kind="too_large",
            )


def cut_out(frame: NDArray[np.uint8], half: float, x: float, y: float) -> NDArray[np.uint8]:
    """A face with what is around it: from its top to 1.8 half sizes below its centre, 1.4 to either side.

    Grey beyond the picture. Of a region larger than 224 x 224 it is already brought to that size (bilinear): smaller
    ones take less memory as they are.

    Args:
        frame: uint8 RGB, shape ``(H, W, 3)``.
        half: half of the face's longer side, in pixels.
        x: its centre, in pixels.
        y: likewise.
    """
    pad = int(half * BELOW)
    top, bottom = int(y + pad - half) - pad, int(y + pad + half * BELOW) - pad
    left, right = int(x + pad - half * ASIDE) - pad, int(x + pad + half * ASIDE) - pad
    height, width = frame.shape[:2]
    if x <= width and y <= height:
        # The authors' picture has no more grey than that: a centre at its very edge can lack a row by rounding.
        bottom, right = min(bottom, height + pad), min(right, width + pad)
    if max(bottom - top, right - left) > MOST_REGION_PX:
        return _sampled(frame, (top, bottom), (left, right))
    rows, columns = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
    if (rows.start, rows.stop, columns.start, columns.stop) == (top, bottom, left, right):
        region = frame[rows, columns]
    else:
        region = np.full((max(bottom - top, 1), max(right - left, 1), 3), GREY, np.uint8)
        if rows.start < rows.stop and columns.start < columns.stop:
            inside = frame[rows, columns]
            down, over = rows.start - top, columns.start - left
            region[down : down + inside.shape[0], over : over + inside.shape[1]] = inside
    # Not a view: the frame need not stay for it.
    return _at_size(region) if region.shape[0] * region.shape[1] > CROP * CROP else np.array(region)


def _sampled(frame: NDArray[np.uint8], rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.uint8]:
    """What bilinear scaling takes of a region, equal to it but for the last grey level, without making the region."""
    down, over = (((np.arange(CROP) + 0.5) * (end - begin) / CROP - 0.5 + begin) for begin, end in (rows, columns))
    found = np.zeros((CROP, CROP, 3))
    for y, of_row in ((np.floor(down), 1 - down % 1), (np.floor(down) + 1, down % 1)):
        for x, of_column in ((np.floor(over), 1 - over % 1), (np.floor(over) + 1, over % 1)):
            seen = np.full((CROP, CROP, 3), GREY, np.uint8)
            inside_y, inside_x = (y >= 0) & (y < frame.shape[0]), (x >= 0) & (x < frame.shape[1])
            seen[np.ix_(inside_y, inside_x)] = frame[np.ix_(y[inside_y].astype(int), x[inside_x].astype(int))]
            found += (of_row[:, None] * of_column)[:, :, None] * seen
    return np.asarray(np.rint(found), dtype=np.uint8)


def _at_size(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    if crop.shape[:2] == (CROP, CROP):
        return np.array(crop)
    return np.asarray(cv2.resize(crop, (CROP, CROP), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.maximum(sides, 0).prod())
    union = float((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod()) - shared
    return shared / union if union > 0 else 0.0
