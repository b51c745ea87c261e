"""A headless Chromium, asked one thing at a time; each question is a process of its own with a fresh profile."""

from __future__ import annotations

import html
import json
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ...system.errors import UsageError

QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
    "--allow-file-access-from-files",
)  # fmt: skip
PATIENCE = 120
"""Seconds for one question."""
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
"""Keeps every script out of a page, so that it must go before one asks a script what is wrong with the page."""
ASK = """<script>axe.run().then(found => {
  const said = found.violations.map(one => one.id + ": " + one.help + " (" + one.nodes.length + ") "
    + one.nodes.slice(0, 3).map(node => node.target.join(" ") + " " + (node.any[0] || {}).message).join("; "));
  const told = document.createElement("pre"); told.id = "violations"; told.textContent = JSON.stringify(said);
  document.body.append(told);
});</script>"""


@dataclass(frozen=True)
class Browser:
    """A Chromium by its command."""

    command: str

    def console(self, page: Path) -> list[str]:
        """The messages of a page's console."""
        done = self._run(page, "--enable-logging=stderr", "--dump-dom")
        return [line for line in done.stderr.splitlines() if ":CONSOLE" in line]

    def requests(self, page: Path) -> list[str]:
        """What a page asked for; a browser's own requests have no origin."""
        with tempfile.TemporaryDirectory() as scratch:
            log = Path(scratch) / "net.json"
            self._run(page, f"--log-net-log={log}", "--dump-dom")
            events = json.loads(log.read_text(encoding="utf-8"))["events"]
        told = [event["params"] for event in events if "initiator" in event.get("params", {})]
        return sorted({one["url"] for one in told if one["initiator"] != "not an origin" and "url" in one})

    def screenshot(self, page: Path, width: int, height: int, to: Path) -> None:
        """The first screen; in a frame, since a window has a least width."""
        with tempfile.TemporaryDirectory() as scratch:
            self._run(
                _framed(page, width, height, Path(scratch)), f"--window-size={width},{height}", f"--screenshot={to}"
            )

    def seconds(self, page: Path, times: int = 3) -> float:
        """Until a page is drawn, from the start of the browser: the least of some times."""
        taken = []
        with tempfile.TemporaryDirectory() as scratch:
            for _ in range(times):
                began = time.monotonic()
                self._run(page, "--window-size=1280,900", f"--screenshot={scratch}/page.png")
                taken.append(time.monotonic() - began)
        return min(taken)

    def violations(self, page: Path, axe: Path, width: int, dark: bool) -> list[str]:
        """What axe-core finds in a copy of the page that lets its script in."""
        text = POLICY.sub("", page.read_text(encoding="utf-8"))
        if dark:
            text = text.replace("(prefers-color-scheme: dark)", "all")
        script = axe.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "copy.html"
            copy.write_text(text.replace("</body>", f"<script>{script}</script>{ASK}</body>"), encoding="utf-8")
            size = f"--window-size={max(width, 500)},900"
            done = self._run(copy, size, "--virtual-time-budget=60000", "--dump-dom")
        found = re.search(r'<pre id="violations">(.*?)</pre>', done.stdout, re.S)
        if found is None:
            raise UsageError(f"{axe} found nothing to say of {page.name}; give the axe.min.js of axe-core")
        said: list[str] = json.loads(html.unescape(found.group(1)))
        return said

    def _run(self, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as profile:
            given = [self.command, *QUIET, f"--user-data-dir={profile}", *options, page.resolve().as_uri()]
            try:
                return subprocess.run(given, capture_output=True, text=True, timeout=PATIENCE, check=True)
            except FileNotFoundError:
                raise UsageError(f"no command {self.command} was found; give a Chromium as --browser") from None
            except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
                raise UsageError(f"{self.command} did not open {page.name}: {error}") from None


def _framed(page: Path, width: int, height: int, scratch: Path) -> Path:
    frame = scratch / "frame.html"
    frame.write_text(
        f'<!doctype html><body style="margin:0"><iframe src="{html.escape(page.resolve().as_uri())}" '
        f'width="{width}" height="{height}" style="border:0"></iframe>',
        encoding="utf-8",
    )
    return frame
