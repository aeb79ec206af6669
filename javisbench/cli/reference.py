"""``javisbench reference``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from javisbench.cli import options, output

EPILOG = """\b
Examples:
  javisbench reference build --suite my.csv --clips real/ --out real.safetensors
  javisbench reference show real.safetensors
  javisbench reference verify real.safetensors --suite my.csv --clips real/
  javisbench score clips/ --suite my.csv --reference real.safetensors
"""


@click.group("reference", epilog=EPILOG)
def command() -> None:
    """Build and check the real side of set metrics: features of real clips, in one file."""


_clips_option = click.option(
    "--clips",
    default="suite",
    show_default="the suite's path column",
    metavar="DIR",
    help="Folder of real clips, named as generated ones are.",
)


@command.command("build")
@options.suite_option
@_clips_option
@click.option("--out", type=options.Target(dir_okay=False), required=True, help="A .safetensors file.")
@click.option("--protocol", "protocols", multiple=True, metavar="NAME", help="[default: the suite's]")
@click.option(
    "--metrics",
    multiple=True,
    callback=options.joined,
    metavar="ID,...",
    help="Set metrics to be prepared for. [default: all but those that are computed only when asked for]",
)
@click.option("--encoder", "encoders", multiple=True, metavar="NAME=VARIANT", help="Another variant of an encoder.")
@options.weights_option
@options.workers_option
@options.device_option
@options.allow_outside_option
@options.verbosity
def build(suite: str, clips: str, out: Path, allow_outside: bool, **given: Any) -> int:
    """Encode real clips and write their features with what made them."""
    from javisbench.api import ScoringOptions
    from javisbench.cli.memory import keep_freed_memory
    from javisbench.cli.progress import make_progress
    from javisbench.run.reference_job import build_reference
    from javisbench.suite import load_suite

    options.setup_logging(given["quiet"], given["verbose"])
    keep_freed_memory()
    scoring = ScoringOptions(
        protocols=given["protocols"],
        metrics=options.parse_metrics(given["metrics"]),
        encoders=options.parse_pairs("--encoder", given["encoders"]),
        weights_dirs=given["weights_dirs"],
        reference=clips,
        device=given["device"],
        workers=given["workers"],
    )
    loaded = load_suite(suite, allow_outside=allow_outside)
    stored, failures = build_reference(loaded, scoring, out, make_progress(given["quiet"]))
    for label, reason in failures.items():
        output.line(f"left out {label}: {reason}", err=True)
    output.json_document(stored.describe())
    return 0


@command.command("show")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@options.json_option
def show(file: Path, as_json: bool) -> int:
    """Show what FILE holds and what made it."""
    from javisbench.reference.stored import StoredReference

    stored = StoredReference.load(file)
    facts = {key: value for key, value in stored.facts.items() if key not in ("features", "clips")}
    facts["features"] = [
        {
            "name": f.name,
            "encoder": f.encoder,
            "weights_sha256": f.weights_sha256,
            "protocols": list(f.protocols),
            "rows": list(f.rows.shape),
            "prep": dict(f.spec.prep),
        }
        for f in stored.features
    ]
    if as_json:
        output.json_document(facts)
        return 0
    for key in ("suite", "suite_hash", "created", "versions"):
        output.line(f"{key}: {facts.get(key)}")
    for feature in facts["features"]:
        output.line(
            f"{feature['name']}: {' x '.join(map(str, feature['rows']))}, {feature['encoder']}, "
            f"weights {feature['weights_sha256'][:8]}, for {', '.join(feature['protocols'])}"
        )
    return 0


@command.command("verify")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@options.suite_option
@_clips_option
@options.allow_outside_option
def verify(file: Path, suite: str, clips: str, allow_outside: bool) -> int:
    """Check that FILE belongs to a suite and was made from exactly these real clips. Exit code 2 if not."""
    from javisbench.reference.stored import StoredReference
    from javisbench.run.reference_job import verify_reference
    from javisbench.suite import load_suite

    problems = verify_reference(StoredReference.load(file), load_suite(suite, allow_outside=allow_outside), clips)
    for problem in problems:
        output.line(problem)
    if not problems:
        output.line(f"{file.name} was made from exactly these clips.")
    return 2 if problems else 0
