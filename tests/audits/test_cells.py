"""A cell's folder: what it holds, when it counts as finished, and what its rows say of it."""

from __future__ import annotations

import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import Goal, LabelGuess, StolenModel, TextGuess
from sidelight.attacks.extraction.readoff import ReadOff
from sidelight.attacks.labels.sign import Sign
from sidelight.attacks.reconstruction.match import Match
from sidelight.audits.cells.cell import Cell, Scored, finished, read, read_guess, read_rows, store, views
from sidelight.audits.cells.fields import common, numbered, stated, without_numbers
from sidelight.audits.cells.judging import constant, measure
from sidelight.audits.cells.scoring import RANDOM, Rows
from sidelight.audits.statistics import Measured, PerfectTwin, state
from sidelight.system import files

from .synthetic import AUDIT, recorded, rows

IDENTITY = {"run": "mobillm-0-aa", "attack": "match", "repeat": 0}


def cell(**settings: Any) -> Cell:
    attack = ATTACKS["match"](**settings)
    identity = {**IDENTITY, "settings": asdict(attack)}
    return Cell("mobillm-0-aa-match-0000000000bb", Path("runs/mobillm-0-aa"), attack, identity)


def fields(of: Cell) -> dict[str, Any]:
    return common(of, recorded("mobillm-0-aa", "mobillm", 0, 0.8), AUDIT)


def test_a_cell_names_the_settings_that_are_not_the_attacks_defaults() -> None:
    assert cell().changed == {}
    assert cell(round=3).changed == {"round": 3}


def test_every_result_says_which_run_attack_and_threat_it_is_of() -> None:
    found = fields(cell(round=3))
    assert (found["run"], found["attack"], found["goal"]) == ("mobillm-0-aa", "match", "texts")
    assert found["settings"] == {"round": 3}
    assert found["consumes"] == ["activations"]
    assert found["threat"] == {"adversary": "server"}


def test_a_cell_without_a_score_has_every_field_of_a_scored_one() -> None:
    scored = numbered("exact", True, True, state([rows(0.9)], numpy.random.default_rng(0)))
    assert scored.keys() == without_numbers().keys()


MEASURED = rows(0.9, blind=0.3, twins=("prior", "shuffled"))


def scored() -> Scored:
    guess = TextGuess(("a", "b"), ((1, 2), (3,)), (True, False))
    shuffled = TextGuess(("a", "b"), ((3,), (1, 2)), (False, False))
    measured = {"position_accuracy": MEASURED, "exact": rows(0.4), "bag_f1": rows(0.7)}
    metrics = stated([measured], Goal.TEXTS, cell().key)
    return Scored("scored", None, 1.5, metrics, measured, guess, shuffled, [{"original": "secret"}])


def test_a_stored_cell_holds_rows_twins_guess_and_private_examples_for_the_owner_only(tmp_path: Path) -> None:
    store(tmp_path, cell(), fields(cell()), scored())
    folder = tmp_path / cell().key
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()} == {0o600}
    assert list(read_rows(tmp_path, cell().key)) == ["position_accuracy", "exact", "bag_f1"]
    kept = read_rows(tmp_path, cell().key)["position_accuracy"]
    assert kept.ids == MEASURED.ids
    assert kept.attack.tolist() == MEASURED.attack.tolist()
    for side in ("outsider", "rest"):
        own, stored = getattr(MEASURED, side), getattr(kept, side)
        assert [(n, v.tolist()) for n, v in stored.items()] == [(n, v.tolist()) for n, v in own.items()]
    assert read_guess(tmp_path, cell().key) == scored().guess
    assert read_guess(tmp_path, cell().key, "shuffled") == scored().shuffled
    assert files.read_lines(folder / "examples.jsonl") == scored().examples
    record = read(tmp_path, cell().key)
    assert record["fields"]["status"] == "scored"
    assert record["metrics"] == scored().metrics


def test_an_exactly_known_chance_is_stored_with_its_rows(tmp_path: Path) -> None:
    ids, values = ("a", "b"), numpy.array([1.0, 0.0])
    store(tmp_path, cell(), {}, Scored("scored", measured={RANDOM: Measured(ids, values, {}, {}, blind=0.05)}))
    assert read_rows(tmp_path, cell().key)[RANDOM].blind == 0.05


def test_the_direction_of_scores_is_stored_with_them_and_older_cells_have_none(tmp_path: Path) -> None:
    ids, values = ("a", "b"), numpy.array([1.0, 0.0])
    store(tmp_path, cell(), {}, Scored("scored", measured={"m": Measured(ids, values, {}, {}, None, "lower")}))
    assert read_rows(tmp_path, cell().key)["m"].direction == "lower"
    path = tmp_path / cell().key / "ids.json"
    older = [{name: value for name, value in one.items() if name != "direction"} for one in files.read_json(path)]
    files.write_json(path, older)
    assert read_rows(tmp_path, cell().key)["m"].direction == "higher"


def test_absent_and_failed_cells_run_again_and_a_new_result_replaces_the_old(tmp_path: Path) -> None:
    assert finished(tmp_path, cell()) is None
    store(tmp_path, cell(), {}, Scored("failed", "no memory"))
    assert finished(tmp_path, cell()) is None
    store(tmp_path, cell(), {}, Scored("not_exposed", "it never crosses"))
    kept = finished(tmp_path, cell())
    assert kept is not None
    assert kept["fields"]["status"] == "not_exposed"
    assert [path.name for path in tmp_path.iterdir()] == [cell().key]


def test_only_guesses_with_a_row_a_sample_have_a_shuffled_twin() -> None:
    class Unlinked(Match):
        linked = False

    assert views(Sign()) == views(Match()) == ("", "shuffled")
    assert views(ReadOff()) == views(Unlinked()) == ("",)


# --- metrics beside their twins --------------------------------------------------------------------------------


def beside(share: float, outsider: dict[str, float], rest: dict[str, float], metric: str = "accuracy") -> Measured:
    ids = tuple(f"{i * 7:016x}" for i in range(400))
    generator = numpy.random.default_rng(1)

    def right(of: float) -> Rows:
        values = numpy.zeros(len(ids))
        values[: round(of * len(ids))] = 1
        return Rows(ids, generator.permutation(values))

    sides = [{name: {metric: right(of)} for name, of in side.items()} for side in (outsider, rest)]
    return measure({metric: right(share)}, (sides[0], sides[1]), 20)[metric]


def test_the_advantage_is_over_the_stronger_twin() -> None:
    [found] = stated(
        [{"accuracy": beside(0.9, {"prior": 0.1, "shuffled": 0.2}, {"probe": 0.5})}], Goal.LABELS, "0" * 12
    )
    assert (found["blind_outsider"]["twin"], found["blind_outsider"]["value"]) == ("shuffled", pytest.approx(0.2))
    assert (found["blind_rest"]["twin"], found["blind_rest"]["value"]) == ("probe", pytest.approx(0.5))
    assert found["advantage"] == pytest.approx((0.9 - 0.5) / 0.5)
    assert (found["primary"], found["judged"], found["n"]) == (True, True, 400)
    for one in (found["blind_outsider"], found["blind_rest"], found):
        assert one["low"] <= one["value"] <= one["high"]


def test_a_perfect_twin_leaves_no_number_of_a_judged_metric_and_no_advantage_of_another() -> None:
    perfect = {"prior": 1.0}
    with pytest.raises(PerfectTwin):
        stated([{"accuracy": beside(1.0, perfect, perfect)}], Goal.LABELS, "0" * 12)
    [found] = stated([{"exact": beside(1.0, perfect, perfect, "exact")}], Goal.TEXTS, "0" * 12)
    assert (found["value"], found["advantage"], found["judged"]) == (1.0, None, False)


def test_random_label_rows_are_compared_with_exactly_one_in_k() -> None:
    ids = ("a", "b", "c", "d")
    found = measure({RANDOM: Rows(ids, numpy.array([1.0, 1.0, 1.0, 0.0]))}, ({}, {}), 20)
    [one] = stated([found], Goal.LABELS, "0" * 12)
    assert one["blind_outsider"] == {"value": 0.05, "low": 0.05, "high": 0.05, "twin": "exact"}
    assert one["advantage"] == pytest.approx((0.75 - 0.05) / 0.95)
    assert (one["primary"], one["judged"]) == (False, True)


def test_the_same_cell_has_the_same_numbers() -> None:
    measured = {"accuracy": beside(0.7, {"prior": 0.3}, {"probe": 0.4})}
    assert stated([measured], Goal.LABELS, "0" * 12) == stated([measured], Goal.LABELS, "0" * 12)


def test_a_guess_that_needs_no_view_is_seen_to_be_constant() -> None:
    assert constant(LabelGuess(("a", "b"), torch.tensor([3, 3])))
    assert not constant(LabelGuess(("a", "b"), torch.tensor([3, 2])))
    assert constant(TextGuess(("a", "b"), ((1, 2), (1, 2))))
    assert constant(StolenModel(("a", "b"), torch.tensor([[0.0, 1.0], [0.2, 0.9]])))
    assert not constant(LabelGuess(("a",), torch.tensor([3])))
