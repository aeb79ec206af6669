"""`Checkout`: another author's repository in an environment of its own, driven by a recipe, kept for the whole suite.

A model card says how, in its table ``[recipe]``: the program of ``baselines/recipes`` that speaks JSON lines with
javisbench and Python with the checkout, what a checkout is known by, and which files decide its clips.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from javisbench.baselines.base import Json
from javisbench.baselines.command import CommandOptions, ExternalCommand
from javisbench.baselines.model_cards import tasks
from javisbench.baselines.parameters import like, read_parameters
from javisbench.cards import card_files
from javisbench.errors import GenerationError, UsageError
from javisbench.registry import did_you_mean

if TYPE_CHECKING:
    from javisbench.weights import WeightStore

RECIPES = Path(__file__).parent / "recipes"
_MOST_FILES = 4096
_OF_PROGRAMS = tuple(f.name for f in fields(CommandOptions) if f.name not in ("batch", "unconditional"))


@dataclass(frozen=True)
class Recipe:
    """How a checkout is driven.

    Attributes:
        script: program in ``baselines/recipes``; of another package's card, beside the card.
        checkout: address of the repository, for messages.
        has: files and folders by which a checkout is known, below it.
        variable: environment variable with the checkout's folder, where ``-M repo`` is not given.
        code: patterns of the checkout's files that decide the clips.
        weights: patterns of checkpoints below the checkout; those that are there are hashed.
        options: ``-M`` parameters of the recipe and their defaults; a text, or a number.
    """

    script: str
    checkout: str
    has: tuple[str, ...]
    variable: str = ""
    code: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    options: Mapping[str, str | int | float] = field(default_factory=dict)

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> Recipe:
        """The table of a model card."""
        told: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in card["recipe"].items()}
        return cls(**told)


class Checkout(ExternalCommand):
    """A model of a checkout: ``checkout:CARD``, or the card's id alone.

    Args:
        variant: id of a card with a table ``[recipe]``.
        params: ``repo`` (the checkout's folder), ``python`` (the interpreter that has its requirements), the recipe's
            own options, and those of programs.

    Raises:
        UsageError: no such card, or an unknown or bad parameter.
    """

    card_id: ClassVar[str] = "command"
    any_role = False

    def __init__(self, variant: str | None = None, params: Mapping[str, str] | None = None) -> None:
        cards = {name: file for name, file in card_files("models").items() if "recipe" in file.card}
        if not variant:
            raise UsageError(
                f"Say which checkout: --model checkout:CARD -M repo=FOLDER -M python=PATH. Cards: {', '.join(cards)}."
            )
        if variant not in cards:
            raise UsageError(
                f"checkout:{variant}: there is no such recipe.{did_you_mean(variant, cards)} Known: {', '.join(cards)}."
            )
        card = cards[variant].card
        # serving.py is at hand for own recipes alone: another package brings its program whole.
        folder = RECIPES if cards[variant].plugin is None else cards[variant].path.parent
        self._script = folder / str(card["recipe"]["script"])
        self.recipe = Recipe.of(card)
        self.options = _options(variant, self.recipe, params or {})
        given = {name: text for name, text in (params or {}).items() if name in _OF_PROGRAMS}
        super().__init__(shlex.join([self.options["python"]]), given)
        self.variant = variant
        self.card_id = variant  # type: ignore[misc]  # one class for all cards
        self.family = card["family"]  # type: ignore[misc]
        self.tasks = frozenset(tasks(card))

    def resolved(self) -> Mapping[str, Json]:
        """The recipe's options; the content of the checkout's code is known by `files`."""
        own = {name: self.options[name] for name in self.recipe.options}
        return {"variant": self.variant, "revision": self.params.get("revision", ""), **own}

    def files(self, weights: WeightStore) -> Mapping[str, tuple[Path, ...]]:
        """The recipe, the checkout's code, and the checkpoints that lie in it.

        Raises:
            UsageError: no checkout.
        """
        repo = self._repo()
        found = {
            "recipe": (self._script, RECIPES / "serving.py"),
            "code": _matching(repo, self.recipe.code),
            "weights": _matching(repo, self.recipe.weights),
        }
        return {component: paths for component, paths in found.items() if paths}

    def load(self, device: str, dtype: str, weights: WeightStore) -> None:
        """Find the checkout and its interpreter; the program starts with the first request, once.

        Raises:
            UsageError: no checkout.
            GenerationError: no such interpreter.
        """
        own = [word for name in self.recipe.options for word in (f"--{name}", str(self.options[name]))]
        self._argv = [self.options["python"], str(self._script), "--repo", str(self._repo()), *own]
        self._check_program()
        self._device = device

    def lacks(self) -> str:
        """The checkout, where none is given or the folder is none; the interpreter is looked at when it is to run."""
        try:
            self._repo()
        except UsageError as error:
            return error.message
        return ""

    def _check_program(self) -> None:
        try:
            super()._check_program()
        except GenerationError as error:
            told = (
                f"{self.variant}: the interpreter {self.options['python']} cannot be run. -M python=PATH names the one "
            )
            raise GenerationError(f"{told}that has the checkout's requirements.", kind="no_program") from error

    def _repo(self) -> Path:
        told = self.options["repo"] or os.environ.get(self.recipe.variable, "")
        repo = Path(told).expanduser()
        lacking = [name for name in self.recipe.has if not (repo / name).exists()]
        if not told or lacking:
            wrong = f"{repo} is no checkout: it has no {lacking[0]}. " if told else ""
            raise UsageError(
                f"{wrong}{self.variant} runs in your checkout of {self.recipe.checkout}: give its folder with "
                f"-M repo=FOLDER, and the interpreter that has its requirements with -M python=PATH."
            )
        return repo.resolve()


def _options(name: str, recipe: Recipe, params: Mapping[str, str]) -> dict[str, str]:
    own: dict[str, str | int | float] = {"repo": "", "python": sys.executable, **recipe.options}
    parsers = {key: like(value) for key, value in own.items()}
    given = {key: value for key, value in params.items() if key not in _OF_PROGRAMS}
    chosen = {**own, **read_parameters(name, given, parsers, [*own, *_OF_PROGRAMS])}
    return {key: str(value) for key, value in chosen.items()}


def _matching(repo: Path, patterns: tuple[str, ...]) -> tuple[Path, ...]:
    found = sorted({path for pattern in patterns for path in repo.glob(pattern) if path.is_file()})
    if len(found) > _MOST_FILES:
        raise UsageError(f"{repo} holds more than {_MOST_FILES} files like {', '.join(patterns)}; is it a checkout?")
    return tuple(found)
