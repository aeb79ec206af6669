"""The static leaderboard site: tables, plots and samples of results as pages that need no server and no network.

Everything that a page loads lies beside it, so the site works from a file, from any web host and offline. Names,
prompts and messages are untrusted: templates escape them, data files carry them as JSON, and a content security policy
lets no page run a script that is not a file of the site.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.durable import replaced_folder
from javisbench.errors import UsageError
from javisbench.leaderboard import plots
from javisbench.leaderboard.about import About, about_suites, about_weights
from javisbench.leaderboard.clips import ClipPublisher, ClipsPublished
from javisbench.leaderboard.given import given_media
from javisbench.leaderboard.matrix import matrices, matrix_aspects
from javisbench.leaderboard.pairs_data import write_pairs
from javisbench.leaderboard.people import People, people_of
from javisbench.leaderboard.prompts import PromptsPage, prompt_groups, write_prompts
from javisbench.leaderboard.samples import SamplesPage, write_samples
from javisbench.leaderboard.site_extra import CHARTS, require_site_extra
from javisbench.leaderboard.template_data import (
    Scale,
    by_suite,
    check_columns,
    digest,
    disagreement_view,
    has_more_than_headline,
    headline_columns,
    metric_facts,
    metrics_of,
    model_facts,
    protocol_page,
    protocol_settings,
    refused_view,
    reported_view,
    row_view,
    run_facts,
    score_columns,
    spokes,
)
from javisbench.publish.export import EXTENSIONS, format_value, render
from javisbench.publish.sources import Refused, loaded_results
from javisbench.results.checks import checks_of
from javisbench.results.pairs import PairBook
from javisbench.results.published import (
    disagreements,
    metric_validation,
    published_results,
)
from javisbench.results.rankability import comparison
from javisbench.results.ranking import Ranker
from javisbench.results.run_folder import StoredResult
from javisbench.results.table import (
    Column,
    RowGroup,
    Table,
    aspects_of,
    board_table,
    chosen_aspects,
    column,
    metric_order,
    run_table,
)
from javisbench.results.votes.record import Votes, load_votes
from javisbench.taxonomy import ASPECTS, Aspect
from javisbench.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
MARKER = ".javisbench-site"
MAX_FAILURES_SHOWN = 200
FIRST_CHOICE = "javis_score"
"""The metric that boards are sorted by until the reader chooses another; the first one where it is missing."""


@dataclass(frozen=True)
class SiteOptions:
    """How a site is built.

    Attributes:
        title: on every page.
        clips: which clips are copied into the site: none, the best and worst of every metric, or all.
        plots: also write every plot as PNG and SVG files.
        slice_by: columns of suites that get a page; None for all that results were sliced by.
        intro: an introduction in Markdown (no HTML, no pictures), on the page about the board; its first paragraph also
            stands on the first page.
        link: where readers submit results: an address that begins with ``https:``, ``http:`` or ``mailto:``.
        votes: a file of votes (`javisbench votes import`), for what people say.
        given: suites, as for ``--suite``, whose videos or sounds are published with what models made for them.
    """

    title: str = "JavisBench leaderboard"
    clips: ClipsPublished = "none"
    plots: bool = False
    slice_by: Sequence[str] | None = None
    intro: str = ""
    link: str = ""
    votes: Path | None = None
    given: Sequence[str] = ()


@dataclass(frozen=True)
class SiteReport:
    """What was built.

    Attributes:
        index: the first page.
        pages: their number.
        results: number of results on them.
        refused: archives that could not be shown; the first page says why.
        voted: whether any vote is about its results.
    """

    index: Path
    pages: int
    results: int
    refused: tuple[Refused, ...] = ()
    voted: bool = False


def build_site(sources: Iterable[Path | str], out: Path | str, options: SiteOptions | None = None) -> SiteReport:
    """Build the site of some runs and submissions.

    Args:
        sources: run folders, summary.json files, or submission archives, which are verified first.
        out: folder of the site; made, or replaced when it holds an earlier site.
        options: see `SiteOptions`.

    Raises:
        RunError: a source has no readable result, or the file of votes cannot be read.
        SubmissionError: no archive holds what it claims, and there is nothing else. An archive that does not is left
            out, with the reason on the first page, when there is.
        SuiteError: a suite of `SiteOptions.given` cannot be read.
        UsageError: no source, the same result twice, a folder in the way, plotting packages missing, or an option that
            cannot be (an introduction that is too long, a link that is no address, a suite of which there is no
            result).
    """
    require_site_extra(CHARTS, "A board")
    options = options or SiteOptions()
    about = About.of(options.intro, options.link)
    votes = None if options.votes is None else load_votes(options.votes)
    out = Path(out).absolute()
    _check_target(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    refused: list[Refused] = []
    # Built beside its place and put there whole, so that an error leaves the earlier site as it was.
    with loaded_results(sources, refused) as results, replaced_folder(out) as fresh:
        site = _Site(results, fresh, options, about, refused, votes)
        site.build()
    return SiteReport(out / "index.html", site.pages, len(results), tuple(refused), site.people is not None)


def _check_target(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --out is the folder of the site.")
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).exists():
        raise UsageError(f"{out} holds files that are not a leaderboard site. Give --out a new or empty folder.")


def result_id(result: StoredResult) -> str:
    """A name for files that no other result of a site has."""
    return f"{plots.file_name(f'{result.slug}-{result.suite}-{result.protocol}')}-{digest(result.key)}"


@dataclass(frozen=True)
class _Model:
    """A model's page: all its results."""

    name: str
    slug: str
    results: tuple[StoredResult, ...]


@dataclass
class _Site:
    results: Sequence[StoredResult]
    out: Path
    options: SiteOptions
    about: About
    refused: Sequence[Refused] = ()
    votes: Votes | None = None
    pages: int = 0
    samples: dict[str, SamplesPage] = field(default_factory=dict)

    def build(self) -> None:
        self.book = PairBook()
        self.ranker = Ranker(self.book)
        self.own = chosen_aspects(self.results, self.options.slice_by)
        self.env = _environment()
        self.protocols = {name: protocol_page(name) for name in dict.fromkeys(r.protocol_label for r in self.results)}
        self.models = self._models()
        self.checks = {result.key: checks_of(result) for result in self.results}
        self.record = published_results()
        (self.out / "assets").mkdir()
        # One by one: `copytree` gathers the system's errors and keeps their numbers from whoever handles them.
        for asset in sorted((HERE / "assets").iterdir()):
            shutil.copyfile(asset, self.out / "assets" / asset.name)
        (self.out / MARKER).write_text("Made by javisbench leaderboard build; replaced as a whole.\n", encoding="utf-8")
        given = given_media(self.options.given, self.results)
        with ClipPublisher(self.out / "data", self.options.clips, self.results, given) as publisher:
            for result in self.results:
                page = write_samples(result, self.out / "data" / result_id(result), publisher)
                if page is not None:
                    self.samples[result.key] = page
        self.prompts = self._prompts()
        self.people: People | None = None if self.votes is None else people_of(self.votes, self.results)
        overall = board_table(self.results, None, self.ranker)
        by_aspect = {aspect.id: board_table(self.results, aspect.id, self.ranker) for aspect in self.aspects}
        names = {result.key: result_id(result) for result in self.results}
        pairs = write_pairs(self.results, self.book, names, self.pages_of, self.out / "data" / "compare")
        self.compared = bool(pairs)
        self._overall_page(overall)
        for aspect in self.aspects:
            self._aspect_page(aspect, by_aspect[aspect.id])
        if by_aspect:
            self._categories_page(overall, by_aspect)
        self._model_pages()
        self._protocol_pages()
        self._published_page()
        self._metrics_page()
        self._about_page()
        if self.compared:
            self._page("compare.html.j2", "compare.html", title="Compare two models")
        for prompts in self.prompts:
            self._prompts_page(prompts)
        if self.people is not None:
            self._people_page(self.people)

    def _prompts(self) -> list[PromptsPage]:
        files = {key: page.published for key, page in self.samples.items()}
        names = {result.key: result_id(result) for result in self.results}
        found = (write_prompts(group, files, names, self.out / "data") for group in prompt_groups(self.results))
        return [page for page in found if page is not None]

    @cached_property
    def aspects(self) -> list[Aspect]:
        """The aspects that any result has categories of."""
        return [
            aspect
            for aspect in aspects_of(self.results)
            if (aspect.id in ASPECTS or self.own is None or aspect.id in self.own)
            and any(result.has_aspect(metric, aspect.id) for result in self.results for metric in result.metrics)
        ]

    @property
    def places(self) -> list[tuple[str, str]]:
        """Pages that every page leads to, as (path, name)."""
        return [
            ("index.html", "Overall"),
            *([("categories.html", "By category")] if self.aspects else []),
            *([("compare.html", "Compare")] if self.compared else []),
            *([(f"prompts/{self.prompts[0].name}.html", "Prompts")] if self.prompts else []),
            *([("people.html", "People")] if self.people is not None else []),
            ("published.html", "Published record"),
            ("metrics.html", "Metrics"),
            ("about.html", "About"),
        ]

    @property
    def pages_of(self) -> dict[str, str]:
        """Result key to the name of its model's page."""
        return {result.key: model.slug for model in self.models for result in model.results}

    def _models(self) -> list[_Model]:
        by_name: dict[str, list[StoredResult]] = {}
        for result in self.results:
            by_name.setdefault(result.model, []).append(result)
        slugs = [members[0].slug for members in by_name.values()]
        # A page belongs to one name alone, however alike two names look in a file's name.
        return [
            _Model(name, slug if slugs.count(slug) == 1 else f"{slug}-{digest(name)}", tuple(members))
            for slug, (name, members) in zip(slugs, by_name.items(), strict=True)
        ]

    # Pages

    def _page(self, template: str, path: str, **context: Any) -> None:
        root = "../" * path.count("/")
        page = self.env.get_template(template).render(
            root=root,
            here=path,
            site_title=printable(self.options.title),
            places=self.places,
            aspects=self.aspects,
            models=self.models,
            protocols=self.protocols,
            generator=f"javisbench {version('javisbench')}",
            date=self.about.date,
            **context,
        )
        (self.out / path).parent.mkdir(parents=True, exist_ok=True)
        (self.out / path).write_text(page, encoding="utf-8", errors="backslashreplace")
        self.pages += 1

    def _overall_page(self, table: Table) -> None:
        suites = {result.suite for result in self.results}
        reported = [row for row in self.record if row.suite in suites]
        self._page(
            "overall.html.j2",
            "index.html",
            title="Overall",
            first_paragraph=self.about.first_paragraph,
            link=self.about.link,
            headline=self._board(table, headline_columns),
            board=self._board(table, score_columns) if has_more_than_headline(table) else None,
            model_checks=self.checks,
            checks=self._board(table, check_columns),
            downloads=self._downloads(table, "overall"),
            charts=self._whiskers(table, "overall"),
            filters=self._filters(table),
            reported=[reported_view(rows, table.columns, suite) for suite, rows in by_suite(reported).items()],
            refused=[refused_view(archive) for archive in self.refused],
            people=None if self.people is None else self._board(self.people.overall, score_columns),
        )

    def _aspect_page(self, aspect: Aspect, table: Table) -> None:
        spoken = None if self.people is None else self.people.by_aspect.get(aspect.id)
        self._page(
            "aspect.html.j2",
            f"aspects/{aspect.id}.html",
            title=aspect.title,
            aspect=aspect,
            board=self._board(table, score_columns),
            downloads=self._downloads(table, aspect.id),
            charts=self._whiskers(table, aspect.id),
            filters=self._filters(table),
            people=None if spoken is None else self._board(spoken, score_columns),
        )

    def _people_page(self, people: People) -> None:
        self._page(
            "people.html.j2",
            "people.html",
            title="What people say",
            people=people,
            board=self._board(people.overall, score_columns),
            downloads=self._downloads(people.overall, "people"),
            agreements=[
                (self._board(table, score_columns), self._downloads(table, f"people-agreement-{number}"))
                for number, table in enumerate(people.agreements)
            ],
            aspects_voted=[aspect for aspect in self.aspects if aspect.id in people.by_aspect],
        )

    def _categories_page(self, overall: Table, by_aspect: Mapping[str, Table]) -> None:
        columns = matrix_aspects(by_aspect, self.aspects)
        found = matrices(overall, by_aspect, columns)
        metrics = [matrix["column"].id for matrix in found]
        self._page(
            "categories.html.j2",
            "categories.html",
            title="By category",
            columns=columns,
            matrices=found,
            first=FIRST_CHOICE if FIRST_CHOICE in metrics else "",
            pages=self.pages_of,
            table=overall,
        )

    def _model_pages(self) -> None:
        # The address that a model had before another of a like name came leads to both.
        for slug in {model.results[0].slug for model in self.models} - {model.slug for model in self.models}:
            alike = [model for model in self.models if model.results[0].slug == slug]
            self._page("several.html.j2", f"models/{slug}.html", title="Models of a like name", alike=alike)
        for model in self.models:
            views = [self._result_view(result) for result in model.results]
            reported = [row for row in self.record if row.model.lower() == model.name.lower()]
            columns = [column(m) for m in metric_order(metric for row in reported for metric in metrics_of(row))]
            self._page(
                "model.html.j2",
                f"models/{model.slug}.html",
                title=printable(model.name),
                model=model,
                facts=model_facts(model.results[0]),
                views=views,
                reported=[reported_view(rows, columns, suite) for suite, rows in by_suite(reported).items()],
            )
            for result in model.results:
                if result.key in self.samples:
                    self._samples_page(model, result)

    def _result_view(self, result: StoredResult) -> dict[str, Any]:
        table = run_table(result)
        name = result_id(result)
        heatmap = plots.heatmap_plot(table, f"heatmap-{name}")
        peers = [other for other in self.results if comparison(other) == comparison(result) and other is not result]
        radar = plots.radar_plot(f"{table.title}: against {len(peers)} others", spokes(result, peers), f"radar-{name}")
        counts: dict[tuple[str, str, str], int] = {}
        for failure in result.failures:
            key = (failure.stage, failure.metric or "", failure.kind)
            counts[key] = counts.get(key, 0) + 1
        return {
            "id": name,
            "result": result,
            "table": self._board(table, score_columns),
            "checks": self.checks[result.key],
            "check_table": self._board(table, check_columns),
            "downloads": self._downloads(table, name),
            "heatmap": self._drawn(heatmap),
            "radar": self._drawn(radar),
            "peers": len(peers),
            "samples": self.samples.get(result.key),
            "failed": result.failed_samples,
            "failures": result.failures[:MAX_FAILURES_SHOWN],
            "failure_counts": sorted(counts.items()),
            "facts": run_facts(result),
        }

    def _samples_page(self, model: _Model, result: StoredResult) -> None:
        name = result_id(result)
        self._page(
            "samples.html.j2",
            f"samples/{name}.html",
            title=printable(f"{result.model}: samples of {result.suite}, {result.protocol_label}"),
            model=model,
            result=result,
            page=self.samples[result.key],
            data=f"../data/{name}/",
        )

    def _prompts_page(self, page: PromptsPage) -> None:
        self._page(
            "prompts.html.j2",
            f"prompts/{page.name}.html",
            title="Prompt by prompt",
            page=page,
            others=[other for other in self.prompts if other is not page],
            stand_in=any(result.stand_in for result in page.results),
        )

    def _protocol_pages(self) -> None:
        for name, page in self.protocols.items():
            results = [result for result in self.results if result.protocol_label == name]
            table = board_table(results, None, self.ranker)
            self._page(
                "protocol.html.j2",
                page,
                title=f"Protocol {printable(name)}",
                board=self._board(table, score_columns),
                checks=self._board(table, check_columns),
                downloads=self._downloads(table, plots.file_name(Path(page).stem)),
                filters=self._filters(table),
                derived="+" in name,
                base=name.split("+", 1)[0],
                stand_in=any(result.stand_in for result in results),
                settings=protocol_settings(results[0].protocol, results),
            )

    def _published_page(self) -> None:
        found = disagreements(self.record)
        measured = {
            suite: [result for result in self.results if result.suite == suite]
            for suite in dict.fromkeys(row.suite for row in self.record)
        }
        tables = []
        for suite, rows in by_suite(self.record).items():
            own = measured[suite]
            metrics = metric_order({m for row in rows for m in metrics_of(row)} | {m for r in own for m in r.metrics})
            columns = [col for col in map(column, metrics) if not col.is_check]
            board = self._board(board_table(own, None), score_columns) if own else None
            tables.append({**reported_view(rows, columns, suite), "measured": board})
        self._page(
            "published.html.j2",
            "published.html",
            title="Published record",
            tables=tables,
            disagreements=[disagreement_view(d) for d in found],
        )

    def _about_page(self) -> None:
        self._page(
            "about.html.j2",
            "about.html",
            title="About this board",
            intro=self.about.intro,
            link=self.about.link,
            results=len(self.results),
            suites=about_suites(self.results),
            weights=about_weights(self.results),
            version=version("javisbench"),
        )

    def _metrics_page(self) -> None:
        metrics = metric_order(metric for result in self.results for metric in result.metrics)
        self._page(
            "metrics.html.j2",
            "metrics.html",
            title="Metrics",
            cards=[card for card in map(metric_facts, metrics) if card is not None],
            validation=[(column(v.metric), v) for v in metric_validation()],
        )

    # Parts of pages

    def _drawn(self, plot: plots.Plot | None) -> dict[str, Any] | None:
        """The plot as SVG for a page, and as files where asked for."""
        if plot is None:
            return None
        from markupsafe import Markup

        files = []
        if self.options.plots:
            folder = self.out / "plots"
            folder.mkdir(exist_ok=True)
            (folder / f"{plot.name}.svg").write_text(plot.svg_file, encoding="utf-8")
            (folder / f"{plot.name}.png").write_bytes(plot.png())
            files = [f"plots/{plot.name}.svg", f"plots/{plot.name}.png"]
        # Safe: drawn from escaped text, and checked to hold nothing but shapes and text.
        return {"name": plot.name, "title": plot.title, "svg": Markup(plot.svg), "files": files}

    def _whiskers(self, table: Table, name: str) -> list[dict[str, Any]]:
        charts = []
        for col in (col for col in table.columns if col.higher_is_better is not None and not col.is_check):
            drawn = self._drawn(plots.whisker_plot(table, col, f"{name}-{plots.file_name(col.id)}"))
            if drawn is not None:
                charts.append({**drawn, "metric": col.id, "heading": col.heading})
        return charts

    def _downloads(self, table: Table, name: str) -> list[tuple[str, str]]:
        """Write the table in every format; (format, path) of each."""
        folder = self.out / "tables"
        folder.mkdir(exist_ok=True)
        links = []
        for format, ending in EXTENSIONS.items():
            path = folder / f"{name}.{ending}"
            path.write_text(render(table, format), encoding="utf-8", errors="backslashreplace")
            links.append((format, f"tables/{path.name}"))
        return links

    def _board(self, table: Table, columns_of: Callable[[Table, RowGroup], Sequence[Column]]) -> dict[str, Any]:
        by_key = {result.key: result for result in self.results}
        scales = {col.id: Scale.of(table, col) for col in table.columns}
        groups: list[dict[str, Any]] = []
        for group in table.groups:
            columns = columns_of(table, group)
            anchor = group.id.rpartition("-")[0]
            ranked = [col.id for col in columns if col.higher_is_better is not None]
            groups.append(
                {
                    "group": group,
                    "anchor": "" if any(anchor == entry["anchor"] for entry in groups) else anchor,
                    "columns": columns,
                    "first": FIRST_CHOICE if FIRST_CHOICE in ranked else ranked[0] if ranked else "",
                    "rows": [row_view(row, columns, scales, by_key.get(row.id)) for row in group.rows],
                }
            )
        return {
            "table": table,
            "pages": {model.name: model.slug for model in self.models},
            "has_facts": any(by_key[row.id].card for row in table.rows if row.id in by_key),
            "groups": [entry for entry in groups if entry["columns"]],
        }

    def _filters(self, table: Table) -> dict[str, Any]:
        return {
            "families": sorted({result.family for result in self.results if result.family}),
            "licences": sorted({result.licence for result in self.results if result.licence}),
            "sizes": any(result.params_b is not None for result in self.results),
            "columns": score_columns(table, None),
        }


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["value"] = format_value
    env.filters["printable"] = printable
    env.filters["share"] = lambda value: "–" if value is None else f"{100 * value:.0f} %"
    env.filters["result_id"] = result_id
    return env


__all__ = ["SiteOptions", "SiteReport", "build_site", "result_id"]
