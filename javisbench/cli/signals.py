"""A run that is told to end by SIGTERM or SIGHUP ends as one that is interrupted from the keyboard."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """Told to end by a signal: what is done is kept, and child processes end, as after Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def end_in_order() -> None:
    """From now on SIGTERM and SIGHUP raise `Stopped` in the main thread; one that is ignored (``nohup``) stays so."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)


def _stop(number: int, _: FrameType | None) -> None:
    # Whoever sends it once more means it.
    signal.signal(number, signal.SIG_DFL)
    raise Stopped(number)


def exit_code(error: BaseException) -> tuple[str, int]:
    """What ended a run, in words, and its exit code: 130 after Ctrl-C, 128 and the signal's number after another."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, Stopped):
        cause = cause.__cause__ or cause.__context__
    return ("Interrupted", 130) if cause is None else (f"Stopped by {cause}", 128 + cause.number)
