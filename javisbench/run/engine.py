"""Where features are made: an engine gets what is wanted of clips and prompts and leaves it in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.run.content_index import ContentIndex, hash_sources
from javisbench.run.devices import encode_on_devices
from javisbench.run.encode_session import EncodeSession
from javisbench.run.features import FeatureStore, feature_key

if TYPE_CHECKING:
    from javisbench.media import ClipSource, DecodeLimits
    from javisbench.run.progress import Progress
    from javisbench.system_faults import Places

# Of the room for clips that lie elsewhere; the rest is for those that are read ahead.
_SHARE_OF_CACHE = 0.8


@dataclass(frozen=True)
class Work:
    """What is wanted.

    Attributes:
        clips: clip to the features that are wanted of it.
        texts: features of prompts, with the prompt of each clip.
        given: content of the stream of a clip that a suite gives, where it is known before the clip is read: what is
            stored of it is not made again.
    """

    clips: Mapping[ClipSource, frozenset[FeatureSpec]]
    texts: Sequence[tuple[frozenset[FeatureSpec], Mapping[ClipSource, str]]] = field(default_factory=tuple)
    given: Mapping[ClipSource, str] = field(default_factory=dict)

    def of(self, sources: Iterable[ClipSource]) -> Work:
        """What is wanted of some of the clips."""
        chosen = dict.fromkeys(sources)
        clips = {source: self.clips[source] for source in chosen}
        texts = [(specs, {s: text for s, text in prompts.items() if s in chosen}) for specs, prompts in self.texts]
        return Work(clips, texts, {source: self.given[source] for source in chosen if source in self.given})


class Engine(Protocol):
    """Makes features, here or on other machines; the same ones wherever that is."""

    def encode(self, work: Work, session: EncodeSession, progress: Progress) -> ContentIndex:
        """Make what is wanted and not in the session's store yet.

        What an encoder cannot make of a clip or prompt is noted in the session's ``feature_errors``.

        Returns:
            content of the clips, and errors of those that cannot be read.
        """


class LocalEngine:
    """Makes them on this machine: in this process and its decoding processes, or in one for each of several devices."""

    def encode(self, work: Work, session: EncodeSession, progress: Progress) -> ContentIndex:
        """Part by part, so that the clips of each fit into the cache together; without clips elsewhere there is one."""
        index = ContentIndex()
        for sources in _parts(work.clips):
            part = work.of(sources)
            found = hash_with_memory(
                list(part.clips), session.store, session.workers, progress, places=session.listed, limits=session.limits
            )
            index.hashes |= found.hashes
            index.errors |= found.errors
            texts = [
                (specs, [prompt for source, prompt in prompts.items() if source in index.hashes])
                for specs, prompts in part.texts
            ]
            encode_on_devices(part.clips, index, session, progress, texts)
        return index


def _parts(sources: Iterable[ClipSource]) -> Iterator[list[ClipSource]]:
    part: list[ClipSource] = []
    left: float | None = None
    for source in sources:
        if source.cache is not None:
            size = sum(
                remote.size or 0
                for path in (source.video, source.audio)
                if path is not None and (remote := source.cache.remote(path)) is not None
            )
            room = source.cache.max_bytes * _SHARE_OF_CACHE
            left = (room if left is None else left) - size
            if left < 0 and part:
                yield part
                part, left = [], room - size
        part.append(source)
    yield part


def hash_with_memory(
    sources: Sequence[ClipSource],
    store: FeatureStore,
    workers: int,
    progress: Progress,
    *,
    places: Places | None = None,
    limits: DecodeLimits | None = None,
) -> ContentIndex:
    """`hash_sources`; of clips elsewhere that have not changed since the store remembers the content."""
    import numpy as np

    known = remembered(sources, store).hashes
    unknown = [source for source in sources if source not in known]
    index = hash_sources(unknown, workers, progress, places=places, limits=limits)
    for source, content in index.hashes.items():
        if (key := _memory_key(source)) is not None:
            store.put(key, {"sha256": np.frombuffer(bytes.fromhex(content), np.uint8)})
    index.hashes |= known
    return index


def remembered(sources: Iterable[ClipSource], store: FeatureStore) -> ContentIndex:
    """What the store remembers of clips elsewhere that have not changed since."""
    index = ContentIndex()
    for source in sources:
        key = _memory_key(source)
        if key is not None and (found := store.find(key)):
            index.hashes[source] = found["sha256"].tobytes().hex()
    return index


def _memory_key(source: ClipSource) -> str | None:
    """The store's key of what a clip elsewhere holds; None when nobody could tell that it has changed."""
    if source.cache is None:
        return None
    digest = hashlib.sha256()
    for path in (source.video, source.audio):
        if path is not None:
            remote = source.cache.remote(path)
            if remote is None or not remote.version:
                return None
            digest.update(remote.to_bytes())
    return feature_key(f"remote {digest.hexdigest()}", "media", 1, "", FeatureSpec("media", "content"))
