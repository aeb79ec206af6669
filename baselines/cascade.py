"""`Cascade`: two models in a row, ``cascade:t2v=MODEL,v2a=MODEL``, that make picture and sound between them.

Three pairs: ``t2v,v2a`` (sound for a made picture), ``t2a,a2v`` (picture for a made sound) and ``t2v,t2a`` (both from
text alone: what synchrony metrics give when nothing was synchronised). A stage is a model specification as behind
``--model``, the id of a model card too; a TOML file holds the same: ``cascade:FILE.toml``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from javisbench.baselines.base import NO_CONDITIONS, Conditions, Failed, Generated, Generator, Json, Plan, Request
from javisbench.baselines.fingerprint import deciding_files
from javisbench.cards import read_cards
from javisbench.clip import Clip, ClipSpec
from javisbench.errors import GenerationError, JavisbenchError, RunError, UsageError
from javisbench.registry import did_you_mean
from javisbench.system_faults import fault_of, free_memory, is_out_of_memory
from javisbench.tasks import Task

if TYPE_CHECKING:
    from javisbench.weights import WeightStore

log = logging.getLogger(__name__)

PAIRS = (("t2v", "v2a"), ("t2a", "a2v"), ("t2v", "t2a"))
_ROLES = ("t2v", "v2a", "t2a", "a2v")
_PICTURE = ("t2v", "a2v")
# What each role may be given to: families of models, and those that take its task. Programs may be anything.
_FAMILIES = {"t2v": ("t2v", "t2av"), "t2a": ("t2a", "t2av"), "v2a": ("v2a",), "a2v": ("a2v",)}
_TASKS: Mapping[str, Task] = {"v2a": "v2a", "a2v": "a2v"}
_NEXT_ROLE = re.compile(rf",(?=(?:{'|'.join(_ROLES)})=)")


@dataclass(frozen=True)
class Stage:
    """One of the two.

    Attributes:
        role: ``t2v``, ``v2a``, ``t2a`` or ``a2v``.
        spec: as the user gave it.
        generator: constructed.
    """

    role: str
    spec: str
    generator: Generator

    @property
    def makes_picture(self) -> bool:
        """Whether the picture of the final clip is this stage's, otherwise the sound."""
        return self.role in _PICTURE

    @property
    def key_name(self) -> str:
        """The specification as the clip's key holds it."""
        return self.generator.key_name(self.spec)

    @property
    def column(self) -> str:
        """The suite's column of prompts that is meant for it."""
        return "video_text" if self.makes_picture else "audio_text"


class Cascade(Generator):
    """Two stages; the first one's clip conditions the second, or both follow the prompt alone.

    For every batch all clips of the first stage are made, its memory is freed, then the second stage is loaded.
    Programs are kept.

    Args:
        variant: ``ROLE=MODEL,ROLE=MODEL``, or a TOML file with the same keys and, optionally, a table ``[params]``.
        params: ``ROLE.NAME=value`` for a stage's own parameters; ``keep_loaded=true`` keeps both stages in memory,
            ``false`` neither. Without it programs (``command:``, checkouts) are kept, whose start is paid once a suite.

    Raises:
        UsageError: no such pair of stages, or an unknown model or parameter.
    """

    card_id: ClassVar[str] = "cascade"
    max_batch = 16

    def __init__(self, variant: str | None = None, params: Mapping[str, str] | None = None) -> None:
        super().__init__(variant, params)
        specs, given = _read(variant)
        given.update(self.params)
        told = given.pop("keep_loaded", None)
        self.keep_loaded = None if told is None else _switch("keep_loaded", told)
        for key in given:
            role, dot, _ = key.partition(".")
            if not dot or role not in specs:
                known = [*(f"{role}.NAME" for role in specs), "keep_loaded"]
                raise UsageError(f"cascade: has no parameter {key!r}. Known: {', '.join(known)}.")
        self.stages = tuple(_stage(role, spec, given) for role, spec in specs.items())
        generators = [stage.generator for stage in self.stages]
        self.uses_categories = any(generator.uses_categories for generator in generators)
        self.uses_columns = tuple(sorted({column for generator in generators for column in generator.uses_columns}))
        self._loaded: set[str] = set()
        self._by_plan: dict[Plan, tuple[Plan, Plan]] = {}
        self._where: tuple[str, str, WeightStore] | None = None

    def plan(self, spec: ClipSpec) -> Plan:
        """The picture of one stage with the sound of the other.

        Raises:
            GenerationError: a stage refuses, or its model is of another kind.
        """
        first, second = self._plans(spec)
        plans = dict(zip((stage.makes_picture for stage in self.stages), (first, second), strict=True))
        picture, sound = plans[True], plans[False]
        notes = [
            f"{stage.role}: {note}"
            for stage, plan in zip(self.stages, (first, second), strict=True)
            for note in plan.notes
        ]
        joined = replace(
            picture,
            audio_samples=sound.audio_samples,
            sample_rate=sound.sample_rate,
            channels=sound.channels,
            notes=tuple(notes),
        )
        self._by_plan[joined] = (first, second)
        return joined

    def resolved(self) -> Mapping[str, Json]:
        """Both models with their parameters; what is kept in memory changes no clip."""
        return {stage.role: {"model": stage.key_name, **stage.generator.resolved()} for stage in self.stages}

    def files(self, weights: WeightStore) -> Mapping[str, tuple[Path, ...]]:
        """The files of both stages, as ``ROLE.COMPONENT``.

        Raises:
            JavisbenchError: what a stage lacks, with the stage's name.
        """
        return {
            f"{stage.role}.{component}": paths
            for stage in self.stages
            for component, paths in _files(stage, weights).items()
        }

    def key_name(self, spec: str) -> str:
        """Both models, whether they were given in words or as a file."""
        return "cascade:" + ",".join(f"{stage.role}={stage.key_name}" for stage in self.stages)

    def load(self, device: str, dtype: str, weights: WeightStore) -> None:
        """Make sure that both stages can be loaded; they are, batch by batch.

        Raises:
            JavisbenchError: what a stage lacks, with the stage's name.
        """
        self._where = (device, dtype, weights)
        for stage in self.stages:
            with _named(stage):
                if not stage.generator.files(weights):
                    self._load(stage)
                    self._free(stage)

    def prepare(self, requests: Sequence[Request]) -> None:
        """Let each stage prepare all its clips, so that no prompt is encoded in one batch after another."""
        plans = self._stage_plans(requests[0])
        for stage, plan in zip(self.stages, plans, strict=True):
            if type(stage.generator).prepare is not Generator.prepare:
                self._load(stage)
                try:
                    with _named(stage):
                        stage.generator.prepare([_request(stage, request, plan, NO_CONDITIONS) for request in requests])
                finally:
                    if not self._keeps(stage):
                        self._free(stage)

    def _stage_plans(self, request: Request) -> tuple[Plan, Plan]:
        plans = self._by_plan.get(request.plan)
        if plans is None:
            raise GenerationError("The request's plan is not this cascade's. Make it with this generator's plan().")
        return plans

    def generate(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        """Make the batch's clips with the first stage, then with the second."""
        first, second = self.stages
        plans = self._stage_plans(batch[0])
        half: dict[int, Generated] = {}
        asked = [_request(first, request, plans[0], NO_CONDITIONS) for request in batch]
        by_stage = {id(inner): outer for inner, outer in zip(asked, batch, strict=True)}
        for answer in self._run(first, asked):
            outer = by_stage[id(answer.request)]
            if isinstance(answer, Failed):
                yield replace(answer, request=outer)
            else:
                half[id(outer)] = answer
        open_requests = [request for request in batch if id(request) in half]
        conditions = {id(r): _conditions(first, second, half[id(r)].clip) for r in open_requests}
        asked = [_request(second, request, plans[1], conditions[id(request)]) for request in open_requests]
        by_stage = {id(inner): outer for inner, outer in zip(asked, open_requests, strict=True)}
        for answer in self._run(second, asked):
            outer = by_stage[id(answer.request)]
            yield (
                replace(answer, request=outer)
                if isinstance(answer, Failed)
                else self._joined(outer, half[id(outer)], answer)
            )

    def close(self) -> None:
        """End both stages."""
        for stage in self.stages:
            self._free(stage)

    def _plans(self, spec: ClipSpec) -> tuple[Plan, Plan]:
        first, second = self.stages
        planned = _planned(first, spec)
        # The second stage follows what the first one really makes.
        if first.makes_picture:
            seconds = planned.frames / planned.fps
            following = replace(
                spec, width=planned.width, height=planned.height, duration_s=float(seconds), fps=planned.fps
            )
        else:
            following = replace(spec, duration_s=planned.audio_samples / planned.sample_rate)
        return planned, _planned(second, following)

    def _run(self, stage: Stage, requests: Sequence[Request]) -> Iterator[Generated | Failed]:
        """One answer a request, every failure with the stage's name."""
        if not requests:
            return
        self._load(stage)
        try:
            size = stage.generator.max_batch
            for start in range(0, len(requests), size):
                yield from _answers(stage, requests[start : start + size])
        finally:
            if not self._keeps(stage):
                self._free(stage)

    def _load(self, stage: Stage) -> None:
        if stage.role in self._loaded:
            return
        if self._where is None:
            raise GenerationError("The cascade was asked to generate before it was loaded. Call load first.")
        stage.generator.staging = self.staging
        stage.generator.prompt_folder = self.prompt_folder
        started = time.monotonic()
        stage.generator.load(*self._where)
        self._loaded.add(stage.role)
        log.debug("%s loaded in %.1f s", stage.spec, time.monotonic() - started)

    def _keeps(self, stage: Stage) -> bool:
        """Whether the stage stays loaded from one batch to the next."""
        from javisbench.baselines.command import ExternalCommand

        return isinstance(stage.generator, ExternalCommand) if self.keep_loaded is None else self.keep_loaded

    def _free(self, stage: Stage) -> None:
        stage.generator.close()
        self._loaded.discard(stage.role)

    def _joined(self, request: Request, first: Generated, second: Generated) -> Generated:
        pairs = list(zip(self.stages, (first, second), strict=True))
        clips = {stage.makes_picture: answer.clip for stage, answer in pairs}
        picture, sound = clips[True], clips[False]
        clip = replace(picture, audio=sound.audio, sample_rate=sound.sample_rate, name="cascade")
        info: dict[str, Json] = {
            "stages": [
                {
                    "role": stage.role,
                    "model": stage.spec,
                    "prompt_column": _column(stage, request),
                    "prompt": answer.request.prompts.get("text", ""),
                    "seed": answer.request.seed,
                    **answer.info,
                }
                for stage, answer in pairs
            ],
            "picture_s": round(picture.duration_s, 4),
            "sound_s": round(sound.audio_duration_s, 4),
        }
        return Generated(request, clip, info)


# Specifications


def _read(variant: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Role to model, in order, and the parameters of a file."""
    text = variant or ""
    if text.endswith(".toml"):
        return _from_file(Path(text).expanduser())
    specs: dict[str, str] = {}
    for part in _NEXT_ROLE.split(text):
        role, _, spec = part.partition("=")
        specs[role] = spec
    return _checked(specs), {}


def _from_file(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"The cascade {path} cannot be read: {error}") from error
    params = content.pop("params", {})
    flat = {
        (f"{key}.{name}" if isinstance(value, dict) else key): str(inner).lower()
        if inner in (True, False)
        else str(inner)
        for key, value in params.items()
        for name, inner in (value.items() if isinstance(value, dict) else ((key, value),))
    }
    return _checked({role: str(spec) for role, spec in content.items()}), flat


def _checked(specs: dict[str, str]) -> dict[str, str]:
    for pair in PAIRS:
        if set(specs) == set(pair) and all(specs.values()):
            return {role: specs[role] for role in pair}
    pairs = " or ".join(",".join(f"{role}=MODEL" for role in pair) for pair in PAIRS)
    raise UsageError(f"A cascade is given as --model cascade:{pairs}; got {', '.join(map(repr, specs))}.")


def _stage(role: str, spec: str, params: Mapping[str, str]) -> Stage:
    from javisbench.baselines.command import ExternalCommand
    from javisbench.baselines.model_cards import aliases
    from javisbench.baselines.registry import GENERATORS, create_generator

    own = {key.partition(".")[2]: value for key, value in params.items() if key.partition(".")[0] == role}
    name = spec.partition(":")[0]
    known = sorted({*GENERATORS, *aliases()} - {"cascade"})
    if (name != "python" and not {name, spec} & {*known, *read_cards("models")}) or name == "cascade":
        raise UsageError(
            f"{role}={spec}: there is no such model for a stage.{did_you_mean(name, known)} Known: {', '.join(known)}."
        )
    generator = create_generator(spec, own)
    if hasattr(generator, "part_of_cascade"):
        generator.part_of_cascade = True
    if isinstance(generator, ExternalCommand):
        generator.sound_alone = role not in _PICTURE
        generator.picture_alone = role in _PICTURE
    return Stage(role, spec, generator)


def _switch(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise UsageError(f"{name} of cascade: is true or false; got {text!r}.")
    return text.lower() == "true"


# Requests and answers of a stage


@contextmanager
def _named(stage: Stage) -> Iterator[None]:
    """Errors inside say which stage they are of."""
    try:
        yield
    except JavisbenchError as error:
        told = f"{stage.role} ({stage.spec}): {error.sentence}"
        raise type(error)(told, kind=error.kind, details=error.details) from error


def _files(stage: Stage, weights: WeightStore) -> dict[str, tuple[Path, ...]]:
    with _named(stage):
        return deciding_files(stage.generator, weights)


def _planned(stage: Stage, spec: ClipSpec) -> Plan:
    with _named(stage):
        plan = stage.generator.plan(spec)
    family = stage.generator.family
    is_program = getattr(stage.generator, "any_role", False)
    fits = family in _FAMILIES[stage.role] or _TASKS.get(stage.role) in stage.generator.tasks
    if not is_program and not (fits and stage.generator.needs_text):
        raise GenerationError(f"{stage.role}={stage.spec}: that model is {family}, and cannot be a {stage.role} stage.")
    return plan


def stage_seed(seed: int, role: str) -> int:
    """63 bits from the clip's seed and the role, so that stages draw different noise."""
    text = json.dumps([seed, role]).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def _column(stage: Stage, request: Request) -> str:
    return stage.column if stage.column in request.prompts else "text"


def _request(stage: Stage, request: Request, plan: Plan, conditions: Conditions) -> Request:
    text = request.prompts.get(_column(stage, request), "")
    return replace(
        request,
        seed=stage_seed(request.seed, stage.role),
        plan=plan,
        prompts={**request.prompts, "text": text},
        conditions=conditions,
        task=_TASKS.get(stage.role, "t2av"),
    )


def _conditions(first: Stage, second: Stage, clip: Clip) -> Conditions:
    """What the second stage is given of the first one's clip: the half that was wanted, nothing from text alone."""
    import numpy as np

    if second.role == "t2a":
        return NO_CONDITIONS
    if first.makes_picture:
        return Conditions(clip=replace(clip, audio=None, sample_rate=None))
    return Conditions(clip=clip.with_frames(np.zeros((0, 0, 0, 3), np.uint8)))


def _answers(stage: Stage, requests: Sequence[Request]) -> Iterator[Generated | Failed]:
    """One answer a request; out of memory halves what the stage is asked at a time, without making anything twice.

    Raises:
        Exception: what is the system's fault and no clip's, as it came.
    """
    waiting = {id(request): request for request in requests}
    try:
        for answer in stage.generator.generate(requests):
            if waiting.pop(id(answer.request), None) is not None:
                yield _complete(stage, answer)
    except RunError:
        raise
    except Exception as error:
        fault = fault_of(error)
        if fault is not None and fault.certain:
            raise
        log.debug("%s failed", stage.spec, exc_info=error)
        if is_out_of_memory(error):
            free_memory(error)
        if not is_out_of_memory(error) or len(waiting) < 2:
            yield from _failures(stage, list(waiting.values()), error)
            return
    else:
        for request in waiting.values():
            yield Failed(request, stage.role, "no_answer", "The stage gave no answer for this clip.")
        return
    log.warning("%s is out of memory with %d clips; trying half as many", stage.spec, len(waiting))
    left, half = list(waiting.values()), len(waiting) // 2
    yield from _answers(stage, left[:half])
    yield from _answers(stage, left[half:])


def _failures(stage: Stage, requests: Sequence[Request], error: Exception) -> Iterator[Failed]:
    kind = "out_of_memory" if is_out_of_memory(error) else getattr(error, "kind", "exception")
    told = error.message if isinstance(error, JavisbenchError) else f"{type(error).__name__}: {error}"
    for request in requests:
        yield Failed(request, stage.role, kind, told)


def _complete(stage: Stage, answer: Generated | Failed) -> Generated | Failed:
    if isinstance(answer, Failed):
        return replace(answer, stage=stage.role)
    if stage.makes_picture and not len(answer.clip.frames):
        return Failed(answer.request, stage.role, "no_picture", "The stage made no picture.", retryable=False)
    if not stage.makes_picture and answer.clip.audio is None:
        return Failed(answer.request, stage.role, "no_sound", "The stage made no sound.", retryable=False)
    return answer
