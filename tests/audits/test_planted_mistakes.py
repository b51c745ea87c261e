"""Mistakes of the kind that audits have published: each is planted here, and each is caught.

Pooled seeds, selection on the scored rows and a twin left out are also planted in the simulation (test_simulation.py),
a key that forgets the settings in test_identity.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest

from sidelight.attacks.attack import Goal
from sidelight.audits.cells.cell import Scored
from sidelight.audits.cells.fields import stated
from sidelight.audits.cells.judging import measure
from sidelight.audits.cells.scoring import Rows
from sidelight.audits.sandbox.workers import Workers
from sidelight.audits.statistics import Measured, state
from sidelight.system.truth import load_truth

from .small import PAE, Small, installed, results, run_here
from .synthetic import Made, of_attack, rows

IDS = tuple(f"{i:016x}" for i in range(60))


def draws() -> numpy.random.Generator:
    return numpy.random.default_rng(0)


# --- in the numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["outsider", "rest"])
def test_a_twin_left_out_is_no_number(side: str) -> None:
    measured = rows(0.9)
    with pytest.raises(ValueError, match="needs a twin of each kind"):
        state([Measured(**{**vars(measured), side: {}})], draws())


def test_a_twin_scored_on_other_rows_is_refused_instead_of_left_out() -> None:
    attack, other = Rows(IDS, numpy.ones(60)), Rows(IDS[1:], numpy.zeros(59))
    with pytest.raises(ValueError, match="on other rows than the attack"):
        measure({"accuracy": attack}, ({"prior": {"accuracy": other}}, {"prior": {"accuracy": other}}), 3)


def test_rows_that_are_not_a_number_are_refused_instead_of_dropped() -> None:
    measured = rows(0.9)
    broken = measured.attack.copy()
    broken[3] = numpy.nan
    with pytest.raises(ValueError, match="a row without a score counts as 0"):
        stated([{"accuracy": Measured(**{**vars(measured), "attack": broken})}], Goal.LABELS, "0" * 12)


def test_a_failed_victim_is_not_dropped_from_the_mean(tmp_path: Path) -> None:
    made = Made(tmp_path)
    outcomes: list[Measured | Scored] = [Scored("failed", "the outputs are NaN")]
    outcomes += [rows(0.9, seed=v) for v in range(5)]
    made.entry(made.group("pae", 6), "sign", *outcomes)
    whole = made.compile()[0]
    assert (whole["status"], whole["value"], whole["verdict"]) == ("failed", None, None)


def test_seeds_of_one_attacker_count_as_one_victim(tmp_path: Path) -> None:
    """Five seeds on one victim: pooled they would pass for five victims."""
    made = Made(tmp_path)
    group = made.group("pae")
    entry = made.entry(group, "sign", rows(0.5, seed=1))
    others = [made.entry(group, "sign", rows(0.5, seed=1)).cells[0][0] for _ in range(4)]
    made.entries[:] = [entry.__class__(**{**vars(entry), "cells": {0: (*entry.cells[0], *others)}})]
    [row] = made.compile()
    single = state([rows(0.5, seed=1)], draws()).found
    assert (row["n"], row["attacker_seeds"], row["scope"]) == (200, 5, "conditional on this victim")
    assert (row["low"], row["high"]) == pytest.approx((single.low, single.high))


def test_a_twin_that_one_seed_lacks_is_not_left_out_of_the_others(tmp_path: Path) -> None:
    made = Made(tmp_path)
    group = made.group("pae")
    entry = made.entry(group, "sign", rows(0.9, twins=("prior", "shuffled")))
    other = made.entry(group, "sign", rows(0.9, twins=("prior",))).cells[0][0]
    made.entries[:] = [entry.__class__(**{**vars(entry), "cells": {0: (*entry.cells[0], other)}})]
    [row] = made.compile()
    assert (row["status"], row["verdict"]) == ("failed", None)
    assert "beside different twins" in row["reason"]


# --- in an attack ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def constant(small: Small, workers: Workers) -> dict[str, object]:
    suite = small.suite("constant", PAE + 'attacks = ["constant"]\n')
    with installed(constant="planted_attacks:Constant"):
        assert run_here(small, small.root / "constant", suite, workers)[0]
    [row] = [row for row in results(small.root / "constant") if row["primary"]]
    return row


def test_a_constant_guess_is_told_and_neither_leaks_nor_resists(constant: dict[str, object]) -> None:
    assert constant["reason"] == "the guess is the same for every row"
    assert constant["verdict"] == "inconclusive"


def test_rows_that_all_score_the_same_have_an_interval_all_the_same() -> None:
    found = state([rows(1.0, blind=0.5, count=50)], draws())
    assert found.found.low < found.found.value == 1
    assert found.advantage is not None
    assert found.advantage.low < found.advantage.value


def test_an_attack_that_reads_labels_elsewhere_is_right_under_wrong_ids_too_and_fails(
    small: Small, open_workers: Workers
) -> None:
    """Without a sandbox, as through a hole in it: the shuffled twin gives the attack away."""
    out = small.root / "cheating"
    honest = small.suite("cheating", PAE + 'attacks = ["sign"]\n')
    run_here(small, out, honest, open_workers)
    truth = next((out / "runs").glob("pae-*")) / "truth"
    stolen = small.root / "stolen.jsonl"
    stolen.write_text("".join(json.dumps({"id": r.id, "label": r.label}) + "\n" for r in load_truth(truth).rows))
    suite = small.suite(
        "cheating2", PAE + 'attacks = ["cheating", "sign"]\n' + f'vary.cheating = [{{ path = "{stolen}" }}]\n'
    )
    with installed(cheating="planted_attacks:Cheating"):
        whole, _ = run_here(small, small.root / "cheating2", suite, open_workers)
    found = results(small.root / "cheating2")
    assert not whole
    [cheated] = of_attack(found, "cheating")
    assert cheated["status"] == "failed"
    assert "right about samples filed under wrong ids" in cheated["reason"]
    kept = of_attack(found, "sign")[0]
    assert (kept["status"], kept["value"]) == ("scored", 1.0)
