"""What actors of a cluster do with a group of clips, without a cluster: all passes through bytes, as it does there."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import fsspec
import numpy as np
import pytest

from javisbench.cli import run as cli
from javisbench.clip import Clip
from javisbench.errors import RunError, UsageError, WeightsError
from javisbench.media import ClipSource, DecodeLimits, sidecar_for
from javisbench.media.write import write_clip
from javisbench.metrics.encoders.base import Encoder as ClipEncoder
from javisbench.metrics.encoders.base import EncoderCard, FeatureSpec, Stream
from javisbench.places import Cache, gather
from javisbench.reference.wanted import EncoderChoice
from javisbench.run.cluster.connect import Cluster, connected
from javisbench.run.cluster.encoding import Encoder, Encoding, Group, _clip_groups, _known, _missing, _pools
from javisbench.run.content_index import ContentIndex
from javisbench.run.encode import BLOCK_CLIPS
from javisbench.run.encode_session import EncodeSession
from javisbench.run.engine import LocalEngine, Work
from javisbench.run.features import FeatureStore, MemoryStore, media_facts_key, stream_content
from javisbench.run.progress import Silent
from javisbench.run.scoring_job import ScoringOptions
from javisbench.weights import Located, WeightStore

T = TypeVar("T")


class Mean(ClipEncoder):
    """Mean colours, of which nobody knows that they need no network."""

    card: ClassVar[EncoderCard] = EncoderCard("mean", "mean colours", {"only": None})

    def encode(self, items: Any, specs: Sequence[FeatureSpec]) -> list[dict[FeatureSpec, Any]]:
        return [{spec: {"mean": clip.frames.mean(axis=(1, 2, 3))} for spec in specs} for clip in items]


class Peak(Mean):
    """Loudest samples, made on the host."""

    card: ClassVar[EncoderCard] = EncoderCard("peak", "loudest sample", {"only": None}, host=True)

    def encode(self, items: Any, specs: Sequence[FeatureSpec]) -> list[dict[FeatureSpec, Any]]:
        return [{spec: {"peak": np.abs(clip.audio).max(axis=0)} for spec in specs} for clip in items]


MEAN, PEAK = FeatureSpec.of("mean", "all"), FeatureSpec.of("peak", "all")
SPECS = frozenset((MEAN, PEAK))
CHOICES = {"mean": EncoderChoice("mean", "only", Mean, None), "peak": EncoderChoice("peak", "only", Peak, None)}
HOW = Encoding(CHOICES, "cpu", 1, 1, DecodeLimits(), "fp32", 1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ClipSource]:
    """Two clips, a copy of the first, and one that is broken."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(2):
        random = np.random.default_rng(number)
        frames = random.integers(0, 256, (4, 32, 48, 3)).astype(np.uint8)
        sound = random.uniform(-1, 1, (1, 4000)).astype(np.float32)
        clip = Clip(frames, Fraction(8), sound, 8000, "sidecar")
        write_clip(clip, folder / f"{number}.mp4", folder / f"{number}.wav")
    for suffix in (".mp4", ".wav"):
        (folder / f"copy{suffix}").write_bytes((folder / f"0{suffix}").read_bytes())
    (folder / "bad.mp4").write_bytes(b"no clip")
    return {path.stem: ClipSource(path.stem, path, sidecar_for(path)) for path in sorted(folder.glob("*.mp4"))}


def local(sources: Sequence[ClipSource]) -> tuple[ContentIndex, dict[str, Any]]:
    """Contents and features of one machine."""
    store = MemoryStore()
    session = EncodeSession(CHOICES, store, "cpu", 1, 1)
    return LocalEngine().encode(Work(dict.fromkeys(sources, SPECS)), session, Silent()), store.held


def sent(how: Encoding, group: Group) -> Group:
    """What comes back from an actor."""
    return through_bytes(Encoder(through_bytes(how))(through_bytes(group)))


def through_bytes(thing: T) -> T:
    return cast(T, pickle.loads(pickle.dumps(thing)))  # noqa: S301 - made right here


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    assert one.keys() == other.keys()
    for key, arrays in one.items():
        assert arrays.keys() == other[key].keys()
        assert all(np.array_equal(array, other[key][name]) for name, array in arrays.items())


def test_a_group_comes_back_with_the_features_of_one_machine(clips: dict[str, ClipSource]) -> None:
    sources = [clips["0"], clips["1"], clips["bad"]]
    index, held = local(sources)
    (group,) = _clip_groups(dict.fromkeys(sources, SPECS), 1)
    # With GPUs, what needs none is made before, by others.
    host = sent(replace(HOW, networks=False), group)
    assert {key for key in held if key in host.made} != held.keys()
    for made in (sent(HOW, group), sent(replace(HOW, networks=True), host)):
        alike(made.made, held)
        assert made.hashes == {0: index.hashes[sources[0]], 1: index.hashes[sources[1]], 2: index.hashes[sources[2]]}
        assert {n: error.kind for n, error in made.errors.items()} == {2: index.errors[sources[2]].kind}
        assert made.errors[2].message == index.errors[sources[2]].message


class Colour(Mean):
    """Mean colours, of the picture alone."""

    card: ClassVar[EncoderCard] = EncoderCard("colour", "mean colours", {"only": None})

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        return "picture"


def test_what_is_stored_of_a_given_picture_is_not_made_again(clips: dict[str, ClipSource]) -> None:
    """The picture of a clip whose sound is another than when its features were made."""
    colour = FeatureSpec.of("colour", "all")
    choices = {**CHOICES, "colour": EncoderChoice("colour", "only", Colour, None)}
    how = replace(HOW, encoders=choices)
    source = clips["0"]
    other = ClipSource("other", source.video, clips["1"].audio)
    (group,) = _clip_groups({source: frozenset((colour, MEAN))}, 1)
    stored = sent(how, group)
    session = EncodeSession(choices, MemoryStore(), "cpu", 1, 1)
    for key, arrays in stored.made.items():
        session.store.put(key, arrays)
    digest = session.store.find(media_facts_key(stored.hashes[0]))["picture"].tobytes().hex()
    work = Work({other: frozenset((colour, MEAN))}, given={other: stream_content("picture", digest)})
    (group,) = _clip_groups(work.clips, 1, _known(work, session))
    made = sent(how, group)
    of_picture = session.key(stream_content("picture", digest), colour)
    assert of_picture in stored.made and of_picture not in made.made
    assert any("mean" in arrays for arrays in made.made.values()), "what looks at both streams is made"
    # What is not known is made.
    (group,) = _clip_groups(work.clips, 1)
    assert of_picture in sent(how, group).made


def test_what_is_stored_or_a_copy_is_not_sent(clips: dict[str, ClipSource], tmp_path: Path) -> None:
    index, held = local(list(clips.values()))
    session = EncodeSession(CHOICES, FeatureStore(tmp_path), "cpu", 1, 1)
    known = ContentIndex(dict(index.hashes))
    work = Work(dict.fromkeys(clips.values(), SPECS))
    assert [source.sample_id for source in _missing(work, known, session)[0]] == ["0", "1", "bad"]
    for key, arrays in held.items():
        session.store.put(key, arrays)
    assert [source.sample_id for source in _missing(work, known, session)[0]] == ["bad"]


def test_groups_hold_whole_batches(clips: dict[str, ClipSource]) -> None:
    many = {ClipSource(str(number), clips["0"].video, clips["0"].audio): SPECS for number in range(70)}
    assert [len(group.clips) for group in _clip_groups(many, 1)] == [8] * 8 + [6]
    for batch in (3, None):  # one machine closes all batches after so many clips
        assert [len(group.clips) for group in _clip_groups(many, batch)] == [BLOCK_CLIPS, 70 - BLOCK_CLIPS]


def test_pools_follow_what_the_cluster_has() -> None:
    def shapes(device: str, cpus: int, gpus: int, **encoders: EncoderChoice) -> list[tuple[float, float, Any]]:
        how = replace(HOW, device=device, encoders=encoders or CHOICES)
        return [(p.cpus, p.gpus, p.settings.networks) for p in _pools(how, Cluster(cpus, gpus, 1))]

    assert shapes("cpu", 8, 0) == [(1, 0, None)]
    assert shapes("cuda", 8, 2) == [(1, 0, False), (1, 1, True)]
    assert shapes("cuda", 2, 2) == [(1, 1, None)]  # no core is left for a pool of its own
    assert shapes("cuda", 8, 2, mean=CHOICES["mean"]) == [(1, 1, None)]
    assert shapes("cuda", 8, 2, peak=CHOICES["peak"]) == [(1, 0, None)]


def test_a_clip_that_a_machine_does_not_see_stops_the_job(clips: dict[str, ClipSource], tmp_path: Path) -> None:
    elsewhere = ClipSource("x", tmp_path / "x.mp4")
    with pytest.raises(RunError, match=r"a machine of the cluster.*or give them by URL"):
        sent(HOW, Group([(elsewhere, SPECS, (None, None))]))


def test_clips_at_urls_are_found_by_machines_with_caches_of_their_own(
    clips: dict[str, ClipSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = fsspec.filesystem("memory")
    for path in (clips["0"].video, clips["0"].audio):
        assert path is not None
        memory.pipe_file(f"/groups/{path.name}", path.read_bytes())
    monkeypatch.setenv("JAVISBENCH_CACHE_DIR", str(tmp_path / "here"))
    cache = Cache.from_environment()
    folder = gather("memory://groups", cache)
    source = ClipSource("0", folder / "0.mp4", folder / "0.wav", cache)
    (group,) = _clip_groups({source: SPECS}, 1)
    monkeypatch.setenv("JAVISBENCH_CACHE_DIR", str(tmp_path / "there"))
    made = sent(HOW, group)
    index, held = local([clips["0"]])
    assert made.hashes == {0: index.hashes[clips["0"]]}
    assert held.keys() <= made.made.keys()
    assert not (tmp_path / "here/clips").exists()
    memory.rm("/groups", recursive=True)


def test_other_weights_on_a_machine_are_refused(tmp_path: Path, store: WeightStore) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"one")
    entry = store.entry("i3d")
    choice = EncoderChoice("mean", "only", Mean, Located(entry, path, store.sha256(path), None))
    Encoder(replace(HOW, encoders={"mean": choice}))
    path.write_bytes(b"another")
    with pytest.raises(WeightsError):
        Encoder(replace(HOW, encoders={"mean": choice}))


def test_engines_that_are_not_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    from javisbench import api

    for options, told in (
        (ScoringOptions(engine="slurm"), "local, ray"),  # type: ignore[arg-type]
        (ScoringOptions(engine_address="auto"), "--engine ray"),
        (ScoringOptions(engine="ray", device="cuda:1"), "cpu or cuda"),
    ):
        with pytest.raises(UsageError, match=told):
            api.evaluate("procedural", suite="demo", limit=1, out=tmp_path / "run", options=options)
    assert not (tmp_path / "run").exists()


def test_an_engine_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'javisbench\[ray\]'"), connected(None):
        pass


def test_without_ray_a_start_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("javisbench.run.device.find_spec", lambda name: None)
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/a.mp4").write_bytes(b"no clip")
    (tmp_path / "clips/a.txt").write_text("a cat")
    args = ["score", str(tmp_path / "clips"), "--engine", "ray", "--out", str(tmp_path / "run")]
    assert cli(args) == 2
    assert "pip install 'javisbench[ray]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
