"""Data cards: the facts about suites, weights and models that ship with the package as TOML files."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from javisbench.clip import ClipSpec
from javisbench.errors import SuiteError

CARDS = Path(__file__).parent / "data_cards"


def read_cards(folder: str) -> dict[str, dict[str, Any]]:
    """Every ``data_cards/<folder>/*.toml`` by its ``id`` (the file's stem unless the card says otherwise)."""
    cards: dict[str, dict[str, Any]] = {}
    for path in sorted((CARDS / folder).glob("*.toml")):
        card = tomllib.loads(path.read_text(encoding="utf-8"))
        cards[str(card.get("id", path.stem))] = card
    return cards


@dataclass(frozen=True)
class SuiteCard:
    """A suite that ships with the package or comes from the hub.

    Attributes:
        name: as given to ``--suite``.
        title: one line.
        samples: how many.
        setting: what its clips should be.
        file: name of the CSV, beside the card (packaged suites) or in the hub dataset.
        hub: hub dataset id, or None for a packaged suite.
        revision: of the hub dataset, or None for the newest.
        licence: of the prompts.
        protocol: the protocol meant for it, or None for the default.
        reference: file of real features in the hub dataset, or None.
        unconditional: True when there are no prompts.
        notes: for ``suites show``.
    """

    name: str
    title: str
    samples: int
    setting: ClipSpec = field(default_factory=ClipSpec)
    file: str | None = None
    hub: str | None = None
    revision: str | None = None
    licence: str = ""
    protocol: str | None = None
    reference: str | None = None
    unconditional: bool = False
    notes: str = ""

    def local_file(self, *, offline: bool = False) -> Path:
        """The suite's CSV on this machine, fetched from the hub when it is not there yet.

        A copy in ``$JAVISBENCH_SUITES`` wins, then the hub's cache.

        Raises:
            SuiteError: it is not here and cannot be fetched.
        """
        assert self.file is not None
        if self.hub is None:
            return CARDS / "suites" / self.file
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
    """The suites of this package by name."""
    return {name: _suite_card(name, card) for name, card in read_cards("suites").items()}


def _suite_card(name: str, card: Mapping[str, Any]) -> SuiteCard:
    setting = dict(card.get("setting", {}))
    if "fps" in setting:
        setting["fps"] = Fraction(str(setting["fps"]))
    known = {key: card[key] for key in SuiteCard.__dataclass_fields__ if key in card and key != "setting"}
    return SuiteCard(**{**known, "name": name, "setting": ClipSpec(**setting)})
