"""Checks of an encoder: what it says of itself, and that features depend on the clip and the settings alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from javisbench.clip import Clip, FrameRun
from javisbench.errors import FeatureError, JavisbenchError, MissingWeightsError
from javisbench.metrics.contract.report import BrokenError, NotApplicableError, Report
from javisbench.metrics.contract.samples import PROMPTS, broken_sound, odd_clips, ordinary_clips
from javisbench.metrics.encoders import ENCODERS, lacking
from javisbench.settings import setting_types

if TYPE_CHECKING:
    from javisbench.metrics.encoders.base import Encoded, Encoder, FeatureSpec, Intake
    from javisbench.weights import WeightStore

# What a batch may change: float rounding of a network.
TOLERANCE = 1e-5


def loaded(name: str, weights: WeightStore) -> Encoder:
    """The encoder with weights that are on this machine: the default variant's, else those of any other.

    Raises:
        NotApplicableError: a module or the weights are not here.
        UsageError: there is no such encoder, or its package is broken.
    """
    lacks = lacking(name)
    if lacks is not None:
        raise NotApplicableError(lacks)
    cls = ENCODERS.get(name)
    problem = ""
    for variant, entry in cls.card.variants.items():
        try:
            path = None if entry is None else weights.locate(entry).path
        except MissingWeightsError as error:
            problem = problem or error.sentence
            continue
        encoder = cls(variant)
        encoder.load(path, "cpu")
        return encoder
    raise NotApplicableError(problem)


def check_encoder(report: Report, specs: Sequence[FeatureSpec], weights: WeightStore) -> None:
    """Run all checks of an encoder.

    Args:
        report: takes the rows.
        specs: features that some metric asks of it.
        weights: where its weights may lie.
    """
    cls = ENCODERS.get(report.id)
    with report.row("card") as notes:
        _card(cls, weights)
        notes.append(f"variants {', '.join(cls.card.variants)}")
    with report.row("features") as notes:
        if not specs:
            raise NotApplicableError("no installed metric asks for one")
        notes.append(", ".join(sorted({f"{spec.feature} ({spec.subject})" for spec in specs})))
        if cls.stream(specs[0]) not in ("picture", "sound", "both"):
            raise BrokenError(f"stream gives {cls.stream(specs[0])!r}")
    with report.row("settings") as notes:
        notes.append(described_settings(cls.settings))
        for name in vars(cls.settings()) if cls.settings else ():
            if any(name not in spec.settings for spec in specs):
                raise BrokenError(
                    f"{name} is not in the prep of every feature, so that another value finds stored ones"
                )
    encoder: Encoder | None = None
    with report.row("load") as notes:
        if not specs:
            raise NotApplicableError("no features to make")
        encoder = loaded(report.id, weights)
        notes.append(encoder.variant)
    if encoder is not None:
        _Encoding(report, encoder, specs).run()
        encoder.close()


def described_settings(settings: type | None) -> str:
    """Settings with their defaults.

    Raises:
        NotApplicableError: there are none.
        BrokenError: they are no frozen dataclass of plain values, or its docstring does not explain one.
    """
    if settings is None:
        raise NotApplicableError("none of its own")
    try:
        types = setting_types(settings)
    except TypeError as error:
        raise BrokenError(str(error)) from error
    silent = [name for name in types if name not in (settings.__doc__ or "")]
    if silent:
        raise BrokenError(f"the docstring of {settings.__qualname__} does not explain {', '.join(silent)}")
    default = settings()
    return ", ".join(f"{name}={getattr(default, name)}" for name in types)


def _card(cls: type[Encoder], weights: WeightStore) -> None:
    card = cls.card
    if not card.title:
        raise BrokenError("no title")
    named = [entry for entry in card.variants.values() if entry is not None]
    for entry in named:
        weights.entry(entry)
    if named and not card.licence:
        raise BrokenError("no licence of its weights")
    if type(card.revision) is not int or card.revision < 1:
        raise BrokenError(f"the revision is a whole number from 1, not {card.revision!r}")


class _Encoding:
    """The checks that encode."""

    def __init__(self, report: Report, encoder: Encoder, specs: Sequence[FeatureSpec]) -> None:
        self._report = report
        self._encoder = encoder
        self._texts = [spec for spec in specs if spec.subject != "clip"]
        self._specs = [spec for spec in specs if spec.subject == "clip"]
        self._made: list[Encoded] = []

    def run(self) -> None:
        clips = list(ordinary_clips().values())
        row = self._report.row
        with row("shapes") as notes:
            self._made = self._encode(clips)
            notes += _described(self._made[0])
        with row("determinism"):
            _same(self._encode(clips), self._need(self._made), 0.0, "the same clips again")
        with row("batch independence"):
            alone = [encoded for clip in clips for encoded in self._encode([clip])]
            _same(alone, self._need(self._made), TOLERANCE, "a clip by itself and in a batch")
            _same(self._encode(clips[::-1])[::-1], self._made, TOLERANCE, "another order")
        with row("frames in runs"):
            self._runs(clips[0], self._need(self._made)[0])
        with row("stream") as notes:
            notes.append(self._stream(clips[0], self._need(self._made)[0]))
        with row("odd clips") as notes:
            notes.append(self._odd(clips[0]))
        with row("NaN in the sound") as notes:
            notes.append(self._broken_sound(clips[0]))
        with row("prompts"):
            self._prompts()

    def _need(self, made: list[Encoded]) -> list[Encoded]:
        if not made:
            raise NotApplicableError(
                "there are no features of ordinary clips" if self._specs else "no features of clips"
            )
        return made

    def _encode(self, clips: Sequence[Clip]) -> list[Encoded]:
        if not self._specs:
            raise NotApplicableError("no features of clips")
        intakes = [self._encoder.intake(clip.head, self._specs) for clip in clips]
        for clip, intake in zip(clips, intakes, strict=True):
            _show(clip, intake, len(clip.frames))
        made = self._encoder.features(intakes)
        if len(made) != len(clips):
            raise BrokenError(f"{len(clips)} clips gave {len(made)} results")
        return [_checked(encoded, self._specs) for encoded in made]

    def _runs(self, clip: Clip, whole: Encoded) -> None:
        for size in (1, 7):
            intake = self._encoder.intake(clip.head, self._specs)
            wanted = intake.wanted
            if wanted is not None and len(wanted):
                ascending = bool((np.diff(wanted) > 0).all())
                if not ascending or wanted[0] < 0 or wanted[-1] >= len(clip.frames):
                    raise BrokenError("the frames wanted are not ascending, or not in the clip")
            _show(clip, intake, size)
            (made,) = self._encoder.features([intake])
            _same([made], [whole], TOLERANCE, f"{size} frames at a time")

    def _stream(self, clip: Clip, whole: Encoded) -> str:
        told = {spec: type(self._encoder).stream(spec) for spec in self._specs}
        other = list(ordinary_clips().values())[1]
        swapped = {
            "picture": replace(clip, audio=other.audio, sample_rate=other.sample_rate),
            "sound": clip.with_frames(other.frames),
        }
        for stream, changed in swapped.items():
            alone = [spec for spec, said in told.items() if said == stream]
            if alone:
                (made,) = self._encode([changed])
                part = [{spec: found[spec] for spec in alone} for found in (made, whole)]
                _same(part[:1], part[1:], TOLERANCE, f"features said to be of the {stream} alone, under another rest")
        return ", ".join(sorted(set(told.values())))

    def _odd(self, good: Clip) -> str:
        refused = []
        for name, clip in odd_clips().items():
            made = self._beside(clip, good, name)
            if any(isinstance(features, JavisbenchError) for features in made.values()):
                refused.append(name)
        return f"no features {', '.join(refused)}" if refused else ""

    def _broken_sound(self, good: Clip) -> str:
        """No clip is read like that; a tensor of a training loop may be. NaN in the features is found by the runner."""
        made = self._beside(broken_sound(), good, "with NaN in its sound")
        told = set()
        for features in made.values():
            if isinstance(features, JavisbenchError):
                told.add("no features")
            elif all(np.isfinite(array).all() for array in features.values()):
                told.add("features from what is left")
            else:
                told.add("features that are not finite, for which a metric has no value")
        return ", or ".join(sorted(told))

    def _beside(self, clip: Clip, good: Clip, name: str) -> Encoded:
        """The features of a clip in a batch with a good one, or why there are none; the good one must have its own."""
        if not self._specs:
            raise NotApplicableError("no features of clips")
        step = "its frames"
        try:
            intakes = []
            refused: FeatureError | None = None
            for one in (good, clip):
                try:
                    intake = self._encoder.intake(one.head, self._specs)
                    _show(one, intake, len(one.frames))
                    intakes.append(intake)
                except FeatureError as error:
                    if one is good:
                        raise BrokenError(f"an ordinary clip is refused: {error.message}") from error
                    refused = error
            step = "a batch with it"
            made = self._encoder.features(intakes)
        except (BrokenError, FeatureError):
            raise
        except Exception as error:
            raise BrokenError(f"{step}: the clip {name} raises {type(error).__name__}: {error}") from error
        _checked(made[0], self._specs)
        return dict.fromkeys(self._specs, refused) if refused else _checked(made[1], self._specs, errors=True)

    def _prompts(self) -> None:
        if not self._texts:
            raise NotApplicableError("no features of prompts")
        for subject in sorted({spec.subject for spec in self._texts}):
            specs = [spec for spec in self._texts if spec.subject == subject]
            together = [_checked(made, specs) for made in self._encoder.encode(PROMPTS, specs)]
            alone = [_checked(made, specs) for p in PROMPTS for made in self._encoder.encode([p], specs)]
            _same(alone, together, TOLERANCE, "a prompt by itself and in a batch")


def _show(clip: Clip, intake: Intake, size: int) -> None:
    for start in range(0, len(clip.frames), size):
        frames = clip.frames[start : start + size]
        run = FrameRun(np.arange(start, start + len(frames)), frames).only(intake.wanted)
        if len(run.indices):
            intake.take(run)
    intake.end(clip.damage)


def _checked(made: Encoded, specs: Sequence[FeatureSpec], *, errors: bool = False) -> Encoded:
    for spec in specs:
        if spec not in made:
            raise BrokenError(f"the feature {spec.feature} is not among the results")
        features = made[spec]
        if isinstance(features, JavisbenchError):
            if errors and isinstance(features, FeatureError):
                continue
            raise BrokenError(f"an ordinary clip has no {spec.feature}: {features.message}")
        for name, array in features.items():
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
                raise BrokenError(f"{spec.feature}/{name} is no array of numbers but {type(array).__name__}")
            if not errors and not np.isfinite(array).all():
                raise BrokenError(f"{spec.feature}/{name} of an ordinary clip holds NaN or infinity")
    return made


def _described(made: Encoded) -> list[str]:
    found = []
    for spec, features in made.items():
        if not isinstance(features, JavisbenchError):
            arrays = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in features.items())
            found.append(f"{spec.feature}: {arrays}")
    return list(dict.fromkeys(found))


def _same(made: Sequence[Encoded], expected: Sequence[Encoded], tolerance: float, what: str) -> None:
    for one, other in zip(made, expected, strict=True):
        for spec, features in other.items():
            found = one[spec]
            if isinstance(found, JavisbenchError) or isinstance(features, JavisbenchError):
                if isinstance(found, JavisbenchError) != isinstance(features, JavisbenchError):
                    raise BrokenError(f"{what}: {spec.feature} is there once and once not")
                continue
            if found.keys() != features.keys():
                raise BrokenError(f"{what}: {spec.feature} has other arrays")
            for name, array in features.items():
                shape = found[name].shape
                if array.shape != shape:
                    raise BrokenError(f"{what}: {spec.feature}/{name} is {list(shape)}, before {list(array.shape)}")
                scale = max(1.0, float(np.abs(array.astype(np.float64)).max(initial=0.0)))
                gap = np.abs(array.astype(np.float64) - found[name].astype(np.float64)).max(initial=0.0)
                if not gap <= tolerance * scale:
                    raise BrokenError(f"{what}: {spec.feature}/{name} differs by {gap:.2g}")
