"""Proof that a report's pages open in a real browser as they should: phone and desk, light and dark.

    python -m sidelight.reports.proofs.page DIR [--against DIR2] [--browser chromium] [--axe axe.min.js] [--cells 500]
                                            [--out FOLDER]

Takes the finished audit in DIR and writes its page, one with the same rows and curves repeated to so many cells, and
its comparison with the audit in DIR2 (without one with itself, where nothing changed and most of that page is absent).
Each is opened at both widths, light and dark. It fails where the console holds a message, a page asks for anything, is
wider than its view, has 5 MB or takes 2 s until its first screen is drawn, or where axe-core finds anything (MPL-2.0,
`npm pack axe-core`; not part of Sidelight), and where a page that is wrong on purpose goes unnoticed. Screenshots of
the first screens go to FOLDER, to be looked at by a person.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...system.errors import SidelightError
from ...system.files import write_text
from ..formats import comparison
from ..formats.html import html
from ..stored.results import Audit, read_audit
from .accessibility import Found
from .browser import Browser, Seen, View
from .control import unnoticed
from .many import repeated

LARGEST = 5_000_000
"""Bytes of a page."""
SLOWEST = 2.0
"""Seconds until the first screen of a page is drawn."""
VIEWS = tuple(View(name, width, dark) for name, width in (("phone", 390), ("desk", 1280)) for dark in (False, True))


def written(audit: Audit, against: Audit, cells: int, out: Path) -> tuple[Path, ...]:
    """The pages to open."""
    compared = comparison.compared(audit, against, ("first", "second"))
    texts = {
        "report.html": html(audit),
        f"report-{cells}.html": html(repeated(audit, cells)),
        "comparison.html": comparison.FORMATS["html"](compared),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    return tuple(out / name for name in texts)


def check(pages: Sequence[Path], browser: Browser, axe: Path | None) -> list[str]:
    """What is wrong with pages; screenshots go beside them."""
    wrong = unnoticed(browser, VIEWS, axe, pages[0].parent)
    for page in pages:
        size = page.stat().st_size
        print(f"{page.name}: {size / 1e6:.2f} MB")
        wrong += [f"{page.name} has {size:,} bytes; {LARGEST:,} is the bound"] if size >= LARGEST else []
        for view in VIEWS:
            seen = browser.look(page, view, axe, page.with_name(f"{page.stem}-{view.title.replace(', ', '-')}.png"))
            print(f"{page.name}, {view.title}: {told(seen)}")
            wrong += [f"{page.name}, {view.title}: {one}" for one in problems(view, seen)]
    return wrong


def told(seen: Seen) -> str:
    """What was seen, in figures."""
    found = seen.accessible
    judged = "not checked" if found is None else (
        f"{len(found.violations)} violations, {len(found.pale)} pale of {found.measured} texts measured beside"
    )  # fmt: skip
    return (
        f"drawn in {seen.seconds:.2f} s, {seen.width} px wide inside, {len(seen.messages)} console messages, "
        f"{len(seen.requests)} requests, accessibility: {judged}"
    )


def problems(view: View, seen: Seen) -> Iterator[str]:
    """What is wrong with one opening of a page."""
    yield from (f"console: {message}" for message in seen.messages)
    yield from (f"asks for {url}" for url in seen.requests)
    if seen.dark != view.dark:
        yield f"was shown {'dark' if seen.dark else 'light'}, so that nothing follows"
    if seen.width != view.width:
        yield f"was {seen.width} px wide inside instead of {view.width}, so that nothing follows"
    if seen.content > view.width:
        yield f"is {seen.content} px wide and has to be moved sideways"
    if seen.seconds >= SLOWEST:
        yield f"took {seen.seconds:.2f} s until its first screen was drawn; {SLOWEST} is the bound"
    if seen.accessible is not None:
        yield from _inaccessible(view, seen.accessible)


def _inaccessible(view: View, found: Found) -> Iterator[str]:
    if found.width != view.width:
        yield f"was judged in {found.width} px instead of {view.width}, so that nothing follows"
    yield from (f"accessibility: {one}" for one in (*found.violations, *found.pale))
    yield from (f"accessibility, to be decided by a person: {one}" for one in found.undecided)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A report's pages in a real browser.")
    parser.add_argument("audit", type=Path, help="the folder of a finished audit")
    parser.add_argument("--against", type=Path, help="another one for the page that compares two; without it the same")
    parser.add_argument("--browser", default="chromium", help="a Chromium's command")
    parser.add_argument("--axe", type=Path, help="axe.min.js; without it accessibility is not checked")
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--out", type=Path, help="where pages and screenshots stay")
    return parser.parse_args()


def main() -> None:
    """Check the pages of the audit named on the command line; status 1 where anything is wrong."""
    options = _options()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            out = options.out or Path(scratch)
            out.mkdir(parents=True, exist_ok=True)
            audit = read_audit(options.audit)
            against = audit if options.against is None else read_audit(options.against)
            wrong = check(written(audit, against, options.cells, out), Browser(options.browser), options.axe)
    except SidelightError as error:
        sys.exit(str(error))
    if options.axe is None:
        print("accessibility: not checked, no --axe")
    print("\n".join(wrong) if wrong else "nothing is wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
