"""One registry type for metrics, encoders, generators and suites.

Entries are import strings, so that listing them imports nothing. Other packages add theirs through the entry point
groups ``javisbench.metrics``, ``.encoders``, ``.generators`` and ``.suites``. What such an entry does wrong is told
with the name of its package (`PluginError`); a defect of an own entry keeps its traceback.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar, cast

from javisbench.errors import FeatureError, JavisbenchError, MetricError, PluginError, UsageError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
METRIC_GROUP = "javisbench.metrics"
ENCODER_GROUP = "javisbench.encoders"
METRIC_FAMILIES = {"judge": "javisbench.metrics.judges.family:JudgeFamily"}
"""Metrics whose ids have a parameter, ``judge:NAME``: prefix to what makes them."""
RESERVED = frozenset({"all", "overall", "repeat", "sample_id"})
"""Words that have another meaning beside the names of metrics."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_REQUIREMENT = re.compile(r"\s*([\w.-]+).*\bextra\s*==\s*['\"]([\w.-]+)['\"]")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence with near matches of `name` (with a leading space), or an empty string."""
    names = list(known)
    begun = [other for other in names if len(name) > 2 and other.startswith(name) and other != name]
    close = list(dict.fromkeys([*sorted(begun, key=len), *difflib.get_close_matches(name, names, n=3, cutoff=0.5)]))[:3]
    return f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


@dataclass(frozen=True)
class Plugin:
    """What an installed package registers.

    Attributes:
        target: ``module:attribute``.
        package: the distribution's name; the module's where that is not known.
        version: of the distribution, or empty.
        extras: optional dependency groups of the package that the entry names as needed.
        requires: the package's requirements, as its metadata has them.
    """

    target: str
    package: str
    version: str = ""
    extras: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()

    @classmethod
    def of(cls, point: EntryPoint) -> Plugin:
        """What an entry point says."""
        target, extras = f"{point.module}:{point.attr}", tuple(point.extras)
        if point.dist is None:
            return cls(target, point.module, extras=extras)
        return cls(target, point.dist.name, point.dist.version, extras, tuple(point.dist.requires or ()))

    @property
    def label(self) -> str:
        """``someones-plugin 1.0``."""
        return f"{self.package} {self.version}".strip()

    def how_to_install(self, module: str) -> str:
        """What brings a module that the package needs and that is not installed."""
        folded = re.sub(r"[-_.]+", "_", module.partition(".")[0]).lower()
        bringing = (match.groups() for match in map(_REQUIREMENT.match, self.requires) if match)
        named = [extra for name, extra in bringing if re.sub(r"[-_.]+", "_", name).lower() == folded]
        extra = next(iter((*named, *self.extras)), None)
        return f"pip install '{self.package}[{extra}]'" if extra else f"pip install --upgrade {self.package}"


def plugins(group: str) -> dict[str, tuple[Plugin, ...]]:
    """What installed packages register in an entry point group: name to whoever registers it."""
    found: dict[str, tuple[Plugin, ...]] = {}
    for point in entry_points(group=group):
        found[point.name] = (*found.get(point.name, ()), Plugin.of(point))
    return found


def missing_module(error: BaseException) -> str | None:
    """The module whose absence an error tells of, or None."""
    return error.name if isinstance(error, ModuleNotFoundError) and error.name else None


class Family(Protocol[T_co]):
    """Entries that are called ``PREFIX:REST`` and made from what stands for REST: a card, say."""

    def names(self) -> Iterable[str]:
        """REST of those that are known by name, in the order of tables."""

    def get(self, rest: str) -> T_co:
        """The entry.

        Raises:
            UsageError: there is none.
        """

    def plugin(self, rest: str) -> Plugin | None:
        """The other package that brings it; None for none."""


class Registry(Generic[T]):
    """Names to lazily imported objects: this package's own, then those of installed plugins, then those of families.

    Plugins are looked for once, at the first use: that reads a file of every installed package. A plugin cannot replace
    an own entry, and a name that two packages register is nobody's.

    Args:
        what: what an entry is, for messages (``"metric"``).
        group: the entry point group of plugins (``"javisbench.metrics"``).
        entries: name to ``"module:attribute"``.
        wrong: says of a plugin's entry and its name what keeps it from being one, or None.
        families: prefix to the ``"module:attribute"`` of a `Family`'s class; names with a colon are theirs.
    """

    def __init__(
        self,
        what: str,
        group: str,
        entries: Mapping[str, str],
        wrong: Callable[[str, Any], str | None] = lambda name, found: None,
        families: Mapping[str, str] | None = None,
    ) -> None:
        self._what = what
        self._group = group
        self._own = dict(entries)
        self._wrong = wrong
        self._broken: dict[str, PluginError] = {}
        self._family_targets = dict(families or {})
        self._families: dict[str, Family[T]] = {}

    @cached_property
    def _registered(self) -> Mapping[str, tuple[Plugin, ...]]:
        return plugins(self._group)

    @cached_property
    def _plugins(self) -> Mapping[str, tuple[Plugin, ...]]:
        return {name: found for name, found in self._registered.items() if _usable(name)}

    def refresh(self) -> None:
        """Look for plugins anew: packages were installed or removed since."""
        self.__dict__.pop("_registered", None)
        self.__dict__.pop("_plugins", None)
        self._broken.clear()
        self._families.clear()

    @property
    def own(self) -> tuple[str, ...]:
        """Names of this package's own entries."""
        return tuple(self._own)

    def __iter__(self) -> Iterator[str]:
        yield from {**self._own, **self._plugins}
        for prefix in self._family_targets:
            yield from (f"{prefix}:{rest}" for rest in self._family(prefix).names())

    def __contains__(self, name: object) -> bool:
        if name in self._own or name in self._plugins:
            return True
        prefix, rest = self._parameter(name) if isinstance(name, str) else ("", "")
        return bool(prefix) and rest in self._family(prefix).names()

    def plugin(self, name: str) -> Plugin | None:
        """Who registers `name`; None for an own entry, and for no entry."""
        prefix, rest = self._parameter(name)
        if prefix:
            return self._family(prefix).plugin(rest)
        return None if name in self._own else next(iter(self._plugins.get(name, ())), None)

    def has_parameter(self, name: str) -> bool:
        """Whether `name` is one of a family (``judge:NAME``), known by name or not."""
        return bool(self._parameter(name)[0])

    def _parameter(self, name: str) -> tuple[str, str]:
        """Prefix and rest of a family's entry; two empty texts for any other name."""
        prefix, colon, rest = name.partition(":")
        return (prefix, rest) if colon and prefix in self._family_targets else ("", "")

    def _family(self, prefix: str) -> Family[T]:
        if prefix not in self._families:
            self._families[prefix] = cast("type[Family[T]]", _imported(self._family_targets[prefix]))()
        return self._families[prefix]

    def registered(self) -> list[Plugin]:
        """Everything that packages register, in order of names and packages."""
        found = [(name, plugin) for name, several in self._registered.items() for plugin in several]
        return [plugin for _, plugin in sorted(found, key=lambda pair: (pair[0], pair[1].label))]

    def notices(self) -> list[str]:
        """What is wrong with the names that plugins register, a sentence each."""
        found = []
        for name, registered in sorted(self._registered.items()):
            packages = " and ".join(plugin.label for plugin in registered)
            if not _usable(name):
                found.append(
                    f"{packages} registers the {self._what} {name!r}, which cannot be called so: a name has up to 64 "
                    f"letters, digits, '_' and '-', and is none of {', '.join(sorted(RESERVED))}. It is left out."
                )
            elif name in self._own:
                found.append(
                    f"{packages} registers the {self._what} {name!r}, which javisbench has already: its own is used. "
                    f"Rename the entry point in {self._group!r}, or uninstall the package."
                )
            elif len(registered) > 1:
                found.append(self._doubled(name, registered))
        return found

    def _doubled(self, name: str, registered: Iterable[Plugin]) -> str:
        packages = " and ".join(f"{plugin.label} ({plugin.target})" for plugin in registered)
        return f"The {self._what} {name!r} is registered more than once, by {packages}. Uninstall all but one."

    def get(self, name: str) -> T:
        """Import and return the entry `name`.

        Raises:
            UsageError: no such name (with near matches).
            PluginError: a plugin's entry that does not import, or is no such thing; the message names the package.
        """
        if name in self._own:
            return cast(T, _imported(self._own[name]))
        prefix, rest = self._parameter(name)
        if prefix:
            return self._family(prefix).get(rest)
        if name not in self._plugins:
            raise UsageError(
                f"There is no {self._what} {name!r}.{did_you_mean(name, self)} Known: {', '.join(sorted(self))}."
            )
        if name in self._broken:
            earlier = self._broken[name]
            raise PluginError(earlier.message) from earlier.__cause__
        try:
            return self._of_plugin(name)
        except PluginError as error:
            self._broken[name] = error
            raise

    def _of_plugin(self, name: str) -> T:
        registered = self._plugins[name]
        if len(registered) > 1:
            raise PluginError(self._doubled(name, registered))
        (plugin,) = registered
        whose = self._whose(name)
        try:
            found = _imported(plugin.target)
        except Exception as error:
            module = missing_module(error)
            if module is not None and module.partition(".")[0] != re.split("[.:]", plugin.target)[0]:
                told = f"needs the module {module}, which is not installed: {plugin.how_to_install(module)}"
            else:
                told = f"does not import ({plugin.target}): {type(error).__name__}: {error}. Update or uninstall it"
            raise PluginError(f"{whose} {told}.") from error
        wrong = self._wrong(name, found)
        if wrong is not None:
            raise PluginError(f"{whose} ({plugin.target}) {wrong}. Update or uninstall it.")
        return cast(T, found)

    @contextmanager
    def guarded(self, name: str, doing: str) -> Iterator[None]:
        """Inside, whatever a plugin's entry `name` raises becomes a `PluginError`; what an own entry raises stays.

        That a clip or set has no value (`FeatureError`, `MetricError`) is no defect and stays too.

        Args:
            name: of the entry.
            doing: what is called, for the message (``"score"``).
        """
        try:
            yield
        except (FeatureError, MetricError, PluginError):
            raise
        except Exception as error:
            plugin = self.plugin(name)
            if plugin is None:
                raise
            if isinstance(error, JavisbenchError):
                raise PluginError(f"{self._whose(name)}: {error.sentence}", details=error.details) from error
            raise PluginError(self.defect(name, doing, error)) from error

    def defect(self, name: str, doing: str, error: Exception) -> str:
        """A sentence on a defect of the entry `name`, with its package where it is a plugin's."""
        plugin, module = self.plugin(name), missing_module(error)
        if plugin is not None and module is not None:
            return (
                f"{self._whose(name)} needs the module {module}, which is not installed: "
                f"{plugin.how_to_install(module)}."
            )
        return f"{self._whose(name)} failed in {doing}: {type(error).__name__}: {error}. The log has the details."

    def _whose(self, name: str) -> str:
        plugin = self.plugin(name)
        return f"The {self._what} {name!r}" + (f" of the package {plugin.label}" if plugin else "")


def _usable(name: str) -> bool:
    """Whether files and the names of protocols can hold it."""
    return _NAME.fullmatch(name) is not None and name not in RESERVED


def _imported(target: str) -> object:
    module, _, attribute = target.partition(":")
    found: object = importlib.import_module(module)
    for name in attribute.split(".") if attribute else ():
        found = getattr(found, name)
    return found
