"""Decoding every clip once, showing it to every encoder that needs it, and storing what they make of it."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from javisbench.errors import FeatureError, JavisbenchError, MediaError
from javisbench.media import ClipReader, ClipSource, DecodeLimits, content_hash
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.run.features import FeatureStore, feature_key
from javisbench.run.progress import ENCODING, READING

if TYPE_CHECKING:
    from javisbench.clip import Clip
    from javisbench.metrics.encoders.base import Encoder, EncoderCard
    from javisbench.reference.wanted import EncoderChoice
    from javisbench.run.progress import Progress, Stage

log = logging.getLogger(__name__)
Encoded = dict["FeatureSpec", Any]
Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass
class ContentIndex:
    """What is known of each source: its content hash, where its sound came from, or why it cannot be read."""

    hashes: dict[ClipSource, str] = field(default_factory=dict)
    errors: dict[ClipSource, MediaError] = field(default_factory=dict)


@dataclass
class EncodeSession:
    """Encoders, store and settings of one job; networks are loaded when the first clip needs them.

    Attributes:
        encoders: by name.
        store: where features go.
        device: torch device of the networks.
        workers: decoding processes, and threads for encoders without a network.
        precision: ``bf16`` and ``fp16`` are for the networks whose card allows it; the others stay in ``fp32``.
        batch_clips: clips or prompts a forward pass. On a CPU 1, so that results do not depend on sharding or resuming.
        limits: of decoding.
    """

    encoders: Mapping[str, EncoderChoice]
    store: FeatureStore
    device: str
    workers: int
    batch_clips: int
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    precision: Precision = "fp32"
    feature_errors: dict[str, JavisbenchError] = field(default_factory=dict)
    _loaded: dict[str, Encoder] = field(default_factory=dict)

    def key(self, content: str, spec: FeatureSpec) -> str:
        """The store's key of one feature of one clip or prompt."""
        choice = self.encoders[spec.encoder]
        label = f"{choice.label}@{self.precision}" if self.reduces(choice.cls.card) else choice.label
        return feature_key(content, label, choice.cls.card.revision, choice.weights_hash, spec)

    def reduces(self, card: EncoderCard) -> bool:
        """Whether an encoder computes in less than fp32 here."""
        return self.precision != "fp32" and card.reduced_precision

    def encode(self, encoder: Encoder, items: list[Any], specs: list[FeatureSpec]) -> list[Encoded]:
        """Encode a batch in the session's precision; a defect on one item costs that item, not the run."""
        if not self.reduces(encoder.card):
            return _guarded(encoder, items, specs)
        import torch

        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        with torch.autocast(torch.device(self.device).type, dtype):
            return _guarded(encoder, items, specs)

    def encoder(self, name: str) -> Encoder:
        """The encoder, loaded.

        Raises:
            WeightsError: its weights do not fit.
        """
        if name not in self._loaded:
            choice = self.encoders[name]
            encoder = choice.cls(choice.variant)
            encoder.load(choice.weights.path if choice.weights else None, self.device)
            self._loaded[name] = encoder
        return self._loaded[name]

    def missing(self, content: str, specs: Iterable[FeatureSpec]) -> dict[str, list[FeatureSpec]]:
        """Encoder name to those of `specs` whose features are not stored yet."""
        todo: dict[str, list[FeatureSpec]] = {}
        for spec in specs:
            if self.key(content, spec) not in self.store:
                todo.setdefault(spec.encoder, []).append(spec)
        return {name: sorted(found, key=repr) for name, found in sorted(todo.items())}

    def keep(self, content: str, encoded: Encoded) -> int:
        """Store one item's features; remember its errors. Returns how many failed."""
        failed = 0
        for spec, features in encoded.items():
            key = self.key(content, spec)
            if isinstance(features, JavisbenchError):
                self.feature_errors[key] = features
                failed += 1
            else:
                self.feature_errors.pop(key, None)
                self.store.put(key, features)
        return failed

    def close(self) -> None:
        """Free the networks and write what is pending."""
        self.store.flush()
        for encoder in self._loaded.values():
            encoder.close()
        self._loaded.clear()


def media_facts_key(content: str) -> str:
    """The store's key of what decoding told of a clip besides its pixels and samples."""
    return feature_key(content, "media", 1, "", FeatureSpec("media", "facts"))


def prompt_hash(prompt: str) -> str:
    """Content hash of a prompt."""
    return hashlib.sha256(b"prompt\0" + prompt.encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def full_fp32() -> Iterator[None]:
    """Inside, float32 means float32: no TF32 in matrix products or convolutions, no gradients."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def hash_sources(sources: Sequence[ClipSource], workers: int, progress: Progress) -> ContentIndex:
    """Content hashes of all files; unreadable ones become errors."""
    index = ContentIndex()

    def work(source: ClipSource) -> str | MediaError:
        try:
            return content_hash(source)
        except MediaError as error:
            return error
        except OSError as error:
            return MediaError(f"{source.video}: {error.strerror or error}", kind="unreadable")

    with ThreadPoolExecutor(workers) as threads, progress.stage(READING, len(sources)) as stage:
        for source, outcome in zip(sources, threads.map(work, sources), strict=True):
            if isinstance(outcome, str):
                index.hashes[source] = outcome
            else:
                index.errors[source] = outcome
            stage.advance(failed=None if isinstance(outcome, str) else str(source.video))
    return index


def encode_prompts(
    prompts: Iterable[str], specs: Iterable[FeatureSpec], session: EncodeSession, progress: Progress
) -> None:
    """Make the text features that are not stored yet, each distinct prompt once."""
    specs = sorted(specs, key=repr)
    unique = list(dict.fromkeys(prompts))
    todo = [(prompt, session.missing(prompt_hash(prompt), specs)) for prompt in unique]
    todo = [(prompt, missing) for prompt, missing in todo if missing]
    if not todo:
        return
    with progress.stage("encoding prompts", len(todo), "prompts") as stage:
        for start in range(0, len(todo), session.batch_clips):
            batch = todo[start : start + session.batch_clips]
            groups: dict[tuple[str, tuple[FeatureSpec, ...]], list[str]] = {}
            for prompt, missing in batch:
                for name, wanted in missing.items():
                    groups.setdefault((name, tuple(wanted)), []).append(prompt)
            for (name, wanted_of_all), members in groups.items():
                contents = [prompt_hash(prompt) for prompt in members]
                _run(session.encoder(name), members, contents, list(wanted_of_all), session)
            for _ in batch:
                stage.advance()
    session.store.flush()


def encode_clips(
    wanted: Mapping[ClipSource, Iterable[FeatureSpec]], index: ContentIndex, session: EncodeSession, progress: Progress
) -> None:
    """Make the clip features that are not stored yet; decode errors are added to `index`."""
    todo: dict[ClipSource, dict[str, list[FeatureSpec]]] = {}
    seen: set[str] = set()
    for source, specs in wanted.items():
        content = index.hashes.get(source)
        if content is None or content in seen:
            continue
        missing = session.missing(content, specs)
        if missing:
            seen.add(content)
            todo[source] = missing
    if not todo:
        return
    for name in sorted({name for missing in todo.values() for name in missing}):
        session.encoder(name)
    with (
        progress.stage(ENCODING, len(todo)) as stage,
        ClipReader(session.workers, session.limits) as reader,
        ThreadPoolExecutor(session.workers) as threads,
    ):
        _ClipLoop(todo, index, session, stage, threads).run(reader)
    session.store.flush()
    broken = {index.hashes[source]: error for source, error in index.errors.items() if source in index.hashes}
    for source in wanted:
        # Copies of a broken clip were not decoded again.
        if index.hashes.get(source) in broken:
            index.errors.setdefault(source, broken[index.hashes[source]])


@dataclass
class _ClipLoop:
    todo: dict[ClipSource, dict[str, list[FeatureSpec]]]
    index: ContentIndex
    session: EncodeSession
    stage: Stage
    threads: ThreadPoolExecutor
    _batch: list[tuple[ClipSource, Clip]] = field(default_factory=list)
    _host: deque[tuple[str, Future[list[Encoded]]]] = field(default_factory=deque)

    def run(self, reader: ClipReader) -> None:
        for source, outcome in reader.read(self.todo):
            if isinstance(outcome, MediaError):
                self.index.errors[source] = outcome
                self.stage.advance(failed=str(source.video))
                continue
            self._keep_facts(source, outcome)
            self._start_host(source, outcome)
            self._batch.append((source, outcome))
            if len(self._batch) >= self.session.batch_clips:
                self._finish_batch()
            # Clips waiting for a thread hold their pixels: only a few may wait.
            self._drain(at_most=2 * self.session.workers)
        self._finish_batch()
        self._drain(at_most=0)

    def _keep_facts(self, source: ClipSource, clip: Clip) -> None:
        import numpy as np

        kind = {"none": 0, "sidecar": 1, "container": 2}[clip.audio_source]
        facts = {"audio_source": np.asarray(kind), "durations_s": np.asarray([clip.duration_s, clip.audio_duration_s])}
        self.session.store.put(media_facts_key(self.index.hashes[source]), facts)

    def _start_host(self, source: ClipSource, clip: Clip) -> None:
        for name, specs in self.todo[source].items():
            encoder = self.session.encoder(name)
            if encoder.card.host:
                content = self.index.hashes[source]
                self._host.append((content, self.threads.submit(_guarded, encoder, [clip], specs)))

    def _drain(self, at_most: int) -> None:
        while len(self._host) > at_most:
            content, future = self._host.popleft()
            self.session.keep(content, future.result()[0])

    def _finish_batch(self) -> None:
        batch, self._batch = self._batch, []
        groups: dict[tuple[str, tuple[FeatureSpec, ...]], list[tuple[ClipSource, Clip]]] = {}
        for source, clip in batch:
            for name, specs in self.todo[source].items():
                if not self.session.encoder(name).card.host:
                    groups.setdefault((name, tuple(specs)), []).append((source, clip))
        for (name, wanted), members in groups.items():
            contents = [self.index.hashes[source] for source, _ in members]
            _run(self.session.encoder(name), [clip for _, clip in members], contents, list(wanted), self.session)
        for _ in batch:
            self.stage.advance()


def _run(
    encoder: Encoder, items: list[Any], contents: list[str], specs: list[FeatureSpec], session: EncodeSession
) -> None:
    for content, encoded in zip(contents, session.encode(encoder, items, specs), strict=True):
        session.keep(content, encoded)


def _guarded(encoder: Encoder, items: list[Any], specs: list[FeatureSpec]) -> list[Encoded]:
    """Encode a batch; a defect of the encoder on one item costs that item, not the run."""
    try:
        return list(encoder.encode(items, specs))
    except Exception as error:
        if len(items) > 1:
            log.warning("%s failed on a batch of %d (%s); trying one by one", encoder.card.name, len(items), error)
            return [encoded for item in items for encoded in _guarded(encoder, [item], specs)]
        log.exception("%s failed", encoder.card.name)
        message = f"{encoder.card.title} failed: {type(error).__name__}: {error}. The log has the details."
        return [{spec: FeatureError(message, kind="encoder_failed") for spec in specs}]
