"""From clips to features on one device or several: batches across clips, memory that runs out, the same results."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

import javisbench
from javisbench.clip import Clip, ClipHead
from javisbench.errors import FeatureError, RunError, UsageError
from javisbench.media import ClipSource, write_clip
from javisbench.metrics.encoders.base import Encoded, Encoder, EncoderCard, FeatureSpec, Intake
from javisbench.metrics.encoders.imagebind.network import ImageBindNetwork
from javisbench.metrics.encoders.intakes import PreparedSounds
from javisbench.reference.wanted import EncoderChoice
from javisbench.run import device_worker, devices, encode
from javisbench.run.content_index import hash_sources
from javisbench.run.device import pick_device, pick_devices
from javisbench.run.encode import encode_clips
from javisbench.run.encode_session import EncodeSession, prompt_hash
from javisbench.run.features import FeatureStore
from javisbench.run.progress import Silent

METRICS = ["av_ib", "ta_ib", "javis_score", "av_align"]
RATE = 16000
CLIPS = 5


def clip(seed: int) -> Clip:
    """One to two seconds of blinking picture and clicking sound; the last but one is mute."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 255, (8 + 2 * seed, 48, 64, 3), dtype=np.uint8)
    sound = (rng.normal(size=(1, RATE + 1000 * seed)) * (rng.random(RATE + 1000 * seed) < 0.01)).clip(-1, 1)
    audio = None if seed == CLIPS - 2 else sound.astype(np.float32)
    return Clip(frames, Fraction(8), audio, None if audio is None else RATE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("clips")
    for number in range(CLIPS):
        write_clip(clip(number), made / f"sample_{number:04d}.mp4")
    (made / "s.csv").write_text("text\n" + "".join(f"prompt {number}\n" for number in range(CLIPS)))
    return made


@pytest.fixture(scope="module")
def weights(
    tmp_path_factory: pytest.TempPathFactory, golden_json: Callable[[str], Any], seeded_weights: ModuleType
) -> Path:
    made = tmp_path_factory.mktemp("weights")
    shapes = {name: entry[0] for name, entry in golden_json("statedict_imagebind_tiny")["tensors"].items()}
    state = seeded_weights.seeded_state_dict(shapes, "imagebind", 0)
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, made / "imagebind_tiny.pth")
    return made


Score = Callable[..., pd.DataFrame]


@pytest.fixture(scope="module")
def score(folder: Path, weights: Path) -> Score:
    def run(out: Path, **more: Any) -> pd.DataFrame:
        return javisbench.score(
            folder, suite=str(folder / "s.csv"), out=out, metrics=METRICS, encoders={"imagebind": "tiny"},
            weights_dirs=[weights], **{"workers": 1, "device": "cpu", **more},
        ).scores  # fmt: skip

    return run


@pytest.fixture(scope="module")
def expected(score: Score, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    made = score(tmp_path_factory.mktemp("expected") / "run")
    assert made.notna().sum().min() == CLIPS - 1, "one clip has no sound, and all else has values"
    return made


def assert_same(made: pd.DataFrame, expected: pd.DataFrame, tolerance: float) -> None:
    if tolerance:
        pd.testing.assert_frame_equal(made, expected, rtol=0, atol=tolerance)
    else:
        pd.testing.assert_frame_equal(made, expected, check_exact=True)


SAME = {
    "more decoding processes": ({"workers": 2}, 0.0),
    "batches of several clips": ({"batch_clips": 3}, 1e-5),
    "two devices": ({"device": "cpu,cpu", "workers": 2}, 0.0),
}
"""What may change: the options, and how far a score may move (docs/precision.md, "Between your own runs")."""


@pytest.mark.slow  # 10 s: a cluster is started
def test_a_ray_cluster_gives_the_same(score: Score, expected: pd.DataFrame, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="pip install 'javisbench[ray]'")
    assert_same(score(tmp_path / "run", engine="ray"), expected, 0.0)


@pytest.mark.parametrize("what", SAME)
def test_results_are_the_same(
    what: str, score: Score, expected: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, tolerance = SAME[what]
    monkeypatch.setattr(devices, "BLOCK_CLIPS", 3)  # two blocks, so that both devices get one
    assert_same(score(tmp_path / "run", **options), expected, tolerance)


@pytest.mark.slow  # 2 s
def test_shards_give_the_same(score: Score, expected: pd.DataFrame, tmp_path: Path) -> None:
    made = [score(tmp_path / f"shard-{shard}", shard=(shard, 2)) for shard in range(2)]
    assert_same(pd.concat(made).sort_values("sample_id", ignore_index=True), expected, 0.0)


def test_memory_that_runs_out_costs_time_alone(
    score: Score, expected: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    original = ImageBindNetwork.embed_vision

    def small(self: ImageBindNetwork, pixels: torch.Tensor) -> torch.Tensor:
        sizes.append(len(pixels))
        if len(pixels) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, pixels)

    monkeypatch.setattr(ImageBindNetwork, "embed_vision", small)
    assert_same(score(tmp_path / "run", batch_clips=CLIPS), expected, 1e-5)
    first = next(place for place, size in enumerate(sizes) if size <= 3)
    assert max(sizes) == 16 and max(sizes[first:]) <= 3, "once halved, batches stay small"


class Listener(Encoder):
    """Loudness of a clip's sound; keeps account of its batches."""

    card: ClassVar[EncoderCard] = EncoderCard("listener", "Listener", {"only": None})
    batches: ClassVar[list[int]] = []
    waiting: ClassVar[int] = 0
    longest: ClassVar[int] = 10**9
    most: ClassVar[int] = 0

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        def loudness(head: ClipHead, spec: FeatureSpec) -> torch.Tensor:
            if head.audio is None:
                raise FeatureError("It is mute.", kind="no_audio")
            return torch.from_numpy(np.abs(head.audio).max(axis=1))

        return PreparedSounds(head, specs, loudness)

    def encode(self, items: Any, specs: Sequence[FeatureSpec]) -> list[Encoded]:
        raise NotImplementedError

    def full_batch(self, specs: Sequence[FeatureSpec]) -> int:
        return 2

    def start(self, intakes: Sequence[Any]) -> Callable[[], list[Encoded]]:
        self.batches.append(len(intakes))
        type(self).waiting += 1
        if len(intakes) > self.longest:
            raise torch.OutOfMemoryError("no room")
        type(self).most = max(self.most, self.waiting)

        def finished() -> list[Encoded]:
            type(self).waiting -= 1
            return [{**i.errors, **{s: {"peak": v.numpy()} for s, v in i.sounds.items()}} for i in intakes]

        return finished

    def features(self, intakes: Sequence[Intake]) -> list[Encoded]:
        return self.start(intakes)()


SPEC = FeatureSpec.of("listener", "peak")


@pytest.fixture
def listened(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., EncodeSession]:
    """Encode the clips with `Listener` and batches as they fill a device."""
    monkeypatch.setattr(Listener, "batches", [])
    monkeypatch.setattr(Listener, "waiting", 0)
    monkeypatch.setattr(Listener, "most", 0)

    def run() -> EncodeSession:
        videos = sorted(folder.glob("*.mp4"))
        wavs = [video.with_suffix(".wav") for video in videos]
        sources = [ClipSource(v.stem, v, w if w.exists() else None) for v, w in zip(videos, wavs, strict=True)]
        choices = {"listener": EncoderChoice("listener", "only", Listener, None)}
        session = EncodeSession(choices, FeatureStore(tmp_path / "features"), "cpu", 1, None)
        index = hash_sources(sources, 1, Silent())
        encode_clips({source: [SPEC] for source in sources}, index, session, Silent())
        assert [len(session.missing(content, [SPEC])) for content in index.hashes.values()] == [0] * CLIPS
        return session

    return run


def test_batches_are_counted_in_inputs_across_clips(listened: Callable[..., EncodeSession]) -> None:
    """A mute clip has none, so that it rides along; what is left at the end is a batch of its own."""
    listened()
    assert Listener.batches == [2, 3]


def test_a_block_closes_its_batches(listened: Callable[..., EncodeSession], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "BLOCK_CLIPS", 3)
    listened()
    assert Listener.batches == [2, 1, 2]


def test_what_waits_has_a_bound(listened: Callable[..., EncodeSession], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_WAITING_BYTES", 3)  # one float is too much
    listened()
    assert Listener.batches == [1] * 3 + [2], "the mute clip holds nothing and waits"


@pytest.mark.parametrize(("early", "prepared"), [(0, CLIPS), (CLIPS, 0)])
def test_clips_are_prepared_by_their_readers_when_others_wait(
    early: int, prepared: int, listened: Callable[..., EncodeSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Intake] = []
    monkeypatch.setattr(encode, "_EARLY", early)
    monkeypatch.setattr(PreparedSounds, "prepare", lambda intake: calls.append(intake))
    listened()
    assert len(calls) == prepared


def test_want_of_memory_while_others_wait_costs_nothing(
    listened: Callable[..., EncodeSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    def starved(intake: Intake) -> None:
        raise MemoryError

    monkeypatch.setattr(encode, "_EARLY", 0)
    monkeypatch.setattr(PreparedSounds, "prepare", starved)
    session = listened()
    assert [error.kind for error in session.feature_errors.values()] == ["no_audio"], "of the mute clip"


def test_a_batch_that_does_not_fit_is_halved(
    listened: Callable[..., EncodeSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Listener, "longest", 1)
    listened()
    assert Listener.batches == [2, 1, 1, 3, 2, 1, 1, 1]


def test_clips_are_decoded_while_prompts_are_encoded(folder: Path, tmp_path: Path) -> None:
    begun = threading.Event()

    class Reading(Listener):
        """Says when the first clip comes; its prompts take until then."""

        def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
            begun.set()
            return super().intake(head, specs)

        def encode(self, items: Any, specs: Sequence[FeatureSpec]) -> list[Encoded]:
            assert begun.wait(30), "nothing was decoded meanwhile"
            return [{spec: {"length": np.array(len(prompt))} for spec in specs} for prompt in items]

    video = folder / "sample_0000.mp4"
    source = ClipSource("0", video, video.with_suffix(".wav"))
    choices = {"listener": EncoderChoice("listener", "only", Reading, None)}
    session = EncodeSession(choices, FeatureStore(tmp_path / "features"), "cpu", 1, None)
    index = hash_sources([source], 1, Silent())
    read = FeatureSpec.of("listener", "length", subject="text")
    encode_clips({source: [SPEC]}, index, session, Silent(), [([read], ["a prompt"])])
    assert session.stored(prompt_hash("a prompt"), read)["length"] == 8
    assert len(session.stored(index.hashes[source], SPEC)["peak"])


@pytest.mark.parametrize(("batch", "sizes"), [(None, [256, 44]), (1, [256, 44]), (100, [300])])
def test_prompts_are_spread_over_devices_in_batches_of_one(batch: int | None, sizes: list[int]) -> None:
    known = prompt_hash("known")
    session: Any = SimpleNamespace(batch_clips=batch, missing=lambda content, _: {} if content == known else {"x": []})
    spec = FeatureSpec("x", "embedding", subject="text")
    blocks = list(devices._text_blocks([([spec], ["known", *(f"{number}" for number in range(300)), "7"])], session))
    assert [len(block.texts[1]) for block in blocks] == sizes
    assert all(block.texts[0] == (spec,) and not block.clips for block in blocks)


@pytest.mark.parametrize(("ahead", "most"), [(0, 1), (2, 3)])
def test_a_device_gets_its_next_batches_before_results_are_taken(
    ahead: int, most: int, listened: Callable[..., EncodeSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not so a CPU, which has done its work when it says that it has begun."""
    assert EncodeSession({}, FeatureStore(Path("none")), "cpu", 1, 1).batches_ahead == 0
    monkeypatch.setattr(EncodeSession, "batches_ahead", ahead)
    monkeypatch.setattr(Listener, "full_batch", lambda self, specs: 1)
    listened()
    assert Listener.most == most and Listener.waiting == 0


@pytest.mark.slow  # 5 s
def test_a_process_that_dies_costs_time_alone(
    score: Score,
    expected: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    original, started = device_worker.DeviceWorker._started, []

    def killed_once(self: Any) -> Any:
        connection = original(self)
        started.append(self.device)
        if len(started) == 1:
            self._process.send_signal(signal.SIGKILL)
        return connection

    monkeypatch.setattr(device_worker.DeviceWorker, "_started", killed_once)
    assert_same(score(tmp_path / "run", device="cpu,cpu", workers=2), expected, 0.0)
    assert started == ["cpu"] * 3, "one for the prompts, one for the clips, and one in place of the first"
    assert "was killed by signal 9; its clips are encoded again" in caplog.text


def test_a_process_that_always_dies_ends_the_run_with_a_sentence(
    score: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_worker, "_MODULE", "javisbench.run.no_such_module")
    with pytest.raises(RunError, match="The process of cpu ended with exit status 1 on the same 5 clips twice"):
        score(tmp_path / "run", device="cpu,cpu")


def test_other_devices_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mps", "xpu", "cpu,mps"):
        with pytest.raises(UsageError, match="Networks run on cpu and cuda"):
            pick_device(name)
    with pytest.raises(UsageError, match="--device is cpu, cuda or cuda:N; got 'quantum'"):
        pick_device("quantum")
    assert pick_devices("cpu, cpu") == ("cpu", "cpu")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert pick_devices("cpu") == ("cpu",), "which is known without torch"


def test_every_gpu_is_used_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert pick_devices(None) == pick_devices("cuda") == ("cuda:0", "cuda:1", "cuda:2")
    assert pick_devices("cuda:1") == ("cuda:1",)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_devices(None) == ("cuda",)
    with pytest.raises(UsageError, match="There is no cuda:1 here: torch sees 1 GPUs"):
        pick_devices("cuda:1")


def test_an_accelerator_that_is_not_used_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("mps"))
    assert pick_devices(None) == ("cpu",)
    assert "This machine's mps is not used" in caplog.text


@pytest.mark.slow  # 4 s
def test_a_process_ends_with_its_parent(folder: Path, weights: Path, tmp_path: Path) -> None:
    """However the parent ends: here by SIGKILL, once the process is at work."""
    options = {
        "--suite": folder / "s.csv", "--metrics": "av_ib", "--encoder": "imagebind=tiny", "--weights-dir": weights,
        "--device": "cpu,cpu", "--out": tmp_path / "run",
    }  # fmt: skip
    named = [str(word) for option in options.items() for word in option]
    command = [sys.executable, "-m", "javisbench", "score", str(folder), *named]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children: list[int] = []
    while not children and parent.poll() is None:
        children = [pid for pid in children_of(parent.pid) if "device_process" in command_of(pid)]
        time.sleep(0.05)
    assert children, "it must not have been done already"
    parent.kill()
    parent.wait()
    while any("device_process" in command_of(pid) for pid in children):
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
