"""The page stands alone, runs nothing, shows everything, and cannot be broken by what it shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sidelight.reports.formats.html import html
from sidelight.reports.stored.results import read_audit

from .folder import row, run, scored

Build = Callable[..., Path]

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


def test_tags_nest_whatever_an_audit_holds(full: Path) -> None:
    assert Page(html(read_audit(full))).open == []


def test_every_header_of_a_table_says_something(full: Path) -> None:
    page = html(read_audit(full))
    assert page.count("<th ") > 100
    assert re.findall(r"<th\b[^>]*>\s*</th>", page) == []


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
    assert len(drawings) == 4 + 5 + 2  # runs with scores, the utility of each run, two panels of a front
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


@pytest.fixture(scope="module")
def six(victims: Callable[[int], Path]) -> str:
    return html(read_audit(victims(6)))


def test_identities_are_used_once_and_every_drawing_refers_to_its_own(full: Path) -> None:
    tags = Page(html(read_audit(full))).tags
    identities = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(identities) == len(set(identities))
    labels = " ".join(str(attributes["aria-labelledby"]) for _, attributes in tags if "aria-labelledby" in attributes)
    assert set(labels.split()) <= set(identities)


def test_the_best_of_several_is_headed_and_explained(six: str) -> None:
    best = [text for style, text in Page(six).rows if style == "best"]
    assert len(best) == 3
    assert "best of 4" in best[0]
    assert "chosen on one half of the rows, reported on the other: sign; among addback, sign, norm, composite" in six
    assert "<b>Best of N</b>: best of N, chosen on one half of the rows, reported on the other." in six


def test_where_a_best_row_decides_every_goal_nothing_is_called_optimistic(
    page: str, tmp_path: Path, build: Build
) -> None:
    assert "slightly optimistic" in page
    lines = [
        row(
            "x-0", "x", attack, "labels", role=role, among=["sign", "norm"], **scored(0.9, 0.4, "leaks", "accuracy", [])
        )
        for attack, role in (("sign", "row"), ("norm", "row"), ("best", "row"))
    ]
    audit = read_audit(build(tmp_path / "best", runs=[run("x-0", "x", [])], rows=lines, examples={}))
    assert "slightly optimistic" not in html(audit)


def test_controls_stand_under_their_row_with_their_outcome(six: str) -> None:
    beneath = [" ".join(text.split()) for style, text in Page(six).rows if style == "beneath"]
    (addback,) = [text for text in beneath if ": failed" in text and "undefended" in text and "key" not in text]
    assert "control undefended 0.990 [0.970, 1.000], advantage 0.988 [0.958, 1.018]: succeeded" in addback
    assert "control weakest 0.410 [0.390, 0.430], advantage 0.262 [0.232, 0.292]: failed" in addback
    assert "control labels reassigned 0.240 [0.220, 0.260], advantage 0.050 [0.020, 0.080]" in addback


def test_victims_fold_under_the_row_over_them(six: str) -> None:
    assert "<summary>each of 6 victims</summary>" in six
    assert "<li>victim 3: 0.985 [0.965,\N{NO-BREAK SPACE}0.988]; blind 0.412" in six


def test_verdicts_tell_the_corrected_p_value_the_scope_and_their_doubt(six: str) -> None:
    for said in ("Holm p &lt; 0.001", "over 6 victims", "<small>no control</small>", "<small>a control failed</small>"):
        assert said in six
    assert "no leak after Holm\N{RIGHT SINGLE QUOTATION MARK}s correction" in six


def test_rows_labelled_by_coin_are_a_line_of_their_own(six: str) -> None:
    lines = [" ".join(text.split()) for _, text in Page(six).rows]
    assert any(line.startswith("sign ours labels random row accuracy strict disclosure 0.980") for line in lines)
    assert "chance is exactly 1/K" in six


def test_every_judged_curve_is_drawn_and_its_points_are_listed(six: str) -> None:
    drawn = [attributes for tag, attributes in Page(six).tags if tag == "svg" and attributes.get("role") == "img"]
    curves = [one for one in drawn if str(one["aria-labelledby"]).startswith("curve-")]
    assert len(curves) == 6
    assert six.count("<summary>The points</summary>") == 6
    assert "16: failed, ran past 300 s." in six
    assert "Other metrics along defence.sigma (1)" in six


def test_failed_controls_are_listed(six: str) -> None:
    assert "control pae (defence.name=gaussian, defence.sigma=0.01), norm on labels: ran past 300 s" in six


def test_each_victim_s_own_row_says_whose_it_is(victims: Callable[[int], Path]) -> None:
    page = html(read_audit(victims(3)))
    assert page.count("sign, victim 2") > 1
    assert "an interval over victims takes at least 5 (<code>--seeds 5</code>)" in page


def test_a_defended_run_shows_what_it_promises_and_costs_beside_the_undefended_one(full: Path) -> None:
    page = html(read_audit(full))
    assert page.count("<h3>Defences and their price</h3>") == 1
    assert "Promised: epsilon 2, delta 1e-05 for one label (not audited)" in page
    assert "at least 1.25 of the 2.50 nats of a label" in page
    lines = [" ".join(text.split()) for _, text in Page(page).rows]
    lost = "0.220 [0.180,\N{NO-BREAK SPACE}0.260],\N{NO-BREAK SPACE}more than 2 points"
    assert "defended 0.580 " + lost.replace("\N{NO-BREAK SPACE}", " ") + " 4,704 310 4.2" in lines
    assert "undefended 0.800 4,600 300 3.1" in lines
    assert f"<small>loss {lost}</small>" in page
    assert "<small>undefended 4,600</small>" in page


def test_a_defended_run_without_its_control_says_that_it_has_no_price(tmp_path: Path, build: Build) -> None:
    bare = run("x-0", "x", [], defences={"rotate": {}})
    lines = [row("x-0", "x", "sign", "labels", **scored(0.9, 0.4, "leaks", "accuracy", []))]
    page = html(read_audit(build(tmp_path / "out", runs=[bare], rows=lines, examples={})))
    assert "No price: there is no undefended control with the same victims." in page


def test_a_long_name_stands_on_a_line_of_its_own_above_the_scale(tmp_path: Path, build: Build) -> None:
    def scale(name: str) -> list[tuple[str, str]]:
        lines = [row("x-0", name, "sign", "labels", **scored(0.9, 0.4, "leaks", "accuracy", []))]
        out = build(tmp_path / str(len(name)), runs=[run("x-0", name, [])], rows=lines, examples={})
        tags = Page(html(read_audit(out))).tags
        texts = [(str(a.get("class")), str(a.get("y"))) for tag, a in tags if tag == "text"]
        return [one for one in texts if one[0] in ("run", "tick")][:2]

    assert scale("pae") == [("run", "15"), ("tick", "15")]
    assert scale("pae + rotate + label-dp (epsilon=1.0) + scale") == [("run", "15"), ("tick", "33")]
