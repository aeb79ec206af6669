"""Data cards: the facts about suites, weights and models that ship with the package as TOML files."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from javisbench.clip import ClipSpec
from javisbench.errors import PluginError, SuiteError, UsageError
from javisbench.registry import Plugin, Registry
from javisbench.system_faults import raise_if_system
from javisbench.tasks import Task, task_named

log = logging.getLogger(__name__)

CARDS = Path(__file__).parent / "data_cards"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
CARD_FOLDERS: Registry[object] = Registry("folder of cards", "javisbench.data_cards", {})
"""Folders like ``data_cards`` in other packages: an entry point's value is ``package:folder``."""


@dataclass(frozen=True)
class CardFile:
    """A card, and where it was read.

    Attributes:
        id: the file's stem unless the card says otherwise.
        path: of the file.
        card: what it holds; of another package's with that under ``package``.
        plugin: the other package; None for a card of this one.
    """

    id: str
    path: Path
    card: dict[str, Any]
    plugin: Plugin | None = None


def read_cards(folder: str) -> dict[str, dict[str, Any]]:
    """Every ``data_cards/<folder>/*.toml`` by its ``id``: this package's, then those of others."""
    return {name: file.card for name, file in card_files(folder).items()}


def card_files(folder: str) -> dict[str, CardFile]:
    """As `read_cards`, with the files. Cards of other packages that cannot be read are left out (`card_problems`)."""
    return _read(folder)[0]


def card_problems(folder: str) -> list[str]:
    """What is wrong with the cards of other packages in ``<folder>``, a sentence each."""
    return _read(folder)[1]


def _read(folder: str) -> tuple[dict[str, CardFile], list[str]]:
    cards: dict[str, CardFile] = {}
    for path in sorted((CARDS / folder).glob("*.toml")):
        card = tomllib.loads(path.read_text(encoding="utf-8"))
        cards[str(card.get("id", path.stem))] = CardFile(str(card.get("id", path.stem)), path, card)
    problems: list[str] = []
    for plugin in CARD_FOLDERS.registered():
        try:
            paths = sorted((_located(plugin) / folder).glob("*.toml"))
        except UsageError as error:
            problems.append(error.message)
            continue
        for path in paths:
            whose = f"The card {folder}/{path.name} of the package {plugin.label}"
            try:
                card = {**tomllib.loads(path.read_text(encoding="utf-8")), "package": plugin.label}
            except (OSError, ValueError) as error:
                raise_if_system(error, path)
                problems.append(f"{whose} cannot be read: {error}. Update or uninstall the package.")
                continue
            name = str(card.get("id", path.stem))
            if not _ID.fullmatch(name):
                problems.append(f"{whose} is left out: {name[:80]!r} is no id.")
            elif name in cards:
                before = cards[name].plugin
                problems.append(f"{whose} is left out: {before.label if before else 'javisbench'} has a card {name!r}.")
            else:
                cards[name] = CardFile(name, path, card, plugin)
    return cards, problems


def _located(plugin: Plugin) -> Path:
    """The folder that a package registers, found without importing the package.

    Raises:
        UsageError: there is none.
    """
    module, _, inside = plugin.target.partition(":")
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    roots = [] if spec is None else list(spec.submodule_search_locations or ())
    for root in roots:
        folder = Path(root).joinpath(*inside.split("."))
        if folder.is_dir():
            return folder
    raise PluginError(f"The package {plugin.label} registers {plugin.target} as its cards, and has no such folder.")


@dataclass(frozen=True)
class Reported:
    """A metric that a suite's paper reports.

    Attributes:
        name: as the paper calls it.
        metric: id of the metric here; None where javisbench has none.
        note: what is known to differ, or what is lacking.
    """

    name: str
    metric: str | None = None
    note: str = ""


@dataclass(frozen=True)
class SuiteCard:
    """A suite that ships with the package, comes from the hub, or lies in a folder of the user's as it is published.

    Attributes:
        name: as given to ``--suite``.
        title: one line.
        samples: how many.
        setting: what its clips should be; None where a published suite asks for nothing.
        task: what it gives to a model, and what the model makes of it.
        file: name of the CSV, beside the card (packaged suites) or in the hub dataset.
        hub: hub dataset id, or None for a packaged suite.
        revision: of the hub dataset, or None for the newest; of `source`.
        licence: of the prompts.
        protocol: the protocol meant for it, or None for the default.
        reference: file of real features in the hub dataset, or None.
        unconditional: True when there are no prompts.
        notes: for ``suites show``.
        folder: where `file` lies, beside the card.
        source: address that a suite's layout was read from.
        fetch: commands that bring the data of a suite that lies in a folder.
        home: its folder below ``$JAVISBENCH_SUITES``; empty for its name.
        counts: samples by own column and value, as the source states them; ``samples`` is their sum over all.
        reports: what its paper reports.
    """

    name: str
    title: str
    samples: int
    setting: ClipSpec | None = field(default_factory=ClipSpec)
    task: Task = "t2av"
    file: str | None = None
    hub: str | None = None
    revision: str | None = None
    licence: str = ""
    protocol: str | None = None
    reference: str | None = None
    unconditional: bool = False
    notes: str = ""
    folder: Path = CARDS / "suites"
    source: str = ""
    fetch: str = ""
    home: str = ""
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    reports: tuple[Reported, ...] = ()

    @property
    def in_folder(self) -> bool:
        """Whether its rows are read from a folder of the user's, laid out as it is published."""
        return self.file is None and not self.unconditional

    def local_folder(self) -> Path:
        """The folder with the data of a suite that is published as one.

        Raises:
            SuiteError: it is not on this machine; the message says how it is fetched.
        """
        own = os.environ.get("JAVISBENCH_SUITES")
        place = Path(own) / (self.home or self.name) if own else None
        if place is not None and place.is_dir():
            return place
        raise SuiteError(
            f"The data of the suite {self.name!r} are not on this machine"
            + (f" ({place} is no folder)" if place else "")
            + f". Fetch them, then give their folder: --data-root DIR, or --suite {self.name}:DIR.",
            details=self.fetch.strip().splitlines(),
        )

    def local_file(self, *, offline: bool = False) -> Path:
        """The suite's CSV on this machine, fetched from the hub when it is not there yet.

        A copy in ``$JAVISBENCH_SUITES`` wins, then the hub's cache.

        Raises:
            SuiteError: it is not here and cannot be fetched.
        """
        assert self.file is not None
        if self.hub is None:
            return self.folder / self.file
        own = os.environ.get("JAVISBENCH_SUITES")
        if own and (Path(own) / self.file).is_file():
            return Path(own) / self.file
        return self._from_hub(self.file, offline)

    def local_reference(self) -> Path | None:
        """The suite's file of real features, when it is on this machine already; it is never fetched from here."""
        if self.reference is None or self.hub is None:
            return None
        own = os.environ.get("JAVISBENCH_SUITES")
        if own and (Path(own) / self.reference).is_file():
            return Path(own) / self.reference
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.hub, self.reference, repo_type="dataset", revision=self.revision)
        return Path(found) if isinstance(found, str) else None

    def _from_hub(self, name: str, offline: bool) -> Path:
        import logging

        from huggingface_hub import hf_hub_download

        from javisbench.hub import hub_errors, hub_reachable

        assert self.hub is not None
        logging.getLogger(__name__).info("suite %s: %s from the hub dataset %s", self.name, name, self.hub)
        try:
            path = hf_hub_download(
                self.hub,
                name,
                repo_type="dataset",
                revision=self.revision,
                local_files_only=offline or not hub_reachable(),
            )
        except hub_errors() as error:
            raise SuiteError(
                f"The suite {self.name!r} ({name} of the hub dataset {self.hub}) is not on this machine and could not "
                f"be fetched ({type(error).__name__}). With a connection, run the command again; without one, put "
                f"{name} into a folder and set JAVISBENCH_SUITES to it, or give the file itself: --suite {name}."
            ) from error
        return Path(path)


def suite_cards() -> dict[str, SuiteCard]:
    """The suites of this package, and cards of others, by name."""
    cards: dict[str, SuiteCard] = {}
    for name, file in card_files("suites").items():
        try:
            cards[name] = _suite_card(name, file)
        except (TypeError, ValueError) as error:
            if file.plugin is None:
                raise
            log.warning("The suite card %s of the package %s is none: %s", file.path.name, file.plugin.label, error)
    return cards


def _suite_card(name: str, file: CardFile) -> SuiteCard:
    card = file.card
    known = {key: card[key] for key in SuiteCard.__dataclass_fields__ if key in card and key != "setting"}
    known |= {"name": name, "folder": file.path.parent, "task": task_named(card.get("task", "t2av"))}
    known["reports"] = tuple(Reported(title, **facts) for title, facts in card.get("reports", {}).items())
    found = SuiteCard(**known)
    if found.in_folder and "setting" not in card:
        return replace(found, setting=None)
    setting = dict(card.get("setting", {}))
    if "fps" in setting:
        setting["fps"] = Fraction(str(setting["fps"]))
    return replace(found, setting=ClipSpec(**setting))
