"""The process of one device: encodes the clips that it is sent and stores what it makes, or makes clips itself.

Started by `javisbench.run.device_worker` as ``python -m javisbench.run.device_process DESCRIPTOR``; ends with it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from javisbench.errors import JavisbenchError
from javisbench.metrics.encoders import ENCODERS
from javisbench.reference.wanted import EncoderChoice
from javisbench.run.content_index import ContentIndex
from javisbench.run.device import gpu_index, keep_back
from javisbench.run.device_messages import Advance, Answer, Failed, LogLine, MakingSetup, Outcome, Ready
from javisbench.run.encode import encode_clips, encode_prompts
from javisbench.run.encode_session import EncodeSession, arithmetic
from javisbench.run.features import FeatureStore
from javisbench.run.progress import Silent, Stage, Step

if TYPE_CHECKING:
    from javisbench.baselines.base import Failed as NotMade
    from javisbench.baselines.base import Generated
    from javisbench.run.device_messages import Batch, Block, Setup
    from javisbench.run.making import Maker, Making


# What works beside the model takes the time that the model leaves.
_NICE = 10


class _Line:
    """The connection to the parent, for the threads of this process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: Advance | Answer | LogLine | Outcome | Ready | Failed) -> None:
        with self._lock:
            self._connection.send(message)


class _Sent:
    """Progress that the parent shows. What a block has left over is encoded in a second stage, which does not count."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._stages = 0

    def expect(self, steps: Sequence[Step]) -> None:
        """The parent knows."""

    def say(self, message: str) -> None:
        """Nothing is said while clips are encoded."""

    @contextlib.contextmanager
    def stage(self, title: str, total: int, unit: str = "clips") -> Iterator[Stage]:
        """The clips of a block."""
        self._stages += 1
        yield _SentStage(self._line if self._stages == 1 else None)


class _SentStage:
    def __init__(self, line: _Line | None) -> None:
        self._line = line

    def advance(self, done: int = 1, failed: str | None = None) -> None:
        if self._line is not None:
            for _ in range(done):
                self._line.send(Advance(failed))


class _SentLog(logging.Handler):
    def __init__(self, line: _Line) -> None:
        super().__init__()
        self._line = line
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._line.send(LogLine(record.name, record.levelno, self.format(record)))


def serve(connection: Connection) -> None:
    """Encode block after block, or make batch after batch, until the parent closes the connection."""
    setup: Setup | MakingSetup = connection.recv()
    line = _Line(connection)
    logger = logging.getLogger("javisbench")
    logger.addHandler(_SentLog(line))
    logger.setLevel(setup.log_level)
    logger.propagate = False
    try:
        if isinstance(setup, MakingSetup):
            _make(setup.making, connection, line)
        else:
            _encode(setup, connection, line)
    except (BrokenPipeError, ConnectionResetError):
        raise
    except (JavisbenchError, OSError) as error:
        line.send(Failed(error))


def _encode(setup: Setup, connection: Connection, line: _Line) -> None:
    import torch

    torch.set_num_threads(setup.threads)
    if setup.device != "cpu":
        torch.cuda.set_device(gpu_index(setup.device))
    if setup.beside_bytes is not None:
        os.nice(_NICE)
        keep_back(setup.device, setup.beside_bytes)
    session = EncodeSession(
        {name: EncoderChoice(name, variant, ENCODERS.get(name), w) for name, (variant, w) in setup.encoders.items()},
        FeatureStore(setup.folder, setup.writer, patience_s=setup.limits.patience_s),
        setup.device,
        setup.workers,
        setup.batch_clips,
        setup.limits,
        setup.precision,
        setup.compiled,
        listed=setup.listed,
    )
    with arithmetic(setup.precision):
        while True:
            block: Block = connection.recv()
            index = ContentIndex({source: content for source, (content, _) in block.clips.items()})
            wanted = {source: specs for source, (_, specs) in block.clips.items()}
            specs, prompts = block.texts
            encode_prompts(prompts, specs, session, Silent())
            encode_clips(wanted, index, session, _Sent(line))
            line.send(Outcome(index.errors, dict(session.feature_errors), session.broken))
            session.feature_errors.clear()  # no other block holds these clips or prompts


def _make(how: Making, connection: Connection, line: _Line) -> None:
    from javisbench.run.making import Maker

    maker = Maker(how)
    try:
        # Files of one batch are written while the next is made.
        with ThreadPoolExecutor(1) as writer:
            pending: deque[Future[None]] = deque()
            line.send(Ready())
            while True:
                batch: Batch | None = connection.recv()
                if batch is None:
                    return
                for answer, made_s in maker.made(list(batch.requests)):
                    pending.append(writer.submit(_finish, maker, answer, made_s, line))
                while len(pending) > 2 * len(batch.requests):
                    pending.popleft().result()
                line.send(Ready())
    finally:
        maker.close()


def _finish(maker: Maker, answer: Generated | NotMade, made_s: float, line: _Line) -> None:
    try:
        line.send(Answer(maker.finished(answer, made_s)))
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the parent has gone
    except (JavisbenchError, OSError) as error:
        line.send(Failed(error))
    except Exception:  # noqa: BLE001 - nobody waits for this thread: the parent is told by the end of the process
        traceback.print_exc()
        os._exit(1)


def _end_with_parent(descriptor: int) -> None:
    """Wait until the other end of the connection is gone, however that came: nothing is wanted of this one then."""
    poll = select.poll()
    poll.register(descriptor, 0)  # a hang-up is told unasked
    poll.poll()
    os._exit(0)


def main() -> None:
    """Serve the connection whose descriptor is the only argument."""
    # Ctrl-C goes to every process of the terminal; the parent decides what becomes of this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    descriptor = int(sys.argv[1])
    threading.Thread(target=_end_with_parent, args=(descriptor,), daemon=True).start()
    try:
        serve(Connection(descriptor))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the parent has gone, or has no more clips: nothing of value is left here


if __name__ == "__main__":
    main()
