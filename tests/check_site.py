"""Look at the built documentation: python tests/check_site.py site-docs

Links and anchors lead somewhere, nothing is fetched from elsewhere, Markdown was understood. `make docs` runs it.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
NOT_LOADED = {"canonical", "next", "prev", "alternate", "edit"}
"""What a <link> may name elsewhere: it is not fetched."""
MISREAD = re.compile(r"^\s*(\* |- |\| |#{1,6} |```)|\]\(|\| ---|::: ")
"""Signs of Markdown in what should be text."""


class Page(HTMLParser):
    """Ids, links, loaded files and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.misread: list[str] = []
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.ids |= {named[name] for name in ("id", "name") if named.get(name)}
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        if named.get(LOADED.get(tag, "")) and named.get("rel") not in NOT_LOADED:
            self.loaded.append(named[LOADED[tag]])
        if tag in ("p", "li", "td", "pre", "code", "script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside[-1] in ("p", "li", "td") and MISREAD.search(data):
            self.misread.append(data.strip()[:100])


def problems(site: Path) -> list[str]:
    """What is wrong, a line each."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found = [] if len(pages) > 60 else [f"only {len(pages)} pages"]
    for path, page in pages.items():
        name = path.relative_to(site).as_posix()
        found += [f"{name}: loads {url}" for url in page.loaded if urlsplit(url).scheme or url.startswith("//")]
        found += [f"{name}: is this Markdown? {text!r}" for text in page.misread]
        for link in {*page.links, *page.loaded}:
            parts = urlsplit(link)
            if parts.scheme or name == "404.html":  # that page is shown at any address
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                found.append(f"{name}: {link} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                found.append(f"{name}: {link} has no such heading")
    for path in site.rglob("*.css"):
        outside = re.findall(r"url\(['\"]?(?:https?:)?//[^)]*\)|@import[^;]*", path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(site)}: loads {url[:100]}" for url in outside]
    return found


def main() -> None:
    site = Path(sys.argv[1]).resolve()
    found = problems(site)
    sys.stdout.write(f"{len(list(site.rglob('*.html')))} pages; {len(found)} problems\n")
    sys.exit("\n".join(found) if found else 0)


if __name__ == "__main__":
    main()
