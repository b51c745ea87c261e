"""The model put together from averages: whole where all is averaged, as far as it goes where a top is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import StolenModel
from sidelight.attacks.evidence.rebuilt import averaged
from sidelight.attacks.evidence.updates.sent import updates
from sidelight.attacks.membership.shared import odds
from sidelight.system.backbone import load_backbone
from sidelight.system.federation import FEDERATION
from sidelight.system.forward import over_texts
from sidelight.system.protocols import Protocol
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.public import Challenge
from sidelight.system.roles import SERVER

from ..contracts.micro import LABELS, VICTIM, Micro, Run, make_scene, record
from ..contracts.planted import Planted, attacked, made, planted_in
from ..contracts.variants import FULL, LORA


def run_of(micro: Micro, protocol: Protocol, family: str = "opt") -> Run:
    return record(protocol, make_scene(micro.backbone(family), protocol=protocol))


def stolen(planted: Planted) -> torch.Tensor:
    guess = attacked(planted)
    assert isinstance(guess, StolenModel)
    return guess.outputs


@pytest.mark.parametrize("family", ["opt", "llama"])
@pytest.mark.parametrize("training", [LORA, FULL], ids=["lora", "full"])
def test_where_devices_tune_the_whole_model_the_average_is_the_model(
    micro: Micro, family: str, training: object
) -> None:
    run = run_of(micro, made("fedlora", lora=training, fleet=Fleet(2)), family)
    planted = planted_in(run, micro, ATTACKS["average"](), family, FEDERATION)
    torch.testing.assert_close(stolen(planted), planted.truth.outputs, atol=1e-3, rtol=0)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_two_servers_in_collusion_have_the_devices_model_and_one_alone_has_less(micro: Micro, version: str) -> None:
    run = run_of(micro, made("splitfed", lora=LORA, fleet=Fleet(2), version=version))
    alone = planted_in(run, micro, ATTACKS["average"](), party=FEDERATION)
    both = replace(alone, view=run.view(SERVER, FEDERATION))
    assert alone.truth.outputs is not None
    torch.testing.assert_close(stolen(both), alone.truth.outputs, atol=1e-3, rtol=0)
    assert not torch.allclose(stolen(alone).softmax(1), alone.truth.outputs.softmax(1), atol=0.01)


def test_without_auxiliary_rows_the_head_is_the_one_that_training_began_from(micro: Micro) -> None:
    run = run_of(micro, made("splitfed", lora=LORA, fleet=Fleet(2)))
    alone = planted_in(run, micro, ATTACKS["average"](), party=FEDERATION)
    found = stolen(replace(alone, public=replace(alone.public, auxiliary=())))
    assert found.shape == stolen(alone).shape
    assert not torch.allclose(found, stolen(alone))


@torch.no_grad()
def test_a_head_of_ones_own_scores_by_logarithms_whose_odds_are_those_of_its_probabilities(micro: Micro) -> None:
    run = run_of(micro, made("splitfed", lora=LORA, fleet=Fleet(2)))
    alone = planted_in(run, micro, ATTACKS["average"](), party=FEDERATION)
    rows = VICTIM[:12]
    public = replace(alone.public, challenge=tuple(Challenge(row.id, row.text, row.label) for row in rows))
    state = next(updates(alone.view)).after
    model = averaged(load_backbone(str(micro.folders["opt"])), public, state, None)
    chances = over_texts(model, [row.text for row in rows]).double().exp()
    torch.testing.assert_close(chances.sum(1), torch.ones(len(rows), dtype=torch.float64), atol=1e-5, rtol=0)
    labels = torch.tensor([[LABELS.index(row.label)] for row in rows])
    expected = (chances.gather(1, labels).squeeze(1) / chances.scatter(1, labels, 0.0).sum(1)).log()
    torch.testing.assert_close(odds(public, state).double(), expected, atol=1e-3, rtol=1e-4)
