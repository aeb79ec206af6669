"""From a suite's sample to a scene: its family, what its prompt names, its rate and length; and its true times."""

from __future__ import annotations

import re
import zlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from javisbench.baselines.procedural.kinds import base_forms
from javisbench.baselines.procedural.sync.families import FAMILIES, family_of, make_scene
from javisbench.baselines.procedural.sync.scene import Scene, Setting
from javisbench.clip import ClipSpec
from javisbench.errors import GenerationError
from javisbench.registry import did_you_mean
from javisbench.taxonomy import ASPECTS

if TYPE_CHECKING:
    from javisbench.baselines.procedural.painting import Style
    from javisbench.suite import Sample

Rates: TypeAlias = Literal["varied", "suite"]
COLUMN = "family"
"""The suite's own column that names a sample's family."""
SUITE_SETTING = ClipSpec(width=256, height=144, duration_s=5.0, fps=Fraction(25))
"""What the suite ``sync-scenes`` asks for."""
_RATES = {24: 0.25, 25: 0.3, 30: 0.25, 15: 0.1, 50: 0.1}
"""Frames per second and how often each is drawn."""


def setting_of(sample: Sample, seed: int, spec: ClipSpec, rates: Rates = "varied") -> Setting:
    """What decides the scene of a sample.

    Args:
        sample: its column ``family`` names the family; without such a column, the words of its prompts do.
        seed: of the clip.
        spec: the suite's setting: size, sample rate, and mean length.
        rates: ``varied``: the seed decides the frame rate (24, 25, 30, seldom 15 or 50) and the length (0.8 to 1.2
            times the setting's); ``suite``: as the setting says.

    Raises:
        GenerationError: no such family, or none that the prompt asks for.
    """
    words = _words(sample)
    fps, duration_s = spec.fps, spec.duration_s
    if rates == "varied":
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(b"setting")])))
        fps = Fraction(int(rng.choice(list(_RATES), p=list(_RATES.values()))))
        duration_s = max(1, round(spec.duration_s * rng.uniform(0.8, 1.2) * fps)) / float(fps)
    return Setting(
        family=_family(sample, words),
        seed=seed,
        duration_s=duration_s,
        fps=fps,
        width=spec.width,
        height=spec.height,
        sample_rate=spec.sample_rate,
        words=words,
        scenario=_category(sample, "event_scenario"),
        style=cast("Style | None", _category(sample, "visual_style")),
    )


def _words(sample: Sample) -> frozenset[str]:
    text = f"{sample.text} {sample.audio_text or ''}".lower()
    return frozenset(form for word in re.findall(r"[a-z]+", text) for form in base_forms(word))


def _family(sample: Sample, words: frozenset[str]) -> str:
    named = sample.extra.get(COLUMN, "").strip()
    if named:
        if named not in FAMILIES:
            raise GenerationError(
                f"The column {COLUMN} names {named!r}, which is no family of scenes.{did_you_mean(named, FAMILIES)} "
                f"Known: {', '.join(FAMILIES)}.",
                kind="family",
            )
        return named
    found = family_of(words)
    if found is None:
        raise GenerationError(
            f"The prompt asks for none of the families of procedural:sync ({', '.join(FAMILIES)}). Give the suite a "
            f"column {COLUMN}, or use --suite sync-scenes.",
            kind="family",
        )
    return found


def _category(sample: Sample, aspect: str) -> str | None:
    known = [name for name in sample.categories.get(aspect, ()) if name in ASPECTS[aspect].category_ids]
    return known[0] if known else None


def scene_events(
    sample: Sample, seed: int, spec: ClipSpec = SUITE_SETTING, rates: Rates = "varied"
) -> dict[str, list[dict[str, Any]]]:
    """The true times of what happens in the clip that ``procedural:sync`` makes of a sample, without making it.

    Args:
        sample: of a suite; see `setting_of`.
        seed: of the clip: ``seed`` in its sidecar, or `javisbench.run.generate.sample_seed`.
        spec: the suite's setting.
        rates: as ``-M rates`` says.

    Returns:
        ``events`` (seen and heard), ``seen_only`` and ``heard_only``, each a list of ``{"time_s": seconds from the
        start of the clip, "kind": name}`` in order of time.

    Raises:
        GenerationError: no such family, or none that the prompt asks for.
    """
    return make_scene(setting_of(sample, seed, spec, rates)).times()


def scene_facts(setting: Setting, scene: Scene) -> dict[str, Any]:
    """What a clip's sidecar says of its scene."""
    return {
        "family": setting.family,
        "expected": scene.expected,
        **scene.times(),
        "scene": {**scene.facts, "fps": str(setting.fps), "duration_s": setting.duration_s},
    }
