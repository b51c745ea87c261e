"""Settings that no protocol takes are refused in one sentence, and a secret head stays secret."""

from __future__ import annotations

from dataclasses import fields
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import torch

from sidelight.system.defences.secret_head import SecretHead
from sidelight.system.errors import UsageError
from sidelight.system.protocols import PROTOCOLS
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.side_training import SideTraining

from .variants import VARIANTS, Runs, Variant, made


def choices() -> list[tuple[str, str]]:
    """Every setting that takes one of a few names, of every protocol."""
    found = []
    for name, protocol in PROTOCOLS.items():
        hints = get_type_hints(protocol)
        found += [(name, f.name) for f in fields(protocol) if get_origin(hints[f.name]) is Literal]
    return found


@pytest.mark.parametrize(("name", "setting"), choices())
def test_a_value_that_a_setting_does_not_know_is_refused_with_the_right_ones(name: str, setting: str) -> None:
    known = get_args(get_type_hints(PROTOCOLS[name])[setting])
    with pytest.raises(UsageError) as refusal:
        made(name, {setting: "nonsense"})
    assert "nonsense" in str(refusal.value)
    assert all(value in str(refusal.value) for value in known)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_text_of_no_token_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="longest is 0; give at least 1 token"):
        made(name, {"longest": 0})


@pytest.mark.parametrize("cut", [3, 4, -1])
def test_a_cut_that_leaves_one_side_without_blocks_is_refused(runs: Runs, cut: int) -> None:
    variant = Variant("split", {"cut": cut})
    with pytest.raises(UsageError, match=f"cut is {cut}; give 1 to 2"):
        variant.protocol().roles(runs.scene(variant))


@pytest.mark.parametrize(("family", "cut"), [("opt", 1), ("llama", 1)])
def test_without_a_cut_a_third_of_the_blocks_and_at_least_one_stay_on_the_device(
    runs: Runs, family: str, cut: int
) -> None:
    variant = Variant("split", family=family)
    facts = variant.protocol().facts(runs.scene(variant))
    assert (facts["cut"], facts["layers"]) == (cut, [cut])


def test_sizes_below_one_are_refused() -> None:
    for make, what in (
        (lambda: SideTraining(batch=0), "batch"),
        (lambda: SideTraining(bottleneck=0), "bottleneck"),
        (lambda: LoraTraining(rank=0), "rank"),
        (lambda: LoraTraining(batch=-1), "batch"),
        (lambda: PAE(batch=0), "batch"),
    ):
        with pytest.raises(UsageError, match=f"^{what} is"):
            make()


def test_a_secret_head_is_not_public_and_a_public_one_is_the_devices(runs: Runs) -> None:
    scene = runs.scene(VARIANTS[0])
    hidden = PAE(head="linear", defences=(SecretHead(),))
    assert hidden.public_head(scene) is None
    shared = PAE(head="linear")
    head = shared.public_head(scene)
    assert head is not None
    torch.testing.assert_close(head, shared.guard(scene).targets.head, rtol=0, atol=0)
    secret = hidden.guard(scene).targets.head
    assert secret is not None
    assert not torch.equal(head, secret)
