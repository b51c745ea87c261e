"""The positive control: pages that are wrong on purpose must be noticed, else nothing follows from a page that is not.

What is wrong with them for a checker of accessibility is so at one width or in one scheme only, which shows that the
checker looks at a page in the very view that it is asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...system.files import write_text
from .accessibility import Found
from .browser import PHONE, Browser, Seen, View

WRONG = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Control</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ color: #000; background: #fff; }}
@media (max-width: {PHONE}px) {{ .narrow {{ color: #eee; }} }}
@media (min-width: {PHONE}px) {{ .broad {{ color: #eee; }} }}
@media (prefers-color-scheme: dark) {{ .dark {{ color: #eee; }} }}
@media (prefers-color-scheme: light) {{ .light {{ color: #eee; }} }}
</style>
<main><h1>Control</h1><p class="narrow">one</p><p class="broad">two</p><p class="dark">three</p>
<p class="light">four</p>
<details><summary>five</summary><input></details>
<svg role="img" aria-label="six" viewBox="0 0 200 40"><circle cx="20" cy="20" r="15" fill="#000"/>
<text class="well" x="15" y="25" fill="#fff">6</text><text class="drawn" x="80" y="25" fill="#eee">seven</text></svg>
<img src="http://example.invalid/x.png"></main><script>console.log("heard")</script></html>"""
WIDE = """<!doctype html><html lang="en"><title>Control</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><p style="width:3000px">wide</p></html>"""


def unnoticed(browser: Browser, views: Sequence[View], axe: Path | None, scratch: Path) -> list[str]:
    """What went unnoticed of what is wrong on purpose, and what was noticed although it is right."""
    wrong, wide = scratch / "control.html", scratch / "control-wide.html"
    write_text(wrong, WRONG)
    write_text(wide, WIDE)
    missed = []
    for view in views:
        noticed = _noticed(view, browser.look(wrong, view, axe))
        noticed["the width"] = browser.look(wide, view).content > view.width
        missed += [f"control, {view.title}: {what} went unnoticed" for what, seen in noticed.items() if not seen]
    wrong.unlink()
    wide.unlink()
    return missed


def _noticed(view: View, seen: Seen) -> dict[str, bool]:
    found = {
        "the console": "heard" in seen.messages,
        "the request": "http://example.invalid/x.png" in seen.requests,
    }
    return found if seen.accessible is None else {**found, **dict(_accessible(view, seen.accessible))}


def _accessible(view: View, found: Found) -> Iterator[tuple[str, bool]]:
    said = " ".join(found.violations)
    yield "pale text in a drawing", [one.partition(":")[0] for one in found.pale] == [".drawn"]
    yield "a folded field without a label", "label" in [one.partition(":")[0] for one in found.violations]
    yield "a picture without words", "image-alt" in said
    pale: Mapping[str, bool] = {
        "narrow": view.width < PHONE, "broad": view.width >= PHONE, "dark": view.dark, "light": not view.dark,
    }  # fmt: skip
    for name, there in pale.items():
        yield f"that text is{'' if there else ' not'} pale (.{name})", (f".{name} " in said) == there
