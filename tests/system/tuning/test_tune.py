"""A whole tuning, in one process: what it leaves, what it counts, and what it tells nobody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy import special

from sidelight.system.progress import Progress
from sidelight.system.tuning.home import Home
from sidelight.system.tuning.keeping import open_cache
from sidelight.system.tuning.order import Order, prepared
from sidelight.system.tuning.outcome import share
from sidelight.system.tuning.tune import Surroundings, tune

from ...contracts.micro import Micro
from .small import (
    SEED,
    SIDE,
    Host,
    carried_out,
    everything,
    summary,
)


def test_a_tuning_learns_and_counts_what_crossed(asked: Order) -> None:
    host = Host()
    longer = replace(asked, settings={"side": {**SIDE, "epochs": 20}, "batch": 10})
    assert carried_out(longer, host)
    found, (heard,) = summary(longer), host.heard
    assert found["samples"] + found["accuracy"]["n"] <= 72
    assert found["accuracy"]["low"] > max(found["majority"], found["untuned"]["value"])
    up = [m for m in heard if m.sender == "device-0"]
    assert found["messages"] == len(heard) == 2 * len(up)
    tensors = sum(4 * t.numel() for m in heard for t in m.tensors.values())  # fp32
    assert found["payload_bytes"] == tensors
    assert tensors < found["uplink_bytes"] + found["downlink_bytes"] < 1.2 * tensors
    assert (found["epochs"], found["resumed"], found["releases"]) == (20, 0, 1)
    assert found["peak_resident_bytes"] > 50e6


def test_the_interval_of_accuracy_is_clopper_and_pearsons() -> None:
    truth = torch.arange(17) % 3
    scores = torch.eye(3)[torch.where(torch.arange(17) < 11, truth, (truth + 1) % 3)]
    found = share(scores, truth)
    assert (found.value, found.n) == (11 / 17, 17)
    assert found.low == pytest.approx(special.betaincinv(11, 7, 0.025))
    assert found.high == pytest.approx(special.betaincinv(12, 6, 0.975))


def test_a_protocol_without_an_export_is_tuned_and_measured(asked: Order) -> None:
    assert carried_out(replace(asked, protocol="mobillm", settings={"side": SIDE}, epochs=None), Host())
    found = summary(asked)
    assert (found["exported"], found["epochs"], found["releases"]) == (False, 3, 1)
    assert not (asked.out / "model").exists()
    assert found["accuracy"]["n"] == 14


def test_a_finished_tuning_is_left_as_it_is(asked: Order) -> None:
    host = Host()
    assert carried_out(asked, host)
    before = everything(asked.out)
    assert not tune(asked, Surroundings(host.open_wire, open_cache, Progress(print)))
    assert everything(asked.out) == before
    assert len(host.heard) == 1


def test_nothing_private_is_told(asked: Order, capfd: pytest.CaptureFixture[str]) -> None:
    assert carried_out(asked, Host())
    device = asked.out / "device"
    seed = Home(asked.out).seed or ""
    rows = [line.rpartition(",")[0] for line in Path(asked.data).read_text("utf-8").splitlines()[1:]]
    ids = [sample.id for sample in prepared(asked, seed).samples]
    assert len(seed) == 32
    told = "".join(path.read_text("utf-8") for path in asked.out.rglob("*") if path.suffix in (".json", ".md"))
    told = "\n".join([told, *capfd.readouterr(), (device / "account.json").read_text("utf-8")])
    assert [private for private in [seed, *rows, *ids] if private in told] == []
    assert [path for path in (asked.out, device) if path.stat().st_mode & 0o077] == []
    assert [path for path in asked.out.rglob("*") if path.is_file() and path.stat().st_mode & 0o077] == []


def test_rows_are_dealt_by_the_seed_and_near_duplicates_of_held_out_rows_are_left_out(
    tmp_path: Path, micro: Micro, asked: Order
) -> None:
    first, again, other = (prepared(asked, seed) for seed in (SEED, SEED, "another"))
    assert [s.id for s in first.samples] == [s.id for s in again.samples]
    assert {s.id for s in first.samples} & {s.id for s in other.samples} == set()
    trained_on = {sample.text for sample in first.samples}
    assert not {sample.text for sample in first.held_out} & trained_on
    missing = 72 - len(first.samples) - len(first.held_out)
    assert first.notices == ([] if not missing else [first.notices[0]])
    assert not missing or first.notices[0].startswith(f"{missing} of 72 rows")
