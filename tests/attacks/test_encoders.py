"""What a server finds where the backbone is an encoder: labels and models as ever; what asks for causality declines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import LabelGuess, StolenModel
from sidelight.audits.cells.applies import outside
from sidelight.system.backbone import Backbone
from sidelight.system.protocols.side_training import SideTraining

from ..contracts.families import ENCODERS, load_family
from ..contracts.goals import labels_score
from ..contracts.micro import QUERIES, VICTIM, Micro, make_scene, record
from ..contracts.planted import Planted, attacked, made, planted_in

CAUSAL_ALONE = ("deep", "inverter", "match", "search", "shadow", "support", "unmix", "update")
EVERYTHING = frozenset({"activations", "difference", "held:start", "held:tuned", "update"})
ITEMS = frozenset({"auxiliary", "backbone", "queries"})
SIDE = SideTraining(bottleneck=8, epochs=20, batch=16)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoders")


@pytest.fixture(params=ENCODERS)
def encoder(request: pytest.FixtureRequest, folders: Path) -> Backbone:
    return load_family(request.param, folders)


def planted(encoder: Backbone, folders: Path, name: str) -> Planted:
    """A run of `pae` with the paper's selector for encoders, and an attack on it."""
    run = record(made("pae", selector="first", side=SIDE), make_scene(encoder))
    return planted_in(run, Micro({encoder.name: folders / encoder.name}), ATTACKS[name](), encoder.name)


@pytest.mark.parametrize("name", ["sign", "addback", "norm"])
def test_labels_are_found_as_with_a_decoder(encoder: Backbone, folders: Path, name: str) -> None:
    case = planted(encoder, folders, name)
    guess = attacked(case)
    assert isinstance(guess, LabelGuess)
    assert labels_score(guess, case.truth) >= 0.99


def test_the_model_is_read_off_exactly(encoder: Backbone, folders: Path) -> None:
    case = planted(encoder, folders, "readoff")
    guess = attacked(case)
    assert isinstance(guess, StolenModel)
    assert case.truth.outputs is not None
    expected = dict(zip((query.id for query in QUERIES), case.truth.outputs, strict=True))
    found = dict(zip(guess.ids, guess.outputs, strict=True))
    for query, output in expected.items():
        torch.testing.assert_close(found[query], output, atol=1e-3, rtol=1e-3)


def test_a_text_of_the_pool_is_recognised(encoder: Backbone, folders: Path) -> None:
    """`retrieve` needs no causality: it runs whole texts."""
    case = planted(encoder, folders, "retrieve")
    pool = replace(case.public, candidates=tuple(sample.text for sample in VICTIM))
    guess = attacked(replace(case, public=pool))
    found = dict(zip(guess.ids, guess.tokens, strict=True))  # type: ignore[union-attr]
    assert found == case.truth.tokens


@pytest.mark.parametrize("name", CAUSAL_ALONE)
def test_what_asks_for_causality_does_not_apply_and_says_why(folders: Path, name: str) -> None:
    scene = make_scene(load_family("bert", folders))
    found = outside(ATTACKS[name](), EVERYTHING, ITEMS, made("mobillm").public_facts(scene))
    assert found is not None
    assert found.status == "not_applicable"
    assert found.reason == "attention is bidirectional; the attack takes causal"


def test_a_recording_that_does_not_say_is_of_a_causal_backbone(micro: Micro) -> None:
    facts = made("mobillm").public_facts(make_scene(micro.backbone("opt")))
    assert facts["attention"] == "causal"
    older = {name: value for name, value in facts.items() if name != "attention"}
    assert outside(ATTACKS["match"](), EVERYTHING, ITEMS, older) is None


def test_what_may_follow_is_what_an_encoder_puts_in_place_of_a_mask(encoder: Backbone) -> None:
    mask = encoder.tokenizer.mask_token_id
    rows = torch.tensor([[0, 5, 6], [0, 7, 8]])
    with torch.no_grad():
        expected = [encoder.model(input_ids=torch.tensor([[*row, mask, 2]])).logits[0, 3] for row in rows.tolist()]
        torch.testing.assert_close(encoder.next_logits(rows), torch.stack(expected), atol=1e-5, rtol=1e-5)
