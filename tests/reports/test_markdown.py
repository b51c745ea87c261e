"""The Markdown's tables keep their shape whatever stands in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from sidelight.reports.formats.markdown import coded, escaped, markdown
from sidelight.reports.stored.results import read_audit

BAR = re.compile(r"(?<!\\)\|")


@pytest.fixture
def page(out: Path) -> str:
    return markdown(read_audit(out))


def tables(page: str) -> list[list[str]]:
    lines = page.splitlines()
    return [list(group) for is_row, group in groupby(lines, key=lambda line: line.startswith("|")) if is_row]


def test_every_row_of_a_table_has_the_heading_s_number_of_cells(page: str) -> None:
    for table in tables(page):
        assert re.fullmatch(r"\|( -{3}:? \|)+", table[1])
        assert {len(BAR.findall(line)) for line in table} == {len(BAR.findall(table[0]))}


def test_tables_keep_their_shape_whatever_an_audit_holds(full: Path) -> None:
    made = markdown(read_audit(full))
    test_every_row_of_a_table_has_the_heading_s_number_of_cells(made)
    test_tables_stand_apart_from_the_text_around_them(made)


def test_tables_stand_apart_from_the_text_around_them(page: str) -> None:
    assert not re.search(r"^[^|\n].*\n\|", page, flags=re.MULTILINE)
    assert not re.search(r"^\|.*\n[^|\n]", page, flags=re.MULTILINE)


def test_answers_overview_claims_and_each_run_are_there(page: str) -> None:
    assert re.findall(r"^## (.*)$", page, flags=re.MULTILINE) == [
        "Is it kept from the adversary?", "What to do next", "In words", "Overview", "The paper's claims", "local",
        "mobillm (precision=fp32)", "pae (difference=probability)",
        "pae (difference=logit)", "split (bottom=frozen, cut=2)", "How to read this", "Inputs, versions, machine",
    ]  # fmt: skip
    assert "| v1 | labels | **refuted** (sign 0.997" in page


def test_failed_and_unaudited_are_named(page: str) -> None:
    assert page.count("**failed**: ") == 2
    assert page.count("**unaudited: no attack looked at it**") == 4
    assert "**Not audited:** texts, tuned model." in page


def test_text_cannot_become_markup() -> None:
    assert escaped("a|b <i>*c*\n# d_e`") == r"a\|b &lt;i&gt;\*c\* \# d\_e\`"


def test_curves_victims_controls_and_what_failed_are_there(victims: Callable[[int], Path]) -> None:
    made = markdown(read_audit(victims(6)))
    for said in (
        "## Curves", "### pae (defence.name=gaussian): defence.sigma", "| 16 | **failed**: ran past 300 s |",
        "| sign | accuracy | 5 | 0.977 ", "| best of 4 | labels | accuracy (naming) | 0.994",
        "undefended 0.990 \\[0.970, 1.000\\] (advantage 0.988 \\[0.958, 1.018\\]) **succeeded**",
        "- **failed**: control pae (defence.name=gaussian, defence.sigma=0.01), norm on labels: ran past 300 s",
        "reported on the other: sign; among addback, sign, norm, composite",
        "Promised: epsilon 2, delta 1e-05 for one label (not audited).",
        "Bound (Fano): the device reads the true label of 0.750 of the ",
        "| defended | 0.580 | 0.220 \\[0.180, 0.260\\], more than 2 points | 4,704 | 310 | 4.2 |",
        "| undefended | 0.800 | \N{EN DASH} | 4,600 | 300 | 3.1 |",
    ):  # fmt: skip
        assert said in made


def test_what_is_typed_is_code_in_the_sentences_too(victims: Callable[[int], Path]) -> None:
    assert "takes at least 5 (`--seeds 5`)" in markdown(read_audit(victims(3)))
    assert coded("a_b and `c_d | <e>` of \\ f") == "a\\_b and `c_d | <e>` of \\\\ f"
