"""A guess judged beside its twins: what is scored, what is refused, and mistakes that are planted and caught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import LabelGuess
from sidelight.audits.cells.cell import Cell, Scored
from sidelight.audits.cells.judging import Judge, measure
from sidelight.audits.cells.scoring import PARTITION, RANDOM, Rows
from sidelight.audits.sandbox.workers import Done
from sidelight.system.backbone import Backbone
from sidelight.system.message import Message
from sidelight.system.public import Known, Public
from sidelight.system.truth import TrueText, Truth
from sidelight.system.view import ViewWriter

LABELS = ("no", "perhaps", "yes")
IDS = tuple(f"{i * 7:016x}" for i in range(90))
"""The last 30 carry labels drawn by a coin."""
TRUE = torch.arange(90) % 3
DECOY = "f" * 16
KNOWN = tuple(Known(i, LABELS[t]) for i, t in zip(IDS[:12], TRUE.tolist(), strict=False))
PROMISED = {"label-dp": {"epsilon": 1.0}}
"""Allows e / (e + 2) = 0.576 of the random-label rows."""


def judge(root: Path, backbone: Backbone, known: tuple[Known, ...] = (), **facts: Any) -> Judge:
    """Of a run in which differences and one made-up sample's crossed."""
    root.mkdir()
    writer = ViewWriter(root / "view", frozenset({"server"}))
    tensors = {"difference": torch.zeros(91, 3)}
    writer(Message("difference", "device-0", "server", sample_ids=(*IDS, DECOY), tensors=tensors))
    writer.close({}, {})
    Public(facts, LABELS, known=known).save(root / "public")
    pairs = enumerate(zip(IDS, TRUE.tolist(), strict=True))
    rows = [TrueText(i, "a text", LABELS[t], (), (), (), n >= 60) for n, (i, t) in pairs]
    Truth(tuple(rows), (), torch.zeros(0, 3)).save(root / "truth")
    return Judge(root, backbone)


def judged(by: Judge, labels: torch.Tensor, shuffled: torch.Tensor, ids: Sequence[str] = IDS) -> Scored:
    attack = ATTACKS["sign"]()
    cell = Cell("0" * 12, Path(), attack, {"settings": {}})
    mine, twin = (Done(LabelGuess(tuple(ids), one), 1.0, 0) for one in (labels, shuffled))
    return by.judge(cell, mine, twin)


def uniform(seed: int, count: int = 90) -> torch.Tensor:
    return torch.randint(3, (count,), generator=torch.Generator().manual_seed(seed))


def test_a_made_up_sample_may_be_named_and_an_unknown_one_may_not(tmp_path: Path, backbone: Backbone) -> None:
    by = judge(tmp_path / "run", backbone)
    labels, shuffled = torch.cat([TRUE, TRUE[:1]]), uniform(0, 91)
    scored = judged(by, labels, shuffled, (*IDS, DECOY))
    assert scored.status == "scored"
    assert scored.reason is None
    assert all(DECOY not in one.ids for one in scored.measured.values())
    assert len(scored.measured["accuracy"].ids) == 60
    assert all(example["id"] != DECOY for example in scored.examples)
    unknown = judged(by, labels, shuffled, (*IDS, "e" * 16))
    assert (unknown.status, unknown.reason) == ("failed", "the guess names 1 unknown ids, such as 'eeeeeeeeeeeeeeee'")


def test_rows_whose_labels_are_known_are_in_no_metric_of_the_attack_or_of_a_twin(
    tmp_path: Path, backbone: Backbone
) -> None:
    told = {one.id for one in KNOWN}
    scored = judged(judge(tmp_path / "run", backbone, KNOWN), TRUE[12:], uniform(0)[12:], IDS[12:])
    assert scored.reason is None  # they need no guess
    for name, one in scored.measured.items():
        assert told.isdisjoint(one.ids)
        assert len(one.ids) == {"accuracy": 48, PARTITION: 48, RANDOM: 30}[name]
        assert all(len(v) == len(one.ids) for side in (one.outsider, one.rest) for v in side.values())
    assert told.isdisjoint(example["id"] for example in scored.examples)


def test_a_twin_that_repeats_the_known_labels_gains_nothing_by_them(tmp_path: Path, backbone: Backbone) -> None:
    told = torch.tensor([i in {one.id for one in KNOWN} for i in IDS])
    wrong = (TRUE + 1 + uniform(1) % 2) % 3
    scored = judged(judge(tmp_path / "run", backbone, KNOWN), TRUE, torch.where(told, TRUE, wrong))
    assert scored.measured["accuracy"].outsider["shuffled"].sum() == 0


def test_a_twin_scored_on_known_rows_is_refused() -> None:
    """As if it had been scored with answers that do not know which labels are given away."""
    mine, all_rows = Rows(IDS[12:60], numpy.ones(48)), Rows(IDS[:60], numpy.ones(60))
    for metric in ("accuracy", PARTITION):
        with pytest.raises(ValueError, match=f"a twin of {metric} was scored on other rows"):
            measure({metric: mine}, ({"shuffled": {metric: all_rows}}, {"prior": {metric: mine}}), 3)


def test_the_twin_of_a_matched_metric_is_matched_too(tmp_path: Path, backbone: Backbone) -> None:
    """Right groups under wrong names: an unmatched twin would have 0, and the attack all of the advantage."""
    scored = judged(judge(tmp_path / "run", backbone), TRUE, (TRUE + 1) % 3)
    assert scored.measured["accuracy"].outsider["shuffled"].mean() == 0
    assert scored.measured[PARTITION].outsider["shuffled"].mean() == 1
    numbers = {one["metric"]: one for one in scored.metrics}
    assert numbers[PARTITION]["advantage"] is None
    assert (numbers[PARTITION]["primary"], numbers[PARTITION]["judged"]) == (False, False)
    assert numbers["accuracy"]["advantage"] == 1


def test_a_matched_metric_whose_twin_was_not_matched_is_no_number(tmp_path: Path, backbone: Backbone) -> None:
    rows = Rows(IDS, numpy.ones(90))
    unmatched = {"prior": {"accuracy": Rows(IDS, numpy.zeros(90))}}
    both = {"prior": {"accuracy": rows, PARTITION: rows}}
    with pytest.raises(ValueError, match="a twin of partition_accuracy was scored on other rows"):
        measure({"accuracy": rows, PARTITION: rows}, (unmatched, both), 3)


def test_the_partition_has_twins_and_an_interval_and_no_verdict(tmp_path: Path, backbone: Backbone) -> None:
    scored = judged(judge(tmp_path / "run", backbone), TRUE, uniform(2))
    [found] = [one for one in scored.metrics if one["metric"] == PARTITION]
    assert found["low"] < found["value"] == 1
    assert found["blind_outsider"]["value"] >= 1 / 3
    assert found["blind_rest"]["twin"] == "prior"
    assert not found["judged"]


def with_random_rows(right: int, seed: int = 3) -> torch.Tensor:
    """A guess that is right about so many of the 30 random-label rows."""
    labels = uniform(seed)
    labels[60:] = torch.where(torch.arange(30) < right, TRUE[60:], (TRUE[60:] + 1) % 3)
    return labels


@pytest.mark.parametrize(("right", "broken"), [(30, True), (18, False), (10, False)])
def test_what_randomised_response_allows_of_random_rows_is_told_and_whether_more_are_found(
    right: int, broken: bool, tmp_path: Path, backbone: Backbone
) -> None:
    """18 of 30 are above 0.576, but their interval is not."""
    scored = judged(judge(tmp_path / "run", backbone, defences=PROMISED), with_random_rows(right), uniform(4))
    assert scored.status == "scored"
    assert (scored.reason or "").startswith("label-dp with epsilon 1 allows 0.576 of the random-label rows")
    assert ("a broken promise" in (scored.reason or "")) == broken


def test_without_randomised_response_random_rows_have_no_bound(tmp_path: Path, backbone: Backbone) -> None:
    by = judge(tmp_path / "run", backbone, defences={"rotate": {"revealed": False}})
    assert judged(by, with_random_rows(30), uniform(4)).reason is None


def test_a_missing_guess_is_told_for_the_rows_that_are_asked_for_alone(tmp_path: Path, backbone: Backbone) -> None:
    by = judge(tmp_path / "run", backbone, KNOWN)
    scored = judged(by, TRUE[:80], uniform(0)[:80], IDS[:80])
    assert scored.reason == "10 rows have no guess and count as wrong"
    assert replace(scored, reason=None).measured["accuracy"].attack.mean() == 1


def test_what_gets_around_a_defence_is_told_on_the_row(tmp_path: Path, backbone: Backbone) -> None:
    by = judge(tmp_path / "run", backbone, defences={"round-backbone": {"bits": 4}, "quantise": {"bits": 4}})
    said = judged(by, TRUE, uniform(0)).reason or ""
    assert said.startswith("round-backbone: whoever rounds the public backbone in the same way has the device's")
