"""Hosted models against a local service that misbehaves: each clip made and paid for once, whatever happens."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import javisbench
from javisbench.baselines.base import Conditions, Failed, Generated, Request
from javisbench.baselines.hosted import Hosted, Service, serve
from javisbench.baselines.hosted import jobs as jobs_module
from javisbench.baselines.hosted.jobs import BudgetError, Clock, Jobs, Limits, Order, Outcome, usable
from javisbench.baselines.hosted.ledger import Ledger
from javisbench.baselines.hosted.service import aspect, check_address, lookup
from javisbench.baselines.hosted.transport import exchange
from javisbench.clip import Clip, ClipSpec
from javisbench.durable import read_json, read_jsonl
from javisbench.errors import GenerationError, RunError, SystemFaultError, UsageError
from javisbench.media import read_clip, write_clip
from javisbench.run.generate import GenerateSettings
from javisbench.suite import Suite, load_suite
from javisbench.weights import WeightStore
from tests.baselines.misbehaving_service import KEY, MisbehavingService

PROMPTS = ("a cat", "a dog", "rain")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The clip that the service makes: 4 frames of 64x48 pixels with half a second of sound."""
    path = tmp_path_factory.mktemp("made") / "made.mp4"
    audio = (0.1 * np.sin(np.arange(4000) / 9)).astype(np.float32)[None]
    write_clip(Clip(np.full((4, 48, 64, 3), 90, np.uint8), Fraction(8), audio, 8000), path, sidecar=False)
    return path.read_bytes()


@pytest.fixture
def server(made: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[MisbehavingService]:
    monkeypatch.setenv("TEST_API_KEY", KEY)
    server = MisbehavingService(made)
    yield server
    server.close()


@dataclass
class Time:
    """A clock that nobody waits for."""

    now_s: float = 1000.0

    def clock(self) -> Clock:
        return Clock(lambda: self.now_s, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds + 1e-3


def service(server: MisbehavingService, **changed: Any) -> Service:
    facts: dict[str, Any] = {
        "name": "test-api",
        "key": "TEST_API_KEY",
        "submit": server.url,
        "poll": server.url + "/{job}",
        "body": {"prompt": "{prompt}", "seed": "{seed}"},
        "refused": ("content_policy_violation",),
    }
    return Service(**{**facts, **changed})


def order(prompt: str, folder: Path) -> Order:
    return Order(f"key of {prompt}", {"prompt": prompt, "seed": 1}, folder / f"{prompt}.mp4", 2.0)


def work(
    server: MisbehavingService,
    folder: Path,
    prompts: tuple[str, ...] = PROMPTS,
    *,
    time: Time | None = None,
    limits: Limits | None = None,
    **changed: Any,
) -> list[Outcome]:
    """Every order's outcome; a new process each time, as far as the ledger knows."""
    jobs = Jobs(
        service(server, **changed), Ledger(folder / "ledger.jsonl"), limits or Limits(), (time or Time()).clock()
    )
    for prompt in prompts:
        jobs.add(order(prompt, folder))
    return list(jobs.outcomes())


ONCE = dict.fromkeys(PROMPTS, 1)


@pytest.mark.parametrize("way", ["post", "poll", "file"])
@pytest.mark.parametrize(
    "wrong",
    [[(429, {"Retry-After": "7"})], [503, 500, 502], ["drop"], [(429, {}), "drop", 503], ["drop", "drop"]],
    ids=["429", "5xx", "lost connection", "mixed", "lost twice"],
)
def test_passing_troubles_cost_time_and_no_second_job(
    server: MisbehavingService, tmp_path: Path, way: str, wrong: list[Any]
) -> None:
    server.wrong[way] = list(wrong)
    assert [outcome.kind for outcome in work(server, tmp_path)] == [""] * 3
    assert server.made == ONCE
    assert all((tmp_path / f"{prompt}.mp4").read_bytes() == server.clip for prompt in PROMPTS)
    assert server.wrong[way] == []


def test_a_connection_that_is_lost_after_the_job_was_made_orders_none_again(
    server: MisbehavingService, tmp_path: Path
) -> None:
    server.wrong["post"] = ["drop after", None, "drop after"]
    assert [outcome.kind for outcome in work(server, tmp_path)] == [""] * 3
    assert server.made == ONCE
    assert server.asked["post"] == 5


def test_a_file_that_breaks_off_is_fetched_again(server: MisbehavingService, tmp_path: Path) -> None:
    server.wrong["file"] = ["short", "short"]
    assert [outcome.kind for outcome in work(server, tmp_path, ("rain",))] == [""]
    assert (tmp_path / "rain.mp4").read_bytes() == server.clip
    assert server.asked["file"] == 3


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json"])
def test_a_file_of_no_kind_or_a_wrong_one_is_known_by_its_bytes(
    server: MisbehavingService, tmp_path: Path, kind: str
) -> None:
    server.kind_of_files = kind
    assert [outcome.kind for outcome in work(server, tmp_path, ("rain",))] == [""]
    assert (tmp_path / "rain.mp4").read_bytes() == server.clip
    server.clip = b"<html>sign in</html>"
    kinds = [outcome.kind for outcome in work(server, tmp_path, ("wind",))]
    # Without a kind it is kept as it came, and whoever decodes it says what it is.
    assert kinds == ([""] if not kind else ["bad_answer"])


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_link_that_expired_is_asked_for_anew(server: MisbehavingService, tmp_path: Path, status: int) -> None:
    server.wrong["file"] = [status, status]
    assert [outcome.kind for outcome in work(server, tmp_path, ("rain",))] == [""]
    assert server.made == {"rain": 1}
    assert server.jobs[next(iter(server.jobs))]["links"] == 3


def test_links_that_never_work_are_a_failure(server: MisbehavingService, tmp_path: Path) -> None:
    server.wrong["file"] = [410] * 50
    (outcome,) = work(server, tmp_path, ("rain",))
    assert outcome.kind == "expired"
    assert server.asked["file"] == 4
    # The job is paid: the next run asks for its file, not for another one.
    server.wrong["file"] = []
    assert [outcome.kind for outcome in work(server, tmp_path, ("rain",))] == [""]
    assert server.made == {"rain": 1}


def test_an_address_that_is_never_asked_is_not_tried_again() -> None:
    answer = exchange("file:///etc/passwd")
    assert not answer.passing
    assert "an address of the kind 'file'; https alone is followed" in answer.trouble


def test_a_busy_service_is_left_alone_as_long_as_it_asks(server: MisbehavingService, tmp_path: Path) -> None:
    server.wrong["post"] = [(429, {"Retry-After": "40"})]
    time = Time()
    work(server, tmp_path, time=time)
    assert time.now_s > 1040
    # Nobody else posts meanwhile.
    assert server.asked["post"] == 4


def test_waits_grow_and_end(server: MisbehavingService, tmp_path: Path) -> None:
    server.wrong["post"] = [503] * 99
    time = Time()
    outcomes = work(server, tmp_path, ("rain",), time=time, limits=Limits(retries=5))
    assert [outcome.kind for outcome in outcomes] == ["http_503"]
    assert "not now" in outcomes[0].message
    assert server.asked["post"] == 6
    # Five waits, each between the half and the whole of 1, 2, 4, 8, 16 s.
    assert 1015.4 < time.now_s < 1031.2
    server.wrong["post"] = []
    assert [outcome.kind for outcome in work(server, tmp_path, ("rain",))] == [""]
    assert server.made == {"rain": 1}


def test_a_refused_prompt_is_a_failure_with_its_reason_and_no_storm(server: MisbehavingService, tmp_path: Path) -> None:
    server.refuses = lambda prompt: prompt == "a dog"
    outcomes = {outcome.order.values["prompt"]: outcome for outcome in work(server, tmp_path)}
    assert outcomes["a dog"].kind == "refused_prompt"
    assert "against the rules (content_policy_violation)" in outcomes["a dog"].message
    assert server.asked["post"] == 3
    assert server.made == {"a cat": 1, "rain": 1}
    assert Ledger(tmp_path / "ledger.jsonl").clips == 2


def test_a_service_that_is_not_there_stops_the_run(server: MisbehavingService, tmp_path: Path) -> None:
    changed = {"submit": "http://localhost:9/none", "poll": "http://localhost:9/none/{job}"}
    with pytest.raises(SystemFaultError, match=r"test-api does not answer.*same command"):
        work(server, tmp_path, **changed)


def test_a_key_that_is_not_taken_stops_the_run_and_is_told_nowhere(
    server: MisbehavingService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_API_KEY", "sk-wrong-9876543210")
    with pytest.raises(RunError, match=r"401 to the key in TEST_API_KEY: no such key: Bearer <TEST_API_KEY>"):
        work(server, tmp_path)
    assert server.asked["post"] == 1
    assert "9876543210" not in (tmp_path / "ledger.jsonl").read_text()


def test_the_key_goes_to_its_own_host_alone(server: MisbehavingService, tmp_path: Path) -> None:
    work(server, tmp_path, ("rain",), keyed_download=True)
    work(server, tmp_path, ("a cat",))
    # The same service under another name is another host.
    away = service(server, poll=server.url.replace("localhost", "127.0.0.1") + "/{job}", keyed_download=True)
    jobs = Jobs(away, Ledger(None), Limits(), Time().clock())
    jobs.add(order("a dog", tmp_path))
    assert [outcome.kind for outcome in jobs.outcomes()] == [""]
    assert server.keys_at_files == [f"Bearer {KEY}", None, f"Bearer {KEY}"]
    server.wrong["file"] = [(302, {"Location": server.url.replace("localhost", "127.0.0.1") + "/file/x"})]
    assert [outcome.kind for outcome in work(server, tmp_path, ("snow",), keyed_download=True)] == [""]
    assert server.keys_at_files[-1] is None


def test_a_job_that_is_gone_is_ordered_once_more(server: MisbehavingService, tmp_path: Path) -> None:
    server.polls_until_done = 10**9
    assert [outcome.kind for outcome in work(server, tmp_path, ("rain",))] == ["timeout"]
    server.jobs.clear()
    server.polls_until_done = 1
    assert [outcome.kind for outcome in work(server, tmp_path, ("rain",))] == [""]
    assert server.made == {"rain": 2}
    server.wrong["poll"] = [404, 404]
    assert [outcome.kind for outcome in work(server, tmp_path, ("snow",))] == ["job_lost"]


def test_a_state_may_say_that_a_job_is_gone(server: MisbehavingService, tmp_path: Path) -> None:
    (outcome,) = work(server, tmp_path, ("rain",), gone=("running",))
    assert outcome.kind == "job_lost"
    assert server.made == {"rain": 2}


def test_an_answer_without_a_job_is_told_with_what_it_says(server: MisbehavingService, tmp_path: Path) -> None:
    (outcome,) = work(server, tmp_path, ("rain",), job="task", reasons=("status",))
    assert outcome.kind == "bad_answer"
    assert "neither 'task' nor 'url' is in it; queued" in outcome.message
    (outcome,) = work(server, tmp_path, ("snow",), job="task", refusals=("status",))
    assert (outcome.kind, outcome.message) == ("refused_prompt", "test-api refused the prompt: queued.")


def test_a_job_that_fails_is_told_with_its_reason(server: MisbehavingService, tmp_path: Path) -> None:
    (outcome,) = work(server, tmp_path, ("rain",), failed=("running",), reasons=("id",))
    assert (outcome.kind, outcome.message) == ("job_failed", "test-api, job job-0: job-0.")
    (outcome,) = work(server, tmp_path, ("snow",), failed=("running",), reasons=(), refusals=("id",))
    assert outcome.kind == "refused_prompt"


@pytest.mark.parametrize("after", range(1, 13))
@pytest.mark.parametrize("heard", [False, True], ids=["before the answer", "after the answer"])
def test_a_run_that_is_killed_anywhere_goes_on_with_the_jobs_that_are_paid(
    server: MisbehavingService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, heard: bool
) -> None:
    asked, exchange = 0, jobs_module.exchange

    def killed(*args: Any, **given: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == after and not heard:
            raise KeyboardInterrupt
        answer = exchange(*args, **given)
        if asked == after:
            raise KeyboardInterrupt
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(jobs_module, "exchange", killed)
        patched.setattr(jobs_module, "_LOOK_S", 5.0)
        with pytest.raises(KeyboardInterrupt):
            work(server, tmp_path)
            pytest.fail("the run was over before it was killed")
    assert [outcome.kind for outcome in work(server, tmp_path)] == [""] * 3
    assert server.made == ONCE
    assert Ledger(tmp_path / "ledger.jsonl").clips == 3


@pytest.mark.parametrize(
    ("limits", "clips"),
    [
        (Limits(max_clips=2), 2),
        (Limits(max_cost=0.3, price=0.1), 3),
        (Limits(max_cost=0.25, price=0.1), 2),
        (Limits(max_cost=1.0, price_per_s=0.25), 2),
        (Limits(max_cost=0.05, price=0.1), 0),
    ],
)
def test_no_more_is_ordered_than_the_budget_allows(
    server: MisbehavingService, tmp_path: Path, limits: Limits, clips: int
) -> None:
    jobs = Jobs(service(server), Ledger(tmp_path / "ledger.jsonl"), limits, Time().clock())
    for prompt in PROMPTS:
        jobs.add(order(prompt, tmp_path))
    outcomes = []
    if clips < 3:
        with pytest.raises(BudgetError, match=rf"{clips} clips were ordered.*{3 - clips} clips of this batch"):
            outcomes.extend(jobs.outcomes())
    else:
        outcomes.extend(jobs.outcomes())
    assert server.made.total() == clips
    assert len(list(tmp_path.glob("*.mp4"))) == clips
    # Earlier starts of the run count.
    if clips < 3:
        with pytest.raises(BudgetError):
            work(server, tmp_path, ("snow",), limits=limits)
    assert server.made.total() == clips


def test_submissions_keep_the_rate_and_jobs_the_number_at_a_time(server: MisbehavingService, tmp_path: Path) -> None:
    time, posts, post, at_work = Time(), [], server.post, []

    def noted(handler: Any) -> None:
        posts.append(time.now_s)
        at_work.append(len(posts) - len(list(tmp_path.glob("*.mp4"))))
        post(handler)

    server.post = noted  # type: ignore[method-assign]
    server.polls_until_done = 9
    many = tuple(f"prompt {number}" for number in range(6))
    outcomes = work(server, tmp_path, many, time=time, limits=Limits(in_flight=2, per_minute=6))
    assert [outcome.kind for outcome in outcomes] == [""] * 6
    assert len(posts) == 6
    assert all(later - earlier >= 10 for earlier, later in pairwise(posts))
    assert max(at_work) == 2


# Descriptions


def test_a_description_is_a_file_of_toml(server: MisbehavingService, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        f'submit = "{server.url}"\npoll = "{server.url}/{{job}}"\nkey = "TEST_API_KEY"\nseconds = [4, 8, 12]\n'
        'sizes = ["1280x720", "720x1280"]\n[defaults]\nmodel = "m-1"\nloud = true\n[body]\nmodel = "{model}"\n'
        'prompt = "say: {prompt}"\nseconds = "{seconds:text}"\nsize = "{width}*{height}"\nlist = [{ a = "{aspect}" }]\n'
        'loud = "{loud}"\nseed = "{seed}"\n'
    )
    hosted = Hosted(str(path), {"model": "m-2", "loud": "false", "in_flight": "2"})
    plan = hosted.plan(ClipSpec(width=426, height=240, duration_s=5.0))
    assert (plan.width, plan.height, plan.frames) == (1280, 720, 192)
    assert any("seconds 5 -> 8: on offer are 4, 8, 12" in note for note in plan.notes)
    from javisbench.baselines.hosted.orders import places

    values = {**places(hosted.service, "{seed} {x}", 2**40 + 5, width=426, height=240, duration_s=5.0, fps=24.0)}
    body = hosted.service.filled(hosted.service.body, {**values, **hosted.chosen})
    assert body == {
        "model": "m-2",
        "prompt": "say: {seed} {x}",
        "seconds": "8",
        "size": "1280*720",
        "list": [{"a": "16:9"}],
        "loud": False,
        "seed": 5,
    }
    assert hosted.key_name("hosted:/anywhere/mine.toml") == "hosted:mine"
    assert "/anywhere" not in json.dumps(dict(hosted.resolved()))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("submit = 3", "submit is a text; got 3"),
        ('sizes = ["wide"]', r"sizes is a list of sizes such as '1280x720'; got \['wide'\]"),
        ("sizes = [1]", "sizes is a list of sizes"),
        ('seconds = ["4"]', "seconds is a list of numbers above 0"),
        ("seconds = [0]", "seconds is a list of numbers above 0"),
        ("refused = [1]", "refused is a list of texts"),
        ("headers = { a = 1 }", "headers is a table of texts"),
        ("poll_s = nan", "poll_s is a number of seconds from 0"),
        ("seed_below = 0", "seed_below is a whole number above 0"),
        ("fps = true", "fps is a number of frames per second"),
        ('submt = "https://a.org"', "Did you mean 'submit'"),
        ('body = { a = "b" }', "lacks submit"),
        ('submit = "http://a.org"\nbody = { }', "no https address"),
        ('submit = "https://a.org"\nbody = { a = "{promt}" }', "Did you mean 'prompt'"),
        ('submit = "https://a.org"\nbody = { }\nkey = "MY_AUTH"', "not called like a secret"),
        ('submit = "https://a.org"\nbody = { }\nauth = "nothing"', "place for the key"),
        ("submit = [", "cannot be read"),
    ],
)
def test_bad_descriptions_are_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(UsageError, match=told):
        Hosted(str(tmp_path / "bad.toml"))


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"max_cost": "3"}, "what a clip costs"),
        # Nobody who says 0 means "as much as you like".
        ({"max_cost": "0", "price": "1"}, "max_cost is an amount of money between"),
        ({"per_minute": "0"}, "per_minute is a number of submissions between"),
        ({"max_clip": "3"}, "Did you mean 'max_clips'"),
        ({"in_flight": "0"}, "between 1 and 256"),
        ({"sound": "perhaps"}, r"mine.toml: sound is true or false; got 'perhaps'"),
        ({"steps": "many"}, r"mine.toml: steps is a whole number; got 'many'"),
        ({"strength": "nan"}, r"mine.toml: strength is a number; got 'nan'"),
        ({"tags": "a"}, r"mine.toml: tags is a list or a table"),
    ],
)
def test_bad_parameters_are_named(tmp_path: Path, params: dict[str, str], told: str) -> None:
    own = "defaults = { sound = true, steps = 3, strength = 0.5, tags = ['a'] }"
    (tmp_path / "mine.toml").write_text(f'submit = "https://a.org"\nbody = {{ }}\n{own}')
    with pytest.raises(UsageError, match=told):
        Hosted(str(tmp_path / "mine.toml"), params)


def test_a_key_that_lacks_is_told_before_anything_is_ordered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_API_KEY", raising=False)
    (tmp_path / "mine.toml").write_text('submit = "https://a.org"\nbody = { }\nkey = "TEST_API_KEY"')
    with pytest.raises(GenerationError, match="set TEST_API_KEY"):
        Hosted(str(tmp_path / "mine.toml")).load("cpu", "auto", WeightStore())


def test_two_keys_sign_a_web_token(monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib
    import hmac

    monkeypatch.setenv("A_KEY", "issuer")
    monkeypatch.setenv("B_SECRET", "signer")
    signed = Service(submit="https://a.org", body={}, key="A_KEY", secret="B_SECRET").authorization()
    told, _, signature = signed["Authorization"].removeprefix("Bearer ").rpartition(".")
    expected = hmac.new(b"signer", told.encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + "=") == expected
    claims = json.loads(base64.urlsafe_b64decode(told.split(".")[1] + "=="))
    assert claims["iss"] == "issuer"
    assert claims["exp"] - claims["nbf"] == 1805


@pytest.mark.parametrize(
    ("job", "fine"),
    [
        ("video_123", True),
        ("models/veo/operations/a-1", True),
        ("../../admin", False),
        ("a/../b", False),
        ("/etc", False),
        ("a?key=b", False),
        ("None\n", False),
        ("", False),
    ],
)
def test_ids_of_jobs_lead_nowhere_else(job: str, fine: bool) -> None:
    assert usable(job) is fine


def test_small_parts() -> None:
    assert lookup({"a": [{"b": 3}]}, "a.0.b") == 3
    assert lookup({"a": [{"b": 3}]}, "a.1.b") is None
    assert [aspect(426, 240), aspect(256, 256), aspect(240, 426)] == ["16:9", "1:1", "9:16"]
    for bad in ("http://a.org", "file:///etc/passwd", "ftp://a.org", "https//a.org"):
        with pytest.raises(UsageError, match="no https address"):
            check_address(bad, "x")


# Through the front door


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    (tmp_path / "s.csv").write_text("\n".join(["text", *PROMPTS]))
    setting = ClipSpec(width=64, height=48, duration_s=0.5, fps=Fraction(8), sample_rate=8000)
    return replace(load_suite(str(tmp_path / "s.csv")), setting=setting)


@pytest.fixture
def hosted(server: MisbehavingService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run the suite with the service; no wait is waited for."""
    (tmp_path / "api.toml").write_text(
        f'submit = "{server.url}"\npoll = "{server.url}/{{job}}"\nkey = "TEST_API_KEY"\n'
        'refused = ["content_policy_violation"]\nbody = { prompt = "{prompt}", seed = "{seed}" }\n'
    )
    monkeypatch.setattr("javisbench.baselines.hosted.generator.Clock", lambda: Time().clock())

    def go(suite: Suite, **params: str) -> Path:
        settings = GenerateSettings(max_failures=9)
        model = f"hosted:{tmp_path / 'api.toml'}"
        return javisbench.generate(model, suite=suite, params=params, out=tmp_path / "run", settings=settings)

    return go


def test_a_suite_is_made_and_each_clip_paid_for_once(
    hosted: Callable[..., Path], server: MisbehavingService, suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.wrong["post"] = [(429, {"Retry-After": "3"}), "drop after", 503]
    server.wrong["file"] = ["short", 403]
    server.refuses = lambda prompt: prompt == "a dog"
    run = hosted(suite)
    rows = read_jsonl(run / "failures.jsonl")
    assert [(row["sample_id"], row["kind"]) for row in rows] == [("sample_0001", "refused_prompt")]
    assert server.made == {"a cat": 1, "rain": 1}
    facts = read_json(run / "clips/sample_0002.json")
    assert facts["info"]["differs"] == []
    assert facts["info"]["job"] in {job["id"] for job in server.jobs.values()}
    assert (run / "clips/sample_0002.mp4").read_bytes() == server.clip
    assert read_clip(run / "clips/sample_0002.mp4").audio is not None
    assert not any(KEY.encode() in path.read_bytes() for path in run.rglob("*") if path.is_file())
    # Clips that were lost before they were recorded are fetched again, not ordered again.
    (run / "clips/sample_0002.json").unlink()
    server.refuses = lambda prompt: False
    hosted(suite)
    assert server.made == ONCE
    assert read_jsonl(run / "failures.jsonl") == []


def test_a_spent_budget_ends_the_run_and_keeps_what_was_made(
    hosted: Callable[..., Path], server: MisbehavingService, suite: Suite, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"budget is spent: 2 clips were ordered for 0\.8"):
        hosted(suite, max_cost="1", price="0.4", in_flight="1")
    assert len(list((tmp_path / "run/clips").glob("*.json"))) == 2
    assert read_jsonl(tmp_path / "run/failures.jsonl") == []
    hosted(suite, max_cost="1.2", price="0.4", in_flight="3")
    assert server.made == ONCE


def test_machines_of_a_cluster_do_not_order_each_for_itself(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "api.toml").write_text('submit = "https://a.org"\nbody = { }')
    settings = GenerateSettings(engine="ray")
    with pytest.raises(UsageError, match="one process, which writes down what it pays for"):
        javisbench.generate(f"hosted:{tmp_path / 'api.toml'}", suite=suite, out=tmp_path / "run", settings=settings)


def test_many_refused_prompts_in_a_row_do_not_stop_the_run(
    hosted: Callable[..., Path], server: MisbehavingService, suite: Suite, tmp_path: Path
) -> None:
    (tmp_path / "many.csv").write_text("\n".join(["text", *(f"bad {n}" for n in range(7)), "rain"]))
    server.refuses = lambda prompt: prompt.startswith("bad")
    run = hosted(replace(load_suite(str(tmp_path / "many.csv")), setting=suite.setting))
    assert len(read_jsonl(run / "failures.jsonl")) == 7
    assert server.made == {"rain": 1}
    assert server.asked["post"] == 8


def test_a_service_that_takes_pictures_is_sent_the_suites(server: MisbehavingService, tmp_path: Path) -> None:
    picture = b"\x89PNG of the test"
    (tmp_path / "still.png").write_bytes(picture)
    description = (
        f'submit = "{server.url}"\npoll = "{server.url}/{{job}}"\nkey = "TEST_API_KEY"\n[body]\nprompt = "{{prompt}}"\n'
        'image = "{image}"\ninline = { data = "{image:base64}" }\n'
    )
    (tmp_path / "api.toml").write_text(description)
    model = Hosted(str(tmp_path / "api.toml"), {"price": "0.25"})
    model.clock = Time().clock()
    assert model.tasks == {"i2av"}
    assert "a clip costs 0.25" in model.plan(ClipSpec()).notes
    (tmp_path / "s.csv").write_text("text,image\nrain,still.png\nsnow,gone.png\n")
    (tmp_path / "suite.toml").write_text('task = "i2av"\n')
    samples = load_suite(str(tmp_path / "s.csv")).samples
    plan = model.plan(ClipSpec(64, 48, 0.5, Fraction(8), 8000))
    requests = [Request(s, s.index, 0, 7, plan, s.prompts, Conditions.of(s, "i2av"), "i2av") for s in samples]
    model.load("cpu", "auto", WeightStore())
    answers = {answer.request.sample.text: answer for answer in model.generate(requests)}
    model.close()
    assert isinstance(answers["rain"], Generated)
    assert isinstance(answers["snow"], Failed)
    assert answers["snow"].kind == "no_file"
    sent = next(iter(server.jobs.values()))["asked"]
    assert base64.b64decode(sent["inline"]["data"]) == picture
    assert sent["image"] == f"data:image/png;base64,{sent['inline']['data']}"


def test_a_program_serves_with_the_same_care(
    server: MisbehavingService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVISBENCH_STATE", str(tmp_path))
    server.wrong["post"] = ["drop after", 503]
    server.refuses = lambda prompt: prompt == "a dog"

    def ask() -> dict[str, dict[str, Any]]:
        common = {"seed": 7, "width": 64, "height": 48, "duration_s": 0.5, "fps": 8.0}
        lines = [
            json.dumps({"id": f"s{n}", "prompt": prompt, "output": str(tmp_path / f"s{n}"), **common}) + "\n"
            for n, prompt in enumerate(PROMPTS)
        ]
        answers = io.StringIO()
        serve(service(server), requests=io.StringIO("".join(lines)), answers=answers, clock=Time().clock())
        return {answer["id"]: answer for answer in map(json.loads, answers.getvalue().splitlines())}

    for _ in range(2):
        told = ask()
        assert {name: answer["status"] for name, answer in told.items()} == {"s0": "ok", "s1": "failed", "s2": "ok"}
        assert (told["s1"]["kind"], told["s1"]["retryable"]) == ("refused_prompt", False)
        assert server.made == {"a cat": 1, "rain": 1}
    assert (tmp_path / "s0.mp4").read_bytes() == server.clip
    monkeypatch.setenv("TEST_API_KEY", "sk-wrong-9876543210")
    (tmp_path / "hosted_jobs.jsonl").unlink()
    assert {answer["kind"] for answer in ask().values()} == {"http_401"}


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_its_jobs_to_the_next(
    server: MisbehavingService, suite: Suite, tmp_path: Path
) -> None:
    (tmp_path / "api.toml").write_text(
        f'submit = "{server.url}"\npoll = "{server.url}/{{job}}"\nkey = "TEST_API_KEY"\npoll_s = 0.2\n'
        'body = { prompt = "{prompt}", seed = "{seed}" }\n'
    )
    words = [sys.executable, "-m", "javisbench", "generate", "--suite", str(tmp_path / "s.csv"), "--quiet"]
    words += ["--model", f"hosted:{tmp_path / 'api.toml'}", "--out", str(tmp_path / "run")]
    for jobs in (1, 2, 3):
        server.polls_until_done = 10**9
        process = subprocess.Popen(words, stderr=subprocess.PIPE)
        # For as long as it takes: it orders until it is killed.
        while server.made.total() < jobs or server.asked["poll"] < jobs:
            assert process.poll() is None, process.stderr
            time.sleep(0.05)
        process.kill()
        process.communicate()
        assert not list((tmp_path / "run/clips").glob("*.json"))
    server.polls_until_done = 1
    subprocess.run(words, check=True)
    assert server.made == ONCE
    assert len(list((tmp_path / "run/clips").glob("*.json"))) == 3
    assert read_jsonl(tmp_path / "run/failures.jsonl") == []
