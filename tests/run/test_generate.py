"""Generating: seeds, batches, retries, limits, what is kept and what is made again."""

from __future__ import annotations

import importlib.metadata
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import javisbench
from javisbench.baselines.base import Failed, Generated, Generator, Plan, Request
from javisbench.clip import Clip, ClipSpec
from javisbench.durable import read_json, read_jsonl
from javisbench.errors import RunError
from javisbench.matching import match_generated
from javisbench.run.generate import GenerateOutcome, GenerateSettings, generate_clips, sample_seed
from javisbench.run.progress import Silent
from javisbench.suite import Suite
from javisbench.weights import WeightStore

Answer = Callable[[Sequence[Request]], Iterator[Any]]


def clip_of(request: Request) -> Clip:
    frames = np.random.default_rng(request.seed).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    return Clip(frames, Fraction(8), np.zeros((1, 800), np.float32), 8000)


class Told(Generator):
    """Answers as the test says."""

    card_id = "told"
    max_batch = 4

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer
        self.batches: list[list[str]] = []

    def plan(self, spec: ClipSpec) -> Plan:
        return Plan(16, 16, 2, Fraction(8), 800, 8000)

    def generate(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        self.batches.append([request.sample.id[-1] for request in batch])
        yield from self.answer(batch)


def well(batch: Sequence[Request]) -> Iterator[Generated]:
    yield from (Generated(request, clip_of(request)) for request in batch)


@pytest.fixture
def suite(tiny_suite: Callable[..., Suite]) -> Suite:
    return tiny_suite(*"abcdefg")


@pytest.fixture
def run(tmp_path: Path, suite: Suite) -> Callable[..., tuple[GenerateOutcome, list[dict[str, Any]]]]:
    """Generate with a `Told`; returns the outcome and the failures."""

    def go(generator: Generator, **settings: Any) -> tuple[GenerateOutcome, list[dict[str, Any]]]:
        outcome = generate_clips(
            tmp_path / "run", suite, generator, WeightStore(), GenerateSettings(**settings), {"model": "told"}, Silent()
        )
        return outcome, read_jsonl(tmp_path / "run/failures.jsonl")

    return go


Run = Callable[..., tuple[GenerateOutcome, list[dict[str, Any]]]]


def clips(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.mp4")}


def test_seeds_name_a_clip_and_nothing_else() -> None:
    seeds = {sample_seed(base, suite, name, k) for base in (0, 1) for suite in "ab" for name in "xy" for k in (0, 1)}
    assert len(seeds) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)
    # Stored runs depend on it: never to be changed.
    assert sample_seed(0, "demo", "sample_0000", 0) == SEED_OF_DEMO_0


SEED_OF_DEMO_0 = 5425341200286573387


def test_clips_do_not_depend_on_batches_and_shards(suite: Suite, noise: str, tmp_path: Path) -> None:
    whole = javisbench.generate(noise, suite=suite, settings=GenerateSettings(repeats=2), out=tmp_path / "whole")
    single = javisbench.generate(
        noise, suite=suite, settings=GenerateSettings(repeats=2, batch=1), out=tmp_path / "one"
    )
    assert len(clips(whole / "clips")) == 14
    assert clips(single / "clips") == clips(whole / "clips")
    parts: dict[str, bytes] = {}
    for index in range(3):
        settings = GenerateSettings(repeats=2, shard=(index, 3))
        parts |= clips(javisbench.generate(noise, suite=suite, settings=settings, out=tmp_path / f"{index}") / "clips")
    assert parts == clips(whole / "clips")


def test_out_of_memory_halves_the_batch(run: Run) -> None:
    def answer(batch: Sequence[Request]) -> Iterator[Generated]:
        if len(batch) > 1:
            raise MemoryError
        yield from well(batch)

    generator = Told(answer)
    outcome, failures = run(generator)
    assert (outcome.made, failures) == (7, [])
    assert generator.batches[:4] == [["0", "1", "2", "3"], ["0", "1"], ["0"], ["1"]]


def test_what_ran_out_of_memory_holds_nothing_while_less_is_tried(run: Run) -> None:
    """Names of the failed call would keep its arrays as long as the error is known."""
    held: list[weakref.ref[np.ndarray]] = []

    def answer(batch: Sequence[Request]) -> Iterator[Generated]:
        assert all(array() is None for array in held)
        activations = np.zeros(1000)
        held.append(weakref.ref(activations))
        if len(batch) > 1:
            raise MemoryError
        yield from well(batch)
        del activations

    outcome, failures = run(Told(answer))
    assert (outcome.made, failures, len(held) > 7) == (7, [], True)


def test_an_exception_costs_one_more_attempt_and_then_its_clip(run: Run) -> None:
    def answer(batch: Sequence[Request]) -> Iterator[Generated]:
        for request in batch:
            if request.sample.id.endswith("1"):
                raise RuntimeError("a defect")
            yield from well([request])

    generator = Told(answer)
    outcome, failures = run(generator)
    assert [(row["sample_id"], row["kind"], row["message"]) for row in failures] == [
        ("sample_0001", "exception", "RuntimeError: a defect")
    ]
    assert outcome.made == 6
    assert sum("1" in batch for batch in generator.batches) == 2


def _without_frames(request: Request) -> Any:
    return Generated(request, replace(clip_of(request), frames=[[1]], frame_times_s=None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (lambda r: Generated(r, replace(clip_of(r), frames=np.zeros((2, 16, 16), np.uint8))), "shape"),
        (lambda r: Generated(r, replace(clip_of(r), frames=np.zeros((2, 16, 16, 3)))), "shape"),
        (lambda r: Generated(r, replace(clip_of(r), audio=np.full((1, 9), np.nan, np.float32))), "non_finite"),
        (lambda r: Generated(r, replace(clip_of(r), audio=np.zeros(9, np.float32))), "shape"),
        (lambda r: Generated(r, replace(clip_of(r), sample_rate=None)), "shape"),
        (lambda r: Generated(r, replace(clip_of(r), fps=Fraction(0))), "shape"),
        (lambda r: Generated(r, clip_of(r), {"loss": float("nan")}), "info"),
        (lambda r: Generated(r, clip_of(r), {"model": object()}), "info"),
        (_without_frames, "exception"),
        (lambda r: None, "exception"),
        (lambda r: Failed(r, "v2a", "too_quiet", "nothing to hear", retryable=False), "too_quiet"),
    ],
)
def test_a_bad_answer_costs_its_clip(run: Run, bad: Callable[[Request], Any], kind: str) -> None:
    def answer(batch: Sequence[Request]) -> Iterator[Any]:
        for request in batch:
            yield bad(request) if request.sample.id.endswith("3") else Generated(request, clip_of(request))

    outcome, failures = run(Told(answer))
    assert [(row["sample_id"], row["kind"]) for row in failures] == [("sample_0003", kind)]
    assert outcome.made == 6


def test_silence_is_a_failure_to_answer_and_a_second_answer_counts_for_nothing(run: Run) -> None:
    def answer(batch: Sequence[Request]) -> Iterator[Generated]:
        answered = [request for request in batch if not request.sample.id.endswith("2")]
        yield from well([*answered, *answered])

    outcome, failures = run(Told(answer))
    assert [(row["sample_id"], row["kind"]) for row in failures] == [("sample_0002", "no_answer")]
    assert outcome.made == 6


def refusing(bad: str) -> Answer:
    def answer(batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        for request in batch:
            refused = request.sample.id[-1] in bad
            yield (
                Failed(request, "generate", "refused", "no", False) if refused else Generated(request, clip_of(request))
            )

    return answer


def test_five_failures_in_a_row_stop(run: Run) -> None:
    with pytest.raises(RunError, match="in a row") as caught:
        run(Told(refusing("123456")), batch=1)
    assert caught.value.kind == "too_many_failures"
    # After the cause is mended, the same command goes on, and the old failures are forgotten.
    outcome, failures = run(Told(well))
    assert (outcome.kept, outcome.made, failures) == (1, 6, [])


def test_failures_are_in_a_row_in_the_order_of_answers(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from javisbench.run import generate

    place = generate.place_clip

    def slowly(*given: Any) -> None:
        # The clip between the failures is still being written when the later ones come.
        time.sleep(0.3)
        place(*given)

    monkeypatch.setattr(generate, "place_clip", slowly)
    assert run(Told(refusing("013456")), batch=1)[0].failed == 6


@pytest.mark.parametrize(("limit", "stops"), [(1, True), (2, False), (0.2, True), (0.3, False)])
def test_max_failures_is_a_count_or_a_share(run: Run, limit: float, stops: bool) -> None:
    if stops:
        with pytest.raises(RunError, match="max-failures"):
            run(Told(refusing("14")), max_failures=limit)
    else:
        assert run(Told(refusing("14")), max_failures=limit)[0].failed == 2


def test_failures_stand_in_the_suites_order(run: Run) -> None:
    def answer(batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        yield from reversed(list(refusing("0146")(batch)))

    _, failures = run(Told(answer))
    assert [row["sample_id"][-1] for row in failures] == ["0", "1", "4", "6"]


def test_other_settings_are_refused_unless_overwritten(run: Run, tmp_path: Path) -> None:
    run(Told(well))
    before = clips(tmp_path / "run/clips")
    for changed in ({"seed": 1}, {"conform": "exact"}):
        with pytest.raises(RunError, match="other settings") as caught:
            run(Told(well), **changed)
        assert caught.value.kind == "changed_settings"
    assert clips(tmp_path / "run/clips") == before
    assert run(Told(well), seed=1, overwrite=True)[0].made == 7
    assert not set(clips(tmp_path / "run/clips").values()) & set(before.values())


def test_a_clip_changed_by_hand_is_noticed(run: Run, tmp_path: Path) -> None:
    run(Told(well))
    (tmp_path / "run/clips/sample_0004.wav").write_bytes(b"other")
    with pytest.raises(RunError, match="sample_0004"):
        run(Told(well))


def test_a_clip_that_fails_when_it_is_replaced_is_not_scored_in_its_old_form(
    run: Run, suite: Suite, tmp_path: Path
) -> None:
    run(Told(well))

    def answer(batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        for request in batch:
            if request.sample.id.endswith("4"):
                yield Failed(request, "generate", "refused", "no", retryable=False)
                continue
            # More channels than can be stored.
            audio = np.zeros((9 if request.sample.id.endswith("2") else 1, 800), np.float32)
            yield Generated(request, replace(clip_of(request), audio=audio))

    _, failures = run(Told(answer), seed=1, overwrite=True)
    listed = [(row["sample_id"], row["kind"]) for row in failures]
    assert listed == [("sample_0002", "cannot_write"), ("sample_0004", "refused")]
    assert (tmp_path / "run/clips/sample_0002.mp4").exists()
    assert match_generated(tmp_path / "run/clips", suite, 1).missing == ("sample_0002", "sample_0004")


def test_a_stopped_replacement_leaves_no_clip_of_the_old_settings(run: Run, suite: Suite, tmp_path: Path) -> None:
    run(Told(well))
    with pytest.raises(RunError, match="in a row"):
        run(Told(refusing("12345")), seed=1, overwrite=True, batch=1)
    assert match_generated(tmp_path / "run/clips", suite, 1).missing == tuple(f"sample_000{n}" for n in range(1, 7))


def test_sidecars_tell_where_a_clip_comes_from(run: Run, tmp_path: Path) -> None:
    run(Told(well), seed=3)
    facts = read_json(tmp_path / "run/clips/sample_0001.json")
    assert facts["seed"] == sample_seed(3, "tiny", "sample_0001", 0)
    assert facts["prompts"] == {"text": "b"}
    assert set(facts["files"]) == {"sample_0001.mp4", "sample_0001.wav"}
    assert facts["versions"]["javisbench"]


def test_versions_are_read_once_for_all_clips(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    read = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: asked.append(name) or read(name))
    run(Told(well))
    assert asked.count("numpy") == 1
    told = [read_json(path)["versions"]["numpy"] for path in (tmp_path / "run/clips").glob("*.json")]
    assert told == [np.__version__] * 7


def test_the_staging_folder_starts_and_ends_empty(run: Run, tmp_path: Path) -> None:
    class Staging(Told):
        def load(self, device: str, dtype: str, weights: WeightStore) -> None:
            assert self.staging is not None
            assert not self.staging.exists(), "what a killed process left is gone"
            self.staging.mkdir()
            (self.staging / "half.mp4").write_bytes(b"half")

    (tmp_path / "run/staging").mkdir(parents=True)
    run(Staging(well))
    assert not (tmp_path / "run/staging").exists()


def test_torchrun_ranks_take_shards_by_themselves(
    noise: str, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from javisbench.cli import run

    command = ["generate", "--model", noise, "--suite", suite.source, "--limit", "3", "--device", "cpu", "-q"]
    for rank in "01":
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", rank)
        assert run([*command, "--out", str(tmp_path / "run")]) == 0
    made = [sorted(clips(tmp_path / f"run.shard-{rank}-of-2/clips")) for rank in "01"]
    assert made == [["sample_0000.mp4", "sample_0002.mp4"], ["sample_0001.mp4"]]


def test_each_rank_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from javisbench.cli.options import by_rank

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name, value in {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    free = {"shard": None, "out": None, "device": None}
    assert by_rank(free) == {"shard": "3/4", "out": None, "device": "cuda:1"}
    chosen = {"shard": "0/2", "out": None, "device": None}
    assert by_rank(chosen) == chosen
