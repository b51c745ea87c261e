"""What each defence does to activations, what crosses and is public of it, and what noises promise for one example."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from sidelight.system.codec import through
from sidelight.system.defences import DEFENCES, Defence
from sidelight.system.defences.accounting import example_budget
from sidelight.system.defences.activation_noise import ActivationNoise
from sidelight.system.defences.cover import Cover
from sidelight.system.defences.decoy import Decoy
from sidelight.system.defences.guard import Guard
from sidelight.system.defences.label_dp import LabelDP
from sidelight.system.defences.layers import Layers
from sidelight.system.defences.noise import Noise
from sidelight.system.defences.project import Project
from sidelight.system.defences.quantise import Quantise
from sidelight.system.defences.rotate_activations import RotateActivations
from sidelight.system.defences.round_backbone import RoundBackbone
from sidelight.system.difference import DifferenceKind
from sidelight.system.errors import UsageError
from sidelight.system.gaussian import epsilon_of, standard_deviation
from sidelight.system.protocols import Protocol, interleave
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.randomness import Streams
from sidelight.system.roles import DEVICE, SERVER, Device
from sidelight.system.rounding import nearest, rounded
from sidelight.system.wire import Wire

from ..contracts.micro import LABELS, VICTIM, WIDTH, Micro, Run, make_scene, record
from ..contracts.planted import made, pae

BLOCKS = 3
STATES = 4 * torch.randn(500, BLOCKS, WIDTH, generator=torch.Generator().manual_seed(3))
STREAMS = Streams("the secret seed")


def cover(*defences: Defence) -> Cover:
    return Cover(defences, BLOCKS, WIDTH, STREAMS)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def run_of(micro: Micro, *defences: Defence, epochs: int = 1) -> Run:
    protocol = made("pae", defences=defences, side=SideTraining(8, epochs, batch=12, learning_rate=2e-2))
    return record(protocol, make_scene(micro.backbone("opt"), protocol=protocol))


def crossed(run: Run, kind: str = "activations") -> dict[str, torch.Tensor]:
    return dict(zip(*run.view().rows(kind, kind), strict=True))


# --- what crosses ---------------------------------------------------------------------------------------------


def test_without_defences_all_layers_cross_as_they_are() -> None:
    assert torch.equal(cover().sent(STATES, generator()), STATES)
    assert torch.equal(cover(LabelDP(), Noise()).sent(STATES, generator()), STATES)


def test_a_rotation_of_activations_keeps_lengths_and_angles_within_a_layer_and_not_between_layers() -> None:
    found = cover(RotateActivations()).sent(STATES, generator())
    for layer in range(BLOCKS):
        gram = STATES[:, layer] @ STATES[:, layer].T
        torch.testing.assert_close(found[:, layer] @ found[:, layer].T, gram, atol=1e-2, rtol=1e-4)
    between = (found[:, 0] * found[:, 1]).sum(1) - (STATES[:, 0] * STATES[:, 1]).sum(1)
    assert float(between.abs().mean()) > 10


def test_a_projection_keeps_the_lengths_of_what_lies_in_its_directions() -> None:
    held = cover(Project(width=8))
    assert held.maps is not None
    identity = torch.eye(8).expand(BLOCKS, 8, 8)
    torch.testing.assert_close(held.maps @ held.maps.transpose(1, 2), identity, atol=1e-5, rtol=0)
    found = held.sent(STATES, generator())
    assert found.shape == (500, BLOCKS, 8)
    # eight of 32 random directions hold a quarter of the squared length
    assert float(found.square().mean() / STATES.square().mean()) == pytest.approx(1.0, abs=0.05)


def test_a_projection_of_the_whole_width_is_a_rotation() -> None:
    found = cover(Project(width=0)).sent(STATES, generator())
    torch.testing.assert_close(found.norm(dim=2), STATES.norm(dim=2), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({"count": 0}, (1, 2, 3, 4, 5, 6)),
        ({"count": 2}, (3, 6)),
        ({"count": 4}, (1, 3, 4, 6)),
        ({"count": 2, "which": "first"}, (1, 2)),
        ({"count": 2, "which": "last"}, (5, 6)),
    ],
)
def test_which_layers_cross(settings: dict[str, Any], layers: tuple[int, ...]) -> None:
    held = Cover((Layers(**settings),), 6, WIDTH, STREAMS)
    assert held.layers == layers
    assert held.facts("fp32")["last_layer"] == ("sent" if 6 in layers else "withheld")


def test_a_side_network_has_one_adapter_for_each_layer_that_crosses(micro: Micro) -> None:
    tuned = run_of(micro, Layers(count=2), Project(width=10)).roles[SERVER].held()["tuned"]
    assert tuned["down"].shape[:2] == (2, 10)


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_quantised_activations_cross_as_the_codec_reads_them_and_the_difference_does_not(
    micro: Micro, bits: int
) -> None:
    plain, run = run_of(micro), run_of(micro, Quantise(bits=bits))
    exact, found = crossed(plain), crossed(run)
    for sample_id, state in found.items():
        torch.testing.assert_close(state, through(exact[sample_id], f"int{bits}"), atol=1e-4, rtol=0)  # type: ignore[arg-type]
    told = crossed(run, "difference")
    assert all(torch.equal(told[i], value) for i, value in crossed(plain, "difference").items())
    # a width of 32 has one scale of two bytes a layer
    sizes = [r.traffic.bytes["activations", DEVICE, SERVER] for r in (plain, run)]
    assert sizes[0] - sizes[1] == pytest.approx(len(VICTIM) * BLOCKS * (4 * WIDTH - WIDTH * bits // 8 - 2), abs=20)
    assert run.protocol.public_facts(run.scene)["precision"] == f"int{bits}"


def test_fewer_layers_and_values_are_fewer_bytes(micro: Micro) -> None:
    sizes = {
        defences: run_of(micro, *defences).traffic.bytes["activations", DEVICE, SERVER] / len(VICTIM)
        for defences in ((), (Layers(count=1),), (Project(width=8),), (RotateActivations(),))
    }
    whole, one, narrow, turned = sizes.values()
    assert whole - one == pytest.approx(4 * WIDTH * (BLOCKS - 1), abs=1)
    assert whole - narrow == pytest.approx(4 * BLOCKS * (WIDTH - 8), abs=1)
    assert turned == whole


# --- what the device gets back --------------------------------------------------------------------------------


def test_a_device_that_predicts_with_its_rotated_pivots_reads_the_labels(micro: Micro) -> None:
    """The server learnt behind the rotation, from another start: predictions are as right as without."""
    truth = torch.tensor([LABELS.index(sample.label) for sample in VICTIM])
    for defences in ((), (RotateActivations(),)):
        run = run_of(micro, *defences, epochs=20)
        scores = run.device.predict([sample.text for sample in VICTIM])
        assert float((scores.argmax(1) == truth).float().mean()) >= 0.9


def test_predictions_are_made_from_states_without_noise(micro: Micro) -> None:
    held = cover(ActivationNoise(ratio=0.5))
    assert torch.equal(held.shown(STATES), held.shown(STATES))
    torch.testing.assert_close(held.shown(STATES).norm(dim=2), torch.ones(500, BLOCKS))
    run = run_of(micro, ActivationNoise(ratio=0.5))
    texts = [sample.text for sample in VICTIM[:4]]
    assert torch.equal(run.device.predict(texts), run.device.predict(texts))


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
    """In the same session by what the device keeps, in another one of the same seed by its streams."""
    protocol = pae(defences=(ActivationNoise(), Noise()))
    sent: list[dict[str, torch.Tensor]] = []
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    for _ in range(2):
        roles = protocol.roles(scene)
        wire = Wire(roles, lambda m: sent.append(dict(zip(m.sample_ids, m.tensors.get(m.kind, ()), strict=False))))
        device = roles[DEVICE]
        assert isinstance(device, Device)
        interleave([device], wire)
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


# --- the backbone ---------------------------------------------------------------------------------------------


def test_rounded_weights_lie_on_a_grid_for_each_output_channel(micro: Micro) -> None:
    exact, copy = micro.backbone("opt"), rounded(micro.backbone("opt"), 4)
    before = dict(exact.model.named_parameters())
    changed = {name for name, weight in copy.model.named_parameters() if not torch.equal(weight, before[name])}
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in changed} == {
        "q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2",
    }  # fmt: skip
    name = "model.decoder.layers.0.fc1.weight"
    weight, own = copy.model.get_parameter(name), before[name]
    step = own.abs().amax(1, keepdim=True) / 7
    torch.testing.assert_close(weight / step, (weight / step).round(), atol=1e-4, rtol=0)
    assert float(((weight - own).abs() / step).max()) <= 0.5001


def test_a_channel_of_zeros_stays() -> None:
    assert not nearest(torch.zeros(2, 3), 7, 1).any()


def test_a_rounded_backbone_moves_states_by_little_and_less_with_more_bits(micro: Micro) -> None:
    exact = crossed(run_of(micro))
    errors = []
    for bits in (4, 8, 16):
        found = crossed(run_of(micro, RoundBackbone(bits=bits)))
        errors.append(sum(float((found[i] - exact[i]).norm() / exact[i].norm()) for i in exact) / len(exact))
    assert 0.3 > errors[0] > 4 * errors[1] > 16 * errors[2] > 0


# --- facts, keys, settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("defences", "said"),
    [
        ((), "plain"),
        ((ActivationNoise(), Quantise(), Layers(), Noise()), "plain"),
        ((RotateActivations(),), "rotated"),
        ((RotateActivations(revealed=True),), "plain"),
        ((Project(),), "projected"),
        ((Project(width=0),), "rotated"),
        ((Project(revealed=True),), "known projection"),
        ((Project(width=8), RotateActivations()), "projected"),
    ],
)
def test_it_is_public_whether_activations_cross_as_they_are(defences: tuple[Defence, ...], said: str) -> None:
    assert Cover(defences, BLOCKS, 64, STREAMS).facts("fp32")["activations"] == said


def test_maps_are_public_only_where_a_control_reveals_them(micro: Micro) -> None:
    def keys(protocol: Protocol) -> Any:
        return protocol.keys(make_scene(micro.backbone("opt"), protocol=protocol))

    assert keys(pae(defences=(RotateActivations(),))) == {}
    shown = keys(pae(defences=(RotateActivations(revealed=True),)))["activations"]
    run = run_of(micro, RotateActivations())
    exact, found = crossed(run_of(micro)), crossed(run)
    for sample_id, state in found.items():
        torch.testing.assert_close(torch.einsum("lk,lkd->ld", state, shown), exact[sample_id], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("defence", "weakest"),
    [
        (ActivationNoise(), ActivationNoise(ratio=0.001)),
        (ActivationNoise(ratio=1e-4, clip=3.0), ActivationNoise(ratio=1e-4, clip=3.0)),
        (Quantise(bits=2), Quantise(bits=8)),
        (Layers(count=2, which="first"), Layers(count=0, which="first")),
        (Project(width=8), Project(width=0, revealed=True)),
        (RoundBackbone(bits=4), RoundBackbone(bits=16)),
        (RotateActivations(), None),
    ],
)
def test_the_weakest_strength_protects_next_to_nothing(defence: Defence, weakest: Defence | None) -> None:
    assert defence.weakest() == weakest


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("activation-noise", {"epsilon": 0.0}, "the epsilon of activation-noise is 0.0; give a positive number"),
        ("activation-noise", {"clip": 0.0}, "the clip of activation-noise is 0.0; give a length above 0"),
        ("activation-noise", {"ratio": -1.0}, "the ratio of activation-noise is -1.0; give 0, which leaves it to"),
        ("activation-noise", {"delta": 0.5}, "the delta of activation-noise is 0.5; give a number above 0 and at most"),
        ("noise", {"clip": -1.0}, "the clip of noise is -1.0; give 0, which clips nothing, or a length"),
        ("quantise", {"bits": 3}, "the bits of quantise are 3; give 2, 4 or 8"),
        ("layers", {"count": -1}, "the count of layers is -1; give at least 1, or 0 for all"),
        ("layers", {"which": "odd"}, "which of layers is 'odd'; give one of even, first, last"),
        ("project", {"width": -1}, "the width of project is -1; give at least 1, or 0 for the whole width"),
        ("round-backbone", {"bits": 1}, "the bits of round-backbone are 1; give 2 to 16"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_in_a_sentence(name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refusal:
        DEFENCES[name](**settings)
    assert str(refusal.value).startswith(said)


def test_more_than_the_backbone_has_is_refused_in_a_sentence() -> None:
    with pytest.raises(UsageError, match="the width of project is 64 and activations have 32 values; give fewer"):
        _ = cover(Project(width=64)).maps
    with pytest.raises(UsageError, match="the count of layers is 4 and the backbone has 3; give fewer"):
        _ = cover(Layers(count=4)).layers
