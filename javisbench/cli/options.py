"""Options that several commands share, and what they mean."""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from javisbench.cli import names, output
from javisbench.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def compose(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator from several, the first on top in the help."""

    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def verbosity(function: F) -> F:
    """``--quiet`` and ``--verbose``: set up logging to stderr before the command runs."""
    return compose(
        click.option("-q", "--quiet", is_flag=True, help="No progress, only results and errors."),
        click.option("-v", "--verbose", is_flag=True, help="Tell every step on stderr."),
    )(function)


_DATA_ROOT = "javisbench.data_root"


def _keep_data_root(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.meta[_DATA_ROOT] = value


def _with_data_root(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return suite_at_data_root(ctx, value)


def suite_at_data_root(ctx: click.Context, value: str | None, default: str | None = None) -> str | None:
    """The suite as the library takes it: ``NAME:DIR`` where the folder of its data is given by itself.

    Args:
        ctx: of the command.
        value: the suite that was given.
        default: the one whose data are meant where none was given.

    Raises:
        UsageError: the suite is not read from a folder.
    """
    folder = ctx.meta.get(_DATA_ROOT)
    if folder is None:
        return value
    from javisbench.suite import published_at, suites_in_folders

    value = value or default
    spec = f"{value}:{folder}"
    if value is None or published_at(spec) is None:
        raise UsageError(
            f"--data-root says where the data of a published suite lie, and goes with one of "
            f"{', '.join(suites_in_folders())}" + (f"; got {value!r}." if value else ": give --suite.")
        )
    return spec


data_root_option = click.option(
    "--data-root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    is_eager=True,
    expose_value=False,
    callback=_keep_data_root,
    help="Folder with the data of a suite that is published as one. [default: $JAVISBENCH_SUITES/NAME]",
)
suite_argument = compose(
    click.argument("suite", callback=_with_data_root, shell_complete=names.completer(names.suites, files=True)),
    data_root_option,
)
suite_option = compose(
    click.option(
        "--suite",
        default="javisbench",
        show_default=True,
        metavar="NAME|FILE",
        callback=_with_data_root,
        shell_complete=names.completer(names.suites, files=True),
        help="Known suite, or a .csv, .jsonl or .parquet file.",
    ),
    data_root_option,
)
scored_suite_option = compose(
    click.option(
        "--suite",
        default=None,
        metavar="NAME|FILE",
        callback=_with_data_root,
        shell_complete=names.completer(names.suites, files=True),
        help="Known suite, or a .csv, .jsonl or .parquet file. [default: a run's own; prompts beside the clips "
        "(ID.txt); else javisbench]",
    ),
    data_root_option,
)
slice_by_option = click.option(
    "--slice-by",
    multiple=True,
    metavar="COLUMN",
    help="A column of the suite's own whose values become slices; may be given several times.",
)
shown_slices_option = click.option(
    "--slice-by",
    multiple=True,
    metavar="COLUMN",
    help="Of slices by columns of the suite, those of this one; may be given several times. [default: all]",
)
allow_outside_option = click.option(
    "--allow-outside", is_flag=True, help="Accept paths in the suite, or among pairs, that leave its folder."
)
given_option = click.option(
    "--given",
    multiple=True,
    metavar="SUITE",
    shell_complete=names.completer(names.suites, files=True),
    help="A suite whose videos (or sounds) are shown with the sounds (or pictures) that models made for them; mind "
    "their licence. May be given several times. [default: what the models made alone]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")


class Place(click.Path):
    """A path, or a URL as it stands there.

    Args:
        fetch: bring what a URL names here, and give the path of that: for what is read alone.
        media: with its clips.
        kinds: as for `click.Path`.
    """

    def __init__(self, *, fetch: bool = False, media: bool = False, **kinds: Any) -> None:
        super().__init__(path_type=Path, **kinds)
        self._fetch, self._media = fetch, media

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; of a URL, text."""
        from javisbench.places import is_url

        if not is_url(value):
            return super().convert(value, param, ctx)
        if not self._fetch:
            return value
        from javisbench.places.mirror import fetched

        return fetched(value, media=self._media)


class Target(Place):
    """A path to write to, or a URL: one that cannot be made is refused before any work.

    Args:
        urls: whether it may be a URL.
        kinds: as for `click.Path`.
    """

    def __init__(self, *, urls: bool = False, **kinds: Any) -> None:
        super().__init__(**kinds)
        self._urls = urls

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As `Place`."""
        from javisbench.places import is_url

        if is_url(value) and self._urls:
            return value
        path = cast(Path, click.Path.convert(self, value, param, ctx))
        trouble = _cannot_be_made(path)
        if trouble:
            self.fail(f"{str(path)!r} cannot be written: {trouble}. Choose another.", param, ctx)
        return path


def _cannot_be_made(path: Path) -> str | None:
    """Why there can never be such a file or folder; None where there can."""
    for part in (path, *path.parents):
        try:
            if part == path:
                part.lstat()
                return None
            kind = part.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            # Whether the system is at fault is found when it is written to.
            return error.strerror if error.errno in (errno.ENAMETOOLONG, errno.ELOOP) else None
        return None if stat.S_ISDIR(kind) else f"{str(part)!r} is no folder"
    return None


def _into_environment(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """What the library reads from the environment."""

    def keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value is not None:
            os.environ[name] = str(value)

    return keep


engine_options = compose(
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Where the work is done: here, or on the machines of a Ray cluster.",
    ),
    click.option(
        "--engine-address",
        metavar="HOST:PORT",
        help="Ray cluster; auto for that of this machine. [default: $RAY_ADDRESS, else a new one here]",
    ),
)
cache_options = compose(
    click.option(
        "--cache-dir",
        type=click.Path(path_type=Path, file_okay=False),
        expose_value=False,
        is_eager=True,
        callback=_into_environment("JAVISBENCH_CACHE_DIR"),
        help="Where what lies at URLs is kept. [default: ~/.cache/javisbench]",
    ),
    click.option(
        "--cache-size",
        type=click.FloatRange(min=0, min_open=True),
        metavar="GIB",
        expose_value=False,
        is_eager=True,
        callback=_into_environment("JAVISBENCH_CACHE_SIZE"),
        help="Most room for clips there; those not read for longest go first. [default: 20]",
    ),
)
out_option = click.option(
    "--out", type=Target(urls=True), help="Run folder, or its URL. [default: runs/<model>-<hash>/<suite>]"
)
limit_option = click.option("--limit", type=click.IntRange(min=1), help="Only the suite's first N samples.")
repeats_option = click.option(
    "--repeats", type=click.IntRange(min=1, max=10000), default=None, help="Clips a prompt. [default: 1, or as found]"
)
workers_option = click.option(
    "--workers", type=click.IntRange(min=1, max=256), default=None, help="Decoding processes. [default: CPU cores]"
)
device_option = click.option(
    "--device", default=None, metavar="DEVICE", help="cpu, cuda:N, or several with commas. [default: every GPU]"
)
seed_option = click.option(
    "--seed", type=click.IntRange(min=0, max=2**63 - 1), default=0, show_default=True, help="Base seed."
)
strict_option = click.option("--strict", is_flag=True, help="Exit with 1 when a sample failed.")
shard_option = click.option(
    "--shard", default=None, metavar="I/N", help="Only every N-th sample, from I (counted from 0)."
)
weights_option = click.option(
    "--weights-dir",
    "weights_dirs",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with checkpoints; may be given several times.",
)

patience_option = click.option(
    "--patience",
    type=click.FloatRange(min=0, max=86400),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Time that a file system or a shortage of memory has to recover before the run stops (exit code 3).",
)


def joined(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> str | None:
    """An option whose value is a list, given several times: one list; None where it is not given."""
    return ",".join(value) if value else None


scoring_options = compose(
    click.option(
        "--metrics",
        multiple=True,
        callback=joined,
        metavar="ID,...",
        shell_complete=names.completer(names.metrics, listed=True),
        help="Metric ids or globs (health_*). [default: all that apply]",
    ),
    click.option(
        "--protocol",
        "protocols",
        multiple=True,
        metavar="NAME",
        shell_complete=names.completer(names.protocols),
        help="How numbers are made; may be given several times. [default: the suite's, else javisbench-v1]",
    ),
    click.option(
        "--encoder",
        "encoders",
        multiple=True,
        metavar="NAME=VARIANT",
        shell_complete=names.completer(names.encoders),
        help="Another variant of an encoder.",
    ),
    weights_option,
    click.option(
        "--reference",
        default=None,
        metavar="DIR|suite|FILE",
        help="Real side of the set metrics: a folder of real clips, the suite's own path column, or a file.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["fp32", "tf32", "bf16", "fp16"]),
        default="fp32",
        show_default=True,
        help="Of the networks. Below fp32, 64 clips are tried first; what moves too far changes the protocol's name.",
    ),
    click.option(
        "--compile",
        is_flag=True,
        help="Run the largest networks as torch.compile makes them: minutes first, then faster. Tried on 64 clips too.",
    ),
    slice_by_option,
    click.option(
        "--speech-transcripts",
        metavar="NAME=FILE",
        help="What the recogniser NAME of your own heard, for wer, cer and cpcer: CSV or JSONL with id and text, and "
        "where there are any repeat, speaker and start_s. The protocol's name gets +recogniser=NAME.",
    ),
    click.option(
        "--clip-memory",
        type=click.IntRange(min=64),
        default=1024,
        show_default=True,
        metavar="MIB",
        help="Most memory that one clip may take while it is read.",
    ),
    click.option(
        "--clip-deadline",
        type=click.FloatRange(min=0, min_open=True),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="Time that reading one clip may take, beside a second for each four million pixels.",
    ),
    patience_option,
    click.option(
        "--batch-clips", type=click.IntRange(min=1), help="Clips a batch. [default: 1 on a CPU; what fills a GPU]"
    ),
    click.option(
        "--judge-url",
        metavar="URL",
        help="Where judges (judge:NAME) are asked: an OpenAI-compatible endpoint up to /v1, whose key is "
        "$JAVISBENCH_JUDGE_KEY; or transformers:FOLDER. [default: $JAVISBENCH_JUDGE_URL]",
    ),
    click.option(
        "--judge-alias",
        metavar="NAME",
        help="What the endpoint calls the judge's model. [default: as the question set]",
    ),
    click.option(
        "--judge-parallel",
        type=click.IntRange(min=1, max=256),
        default=4,
        show_default=True,
        help="Requests at once.",
    ),
    click.option(
        "--judge-rate",
        type=click.FloatRange(min=0, min_open=True),
        metavar="N",
        help="Most requests a minute. [default: any]",
    ),
    click.option(
        "--judge-budget",
        type=click.FloatRange(min=0),
        metavar="USD",
        help="US dollars that this command may spend on judges: a larger forecast is refused, then it stops.",
    ),
    click.option(
        "--judge-price",
        metavar="IN,OUT",
        help="US dollars for a million tokens sent and answered. [default: as the question set]",
    ),
    click.option(
        "--judge-timeout",
        type=click.FloatRange(min=0, min_open=True, max=86400),
        default=120.0,
        show_default=True,
        metavar="SECONDS",
        help="Time that one answer may take.",
    ),
)


def setup_logging(quiet: bool, verbose: bool) -> None:
    """Send the package's log to stderr: warnings, or everything with --verbose, or only errors with --quiet."""
    from javisbench.run.log import LineFormatter

    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING
    handler = logging.StreamHandler(output.Stream(sys.stderr))
    handler.setFormatter(LineFormatter("%(levelname)s %(name)s: %(message)s" if verbose else "%(message)s"))
    # What goes to a run's log.txt stands on the terminal already, as progress or as the error itself.
    handler.addFilter(lambda record: record.name != "javisbench.run.log")
    logger = logging.getLogger("javisbench")
    for old in list(logger.handlers):
        if isinstance(old, logging.StreamHandler) and not isinstance(old, logging.FileHandler):
            logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    handler.setLevel(level)
    logger.propagate = False


def parse_pairs(option: str, pairs: tuple[str, ...]) -> dict[str, str]:
    """``KEY=VALUE`` options as a dictionary.

    Raises:
        UsageError: one has no ``=``, or a key stands twice.
    """
    parsed: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise UsageError(f"{option} takes KEY=VALUE; got {pair!r}.")
        if key in parsed:
            raise UsageError(f"{option} gives {key} twice.")
        parsed[key] = value
    return parsed


def parse_named_file(option: str, text: str | None) -> tuple[str, Path] | None:
    """``NAME=FILE`` as both; None where it is not given.

    Raises:
        UsageError: it has no ``=``.
    """
    if text is None:
        return None
    name, separator, path = text.partition("=")
    if not separator or not path:
        raise UsageError(f"{option} takes NAME=FILE; got {text!r}.")
    return name, Path(path)


def parse_metrics(text: str | None) -> list[str] | None:
    """``--metrics`` as a list; None for all that apply."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--metrics names no metric.")
    return names


def parse_shard(text: str | None) -> tuple[int, int]:
    """``I/N`` as numbers, ``0/1`` for None.

    Raises:
        UsageError: not of that form, or I is not below N.
    """
    if text is None:
        return 0, 1
    first, _, second = text.partition("/")
    if not (first.isdigit() and second.isdigit()) or not 0 <= int(first) < int(second):
        raise UsageError(f"--shard takes I/N with I from 0 to N-1; got {text!r}.")
    return int(first), int(second)


def by_rank(given: dict[str, Any]) -> dict[str, Any]:
    """Processes started by torchrun share the work without being told: shard, folder and GPU follow from the rank."""
    count, rank = os.environ.get("WORLD_SIZE", "1"), os.environ.get("RANK")
    if count == "1" or rank is None or given["shard"] is not None:
        return given
    changed = {**given, "shard": f"{rank}/{count}"}
    if given["out"] is not None:
        # The same --out for all; a run folder takes one process.
        changed["out"] = type(given["out"])(f"{str(given['out']).rstrip('/')}.shard-{rank}-of-{count}")
    if given["device"] is None:
        import torch

        if torch.cuda.is_available():
            changed["device"] = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return changed
