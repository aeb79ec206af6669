"""A real browser for tests: Debian's chromium and chromium-driver, spoken to over WebDriver's HTTP interface.

``JAVISBENCH_BROWSER=required`` makes a missing browser a failure; without it, the tests skip. ``JAVISBENCH_AXE`` (path
of axe-core's axe.min.js) adds the accessibility checks.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

AXE = os.environ.get("JAVISBENCH_AXE")
QUIET = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync --window-size=1400,1000"
)


def missing() -> str:
    """What this machine lacks of a browser, or nothing."""
    lacking = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"needs Debian's chromium and chromium-driver; not found: {', '.join(lacking)}" if lacking else ""


class Browser:
    """The little of WebDriver that these tests need."""

    def __init__(self, port: int, profile: str) -> None:
        self.root = f"http://127.0.0.1:{port}"
        arguments = [*QUIET.split(), f"--user-data-dir={profile}"]
        wanted = {
            "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.root += f"/session/{answer['sessionId']}"
        # The page of a new tab loads for a while, and would be taken for the first page's.
        self._call("POST", "/url", {"url": "about:blank"})

    def _call(self, method: str, path: str, data: Any = None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self.root + path, body, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=300) as response:
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

    def wait(self, script: str, seconds: float = 60.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.run(script)
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"Never came true: {script}")

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG file."""
        width, height = self.run("return [innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self._call("DELETE", "")

    def console(self) -> list[str]:
        """What the page has complained of since the last call."""
        return [entry["message"] for entry in self.log("browser")]

    def requests(self) -> list[str]:
        """Addresses that were asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def look(self, *, width: int = 0, theme: str = "") -> None:
        """Show pages at this width (0: the window's own) and in this of the system's themes."""
        if width:
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
            self.cdp("Emulation.setDeviceMetricsOverride", **size)
        else:
            self.cdp("Emulation.clearDeviceMetricsOverride")
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def press(self, key: str, code: int, text: str = "", modifiers: int = 0) -> None:
        for kind in ("keyDown", "keyUp"):
            parameters = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
            self.cdp("Input.dispatchKeyEvent", **parameters, **({"text": text} if text else {}))

    def violations(self) -> list[list[Any]]:
        """Serious and critical findings of axe-core on the open page: (impact, rule, first element)."""
        assert AXE, "JAVISBENCH_AXE names axe-core's axe.min.js"
        self.cdp("Page.setBypassCSP", enabled=True)
        found = self.run_async(
            Path(AXE).read_text(encoding="utf-8")
            + "; const done = arguments[0]; axe.run(document, {resultTypes: ['violations'], preload: false}).then("
            "r => done(r.violations.map(v => [v.impact, v.id, v.nodes[0].html.slice(0, 200)])));"
        )
        return [violation for violation in found if violation[0] in ("serious", "critical")]


@contextmanager
def started() -> Iterator[Browser]:
    """A browser with an empty profile of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        with tempfile.TemporaryDirectory(prefix="javisbench-browser-", ignore_cleanup_errors=True) as profile:
            browser = Browser(port, profile)
            try:
                yield browser
            finally:
                browser.close()
    finally:
        driver.terminate()
        driver.wait(timeout=30)
