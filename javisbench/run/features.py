"""The feature store: arrays per clip, made once, found again by what they were made from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.durable import patiently, write_bytes
from javisbench.errors import FeatureError, SystemFaultError
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.run.feature_index import FeatureIndex
from javisbench.system_faults import fault_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.metrics.encoders.base import Stream

log = logging.getLogger(__name__)
_SHARD_ITEMS = 128
_SHARD_BYTES = 64 * 2**20
# Slow encoders fill no shard for long: what a kill may cost is bounded in time too.
_SHARD_S = 15.0
_OPEN_SHARDS = 16
_ROTTEN = "rotten.txt"


def feature_key(content: str, encoder: str, revision: int, weights: str, spec: FeatureSpec) -> str:
    """Name of a feature: a hash over everything that changes its numbers.

    Args:
        content: hash of the clip's files, or of the prompt.
        encoder: encoder and variant (``imagebind=huge``).
        revision: of the encoder's code.
        weights: SHA-256 of its weights, or an empty string.
        spec: what was asked of it.
    """
    kind = "clip" if spec.subject == "clip" else "text"
    parts = ["javisbench-feature-1", content, encoder, revision, weights, spec.feature, kind, spec.prep]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def media_facts_key(content: str) -> str:
    """The store's key of what decoding told of a clip besides its pixels and samples.

    Arrays: ``audio_source`` (0 none, 1 a sidecar, 2 the container), ``durations_s`` (picture, sound) and, unless the
    store is an old one, ``picture`` and ``sound``: hashes of the two streams as bytes, empty when unknown.
    """
    return feature_key(content, "media", 1, "", FeatureSpec("media", "facts"))


def stream_content(stream: Stream, digest: str) -> str:
    """What stands for one stream of a clip in place of the hash of its files."""
    return f"{stream} {digest}"


def contents(store: FeatureStore, content: str, stream: Stream) -> Iterator[str]:
    """What a clip's feature may be stored under in place of `content`: its stream's hash, if known, and `content`.

    Args:
        store: where features are.
        content: hash of the clip's files, or of a prompt.
        stream: what the feature is made from.
    """
    if stream != "both":
        known = store.find(media_facts_key(content)).get(stream)
        if known is not None and len(known):
            yield stream_content(stream, known.tobytes().hex())
    yield content


class FeatureStore:
    """Append-only safetensors shards in a folder, each written whole or not at all.

    Args:
        folder: where shards lie; created with the first one.
        writer: stands in the names of this store's shards where several processes write into one folder.
        clock: monotonic seconds.
        patience_s: seconds that the file system has to recover before a shard counts as not to be written.
    """

    def __init__(
        self,
        folder: Path,
        writer: str = "",
        clock: Callable[[], float] = time.monotonic,
        *,
        patience_s: float = 0.0,
    ) -> None:
        self.folder = folder
        self._writer = f"-{writer}" if writer else ""
        self._clock = clock
        self._patience_s = patience_s
        self._flushed = clock()
        self._index = FeatureIndex()
        self._pending: dict[str, dict[str, NDArray[np.generic]]] = {}
        self._pending_bytes = 0
        self._next = 0
        self._forgotten = 0
        self._open: dict[Path, tuple[Any, Mapping[str, Mapping[str, str]]]] = {}
        self._known: set[Path] = set()
        self.refresh()

    def refresh(self) -> None:
        """Take notice of shards that other processes have written since."""
        rotten = _rotten(self.folder)
        for path in sorted(self.folder.glob("shard-*.safetensors")):
            if path not in self._known:
                self._known.add(path)
                self._take_in(path, rotten)
                number = path.stem.removeprefix("shard-")
                if number.isdecimal():
                    self._next = max(self._next, int(number) + 1)

    def __contains__(self, key: str) -> bool:
        return key in self._pending or key in self._index

    def __len__(self) -> int:
        return len(self._pending) + len(self._index)

    def __iter__(self) -> Iterator[str]:
        yield from self._pending
        yield from self._index

    def get(self, key: str) -> dict[str, NDArray[np.generic]]:
        """The arrays stored under `key`.

        Raises:
            KeyError: there are none.
            FeatureError: their checksums do not fit; the key is then gone, and made again by the next job.
        """
        if key in self._pending:
            return self._pending[key]
        from safetensors import SafetensorError

        place = self._index.find(key)
        if place is None:
            raise KeyError(key)
        path, names = place
        try:
            shard, sums = self._opened(path)
            arrays = {name: shard.get_tensor(f"{key}/{name}") for name in names}
        except (SafetensorError, TypeError, ValueError) as error:  # a type of number that numpy does not have, say
            raise self._forget(key, path) from error
        # Shards of earlier versions have none. Where there are some, a name without one is damaged itself.
        if sums and sums.get(key) != {name: _checksum(array) for name, array in arrays.items()}:
            raise self._forget(key, path)
        return arrays

    @property
    def forgotten(self) -> int:
        """How many keys were found rotten since the store was opened."""
        return self._forgotten

    def find(self, key: str) -> dict[str, NDArray[np.generic]]:
        """The arrays stored under `key`; none where there are none, or where they have rotted."""
        try:
            return self.get(key) if key in self else {}
        except FeatureError as error:
            log.warning("%s", error.message)
            return {}

    def _forget(self, key: str, path: Path) -> FeatureError:
        """From now on, and in later jobs, these arrays count as not made."""
        self._index.discard(key)
        self._forgotten += 1
        # What cannot be noted is found again.
        with contextlib.suppress(OSError), (self.folder / _ROTTEN).open("a", encoding="ascii") as file:
            file.write(f"{path.name} {key}\n")
        return FeatureError(
            f"What was stored of this clip in {path} has rotted on the disk: its checksum does not fit. Run the same "
            "command again: it is made anew.",
            kind="rotten",
        )

    def _opened(self, path: Path) -> tuple[Any, Mapping[str, Mapping[str, str]]]:
        """A shard with its checksums: key to name to checksum."""
        # Opening parses the shard's header; samples are read in the order of shards, so a few open ones suffice.
        from safetensors import safe_open

        if path not in self._open:
            if len(self._open) >= _OPEN_SHARDS:
                del self._open[next(iter(self._open))]
            shard: Any = safe_open(path, framework="np")
            sums: dict[str, dict[str, str]] = {}
            for full, checksum in (shard.metadata() or {}).items():
                key, _, name = full.partition("/")
                sums.setdefault(key, {})[name] = checksum
            self._open[path] = shard, sums
        return self._open[path]

    def put(self, key: str, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Store arrays; on disk after the next `flush`, or with the first put after 128 items, 64 MiB or 15 s."""
        import numpy as np

        self._pending[key] = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        self._pending_bytes += sum(array.nbytes for array in arrays.values())
        full = len(self._pending) >= _SHARD_ITEMS or self._pending_bytes >= _SHARD_BYTES
        if full or self._clock() - self._flushed >= _SHARD_S:
            self.flush()

    def flush(self) -> None:
        """Write what is pending as one shard."""
        self._flushed = self._clock()
        if not self._pending:
            return
        from safetensors.numpy import save

        flat = {f"{key}/{name}": array for key, arrays in self._pending.items() for name, array in arrays.items()}
        path = self.folder / f"shard-{self._next:06d}{self._writer}.safetensors"
        self._known.add(path)
        shard = save(flat, {name: _checksum(array) for name, array in flat.items()})
        patiently(lambda: write_bytes(path, shard), self._patience_s)
        self._next += 1
        self._index.add(path, {key: tuple(arrays) for key, arrays in self._pending.items()})
        self._pending.clear()
        self._pending_bytes = 0

    def _take_in(self, path: Path, rotten: Collection[tuple[str, str]]) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np") as shard:
                names: dict[str, list[str]] = {}
                for full in shard.keys():  # noqa: SIM118 - safe_open is no mapping
                    key, slash, name = full.partition("/")
                    if slash and key.isascii() and key.isprintable():  # as all of ours are
                        names.setdefault(key, []).append(name)
        except (SafetensorError, OSError) as error:
            if fault_of(error) is not None:
                raise SystemFaultError(f"{path} cannot be read: {error}. Run the same command again.") from error
            log.warning("The feature shard %s is damaged (%s); its features are made again.", path, error)
            return
        sound = ((key, tuple(members)) for key, members in names.items() if (path.name, key) not in rotten)
        self._index.add(path, dict(sound))


class MemoryStore(FeatureStore):
    """Holds arrays that somebody else will write to a disk.

    Args:
        elsewhere: keys of what is stored already, and is not here.
    """

    def __init__(self, elsewhere: Collection[str] = ()) -> None:
        super().__init__(Path("/nonexistent"))
        self._elsewhere = frozenset(elsewhere)

    def __contains__(self, key: str) -> bool:
        return key in self._elsewhere or super().__contains__(key)

    def flush(self) -> None:
        """Nothing is written."""

    @property
    def held(self) -> dict[str, dict[str, NDArray[np.generic]]]:
        """All arrays by key."""
        return dict(self._pending)


def _checksum(array: NDArray[np.generic]) -> str:
    """CRC-32 of an array's bytes (hex): tells bits that have changed on a disk, not ones that somebody has changed."""
    import numpy as np

    return f"{zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data):08x}"


def _rotten(folder: Path) -> frozenset[tuple[str, str]]:
    """Names of shards with keys whose arrays there have been found rotten."""
    try:
        lines = (folder / _ROTTEN).read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return frozenset()
    return frozenset((name, key) for name, _, key in (line.partition(" ") for line in lines))


def shard_is_readable(path: Path) -> bool:
    """Whether a shard's header is whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):
            return True
    except (SafetensorError, OSError):
        return False
