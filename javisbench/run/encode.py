"""Decoding every clip once, showing it to every encoder that needs it, and storing what they make of it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from javisbench.errors import FeatureError, JavisbenchError, MediaError, SystemFaultError
from javisbench.media import ClipReader, ClipSource
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.run.content_index import ContentIndex, spread_errors, stopped
from javisbench.run.encode_session import Encoded, EncodeSession, defect, prompt_hash
from javisbench.run.features import media_facts_key, stream_content
from javisbench.run.progress import ENCODING
from javisbench.system_faults import fault_of, is_out_of_memory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.clip import ClipHead, Damage, FrameRun
    from javisbench.metrics.encoders.base import Intake
    from javisbench.run.progress import Progress, Stage

log = logging.getLogger(__name__)
#: Clips after which every batch is closed, full or not: which clips share a batch does not depend on how many devices
#: share the work, each of which takes so many clips at a time.
BLOCK_CLIPS = 64
#: What clips may hold, prepared, while they wait for their batches to fill.
_WAITING_BYTES = 2 * 2**30
#: Clips that wait for the networks when those are behind.
_EARLY = 2
#: Prompts of a batch where clips fill theirs.
PROMPTS_AT_ONCE = 256


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
    wanted: Mapping[ClipSource, Iterable[FeatureSpec]],
    index: ContentIndex,
    session: EncodeSession,
    progress: Progress,
    texts: Iterable[tuple[Iterable[FeatureSpec], Iterable[str]]] = (),
) -> None:
    """Make the clip features that are not stored yet; decode errors are added to `index`.

    Args:
        wanted: clip to the features that are wanted of it.
        index: contents of the clips.
        session: encoders, store and settings.
        progress: shown to the user.
        texts: features of prompts, with the prompts: made as by `encode_prompts` while the first clips are decoded.
    """
    todo = missing_of_clips(wanted, index, session)
    session.load(name for missing in todo.values() for name in missing)
    # A clip of which nothing can be made is decoded all the same: that it can be read is a fact of its own.
    if session.broken:
        todo = {source: session.whole(missing) for source, missing in todo.items()}
    with _reader(session) as reader:
        loop = _ClipLoop(todo, index, session, _Claims(session))
        clips = loop.begin(reader)
        for specs, prompts in texts:
            encode_prompts(prompts, specs, session, progress)
        loop.run(clips, progress)
    # What was left to another clip of the same picture or sound, which then failed for a reason of its own.
    again = missing_of_clips({source: wanted[source] for source in todo if source not in index.errors}, index, session)
    if left := {source: able for source, missing in again.items() if (able := session.whole(missing))}:
        with _reader(session) as reader:
            loop = _ClipLoop(left, index, session, None)
            loop.run(loop.begin(reader), progress)
    session.store.flush()
    spread_errors(wanted, index)


def _reader(session: EncodeSession) -> ClipReader:
    return ClipReader(session.workers, session.limits, places=session.listed)


def missing_of_clips(
    wanted: Mapping[ClipSource, Iterable[FeatureSpec]], index: ContentIndex, session: EncodeSession
) -> dict[ClipSource, dict[str, list[FeatureSpec]]]:
    """What is missing of each distinct clip; clips that lack the same share one answer."""
    todo: dict[ClipSource, dict[str, list[FeatureSpec]]] = {}
    alike: dict[tuple[FeatureSpec, ...], dict[str, list[FeatureSpec]]] = {}
    seen: set[str] = set()
    for source, specs in wanted.items():
        content = index.hashes.get(source)
        if content is None or content in seen:
            continue
        if missing := session.missing(content, specs):
            seen.add(content)
            todo[source] = alike.setdefault(tuple(chain.from_iterable(missing.values())), missing)
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

    def forget_made(self) -> None:
        """Forget what is in the store, which tells by itself."""
        with self._lock:
            self._taken = {key: name for key, name in self._taken.items() if key not in self._session.store}

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

    Args:
        head: the clip without its pixels.
        todo: the features to make, by encoder.
        session: encoders and settings.
        is_early: whether clips wait for the networks anyway, so that this thread may as well prepare more.

    Attributes:
        head: the clip without its pixels.
        intakes: encoder name to the clip's way into it, for networks.
        made: features of host encoders, and of encoders that refused the clip or failed on it.
    """

    def __init__(
        self,
        head: ClipHead,
        todo: Mapping[str, list[FeatureSpec]],
        session: EncodeSession,
        is_early: Callable[[], bool],
    ) -> None:
        self.head = head
        self._is_early = is_early
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
        if self._is_early():
            for name, intake in list(self.intakes.items()):
                with self._costing_no_more_than(name, intake.specs):
                    self._prepare(intake)

    @staticmethod
    def _prepare(intake: Intake) -> None:
        try:
            intake.prepare()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):  # else it is done when the network's turn comes, which waits for memory
                raise

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
            self._give_up(name, specs, defect(encoder, error))

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
    claims: _Claims | None

    def begin(self, reader: ClipReader) -> Iterator[tuple[ClipSource, _Visit | MediaError]]:
        """Have the first clips decoded; the iterator waits for each."""

        def visit(source: ClipSource, head: ClipHead) -> _Visit:
            todo = self.todo[source]
            left = todo if self.claims is None else self.claims.first(head, todo)
            return _Visit(head, left, self.session, lambda: reader.waiting >= _EARLY)

        return reader.stream(self.todo, visit)

    def run(self, clips: Iterator[tuple[ClipSource, _Visit | MediaError]], progress: Progress) -> None:
        """Take the clips, and all that is made of them."""
        if not self.todo:
            return
        with progress.stage(ENCODING, len(self.todo)) as stage:
            batching = _Batching(self.session, self.index, stage)
            number = 0
            try:
                for number, (source, outcome) in enumerate(clips, 1):
                    self._take(source, outcome, batching, stage)
                    if number % BLOCK_CLIPS == 0:
                        batching.close_batches()
                        if self.claims is not None:
                            self.claims.forget_made()
                batching.finish()
            except SystemFaultError as error:
                with suppress(SystemFaultError):
                    batching.finish()
                read = f"{number} of the {len(self.todo)} clips left to encode are read"
                raise stopped(error.sentence, read) from error

    def _take(self, source: ClipSource, outcome: _Visit | MediaError, batching: _Batching, stage: Stage) -> None:
        if isinstance(outcome, MediaError):
            self.index.errors[source] = outcome
            stage.advance(failed=source.title)
            return
        self._keep_facts(source, outcome.head)
        for encoded in outcome.made:
            self.session.keep(self.index.hashes[source], encoded)
        batching.add(source, outcome)

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
