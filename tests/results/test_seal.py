"""What a killed job or a bad disk leaves of a result is told from a whole one by whoever reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.durable import write_json
from javisbench.errors import RunError
from javisbench.results.run_folder import load_result, load_results
from javisbench.results.seal import GENERATION, SEAL, check_manifest, sealed_manifest, sealed_summary
from javisbench.text import json_text


@pytest.fixture
def sealed(write_run: Callable[..., Path]) -> Path:
    """A run as a scoring job leaves it."""
    return seal(write_run(n=4))


def seal(run: Path) -> Path:
    document = sealed_summary(json.loads((run / "summary.json").read_text()), run)
    write_json(run / "summary.json", document)
    generations = {document["run"]["protocol"]: document[GENERATION]}
    write_json(run / "run.json", sealed_manifest({"schema": 1, "scoring": {"generations": generations}}))
    return run


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_sealed_run_is_read_as_any_other(sealed: Path) -> None:
    assert load_result(sealed).model == "Alpha"
    assert len(load_results(sealed)) == 1


def test_equal_results_have_equal_generations(write_run: Callable[..., Path]) -> None:
    one, same, other = (
        json.loads((seal(write_run(n=4, seed=seed, folder=name)) / "summary.json").read_text())
        for seed, name in ((1, "one"), (1, "same"), (2, "other"))
    )
    assert one == same
    assert one[GENERATION] != other[GENERATION]


@pytest.mark.parametrize(
    ("damage", "kind", "name"),
    [
        (lambda run: change(run / "summary.json", '"value": 0.', '"value": 1.'), "damaged", "summary.json"),
        (lambda run: change(run / "run.json", '"schema": 1', '"schema": 0'), "damaged", "run.json"),
        (lambda run: flip(run / "scores.parquet"), "mixed", "scores.parquet"),
        (lambda run: flip(run / "details.parquet"), "mixed", "details.parquet"),
        (lambda run: (run / "scores.parquet").unlink(), "mixed", "scores.parquet"),
        (lambda run: (run / "set_features.safetensors").write_bytes(b"of another"), "mixed", "set_features"),
    ],
)
def test_damage_is_named(sealed: Path, damage: Callable[[Path], Any], kind: str, name: str) -> None:
    damage(sealed)
    for read in (load_result, load_results):
        with pytest.raises(RunError, match=name) as caught:
            read(sealed)
        assert caught.value.kind == kind
        assert "again" in caught.value.message


def test_scores_of_a_killed_rescoring_do_not_pass_for_those_of_the_summary(
    sealed: Path, write_run: Callable[..., Path]
) -> None:
    other = write_run(n=4, seed=5)
    (sealed / "scores.parquet").write_bytes((other / "scores.parquet").read_bytes())
    with pytest.raises(RunError, match=r"scores\.parquet .*not of one scoring"):
        load_result(sealed)


def test_a_summary_that_the_manifest_does_not_know_is_of_a_job_that_did_not_end(
    sealed: Path, write_run: Callable[..., Path]
) -> None:
    other = seal(write_run(n=4, seed=5))
    for name in ("scores.parquet", "details.parquet", "summary.json"):
        (sealed / name).write_bytes((other / name).read_bytes())
    with pytest.raises(RunError, match=r"summary\.json .*not of one scoring"):
        load_result(sealed)
    # By itself it is whole.
    assert load_result(sealed / "summary.json").model == "Alpha"


def test_results_of_earlier_versions_have_no_seal_and_are_read(write_run: Callable[..., Path]) -> None:
    run = write_run(n=4)
    write_json(run / "run.json", {"schema": 1, "scoring": {"requests": {}}})
    flip(run / "details.parquet")
    assert load_result(run).model == "Alpha"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=25)
@given(st.dictionaries(st.text(), VALUES))
def test_a_seal_survives_writing_and_reading(manifest: dict[str, Any]) -> None:
    check_manifest(json.loads(json_text(sealed_manifest(manifest), indent=1)), Path("run.json"))


@settings(max_examples=25)
@given(st.dictionaries(st.text(), VALUES), st.text(), VALUES)
def test_any_other_member_breaks_a_seal(manifest: dict[str, Any], name: str, value: Any) -> None:
    sealed = sealed_manifest(manifest)
    changed = {**sealed, name: value}
    if json_text(changed) != json_text(sealed) and name != SEAL:
        with pytest.raises(RunError, match="not as it was written"):
            check_manifest(changed, Path("run.json"))
