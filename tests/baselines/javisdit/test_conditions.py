"""v0.1 with videos, sounds and images: what is given stays, what is not is made, and the network is told."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from javisbench.baselines.base import Conditions, Failed, Generated, Request
from javisbench.baselines.cascade import Cascade
from javisbench.baselines.javisdit import JavisDiT, pipeline
from javisbench.baselines.javisdit.sampler import Setting
from javisbench.baselines.javisdit.v01_network import FactorisedDiT
from javisbench.cli import run
from javisbench.clip import Clip, ClipSpec
from javisbench.errors import GenerationError
from javisbench.media import write_clip
from javisbench.weights import WeightStore

RATE = 16000


@pytest.fixture(scope="module")
def model(tiny):
    loaded = {}

    def build(**params):
        key = tuple(sorted(params.items()))
        if key not in loaded:
            loaded[key] = JavisDiT("v0.1", {"config": str(tiny / "v0.1.toml"), **params})
            loaded[key].load("cpu", "float32", WeightStore([tiny]))
        return loaded[key]

    yield build
    for one in loaded.values():
        one.close()


@pytest.fixture
def forwards(monkeypatch):
    """The masks that the network is told of, one pair a forward (None where nothing is given)."""
    seen, forward = [], FactorisedDiT.forward
    monkeypatch.setattr(
        FactorisedDiT,
        "forward",
        lambda self, *given, **named: (seen.append(named["sampled"]), forward(self, *given, **named))[1],
    )
    return seen


@pytest.fixture
def latents(monkeypatch):
    """Inputs and outcome of every sampling: ``(given, latents at time 0)``."""
    seen, euler = [], pipeline.euler

    def watched(velocity, noise, times, given, draw):
        seen.append((given, euler(velocity, noise, times, given, draw)))
        return seen[-1][1]

    monkeypatch.setattr(pipeline, "euler", watched)
    return seen


def moving(frames=40, height=60, width=80, fps=20):
    draw = np.random.default_rng(3)
    picture = draw.integers(0, 256, (height, width + frames, 3)).astype(np.uint8)
    return Clip(np.stack([picture[:, i : i + width] for i in range(frames)]), Fraction(fps), None, None)


def tone(seconds=2.0, rate=22050, channels=2):
    wave = 0.2 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return np.tile(wave, (channels, 1)).astype(np.float32), rate


def request(generator, task, conditions, seed=5):
    return Request(None, 0, 0, seed, generator.plan(ClipSpec()), {"text": "A gong rings"}, conditions, task)


def only(generator, asked):
    [answer] = generator.generate([asked])
    assert isinstance(answer, Generated), answer
    return answer.clip


def test_a_video_gets_a_sound_of_its_length_and_stays_as_it_is(model, forwards, latents):
    clip = only(model(), request(model(), "v2a", Conditions(clip=moving())))
    assert clip.frames.shape == (0, 0, 0, 3)
    # 17 frames at 24 fps were planned; the video has more.
    assert clip.audio.shape == (1, round(17 / 24 * RATE))
    assert np.abs(clip.audio).max() > 0
    [(given, made)] = latents
    assert (given[0].mask == 0).all()
    assert (given[1].mask == 1).all()
    assert torch.equal(made[0], given[0].latent)
    assert forwards
    assert all(not frames.any() and steps.all() for frames, steps in forwards)


def test_the_sound_follows_the_video_and_the_seed(model):
    first, other = moving(), replace(moving(), frames=moving().frames[::-1].copy())
    sounds = [
        only(model(), request(model(), "v2a", Conditions(clip=clip), seed)).audio
        for clip, seed in ((first, 5), (first, 5), (other, 5), (first, 6))
    ]
    assert np.array_equal(sounds[0], sounds[1])
    assert not np.array_equal(sounds[0], sounds[2])
    assert not np.array_equal(sounds[0], sounds[3])


def test_a_sound_gets_a_picture(model, forwards, latents):
    audio, rate = tone()
    sounding = Clip(np.zeros((0, 0, 0, 3), np.uint8), Fraction(24), audio, rate)
    clip = only(model(), request(model(), "a2v", Conditions(clip=sounding)))
    assert clip.frames.shape == (17, 48, 64, 3)
    assert clip.frames.std() > 1
    assert clip.audio is None
    [(given, made)] = latents
    assert torch.equal(made[1], given[1].latent)
    assert all(frames.all() and not steps.any() for frames, steps in forwards)
    # Loudness is made even before the VAE: twice as loud is the same sound.
    louder = only(model(), request(model(), "a2v", Conditions(clip=replace(sounding, audio=2 * audio))))
    assert np.array_equal(louder.frames, clip.frames)
    silent = only(model(), request(model(), "a2v", Conditions(clip=replace(sounding, audio=0 * audio))))
    assert not np.array_equal(silent.frames, clip.frames)


def test_an_image_is_the_first_frame(model, forwards, latents, tmp_path):
    image = moving(height=96, width=128).frames[0]
    cv2.imwrite(str(tmp_path / "i.png"), image[..., ::-1])
    clip = only(model(), request(model(), "i2av", Conditions(image=tmp_path / "i.png")))
    assert clip.frames.shape == (17, 48, 64, 3)
    assert np.array_equal(clip.frames[0], cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA))
    assert clip.audio.shape == (1, round(17 / 24 * RATE))
    [(given, made)] = latents
    assert given[0].mask.tolist() == [0, 1, 1, 1, 1]
    assert torch.equal(made[0][:, :, 0], given[0].latent[:, :, 0])
    assert all(frames.tolist() == 2 * [[False, True, True, True, True]] and steps.all() for frames, steps in forwards)


def test_another_shape_is_cut_around_its_centre(model, tmp_path):
    image = np.zeros((48, 192, 3), np.uint8)
    image[:, 64:128] = 200
    cv2.imwrite(str(tmp_path / "wide.png"), image)
    clip = only(model(steps="1"), request(model(steps="1"), "i2av", Conditions(image=tmp_path / "wide.png")))
    assert (clip.frames[0] == 200).all()


def test_pieces_continue_each_other(model, forwards, latents):
    longer = model(extend="2", frames="34", steps="1")
    plan = longer.plan(ClipSpec())
    assert plan.frames == 34 + 2 * 17
    assert any("3 pieces of 34 frames" in note for note in plan.notes)
    clip = only(longer, request(longer, "t2av", Conditions()))
    assert clip.frames.shape == (68, 48, 64, 3)
    assert clip.audio.shape == (1, plan.audio_samples)
    assert abs(plan.audio_samples - round(68 / 24 * RATE)) <= 2
    alone = model(frames="34", steps="1")
    first = only(alone, request(alone, "t2av", Conditions()))
    # The first piece is the clip without continuation, whole: what is shared comes back unchanged.
    assert np.array_equal(clip.frames[:34], first.frames)
    assert np.array_equal(clip.audio[:, : first.audio.shape[1]], first.audio)
    assert forwards[0] is None
    # 5 latent frames, and 0.64 s of sound in whole tokens of 4 latent steps.
    for given, made in latents[1:3]:
        assert given[0].mask.tolist() == 5 * [0] + 5 * [1]
        assert given[1].mask.tolist() == 16 * [0] + (len(given[1].mask) - 16) * [1]
        for stream, latent in zip(given, made, strict=True):
            kept = stream.mask == 0
            assert torch.equal(latent[:, :, kept], stream.latent[:, :, kept])


def test_an_edit_ratio_keeps_less(model, latents):
    edited = model(edit_ratio="0.6", steps="4")
    clip = only(edited, request(edited, "v2a", Conditions(clip=moving())))
    assert clip.audio.shape[1] == round(17 / 24 * RATE)
    [(given, made)] = latents
    assert torch.allclose(given[0].mask, torch.tensor(0.6))
    assert not torch.equal(made[0], given[0].latent)


@pytest.mark.parametrize(
    ("task", "conditions", "params", "kind", "words"),
    [
        ("v2a", Conditions(), {}, "no_condition", "needs a video"),
        ("a2v", Conditions(), {}, "no_condition", "needs a sound"),
        ("i2av", Conditions(), {}, "no_condition", "needs an image"),
        ("v2a", Conditions(clip=moving(frames=10)), {}, "too_short", "at least 17 frames"),
        ("v2a", Conditions(clip=moving()), {"extend": "1", "frames": "34"}, "unsupported", "extend"),
    ],
)
def test_what_cannot_be_made_fails_with_its_reason(model, task, conditions, params, kind, words):
    [answer] = model(**params).generate([request(model(**params), task, conditions)])
    assert isinstance(answer, Failed)
    assert (answer.kind, answer.retryable) == (kind, False)
    assert words in answer.message


def test_a_file_that_is_no_image_costs_its_clip_alone(model, tmp_path):
    (tmp_path / "i.png").write_text("no image")
    bad = request(model(), "i2av", Conditions(image=tmp_path / "i.png"))
    answers = list(model().generate([bad, request(model(), "t2av", Conditions())]))
    assert [type(answer) for answer in answers] == [Failed, Generated]


def test_nothing_new_in_a_piece_is_refused():
    with pytest.raises(GenerationError, match="nothing would be new"):
        JavisDiT("v0.1", {"extend": "1", "frames": "17"}).plan(ClipSpec())


def test_tasks_of_the_versions():
    assert JavisDiT("v0.1").tasks == {"t2av", "v2a", "a2v", "i2av"}
    assert JavisDiT().tasks == {"t2av"}


@pytest.mark.parametrize("pair", ["t2v=procedural,v2a=javisdit:v0.1", "t2a=procedural,a2v=javisdit:v0.1"])
def test_as_a_stage_of_a_cascade(tiny, pair):
    from javisbench.suite import load_suite

    role = pair.split(",")[1].partition("=")[0]
    cascade = Cascade(pair, {f"{role}.config": str(tiny / "v0.1.toml")})
    spec = ClipSpec(width=64, height=48, duration_s=1.0)
    plan = cascade.plan(spec)
    cascade.load("cpu", "float32", WeightStore([tiny]))
    sample = next(iter(load_suite("demo")))
    [answer] = cascade.generate([Request(sample, 0, 0, 1, plan, sample.prompts)])
    cascade.close()
    assert isinstance(answer, Generated), answer
    assert len(answer.clip.frames) >= 17
    assert answer.clip.audio.shape[1] > RATE / 2


# Through the command line


@pytest.fixture
def suite(tmp_path):
    """A suite of one's own with its task and two samples."""

    def write(task):
        folder = tmp_path / task
        folder.mkdir()
        column, suffix = {"v2a": ("video", "mp4"), "i2av": ("image", "png"), "a2v": ("audio", "wav")}[task]
        names = []
        for index in range(2):
            names.append(f"{index}.{suffix}")
            if task == "i2av":
                cv2.imwrite(str(folder / names[-1]), moving().frames[index])
            elif task == "a2v":
                soundfile.write(folder / names[-1], tone()[0].T, tone()[1])
            else:
                write_clip(moving(), folder / names[-1], sidecar=False)
        rows = [f"text,{column}", *(f"A gong rings {index},{name}" for index, name in enumerate(names))]
        (folder / "own.csv").write_text("\n".join(rows) + "\n")
        (folder / "own.toml").write_text(f'task = "{task}"\n')
        return folder / "own.csv"

    return write


def command(*words):
    assert run(list(map(str, words))) == 0


@pytest.mark.parametrize("task", ["v2a", "a2v", "i2av"])
def test_suites_with_conditions(tiny, suite, tmp_path, task):
    config = f"config={tiny / 'v0.1.toml'}"
    options = ("--suite", suite(task), "--weights-dir", tiny, "--device", "cpu", "--out", tmp_path / "run")
    command("generate", "--model", "javisdit:v0.1", "-M", config, "-M", "steps=1", *options)
    made = {path.suffix for path in (tmp_path / "run/clips").glob("*_0001*")}
    assert made == {".json", *({".wav"} if task == "v2a" else {".mp4"} if task == "a2v" else {".wav", ".mp4"})}
    facts = json.loads((tmp_path / "run/clips/sample_0001.json").read_text())
    assert facts["task"] == task


def test_golden_masked_velocities_through_the_command_line(
    write_tiny, suite, tmp_path, monkeypatch, spec, tensors, javisdit_seeded, factorised, difference
):
    """A v0.1 with the golden weights, read from its file and called with masks by the command.

    Golden inputs are random latents and text states, which no command line takes. So the network that the command has
    loaded is asked for the golden outcome, and what the command itself asks of it is compared
    with another copy of the golden network, mask and all.
    """
    golden = tensors("v01_vastdit3")
    state = {name: torch.from_numpy(array) for name, array in javisdit_seeded.seeded(spec("v01_vastdit3")).items()}
    numbers = {"text_dim": 24, "text_length": 10}
    monkeypatch.setitem(write_tiny.__globals__, "TEXT_DIM", numbers["text_dim"])
    monkeypatch.setitem(write_tiny.__globals__, "TEXT_LENGTH", numbers["text_length"])
    config = write_tiny(tmp_path / "w", "v0.1")
    state["rope.freqs"] = golden["state.rope.freqs"]
    save_file(state, tmp_path / "w/JavisDiT-v0.1-jav-240p4s/model.safetensors")
    asked, forward = [], FactorisedDiT.forward

    def watched(self, *given, **named):
        out = forward(self, *given, **named)
        asked.append((self, given, named, out))
        return out

    monkeypatch.setattr(FactorisedDiT, "forward", watched)
    params = (f"config={config}", "steps=2", "dtype=float32")
    command(
        "generate", "--model", "javisdit:v0.1", *(word for param in params for word in ("-M", param)), "--suite",
        suite("i2av"), "--limit", 1, "--weights-dir", tmp_path / "w", "--device", "cpu", "--out", tmp_path / "run",
    )  # fmt: skip
    monkeypatch.setattr(FactorisedDiT, "forward", forward)
    own = factorised()
    assert len(asked) == 2
    for _, given, named, out in asked:
        assert named["sampled"][0].tolist() == 2 * [[False, True, True, True, True]]
        for a, b in zip(out, own(*given, **named), strict=True):
            assert torch.equal(a, b)
    inputs = (
        golden["in.video"],
        golden["in.audio"],
        golden["in.y"][:, 0],
        golden["in.mask"].bool().repeat(2, 1),
        golden["in.spatial_prior"],
        golden["in.temporal_prior"],
        golden["in.timestep"],
    )
    masks = golden["in.x_mask"], golden["in.ax_mask"]
    setting = Setting(height=56, width=48, frames=17)
    network = asked[0][0]
    video, audio = network(*inputs, fps=24.0, setting=setting, sampled=masks)
    frames, steps = masks[0][:, None, :, None, None], masks[1][:, None, :, None]
    # The tolerance of test_v01_network.py.
    assert difference(video * frames, golden["out_masked.video"][:, :4] * frames) < 3e-5
    assert difference(audio * steps, golden["out_masked.audio"][:, :8] * steps) < 3e-5
