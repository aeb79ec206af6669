"""`Procedural`: clips that are drawn and synthesised, with known events."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast, get_args

import numpy as np

from javisbench.baselines.base import Failed, Generated, Generator, Json, Plan, Request
from javisbench.baselines.procedural.actors import Pose
from javisbench.baselines.procedural.damage import NAMES, damaged
from javisbench.baselines.procedural.painting import Painter
from javisbench.baselines.procedural.places import GROUND, paint_place, surface_texture
from javisbench.baselines.procedural.script import Script, Subject, write_script
from javisbench.baselines.procedural.sounds import room
from javisbench.baselines.procedural.sync.clips import COLUMN, Rates, scene_facts, setting_of
from javisbench.baselines.procedural.sync.families import make_scene
from javisbench.baselines.procedural.sync.mixing import heard
from javisbench.baselines.procedural.sync.scene import MARGIN_S
from javisbench.clip import Clip, ClipSpec
from javisbench.damages.sound import shifted
from javisbench.errors import GenerationError, UsageError
from javisbench.registry import did_you_mean
from javisbench.tasks import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SIDE = 4096
MAX_SECONDS = 600.0
ROOM_LEVEL = 2e-3
SEED_COLUMN = "seed"
"""The suite's own column that says which seed made a given picture."""

_VARIED = "frame rates (15 to 50 fps) and lengths (0.8 to 1.2 times) differ by clip; -M rates=suite keeps the suite's"


class Procedural(Generator):
    """Renders sounding scenes whose events are known: a floor for models and a calibration source for metrics.

    Prompt and categories choose place, visual style, subjects and the order of their events; every choice, picture and
    sound follows from the request's seed alone. ``info["events"]`` lists the true events.

    The variant ``sync`` makes the scenes of `javisbench.baselines.procedural.sync` instead: eleven families, named by
    the suite's column ``family``, for judging metrics of synchrony. ``info`` then holds ``family``, ``expected``,
    ``events``, ``seen_only`` and ``heard_only``.

    For video to sound it makes the sound that belongs to a picture of its own, exactly: the suite's column ``seed`` has
    the seed that the picture was made with (``seed`` in its sidecar), and prompt and categories are the picture's. With
    ``offset_s`` that sound is late or early, which metrics of synchrony should see.

    Args:
        variant: None or ``sync``.
        params: ``offset_s``, seconds by which the sound is late (negative: early), default 0; ``damage``, one of
            ``none``, ``silent``, ``shuffled``, ``reversed``, ``clipped``, ``hiss``, ``frozen``, ``black``, ``noise``,
            ``blurred``; of ``sync`` also ``rates``, ``varied`` (default: frame rate and length differ by clip) or
            ``suite`` (as the suite asks).

    Raises:
        UsageError: an unknown variant, parameter or value.
    """

    uses_categories = True

    card_id: ClassVar[str] = "procedural"
    tasks: frozenset[Task] = frozenset({"t2av", "v2a"})
    condition_columns = (SEED_COLUMN,)

    def __init__(self, variant: str | None = None, params: Mapping[str, str] | None = None) -> None:
        super().__init__(variant, params)
        if variant not in (None, "sync"):
            raise UsageError(
                f"The model procedural has no variant {variant!r}. Known: procedural, and procedural:sync for scenes "
                f"with true event times."
            )
        known = ("offset_s", "damage") if variant is None else ("offset_s", "damage", "rates")
        for name in self.params:
            if name not in known:
                raise UsageError(
                    f"The model {self._name} has no parameter {name!r}.{did_you_mean(name, known)} "
                    f"Known: {', '.join(known)}."
                )
        self._offset_s = _seconds(self.params.get("offset_s", "0"), MAX_SECONDS if variant is None else MARGIN_S)
        self._damage = _one_of("damage", self.params.get("damage", "none"), NAMES)
        self._rates = cast("Rates", _one_of("rates", self.params.get("rates", "varied"), get_args(Rates)))
        self.uses_columns = () if variant is None else (COLUMN,)

    @property
    def _name(self) -> str:
        return "procedural" if self.variant is None else f"procedural:{self.variant}"

    def resolved(self) -> Mapping[str, Json]:
        """The parameters with their values."""
        plain = {"variant": self.variant, "offset_s": self._offset_s, "damage": self._damage}
        return plain if self.variant is None else {**plain, "rates": self._rates}

    def plan(self, spec: ClipSpec) -> Plan:
        """Exactly what is asked for, within reason.

        Raises:
            GenerationError: sides outside 16 to 4096 pixels, more than 600 s, or rates without sense.
        """
        if not (16 <= spec.width <= MAX_SIDE and 16 <= spec.height <= MAX_SIDE):
            raise GenerationError(
                f"procedural draws pictures of 16 to {MAX_SIDE} pixels a side; asked for {spec.width}x{spec.height}."
            )
        if not 0 < spec.duration_s <= MAX_SECONDS or not 0 < spec.fps <= 240:
            raise GenerationError(
                f"procedural makes up to {MAX_SECONDS:.0f} s at up to 240 fps; asked for {spec.duration_s} s at "
                f"{float(spec.fps):g} fps."
            )
        if not 4000 <= spec.sample_rate <= 192000:
            raise GenerationError(f"procedural makes sound at 4 to 192 kHz; asked for {spec.sample_rate} Hz.")
        return Plan(
            width=spec.width,
            height=spec.height,
            frames=max(1, round(spec.duration_s * spec.fps)),
            fps=spec.fps,
            audio_samples=max(1, round(spec.duration_s * spec.sample_rate)),
            sample_rate=spec.sample_rate,
            notes=(_VARIED,) if self.variant == "sync" and self._rates == "varied" else (),
        )

    def generate(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        """One clip a request, in order."""
        for request in batch:
            if request.task == "v2a":
                yield self._heard(request)
            else:
                yield self._made(request)

    def _made(self, request: Request) -> Generated | Failed:
        return self._clip(request) if self.variant is None else self._scene(request)

    def _heard(self, request: Request) -> Generated | Failed:
        """The sound of the clip whose picture is given."""
        told = request.sample.extra.get(SEED_COLUMN, "").strip()
        if not (told.isascii() and told.isdecimal() and len(told) < 20):
            message = (
                f"procedural knows the sound of its own pictures alone: the suite's column {SEED_COLUMN} is the seed "
                f"that made the picture, a whole number; here it is {told[:40]!r}."
            )
            return Failed(request, "generate", "no_seed", message, retryable=False)
        given = request.conditions.picture()
        if given is None:
            return Failed(request, "generate", "no_condition", "The suite gives no picture.", retryable=False)
        plan = request.plan
        if self.variant is None or self._rates == "suite":
            # Events depend on how long the picture lasts.
            frames, seconds = len(given.frames), len(given.frames) / given.fps
            plan = replace(plan, frames=frames, fps=given.fps, audio_samples=max(1, round(seconds * plan.sample_rate)))
        answer = self._made(replace(request, seed=int(told), plan=plan))
        if isinstance(answer, Failed):
            return replace(answer, request=request)
        return replace(answer, request=request, clip=answer.clip.with_frames(np.zeros((0, 0, 0, 3), np.uint8)))

    def _scene(self, request: Request) -> Generated | Failed:
        plan = request.plan
        spec = ClipSpec(plan.width, plan.height, plan.frames / float(plan.fps), plan.fps, plan.sample_rate)
        try:
            setting = setting_of(request.sample, request.seed, spec, self._rates)
        except GenerationError as error:
            return Failed(request, "generate", error.kind, error.message, retryable=False)
        scene = make_scene(setting)
        clip = Clip(
            frames=scene.picture(),
            fps=setting.fps,
            audio=heard(setting, scene.sound(), self._offset_s),
            sample_rate=plan.sample_rate,
            audio_source="sidecar",
            name=request.sample.id,
        )
        info = {**scene_facts(setting, scene), "audio_offset_s": self._offset_s, "damage": self._damage}
        return Generated(request, damaged(clip, self._damage, setting.random("damage")), info)

    def _clip(self, request: Request) -> Generated:
        plan = request.plan
        choices, picture, sound, spoiling = (
            np.random.Generator(np.random.PCG64(child)) for child in np.random.SeedSequence(request.seed).spawn(4)
        )
        prompts = [request.prompts.get(name) for name in ("text", "audio_text")]
        duration_s = plan.frames / float(plan.fps)
        script = write_script(
            choices, " ".join(filter(None, prompts)), request.sample.categories, duration_s, float(plan.fps)
        )
        audio = _sound(sound, script, plan)
        clip = Clip(
            frames=_picture(picture, script, plan),
            fps=plan.fps,
            audio=shifted(audio, round(self._offset_s * plan.sample_rate)),
            sample_rate=plan.sample_rate,
            audio_source="sidecar",
            name=request.sample.id,
        )
        info = {
            "scenario": script.scenario,
            "visual_style": script.style,
            "events": script.events(duration_s),
            "audio_offset_s": self._offset_s,
            "damage": self._damage,
        }
        return Generated(request, damaged(clip, self._damage, spoiling), info)


def _seconds(text: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= most:
        raise UsageError(f"offset_s of procedural is seconds between -{most:.0f} and {most:.0f}; got {text!r}.")
    return value


def _one_of(parameter: str, text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        raise UsageError(
            f"procedural knows no {parameter} {text!r}.{did_you_mean(text, known)} Known: {', '.join(known)}."
        )
    return text


def _sound(rng: np.random.Generator, script: Script, plan: Plan) -> NDArray[np.float32]:
    """All events mixed over faint room noise: float32 ``(1, samples)``, on the grid of 16-bit samples."""
    rate, count = plan.sample_rate, plan.audio_samples
    mix = np.zeros(count)
    sounding = [subject for subject in script.subjects if subject.kind.level > 0]
    for subject in sounding:
        for hit, following in zip(subject.hits_s, [*subject.hits_s[1:], count / rate], strict=True):
            event = subject.kind.sound(rng, rate, max(0.1, following - hit), subject.pitch)
            start = round(hit * rate)
            event = event[: max(0, count - start)] * subject.kind.level * (1.0 if subject.on_screen else 0.7)
            mix[start : start + event.size] += event
    mix = 0.85 * np.tanh(mix / max(1, len(sounding)) ** 0.5) + ROOM_LEVEL * room(rng, rate, count)
    grid: NDArray[np.float32] = (np.round(mix * 32767) / 32768).astype(np.float32)
    return grid[None]


def _picture(rng: np.random.Generator, script: Script, plan: Plan) -> NDArray[np.uint8]:
    """All frames, uint8 RGB ``(T, H, W, 3)``."""
    texture = surface_texture(rng, plan.height, plan.width, script.style)
    backdrop = np.zeros((plan.height, plan.width, 3), dtype=np.uint8)
    paint_place(rng, script.scenario, Painter(backdrop, script.style, texture))
    frames = np.repeat(backdrop[None], plan.frames, axis=0)
    painter = Painter(frames[0], script.style, texture)
    seen = [subject for subject in script.subjects if subject.on_screen]
    for index in range(plan.frames):
        painter.canvas = frames[index]
        for place, subject in enumerate(seen):
            _draw(painter, subject, place, len(seen), index / float(plan.fps))
    return frames


def _draw(painter: Painter, subject: Subject, place: int, places: int, time_s: float) -> None:
    unit = min(0.62 * painter.height, 0.52 * painter.width / places)
    x = painter.width * (place + 0.5) / places
    y = painter.height * (1 - GROUND + 0.06 * (place % 2))
    painter.place(x, y, unit)
    subject.kind.draw(painter, Pose(time_s, subject.hits_s, subject.color, subject.look))
