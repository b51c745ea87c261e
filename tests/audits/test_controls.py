"""What a run's controls say of it: whose they are, and what they must show."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidelight.audits.compiling.results import compile_results
from sidelight.audits.planning.layout import Control

from .synthetic import Made, rows


def defended(tmp_path: Path, control: float, name: str = "undefended") -> dict[str, object]:
    made = Made(tmp_path)
    defended_, plain = made.group("int4"), made.group("fp32", role="control")
    control_ = Control(plain, must_succeed=name != "reassigned")
    made.entry(defended_, "sign", rows(0.2, seed=3, count=4000), controls={name: control_})
    made.entry(plain, "sign", rows(control, seed=4))
    return dict(made.compile()[0])


def test_a_row_resists_only_where_its_control_shows_that_the_attack_can_work(tmp_path: Path) -> None:
    worked = defended(tmp_path / "worked", 0.9)
    assert worked["verdict"] == "resists"
    assert worked["controls"]["undefended"]["succeeded"] is True  # type: ignore[index]
    broken = defended(tmp_path / "broken", 0.3)
    assert broken["verdict"] == "inconclusive"
    assert broken["controls"]["undefended"]["succeeded"] is False  # type: ignore[index]


def test_reassigned_labels_are_no_control_that_could_succeed(tmp_path: Path) -> None:
    row = defended(tmp_path, 0.9, "reassigned")
    assert row["controls"]["reassigned"]["succeeded"] is None  # type: ignore[index]
    assert row["verdict"] == "inconclusive"


def test_a_vote_is_compared_with_the_vote_of_the_same_attacks_on_its_control(tmp_path: Path) -> None:
    """Two runs share a control group, on which each has a vote of its own."""
    made = Made(tmp_path)
    plain = made.group("plain", role="control")
    for name, share, attacks in (("a", 0.25, ("sign", "addback")), ("b", 0.95, ("sign", "plaintext"))):
        group = made.group(name)
        for at, one in enumerate((group, plain)):
            members = [made.entry(one, attack, rows(share if at else 0.2, seed=at)) for attack in attacks]
            places = tuple(range(len(made.entries) - 2, len(made.entries)))
            vote = made.entry(one, "sign", rows(share if at else 0.2, seed=7 + at))
            about = {"attack": "composite", "among": places, "members": tuple(m.code for m in members)}
            control = {} if at else {"controls": {"plain": Control(plain, True)}}
            made.entries[-1] = vote.__class__(**{**vars(vote), **about, **control})
    votes = [row for row in made.compile() if row["controls"] and row["chosen"] is None]
    found = {row["group"]: row["controls"]["plain"] for row in votes}
    assert found["a"]["value"] == pytest.approx(0.25)
    assert found["b"]["value"] == pytest.approx(0.95)


def test_a_control_claims_no_leak_of_its_own(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.entry(made.group("fp32", role="control"), "sign", rows(0.9))
    assert [(row["role"], row["family"], row["verdict"]) for row in made.compile()] == [("control", None, None)]


@pytest.mark.parametrize(("low", "whole"), [(1.9, True), (2.1, False)])
def test_an_audit_with_a_broken_promise_is_not_whole(tmp_path: Path, low: float, whole: bool) -> None:
    made = Made(tmp_path)
    promised = {"epsilon": 2.0, "delta": 0.0, "unit": "label", "audit": {"epsilon_low": low}}
    made.entry(made.group("noise", budget=promised), "sign", rows(0.9, seed=3))
    made.compile()
    assert compile_results(made.out) is whole
