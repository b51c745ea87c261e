"""What the proof in a browser says of what it saw; the browser itself is no part of the tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sidelight.reports.proofs.accessibility import Found
from sidelight.reports.proofs.browser import Browser, Seen, View
from sidelight.reports.proofs.control import unnoticed
from sidelight.reports.proofs.page import VIEWS, problems

PHONE = View("phone", 390, False)
JUDGED = Found(width=390, violations=(), pale=(), measured=7, undecided=())
FINE = Seen((), (), seconds=0.3, width=390, content=390, dark=False, accessible=JUDGED)


@dataclass(frozen=True)
class Sharp(Browser):
    """Sees all that is wrong with the controls, but for what is `blind`; axe-core looks in `inside` px, if given."""

    blind: str = ""
    inside: int | None = None

    def look(self, page: Path, view: View, axe: Path | None = None, picture: Path | None = None) -> Seen:
        width = self.inside or view.width
        pale = {"narrow": width < 600, "broad": width >= 600, "dark": view.dark, "light": not view.dark}
        told = ["image-alt: ...", "label: ...", " ".join(f".{name} pale" for name, there in pale.items() if there)]
        accessible = Found(width, tuple(one for one in told if one != self.blind), (".drawn: contrast 1.2",), 2, ())
        seen = Seen(("heard",), ("http://example.invalid/x.png",), 0.1, view.width, 3000, view.dark, accessible)
        return replace(seen, **self._unseen(view))

    def _unseen(self, view: View) -> Mapping[str, Any]:
        unseen: Mapping[str, Any] = {"messages": (), "requests": (), "content": view.width}
        return {self.blind: unseen[self.blind]} if self.blind in unseen else {}


def test_nothing_is_wrong_with_a_page_that_is_as_it_should_be() -> None:
    assert list(problems(PHONE, FINE)) == []
    assert list(problems(PHONE, replace(FINE, accessible=None))) == []


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (replace(FINE, messages=("refused to load",)), "console: refused to load"),
        (replace(FINE, requests=("http://a.b/c",)), "asks for http://a.b/c"),
        (replace(FINE, dark=True), "was shown dark, so that nothing follows"),
        (replace(FINE, width=500), "was 500 px wide inside instead of 390, so that nothing follows"),
        (replace(FINE, content=391), "is 391 px wide and has to be moved sideways"),
        (replace(FINE, seconds=2.0), "took 2.00 s until its first screen was drawn; 2.0 is the bound"),
        (replace(FINE, accessible=replace(JUDGED, width=500)), "was judged in 500 px instead of 390"),
        (replace(FINE, accessible=replace(JUDGED, violations=("label: x",))), "accessibility: label: x"),
        (replace(FINE, accessible=replace(JUDGED, pale=("text: contrast 2",))), "accessibility: text: contrast 2"),
        (replace(FINE, accessible=replace(JUDGED, undecided=("aria: y",))), "to be decided by a person: aria: y"),
    ],
)
def test_each_thing_that_is_wrong_is_told(seen: Seen, said: str) -> None:
    (found,) = problems(PHONE, seen)
    assert said in found


def test_pages_are_looked_at_on_phone_and_desk_light_and_dark() -> None:
    assert {(view.width, view.dark) for view in VIEWS} == {(390, False), (390, True), (1280, False), (1280, True)}


def test_a_browser_that_sees_what_is_wrong_on_purpose_is_trusted(tmp_path: Path) -> None:
    assert unnoticed(Sharp("a browser"), VIEWS, tmp_path / "axe.min.js", tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("blind", "said"),
    [
        ("messages", "the console"), ("requests", "the request"), ("content", "the width"),
        ("image-alt: ...", "a picture without words"), ("label: ...", "a folded field without a label"),
    ],
)  # fmt: skip
def test_a_browser_that_misses_something_proves_nothing(blind: str, said: str, tmp_path: Path) -> None:
    missed = unnoticed(Sharp("a browser", blind), VIEWS[:1], tmp_path / "axe.min.js", tmp_path)
    assert missed == [f"control, phone, light: {said} went unnoticed"]


def test_a_checker_that_looks_in_another_width_proves_nothing(tmp_path: Path) -> None:
    missed = unnoticed(Sharp("a browser", inside=1280), VIEWS[:1], tmp_path / "axe.min.js", tmp_path)
    assert missed == [
        "control, phone, light: that text is pale (.narrow) went unnoticed",
        "control, phone, light: that text is not pale (.broad) went unnoticed",
    ]
