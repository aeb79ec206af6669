"""What each metric notices: good clips against damaged copies of themselves.

The pair test of JavisDiT (arXiv:2503.23377, Table A5), for any set of clips: each clip is stored once as it is and once
for every damage, all by the same encoder, so that nothing but the damage tells them apart. A metric notices a damage
when it scores the damaged copies worse.
"""

from __future__ import annotations

import itertools
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.errors import MediaError, UsageError
from javisbench.registry import did_you_mean
from javisbench.results.cell import OVERALL
from javisbench.run.progress import Progress, Silent
from javisbench.run.scoring_job import ScoringJob, ScoringOptions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from javisbench.clip import Clip
    from javisbench.metrics.base import MetricCard
    from javisbench.results.run_folder import Result
    from javisbench.stats import Difference
    from javisbench.suite import Sample, Suite

SCHEMA = 1
DEFAULT_DAMAGES = (
    "late=0.25", "late=1", "early=1", "swapped", "shuffled", "reversed", "silent", "hiss", "frozen", "noise", "blurred",
)  # fmt: skip
_GOOD = "good"
_SHIFT = re.compile(r"(late|early)=(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class PairTest:
    """How well one metric tells good clips from clips with one damage.

    Attributes:
        metric: id.
        damage: name.
        n: clips with a value before and after.
        auroc: chance that a good clip scores better than a damaged one drawn at random, a tie counting half, in [0, 1].
        accuracy_strict: share of the pairs whose good clip scores better.
        accuracy_relaxed: the same with ties counted as right.
        difference: good minus damaged of each pair, positive where the good clip is better, in the metric's unit.
    """

    metric: str
    damage: str
    n: int
    auroc: float
    accuracy_strict: float
    accuracy_relaxed: float
    difference: Difference

    @property
    def noticed(self) -> bool:
        """Whether the 95 % interval of the difference lies above zero."""
        return self.difference.ci_low is not None and self.difference.ci_low > 0

    @property
    def changed(self) -> bool:
        """Whether the damage changed the metric's value of any clip."""
        return self.accuracy_strict > 0 or self.accuracy_relaxed < 1

    def to_json(self) -> dict[str, Any]:
        """As ``validate-metrics --json`` prints it."""
        gap = self.difference
        return {
            "metric": self.metric,
            "damage": self.damage,
            "n": self.n,
            "auroc": self.auroc,
            "accuracy_strict": self.accuracy_strict,
            "accuracy_relaxed": self.accuracy_relaxed,
            "difference": gap.value,
            "ci_low": gap.ci_low,
            "ci_high": gap.ci_high,
            "noticed": self.noticed,
        }


@dataclass(frozen=True)
class Validation:
    """All pair tests of one set of clips.

    Attributes:
        protocol: name.
        stand_in: whether any weights were stand-ins, so that nothing follows for the metrics.
        clips: good clips used.
        left_out: sample id to why its clip was not used.
        tests: one a metric and damage, in the order of tables.
        missing: metric id to why it has no test.
    """

    protocol: str
    stand_in: bool
    clips: int
    left_out: Mapping[str, str]
    tests: tuple[PairTest, ...]
    missing: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """As ``validate-metrics --json`` prints it."""
        return {
            "schema": SCHEMA,
            "protocol": self.protocol,
            "stand_in": self.stand_in,
            "clips": self.clips,
            "left_out": dict(self.left_out),
            "tests": [test.to_json() for test in self.tests],
            "missing": dict(self.missing),
        }


def check_damages(names: Sequence[str]) -> list[str]:
    """The damages, each once.

    Raises:
        UsageError: none, or one that is unknown.
    """
    from javisbench.baselines.procedural.damage import NAMES

    known = [name for name in NAMES if name != "none"] + ["swapped"]
    for name in names:
        if name not in known and not _SHIFT.fullmatch(name):
            raise UsageError(
                f"There is no damage {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}, late=SECONDS and "
                "early=SECONDS."
            )
    if not names:
        raise UsageError("Name at least one damage.")
    return list(dict.fromkeys(names))


def validate_metrics(
    *,
    clips: Path | None = None,
    suite: Suite,
    damages: Sequence[str] = DEFAULT_DAMAGES,
    options: ScoringOptions | None = None,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
) -> Validation:
    """Damage good clips, score all of them and test each metric on each damage.

    Args:
        clips: folder of good clips of `suite`; None renders scenes whose sound and picture belong together.
        suite: the prompts; all of its samples are used.
        damages: ``late=SECONDS`` and ``early=SECONDS`` (sound shifted, silence moved in), ``swapped`` (the sound of
            the next clip), and those of `javisbench.baselines.procedural.damage.Damage`.
        options: how to score.
        seed: of the rendered scenes and of random damage.
        out: folder that keeps the clips and their scores; None keeps neither.
        progress: where to show progress.

    Raises:
        UsageError: an unknown damage, fewer than two usable clips, or no metric with a direction and a value a sample.
        MediaError: a clip cannot be stored.
    """
    damages, options = check_damages(damages), options or ScoringOptions()
    shown = progress or Silent()
    with ExitStack() as stack:
        work = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="javisbench-")))
        left_out: dict[str, str] = {}
        good = _rendered(suite, seed) if clips is None else _read(clips, suite, options, stack, left_out)
        variants = _store(good, len(suite), work / "clips", damages, seed, left_out, shown)
        kept = len(variants) // (1 + len(damages))
        if kept < 2:
            raise UsageError(f"At least two clips with sound are needed; {kept} of {len(suite)} could be used.")
        damaged = _variant_suite(suite, variants)
        job = ScoringJob.prepare(None, damaged, out=work / "run", name="validate-metrics")
        result = job.score(options, shown)
        return _validation(result, damages, kept, left_out)


@dataclass(frozen=True)
class _Good:
    sample: Sample
    clip: Clip


def _rendered(suite: Suite, seed: int) -> Iterator[_Good | tuple[str, str]]:
    from javisbench.baselines.base import Generated, Request
    from javisbench.baselines.procedural.generator import Procedural
    from javisbench.run.generate import sample_seed

    generator = Procedural()
    plan = generator.plan(suite.setting_to_make)
    for sample in suite:
        own = sample_seed(seed, suite.name, sample.id, 0)
        (outcome,) = generator.generate([Request(sample, sample.index, 0, own, plan, sample.prompts)])
        yield _Good(sample, outcome.clip) if isinstance(outcome, Generated) else (sample.id, outcome.message)


def _read(
    folder: Path, suite: Suite, options: ScoringOptions, stack: ExitStack, left_out: dict[str, str]
) -> Iterator[_Good | tuple[str, str]]:
    from javisbench.matching import match_folder
    from javisbench.media import ClipReader

    matched = match_folder(folder, suite, repeats=1)
    left_out |= {item.sample.id: "there is no clip" for item in matched.items if item.source is None}
    samples = {item.source: item.sample for item in matched.items if item.source is not None}
    reader = stack.enter_context(ClipReader(options.workers or 1, lookahead=2))
    for source, clip in reader.read(list(samples)):
        sample = samples[source]
        yield (sample.id, clip.message) if isinstance(clip, MediaError) else _Good(sample, clip)


def _store(
    found: Iterator[_Good | tuple[str, str]],
    total: int,
    folder: Path,
    damages: Sequence[str],
    seed: int,
    left_out: dict[str, str],
    progress: Progress,
) -> list[Sample]:
    """Write each good clip and its damaged copies; returns one sample a file."""
    import numpy as np

    from javisbench.media import write_clip

    variants: list[Sample] = []
    with progress.stage("damaging", total) as stage:
        for good, other in _with_next(_usable(found, left_out)):
            for number, name in enumerate((_GOOD, *damages)):
                # Of the damage's own name, so that the others asked for do not change it.
                rng = np.random.default_rng([seed, good.sample.index, zlib.crc32(name.encode())])
                clip = good.clip if name == _GOOD else _spoiled(good.clip, name, other, rng)
                video = folder / name / f"{good.sample.id}.mp4"
                write_clip(clip, video)
                audio = video.with_suffix(".wav")
                variants.append(
                    replace(
                        good.sample,
                        id=f"{good.sample.id}.{number}",
                        index=len(variants),
                        categories={},
                        pred_video_path=video,
                        pred_audio_path=audio if audio.exists() else None,
                    )
                )
            stage.advance()
    return variants


def _usable(found: Iterator[_Good | tuple[str, str]], left_out: dict[str, str]) -> Iterator[_Good]:
    for entry in found:
        if isinstance(entry, tuple):
            left_out[entry[0]] = entry[1]
        elif entry.clip.audio is None:
            left_out[entry.sample.id] = "the clip has no sound that could be damaged"
        else:
            yield entry


def _with_next(clips: Iterator[_Good]) -> Iterator[tuple[_Good, Clip]]:
    """Each clip with the sound of the next one; the last with that of the first. Holds few pictures at a time."""
    first = next(clips, None)
    if first is None:
        return
    last = replace(first, clip=_sound_only(first.clip))
    for good, following in itertools.pairwise(itertools.chain([first], clips, [last])):
        yield good, _sound_only(following.clip)


def _sound_only(clip: Clip) -> Clip:
    return clip.with_frames(clip.frames[:1].copy())


def _spoiled(clip: Clip, name: str, other: Clip, rng: np.random.Generator) -> Clip:
    from javisbench.baselines.procedural.damage import damaged
    from javisbench.damages.sound import shifted

    assert clip.audio is not None and clip.sample_rate and other.audio is not None and other.sample_rate
    shift = _SHIFT.fullmatch(name)
    if shift:
        sign = 1 if shift[1] == "late" else -1
        return replace(clip, audio=shifted(clip.audio, sign * round(float(shift[2]) * clip.sample_rate)))
    if name == "swapped":
        count = max(1, round(clip.audio_duration_s * other.sample_rate))
        return replace(clip, audio=_fitted(other.audio, count), sample_rate=other.sample_rate)
    return damaged(clip, name, rng)


def _fitted(audio: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Repeated or cut to `count` samples."""
    import numpy as np

    return np.tile(audio, (1, -(-count // audio.shape[1])))[:, :count]


def _variant_suite(suite: Suite, variants: Sequence[Sample]) -> Suite:
    from javisbench.suite import suite_hash

    return replace(
        suite,
        name=f"{suite.name}-damaged",
        samples=tuple(variants),
        hash=suite_hash(variants),
        total=len(variants),
    )


def _validation(result: Result, damages: Sequence[str], kept: int, left_out: Mapping[str, str]) -> Validation:
    from javisbench.metrics.registry import METRICS

    scores = result.scores()
    assert scores is not None
    names = (_GOOD, *damages)
    parts = [sample_id.rpartition(".") for sample_id in scores["sample_id"]]
    scores = scores.assign(clip=[part[0] for part in parts], variant=[names[int(part[2])] for part in parts])
    tests: list[PairTest] = []
    missing: dict[str, str] = {}
    for metric, cells in result.metrics.items():
        card = METRICS.get(metric).card
        if metric not in scores:
            if card.kind == "sample":
                missing[metric] = cells[OVERALL].note or ""
        elif card.higher_is_better is not None:
            values = scores.pivot(index="clip", columns="variant", values=metric)
            tests += [test for name in damages if (test := _pair_test(card, name, values)) is not None]
    if not tests:
        reasons = "; ".join(sorted(set(missing.values()))) or "none has a direction and a value for each clip"
        raise UsageError(f"None of these metrics can be validated: {reasons}.")
    return Validation(result.protocol, result.stand_in, kept, dict(left_out), tuple(tests), missing)


def _pair_test(card: MetricCard, damage: str, values: pd.DataFrame) -> PairTest | None:
    import numpy as np

    from javisbench.stats import paired_difference

    both = values[[_GOOD, damage]].dropna().to_numpy(dtype=np.float64)
    if len(both) < 2:
        return None
    good, bad = (both if card.higher_is_better else -both).T
    return PairTest(
        metric=card.id,
        damage=damage,
        n=len(both),
        auroc=auroc(good, bad),
        accuracy_strict=float((good > bad).mean()),
        accuracy_relaxed=float((good >= bad).mean()),
        difference=paired_difference(good, bad, np.arange(len(both))),
    )


def auroc(good: NDArray[np.floating], bad: NDArray[np.floating]) -> float:
    """Area under the ROC curve: the chance that a good value exceeds a bad one, a tie counting half.

    Args:
        good: shape ``(n,)``, n >= 1.
        bad: shape ``(m,)``, m >= 1.

    Returns:
        in [0, 1]; 0.5 where nothing tells the two apart.

    Source: Mann and Whitney, 1947; Hanley and McNeil, Radiology 143, 1982.
    """
    import numpy as np
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([good, bad]))[: len(good)]
    return float((ranks.sum() - len(good) * (len(good) + 1) / 2) / (len(good) * len(bad)))
