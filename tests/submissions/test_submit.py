"""Submissions: what is packed verifies; whatever is tampered with is refused for the right reason."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import javisbench
from javisbench.cli import run as cli
from javisbench.clip import ClipSpec
from javisbench.errors import SubmissionError
from javisbench.leaderboard.submit import MEMBERS, pack, unpack, unpack_verified
from javisbench.leaderboard.verify import verify_folder
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
    "stand-in weights": (edit_summary(lambda s: s["run"].update(stand_in=True)), "stand_in"),
    "another name in the manifest": (edit_manifest(model="a better model"), "manifest"),
    "another schema": (edit_manifest(schema=99), "schema"),
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
