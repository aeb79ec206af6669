"""One registry type for metrics, encoders, generators and suites.

Entries are import strings, so that listing them imports nothing. Other packages add theirs through the entry
point groups ``javisbench.metrics``, ``.encoders``, ``.generators`` and ``.suites``.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from javisbench.errors import UsageError

T = TypeVar("T")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence with near matches of `name` (with a leading space), or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


class Registry(Generic[T]):
    """Names to lazily imported objects: this package's own, then those of installed plugins.

    Plugins are looked for once, at the first use: that reads a file of every installed package.

    Args:
        what: what an entry is, for messages (``"metric"``).
        group: the entry point group of plugins (``"javisbench.metrics"``).
        entries: name to ``"module:attribute"``.
    """

    def __init__(self, what: str, group: str, entries: Mapping[str, str]) -> None:
        self._what = what
        self._group = group
        self._own = dict(entries)

    @cached_property
    def _plugins(self) -> Mapping[str, str]:
        return {point.name: point.value for point in entry_points(group=self._group)}

    @property
    def _targets(self) -> Mapping[str, str]:
        taken = self._own.keys() & self._plugins.keys()
        if taken:
            name = min(taken)
            raise UsageError(
                f"The installed plugin {self._plugins[name]!r} registers the {self._what} {name!r}, which javisbench "
                f"has already. Uninstall the plugin, or rename its entry point in {self._group!r}."
            )
        return {**self._own, **self._plugins}

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __contains__(self, name: object) -> bool:
        return name in self._targets

    def get(self, name: str) -> T:
        """Import and return the entry `name`.

        Raises:
            UsageError: no such name (with near matches), or a plugin that does not import.
        """
        targets = self._targets
        if name not in targets:
            raise UsageError(
                f"There is no {self._what} {name!r}.{did_you_mean(name, targets)} Known: {', '.join(sorted(targets))}."
            )
        module, _, attribute = targets[name].partition(":")
        try:
            return cast(T, getattr(importlib.import_module(module), attribute))
        except (ImportError, AttributeError) as error:
            if name in self._own:
                raise
            raise UsageError(
                f"The {self._what} {name!r} of an installed plugin does not import: {error}. "
                f"Update or uninstall the package that provides {targets[name]!r}."
            ) from error
