"""Promises that are kept, and planted bugs under which the same promises are broken.

Each bug is the real code with one step changed; what it says of itself stays as it is where the bug would leave it so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import ClassVar

import torch

from ...system.data import Sample
from ...system.defences.activation_noise import ActivationNoise
from ...system.defences.defence import Budget, Loss, PrivateSteps
from ...system.defences.dp_side import DPSide
from ...system.defences.label_dp import LabelDP
from ...system.defences.layers import Layers
from ...system.defences.noise import Noise
from ...system.defences.rotate import Rotate
from ...system.defences.rotate_activations import RotateActivations
from ...system.gaussian import standard_deviation
from ...system.message import Party
from ...system.protocols import Protocol, Scene
from ...system.protocols.mobillm import MobiLLM
from ...system.protocols.pae import PAE, PAEDevice, Pair
from ...system.protocols.side_training import SideTraining

LABEL, EXAMPLE, RELEASED = "budget", "example_budget", "released_budget"
SIDE = SideTraining(bottleneck=8, epochs=20, batch=64)


@dataclass(frozen=True)
class Case:
    """A protocol, and which of its promises is audited."""

    told: str
    protocol: Protocol
    promise: str

    def promised(self, scene: Scene) -> Budget:
        """What the protocol says of itself."""
        found: Budget | None = getattr(self.protocol, self.promise)(scene)
        assert found is not None
        return found


# --- bugs -----------------------------------------------------------------------------------------------------


class HalvedBlur(ActivationNoise):
    """Noise of half the size."""

    def blurred(self, states: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return (states + super().blurred(states, generator)) / 2


class HalvedNoise(Noise):
    """Noise of half the size."""

    def noise(self, difference: torch.Tensor, sensitivity: float, generator: torch.Generator) -> torch.Tensor:
        return (self.limited(difference) + super().noise(difference, sensitivity, generator)) / 2


class Unclipped(ActivationNoise):
    """States cross as long as they are."""

    def bounded(self, states: torch.Tensor) -> torch.Tensor:
        return states


class OneClip(ActivationNoise):
    """Two states are taken to lie one clip apart, not two."""

    def deviation(self, layers: int) -> float:
        return standard_deviation(self.clip * sqrt(layers), self.epsilon, self.delta)

    def activations_loss(self, layers: int) -> Loss:
        return Loss(self.clip * sqrt(layers) / self.deviation(layers), self.delta)


class Forgetful(PAEDevice):
    """A device that keeps nothing of what it has sent."""

    def _made(self, rows: Sequence[Sample]) -> list[Pair]:
        self._kept.clear()
        return super()._made(rows)


class Redrawing(PAEDevice):
    """A device that randomises its labels whenever it sends."""

    def __init__(self, party: Party, protocol: PAE, scene: Scene, samples: tuple[Sample, ...]) -> None:
        super().__init__(party, protocol, scene, samples)
        self._again, self._times = (protocol, scene, samples), 0

    def _made(self, rows: Sequence[Sample]) -> list[Pair]:
        protocol, scene, samples = self._again
        self._times += 1
        other = replace(scene, streams=scene.streams.of(str(self._times)))
        self._targets = protocol.targets(other, self.party, samples)
        self._kept.clear()
        return super()._made(rows)


@dataclass(frozen=True)
class OfDevices(PAE):
    """`pae` with other devices."""

    kind: ClassVar[type[PAEDevice]] = Forgetful

    def device(self, scene: Scene, party: Party) -> PAEDevice:
        return self.kind(party, self, scene, scene.samples[party])


class OfRedrawing(OfDevices):
    """`pae` with devices that randomise labels again."""

    kind = Redrawing


class Noiseless(DPSide):
    """Steps without noise."""

    def private_steps(self, rows: int, batch: int, epochs: int) -> PrivateSteps:
        return replace(super().private_steps(rows, batch, epochs), ratio=0.0)


class UnclippedGradients(DPSide):
    """Noise as it should be on gradients as long as they are."""

    def private_steps(self, rows: int, batch: int, epochs: int) -> PrivateSteps:
        found = super().private_steps(rows, batch, epochs)
        return replace(found, clip=1e6, ratio=found.ratio * found.clip / 1e6)


# --- cases ----------------------------------------------------------------------------------------------------

QUIET = Noise(epsilon=0.5)
"""Next to it, activations make up most of what an example tells."""
KEPT = (
    Case("noise, one label", PAE(defences=(Noise(epsilon=2.0),)), LABEL),
    Case("noise on clipped logits, rotated", PAE(difference="logit", defences=(Noise(2.0, clip=3.0), Rotate())), LABEL),
    Case("noise at int8", PAE(precision="int8", defences=(Noise(epsilon=2.0),)), LABEL),
    Case("noise, one example", PAE(defences=(ActivationNoise(2.0), QUIET)), EXAMPLE),
    Case(
        "noise on two rotated layers and clipped logits, one example",
        PAE(
            difference="logit",
            defences=(Layers(count=2), ActivationNoise(2.0, clip=3.0), RotateActivations(), Noise(2.0, clip=1.0)),
        ),
        EXAMPLE,
    ),
    Case("randomised labels", PAE(defences=(LabelDP(2.0),)), LABEL),
    Case("randomised labels, rotated", PAE(defences=(LabelDP(1.0), Rotate())), LABEL),
    Case("randomised labels in clear", MobiLLM(defences=(LabelDP(2.0),)), LABEL),
    Case("DP-SGD at epsilon 1", PAE(side=SIDE, defences=(DPSide(1.0),)), RELEASED),
    Case("DP-SGD at epsilon 8", PAE(side=SIDE, defences=(DPSide(8.0),)), RELEASED),
)
BROKEN = (
    Case("noise on differences halved", PAE(defences=(HalvedNoise(epsilon=2.0),)), LABEL),
    Case("noise on activations halved", PAE(defences=(HalvedBlur(2.0), QUIET)), EXAMPLE),
    Case("clipping skipped", PAE(defences=(Unclipped(2.0), QUIET)), EXAMPLE),
    Case("sensitivity C instead of 2 C", PAE(defences=(OneClip(2.0), QUIET)), EXAMPLE),
    Case("fresh noise for every re-send, one label", OfDevices(defences=(Noise(epsilon=2.0),)), LABEL),
    Case("fresh noise for every re-send, one example", OfDevices(defences=(ActivationNoise(2.0), QUIET)), EXAMPLE),
    Case("label randomised twice", OfRedrawing(defences=(LabelDP(2.0),)), LABEL),
    Case("DP-SGD without noise", PAE(side=SIDE, defences=(Noiseless(1.0),)), RELEASED),
    Case("DP-SGD without clipping", PAE(side=SIDE, defences=(UnclippedGradients(1.0),)), RELEASED),
)
