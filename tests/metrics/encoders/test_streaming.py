"""Every encoder makes the same of a clip whether its frames come at once or a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from javisbench.clip import Clip, Damage, FrameRun
from javisbench.errors import FeatureError
from javisbench.metrics.base import SampleMetric
from javisbench.metrics.encoders import ENCODERS, base, cavp, clip, imagebind, inception, synchformer
from javisbench.metrics.encoders.base import Encoded, Encoder, EncoderCard, FeatureSpec
from javisbench.metrics.encoders.cavp.network import CAVP, CAVPConfig
from javisbench.metrics.encoders.i3d import I3DEncoder
from javisbench.metrics.encoders.i3d.network import I3D, I3DConfig, MixedWidths
from javisbench.metrics.encoders.imagebind.config import CONFIGS
from javisbench.metrics.encoders.imagebind.network import ImageBindNetwork
from javisbench.metrics.encoders.imagebind.specs import frames_spec
from javisbench.metrics.encoders.synchformer.network import Synchformer, SynchformerConfig
from javisbench.metrics.registry import METRICS
from javisbench.protocol import V1, V2

# Any weights will do, and few: streaming does not depend on them.
FEW = MixedWidths(4, 4, 4, 4, 4, 4)
TINY_I3D = I3DConfig(stem=4, stem_out=8, mixed_3=(FEW,) * 2, mixed_4=(FEW,) * 5, mixed_5=(FEW,) * 2, classes=10)
TINY_CAVP = CAVPConfig(video_width=2, video_depths=(1, 2, 1, 1), audio_width=2, embed_dim=16)
TINY_SYNC = SynchformerConfig(visual_depth=1, audio_depth=1, sync_depth=1, width=24, heads=2, sync_heads=2)


def with_network(encoder: Any, network: torch.nn.Module) -> Encoder:
    draw = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05, generator=draw)
    encoder._network = network.eval().requires_grad_(False)
    return encoder  # type: ignore[no-any-return]


NETWORKS: dict[str, Callable[[], Encoder]] = {
    "imagebind": lambda: with_network(imagebind.ImageBindEncoder("tiny"), ImageBindNetwork(CONFIGS["tiny"])),
    "i3d": lambda: with_network(I3DEncoder(), I3D(TINY_I3D)),
    "inception": lambda: with_network(inception.InceptionEncoder(), torch.nn.Identity()),
    "synchformer": lambda: with_network(synchformer.SynchformerEncoder("small"), Synchformer(TINY_SYNC)),
    "clip": lambda: with_network(clip.CLIPEncoder("small"), clip.build_clip(clip.VARIANTS["small"])),
    "cavp": lambda: with_network(cavp.CAVPEncoder(), CAVP(TINY_CAVP)),
}
# DNSMOS's networks come with its package, and are no part of this.
WITHOUT_WEIGHTS = [
    name for name in ENCODERS if set(ENCODERS.get(name).card.variants.values()) == {None} and name != "dnsmos"
]
SOUND_ALONE = ("audioclip", "clap", "audiobox", "onsets")
encoders = pytest.mark.parametrize("name", [*WITHOUT_WEIGHTS, *NETWORKS])


@pytest.fixture
def encoder(name: str, monkeypatch: pytest.MonkeyPatch) -> Encoder:
    # The blocks of FID's network come with another package.
    monkeypatch.setattr(inception, "pooled", lambda _, pixels: pixels[:, :, ::60, ::60].flatten(1))
    return loaded(name)


@cache
def loaded(name: str) -> Encoder:
    return NETWORKS[name]() if name in NETWORKS else ENCODERS.get(name)()


@cache
def specs_of(name: str) -> tuple[FeatureSpec, ...]:
    """All that any metric asks of an encoder, under both protocols."""
    found = set()
    for metric in (METRICS.get(known)() for known in METRICS):
        for protocol in (V1, V2):
            needs = metric.needs(protocol)
            found |= set(needs.values()) if isinstance(metric, SampleMetric) else {needs}
    return tuple(sorted((s for s in found if s.encoder == name and s.subject == "clip"), key=repr))


def steady(frames: int = 60) -> Clip:
    """2.5 s at 24 fps: clips, windows and samples of them overlap; its frames are all different."""
    rng = np.random.default_rng(frames)
    pixels = rng.integers(0, 256, (frames, 24, 32, 3), dtype=np.uint8)
    sound = rng.uniform(-0.5, 0.5, (1, 40000)).astype(np.float32)
    return Clip(pixels, Fraction(24), sound, 16000, name="steady.mp4", damage=(Damage("a lost frame", frames=1),))


def uneven() -> Clip:
    """The same frames, held and hurried, under a header that says 30 fps; the last one stays for a second."""
    times = np.cumsum(np.random.default_rng(1).choice([0.01, 0.04, 0.2], 60))
    rate = Fraction(59) / Fraction(float(times[-1] - times[0]))
    return replace(steady(), fps=rate, frame_times_s=times, declared_fps=Fraction(30), last_frame_s=1.0)


def in_runs(encoder: Encoder, shown: Clip, specs: Sequence[FeatureSpec], size: int) -> Encoded:
    """Features of a clip of which `size` frames come at a time, and which is prepared early."""
    intake = encoder.intake(shown.head, specs)
    for start in range(0, len(shown.frames), size):
        frames = shown.frames[start : start + size]
        run = FrameRun(np.arange(start, start + len(frames)), frames).only(intake.wanted)
        if len(run.indices):
            intake.take(run)
    intake.end(shown.damage)
    intake.prepare()
    (made,) = encoder.features([intake])
    return made


def assert_same(made: Encoded, expected: Encoded) -> None:
    assert made.keys() == expected.keys() and made
    for spec, features in expected.items():
        assert not isinstance(features, Exception), (spec, features)
        assert made[spec].keys() == features.keys()  # type: ignore[union-attr]
        for key, array in features.items():
            np.testing.assert_array_equal(made[spec][key], array, err_msg=f"{spec} {key}")  # type: ignore[index]


@encoders
@pytest.mark.parametrize(("make", "sizes"), [pytest.param(steady, (7,), marks=pytest.mark.slow), (uneven, (1, 40))])
def test_runs_of_any_length_give_the_features_of_the_whole_clip(
    name: str, encoder: Encoder, make: Callable[[], Clip], sizes: tuple[int, ...]
) -> None:
    shown, specs = make(), specs_of(name)
    (whole,) = encoder.encode([shown], specs)
    assert set(whole) == set(specs)
    for size in sizes:
        assert_same(in_runs(encoder, shown, specs, size), whole)


@encoders
def test_what_is_made_of_one_stream_does_not_depend_on_the_other(name: str, encoder: Encoder) -> None:
    shown = steady()
    other_sound = np.random.default_rng(5).uniform(-0.5, 0.5, (2, 9000)).astype(np.float32)
    others = {
        "picture": replace(shown, audio=other_sound, sample_rate=8000, audio_source="sidecar", damage=()),
        "sound": replace(uneven(), frames=shown.frames[::-1, ::2].copy(), audio_source="sidecar", damage=()),
    }
    specs = specs_of(name)
    (made,) = encoder.encode([shown], specs)
    for stream, other in others.items():
        alike = [spec for spec in specs if encoder.stream(spec) == stream]
        if alike:
            assert_same({spec: encoder.encode([other], specs)[0][spec] for spec in alike}, {s: made[s] for s in alike})


@encoders
@pytest.mark.parametrize("make", [steady, uneven])
def test_wanted_frames_are_ascending_and_in_the_clip(name: str, encoder: Encoder, make: Callable[[], Clip]) -> None:
    shown = make()
    for spec in specs_of(name):
        wanted = encoder.intake(shown.head, [spec]).wanted
        assert wanted is None or (np.diff(wanted) > 0).all()
        assert wanted is None or not len(wanted) or (wanted[0] >= 0 and wanted[-1] < len(shown.frames))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "synchformer"])
def test_uneven_times_move_what_goes_by_times_shown_and_nothing_else(name: str, encoder: Encoder) -> None:
    """The header's 30 fps, of which frame times know nothing, against 24 frames shown as they are."""
    mistimed, at_30 = uneven(), steady().with_frames(steady().frames, Fraction(30))
    for spec in specs_of(name):
        if (spec.encoder, spec.feature) in {("cavp", "video"), ("imagebind", "frames")}:
            continue  # frames as FFmpeg's filter takes them go by times under both protocols; stills are all frames
        wanted = [encoder.intake(made.head, [spec]).wanted for made in (mistimed, at_30)]
        equal = np.array_equal(*wanted)  # type: ignore[arg-type]
        assert equal == (spec.settings.get("frame_times") != "shown" or not len(wanted[0])), spec  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SOUND_ALONE)
def test_encoders_of_sound_ask_for_no_frame(name: str) -> None:
    intake = ENCODERS.get(name)().intake(steady().head, specs_of(name))
    assert intake.wanted is not None and len(intake.wanted) == 0 and intake.held_bytes == 0


@pytest.mark.parametrize(("waiting_bytes", "threads"), [(0, 3), (20 * 24 * 32 * 3, 1)])
def test_stills_of_long_clips_are_embedded_as_they_come(
    waiting_bytes: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, shown, specs = NETWORKS["imagebind"](), steady(100), [frames_spec()]
    (whole,) = encoder.encode([shown], specs)
    monkeypatch.setattr("javisbench.metrics.encoders.imagebind.intake._WAITING_BYTES", waiting_bytes)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for size in (1, 7, 40):
            intake: Any = encoder.intake(shown.head, specs)
            for start in range(0, 100, size):
                intake.take(FrameRun(np.arange(start, min(start + size, 100)), shown.frames[start : start + size]))
                # Full batches of 16 do not wait; crops are 224 x 224, frames at most what was said and a run.
                assert intake.held_bytes <= 15 * 224 * 224 * 3 + waiting_bytes + size * 24 * 32 * 3
            done = intake.stills.done
            assert done >= 64
            made, expected = encoder.features([intake])[0][specs[0]], whole[specs[0]]
            # What came last is one batch for all threads together, whose sums are then others.
            rows = slice(None) if threads == 1 else slice(done)
            np.testing.assert_array_equal(made["embeddings"][rows], expected["embeddings"][rows])  # type: ignore[index]
    finally:
        torch.set_num_threads(before)


class Whole(Encoder):
    """An encoder that says no more than it must."""

    card: ClassVar[EncoderCard] = EncoderCard("whole", "Whole", {"only": None})

    def encode(self, items: Any, specs: Sequence[FeatureSpec]) -> list[Encoded]:
        made = [{"frames": item.frames, "lost": np.array(len(item.damage))} for item in items]
        return [dict.fromkeys(specs, features) for features in made]


def test_an_encoder_that_knows_nothing_of_runs_gets_whole_clips_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, spec = uneven(), FeatureSpec.of("whole", "frames")
    (expected,) = Whole().encode([shown], [spec])
    for size in (1, 7, 60):
        assert_same(in_runs(Whole(), shown, [spec], size), expected)
    monkeypatch.setattr(base, "WHOLE_CLIP_BYTES", shown.frames.nbytes - 1)
    with pytest.raises(FeatureError, match=r"steady\.mp4 takes .* MiB as a whole") as caught:
        Whole().intake(shown.head, [spec])
    assert caught.value.kind == "too_large"
