"""Every pipeline class of the installed diffusers that makes pictures in motion or sound: driven, or with a reason."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from javisbench.baselines.base import NO_CONDITIONS, Conditions, Generated, Request
from javisbench.baselines.diffusers_models import DiffusersPipeline
from javisbench.baselines.diffusers_models.rules import Rules, rules_of
from javisbench.baselines.diffusers_models.signature import (
    REQUIRED,
    UNKNOWN,
    Argument,
    class_names,
    constant,
    signature,
)
from javisbench.baselines.diffusers_models.table import NOT_DRIVEN, PIPELINES, known
from javisbench.clip import ClipSpec
from javisbench.suite import Sample
from javisbench.weights import WeightStore

_GUARD = "its safety checker needs the package cosmos_guardrail, which is not among the extras"
_FROM_PICTURE = "starts from a picture, which the tasks t2av, v2a and a2v do not give; driven by its signature alone"
NOT_TRIED = {
    "Cosmos2VideoToWorldPipeline": _GUARD,
    "Cosmos2_5_PredictBasePipeline": _GUARD,
    "CosmosTextToWorldPipeline": _GUARD,
    "CosmosVideoToWorldPipeline": _GUARD,
    "HunyuanSkyreelsImageToVideoPipeline": _FROM_PICTURE,
    "HunyuanVideo15ImageToVideoPipeline": _FROM_PICTURE,
    "HunyuanVideoFramepackPipeline": _FROM_PICTURE,
    "HunyuanVideoImageToVideoPipeline": _FROM_PICTURE,
    "I2VGenXLPipeline": _FROM_PICTURE,
    "Kandinsky5I2VPipeline": _FROM_PICTURE,
    "MotifVideoImage2VideoPipeline": _FROM_PICTURE,
    "PIAPipeline": _FROM_PICTURE,
    "SkyReelsV2DiffusionForcingImageToVideoPipeline": _FROM_PICTURE,
    "SkyReelsV2ImageToVideoPipeline": _FROM_PICTURE,
}
"""Driven classes without a tiny pipeline, each with the reason."""

SPEC = ClipSpec(width=64, height=48, duration_s=0.5, sample_rate=8000)
SMALL = {"steps": "2", "width": "64", "height": "48", "frames": "5"}
# What a class needs beside `SMALL`: its tiles, or its schedule, allow no less.
LARGER = {
    "AllegroPipeline": {"width": "320", "height": "320", "frames": "24"},
    "LTXI2VLongMultiPromptPipeline": {"width": "256", "height": "256"},
    "TextToVideoZeroPipeline": {"steps": "50"},
    "TextToVideoZeroSDXLPipeline": {"steps": "50"},
}
# Others are run by `make slow`, or elsewhere by default (tests/baselines/test_diffusers_pipelines.py).
BY_DEFAULT = ("LTXConditionPipeline", "LattePipeline", "LongCatAudioDiTPipeline")


def tiny_classes() -> list[str]:
    from tests.baselines.tiny_pipelines import components

    return sorted(components())


def may_have_a_length(name: str) -> bool:
    """Whether a class's file so much as names frames or seconds: reading all of them as code takes long."""
    module = import_module("javisbench.baselines.diffusers_models.signature")
    return re.search(r"frames|video_length|audio|duration|seconds", module._places()[name].read_text()) is not None


def test_every_class_is_driven_or_says_why_not(tiny_pipelines: ModuleType) -> None:
    """A class that a new version of diffusers brings fails here until it is tried or has a reason."""
    tried = set(tiny_pipelines.components())
    unaccounted = []
    for name in filter(may_have_a_length, class_names()):
        rules = Rules(known(name), signature(name))
        if rules.why_not is None and name not in tried | set(NOT_TRIED):
            unaccounted.append(name)
        if rules.why_not is not None:
            assert name not in tried, name
    assert unaccounted == []


def test_reasons_and_rules_are_of_classes_that_there_are() -> None:
    names = set(class_names())
    assert set(NOT_DRIVEN) - names <= {"AutoPipelineForText2Audio"}
    assert set(PIPELINES) <= names
    assert set(NOT_TRIED) <= names
    assert not set(NOT_DRIVEN) & (set(PIPELINES) | set(NOT_TRIED))
    assert all(rules_of(name).tasks for name in PIPELINES)


def test_what_makes_sound_and_pictures_is_told_by_the_signature() -> None:
    families = {name: rules_of(name).family for name in PIPELINES}
    joint = {name for name, family in families.items() if family == "t2av"}
    assert joint == {
        "Cosmos3OmniPipeline", "Kandinsky6TI2VAPipeline", "LTX2ConditionPipeline", "LTX2ImageToVideoPipeline",
        "LTX2InContextPipeline", "LTX2Pipeline",
    }  # fmt: skip
    assert {name for name, family in families.items() if family == "t2a"} == {
        "AceStepPipeline", "AudioLDM2Pipeline", "AudioLDMPipeline", "LongCatAudioDiTPipeline", "StableAudio3Pipeline",
        "StableAudioPipeline",
    }  # fmt: skip
    assert rules_of("WanImageToVideoPipeline").tasks == {"i2av"}
    assert rules_of("Kandinsky6TI2VAPipeline").tasks == {"t2av", "i2av"}
    assert rules_of("WanPipeline").tasks == {"t2av"}


def same_as_imported(names: tuple[str, ...]) -> None:
    import diffusers

    for name in names:
        imported = inspect.signature(getattr(diffusers, name).__call__).parameters
        expected = {
            key: value.default
            for key, value in imported.items()
            if key != "self" and value.kind not in (value.VAR_KEYWORD, value.VAR_POSITIONAL)
        }
        found = {key: argument.default for key, argument in signature(name).call.items()}
        assert list(found) == list(expected), name
        for key, default in found.items():
            if default is REQUIRED:
                assert expected[key] is inspect.Parameter.empty, (name, key)
            elif default is not UNKNOWN:
                assert default == expected[key], (name, key)


def test_signatures_read_from_the_source_are_those_of_the_classes() -> None:
    same_as_imported(("LTXConditionPipeline", "LattePipeline", "LongCatAudioDiTPipeline", "WanPipeline"))


@pytest.mark.slow
def test_signatures_of_all_classes() -> None:
    """Imports every pipeline."""
    import diffusers

    found = {name: getattr(diffusers, name) for name in dir(diffusers) if name.endswith("Pipeline")}
    # What needs a package that is not here is a stand-in.
    public = {name for name, kind in found.items() if "dummy" not in kind.__module__}
    same_as_imported(tuple(sorted(public & set(class_names()))))
    # Pipelines of blocks have no signature: a call takes whatever its blocks take.
    left = {name for name in public - set(class_names()) if not name.endswith("ModularPipeline")}
    assert all("Onnx" in name or "Flax" in name for name in left), left


@pytest.mark.parametrize(
    "name", [name if name in BY_DEFAULT else pytest.param(name, marks=pytest.mark.slow) for name in tiny_classes()]
)
def test_each_class_makes_a_clip(name: str, tiny_pipeline: Callable[..., Path], tmp_path: Path) -> None:
    rules = rules_of(name)
    given = {**(SMALL if rules.frames else {"steps": "2"}), **LARGER.get(name, {})}
    if "num_inference_steps" not in rules.signature.call:
        del given["steps"]
    generator = DiffusersPipeline(str(tiny_pipeline(name)), given)
    generator.part_of_cascade = True
    plan = generator.plan(SPEC)
    generator.load("cpu", "float32", WeightStore())
    conditions = NO_CONDITIONS
    if rules.needs_image:
        noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / "given.png")
        conditions = Conditions(image=tmp_path / "given.png")
    asked = Request(Sample("a", 0, "a cat"), 0, 0, 5, plan, {"text": "a cat"}, conditions)
    (answer,) = generator.generate([asked])
    assert isinstance(answer, Generated), answer
    clip = answer.clip
    if rules.frames:
        assert clip.frames.shape == (plan.frames, plan.height, plan.width, 3)
        assert clip.frames.std() > 1
    if rules.family == "t2v":
        assert clip.audio is None
    else:
        assert clip.audio is not None
        assert clip.sample_rate == 8000
        # Latents of pictures and sound lie on grids of their own: up to 0.05 s apart.
        assert clip.audio.shape[1] / 8000 == pytest.approx(plan.audio_samples / 8000, abs=0.05)
        assert np.abs(clip.audio).max() > 1e-3
    assert answer.info["pipeline"] == name


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        ("int", "3", 3),
        ("float", "1e-2", 0.01),
        ("int | float | None", "2", 2),
        ("int | None", "none", None),
        ("bool", "False", False),
        ("str | None", "none", "none"),
        ("list[float] | None", "1.0,0.5", [1.0, 0.5]),
        ("List[int]", "28,29", [28, 29]),
        ("Optional[List[float]]", "0.5", [0.5]),
        ("float | list[float]", "0.5", 0.5),
        ("float | list[float]", "0.5,0.25", [0.5, 0.25]),
        ("", "7", 7),
    ],
)
def test_texts_become_what_an_argument_takes(annotation: str, text: str, value: object) -> None:
    assert Argument("x", annotation, 1).read(text) == value


@pytest.mark.parametrize(
    ("annotation", "text", "takes"),
    [
        ("int", "1.5", "a whole number"),
        ("bool", "perhaps", "true or false"),
        ("list[float]", "1,much", "a number, or several with commas"),
        ("torch.Tensor | None", "none", None),
        ("dict[str, Any]", "{}", "cannot be given as text"),
        ("Callable[[int], None] | None", "f", "cannot be given as text"),
    ],
)
def test_texts_that_an_argument_does_not_take(annotation: str, text: str, takes: str | None) -> None:
    argument = Argument("x", annotation, None)
    if takes is None:
        assert argument.read(text) is None
        return
    with pytest.raises(ValueError, match=takes):
        argument.read(text)


def test_values_of_the_library_are_read_without_importing_it() -> None:
    sigmas = constant("ltx2/utils.py", "DISTILLED_SIGMA_VALUES")
    assert sigmas[0] == 1.0
    assert sigmas == sorted(sigmas, reverse=True)
    assert constant("ltx2/utils.py", "NO_SUCH_VALUE") is None
    assert constant("no/such.py", "X") is None
