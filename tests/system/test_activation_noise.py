"""Noise on clipped activations, and what noises promise together for one example."""

from __future__ import annotations

import math

import pytest
import torch

from sidelight.system.defences import Defence
from sidelight.system.defences.accounting import Ledger, example_budget
from sidelight.system.defences.activation_noise import ActivationNoise
from sidelight.system.defences.decoy import Decoy
from sidelight.system.defences.guard import Guard
from sidelight.system.defences.label_dp import LabelDP
from sidelight.system.defences.layers import Layers
from sidelight.system.defences.noise import Noise
from sidelight.system.defences.rotate_activations import RotateActivations
from sidelight.system.difference import DifferenceKind
from sidelight.system.gaussian import epsilon_of, standard_deviation
from sidelight.system.message import Message
from sidelight.system.protocols import interleave
from sidelight.system.protocols.pae_device import PAEDevice
from sidelight.system.roles import DEVICE, SERVER, Device, Server
from sidelight.system.wire import Wire

from ..contracts.micro import VICTIM, WIDTH, Micro, make_scene
from ..contracts.planted import pae
from .covered import BLOCKS, STATES, STREAMS, cover, generator

# --- noise ----------------------------------------------------------------------------------------------------


def test_states_are_clipped_to_a_length_and_shorter_ones_stay() -> None:
    short = STATES / 1000
    held = cover(ActivationNoise(clip=2.0))
    torch.testing.assert_close(held.shown(STATES).norm(dim=2), torch.full((500, BLOCKS), 2.0))
    assert torch.equal(held.shown(short), short)


def test_noise_has_the_deviation_of_all_layers_together() -> None:
    """At epsilon 4 and delta 1e-5 the deviation is 1.0812 sensitivities: 2 C sqrt(3)."""
    held = cover(ActivationNoise(epsilon=4.0, clip=0.5))
    noise = held.sent(STATES, generator()) - held.shown(STATES)
    assert float(noise.std()) == pytest.approx(1.0812 * 2 * 0.5 * math.sqrt(3), rel=0.02)
    assert held.facts("fp32")["spread"] == pytest.approx(1.0812 * math.sqrt(3), rel=1e-3)


def test_a_ratio_says_the_deviation_over_the_clip() -> None:
    held = cover(ActivationNoise(ratio=0.25, clip=2.0))
    noise = held.sent(STATES, generator()) - held.shown(STATES)
    assert float(noise.std()) == pytest.approx(0.5, rel=0.02)


def test_a_sample_that_is_sent_again_is_sent_with_the_same_noise(micro: Micro) -> None:
    """To a server that forgot it by what the device keeps, in another one of the same seed by its streams."""
    protocol = pae(defences=(ActivationNoise(), Noise()))
    sent: list[dict[str, torch.Tensor]] = []
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    for _ in range(2):
        roles = protocol.roles(scene)
        wire = Wire(roles, lambda m: sent.append(dict(zip(m.sample_ids, m.tensors.get(m.kind, ()), strict=False))))
        device = roles[DEVICE]
        assert isinstance(device, Device)
        interleave([device], wire)
        wire.request(Message("forget", DEVICE, SERVER))
        interleave([device], wire)
    for wanted in (BLOCKS, None):
        rows = [(i, t) for one in sent for i, t in one.items() if (t.dim() == 2) == (wanted is not None)]
        first: dict[str, torch.Tensor] = {}
        for sample_id, tensor in rows:
            assert torch.equal(first.setdefault(sample_id, tensor), tensor)
        assert len(first) == len(VICTIM)
        assert len(rows) == 4 * len(VICTIM)


# --- accounting -----------------------------------------------------------------------------------------------


def promised(*defences: Defence, kind: DifferenceKind = "probability", layers: int = 1) -> float:
    """Epsilon of one example; infinite where nothing is promised."""
    guard = Guard(defences, kind, 5.0, torch.randn(6, WIDTH, generator=generator()), STREAMS)
    found = example_budget(defences, guard.targets, layers)
    return math.inf if found is None else found.epsilon


def test_noise_as_large_as_the_clip_promises_epsilon_ten_not_four() -> None:
    """Another state lies up to 2 C away (methods of accounting: 10.0 at delta 1e-5, where C would give 4.38)."""
    assert epsilon_of(2.0, 1e-5) == pytest.approx(10.0, abs=0.01)
    assert epsilon_of(1.0, 1e-5) == pytest.approx(4.38, abs=0.01)
    # the difference is drowned, so that what one layer tells is all there is
    assert promised(ActivationNoise(ratio=1.0), Noise(epsilon=1e-3)) == pytest.approx(10.0, abs=0.01)
    assert promised(ActivationNoise(ratio=1.0, clip=7.0), Noise(epsilon=1e-3)) == pytest.approx(10.0, abs=0.01)


@pytest.mark.parametrize("epsilon", [0.01, 0.5, 4.0, 100.0, 1e4])
def test_epsilon_is_what_a_deviation_was_made_for(epsilon: float) -> None:
    assert epsilon_of(3.0 / standard_deviation(3.0, epsilon, 1e-6), 1e-6) == pytest.approx(epsilon, rel=1e-6)


def test_noise_that_covers_everything_promises_all() -> None:
    assert epsilon_of(1e-6, 1e-5) == 0.0


def test_layers_and_difference_add_up_in_squares() -> None:
    """Four layers at ratio 4 have mu^2 = 4 (2/4)^2 = 1, and so has a difference with deviation 2 sqrt(2)."""
    label = math.sqrt(2) / (2 * math.sqrt(2))  # of one label: half of what an example does
    noise = Noise(epsilon=epsilon_of(label, 1e-5))
    assert promised(ActivationNoise(ratio=4.0), noise, layers=4) == pytest.approx(epsilon_of(math.sqrt(2), 1e-5))


def test_a_logit_difference_bounds_an_example_only_by_a_clip() -> None:
    assert promised(ActivationNoise(), Noise(), kind="logit") == math.inf
    # clipped below what labels do, one label can do what an example can: the difference alone has epsilon 2
    found = promised(ActivationNoise(ratio=1e6), Noise(epsilon=2.0, clip=1.0), kind="logit")
    assert found == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize(
    "defences",
    [
        (),
        (ActivationNoise(),),
        (Noise(),),
        (ActivationNoise(), LabelDP()),
        (ActivationNoise(), Noise(), Decoy()),
        (RotateActivations(), Noise()),
    ],
)
def test_an_example_has_no_promise_where_something_of_it_crosses_bare(defences: tuple[Defence, ...]) -> None:
    assert promised(*defences) == math.inf


@pytest.mark.parametrize("releases", [1, 4])
def test_every_release_with_fresh_noise_is_charged(releases: int) -> None:
    """Four releases are worth noise of half the size."""
    mu = math.sqrt(releases)
    noise = Noise(epsilon=2.0)
    found = noise.budget(6, releases)
    assert found.epsilon == pytest.approx(epsilon_of(mu / standard_deviation(1.0, 2.0, 1e-5), 1e-5))
    targets = Guard((noise,), "probability", 5.0, torch.randn(6, WIDTH, generator=generator()), STREAMS).targets
    example = example_budget((ActivationNoise(ratio=2.0), noise), targets, 3, releases)
    assert example is not None
    once = math.hypot(math.sqrt(3), 2 / standard_deviation(1.0, 2.0, 1e-5))
    assert example.epsilon == pytest.approx(epsilon_of(mu * once, 1e-5))


def test_a_label_that_is_drawn_once_costs_nothing_again() -> None:
    assert LabelDP(epsilon=2.0).budget(6, releases=4).epsilon == 2.0


def test_the_same_bytes_again_are_free_and_others_are_charged() -> None:
    ledger = Ledger()
    first, other = torch.ones(2, 3), torch.zeros(2, 3)
    assert ledger.releases == 1
    for tensor in (first, first.clone(), first):
        ledger.charge("a", tensor, other)
    assert ledger.releases == 1
    ledger.charge("b", other, first)
    assert ledger.releases == 1
    ledger.charge("a", first, first)
    assert ledger.releases == 2


class Taking(Server):
    """Takes whatever comes."""

    def handle(self, message: Message) -> Message:
        return self.answer(message, "ready")


def test_a_device_charges_what_it_really_sends(micro: Micro) -> None:
    """What is kept is free; a device that forgets and draws afresh is charged for it."""
    protocol = pae(defences=(ActivationNoise(), Noise()))
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    device, wire = protocol.device(scene, DEVICE), Wire({SERVER: Taking()}, lambda _: None)
    assert isinstance(device, PAEDevice)
    for _ in range(3):
        device.contribute(wire, VICTIM[:5])
    device.contribute(wire, VICTIM[3:8])
    assert device.releases == 1
    device._kept.clear()
    device.contribute(wire, VICTIM[4:5])
    assert device.releases == 2


def test_a_protocol_states_both_promises_apart(micro: Micro) -> None:
    protocol = pae(defences=(Layers(count=2), ActivationNoise(epsilon=8.0), Noise(epsilon=4.0)))
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    label, example = protocol.budget(scene), protocol.example_budget(scene)
    assert label is not None
    assert example is not None
    assert (label.epsilon, label.unit, example.unit) == (4.0, "label", "example")
    # twice the label's mu, beside the activations'
    both = math.hypot(1 / standard_deviation(1.0, 8.0, 1e-5), 2 / standard_deviation(1.0, 4.0, 1e-5))
    assert example.epsilon == pytest.approx(epsilon_of(both, 1e-5))
