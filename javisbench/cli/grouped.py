"""Commands with many options: their help lists them under headings."""

from __future__ import annotations

import click

# By the names of parameters; what is in none of them stands last.
HEADINGS: dict[str, tuple[str, ...]] = {
    "What": (
        "model",
        "params",
        "clips",
        "suite",
        "data_root",
        "pairs",
        "av_syncbench",
        "damages",
        "limit",
        "repeats",
        "name",
        "manifest",
        "slice_by",
        "allow_outside",
    ),
    "Clips to make": ("conform", "overwrite", "max_failures", "batch", "dtype", "dry_run"),
    "Scores": (
        "metrics",
        "protocols",
        "protocol",
        "encoders",
        "reference",
        "speech_transcripts",
        "precision",
        "compile",
        "seed",
    ),
    "Judges": (
        "judge_url",
        "judge_alias",
        "judge_parallel",
        "judge_rate",
        "judge_budget",
        "judge_price",
        "judge_timeout",
    ),
    "Machine": (
        "engine",
        "engine_address",
        "device",
        "overlap",
        "workers",
        "shard",
        "batch_clips",
        "clip_memory",
        "clip_deadline",
        "patience",
        "weights_dirs",
        "cache_dir",
        "cache_size",
    ),
    "Output": ("out", "html", "effects", "list_damages", "drop_clips", "strict", "as_json", "quiet", "verbose", "help"),
}


class GroupedCommand(click.Command):
    """A command whose help groups its options under `HEADINGS`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, one section a heading that has any."""
        records = {
            "help" if "--help" in parameter.opts else parameter.name: record
            for parameter in self.get_params(ctx)
            if (record := parameter.get_help_record(ctx)) is not None
        }
        for heading, names in HEADINGS.items():
            found = [records.pop(name) for name in names if name in records]
            if found:
                with formatter.section(heading):
                    formatter.write_dl(found)
        if records:
            with formatter.section("More"):
                formatter.write_dl(list(records.values()))
