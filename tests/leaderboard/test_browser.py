"""The site in a real browser: Debian's chromium and chromium-driver, spoken to over WebDriver's HTTP interface.

Skipped where they are not installed. ``JAVISBENCH_SITE`` checks another site than the synthetic one; ``JAVISBENCH_AXE``
(path of axe-core's axe.min.js) adds the accessibility check.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from javisbench.metrics.registry import METRICS

pytestmark = pytest.mark.skipif(
    shutil.which("chromedriver") is None or shutil.which("chromium") is None,
    reason="needs Debian's chromium and chromium-driver",
)
AXE = os.environ.get("JAVISBENCH_AXE")


class Browser:
    """The little of WebDriver that these tests need."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1400,1000",
        ]
        wanted = {
            "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.root += f"/session/{answer['sessionId']}"

    def _call(self, method: str, path: str, data: Any = None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self.root + path, body, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["value"]

    def open(self, path: Path, fragment: str = "") -> None:
        self._call("POST", "/url", {"url": "about:blank"})
        self._call("POST", "/url", {"url": path.as_uri() + fragment})

    def run(self, script: str) -> Any:
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def run_async(self, script: str) -> Any:
        return self._call("POST", "/execute/async", {"script": script, "args": []})

    def cdp(self, command: str, **parameters: Any) -> Any:
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def log(self, kind: str) -> list[dict[str, Any]]:
        return self._call("POST", "/se/log", {"type": kind})

    def wait(self, script: str, seconds: float = 15.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.run(script)
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"Never came true: {script}")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def close(self) -> None:
        self._call("DELETE", "")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        browser = Browser(port)
        yield browser
        browser.close()
    finally:
        driver.terminate()
        driver.wait(timeout=10)


@pytest.fixture
def board(request: pytest.FixtureRequest) -> Path:
    given = os.environ.get("JAVISBENCH_SITE")
    return Path(given).resolve() if given else request.getfixturevalue("site")


def test_every_page_is_quiet_closed_and_accessible(browser, board):
    browser.log("browser"), browser.log("performance")
    for page in sorted(board.rglob("*.html")):
        browser.open(page)
        browser.wait("return document.readyState === 'complete'")
        assert browser.log("browser") == [], page
        urls = []
        for entry in browser.log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                urls.append(message["params"]["request"]["url"])
        assert [url for url in urls if not url.startswith(("file:", "about:", "data:"))] == [], page
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), page
        if AXE:
            violations = _axe(browser)
            assert [v for v in violations if v[0] in ("serious", "critical")] == [], page


def _axe(browser: Browser) -> list[list[Any]]:
    browser.cdp("Page.setBypassCSP", enabled=True)
    return browser.run_async(
        Path(str(AXE)).read_text(encoding="utf-8")
        + "; const done = arguments[0]; axe.run(document, {resultTypes: ['violations'], preload: false}).then("
        "r => done(r.violations.map(v => [v.impact, v.id, v.nodes[0].html.slice(0, 200)])));"
    )


def rows(browser: Browser) -> list[str]:
    return browser.run(
        "return Array.from(document.querySelectorAll('table[data-board] tbody th a')).map(a => a.textContent)"
    )


def test_sorting(browser, site):
    browser.open(site / "index.html")
    browser.wait("return document.querySelector('[aria-sort]') !== null")
    state = (
        "const h = document.querySelector('table[data-board] [data-metric={0}]'); return h.getAttribute('aria-sort')"
    )
    assert browser.run(state.format("javis_score")) == "descending"
    assert rows(browser)[:2] == ["Gamma", "Alpha"]
    click = "document.querySelector('table[data-board] [data-metric={0}] .dt-column-order').click()"
    browser.run(click.format("javis_score"))
    browser.wait(state.format("javis_score") + " === 'ascending'")
    assert rows(browser)[1:3] == ["Alpha", "Gamma"]
    # Lower is better: the first click brings the lowest to the top, and Gamma, without a value, is last either way.
    browser.run(click.format("fvd"))
    browser.wait(state.format("fvd") + " === 'ascending'")
    assert [rows(browser)[i] for i in (0, 2)] == ["Alpha", "Gamma"]
    browser.run(click.format("fvd"))
    browser.wait(state.format("fvd") + " === 'descending'")
    assert rows(browser)[2] == "Gamma"


def test_headings_can_be_reached_by_keyboard(browser, site):
    browser.open(site / "index.html")
    browser.wait("return document.querySelector('[aria-sort]') !== null")
    browser.run("document.querySelector('table[data-board] [data-metric=av_align] .dt-column-order').focus()")
    for kind in ("keyDown", "keyUp"):
        browser.cdp("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    browser.wait("return document.querySelector('[data-metric=av_align]').getAttribute('aria-sort') === 'descending'")


def test_filters_and_metrics(browser, site):
    browser.open(site / "index.html")
    browser.wait("return document.querySelector('[aria-sort]') !== null")
    fill = (
        "const f = document.getElementById('{0}'); f.value = '{1}';"
        "f.dispatchEvent(new Event('input', {{bubbles: true}}))"
    )
    browser.run(fill.format("f-family", "t2v+v2a"))
    assert len(rows(browser)) == 2 and "Alpha" not in rows(browser)
    browser.run(fill.format("f-family", ""))
    browser.run(fill.format("f-max", "2"))
    assert rows(browser) == ["Alpha"]
    assert "1 of" in browser.run("return document.getElementById('f-count').textContent")
    browser.run(fill.format("f-max", ""))
    browser.run(fill.format("f-model", "gam"))
    assert rows(browser) == ["Gamma"]
    browser.run("const b = document.querySelector('[name=metric][value=fvd]'); b.click()")
    assert browser.run("return document.querySelector('table[data-board] [data-metric=fvd]') === null")


def test_theme(browser, site):
    browser.open(site / "index.html")
    ground = "return getComputedStyle(document.body).backgroundColor"
    for wanted, colour in (("dark", "rgb(18, 21, 27)"), ("light", "rgb(255, 255, 255)")):
        browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": wanted}])
        assert browser.run(ground) == colour
    browser.run("document.getElementById('theme').click()")
    assert browser.run(ground) == "rgb(18, 21, 27)"
    browser.open(site / "published.html")
    assert browser.run(ground) == "rgb(18, 21, 27)"
    browser.run("document.getElementById('theme').click()")


def test_one_sample(browser, site):
    (page,) = (site / "samples").glob("alpha-demo-javisbench-v1-*.html")
    browser.open(page, "#sample_0000")
    browser.wait("return !document.getElementById('detail').hidden")
    assert browser.run("return document.getElementById('detail-title').textContent") == "sample_0000"
    assert browser.run("return document.querySelectorAll('#detail svg').length") == 2
    assert browser.run("return document.querySelectorAll('#detail audio').length") == 1
    browser.wait("return document.querySelector('#detail video').readyState >= 1")
    assert browser.run("return document.querySelector('#detail video').videoWidth") > 0
    browser.run("document.querySelector('#samples tbody tr:nth-child(2) button').click()")
    browser.wait("return document.getElementById('detail-title').textContent === 'sample_0001'")
    assert browser.run("return location.hash") == "#sample_0001"
    assert browser.run("return document.activeElement.id") == "detail-title"
    assert browser.log("browser") == []


def test_samples_can_be_filtered(browser, site):
    page = next((site / "samples").glob("beta-*.html"))
    browser.open(page)
    browser.wait("return document.querySelectorAll('#samples tbody tr').length === 25")
    browser.run("document.getElementById('s-failed').click()")
    browser.wait("return document.querySelectorAll('#samples tbody tr').length === 1")
    assert browser.run("return document.querySelector('#samples tbody button').textContent") == "sample_0004"
    browser.run("document.querySelector('#samples tbody button').click()")
    browser.wait("return !document.getElementById('detail').hidden")
    text = browser.run("return document.getElementById('detail').textContent")
    assert "<img src=x onerror=alert(2)>" in text and "<script>alert(3)</script> ends early" in text
    assert browser.run("return document.querySelector('#detail img') === null")


def test_a_phone(browser, site):
    browser.cdp("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    for name in ("index.html", "models/alpha.html", "published.html"):
        browser.open(site / name)
        browser.wait("return document.readyState === 'complete'")
        assert browser.run("return document.documentElement.scrollWidth") == 390, name
    browser.cdp("Emulation.clearDeviceMetricsOverride")


@pytest.mark.slow
def test_a_large_board_stays_small_and_quick(browser, write_run, tmp_path):
    """30 models, 10,140 samples, 15 metrics: every page under 5 MB, and open in under 2 s."""
    from javisbench.leaderboard.build import build_site

    metrics = tuple(METRICS)[:15]
    prompt = "A street market at dusk: vendors call out, an accordion plays, rain drips on canvas roofs. " * 3
    runs = [
        write_run(f"Model {i:02d}", n=10140, shift=0.002 * i, seed=i, metrics=metrics, prompts=lambda _: prompt)
        for i in range(30)
    ]
    build_site(runs, tmp_path / "site")
    sizes = {path: path.stat().st_size for path in (tmp_path / "site").rglob("*") if path.is_file()}
    assert max(sizes.values()) < 5e6, max(sizes, key=sizes.__getitem__)
    pages = ["index.html", "aspects/event_scenario.html", "models/model-00.html"]
    pages.append(next(str(page.relative_to(tmp_path / "site")) for page in (tmp_path / "site" / "samples").iterdir()))
    for page in pages:
        browser.open(tmp_path / "site" / page)
        browser.wait("return performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
        browser.wait("return document.querySelector('.dt-column-order, table.run') !== null")
        assert browser.run("return performance.getEntriesByType('navigation')[0].loadEventEnd") < 2000, page
