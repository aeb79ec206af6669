"""``javisbench score``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from javisbench.cli import options, output
from javisbench.cli.grouped import GroupedCommand

EPILOG = """\b
Examples:
  javisbench score clips/                              prompts beside the clips: ID.mp4, ID.txt
  javisbench score clips/ --suite javisbench-mini --name my-model
  javisbench score clips/ --suite my.csv --metrics av_align,health_* --json
  javisbench score clips/ --suite my.csv --reference real/ --protocol javisbench-v2
  javisbench score clips/ --suite my.csv --slice-by mood
  javisbench score --suite with_pred_video_path.csv
  javisbench score s3://bucket/clips --suite s3://bucket/my.csv --out s3://bucket/runs/mine
  javisbench score "clips-{0000..0015}.tar"
  javisbench score clips/ --suite javisbench --shard 3/8   one of eight machines; then javisbench merge
Clips are found by sample id (ID.mp4), else by row (sample_0000.mp4), else by --manifest.
A wav of the same name beside a clip is its sound; otherwise the clip's own track is.
"""


@click.command("score", epilog=EPILOG, cls=GroupedCommand)
@click.argument("clips", required=False, type=options.Place())
@options.scored_suite_option
@click.option("--name", help="How the maker of the clips is called in tables. [default: the folder's name]")
@click.option(
    "--manifest",
    type=options.Place(dir_okay=False, exists=True),
    help="CSV with columns id, video, audio.",
)
@options.scoring_options
@options.out_option
@options.limit_option
@options.shard_option
@options.repeats_option
@options.workers_option
@options.device_option
@options.seed_option
@options.allow_outside_option
@options.cache_options
@options.engine_options
@options.strict_option
@options.json_option
@options.verbosity
def command(clips: Path | str | None, **given: Any) -> int:
    """Score the clips of folder CLIPS against a suite's prompts, or those beside the clips, and print the table.

    CLIPS may be a URL (s3://, gs://, hf://, https://), or a .tar or .parquet file of clips, or several by pattern.
    """
    from javisbench.api import ScoringOptions, score
    from javisbench.cli.memory import keep_freed_memory
    from javisbench.cli.progress import make_progress

    options.setup_logging(given["quiet"], given["verbose"])
    keep_freed_memory()
    given = options.by_rank(given)
    scoring = scoring_options(given)
    assert isinstance(scoring, ScoringOptions)
    result = score(
        clips,
        suite=given["suite"],
        name=given["name"],
        out=given["out"],
        manifest=given["manifest"],
        limit=given["limit"],
        repeats=given["repeats"],
        shard=options.parse_shard(given["shard"]),
        allow_outside=given["allow_outside"],
        options=scoring,
        progress=make_progress(given["quiet"]),
    )
    return show_result(result, as_json=given["as_json"], strict=given["strict"])


def scoring_options(given: dict[str, Any]) -> Any:
    """The options of scoring, from those of a command."""
    from javisbench.api import JudgeOptions, ScoringOptions
    from javisbench.run.judging.options import parse_price

    return ScoringOptions(
        metrics=options.parse_metrics(given["metrics"]),
        protocols=given["protocols"],
        encoders=options.parse_pairs("--encoder", given["encoders"]),
        weights_dirs=given["weights_dirs"],
        reference=given["reference"],
        device=given["device"],
        workers=given["workers"],
        batch_clips=given["batch_clips"],
        seed=given["seed"],
        precision=given["precision"],
        compile=given["compile"],
        clip_memory_mib=given["clip_memory"],
        clip_deadline_s=given["clip_deadline"],
        patience_s=given["patience"],
        slice_by=given["slice_by"],
        speech_transcripts=options.parse_named_file("--speech-transcripts", given["speech_transcripts"]),
        engine=given.get("engine", "local"),
        engine_address=given.get("engine_address"),
        judge=JudgeOptions(
            url=given["judge_url"],
            alias=given["judge_alias"],
            parallel=given["judge_parallel"],
            rate=given["judge_rate"],
            budget=given["judge_budget"],
            price=parse_price(given["judge_price"]),
            timeout_s=given["judge_timeout"],
        ),
    )


def show_result(result: Any, *, as_json: bool, strict: bool) -> int:
    """Print a result; returns the exit code."""
    if as_json:
        output.json_document(result.summary)
    else:
        from javisbench.cli.report import print_run

        print_run(result.folder, result.protocol)
    return 1 if strict and result.failed_samples else 0
