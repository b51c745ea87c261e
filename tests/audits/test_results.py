"""Stored cells become tables: in the plan's order, with victims, controls, Holm's correction, `best` and curves."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy
import pytest
from scipy import stats

from sidelight.attacks.attack import Goal
from sidelight.audits.cells.cell import Scored
from sidelight.audits.cells.fields import stated
from sidelight.audits.compiling.floors import set_floors
from sidelight.audits.compiling.results import compile_results, state_again
from sidelight.audits.planning.layout import Control
from sidelight.audits.statistics import LEAK, Measured
from sidelight.system import files

from .synthetic import Made, of_attack, rows

# --- one victim ------------------------------------------------------------------------------------------------


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


# --- several victims -------------------------------------------------------------------------------------------


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


# --- Holm ------------------------------------------------------------------------------------------------------


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


# --- controls --------------------------------------------------------------------------------------------------


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


# --- best ------------------------------------------------------------------------------------------------------


def contest(tmp_path: Path, *shares: float, victims: int = 1) -> list[dict[str, object]]:
    made = Made(tmp_path)
    group = made.group("pae", victims)
    names = ["sign", "addback", "plaintext"][: len(shares)]
    for at, (name, share) in enumerate(zip(names, shares, strict=True)):
        made.entry(group, name, *(rows(share, seed=100 * at + v) for v in range(victims)))
    cells = {victim: (f"absent-{victim}",) for victim in range(victims)}
    composite = made.entries[0].__class__(
        group, "row", "composite", "labels", {}, cells, among=tuple(range(len(shares)))
    )
    made.entries.append(composite)
    return [dict(row) for row in made.compile()]


def test_the_best_attack_is_chosen_on_one_half_and_reported_on_the_other(tmp_path: Path) -> None:
    [best] = of_attack(contest(tmp_path, 0.3, 0.9), "best")
    assert (best["chosen"], best["among"]) == (["addback"], ["sign", "addback"])
    assert 60 < best["n"] < 140
    assert best["verdict"] == "leaks"


def test_the_best_of_noise_is_not_better_than_noise(tmp_path: Path) -> None:
    found = [of_attack(contest(tmp_path / str(at), 0.2, 0.2, 0.2), "best")[0]["verdict"] for at in range(3)]
    assert found == ["inconclusive"] * 3


def test_each_victims_best_has_that_victims_run_choice_and_utility(tmp_path: Path) -> None:
    made = Made(tmp_path)
    group = made.group("pae", 2)
    made.entry(group, "sign", rows(0.9, seed=0), rows(0.3, seed=1))
    made.entry(group, "addback", rows(0.3, seed=2), rows(0.9, seed=3))
    cells = {victim: (f"absent-{victim}",) for victim in range(2)}
    made.entries.append(made.entries[0].__class__(group, "row", "composite", "labels", {}, cells, among=(0, 1)))
    found = of_attack(made.compile(), "best")
    assert [(row["seed"], row["run"], row["chosen"]) for row in found] == [
        (0, "pae-0", ["sign"]),
        (1, "pae-1", ["addback"]),
    ]


def test_over_victims_the_best_is_chosen_for_each(tmp_path: Path) -> None:
    [best] = of_attack(contest(tmp_path, 0.5, 0.9, victims=5), "best", seed=None)
    assert best["scope"] == "over 5 victims"
    assert best["victims"] == [0, 1, 2, 3, 4]


# --- curves ----------------------------------------------------------------------------------------------------


def test_points_of_a_sweep_become_a_curve_with_intervals_and_their_utility(tmp_path: Path) -> None:
    made = Made(tmp_path)
    for at, (value, share) in enumerate([(8, 0.9), (16, 0.5), (32, 0.3)]):
        group = made.group(f"pae-{value}", role="point", utility=0.1 * at)
        made.entry(group, "sign", rows(share, seed=at), place=made.point("c1", "longest", value, at))
    made.compile()
    [curve] = files.read_lines(tmp_path / "curves.jsonl")
    assert (curve["setting"], curve["axis"], curve["metric"]) == ("longest", "linear", "accuracy")
    assert [(p["x"], p["value"]) for p in curve["points"]] == [(8, 0.9), (16, 0.5), (32, 0.3)]
    assert all(p["low"] < p["value"] < p["high"] and p["p_holm"] is not None for p in curve["points"])
    assert [p["utility"]["value"] for p in curve["points"]] == pytest.approx([0, 0.1, 0.2])


def test_a_failed_point_keeps_its_place_on_the_curve(tmp_path: Path) -> None:
    made = Made(tmp_path)
    outcomes: list[Measured | Scored] = [rows(0.9), Scored("failed", "no memory")]
    for at, one in enumerate(outcomes):
        group = made.group(f"pae-{at}", role="point")
        made.entry(group, "sign", one, place=made.point("c1", "precision", ["fp32", "int8"][at], at))
    made.compile()
    [curve] = files.read_lines(tmp_path / "curves.jsonl")
    assert [(p["x"], p["status"], p["reason"]) for p in curve["points"]] == [
        ("fp32", "scored", None),
        ("int8", "failed", "no memory"),
    ]


def test_a_curve_is_a_family_of_its_own(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.entry(made.group("row"), "sign", rows(0.9))
    made.entry(made.group("point", role="point"), "sign", rows(0.9), place=made.point("c1", "longest", 8, 0))
    assert [row["family"] for row in made.compile()] == ["table", "c1"]


def test_a_group_that_is_a_row_and_a_point_has_its_victims_under_each_apart(tmp_path: Path) -> None:
    made = Made(tmp_path)
    group = made.group("pae", 5)
    entry = made.entry(group, "sign", *(rows(0.9, seed=v) for v in range(5)))
    point = {**vars(entry), "role": "point", "place": made.point("c1", "longest", 8, 0)}
    made.entries.append(entry.__class__(**point))
    found = made.compile()
    wholes = [row["cell"] for row in found if row["seed"] is None]
    assert len(set(wholes)) == 2
    assert [sum(row["part_of"] == whole for row in found) for whole in wholes] == [5, 5]


# --- again -----------------------------------------------------------------------------------------------------


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


# --- floors ----------------------------------------------------------------------------------------------------


def put_run(out: Path, key: str, utility: float, protocol: str = "pae", victim: int = 0, **settings: str) -> None:
    made = Made(out) if not (out / "runs").exists() else None
    assert made is None or made.out == out
    (out / "runs" / key).mkdir()
    run = {
        "run": key,
        "protocol": protocol,
        "settings": settings,
        "victim": victim,
        "labels": "own",
        "identity": {"sizes": {}, "data": "02"},
        "utility": {"value": utility},
        "majority": {"value": 0.1},
    }
    files.write_json(out / "runs" / key / "run.json", run)


def floor(out: Path, key: str) -> dict[str, object] | None:
    stored: dict[str, object] | None = files.read_json(out / "runs" / key / "run.json")["floor"]
    return stored


def test_the_floor_is_four_fifths_of_the_gain_of_lora_in_one_process(tmp_path: Path) -> None:
    put_run(tmp_path, "lora", 0.9, protocol="local", method="lora")
    put_run(tmp_path, "good", 0.745)
    put_run(tmp_path, "poor", 0.73)
    set_floors(tmp_path, ["lora", "good", "poor"])
    good, poor = floor(tmp_path, "good"), floor(tmp_path, "poor")
    assert floor(tmp_path, "lora") is None
    assert good is not None
    assert poor is not None
    assert good["value"] == pytest.approx(0.1 + 0.8 * (0.9 - 0.1))
    assert (good["reached"], poor["reached"]) == (True, False)


def test_each_victim_has_a_floor_of_its_own_and_none_without_lora(tmp_path: Path) -> None:
    put_run(tmp_path, "lora", 0.9, protocol="local", method="lora")
    put_run(tmp_path, "side", 0.8, protocol="local", method="side")
    put_run(tmp_path, "other", 0.9, victim=1)
    set_floors(tmp_path, ["lora", "side", "other"])
    side = floor(tmp_path, "side")
    assert side is not None
    assert side["reached"] is True
    assert floor(tmp_path, "other") is None


def test_a_floor_that_stands_already_is_not_written_again(tmp_path: Path) -> None:
    put_run(tmp_path, "lora", 0.9, protocol="local", method="lora")
    set_floors(tmp_path, ["lora"])
    before = (tmp_path / "runs" / "lora" / "run.json").stat().st_mtime_ns
    set_floors(tmp_path, ["lora"])
    assert (tmp_path / "runs" / "lora" / "run.json").stat().st_mtime_ns == before
