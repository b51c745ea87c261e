"""What each defence does to activations, what crosses of them, and what the device gets back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sidelight.system.codec import through
from sidelight.system.defences.activation_noise import ActivationNoise
from sidelight.system.defences.cover import Cover
from sidelight.system.defences.label_dp import LabelDP
from sidelight.system.defences.layers import Layers
from sidelight.system.defences.noise import Noise
from sidelight.system.defences.project import Project
from sidelight.system.defences.quantise import Quantise
from sidelight.system.defences.rotate_activations import RotateActivations
from sidelight.system.defences.round_backbone import RoundBackbone
from sidelight.system.roles import DEVICE, SERVER
from sidelight.system.rounding import nearest, rounded

from ..contracts.micro import LABELS, VICTIM, WIDTH, Micro
from .covered import BLOCKS, STATES, STREAMS, cover, crossed, generator, run_of

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
