"""What a defence costs: paired over test rows, over victims from five on, and undecided where rows are few."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from scipy import stats

from sidelight.audits.compiling.prices import Prices
from sidelight.audits.planning.layout import Control, Layout
from sidelight.audits.runs.parts import save_parts
from sidelight.audits.statistics import Loss, loss
from sidelight.audits.statistics.losses import paired
from sidelight.system import files
from sidelight.system.data import Sample, Split
from sidelight.system.truth import Truth

from .synthetic import Made, rows

LABELS = ("no", "yes")


def pair(lost: int, won: int, both: int, neither: int) -> tuple[Any, Any]:
    """Rows before and after, by how often each of the four outcomes comes."""
    counts = (lost, won, both, neither)
    return numpy.repeat([1.0, 0.0, 1.0, 0.0], counts), numpy.repeat([0.0, 1.0, 1.0, 0.0], counts)


# --- statistics -----------------------------------------------------------------------------------------------------


def test_the_loss_is_the_share_of_rows_lost_less_the_share_won() -> None:
    found = loss([pair(30, 10, 300, 60)])
    assert found.value == pytest.approx(0.05)
    assert (found.n, found.victims) == (400, 1)


def test_its_interval_joins_the_exact_intervals_of_both_shares() -> None:
    """By hand, from scipy's exact intervals and the correlation -sqrt(p q / ((1 - p) (1 - q))) of two cells."""
    lost, won = (stats.binomtest(k, 400).proportion_ci(method="exact") for k in (30, 10))
    p, q = 30 / 400, 10 / 400
    r = -math.sqrt(p * q / ((1 - p) * (1 - q)))
    below = (p - lost.low) ** 2 + (won.high - q) ** 2 - 2 * r * (p - lost.low) * (won.high - q)
    above = (lost.high - p) ** 2 + (q - won.low) ** 2 - 2 * r * (lost.high - p) * (q - won.low)
    found = paired(*pair(30, 10, 300, 60))
    assert found.low == pytest.approx(0.05 - math.sqrt(below))
    assert found.high == pytest.approx(0.05 + math.sqrt(above))


def test_models_that_never_differ_still_have_an_interval() -> None:
    found = paired(*pair(0, 0, 40, 10))
    assert found.value == 0
    assert found.high == -found.low == pytest.approx(1 - 0.025 ** (1 / 50))  # the exact bound where none of 50 is seen


@pytest.mark.parametrize("lost", [0.0, 1.0])
def test_a_loss_stays_between_minus_one_and_one(lost: float) -> None:
    found = paired(*(pair(5, 0, 0, 0) if lost else pair(0, 5, 0, 0)))
    assert -1 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize(("lost", "won", "n"), [(0.02, 0.0, 100), (0.03, 0.01, 100), (0.3, 0.1, 50), (0.1, 0.05, 400)])
def test_the_interval_covers_at_least_93_percent(lost: float, won: float, n: int) -> None:
    """4,000 draws of the table; a standard error of the coverage is below 0.4 points."""
    drawn = numpy.random.default_rng(0).multinomial(n, [lost, won, 1 - lost - won], size=4000)
    tables, counts = numpy.unique(drawn, axis=0, return_counts=True)
    found = [paired(*pair(a, b, rest, 0)) for a, b, rest in tables.tolist()]
    covered = [one.low <= lost - won <= one.high for one in found]
    assert float(counts @ numpy.array(covered)) / 4000 >= 0.93


def test_from_five_victims_on_the_victim_is_the_unit() -> None:
    losses = [0.01, 0.03, 0.02, 0.05, 0.04]
    found = loss([pair(round(400 * one), 0, 300, 100 - round(400 * one)) for one in losses])
    half = stats.t.ppf(0.975, 4) * numpy.std(losses, ddof=1) / math.sqrt(5)
    assert (found.victims, found.n) == (5, 2000)
    assert [found.low, found.value, found.high] == pytest.approx([0.03 - half, 0.03, 0.03 + half])


def test_victims_with_the_same_loss_have_the_interval_of_their_pooled_rows() -> None:
    found = loss([pair(4, 0, 80, 16)] * 5)
    assert (found.low, found.high) == paired(*pair(20, 0, 400, 80))[1:]


def test_two_to_four_victims_have_a_mean_and_no_interval() -> None:
    found = loss([pair(4, 0, 80, 16), pair(8, 0, 80, 12)])
    assert found.value == pytest.approx(0.06)
    assert (found.low, found.high, found.verdict) == (None, None, "undecided")


@pytest.mark.parametrize(
    ("low", "high", "n", "victims", "verdict"),
    [
        (-0.01, 0.019, 3000, 1, "within"),
        (-0.01, 0.019, 2999, 1, "undecided"),  # a claim of two points takes 3,000 rows or repeated splits
        (-0.01, 0.019, 2000, 5, "within"),
        (-0.01, 0.02, 3000, 1, "undecided"),
        (0.02, 0.04, 3000, 1, "undecided"),
        (0.021, 0.04, 300, 1, "worse"),
        (-0.2, -0.1, 3000, 1, "within"),
    ],
)
def test_the_verdict_follows_from_the_interval(low: float, high: float, n: int, victims: int, verdict: str) -> None:
    assert Loss((low + high) / 2, low, high, n, victims).verdict == verdict


# --- from a folder --------------------------------------------------------------------------------------------------


def put(out: Path, run: str, right: list[bool]) -> None:
    """The truth of a run whose model is right about these test rows."""
    victim = int(run.rpartition("-")[2])
    test = tuple(Sample(f"{at:016x}", f"text {at}", LABELS[at % 2], ()) for at in range(len(right)))
    (out / "truth").mkdir(exist_ok=True)
    save_parts(Split((), test, (), (), LABELS), out / "truth" / f"parts-{victim}.jsonl")
    said = [at % 2 if one else 1 - at % 2 for at, one in enumerate(right)]
    # queries need not stand in the order of the parts
    outputs = torch.eye(2)[torch.tensor(said)].flip(0)
    Truth((), tuple(sample.id for sample in reversed(test)), outputs).save(out / "runs" / run / "truth")
    about = files.read_json(out / "runs" / run / "run.json")
    files.write_json(out / "runs" / run / "run.json", {**about, "parts": f"parts-{victim}.jsonl"})


def audit(out: Path, victims: int = 1) -> Made:
    """A defended group that is wrong about two rows of ten more than its undefended control."""
    made = Made(out)
    about: dict[str, Any] = {"uplink_bytes_per_sample": 14.0, "device_seconds_per_sample": 0.003}
    own, plain = made.group("own", victims, **about), made.group("plain", victims, role="control")
    for victim in range(victims):
        put(out, f"plain-{victim}", [True] * 9 + [False])
        put(out, f"own-{victim}", [False, False] + [True] * 7 + [False])
    scored = [rows(0.9, seed=victim) for victim in range(victims)]
    made.entry(own, "sign", *scored, controls={"undefended": Control(plain, must_succeed=True)})
    made.entry(plain, "sign", *scored)
    return made


def test_a_group_is_priced_against_its_undefended_control(tmp_path: Path) -> None:
    found = audit(tmp_path).compile()
    own, plain = files.read_lines(tmp_path / "groups.jsonl")
    price = own["price"]
    assert plain["price"] is None
    assert (price["utility_loss"]["value"], price["utility_loss"]["n"]) == (pytest.approx(0.2), 10)
    assert price["defended"] == {
        "utility": pytest.approx(0.7),
        "uplink_bytes_per_sample": 14.0,
        "downlink_bytes_per_sample": 1.0,
        "device_seconds_per_sample": 0.003,
    }
    assert price["undefended"] == {
        "group": "plain",
        "utility": pytest.approx(0.9),
        "uplink_bytes_per_sample": 10.0,
        "downlink_bytes_per_sample": 1.0,
        "device_seconds_per_sample": 0.002,
    }
    assert [row["price"] for row in found] == [price, None]


def test_a_row_over_victims_has_the_price_over_victims_and_each_victim_its_own(tmp_path: Path) -> None:
    made = audit(tmp_path, victims=5)
    whole, *single = (row["price"] for row in made.compile() if row["group"] == "own")
    assert whole["utility_loss"]["victims"] == [0, 1, 2, 3, 4]
    assert whole["utility_loss"]["n"] == 50
    assert [one["utility_loss"]["victims"] for one in single] == [[victim] for victim in range(5)]


@pytest.mark.parametrize("gone", ["runs/plain-0/truth", "runs/own-0", "truth"])
def test_nothing_is_priced_where_one_side_is_missing(tmp_path: Path, gone: str) -> None:
    made = audit(tmp_path)
    layout = Layout(tuple(made.groups), tuple(made.entries))
    assert Prices(tmp_path, layout).of("own") is not None
    shutil.rmtree(tmp_path / gone)
    assert Prices(tmp_path, layout).of("own") is None
    assert Prices(tmp_path, layout).of("plain") is None


def test_the_price_of_a_point_stands_on_its_curve(tmp_path: Path) -> None:
    made = audit(tmp_path)
    entry = made.entries[0]
    made.entries[0] = entry.__class__(**{**vars(entry), "role": "point", "place": made.point("c", "epsilon", 1, 0)})
    made.compile()
    [curve] = files.read_lines(tmp_path / "curves.jsonl")
    assert curve["points"][0]["price"]["utility_loss"]["value"] == pytest.approx(0.2)
