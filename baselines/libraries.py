"""What diffusers and transformers print by themselves, kept off the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module


@contextmanager
def without_progress_bars(*libraries: str) -> Iterator[None]:
    """Progress bars of ``diffusers`` or ``transformers`` are off inside."""
    with ExitStack() as stack:
        for library in libraries:
            logging = import_module(f"{library}.utils.logging")
            if logging.is_progress_bar_enabled():
                logging.disable_progress_bar()
                stack.callback(logging.enable_progress_bar)
        yield
