"""A cell's folder: what it holds, when it counts as finished, and how metrics are compared with their twins."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy
import pytest
from safetensors.numpy import load_file

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import Goal
from sidelight.audits.cells import Cell, Scored, common, finished, store, unscored, views
from sidelight.audits.judging import compare
from sidelight.audits.scoring import Rows
from sidelight.system import files

IDS = tuple(f"{i * 7:016x}" for i in range(60))
RUN = {
    "run": "mobillm-0-aa",
    "protocol": "mobillm",
    "label": "mobillm",
    "paper_version": None,
    "settings": {"precision": "fp32"},
    "threat": {"adversary": "server"},
    "victim": 0,
    "utility": {"value": 0.8},
    "uplink_bytes_per_sample": 10.0,
    "downlink_bytes_per_sample": 1.0,
}
AUDIT = {"backbone": "opt 01", "data": "rows 02", "sandbox": "none", "versions": {"torch": "2.13.0"}}


def cell(**settings: Any) -> Cell:
    attack = ATTACKS["match"](**settings)
    return Cell("mobillm-0-aa-match-bb", Path("runs/mobillm-0-aa"), attack, asdict(attack))


def test_a_cell_names_the_settings_that_are_not_the_attacks_defaults() -> None:
    assert cell().changed == {}
    assert cell(round=3).changed == {"round": 3}


def test_every_result_says_which_run_attack_and_threat_it_is_of() -> None:
    fields = common(cell(round=3), RUN, AUDIT)
    assert (fields["protocol"], fields["attack"], fields["goal"]) == ("mobillm", "match", "texts")
    assert fields["settings"] == {"round": 3}
    assert fields["consumes"] == ["activations"]
    assert fields["threat"] == {"adversary": "server"}
    assert fields["difference"] is None  # only pae sends one


def test_an_unscored_cell_has_every_field_of_a_scored_one(tmp_path: Path) -> None:
    row = unscored(common(cell(), RUN, AUDIT), "failed", "ValueError: no", 1.5).results[0]
    numbers = compare("exact", rows(1.0), ({"prior": {"exact": rows(0.0)}}, {}), numpy.random.default_rng(0), True)
    assert numbers is not None
    assert numbers.keys() <= row.keys()
    assert (row["status"], row["reason"], row["seconds"], row["value"]) == ("failed", "ValueError: no", 1.5, None)


def test_a_stored_cell_holds_results_rows_and_private_examples_for_the_owner_only(tmp_path: Path) -> None:
    scored = Scored([{"status": "scored", "metric": "exact"}], {"exact": rows(1.0)}, [{"original": "secret"}])
    store(tmp_path, cell(), scored)
    folder = tmp_path / cell().key
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert finished(tmp_path, cell().key) == scored.results
    assert load_file(folder / "scores.safetensors")["exact"].tolist() == [1.0] * 60
    assert files.read_json(folder / "ids.json") == {"exact": list(IDS)}
    assert files.read_lines(folder / "examples.jsonl") == scored.examples


def test_absent_and_failed_cells_run_again_and_a_new_result_replaces_the_old(tmp_path: Path) -> None:
    assert finished(tmp_path, cell().key) is None
    store(tmp_path, cell(), Scored([{"status": "failed"}], {}, []))
    assert finished(tmp_path, cell().key) is None
    store(tmp_path, cell(), Scored([{"status": "not_exposed"}], {}, []))
    assert finished(tmp_path, cell().key) == [{"status": "not_exposed"}]
    assert [path.name for path in tmp_path.iterdir()] == [cell().key]


def test_only_guesses_with_a_row_a_sample_have_a_shuffled_twin() -> None:
    assert views(Goal.LABELS) == views(Goal.TEXTS) == ("", "shuffled")
    assert views(Goal.MODEL) == ("",)


# --- metrics beside their twins --------------------------------------------------------------------------------


def rows(share: float, ids: tuple[str, ...] = IDS) -> Rows:
    """Spread evenly, so that both halves hold the same share."""
    right = numpy.zeros(len(ids))
    right[: round(share * len(ids))] = 1
    return Rows(ids, numpy.random.default_rng(1).permutation(right))


def compared(
    value: float, outsider: Mapping[str, float], rest: Mapping[str, float], primary: bool = True
) -> dict[str, Any] | None:
    twins = [{name: {"exact": rows(share)} for name, share in side.items()} for side in (outsider, rest)]
    return compare("exact", rows(value), (twins[0], twins[1]), numpy.random.default_rng(0), primary)


def test_the_advantage_is_over_the_stronger_twin() -> None:
    found = compared(0.9, {"prior": 0.1, "shuffled": 0.2}, {"probe": 0.5})
    assert found is not None
    assert (found["blind_outsider"]["twin"], found["blind_outsider"]["value"]) == ("shuffled", pytest.approx(0.2))
    assert (found["blind_rest"]["twin"], found["blind_rest"]["value"]) == ("probe", pytest.approx(0.5))
    assert found["advantage"] == pytest.approx((0.9 - 0.5) / 0.5)
    assert (found["verdict"], found["n"]) == ("leaks", 60)
    for stated in (found["blind_outsider"], found["blind_rest"], found):
        assert stated["low"] <= stated["value"] <= stated["high"]


def test_an_attack_below_its_twins_is_inconclusive_since_no_control_succeeded() -> None:
    found = compared(0.1, {"prior": 0.2}, {"probe": 0.9})
    assert found is not None
    assert found["advantage_high"] < 0
    assert found["verdict"] == "inconclusive"


def test_a_perfect_twin_fails_the_cell_on_its_primary_metric_only() -> None:
    assert compared(1.0, {"prior": 1.0}, {}) is None
    found = compared(1.0, {"prior": 1.0}, {}, primary=False)
    assert found is not None
    assert (found["advantage"], found["verdict"]) == (None, None)


def test_a_metric_that_a_twin_was_not_scored_on_has_no_twin() -> None:
    other = ({"prior": {"exact": rows(0.5, IDS[:30])}}, {"probe": {"bag_f1": rows(0.5)}})
    found = compare("exact", rows(0.9), other, numpy.random.default_rng(0), primary=False)
    assert found is not None
    assert (found["blind_outsider"], found["blind_rest"], found["advantage"]) == (None, None, None)


def test_the_same_generator_gives_the_same_numbers() -> None:
    assert compared(0.7, {"prior": 0.3}, {}) == compared(0.7, {"prior": 0.3}, {})
