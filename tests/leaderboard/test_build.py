"""The site: complete, closed in itself, and deaf to what names and prompts say."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from javisbench.cli import run as cli
from javisbench.errors import RunError, UsageError
from javisbench.leaderboard import plots
from javisbench.leaderboard.build import SiteOptions, build_site
from javisbench.taxonomy import TAXONOMY


class Page(HTMLParser):
    """What a page refers to, and what could run on it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.links, self.ids, self.inline, self.handlers, self.text = path, [], set(), [], [], ""
        self.tags: list[str] = []
        self._script = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._script = tag == "script"
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.append(value)
            if name == "id":
                assert value not in self.ids, f"{self.path}: the id {value} is there twice"
                self.ids.add(value)
            if name.startswith("on") or name == "style":
                self.handlers.append((tag, name))

    def handle_data(self, data):
        if self._script and data.strip():
            self.inline.append(data)
        self.text += data

    def handle_endtag(self, tag):
        self._script = False


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    return {str(path.relative_to(site)): Page(path) for path in site.rglob("*.html")}


def test_every_kind_of_page_is_there(pages):
    names = set(pages)
    assert {"index.html", "published.html", "metrics.html", "models/alpha.html"} <= names
    assert {"aspects/visual_style.html", "aspects/temporal_composition.html"} <= names
    assert {"protocols/javisbench-v1.html", "protocols/javisbench-v2.html"} <= names
    assert len([name for name in names if name.startswith("samples/")]) == 6
    assert len([name for name in names if name.startswith("models/")]) == 5


def test_all_links_resolve_inside_the_site(site, pages):
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            assert not parts.scheme and not parts.netloc, f"{name} refers to {link}"
            target = (site / name).parent / unquote(parts.path) if parts.path else site / name
            assert target.resolve().is_file(), f"{name} refers to {link}"
            assert target.resolve().is_relative_to(site.resolve())
            if parts.fragment and target.suffix == ".html" and "samples/" not in str(target):
                at = str(target.resolve().relative_to(site.resolve()))
                assert unquote(parts.fragment) in pages[at].ids, f"{name} refers to {link}"


def test_no_page_has_code_of_its_own(pages):
    for name, page in pages.items():
        assert not page.inline, name
        assert not page.handlers, name
        assert "Content-Security-Policy" in page.path.read_text()


def test_hostile_names_and_prompts_stay_text(site, pages):
    hostile = next(page for name, page in pages.items() if name.startswith("models/beta"))
    assert "Beta <b>bold</b></script><script>alert(1)</script>" in hostile.text
    assert "<script>alert(3)</script> ends early" in hostile.text
    assert "49" not in re.sub(r"\d\.\d+|\d+: ", "", hostile.text.split("Failures")[0].split("Overall")[0])
    for path in site.rglob("*.js"):
        if path.parent.name != "assets":
            assert "<" not in path.read_text(encoding="ascii"), path


def test_data_files_hold_the_scores(site):
    import pandas as pd

    (path,) = site.glob("data/alpha-demo-javisbench-v1-*/samples.js")
    data = json.loads(path.read_text().removeprefix('javisbench.receive("samples",').removesuffix(");\n"))
    run = next((site.parent / "runs").glob("alpha*/demo/scores.parquet"))
    scores = pd.read_parquet(run)
    assert data["clips"] == list(scores["sample_id"])
    for metric, values in zip(data["metrics"], data["scores"], strict=True):
        assert values == pytest.approx(scores[metric["id"]], abs=10.0 ** -(metric["digits"] + 2))
    detail = (path.parent / "details-0.js").read_text()
    rows = json.loads(detail.removeprefix('javisbench.receive("details",').removesuffix(");\n"))["rows"]
    assert set(rows[0]["series"]) == {
        "javis_score.windows",
        "javis_score.window_times_s",
        "av_align.onset_times_s",
        "av_align.peak_times_s",
    }


def test_published_clips_are_plain_files_with_their_sound(site):
    import av

    (folder,) = site.glob("data/alpha-demo-javisbench-v1-*/clips")
    assert {path.name for path in folder.iterdir()} == {"sample_0000.mp4", "sample_0001.mp4"}
    assert not any(path.is_symlink() for path in site.rglob("*"))
    with av.open(str(folder / "sample_0000.mp4")) as clip:
        assert [stream.codec_context.name for stream in clip.streams] == ["h264", "flac"]
    # What mp4 cannot hold is published as it is, with its sound beside it.
    (folder,) = site.glob("data/gamma-demo-javisbench-v1-*/clips")
    assert {path.name for path in folder.iterdir()} == {"sample_0000.mp4", "sample_0001.webm", "sample_0001.wav"}


def data_of(path: Path, kind: str) -> Any:
    return json.loads(path.read_text().removeprefix(f'javisbench.receive("{kind}",').removesuffix(");\n"))


def test_a_prompt_has_every_model_s_clip_and_scores(site):
    import pandas as pd

    (folder,) = site.glob("data/prompts-demo-*")
    data = data_of(folder / "prompts.js", "prompts")
    assert data["clips"][:2] == ["sample_0000", "sample_0001"] and data["playable"][:3] == [3, 2, 0]
    names = [model["model"].split()[0] for model in data["models"]]
    assert names == ["Alpha", "Beta", "Gamma", "Toy", "Two"]  # Alpha's second protocol is the same clips once more
    row = data_of(folder / "prompts-0.js", "rows")["rows"][1]
    assert [sorted(by["files"]) for by in row["by"]] == [["video"], [], ["audio", "video"], [], []]
    page = site / "prompts" / "any.html"
    for model, by in zip(data["models"], row["by"], strict=True):
        assert all((page.parent / model["folder"] / file).resolve().is_file() for file in by["files"].values())
        assert (page.parent / model["samples"]).resolve().is_file()
    scores = pd.read_parquet(next((site.parent / "runs").glob("alpha*/demo/scores.parquet")))
    assert [col["id"] for col in data["models"][0]["columns"]] == ["javis_score"]
    assert row["by"][0]["scores"] == pytest.approx([scores["javis_score"][1]], abs=1e-5)
    assert (
        row["by"][4]["scores"] is not None
        and data_of(folder / "prompts-0.js", "rows")["rows"][2]["by"][4]["scores"] is None
    )


def test_two_models_are_compared_as_the_board_ranks_them(site):
    from javisbench.results.compare import compare
    from javisbench.results.run_folder import load_result

    groups = data_of(site / "data/compare/groups.js", "groups")
    (group,) = groups  # Only three of the results may be compared with another.
    assert [model["model"].split()[0] for model in group["models"]] == ["Alpha", "Beta", "Gamma"]
    names = [metric["id"] for metric in group["metrics"]]
    assert names == ["fvd", "javis_score", "av_align"]  # headline first, no checks
    assert group["slices"][0] == ["overall", "All samples"] and len(group["slices"]) == 7
    of_beta = data_of(site / "data/compare/pairs-0-1.js", "pairs")
    assert (of_beta["group"], of_beta["first"], len(of_beta["pairs"])) == (0, 1, 1)
    beta, gamma = (load_result(next((site.parent / "runs").glob(f"{name}*/demo"))) for name in ("beta", "gamma"))
    found = {(row.metric, row.slice): row for row in compare(beta, gamma).rows}
    rows = of_beta["pairs"][0]
    assert len(rows) == 2 * 7
    for metric, place, first, second, half, p, headline, better, smallest in rows:
        row = found[names[metric], group["slices"][place][0]]
        assert (first, second, smallest) == pytest.approx((row.a, row.b, row.smallest), abs=1e-5)
        assert half == pytest.approx(row.difference.ci_high - row.difference.value, abs=1e-5)
        assert p >= float(f"{row.p_adjusted:.4g}")  # adjusted over three pairs, not one
        assert (headline is not None) == (row.p_headline is not None) and better == 2
    assert group["models"][1]["families"][1][0] == [3, 60, ""]
    assert all((site / model["page"]).is_file() for model in group["models"])


def test_addresses_of_models_stay_when_one_of_a_like_name_comes(write_run, tmp_path):
    first = write_run("My Model", metrics=("javis_score",))
    build_site([first], tmp_path / "site")
    assert "My Model" in (tmp_path / "site/models/my-model.html").read_text()
    build_site([first, write_run("my-model", metrics=("javis_score",), folder="other")], tmp_path / "site")
    page = Page(tmp_path / "site/models/my-model.html")
    own = [link for link in page.links if re.fullmatch(r"my-model-[0-9a-f]{6}\.html", link)]
    assert len(own) == 2 and all((page.path.parent / link).is_file() for link in own)


def test_some_prompts_are_published_of_every_model(write_run, tmp_path, clips_fake):
    """Beside the best and worst, which differ from model to model and could not be seen side by side."""
    runs = [write_run(name, metrics=("javis_score",), shift=s) for name, s in (("A", 0.0), ("B", 0.1))]
    for run, count in zip(runs, (50, 40), strict=True):
        (run / "clips").mkdir()
        for i in range(count):
            shutil.copy(clips_fake / "sample_0001.mp4", run / "clips" / f"sample_{i:04d}.mp4")
    build_site(runs, tmp_path / "site", SiteOptions(clips="extremes"))
    (folder,) = (tmp_path / "site").glob("data/prompts-*")
    playable = data_of(folder / "prompts.js", "prompts")["playable"]
    together = [i for i, count in enumerate(playable) if count == 2]
    assert 12 <= len(together) <= 12 + 10 and max(together) < 40
    assert max(b - a for a, b in itertools.pairwise(together)) <= 4


def test_clips_are_published_once_for_all_protocols_of_a_run(write_run, tmp_path, clips_fake):
    run = write_run(metrics=("javis_score",))
    second = "alpha-00000000/demo/protocols/javisbench-v2"
    assert write_run(metrics=("javis_score",), protocol="javisbench-v2", folder=second).is_relative_to(run)
    shutil.copytree(clips_fake, run / "clips")
    build_site([run], tmp_path / "site", SiteOptions(clips="extremes"))
    folders = list((tmp_path / "site").glob("data/*/clips"))
    assert len(folders) == 1
    second = next((tmp_path / "site").glob("data/alpha-demo-javisbench-v2-*"))
    files = [row["files"] for row in data_of(second / "details-0.js", "details")["rows"] if row["files"]]
    assert len(files) == 11 and all((second / file["video"]).is_file() and len(file) == 1 for file in files)


def test_plots_are_written_as_files(site):
    from PIL import Image

    svgs = {path.stem for path in (site / "plots").glob("*.svg")}
    assert svgs == {path.stem for path in (site / "plots").glob("*.png")}
    kinds = {name.split("-")[0] for name in svgs}
    assert {"overall", "visual_style", "heatmap", "radar"} <= kinds
    with Image.open(next((site / "plots").glob("heatmap*.png"))) as image:
        assert image.width > 200 and image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_tables_can_be_downloaded(site):
    found = {path.name for path in (site / "tables").iterdir()}
    assert {"overall.md", "overall.csv", "overall.tex", "overall.json", "visual_style.csv"} <= found


def test_the_stand_in_and_small_n_are_said(pages):
    text = pages["index.html"].text
    assert "stand-in weights" in text and "too few to rank" in text
    assert "Fetch <i>X</i>." in text
    (samples,) = (page.text for name, page in pages.items() if name.startswith("samples/toy-"))
    assert "Stand-in weights" in samples
    assert not any("Stand-in" in page.text for name, page in pages.items() if name.startswith("samples/alpha-"))


def test_the_headline_comes_first_then_all_metrics_then_checks(pages):
    page = pages["index.html"].path.read_text()
    heads = [re.findall(r'data-metric="(\w+)"', head) for head in re.findall(r"<thead>.*?</thead>", page, re.DOTALL)]
    boards = len(re.findall('aria-label="Headline metrics: ', page))
    assert boards == 4  # of 60 samples, of 2, of stand-in weights, under v2
    # av_align is no headline metric of v1; of v2 it is none either. The checks come last, and fold.
    assert all(head == ["fvd", "javis_score"] for head in heads[:boards])
    assert all(head == ["fvd", "javis_score", "av_align"] for head in heads[boards : 2 * boards])
    assert all(head == ["health_silence"] for head in heads[2 * boards : 3 * boards])
    assert page.index('<details class="fold" id="checks">') < page.index('aria-label="Checks of clips: ')


def test_checks_of_clips_are_a_badge_that_opens(pages):
    silent = 3
    page = pages["index.html"].path.read_text()
    row = next(row for row in page.split("<tr ") if row.startswith('data-model="Alpha"'))
    assert f">{60 - silent} of 60 clean</span></summary>" in row and f"<li>{silent} mostly silent</li>" in row
    assert f"Checks: {60 - silent} of 60 clips clean; {silent} mostly silent" in pages["models/alpha.html"].text


def test_reported_results_are_apart_from_measured_ones(write_run, tmp_path):
    run = write_run("JavisDiT", suite="javisbench", metrics=("javis_score",))
    build_site([run], tmp_path / "site")
    page = (tmp_path / "site" / "index.html").read_text()
    board, reported = page.split("Reported by papers")
    assert "UniVerse-1" in reported and "UniVerse-1" not in board
    assert "Where papers disagree" in (tmp_path / "site" / "published.html").read_text()


def test_every_category_has_its_table(write_run, tmp_path):
    build_site([write_run(metrics=("javis_score",))], tmp_path / "site")
    for aspect in TAXONOMY:
        text = (tmp_path / "site" / "aspects" / f"{aspect.id}.html").read_text()
        captions = re.findall(r"<caption>(.*?)</caption>", text)
        assert captions == [category.title for category in aspect.categories]


def test_models_by_categories_hold_what_the_tables_hold(site, pages):
    page = pages["categories.html"].path.read_text()
    section = page.split('id="fvd"')[1].split("</section>")[0]
    table = section.split("javisbench-v1, suite demo, 60 samples</caption>")[1].split("</table>")[0]
    heads = re.findall(r'href="aspects/(\w+)\.html#(\w+)"', table)
    assert len(heads) == 6 and heads[0] == ("visual_style", "camera_shooting")
    shown = {}
    for row in table.split("<tbody>")[1].split("</tr>")[:-1]:
        name = re.search(r"models/(\w+)", row)[1]
        shown[name] = re.findall(r'<span class="value">([^<]+)</span>', row)
    for place, (aspect, category) in enumerate(heads, start=1):
        groups = json.loads((site / "tables" / f"{aspect}.json").read_text())["groups"]
        group = next(g for g in groups if g["id"].startswith(f"{category}-") and len(g["rows"]) == 3)
        values = {row["label"].split()[0].lower(): row["cells"]["fvd"]["value"] for row in group["rows"]}
        for name, texts in shown.items():
            assert texts[place] == ("no weights" if values[name] is None else f"{values[name]:.1f}")
    # The best value over all samples stands first; Gamma has none.
    assert list(shown) == ["alpha", "beta", "gamma"] and set(shown["gamma"]) == {"no weights"}


INTRO = """Kept by [our lab](https://lab.example) & friends, *weekly*.

# Rules

<script>alert(1)</script> ![p](https://lab.example/x.png) [bad](javascript:alert(1)) <b>no</b>
"""


def test_a_board_says_what_it_is_and_how_to_submit_and_cite(write_run, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    run = write_run(metrics=("javis_score",), suite="javisbench")
    summary = json.loads((run / "summary.json").read_text())
    summary["run"]["encoders"] = {"imagebind": {"variant": "huge", "weights_sha256": "0" * 64}, "gone": {"variant": 3}}
    (run / "summary.json").write_text(json.dumps(summary))
    build_site([run], tmp_path / "site", SiteOptions(intro=INTRO, link="https://lab.example/submit?a=1&b=2"))
    index, about = (Page(tmp_path / "site" / name) for name in ("index.html", "about.html"))
    assert "Kept by our lab & friends, weekly." in index.text and "Rules" not in index.text
    assert "<script>alert(1)</script>" in about.text and "<b>no</b>" in about.text
    assert {"h1", "h2", "h3"} <= set(about.tags) and "img" not in about.tags and about.tags.count("h1") == 1
    # A picture becomes a link to it: a page loads nothing from elsewhere.
    outside = {link for link in about.links if "://" in link or link.startswith("javascript")}
    assert outside == {
        "https://lab.example", "https://lab.example/x.png", "https://lab.example/submit?a=1&b=2",
        "https://creativecommons.org/licenses/by-nc-sa/4.0/",
    }  # fmt: skip
    assert "built on 2026-01-01" in about.text and "2026-01-01" in index.text
    assert {"submit", "cite", "licences"} <= about.ids
    assert "ImageBind huge" in about.text and "not for commercial use" in about.text
    assert "javisbench score my_clips/ --suite javisbench" in about.text
    citation = (Path(__file__).parent.parent.parent / "CITATION.cff").read_text()
    for fact in re.findall(r'title: "(?:javisbench: )?(.*)"', citation):
        assert fact in " ".join(about.text.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--link", "javascript:alert(1)"], "--link takes an address"),
        (["--link", "lab.example"], "--link takes an address"),
        (["--intro", "{folder}/none.md"], "cannot be read: No such file"),
        (["--intro", "{folder}/latin.md"], "is no UTF-8 text (byte 3)"),
        (["--intro", "{folder}/long.md"], "has 20,001 characters"),
    ],
)
def test_what_an_owner_gives_is_checked_before_any_work(options, said, tmp_path, capsys):
    (tmp_path / "latin.md").write_bytes("caf\u00e9".encode("latin-1"))
    (tmp_path / "long.md").write_text("x" * 20_001)
    broken = tmp_path / "broken"
    broken.mkdir()
    given = [option.format(folder=tmp_path) for option in options]
    assert cli(["leaderboard", "build", str(broken), "--out", str(tmp_path / "site"), *given]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "site").exists()


def test_the_same_result_twice_is_refused(write_run, tmp_path):
    with pytest.raises(UsageError, match="another --name"):
        build_site([write_run(), write_run(folder="copy")], tmp_path / "site")


def test_nothing_else_is_overwritten(write_run, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years")
    with pytest.raises(UsageError, match="not a leaderboard site"):
        build_site([write_run()], mine)
    assert (mine / "thesis.txt").read_text() == "years"


def test_a_failed_build_leaves_the_earlier_site(write_run, tmp_path):
    run = write_run(metrics=("javis_score",))
    build_site([run], tmp_path / "site")
    before = (tmp_path / "site" / "index.html").read_text()
    (run / "scores.parquet").write_bytes(b"broken")
    with pytest.raises(RunError):
        build_site([run], tmp_path / "site")
    assert (tmp_path / "site" / "index.html").read_text() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_site_without_categories_or_scores(write_run, tmp_path):
    run = write_run()
    document = json.loads((run / "summary.json").read_text())
    document["metrics"] = {m: {"overall": v["overall"]} for m, v in document["metrics"].items()}
    (run / "summary.json").write_text(json.dumps(document))
    report = build_site([run / "summary.json"], tmp_path / "site")
    assert report.results == 1
    assert not (tmp_path / "site" / "aspects").exists()
    assert report.index.is_file()


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("vl_convert", ["leaderboard", "build", "{run}", "--out", "{out}"]),
        ("altair", ["leaderboard", "build", "{run}", "--out", "{out}"]),
        ("matplotlib", ["compare", "{run}", "{run}", "--plot", "{out}.png"]),
        ("matplotlib", ["inspect", "{run}", "--html", "{out}.html"]),
        ("matplotlib", ["inspect", "{run}", "--png", "{out}.png"]),
        ("altair", ["validate-metrics", "--clips", "{run}", "--html", "{out}.html"]),
    ],
)
def test_missing_packages_are_named_before_any_work(package, command, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    run = tmp_path / "broken"
    run.mkdir()  # Whoever read this run would complain of it.
    assert cli([part.format(run=run, out=tmp_path / "out") for part in command]) == 2
    said = capsys.readouterr().err
    assert package in said and 'pip install "javisbench[site]"' in said and said.count("\n") <= 2
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


@pytest.mark.parametrize("bad", ["<script/>", "<a href='x'/>", "<g onload='x'/>", "<image href='http://x'/>"])
def test_plots_may_only_draw(bad):
    with pytest.raises(ValueError, match="A plot holds"):
        plots.checked_svg(f'<svg xmlns="http://www.w3.org/2000/svg">{bad}</svg>')


def test_radar_places_worst_and_best():
    from javisbench.results.table import Column

    up, down = Column("a", "A", True), Column("b", "B", False)
    assert plots.Spoke(up, 3.0, (1.0, 2.0)).scaled == (1.0, 0.5)
    assert plots.Spoke(down, 3.0, (1.0, 2.0)).scaled == (0.0, 0.5)
    assert plots.Spoke(up, 2.0, (2.0,)).scaled == (0.5, 0.5)


def test_command_line(write_run, tmp_path, capsys):
    run = write_run(metrics=("javis_score",))
    out = tmp_path / "site"
    assert cli(["leaderboard", "build", str(run), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out / "index.html")
    assert cli(["leaderboard", "build", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert capsys.readouterr().err.startswith("Error: There is no run folder")


def test_options_have_defaults():
    assert SiteOptions().clips == "none" and not SiteOptions().plots


def test_names_that_programs_know_lead_to_the_same_things():
    from javisbench.leaderboard import export, ranking, results, table
    from javisbench.publish.export import render
    from javisbench.results.ranking import Ranker
    from javisbench.results.run_folder import load_result, load_results
    from javisbench.results.table import board_table, run_table

    assert (results.load_result, results.load_results) == (load_result, load_results)
    assert (table.board_table, table.run_table) == (board_table, run_table)
    assert (ranking.Ranker, export.render) == (Ranker, render)
