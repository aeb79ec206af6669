"""The page of blind pairs in a real browser (tests/browser.py): playing, keys, what is kept, and the saved table."""

from __future__ import annotations

import csv
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from javisbench.cli import run
from javisbench.leaderboard.votes_page import key_of
from javisbench.results.votes.page_key import load_key

pytestmark = pytest.mark.browser
MEDIA = "const all = Array.from(document.querySelectorAll('#stage video, #stage audio'));"
READY = "return !document.querySelector('[data-answer]').disabled"
TITLE = "return document.getElementById('pair-title').textContent"
HINT = "return document.getElementById('hint').textContent"
KEPT = "return document.getElementById('kept').textContent"
HEARD = MEDIA + "return all.map(m => !m.muted)"


@pytest.fixture(autouse=True)
def _as_it_was(browser):
    yield
    browser.look()


@pytest.fixture
def own(page, tmp_path) -> Path:
    """A copy of the page: what a browser keeps goes by the page's id, and answers by the folder's address too."""
    target = tmp_path / "page"
    shutil.copytree(page, target)
    shutil.copy(key_of(page), key_of(target))
    return target


def opened(browser: Any, page: Path) -> None:
    """The page as it is for somebody who comes for the first time."""
    browser.open(page / "index.html")
    browser.run("localStorage.clear()")
    browser.open(page / "index.html")
    browser.console()


def begin(browser: Any, name: str = "ann") -> None:
    browser.run(f"document.getElementById('voter').value = '{name}'; document.getElementById('voter').focus()")
    browser.press("Enter", 13, "\r")
    browser.wait(MEDIA + "return all.length >= 2 && all.every(m => m.readyState >= 2)")


def press(browser: Any, key: str) -> None:
    codes = {" ": 32, "ArrowLeft": 37, "ArrowRight": 39}
    browser.press(key, codes.get(key, ord(key.upper()[0])), "" if key.startswith("Arrow") else key)


def listen(browser: Any) -> None:
    """Play until both clips were heard."""
    if not browser.run(READY):
        press(browser, " ")
        browser.wait(READY)


def together(browser: Any) -> bool:
    """Whether both clips lie within 40 ms, which is what a viewer takes for simultaneous, for ten looks in a row."""
    looks: list[float] = []
    while len(looks) < 200:
        apart = browser.run(
            MEDIA + "const t = all.map(m => m.currentTime); if (all.some(m => m.paused || m.ended)) return 99;"
            "return Math.max(...t) - Math.min(...t)"
        )
        looks.append(apart)
        if len(looks) >= 10 and max(looks[-10:]) < 0.04:
            return True
    return False


def test_two_clips_play_together_and_one_is_heard(browser, own):
    opened(browser, own)
    begin(browser)
    assert browser.run(TITLE) == "Pair 1 of 5"
    assert "Listen to clip 1 and clip 2 first." in browser.run(HINT)
    press(browser, "1")
    assert browser.run(TITLE) == "Pair 1 of 5", "nobody votes on what was not heard"
    press(browser, " ")
    # A busy machine may hold one clip up, and clips of 2 s leave little time to mend it: then they play again.
    for _ in range(8):
        browser.wait(MEDIA + "return all.every(m => m.currentTime > 0)")
        if together(browser):
            break
        press(browser, "r")
    else:
        raise AssertionError("the clips never play together")
    browser.wait(READY)
    press(browser, "ArrowRight")
    assert browser.run(HEARD) == [False, True]
    press(browser, "ArrowLeft")
    assert browser.run(HEARD) == [True, False]
    assert browser.run("return document.querySelectorAll('#stage .heard').length") == 1
    assert browser.run(HINT) == "" and browser.console() == []


def test_the_second_sound_follows_by_itself(browser, own):
    opened(browser, own)
    begin(browser)
    assert browser.run(HEARD) == [True, False]
    press(browser, " ")
    browser.wait(
        HEARD.replace("return all.map(m => !m.muted)", "return all[0].muted && !all[1].muted && !all[1].paused")
    )
    browser.wait(READY)
    assert browser.run(MEDIA + "return all.every(m => m.webkitAudioDecodedByteCount > 0)")


def test_keys_answer_and_what_was_answered_is_kept_and_saved(browser, own, tmp_path, capsys):
    opened(browser, own)
    begin(browser, "Ann, the 1st")
    listen(browser)
    press(browser, "1")
    browser.wait(TITLE + " === 'Pair 2 of 5'")
    press(browser, "p")
    browser.wait(TITLE + " === 'Pair 1 of 5'")
    assert browser.run("return document.querySelector('[data-answer=\"1\"]').getAttribute('aria-pressed')") == "true"
    listen(browser)
    press(browser, "2")
    for number, key in ((2, "t"), (3, "b")):
        browser.wait(TITLE + f" === 'Pair {number} of 5'")
        browser.wait(MEDIA + "return all.every(m => m.readyState >= 2)")
        listen(browser)
        press(browser, key)
    browser.wait(TITLE + " === 'Pair 4 of 5'")
    press(browser, "s")
    assert "4 of 5 answered, kept by this browser" in browser.run(KEPT)
    # As after a closed window.
    browser.open(own / "index.html")
    assert browser.run("return document.getElementById('go').textContent") == "Go on as Ann, the 1st"
    browser.run("document.getElementById('go').click()")
    browser.wait(TITLE + " === 'Pair 5 of 5'")
    listen(browser)
    browser.run("document.querySelector('[data-answer=\"1\"]').click()")
    browser.wait("return !document.getElementById('done').hidden")
    assert "(1 skipped)" in browser.run("return document.getElementById('done-said').textContent")
    saved = download(browser, tmp_path / "downloads")
    assert "saved as a file" in browser.run(KEPT) and browser.console() == []
    key = load_key(key_of(own))
    with saved.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["answer"] for row in rows] == ["2", "tie", "bad", "skip", "1"]
    assert {row["voter"] for row in rows} == {"Ann, the 1st"} and {row["page"] for row in rows} == {key.page}
    out = tmp_path / "votes.jsonl"
    assert run(["votes", "import", str(saved), "--key", str(key_of(own)), "--out", str(out)]) == 0
    head, *lines = map(json.loads, out.read_text().splitlines())
    assert head["left_out"] == {"skipped by the voter": 1} and head["names"] == "pseudonyms"
    pairs = [key.pairs[row["pair"]] for row in rows if row["answer"] != "skip"]
    assert [(v["sample_id"], v["a"], v["b"], v["vote"]) for v in lines] == [
        (pair.sample_id, pair.left, pair.right, vote)
        for pair, vote in zip(pairs, ("b", "tie", "bad", "a"), strict=True)
    ]
    assert "Ann" not in out.read_text()


def test_several_questions_are_asked_about_the_same_clips(browser, own):
    script = (own / "pairs.js").read_text()
    questions = '"questions":[["overall","Which is better?"],["sound","Which sounds better?"]]'
    (own / "pairs.js").write_text(re.sub(r'"questions":\[\[.*?\]\]', questions, script))
    opened(browser, own)
    begin(browser)
    asked = "return document.getElementById('question').textContent"
    assert browser.run(asked) == "Which is better?"
    listen(browser)
    browser.run("document.querySelector('#stage video').dataset.same = 'yes'")
    press(browser, "1")
    browser.wait(asked + " === 'Which sounds better?'")
    assert browser.run(TITLE) == "Pair 1 of 5" and browser.run(READY), "both were heard already"
    assert browser.run("return document.querySelector('#stage video').dataset.same") == "yes"
    press(browser, "2")
    browser.wait(TITLE + " === 'Pair 2 of 5'")
    answers = [line.split(",")[2:4] for line in browser.run("return javisbench.table()").splitlines()[1:]]
    assert answers == [['"overall"', '"1"'], ['"sound"', '"2"']]


def download(browser: Any, folder: Path) -> Path:
    folder.mkdir()
    browser.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    browser.run("document.getElementById('save').click()")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = list(folder.glob("*.csv"))
        if found and found[0].stat().st_size:
            return found[0]
        time.sleep(0.05)
    raise AssertionError("nothing was saved")


def test_a_clip_that_cannot_be_played_can_be_skipped_alone(browser, own):
    data = json.loads((own / "pairs.js").read_text()[len('javisbench.receive("pairs",') : -3])
    (own / data["pairs"][0]["clips"][1]["video"]).write_bytes(b"no clip")
    opened(browser, own)
    browser.run("document.getElementById('go').click()")
    browser.wait(HINT.replace("return ", "return /cannot be played/.test(") + ")")
    assert not browser.run(READY)
    press(browser, "1")
    assert browser.run(TITLE) == "Pair 1 of 5"
    press(browser, "s")
    browser.wait(TITLE + " === 'Pair 2 of 5'")


@pytest.mark.parametrize("width", [360, 1024])
def test_it_fits_every_screen_and_is_quiet(browser, own, width):
    browser.look(width=width)
    opened(browser, own)
    browser.requests()
    fits = "return document.documentElement.scrollWidth <= innerWidth"
    assert browser.run(fits)
    begin(browser)
    assert browser.run(fits)
    tops = browser.run(
        "return Array.from(document.querySelectorAll('#stage figure'), f => f.getBoundingClientRect().y)"
    )
    assert (tops[0] < tops[1]) == (width < 600)
    assert browser.console() == []
    assert [url for url in browser.requests() if not url.startswith(("file:", "about:", "data:"))] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible(browser, own, axe, theme):
    browser.look(theme=theme)
    opened(browser, own)
    assert axe() == []
    begin(browser)
    assert axe() == []
    nodes = browser.cdp("Accessibility.getFullAXTree")["nodes"]
    said = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n.get("ignored")]
    assert {"Hear clip 1", "Hear clip 2", "1 Clip 1 is better"} <= {name for role, name in said if role == "button"}
