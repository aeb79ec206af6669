"""Features of what a suite gives, kept for all runs over it: of a picture that every model makes a sound for, once; and
of the suite's real clips, which every model is compared with.

They lie in the cache folder (``$JAVISBENCH_CACHE_DIR``), under the suite's hash. A run takes what it needs into its own
store before it encodes, and gives back what it has made; it needs the shared folder no more than any other cache. The
key of a feature is the one that it has in a run: content of the stream, encoder, weights and preparation.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from javisbench.errors import JavisbenchError
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.places import Cache
from javisbench.run.features import FeatureStore, contents, feature_key, media_facts_key, stream_content

if TYPE_CHECKING:
    from javisbench.matching import Item
    from javisbench.media import ClipSource
    from javisbench.run.content_index import ContentIndex
    from javisbench.run.encode_session import EncodeSession
    from javisbench.run.given import GivenFiles
    from javisbench.suite import Sample, Suite

log = logging.getLogger(__name__)
GivenStream = Literal["picture", "sound"]


def given_stream(suite: Suite) -> GivenStream | None:
    """The stream that the suite gives; None where the model makes both."""
    facts = suite.task_facts
    return None if facts.makes_both else "sound" if facts.makes_picture else "picture"


def given_hash(suite: Suite, files: GivenFiles) -> str:
    """SHA-256 over what the suite gives to each sample, by content; an empty string where it gives nothing.

    A file that lies elsewhere, or cannot be read, stands with its name.
    """
    condition = suite.task_facts.condition
    if condition is None:
        return ""
    digest = hashlib.sha256()
    for sample in suite:
        path = getattr(sample, condition)
        known = None if path is None else files.digest_here(path)
        digest.update(repr((sample.id, known or (path and path.name))).encode() + b"\n")
    return digest.hexdigest()


class GivenFeatures:
    """The shared features of one suite.

    Args:
        suite: gives a picture or a sound.
        stream: which.
        files: of the suite, by content.
        session: of the run.
    """

    def __init__(self, suite: Suite, stream: GivenStream, files: GivenFiles, session: EncodeSession) -> None:
        self._stream: GivenStream = stream
        self._column: Literal["video", "audio"] = "video" if stream == "picture" else "audio"
        self._files = files
        self._session = session
        self._folder = Cache.from_environment().folder / "given" / suite.hash[:16]
        self._writer = secrets.token_hex(4)

    def bring(
        self,
        samples: Iterable[Sample],
        specs: Iterable[FeatureSpec],
        real: Iterable[ClipSource],
        real_specs: Iterable[FeatureSpec],
    ) -> dict[str, str]:
        """Take what is known of the samples' given streams, and of real clips, into the run's store.

        Args:
            samples: of the suite.
            specs: what is wanted of the model's clips.
            real: real clips.
            real_specs: what is wanted of them.

        Returns:
            content of the streams of which something is known, by sample id.
        """
        wanted, wanted_of_real = self._of_stream(specs), list(real_specs)
        found: dict[str, str] = {}
        with self._shared() as shared:
            for sample in samples:
                known = shared.find(key) if (key := self._file_key(sample)) else {}
                if "stream" in known:
                    content = found[sample.id] = stream_content(self._stream, known["stream"].tobytes().hex())
                    for spec in wanted:
                        _copy(self._session.key(content, spec), shared, self._session.store)
            for source in real:
                known = shared.find(key) if (key := self._real_key(source)) else {}
                if "content" in known:
                    content = known["content"].tobytes().hex()
                    self._copy_clip(content, wanted_of_real, shared, self._session.store)
        self._session.store.flush()
        return found

    def keep(
        self,
        items: Iterable[Item],
        specs: Iterable[FeatureSpec],
        real: Iterable[ClipSource],
        real_specs: Iterable[FeatureSpec],
        index: ContentIndex,
    ) -> None:
        """Share what the run's store has of the same; arguments as for `bring`, and what is known of the files."""
        import numpy as np

        wanted, wanted_of_real = self._of_stream(specs), list(real_specs)
        with self._shared() as shared:
            for item in items:
                content = index.hashes.get(item.source) if item.source else None
                facts = self._session.store.find(media_facts_key(content)) if content else {}
                key = self._file_key(item.sample)
                if key is None or not len(facts.get(self._stream, ())):
                    continue
                digest = facts[self._stream]
                if key not in shared:
                    shared.put(key, {"stream": np.asarray(digest)})
                known = stream_content(self._stream, digest.tobytes().hex())
                for spec in wanted:
                    _copy(self._session.key(known, spec), self._session.store, shared)
            for source in real:
                content, key = index.hashes.get(source), self._real_key(source)
                if content is not None and key is not None:
                    if key not in shared:
                        shared.put(key, {"content": np.frombuffer(bytes.fromhex(content), np.uint8)})
                    self._copy_clip(content, wanted_of_real, self._session.store, shared)
            shared.flush()

    def _copy_clip(
        self, content: str, specs: Iterable[FeatureSpec], source: FeatureStore, target: FeatureStore
    ) -> None:
        _copy(media_facts_key(content), source, target)
        for spec in specs:
            for known in contents(source, content, self._session.encoders[spec.encoder].cls.stream(spec)):
                _copy(self._session.key(known, spec), source, target)

    @contextmanager
    def _shared(self) -> Iterator[FeatureStore]:
        """The shared folder; what goes wrong with it costs time, and this run nothing."""
        try:
            yield FeatureStore(self._folder, writer=self._writer)
        except (JavisbenchError, OSError) as error:
            log.warning("Features of what the suite gives are not shared by way of %s: %s", self._folder, error)

    def _of_stream(self, specs: Iterable[FeatureSpec]) -> Sequence[FeatureSpec]:
        found = [s for s in specs if self._session.encoders[s.encoder].cls.stream(s) == self._stream]
        return sorted(found, key=repr)

    def _file_key(self, sample: Sample) -> str | None:
        path: Path | None = getattr(sample, self._column)
        digest = None if path is None else self._files.digest_here(path)
        return None if digest is None else feature_key(digest, "given", 1, "", FeatureSpec("given", self._stream))

    def _real_key(self, source: ClipSource) -> str | None:
        digests = [None if path is None else self._files.digest_here(path) for path in (source.video, source.audio)]
        if digests[0] is None or (digests[1] is None) != (source.audio is None):
            return None
        return feature_key(" ".join(map(str, digests)), "real", 1, "", FeatureSpec("real", "content"))


def _copy(key: str, source: FeatureStore, target: FeatureStore) -> None:
    if key not in target and (arrays := source.find(key)):
        target.put(key, arrays)
