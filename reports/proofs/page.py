"""Proof that a report's page opens in a real browser as it should: phone and desk, light and dark.

    python -m sidelight.reports.proofs.page DIR [--browser chromium] [--axe axe.min.js] [--cells 500] [--out FOLDER]

Takes the finished audit in DIR, writes its page and one with the same rows repeated to so many cells, and opens both in
a headless browser. It fails where the console holds a message, where a request leaves the page, where the large page is
5 MB or more or takes 2 s longer than an empty page to be drawn, or where an accessibility checker finds
anything: axe-core (MPL-2.0, `npm pack axe-core`), which is not part of Sidelight. Screenshots go to FOLDER, to be
looked at by a person.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from ...system.errors import SidelightError
from ...system.files import write_text
from ..formats.html import html
from ..stored.results import Audit, read_audit
from .browser import Browser
from .many import repeated

LARGEST = 5_000_000
"""Bytes of the large page."""
SLOWEST = 2.0
"""Seconds until the large page is drawn."""
CONTROL = '<!doctype html><img src="http://example.invalid/x.png" alt=""><script>console.log("heard")</script>'
WIDTHS = {"phone": 390, "desk": 1280}
HEIGHT = 900


def check(audit: Audit, browser: Browser, axe: Path | None, cells: int, out: Path) -> list[str]:
    """What is wrong with an audit's page; screenshots and pages go to `out`."""
    page, large = out / "report.html", out / f"report-{cells}.html"
    write_text(page, html(audit))
    write_text(large, html(repeated(audit, cells)))
    write_text(out / "empty.html", "<!doctype html>")
    wrong = _blind(browser, out)
    wrong += [f"console of {one.name}: {line}" for one in (page, large) for line in browser.console(one)]
    wrong += [f"{page.name} asks for {url}" for url in browser.requests(page)]
    for name, width in WIDTHS.items():
        browser.screenshot(page, width, HEIGHT, out / f"{name}.png")
    wrong += list(_large(large, browser))
    if axe is not None:
        for dark in (False, True):
            for name, width in WIDTHS.items():
                found = browser.violations(page, axe, width, dark)
                print(f"accessibility, {name}, {'dark' if dark else 'light'}: {len(found)} violations")
                wrong += [f"{name}, {'dark' if dark else 'light'}: {one}" for one in found]
    return wrong


def _blind(browser: Browser, out: Path) -> list[str]:
    """The positive control: a page that loads something and speaks must be noticed."""
    page = out / "control.html"
    write_text(page, CONTROL)
    noticed = {"a request": browser.requests(page), "the console": browser.console(page)}
    page.unlink()
    return [
        f"{what} of the control went unnoticed, so that nothing follows" for what, told in noticed.items() if not told
    ]


def _large(page: Path, browser: Browser) -> list[str]:
    size, seconds, start = page.stat().st_size, browser.seconds(page), browser.seconds(page.with_name("empty.html"))
    print(
        f"{page.name}: {size / 1e6:.2f} MB, drawn {seconds - start:.2f} s after an empty page ({start:.2f} s) would be"
    )
    wrong = [] if size < LARGEST else [f"{page.name} has {size:,} bytes; {LARGEST:,} is the bound"]
    late = seconds - start >= SLOWEST
    return [*wrong, f"{page.name} took {seconds - start:.2f} s to open; {SLOWEST} is the bound"] if late else wrong


def main() -> None:
    """Check the page of the audit named on the command line; status 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description="A report's page in a real browser.")
    parser.add_argument("audit", type=Path, help="the folder of a finished audit")
    parser.add_argument("--browser", default="chromium", help="a Chromium's command")
    parser.add_argument("--axe", type=Path, help="axe.min.js; without it accessibility is not checked")
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--out", type=Path, help="where pages and screenshots stay")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            out = options.out or Path(scratch)
            out.mkdir(parents=True, exist_ok=True)
            audit = read_audit(options.audit)
            wrong = check(audit, Browser(options.browser), options.axe, options.cells, out)
    except SidelightError as error:
        sys.exit(str(error))
    if options.axe is None:
        print("accessibility: not checked, no --axe")
    print("\n".join(wrong) if wrong else "nothing is wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
