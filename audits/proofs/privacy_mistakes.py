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
from ...system.defences.accounting import Ledger
from ...system.defences.activation_noise import ActivationNoise
from ...system.defences.defence import Loss, PrivateSteps
from ...system.defences.dp_side import DPSide
from ...system.defences.label_dp import LabelDP
from ...system.defences.layers import Layers
from ...system.defences.noise import Noise
from ...system.defences.project import Project
from ...system.defences.rotate import Rotate
from ...system.defences.rotate_activations import RotateActivations
from ...system.gaussian import standard_deviation
from ...system.message import Message, Party
from ...system.protocols import Protocol, Scene
from ...system.protocols.mobillm import MobiLLM, MobiLLMDevice
from ...system.protocols.pae import PAE
from ...system.protocols.pae_device import PAEDevice
from ...system.protocols.side_training import SideTraining
from ...system.roles import DEVICE
from ...system.wire import Wire
from ..privacy.promises import EXAMPLE, LABEL, RELEASED, Promise

SIDE = SideTraining(bottleneck=8, epochs=20, batch=64)


@dataclass(frozen=True)
class Case:
    """A protocol, and which of its promises is audited."""

    told: str
    protocol: Protocol
    name: str
    releases: int = 1
    """Of a sample in the run that is promised about."""

    def promise(self, scene: Scene) -> Promise:
        """What the protocol says of itself."""
        return Promise(self.name, self.protocol, scene, self.releases)


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


class Fresh(PAEDevice):
    """A device that keeps nothing of what it has sent: every send is another release, and charged as one."""

    def contribute(self, wire: Wire, rows: Sequence[Sample]) -> None:
        self._kept.clear()
        super().contribute(wire, rows)


class Forgetful(Fresh):
    """One that keeps no account either."""

    def contribute(self, wire: Wire, rows: Sequence[Sample]) -> None:
        self._ledger = Ledger()
        super().contribute(wire, rows)


class Redrawing(PAEDevice):
    """A device that randomises its labels whenever it sends."""

    def __init__(self, party: Party, protocol: PAE, scene: Scene, samples: tuple[Sample, ...]) -> None:
        super().__init__(party, protocol, scene, samples)
        self._again, self._times = (protocol, scene, samples), 0

    def contribute(self, wire: Wire, rows: Sequence[Sample]) -> None:
        self._times += 1
        self._targets = redrawn(*self._again, self._times)
        self._kept.clear()
        super().contribute(wire, rows)


def redrawn(protocol: Protocol, scene: Scene, samples: tuple[Sample, ...], times: int) -> dict[str, int]:
    """Labels of the first device, randomised once more."""
    return protocol.targets(replace(scene, streams=scene.streams.of(str(times))), DEVICE, samples)


@dataclass(frozen=True)
class OfForgetful(PAE):
    """`pae` with other devices."""

    kind: ClassVar[type[PAEDevice]] = Forgetful

    def device(self, scene: Scene, party: Party) -> PAEDevice:
        return self.kind(party, self, scene, scene.samples[party])


class OfFresh(OfForgetful):
    """`pae` with devices that draw new noise for every send."""

    kind = Fresh


class OfRedrawing(OfForgetful):
    """`pae` with devices that randomise labels again."""

    kind = Redrawing


class Truthful(MobiLLMDevice):
    """A device that tells true labels."""

    def __init__(self, party: Party, protocol: MobiLLM, scene: Scene, samples: tuple[Sample, ...]) -> None:
        super().__init__(party, protocol, scene, samples)
        self._targets = {sample.id: scene.labels.index(sample.label) for sample in samples}


class RedrawingInClear(MobiLLMDevice):
    """A device that randomises its labels in every epoch."""

    def __init__(self, party: Party, protocol: MobiLLM, scene: Scene, samples: tuple[Sample, ...]) -> None:
        super().__init__(party, protocol, scene, samples)
        self._again = protocol, scene, samples

    def labels(self, epoch: int, ids: tuple[str, ...]) -> Message:
        self._targets = redrawn(*self._again, epoch)
        return super().labels(epoch, ids)


@dataclass(frozen=True)
class OfTruthful(MobiLLM):
    """`mobillm` with other devices."""

    kind: ClassVar[type[MobiLLMDevice]] = Truthful

    def device(self, scene: Scene, party: Party) -> MobiLLMDevice:
        return self.kind(party, self, scene, scene.samples[party])


class OfRedrawingInClear(OfTruthful):
    """`mobillm` with devices that randomise labels in every epoch."""

    kind = RedrawingInClear


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
HUSHED = Noise(epsilon=0.1)
"""Next to it, all but all."""
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
    Case("noise behind a projection, one example", PAE(defences=(ActivationNoise(2.0), Project(), HUSHED)), EXAMPLE),
    Case("fresh noise for every re-send, charged", OfFresh(defences=(Noise(epsilon=2.0),)), LABEL, releases=4),
    Case("randomised labels", PAE(defences=(LabelDP(2.0),)), LABEL),
    Case("randomised labels, rotated", PAE(defences=(LabelDP(1.0), Rotate())), LABEL),
    Case("randomised labels in clear", MobiLLM(defences=(LabelDP(2.0),)), LABEL),
    Case("DP-SGD at epsilon 1", PAE(side=SIDE, defences=(DPSide(1.0),)), RELEASED),
    Case("DP-SGD at epsilon 2", PAE(side=SIDE, defences=(DPSide(2.0),)), RELEASED),
)
BROKEN = (
    Case("noise on differences halved", PAE(defences=(HalvedNoise(epsilon=2.0),)), LABEL),
    Case("noise on activations halved", PAE(defences=(HalvedBlur(2.0), QUIET)), EXAMPLE),
    Case(
        "noise on activations halved behind a projection",
        PAE(defences=(HalvedBlur(2.0), Project(), HUSHED)),
        EXAMPLE,
    ),
    Case("clipping skipped", PAE(defences=(Unclipped(2.0), QUIET)), EXAMPLE),
    Case("sensitivity C instead of 2 C", PAE(defences=(OneClip(2.0), QUIET)), EXAMPLE),
    Case("fresh noise for every re-send, one label", OfForgetful(defences=(Noise(epsilon=2.0),)), LABEL),
    Case("fresh noise for every re-send, one example", OfForgetful(defences=(ActivationNoise(2.0), QUIET)), EXAMPLE),
    Case("label randomised twice", OfRedrawing(defences=(LabelDP(2.0),)), LABEL),
    Case("true labels in clear", OfTruthful(defences=(LabelDP(2.0),)), LABEL),
    Case("labels in clear randomised in every epoch", OfRedrawingInClear(defences=(LabelDP(2.0),)), LABEL),
    Case("DP-SGD without noise", PAE(side=SIDE, defences=(Noiseless(1.0),)), RELEASED),
    Case("DP-SGD without clipping", PAE(side=SIDE, defences=(UnclippedGradients(1.0),)), RELEASED),
)
