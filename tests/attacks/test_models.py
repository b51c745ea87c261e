"""Keyed, private and half known models: what is rebuilt of them, and what no attack may be credited with."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import StolenModel
from sidelight.attacks.evidence.differences import differences
from sidelight.attacks.evidence.rebuilt import asked_pivots
from sidelight.attacks.extraction.complete import both_sides
from sidelight.attacks.extraction.distil import shift
from sidelight.system.backbone import load_backbone
from sidelight.system.defences import Defence
from sidelight.system.errors import UsageError
from sidelight.system.public import Query

from ..contracts.leaks_grouped import ROWS, codes, defence, secret_head
from ..contracts.leaks_models import keyed, private
from ..contracts.micro import LABELS, Micro
from ..contracts.planted import Planted, attacked, pae, split

KEYS: list[tuple[Defence, ...]] = [
    (defence("permute"),),
    (defence("scale"), defence("rotate")),
    (defence("scale", per_sample=True), defence("rotate")),
    (defence("rotate", revealed=True),),
]


def agreement(planted: Planted) -> float:
    found, truth = attacked(planted), planted.truth.outputs
    assert isinstance(found, StolenModel)
    assert truth is not None
    return float((found.outputs.argmax(1) == truth.argmax(1)).float().mean())


@pytest.mark.parametrize("difference", ["probability", "logit"])
@pytest.mark.parametrize("keys", KEYS, ids=lambda keys: " ".join(one.name for one in keys))
def test_a_transform_is_undone_on_the_side_networks_outputs(
    micro: Micro, keys: tuple[Defence, ...], difference: str
) -> None:
    planted = keyed(micro, ATTACKS["transform"](), pae(difference=difference, defences=keys))
    assert agreement(planted) >= 0.95
    assert agreement(replace(planted, attack=ATTACKS["readoff"]())) < 0.9 or any(one.revealed for one in keys)


@pytest.mark.parametrize("difference", ["probability", "logit"])
@pytest.mark.parametrize("others", [(), (defence("permute"),)], ids=["alone", "permuted"])
def test_a_secret_head_is_estimated_with_five_known_labels_a_class(
    micro: Micro, others: tuple[Defence, ...], difference: str
) -> None:
    protocol = secret_head(*others, difference=difference)
    assert agreement(keyed(micro, ATTACKS["head"](), protocol, known=5)) >= 0.99


def test_codewords_are_read_by_their_classes_mean(micro: Micro) -> None:
    assert agreement(keyed(micro, ATTACKS["head"](), codes(words=2), known=5)) >= 0.95


@pytest.mark.parametrize("name", ["head", "transform"])
def test_where_a_control_reveals_the_key_nothing_is_left_to_find(micro: Micro, name: str) -> None:
    protocol = secret_head(defence("rotate", revealed=True))
    planted = keyed(micro, ATTACKS[name](), protocol)
    assert planted.public.head is not None
    assert agreement(planted) >= 0.99


def test_a_relative_of_another_width_is_refused(micro: Micro) -> None:
    planted = private(keyed(micro, ATTACKS["distil"](), pae()))
    messages = [
        replace(m, tensors={"activations": m.tensors["activations"][..., :8]}) if m.kind == "activations" else m
        for m in planted.view.messages
    ]
    with pytest.raises(UsageError, match="32 wide"):
        attacked(planted, replace(planted.view, messages=messages))


def test_a_relative_of_fewer_blocks_is_refused(micro: Micro) -> None:
    planted = private(keyed(micro, ATTACKS["distil"](), pae()))
    shallow = replace(planted.public, relative=str(micro.folders["llama"]))
    with pytest.raises(UsageError, match="has 2 blocks and layer 3 crossed"):
        attacked(replace(planted, public=shallow))


def test_a_revealed_projection_leaves_rows_and_queries_the_same_features(micro: Micro) -> None:
    planted = keyed(micro, ATTACKS["complete"](), pae(defences=(defence("project", width=8, revealed=True),)))
    found = differences(planted.view, planted.public)
    texts = {row.id: row.text for row in ROWS}
    public = replace(planted.public, queries=tuple(Query(name, texts[name]) for name in found.ids))
    asked = asked_pivots(load_backbone(str(micro.folders["opt"])), public, planted.view.held["tuned"])
    labels = torch.tensor([LABELS.index(row.label) for row in ROWS])[: len(found.ids)]
    for side in both_sides(planted.view, public, found, asked, labels):
        torch.testing.assert_close(side.queries, side.rows, atol=1e-3, rtol=1e-3)


def test_a_mean_is_moved_in_so_far_as_it_is_told_from_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    states, received = (torch.randn(count, 2, 50, generator=generator) for count in (80, 200))
    received[:, 1] += 2.0
    found, whole = shift(states, received), received.mean(0) - states.mean(0)
    assert float(found[0].norm()) < 0.5 * float(whole[0].norm())
    torch.testing.assert_close(found[1], whole[1], atol=0, rtol=0.02)


def test_a_single_row_tells_no_mean_from_chance() -> None:
    states = torch.randn(80, 1, 50, generator=torch.Generator().manual_seed(0))
    near, far = states[:1] + 0.1, states[:1] + 20
    assert float(shift(states, near).norm()) < 0.5 * float((near - states.mean(0)).norm())
    torch.testing.assert_close(shift(states, far), far[0] - states.mean(0), atol=0, rtol=0.02)


def test_a_bottom_that_was_trained_is_nearer_than_the_public_one(micro: Micro) -> None:
    planted = keyed(micro, ATTACKS["shadow"](), split(learning_rate=3e-3, bottom="trainable", cut=2))
    assert agreement(planted) > agreement(replace(planted, attack=ATTACKS["readoff"]())) + 0.2
