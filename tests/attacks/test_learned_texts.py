"""Learned attacks on texts: their readings, beams and resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sidelight.attacks.attack import Attack
from sidelight.attacks.evidence.made_texts import MadeTexts
from sidelight.attacks.evidence.pivots.decoder import BAG, LARGEST, Beams
from sidelight.attacks.evidence.pivots.linear_readings import RIDGE, linear_readings
from sidelight.attacks.evidence.states import crossed_states
from sidelight.attacks.evidence.token_states import Sender, uncorrelated
from sidelight.attacks.reconstruction.deep import Deep
from sidelight.attacks.reconstruction.inverter import LearnedInverter
from sidelight.attacks.workbench import Workbench
from sidelight.audits.cells.applies import outside
from sidelight.system.defences import Defence
from sidelight.system.defences.activation_noise import ActivationNoise
from sidelight.system.defences.layers import Layers
from sidelight.system.defences.project import Project
from sidelight.system.defences.quantise import Quantise
from sidelight.system.defences.rotate_activations import RotateActivations
from sidelight.system.errors import UsageError
from sidelight.system.fusion import pivot_activations
from sidelight.system.protocols import Protocol
from sidelight.system.public import Example, Public
from sidelight.system.selector import ONE_STATE, Selector

from ..contracts.micro import AUXILIARY, LABELS, VICTIM, Micro, make_scene
from ..contracts.planted import from_run, made, pae

GENERATOR = 4


def public(micro: Micro, family: str = "opt", selector: Selector = "last", auxiliary: int = 48) -> Public:
    facts = {"layers": [1, 2], "longest": 12, "prompt": " again", "selector": selector}
    known = tuple(Example(s.text, s.label) for s in AUXILIARY[:auxiliary])
    return Public(facts, LABELS, str(micro.folders[family]), auxiliary=known)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(GENERATOR)


@pytest.mark.parametrize("selector", sorted(ONE_STATE))
@pytest.mark.parametrize("family", ["opt", "llama"])
def test_states_of_tokens_are_those_that_cross_of_their_text(micro: Micro, family: str, selector: Selector) -> None:
    backbone, texts = micro.backbone(family), [sample.text for sample in VICTIM[:5]]
    made = Sender(backbone, public(micro, family, selector)).states([backbone.token_ids(t, 12) for t in texts])
    crossed = pivot_activations(backbone, texts, 12, " again", selector, [1, 2])
    assert torch.equal(made, crossed.flatten(1))


@pytest.mark.parametrize(
    "defence", [Quantise(bits=4), Layers(count=1, which="first"), Project(width=12, revealed=True)]
)
def test_behind_a_public_mechanism_states_of_tokens_are_still_those_that_cross(micro: Micro, defence: Defence) -> None:
    planted = from_run(micro, LearnedInverter(), pae(defences=(defence,)))
    assert outside(planted.attack, planted.view.kinds, planted.public.items, planted.public.facts) is None
    ids, crossed = crossed_states(planted.view, planted.public)
    sender = Sender(micro.backbone("opt"), planted.public)
    torch.testing.assert_close(sender.states([planted.truth.tokens[i] for i in ids]), crossed.flatten(1))


def test_states_to_learn_from_have_the_clip_and_the_noise_of_those_that_cross(micro: Micro) -> None:
    planted = from_run(micro, LearnedInverter(), pae(defences=(ActivationNoise(ratio=0.01),)))
    ids, crossed = crossed_states(planted.view, planted.public)
    sender, rows = Sender(micro.backbone("opt"), planted.public), [planted.truth.tokens[i] for i in ids]
    for noisy in (crossed.flatten(1), sender.states(rows, generator())):
        assert float((noisy - sender.states(rows)).std()) == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(
    ("attack", "protocol"),
    [
        (LearnedInverter(), pae(defences=(RotateActivations(),))),
        (LearnedInverter(), pae(defences=(Project(width=12),))),
        (LearnedInverter(), pae(selector="first")),
        (LearnedInverter(), made("mobillm")),
        (Deep(), made("mobillm")),
        (Deep(), made("split")),
    ],
)
def test_where_learning_could_not_tell_texts_or_is_not_needed_an_attack_does_not_apply(
    micro: Micro, attack: Attack, protocol: Protocol
) -> None:
    facts = protocol.public_facts(make_scene(micro.backbone("opt")))
    found = outside(attack, frozenset({"activations"}), frozenset({"auxiliary", "backbone"}), facts)
    assert found is not None
    assert found.status == "not_applicable"


def test_states_that_do_not_vary_give_one_feature_that_tells_nothing() -> None:
    states = torch.ones(30, 5) + 1e-8 * torch.randn(30, 5, generator=generator())
    found = uncorrelated(states)
    features = (states - found["middle"]) @ found["whitener"]
    assert features.shape == (30, 1)
    assert float(features.abs().max()) < 0.5


def test_uncorrelated_features_have_the_identity_as_covariance() -> None:
    turned = torch.linalg.qr(torch.randn(6, 6, generator=generator())).Q
    states = torch.randn(400, 6, generator=generator()) * torch.arange(1.0, 7.0) @ turned + 3
    found = uncorrelated(states)
    features = (states - found["middle"]) @ found["whitener"]
    assert torch.allclose(features.T @ features / 400, torch.eye(6), atol=1e-3)


def test_with_fewer_texts_than_values_the_same_directions_are_found() -> None:
    states = torch.randn(20, 50, generator=generator())
    found = uncorrelated(states)
    features = (states - found["middle"]) @ found["whitener"]
    covariance = features.T @ features / 20
    assert covariance.shape == (19, 19)
    assert torch.allclose(covariance, torch.eye(19), atol=1e-3)


def test_the_reading_of_tokens_solves_the_ridge_regression_of_their_counts() -> None:
    features = torch.randn(60, 4, generator=generator()).clamp(-LARGEST, LARGEST)
    texts = [[int(i) % 5, int(i) % 3] for i in torch.randint(30, (60,), generator=generator())]
    found = linear_readings([(texts[:25], features[:25]), (texts[25:], features[25:])], torch.randn(5, 3), 2)[BAG]
    counts = torch.tensor([[float(text.count(token)) for token in range(5)] for text in texts])
    rows = torch.cat([features, torch.ones(60, 1)], 1)
    residual = rows.T @ (rows @ found - counts)
    assert torch.allclose(residual[:-1], -RIDGE * 60 * found[:-1], atol=1e-3)  # the normal equations
    assert torch.allclose(residual[-1], torch.zeros(5), atol=1e-3)


@pytest.mark.parametrize("family", ["opt", "llama"])
@pytest.mark.parametrize("auxiliary", [0, 48])
def test_made_texts_are_new_each_time_and_no_longer_than_allowed(micro: Micro, family: str, auxiliary: int) -> None:
    backbone, drawn = micro.backbone(family), generator()
    texts = MadeTexts(backbone, public(micro, family, auxiliary=auxiliary))
    first, second = (texts.draw(40, drawn) for _ in range(2))
    assert all(1 <= len(text) <= 12 for text in first)
    assert all(0 <= token < backbone.vocabulary for text in first for token in text)
    assert first != second
    again = MadeTexts(backbone, public(micro, family, auxiliary=auxiliary)).draw(40, generator())
    assert again == first


def test_a_beam_ends_where_its_end_is_likely_and_texts_are_ordered_by_a_tokens_likelihood() -> None:
    """Two tokens and an end (column 2): 0 is followed by its end at 0.8, 1 by another 1 and only then by its end."""
    search = Beams(1, 2, 2, torch.device("cpu"))
    start = torch.tensor([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0]]).log()
    rows, ids = search.step(start, torch.empty(2, 0, dtype=torch.int64))
    assert ids.tolist() == [[0], [1]]
    rows, ids = search.step(torch.tensor([[0.1, 0.1, 0.8], [0.01, 0.98, 0.01]]).log(), ids)
    assert [one.tokens for one in search.found[0]] == [(0,)]
    assert ids[0].tolist() == [1, 1]
    assert rows[0] == 1
    search.step(torch.tensor([[0.01, 0.01, 0.98], [0.5, 0.5, 0.0]]).log(), ids)
    assert [one.tokens for one in search.found[0]] == [(1, 1), (0,)]


class Counting(Workbench):
    """Notes the steps, and stops after one of them."""

    def __init__(self, root: Path, last: int) -> None:
        super().__init__(root)
        self.done: list[int] = []
        self._last = last

    def progress(self, done: float, total: float) -> None:
        self.done.append(int(done))
        if done == self._last:
            raise KeyboardInterrupt


@pytest.mark.parametrize("attack", [LearnedInverter(texts=256, steps=6, batch=4), Deep(steps=6, batch=4)])
def test_learning_goes_on_from_where_it_was_stopped(
    micro: Micro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: Attack
) -> None:
    monkeypatch.setattr("sidelight.attacks.evidence.pivots.decoder_lessons.KEPT", 2)
    monkeypatch.setattr("sidelight.attacks.evidence.positions.shadow_lessons.KEPT", 2)
    known = public(micro)
    if attack.name == "deep":
        known = replace(known, facts={**known.facts, "layers": [2], "positions": "all", "bottom": "trainable"})
    with pytest.raises(KeyboardInterrupt):
        attack.prepare(known, generator(), Counting(tmp_path, 5))
    second = Counting(tmp_path, 0)
    prepared = attack.prepare(known, generator(), second)
    assert second.done == [5, 6]
    assert all(tensor.isfinite().all() for tensor in prepared.values())


def test_settings_below_one_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="beam is 0; give at least 1"):
        LearnedInverter(beam=0)
    with pytest.raises(UsageError, match="candidates is 0; give at least 1"):
        Deep(candidates=0)
