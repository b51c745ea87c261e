"""The drawing of attacks on membership."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidelight.reports.figures.roc_figure import roc
from sidelight.reports.findings.summarise import summarise
from sidelight.reports.findings.summary import Summary
from sidelight.reports.formats.html import html
from sidelight.reports.stored.results import read_audit

from .conftest import build_audit
from .folder import row, run, scored

TRUE = {"replay": [0.5, 1.0, 1.0, 1.0], "loss": [0.01, 0.1, 0.4, 1.0]}
"""By attack, members found at each of some rates of false positives."""
FALSE = [0.001, 0.01, 0.1, 1.0]


def curve(attack: str) -> dict[str, object]:
    rate = {"value": 0.012, "low": 0.007, "high": 0.02}
    sizes = {"members": 1500, "non_members": 2000, "false_positives": rate}
    return {**sizes, "log_ratio": 4.2, "epsilon": 3.1, "fpr": FALSE, "tpr": TRUE[attack]}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    one = run("a1", "pae", [("activations", 10, 4000)])
    rows = [
        row("a1", "pae", name, "members", roc=curve(name), **scored(TRUE[name][1], 0.01, "leaks", "tpr_at_1", []))
        for name in TRUE
    ]
    rows.append(row("a1", "pae", "sign", "labels", **scored(0.9, 0.3, "leaks", "accuracy", [])))
    return build_audit(tmp_path / "out", runs=[one], rows=rows, examples={})


@pytest.fixture
def summary(out: Path) -> Summary:
    [found] = summarise(read_audit(out))
    return found


def test_every_attack_on_membership_has_a_numbered_curve_and_is_told_in_words(summary: Summary) -> None:
    image = str(roc(summary, 1))
    assert re.findall(r'<path class="line" d="M([^"]*)"', image)[0].count("L") == len(FALSE) - 1
    assert image.count('class="mark numbered"') == 2
    assert "1 replay: 0.500 at 0.001, 1.000 at 0.01, 1.000 at 0.1" in image
    assert "2 loss: 0.010 at 0.001, 0.100 at 0.01, 0.400 at 0.1" in image


def test_rates_stand_along_logarithms(summary: Summary) -> None:
    """From 0.0001 at 56 to 1 at 424 along, and from 280 up to 10: a decade is 92 wide and 67.5 high."""
    second = re.findall(r'<path class="line" d="M([^"]*)"', str(roc(summary, 1)))[1].split("L")
    assert second == ["148.0 145.0", "240.0 77.5", "332.0 36.9", "424.0 10.0"]


def test_without_attacks_on_membership_there_is_nothing_to_draw(summary: Summary) -> None:
    assert roc(Summary(**{**vars(summary), "scored": summary.of("labels")}), 1) is None


def test_the_page_has_a_column_of_members_the_curve_and_what_the_threshold_gave(out: Path) -> None:
    page = html(read_audit(out))
    assert 'scope="col">Training set&#39;s members</th>' in page
    assert "1,500 members among 2,000 others" in page
    assert "false positives 0.012 [0.007, 0.020]; ln(TPR/FPR) 4.20; epsilon 3.10 or more, were rows independent" in page
