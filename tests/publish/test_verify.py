"""Submissions: what is packed verifies; whatever is tampered with is refused for the right reason."""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save

import javisbench
from javisbench.cli import run as cli
from javisbench.clip import ClipSpec
from javisbench.errors import RunError, SubmissionError
from javisbench.isolated.parquet import TableLimits
from javisbench.protocol import V1, V2
from javisbench.publish.archive import MEMBERS, pack, unpack
from javisbench.publish.sources import loaded_results, unpack_verified
from javisbench.publish.verify import verify_folder
from javisbench.results.set_features import RowBounds, read_set_features
from javisbench.results.table import board_table
from javisbench.suite import load_suite

N = 24
Members = dict[str, bytes]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of 24 tiny procedural clips, scored by av_align and health."""
    folder = tmp_path_factory.mktemp("submit")
    rows = [f"a ball bounces {i},{i % 5},{i % 3},{i % 5},{i % 3},{i % 3}" for i in range(N)]
    (folder / "tiny.csv").write_text("\n".join(["text,cat0_ind,cat1_ind,cat2_ind,cat3_ind,cat4_ind", *rows]) + "\n")
    suite = replace(load_suite(str(folder / "tiny.csv")), setting=ClipSpec(width=64, height=48, duration_s=1.0))
    javisbench.evaluate(
        "procedural", suite=suite, out=folder / "run", metrics=["av_align", "health_silence", "fvd"], workers=1
    )
    return folder / "run"


@pytest.fixture(scope="module")
def archive(run: Path) -> Path:
    return pack(run, run.parent / "good.zip")


def members(archive: Path) -> Members:
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


def rewrite(archive: Path, target: Path, content: Members, *, honest_hashes: bool = True) -> Path:
    """An archive of `content`; with honest hashes, the manifest is made to agree with the tampered members."""
    manifest = json.loads(content["manifest.json"])
    if honest_hashes:
        manifest["members"] = {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in content.items()
            if name != "manifest.json"
        }
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("manifest.json", json.dumps(manifest))
        for name, data in content.items():
            if name != "manifest.json":
                file.writestr(name, data)
    return target


def table(data: bytes) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(data))


def parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def findings(archive: Path, tmp_path: Path) -> set[str]:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    try:
        return {finding.kind for finding in verify_folder(folder, unpack(archive, folder)) if finding.refuses}
    except SubmissionError as error:
        return {error.kind}


def test_what_is_packed_holds(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert findings(archive, tmp_path) == set()
    assert cli(["submit", "verify", str(archive)]) == 0
    assert "holds what it claims" in capsys.readouterr().out
    folder = unpack_verified(archive, tmp_path)
    assert (folder / "summary.json").exists()
    packed = members(archive)
    assert {"scores.parquet", "samples.parquet", "clips.json"} <= packed.keys()
    hashes = json.loads(packed["clips.json"])
    assert len(hashes) == 2 * N


def test_the_manifest_fits_its_schema(archive: Path) -> None:
    schema = Path(javisbench.__file__).parent / "data_cards/schemas/submission.schema.json"
    jsonschema.validate(json.loads(members(archive)["manifest.json"]), json.loads(schema.read_text()))


def test_what_older_versions_recorded_holds_and_older_revisions_are_labelled(archive: Path, tmp_path: Path) -> None:
    later = ("revision", "frame_times")
    for name, protocol, label in (("v1", V1, "javisbench-v1"), ("v2", V2, "javisbench-v2 (revision 1)")):
        settings = {key: value for key, value in protocol.settings().items() if key not in later}
        content = members(archive)
        edit_summary(lambda s, p=protocol, old=settings: s["run"].update(protocol=p.name, protocol_settings=old))(
            content
        )
        edit_manifest(protocol=protocol.name)(content)
        old = rewrite(archive, tmp_path / f"{name}.zip", content)
        with loaded_results([old]) as (result,):
            assert result.protocol_label == label
        (tmp_path / name).mkdir()
        found = verify_folder(tmp_path / name, unpack(old, tmp_path / name))
        assert [finding.refuses for finding in found if finding.kind == "revision"] == [False] * (name == "v2")
    content = members(archive)
    edit_summary(lambda s: s["run"]["protocol_settings"].update(revision=3))(content)
    assert findings(rewrite(archive, tmp_path / "future.zip", content), tmp_path) == {"protocol"}


def edit_scores(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Members], None]:
    def apply(content: Members) -> None:
        content["scores.parquet"] = parquet(change(table(content["scores.parquet"])))

    return apply


def edit_samples(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Members], None]:
    def apply(content: Members) -> None:
        content["samples.parquet"] = parquet(change(table(content["samples.parquet"])))

    return apply


def edit_summary(change: Callable[[dict[str, Any]], None]) -> Callable[[Members], None]:
    def apply(content: Members) -> None:
        summary = json.loads(content["summary.json"])
        change(summary)
        content["summary.json"] = json.dumps(summary).encode()

    return apply


def edit_manifest(**changes: Any) -> Callable[[Members], None]:
    def apply(content: Members) -> None:
        content["manifest.json"] = json.dumps({**json.loads(content["manifest.json"]), **changes}).encode()

    return apply


def overall(summary: dict[str, Any]) -> dict[str, Any]:
    cell: dict[str, Any] = summary["metrics"]["av_align"]["overall"]
    return cell


def set_in(cell: Callable[[dict[str, Any]], dict[str, Any]], **values: Any) -> Callable[[Members], None]:
    return edit_summary(lambda summary: cell(summary).update(values))


def edit_details(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Members], None]:
    def apply(content: Members) -> None:
        content["details.parquet"] = parquet(change(table(content["details.parquet"])))

    return apply


def rewritten(content: Members, pattern: bytes, text: bytes) -> None:
    content["summary.json"], found = re.subn(pattern, text, content["summary.json"])
    assert found


def failure(**changes: Any) -> dict[str, Any]:
    known = {
        "sample_id": "sample_0003",
        "repeat": 0,
        "stage": "metric",
        "metric": None,
        "kind": "bad",
        "message": "Bad.",
    }
    return {**known, **changes}


def features(
    *,
    metrics: list[str],
    dtype: str = "float32",
    width: int = 4,
    fill: float | None = None,
    prefix: str = "sample",
    rows: int = N,
    rows_a_clip: int | None = None,
    extra: dict[str, np.ndarray] | None = None,
) -> bytes:
    """A set_features.safetensors of random numbers."""
    rng = np.random.default_rng(0)
    shape = (rows, width) if rows_a_clip is None else (rows, rows_a_clip, width)
    sides = [rng.normal(size=shape) if fill is None else np.full(shape, fill) for _ in range(2)]
    facts = {"metrics": metrics, "sample_ids": [f"{prefix}_{i:04d}" for i in range(rows)]}
    arrays = {f"i3d/{name}": side.astype(dtype) for name, side in zip(("fake", "real"), sides, strict=True)}
    named = json.dumps({"schema": 1, "encoders": {"i3d": facts}})
    return save(arrays | (extra or {}), {"javisbench_set_features": named})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"rows": N + 1}, rf"at most {N} samples"),
        ({"width": 5000}, "4,096 values a row"),
        ({"rows_a_clip": 300}, "256 rows of each"),
        ({"dtype": "int64"}, "holds I64"),
        ({"extra": {"more/fake": np.zeros(4, np.float32)}}, "other arrays than it names"),
    ],
    ids=["samples", "width", "rows", "type", "unnamed"],
)
def test_features_are_refused_by_their_shapes_before_they_are_read(
    tmp_path: Path, changes: dict[str, Any], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set_features.safetensors").write_bytes(features(metrics=["fvd"], **changes))
    monkeypatch.setattr("javisbench.results.set_features.SetRows", None)  # of what was read
    with pytest.raises(RunError, match=match):
        read_set_features(tmp_path, RowBounds(N, 4096, 256))


def test_features_of_a_size_that_cannot_be_are_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "set_features.safetensors"
    path.write_bytes(features(metrics=["fvd"], width=64))
    with pytest.raises(RunError, match="and 1 samples have 8,072 at most"):
        read_set_features(tmp_path, RowBounds(1, 4, 1, features=1, header_bytes=8000))
    with path.open("r+b") as file:
        file.write((2**40).to_bytes(8, "little"))
    with pytest.raises(RunError, match="its header has 1,099,511,627,776 bytes"):
        read_set_features(tmp_path, RowBounds(N, 4096, 256))


def with_features(**changes: Any) -> Callable[[Members], None]:
    def apply(content: Members) -> None:
        content["set_features.safetensors"] = features(metrics=["fvd"], **changes)
        edit_summary(lambda s: s["metrics"].update(fvd=s["metrics"]["av_align"]))(content)

    return apply


TAMPERED: dict[str, tuple[Callable[[Members], None], str]] = {
    "a raised score": (edit_scores(lambda f: f.assign(av_align=f.av_align + 0.1)), "aggregate"),
    "one raised score": (edit_scores(lambda f: f.assign(av_align=f.av_align.where(f.index != 3, 0.9))), "aggregate"),
    "a raised mean": (set_in(overall, value=0.9), "aggregate"),
    "a narrowed interval": (set_in(overall, ci_low=0.0, ci_high=0.0), "aggregate"),
    "a larger n": (set_in(overall, n=N + 1), "aggregate"),
    "a raised category": (
        set_in(lambda s: s["metrics"]["av_align"]["event_scenario"]["urban_scenario"], value=0.9),
        "aggregate",
    ),
    "a hidden status": (set_in(overall, status="failed"), "aggregate"),
    "a removed category": (
        edit_summary(lambda s: s["metrics"]["av_align"]["event_scenario"].pop("urban_scenario")),
        "slices",
    ),
    "dropped rows": (edit_scores(lambda f: f.iloc[:-2]), "rows"),
    "dropped rows and samples": (
        lambda c: (edit_scores(lambda f: f.iloc[:-2])(c), edit_samples(lambda f: f.iloc[:-2])(c), None)[-1],
        "rows",
    ),
    "a doubled row": (edit_scores(lambda f: pd.concat([f.iloc[:-1], f.iloc[:1]])), "rows"),
    "an emptied score": (edit_scores(lambda f: f.assign(av_align=f.av_align.where(f.index != 3))), "aggregate"),
    "an infinite score": (edit_scores(lambda f: f.assign(av_align=f.av_align.where(f.index != 3, np.inf))), "values"),
    "scores as text": (edit_scores(lambda f: f.assign(av_align="0.9")), "types"),
    "a hidden metric": (edit_summary(lambda s: s["metrics"].pop("health_silence")), "scores"),
    "an invented metric": (
        edit_summary(lambda s: s["metrics"].update(javis_score=s["metrics"]["av_align"])),
        "scores",
    ),
    "an invented set metric": (
        edit_summary(lambda s: s["metrics"].update(fvd=s["metrics"]["av_align"])),
        "set_features",
    ),
    "another prompt": (edit_samples(lambda f: f.assign(text=["easy", *f.text[1:]])), "suite"),
    "another category": (
        edit_samples(lambda f: f.assign(categories=[["event_scenario/urban_scenario"], *f.categories[1:]])),
        "suite",
    ),
    "another suite": (
        lambda c: (edit_summary(lambda s: s["run"].update(suite="demo"))(c), edit_manifest(suite="demo")(c), None)[-1],
        "suite",
    ),
    "a swapped protocol": (
        lambda c: (
            edit_summary(lambda s: s["run"].update(protocol="javisbench-v2"))(c),
            edit_manifest(protocol="javisbench-v2")(c),
            None,
        )[-1],
        "protocol",
    ),
    "an unknown protocol": (
        lambda c: (
            edit_summary(lambda s: s["run"].update(protocol="my-protocol"))(c),
            edit_manifest(protocol="my-protocol")(c),
            None,
        )[-1],
        "protocol",
    ),
    "a derived protocol": (
        edit_summary(lambda s: s["run"].update(protocol="javisbench-v1+top_k=0.5")),
        "derived_protocol",
    ),
    "other weights": (
        edit_summary(lambda s: s["run"].update(protocol="javisbench-v1+weights=1a2b3c4d")),
        "derived_protocol",
    ),
    "stand-in weights": (edit_summary(lambda s: s["run"].update(stand_in=True)), "stand_in"),
    "another name in the manifest": (edit_manifest(model="a better model"), "manifest"),
    "another schema": (edit_manifest(schema=99), "schema"),
    "fewer prompts than there are": (edit_summary(lambda s: s["run"].update(prompts=N - 1)), "rows"),
    "a smaller suite": (edit_summary(lambda s: s["run"].update(suite_total=3)), "rows"),
    "a seed that is none": (edit_summary(lambda s: s["run"].update(seed="lucky")), "facts"),
    "encoders that are none": (edit_summary(lambda s: s["run"].update(encoders=["onsets"])), "facts"),
    "stand-in weights under another flag": (
        edit_summary(lambda s: s["run"]["encoders"].update(imagebind={"variant": "tiny", "weights_sha256": "0" * 64})),
        "stand_in",
    ),
    "a network without weights": (
        edit_summary(lambda s: s["run"]["encoders"].update(imagebind={"variant": "huge", "weights_sha256": None})),
        "weights",
    ),
    "other weights under the protocol's own name": (
        edit_summary(lambda s: s["run"]["encoders"].update(imagebind={"variant": "huge", "weights_sha256": "0" * 64})),
        "weights",
    ),
    "a protocol that looks alike": (
        lambda c: (
            edit_summary(lambda s: s["run"].update(protocol="javisbench-v1\u200b"))(c),
            edit_manifest(protocol="javisbench-v1\u200b")(c),
            None,
        )[-1],
        "protocol",
    ),
    "a metric that nobody knows": (
        edit_summary(lambda s: s["metrics"].update(super_score=s["metrics"]["av_align"])),
        "metric",
    ),
    "scores of a metric that nobody knows": (edit_scores(lambda f: f.assign(super_score=1.0)), "metric"),
    "scores in single precision": (edit_scores(lambda f: f.assign(av_align=f.av_align.astype("float32"))), "types"),
    "scores as objects": (edit_scores(lambda f: f.assign(av_align=[{"a": 1}] * N)), "run"),
    "categories as numbers": (edit_samples(lambda f: f.assign(categories=1)), "run"),
    "no categories": (edit_samples(lambda f: f.assign(categories=[None] * N)), "run"),
    "a doubled place in the suite": (edit_samples(lambda f: f.assign(index=0)), "rows"),
    "a negative repeat": (edit_scores(lambda f: f.assign(repeat=-1)), "rows"),
    "an emptied score with another metric's failure": (
        lambda c: (
            edit_scores(lambda f: f.assign(av_align=f.av_align.where(f.index != 3)))(c),
            edit_summary(lambda s: s["failures"].append(failure(metric="health_silence")))(c),
            None,
        )[-1],
        "failures",
    ),
    "a failure of nobody": (edit_summary(lambda s: s["failures"].append(failure(sample_id="sample_9999"))), "failures"),
    "a name twice in the summary": (
        lambda c: c.update({"summary.json": c["summary.json"].replace(b'"run"', b'"run": {}, "run"', 1)}),
        "run",
    ),
    "a number beyond all bounds": (
        lambda c: rewritten(c, rb'"samples": \d+', b'"samples": ' + b"9" * 5000),
        "run",
    ),
    "infinity in disguise": (
        lambda c: rewritten(c, rb'"seed": \d+', b'"seed": 1e999'),
        "run",
    ),
    "details that are no table": (lambda c: c.update({"details.parquet": b"PAR1"}), "run"),
    "details of other types": (edit_details(lambda f: f.assign(repeat="first")), "run"),
    "details of nobody": (edit_details(lambda f: f.assign(sample_id="sample_9999")), "details"),
    "details of another metric": (edit_details(lambda f: f.assign(metric="javis_score")), "details"),
    "hashes that are none": (lambda c: c.update({"clips.json": b'{"<script>": "x"}'}), "clips"),
    "hashes in a list": (lambda c: c.update({"clips.json": b"[1]"}), "clips"),
    "features of no metric": (
        lambda c: c.update({"set_features.safetensors": features(metrics=["zz"])}),
        "set_features",
    ),
    "features as whole numbers": (with_features(dtype="int64"), "set_features"),
    "features of great width": (with_features(width=5000), "set_features"),
    "features that are no numbers": (with_features(fill=np.nan), "set_features"),
    "features with rows of more samples": (with_features(rows=N + 1), "set_features"),
    "features that nobody named": (with_features(extra={"more/fake": np.zeros(2**16, np.float32)}), "set_features"),
    "features with many rows a clip": (with_features(rows_a_clip=300), "set_features"),
    "features of strangers": (with_features(prefix="stranger"), "set_features"),
    "a distance that the features do not have": (with_features(), "aggregate"),
    "a schema that is true": (edit_manifest(schema=True), "schema"),
    "no summary": (lambda c: c.pop("summary.json") and None, "members"),
    "a summary that is no JSON": (lambda c: c.update({"summary.json": b"{"}), "run"),
    "NaN in the summary": (lambda c: c.update({"summary.json": c["summary.json"].replace(b"0.0", b"NaN", 1)}), "any"),
    "scores that are no table": (lambda c: c.update({"scores.parquet": b"PAR1"}), "run"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampered_archives_are_refused(archive: Path, tmp_path: Path, name: str) -> None:
    change, kind = TAMPERED[name]
    content = members(archive)
    change(content)
    found = findings(rewrite(archive, tmp_path / "bad.zip", content), tmp_path)
    assert found
    assert kind == "any" or kind in found, found
    with pytest.raises(SubmissionError):
        unpack_verified(tmp_path / "bad.zip", tmp_path)


def test_a_wrong_hash_is_refused(archive: Path, tmp_path: Path) -> None:
    content = members(archive)
    content["clips.json"] = b"{}"
    bad = rewrite(archive, tmp_path / "bad.zip", content, honest_hashes=False)
    assert findings(bad, tmp_path) == {"wrong_hash"}


def raw(target: Path, archive: Path, add: Callable[[zipfile.ZipFile], None]) -> Path:
    with zipfile.ZipFile(target, "w") as file:
        for name, data in members(archive).items():
            file.writestr(name, data)
        add(file)
    return target


def link(file: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("details.parquet")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    file.writestr(info, "/etc/passwd")


@pytest.mark.parametrize(
    ("add", "kind"),
    [
        (lambda file: file.writestr("../../evil.py", "x"), "path"),
        (lambda file: file.writestr("/etc/cron.d/evil", "x"), "path"),
        (lambda file: file.writestr("a\\b", "x"), "path"),
        (lambda file: file.writestr("evil.py", "x"), "members"),
        (lambda file: file.writestr("summary.json", "{}"), "members"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_foreign_members_are_refused_and_nothing_is_written(
    archive: Path, tmp_path: Path, add: Callable[[zipfile.ZipFile], None], kind: str
) -> None:
    bad = raw(tmp_path / "bad.zip", archive, add)
    assert findings(bad, tmp_path) == {kind}
    assert not list((tmp_path / "unpacked").iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "SUMMARY.JSON", "summary.json ", "summary.json/", "summary\u200b.json", "summary.json\x00.py", "./summary.json",
        "C:\\evil.py", "C:evil.py", "//host/share", "x/../summary.json", "con", ".", "protocols/v2/summary.json",
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_look_alike_are_refused(archive: Path, tmp_path: Path, name: str) -> None:
    bad = raw(tmp_path / "bad.zip", archive, lambda file: file.writestr(name, "{}"))
    assert findings(bad, tmp_path) in ({"path"}, {"members"}, {"archive"})
    assert not list((tmp_path / "unpacked").iterdir())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"[]", "manifest"),
        (b'{"schema": 1, "schema": 1, "members": {}}', "manifest"),
        (b'{"schema": 1, "members": {"summary.json": {"bytes": 1e999, "sha256": ""}}}', "manifest"),
        (b'{"schema": 1, "members": {"summary.json": {"bytes": 1.5, "sha256": ""}}}', "manifest"),
        (b'{"schema": 1, "members": {"summary.json": {"bytes": NaN, "sha256": ""}}}', "manifest"),
        (b'{"schema": 1, "members": []}', "manifest"),
        (b"[" * 100_000, "manifest"),
        (b'{"schema": 2, "members": {}}', "schema"),
        (b'{"schema": 1, "members": {}}', "members"),
    ],
)
def test_manifests_are_read_strictly(archive: Path, tmp_path: Path, text: bytes, kind: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        for name, data in members(archive).items():
            file.writestr(name, text if name == "manifest.json" else data)
    assert findings(tmp_path / "bad.zip", tmp_path) == {kind}


def dictionary_bomb() -> bytes:
    """A kilobyte of file, a terabyte of prompts."""
    rows = 1_000_000
    prompt = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * 1_000_000]))
    ids = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["sample_0000"]))
    empty = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([""]))
    lists = pa.ListArray.from_arrays(pa.array(np.zeros(rows + 1, np.int32)), pa.array([], pa.string()))
    columns = {
        "sample_id": ids, "index": pa.array(np.zeros(rows, np.int64)), "text": prompt, "audio_text": empty,
        "video_text": empty, "categories": lists,
    }  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, store_schema=False)
    return buffer.getvalue()


def test_a_small_table_of_endless_text_is_refused_before_it_fills_the_memory(archive: Path, tmp_path: Path) -> None:
    content = members(archive)
    content["samples.parquet"] = dictionary_bomb()
    assert len(content["samples.parquet"]) < 2**20
    bad = rewrite(archive, tmp_path / "bad.zip", content)
    with pytest.raises(SubmissionError, match="bytes in one cell"):
        unpack_verified(bad, tmp_path)


def test_a_table_of_endless_rows_is_refused(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("javisbench.results.parquet.LIMITS", TableLimits(rows=N - 1))
    with pytest.raises(SubmissionError, match="at most 23 are read"):
        unpack_verified(archive, tmp_path)


def test_a_run_over_a_part_of_a_suite_is_not_ranked_with_runs_over_all(
    run: Path, archive: Path, tmp_path: Path
) -> None:
    # The suite's hash cannot be checked without all of its prompts, so nobody may get out of the check by this claim.
    content = members(archive)
    edit_summary(lambda s: s["run"].update(model="part", suite_total=N + 1))(content)
    edit_manifest(model="part")(content)
    part = rewrite(archive, tmp_path / "part.zip", content)
    with loaded_results([run, part]) as results:
        table = board_table(results)
    assert [len(group.rows) for group in table.groups] == [1, 1]
    assert "24 samples (24 of 25 prompts)" in table.groups[0].title + table.groups[1].title


def test_findings_keep_to_their_line(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = members(archive)
    edit_scores(lambda f: f.assign(**{"x\n::set-env name=PATH::\x1b[2J": 1.0}))(content)
    bad = rewrite(archive, tmp_path / "bad.zip", content)
    assert cli(["submit", "verify", str(bad)]) == 2
    out = capsys.readouterr().out
    assert "\x1b" not in out and all(line.startswith("refused: [") for line in out.splitlines())


def test_copied_or_missing_clips_are_noted(archive: Path, tmp_path: Path) -> None:
    content = members(archive)
    hashes = json.loads(content["clips.json"])
    for change, words in (({}, "0 clips for 24"), (dict.fromkeys(hashes, "0" * 64), "copies of others")):
        content["clips.json"] = json.dumps(change).encode()
        folder = tmp_path / words.split()[0]
        folder.mkdir()
        found = verify_folder(folder, unpack(rewrite(archive, tmp_path / "odd.zip", content), folder))
        assert [f.refuses for f in found if words in f.message] == [False]


def test_a_submission_cannot_take_another_model_s_page(archive: Path, tmp_path: Path, run: Path) -> None:
    content = members(archive)
    rename = {"model": "Procedural!", "slug": "procedural"}
    edit_summary(lambda s: s["run"].update(rename))(content)
    edit_manifest(model="Procedural!")(content)
    other = rewrite(archive, tmp_path / "other.zip", content)
    assert cli(["leaderboard", "build", str(run), str(other), "--out", str(tmp_path / "site"), "--quiet"]) == 0
    pages = sorted((tmp_path / "site/models").iterdir())
    titles = [page.read_text(encoding="utf-8").split("<h1>")[1].split("</h1>")[0] for page in pages]
    # The address that both would have leads to both.
    assert sorted(titles) == ["Models of a like name", "Procedural!", "procedural"]
    board = (tmp_path / "site/index.html").read_text(encoding="utf-8")
    own = [page for page, title in zip(pages, titles, strict=True) if title != "Models of a like name"]
    assert all(f'href="models/{page.name}"' in board for page in own)


def test_links_are_refused(archive: Path, tmp_path: Path) -> None:
    content = {name: data for name, data in members(archive).items() if name != "details.parquet"}
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        for name, data in content.items():
            file.writestr(name, data)
        link(file)
    assert findings(tmp_path / "bad.zip", tmp_path) == {"link"}


def test_an_oversized_member_is_refused_before_it_is_unpacked(archive: Path, tmp_path: Path) -> None:
    content = members(archive)
    content["summary.json"] = b" " * (MEMBERS["summary.json"][1] + 1)
    bad = rewrite(archive, tmp_path / "bad.zip", content)
    assert bad.stat().st_size < 10 * 2**20
    assert findings(bad, tmp_path) == {"oversized"}


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 torn"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.zip").write_bytes(content)
    assert findings(tmp_path / "bad.zip", tmp_path) == {"archive"}
    assert cli(["submit", "verify", str(tmp_path / "bad.zip")]) == 2


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_compression_is_refused(archive: Path, tmp_path: Path, method: int) -> None:
    damaged = tmp_path / "damaged.zip"
    with zipfile.ZipFile(damaged, "w", method) as file:
        for name, content in sorted(members(archive).items()):
            file.writestr(name, content)
        manifest = file.getinfo("manifest.json")
    content = bytearray(damaged.read_bytes())
    start = manifest.header_offset + 30 + len(manifest.filename)
    for place in range(start, start + 40):
        content[place] ^= 0xFF
    damaged.write_bytes(content)
    with pytest.raises(SubmissionError) as refused:
        unpack(damaged, tmp_path)
    assert refused.value.kind == "archive"


def test_a_script_in_a_prompt_stays_text(tmp_path: Path) -> None:
    prompt = "<script>alert(1)</script> a bell rings"
    (tmp_path / "s.csv").write_text("text\n" + f'"{prompt}"\n' * 3)
    suite = replace(load_suite(str(tmp_path / "s.csv")), setting=ClipSpec(width=64, height=48, duration_s=1.0))
    javisbench.evaluate("procedural", suite=suite, out=tmp_path / "run", metrics=["av_align"], workers=1)
    good = pack(tmp_path / "run", tmp_path / "good.zip")
    assert cli(["leaderboard", "build", str(good), "--out", str(tmp_path / "site"), "--quiet"]) == 0
    for page in (tmp_path / "site").rglob("*.html"):
        assert "<script>alert" not in page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("cheap_set_metrics")
def test_set_metrics_are_recomputed_from_the_features(tmp_path: Path, run: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    for clip in (run / "clips").glob("*.mp4"):
        (real / clip.name).symlink_to(clip)
    scored = javisbench.score(
        run / "clips", suite=str(run.parent / "tiny.csv"), out=tmp_path / "run", metrics=["fvd"], workers=1,
        reference=str(real),
    )  # fmt: skip
    assert scored.summary["metrics"]["fvd"]["overall"]["n"] == N
    good = pack(tmp_path / "run", tmp_path / "good.zip")
    assert findings(good, tmp_path) == set()
    content = members(good)
    edit_summary(lambda s: s["metrics"]["fvd"]["overall"].update(value=5.0))(content)
    (tmp_path / "unpacked").rename(tmp_path / "first")
    assert findings(rewrite(good, tmp_path / "bad.zip", content), tmp_path) == {"aggregate"}


def test_stand_ins_and_derived_protocols_are_not_packed(run: Path, tmp_path: Path) -> None:
    suite = replace(load_suite(str(run.parent / "tiny.csv")), setting=ClipSpec(width=64, height=48, duration_s=1.0))
    javisbench.score(
        run / "clips", suite=suite, out=tmp_path / "run", metrics=["av_align"], workers=1,
        protocol="javisbench-v1+matching=one_to_one",
    )  # fmt: skip
    with pytest.raises(SubmissionError, match="derived protocol"):
        pack(tmp_path / "run", tmp_path / "a.zip")
    assert cli(["submit", "pack", str(tmp_path / "run"), "--out", str(tmp_path / "a.zip")]) == 2
