"""A page in a headless Chromium: opened in a view of a given width, light or dark, and asked what is wrong with it.

Each opening is a browser of its own with a fresh profile. The width is emulated as developers emulate a phone, since a
window has a least width; the page is opened as it is, with its policy against scripts, and axe-core runs beside it.
"""

from __future__ import annotations

import base64
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .accessibility import Found, found
from .devtools import Devtools, devtools

HEIGHT = 900
PHONE = 600
"""Widths below it are emulated as a phone's, where a page that asks for more than the width is shown smaller."""
LATE = 300
"""Milliseconds after a page is drawn in which it may still ask for something."""
MEASURED = """({width: innerWidth, content: document.scrollingElement.scrollWidth,
  dark: matchMedia("(prefers-color-scheme: dark)").matches})"""


@dataclass(frozen=True)
class View:
    """How a page is looked at."""

    name: str
    width: int
    dark: bool

    @property
    def title(self) -> str:
        return f"{self.name}, {'dark' if self.dark else 'light'}"


@dataclass(frozen=True)
class Seen:
    """What one opening of a page showed."""

    messages: tuple[str, ...]
    """Of its console, with what its policy kept out."""
    requests: tuple[str, ...]
    """What it asked for beside itself."""
    seconds: float
    """From the command to open it until its first screen was drawn."""
    width: int
    """Of the view, as the page has it."""
    content: int
    """How wide the page is."""
    dark: bool
    accessible: Found | None
    """None where axe-core was not asked."""


@dataclass(frozen=True)
class Browser:
    """A Chromium by its command."""

    command: str

    def look(self, page: Path, view: View, axe: Path | None = None, picture: Path | None = None) -> Seen:
        """Open a page; its first screen goes to `picture`."""
        with tempfile.TemporaryDirectory() as scratch:
            log = Path(scratch) / "net.json"
            with devtools(self.command, f"--log-net-log={log}") as tools:
                _prepare(tools, view)
                seconds, drawn = _opened(tools, page)
                tools.value(f"new Promise(kept => setTimeout(kept, {LATE}))")
                messages, asked = _messages(tools), _asked(tools)
                measured = tools.value(MEASURED)
                accessible = None if axe is None else found(tools, axe)
            requests = {*asked, *_left(log)} - {page.resolve().as_uri()}
        if picture is not None:
            picture.write_bytes(drawn)
        return Seen(messages, tuple(sorted(requests)), seconds, accessible=accessible, **measured)


def _prepare(tools: Devtools, view: View) -> None:
    target = tools.ask("Target.createTarget", url="about:blank")["targetId"]
    tools.session = tools.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for room in ("Page", "Runtime", "Log", "Network"):
        tools.ask(f"{room}.enable")
    size = {"width": view.width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": view.width < PHONE}
    tools.ask("Emulation.setDeviceMetricsOverride", **size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if view.dark else "light"}
    tools.ask("Emulation.setEmulatedMedia", features=[scheme])


def _opened(tools: Devtools, page: Path) -> tuple[float, bytes]:
    """Seconds until the first screen was drawn, and the screen."""
    began = time.monotonic()
    tools.ask("Page.navigate", url=page.resolve().as_uri())
    tools.until("Page.loadEventFired")
    drawn = tools.ask("Page.captureScreenshot", format="png")["data"]
    return time.monotonic() - began, base64.b64decode(drawn)


def _messages(tools: Devtools) -> tuple[str, ...]:
    logged = [told["entry"]["text"] for told in tools.told("Log.entryAdded")]
    said = [" ".join(_text(one) for one in told["args"]) for told in tools.told("Runtime.consoleAPICalled")]
    thrown = [told["exceptionDetails"]["text"] for told in tools.told("Runtime.exceptionThrown")]
    return (*logged, *said, *thrown)


def _text(argument: dict[str, Any]) -> str:
    return str(argument.get("value", argument.get("description", argument["type"])))


def _asked(tools: Devtools) -> list[str]:
    return [told["request"]["url"] for told in tools.told("Network.requestWillBeSent")]


def _left(log: Path) -> list[str]:
    """What went to the network; a browser's own requests have no origin."""
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    told = [event["params"] for event in events if "initiator" in event.get("params", {})]
    return [one["url"] for one in told if one["initiator"] != "not an origin" and "url" in one]
