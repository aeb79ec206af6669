"""The command line. One file a command; each is imported only when it is called, so that help is instant."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence
from typing import Any

import click

from javisbench import __version__
from javisbench.cli import output
from javisbench.cli.signals import end_in_order, exit_code
from javisbench.errors import JavisbenchError, SystemFaultError
from javisbench.registry import did_you_mean
from javisbench.system_faults import SYSTEMS, errno_of, fault_of, filename_of

# Command to its module (whose `command` it is) and its line in the overview.
COMMANDS = {
    "eval": ("javisbench.cli.eval", "Generate the clips of a suite, score them and print the table."),
    "generate": ("javisbench.cli.generate", "Generate the clips of a suite."),
    "score": ("javisbench.cli.score", "Score clips made elsewhere."),
    "report": ("javisbench.cli.report", "Print or write the tables of runs."),
    "compare": ("javisbench.cli.compare", "Compare two runs, sample by sample."),
    "diff": ("javisbench.cli.diff", "Tell what differs between two runs, and what explains it."),
    "reproduce": ("javisbench.cli.reproduce", "Repeat published results, and check runs against them."),
    "inspect": ("javisbench.cli.inspect", "Draw one clip's timeline and print its numbers."),
    "leaderboard": ("javisbench.cli.leaderboard", "Build a leaderboard site, or push its tables."),
    "submit": ("javisbench.cli.submit", "Pack a run for a leaderboard, or verify such an archive."),
    "merge": ("javisbench.cli.merge", "Join the shards of a run."),
    "clean": ("javisbench.cli.clean", "Show what runs take on disk, and free what is not needed."),
    "doctor": ("javisbench.cli.doctor", "Check machine, files and weights before a long run; forecast it."),
    "validate-metrics": ("javisbench.cli.validate_metrics", "Measure what each metric notices, on damaged clips."),
    "votes": ("javisbench.cli.votes", "Collect what people say of clips, and compare metrics with it."),
    "suites": ("javisbench.cli.suites", "List, show and validate suites."),
    "models": ("javisbench.cli.models", "List and show generators."),
    "metrics": ("javisbench.cli.metrics", "List, show and check metrics."),
    "weights": ("javisbench.cli.weights", "List, fetch and verify weights."),
    "reference": ("javisbench.cli.reference", "Build and check the real side of set metrics."),
    "completion": ("javisbench.cli.completion", "Complete commands and names in a shell."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}.{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


# Another process holds a folder, or it was never to be written to: errors of the system that are the user's to mend.
_OWN_SENTENCE = ("locked", "not_writable")

EPILOG = """\b
Examples:
  javisbench eval --model procedural --suite demo
  javisbench score my_clips/ --suite javisbench-mini --name my-model
  javisbench report runs/*/demo --format latex
"""


@click.group(cls=_LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="javisbench")
def cli() -> None:
    """Benchmark joint audio-video generation: prompts in, sounding videos scored, tables out."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Exit codes: 0 done, 1 samples failed under --strict, 2 bad usage or input, 3 stopped by the system (the same command
    goes on); 130, 143 and 129 after Ctrl-C, SIGTERM and SIGHUP.
    """
    sys.excepthook = output.defect
    end_in_order()
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:
    """Like `main`, but return the exit code."""
    output.prepare_streams()
    try:
        outcome: Any = cli.main(None if args is None else list(args), "javisbench", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        output.usage_error(error)
        return 2
    except (click.Abort, KeyboardInterrupt) as error:
        how, code = exit_code(error)
        output.line(f"{how}. Run the same command again to go on.", err=True)
        return code
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        logging.getLogger(__name__).debug("stopped", exc_info=True)
        output.error(told)
        return told.exit_code


def _told(error: Exception) -> JavisbenchError | None:
    """What the user is told of an error; None for a defect.

    Whoever calls a file damaged, or an input wrong, may have met a system that failed.
    """
    behind = errno_of(error)
    if isinstance(error, JavisbenchError):
        own = error.exit_code != JavisbenchError.exit_code or error.kind in _OWN_SENTENCE
        if own or behind not in SYSTEMS:
            return error
    fault = fault_of(error)
    if fault is None:
        return None
    named = filename_of(error)
    where = f" ({named})" if named else ""
    return SystemFaultError(f"Stopped by the system: {fault.reason}{where}. Run the same command again.")
