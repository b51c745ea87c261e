"""A device that is broken off goes on as if it had not been: nothing is sent twice, and no noise is drawn twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sidelight.system.building import Recipe
from sidelight.system.tuning.order import Order, prepared

from ...contracts.micro import Micro
from .small import (
    SEED,
    SIDE,
    Break,
    Host,
    begun,
    carried_out,
    order,
    rows_csv,
    summary,
    until_done,
    weights,
)

ROTATED = Recipe("pae", {"side": SIDE, "batch": 10}, {"rotate": {}, "decoy": {}, "label-dp": {"epsilon": 3.0}})
NOISY = Recipe("pae", {"side": SIDE, "batch": 10}, {"noise": {"epsilon": 8.0}, "activation-noise": {"epsilon": 50.0}})


BREAKS = [
    Break("samples", 0, False),
    Break("samples", 0, True),
    Break("activations", 0, False),
    Break("activations", 2, False),
    Break("activations", 2, True),
    Break("difference", 1, False),
    Break("difference", 4, True),
    Break("train", 0, False),
    Break("train", 1, True),
    Break("download", 0, False),
    Break("download", 0, True),
]


@pytest.mark.parametrize("at", BREAKS, ids=str)
def test_a_tuning_that_is_broken_off_ends_as_if_it_had_not_been(
    tmp_path: Path, micro: Micro, at: Break, undisturbed: dict[str, torch.Tensor]
) -> None:
    rows_csv(tmp_path)
    asked, host = begun(order(tmp_path, micro, ROTATED)), Host(breaks=[at])
    until_done(asked, host)
    assert len(host.heard) == 2
    for kind in ("activations", "difference"):
        first, second = host.sent(kind)
        whole = {i for i in first if all(i in host.sent(other)[0] for other in ("activations", "difference"))}
        assert second.keys() & whole == set()  # what was acknowledged is not sent again
        assert len(first.keys() | second.keys()) == len(prepared(asked, SEED).samples) * 5 // 4
        assert all(torch.equal(first[i], second[i]) for i in first.keys() & second.keys())
    found = weights(asked)
    assert found.keys() == undisturbed.keys()
    assert all(torch.equal(found[name], undisturbed[name]) for name in found)
    counted = summary(asked)
    assert counted["resumed"] == 1
    assert counted["messages"] == sum(map(len, host.heard))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, micro: Micro) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("undisturbed")
    rows_csv(folder)
    asked = begun(order(folder, micro, ROTATED))
    assert carried_out(asked, Host())
    return weights(asked)


def test_noise_is_kept_before_it_is_sent_and_never_drawn_again(tmp_path: Path, micro: Micro) -> None:
    rows_csv(tmp_path)
    asked, host = begun(order(tmp_path, micro, NOISY)), Host(breaks=[Break("difference", 2, False)])
    until_done(asked, host)
    ready = prepared(asked, SEED)
    by_id = {sample.id: sample for sample in ready.samples}
    device = ready.protocol.device(ready.scene, ready.party)
    noise = [_noise(device, by_id, rows) for rows in host.sent("activations")]
    assert min(map(len, noise)) > 20
    again = host.sent("activations")[0].keys() & host.sent("activations")[1].keys()
    assert len(again) == 10  # their differences were lost on the way
    assert all(torch.equal(host.sent("activations")[0][i], host.sent("activations")[1][i]) for i in again)
    # had the second process drawn from the stored seed, its first fresh sample would carry the first one's noise
    first = torch.stack([noise[0][i] for i in noise[0]])
    second = torch.stack([noise[1][i] for i in noise[1] if i not in again])
    apart = torch.cdist(first.flatten(1), second.flatten(1))
    assert float(apart.min()) > 0.5 * float(first.flatten(1).norm(dim=1).median())
    assert summary(asked)["releases"] == 1


@torch.no_grad()
def _noise(device: Any, by_id: Any, rows: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What was added to each sample's activations."""
    shown = device.cover.shown(device.states([by_id[i].text for i in rows]))
    return {i: row - bare for (i, row), bare in zip(rows.items(), shown, strict=True)}


def test_a_model_that_was_half_exported_is_exported_again(asked: Order) -> None:
    host = Host()
    assert carried_out(asked, host)
    before = weights(asked)
    (asked.out / "summary.json").unlink()
    assert carried_out(asked, host)
    assert all(torch.equal(weights(asked)[name], before[name]) for name in before)
    assert host.sent("activations")[1] == {}
    assert summary(asked)["resumed"] == 1
