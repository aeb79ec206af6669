"""What the pipeline classes of the installed diffusers take, read from its source without importing anything.

A plan, a forecast and the check of ``-M pipeline.KEY=VALUE`` need the names, types and defaults of a class's arguments;
importing the library for them takes seconds and needs every other library in order.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from javisbench.errors import GenerationError, UsageError

_CLASS = re.compile(r"^class (\w+)\b", re.MULTILINE)
_BASES = 8
_OBJECTS = {"dict", "Dict", "Mapping", "Callable", "Any"}
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


class _Mark:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


REQUIRED: Final = _Mark("REQUIRED")
"""The default of an argument that has none."""
UNKNOWN: Final = _Mark("UNKNOWN")
"""The default of an argument whose source is no plain value."""


@dataclass(frozen=True)
class Argument:
    """One argument of a function.

    Attributes:
        name: as it is passed.
        annotation: its type as the source writes it; empty without one.
        default: its default; `REQUIRED` without one, `UNKNOWN` when it is no number, text, truth value, list or None.
    """

    name: str
    annotation: str
    default: Any

    @property
    def words(self) -> frozenset[str]:
        """The names in the annotation: ``{"list", "float", "None"}``; of the default where there is no annotation."""
        if self.annotation:
            return frozenset(re.findall(r"\w+", self.annotation))
        return frozenset({type(self.default).__name__})

    def read(self, text: str) -> Any:
        """The value that a text from the command line stands for.

        Raises:
            ValueError: what the argument takes, when the text is none of it.
        """
        for reader in self._readers():
            try:
                return reader(text)
            except (ValueError, ZeroDivisionError):
                continue
        raise ValueError(self.takes)

    @property
    def takes(self) -> str:
        """What the argument takes, in words."""
        kinds = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}
        words = self.words
        told = [phrase for kind, phrase in kinds.items() if kind in words and not (kind == "int" and "float" in words)]
        if self._listed:
            told = [f"{kind}, or several with commas" for kind in told]
        if not told or words & _OBJECTS:
            return f"a {self.annotation or 'value'}, which cannot be given as text"
        return " or ".join([*told, *(["none"] if "None" in words and "str" not in words else [])])

    @property
    def _listed(self) -> bool:
        return bool(self.words & {"list", "List", "tuple", "Tuple", "Sequence"})

    def _readers(self) -> Iterator[Callable[[str], Any]]:
        words = self.words
        if words & _OBJECTS:
            return
        if "None" in words and "str" not in words:
            yield _none
        if "bool" in words:
            yield _switch
        numbers = [kind for kind in (int, float) if kind.__name__ in words]
        if not (self._listed and not re.search(r"\b(int|float)\b(?![^\[]*\])", self.annotation)):
            yield from numbers
        if self._listed and numbers:
            kind = float if float in numbers else int
            yield lambda text: [kind(part) for part in text.split(",")]
        if "str" in words:
            yield str


def _none(text: str) -> None:
    if text.lower() != "none":
        raise ValueError


def _switch(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ValueError
    return text.lower() in _TRUE


@dataclass(frozen=True)
class Signature:
    """What a pipeline class takes.

    Attributes:
        name: of the class.
        call: arguments of a call, in their order.
        parts: arguments of its construction: components, and settings that ``from_pretrained`` takes as well.
        module: where the class stands, inside ``diffusers/pipelines`` (``wan/pipeline_wan.py``).
    """

    name: str
    call: Mapping[str, Argument] = field(default_factory=dict)
    parts: Mapping[str, Argument] = field(default_factory=dict)
    module: str = ""

    def first(self, names: Iterable[str]) -> Argument | None:
        """The first of some arguments that a call takes."""
        return next((self.call[name] for name in names if name in self.call), None)


def installed() -> str:
    """The version of diffusers on this machine.

    Raises:
        GenerationError: there is none.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("diffusers")
    except PackageNotFoundError:
        raise GenerationError(
            "The package diffusers is not installed: pip install 'javisbench[baselines]'.", kind="import"
        ) from None


def signature(name: str) -> Signature:
    """What a class of diffusers takes.

    Raises:
        GenerationError: diffusers is not installed, or its version has no such class.
    """
    installed()
    found = _signature(name)
    if found is None:
        raise GenerationError(f"The installed diffusers has no {name}. Update it: pip install -U diffusers.")
    return found


def class_names() -> tuple[str, ...]:
    """The pipeline classes of the installed diffusers.

    Raises:
        GenerationError: it is not installed.
    """
    installed()
    return tuple(name for name in _places() if name.endswith("Pipeline"))


def constant(module: str, name: str) -> Any:
    """A plain value that a module of ``diffusers/pipelines`` defines; None when this version does not.

    Args:
        module: inside that folder, as ``ltx2/utils.py``.
        name: of the value.
    """
    root = _pipelines_folder()
    if root is None or not (root / module).is_file():
        return None
    for node in _tree(root / module).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            value = _value(node.value)
            return None if value is UNKNOWN else value
    return None


def read_arguments(
    who: str, prefix: str, given: Mapping[str, str], known: Mapping[str, Argument], reserved: Mapping[str, str]
) -> dict[str, Any]:
    """Values of ``-M PREFIX.KEY=VALUE`` parameters, converted to what each argument takes.

    Args:
        who: the pipeline class, as errors call it.
        prefix: ``pipeline`` or ``load``.
        given: key to text.
        known: the arguments.
        reserved: arguments that may not be given so, each with what to do instead.

    Raises:
        UsageError: an unknown argument (with near matches), one that is reserved, or a value that it does not take.
    """
    from javisbench.registry import did_you_mean

    values: dict[str, Any] = {}
    for key, text in given.items():
        if key in reserved:
            raise UsageError(f"{who}: -M {prefix}.{key} cannot be given: {reserved[key]}.")
        if key not in known:
            free = [name for name in known if name not in reserved]
            raise UsageError(
                f"{who} takes no {prefix} argument {key!r}.{did_you_mean(key, free)} It takes: {', '.join(free)}."
            )
        try:
            values[key] = known[key].read(text)
        except ValueError as error:
            raise UsageError(f"{who}: {prefix}.{key} is {error}; got {text!r}.") from None
    return values


@cache
def _pipelines_folder() -> Path | None:
    spec = find_spec("diffusers")
    roots = [] if spec is None else list(spec.submodule_search_locations or ())
    return Path(roots[0]) / "pipelines" if roots else None


@cache
def _places() -> Mapping[str, Path]:
    """Class to the file that it stands in, among those of pipelines."""
    root = _pipelines_folder()
    if root is None:
        return {}
    paths = sorted(path for path in root.rglob("*.py") if "pipeline" in path.name)
    return {name: path for path in paths for name in _CLASS.findall(path.read_text(encoding="utf-8"))}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _signature(name: str) -> Signature | None:
    root, path = _pipelines_folder(), _places().get(name)
    if root is None or path is None:
        return None
    call, parts = _method(name, "__call__"), _method(name, "__init__")
    return Signature(name, _arguments(call), _arguments(parts), path.relative_to(root).as_posix())


def _method(name: str, method: str, depth: int = 0) -> ast.FunctionDef | None:
    """A method of a class, or of the first of its bases among pipelines that has it."""
    path = _places().get(name)
    if path is None or depth > _BASES:
        return None
    for node in _tree(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == method:
                    return item
            bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
            return next((found for base in bases if (found := _method(base, method, depth + 1))), None)
    return None


def _arguments(function: ast.FunctionDef | None) -> dict[str, Argument]:
    if function is None:
        return {}
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    pairs = [*zip(positional, defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return {
        argument.arg: Argument(
            argument.arg,
            "" if argument.annotation is None else ast.unparse(argument.annotation),
            REQUIRED if default is None else _value(default),
        )
        for argument, default in pairs
        if argument.arg != "self"
    }


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return UNKNOWN
