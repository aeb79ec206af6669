"""Recipes of published results: those that are known, and files of one's own.

A recipe is a TOML file: those of ``data_cards/recipes/`` (this package's and others') go by their ids, one's own by its
path. docs/reproduce.md tells the members, ``data_cards/schemas/recipe.schema.json`` is their schema.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from javisbench.cards import card_files
from javisbench.durable import write_text
from javisbench.errors import RecipeError, UsageError
from javisbench.registry import did_you_mean
from javisbench.results.recipe import Recipe
from javisbench.results.recipe_toml import parse_recipe, recipe_text
from javisbench.suite_rows import SUITE_SUFFIXES

MAX_BYTES = 2**20


def known_recipes() -> dict[str, Recipe]:
    """Recipes of this package and of others, by id; others' that are none are left out (`recipe_problems`)."""
    return _known()[0]


def recipe_problems() -> list[str]:
    """What is wrong with recipes of other packages, a sentence each."""
    return _known()[1]


def _known() -> tuple[dict[str, Recipe], list[str]]:
    found: dict[str, Recipe] = {}
    problems: list[str] = []
    for name, file in card_files("recipes").items():
        card = {key: value for key, value in file.card.items() if key != "package"}
        try:
            found[name] = parse_recipe(card, str(file.path), file.path, file.plugin.label if file.plugin else "")
        except RecipeError as error:
            if file.plugin is None:
                raise
            problems.append(f"The recipe {file.path.name} of the package {file.plugin.label} is none: {error.sentence}")
    return found, problems


def load_recipe(name: str | Path) -> Recipe:
    """The recipe of an id, or of a TOML file.

    Raises:
        UsageError: there is no such recipe or file.
        RecipeError: the file is none; the message names the member.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return read_recipe(path)
    known = known_recipes()
    if str(name) not in known:
        raise UsageError(
            f"There is no recipe {str(name)[:80]!r}.{did_you_mean(str(name), known)} `javisbench reproduce list` shows "
            f"all; one of your own is given as FILE.toml."
        )
    return known[str(name)]


def read_recipe(path: Path) -> Recipe:
    """A recipe from its file.

    Raises:
        UsageError: there is no such file.
        RecipeError: too large, no TOML, or not of the form of recipes.
    """
    if not path.is_file():
        raise UsageError(f"There is no recipe at {path}.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise RecipeError(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} are read.")
    try:
        data = tomllib.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is no TOML in UTF-8: {error}.") from error
    return parse_recipe(data, str(path), path)


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe as TOML that `read_recipe` reads back as the same recipe.

    Raises:
        UsageError: the file is not called ``.toml``.
        RecipeError: there is a file already, or a suite of the same name beside it, whose card it would be taken for.
    """
    if path.suffix != ".toml":
        raise UsageError(f"A recipe is a TOML file; {path} is not called so. Give --out {path.with_suffix('.toml')}.")
    if path.exists():
        raise RecipeError(f"{path} is there already. Give another name with --out.")
    for suffix in SUITE_SUFFIXES:  # beside which a file of the same name is their card
        if path.with_suffix(suffix).exists():
            suite = path.with_suffix(suffix).name
            raise RecipeError(f"{path} would be read as the card of the suite {suite}. Give another name with --out.")
    write_text(path, recipe_text(recipe))
