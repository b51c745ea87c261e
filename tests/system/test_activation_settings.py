"""What is public of defences of activations, what controls reveal, and which settings are refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from sidelight.system.defences import DEFENCES, Defence
from sidelight.system.defences.activation_noise import ActivationNoise
from sidelight.system.defences.cover import Cover
from sidelight.system.defences.layers import Layers
from sidelight.system.defences.noise import Noise
from sidelight.system.defences.project import Project
from sidelight.system.defences.quantise import Quantise
from sidelight.system.defences.rotate_activations import RotateActivations
from sidelight.system.defences.round_backbone import RoundBackbone
from sidelight.system.errors import UsageError
from sidelight.system.protocols import Protocol

from ..contracts.micro import Micro, make_scene
from ..contracts.planted import pae
from .covered import BLOCKS, STREAMS, cover, crossed, run_of


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


def test_clip_noise_and_the_bits_of_weights_are_public() -> None:
    found = Cover((ActivationNoise(ratio=0.5, clip=3.0), RoundBackbone(bits=4)), BLOCKS, 64, STREAMS).facts("fp32")
    assert (found["clip"], found["spread"], found["weight_bits"]) == (3.0, 1.5, 4)
    bare = Cover((), BLOCKS, 64, STREAMS).facts("fp32")
    assert (bare["clip"], bare["spread"], bare["weight_bits"]) == (0.0, 0.0, 0)


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
        (ActivationNoise(epsilon=100.0, clip=2.0), ActivationNoise(clip=2.0, ratio=0.001)),
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
        ("activation-noise", {"clip": 0.0}, "the clip of activation-noise is 0.0; give a finite length above 0"),
        ("activation-noise", {"clip": math.inf}, "the clip of activation-noise is inf; give a finite length above 0"),
        ("activation-noise", {"ratio": -1.0}, "the ratio of activation-noise is -1.0; give 0, which leaves it to"),
        ("activation-noise", {"ratio": math.nan}, "the ratio of activation-noise is nan; give 0, which leaves it to"),
        ("activation-noise", {"ratio": 1e-200}, "the ratio of activation-noise is 1e-200; give 0, which leaves it to"),
        ("activation-noise", {"ratio": math.inf}, "the ratio of activation-noise is inf; give 0, which leaves it to"),
        ("activation-noise", {"delta": 0.5}, "the delta of activation-noise is 0.5; give a number above 0 and at most"),
        ("noise", {"clip": -1.0}, "the clip of noise is -1.0; give 0, which clips nothing, or a finite length"),
        ("noise", {"clip": math.inf}, "the clip of noise is inf; give 0, which clips nothing, or a finite length"),
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
