"""The model read off the server: the device's own predictions where everything else is public."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import StolenModel
from sidelight.system.backbone import TINY
from sidelight.system.defences.secret_head import SecretHead
from sidelight.system.difference import fused
from sidelight.system.fusion import pivot_activations
from sidelight.system.heads import scores
from sidelight.system.profiles import PROFILES, Profile
from sidelight.system.protocols import Protocol
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.protocols.side_training import SideTraining

from ..contracts.micro import QUERIES, Micro, make_scene, record
from ..contracts.planted import Planted, attacked, from_run, made, mobillm, pae, planted_in, split
from ..contracts.variants import LORA

EXACT = [
    pae(),
    pae(difference="logit"),
    pae(head="linear", selector="mean", prompt=""),
    pae(precision="int8"),
    mobillm(),
    mobillm(selector="mean", precision="int4"),
    split(),
    split(cut=1, selector="mean"),
]


def stolen(planted: Planted) -> torch.Tensor:
    guess = attacked(planted)
    assert isinstance(guess, StolenModel)
    return guess.outputs


@pytest.mark.parametrize("family", ["opt", "llama"])
@pytest.mark.parametrize("protocol", EXACT, ids=lambda p: f"{p.name}-{EXACT.index(p)}")
def test_outputs_are_the_devices_predictions(micro: Micro, family: str, protocol: Protocol) -> None:
    planted = from_run(micro, ATTACKS["readoff"](), protocol, family)
    torch.testing.assert_close(stolen(planted), planted.truth.outputs, atol=1e-3, rtol=0)


@pytest.mark.parametrize("settings", [{"fleet": Fleet(2)}, {"version": "v2", "fleet": Fleet(2)}])
def test_a_federated_servers_part_is_the_devices_where_bottoms_are_frozen(
    micro: Micro, settings: dict[str, Any]
) -> None:
    protocol = made("splitfed", lora=LORA, bottom="frozen", **settings)
    planted = from_run(micro, ATTACKS["readoff"](), protocol)
    torch.testing.assert_close(stolen(planted), planted.truth.outputs, atol=1e-3, rtol=0)


@pytest.mark.parametrize("cuts", [(1, 2), (2, 1)])
def test_a_server_that_averages_what_all_devices_train_reads_off_the_whole_model(
    micro: Micro, cuts: tuple[int, ...]
) -> None:
    planted = from_run(micro, ATTACKS["readoff"](), made("mesfl", lora=LORA, fleet=Fleet(2), cuts=cuts))
    torch.testing.assert_close(stolen(planted), planted.truth.outputs, atol=1e-3, rtol=0)


def test_a_device_of_a_lower_rank_is_read_off_at_its_own(micro: Micro, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, compute, link in (("slow-chip", 1e7, 1e10), ("slow-link", 1e12, 1e5)):
        monkeypatch.setitem(PROFILES, name, Profile(name, 100, compute, link, link))
    profiles = ("slow-chip", "slow-link")
    protocol = made("mesfl", lora=LORA, fleet=Fleet(2), assign="link", profiles=profiles, every=4)
    planted = from_run(micro, ATTACKS["readoff"](), protocol)
    assert planted.public.facts["rank"] == 1
    assert max(len(t) for name, t in planted.view.held["tuned"].items() if "lora_A" in name) == LORA.rank == 2
    torch.testing.assert_close(stolen(planted), planted.truth.outputs, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("withheld", "least"), [({}, 0.85), ({"auxiliary": ()}, 0.5)])
def test_a_middle_is_read_off_with_a_head_of_ones_own(micro: Micro, withheld: dict[str, Any], least: float) -> None:
    planted = from_run(micro, ATTACKS["readoff"](), made("ushape", lora=LORA))
    found = stolen(replace(planted, public=replace(planted.public, **withheld)))
    assert planted.truth.outputs is not None
    assert (found.argmax(1) == planted.truth.outputs.argmax(1)).float().mean() >= least


FEDS: list[dict[str, Any]] = [
    {"depths": (2, 3)},
    {"depths": (3, 2), "difference": "logit", "selector": "last"},
    {"depths": (2, 3), "label_site": "server"},
    {"backbones": ("", TINY), "depths": (2, 0)},
    {"backbones": ("", TINY), "label_site": "server", "prompt": ""},
    {"width": 20, "depths": (0, 2)},
]


@pytest.mark.parametrize("settings", FEDS, ids=str)
def test_a_shared_side_network_is_read_off_with_the_attacked_kinds_taps_and_projection(
    micro: Micro, settings: dict[str, Any]
) -> None:
    side = SideTraining(bottleneck=8, epochs=4, batch=12, learning_rate=2e-2)
    planted = from_run(micro, ATTACKS["readoff"](), made("fedmobillm", side=side, fleet=Fleet(3), **settings))
    assert planted.truth.outputs is not None
    assert float(planted.truth.outputs.std(0).min()) > 0.01
    torch.testing.assert_close(stolen(planted), planted.truth.outputs, atol=1e-3, rtol=0)


def test_a_cut_of_two_blocks_is_read_off_as_well(micro: Micro) -> None:
    planted = from_run(micro, ATTACKS["readoff"](), split(cut=2))
    torch.testing.assert_close(stolen(planted), planted.truth.outputs, atol=1e-3, rtol=0)


def test_without_the_head_the_side_networks_share_is_what_is_left(micro: Micro) -> None:
    run = record(pae(head="linear", defences=(SecretHead(),)), make_scene(micro.backbone("opt")))
    planted = planted_in(run, micro, ATTACKS["readoff"]())
    assert planted.public.head is None
    protocol, backbone = run.protocol, run.scene.backbone
    texts = [sample.text for sample in QUERIES]
    secret = protocol.guard(run.scene).targets.head  # type: ignore[attr-defined]
    with torch.no_grad():
        pivots = pivot_activations(backbone, texts, protocol.longest, protocol.prompt, protocol.selector)
        share = fused("probability", scores(secret, backbone, pivots[:, -1]))
    torch.testing.assert_close(stolen(planted) + share, planted.truth.outputs, atol=1e-4, rtol=0)


def test_a_bottom_trained_on_the_device_is_not_read_off(micro: Micro) -> None:
    planted = from_run(micro, ATTACKS["readoff"](), split(bottom="trainable"))
    assert planted.truth.outputs is not None
    assert float((stolen(planted) - planted.truth.outputs).abs().max()) > 0.1
