"""Stored cells become tables: in the plan's order, over victims, corrected by Holm, and the same again."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import numpy
import pytest
from scipy import stats

from sidelight.attacks.attack import Goal
from sidelight.audits.cells.cell import Scored
from sidelight.audits.cells.fields import stated
from sidelight.audits.compiling.results import compile_results, state_again
from sidelight.audits.compiling.stating import nested
from sidelight.audits.statistics import LEAK, Measured
from sidelight.system import files

from .synthetic import Made, rows

# --- the attacker's seeds -------------------------------------------------------------------------------------------


def test_of_many_attackers_seeds_a_few_at_a_time_are_in_memory() -> None:
    """500 seeds of 5,000 rows with two twins are 60 MB together, and a few of them at a time well below 3."""
    tracemalloc.start()
    found = nested({"accuracy": rows(0.5, seed=seed, count=5000)} for seed in range(500))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000
    each = [rows(0.5, seed=seed, count=5000).attack for seed in range(500)]
    numpy.testing.assert_allclose(found["accuracy"].attack, numpy.mean(each, axis=0), atol=1e-12)


# --- one victim -----------------------------------------------------------------------------------------------------


def test_rows_stand_in_the_order_of_the_plan(tmp_path: Path) -> None:
    made = Made(tmp_path)
    for group in ("b", "a"):
        made.entry(made.group(group), "sign", rows(0.9))
    found = made.compile()
    assert [row["group"] for row in found] == ["b", "a"]
    assert {row["scope"] for row in found} == {"conditional on this victim"}
    assert all(row["role"] == "row" and row["verdict"] == "leaks" for row in found)


def test_cells_that_are_not_in_the_plan_stay_out(tmp_path: Path) -> None:
    made = Made(tmp_path)
    group = made.group("pae")
    made.entry(group, "sign", rows(0.9))
    old = made.entry(group, "addback", rows(0.9))
    made.entries.remove(old)
    assert [row["attack"] for row in made.compile()] == ["sign"]


def test_an_outcome_without_a_score_keeps_its_reason_and_claims_nothing(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.entry(made.group("pae"), "sign", Scored("not_exposed", "the adversary never receives difference"))
    [row] = made.compile()
    assert (row["status"], row["verdict"], row["p_holm"], row["value"]) == ("not_exposed", None, None, None)
    assert row["reason"] == "the adversary never receives difference"


def test_an_attack_on_a_run_that_was_not_recorded_is_a_failed_row_with_the_reason(tmp_path: Path) -> None:
    made = Made(tmp_path)
    entry = made.entry(made.group("pae"), "sign", rows(0.9))
    shutil.rmtree(tmp_path / "cells" / entry.cells[0][0])
    (tmp_path / "runs" / "pae-0" / "run.json").unlink()
    files.write_json(tmp_path / "unrecorded.json", {"pae-0": "MemoryError in pae.py, line 3"})
    [row] = made.compile()
    assert (row["status"], row["verdict"]) == ("failed", None)
    assert row["reason"] == "its run was not recorded: MemoryError in pae.py, line 3"
    assert not compile_results(tmp_path)


def test_a_cell_that_is_missing_is_a_failed_row_and_not_left_out(tmp_path: Path) -> None:
    made = Made(tmp_path)
    group = made.group("pae")
    made.entry(group, "sign", rows(0.9))
    gone = made.entry(group, "addback", rows(0.9))
    shutil.rmtree(tmp_path / "cells" / gone.cells[0][0])
    assert [(row["attack"], row["status"]) for row in made.compile()] == [("sign", "scored"), ("addback", "failed")]
    assert not compile_results(tmp_path)


# --- several victims ------------------------------------------------------------------------------------------------


def test_up_to_four_victims_stand_each_for_itself(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.entry(made.group("pae", 4), "sign", *(rows(0.9, seed=v) for v in range(4)))
    found = made.compile()
    assert [(row["seed"], row["role"], row["part_of"]) for row in found] == [(v, "row", None) for v in range(4)]
    assert all(row["verdict"] == "leaks" for row in found)


def test_from_five_victims_on_the_victim_is_the_unit(tmp_path: Path) -> None:
    shares = (0.6, 0.7, 0.8, 0.9, 1.0)
    made = Made(tmp_path)
    made.entry(made.group("pae", 5), "sign", *(rows(share, seed=v) for v, share in enumerate(shares)))
    whole, *single = made.compile()
    half = stats.t.ppf(0.975, 4) * numpy.std(shares, ddof=1) / numpy.sqrt(5)
    assert whole["value"] == pytest.approx(0.8)
    assert (whole["low"], whole["high"]) == (pytest.approx(0.8 - half), pytest.approx(min(1, 0.8 + half)))
    assert (whole["seed"], whole["scope"], whole["n"]) == (None, "over 5 victims", 1000)
    assert {row["part_of"] for row in single} == {whole["cell"]}
    assert [(row["seed"], row["role"], row["verdict"]) for row in single] == [(v, "victim", None) for v in range(5)]


def test_a_planted_pooling_of_victims_would_have_been_narrower_than_what_is_stated(tmp_path: Path) -> None:
    """Rows of one victim are alike: pooled, five victims look like a thousand independent rows."""
    shares = (0.6, 0.7, 0.8, 0.9, 1.0)
    made = Made(tmp_path)
    made.entry(made.group("pae", 5), "sign", *(rows(share, seed=v) for v, share in enumerate(shares)))
    whole = made.compile()[0]
    pooled = stats.binomtest(800, 1000).proportion_ci(method="exact")
    assert whole["high"] - whole["low"] > 4 * (pooled.high - pooled.low)


def test_a_victim_whose_cell_failed_fails_the_row_over_victims_and_is_not_dropped(tmp_path: Path) -> None:
    made = Made(tmp_path)
    outcomes: list[Measured | Scored] = [rows(0.9, seed=v) for v in range(5)]
    outcomes[2] = Scored("failed", "ValueError: no")
    made.entry(made.group("pae", 5), "sign", *outcomes)
    whole, *single = made.compile()
    assert (whole["status"], whole["verdict"]) == ("failed", None)
    assert whole["reason"] == "1 of 5 victims failed: ValueError: no"
    assert [row["status"] for row in single] == ["scored", "scored", "failed", "scored", "scored"]


# --- Holm -----------------------------------------------------------------------------------------------------------


def test_a_weak_leak_that_stands_alone_does_not_stand_among_many(tmp_path: Path) -> None:
    weak = rows(0.36, blind=0.2)
    alone = Made(tmp_path / "alone")
    alone.entry(alone.group("weak"), "sign", weak)
    [row] = alone.compile()
    assert (row["verdict"], row["p_holm"]) == ("leaks", row["p"])
    crowd = Made(tmp_path / "crowd")
    crowd.entry(crowd.group("weak"), "sign", weak)
    for at in range(60):
        crowd.entry(crowd.group(f"noise {at}"), "sign", rows(0.2, seed=at + 1))
    row = crowd.compile()[0]
    assert row["advantage_low"] > LEAK
    assert row["p_holm"] > 0.025
    assert row["verdict"] == "inconclusive"


# --- again ----------------------------------------------------------------------------------------------------------


def test_results_stated_again_from_stored_rows_are_the_same(tmp_path: Path) -> None:
    made = Made(tmp_path)
    twins = ("prior", "language model", "auxiliary tokens")
    for attack in ("sign", "addback"):
        made.entry(made.group(attack, 5), attack, *(rows(0.5 + 0.1 * v, seed=v, twins=twins) for v in range(5)))
    several = {name: fractions(seed) for seed, name in enumerate(("position_accuracy", "exact", "bag_f1"))}
    scored = Scored("scored", None, 1.0, stated([several], Goal.TEXTS, "match"), several)
    made.entry(made.group("texts"), "match", scored)
    before = made.compile()
    for name in ("results.jsonl", "curves.jsonl", "groups.jsonl"):
        (tmp_path / name).unlink()
    state_again(tmp_path)
    compile_results(tmp_path)
    after = files.read_lines(tmp_path / "results.jsonl")
    again = {row["metric"]: row for row in after if row["attack"] == "match"}
    assert list(again) == list(several)
    assert [row for row in after if row["attack"] != "match"] == [row for row in before if row["attack"] != "match"]
    state_again(tmp_path)
    compile_results(tmp_path)
    assert files.read_lines(tmp_path / "results.jsonl") == after


def fractions(seed: int) -> Measured:
    generator = numpy.random.default_rng(seed)
    ids = tuple(f"{i:016x}" for i in range(60))
    sides = [{name: generator.beta(1, 6, 60) for name in ("prior", "language model")} for _ in range(2)]
    return Measured(ids, generator.beta(2, 2, 60), sides[0], sides[1])
