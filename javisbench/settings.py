"""Settings: frozen dataclasses of numbers, switches and words, read from text and from JSON, checked by type.

Those of this package are fields of `javisbench.protocol.Protocol`. A metric or encoder of another package names its own
(``settings: ClassVar = MySettings``), which a protocol mounts under the id.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, Literal, TypeAlias, cast, get_args, get_origin, get_type_hints

from javisbench.errors import PluginError, UsageError
from javisbench.registry import ENCODER_GROUP, METRIC_FAMILIES, METRIC_GROUP, Registry

Setting: TypeAlias = bool | int | float | str
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What the value of a setting of type ``str`` may be: it becomes part of names of files."""

_PLUGINS: tuple[Registry[type], ...] = (
    Registry("metric", METRIC_GROUP, {}, families=METRIC_FAMILIES),
    Registry("encoder", ENCODER_GROUP, {}),
)


def setting_types(cls: type) -> dict[str, Any]:
    """Setting name to its type: int, float, bool, str or a `Literal` of words.

    Raises:
        TypeError: `cls` is no frozen dataclass of such fields, all with a default that is such a value.
    """
    parameters = getattr(cls, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise TypeError(f"{cls.__qualname__} is no frozen dataclass")
    types = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        kind = types[field.name]
        words = get_args(kind) if get_origin(kind) is Literal else ()
        if kind not in (int, float, bool, str) and not (words and all(type(word) is str for word in words)):
            raise TypeError(f"{cls.__qualname__}.{field.name} is neither int, float, bool, str nor a Literal of words")
        if not WORD.fullmatch(field.name) or field.default is dataclasses.MISSING:
            raise TypeError(f"{cls.__qualname__}.{field.name} has no default, or is private")
        try:
            checked_value(field.name, field.default, kind)
        except UsageError:
            raise TypeError(
                f"{cls.__qualname__}.{field.name} has the default {field.default!r}, which it cannot be"
            ) from None
    return {field.name: types[field.name] for field in dataclasses.fields(cls)}


def parse_value(name: str, text: str, kind: Any) -> Any:
    """The value of a setting from what the user wrote.

    Raises:
        UsageError: the setting cannot be that.
    """
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        if text not in choices:
            raise UsageError(f"The protocol setting {name} is one of {', '.join(choices)}; got {text!r}.")
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UsageError(f"The protocol setting {name} is true or false; got {text!r}.")
        return text.lower() == "true"
    if kind is str and not WORD.fullmatch(text):
        raise UsageError(f"The protocol setting {name} is a word of letters, digits, '.', '_' and '-'; got {text!r}.")
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f"The protocol setting {name} is a {kind.__name__}; got {text!r}.") from None


def checked_value(name: str, value: object, kind: Any) -> Any:
    """The value of a setting from what a file holds; whole numbers are floats too.

    Raises:
        UsageError: the setting cannot be that.
    """
    if kind is float and type(value) is int:
        value = float(value)
    if get_origin(kind) is Literal:
        fits = type(value) is str and value in get_args(kind)
    elif kind is str:
        fits = type(value) is str and WORD.fullmatch(value) is not None
    else:
        fits = type(value) is kind and not (kind is float and not math.isfinite(cast("float", value)))
    if not fits:
        raise UsageError(f"protocol_settings has {name} = {str(value)[:40]!r}, which that setting cannot be.")
    return value


def format_value(value: Setting) -> str:
    """As it stands in the name of a protocol."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def plugin_settings(plugin_id: str) -> type:
    """The settings of a metric or encoder of another package. Imports that one alone.

    Raises:
        UsageError: no installed package has such a metric or encoder, or it has no settings.
        PluginError: it does not import, or its settings are none; the message names the package.
    """
    found: list[type] = []
    for registry in _PLUGINS:
        if plugin_id in registry:
            cls = getattr(registry.get(plugin_id), "settings", None)
            if cls is not None:
                with registry.guarded(plugin_id, "its settings"):
                    setting_types(cls)
                found.append(cls)
    if not found:
        known = any(plugin_id in registry for registry in _PLUGINS)
        lacks = "has no settings" if known else "is no metric or encoder of an installed package"
        raise UsageError(f"{plugin_id!r} {lacks}, so there is nothing to set in a protocol as {plugin_id}.NAME=VALUE.")
    if any(cls is not found[0] for cls in found):
        raise PluginError(f"A metric and an encoder are both called {plugin_id!r}, with settings of their own each.")
    return found[0]
