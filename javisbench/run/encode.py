"""Decoding every clip once, showing it to every encoder that needs it, and storing what they make of it."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

from javisbench.errors import FeatureError, JavisbenchError, MediaError, PluginError, SystemFaultError
from javisbench.media import ClipReader, ClipSource, DecodeLimits, content_hash
from javisbench.media.errors import STOPPING, fault_of_reading
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.run.features import FeatureStore, contents, feature_key, media_facts_key, stream_content
from javisbench.run.progress import ENCODING, READING
from javisbench.system_faults import Fault, Places, can_be_read, fault_of, is_out_of_memory, tried_again

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
Precision: TypeAlias = Literal["fp32", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
COMPILED = "compiled"
#: Clips after which every batch is closed, full or not: which clips share a batch does not depend on how many devices
#: share the work, each of which takes so many clips at a time.
BLOCK_CLIPS = 64
#: What clips may hold, prepared, while they wait for their batches to fill.
_WAITING_BYTES = 2 * 2**30
#: Prompts of a batch where clips fill theirs.
PROMPTS_AT_ONCE = 256
_HASHED_AT_ONCE = 256
_BATCHES_AHEAD = 2


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
            return MediaError(f"{source.title}: {fault.reason}, for this file alone.", kind="unreadable")
        raise _stopped(f"{source.title} cannot be read: {fault.reason}", done) from failure


@dataclass
class EncodeSession:
    """Encoders, store and settings of one job; networks are loaded when the first clip needs them.

    Attributes:
        encoders: by name.
        store: where features go.
        device: torch device of the networks in this process.
        workers: decoding processes, each with a thread in which frames are prepared and encoders without a network run.
        precision: what is faster than ``fp32`` is for the networks whose card allows it.
        compiled: whether networks whose encoder says so run as ``torch.compile`` makes them.
        batch_clips: clips or prompts that make a batch; None for as many as fill the device (`Encoder.full_batch`). On
            a CPU 1, so that results do not depend on sharding or resuming.
        limits: of decoding.
        feature_errors: by key, why a clip or prompt has no feature.
        broken: encoders of other packages that do not load: they are left out.
        devices: torch devices that share the clips (`javisbench.run.devices`).
        listed: where the clips were listed, to tell later whether a folder has gone (`javisbench.system_faults`).
    """

    encoders: Mapping[str, EncoderChoice]
    store: FeatureStore
    device: str
    workers: int
    batch_clips: int | None
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    precision: Precision = "fp32"
    compiled: bool = False
    feature_errors: dict[str, JavisbenchError] = field(default_factory=dict)
    broken: dict[str, PluginError] = field(default_factory=dict)
    devices: tuple[str, ...] = ("cpu",)
    listed: Places = field(default_factory=Places)
    _loaded: dict[str, Encoder] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)
    _places: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    # Encoders that have made something here; and those whose last item found no memory: one may be too large, two in a
    # row are the machine's trouble.
    _worked: set[str] = field(default_factory=set)
    _starved: set[str] = field(default_factory=set)

    def with_store(self, store: FeatureStore) -> EncodeSession:
        """A session with the same networks that knows nothing but what is in `store`."""
        return replace(self, store=store, feature_errors={}, _places={})

    def key(self, content: str, spec: FeatureSpec) -> str:
        """The store's key of one feature of one clip or prompt."""
        choice = self.encoders[spec.encoder]
        ways = ways_of(choice.cls, self.precision, compiled=self.compiled)
        label = f"{choice.label}@{ways}" if ways else choice.label
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

    @property
    def batches_ahead(self) -> int:
        """Batches that the device is given beside the one whose results are taken."""
        return 0 if self.device == "cpu" else _BATCHES_AHEAD

    def reduces(self, card: EncoderCard) -> bool:
        """Whether an encoder computes in less than fp32 here."""
        return self.precision != "fp32" and card.reduced_precision

    def encode(self, encoder: Encoder, items: Sequence[str], specs: list[FeatureSpec]) -> list[Encoded]:
        """Encode prompts in the session's precision; a defect on one item costs that item, not the run."""
        return self._guarded(encoder, items, specs, lambda some: encoder.encode(some, specs))

    def features(self, encoder: Encoder, intakes: Sequence[Intake], specs: list[FeatureSpec]) -> list[Encoded]:
        """Features of clips whose frames have come, in the session's precision; a defect costs its clip alone."""
        return self._guarded(encoder, intakes, specs, encoder.features)

    def start(
        self, encoder: Encoder, intakes: Sequence[Intake], specs: list[FeatureSpec]
    ) -> Callable[[], list[Encoded]]:
        """Set the features of clips going; what is returned waits for them, and costs no more than `features`."""
        try:
            with self.precise(encoder):
                going = encoder.start(intakes)
        except Exception as error:  # noqa: BLE001 - a defect of an encoder costs its clips, not the run
            made = self._apart(encoder, intakes, specs, encoder.features, error)
            return lambda: made

        def finished() -> list[Encoded]:
            try:
                made = _checked(going(), intakes, specs)
            except Exception as error:  # noqa: BLE001 - a defect of an encoder costs its clips, not the run
                return self._apart(encoder, intakes, specs, encoder.features, error)
            self._has_worked(encoder)
            return made

        return finished

    @contextmanager
    def precise(self, encoder: Encoder) -> Iterator[None]:
        """Inside, the encoder's network computes in the session's precision. Holds for the calling thread."""
        if encoder.card.host:
            yield
            return
        import torch

        with torch.inference_mode():
            if not self.reduces(encoder.card) or self.precision == "tf32":  # which holds for the process (`arithmetic`)
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
        try:
            with self.precise(encoder):
                made = _checked(make(items), items, specs)
        except Exception as error:  # noqa: BLE001 - a defect of an encoder costs its clips, not the run
            return self._apart(encoder, items, specs, make, error)
        self._has_worked(encoder)
        return made

    def _has_worked(self, encoder: Encoder) -> None:
        self._worked.add(encoder.card.name)
        self._starved.discard(encoder.card.name)

    def _apart(
        self,
        encoder: Encoder,
        items: Sequence[T],
        specs: list[FeatureSpec],
        make: Callable[[Sequence[T]], list[Encoded]],
        error: Exception,
    ) -> list[Encoded]:
        """What can be made of a batch that failed: of its halves where memory ran out, else of each item by itself.

        Raises:
            SystemFaultError: the system failed, and does not recover.
        """
        if len(items) > 1:
            log.warning("%s failed on a batch of %d (%s); trying it in parts", encoder.card.name, len(items), error)
            size = -(-len(items) // 2) if is_out_of_memory(error) else 1
            parts = [items[start : start + size] for start in range(0, len(items), size)]
            return [made for part in parts for made in self._guarded(encoder, part, specs, make)]

        def again() -> list[Encoded] | Exception:
            try:
                with self.precise(encoder):
                    return _checked(make(items), items, specs)
            except Exception as failure:  # noqa: BLE001 - as above
                return failure

        name = encoder.card.name
        # One that has never had room here does not fit, which is no passing trouble. And what runs on the host runs in
        # a thread of the reader, where nobody could end a wait.
        hopeless = name in self._starved - self._worked
        patience_s = 0.0 if encoder.card.host or hopeless else self.limits.patience_s
        outcome, fault = tried_again(error, again, fault_of, patience_s, name)
        if not isinstance(outcome, Exception):
            self._has_worked(encoder)
            return outcome
        if fault is not None and (fault.certain or name in self._starved & self._worked):
            raise SystemFaultError(f"{encoder.card.title} failed: {fault.reason}")
        if fault is not None:
            self._starved.add(name)
        if self.is_new(encoder, outcome):
            log.error("%s failed", encoder.card.name, exc_info=outcome)
        return [dict.fromkeys(specs, _defect(encoder, outcome))]

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
                encoder = choice.load(self.device)
                if self.compiled:
                    encoder.compile()
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

    def leave_device(self) -> None:
        """Free the networks, and the memory that the device keeps for more of them."""
        for encoder in self._loaded.values():
            encoder.close()
        if self._loaded and self.device != "cpu":
            import torch

            torch.cuda.empty_cache()
        self._loaded.clear()

    def close(self) -> None:
        """Free the networks and write what is pending."""
        self.store.flush()
        self.leave_device()


def ways_of(encoder: type[Encoder], precision: Precision, *, compiled: bool) -> str:
    """How an encoder computes where that is not in fp32 and step by step: ``bf16``, ``compiled``, ``bf16+compiled``."""
    reduced = [precision] if precision != "fp32" and encoder.card.reduced_precision else []
    return "+".join([*reduced, *([COMPILED] if compiled and encoder.compiled_parts else [])])


def prompt_hash(prompt: str) -> str:
    """Content hash of a prompt."""
    return hashlib.sha256(b"prompt\0" + prompt.encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Inside, float32 means float32 in matrix products and convolutions, or TF32 where that is asked for; no gradients.

    Holds for the whole process.
    """
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
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
        # What is not begun yet would wait in as many objects as there are clips.
        parts = (sources[start : start + _HASHED_AT_ONCE] for start in range(0, len(sources), _HASHED_AT_ONCE))
        found = chain.from_iterable(threads.map(_content, part) for part in parts)
        for source, first in zip(sources, found, strict=True):
            outcome = first if isinstance(first, str) else _settled(first, source, index, patience_s, len(sources))
            if isinstance(outcome, str):
                index.hashes[source] = outcome
            else:
                index.errors[source] = outcome
            stage.advance(failed=None if isinstance(outcome, str) else source.title)
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
        if error.kind in STOPPING:
            raise
        return error
    except OSError as error:
        failure = MediaError(f"{source.title}: {error.strerror or error}", kind="unreadable")
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
        size = session.batch_clips or PROMPTS_AT_ONCE
        for start in range(0, len(todo), size):
            batch = todo[start : start + size]
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
    todo = missing_of_clips(wanted, index, session)
    if not todo:
        return
    session.load(name for missing in todo.values() for name in missing)
    # A clip of which nothing can be made is decoded all the same: that it can be read is a fact of its own.
    todo = {source: session.whole(missing) for source, missing in todo.items()}
    with progress.stage(ENCODING, len(todo)) as stage, _reader(session) as reader:
        _ClipLoop(todo, index, session, stage, _Claims(session)).run(reader)
    # What was left to another clip of the same picture or sound, which then failed for a reason of its own.
    again = missing_of_clips({source: wanted[source] for source in todo if source not in index.errors}, index, session)
    if left := {source: able for source, missing in again.items() if (able := session.whole(missing))}:
        with progress.stage(ENCODING, len(left)) as stage, _reader(session) as reader:
            _ClipLoop(left, index, session, stage, None).run(reader)
    session.store.flush()
    spread_errors(wanted, index)


def spread_errors(wanted: Iterable[ClipSource], index: ContentIndex) -> None:
    """Give copies of a broken clip, which were not decoded, its error."""
    broken = {index.hashes[source]: error for source, error in index.errors.items() if source in index.hashes}
    for source in wanted:
        if index.hashes.get(source) in broken:
            index.errors.setdefault(source, broken[index.hashes[source]])


def _reader(session: EncodeSession) -> ClipReader:
    return ClipReader(session.workers, session.limits, places=session.listed)


def missing_of_clips(
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
class _Batching:
    """Clips on their way through the networks: each waits until a batch of each is full, then for its results."""

    session: EncodeSession
    index: ContentIndex
    stage: Stage
    _queues: dict[tuple[str, tuple[FeatureSpec, ...]], list[tuple[ClipSource, Intake]]] = field(default_factory=dict)
    _going: deque[tuple[list[ClipSource], Callable[[], list[Encoded]]]] = field(default_factory=deque)
    _left: dict[ClipSource, int] = field(default_factory=dict)

    def add(self, source: ClipSource, visit: _Visit) -> None:
        """Take a clip; start the batches that it fills."""
        self._left[source] = len(visit.intakes) + 1
        for name, intake in visit.intakes.items():
            queue = self._queues.setdefault((name, intake.specs), [])
            queue.append((source, intake))
            if self._is_full(name, intake.specs):
                self._start(name, intake.specs)
        self._done(source)
        if sum(intake.held_bytes for queue in self._queues.values() for _, intake in queue) > _WAITING_BYTES:
            self.close_batches()

    def close_batches(self) -> None:
        """Start what waits, full or not."""
        for name, specs in list(self._queues):
            self._start(name, specs)

    def finish(self) -> None:
        """Start what waits and take all results."""
        self.close_batches()
        while self._going:
            self._take()

    def _is_full(self, name: str, specs: tuple[FeatureSpec, ...]) -> bool:
        queue = self._queues[name, specs]
        if self.session.batch_clips is not None:
            return len(queue) >= self.session.batch_clips
        return sum(intake.inputs for _, intake in queue) >= self.session.encoder(name).full_batch(specs)

    def _start(self, name: str, specs: tuple[FeatureSpec, ...]) -> None:
        members = self._queues.pop((name, specs))
        encoder = self.session.encoder(name)
        going = self.session.start(encoder, [intake for _, intake in members], list(specs))
        self._going.append(([source for source, _ in members], going))
        while len(self._going) > self.session.batches_ahead:
            self._take()

    def _take(self) -> None:
        sources, finished = self._going.popleft()
        for source, encoded in zip(sources, finished(), strict=True):
            self.session.keep(self.index.hashes[source], encoded)
            self._done(source)

    def _done(self, source: ClipSource) -> None:
        """One of the networks that a clip is shown to is done with it; or it was shown to all."""
        self._left[source] -= 1
        if not self._left[source]:
            del self._left[source]
            self.stage.advance()


@dataclass
class _ClipLoop:
    todo: dict[ClipSource, dict[str, list[FeatureSpec]]]
    index: ContentIndex
    session: EncodeSession
    stage: Stage
    claims: _Claims | None

    def run(self, reader: ClipReader) -> None:
        def visit(source: ClipSource, head: ClipHead) -> _Visit:
            todo = self.todo[source]
            return _Visit(head, todo if self.claims is None else self.claims.first(head, todo), self.session)

        batching = _Batching(self.session, self.index, self.stage)
        number = 0
        try:
            for number, (source, outcome) in enumerate(reader.stream(self.todo, visit), 1):
                if isinstance(outcome, MediaError):
                    self.index.errors[source] = outcome
                    self.stage.advance(failed=source.title)
                else:
                    self._keep_facts(source, outcome.head)
                    for encoded in outcome.made:
                        self.session.keep(self.index.hashes[source], encoded)
                    batching.add(source, outcome)
                if number % BLOCK_CLIPS == 0:
                    batching.close_batches()
            batching.finish()
        except SystemFaultError as error:
            with suppress(SystemFaultError):
                batching.finish()
            raise _stopped(error.sentence, f"{number} of the {len(self.todo)} clips left to encode are read") from error

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
