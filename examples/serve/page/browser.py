"""Headless Chromium by its DevTools protocol over a pipe: nothing to install beside it.

with Browser() as browser:
    browser.open("http://127.0.0.1:8000/")
    browser.evaluate("document.title")
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time

# Chromium reads and writes the files 3 and 4. Placed by a process of its own: code
# between fork and exec is not safe where threads run.
LAUNCH = """
import os, sys
copies = [os.dup(int(place)) for place in sys.argv[1:3]]
for copy, place in zip(copies, (3, 4)):
    os.dup2(copy, place)
    os.set_inheritable(place, True)
os.execv(sys.argv[3], sys.argv[3:])
"""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """Returns the path of a Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A browser with one page.

    Args:
        width: of the page, in pixels.
        height: likewise.
        seconds: that anything waited for may take.

    Attributes:
        requests: what the page asked for, a list of {"url", "method", ...}.
        complaints: errors of its scripts and of its console, a list of str.
    """

    def __init__(self, width: int = 1200, height: int = 800, seconds: float = 20):
        path = find()
        if path is None:
            raise FileNotFoundError(f"none of {', '.join(NAMES)} is installed")
        self.requests, self.complaints = [], []
        self._seconds = seconds
        self._size = width, height
        self._command = [
            path,
            "--headless",
            # Tests run as root in containers, where there is no sandbox.
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--hide-scrollbars",
            "--force-color-profile=srgb",
            "--remote-debugging-pipe",
        ]
        self._last = 0

    def __enter__(self):
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()

        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", LAUNCH, str(theirs_in), str(theirs_out)),
                *(*self._command, f"--user-data-dir={self._profile.name}"),
            ],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer = b""
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call(
            "Target.attachToTarget", targetId=target, flatten=True
        )["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")
        self.resize(*self._size)
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._profile.cleanup()

    def call(self, method: str, **parameters) -> dict:
        """Calls a method of the protocol and returns its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._note(answer)

    def _receive(self):
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], self._seconds)[0]:
                raise TimeoutError(f"the browser said nothing in {self._seconds} s")
            part = os.read(self._in, 1 << 20)
            if not part:
                raise RuntimeError("the browser ended")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        values = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(values["request"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(values["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(values["args"]))
            case "Log.entryAdded":
                self.complaints.append(values["entry"]["text"])

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        """Gives the page a size, and light or dark colours."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        """Opens an address."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def evaluate(self, expression: str):
        """Returns the value of an expression of JavaScript; promises are awaited."""
        found = self.call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait(self, expression: str) -> None:
        """Waits until an expression holds; raises TimeoutError if it does not."""
        end = time.monotonic() + self._seconds
        while not self.evaluate(expression):
            if time.monotonic() > end:
                raise TimeoutError(
                    f"{expression} did not hold. The page says: {self.complaints}"
                )
            time.sleep(0.03)

    def set_file(self, selector: str, path: str) -> None:
        """Chooses a file in an input of files."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def screenshot(self) -> bytes:
        """Returns a picture of what is seen, as PNG."""
        found = self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(found["data"])
