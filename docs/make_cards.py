"""Pages about generators and suites, and what is published, written from the cards: for docs/make_site.py."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from javisbench.baselines.model_cards import how_to_run, why_not
from javisbench.cards import SuiteCard, read_cards, suite_cards
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.registry import METRICS
from javisbench.results.published import Reported, metric_validation, published_results
from javisbench.suite import load_suite
from javisbench.taxonomy import TAXONOMY
from javisbench.weights import WeightsEntry, weights_registry

FAMILIES = {
    "t2av": "picture and sound from text",
    "av": "picture and sound without a prompt",
    "t2v": "picture from text; a stage of cascades",
    "t2a": "sound from text; a stage of cascades",
    "v2a": "sound for a picture; a stage of cascades",
    "a2v": "picture for a sound; a stage of cascades",
}
CHECKED = {
    "equal": "equal to the reference on stand-in weights",
    "run": "run",
    "read": "against stand-ins",
    "reported only": "nothing: its results are reported by papers",
}
PUBLISHED_NOTE = "As papers print them; nobody here computed them."


@cache
def model_pages() -> dict[str, tuple[str, str]]:
    """A page a generator: path to title and text."""
    return {f"models/{name}.md": (card["title"], _model(name, card)) for name, card in read_cards("models").items()}


@cache
def suite_pages() -> dict[str, tuple[str, str]]:
    """A page a suite: path to title and text."""
    return {f"suites/{name}.md": (name, _suite(card)) for name, card in suite_cards().items()}


def with_list(markdown: str, heading: str, pages: Mapping[str, tuple[str, str]]) -> str:
    """A page with a list of others at its end."""
    return "\n".join([markdown, f"\n## {heading}\n", *(f"* [{title}]({path})" for path, (title, _) in pages.items())])


def weights_lines(encoders: Iterable[str]) -> list[str]:
    """What the checkpoints of encoders weigh, and how they are fetched."""
    lines, registry = [], weights_registry()
    for name in encoders:
        card = ENCODERS.get(name).card
        entry_id = card.variants[card.default_variant]
        if entry_id is None:
            lines.append(f"* **Weights** of `{name}`: none needed.")
        else:
            entry = registry[entry_id]
            lines.append(f"* **Weights** of `{name}`: {_size(entry)}, `javisbench weights fetch {entry_id}`.")
    return lines


def _size(entry: WeightsEntry) -> str:
    sizes = [file.bytes for file in entry.files]
    total = sum(size for size in sizes if size) if all(sizes) else entry.estimated_bytes
    if not total:
        return "size not known"
    return f"{total / 1e9:.1f} GB" if total >= 1e9 else f"{total / 1e6:.0f} MB"


def published_of_metric(metric_id: str) -> list[str]:
    """Values that papers report of a metric, a table a suite."""
    rows = [row for row in published_results() if metric_id in row.values]
    lines = ["## Published values", "", PUBLISHED_NOTE, ""] if rows else []
    for suite in dict.fromkeys(row.suite for row in rows):
        here = [row for row in rows if row.suite == suite]
        lines += [f"### {suite}", "", "| model | value | source |", "| --- | --- | --- |"]
        lines += [f"| {row.model} | {row.values[metric_id][1]} | {_source(row)} |" for row in here]
        lines.append("")
    tried = [found for found in metric_validation() if found.metric == metric_id]
    if tried:
        lines += ["## Published pair test", "", "How well it tells synchronous from asynchronous pairs.", ""]
        lines += ["| AUROC | accuracy | note | source |", "| --- | --- | --- | --- |"]
        lines += [f"| {found.auroc} | {found.accuracy} | {found.note} | {found.source} |" for found in tried]
    return lines


def _source(row: Reported) -> str:
    return ", ".join(filter(None, (row.source, row.table)))


def _model(name: str, card: Mapping[str, Any]) -> str:
    lines = [f"# {card['title']}", "", str(card.get("summary", "")).strip(), ""]
    facts = {
        "Makes": FAMILIES[card["family"]],
        "Run it": f"`{how_to_run(name, card)}`" if how_to_run(name, card) else "",
        "Cannot be run": "" if how_to_run(name, card) else why_not(card),
        "Size": card.get("parameters_text", ""),
        "Paper": card.get("paper", ""),
        "Code": f"<{card['code']}>" if str(card.get("code", "")).startswith("http") else card.get("code", ""),
        "Needs": "; ".join(_extra(extra) for extra in card.get("extras", [])),
        "Prompts": card.get("prompt_style", ""),
        "Checked here": f"{CHECKED[card['status']]}. {card.get('status_note', '')}".strip(),
    }
    facts |= {f"Licence of the {part}": text for part, text in card.get("licences", {}).items()}
    lines += ["| | |", "| --- | --- |", *(f"| {key} | {_cell(value)} |" for key, value in facts.items() if value)]
    lines += _variants(card.get("variants", {}))
    lines += _table("Limits", "of", "what holds", card.get("limits", {}))
    lines += _parameters(card)
    lines += _table("Memory and time", "", "", card.get("memory", {}))
    lines += _files(card.get("files", []))
    quirks = [*map(_quirk, card.get("quirks", []))]
    lines += ["", "## Quirks", "", *quirks] if quirks else []
    return "\n".join([*lines, *_published_of_model(card)]) + "\n"


def _quirk(quirk: Mapping[str, str]) -> str:
    name = f"**{quirk['name']}**: " if "name" in quirk else ""
    switch = quirk.get("switch", "none")
    return f"* {name}{quirk['effect']}{f' Changed by `{switch}`.' if switch != 'none' else ''}"


def _extra(extra: str) -> str:
    return f"`pip install 'javisbench[{extra}]'`" if extra.isidentifier() else extra


def _variants(variants: Mapping[str, Any]) -> list[str]:
    if not variants:
        return []
    return ["", "## Variants", "", *(f"* `{name}`: {_words(what)}" for name, what in variants.items())]


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_words(inner)}" for key, inner in value.items())
    return str(value)


def _parameters(card: Mapping[str, Any]) -> list[str]:
    count = card.get("parameters")
    told = card.get("parameters_help") or (count if isinstance(count, Mapping) else {})
    defaults = card.get("defaults", {})
    names = [*told, *(name for name in defaults if name not in told)]
    if not names:
        return []
    lines = ["", "## Parameters", "", "| `-M` | default | meaning |", "| --- | --- | --- |"]
    return [*lines, *(f"| `{n}` | {_cell(defaults.get(n, ''))} | {_cell(told.get(n, ''))} |" for n in names)]


def _table(heading: str, first: str, second: str, rows: Mapping[str, Any]) -> list[str]:
    if not rows:
        return []
    body = [f"| {name.replace('_', ' ')} | {_cell(_words(value))} |" for name, value in rows.items()]
    return ["", f"## {heading}", "", f"| {first} | {second} |", "| --- | --- |", *body]


def _files(files: Iterable[Mapping[str, Any]]) -> list[str]:
    registry, lines = weights_registry(), []
    for file in files:
        entry = registry.get(file.get("entry", ""))
        size = _size(entry) if entry else file.get("size", "size not known")
        source = f"javisbench weights fetch {entry.id}" if entry else file.get("source", "")
        licence = entry.licence if entry else file.get("licence", "unknown")
        lines.append(
            f"| {file['component']} | {source and f'`{source}`'} | {size} | {licence} | {_cell(file.get('note', ''))} |"
        )
    head = ["", "## Files", "", "| part | from | size | licence | note |", "| --- | --- | --- | --- | --- |"]
    return [*head, *lines] if lines else []


def _published_of_model(card: Mapping[str, Any]) -> list[str]:
    names = {*card.get("published_names", []), card["title"]}
    rows = [row for row in published_results() if row.model in names]
    if not rows:
        return []
    lines = ["", "## Published values", "", f"{PUBLISHED_NOTE} Metrics: see [the list](metrics.md)."]
    for row in rows:
        known = {metric: text for metric, (_, text) in row.values.items() if metric in METRICS.own}
        lines += ["", f"{row.model} on {row.suite}, {_source(row)}:", "", f"| {' | '.join(known)} |"]
        lines += [f"| {' | '.join('---' for _ in known)} |", f"| {' | '.join(known.values())} |"]
    return lines


def _suite(card: SuiteCard) -> str:
    setting = card.setting
    made = setting and (
        f"{setting.width}x{setting.height} pixels, {float(setting.fps):g} fps, {setting.duration_s:g} s, "
        f"{setting.sample_rate / 1000:g} kHz"
    )
    revision = f" at `{card.revision}`" if card.revision else ""
    facts = {
        "Samples": f"{card.samples:,}",
        "Task": f"`{card.task}`",
        "Prompts": _where(card),
        "Layout as in": card.source and f"<{card.source}>{revision}",
        "File": f"`{card.file}`" if card.file else "",
        "Clips are asked for as": made or "the suite says nothing of size, rates and length",
        "Protocol": f"`{card.protocol}`" if card.protocol else "the default",
        "Real features": f"`{card.reference}` of the dataset" if card.reference else "none: give `--reference`",
        "Licence": card.licence,
    }
    lines = [f"# {card.title}", "", card.notes, "", "| | |", "| --- | --- |"]
    lines += [f"| {key} | {value} |" for key, value in facts.items() if value]
    if card.fetch:
        lines += ["", "## Data", "", "```text", card.fetch.strip(), "```", ""]
        lines += [f"Then `--suite {card.name} --data-root DIR`, or `JAVISBENCH_SUITES` names a folder with"]
        lines[-1] += f" `{card.home or card.name}` in it."
    if card.hub is None and card.file:
        lines += _categories(card.name)
    lines += _reports(card)
    rows = [row for row in published_results() if row.suite == card.name]
    if rows:
        anchor = re.sub(r"[^\w-]", "", card.name)
        named = dict.fromkeys(metric for row in rows for metric in row.values if metric in METRICS.own)
        lines += ["", "## Published values", "", f"{PUBLISHED_NOTE} Each metric's page has them all for this suite: "]
        lines[-1] += ", ".join(f"[`{metric}`](metrics/{metric}.md#{anchor})" for metric in named) + "."
    return "\n".join(lines) + "\n"


def _where(card: SuiteCard) -> str:
    if card.in_folder:
        return "in a folder of yours, as they are published"
    return f"hub dataset `{card.hub}`" if card.hub else "in the package" if card.file else "nowhere: there are none"


def _reports(card: SuiteCard) -> list[str]:
    """What the suite's paper reports, and what of it javisbench computes."""
    if not card.reports:
        return []
    lines = ["", "## What its paper reports", "", f"| there | here, by `{card.protocol}` | |", "| --- | --- | --- |"]
    for report in card.reports:
        here = f"[`{report.metric}`](metrics/{report.metric}.md)" if report.metric else "none"
        lines.append(f"| {_cell(report.name)} | {here} | {_cell(report.note)} |")
    return lines


def _categories(name: str) -> list[str]:
    suite = load_suite(name)
    counts = {place: len(rows) for place, rows in suite.slices().items()}
    lines = ["", "## Categories", "", "| aspect | category | samples |", "| --- | --- | --- |"]
    for aspect in TAXONOMY:
        lines += [
            f"| {aspect.title} | {category.title} | {counts.get((aspect.id, category.id), 0)} |"
            for category in aspect.categories
        ]
    return lines


def _cell(value: Any) -> str:
    return str(value).strip().replace("\n", " ").replace("|", "\\|")
