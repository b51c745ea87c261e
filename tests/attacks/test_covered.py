"""Every attack on a run whose activations are defended: it does not apply, or it guesses as well as it can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import Attack, LabelGuess, StolenModel
from sidelight.attacks.evidence.differences import differences
from sidelight.attacks.evidence.states import as_sent, auxiliary_states, crossed_states, states_of
from sidelight.audits.cells.applies import outside
from sidelight.audits.cells.readings import Reader
from sidelight.system.defences import Defence
from sidelight.system.defences.activation_noise import ActivationNoise
from sidelight.system.defences.layers import Layers
from sidelight.system.defences.noise import Noise
from sidelight.system.defences.project import Project
from sidelight.system.defences.quantise import Quantise
from sidelight.system.defences.rotate import Rotate
from sidelight.system.defences.rotate_activations import RotateActivations
from sidelight.system.defences.round_backbone import RoundBackbone
from sidelight.system.public import Known

from ..contracts.goals import contract
from ..contracts.leaks_texts import probe
from ..contracts.micro import LABELS, VICTIM, Micro
from ..contracts.planted import Planted, attacked, from_run, pae

COVERS: dict[str, tuple[Defence, ...]] = {
    "noised": (ActivationNoise(ratio=0.01),),
    "quantised": (Quantise(bits=2),),
    "rotated": (RotateActivations(),),
    "rotated-twice": (RotateActivations(), Rotate()),
    "known-rotation": (RotateActivations(revealed=True), Rotate(revealed=True)),
    "first-layer": (Layers(count=1, which="first"),),
    "projected": (Project(width=12),),
    "known-projection": (Project(width=12, revealed=True),),
    "noised-whole": (ActivationNoise(ratio=0.01), Noise(epsilon=60.0), Project(width=12)),
    "rounded": (RoundBackbone(bits=4),),
}
QUICK: dict[str, dict[str, int]] = {
    "inverter": {"texts": 256, "steps": 2, "batch": 4, "beam": 2},
    "search": {"rounds": 2},
}
"""Settings of attacks that learn for minutes."""
MADE = Callable[[str, str], Planted]
ON_PAE = [n for n, a in ATTACKS.items() if a.needs.view <= {"activations", "difference", "held:tuned"}]


@pytest.fixture(scope="module")
def runs(micro: Micro) -> MADE:
    @cache
    def recorded(cover: str) -> Planted:
        planted = from_run(micro, ATTACKS["probe"](), pae(defences=COVERS[cover]))
        known = tuple(Known(row.id, row.label) for row in VICTIM[: 2 * len(LABELS)])
        return replace(planted, public=replace(planted.public, known=known, priors=(1 / 6,) * 6))

    return lambda name, cover: replace(recorded(cover), attack=an_attack(name))


def an_attack(name: str) -> Attack:
    """An attack that is over soon."""
    made: Callable[..., Attack] = ATTACKS[name]
    return made(**QUICK.get(name, {}))


def applies(planted: Planted) -> bool:
    return outside(planted.attack, planted.view.kinds, planted.public.items, planted.public.facts) is None


def share(planted: Planted) -> float:
    guess = attacked(planted)
    assert isinstance(guess, LabelGuess)
    found = zip(guess.ids, guess.labels.tolist(), strict=True)
    return [planted.truth.labels[i] == label for i, label in found].count(True) / len(planted.truth.labels)


@pytest.mark.parametrize("cover", ["noised-whole", "first-layer"])
@pytest.mark.parametrize("name", ON_PAE)
def test_an_attack_that_applies_makes_a_well_formed_guess(runs: MADE, name: str, cover: str) -> None:
    planted = runs(name, cover)
    if applies(planted):
        contract(planted.attack).form(attacked(planted), planted)


@pytest.mark.parametrize("name", ["addback", "align", "gram", "norm", "ratio"])
def test_what_lives_on_the_backbones_output_applies_where_the_last_state_crosses_as_it_is(
    runs: MADE, name: str
) -> None:
    found = {cover for cover in COVERS if applies(runs(name, cover))}
    assert found == {"noised", "quantised", "known-rotation", "rounded"}


def test_what_reads_states_applies_where_they_can_be_compared_with_texts(runs: MADE) -> None:
    secret = {"rotated", "rotated-twice", "projected", "noised-whole"}
    for name in ("inverter", "read"):
        assert {cover for cover in COVERS if not applies(runs(name, cover))} == secret
    assert {cover for cover in COVERS if not applies(runs("readoff", cover))} == secret
    assert {cover for cover in COVERS if not applies(runs("probe", cover))} == {"projected", "noised-whole"}


@pytest.mark.parametrize("cover", ["noised", "known-rotation", "known-projection", "rounded", "first-layer"])
def test_a_probe_reads_labels_where_states_are_known_by_their_form(runs: MADE, cover: str) -> None:
    planted = replace(runs("probe", cover), attack=probe(variants=0, names=False))
    assert share(planted) >= 0.75


@pytest.mark.parametrize("cover", ["noised", "projected"])
def test_an_untransformed_difference_tells_labels_whatever_is_done_to_activations(runs: MADE, cover: str) -> None:
    assert share(runs("sign", cover)) == 1.0


@pytest.mark.parametrize("name", ["addback", "norm", "posterior"])
def test_a_revealed_rotation_hides_nothing(runs: MADE, name: str) -> None:
    assert share(runs(name, "known-rotation")) == 1.0


@pytest.mark.parametrize("cover", ["noised", "known-rotation", "known-projection", "first-layer", "rounded"])
def test_a_stolen_side_network_answers_behind_what_is_known(runs: MADE, cover: str) -> None:
    planted = runs("readoff", cover)
    guess = attacked(planted)
    assert isinstance(guess, StolenModel)
    assert planted.truth.outputs is not None
    agreed = guess.outputs.argmax(1) == planted.truth.outputs.argmax(1)
    assert float(agreed.float().mean()) >= (0.9 if cover == "rounded" else 0.99)


def test_the_side_networks_outputs_group_samples_behind_a_secret_map(runs: MADE) -> None:
    for cover in ("rotated", "projected"):
        planted = runs("fewshot", cover)
        assert share(planted) >= 0.9


def test_states_are_as_if_plain_where_a_control_reveals_their_maps(micro: Micro, runs: MADE) -> None:
    plain = from_run(micro, ATTACKS["probe"](), pae())
    exact = dict(zip(*crossed_states(plain.view, plain.public), strict=True))
    turned = runs("probe", "known-rotation")
    for sample_id, state in zip(*crossed_states(turned.view, turned.public), strict=True):
        torch.testing.assert_close(state, exact[sample_id], atol=1e-3, rtol=0)
    found = differences(turned.view, turned.public)
    torch.testing.assert_close(as_sent(found.pivots, turned.public), found.received, atol=1e-3, rtol=0)


@pytest.mark.parametrize("cover", ["known-projection", "known-rotation", "quantised", "first-layer"])
def test_texts_have_the_form_of_what_crossed(runs: MADE, cover: str) -> None:
    planted = runs("probe", cover)
    ids, states = crossed_states(planted.view, planted.public)
    texts = {row.id: row.text for row in VICTIM}
    own = states_of([texts[i] for i in ids], planted.public)
    torch.testing.assert_close(own, states, atol=1e-3, rtol=0)
    assert auxiliary_states(planted.public)[0].shape[1:] == states.shape[1:]


def test_clipped_states_of_texts_differ_from_what_crossed_by_the_noise_alone(runs: MADE) -> None:
    planted = runs("probe", "noised")
    ids, states = crossed_states(planted.view, planted.public)
    texts = {row.id: row.text for row in VICTIM}
    own = states_of([texts[i] for i in ids], planted.public)
    assert float((states - own).std()) == pytest.approx(0.01, rel=0.05)
    drawn = states_of([texts[i] for i in ids], planted.public, torch.Generator().manual_seed(0))
    assert float((drawn - own).std()) == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("cover", COVERS)
def test_the_harness_reads_labels_off_activations_only_where_texts_can_be_compared(
    micro: Micro, runs: MADE, cover: str
) -> None:
    planted = runs("probe", cover)
    found = Reader(planted.view, planted.public, micro.backbone("opt")).guesses
    secret = cover in ("rotated", "rotated-twice", "projected", "noised-whole")
    assert ("probe" in found) != secret
    assert "probe of known rows" in found
