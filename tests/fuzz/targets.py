"""What is fuzzed: every reader of files that may come from strangers, with good files to begin with.

A target reads one file. It may give a result or raise a `JavisbenchError`; anything else is a defect.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tests.fuzz import mutate
from tests.fuzz.mutate import Mutator, Rng

MIB = 2**20


class Read(Protocol):
    """Reads the damaged file at a path, as the program would."""

    def __call__(self, path: Path, /) -> object: ...


@dataclass(frozen=True)
class Target:
    """A reader of strangers' files.

    Attributes:
        name: of the target.
        files: good files, made in an empty folder: name to content.
        reader: makes what reads one; called once a process, with a folder of its own.
        mutator: damages a good file.
        memory_bytes: address space that reading may take, beside what the process has before.
        patience_s: seconds that one file may take on a machine that has nothing else to do.
        cost: how much longer one input takes than one of the text targets, about.
    """

    name: str
    files: Callable[[Path], Mapping[str, bytes]]
    reader: Callable[[Path], Read]
    mutator: Mutator
    memory_bytes: int = 512 * MIB
    patience_s: float = 30.0
    cost: int = 1


# Text


def _suite_files(folder: Path) -> dict[str, bytes]:
    rows = ["id,text,cat0_ind,cat3_ind,audio_text,path,mood", 'a,"a bell, ringing",0,"0,1",bell,a.mp4,calm']
    rows += [f"s{i},prompt {i},{i % 5},{i % 3},,," for i in range(20)]
    other = "text;id\nein Hund;eins\neine Katze;zwei\n"
    return {"s.csv": "\n".join(rows).encode(), "o.csv": other.encode("utf-16"), "t.tsv": b"id\ttext\na\tone\nb\ttwo\n"}


def _jsonl_files(folder: Path) -> dict[str, bytes]:
    rows = [{"id": f"s{i}", "text": f"prompt {i}", "cat0_ind": [0, 1], "n": i, "path": "a.mp4"} for i in range(10)]
    return {"s.jsonl": "\n".join(json.dumps(row) for row in rows).encode()}


def _read_suite(folder: Path) -> Read:
    from javisbench.suite import read_suite

    def read(path: Path) -> object:
        suite, problems = read_suite(str(path))
        [str(problem) for problem in problems]
        if suite is not None:
            suite.slices()
            suite.notices()
            suite.sliced_by(list(suite.columns)[:1]) if suite.columns else None
        return suite

    return read


def _statement_files(folder: Path) -> dict[str, bytes]:
    setting = 'width = 640\nheight = 360\nfps = "30000/1001"\nduration_s = 8.0\nsample_rate = 44100\n'
    return {"s.toml": f'task = "v2a"\n[setting]\n{setting}'.encode()}


def _read_statement(folder: Path) -> Read:
    from javisbench.suite_statement import statement_of

    return lambda path: statement_of(path.with_suffix(".csv"))


def _image_files(folder: Path) -> dict[str, bytes]:
    from PIL import Image

    picture = Image.fromarray(np.random.default_rng(3).integers(0, 255, (24, 32, 3), dtype=np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    found = {}
    for name in ("a.png", "b.jpg", "c.webp"):
        picture.save(folder / name, exif=turned)
        found[name] = (folder / name).read_bytes()
    return found


def _read_image(folder: Path) -> Read:
    from javisbench.media.image import decode_image
    from javisbench.media.source import DecodeLimits

    return lambda path: decode_image(path, DecodeLimits(memory_bytes=64 * MIB))


def _pairs_files(folder: Path) -> dict[str, bytes]:
    rows = ["clip_a,clip_b,better,dimension", "a.mp4,b.mp4,a,sync", "b.mp4,a.mp4,tie,sync", "a.mp4,c.mp4,b,sync"]
    return {"pairs.csv": "\n".join(rows).encode()}


def _read_pairs(folder: Path) -> Read:
    from javisbench.run.trial.pairs import read_pairs

    def read(path: Path) -> object:
        for name in ("a.mp4", "b.mp4", "c.mp4"):
            (path.parent / name).touch()
        return read_pairs(path)

    return read


def _votes_elsewhere_files(folder: Path) -> dict[str, bytes]:
    arena = [
        "question_id,model_a,model_b,winner,judge",
        "s1,X,Y,model_a,ann",
        "s1,X,Y,tie (bothbad),bob",
        "s2,Y,Z,b,cy",
    ]
    ratings = [{"sample": "s1", "model": m, "rating": r, "voter": "ann"} for m, r in (("X", 3), ("Y", 4.5), ("Z", 1))]
    vbench = [{"prompt_en": "a dog", "videos": {"X": "d-0.mp4"}, "human_anno": {"X": {"Y": 0.5}, "Y": {"X": 0.5}}}]
    page = ["page,pair,question,answer,voter", "0123,p001,overall,1,ann", "0123,p002,overall,bad,ann"]
    return {
        "arena.csv": "\n".join(arena).encode(),
        "ratings.jsonl": "\n".join(map(json.dumps, ratings)).encode(),
        "color.json": json.dumps(vbench).encode(),
        "answers.csv": "\n".join(page).encode(),
    }


def _read_votes_elsewhere(folder: Path) -> Read:
    from javisbench.results.votes.forms import ImportOptions
    from javisbench.results.votes.imported import import_votes
    from javisbench.results.votes.page_key import PageKey, PagePair
    from javisbench.results.votes.people import hear, people_table, voters_of
    from javisbench.results.votes.record import load_votes, save_votes

    pairs = {f"p00{n}": PagePair(f"s{n}", 0, "X", "Y") for n in (1, 2)}
    options = ImportOptions(keys={"0123": PageKey("0123", "", "", {}, pairs)}, salt=b"salt")

    def read(path: Path) -> object:
        found = import_votes([path], options).votes
        save_votes(found, folder / "votes.jsonl")
        voters_of(load_votes(folder / "votes.jsonl").votes)
        return people_table(hear(found))

    return read


def _votes_files(folder: Path) -> dict[str, bytes]:
    head = {
        "kind": "javisbench-votes", "schema": 1, "votes": 3, "suite": "demo", "suite_hash": "h", "names": "pseudonyms",
        "questions": {"overall": "Which?"}, "left_out": {"no answer": 2}, "notices": ["n"], "version": "0.2.0",
        "sources": [{"file": "v.csv", "sha256": "0" * 64, "form": "pairs", "rows": 5, "votes": 3}],
    }  # fmt: skip
    rows = [{"sample_id": "s1", "a": "X", "b": "Y", "vote": vote, "voter": f"v-{vote}"} for vote in ("a", "tie", "bad")]
    return {"votes.jsonl": "\n".join(map(json.dumps, [head, *rows])).encode() + b"\n"}


def _read_votes(folder: Path) -> Read:
    from javisbench.results.votes.people import hear, people_table
    from javisbench.results.votes.record import load_votes

    return lambda path: people_table(hear(load_votes(path)))


def _votes_key_files(folder: Path) -> dict[str, bytes]:
    pairs = {"p001": {"sample_id": "s1", "repeat": 0, "left": "X", "right": "Y"}}
    facts = {"kind": "javisbench-votes-key", "schema": 1, "page": "0123", "suite": "demo", "suite_hash": "h"}
    return {"page-key.json": json.dumps({**facts, "questions": {"overall": "Which?"}, "pairs": pairs}).encode()}


def _read_votes_key(folder: Path) -> Read:
    from javisbench.results.votes.page_key import load_key

    return load_key


def _cascade_files(folder: Path) -> dict[str, bytes]:
    words = (
        't2v = "procedural"',
        'v2a = "procedural:sync"',
        "[params]",
        't2v = {offset_s = "0.1"}',
        "keep_loaded = true",
    )
    return {"c.toml": "\n".join(words).encode()}


def _read_cascade(folder: Path) -> Read:
    from javisbench.baselines.cascade import Cascade

    return lambda path: Cascade(str(path), {})


def _config_files(folder: Path) -> dict[str, bytes]:
    return {"c.toml": b"[network]\neps = 0.1\n\n[sampling]\nsteps = 3\nguidance = 2.5\n"}


def _read_config(folder: Path) -> Read:
    from javisbench.baselines.javisdit.config import V10Config, read_config

    official = V10Config()
    return lambda path: read_config(path, official)


def _recipe_files(folder: Path) -> dict[str, bytes]:
    recipe = """
schema = 1
id = "alpha"
title = "Alpha on demo"
kind = "run"
source = "A paper"
n = 60
tolerance_from = "three runs"
[suite]
name = "demo"
hash = "0a0a0a0a"
[model]
name = "Alpha"
spec = "procedural"
parameters = {steps = 30, cfg = 7.5, plain = true}
weights = {network = {"model.safetensors" = "0123456789ab"}}
[generation]
seed = 42
[clips]
width = 426
fps = "24000/1001"
sound = "container"
[scoring]
protocol = "javisbench-v1+top_k=0.5"
encoders = {imagebind = "tiny"}
[[expected]]
metric = "tv_ib"
value = "0.263"
tolerance = 0.01
[[expected]]
name = "FD-VGG"
value = 0.79
tolerance = 0.1
ci_low = 0.7
ci_high = 0.9
note = "nothing computes it"
[[doubts]]
about = "weights"
text = "a preview"
[[faults]]
id = "half"
text = "half the range"
setting = "video_range=signed"
longer_than_s = 4.9
"""
    # As JSON, which is broken in its values more often than in its syntax; TOML's own is the standard library's.
    return {"recipe.json": json.dumps(tomllib.loads(recipe)).encode()}


def _read_recipe(folder: Path) -> Read:
    """A recipe, a run checked against it, and the recipe written anew."""
    from javisbench.errors import UsageError
    from javisbench.results.checked_json import check_size, parse_json
    from javisbench.results.recipe_toml import parse_recipe, recipe_text
    from javisbench.results.recipes import MAX_BYTES
    from javisbench.results.reproduction import check
    from javisbench.results.run_folder import load_result
    from javisbench.run.recipe_job import RecipeJob

    run = load_result(run_writer(folder))

    def read(path: Path) -> object:
        check_size(path, MAX_BYTES)
        recipe = parse_recipe(parse_json(path.read_bytes(), path.name), path.name)
        recipe_text(recipe)
        found = check(run, replace(recipe, suite=run.suite)).to_json()
        with contextlib.suppress(UsageError):
            return found, RecipeJob.of(recipe, "clips").line
        return found

    return read


# A run's own files


def run_writer(folder: Path) -> Path:
    """A small run with all that a run folder holds but clips; returns its folder."""
    from tests.synthetic_runs import RunWriter

    failures = [
        {"sample_id": "sample_0001", "repeat": 0, "stage": "decode", "metric": None, "kind": "x", "message": "m"}
    ]
    run = RunWriter(folder)("Alpha", n=12, failures=failures)
    manifest = {
        "schema": 1,
        "model": {"name": "Alpha", "slug": "alpha", "identity": {"model": "m"}, "clips": None},
        "suite": {"name": "demo", "hash": "h", "source": "s.csv", "total": 12},
        "generation": {"seed": 0, "repeats": 1, "shard": [0, 1]},
        "scoring": {"seed": 0, "hardware": {"machine": "x"}, "requests": {}},
        "versions": {"javisbench": "0.2.0"},
        "first_protocol": "javisbench-v1",
    }
    (run / "run.json").write_text(json.dumps(manifest))
    (run / "failures.jsonl").write_text("".join(json.dumps(row) + "\n" for row in failures * 3))
    return run


def _run_file(*names: str) -> Callable[[Path], dict[str, bytes]]:
    def files(folder: Path) -> dict[str, bytes]:
        run = run_writer(folder)
        return {name: (run / name).read_bytes() for name in names}

    return files


def _read_run(folder: Path) -> Read:
    """The whole of a run in which one file is another's: what `report` and boards make of it."""
    from javisbench.results.checks import checks_of
    from javisbench.results.diff import diff
    from javisbench.results.run_folder import load_result, load_results, read_failures, read_manifest
    from javisbench.results.table import run_table

    run = run_writer(folder)
    shutil.copytree(run, folder / "sound", dirs_exist_ok=True)
    sound = load_result(folder / "sound")
    good = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}

    def read(path: Path) -> object:
        for name, data in good.items():
            (run / name).write_bytes(data)
        (run / path.name).write_bytes(path.read_bytes())
        read_manifest(run)
        read_failures(run)
        for result in load_results(run):
            run_table(result, None)
            checks_of(result)
            result.samples_by_id()
            result.scores()
            result.details()
            diff(result, sound)
        return None

    return read


def _sidecar_files(folder: Path) -> dict[str, bytes]:
    facts = {
        "key": "k", "sample_id": "a", "index": 0, "repeat": 0, "seed": 1, "prompts": {"text": "t"}, "device": "cpu",
        "files": {"video": "0" * 64}, "info": {"seconds": 1.0}, "versions": {"torch": "2"},
    }  # fmt: skip
    return {"a.json": json.dumps(facts).encode()}


def _read_sidecar(folder: Path) -> Read:
    from javisbench.run.merge import _Part
    from javisbench.run.provenance import made_with

    run = run_writer(folder)
    (run / "clips").mkdir()

    def read(path: Path) -> object:
        (run / "clips" / "a.json").write_bytes(path.read_bytes())
        part = _Part.read(run)
        return made_with(part.manifest, part.clips.values())

    return read


def _trial_files(folder: Path) -> dict[str, bytes]:
    from javisbench.metrics.base import MetricCard
    from javisbench.results.trial import MetricTrial, Trial
    from javisbench.results.trial_effects import Case, PairValues, sample_effects

    card = MetricCard("toy", "Toy", True, (None, None), "sample", "", "", "")
    cases = [Case("shift", dose, "ms", dose) for dose in (40.0, 160.0)]
    values = [PairValues(case, np.zeros(20), np.full(20, -case.dose), np.arange(20)) for case in cases]
    trial = Trial(
        {"kind": "scenes", "suite": "demo", "clips": 20}, "javisbench-v1", False, 0, "0.1.0",
        (MetricTrial("toy", sample_effects(card, values)),), {"fvd": "no weights"}, {"s7": "too short"},
        {"shift": {"title": "Shift"}},
    )  # fmt: skip
    return {"trial.json": json.dumps(trial.to_json()).encode()}


def _read_trial(folder: Path) -> Read:
    from javisbench.results.trial import read_trial

    return read_trial


def _reference_json_files(folder: Path) -> dict[str, bytes]:
    cats = {"visual_style": {"camera_shooting": 0.5}}
    document = {"fvd": 100.0, "av_score": {"overall": 0.5, "all": [0.4, 0.6]}, "javis_score": {"overall": 0.5, **cats}}
    return {"r.json": json.dumps(document).encode()}


def _read_reference_json(folder: Path) -> Read:
    from javisbench.publish.reference_json import read_reference

    return read_reference


# Arrays


def _set_feature_files(folder: Path) -> dict[str, bytes]:
    from javisbench.results.set_features import SetRows, write_set_features

    rng = np.random.default_rng(0)
    rows = {"i3d": SetRows("i3d", ("fvd",), ("a", "b", "c"), *(rng.random((3, 8), np.float32) for _ in range(2)))}
    write_set_features(folder, rows)
    return {"set_features.safetensors": (folder / "set_features.safetensors").read_bytes()}


def _read_set_features(folder: Path) -> Read:
    from javisbench.publish.verify import _check_features
    from javisbench.results.set_features import RowBounds, read_set_features

    def read(path: Path) -> object:
        return [list(_check_features(rows)) for rows in read_set_features(path.parent, RowBounds(3, 64, 4)).values()]

    return read


def _reference_files(folder: Path) -> dict[str, bytes]:
    from javisbench.metrics.encoders.base import FeatureSpec
    from javisbench.reference.stored import Feature, StoredReference

    rows = np.random.default_rng(0).random((3, 8), np.float32)
    spec = FeatureSpec("i3d", "logits", (("frames", 16),))
    feature = Feature(spec, "i3d=kinetics400", "0" * 64, ("javisbench-v1",), ("a", "b", "c"), rows)
    StoredReference(folder / "r.safetensors", {"suite": "demo", "suite_hash": "h"}, (feature,)).save()
    return {"r.safetensors": (folder / "r.safetensors").read_bytes()}


def _read_reference(folder: Path) -> Read:
    from javisbench.reference.stored import StoredReference

    def read(path: Path) -> object:
        found = StoredReference.load(path)
        return found.describe(), [feature.name for feature in found.features]

    return read


def _shard_files(folder: Path) -> dict[str, bytes]:
    from javisbench.run.features import FeatureStore

    store = FeatureStore(folder)
    for key in ("k1", "k2"):
        store.put(key, {"rows": np.ones((2, 3), np.float32), "hash": np.zeros(4, np.uint8)})
    store.flush()
    return {"shard-000000.safetensors": (folder / "shard-000000.safetensors").read_bytes()}


def _read_shard(folder: Path) -> Read:
    from javisbench.run.features import FeatureStore

    def read(path: Path) -> object:
        store = FeatureStore(path.parent)
        return [store.find(key) for key in list(store)]

    return read


def _weights_files(suffix: str) -> Callable[[Path], dict[str, bytes]]:
    def files(folder: Path) -> dict[str, bytes]:
        import torch
        from safetensors.torch import save

        state = {"a.weight": torch.ones(3, 4), "a.bias": torch.zeros(3), "steps": torch.tensor(5)}
        if suffix == "safetensors":
            return {"w.safetensors": save(state)}
        new, old = io.BytesIO(), io.BytesIO()
        torch.save({"state_dict": state, "epoch": 3}, new)
        torch.save(state, old, _use_new_zipfile_serialization=False)
        return {"w.pth": new.getvalue(), **({"old.pth": old.getvalue()} if suffix == "old" else {})}

    return files


def _read_weights(folder: Path) -> Read:
    import torch

    from javisbench.metrics.encoders.checkpoint import load_checkpoint, load_strict

    def read(path: Path) -> object:
        state = load_checkpoint(path)
        module = torch.nn.Module()
        module.a = torch.nn.Linear(4, 3)
        load_strict(module, state, what="a net", path=path, ignore=("steps",))
        return module

    return read


def _clip_table_files(folder: Path) -> dict[str, bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    clips = [{"bytes": bytes([i]) * 50, "path": f"{i}.mp4"} for i in range(6)]
    table = pa.table({"id": [f"s{i}" for i in range(6)], "text": [f"prompt {i}" for i in range(6)], "video": clips})
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=3)
    return {"t.parquet": out.getvalue()}


def _read_clip_table(folder: Path) -> Read:
    from contextlib import contextmanager

    from javisbench.places.tables import bring_row_group, cells

    @contextmanager
    def written(remote: object) -> Iterator[Path]:
        yield folder / "cell"

    def read(path: Path) -> object:
        found = [entry.remote for entry in cells(f"file://{path}", prompts=True)]
        for remote in found[:2]:
            if remote is not None and remote.cell is not None:
                bring_row_group(remote, written)
        return len(found)

    return read


# Archives


def _archive_files(folder: Path) -> dict[str, bytes]:
    from javisbench.publish.archive import MEMBERS

    run = run_writer(folder)
    _complete(run)
    members = {name: (run / name).read_bytes() for name in MEMBERS if (run / name).is_file()}
    members["clips.json"] = json.dumps(
        {f"sample_{i:04d}.mp4": hashlib.sha256(bytes([i])).hexdigest() for i in range(12)}
    ).encode()
    members |= _set_feature_files(folder)
    return {"a.zip": _packed(members)}


def _complete(run: Path) -> None:
    """What an archive needs beside a run's tables, so that the checks of its numbers are reached."""
    import pandas as pd

    from javisbench.protocol import PROTOCOLS

    document = json.loads((run / "summary.json").read_text())
    document["run"] |= {
        "suite_total": 12, "prompts": 12, "seed": 0, "encoders": {},
        "protocol_settings": PROTOCOLS["javisbench-v1"].settings(),
    }  # fmt: skip
    (run / "summary.json").write_text(json.dumps(document))
    samples = pd.read_parquet(run / "samples.parquet")
    samples.assign(index=range(12), audio_text=None, video_text=None).to_parquet(run / "samples.parquet")


def _packed(members: Mapping[str, bytes], facts: Mapping[str, Any] | None = None) -> bytes:
    run = json.loads(members.get("summary.json", b"{}")).get("run", {}) if facts is None else {}
    told = {
        "schema": 1,
        **{name: run.get(name) for name in ("model", "suite", "suite_hash", "protocol")},
        "members": {n: {"bytes": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in members.items()},
        **(facts or {}),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(told))
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


_MEMBER_MUTATORS: dict[str, Mutator] = {
    "json": mutate.json_text,
    "parquet": mutate.parquet,
    "safetensors": mutate.safetensors,
}


def _archive(data: bytes, rng: Rng) -> bytes:
    """A member damaged under honest hashes, another manifest, or any damage."""
    how = rng.random()
    if how < 0.2:
        return mutate.any_bytes(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        members = {name: archive.read(name) for name in archive.namelist() if name != "manifest.json"}
    facts = {name: found for name, found in manifest.items() if name != "members"}
    if how < 0.35:
        return _packed(members, mutate.value(manifest, rng))
    name = list(members)[int(rng.integers(len(members)))]
    members[name] = _MEMBER_MUTATORS[name.rpartition(".")[2]](members[name], rng)
    return _packed(members, facts)


def _read_archive(folder: Path) -> Read:
    from javisbench.publish.archive import unpack
    from javisbench.publish.verify import verify_folder

    def read(path: Path) -> object:
        with tempfile.TemporaryDirectory(dir=folder) as target:
            return list(map(str, verify_folder(Path(target), unpack(path, Path(target)))))

    return read


# Clips


def _clip_files(count: int) -> Callable[[Path], dict[str, bytes]]:
    def files(folder: Path) -> dict[str, bytes]:
        from tests.media.mutations import BASES, make

        step = max(1, len(BASES) // count)
        return {base.name: make(base, folder).read_bytes() for base in BASES[::step][:count]}

    return files


def _clip(data: bytes, rng: Rng) -> bytes:
    from tests.media.mutations import MUTATIONS

    name = "a.avi" if data[:4] == b"RIFF" else "a.mkv" if data[:4] == b"\x1aE\xdf\xa3" else "a.mp4"
    if rng.random() < 0.5:
        chosen = list(MUTATIONS.values())[int(rng.integers(len(MUTATIONS)))]
        try:
            return chosen(data, name, rng)
        except (IndexError, ValueError):
            pass
    return mutate.any_bytes(data, rng)


def _read_clip(folder: Path) -> Read:
    from javisbench.media import ClipReader, ClipSource, DecodeLimits

    reader = ClipReader(1, limits=DecodeLimits(memory_bytes=256 * MIB, deadline_s=20.0))

    def read(path: Path) -> object:
        ((_, found),) = reader.read([ClipSource("x", path)])
        if isinstance(found, Exception):
            raise found
        return found.frames.shape

    return read


def _sound_files(folder: Path) -> dict[str, bytes]:
    import soundfile

    samples = np.random.default_rng(0).normal(0, 0.1, (4000, 2))
    for name, kind in (("a.wav", "PCM_16"), ("f.wav", "FLOAT"), ("a.flac", "PCM_16"), ("a.ogg", "VORBIS")):
        soundfile.write(folder / name, samples, 16_000, subtype=kind)
    soundfile.write(folder / "a.mp3", samples, 16_000, format="MP3")
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".wav", ".flac", ".ogg", ".mp3")
    }


def _read_sound(folder: Path) -> Read:
    from javisbench.media import ClipReader, ClipSource, DecodeLimits
    from tests.media.mutations import BASES, make

    video = make(BASES[0], folder)
    reader = ClipReader(1, limits=DecodeLimits(memory_bytes=256 * MIB, deadline_s=20.0))

    def read(path: Path) -> object:
        ((_, found),) = reader.read([ClipSource("x", video, path)])
        if isinstance(found, Exception):
            raise found
        return found.frames.shape

    return read


_TABLES = ("scores.parquet", "samples.parquet", "details.parquet")
TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("suite csv", _suite_files, _read_suite, mutate.text),
        Target("suite jsonl", _jsonl_files, _read_suite, mutate.json_lines),
        Target("suite toml", _statement_files, _read_statement, mutate.text),
        Target("image", _image_files, _read_image, mutate.any_bytes, cost=2),
        Target("pairs csv", _pairs_files, _read_pairs, mutate.text),
        Target("votes elsewhere", _votes_elsewhere_files, _read_votes_elsewhere, mutate.text),
        Target("votes", _votes_files, _read_votes, mutate.json_lines),
        Target("votes key", _votes_key_files, _read_votes_key, mutate.json_text),
        Target("cascade toml", _cascade_files, _read_cascade, mutate.text),
        Target("recipe", _recipe_files, _read_recipe, mutate.json_text, cost=4),
        Target("model config toml", _config_files, _read_config, mutate.text),
        Target("summary", _run_file("summary.json"), _read_run, mutate.json_text, cost=4),
        Target("manifest", _run_file("run.json"), _read_run, mutate.json_text, cost=4),
        Target("failures", _run_file("failures.jsonl"), _read_run, mutate.json_lines, cost=4),
        Target("tables", _run_file(*_TABLES), _read_run, mutate.parquet, cost=8),
        Target("sidecar", _sidecar_files, _read_sidecar, mutate.json_text),
        Target("trial", _trial_files, _read_trial, mutate.json_text, cost=2),
        Target("reference json", _reference_json_files, _read_reference_json, mutate.json_text),
        Target("set features", _set_feature_files, _read_set_features, mutate.safetensors),
        Target("reference", _reference_files, _read_reference, mutate.safetensors),
        Target("feature shard", _shard_files, _read_shard, mutate.safetensors),
        Target("weights safetensors", _weights_files("safetensors"), _read_weights, mutate.safetensors, cost=2),
        Target("weights torch", _weights_files("zip"), _read_weights, mutate.stored_zip, cost=2),
        Target("weights pickle", _weights_files("old"), _read_weights, mutate.any_bytes, cost=2),
        Target("clip table", _clip_table_files, _read_clip_table, mutate.parquet, cost=2),
        Target("archive", _archive_files, _read_archive, _archive, memory_bytes=1024 * MIB, cost=10),
        Target("clip", _clip_files(14), _read_clip, _clip, patience_s=60.0, cost=20),
        Target("sound", _sound_files, _read_sound, mutate.any_bytes, patience_s=60.0, cost=20),
    )
}
