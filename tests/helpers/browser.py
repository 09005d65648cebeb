"""A browser for tests of pages."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64decode
from pathlib import Path


class Browser:
    """A headless Chromium, through the WebDriver protocol: HTTP and JSON, no library needed."""

    def __init__(self, folder: Path, width: int = 1100, height: int = 800):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.driver = subprocess.Popen(
            [shutil.which("chromedriver"), f"--port={port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.base = f"http://127.0.0.1:{port}"
        self.wait(lambda: self._ready(), "chromedriver")
        flags = (
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
            "--disable-background-networking --disable-component-update --disable-sync "
            f"--disable-dev-shm-usage --user-data-dir={folder / 'profile'} "
            f"--window-size={width},{height}"
        ).split()
        options = {
            "args": flags,
            "binary": shutil.which("chromium"),
            "prefs": {"download.default_directory": str(folder)},
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL"}}
        try:
            made = self.send("POST", "/session", capabilities={"alwaysMatch": wanted})
        except BaseException:
            self.driver.kill()
            raise
        self.base += f"/session/{made['sessionId']}"

    def _ready(self) -> bool:
        try:
            return self.send("GET", "/status")["ready"]
        except urllib.error.URLError:
            return False

    def send(self, method: str, path: str, **body):
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def wait(self, condition, what: str, seconds: float = 120):
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"waited {seconds} s for {what}"
            time.sleep(0.02)
        return found

    def open(self, url: str) -> None:
        self.send("POST", "/url", url=url)

    def reload(self) -> None:
        self.send("POST", "/refresh")

    def ask(self, script: str, *arguments):
        return self.send("POST", "/execute/sync", script=f"return {script}", args=arguments)

    def element(self, selector: str) -> str:
        found = self.send("POST", "/element", using="css selector", value=selector)
        return next(iter(found.values()))

    def click(self, selector: str) -> None:
        self.send("POST", f"/element/{self.element(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        self.send("POST", f"/element/{self.element(selector)}/value", text=text)

    def press(self, key: str) -> None:
        keys = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self.send("POST", "/actions", actions=[{"type": "key", "id": "keys", "actions": keys}])

    def requests(self) -> list[str]:
        """Addresses of all requests since the last call, but the browser's own: its first tab loads
        pages of its own, which a busy machine still has open."""
        log = self.send("POST", "/se/log", type="performance")
        events = [json.loads(entry["message"])["message"] for entry in log]
        sent = [e for e in events if e["method"] == "Network.requestWillBeSent"]
        addresses = [event["params"]["request"]["url"] for event in sent]
        return [address for address in addresses if not address.startswith("chrome")]

    def screenshot(self, path: Path) -> None:
        path.write_bytes(b64decode(self.send("GET", "/screenshot")))

    def close(self) -> None:
        try:
            self.send("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(60)
