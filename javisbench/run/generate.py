"""Generating the clips of a suite: seeds, batches, files, failures, and going on where a run stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Generator as Answers
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from javisbench.baselines.base import Conditions, Failed, Generated, Generator, Plan, Request
from javisbench.baselines.fingerprint import Hashes, content, deciding_files, difference, hash_files, unread_bytes
from javisbench.baselines.registry import models_for, naming_package
from javisbench.durable import append_jsonl, patiently, read_json, write_bytes, write_json, write_jsonl
from javisbench.errors import GenerationError, JavisbenchError, MediaError, RunError, SystemFaultError
from javisbench.matching import clip_name
from javisbench.media.errors import OUT_OF_REACH
from javisbench.results.run_folder import NOT_AS_ASKED, read_failures
from javisbench.run.clean import PROMPTS, STAGING
from javisbench.run.conform import conform_clip
from javisbench.run.device import EngineName, device_kind
from javisbench.run.given import GivenFiles
from javisbench.run.manifest import now_text, versions
from javisbench.run.model_answers import answers, prepare
from javisbench.run.not_as_asked import list_not_as_asked
from javisbench.run.progress import GENERATING
from javisbench.run.store_clip import place_clip
from javisbench.tasks import TASKS
from javisbench.weights.hashes import file_sha256

if TYPE_CHECKING:
    from javisbench.clip import Clip, ClipSpec
    from javisbench.run.progress import Progress, Stage
    from javisbench.suite import Sample, Suite
    from javisbench.weights import WeightStore

log = logging.getLogger(__name__)
Conform = Literal["native", "exact"]
Fate = Literal["kept", "made", "failed"]
Settled: TypeAlias = "Callable[[Sample, int, Fate], None]"
"""Told of a clip (sample, repeat) when nothing will happen to it any more; in any thread."""
CONSECUTIVE_FAILURES = 5
_SLOW_BYTES = 10**9
FILE_SUFFIXES = (".mp4", ".wav")
# Of what is told in the end: characters of a reason, kinds of failures, and differences.
_TOLD, _KINDS, _DIFFERENCES = 300, 6, 3


@dataclass(frozen=True)
class GenerateSettings:
    """How to generate.

    Attributes:
        seed: base seed.
        repeats: clips a prompt.
        shard: (i, n): every n-th sample from i.
        conform: ``native`` keeps the model's size, rate and length; ``exact`` resizes, resamples and trims.
        overwrite: replace clips that were made with other settings.
        max_failures: stop after this many failures (a count, or a share of the clips below 1); None for no limit.
        batch: clips a call, at most the generator's own limit; None for that limit.
        device: torch device; None for cuda when present.
        dtype: ``auto``, ``float32`` or ``bfloat16``.
        engine: ``local``, or ``ray``: clips are made by the machines of a Ray cluster (``javisbench[ray]``).
        engine_address: of the cluster (``HOST:PORT``, ``auto``); None for ``$RAY_ADDRESS``, else one on this machine.
        patience_s: seconds that the file system has to recover before a clip counts as not to be written, and the job
            stops.
    """

    seed: int = 0
    repeats: int = 1
    shard: tuple[int, int] = (0, 1)
    conform: Conform = "native"
    overwrite: bool = False
    max_failures: float | None = None
    batch: int | None = None
    device: str | None = None
    dtype: str = "auto"
    engine: EngineName = "local"
    engine_address: str | None = None
    patience_s: float = 60.0


@dataclass(frozen=True)
class MadeFiles:
    """A clip that was made elsewhere, as its finished files.

    Attributes:
        request: what it answers.
        files: suffix (``.mp4``, ``.wav``) to bytes.
        info: as for `Generated`.
        how: see `making_facts`.
    """

    request: Request
    files: Mapping[str, bytes]
    info: Mapping[str, Any]
    how: Mapping[str, Any]


class RemoteMaker(Protocol):
    """Makes clips in other processes, here or on other machines, which have the model."""

    def make(self, batches: Sequence[list[Request]], hashes: Hashes | None) -> Answers[MadeFiles | Failed, None, None]:
        """One answer a request, in any order; `hashes` are of the model's files, None where it has none."""


@dataclass
class GenerateOutcome:
    """What a generation job did.

    Attributes:
        made: clips that were made.
        kept: clips that were there.
        failed: clips that could not be made.
        reasons: kind of failure to how many there are and what is said of the first one.
        odd: of `made`, those that are not quite as asked.
        differences: in what, and how many of them.
    """

    made: int = 0
    kept: int = 0
    failed: int = 0
    reasons: dict[str, tuple[int, str]] = field(default_factory=dict)
    odd: int = 0
    differences: Counter[str] = field(default_factory=Counter)

    def lines(self) -> Iterator[str]:
        """The same in words, for users."""
        yield f"Clips: {self.made} made, {self.kept} there already, {self.failed} failed"
        common = sorted(self.reasons.items(), key=lambda reason: -reason[1][0])
        for kind, (count, message) in common[:_KINDS]:
            yield f"  {count} x {kind}: {message if len(message) <= _TOLD else f'{message[: _TOLD - 1]}…'}"
        if len(common) > _KINDS:
            yield f"  and {len(common) - _KINDS} further kinds, in failures.jsonl"
        if self.odd:
            most = [f"{count} x {told}" for told, count in self.differences.most_common(_DIFFERENCES)]
            others = ["and others"] if len(self.differences) > _DIFFERENCES else []
            told = "; ".join([*most, *others])
            yield f"  {self.odd} are not quite as asked (by sample in {NOT_AS_ASKED}): {told}"


def sample_seed(base_seed: int, suite: str, sample_id: str, repeat: int) -> int:
    """63 bits from what names a clip alone, so that order, batches and shards do not matter."""
    text = json.dumps([base_seed, suite, sample_id, repeat]).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def check_suite(generator: Generator, suite: Suite, repeats: int = 1) -> None:
    """Refuse what makes no sense together.

    Raises:
        GenerationError: a model that does not take the suite's task; an unconditional model in a text suite, or the
            other way round; a sample without a prompt; two clips of one name.
    """
    _check_task(generator, suite)
    if suite.unconditional and generator.needs_text:
        raise GenerationError(f"{generator.card_id} needs prompts, and the suite {suite.name} has none.")
    if not suite.unconditional and not generator.needs_text:
        raise GenerationError(
            f"{generator.card_id} is unconditional: it cannot follow the prompts of {suite.name}. Use --suite "
            f"landscape or --suite aist++."
        )
    silent = [sample.id for sample in suite if not sample.text]
    if generator.needs_text and silent and suite.task_facts.condition is None:
        raise GenerationError(f"{len(silent)} samples of {suite.name} have no prompt to follow, such as {silent[0]}.")
    if repeats > 1:
        _check_names(suite, repeats)


def _check_task(generator: Generator, suite: Suite) -> None:
    if suite.task in generator.tasks:
        return
    facts = suite.task_facts
    given = "prompts alone" if facts.condition is None else f"{facts.condition} files"
    takes = " and ".join(f"{task} ({TASKS[task].title})" for task in TASKS if task in generator.tasks)
    stages = {"v2a": "cascade:t2v=wan2.1-1.3b,v2a=", "a2v": "cascade:t2a=audioldm2,a2v="}
    stage = next((pair for task, pair in stages.items() if generator.tasks == {task}), None)
    hint = f" As a stage: --model {stage}{generator.card_id}." if stage and suite.task == "t2av" else ""
    raise GenerationError(
        f"{generator.card_id} takes {takes}, and {suite.name} is a suite of {suite.task} ({facts.title}): it gives "
        f"{given}.{hint} Models that take it: {', '.join(models_for(suite.task))}."
    )


def _check_names(suite: Suite, repeats: int) -> None:
    """A sample may be called like a further clip of another."""
    ids = {sample.id.lower(): sample.id for sample in suite}
    for sample in suite:
        for repeat in range(1, repeats):
            other = ids.get(clip_name(sample.id, repeat).lower())
            if other is not None:
                raise GenerationError(
                    f"With {repeats} repeats, clip {repeat} of {sample.id} and the sample {other} of {suite.name} "
                    f"would be one file. Give one of them another id."
                )


def generate_clips(
    run: Path,
    suite: Suite,
    generator: Generator,
    weights: WeightStore,
    settings: GenerateSettings,
    identity: Mapping[str, Any],
    progress: Progress,
    accepted: Callable[[Hashes | None], None] = lambda _: None,
    remote: RemoteMaker | None = None,
    settled: Settled = lambda *_: None,
) -> GenerateOutcome:
    """Make every clip of the suite (of the shard) that is not there yet.

    Args:
        run: the run's folder, locked by the caller.
        suite: the prompts.
        generator: not loaded yet; it is only loaded when something is to be made, and closed at the end.
        weights: where to find checkpoints.
        settings: seeds, shards, limits.
        identity: what names the model: spec and resolved parameters; part of every clip's key.
        progress: shown to the user.
        accepted: called once it is clear that no other clips are in the way, before anything is made, with the hashes
            of the model's files (None when they are not here, and nothing is to be made).
        remote: what makes the clips in place of this process.
        settled: told of every clip that was there, that is made or that has failed.

    Raises:
        RunError: clips made with other settings or weights are in the way, or too many failures.
        MissingWeightsError: the model's weights are not here.
    """
    check_suite(generator, suite, settings.repeats)
    with naming_package(generator, "plan"):
        plan = generator.plan(suite.setting_to_make)
    hashes, absent = _hashes(generator, weights, progress)
    job = _Job(run, suite, generator, settings, dict(identity), hashes, plan, progress, settled)
    todo = job.todo()
    if todo and absent is not None:
        raise absent
    accepted(hashes)
    job.fail_without()
    # Of a process that was killed; the caller holds the lock.
    shutil.rmtree(run / STAGING, ignore_errors=True)
    if not todo:
        job.sort_failures()
        list_not_as_asked(run)
        if absent is not None:
            progress.say("The model's files are not here: the clips were not compared with their weights.")
        return job.outcome
    try:
        if remote is not None:
            job.forget(todo)
            job.run_remotely(todo, remote)
        else:
            job.run_here(todo, weights)
        job.sort_failures()
        list_not_as_asked(run)
        if not job.outcome.failed:
            shutil.rmtree(run / PROMPTS, ignore_errors=True)
    finally:
        shutil.rmtree(run / STAGING, ignore_errors=True)
    return job.outcome


def _hashes(
    generator: Generator, weights: WeightStore, progress: Progress
) -> tuple[Hashes | None, JavisbenchError | None]:
    """The hashes of the model's files, or why there are none: a finished run is complete without them."""
    try:
        files = deciding_files(generator, weights)
        unread = unread_bytes(files, weights)
        if unread >= _SLOW_BYTES:
            progress.say(f"Hashing {unread / 1e9:.1f} GB of weights (once; the hashes are kept)")
        return hash_files(files, weights), None
    except JavisbenchError as error:
        return None, error


@dataclass
class _Job:
    folder: Path
    suite: Suite
    generator: Generator
    settings: GenerateSettings
    identity: dict[str, Any]
    hashes: Hashes | None
    plan: Plan
    progress: Progress
    settled: Settled
    outcome: GenerateOutcome = field(default_factory=GenerateOutcome)
    _in_a_row: int = 0
    _latest: str = ""
    _total: int = 0
    _given: GivenFiles = field(default_factory=GivenFiles)
    _without: list[Failed] = field(default_factory=list)
    # Once for all clips: reading what a dozen packages say of themselves takes longer than encoding a short clip.
    _versions: dict[str, str] = field(default_factory=versions)
    _counting: threading.Lock = field(default_factory=threading.Lock)

    @property
    def clips(self) -> Path:
        return self.folder / "clips"

    def requests(self) -> Iterator[Request]:
        first, count = self.settings.shard
        for sample in self.suite:
            if sample.index % count == first:
                for repeat in range(self.settings.repeats):
                    yield self._request(sample, repeat)

    def _request(self, sample: Sample, repeat: int) -> Request:
        seed = sample_seed(self.settings.seed, self.suite.name, sample.id, repeat)
        task = self.suite.task
        return Request(sample, sample.index, repeat, seed, self.plan, sample.prompts, Conditions.of(sample, task), task)

    def key(self, request: Request, hashes: Hashes) -> str:
        """Hash over everything that decides the clip; `hashes` of the files that it is or was made with."""
        own = {aspect.id for aspect in self.suite.own_aspects}
        given = {aspect: found for aspect, found in request.sample.categories.items() if aspect not in own}
        categories = given if self.generator.uses_categories else None
        prompts = dict(request.prompts)
        facts: list[Any] = [
            self.identity,
            self.settings.conform,
            request.seed,
            prompts,
            categories,
            _plan_json(self.plan),
        ]
        if self.suite.task_facts.condition is not None:
            told = {column: request.sample.extra.get(column) for column in self.generator.condition_columns}
            facts.append({"task": request.task, "given": self._given.digests(request.conditions), "columns": told})
        if self.settings.dtype != "auto":
            facts.append(self.settings.dtype)
        if self.generator.uses_columns:
            facts.append({column: request.sample.extra.get(column) for column in self.generator.uses_columns})
        if hashes:
            facts.append(content(hashes))
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

    def todo(self) -> list[Request]:
        """Requests without a finished clip.

        Raises:
            RunError: finished clips were made with other settings or weights, and `overwrite` is off.
        """
        todo: list[Request] = []
        changed: list[str] = []
        reweighted: dict[str, list[str]] = {}
        requests = list(self.requests())
        self._total = len(requests)
        self._given.read((path for request in requests for path in request.conditions.files.values()), self.progress)
        for request in requests:
            try:
                self._given.digests(request.conditions)
            except MediaError as error:
                if error.kind in OUT_OF_REACH:
                    raise
                self._without.append(Failed(request, "generate", "bad_condition", error.message, retryable=False))
                continue
            state = self._state(request)
            if state == "done":
                self.outcome.kept += 1
                self.settled(request.sample, request.repeat, "kept")
                continue
            name = clip_name(request.sample.id, request.repeat)
            if state == "changed":
                changed.append(name)
            elif state != "absent":
                reweighted[name] = state
            todo.append(request)
        if reweighted and not self.settings.overwrite:
            first, differing = next(iter(reweighted.items()))
            raise RunError(
                f"{len(reweighted)} clips in {self.clips} (such as {first}) were made with other files of the model. "
                f"These differ: {'; '.join(differing)}. Replace the clips with --overwrite, or choose another folder "
                f"with --out.",
                kind="changed_weights",
            )
        if changed and not self.settings.overwrite:
            raise RunError(
                f"{len(changed)} clips in {self.clips} (such as {changed[0]}) were made with other settings or "
                f"prompts, or were changed afterwards. Replace them with --overwrite, or choose another folder with "
                f"--out.",
                kind="changed_settings",
            )
        return todo

    def _state(self, request: Request) -> Literal["done", "changed", "absent"] | list[str]:
        """How far a clip is; a list names the model's files that differ from those that it was made with."""
        sidecar = self.clips / f"{clip_name(request.sample.id, request.repeat)}.json"
        if not sidecar.exists():
            return "absent"
        try:
            facts = read_json(sidecar)
            files: dict[str, str] = facts["files"]
            hashes: Hashes = facts.get("weights", {})
            if facts["key"] != self.key(request, hashes):
                return "changed"
            if self.hashes is not None and content(hashes) != content(self.hashes):
                return difference(hashes, self.hashes)
        except SystemFaultError:
            raise
        except (RunError, KeyError, TypeError, AttributeError):
            return "absent"
        for name, digest in files.items():
            path = self.clips / Path(name).name
            if not path.is_file():
                return "absent"
            if file_sha256(path) != digest:
                return "changed"
        return "done"

    def forget(self, todo: Sequence[Request]) -> None:
        """Drop failure lines and sidecars of clips that are made again.

        A clip without a sidecar is unfinished, whatever files lie there. All of them first, so that nothing made with
        other settings is scored when making it again fails.
        """
        again = {(request.sample.id, request.repeat) for request in todo}
        rows = read_failures(self.folder)
        kept = [r for r in rows if r.get("stage") != "generate" or (r.get("sample_id"), r.get("repeat")) not in again]
        if len(kept) != len(rows):
            write_jsonl(self.folder / "failures.jsonl", kept)
        for request in todo:
            (self.clips / f"{clip_name(request.sample.id, request.repeat)}.json").unlink(missing_ok=True)

    def sort_failures(self) -> None:
        """Bring failure lines into the suite's order: which came first depends on batches, shards and resuming."""
        rows = read_failures(self.folder)
        places = {sample.id: sample.index for sample in self.suite}

        def order(row: Mapping[str, Any]) -> tuple[bool, int, int]:
            if row.get("stage") != "generate":
                return True, 0, 0
            return False, places.get(str(row.get("sample_id")), -1), int(row.get("repeat", 0))

        ordered = sorted(rows, key=order)
        if ordered != rows:
            write_jsonl(self.folder / "failures.jsonl", ordered)

    def fail_without(self) -> None:
        """List the clips whose given file cannot be read: the model is not asked for them.

        Raises:
            RunError: they are more than the settings allow.
        """
        if not self._without:
            return
        requests = [failed.request for failed in self._without]
        self.forget(requests)
        with self.progress.stage(GENERATING, len(requests)) as stage:
            for failed in self._without:
                self._fail(failed, stage, of_model=False)
        self._check_limits()

    def run_here(self, todo: Sequence[Request], weights: WeightStore) -> None:
        generator = self.generator
        generator.staging = self.folder / STAGING
        generator.prompt_folder = self.folder / PROMPTS
        with naming_package(generator, "load"):
            generator.load(self.settings.device or "cpu", self.settings.dtype, weights)
        try:
            self.forget(todo)
            prepare(generator, todo)
            self.run(todo)
        finally:
            generator.close()

    def run(self, todo: Sequence[Request]) -> None:
        size = min(self.generator.max_batch, self.settings.batch or self.generator.max_batch)
        with self.progress.stage(GENERATING, len(todo)) as stage, ThreadPoolExecutor(1) as writer:
            pending: list[Future[None]] = []
            for start in range(0, len(todo), size):
                batch = list(todo[start : start + size])
                failed = False
                asked = time.monotonic()
                for answer in answers(self.generator, batch):
                    asked, made_s = time.monotonic(), time.monotonic() - asked
                    # Encoding one batch overlaps with the making of the next. Failures take the same way, so that
                    # those in a row are counted in the order of the answers.
                    if isinstance(answer, Generated):
                        pending.append(writer.submit(self._store, answer, stage, made_s))
                    else:
                        pending.append(writer.submit(self._fail, answer, stage))
                        failed = True
                while len(pending) > (0 if failed else 2 * size):
                    pending.pop(0).result()
                self._check_limits()
            for future in pending:
                future.result()
            self._check_limits()

    def run_remotely(self, todo: Sequence[Request], remote: RemoteMaker) -> None:
        size = min(self.generator.max_batch, self.settings.batch or self.generator.max_batch)
        made = remote.make([list(todo[start : start + size]) for start in range(0, len(todo), size)], self.hashes)
        # Closed, so that machines do not go on with what nobody waits for.
        with self.progress.stage(GENERATING, len(todo)) as stage, contextlib.closing(made):
            for answer in made:
                if isinstance(answer, MadeFiles):
                    self._keep_files(answer, stage)
                else:
                    self._fail(answer, stage)
                self._check_limits()

    def _keep_files(self, made: MadeFiles, stage: Stage) -> None:
        name = clip_name(made.request.sample.id, made.request.repeat)
        for suffix in FILE_SUFFIXES:
            path = self.clips / f"{name}{suffix}"
            if suffix in made.files:
                self._patiently(partial(write_bytes, path, made.files[suffix]))
            else:
                path.unlink(missing_ok=True)
        files = {f"{name}{suffix}": hashlib.sha256(data).hexdigest() for suffix, data in made.files.items()}
        facts = self._sidecar(made.request, made.info, files, made.how)
        self._patiently(partial(write_json, self.clips / f"{name}.json", facts))
        self._count_made(made.request, stage, made.info)

    def _store(self, answer: Generated, stage: Stage, made_s: float) -> None:
        request = answer.request
        name = clip_name(request.sample.id, request.repeat)
        started = time.monotonic()
        clip, finished = answer.clip, answer.files
        try:
            if self.settings.conform == "exact":
                clip, finished = conform_clip(clip, self.suite.setting_to_make), {}
            mp4, wav = self.clips / f"{name}.mp4", self.clips / f"{name}.wav"
            place = partial(place_clip, clip, finished, mp4, wav, request.task)
            # Finished files are moved, and what has been moved cannot be moved again.
            if finished:
                place()
            else:
                self._patiently(place)
        except JavisbenchError as error:
            if isinstance(error, RunError):
                raise
            self._fail(Failed(request, "generate", error.kind, error.message), stage)
            return
        files = {
            f"{name}{s}": file_sha256(self.clips / f"{name}{s}")
            for s in FILE_SUFFIXES
            if (self.clips / f"{name}{s}").exists()
        }
        how = making_facts(answer.clip, made_s, time.monotonic() - started, self.settings.device or "cpu")
        facts = self._sidecar(request, answer.info, files, how)
        self._patiently(partial(write_json, self.clips / f"{name}.json", facts))
        self._count_made(request, stage, answer.info)

    def _count_made(self, request: Request, stage: Stage, info: Mapping[str, Any]) -> None:
        differs = info.get("differs")
        with self._counting:
            self.outcome.made += 1
            if isinstance(differs, list) and differs:
                self.outcome.odd += 1
                self.outcome.differences.update(map(str, differs))
            self._in_a_row = 0
            stage.advance()
        self.settled(request.sample, request.repeat, "made")

    def _sidecar(
        self, request: Request, info: Mapping[str, Any], files: Mapping[str, str], how: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            "schema": 1,
            "key": self.key(request, self.hashes or {}),
            "sample_id": request.sample.id,
            "index": request.index,
            "repeat": request.repeat,
            "seed": request.seed,
            "prompts": dict(request.prompts),
            "model": self.identity,
            "weights": self.hashes or {},
            "asked": _asked_json(self.suite.setting_to_make),
            "plan": _plan_json(self.plan),
            **({"task": request.task, "given": given} if (given := self._given_facts(request)) else {}),
            "conform": self.settings.conform,
            **how,
            "dtype": self.settings.dtype,
            "versions": self._versions,
            "created": now_text(),
            "info": dict(info),
            "files": dict(files),
        }

    def _given_facts(self, request: Request) -> dict[str, dict[str, str]]:
        """Column to name and SHA-256 of the given file."""
        names = {column: path.name for column, path in request.conditions.files.items()}
        digests = self._given.digests(request.conditions)
        return {column: {"name": name, "sha256": digests[column]} for column, name in names.items()}

    def _fail(self, answer: Failed, stage: Stage, *, of_model: bool = True) -> None:
        request = answer.request
        message = answer.message if answer.stage == "generate" else f"{answer.stage}: {answer.message}"
        row = {
            "sample_id": request.sample.id,
            "repeat": request.repeat,
            "stage": "generate",
            "metric": None,
            "kind": answer.kind,
            "message": message,
            "seed": request.seed,
        }
        log.info("%s failed: %s: %s", clip_name(request.sample.id, request.repeat), answer.kind, message)
        with self._counting:
            self._patiently(partial(append_jsonl, self.folder / "failures.jsonl", row))
            self.outcome.failed += 1
            count, first = self.outcome.reasons.get(answer.kind, (0, message))
            self.outcome.reasons[answer.kind] = count + 1, first
            self._latest = f"{answer.kind}: {message}"
            # A prompt that was refused says nothing of the next one.
            self._in_a_row += of_model and answer.kind != "refused_prompt"
            stage.advance(failed=clip_name(request.sample.id, request.repeat))
        self.settled(request.sample, request.repeat, "failed")

    def _patiently(self, write: Callable[[], None]) -> None:
        patiently(write, self.settings.patience_s)

    def _check_limits(self) -> None:
        limit = self.settings.max_failures
        allowed = None if limit is None else limit * self._total if limit < 1 else limit
        if self._in_a_row >= CONSECUTIVE_FAILURES:
            reason = f"{self._in_a_row} clips in a row failed"
        elif allowed is not None and self.outcome.failed > allowed:
            reason = f"{self.outcome.failed} clips failed, more than --max-failures {limit:g} allows"
        else:
            return
        raise RunError(
            f"Stopped: {reason}. The last one: {self._latest[:_TOLD].rstrip('.')}. What was made is kept; reasons are "
            f"in {self.folder / 'failures.jsonl'}. Mend the cause and run the same command again.",
            kind="too_many_failures",
        )


def making_facts(clip: Clip, made_s: float, encode_s: float, device: str) -> dict[str, Any]:
    """What a sidecar tells of a clip's making.

    Args:
        clip: as the model made it, before it was brought to the suite's setting.
        made_s: seconds that the model took since its last answer.
        encode_s: seconds that writing the files took.
        device: torch device that it was made on. Its kind changes roundings, and is in no key.
    """
    frames, audio = clip.frames, clip.audio
    made = {
        "width": int(frames.shape[2]) if len(frames) else 0,
        "height": int(frames.shape[1]) if len(frames) else 0,
        "frames": len(frames),
        "fps": str(clip.fps),
        "audio_samples": 0 if audio is None else int(audio.shape[1]),
        "sample_rate": clip.sample_rate or 0,
        "channels": 0 if audio is None else int(audio.shape[0]),
    }
    seconds = {"made_s": round(made_s, 3), "encode_s": round(encode_s, 3)}
    return {"made": made, "device": device, "device_kind": device_kind(device), **seconds}


def _asked_json(spec: ClipSpec) -> dict[str, Any]:
    return {**asdict(spec), "fps": str(spec.fps)}


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {**asdict(plan), "fps": str(plan.fps), "notes": list(plan.notes)}
