"""A page of blind pairs: two clips of one prompt side by side, whose models nobody is told, and questions about them.

It needs no server and no network. Answers are kept by the browser and saved as a table, which `javisbench votes import`
reads with the page's key; that lies beside the page's folder, since it says which clip is whose.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from javisbench.durable import replaced_folder
from javisbench.errors import RunError, UsageError
from javisbench.leaderboard.clips import copied_clip, media_of
from javisbench.leaderboard.given import GivenMedia, given_media
from javisbench.leaderboard.samples import write_script
from javisbench.matching import clip_name
from javisbench.media import ClipJoiner
from javisbench.results.votes.known import Known
from javisbench.results.votes.page_key import PageKey, PagePair, load_key, save_key
from javisbench.results.votes.record import OVERALL_QUESTION
from javisbench.tasks import TASKS
from javisbench.text import printable

if TYPE_CHECKING:
    from javisbench.results.run_folder import StoredResult

MARKER = ".javisbench-votes"
ASSETS = ("elements.js", "icon.svg", "site.css", "theme.js", "together.js", "votes.css", "votes.js")
QUESTIONS: Mapping[str, str] = {OVERALL_QUESTION: "Which clip is better for this prompt, picture and sound together?"}
MAX_QUESTION = 300


@dataclass(frozen=True)
class VotesPageOptions:
    """How a page is made.

    Attributes:
        pairs: at most so many.
        questions: id to what is asked about every pair, in order.
        seed: of which pairs are shown, in which order, and which clip of a pair is on the left.
        title: of the page.
        given: suites, as for ``--suite``, whose videos or sounds are shown with what models made for them.
    """

    pairs: int = 40
    questions: Mapping[str, str] = field(default_factory=lambda: dict(QUESTIONS))
    seed: int = 0
    title: str = "Which clip is better?"
    given: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, text in self.questions.items():
            if not name or not text.strip() or len(text) > MAX_QUESTION or "|" in name or len(name) > 60:
                raise UsageError(
                    f"A question is an id of at most 60 characters without a bar, and a text of at most "
                    f"{MAX_QUESTION}; got {name[:80]!r}: {text[:80]!r}."
                )
        if not self.questions:
            raise UsageError("A page needs a question.")


@dataclass(frozen=True)
class VotesPageReport:
    """What was made.

    Attributes:
        index: the page.
        key: file with which clip is whose.
        pairs: on the page.
        possible: pairs of clips of one prompt in all.
        models: whose clips they are.
    """

    index: Path
    key: Path
    pairs: int
    possible: int
    models: tuple[str, ...]


def key_of(out: Path) -> Path:
    """Where the key of the page in a folder lies: beside it, never inside."""
    return out.with_name(f"{out.name}-key.json")


def write_votes_page(
    results: Sequence[StoredResult], out: Path, options: VotesPageOptions | None = None
) -> VotesPageReport:
    """Make a page of blind pairs, whole or not at all, and its key beside the folder.

    Args:
        results: one a model, at least two, on one suite, with their clips.
        out: folder of the page; made, or replaced when it holds the same page.
        options: see `VotesPageOptions`.

    Raises:
        UsageError: fewer than two models, runs of several suites or twice of one model, no clips in common, or
            something else in the folder's place: a page whose key would be lost, above all.
    """
    options = options or VotesPageOptions()
    out = Path(out).absolute()
    known = _checked(results)
    given = given_media(options.given, results).get((known.suite, known.suite_hash))
    media = {result.model: {} if result.clips is None else media_of(result.clips) for result in results}
    possible = _possible(results, known, media, given)
    chosen = _chosen(possible, options)
    page = _page_id(results, known, chosen, options)
    key = PageKey(
        page, known.suite, known.suite_hash, dict(options.questions),
        {f"p{number:03d}": pair for number, pair in enumerate(chosen, start=1)},
    )  # fmt: skip
    _check_target(out, page)
    texts = {sample: info.text for result in reversed(results) for sample, info in result.samples_by_id().items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    with replaced_folder(out) as fresh:
        _write(fresh, key, texts, media, options, given)
        # First: a page whose key is not there could be voted on in vain.
        save_key(key, key_of(out))
    models = sorted({model for pair in chosen for model in (pair.left, pair.right)})
    return VotesPageReport(out / "index.html", key_of(out), len(chosen), len(possible), tuple(models))


def _checked(results: Sequence[StoredResult]) -> Known:
    names = [result.model for result in results]
    if len(set(names)) < 2:
        raise UsageError("A page of pairs needs runs of two models at least.")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise UsageError(f"Two of the runs are of {doubled[0]}: which of their clips are meant?")
    return Known.of_runs(results)


def _possible(
    results: Sequence[StoredResult],
    known: Known,
    media: Mapping[str, Mapping[str, Mapping[str, Path]]],
    given: GivenMedia | None,
) -> list[PagePair]:
    """Every two clips of one prompt that a page can show, in the order of the results and by clip."""
    assert known.clips is not None

    def shown(model: str, sample: str, repeat: int) -> bool:
        files = media[model].get(clip_name(sample, repeat), {})
        return "video" in files or (given is not None and given.joined(sample, files) is not None)

    playable = {model: {clip for clip in clips if shown(model, *clip)} for model, clips in known.clips.items()}
    found = [
        PagePair(sample, repeat, one.model, other.model)
        for one, other in combinations(results, 2)
        for sample, repeat in sorted(playable[one.model] & playable[other.model])
    ]
    if not found:
        told = ", ".join(f"{model} {len(clips):,}" for model, clips in playable.items())
        sounds = any(not TASKS[result.task].makes_picture for result in results) and given is None
        advice = " Sounds alone are shown with the suite's pictures: --given SUITE." if sounds else ""
        raise UsageError(f"No prompt has clips of two of the models (clips that can be shown: {told}).{advice}")
    return found


def _chosen(possible: Sequence[PagePair], options: VotesPageOptions) -> list[PagePair]:
    """So many pairs that all two models meet equally often, on prompts that are as many as can be, sides in turn."""
    rng = np.random.default_rng(options.seed)
    left: dict[tuple[str, str], list[PagePair]] = {}
    for place in rng.permutation(len(possible)):
        pair = possible[place]
        left.setdefault((pair.left, pair.right), []).append(pair)
    uses: dict[tuple[str, int], int] = {}
    turns = {models: int(rng.integers(2)) for models in sorted(left)}
    order = [sorted(left)[place] for place in rng.permutation(len(left))]
    chosen: list[PagePair] = []
    while len(chosen) < options.pairs and any(left.values()):
        for models in order:
            if not left[models] or len(chosen) == options.pairs:
                continue
            pair = min(left[models], key=lambda pair: uses.get((pair.sample_id, pair.repeat), 0))
            left[models].remove(pair)
            uses[pair.sample_id, pair.repeat] = uses.get((pair.sample_id, pair.repeat), 0) + 1
            turns[models] += 1
            sides = models if turns[models] % 2 else models[::-1]
            chosen.append(PagePair(pair.sample_id, pair.repeat, *sides))
    return [chosen[place] for place in rng.permutation(len(chosen))]


def _page_id(
    results: Sequence[StoredResult], known: Known, chosen: Sequence[PagePair], options: VotesPageOptions
) -> str:
    facts = [
        [result.key for result in results],
        known.suite_hash,
        [[pair.sample_id, pair.repeat, pair.left, pair.right] for pair in chosen],
        dict(options.questions),
        options.seed,
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _check_target(out: Path, page: str) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --out is the folder of the page.")
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).exists():
        raise UsageError(f"{out} holds files that are no page of votes. Give --out a new or empty folder.")
    key = key_of(out)
    if key.exists():
        try:
            earlier = load_key(key).page
        except RunError as error:
            raise UsageError(f"{key} is in the way, and is no key of a page. Give --out another folder.") from error
        if earlier != page:
            raise UsageError(
                f"{key} is the key of another page: without it, answers to that could not be read. Give --out a new "
                f"folder, or remove the key."
            )


def _write(
    folder: Path,
    key: PageKey,
    texts: Mapping[str, str],
    media: Mapping[str, Mapping[str, Mapping[str, Path]]],
    options: VotesPageOptions,
    given: GivenMedia | None,
) -> None:
    from importlib.metadata import version

    here = Path(__file__).parent
    (folder / MARKER).write_text("Made by javisbench votes page; replaced as a whole.\n", encoding="utf-8")
    (folder / "assets").mkdir()
    for name in ASSETS:
        shutil.copyfile(here / "assets" / name, folder / "assets" / name)
    copies: dict[tuple[str, str], dict[str, str]] = {}
    pairs = []
    with ClipJoiner() as joiner:
        for name, pair in key.pairs.items():
            clip = clip_name(pair.sample_id, pair.repeat)
            sides = []
            for model in (pair.left, pair.right):
                if (model, clip) not in copies:
                    # A name that says nothing; clips of one prompt do not lie side by side.
                    stem = hashlib.sha256(f"{key.page} {model} {clip}".encode()).hexdigest()[:16]
                    whole = None if given is None else given.joined(pair.sample_id, media[model][clip])
                    found = dict(copied_clip(joiner, media[model][clip], folder / "clips", stem, whole))
                    if "video" not in found:
                        raise UsageError(
                            f"The clip {clip} of {model} cannot be shown: its sound and the suite's picture cannot be "
                            f"joined. Leave the run out, or score the suite without that sample."
                        )
                    copies[model, clip] = {kind: f"clips/{path.name}" for kind, path in found.items()}
                sides.append(copies[model, clip])
            pairs.append({"id": name, "text": printable(texts.get(pair.sample_id, "")), "clips": sides})
    questions = [[name, printable(text)] for name, text in key.questions.items()]
    data: dict[str, Any] = {"page": key.page, "questions": questions, "pairs": pairs}
    write_script(folder / "pairs.js", "pairs", data)
    page = _environment().get_template("votes.html.j2").render(
        title=printable(options.title), pairs=len(pairs), generator=f"javisbench {version('javisbench')}"
    )  # fmt: skip
    (folder / "index.html").write_text(page, encoding="utf-8", errors="backslashreplace")


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
