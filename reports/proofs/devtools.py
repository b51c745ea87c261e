"""A headless Chromium spoken to in its own protocol (Chrome DevTools, by pipes): commands, their answers, events."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from ...system.errors import UsageError

QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
    "--remote-debugging-pipe",
)  # fmt: skip
PIPED = 'exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'
"""The browser reads commands from descriptor 3 and answers on 4."""
PATIENCE = 120
"""Seconds for one browser, from its start to its end."""


class Devtools:
    """A started browser, and one page of it once `session` is set."""

    def __init__(self, browser: subprocess.Popen[bytes]) -> None:
        assert browser.stdin is not None
        assert browser.stdout is not None
        self._to, self._from = browser.stdin, browser.stdout
        self._numbers, self._rest = count(1), b""
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []
        """What was told without being asked for, in order."""

    def ask(self, method: str, **given: Any) -> dict[str, Any]:
        """The answer to one command; a UsageError where the browser refuses or is gone."""
        number = next(self._numbers)
        asked = {"id": number, "method": method, "params": given}
        self._say(asked if self.session is None else {**asked, "sessionId": self.session})
        while (said := self._next()).get("id") != number:
            self.events.append(said)
        if "error" in said:
            raise UsageError(f"the browser refused {method}: {said['error']['message']}")
        answer: dict[str, Any] = said["result"]
        return answer

    def until(self, method: str) -> None:
        """Wait for an event that may have come already."""
        while not self.told(method):
            self.events.append(self._next())

    def told(self, method: str) -> list[dict[str, Any]]:
        """What the events of one kind say."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def value(self, expression: str) -> Any:
        """What an expression comes to in the page, a promise when it is kept."""
        found = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise UsageError(f"the page could not be asked: {found['exceptionDetails']}")
        return found["result"].get("value")

    def _say(self, asked: dict[str, Any]) -> None:
        try:
            self._to.write(json.dumps(asked).encode() + b"\0")
            self._to.flush()
        except BrokenPipeError:
            raise _ended() from None

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            some = self._from.read1(1 << 20)  # type: ignore[attr-defined]
            if not some:
                raise _ended()
            self._rest += some
        one, _, self._rest = self._rest.partition(b"\0")
        said: dict[str, Any] = json.loads(one)
        return said


def _ended() -> UsageError:
    return UsageError(f"the browser ended or took more than {PATIENCE} s; give a Chromium as --browser")


@contextmanager
def devtools(command: str, *options: str) -> Iterator[Devtools]:
    """A browser with a fresh profile; it is gone afterwards, and what it logs is written."""
    if shutil.which(command) is None:
        raise UsageError(f"no command {command} was found; give a Chromium as --browser")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        given = ["sh", "-c", PIPED, command, *QUIET, f"--user-data-dir={profile}", *options, "about:blank"]
        with subprocess.Popen(given, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as browser:
            patience = threading.Timer(PATIENCE, browser.kill)
            patience.start()
            try:
                yield (started := Devtools(browser))
                started.session = None
                started.ask("Browser.close")
                browser.wait()
            finally:
                patience.cancel()
                browser.kill()
