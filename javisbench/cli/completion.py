"""``javisbench completion``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from javisbench.cli import output
from javisbench.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
EPILOG = """\b
Examples:
  javisbench completion bash           for every new shell
  javisbench completion zsh --print    to stdout, and nothing is written
"""


@click.command("completion", epilog=EPILOG)
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("--print", "show", is_flag=True, help="Print the script, write nothing.")
def command(shell: str, show: bool) -> int:
    """Make the SHELL complete commands, options, and the names of suites, models, metrics and protocols.

    The script is written where the shell looks for it.
    """
    script = completion_script(shell)
    if show:
        output.line(script)
        return 0
    path = script_path(shell)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror}). javisbench completion {shell} --print prints the script."
        ) from error
    output.line(f"Wrote {path}. New shells complete javisbench.")
    if shell == "zsh":
        output.line(f"If yours does not yet, put this into .zshrc before compinit: fpath+=({path.parent})")
    return 0


def completion_script(shell: str) -> str:
    """The script that `shell` runs, with its last line break."""
    from click.shell_completion import get_completion_class

    from javisbench.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None
    # Click's own `source` asks bash for its version, which need not be installed to print a script.
    completer = kind(cli, {}, "javisbench", "_JAVISBENCH_COMPLETE")
    return completer.source_template % completer.source_vars()


def script_path(shell: str) -> Path:
    """Where a shell looks for a user's own completions."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return {
        "bash": data / "bash-completion/completions/javisbench",
        "zsh": home / ".zfunc/_javisbench",
        "fish": config / "fish/completions/javisbench.fish",
    }[shell]
