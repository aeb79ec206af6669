"""Where text leaves the command line: nothing else writes to stdout or stderr.

Names and messages come from anywhere, so all that is shown passes `javisbench.text.printable`; a stream whose encoding
lacks a letter gets an escape for it, and one whose reader is gone (``| head``) swallows the rest: a finished run ends
with its own exit code.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

import click

from javisbench.errors import JavisbenchError, RunError
from javisbench.text import json_text, printable, printable_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_PIPE_WIDTH = 160  # columns of tables that go into a file
_LEAST_WIDTH = 40


class Stream(io.TextIOBase):
    """stdout or stderr as they are now; writing never fails because nobody reads.

    Args:
        target: the stream; None where the process has none.
        must_arrive: whether to raise when it cannot be written for another reason, such as a full disk.
    """

    def __init__(self, target: TextIO | None, *, must_arrive: bool = False) -> None:
        self._target = target
        self._must_arrive = must_arrive

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute that may be set
        """The stream's encoding."""
        return getattr(self._target, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether a person is watching."""
        return self._target is not None and self._target.isatty()

    def fileno(self) -> int:
        """The stream's descriptor."""
        if self._target is None:
            raise io.UnsupportedOperation("there is no stream")
        return self._target.fileno()

    def write(self, text: str) -> int:
        """Write `text`.

        Raises:
            RunError: the stream `must_arrive` and cannot be written.
        """
        if self._target is not None:
            try:
                self._target.write(text)
                self._target.flush()
            except OSError as error:
                _send_nowhere(self._target)
                if self._must_arrive and not isinstance(error, BrokenPipeError):
                    raise RunError(f"The output cannot be written ({error.strerror}).", kind="not_writable") from error
        return len(text)


def _send_nowhere(target: TextIO) -> None:
    """Drop what is still to come, and what Python itself flushes at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, target.fileno())
        os.close(nowhere)


def _stream(err: bool) -> Stream:
    return Stream(sys.stderr) if err else Stream(sys.stdout, must_arrive=True)


def prepare_streams() -> None:
    """Let stdout and stderr escape what their encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def line(text: object = "", *, err: bool = False) -> None:
    """Print one line, on stderr if `err`."""
    _stream(err).write(f"{printable(str(text))}\n")


def document(text: str) -> None:
    """Print text of several lines, which ends with a newline, on stdout."""
    _stream(err=False).write(printable_lines(text))


def error(problem: JavisbenchError) -> None:
    """Tell an error on stderr: its sentence, then its details, a line each."""
    _stream(err=True).write(printable_lines(f"Error: {problem.message}\n"))


def usage_error(problem: click.ClickException) -> None:
    """Tell how a command is used, and what was wrong."""
    shown = io.StringIO()
    problem.show(file=shown)
    text, told = shown.getvalue(), problem.format_message()
    # The message of this one, which click has from 8.2 on, is the help.
    if not isinstance(problem, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        text = text.replace(told, printable(told))
    _stream(err=True).write(printable_lines(text))


def json_document(value: Any, *, default: Callable[[Any], Any] | None = None) -> None:
    """Print `value` as JSON on stdout; `default` turns what JSON has no type for into what it has."""
    stream = _stream(err=False)
    stream.write(json_text(value, indent=1, encoding=stream.encoding, default=default) + "\n")


def meter(text: str, *, last: bool) -> None:
    """Print a line on stderr over the one before; `last` ends it."""
    _stream(err=True).write(f"\r{printable(text)}   " + ("\n" if last else ""))


def console(*, err: bool = False) -> Console:
    """A console of rich: strings are printed as they are, without markup, on one line each.

    Of its own lay-out (`Text`, and what others made) names must be made `printable` by the caller.
    """
    from rich.console import Console

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(printable(text), **options)

    stream = _stream(err)
    width = None if stream.isatty() else _pipe_width()
    return Plain(file=cast("IO[str]", stream), width=width, markup=False, emoji=False, highlight=False)


def _pipe_width() -> int:
    """Columns of tables that go into a file or pipe: ``COLUMNS``, or many; rich would take 80, and cut."""
    asked = os.environ.get("COLUMNS", "")
    return max(_LEAST_WIDTH, int(asked)) if asked.isascii() and asked.isdigit() and len(asked) < 5 else _PIPE_WIDTH


def cells(*texts: str) -> list[Text]:
    """Cells of a table of rich."""
    from rich.text import Text

    return [Text(printable(text)) for text in texts]


def defect(kind: type[BaseException], problem: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback on stderr; for `sys.excepthook`."""
    for entry in traceback.format_exception(kind, problem, trace):
        _stream(err=True).write(printable_lines(entry))
