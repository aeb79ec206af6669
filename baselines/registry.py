"""The generators, and what a model specification on the command line means."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from javisbench.errors import JavisbenchError, PluginError, UsageError
from javisbench.registry import Registry, did_you_mean
from javisbench.tasks import Task

if TYPE_CHECKING:
    from javisbench.baselines.base import Generator


def _wrong(name: str, found: object) -> str | None:
    """What keeps an object of another package from being a generator; None for one."""
    from javisbench.baselines.base import Generator

    return None if isinstance(found, type) and issubclass(found, Generator) else "is no subclass of Generator"


GENERATORS: Registry[type[Generator]] = Registry(
    "model",
    "javisbench.generators",
    {
        "procedural": "javisbench.baselines.procedural:Procedural",
        "javisdit": "javisbench.baselines.javisdit:JavisDiT",
        "opensora": "javisbench.baselines.javisdit:OpenSora",
        "mm-diffusion": "javisbench.baselines.mm_diffusion:MMDiffusion",
        "cascade": "javisbench.baselines.cascade:Cascade",
        "mmaudio": "javisbench.baselines.mmaudio:MMAudio",
        "diffusers": "javisbench.baselines.diffusers_models:DiffusersPipeline",
        "command": "javisbench.baselines.command:ExternalCommand",
        "checkout": "javisbench.baselines.checkout:Checkout",
        "hosted": "javisbench.baselines.hosted:Hosted",
    },
    _wrong,
)
_OF_A_PROGRAM = ("cascade", "command", "diffusers", "hosted")


def models_for(task: Task) -> list[str]:
    """Names of models that take a task of suites: those of the registry in its order, then ids of cards.

    Those that cannot be imported are not among them.
    """
    from javisbench.baselines.model_cards import tasks
    from javisbench.cards import read_cards

    found = []
    for name in GENERATORS:
        if name == "checkout":  # its cards are among the ids
            continue
        try:
            cls = GENERATORS.get(name)
        except (JavisbenchError, ImportError):
            continue
        if task in cls.tasks:
            found.append(f"{name}:..." if name in _OF_A_PROGRAM else name)
        else:
            found += [f"{name}:{variant}" for variant, takes in cls.tasks_by_variant.items() if task in takes]
    cards = read_cards("models")
    ids = [name for name, card in cards.items() if "run" in card and name not in GENERATORS and task in tasks(card)]
    return [*found, *ids, "python:module:Class"]


def create_generator(spec: str, params: Mapping[str, str] | None = None) -> Generator:
    """The generator that `spec` names: ``name``, ``name:variant``, ``command:...``, ``python:module:Class`` or a card.

    Args:
        spec: as given to ``--model``; the id of a model card stands for what the card runs.
        params: ``-M`` parameters, values as text.

    Raises:
        UsageError: an unknown name, a card of a model that cannot be run (with the reason), or a class that is no
            generator.
    """
    name, _, rest = resolved_spec(spec).partition(":")
    if name == "python":
        return _from_python(rest)(None, params)
    if name == "folder":
        raise UsageError(f"folder: names clips that are made already. Score them: javisbench score {rest or 'FOLDER'}")
    cls = GENERATORS.get(name)
    with GENERATORS.guarded(name, "its constructor"):
        return cls(rest or None, params)


def resolved_spec(spec: str) -> str:
    """`spec` as a generator is named: the id of a card is replaced by what the card runs.

    Raises:
        UsageError: an unknown name, or a card of a model that cannot be run (with the reason).
    """
    from javisbench.baselines.model_cards import aliases, specification

    name = spec.partition(":")[0]
    if name in GENERATORS or name in ("python", "folder"):
        return spec
    found = specification(spec)
    if found == spec:
        known = [*GENERATORS, *aliases()]
        raise UsageError(
            f"There is no model {spec[:80]!r}.{did_you_mean(name, known)} `javisbench models list` shows all; programs "
            f"and folders are command:..., python:module:Class and folder:PATH."
        )
    return found


def defect_of(generator: Generator, doing: str, error: Exception) -> str | None:
    """A sentence on a defect of another package's generator, with that package; None for this package's own."""
    for name in GENERATORS:
        if GENERATORS.plugin(name) is not None and GENERATORS.get(name) is type(generator):
            return GENERATORS.defect(name, doing, error)
    return None


@contextmanager
def naming_package(generator: Generator, doing: str) -> Iterator[None]:
    """Inside, a defect of another package's generator becomes a `PluginError` that names the package."""
    try:
        yield
    except JavisbenchError:
        raise
    except Exception as error:
        told = defect_of(generator, doing, error)
        if told is None:
            raise
        raise PluginError(told) from error


def _from_python(target: str) -> type[Generator]:
    from javisbench.baselines.base import Generator

    module, _, attribute = target.partition(":")
    if not module or not attribute:
        raise UsageError(f"A Python model is given as python:module:Class; got 'python:{target}'.")
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        raise UsageError(f"python:{target} does not import: {error}. Is its folder on PYTHONPATH?") from error
    found = getattr(imported, attribute, None)
    if found is None:
        raise UsageError(f"The module {module} has no {attribute!r}.{did_you_mean(attribute, vars(imported))}")
    if not (isinstance(found, type) and issubclass(found, Generator)):
        raise UsageError(f"{target} is no subclass of javisbench.baselines.base.Generator.")
    return found
