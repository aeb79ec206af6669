"""What a run and the processes of its devices tell each other (`.devices`, `.device_making`; `.device_process`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from javisbench.baselines.base import Failed as NotMade
    from javisbench.baselines.base import Request
    from javisbench.errors import JavisbenchError, MediaError, PluginError
    from javisbench.media import ClipSource, DecodeLimits
    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.run.encode_session import Precision
    from javisbench.run.generate import MadeFiles
    from javisbench.run.making import Making
    from javisbench.system_faults import Places
    from javisbench.weights import Located


@dataclass(frozen=True)
class Setup:
    """What a process that encodes needs to know before its first clips.

    Attributes:
        folder: of the feature store.
        writer: part of the names of this process's shards, no other's.
        encoders: name to variant and weights.
        device: torch device.
        threads: of PyTorch on the CPU.
        workers: decoding processes.
        batch_clips: as `EncodeSession` has it.
        limits: of decoding.
        precision: as `EncodeSession` has it.
        compiled: likewise.
        log_level: of messages that are worth sending.
        listed: where the clips were listed.
        beside_bytes: for a process that works beside the model which makes the clips: memory that must be free before
            anything is loaded, and of a GPU the most that is taken; None for one that works alone.
    """

    folder: Path
    writer: str
    encoders: Mapping[str, tuple[str, Located | None]]
    device: str
    threads: int
    workers: int
    batch_clips: int | None
    limits: DecodeLimits
    precision: Precision
    compiled: bool
    log_level: int
    listed: Places
    beside_bytes: int | None = None


@dataclass(frozen=True)
class MakingSetup:
    """What a process that makes clips needs to know before the first.

    Attributes:
        making: model and settings.
        log_level: of messages that are worth sending.
    """

    making: Making
    log_level: int


@dataclass(frozen=True)
class Ready:
    """The model is loaded, or has made its batch: the next is waited for. Files of the last may follow."""


@dataclass(frozen=True)
class Batch:
    """Clips to make."""

    requests: Sequence[Request]


@dataclass(frozen=True)
class Answer:
    """A clip is made, or failed."""

    made: MadeFiles | NotMade


@dataclass(frozen=True)
class Block:
    """Some clips, or some prompts.

    Attributes:
        clips: content hash, and the features that are wanted of it.
        texts: features, and the prompts that they are wanted of.
    """

    clips: Mapping[ClipSource, tuple[str, Sequence[FeatureSpec]]]
    texts: tuple[Sequence[FeatureSpec], Sequence[str]] = ((), ())


@dataclass(frozen=True)
class Advance:
    """A clip is done, or failed."""

    failed: str | None


@dataclass(frozen=True)
class LogLine:
    """Something for the log."""

    name: str
    level: int
    message: str


@dataclass(frozen=True)
class Outcome:
    """A block is done and its features are on disk.

    Attributes:
        errors: clips that cannot be read.
        feature_errors: by key, as `EncodeSession` has them.
        broken: encoders of other packages that do not load.
    """

    errors: Mapping[ClipSource, MediaError]
    feature_errors: Mapping[str, JavisbenchError]
    broken: Mapping[str, PluginError]


@dataclass(frozen=True)
class Failed:
    """Nothing can be encoded or made here, and why."""

    error: JavisbenchError | OSError
