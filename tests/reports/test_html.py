"""The page stands alone, runs nothing, shows everything, and cannot be broken by what it shows."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from sidelight.reports.html import html
from sidelight.reports.results import read_audit

VOID = {"meta", "br", "line", "circle", "rect", "path"}


class Page(HTMLParser):
    """The tags, attributes and text of a page; fails where tags do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[tuple[str, str]] = []
        """Class and text of each table row."""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append((dict(attrs).get("class") or "", ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "tr" in self.open:
            style, text = self.rows[-1]
            self.rows[-1] = (style, f"{text} {data}")


@pytest.fixture
def page(out: Path) -> str:
    return html(read_audit(out))


def test_tags_nest_and_close(page: str) -> None:
    assert Page(page).open == []


def test_nothing_is_loaded_from_outside_and_nothing_runs(page: str) -> None:
    for sign in ("http:", "https:", "//", "url(", "@import", "@font-face", "javascript:"):
        assert sign not in page
    tags = Page(page).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    for _, attributes in tags:
        assert not [name for name in attributes if name == "src" or name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")


def test_every_link_has_its_target(page: str) -> None:
    tags = Page(page).tags
    targets = {attributes.get("id") for _, attributes in tags}
    links = {str(attributes["href"]).removeprefix("#") for _, attributes in tags if "href" in attributes}
    assert links <= targets


def test_hostile_text_is_shown_and_not_run(page: str) -> None:
    assert "&lt;script&gt;alert(&#39;17&#39;)&lt;/script&gt;" in page
    assert "&lt;b&gt;lost_card_label&lt;/b&gt;" in page
    assert "<b>lost_card_label" not in page


def test_failed_cells_stand_with_their_reason(page: str) -> None:
    failed = [text for style, text in Page(page).rows if style == "failed"]
    assert len(failed) == 2
    assert "could not read 'secret word'" in failed[0]
    assert "ran past 60 s" in failed[1]


def test_unaudited_kinds_are_red_rows(page: str) -> None:
    red = [text.split()[0] for style, text in Page(page).rows if style == "unaudited"]
    assert red == ["activations", "activations", "held:", "activations"]


def test_exact_bytes_and_messages_are_shown(page: str) -> None:
    (seen,) = [text for _, text in Page(page).rows if "614,400,000" in text]
    assert seen.split() == ["activations", "device", "→", "server", "630", "614,400,000", "614,400", "match"]


def test_each_drawing_says_in_words_what_it_shows(page: str) -> None:
    drawings = [attributes for tag, attributes in Page(page).tags if tag == "svg" and "aria-hidden" not in attributes]
    assert len(drawings) == 4 + 5  # runs with scores, and the utility of each run
    assert all(drawing.get("role") == "img" for drawing in drawings)
    assert "sign on labels: 0.997 [0.977, 1.000], outsider 0.412 [0.372, 0.452]" in page


def test_the_answer_names_what_leaked_what_failed_and_how_far_the_figures_reach(page: str) -> None:
    assert (
        "the server learned the labels under mobillm (precision=fp32), pae (difference=probability) and split "
        "(bottom=frozen, cut=2); and the texts under mobillm (precision=fp32)."
    ) in page
    assert "refuted: labels (v1, v2)." in page
    assert "2 attacks failed" in page
    assert "conditional on one victim" in page


def test_recovered_words_are_marked_in_the_original_and_wrong_ones_in_the_guess(page: str) -> None:
    assert "<mark>Transfer 250</mark> euros <mark>to</mark> Ada 4929" in page
    assert "Transfer 250 <del>dollars</del> to" in page
