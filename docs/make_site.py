"""What the site has besides docs/*.md, a hook of mkdocs: a page for each metric, generator and suite, from the cards,
and for each module, from docstrings. README.md is its first page. Links that are right on GitHub are right here, too.
"""

from __future__ import annotations

import posixpath
import re
from functools import cache
from pathlib import Path
from typing import Any

import make_cards
import make_metrics
import make_pictures
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = "https://github.com/javisbench/javisbench/blob/main"
OTHERS = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"}
"""Files beside docs/ that are pages, too."""
SCHEMAS = ROOT / "data_cards" / "schemas"
API = {
    "javisbench": "Score, generate, evaluate",
    "javisbench.metrics": "Metrics of training loops",
    "javisbench.metrics.for_torchmetrics": "Metrics for torchmetrics",
    "javisbench.media": "Reading and writing clips",
    "javisbench.suite": "Suites",
    "javisbench.suite_samples": "Samples",
    "javisbench.protocol": "Protocols",
    "javisbench.metrics.base": "Writing a metric",
    "javisbench.metrics.distance": "What a set metric returns",
    "javisbench.metrics.encoders.base": "Writing an encoder",
    "javisbench.baselines.base": "Writing a generator",
    "javisbench.damages.base": "Writing a damage",
    "javisbench.results.run_folder": "Reading runs",
    "javisbench.results.cell": "Values",
    "javisbench.results.compare": "Comparisons",
    "javisbench.results.published": "Published results",
    "javisbench.results.recipes": "Recipes of published results",
    "javisbench.results.recipe": "What a recipe holds",
    "javisbench.results.reproduction": "Results beside published ones",
    "javisbench.results.diff": "What differs between two results",
    "javisbench.run.trial.job": "Trials",
    "javisbench.results.trial": "What a trial found",
    "javisbench.publish.trackers": "TensorBoard, Weights & Biases",
    "javisbench.errors": "Errors",
}
"""The modules of the API reference. Whatever is public in them is on a page (`public_names`)."""
_LINK = re.compile(r"(?<!\\)(\]\()([^)\s#]*)(#[^)\s]*)?(\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The navigation, with the pages that are made."""
    assert config.nav is not None
    sections = {next(iter(entry)): entry for entry in config.nav if isinstance(entry, dict)}
    sections["Metrics"]["Metrics"] += [{title: path} for path, (title, _) in metric_pages().items()]
    sections["Generators"]["Generators"] += [{title: path} for path, (title, _) in make_cards.model_pages().items()]
    sections["Suites"]["Suites"] += [{title: path} for path, (title, _) in make_cards.suite_pages().items()]
    sections["API reference"]["API reference"] = [{title: path} for path, (title, _) in api_pages().items()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages that are made, and the JSON Schemas."""
    for source, target in OTHERS.items():
        files.append(File.generated(config, target, content=(ROOT / source).read_text(encoding="utf-8")))
    for pages in (metric_pages(), make_cards.model_pages(), make_cards.suite_pages(), api_pages()):
        for path, (_, text) in pages.items():
            files.append(File.generated(config, path, content=text))
    for schema in sorted(SCHEMAS.glob("*.json")):
        files.append(File.generated(config, f"schemas/{schema.name}", abs_src_path=str(schema)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as the site needs them; of the pages that list cards, the list with links to them."""
    path = page.file.src_uri
    if path == "metrics.md":
        markdown = make_metrics.wrapped(make_metrics.index(lambda metric: f"[`{metric}`]({_metric_page(metric)})"))
    if path == "models.md":
        markdown = make_cards.with_list(markdown, "Every card", make_cards.model_pages())
    if path == "suites.md":
        markdown = make_cards.with_list(markdown, "Every card", make_cards.suite_pages())
    return with_links(markdown, path, {file.src_uri for file in files})


def with_links(markdown: str, path: str, site: set[str]) -> str:
    """A page with links to other pages of the site where it has them, to the repository where that has them.

    Args:
        markdown: whose links are right in the repository. Those of pages that are made are as if these lay in docs/.
        path: of the page in the site.
        site: the site's files.
    """
    beside = {target: source for source, target in OTHERS.items()}
    folder = "" if path in beside else "docs"

    def mended(found: re.Match[str]) -> str:
        before, target, anchor, after = found[1], found[2], found[3] or "", found[4]
        if not target or re.match(r"[a-z]+:", target):
            return found[0]
        place = posixpath.normpath(posixpath.join(folder, target))
        inside = OTHERS.get(place) or place.removeprefix("docs/")
        if (place in OTHERS or place.startswith("docs/")) and inside in site:
            return f"{before}{posixpath.relpath(inside, posixpath.dirname(path) or '.')}{anchor}{after}"
        if place.startswith("data_cards/schemas/") and (ROOT / place).is_file():
            inside = f"schemas/{posixpath.basename(place)}"
            return f"{before}{posixpath.relpath(inside, posixpath.dirname(path) or '.')}{anchor}{after}"
        if (ROOT / place).exists():
            return f"{before}{REPOSITORY}/{place}{anchor}{after}"
        return found[0]  # mkdocs says what is wrong with it

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(mended, part) for part in parts)


@cache
def metric_pages() -> dict[str, tuple[str, str]]:
    """A page a metric, and one for clip health: path to title and text."""
    pages = {}
    for metric in make_metrics.own_metrics():
        card = metric.card
        if not card.id.startswith("health_"):
            lines = make_metrics.section(metric)
            lines += make_cards.weights_lines(make_metrics.encoders(metric))
            text = _as_page(make_metrics.wrapped([*lines, ""]))
            more = "\n".join([*make_pictures.picture(card.id), *make_cards.published_of_metric(card.id)])
            pages[_metric_page(card.id)] = (card.title, f"{text}{more}\n")
    pages["metrics/health.md"] = ("Clip health", _as_page(make_metrics.wrapped(make_metrics.health())))
    return pages


def _metric_page(metric_id: str) -> str:
    return "metrics/health.md" if metric_id.startswith("health_") else f"metrics/{metric_id}.md"


def _as_page(section: str) -> str:
    return re.sub(r"^#(#+ )", r"\1", section, flags=re.MULTILINE)


@cache
def api_pages() -> dict[str, tuple[str, str]]:
    """A page a module: path to title and text, from which mkdocstrings makes it."""
    pages = {}
    for module, title in API.items():
        lines = [f"# {title}", "", f"What `{module}` has for others to use.", ""]
        for name in public_names(module):
            lines += [f"::: {module}.{name}", ""]
        pages[f"api/{module}.md"] = (title, "\n".join(lines))
    return pages


def public_names(module: str) -> list[str]:
    """What a module offers: classes and functions of ``__all__``, or those defined in it without an underscore."""
    import importlib

    loaded: Any = importlib.import_module(module)
    names = getattr(loaded, "__all__", None)
    if names is None:
        names = [n for n, value in vars(loaded).items() if not n.startswith("_") and _defined_in(value, module)]
    return [name for name in names if callable(getattr(loaded, name))]


def _defined_in(value: Any, module: str) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module and hasattr(value, "__qualname__")
