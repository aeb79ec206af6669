"""The generator through its whole path with tiny checkpoints: plans, seeds, batches, refusals."""

from __future__ import annotations

import logging
import subprocess
import sys
import weakref
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from javisbench.baselines.base import Failed, Generated, Plan, Request
from javisbench.baselines.fingerprint import difference, hash_files
from javisbench.baselines.javisdit import JavisDiT, stdit_pipeline, text_encoder
from javisbench.baselines.javisdit.pipeline import Cost
from javisbench.baselines.javisdit.sampler import sampling_times
from javisbench.cards import read_cards
from javisbench.clip import ClipSpec
from javisbench.errors import GenerationError, MissingWeightsError, UsageError, WeightsError
from javisbench.weights import WeightStore, weights_registry

VERSIONS = ["v1.0", "v0.1"]
PROMPTS = ["A dog barks twice.", "Rain on a tin roof", "A DJ plays music"]


@pytest.fixture(scope="module")
def generator(tiny):
    """A loaded tiny generator, by version and further parameters."""
    loaded = {}

    def build(version, **params):
        key = (version, *sorted(params.items()))
        if key not in loaded:
            loaded[key] = JavisDiT(version, {"config": str(tiny / f"{version}.toml"), **params})
            loaded[key].load("cpu", "float32", WeightStore([tiny]))
        return loaded[key]

    yield build
    for one in loaded.values():
        one.close()


def requests(generator, prompts=PROMPTS, first_seed=100):
    plan = generator.plan(ClipSpec())
    return [Request(None, i, 0, first_seed + i, plan, {"text": prompt}) for i, prompt in enumerate(prompts)]


def clips(generator, batch):
    answers = list(generator.generate(batch))
    assert all(isinstance(answer, Generated) for answer in answers), answers
    return {answer.request.index: answer.clip for answer in answers}


def same(a, b):
    return np.array_equal(a.frames, b.frames) and np.array_equal(a.audio, b.audio)


@pytest.mark.parametrize(
    ("version", "params", "size", "frames", "fps", "samples", "asked"),
    [
        ("v1.0", {}, (432, 240), 65, 16, 65_000, (240, 426, 65)),
        ("v1.0", {"frames": "102"}, (432, 240), 105, 16, 102_000, (240, 426, 102)),
        ("v1.0", {"frames": "81", "width": "832", "height": "480"}, (832, 480), 81, 16, 81_000, (480, 832, 81)),
        ("v0.1", {}, (424, 240), 102, 24, 68_000, (240, 426, 102)),
        ("v0.1", {"frames": "51", "fps": "30000/1001"}, (424, 240), 51, Fraction(30000, 1001), 27_227, (240, 426, 51)),
    ],
)
def test_plans_of_the_published_settings(version, params, size, frames, fps, samples, asked):
    plan = JavisDiT(version, params).plan(ClipSpec())
    assert ((plan.width, plan.height), plan.frames, plan.fps, plan.audio_samples) == (size, frames, fps, samples)
    assert (plan.asked.height, plan.asked.width, plan.asked.frames) == asked
    assert (plan.sample_rate, plan.channels) == (16000, 1)


def test_plan_says_what_differs():
    notes = JavisDiT().plan(ClipSpec()).notes
    assert "width 426 -> 432: multiple of 16" in notes
    assert "rate 24 -> 16 fps: the model's own" in notes
    assert any("4.0625 s: 65 frames" in note for note in notes)
    assert any("65000 samples" in note for note in notes)
    own = ClipSpec(width=432, height=240, duration_s=65 / 16, fps=Fraction(16))
    assert JavisDiT().plan(own).notes == ()


@pytest.mark.parametrize("version", VERSIONS)
def test_under_17_frames_is_refused_by_the_plan(version):
    with pytest.raises(GenerationError, match="at least 17 frames"):
        JavisDiT(version, {"frames": "16"}).plan(ClipSpec())
    assert JavisDiT(version, {"frames": "17"}).plan(ClipSpec()).frames == 17


def test_short_suites_are_refused_only_where_too_short():
    assert JavisDiT("v0.1").plan(ClipSpec(duration_s=0.1)).frames == 17
    with pytest.raises(GenerationError, match="at least 17 frames"):
        JavisDiT("v1.0").plan(ClipSpec(duration_s=0.5))


def test_the_denoising_network_is_compiled_on_request(generator, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    assert generator("v1.0", compile="true").resolved() == generator("v1.0").resolved()
    assert compiled == ["JointDiT"]
    [answer] = generator("v1.0", compile="true").generate(requests(generator("v1.0"), PROMPTS[:1]))
    assert answer.info["compiled"] is True


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_compiled_network_makes_the_clip_of_one_that_is_not(generator, version):
    plain, compiled = (
        clips(generator(version, **params), requests(generator(version), PROMPTS[:1]))[0]
        for params in ({}, {"compile": "true"})
    )
    # Fused kernels round otherwise.
    assert np.abs(plain.frames.astype(int) - compiled.frames).max() <= 1
    np.testing.assert_allclose(compiled.audio, plain.audio, atol=1e-3)


@pytest.mark.parametrize(
    ("variant", "params", "words"),
    [
        ("v2", {}, "no variant 'v2'"),
        (None, {"step": "3"}, "Did you mean 'steps'"),
        (None, {"steps": "0"}, "steps is a number of steps between 1 and 1000"),
        (None, {"fps": "1/0"}, "fps is frames per second"),
        (None, {"score_suffix": "x"}, "no parameter 'score_suffix'"),
        ("v0.1", {"negative_prompt": "x"}, "no parameter 'negative_prompt'"),
        ("v0.1", {"prior_attention": "own"}, "pooled or separate"),
        (None, {"config": "/nowhere.toml"}, "an existing file"),
        (None, {"weights": "/nowhere"}, "an existing folder"),
    ],
)
def test_bad_parameters_are_refused(variant, params, words):
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        JavisDiT(variant, params)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[network", "cannot be read"),
        ("[netwrok]\ndim = 4", "Did you mean 'network'"),
        ("[network]\ndimm = 4", "no number 'dimm'"),
        ("[network]\ndim = 'x'", "not of the kind"),
        ("[network]\nvideo_patch = 2", "not of the kind"),
        ("network = 3", "must be a table"),
    ],
)
def test_bad_configurations_are_refused(tmp_path, text, words):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(UsageError, match=words):
        JavisDiT(None, {"config": str(tmp_path / "c.toml")})


@pytest.mark.parametrize("version", VERSIONS)
def test_clips_have_the_planned_shape_and_are_not_constant(generator, version):
    model = generator(version)
    batch = requests(model)
    plan = batch[0].plan
    for clip in clips(model, batch).values():
        assert clip.frames.shape == (plan.frames, plan.height, plan.width, 3)
        assert clip.frames.dtype == np.uint8
        assert clip.audio.shape == (1, plan.audio_samples)
        assert clip.audio.dtype == np.float32
        assert (clip.fps, clip.sample_rate) == (plan.fps, 16000)
        assert clip.frames.std() > 1
        assert 0 < np.abs(clip.audio).max() <= 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_clip_does_not_depend_on_order_batch_or_shard(generator, version, tiny):
    model = generator(version)
    batch = requests(model)
    whole = clips(model, batch)
    other_order = clips(model, batch[::-1])
    assert all(same(whole[i], other_order[i]) for i in whole)
    for shard in (batch[0::2], batch[1::2]):
        fresh = JavisDiT(version, {"config": str(tiny / f"{version}.toml")})
        fresh.load("cpu", "float32", WeightStore([tiny]))
        assert all(same(whole[i], clip) for i, clip in clips(fresh, shard).items())
        fresh.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_seed_and_prompt_decide(generator, version):
    model = generator(version)
    plan = model.plan(ClipSpec())
    base, again, other_seed, other_prompt = (
        Request(None, i, 0, seed, plan, {"text": prompt})
        for i, (seed, prompt) in enumerate([(5, "a"), (5, "a"), (6, "a"), (5, "b")])
    )
    made = clips(model, [base, again, other_seed, other_prompt])
    assert same(made[0], made[1])
    assert not same(made[0], made[2])
    assert not np.array_equal(made[0].frames, made[3].frames)
    assert not np.array_equal(made[0].audio, made[3].audio)


@pytest.fixture(scope="module")
def unswitched(generator):
    """The clip of one short prompt, by version."""

    # Short enough that the tiny text length does not cut the suffix.
    @cache
    def make(version):
        return clips(generator(version), requests(generator(version), ["A dog"]))[0]

    return make


@pytest.mark.parametrize(
    ("version", "params"),
    [
        ("v1.0", {"steps": "3"}),
        ("v1.0", {"cfg": "1"}),
        ("v1.0", {"schedule": "float32"}),
        ("v1.0", {"transform_scale": "5"}),
        ("v1.0", {"negative_prompt": "quiet"}),
        ("v0.1", {"prior_attention": "separate"}),
        ("v0.1", {"null_mask": "full"}),
        ("v0.1", {"score_suffix": ""}),
        ("v0.1", {"schedule": "float32", "fps": "8"}),
    ],
)
def test_every_switch_changes_the_clip_and_the_key(generator, unswitched, version, params):
    plain, switched = generator(version), generator(version, **params)
    assert not same(unswitched(version), clips(switched, requests(switched, ["A dog"]))[0])
    assert plain.resolved() != switched.resolved()


@pytest.mark.parametrize(("version", "own"), [("v1.0", "432"), ("v0.1", "424")])
def test_times_follow_the_width_that_was_asked_for(version, own):
    plans = [JavisDiT(version, params).plan(ClipSpec()) for params in ({}, {"width": own})]
    assert plans[0].width == plans[1].width == int(own)
    times = [sampling_times(10, plan.asked, torch.float32) for plan in plans]
    assert not torch.equal(*times)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_fixed_noise_seed_makes_equal_prompts_equal(generator, version):
    model = generator(version, fix_noise_seed="7")
    made = clips(model, requests(model, ["a", "a"]))
    assert same(made[0], made[1])


@pytest.mark.parametrize("version", VERSIONS)
def test_size_and_frames_are_parameters(generator, version):
    model = generator(version, frames="21", width="80", height="32", steps="1")
    clip = clips(model, requests(model, ["a"]))[0]
    assert clip.frames.shape == (21, 32, 80, 3)


@pytest.mark.parametrize("version", VERSIONS)
def test_facts_are_told(generator, version):
    model = generator(version)
    [answer] = model.generate(requests(model, ["A  Long prompt that is cut after a few characters"]))
    prompt = answer.info["prompt"]
    assert prompt.startswith("A Long prompt" if version == "v1.0" else "a long prompt")
    # The tiny tokenizer reads single characters and appends an end token.
    assert answer.info["truncated_tokens"] == len(prompt) + 1 - 40
    assert {"denoise", "decode", "encode_batch"} == set(answer.info["seconds"])
    assert answer.info["peak_bytes"] == {}


def test_the_prior_reads_what_the_denoiser_reads(generator, monkeypatch):
    """Score appended, then cleaned; ImageBind's tower never sees the prompt as it was given."""
    model, read = generator("v0.1", steps="1"), []
    true = stdit_pipeline.clip_tokenizer()

    class Tokenizer:
        def encode(self, text, *, keep_end):
            read.append(text)
            return true.encode(text, keep_end=keep_end)

    monkeypatch.setattr(stdit_pipeline, "clip_tokenizer", Tokenizer)
    [answer] = model.generate(requests(model, ["A <b>Gong</b> rings!"]))
    assert read == [answer.info["prompt"]] == ["a gong rings! aesthetic score: 6.5."]


def test_what_the_prior_file_holds_for_training_is_left_out_and_named(write_tiny, tmp_path, caplog):
    config = write_tiny(tmp_path, "v0.1")
    file = tmp_path / "JavisDiT-v0.1-prior" / "model.safetensors"
    plain = load_file(file)
    extra = {"text_encoder.modality_heads.text.proj.0.bias": torch.ones(2), "loss_head.temperature": torch.ones(1)}
    save_file(plain | extra, file)
    model = JavisDiT("v0.1", {"config": str(config), "weights": str(tmp_path)})
    with caplog.at_level(logging.INFO, logger=stdit_pipeline.__name__):
        model.load("cpu", "float32", WeightStore())
    model.close()
    assert all(name in caplog.text for name in extra)
    # A part of the estimator itself that is too much is another estimator.
    save_file(plain | {"prior_extractor.encoder.layers.7.norm1.bias": torch.ones(24)}, file)
    with pytest.raises(WeightsError, match=r"unexpected.*layers\.7"):
        model.load("cpu", "float32", WeightStore())


def test_peak_memory_is_that_of_each_stage_on_a_gpu(monkeypatch):
    calls, peaks = [], iter([300, 100])
    monkeypatch.setattr("torch.cuda.synchronize", lambda _: calls.append("wait"))
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", lambda _: calls.append("reset"))
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda _: next(peaks))
    cost = Cost()
    for stage in ("denoise", "decode"):
        with cost.of(stage, "cuda:1"):
            calls.append(stage)
    assert cost.peak_bytes == {"denoise": 300, "decode": 100}
    assert calls == ["wait", "reset", "denoise", "wait", "wait", "reset", "decode", "wait"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_text_encoder_is_loaded_once_a_batch_and_gone_before_denoising(generator, version, monkeypatch):
    model = generator(version, steps="1", cfg="2")
    true, loaded, alive = text_encoder.from_library, [], []

    def watched(*given):
        encoder = true(*given)
        loaded.append(weakref.ref(encoder))
        assert next(model._pipeline.network.parameters()).device.type == "cpu"
        return encoder

    monkeypatch.setattr(text_encoder, "from_library", watched)
    make = model._pipeline.make
    monkeypatch.setattr(model._pipeline, "make", lambda *g: (alive.extend(r() for r in loaded), make(*g))[1])
    clips(model, requests(model, ["wind", "a bell", "wind"]))
    assert len(loaded) == 1
    assert alive == [None] * 3


@pytest.mark.parametrize("version", VERSIONS)
def test_bfloat16_runs_and_stays_near(generator, version, tiny):
    exact = generator(version)
    rounded = JavisDiT(version, {"config": str(tiny / f"{version}.toml"), "dtype": "bfloat16"})
    rounded.load("cpu", "auto", WeightStore([tiny]))
    a, b = (clips(model, requests(model, ["a"]))[0].frames.astype(float) for model in (exact, rounded))
    rounded.close()
    # Random decoders amplify; different noise gives a correlation near 0.
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9


def test_values_that_are_not_finite_fail(write_tiny, tmp_path):
    config = write_tiny(tmp_path, "v0.1")
    file = tmp_path / "JavisDiT-v0.1-jav-240p4s" / "model.safetensors"
    state = load_file(file)
    state["final_layer.linear.bias"][:] = 3e38  # finite, as weights must be, until something is added
    save_file(state, file)
    model = JavisDiT("v0.1", {"config": str(config), "weights": str(tmp_path)})
    model.load("cpu", "float32", WeightStore())
    [answer] = model.generate(requests(model, ["a"]))
    assert isinstance(answer, Failed)
    assert answer.kind == "non_finite"


@pytest.mark.parametrize("version", VERSIONS)
def test_missing_weights_say_what_where_how_large_and_under_which_licence(version, tmp_path):
    with pytest.raises(MissingWeightsError) as error:
        JavisDiT(version).load("cpu", "auto", WeightStore([tmp_path]))
    message = error.value.message
    assert error.value.exit_code == 2
    for words in (
        "JavisVerse/JavisDiT",
        "GB",
        "licence",
        "CC BY-NC-SA 4.0",
        "--weights-dir",
        "javisbench weights fetch",
    ):
        assert words in message


@pytest.mark.parametrize(
    ("version", "folder"), [("v1.0", "JavisDiT-v1.0-jav/model"), ("v0.1", "JavisDiT-v0.1-jav-240p4s")]
)
def test_wrong_names_are_all_listed(write_tiny, tmp_path, version, folder):
    config = write_tiny(tmp_path, version)
    file = sorted((tmp_path / folder).glob("*.safetensors"))[0]
    state = load_file(file)
    gone = sorted(state)[:2]
    save_file({k: v for k, v in state.items() if k not in gone} | {"stranger.weight": state[gone[0]]}, file)
    with pytest.raises(WeightsError) as error:
        JavisDiT(version, {"config": str(config)}).load("cpu", "auto", WeightStore([tmp_path]))
    for name in (*gone, "stranger.weight"):
        assert name in error.value.message


def test_the_official_path_differs_in_numbers_alone(tiny):
    """Tiny tensors in the official configuration are refused by shape, not by another branch."""
    with pytest.raises(WeightsError, match=r"wrong shape|missing"):
        JavisDiT("v0.1").load("cpu", "float32", WeightStore([tiny]))


def test_lora_changes_the_clip(write_tiny, tmp_path):
    made = []
    for lora in (True, False):
        folder = tmp_path / str(lora)
        model = JavisDiT("v1.0", {"config": str(write_tiny(folder, "v1.0", lora=lora)), "weights": str(folder)})
        model.load("cpu", "float32", WeightStore())
        made.append(clips(model, requests(model, ["a"]))[0])
        model.close()
    assert not same(*made)


def test_generating_needs_load_and_its_own_plan(generator):
    with pytest.raises(GenerationError, match="Call load first"):
        list(JavisDiT().generate([]))
    model = generator("v1.0")
    request = requests(model, ["a"])[0]
    foreign = Request(None, 0, 0, 1, Plan(64, 48, 17, Fraction(16), 17_000, 16_000), request.prompts)
    with pytest.raises(GenerationError, match="plan is not this model's"):
        list(model.generate([foreign]))


def test_cards_and_weights_entries_are_complete():
    cards, weights = read_cards("models"), weights_registry()
    for version in VERSIONS:
        model = JavisDiT(version)
        card = cards[model.card_id]
        assert card["max_batch"] == model.max_batch
        assert card["defaults"]["steps"] == model.resolved()["steps"]
        assert card["defaults"]["guidance"] == model.resolved()["cfg"]
        for quirk in card["quirks"]:
            assert quirk["effect"]
            name, _, _ = quirk["switch"].removeprefix("-M ").partition("=")
            assert quirk["switch"] == "none" or name in model.resolved(), quirk
        for file in card["files"]:
            assert file["entry"] in weights


@pytest.mark.parametrize(
    ("version", "changed"),
    [
        ("v1.0", "JavisDiT-v1.0-jav/model/model-00002-of-00002.safetensors"),
        ("v1.0", "JavisDiT-v1.0-jav/lora/adapter_model.safetensors"),
        ("v1.0", "JavisDiT-v1.0-jav/lora/adapter_config.json"),
        ("v1.0", "Wan2.1-T2V-1.3B-Diffusers/tokenizer/tokenizer.json"),
        ("v1.0", "audioldm2/vocoder/model.safetensors"),
        ("v0.1", "JavisDiT-v0.1-prior/model.safetensors"),
        ("v0.1", "javisdit-v0.1-prior-text.safetensors"),
        ("v0.1", "t5-v1_1-xxl/tokenizer.json"),
    ],
)
def test_every_file_that_decides_is_hashed_wherever_it_lies(write_tiny, tmp_path, version, changed):
    config = str(write_tiny(tmp_path / "w", version))

    def hashes(folder):
        store = WeightStore([folder])
        return hash_files(JavisDiT(version, {"config": config}).files(store), store)

    before = hashes(tmp_path / "w")
    (tmp_path / "w").rename(tmp_path / "moved")
    (tmp_path / "moved/audioldm2/vae/README.md").write_text("of the hub")
    config = str(tmp_path / f"moved/{version}.toml")
    assert hashes(tmp_path / "moved") == before
    with (tmp_path / "moved" / changed).open("ab") as file:
        file.write(b" ")
    [told] = difference(before, hashes(tmp_path / "moved"))
    assert changed.rpartition("/")[2] in told


def test_listing_and_finding_files_import_no_torch(tiny):
    code = (
        "import sys; from javisbench.baselines.javisdit import JavisDiT; from javisbench.clip import ClipSpec;"
        "from javisbench.weights import WeightStore; from pathlib import Path;"
        "model = JavisDiT('v0.1'); model.plan(ClipSpec()); files = model.files(WeightStore([Path(sys.argv[1])]));"
        "sys.exit('torch' in sys.modules or not files)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tiny)], check=False).returncode == 0
