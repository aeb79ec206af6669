"""The cluster: a connection, pools of actors that lost machines do not stop, and what went wrong in a sentence."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from javisbench.errors import JavisbenchError, RunError, UsageError
from javisbench.run.manifest import versions

log = logging.getLogger(__name__)
Line = tuple[int, str]
_PATIENCE_S = 5.0
_LOCAL_STORE_BYTES = 2**30
# A group of clips that ends its actor again and again is a defect; machines are not lost so often.
_MOST_TRIES = 6
# Said by Ray on its own, to the terminal.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class Worker(Protocol):
    """What works in an actor; made of a pool's settings."""

    @property
    def kind(self) -> str:
        """What tells pools of one class apart."""

    def told(self, group: Any) -> str:
        """What a group is, for messages."""

    def __call__(self, group: Any) -> Any:
        """The answer to a group."""


@dataclass(frozen=True)
class Pool:
    """Actors of one kind; there are as many as the cluster has room for, also after machines have joined or gone.

    Attributes:
        actor: a class whose objects turn a group into an answer (`Worker`).
        settings: what each is made of.
        cpus: cores of each.
        gpus: GPUs of each.
    """

    actor: Callable[[Any], Worker]
    settings: Any
    cpus: float = 1
    gpus: float = 0


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to.

    Attributes:
        cpus: cores of all machines now.
        gpus: GPUs of all machines now.
        machines: how many.
    """

    cpus: int
    gpus: int
    machines: int

    def mapped(self, groups: Sequence[Any], pools: Sequence[Pool]) -> Generator[Any, None, None]:
        """Answers of the last pool, in any order; each group goes through the pools one after the other.

        Raises:
            JavisbenchError: what an actor says that must stop the job.
            RunError: the cluster fails.
        """
        import ray.data
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # Ray restarts actors and gives them their groups again for ever, which is right for machines that are lost.
        # Counted on this machine: if that is lost, so is the job.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        tries = ray.remote(_Tries).options(num_cpus=0, scheduling_strategy=here).remote()
        rows = [{"number": number, "data": pickle.dumps((group, []))} for number, group in enumerate(groups)]
        data = ray.data.from_items(rows, override_num_blocks=len(rows))
        for pool in pools:
            data = data.map(
                _Actor,
                fn_constructor_args=(pool.actor, pickle.dumps((versions(), pool.settings)), tries),
                compute=ray.data.ActorPoolStrategy(min_size=1, max_tasks_in_flight_per_actor=2),
                num_cpus=pool.cpus,
                num_gpus=pool.gpus,
            )
        _hush()
        told: set[str] = set()
        with _explained():
            for row in data.iter_rows():
                answer, lines = pickle.loads(row["data"])  # noqa: S301 - of an actor of this job
                for level, line in lines:
                    # Every actor says what is true of all of them.
                    if line not in told:
                        log.log(level, "%s", line)
                    told.add(line)
                if isinstance(answer, JavisbenchError):
                    raise answer
                yield answer


class _Tries:
    """Counts how often actors of each kind began with a group."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, int], int] = {}

    def begin(self, kind: str, number: int) -> int:
        """Count, and tell how often that is now."""
        self._begun[kind, number] = count = self._begun.get((kind, number), 0) + 1
        return count


class _Actor:
    """What runs in Ray's actors: bytes in, bytes out; errors that must stop the job are answers too."""

    def __init__(self, actor: Callable[[Any], Worker], settings: bytes, tries: Any) -> None:
        self._tries = tries
        self._inner: Worker | None = None
        self._problem: JavisbenchError | None = None
        self._lines: list[Line] = []
        try:
            wanted, given = pickle.loads(settings)  # noqa: S301 - of the process that began the job
            with _lines_of_log() as self._lines:
                _check_versions(wanted)
                self._inner = actor(given)
        except ImportError as error:
            self._problem = RunError(
                f"The machine {socket.gethostname()} of the cluster lacks {error.name or error}; install it there."
            )
        except JavisbenchError as error:
            self._problem = error

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        group, before = pickle.loads(row["data"])  # noqa: S301 - of the process that began the job, or of an actor
        with _lines_of_log() as lines:
            answer = self._answer(int(row["number"]), group)
        return {"number": row["number"], "data": pickle.dumps((answer, [*before, *self._lines, *lines]))}

    def _answer(self, number: int, group: Any) -> Any:
        import ray

        if self._inner is None or isinstance(group, JavisbenchError):
            return self._problem or group
        try:
            tries = ray.get(self._tries.begin.remote(self._inner.kind, number))
        except ray.exceptions.RayError:
            tries = 1  # nobody counts any more; that stops no work
        if tries > _MOST_TRIES:
            return RunError(
                f"Processes of the Ray cluster ended {_MOST_TRIES} times while they worked on "
                f"{self._inner.told(group)}: too little memory, or a defect. What came back before is kept.",
                kind="cluster",
            )
        try:
            return self._inner(group)
        except JavisbenchError as error:
            return error


def _check_versions(wanted: dict[str, str]) -> None:
    """Refuse another version of this package; tell of others, which can change last digits."""
    host, here = socket.gethostname(), versions()
    if here["javisbench"] != wanted["javisbench"]:
        raise RunError(
            f"The machine {host} of the cluster has javisbench {here['javisbench']}, this one {wanted['javisbench']}. "
            f"Install one version on all."
        )
    others = [f"{name} {here.get(name, 'is absent')}" for name in wanted if here.get(name) != wanted[name]]
    if others:
        log.warning(
            "%s of the cluster has other versions than this machine (%s); scores can differ in their last digits",
            host,
            ", ".join(others),
        )


@contextmanager
def _lines_of_log() -> Iterator[list[Line]]:
    """What this package logs inside, as levels and lines, for the log of the run."""
    lines: list[Line] = []
    package = logging.getLogger("javisbench")
    handler = _Collector(lines)
    package.addHandler(handler)
    try:
        yield lines
    finally:
        package.removeHandler(handler)


class _Collector(logging.Handler):
    def __init__(self, lines: list[Line]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append((record.levelno, self.format(record)))


@contextmanager
def connected(address: str | None) -> Iterator[Cluster]:
    """A connection to the cluster at `address`; None for that of ``$RAY_ADDRESS``, else for one on this machine alone.

    Raises:
        UsageError: Ray is not installed, or there is no cluster at that address.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(f"--engine ray needs Ray Data: pip install 'javisbench[ray]' ({error}).") from error
    own = not ray.is_initialized()
    if own:
        _init(address or os.environ.get("RAY_ADDRESS") or "local")
    try:
        _hush()
        resources = ray.cluster_resources()
        machines = sum(bool(node["Alive"]) for node in ray.nodes())
        yield Cluster(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), machines)
    finally:
        if own:
            ray.shutdown()


def _init(address: str) -> None:
    import ray

    if address.startswith("ray://"):
        raise UsageError(
            f"--engine-address {address}: data sets of Ray need a machine of the cluster. Run the command on one, with "
            f"HOST:PORT or auto as the address, or hand it in with `ray job submit`."
        )
    host, colon, port = address.rpartition(":")
    if colon and not (port.isdigit() and _answers(host, int(port))):
        raise UsageError(f"There is no Ray cluster at {address}: nothing answers there. Start one, or leave it out.")
    local = {"object_store_memory": _LOCAL_STORE_BYTES, "include_dashboard": False} if address == "local" else {}
    # Ray's handler would end the process without what this package does at its end.
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if main else None
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"There is no Ray cluster at {address} to work on: {reason}") from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_PATIENCE_S):
            return True
    except (OSError, OverflowError):
        return False


def _hush() -> None:
    """Ray Data tells every step; this package tells its own."""
    for name in ("ray", "ray.data"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.ERROR)
        for handler in logger.handlers:
            if type(handler).__name__ != "SessionFileHandler":
                handler.setLevel(logging.ERROR)


@contextmanager
def _explained() -> Iterator[None]:
    """Inside, the cluster's errors become one sentence; defects of this package pass."""
    import ray.exceptions as ray_errors

    try:
        yield
    except (ray_errors.ObjectStoreFullError, ray_errors.OutOfDiskError) as error:
        raise _failed("its object store is full, and the disk it spills to", error) from error
    except ray_errors.OutOfMemoryError as error:
        raise _failed("a machine ran out of memory", error) from error
    except ray_errors.RayTaskError as error:
        cause = error.cause if isinstance(getattr(error, "cause", None), Exception) else None
        if isinstance(cause, JavisbenchError):
            raise cause from error
        if isinstance(cause, ray_errors.RayError) and type(cause).__name__ != "UserCodeException":
            raise _failed(str(cause), error) from error
        raise  # a defect of this package
    except ray_errors.RayActorError as error:
        raise _failed("its actors, or their machines, are gone", error) from error
    except ray_errors.RayError as error:
        raise _failed(type(error).__name__, error) from error


def _failed(what: str, error: Exception) -> RunError:
    log.debug("the cluster failed", exc_info=error)
    reason = " ".join(what.split())[:300]
    return RunError(
        f"The Ray cluster failed: {reason}. What came back before is kept: run the same command again.", kind="cluster"
    )
