"""What a board says of itself: its introduction, its date, and the licences of what is behind its numbers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from javisbench.errors import JavisbenchError, UsageError
from javisbench.text import printable, printable_lines

if TYPE_CHECKING:
    from markupsafe import Markup

    from javisbench.cards import SuiteCard
    from javisbench.results.run_folder import StoredResult
    from javisbench.weights.store import WeightsEntry

MAX_INTRO = 20_000


@dataclass(frozen=True)
class AboutSuite:
    """A suite of the board; `card` is None for one that javisbench does not know."""

    name: str
    card: SuiteCard | None


@dataclass(frozen=True)
class About:
    """What a board says of itself on every page.

    Attributes:
        intro: the introduction as HTML; empty for none.
        first_paragraph: of it.
        link: where results are handed in; empty for nowhere.
        date: of the build.
    """

    intro: Markup
    first_paragraph: Markup
    link: str
    date: str

    @classmethod
    def of(cls, intro: str, link: str) -> About:
        """From a board's options.

        Raises:
            UsageError: an introduction that is too long, a link that is no address, a bad ``SOURCE_DATE_EPOCH``.
        """
        intro = "\n".join(intro.splitlines())
        first = next((part for part in intro.strip().split("\n\n") if not part.lstrip().startswith("#")), "")
        return cls(introduction(intro), introduction(first), checked_link(link) if link else "", built_on())


def introduction(text: str) -> Markup:
    """A board's introduction as HTML, from Markdown without HTML and pictures; headings begin at the third level.

    Raises:
        UsageError: too long.
    """
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    if len(text) > MAX_INTRO:
        raise UsageError(f"The introduction has {len(text):,} characters; a board takes {MAX_INTRO:,} at most.")
    reader = MarkdownIt("commonmark", {"html": False}).disable("image")
    tokens = reader.parse(printable_lines(text))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
    # Safe: every character of the text is escaped, and links lead to the schemes of the library's list alone.
    return Markup(reader.renderer.render(tokens, reader.options, {}))


def checked_link(link: str) -> str:
    """An address for the board's readers: ``https:``, ``http:`` or ``mailto:``.

    Raises:
        UsageError: another one.
    """
    parts = urlsplit(link)
    if (parts.scheme in ("https", "http") and parts.netloc) or (parts.scheme == "mailto" and parts.path):
        return link
    raise UsageError(f"--link takes an address that begins with https:, http: or mailto:; got {printable(link)!r}.")


def built_on() -> str:
    """Today's date, ``2026-08-01``, in UTC; that of ``SOURCE_DATE_EPOCH`` where it is set, for builds to repeat.

    Raises:
        UsageError: ``SOURCE_DATE_EPOCH`` is no number of seconds.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return datetime.now(UTC).date().isoformat()
    try:
        return datetime.fromtimestamp(int(epoch), UTC).date().isoformat()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"SOURCE_DATE_EPOCH holds seconds since 1970, such as 1767225600; got {epoch!r}.") from error


def about_suites(results: Iterable[StoredResult]) -> list[AboutSuite]:
    """The suites of some results, each once."""
    from javisbench.cards import suite_cards

    cards = suite_cards()
    return [AboutSuite(printable(name), cards.get(name)) for name in dict.fromkeys(r.suite for r in results)]


def about_weights(results: Iterable[StoredResult]) -> list[WeightsEntry]:
    """The checkpoints that the results' metrics went through, as far as javisbench knows them."""
    from javisbench.weights.store import weights_registry

    known, found = weights_registry(), {}
    for result in results:
        recorded = result.run.get("encoders")
        for name, fact in recorded.items() if isinstance(recorded, dict) else ():
            variant = fact.get("variant") if isinstance(fact, dict) else None
            entry = known.get(_weights_of(str(name), variant) or "")
            if entry is not None:
                found[entry.title] = entry
    return [found[title] for title in sorted(found)]


def _weights_of(encoder: str, variant: object) -> str | None:
    """The id of the weights behind an encoder's variant; None for what is not installed here or needs none."""
    from javisbench.metrics.encoders import ENCODERS

    try:
        return ENCODERS.get(encoder).card.variants.get(str(variant))
    except (JavisbenchError, ImportError, AttributeError):
        return None
