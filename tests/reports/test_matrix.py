"""The matrix has a square for each attack on each group of runs, at its strongest setting."""

from __future__ import annotations

from pathlib import Path

from sidelight.reports.findings.matrix import Matrix, Square, matrix
from sidelight.reports.findings.summarise import summarise
from sidelight.reports.formats.html import html
from sidelight.reports.stored.results import read_audit


def of(out: Path) -> Matrix:
    return matrix(summarise(read_audit(out)))


def square(found: Matrix, label: str, attack: str) -> Square:
    (line,) = [line for line in found.lines if line.name == label]
    return line.squares[found.attacks.index(attack)]


def test_every_outcome_has_a_state_of_its_own(out: Path) -> None:
    found = of(out)
    states = {
        ("pae (difference=probability)", "sign"): "leaks",
        ("pae (difference=probability)", "readoff"): "inconclusive",
        ("pae (difference=logit)", "sign"): "resists",
        ("pae (difference=logit)", "addback"): "failed",
        ("pae (difference=logit)", "readoff"): "not_applicable",
        ("mobillm (precision=fp32)", "sign"): "not_exposed",
        ("mobillm (precision=fp32)", "readoff"): "absent",
    }
    assert {key: square(found, *key).state for key in states} == states


def test_attacks_stand_under_their_goals(out: Path) -> None:
    found = of(out)
    assert found.goals == (("labels", 3), ("texts", 1), ("tuned model", 1))
    assert found.attacks == ("addback", "plaintext", "sign", "match", "readoff")
    assert found.opening == {0, 3, 4}


def test_what_crossed_and_nobody_read_is_counted(out: Path) -> None:
    counted = {line.name: len(line.unaudited) for line in of(out).lines}
    assert counted["local"] == 0
    assert counted["pae (difference=logit)"] == 2


def test_the_best_of_several_has_no_square_and_composites_stand_last(full: Path) -> None:
    found = of(full)
    assert "best" not in found.attacks
    labels = found.attacks[: found.goals[0][1]]
    assert "composite" not in labels[:-1]


def test_each_line_leads_to_its_runs(out: Path) -> None:
    page = html(read_audit(out))
    assert '<th scope="row"><a href="#run-2">mobillm (precision=fp32)</a></th>' in page
