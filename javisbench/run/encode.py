"""Decoding every clip once, showing it to every encoder that needs it, and storing what they make of it."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

from javisbench.errors import FeatureError, JavisbenchError, MediaError, PluginError, SystemFaultError
from javisbench.media import ClipReader, ClipSource, DecodeLimits, content_hash
from javisbench.media.errors import fault_of_reading
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.run.features import FeatureStore, contents, feature_key, media_facts_key, stream_content
from javisbench.run.progress import ENCODING, READING
from javisbench.system_faults import Fault, Places, can_be_read, fault_of, tried_again

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.clip import ClipHead, Damage, FrameRun
    from javisbench.metrics.encoders.base import Encoder, EncoderCard, Features, Intake
    from javisbench.reference.wanted import EncoderChoice
    from javisbench.run.progress import Progress, Stage

log = logging.getLogger(__name__)
Encoded = dict["FeatureSpec", Any]
T = TypeVar("T")
Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def _stopped(what: str, done: str) -> SystemFaultError:
    return SystemFaultError(
        f"{what.rstrip('.')}. The system stopped this run, no clip did: {done}. What is done is kept; run the same "
        f"command again."
    )


@dataclass
class ContentIndex:
    """What is known of each source: its content hash, where its sound came from, or why it cannot be read."""

    hashes: dict[ClipSource, str] = field(default_factory=dict)
    errors: dict[ClipSource, MediaError] = field(default_factory=dict)
    places: Places = field(default_factory=Places)

    def fault(self, source: ClipSource, failure: Exception) -> Fault | None:
        """Whether it is the system's fault that a source could not be read."""
        return fault_of_reading(failure, source.files, self.places)

    def alone(self, source: ClipSource, failure: Exception, fault: Fault, done: str) -> MediaError:
        """The error of a source that is alone in its trouble: one of its folder that was read can be read even now.

        Raises:
            SystemFaultError: none can.
        """
        folder = self.places.folder(source.video)
        others = (other.video for other in reversed(self.hashes) if self.places.folder(other.video) == folder)
        other = next(others, None)
        if other is not None and can_be_read(other):
            return MediaError(f"{source.video}: {fault.reason}, for this file alone.", kind="unreadable")
        raise _stopped(f"{source.video} cannot be read: {fault.reason}", done) from failure


@dataclass
class EncodeSession:
    """Encoders, store and settings of one job; networks are loaded when the first clip needs them.

    Attributes:
        encoders: by name.
        store: where features go.
        device: torch device of the networks.
        workers: decoding processes, each with a thread in which frames are prepared and encoders without a network run.
        precision: ``bf16`` and ``fp16`` are for the networks whose card allows it; the others stay in ``fp32``.
        batch_clips: clips or prompts a forward pass. On a CPU 1, so that results do not depend on sharding or resuming.
        limits: of decoding.
        feature_errors: by key, why a clip or prompt has no feature.
        broken: encoders of other packages that do not load: they are left out.
    """

    encoders: Mapping[str, EncoderChoice]
    store: FeatureStore
    device: str
    workers: int
    batch_clips: int
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    precision: Precision = "fp32"
    feature_errors: dict[str, JavisbenchError] = field(default_factory=dict)
    broken: dict[str, PluginError] = field(default_factory=dict)
    _loaded: dict[str, Encoder] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)
    _places: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    # Encoders that have made something here; and those whose last item found no memory: one may be too large, two in a
    # row are the machine's trouble.
    _worked: set[str] = field(default_factory=set)
    _starved: set[str] = field(default_factory=set)

    def key(self, content: str, spec: FeatureSpec) -> str:
        """The store's key of one feature of one clip or prompt."""
        choice = self.encoders[spec.encoder]
        label = f"{choice.label}@{self.precision}" if self.reduces(choice.cls.card) else choice.label
        return feature_key(content, label, choice.cls.card.revision, choice.weights_hash, spec)

    def keys(self, content: str, spec: FeatureSpec) -> list[str]:
        """Where one feature of one clip or prompt may be stored, the best place first."""
        stream = self.encoders[spec.encoder].cls.stream(spec) if spec.subject == "clip" else "both"
        places = self._places.get((content, stream))
        if places is None:
            places = list(contents(self.store, content, stream))
            if len(places) > 1:  # of a clip that is not decoded yet, more will be known
                self._places[content, stream] = places
        return [self.key(known, spec) for known in places]

    def stored(self, content: str, spec: FeatureSpec) -> Features:
        """A feature of a clip or prompt.

        Raises:
            FeatureError: there is none, and why.
        """
        keys = self.keys(content, spec)
        for key in keys:
            if key in self.store:
                return self.store.get(key)
        if spec.encoder in self.broken:
            raise FeatureError(self.broken[spec.encoder].message, kind="encoder_failed")
        error = next((self.feature_errors[key] for key in keys if key in self.feature_errors), None)
        raise error or FeatureError("The features are missing from the store.")

    def reduces(self, card: EncoderCard) -> bool:
        """Whether an encoder computes in less than fp32 here."""
        return self.precision != "fp32" and card.reduced_precision

    def encode(self, encoder: Encoder, items: Sequence[str], specs: list[FeatureSpec]) -> list[Encoded]:
        """Encode prompts in the session's precision; a defect on one item costs that item, not the run."""
        return self._guarded(encoder, items, specs, lambda some: encoder.encode(some, specs))

    def features(self, encoder: Encoder, intakes: Sequence[Intake], specs: list[FeatureSpec]) -> list[Encoded]:
        """Features of clips whose frames have come, in the session's precision; a defect costs its clip alone."""
        return self._guarded(encoder, intakes, specs, encoder.features)

    @contextmanager
    def precise(self, encoder: Encoder) -> Iterator[None]:
        """Inside, the encoder's network computes in the session's precision. Holds for the calling thread."""
        if encoder.card.host:
            yield
            return
        import torch

        with torch.inference_mode():
            if not self.reduces(encoder.card):
                yield
                return
            dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
            with torch.autocast(torch.device(self.device).type, dtype):
                yield

    def _guarded(
        self,
        encoder: Encoder,
        items: Sequence[T],
        specs: list[FeatureSpec],
        make: Callable[[Sequence[T]], list[Encoded]],
    ) -> list[Encoded]:
        def attempt() -> list[Encoded] | Exception:
            try:
                with self.precise(encoder):
                    return _checked(make(items), items, specs)
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                return error

        made = attempt()
        if isinstance(made, Exception) and len(items) > 1:
            log.warning("%s failed on a batch of %d (%s); trying one by one", encoder.card.name, len(items), made)
            return [made for item in items for made in self._guarded(encoder, [item], specs, make)]
        name = encoder.card.name
        if isinstance(made, Exception):
            # One that has never had room here does not fit, which is no passing trouble. And what runs on the host runs
            # in a thread of the reader, where nobody could end a wait.
            hopeless = name in self._starved - self._worked
            patience_s = 0.0 if encoder.card.host or hopeless else self.limits.patience_s
            made, fault = tried_again(made, attempt, fault_of, patience_s, name)
            if fault is not None and (fault.certain or name in self._starved & self._worked):
                raise SystemFaultError(f"{encoder.card.title} failed: {fault.reason}")
            if fault is not None:
                self._starved.add(name)
        if not isinstance(made, Exception):
            self._worked.add(name)
            self._starved.discard(name)
            return made
        if self.is_new(encoder, made):
            log.error("%s failed", encoder.card.name, exc_info=made)
        return [dict.fromkeys(specs, _defect(encoder, made))]

    def is_new(self, encoder: Encoder, error: Exception) -> bool:
        """Whether a defect is another than those seen before: of thousands of clips with one, one traceback is told."""
        kind = (encoder.card.name, f"{type(error).__name__}: {error}")
        new = kind not in self._told
        self._told.add(kind)
        return new

    def encoder(self, name: str) -> Encoder:
        """The encoder, loaded.

        Raises:
            WeightsError: its weights do not fit.
            PluginError: it is another package's, and does not load.
        """
        if name not in self._loaded:
            choice = self.encoders[name]
            with ENCODERS.guarded(name, "load"):
                encoder = choice.cls(choice.variant)
                encoder.load(choice.weights.path if choice.weights else None, self.device)
            self._loaded[name] = encoder
        return self._loaded[name]

    def load(self, names: Iterable[str]) -> None:
        """Load encoders; those of other packages that do not load are noted as broken.

        Raises:
            WeightsError: the weights of one of this package's encoders do not fit.
        """
        for name in sorted(set(names) - self.broken.keys()):
            try:
                self.encoder(name)
            except PluginError as error:
                self.broken[name] = error

    def whole(self, missing: Mapping[str, list[FeatureSpec]]) -> dict[str, list[FeatureSpec]]:
        """What of `missing` is no broken encoder's."""
        return {name: specs for name, specs in missing.items() if name not in self.broken}

    def missing(self, content: str, specs: Iterable[FeatureSpec]) -> dict[str, list[FeatureSpec]]:
        """Encoder name to those of `specs` that are neither stored nor known to fail."""
        todo: dict[str, list[FeatureSpec]] = {}
        for spec in specs:
            if not any(key in self.store or key in self.feature_errors for key in self.keys(content, spec)):
                todo.setdefault(spec.encoder, []).append(spec)
        return {name: sorted(found, key=repr) for name, found in sorted(todo.items())}

    def keep(self, content: str, encoded: Encoded) -> int:
        """Store one item's features; remember its errors. Returns how many failed."""
        failed = 0
        for spec, features in encoded.items():
            key = self.keys(content, spec)[0]
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


def hash_sources(
    sources: Sequence[ClipSource],
    workers: int,
    progress: Progress,
    *,
    places: Places | None = None,
    limits: DecodeLimits | None = None,
) -> ContentIndex:
    """Content hashes of all files; unreadable ones become errors.

    Args:
        sources: the files.
        workers: threads that read.
        progress: shown to the user.
        places: where they were listed; None: where they are now.
        limits: how long the system may take to recover.

    Raises:
        SystemFaultError: files cannot be read, and that is not theirs to blame.
    """
    index = ContentIndex(places=places or Places())
    index.places.add(file for source in sources for file in source.files)
    patience_s = (limits or DecodeLimits()).patience_s
    with ThreadPoolExecutor(workers) as threads, progress.stage(READING, len(sources)) as stage:
        for source, first in zip(sources, threads.map(_content, sources), strict=True):
            outcome = first if isinstance(first, str) else _settled(first, source, index, patience_s, len(sources))
            if isinstance(outcome, str):
                index.hashes[source] = outcome
            else:
                index.errors[source] = outcome
            stage.advance(failed=None if isinstance(outcome, str) else str(source.video))
    return index


def _settled(
    failure: MediaError, source: ClipSource, index: ContentIndex, patience_s: float, total: int
) -> str | MediaError:
    """What becomes of a source that could not be read: its hash after all, or the error that it keeps."""
    if index.fault(source, failure) is None:
        # It was read ahead of time; what the system failed at then may be over.
        second = _content(source)
        if isinstance(second, str):
            return second
        failure = second
    outcome, fault = tried_again(
        failure, partial(_content, source), partial(index.fault, source), patience_s, source.video
    )
    if isinstance(outcome, str):
        return outcome
    if fault is not None:
        return index.alone(source, outcome, fault, f"{len(index.hashes)} of {total} clips are read")
    assert isinstance(outcome, MediaError)
    return outcome


def _content(source: ClipSource) -> str | MediaError:
    try:
        return content_hash(source)
    except MediaError as error:
        return error
    except OSError as error:
        failure = MediaError(f"{source.video}: {error.strerror or error}", kind="unreadable")
        failure.__cause__ = error
        return failure


def encode_prompts(
    prompts: Iterable[str], specs: Iterable[FeatureSpec], session: EncodeSession, progress: Progress
) -> None:
    """Make the text features that are not stored yet, each distinct prompt once."""
    specs = sorted(specs, key=repr)
    missing_of = {prompt: session.missing(prompt_hash(prompt), specs) for prompt in dict.fromkeys(prompts)}
    session.load(name for missing in missing_of.values() for name in missing)
    todo = [(prompt, able) for prompt, missing in missing_of.items() if (able := session.whole(missing))]
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
                made = session.encode(session.encoder(name), members, list(wanted_of_all))
                for content, encoded in zip(contents, made, strict=True):
                    session.keep(content, encoded)
            for _ in batch:
                stage.advance()
    session.store.flush()


def encode_clips(
    wanted: Mapping[ClipSource, Iterable[FeatureSpec]], index: ContentIndex, session: EncodeSession, progress: Progress
) -> None:
    """Make the clip features that are not stored yet; decode errors are added to `index`."""
    todo = _todo(wanted, index, session)
    if not todo:
        return
    session.load(name for missing in todo.values() for name in missing)
    # A clip of which nothing can be made is decoded all the same: that it can be read is a fact of its own.
    todo = {source: session.whole(missing) for source, missing in todo.items()}
    with progress.stage(ENCODING, len(todo)) as stage, _reader(session, index) as reader:
        _ClipLoop(todo, index, session, stage, _Claims(session)).run(reader)
    # What was left to another clip of the same picture or sound, which then failed for a reason of its own.
    again = _todo({source: wanted[source] for source in todo if source not in index.errors}, index, session)
    if left := {source: able for source, missing in again.items() if (able := session.whole(missing))}:
        with progress.stage(ENCODING, len(left)) as stage, _reader(session, index) as reader:
            _ClipLoop(left, index, session, stage, None).run(reader)
    session.store.flush()
    broken = {index.hashes[source]: error for source, error in index.errors.items() if source in index.hashes}
    for source in wanted:
        # Copies of a broken clip were not decoded again.
        if index.hashes.get(source) in broken:
            index.errors.setdefault(source, broken[index.hashes[source]])


def _reader(session: EncodeSession, index: ContentIndex) -> ClipReader:
    return ClipReader(session.workers, session.limits, places=index.places)


def _todo(
    wanted: Mapping[ClipSource, Iterable[FeatureSpec]], index: ContentIndex, session: EncodeSession
) -> dict[ClipSource, dict[str, list[FeatureSpec]]]:
    """What is missing of each distinct clip."""
    todo: dict[ClipSource, dict[str, list[FeatureSpec]]] = {}
    seen: set[str] = set()
    for source, specs in wanted.items():
        content = index.hashes.get(source)
        if content is None or content in seen:
            continue
        if missing := session.missing(content, specs):
            seen.add(content)
            todo[source] = missing
    return todo


class _Claims:
    """Who makes what of a picture or a sound that several clips share: the first one to come, and no other."""

    def __init__(self, session: EncodeSession) -> None:
        self._session = session
        # A clip that is read a second time, for whatever reason, keeps what it has taken.
        self._taken: dict[str, str] = {}
        self._lock = threading.Lock()

    def first(self, head: ClipHead, todo: Mapping[str, list[FeatureSpec]]) -> dict[str, list[FeatureSpec]]:
        """Those of `todo` that nobody has made or begun to make."""
        with self._lock:
            left = {name: [spec for spec in specs if self._take(head, spec)] for name, specs in todo.items()}
        return {name: specs for name, specs in left.items() if specs}

    def _take(self, head: ClipHead, spec: FeatureSpec) -> bool:
        stream = self._session.encoders[spec.encoder].cls.stream(spec)
        digest = {"picture": head.picture_hash, "sound": head.sound_hash, "both": ""}[stream]
        if not digest:
            return True
        key = self._session.key(stream_content(stream, digest), spec)
        return self._taken.setdefault(key, head.name) == head.name and key not in self._session.store


class _Visit:
    """One clip on its way through all the encoders that need it; what runs on the host is finished with its last frame.

    Lives in the thread of a decoding process until then (`javisbench.media.process.Consumer`).

    Attributes:
        head: the clip without its pixels.
        intakes: encoder name to the clip's way into it, for networks.
        made: features of host encoders, and of encoders that refused the clip or failed on it.
    """

    def __init__(self, head: ClipHead, todo: Mapping[str, list[FeatureSpec]], session: EncodeSession) -> None:
        self.head = head
        self.intakes: dict[str, Intake] = {}
        self.made: list[Encoded] = []
        self._session = session
        self._wanted: dict[str, NDArray[np.int64] | None] = {}
        for name, specs in todo.items():
            with self._costing_no_more_than(name, specs):
                intake = session.encoder(name).intake(head, specs)
                self._wanted[name] = intake.wanted
                self.intakes[name] = intake

    @property
    def wanted(self) -> NDArray[np.int64] | None:
        """The frames that any encoder needs."""
        import numpy as np

        chosen = [wanted for wanted in self._wanted.values() if wanted is not None]
        if len(chosen) < len(self._wanted):
            return None
        return np.unique(np.concatenate([np.zeros(0, np.int64), *chosen]))

    def take(self, run: FrameRun) -> None:
        """Show each encoder its frames."""
        for name, intake in list(self.intakes.items()):
            part = run.only(self._wanted[name])
            if len(part.indices):
                with self._costing_no_more_than(name, intake.specs):
                    intake.take(part)

    def end(self, damage: tuple[Damage, ...]) -> None:
        """Finish what runs on the host."""
        for name, intake in list(self.intakes.items()):
            encoder = self._session.encoder(name)
            with self._costing_no_more_than(name, intake.specs):
                intake.end(damage)
            if encoder.card.host and name in self.intakes:
                self.made += self._session.features(encoder, [self.intakes.pop(name)], list(intake.specs))

    @property
    def held_bytes(self) -> int:
        """What waits for the networks, and the sound."""
        sound = 0 if self.head.audio is None else self.head.audio.nbytes
        return sound + sum(intake.held_bytes for intake in self.intakes.values())

    @contextmanager
    def _costing_no_more_than(self, name: str, specs: Sequence[FeatureSpec]) -> Iterator[None]:
        """A defect of an encoder costs its own features of this clip."""
        encoder = self._session.encoder(name)
        try:
            with self._session.precise(encoder):
                yield
        except FeatureError as error:
            self._give_up(name, specs, error)
        except Exception as error:
            if (fault := fault_of(error)) is not None and fault.certain:
                raise SystemFaultError(f"{encoder.card.title} failed: {fault.reason}") from error
            if self._session.is_new(encoder, error):
                log.exception("%s failed on %s", encoder.card.name, self.head.name)
            self._give_up(name, specs, _defect(encoder, error))

    def _give_up(self, name: str, specs: Sequence[FeatureSpec], error: JavisbenchError) -> None:
        self.intakes.pop(name, None)
        self._wanted.pop(name, None)
        self.made.append(dict.fromkeys(specs, error))


@dataclass
class _ClipLoop:
    todo: dict[ClipSource, dict[str, list[FeatureSpec]]]
    index: ContentIndex
    session: EncodeSession
    stage: Stage
    claims: _Claims | None
    done: int = 0
    _batch: list[tuple[ClipSource, _Visit]] = field(default_factory=list)

    def run(self, reader: ClipReader) -> None:
        def visit(source: ClipSource, head: ClipHead) -> _Visit:
            todo = self.todo[source]
            return _Visit(head, todo if self.claims is None else self.claims.first(head, todo), self.session)

        try:
            self._take(reader.stream(self.todo, visit))
        except SystemFaultError as error:
            self._finish_batch()
            done = f"{self.done} of {len(self.todo)} clips that were to be encoded are"
            raise _stopped(error.sentence, done) from error

    def _take(self, outcomes: Iterator[tuple[ClipSource, _Visit | MediaError]]) -> None:
        for source, outcome in outcomes:
            if isinstance(outcome, MediaError):
                self.index.errors[source] = outcome
                self.done += 1
                self.stage.advance(failed=str(source.video))
                continue
            self._keep_facts(source, outcome.head)
            for encoded in outcome.made:
                self.session.keep(self.index.hashes[source], encoded)
            self._batch.append((source, outcome))
            if len(self._batch) >= self.session.batch_clips:
                self._finish_batch()
        self._finish_batch()

    def _keep_facts(self, source: ClipSource, head: ClipHead) -> None:
        import numpy as np

        kind = {"none": 0, "sidecar": 1, "container": 2}[head.audio_source]
        facts = {
            "audio_source": np.asarray(kind),
            "durations_s": np.asarray([head.duration_s, head.audio_duration_s]),
            "picture": np.frombuffer(bytes.fromhex(head.picture_hash), np.uint8),
            "sound": np.frombuffer(bytes.fromhex(head.sound_hash), np.uint8),
        }
        self.session.store.put(media_facts_key(self.index.hashes[source]), facts)

    def _finish_batch(self) -> None:
        batch, self._batch = self._batch, []
        groups: dict[tuple[str, tuple[FeatureSpec, ...]], list[tuple[ClipSource, Intake]]] = {}
        for source, visit in batch:
            for name, intake in visit.intakes.items():
                groups.setdefault((name, intake.specs), []).append((source, intake))
        for (name, specs), members in groups.items():
            made = self.session.features(self.session.encoder(name), [intake for _, intake in members], list(specs))
            for (source, _), encoded in zip(members, made, strict=True):
                self.session.keep(self.index.hashes[source], encoded)
        self.done += len(batch)
        for _ in batch:
            self.stage.advance()


def _checked(made: Sequence[Encoded], items: Sequence[Any], specs: Sequence[FeatureSpec]) -> list[Encoded]:
    """What an encoder made of a batch, each item with all its features as arrays, or with the error of each.

    Raises:
        TypeError: it is something else.
    """
    import numpy as np

    if len(made) != len(items):
        raise TypeError(f"{len(items)} items gave {len(made)} results")
    for encoded in made:
        for spec in specs:
            features = encoded[spec]
            if isinstance(features, JavisbenchError):
                continue
            for name, array in features.items():
                if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
                    raise TypeError(f"{spec.feature}/{name} is no array of numbers but {type(array).__name__}")
    return [{spec: encoded[spec] for spec in specs} for encoded in made]


def _defect(encoder: Encoder, error: Exception) -> FeatureError:
    name = encoder.card.name
    if ENCODERS.plugin(name) is not None:
        return FeatureError(ENCODERS.defect(name, "encode", error), kind="encoder_failed")
    message = f"{encoder.card.title} failed: {type(error).__name__}: {error}. The log has the details."
    return FeatureError(message, kind="encoder_failed")
