"""What is made of one stream of a clip is found again for every clip that shares it."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from javisbench import score
from javisbench.clip import Clip, ClipHead, FrameRun
from javisbench.errors import MediaError
from javisbench.media import ClipSource, content_hash, read_clip, stream_clip, write_clip
from javisbench.metrics.encoders.base import Intake, StreamEncoder
from javisbench.metrics.encoders.flow import FlowEncoder
from javisbench.metrics.encoders.onsets import OnsetEncoder
from javisbench.run import encode, encode_session, features
from javisbench.run.features import FeatureStore, media_facts_key

RATE = 16000


def clip(picture: int, sound: int) -> Clip:
    """Two seconds of blinking picture and clicking sound, each by its own seed."""
    look, listen = np.random.default_rng(picture), np.random.default_rng(1000 + sound)
    frames = look.integers(0, 255, (16, 48, 64, 3), dtype=np.uint8)
    audio = (listen.normal(size=(1, 2 * RATE)) * (listen.random(2 * RATE) < 0.01)).clip(-1, 1).astype(np.float32)
    return Clip(frames, Fraction(8), audio, RATE)


def intakes(encoder: type[StreamEncoder], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the clips that an encoder begins from now on."""
    begun: list[str] = []
    original = encoder.intake

    def counted(self: StreamEncoder, head: ClipHead, specs: Any) -> Intake:
        begun.append(Path(head.name).stem)
        return original(self, head, specs)

    monkeypatch.setattr(encoder, "intake", counted)
    return begun


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three clips: the first two show the same, the last two sound the same; each sound lies beside its picture."""
    made = tmp_path / "clips"
    for name, picture, sound in (("a", 1, 1), ("b", 1, 2), ("c", 3, 2)):
        write_clip(clip(picture, sound), made / f"{name}.mp4")
        (made / f"{name}.txt").write_text(name)
    return made


def scored(folder: Path, run: Path, **options: Any) -> Any:
    return score(folder, out=run, metrics=["av_align"], workers=2, **options).scores.set_index("sample_id")["av_align"]


def test_equal_pictures_and_equal_sounds_are_encoded_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {name: scored(_only(folder, name, tmp_path), tmp_path / f"run-{name}")[name] for name in "abc"}
    for block in (64, 1):
        monkeypatch.setattr(encode, "BLOCK_CLIPS", block)
        with monkeypatch.context() as counted:
            flows, onsets = intakes(FlowEncoder, counted), intakes(OnsetEncoder, counted)
            together = scored(folder, tmp_path / f"run-{block}")
        assert len(flows) == 2 and "c" in flows
        assert len(onsets) == 2 and "a" in onsets
        assert dict(together) == alone


def test_what_is_made_of_shared_streams_is_claimed_no_longer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or claims would grow with a run."""
    seen: list[encode._Claims] = []
    forget = encode._Claims.forget_made
    monkeypatch.setattr(encode._Claims, "forget_made", lambda self: (forget(self), seen.append(self)))
    monkeypatch.setattr(encode, "BLOCK_CLIPS", 3)
    scored(folder, tmp_path / "run")
    (claims,) = seen
    assert not claims._taken


def _only(folder: Path, name: str, tmp_path: Path) -> Path:
    target = tmp_path / f"only-{name}"
    target.mkdir()
    for file in folder.glob(f"{name}.*"):
        shutil.copy(file, target)
    return target


def test_other_sound_costs_no_picture_features(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = scored(folder, tmp_path / "run")
    for name in "abc":
        write_clip(clip({"a": 1, "b": 1, "c": 3}[name], 7), tmp_path / "other" / f"{name}.mp4")
        shutil.copy(tmp_path / "other" / f"{name}.wav", folder)
    flows, onsets = intakes(FlowEncoder, monkeypatch), intakes(OnsetEncoder, monkeypatch)
    after = scored(folder, tmp_path / "run")
    assert flows == [] and len(onsets) == 1
    assert dict(after) != dict(before)


def test_a_picture_that_breaks_off_in_the_clip_that_came_first_is_made_from_the_next(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another clip waited for its flow."""
    visits: list[str] = []
    original = encode._Visit.end

    def broken_once(self: Any, damage: Any) -> None:
        visits.append(Path(self.head.name).stem)
        if visits[-1] == visits[0]:  # each time: what fails once is read again
            raise MediaError("the disk went away", kind="decode_error")
        original(self, damage)

    monkeypatch.setattr(encode._Visit, "end", broken_once)
    result = score(folder, out=tmp_path / "run", metrics=["av_align"], workers=1)
    values = result.scores.set_index("sample_id")["av_align"]
    assert np.isnan(values[visits[0]]) and values.drop(visits[0]).notna().all()


def test_stores_that_know_no_streams_are_read_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as old:
        old.setattr(features, "contents", lambda store, content, stream: iter([content]))
        old.setattr(encode_session, "contents", lambda store, content, stream: iter([content]))
        old.setattr(encode._Claims, "_take", lambda *_: True)
        before = scored(folder, tmp_path / "run")
    for shard in (tmp_path / "run/features").glob("*"):
        _forget_streams(shard)
    flows = intakes(FlowEncoder, monkeypatch)
    assert dict(scored(folder, tmp_path / "run")) == dict(before)
    assert flows == []


def _forget_streams(shard: Path) -> None:
    from safetensors.numpy import load_file, save_file

    save_file({k: v for k, v in load_file(shard).items() if k.split("/")[1] not in {"picture", "sound"}}, shard)


def head_of(video: Path, audio: Path | None = None) -> ClipHead:
    class Look:
        wanted = np.zeros(0, np.int64)

        def __init__(self, head: ClipHead) -> None:
            self.head = head

        def take(self, run: FrameRun) -> None: ...

        def end(self, damage: Any) -> None: ...

    return stream_clip(ClipSource(video.stem, video, audio), Look).head


def remuxed(video: Path, target: Path, *, with_sound: bool = True, delay_s: float = 0.0, stretch: int = 1) -> Path:
    """The same packets in another file, the sound left out or late, the picture slower."""
    with av.open(str(video)) as source, av.open(str(target), "w") as out:
        kept = [s for s in source.streams if s.type == "video" or with_sound]
        streams = {s.index: out.add_stream_from_template(s) for s in kept}
        for packet in source.demux(kept):
            if packet.dts is None:
                continue
            if packet.stream.type == "audio":
                shift = round(delay_s / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            else:
                packet.pts, packet.dts = packet.pts * stretch, packet.dts * stretch
                packet.duration *= stretch
            packet.stream = streams[packet.stream_index]
            out.mux(packet)
    return target


def test_hashes_of_streams_follow_each_stream(tmp_path: Path) -> None:
    write_clip(clip(1, 1), tmp_path / "first.mp4")
    write_clip(clip(1, 2), tmp_path / "second.mp4")
    write_clip(clip(2, 1), tmp_path / "third.mp4")
    first, second, third = (head_of(tmp_path / f"{name}.mp4") for name in ("first", "second", "third"))
    assert first.picture_hash == second.picture_hash != third.picture_hash
    assert first.sound_hash == third.sound_hash != second.sound_hash
    mute = head_of(remuxed(tmp_path / "first.mp4", tmp_path / "mute.mp4", with_sound=False))
    assert mute.picture_hash == first.picture_hash and mute.sound_hash not in {first.sound_hash, ""}
    late = head_of(remuxed(tmp_path / "first.mp4", tmp_path / "late.mp4", delay_s=0.5))
    assert late.picture_hash == first.picture_hash and late.sound_hash != first.sound_hash
    beside = head_of(tmp_path / "first.mp4", tmp_path / "second.wav")
    assert (beside.picture_hash, beside.sound_hash) == (
        first.picture_hash,
        head_of(tmp_path / "second.mp4", tmp_path / "second.wav").sound_hash,
    )


def test_frames_shown_at_other_times_have_another_hash(tmp_path: Path) -> None:
    write_clip(clip(1, 1), tmp_path / "steady.mp4")
    remuxed(tmp_path / "steady.mp4", tmp_path / "slow.mp4", stretch=2)
    steady, slow = head_of(tmp_path / "steady.mp4"), head_of(tmp_path / "slow.mp4")
    assert slow.duration_s == pytest.approx(2 * steady.duration_s)
    assert steady.picture_hash != slow.picture_hash
    assert np.array_equal(read_clip(tmp_path / "steady.mp4").frames, read_clip(tmp_path / "slow.mp4").frames)


def test_facts_of_a_clip_hold_its_streams(folder: Path, tmp_path: Path) -> None:
    scored(folder, tmp_path / "run")
    store = FeatureStore(tmp_path / "run/features")
    source = ClipSource("a", folder / "a.mp4", folder / "a.wav")
    facts = store.get(media_facts_key(content_hash(source)))
    head = head_of(source.video, source.audio)
    assert facts["picture"].tobytes().hex() == head.picture_hash
    assert facts["sound"].tobytes().hex() == head.sound_hash
