"""``--dry-run``: what a job would take is told, from named sources, and nothing is made."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import javisbench
from javisbench.api import ScoringOptions, look_ahead
from javisbench.baselines.registry import create_generator
from javisbench.cli.eval import command as evaluate
from javisbench.cli.generate import command as generate
from javisbench.errors import UsageError
from javisbench.run.dry_run import downloads
from javisbench.weights import WeightStore

SUITE = "id,text\na,a cat\nb,a dog\nc,rain\n"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text(SUITE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def told(command: Any, *words: str) -> str:
    result = CliRunner().invoke(command, [*words, "--suite", "my.csv", "--dry-run"], standalone_mode=False)
    assert result.exception is None, result.output
    assert result.return_value == 0
    return result.output


def test_nothing_is_made_and_everything_is_told(tmp_path: Path) -> None:
    text = told(generate, "--model", "javisdit", "--device", "cpu", "--out", "run")
    for line in (
        "clips: 3 to make, 0 there already",
        "each: 432x240 pixels, 65 frames at 16 fps, 65000 samples at 16000 Hz",
        "text encoder: Wan-AI/Wan2.1-T2V-1.3B, 11.4 GB, licence Apache-2.0; not here: javisbench weights fetch",
        # 2,252,388,960 parameters of 4 bytes.
        "at least 9.0 GB on cpu",
        "time: 30.0 s (10 s a clip: paper, on an H100; not measured here)",
        # 3 clips of 65,000 samples of 4 bytes.
        "780.0 kB of sound",
    ):
        assert line in text
    assert {path.name for path in tmp_path.iterdir()} <= {"my.csv", "cache"}


def test_what_nobody_measured_is_unknown() -> None:
    text = told(generate, "--model", "diffusers:Lightricks/LTX-2", "--device", "cpu")
    assert "time: not known: nobody has measured this model here" in text
    assert "LTX-2 community licence" in text
    assert "to fetch: a size that nobody recorded" in text
    found = look_ahead("diffusers:some/thing", suite="my.csv")
    assert (found.plan, found.time.value, found.disk.value, found.to_fetch.value) == (None, None, None, None)
    assert "hf download some/thing" in found.notes[0]


def test_checkpoints_that_no_card_lists_are_not_nothing() -> None:
    text = told(generate, "--model", "ovi", "--device", "cpu")
    where = "https://github.com/character-ai/Ovi"
    assert f"to fetch: not known: which checkpoints Ovi needs, its own instructions say ({where}); its " in text
    assert "its network has 11 B, as published, which are 22.0 GB in 16 bits" in text
    found = look_ahead("cascade:t2v=wan2.1-1.3b,v2a=foleycrafter", suite="my.csv")
    assert found.to_fetch.value is None
    assert re.search(r"^\S.* GB.*; not known: which checkpoints FoleyCrafter needs", found.to_fetch.told)


def test_a_model_that_could_not_begin_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    wanted = {
        "veo-3.1": "set GEMINI_API_KEY",
        "ovi": "give its folder with -M repo=FOLDER",
        "command:./not-there": "./not-there of --model command:... does not exist",
        "cascade:t2v=procedural,v2a=foleycrafter": "give its folder with -M repo=FOLDER",
    }
    for model, what in wanted.items():
        [lacks] = look_ahead(model, suite="my.csv").lacks
        assert what in lacks
    [lacks] = look_ahead("mm-diffusion", suite="landscape", params={"repo": str(tmp_path)}).lacks
    assert "is no checkout" in lacks
    assert "\nneeded to make them: ovi runs in your checkout" in told(generate, "--model", "ovi", "--device", "cpu")
    assert "needed to make them" not in told(generate, "--model", "procedural", "--device", "cpu")


def test_the_code_of_a_checkout_is_not_its_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "repo/ckpts").mkdir(parents=True)
    for name in ("extract_latents.py", "predict.py"):
        (tmp_path / "repo" / name).write_text("pass\n")
    model = create_generator("thinksound", {"repo": str(tmp_path / "repo")})
    assert [file.here for file in downloads(model, WeightStore())] == [None]
    (tmp_path / "repo/ckpts/thinksound.ckpt").write_bytes(bytes(2000))
    [file] = downloads(model, WeightStore())
    assert (file.here, file.size_bytes) == (str(tmp_path / "repo/ckpts"), 2000)


def test_eval_tells_whether_clips_are_encoded_while_others_are_made() -> None:
    given = ("--model", "procedural", "--device", "cpu", "--metrics", "health_silence")
    text = told(evaluate, *given)
    assert "scoring: Clips are encoded after all are made: model and networks would share the cores" in text
    assert "scoring: Clips are encoded while others are made: --overlap" in told(evaluate, *given, "--overlap")
    document = json.loads(told(evaluate, *given, "--no-overlap", "--json"))
    assert document["overlap"] == "Clips are encoded after all are made: --no-overlap"


def test_a_run_that_has_begun_is_the_measure(tmp_path: Path) -> None:
    javisbench.generate("procedural", suite="my.csv", limit=2, out="run")
    sizes = [path.stat().st_size for path in (tmp_path / "run/clips").iterdir() if path.suffix != ".json"]
    found = look_ahead("procedural", suite="my.csv", out="run")
    assert (found.clips, found.there) == (3, 2)
    assert found.disk.value == pytest.approx(sum(sizes) / 2)
    assert "s a clip, measured on 2 of this run, cpu" in found.time.told
    facts = [json.loads(path.read_text()) for path in sorted((tmp_path / "run/clips").glob("*.json"))]
    each = max(sum(fact[name] for fact in facts) / 2 for name in ("made_s", "encode_s"))
    assert found.time.value == pytest.approx(each)
    assert facts[0]["asked"] == {"width": 426, "height": 240, "duration_s": 4.0, "fps": "24", "sample_rate": 16000}
    assert facts[0]["made"]["frames"] == 96
    assert facts[0]["device_kind"] == "cpu"
    whole = look_ahead("procedural", suite="my.csv", limit=2, out="run")
    assert (whole.time.value, whole.time.told) == (0, "none: every clip is made")


def test_a_run_at_a_url_is_looked_at_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setenv("JAVISBENCH_CACHE_DIR", str(tmp_path / "cache"))
    fsspec.filesystem("memory").store.clear()
    url = "memory://bucket/ahead"
    found = look_ahead("procedural", suite="my.csv", out=url)
    assert (found.run, found.there) == (url, 0)
    assert not fsspec.filesystem("memory").find("/bucket"), "nothing is written"
    run = javisbench.generate("procedural", suite="my.csv", limit=2, out=url)
    sizes = [path.stat().st_size for path in (run / "clips").iterdir() if path.suffix != ".json"]
    monkeypatch.setenv("JAVISBENCH_CACHE_DIR", str(tmp_path / "another"))
    found = look_ahead("procedural", suite="my.csv", out=url)
    assert (found.run, found.there, found.clips) == (url, 2, 3)
    assert found.disk.value == pytest.approx(sum(sizes) / 2)
    assert f"into {url}" in told(generate, "--model", "procedural", "--out", url)


def test_the_kind_of_device_is_recorded_and_not_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    javisbench.generate("procedural", suite="my.csv", limit=1, out="run")
    before = json.loads((tmp_path / "run/clips/a.json").read_text())
    monkeypatch.setattr("javisbench.run.generate.device_kind", lambda device: "NVIDIA H200")
    javisbench.generate("procedural", suite="my.csv", limit=1, out="run")
    assert json.loads((tmp_path / "run/clips/a.json").read_text()) == before
    javisbench.generate("procedural", suite="my.csv", limit=1, out="other")
    after = json.loads((tmp_path / "other/clips/a.json").read_text())
    assert (before["device_kind"], after["device_kind"]) == ("cpu", "NVIDIA H200")
    assert before["key"] == after["key"]


def test_eval_adds_what_scoring_would_lack() -> None:
    found = json.loads(told(evaluate, "--model", "procedural", "--metrics", "av_ib,av_sync", "--json"))
    assert set(found["scoring"]) == {"av_ib"}
    assert "javisbench weights fetch imagebind_huge" in found["scoring"]["av_ib"]
    assert "licence CC BY-NC-SA 4.0" in found["scoring"]["av_ib"]
    assert found["downloads"] == []
    assert found["clips"] == 3


def test_eval_tells_what_judges_would_cost() -> None:
    found = told(evaluate, "--model", "procedural", "--metrics", "judge:javisbench", "--judge-price", "1,2")
    assert "judges: judge:javisbench: 9 requests to Qwen/Qwen2.5-Omni-7B" in found and "US dollars" in found


def test_mistakes_are_mistakes_here_too() -> None:
    with pytest.raises(UsageError, match="Did you mean 'steps'"):
        look_ahead("javisdit", suite="my.csv", params={"step": "3"})
    with pytest.raises(UsageError, match="made already"):
        look_ahead("folder:clips", suite="my.csv")
    with pytest.raises(UsageError, match="nonsense"):
        look_ahead("procedural", suite="my.csv", options=ScoringOptions(slice_by=("nonsense",)))
