"""Features made by a cluster: actors hash, decode and encode groups of clips; the features come back as arrays."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from javisbench.errors import JavisbenchError, MediaError, PluginError, RunError, WeightsError
from javisbench.media import ClipSource, DecodeLimits
from javisbench.places import Cache
from javisbench.places.remote import Remote
from javisbench.run.cluster.connect import Cluster, Pool, connected
from javisbench.run.content_index import ContentIndex, spread_errors
from javisbench.run.encode import BLOCK_CLIPS, encode_prompts
from javisbench.run.encode_session import EncodeSession, Precision, arithmetic, prompt_hash
from javisbench.run.engine import LocalEngine, Work, hash_with_memory, remembered
from javisbench.run.features import MemoryStore
from javisbench.run.progress import ENCODING, Progress, Silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.reference.wanted import EncoderChoice

# A group, where each clip is a batch, is what a lost machine costs, and what a machine that joins late begins with.
_GROUP_CLIPS = 8
_GROUP_PROMPTS = 64
_MOST_GPU_WORKERS = 8
_DECODERS = 4

Arrays = Mapping[str, "NDArray[np.generic]"]
Place = tuple[Remote | None, Remote | None]
"""Where video and sound of a clip lie, when elsewhere."""


@dataclass(frozen=True)
class Encoding:
    """How actors encode.

    Attributes:
        encoders: by name.
        device: torch device.
        workers: decoding processes of each actor.
        batch_clips: clips a batch; None for as many as fill the device.
        limits: of decoding.
        precision: of the networks that may be in less than fp32.
        threads: of a forward pass on a CPU, so that all machines compute alike.
        networks: whether this pool runs encoders with a network; None for all encoders.
        compiled: whether networks run as ``torch.compile`` makes them.
    """

    encoders: Mapping[str, EncoderChoice]
    device: str
    workers: int
    batch_clips: int | None
    limits: DecodeLimits
    precision: Precision
    threads: int
    networks: bool | None = None
    compiled: bool = False


@dataclass
class Group:
    """Some clips, some prompts, and what is made of them already.

    Attributes:
        clips: with the features that are wanted, and where they lie when elsewhere.
        texts: features with the prompts that they are wanted of.
        hashes: content by place in `clips`.
        errors: of clips that cannot be read, likewise.
        made: arrays by key.
        known: keys of what is stored where the job began.
        feature_errors: by key, why there are none.
        broken: encoders of other packages that do not load.
    """

    clips: list[tuple[ClipSource, frozenset[FeatureSpec], Place]] = field(default_factory=list)
    texts: list[tuple[frozenset[FeatureSpec], list[str]]] = field(default_factory=list)
    hashes: dict[int, str] = field(default_factory=dict)
    errors: dict[int, MediaError] = field(default_factory=dict)
    made: dict[str, Arrays] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    feature_errors: dict[str, JavisbenchError] = field(default_factory=dict)
    broken: dict[str, PluginError] = field(default_factory=dict)


class Encoder:
    """Encodes group after group; its networks stay loaded.

    Args:
        how: settings; weights are found on this machine.

    Raises:
        WeightsError: they are not here, or are others than those of the machine that began the job.
    """

    def __init__(self, how: Encoding) -> None:
        import torch

        torch.set_num_threads(how.threads)
        self._how = replace(how, encoders={name: _located(choice) for name, choice in how.encoders.items()})
        self._session = EncodeSession(
            self._how.encoders,
            MemoryStore(),
            how.device,
            how.workers,
            how.batch_clips,
            how.limits,
            precision=how.precision,
            compiled=how.compiled,
        )

    @property
    def kind(self) -> str:
        """With networks, or without."""
        return f"encoding {self._how.networks}"

    def told(self, group: Group) -> str:
        """The first clip, and how many more."""
        if not group.clips:
            return "prompts"
        more = f" and {len(group.clips) - 1} more" if len(group.clips) > 1 else ""
        return f"{group.clips[0][0].title}{more}"

    def __call__(self, group: Group) -> Group:
        """The group with what this pool makes.

        Raises:
            RunError: a clip is not where this machine can see it.
            MediaError: the place of the clips cannot be reached.
        """
        store = MemoryStore(group.known)
        for key, arrays in group.made.items():
            store.put(key, arrays)
        session = self._session.with_store(store)
        with arithmetic(self._how.precision):
            for specs, prompts in group.texts:
                if chosen := self._chosen(specs):
                    encode_prompts(prompts, chosen, session, Silent())
            clips = {_here(source, place): self._chosen(specs) for source, specs, place in group.clips}
            index = LocalEngine().encode(Work(clips), session, Silent())
        made = Group(group.clips, group.texts, made=dict(store.held), known=group.known, broken=dict(session.broken))
        made.feature_errors = {**group.feature_errors, **session.feature_errors}
        for number, source in enumerate(clips):
            if source in index.hashes:
                made.hashes[number] = index.hashes[source]
            if source in index.errors:
                made.errors[number] = index.errors[source]
        return made

    def _chosen(self, specs: Iterable[FeatureSpec]) -> frozenset[FeatureSpec]:
        networks = self._how.networks
        encoders = self._how.encoders
        if networks is None:
            return frozenset(specs)
        return frozenset(spec for spec in specs if encoders[spec.encoder].cls.card.host != networks)


def _located(choice: EncoderChoice) -> EncoderChoice:
    """The encoder with the weights of this machine, which must be those of the machine that began the job."""
    from javisbench.weights import WeightStore

    if choice.weights is None:
        return choice
    store = WeightStore(())
    path = choice.weights.path
    if path.exists() and store.sha256(path) == choice.weights_hash:
        return choice
    found = store.locate(choice.weights.entry.id)
    if found.sha256 != choice.weights_hash:
        raise WeightsError(
            f"{found.path} of a machine of the cluster is another file than {path} here. Give all machines the same "
            f"one, in a folder that they share or in JAVISBENCH_WEIGHTS."
        )
    return replace(choice, weights=found)


def _here(source: ClipSource, place: Place) -> ClipSource:
    """The clip as this machine sees it."""
    if source.cache is None:
        if not os.path.lexists(source.video):
            raise _unseen(source.video)
        return source
    cache = Cache.from_environment()
    paths = []
    for path, remote in zip((source.video, source.audio), place, strict=True):
        here = None if path is None else cache.root / path.relative_to(source.cache.root)
        if here is not None and remote is not None:
            _check_seen(remote)
            remote.write(here)
        paths.append(here)
    video, audio = paths
    assert video is not None
    return ClipSource(source.sample_id, video, audio, cache)


def _check_seen(remote: Remote) -> None:
    """Tars and tables of a file system are where all machines see them."""
    scheme, _, path = remote.url.partition("://")
    if scheme == "file" and not Path(path).exists():
        raise _unseen(Path(path))


def _unseen(path: Path) -> RunError:
    return RunError(
        f"{path} is not on {socket.gethostname()}, a machine of the cluster. Put clips where all machines see them "
        f"under the same path, or give them by URL."
    )


@dataclass(frozen=True)
class RayEngine:
    """Makes features on a cluster; an engine as in `javisbench.run.engine`.

    Attributes:
        address: of the cluster; None for ``$RAY_ADDRESS``, else for one on this machine alone.
        device: torch device of the actors; None for cuda where the cluster has GPUs.
        workers: decoding processes of each actor; None for 1, with GPUs for the cores of each, 8 at most.
        batch_clips: clips a batch; None for 1 on a CPU and as many as fill it on a GPU.
    """

    address: str | None = None
    device: str | None = None
    workers: int | None = None
    batch_clips: int | None = None

    def encode(self, work: Work, session: EncodeSession, progress: Progress) -> ContentIndex:
        """Send what is missing to the cluster and store what comes back, group by group."""
        index = remembered(work.clips, session.store)
        here = [source for source in work.clips if source.cache is None]
        found = hash_with_memory(
            here, session.store, session.workers, progress, places=session.listed, limits=session.limits
        )
        index.hashes |= found.hashes
        index.errors |= found.errors
        clips, texts = _missing(work, index, session)
        if clips or texts:
            with connected(self.address) as cluster:
                how = self._how(session, cluster)
                groups = [*_text_groups(texts), *_clip_groups(clips, how.batch_clips, _known(work, session))]
                progress.say(
                    f"Ray: {len(clips)} clips and {sum(len(prompts) for _, prompts in texts)} prompts in {len(groups)} "
                    f"groups; machines now: {cluster.machines}, with {cluster.cpus} cores and {cluster.gpus} GPUs"
                )
                with progress.stage(ENCODING, len(clips)) as stage:
                    for made in cluster.mapped(groups, _pools(how, cluster)):
                        _keep(made, index, session)
                        for number, (source, *_) in enumerate(made.clips):
                            stage.advance(failed=source.title if number in made.errors else None)
        session.store.flush()
        spread_errors(work.clips, index)
        return index

    def _how(self, session: EncodeSession, cluster: Cluster) -> Encoding:
        import torch

        device = self.device or ("cuda" if cluster.gpus else "cpu")
        on_gpu = device.startswith("cuda")
        workers = max(1, min(_MOST_GPU_WORKERS, cluster.cpus // max(1, cluster.gpus))) if on_gpu else 1
        return Encoding(
            session.encoders,
            device,
            self.workers or workers,
            self.batch_clips or (None if on_gpu else 1),
            session.limits,
            session.precision,
            torch.get_num_threads(),
            compiled=session.compiled,
        )


def _pools(how: Encoding, cluster: Cluster) -> list[Pool]:
    """One pool; with GPUs, what needs none (optical flow, onsets) is made by a pool of cores before it.

    A GPU's actor keeps a core for itself and leaves the others to the pool of cores.
    """
    hosts = [choice.cls.card.host for choice in how.encoders.values()]
    if not how.device.startswith("cuda"):
        return [Pool(Encoder, how, cpus=how.workers)]
    if all(hosts):
        return [Pool(Encoder, replace(how, device="cpu", workers=1))]
    # What waits for a GPU is only decoded there; the cores are for the others.
    networks = Pool(Encoder, replace(how, networks=True, workers=min(how.workers, _DECODERS)), cpus=1, gpus=1)
    if not any(hosts) or cluster.cpus <= cluster.gpus:
        return [replace(networks, settings=how)]
    return [Pool(Encoder, replace(how, device="cpu", workers=1, networks=False)), networks]


def _missing(
    work: Work, index: ContentIndex, session: EncodeSession
) -> tuple[dict[ClipSource, frozenset[FeatureSpec]], list[tuple[frozenset[FeatureSpec], list[str]]]]:
    """Clips and prompts of which something is not stored; of equal clips the first."""
    clips = {}
    seen: set[str] = set()
    for source, specs in work.clips.items():
        content = index.hashes.get(source)
        if source in index.errors or content in seen:
            continue
        if content is not None:
            if not session.missing(content, specs):
                continue
            seen.add(content)
        clips[source] = specs
    texts = []
    for specs, prompts in work.texts:
        distinct = dict.fromkeys(prompts.values())
        if lacking := [prompt for prompt in distinct if session.missing(prompt_hash(prompt), specs)]:
            texts.append((specs, lacking))
    return clips, texts


def _text_groups(texts: Sequence[tuple[frozenset[FeatureSpec], list[str]]]) -> Iterator[Group]:
    for specs, prompts in texts:
        for start in range(0, len(prompts), _GROUP_PROMPTS):
            yield Group(texts=[(specs, prompts[start : start + _GROUP_PROMPTS])])


def _known(work: Work, session: EncodeSession) -> dict[ClipSource, list[str]]:
    """Keys of what is stored of the streams that a suite gives, by clip: no machine makes them again."""
    return {
        source: [key for spec in work.clips[source] if (key := session.key(content, spec)) in session.store]
        for source, content in work.given.items()
    }


def _clip_groups(
    clips: Mapping[ClipSource, frozenset[FeatureSpec]],
    batch_clips: int | None,
    known: Mapping[ClipSource, Sequence[str]] | None = None,
) -> Iterator[Group]:
    """Groups whose batches have the same clips as on one machine, which closes them after so many clips too."""
    size = _GROUP_CLIPS if batch_clips == 1 else BLOCK_CLIPS
    found = [(source, specs, _place(source)) for source, specs in clips.items()]
    for start in range(0, len(found), size):
        part = found[start : start + size]
        yield Group(part, known=frozenset(key for source, *_ in part for key in (known or {}).get(source, ())))


def _place(source: ClipSource) -> Place:
    if source.cache is None:
        return None, None
    return source.cache.remote(source.video), None if source.audio is None else source.cache.remote(source.audio)


def _keep(made: Group, index: ContentIndex, session: EncodeSession) -> None:
    for key, arrays in made.made.items():
        if key not in session.store:
            session.store.put(key, arrays)
    session.feature_errors.update(made.feature_errors)
    session.broken.update(made.broken)
    for number, (source, *_) in enumerate(made.clips):
        if number in made.hashes:
            index.hashes[source] = made.hashes[number]
        if number in made.errors:
            index.errors[source] = made.errors[number]
