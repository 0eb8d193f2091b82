"""A real Chromium, spoken to in its own protocol (Chrome DevTools) over the websocket library we have anyway.

with Browser(find()) as browser, browser.tab(1280, 800) as tab:
    tab.go("http://127.0.0.1:15000/")
    tab.wait("document.title !== ''")
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

PATIENCE = 15.0
"""Seconds anything may take."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find() -> str | None:
    """The browser's program: CHROMIUM, or the first on the path."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class PageError(AssertionError):
    """JavaScript of the test failed, or what it waited for did not happen."""


class Browser:
    """A Chromium process of its own, with a profile that is thrown away."""

    def __init__(self, program: str) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="console-test-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [
                program,
                "--headless=new",
                "--no-sandbox",  # the tests may run as root, and the only pages are ours
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-extensions",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                "--mute-audio",
                "--force-device-scale-factor=1",
                "--remote-debugging-port=0",
                f"--user-data-dir={self._profile.name}",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._attached = ExitStack()
        self._socket: ClientConnection

    def __enter__(self) -> Self:
        try:
            self._socket = self._attached.enter_context(connect(self._address(), max_size=None, proxy=None))
        except BaseException:
            self.__exit__()
            raise
        return self

    def _address(self) -> str:
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if line.startswith("DevTools listening on "):
                return line.split()[-1]
        raise PageError(f"the browser did not start: {''.join(said[-5:])}")

    def __exit__(self, *_: object) -> None:
        self._attached.close()
        os.killpg(self._process.pid, signal.SIGKILL)  # its own session: every process of it, and no other
        self._process.wait(PATIENCE)
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._profile.cleanup()

    @contextmanager
    def tab(self, width: int, height: int, *, dark: bool = False) -> Iterator[Tab]:
        """A new tab of this size, in a context of its own: no cookies or storage of another one."""
        whole = Tab(self._socket, "")
        context = whole.send("Target.createBrowserContext")["browserContextId"]
        target = whole.send("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = whole.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self._socket, session)
        tab.begin(width, height, dark=dark)
        try:
            yield tab
        finally:
            whole.send("Target.disposeBrowserContext", browserContextId=context)


class Tab:
    """One tab. What its console complains about is kept in `complaints`."""

    def __init__(self, socket: ClientConnection, session: str) -> None:
        self._socket = socket
        self._session = session
        self._last = 0
        self.complaints: list[str] = []

    def begin(self, width: int, height: int, *, dark: bool) -> None:
        """Sets the size and the system's theme, and begins to listen."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.theme(dark=dark)

    def theme(self, *, dark: bool, still: bool = True) -> None:
        """What the system asks for: colors, and no motion."""
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.send("Emulation.setEmulatedMedia", features=features)

    def send(self, method: str, **parameters: Any) -> Any:
        """Calls a method of the protocol and waits for its answer; events meanwhile are looked through."""
        self._last += 1
        # Numbers must differ between tabs: answers say only number and session.
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=PATIENCE))
            if answer.get("sessionId", "") != self._session:
                continue
            if "method" in answer:
                self._notice(answer["method"], answer["params"])
            elif answer["id"] == self._last:
                if "error" in answer:
                    raise PageError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _notice(self, method: str, told: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in {"error", "warning", "assert"}:
            self.complaints.append(" ".join(str(item.get("value")) for item in told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {told['message']}")
            self.send("Page.handleJavaScriptDialog", accept=False)

    def forget(self) -> None:
        """Leaves the page, what it stored, its theme and its complaints behind."""
        self.run("location.protocol === 'http:' && localStorage.clear()")
        self.go("about:blank")
        self.wait("location.protocol === 'about:'")
        self.theme(dark=False)
        self.complaints.clear()

    def go(self, address: str) -> None:
        """Opens an address."""
        self.send("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """The value of an expression, awaited."""
        answer = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def wait(self, condition: str) -> Any:
        """The first true value of an expression; looks again whenever the page had time to change."""
        script = f"""new Promise((done, fail) => {{
            const until = performance.now() + {PATIENCE * 1000 - 2000};
            const look = () => {{
                let found = null;
                try {{ found = {condition}; }} catch (error) {{ found = null; }}
                if (found) done(found === true || typeof found !== "object" ? found : true);
                else if (performance.now() > until) fail(new Error("never: " + {json.dumps(condition)}
                    + " in " + document.body.innerText.slice(0, 600)));
                else setTimeout(look, 15);
            }};
            look();
        }})"""
        for _ in range(20):
            try:
                return self.run(script)
            except PageError as error:
                # The page that was asked went away for the next one.
                if "context" not in str(error) and "navigated" not in str(error):
                    raise
        raise PageError(f"the page never stays: {condition}")

    def press(self, key: str, *, shift: bool = False) -> None:
        """A key, as a person presses it."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}
        text = {"Enter": "\r", " ": " "}.get(key, "")
        common = {
            "key": key,
            "code": {" ": "Space"}.get(key, key),
            "windowsVirtualKeyCode": codes[key],
            "modifiers": 8 if shift else 0,
        }
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        """Text into what has the focus."""
        self.send("Input.insertText", text=text)

    def shoot(self, path: Path, *, most: int) -> None:
        """A picture of the page, `most` pixels high."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], most), "scale": 1}
        shot = self.send("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
