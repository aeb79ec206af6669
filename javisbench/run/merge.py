"""Joining the shards of a run into the run that one machine would have made."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench import __version__
from javisbench.baselines.fingerprint import Hashes, difference
from javisbench.durable import atomic_path, is_temporary, locked, read_json, sweep_temporaries, write_jsonl
from javisbench.errors import RunError, UsageError
from javisbench.matching import Matched, clip_name, match_clips, match_generated
from javisbench.places import Cache, gather, holds_clips, is_url
from javisbench.results.checked_json import Checker
from javisbench.results.parquet import SCORES, read_parquet
from javisbench.results.run_folder import load_protocol, load_result, protocol_folder, read_failures, read_manifest
from javisbench.run.generate import sample_seed
from javisbench.run.judging.answers import join_answers
from javisbench.run.judging.options import JudgeOptions
from javisbench.run.log import run_log
from javisbench.run.manifest import now_text, set_aside_if_damaged, update_manifest, versions
from javisbench.run.not_as_asked import list_not_as_asked
from javisbench.run.progress import Progress, Silent
from javisbench.run.provenance import Differences, differences, made_with, told
from javisbench.run.scoring_job import ScoringOptions, score_matched
from javisbench.transcripts import read_transcripts

if TYPE_CHECKING:
    from javisbench.results.run_folder import StoredResult
    from javisbench.suite import Suite

_SHARD_NAME = re.compile(r"(.+)\.shard-\d+-of-\d+")
Place = tuple[str, int]
MAX_PATH = 4096
_GATHERING = "gathering clips"


@dataclass(frozen=True)
class MergeOptions:
    """How to merge; what is None is taken from the parts.

    Attributes:
        suite: where the suite lies now, or the suite itself.
        allow_missing: merge although clips are in no part; they are reported as missing.
        allow_versions: merge although different versions of javisbench made the parts.
        weights_dirs: folders with checkpoints.
        reference: of the set metrics.
        speech_transcripts: where what the user's own recogniser heard lies now, as in `ScoringOptions`.
        device: torch device; only used for features that no part could make.
        workers: decoding processes, likewise.
    """

    suite: str | Suite | None = None
    allow_missing: bool = False
    allow_versions: bool = False
    weights_dirs: Sequence[Path] = ()
    reference: str | None = None
    speech_transcripts: tuple[str, str | Path] | None = None
    device: str | None = None
    workers: int | None = None


@dataclass
class _Part:
    """One run folder: its manifest, its finished clips by place, and what it could not make.

    A generated part holds its clips, each with its facts. A scored one knows only which it scored, bad and missing ones
    too: they lie where all parts found them.
    """

    folder: Path
    manifest: dict[str, Any]
    clips: dict[Place, dict[str, Any]] = field(default_factory=dict)
    failures: dict[Place, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> _Part:
        manifest = read_manifest(folder)
        part = cls(folder, manifest)
        part._check()
        if part.generated:
            part._read_generated()
        else:
            part._read_scored()
        return part

    def _check(self) -> None:
        """Refuse what is no part, and a manifest without the facts that parts are compared by."""
        if not self.generated and "matching" not in self.manifest:
            raise UsageError(f"{self.folder} is no run that javisbench generated or scored (or it was not begun).")
        check = Checker(str(self.folder / "run.json"))
        shard = self.made.get("shard")
        if not isinstance(shard, list) or len(shard) != 2:
            check.fail("shard", "is not a pair of numbers")
        for number in (*shard, self.made.get("repeats")):
            check.count(number, "shard or repeats")
        suite = self.manifest.get("suite", {})
        for name in ("name", "hash", "source"):
            check.string(suite.get(name), f"suite.{name}", MAX_PATH)
        check.count(suite.get("total"), "suite.total")

    def _read_generated(self) -> None:
        for sidecar in sorted((self.folder / "clips").glob("[!.]*.json")):
            facts = read_json(sidecar)
            told: dict[str, Any] = facts if isinstance(facts, dict) else {}
            place = str(told.get("sample_id")), told.get("repeat", -1)
            if sidecar.stem != clip_name(*place) or not isinstance(told.get("files"), dict):
                raise RunError(
                    f"{sidecar} does not tell of the clip beside it. Remove it and run the shard's command again.",
                    kind="damaged",
                )
            self.clips[place] = told
        for row in read_failures(self.folder):
            place = str(row.get("sample_id")), int(row.get("repeat", 0))
            if row.get("stage") == "generate" and place not in self.clips:
                self.failures[place] = row

    def _read_scored(self) -> None:
        if not (self.folder / "scores.parquet").is_file():
            raise _not_scored(self.folder)
        rows = read_parquet(self.folder / "scores.parquet", SCORES, advice="Score the part again.")
        self.clips = {(str(name), int(repeat)): {} for name, repeat in rows[["sample_id", "repeat"]].to_numpy()}

    @property
    def generated(self) -> bool:
        return "generation" in self.manifest and "identity" in self.manifest.get("model", {})

    @property
    def made(self) -> dict[str, Any]:
        """What decided the part's clips: how they were generated, or where they were found; and its shard."""
        made: dict[str, Any] = self.manifest["generation" if self.generated else "matching"]
        return made

    @property
    def shard(self) -> str:
        index, count = self.made["shard"]
        return f"{index}/{count}"

    @property
    def weights(self) -> Hashes:
        """Hashes of the model's files."""
        hashes: Hashes = self.manifest["model"].get("weights", {})
        return hashes

    @property
    def requests(self) -> dict[str, dict[str, Any]]:
        """Protocol to how its scores were asked for; empty when it was not scored."""
        scoring = self.manifest.get("scoring", {})
        if scoring.get("begun"):
            raise _not_scored(self.folder)
        found: dict[str, dict[str, Any]] = scoring.get("requests", {})
        return found


def merge_runs(
    runs: Sequence[Path],
    out: Path | None = None,
    *,
    options: MergeOptions | None = None,
    progress: Progress | None = None,
) -> StoredResult | None:
    """Join shards: link or copy clips and features, then make scores and summary anew from the stored features.

    The result equals that of one run over all samples: ``scores.parquet``, ``details.parquet``, ``failures.jsonl`` and
    ``summary.json`` to the byte, if the machines compute alike. ``run.json`` tells of the parts, and of this machine.

    Args:
        runs: the parts, in any order.
        out: the new run's folder; default: the parts' common name without ``.shard-I-of-N``.
        options: see `MergeOptions`.
        progress: shown to the user.

    Returns:
        the scored run; None when the parts were generated but not scored.

    Raises:
        UsageError: a folder is no generated or scored run, there is no name for the new one, or transcripts are not
            those that the parts were scored by.
        RunError: the parts do not fit together, overlap, or miss clips; or one is still in use.
    """
    options = options or MergeOptions()
    if len(runs) < 2 or len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("Give two or more different run folders to merge.")
    target = out or _default_target(runs)
    with contextlib.ExitStack() as stack:
        for run in runs:
            stack.enter_context(_held(run))
        parts = sorted((_Part.read(run) for run in runs), key=lambda part: part.made["shard"])
        _check_alike(parts)
        unlike = _unlike(parts, allow_versions=options.allow_versions)
        _check_transcripts(parts[0], options)
        suite = _suite(parts[0], options)
        chosen = _choose(parts, suite, allow_missing=options.allow_missing)
        stack.enter_context(locked(target))
        _check_target(target, parts)
        shown = stack.enter_context(run_log(target, progress or Silent()))
        sweep_temporaries(target)
        _begin(target, parts, unlike)
        for component, versions in unlike.items():
            shown.say(f"Warning: parts differ in {told(component, versions)}; scores can differ in their last digits")
        _copy(target, parts, chosen, shown)
        return _score(target, parts[0], suite, chosen, options, shown)


def _default_target(runs: Sequence[Path]) -> Path:
    names = {match[1] if (match := _SHARD_NAME.fullmatch(str(run.resolve()))) else None for run in runs}
    name = names.pop() if len(names) == 1 else None
    if name is None:
        raise UsageError("Say where the merged run goes: --out FOLDER.")
    return Path(name)


@contextlib.contextmanager
def _held(run: Path) -> Iterator[None]:
    """The part's lock; parts on read-only disks need none."""
    if not (run / "run.json").is_file():
        raise UsageError(f"{run} is no run folder: it has no run.json.")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(run))
        except RunError as error:
            if error.kind != "not_writable":
                raise
        yield


def _check_alike(parts: Sequence[_Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        differing = difference(first.weights, part.weights)
        if differing:
            raise RunError(
                f"{first.folder} and {part.folder} do not fit together: they were made with other files of the model: "
                f"{'; '.join(differing)}. Only shards of the same job can be merged.",
                kind="parts_differ",
            )
        for what, one, other in zip(_FACTS, _facts(first), _facts(part), strict=True):
            if one != other:
                here, there = _differing(one, other)
                raise RunError(
                    f"{first.folder} and {part.folder} do not fit together: {what} differs ({_short(here)} and "
                    f"{_short(there)}). Only shards of the same job can be merged.",
                    kind="parts_differ",
                )
        if part.shard == first.shard:
            raise RunError(f"{first.folder} and {part.folder} are both shard {part.shard}.", kind="parts_overlap")


_FACTS = ("the model", "the suite", "the folder of clips", "--manifest", "the seed", "the number of repeats",
          "--conform", "--limit", "--dtype", "shards", "what was scored and how",
          "encoders and their weights", "what a recogniser heard (--speech-transcripts)")  # fmt: skip


def _facts(part: _Part) -> list[Any]:
    # Places that may differ by machine: what lies there is compared.
    unlike = ("weights_dirs", "speech_transcripts")
    asked = {name: {k: v for k, v in request.items() if k not in unlike} for name, request in part.requests.items()}
    keys = ("clips", "manifest", "seed", "repeats", "conform", "limit", "dtype")
    return [
        part.manifest["model"].get("identity") if part.generated else None,
        [part.manifest["suite"][key] for key in ("name", "hash", "total")],
        *(part.made.get(key) for key in keys),
        part.made["shard"][1],
        asked,
        _told(part, "encoders"),
        _told(part, "speech_transcripts"),
    ]


def _differing(one: Any, other: Any) -> tuple[Any, Any]:
    """Both without the members in which they agree."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return one, other
    pairs = {name: _differing(one.get(name), other.get(name)) for name in {**one, **other}}
    unlike = {name: pair for name, pair in pairs.items() if one.get(name) != other.get(name)}
    return {name: here for name, (here, _) in unlike.items()}, {name: there for name, (_, there) in unlike.items()}


def _unlike(parts: Sequence[_Part], *, allow_versions: bool) -> Differences:
    """Where the parts (and this javisbench, which makes their scores anew) differ in what computed them.

    Raises:
        RunError: in the version of javisbench, unless that is allowed.
    """
    made = {part.shard: made_with(part.manifest, part.clips.values()) for part in parts}
    unlike = differences({**made, "this one": {"javisbench": {__version__}}})
    if "javisbench" in unlike and not allow_versions:
        raise RunError(
            f"The parts and the merged scores would come from different versions: "
            f"{told('javisbench', unlike['javisbench'])}. Make the parts and merge them with one version, or merge "
            f"them as they are with --allow-versions.",
            kind="parts_differ",
        )
    return unlike


def _told(part: _Part, member: str) -> dict[str, Any]:
    """Protocol to what the part's result says of how it was scored."""
    found = {}
    first = part.manifest.get("first_protocol")
    for name in part.requests:
        path = protocol_folder(part.folder, name, first)
        if not (path / "summary.json").is_file():
            raise _not_scored(part.folder)
        found[name] = load_result(path).run.get(member)
    return found


def _check_transcripts(part: _Part, options: MergeOptions) -> None:
    """Refuse transcripts that are not those by which the part, and so all parts, were scored."""
    given = options.speech_transcripts
    recorded = _told(part, "speech_transcripts")
    if given is not None and not any(recorded.values()):
        raise UsageError("The parts were scored without transcripts: leave --speech-transcripts out.")
    for name, asked in part.requests.items():
        if not recorded[name]:
            continue
        recogniser, path = given or asked["speech_transcripts"]
        if given is None and not Path(path).exists():
            raise UsageError(
                f"The transcripts that the parts were scored by are no longer at {path}. Say where they lie now: "
                f"--speech-transcripts {recogniser}=FILE."
            )
        found = read_transcripts(recogniser, path).facts
        if found != recorded[name]:
            raise UsageError(
                f"{path} is not what the parts were scored by ({_short(_differing(recorded[name], found)[0])}). Give "
                f"that file with --speech-transcripts, or score the parts again."
            )


def _not_scored(folder: Path) -> RunError:
    return RunError(f"{folder} was not scored to its end. Run its command again.", kind="parts_missing")


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _suite(part: _Part, options: MergeOptions) -> Suite:
    """The suite of the parts, in the extent that they were made for.

    Raises:
        RunError: it is another version now.
    """
    from javisbench.run.own_suite import recorded_source
    from javisbench.suite import Suite, load_suite

    facts = part.manifest["suite"]
    if isinstance(options.suite, Suite):
        suite = options.suite
    else:
        suite = load_suite(options.suite or recorded_source(facts), allow_outside=True)
    if suite.hash != facts["hash"]:
        raise RunError(
            f"The suite {suite.name} ({suite.source}) is not the one that the parts were made for: its prompts differ. "
            f"Give the right one with --suite.",
            kind="parts_differ",
        )
    # The name is part of seeds and tables, and a moved file may be called otherwise.
    return replace(suite, name=facts["name"], source=facts["source"]).limited(part.made.get("limit"))


def _choose(parts: Sequence[_Part], suite: Suite, *, allow_missing: bool) -> dict[Place, _Part]:
    """Which part each place comes from, finished or failed.

    Raises:
        RunError: parts overlap, a clip is another job's, or places are in no part.
    """
    made = parts[0].made
    chosen: dict[Place, _Part] = {}
    missing: list[str] = []
    for sample in suite:
        for repeat in range(made["repeats"]):
            place = sample.id, repeat
            owners = [part for part in parts if place in part.clips] or [p for p in parts if place in p.failures]
            if len(owners) > 1:
                names = " and ".join(str(part.folder) for part in owners)
                raise RunError(f"{clip_name(*place)} is in more than one part: {names}.", kind="parts_overlap")
            if not owners:
                missing.append(clip_name(*place))
                continue
            chosen[place] = owners[0]
            facts = owners[0].clips.get(place)
            alike = not facts or (
                facts["seed"] == sample_seed(made["seed"], suite.name, sample.id, repeat)
                and facts["prompts"] == sample.prompts
                and not difference(facts.get("weights", {}), owners[0].weights)
            )
            if not alike:
                raise RunError(
                    f"{owners[0].folder}: {clip_name(*place)} was made with another seed, prompt or checkpoint. Make "
                    f"it again: run the shard's command with --overwrite.",
                    kind="parts_differ",
                )
    if missing and not allow_missing:
        given = ", ".join(part.shard for part in parts)
        raise RunError(
            f"{len(missing)} clips are in no part (such as {missing[0]}); given were the shards {given}. Finish or add "
            f"the others, or merge what there is with --allow-missing.",
            kind="parts_missing",
        )
    return chosen


def _check_target(target: Path, parts: Sequence[_Part]) -> None:
    if any(target.resolve() == part.folder.resolve() for part in parts):
        raise UsageError(f"{target} is one of the parts; choose another folder with --out.")
    merging = _was_merged(target)
    if merging:
        set_aside_if_damaged(target)
    earlier = read_manifest(target)
    # A merge that was killed at once leaves no more than these.
    begun = (".lock", "log.txt")
    others = (path for path in target.iterdir() if path.name not in begun and not is_temporary(path, "run.json"))
    if not earlier and not merging and any(others):
        raise RunError(f"{target} is not empty. Choose another folder with --out.")
    if earlier and [fact["folder"] for fact in earlier.get("merged", ())] != _folders(parts):
        raise RunError(f"{target} is another run. Choose another folder with --out.")


def _was_merged(target: Path) -> bool:
    """Whether the folder's log tells of a merge, where its manifest can tell nothing."""
    try:
        with (target / "log.txt").open(encoding="utf-8", errors="replace") as log:
            return any(f"{_GATHERING}: " in line for line in log)
    except OSError:
        return False


def _folders(parts: Sequence[_Part]) -> list[str]:
    return [str(part.folder.resolve()) for part in parts]


def _begin(target: Path, parts: Sequence[_Part], unlike: Differences) -> None:
    first = parts[0].manifest
    merged = [
        {
            "folder": str(part.folder.resolve()),
            "shard": part.shard,
            "versions": part.manifest.get("versions", {}),
            "hardware": part.manifest.get("scoring", {}).get("hardware"),
        }
        for part in parts
    ]
    changes: dict[str, Any] = {key: first[key] for key in ("model", "suite")}
    changes["generation" if parts[0].generated else "matching"] = {**parts[0].made, "shard": [0, 1]}
    changes |= {"merged": merged, "merged_at": now_text(), "versions": versions()}
    changes["differences"] = unlike
    if "first_protocol" in first:
        changes["first_protocol"] = first["first_protocol"]
    update_manifest(target, changes)


def _copy(target: Path, parts: Sequence[_Part], chosen: Mapping[Place, _Part], progress: Progress) -> None:
    with progress.stage(_GATHERING, len(chosen)) as stage:
        for place, part in chosen.items():
            if part.generated and place in part.clips:
                # The sidecar last: it is what makes a clip count as finished.
                for name in (*part.clips[place]["files"], f"{clip_name(*place)}.json"):
                    _link(part.folder / "clips" / Path(name).name, target / "clips" / Path(name).name)
            stage.advance(failed=None if place in part.clips else clip_name(*place))
    shards = [shard for part in parts for shard in sorted((part.folder / "features").glob("shard-*.safetensors"))]
    for number, shard in enumerate(shards):
        _link(shard, target / "features" / f"shard-{number:06d}.safetensors")
    join_answers([part.folder for part in parts], target)
    rows = [part.failures[place] for place, part in chosen.items() if place in part.failures]
    write_jsonl(target / "failures.jsonl", rows)
    list_not_as_asked(target)


def _link(source: Path, target: Path) -> None:
    """A hard link where the disk is the same, else a copy.

    Raises:
        RunError: the part has lost the file, or the disk is full.
    """
    if target.exists() and target.samefile(source):
        return
    if not source.is_file():
        raise RunError(f"{source} is missing, although it was finished. Run the shard's command again.", kind="damaged")
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def _score(
    target: Path,
    part: _Part,
    suite: Suite,
    chosen: Mapping[Place, _Part],
    options: MergeOptions,
    progress: Progress,
) -> StoredResult | None:
    if not part.requests:
        return None
    first = part.manifest["first_protocol"]
    for group in _groups(part.requests, first):
        sliced = suite.sliced_by(group[0].get("slice_by", ()))
        score_matched(target, sliced, _match(target, part, sliced, chosen), _scoring(group, options), progress)
    return load_protocol(target, first)


def _match(target: Path, part: _Part, suite: Suite, chosen: Mapping[Place, _Part]) -> Matched:
    made = part.made
    if part.generated:
        return match_generated(target / "clips", suite, made["repeats"])
    folder = None if made["clips"] is None else Path(made["clips"])
    manifest = None if made["manifest"] is None else _table_here(made["manifest"])
    if made["clips"] is not None and holds_clips(made["clips"]):
        folder = gather(made["clips"], Cache.from_environment())
    matched = match_clips(folder, suite, manifest=manifest, repeats=made["repeats"])
    # What no part scored counts as missing, though its clip lies there.
    items = (item if (item.sample.id, item.repeat) in chosen else replace(item, source=None) for item in matched.items)
    return replace(matched, items=tuple(items))


def _table_here(place: str) -> Path:
    return Cache.from_environment().file(place) if is_url(place) else Path(place)


def _groups(requests: Mapping[str, Mapping[str, Any]], first: str) -> list[list[Mapping[str, Any]]]:
    """Requests that differ in nothing but the protocol are one job; the run's first protocol comes first."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for name in sorted(requests, key=lambda name: name != first):
        rest = {key: value for key, value in requests[name].items() if key != "protocol"}
        groups.setdefault(json.dumps(rest, sort_keys=True), []).append(requests[name])
    return list(groups.values())


def _scoring(group: Sequence[Mapping[str, Any]], options: MergeOptions) -> ScoringOptions:
    asked = group[0]
    recorded = [Path(folder) for folder in asked["weights_dirs"] if Path(folder).is_dir()]
    heard = asked.get("speech_transcripts")
    return ScoringOptions(
        metrics=asked["metrics"],
        protocols=[request["protocol"] for request in group],
        encoders=asked["encoders"],
        weights_dirs=options.weights_dirs or recorded,
        reference=options.reference or asked["reference"],
        seed=asked["seed"],
        precision=asked.get("precision", "fp32"),
        speech_transcripts=(options.speech_transcripts or tuple(heard)) if heard else None,
        compile=bool(asked.get("compile", False)),
        device=options.device,
        workers=options.workers,
        # The parts have asked; whoever joins them needs no endpoint.
        judge=JudgeOptions(ask=False),
    )
