"""`ExternalCommand`: any program as a generator, spoken to in JSON lines; no Python of ours runs in it.

Three modes. *Serve*: the program is started once, gets one JSON object a line on stdin and answers one a line on
stdout. *Batch*: an argument holds ``{requests}`` (a file of JSON lines) or ``{out}`` (a folder); the program is started
for every batch, and its files are found by id. *Clip*: an argument holds ``{output}``; the program is started for every
clip with what is asked filled in. The protocol is told in full in docs/generators.md.

Programs are not trusted to behave: they run in their own process group without a shell, against a deadline; what they
print is bounded; only files inside the staging folder count as clips, and only after they could be read.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.baselines.base import Failed, Generated, Generator, Json, Plan, Request
from javisbench.baselines.subprocess_guard import Program, ProgramError, ProgramLog
from javisbench.errors import GenerationError, MediaError, UsageError
from javisbench.private import redacted
from javisbench.registry import did_you_mean
from javisbench.tasks import ALL_TASKS, TASKS

if TYPE_CHECKING:
    from javisbench.clip import Clip, ClipSpec
    from javisbench.media import ClipReader
    from javisbench.weights import WeightStore

log = logging.getLogger(__name__)
PLACEHOLDERS = ("{requests}", "{out}")
PER_CLIP = "{output}"
_PLACE = re.compile(r"\{[a-z_]+\}")
_SCRIPT_SUFFIXES = (".py", ".sh", ".bash", ".pl", ".rb", ".js", ".lua", ".jl", ".R")
_MAX_INFO_BYTES = 64 * 2**10
_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}")
_CONDITIONS = {"{image}", "{video}", "{audio}"}
_STRAYS = 1000
"""Answers to nothing that are passed over while some are waited for."""
_OF_SOUND = ("no_sound", "silent", "sound_s", "sample_rate")
# Samples in a packet of AAC.
_ENCODER_FRAME = 1024


@dataclass(frozen=True)
class CommandOptions:
    """The ``-M`` parameters.

    Attributes:
        timeout_s: seconds that one clip may take.
        start_timeout_s: further seconds for the first answer after a start, while the program loads its model.
        batch: requests a call (batch mode), or requests that wait for an answer at a time (serve mode).
        unconditional: whether the program makes clips without prompts.
        revision: of the model, as the user calls it; clips of another revision are made again.
        exact: whether clips that are not as asked (size, rate, length, sound) are failures; otherwise they are kept,
            and how they differ is recorded.
    """

    timeout_s: float = 600.0
    start_timeout_s: float = 1800.0
    batch: int = 1
    unconditional: bool = False
    revision: str = ""
    exact: bool = False


class ExternalCommand(Generator):
    """A program that makes clips: ``command:./my_model --flag``.

    Clips keep the size, rate and length that the program gives them; how they differ from what was asked stands in the
    sidecar. An mp4 is kept as it is, not encoded again.

    Args:
        variant: the command line, split as a shell would and run without one.
        params: see `CommandOptions`.
    """

    card_id = "command"
    tasks = ALL_TASKS
    sound_alone = False
    """Set for a stage that makes no picture: a wav alone is then an answer, as it is for video to sound."""
    any_role = True
    """Whether it may be any stage of a cascade: nobody knows what a program makes."""
    picture_alone = False
    """Set for a stage whose sound is not used."""

    def __init__(self, variant: str | None = None, params: Mapping[str, str] | None = None) -> None:
        super().__init__(variant, params)
        self._argv = _split(variant)
        self._by_batch = any(place in argument for argument in self._argv for place in PLACEHOLDERS)
        self._by_clip = not self._by_batch and any(PER_CLIP in argument for argument in self._argv)
        self._options = _parse(self.params, CommandOptions(batch=16 if self._by_batch else 1))
        self.max_batch = self._options.batch
        self.needs_text = not self._options.unconditional  # type: ignore[misc]  # a parameter decides it here
        self._device = "cpu"
        self._program: Program | None = None
        self._log: ProgramLog | None = None
        self._reader: ClipReader | None = None
        self._folder: Path | None = None
        self._taken = 0

    def plan(self, spec: ClipSpec) -> Plan:
        """What is asked of the program: the suite's setting; what it makes may differ."""
        frames, samples = round(spec.duration_s * spec.fps), round(spec.duration_s * spec.sample_rate)
        note = "what a program makes is only known afterwards; differences stand in each clip's sidecar"
        return Plan(spec.width, spec.height, frames, spec.fps, samples, spec.sample_rate, notes=(note,))

    def resolved(self) -> Mapping[str, Json]:
        """The command, its revision, and whether prompts are sent; time-outs and batches change no clip."""
        return {
            "variant": self.variant,
            "revision": self._options.revision,
            "unconditional": self._options.unconditional,
        }

    def files(self, weights: WeightStore) -> Mapping[str, tuple[Path, ...]]:
        """The script that the command runs, if one is named; what it imports and loads is not known.

        Raises:
            GenerationError: there is no such program, or it may not be run.
        """
        self._check_program()
        script = _script(self._argv)
        return {} if script is None else {"script": (script,)}

    def load(self, device: str, dtype: str, weights: WeightStore) -> None:
        """Make sure that the program exists. It is started with the first request.

        Raises:
            GenerationError: there is no such program, or it may not be run.
        """
        self._check_program()
        self._device = device

    def lacks(self) -> str:
        """The program, where it is not there or may not be executed."""
        try:
            self._check_program()
        except GenerationError as error:
            return error.message
        return ""

    def _check_program(self) -> None:
        if shutil.which(self._argv[0]) is None:
            why = "may not be executed (chmod +x)" if Path(self._argv[0]).is_file() else "does not exist"
            raise GenerationError(f"The program {self._argv[0]} of --model command:... {why}.", kind="no_program")

    def generate(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        """Ask the program, and yield one answer a request as they come."""
        if self._by_clip:
            return self._each(batch)
        return self._call(batch) if self._by_batch else self._serve(batch)

    def close(self) -> None:
        """End the program, its children too, and remove the staging folder."""
        if self._program is not None:
            self._program.finish()
            self._program = None
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    # Serve: one process for all requests

    def _serve(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        waiting = {_id(request): request for request in batch}
        out = self._staging() / "out"
        out.mkdir(exist_ok=True)
        for name in waiting:
            _remove_leftovers(out, name)
        started, strays = time.monotonic(), 0
        try:
            payload = _lines(batch, out)
            for answer in self._running().exchange(payload, self._options.timeout_s, self._options.start_timeout_s):
                request = waiting.pop(str(answer.get("id")), None)
                if request is None:
                    log.warning("the program answered %.80r, which was answered or never asked", answer.get("id"))
                    strays += 1
                    if strays > _STRAYS:
                        message = (
                            f"The program gave {strays} answers to what was answered or never asked, and was ended."
                        )
                        raise ProgramError("bad_answer", message)
                    continue
                yield self._outcome(request, answer, out, time.monotonic() - started)
                if not waiting:
                    return
                started = time.monotonic()
        except KeyboardInterrupt:
            # Whoever stops the run does not wait for the clip at hand.
            self._end()
            raise
        except ProgramError as error:
            self._end()
            for request in waiting.values():
                yield _failed(request, error.kind, error.message, retryable=error.kind != "timeout" or len(batch) > 1)

    def _end(self) -> None:
        if self._program is not None:
            self._program.end()
            self._program = None

    def _running(self) -> Program:
        if self._program is not None and not self._program.alive:
            log.warning("the program ended by itself (%s) and is started again", self._program.cause())
            self._end()
        if self._program is None:
            self._program = self._start(self._argv, talks=True)
        return self._program

    def _start(self, argv: Sequence[str], *, talks: bool) -> Program:
        if self._log is None:
            folder = self._staging()
            self._log = ProgramLog((folder.parent.parent if self.staging else folder) / "command.log")
        environment = {"PYTHONUNBUFFERED": "1", **os.environ, "JAVISBENCH_DEVICE": self._device}
        if self.staging is not None:
            # Staging goes with the run; what a program must remember for the next one lies beside it.
            state = (self.staging.parent / "program").absolute()
            state.mkdir(parents=True, exist_ok=True)
            environment["JAVISBENCH_STATE"] = str(state)
        return Program(argv, environment, self._log, talks=talks)

    # Batch: one process a batch

    def _call(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        folder = Path(tempfile.mkdtemp(prefix="batch-", dir=self._staging()))
        out, requests = folder / "out", folder / "requests.jsonl"
        out.mkdir()
        requests.write_bytes(_lines(batch, out))
        started = time.monotonic()
        problem = self._run_once({"{requests}": str(requests), "{out}": str(out)}, len(batch))
        seconds = (time.monotonic() - started) / len(batch)
        for request in batch:
            yield self._found_by_id(request, problem, out, seconds, alone=len(batch) == 1)
        shutil.rmtree(folder, ignore_errors=True)

    def _each(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        """One process a clip, which is asked with its arguments."""
        for request in batch:
            folder = Path(tempfile.mkdtemp(prefix="clip-", dir=self._staging()))
            yield self._alone(request, folder / "out")
            shutil.rmtree(folder, ignore_errors=True)

    def _alone(self, request: Request, out: Path) -> Generated | Failed:
        out.mkdir()
        asked = _request(request, out)
        facts = {**asked, **asked.get("condition", {})}
        places = {f"{{{name}}}": str(fact) for name, fact in facts.items() if isinstance(fact, str | int | float)}
        lacking = {place for word in self._argv for place in _PLACE.findall(word)} & _CONDITIONS - set(places)
        if lacking:
            message = f"The command wants {' and '.join(sorted(lacking))}, which the suite or cascade does not give."
            return _failed(request, "no_condition", message, retryable=False)
        started = time.monotonic()
        problem = self._run_once(places, 1)
        return self._found_by_id(request, problem, out, time.monotonic() - started, alone=True)

    def _found_by_id(
        self, request: Request, problem: ProgramError | None, out: Path, seconds: float, *, alone: bool
    ) -> Generated | Failed:
        """The clip whose file is called like the request, after the program has ended."""
        made = self._video(request, out / _id(request)) is not None
        if problem is not None and (problem.kind == "timeout" or not made):
            # After a time-out nobody knows which files are whole.
            again = problem.kind != "timeout" or not alone
            return _failed(request, problem.kind, problem.message, retryable=again)
        if not made:
            message = f"The program ended without a file {_id(request)}{self._ending(request)}."
            return _failed(request, "no_answer", message)
        return self._outcome(request, {"status": "ok"}, out, seconds)

    def _run_once(self, places: Mapping[str, str], count: int) -> ProgramError | None:
        try:
            self._program = self._start([_filled(argument, places) for argument in self._argv], talks=False)
            self._program.wait(self._options.start_timeout_s + self._options.timeout_s * count)
        except ProgramError as error:
            return error
        finally:
            self._end()
        return None

    # From an answer to a clip

    def _outcome(self, request: Request, answer: Mapping[str, Any], out: Path, seconds: float) -> Generated | Failed:
        status = answer.get("status")
        if status == "failed":
            return _declared_failure(request, answer)
        if status != "ok":
            return _failed(request, "bad_answer", f"The answer's status is ok or failed; got {status!r:.80}.")
        try:
            info = _info(answer)
            video, audio = self._take(request, answer, out)
            clip = self._read(request, video, audio)
            _check_claims(answer, clip)
        except _RefusedError as refusal:
            return _failed(request, refusal.kind, str(refusal), retryable=False)
        except MediaError as error:
            return _failed(request, error.kind, error.message)
        differs = self._differences(request, clip)
        if differs and self._options.exact:
            kind = next((kind for kind in ("no_sound", "silent") if kind in differs), "shape")
            return _failed(request, kind, f"Not as asked: {'; '.join(differs.values())}.", retryable=False)
        facts: dict[str, Json] = {"seconds": round(seconds, 3), "differs": list(differs.values())}
        if info:
            facts["program"] = info
        files = {"video": str(video)} if video.suffix == ".mp4" else {}
        if files and audio is not None and audio.suffix == ".wav":
            files["audio"] = str(audio)
        return Generated(request, clip, facts, files)

    def _take(self, request: Request, answer: Mapping[str, Any], out: Path) -> tuple[Path, Path | None]:
        """Move a clip's files out of the program's reach.

        Raises:
            _RefusedError: they are not there, are no plain files, or lie outside the staging folder.
        """
        stem = out / _id(request)
        video = _inside(answer["video"], out) if answer.get("video") else self._video(request, stem)
        if video is None:
            message = f"The program answered ok, but there is no file {stem}{self._ending(request)}."
            raise _RefusedError("no_file", message)
        audio = _inside(answer["audio"], out) if answer.get("audio") else _sound(video)
        self._taken += 1
        mine = self._staging() / "taken"
        mine.mkdir(exist_ok=True)
        moved = []
        for path in (video, audio):
            if path is not None:
                _check_plain(path)
                target = mine / f"{self._taken:06d}{path.suffix.lower()}"
                path.rename(target)
                moved.append(target)
        return moved[0], moved[1] if audio is not None else None

    def _differences(self, request: Request, clip: Clip) -> dict[str, str]:
        found = differences(request.plan, clip)
        if self._is_alone(request):  # its picture is a stand-in, and its length the given picture's
            return {name: told for name, told in found.items() if name == "silent"}
        if self.picture_alone or not TASKS[request.task].makes_sound:
            return {name: told for name, told in found.items() if name not in _OF_SOUND}
        return found

    def _is_alone(self, request: Request) -> bool:
        return self.sound_alone or not TASKS[request.task].makes_picture

    def _ending(self, request: Request) -> str:
        return ".wav" if self._is_alone(request) else ".mp4"

    def _video(self, request: Request, stem: Path) -> Path | None:
        """The file with the picture; a stand-in beside a sound alone where no picture is wanted."""
        found = _found(stem)
        if found is not None or not self._is_alone(request):
            return found
        import numpy as np

        from javisbench.clip import Clip
        from javisbench.media import write_clip
        from javisbench.media.source import SIDECAR_SUFFIXES, find_by_stem

        if find_by_stem(stem, SIDECAR_SUFFIXES) is None:
            return None

        # Sound is only ever decoded beside a picture, in a process of its own.
        video = stem.with_name(f"{stem.name}.mp4")
        write_clip(Clip(np.zeros((1, 16, 16, 3), np.uint8), Fraction(1), None, None), video, sidecar=False)
        return video

    def _read(self, request: Request, video: Path, audio: Path | None) -> Clip:
        from javisbench.media import ClipReader, ClipSource

        if self._reader is None:
            self._reader = ClipReader(1)
        _, clip = next(iter(self._reader.read([ClipSource(request.sample.id, video, audio)])))
        if isinstance(clip, MediaError):
            raise MediaError(clip.message.replace(str(video), _id(request)), kind=clip.kind)
        return clip

    def _staging(self) -> Path:
        if self._folder is None:
            if self.staging is not None:
                self.staging.mkdir(parents=True, exist_ok=True)
            # Resolved, because paths that programs give back are compared with it.
            self._folder = Path(tempfile.mkdtemp(prefix="command-", dir=self.staging)).resolve()
        return self._folder


class _RefusedError(Exception):
    """An answer that is not accepted; trying again would change nothing."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _split(command: str | None) -> list[str]:
    try:
        argv = shlex.split(command or "")
    except ValueError as error:
        raise UsageError(f"The command {command!r} cannot be split into words: {error}.") from error
    if not argv:
        raise UsageError("Say which program makes the clips: --model 'command:./my_model.sh --flag'.")
    return argv


def _script(argv: Sequence[str]) -> Path | None:
    """The first word that names a script: a file that begins with ``#!`` or is called like one."""
    for word in argv:
        path = Path(word)
        try:
            if path.is_file() and (path.suffix in _SCRIPT_SUFFIXES or _first_bytes(path) == b"#!"):
                return path
        except OSError:
            continue
    return None


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2)


def _parse(params: Mapping[str, str], defaults: CommandOptions) -> CommandOptions:
    known = tuple(CommandOptions.__dataclass_fields__)
    values: dict[str, Any] = dict(defaults.__dict__)
    for key, text in params.items():
        if key not in known:
            raise UsageError(
                f"command: has no parameter {key!r}.{did_you_mean(key, known)} Known: {', '.join(known)}. Options of "
                f"the program itself belong into the command."
            )
        values[key] = text if key == "revision" else _value(key, text, type(values[key]))
    return CommandOptions(**values)


def _value(key: str, text: str, kind: type) -> float | int | bool:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UsageError(f"{key} of command: is true or false; got {text!r}.")
        return text.lower() == "true"
    try:
        value: float = kind(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"{key} of command: is a number above 0; got {text!r}.")
    return value


def _id(request: Request) -> str:
    sample = request.sample.id
    return sample if request.repeat == 0 else f"{sample}-{request.repeat}"


def _lines(batch: Sequence[Request], out: Path) -> bytes:
    return b"".join(json.dumps(_request(request, out)).encode() + b"\n" for request in batch)


def _condition(request: Request, out: Path) -> dict[str, Json]:
    """What the clip is made from besides its prompt, as files that the program may read.

    The suite's own files stand where they are; a clip of an earlier stage is written beside `out`: pictures as an mp4,
    sound as a wav.
    """
    given = request.conditions
    if not given:
        return {}
    files: dict[str, Json] = {column: str(path) for column, path in given.files.items()}
    if given.clip is not None:
        files |= _written(given.clip, out.parent / "conditions", _id(request))
    return {"task": request.task, "condition": files}


def _written(clip: Clip, folder: Path, name: str) -> dict[str, Json]:
    import soundfile

    from javisbench.media import write_clip

    folder.mkdir(exist_ok=True)
    files: dict[str, Json] = {}
    if len(clip.frames):
        files["video"] = str(folder / f"{name}.mp4")
        write_clip(clip, files["video"], sidecar=False)
    if clip.audio is not None and clip.sample_rate is not None:
        files["audio"] = str(folder / f"{name}.wav")
        soundfile.write(os.fsencode(files["audio"]), clip.audio.T, clip.sample_rate, subtype="FLOAT")
    return files


def _request(request: Request, out: Path) -> dict[str, Json]:
    plan = request.plan
    return {
        **_condition(request, out),
        "id": _id(request),
        "prompt": request.prompts.get("text", ""),
        "prompts": dict(request.prompts),
        "seed": request.seed,
        "width": plan.width,
        "height": plan.height,
        "frames": plan.frames,
        "fps": float(plan.fps),
        "duration_s": plan.frames / float(plan.fps),
        "sample_rate": plan.sample_rate,
        "output": str(out / _id(request)),
    }


def _filled(argument: str, values: Mapping[str, str]) -> str:
    """`argument` with its places filled, once: a prompt may look like a place."""
    return _PLACE.sub(lambda place: values.get(place[0], place[0]), argument)


def _remove_leftovers(out: Path, name: str) -> None:
    for path in (*out.glob(f"{name}.*"), out / name):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _found(stem: Path) -> Path | None:
    from javisbench.media.source import VIDEO_SUFFIXES, find_by_stem

    return find_by_stem(stem, VIDEO_SUFFIXES)


def _sound(video: Path) -> Path | None:
    from javisbench.media import sidecar_for

    return sidecar_for(video)


def _inside(given: object, out: Path) -> Path:
    """The path that an answer names, when it lies in the folder; relative ones count from there."""
    if not isinstance(given, str) or "\0" in given:
        raise _RefusedError("bad_answer", f"The answer's paths are texts; got {given!r:.80}.")
    path = Path(os.path.normpath(out / given))
    if not path.is_relative_to(out) or path == out:
        raise _RefusedError("outside", f"The program answered with a file outside its folder {out}: {given:.200}")
    if not os.path.lexists(path):
        raise _RefusedError("no_file", f"The program answered ok, but there is no file {path}.")
    return path


def _check_plain(path: Path) -> None:
    # A link, anywhere on the way, could lead to files that are not the program's.
    if path.is_symlink() or path.resolve() != path:
        raise _RefusedError("outside", f"The program answered with a link ({path}), not with a file of its own.")
    if not path.is_file():
        raise _RefusedError("no_file", f"{path} is no file.")


def _declared_failure(request: Request, answer: Mapping[str, Any]) -> Failed:
    message = redacted(str(answer.get("message") or "The program gave no reason."))[:1000]
    kind = str(answer.get("kind", ""))
    return _failed(
        request, kind if _KIND.fullmatch(kind) else "failed", message, retryable=answer.get("retryable") is not False
    )


def _failed(request: Request, kind: str, message: str, *, retryable: bool = True) -> Failed:
    return Failed(request, "generate", kind, message, retryable)


def _info(answer: Mapping[str, Any]) -> Mapping[str, Json]:
    info = answer.get("info") or {}
    try:
        text = redacted(json.dumps(info, allow_nan=False))
    except ValueError:
        raise _RefusedError("bad_answer", "The answer's info holds a number that is none (NaN or infinite).") from None
    if not isinstance(info, dict) or len(text) > _MAX_INFO_BYTES:
        raise _RefusedError("bad_answer", f"The answer's info is an object of at most {_MAX_INFO_BYTES} bytes.")
    cleaned: dict[str, Json] = json.loads(text)
    return cleaned


def _measures(clip: Clip) -> dict[str, float | None]:
    frames, height, width = clip.frames.shape[:3]
    return {
        "width": width,
        "height": height,
        "frames": frames,
        "fps": round(float(clip.fps), 6),
        "sample_rate": clip.sample_rate,
    }


def _check_claims(answer: Mapping[str, Any], clip: Clip) -> None:
    for name, measured in _measures(clip).items():
        claimed = answer.get(name)
        if claimed is None:
            continue
        if not isinstance(claimed, int | float) or not abs(claimed - (measured or 0)) <= 1e-3 * abs(claimed):
            raise _RefusedError("shape", f"The program said {name} {claimed!r:.40}; the file has {measured}.")


def differences(plan: Plan, clip: Clip) -> dict[str, str]:
    """What differs from what was asked: ``width 64 -> 32``, by its name."""
    asked = {
        "width": plan.width,
        "height": plan.height,
        "frames": plan.frames,
        "fps": round(float(plan.fps), 6),
    }
    made = _measures(clip)
    if plan.audio_samples and clip.audio is None:
        return {**_changed(asked, made), "no_sound": "sound -> none"}
    if clip.audio is not None:
        asked["sample_rate"] = plan.sample_rate
    found = _changed(asked, made)
    if plan.audio_samples and clip.audio is not None and clip.sample_rate:
        asked_s, made_s = plan.audio_samples / plan.sample_rate, clip.audio.shape[1] / clip.sample_rate
        # Less than a frame of a common encoder is its padding.
        if abs(asked_s - made_s) > _ENCODER_FRAME / clip.sample_rate:
            found["sound_s"] = f"sound {asked_s:g} s -> {made_s:g} s"
        if not clip.audio.any():
            found["silent"] = "sound -> silence"
    return found


def _changed(asked: Mapping[str, float], made: Mapping[str, float | None]) -> dict[str, str]:
    return {name: f"{name} {asked[name]} -> {made[name]}" for name in asked if asked[name] != made[name]}
