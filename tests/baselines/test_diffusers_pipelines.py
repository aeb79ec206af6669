"""Pipelines of diffusers, tiny, through the real runner; plans, refusals and missing files."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import javisbench
from javisbench.baselines.base import Conditions, Generated, Plan, Request
from javisbench.baselines.diffusers_models import DiffusersPipeline
from javisbench.baselines.diffusers_models.folder import Source
from javisbench.baselines.diffusers_models.output import clip_of
from javisbench.baselines.diffusers_models.rules import rules_of
from javisbench.baselines.diffusers_models.table import AS_PIPELINE, PIPELINES, REPOSITORIES
from javisbench.baselines.registry import create_generator
from javisbench.clip import ClipSpec
from javisbench.durable import read_json, read_jsonl
from javisbench.errors import GenerationError, MissingWeightsError, RunError, UsageError, WeightsError
from javisbench.media import read_clip
from javisbench.run.generate import GenerateSettings
from javisbench.suite import Sample, Suite
from javisbench.weights import WeightStore

SMALL = {"steps": "2", "width": "64", "height": "48", "frames": "5"}
# Without the further passes of its guidance.
QUICK = {"pipeline.stg_scale": "0", "pipeline.audio_stg_scale": "0", "pipeline.modality_scale": "1",
         "pipeline.audio_modality_scale": "1"}  # fmt: skip
SPEC = ClipSpec(width=64, height=48, duration_s=0.5, fps=Fraction(8), sample_rate=8000)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def generate(folder: Path, suite: Suite, out: Path, **params: str) -> Path:
    run = javisbench.generate(f"diffusers:{folder}", suite=suite, params={**SMALL, **params}, out=out)
    assert read_jsonl(run / "failures.jsonl") == []
    return run


def request(plan: Plan, seed: int = 5, prompt: str = "a cat") -> Request:
    return Request(Sample("a", 0, prompt), 0, 0, seed, plan, {"text": prompt})


def made(generator: DiffusersPipeline, requests: Sequence[Request]) -> list[Generated]:
    answers = list(generator.generate(requests))
    assert all(isinstance(answer, Generated) for answer in answers)
    return [answer for answer in answers if isinstance(answer, Generated)]


@pytest.mark.parametrize(
    ("name", "shape", "audio"),
    [
        ("LTX2Pipeline", (9, 64, 64, 3), 2),
        ("Kandinsky6TI2VAPipeline", (5, 48, 64, 3), 1),
        ("Cosmos3OmniPipeline", (5, 48, 64, 3), 2),
        ("WanPipeline", (5, 48, 64, 3), None),
    ],
)
def test_clips_through_the_runner(
    name: str,
    shape: tuple[int, ...],
    audio: int | None,
    tiny_pipeline: Callable[..., Path],
    tiny_suite: Suite,
    tmp_path: Path,
) -> None:
    run = generate(tiny_pipeline(name), tiny_suite, tmp_path / "run")
    clips = [read_clip(run / f"clips/sample_{number:04d}.mp4") for number in range(2)]
    sidecar = read_json(run / "clips/sample_0000.json")
    assert [clip.frames.shape for clip in clips] == [shape, shape]
    assert not np.array_equal(clips[0].frames, clips[1].frames)
    assert sidecar["info"]["pipeline"] == name
    assert sidecar["info"]["steps"] == 2
    assert sidecar["info"]["prompt"] == "a cat"
    assert sidecar["model"]["parameters"]["class"] == name
    if audio is None:
        assert clips[0].audio is None
        assert sidecar["plan"]["fps"] == "16"
    else:
        assert clips[0].audio is not None
        assert clips[0].audio.shape[0] == audio
        # Its latents cover the pictures to within one of their own steps (320 samples of 8000 Hz).
        assert clips[0].audio_duration_s == pytest.approx(shape[0] / 24, abs=0.05)
        assert np.abs(clips[0].audio).max() > 1e-3
        assert not np.array_equal(clips[0].audio, clips[1].audio)


@pytest.mark.parametrize(
    "name",
    [
        "LTX2Pipeline",  # picture and sound
        pytest.param("Kandinsky6TI2VAPipeline", marks=pytest.mark.slow),
        pytest.param("Cosmos3OmniPipeline", marks=pytest.mark.slow),
        pytest.param("LTXPipeline", marks=pytest.mark.slow),
        "WanPipeline",  # picture alone
        pytest.param("AudioLDM2Pipeline", marks=pytest.mark.slow),
        "StableAudioPipeline",  # sound alone
    ],
)
def test_a_clip_depends_on_prompt_seed_and_weights_alone(name: str, tiny_pipeline: Callable[..., Path]) -> None:
    def make(weights: int, *asked: tuple[int, str]) -> list[tuple[Any, Any]]:
        folder = tiny_pipeline(name, weights, f"{weights}{asked}")
        sound_alone = rules_of(name).family == "t2a"
        given = {**({"steps": "2"} if sound_alone else SMALL), **(QUICK if name == "LTX2Pipeline" else {})}
        generator = DiffusersPipeline(str(folder), given)
        generator.part_of_cascade = True
        plan = generator.plan(SPEC)
        generator.load("cpu", "auto", WeightStore())
        answers = made(generator, [request(plan, seed, prompt) for seed, prompt in asked])
        generator.close()
        return [(a.clip.frames, np.zeros(0) if a.clip.audio is None else a.clip.audio) for a in answers]

    def equal(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
        return np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])

    first, second = make(0, (5, "a cat"), (6, "a cat"))
    swapped_second, swapped_first, another = make(0, (6, "a cat"), (5, "a cat"), (5, "rain on tin"))
    assert equal(first, swapped_first)
    assert equal(second, swapped_second)
    assert not equal(first, second)
    assert not equal(first, another)
    assert not equal(first, make(1, (5, "a cat"))[0])


def test_stages_of_sound_have_the_planned_length(tiny_pipeline: Callable[..., Path]) -> None:
    for name, channels in (("AudioLDM2Pipeline", 1), ("StableAudioPipeline", 2)):
        generator = DiffusersPipeline(str(tiny_pipeline(name)), {"steps": "2"})
        generator.part_of_cascade = True
        plan = generator.plan(replace(SPEC, duration_s=0.75))
        assert (plan.frames, plan.audio_samples, plan.sample_rate) == (0, 6000, 8000)
        generator.load("cpu", "auto", WeightStore())
        clip = made(generator, [request(plan)])[0].clip
        assert clip.audio is not None
        assert clip.audio.shape == (channels, 6000)
        assert clip.audio.dtype == np.float32
        assert clip.frames.shape[0] == 0


def test_images_of_a_suite_are_what_films_begin_with(tiny_pipeline: Callable[..., Path], tmp_path: Path) -> None:
    from PIL import Image

    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        Image.new("RGB", (70, 50), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "begun.csv").write_text("id,text,image\nred,a cat,red.png\nblue,a cat,blue.png\n")
    (tmp_path / "begun.toml").write_text('task = "i2av"\n')
    suite = str(tmp_path / "begun.csv")
    folder = tiny_pipeline("WanImageToVideoPipeline")
    run = javisbench.generate(f"diffusers:{folder}", suite=suite, params=SMALL, out=tmp_path / "run")
    assert read_jsonl(run / "failures.jsonl") == []
    sidecars = [read_json(run / f"clips/{name}.json") for name in ("red", "blue")]
    assert [facts["given"]["image"]["name"] for facts in sidecars] == ["red.png", "blue.png"]
    # Of one seed and prompt: what differs is the image.
    assert made_with(folder, tmp_path / "red.png") != made_with(folder, tmp_path / "blue.png")
    with pytest.raises(GenerationError, match="i2av"):
        javisbench.generate(f"diffusers:{folder}", suite="demo", params=SMALL, out=tmp_path / "other")
    with pytest.raises(GenerationError, match="t2av"):
        text_alone = tiny_pipeline("WanPipeline")
        javisbench.generate(f"diffusers:{text_alone}", suite=suite, params=SMALL, out=tmp_path / "other")


def made_with(folder: Path, image: Path) -> bytes:
    generator = DiffusersPipeline(str(folder), SMALL)
    generator.load("cpu", "auto", WeightStore())
    asked = replace(request(generator.plan(SPEC)), conditions=Conditions(image=image), task="i2av")
    return made(generator, [asked])[0].clip.frames.tobytes()


def test_the_published_language_model_of_audioldm2_is_loaded_with_its_head(
    tiny_pipeline: Callable[..., Path], tiny_pipelines: ModuleType
) -> None:
    folder = tiny_pipeline("AudioLDM2Pipeline")
    tiny_pipelines.as_published(folder)
    assert "GPT2Model" in (folder / "model_index.json").read_text()
    generator = DiffusersPipeline(str(folder), {"steps": "2"})
    generator.part_of_cascade = True
    generator.load("cpu", "auto", WeightStore())
    assert made(generator, [request(generator.plan(SPEC))])[0].clip.audio is not None


def test_parameters_change_what_is_made(tiny_pipeline: Callable[..., Path], tiny_suite: Suite, tmp_path: Path) -> None:
    folder = tiny_pipeline("WanPipeline")
    one = tiny_suite.limited(1)
    base = generate(folder, one, tmp_path / "base")
    told = generate(folder, one, tmp_path / "told", width="48", frames="5", fps="8", negative_prompt="rain")
    clip = read_clip(told / "clips/sample_0000.mp4")
    assert clip.frames.shape == (5, 48, 48, 3)
    assert clip.fps == 8
    assert read_json(told / "clips/sample_0000.json")["info"]["negative_prompt"] == "rain"
    assert "画面" in read_json(base / "clips/sample_0000.json")["info"]["negative_prompt"]
    resolved = DiffusersPipeline(str(folder), {"guidance": "1"}).resolved()
    assert (resolved["guidance"], resolved["steps"]) == (1.0, 50)


def test_two_shards_make_the_clips_of_one_run(
    tiny_pipeline: Callable[..., Path], tiny_suite: Suite, tmp_path: Path
) -> None:
    folder = tiny_pipeline("WanPipeline")
    whole = generate(folder, tiny_suite, tmp_path / "whole")
    for index in range(2):
        javisbench.generate(
            f"diffusers:{folder}",
            suite=tiny_suite,
            params=SMALL,
            settings=GenerateSettings(shard=(index, 2)),
            out=tmp_path / f"shard{index}",
        )
        name = f"sample_{index:04d}.mp4"
        assert (tmp_path / f"shard{index}/clips" / name).read_bytes() == (whole / "clips" / name).read_bytes()


def test_values_that_are_not_finite_fail(tiny_pipeline: Callable[..., Path], tiny_suite: Suite, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny_pipeline("WanPipeline")
    weights = folder / "vae/diffusion_pytorch_model.safetensors"
    save_file({name: value * float("nan") for name, value in load_file(weights).items()}, weights)
    run = javisbench.generate(f"diffusers:{folder}", suite=tiny_suite, params=SMALL, out=tmp_path / "run")
    assert {row["kind"] for row in read_jsonl(run / "failures.jsonl")} == {"non_finite"}


# Cosmos has no batch axis, Kandinsky no channel axis.
@pytest.mark.parametrize(
    ("name", "output", "channels"),
    [
        ("Cosmos3OmniPipeline", {"video": np.full((5, 16, 16, 3), 0.5), "sound": np.zeros((2, 800))}, 2),
        ("Kandinsky6TI2VAPipeline", {"frames": np.full((1, 5, 16, 16, 3), 0.5), "audio": np.zeros((1, 800))}, 1),
    ],
)
def test_output_conventions(name: str, output: dict[str, Any], channels: int) -> None:
    plan = Plan(16, 16, 5, Fraction(24), 800, 8000, channels)
    clip, warnings = clip_of(rules_of(name), SimpleNamespace(**output), 0, plan)
    assert clip.frames.shape == (5, 16, 16, 3)
    assert (clip.frames == 128).all()
    assert clip.audio is not None
    assert clip.audio.shape == (channels, 800)
    assert warnings == []


def test_sound_beyond_full_scale_is_clipped_and_told() -> None:
    output = SimpleNamespace(audios=np.array([[0.5, -3.0, 1.0, 0.0]]))
    clip, warnings = clip_of(rules_of("AudioLDM2Pipeline"), output, 0, Plan(0, 0, 0, Fraction(8), 4, 8000))
    assert clip.audio is not None
    np.testing.assert_array_equal(clip.audio, np.float32([[0.5, -1.0, 1.0, 0.0]]))
    assert "25.0000%" in warnings[0]


def test_repositories_are_of_classes_that_are_driven() -> None:
    assert all(rules_of(known.kind).family for known in REPOSITORIES.values())


@given(st.sampled_from(list(PIPELINES)), st.integers(1, 4000), st.integers(1, 500))
def test_sides_and_frames_are_the_next_allowed_ones(name: str, side: int, frames: int) -> None:
    rules = PIPELINES[name]
    assert side <= rules.side(side) < side + rules.multiple
    assert rules.side(side) % rules.multiple == 0
    assert frames <= rules.count(frames) < frames + rules.frame_step + rules.frame_rest
    assert (rules.count(frames) - rules.frame_rest) % rules.frame_step == 0


def test_plans_of_published_repositories_need_no_files() -> None:
    plan = DiffusersPipeline("Lightricks/LTX-2").plan(ClipSpec())
    assert (plan.width, plan.height, plan.frames, plan.fps) == (768, 512, 97, 24)
    assert (plan.audio_samples, plan.sample_rate, plan.channels) == (97000, 24000, 2)
    assert "width 426 -> 768: the model's own" in plan.notes
    wan = DiffusersPipeline("Wan-AI/Wan2.1-T2V-1.3B-Diffusers").plan(ClipSpec())
    assert (wan.width, wan.height, wan.frames, wan.fps, wan.audio_samples) == (832, 480, 81, 16, 0)
    assert DiffusersPipeline("Wan-AI/Wan2.2-TI2V-5B-Diffusers").plan(ClipSpec()).fps == 24


def test_what_is_given_wins_over_what_is_native() -> None:
    given = {"width": "430", "height": "240", "frames": "10", "fps": "12"}
    plan = DiffusersPipeline("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", given).plan(ClipSpec())
    assert (plan.width, plan.height, plan.frames, plan.fps) == (432, 240, 13, 12)
    assert "width 426 -> 432: a multiple of 16" in plan.notes
    assert "published checkpoints were made for 832x480" in plan.notes
    assert "frame rate 24 -> 12: -M fps" in plan.notes


def test_authors_settings_are_the_defaults_each_with_its_source() -> None:
    """Values of the models' papers and command lines, not of this package (their sources stand beside them)."""
    ltx2 = DiffusersPipeline("Lightricks/LTX-2")
    assert {name: ltx2.defaults()[name].value for name in ("steps", "guidance", "width", "height", "fps")} == {
        "steps": 30, "guidance": 3.0, "width": 768, "height": 512, "fps": "24",
    }  # fmt: skip
    assert ltx2.defaults()["steps"].source.startswith("LTX2Pipeline of diffusers 0.")
    assert str(ltx2.resolved()["negative_prompt"]).startswith("blurry, out of focus, overexposed")
    assert ltx2.resolved()["arguments"] == {"spatio_temporal_guidance_blocks": [29], "use_cross_timestep": False}
    distilled = DiffusersPipeline("diffusers/LTX-2.3-Distilled-Diffusers").resolved()
    assert distilled["arguments"]["sigmas"] == [1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875]
    assert (distilled["steps"], distilled["guidance"], distilled["negative_prompt"]) == (8, 1.0, None)
    assert distilled["arguments"]["audio_guidance_scale"] == 1.0
    wan = DiffusersPipeline("Wan-AI/Wan2.1-T2V-1.3B-Diffusers").defaults()
    assert (wan["steps"].value, wan["guidance"].value, wan["frames"].value) == (50, 5.0, 81)
    assert wan["fps"].source == "the model's own command line"
    with pytest.raises(UsageError, match="8 sigmas are its steps; 20 steps need other sigmas"):
        DiffusersPipeline("diffusers/LTX-2.3-Distilled-Diffusers", {"steps": "20"})


def test_a_folder_called_like_a_published_repository_has_its_settings(tmp_path: Path) -> None:
    for name, steps in (("LTX-2.3-Distilled-Diffusers", 8), ("mine", 30)):
        spec = index(tmp_path / name, _class_name="LTX2Pipeline")
        assert DiffusersPipeline(spec).resolved()["steps"] == steps


def test_sound_alone_is_refused_outside_a_cascade() -> None:
    with pytest.raises(GenerationError, match="cascade:"):
        DiffusersPipeline("cvssp/audioldm2").plan(ClipSpec())


def test_what_is_not_here_is_told_with_source_size_and_licence(tiny_suite: Suite, tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError) as caught:
        javisbench.generate("diffusers:Wan-AI/Wan2.1-T2V-1.3B-Diffusers", suite=tiny_suite, out=tmp_path / "run")
    for told in ("hf download Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "GB", "Apache-2.0", "--weights-dir"):
        assert told in caught.value.message
    with pytest.raises(MissingWeightsError, match="hf download some/thing --revision v2"):
        DiffusersPipeline("some/thing@v2").plan(ClipSpec())


def test_repositories_of_single_files_name_the_one_with_a_pipeline() -> None:
    assert set(AS_PIPELINE.values()) <= set(REPOSITORIES)
    assert not set(AS_PIPELINE) & set(REPOSITORIES)
    with pytest.raises(MissingWeightsError, match=r"single files.*--model diffusers:diffusers/LTX-2\.3-Diffusers"):
        DiffusersPipeline("Lightricks/LTX-2.3").plan(ClipSpec())


def test_folders_of_weights_and_the_cache_are_looked_through(
    tiny_pipeline: Callable[..., Path], tmp_path: Path
) -> None:
    store = WeightStore((tmp_path,))
    with pytest.raises(MissingWeightsError):
        DiffusersPipeline("Wan-AI/Wan2.1-T2V-1.3B-Diffusers").files(store)
    tiny_pipeline("WanPipeline", into="Wan2.1-T2V-1.3B-Diffusers")
    DiffusersPipeline("Wan-AI/Wan2.1-T2V-1.3B-Diffusers").files(store)
    hub = tmp_path / "hub/models--me--mine"
    tiny_pipeline("WanPipeline", into="hub/models--me--mine/snapshots/abc")
    (hub / "refs").mkdir()
    (hub / "refs/main").write_text("abc")
    mine = DiffusersPipeline("me/mine")
    assert mine.plan(SPEC).frames == 81
    mine.files(store)
    with pytest.raises(WeightsError, match="LTX2Pipeline"):
        tiny_pipeline("WanPipeline", into="LTX-2")
        DiffusersPipeline("Lightricks/LTX-2").files(store)


def test_another_checkpoint_of_a_folder_is_refused_and_a_moved_one_goes_on(
    tiny_pipeline: Callable[..., Path], tiny_suite: Suite, tmp_path: Path
) -> None:
    folder = tiny_pipeline("WanPipeline", into="first/place")
    one = tiny_suite.limited(1)
    run = generate(folder, one, tmp_path / "run")
    assert set(read_json(run / "run.json")["model"]["weights"]) == {
        "index", "scheduler", "text_encoder", "tokenizer", "transformer", "vae",
    }  # fmt: skip
    made_at = (run / "clips/sample_0000.json").stat().st_mtime_ns
    folder = folder.rename(tmp_path / "second")
    generate(folder, one, run)
    assert (run / "clips/sample_0000.json").stat().st_mtime_ns == made_at
    with pytest.raises(RunError, match=r"vae \(diffusion_pytorch_model\.safetensors\)"):
        generate(tiny_pipeline("WanPipeline", 1), one, run)
    cascades = [f"cascade:t2v=diffusers:{place},t2a=procedural" for place in (folder, tmp_path / "WanPipeline-1")]
    assert len({create_generator(cascade).key_name(cascade) for cascade in cascades}) == 1
    assert create_generator(cascades[0]).resolved() == create_generator(cascades[1]).resolved()


def test_a_component_that_is_not_here_is_named(tiny_pipeline: Callable[..., Path]) -> None:
    folder = tiny_pipeline("WanPipeline")
    (folder / "vae").rename(folder / "other")
    with pytest.raises(MissingWeightsError, match="lacks the folders vae of its components"):
        DiffusersPipeline(str(folder)).load("cpu", "auto", WeightStore())


def test_weights_that_are_not_whole_make_no_clip(tiny_pipeline: Callable[..., Path]) -> None:
    """The library fills what lacks with nothing; each clip would fail with a sentence on meta tensors."""
    folder = tiny_pipeline("WanPipeline")
    weights = folder / "transformer/diffusion_pytorch_model.safetensors"
    shutil.copy(folder / "vae" / weights.name, weights)
    with pytest.raises(WeightsError, match=r"transformer does not hold the weights of a Wan.*it lacks .*more"):
        DiffusersPipeline(str(folder)).load("cpu", "auto", WeightStore())
    whole = tiny_pipeline("WanPipeline", into="whole")
    shutil.copy(folder / "vae" / weights.name, whole / "text_encoder/model.safetensors")
    with pytest.raises(WeightsError, match=r"text_encoder does not hold the weights of a UMT5"):
        DiffusersPipeline(str(whole)).load("cpu", "auto", WeightStore())
    shutil.rmtree(weights.parent)
    model = DiffusersPipeline(str(folder))
    assert "transformer" not in model.files(WeightStore())
    with pytest.raises(WeightsError, match=r"cannot be read: .*config\.json"):
        model.load("cpu", "auto", WeightStore())


def test_unreadable_weights_are_told(tiny_pipeline: Callable[..., Path]) -> None:
    folder = tiny_pipeline("WanPipeline")
    (folder / "vae/diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        DiffusersPipeline(str(folder)).load("cpu", "auto", WeightStore())


def index(folder: Path, **changes: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "WanPipeline", **changes}))
    return str(folder)


def test_classes_that_are_not_driven_are_refused_with_the_reason(tmp_path: Path) -> None:
    spec = index(tmp_path / "p", _class_name="WanPipelin")
    with pytest.raises(GenerationError, match=r"no pipeline class 'WanPipelin'.*Did you mean 'WanPipeline'.*command:"):
        DiffusersPipeline(spec).plan(SPEC)
    for kind, why in {
        "FluxPipeline": "neither pictures in motion nor sound",
        "StableVideoDiffusionPipeline": "takes no prompt",
        "LucyEditPipeline": "needs video beside a prompt",
        "EasyAnimateControlPipeline": "follows a control film",
    }.items():
        with pytest.raises(GenerationError, match=why):
            DiffusersPipeline(index(tmp_path / kind, _class_name=kind)).plan(SPEC)


def test_code_from_a_repository_is_refused(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for number, changes in enumerate(
        ({"_class_name": ["pipeline", "WanPipeline"]}, {"vae": ["my_vae", "MyVae"]}, {"vae": ["os", "path"]})
    ):
        with pytest.raises(GenerationError, match="code of its own"):
            DiffusersPipeline(index(tmp_path / f"p{number}", **changes)).plan(SPEC)
    spec = index(tmp_path / "p")
    (tmp_path / "p/vae").mkdir()
    (tmp_path / "p/vae/modeling.py").write_text(f"open({str(ran)!r}, 'w')")
    with pytest.raises(GenerationError, match="code of its own"):
        DiffusersPipeline(spec).plan(SPEC)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"vae": ["transformers", "pipeline"]}, "cannot be read"),
        ({"vae": ["diffusers", "NoSuchClass"]}, "has no class `NoSuchClass`"),
        ({"text_encoder": ["transformers", "AutoModel"]}, "cannot be read"),
        ({"../WanPipeline-0": ["diffusers", "AutoencoderKLWan"]}, "no name of a folder"),
        ({"vae": [1, 2]}, "code of its own"),
        ({"stranger": ["diffusers", "AutoencoderKLWan"]}, "lacks the folders stranger"),
    ],
)
def test_hostile_indices_are_refused_in_one_sentence(
    tiny_pipeline: Callable[..., Path], changes: dict[str, Any], told: str
) -> None:
    folder = tiny_pipeline("WanPipeline")
    content = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**content, **changes}))
    with pytest.raises((WeightsError, GenerationError, MissingWeightsError), match=told):
        DiffusersPipeline(str(folder)).load("cpu", "auto", WeightStore())


def test_code_in_weights_is_not_run(tiny_pipeline: Callable[..., Path], tmp_path: Path) -> None:
    import torch

    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return open, (str(tmp_path / "written"), "w")

    folder = tiny_pipeline("WanPipeline")
    (folder / "vae/diffusion_pytorch_model.safetensors").unlink()
    torch.save({"a": Harmful()}, folder / "vae/diffusion_pytorch_model.bin")
    with pytest.raises(WeightsError, match="cannot be read"):
        DiffusersPipeline(str(folder)).load("cpu", "auto", WeightStore())
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("text", ["[]", "{", '{"_class_name": 3}', "[" * 100_000])
def test_broken_indices_are_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "model_index.json").write_text(text)
    with pytest.raises((WeightsError, GenerationError), match=r"model_index|none that can be driven"):
        DiffusersPipeline(str(tmp_path)).plan(SPEC)


@pytest.mark.parametrize(
    ("variant", "told"),
    [(None, "OWNER/NAME"), ("", "OWNER/NAME"), ("./nowhere", "no such folder"), ("a/b/c", "OWNER/NAME")],
)
def test_sources_that_are_none(variant: str | None, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        DiffusersPipeline(variant)


def test_a_folder_without_index_is_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no model_index\.json"):
        DiffusersPipeline(str(tmp_path))


def test_revisions_stand_behind_an_at_sign() -> None:
    assert Source.parse("a/b@v1.0") == Source(None, "a/b", "v1.0")
    assert Source.parse("a/b").revision is None


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"step": "3"}, "Did you mean 'steps'"),
        ({"steps": "0"}, "between 1 and 1000"),
        ({"fps": "1/0"}, "frames per second"),
        ({"dtype": "int8"}, "bfloat16"),
        ({"offload": "disk"}, "none or model or sequential"),
        ({"compile": "1"}, "true or false"),
        ({"pipelin.sigmas": "1"}, r"Did you mean 'pipeline\.KEY'"),
    ],
)
def test_bad_parameters_are_named(params: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        DiffusersPipeline("a/b", params)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"pipeline.guidance_scale_3": "1"}, "Did you mean 'guidance_scale_2'"),
        ({"pipeline.guidance_scale_2": "much"}, "is a number or none; got 'much'"),
        ({"pipeline.num_inference_steps": "3"}, "say -M steps"),
        ({"pipeline.latents": "3"}, "cannot be given as text"),
        ({"pipeline.attention_kwargs": "{}"}, "cannot be given as text"),
        ({"pipeline.generator": "3"}, "--seed"),
        ({"load.variants": "fp16"}, "Did you mean 'variant'"),
        ({"load.custom_pipeline": "me/evil"}, "no code of a repository is ever run"),
        ({"load.trust_remote_code": "true"}, "no code of a repository is ever run"),
        ({"load.vae": "other"}, "no load argument 'vae'"),
        ({"load.expand_timesteps": "maybe"}, "true or false"),
    ],
)
def test_arguments_of_the_library_are_checked_against_its_signature(params: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        DiffusersPipeline("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", params)


def test_sound_alone_takes_no_size() -> None:
    with pytest.raises(UsageError, match="makes sound alone: -M width"):
        DiffusersPipeline("cvssp/audioldm2", {"width": "64"})


def test_arguments_of_the_library_reach_it_and_the_key(
    tiny_pipeline: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers

    folder = tiny_pipeline("WanPipeline")
    given = {"pipeline.max_sequence_length": "64", "load.expand_timesteps": "false", "load.use_safetensors": "none"}
    generator = DiffusersPipeline(str(folder), {**SMALL, **given})
    assert generator.resolved()["arguments"] == {"max_sequence_length": 64}
    assert generator.resolved()["load"] == {"expand_timesteps": "false", "use_safetensors": "none"}
    loaded: dict[str, Any] = {}
    called: dict[str, Any] = {}
    load, call = diffusers.WanPipeline.from_pretrained, diffusers.WanPipeline.__call__

    def watch_load(*args: Any, **kwargs: Any) -> Any:
        loaded.update(kwargs)
        return load(*args, **kwargs)

    def watch_call(self: Any, **kwargs: Any) -> Any:
        called.update(kwargs)
        return call(self, **kwargs)

    monkeypatch.setattr(diffusers.WanPipeline, "from_pretrained", watch_load)
    monkeypatch.setattr(diffusers.WanPipeline, "__call__", watch_call)
    generator.load("cpu", "auto", WeightStore())
    made(generator, [request(generator.plan(SPEC))])
    assert loaded["expand_timesteps"] is False
    assert loaded["use_safetensors"] is None
    assert called["max_sequence_length"] == 64
    assert called["num_inference_steps"] == 2


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("Failed to import x: operator torchvision::nms does not exist"), "another torch"),
        (ModuleNotFoundError("No module named 'diffusers'", name="diffusers"), r"javisbench\[baselines\]"),
    ],
)
def test_imports_that_fail_give_one_sentence(
    error: Exception, told: str, tiny_pipeline: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_pipeline("WanPipeline")

    class Broken(ModuleType):
        __version__ = "0.42.1"

        def __getattr__(self, name: str) -> Any:
            raise error

    monkeypatch.setitem(sys.modules, "diffusers", Broken("diffusers"))
    with pytest.raises(GenerationError, match=told):
        DiffusersPipeline(str(folder)).load("cpu", "auto", WeightStore())
