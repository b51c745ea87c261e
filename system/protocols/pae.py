"""PAE MobiLLM: pivot activations and a prediction difference, once a sample; the server trains beside them.

Source: arXiv 2507.01216, versions 1 and 2, by their abstracts and third-party summaries of the method. Confirmed: one
token's activations a layer cross; the server caches them; it trains an additive side network on device-defined
prediction differences. Everything in `departures` is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from ..backbone import Backbone
from ..codec import PRECISIONS, Precision
from ..defences.accounting import example_budget
from ..defences.cover import Cover
from ..defences.defence import Budget, Part, PrivateSteps
from ..defences.guard import Guard
from ..difference import DIFFERENCE_KINDS, DifferenceKind
from ..errors import UsageError
from ..heads import HEAD_KINDS, HeadKind, linear, verbaliser
from ..message import Party
from ..randomness import Streams
from ..roles import DEVICE, SERVER, Device, Role
from ..side_network import SideShape
from .agreed import Agreed, Hosted, SideAgreed
from .once import LOSSES
from .pae_device import PAEDevice
from .pae_server import PAEServer
from .protocol import DATA, LABELS, MODELS, Protocol, Scene
from .side_training import SideTraining


@dataclass(frozen=True)
class PAE(Protocol):
    """Additive side-tuning on pivots, with an activation cache on the server."""

    name: ClassVar[str] = "pae"
    title: ClassVar[str] = "PAE MobiLLM"
    source: ClassVar[str] = "arXiv 2507.01216 v1 and v2"
    claims: ClassVar[Mapping[str, tuple[str, ...]]] = {"v1": (DATA, LABELS, MODELS), "v2": (DATA, LABELS)}
    departures: ClassVar[tuple[str, ...]] = (
        "The difference has no published formula: `probability` and `logit` are two readings.",
        "The server's loss is not published: mean squared error between s(A) and the difference.",
        "The head f_b, the bottleneck, the activation function, the output map and h_0 are not published: see "
        "system/side_network.py and system/heads.py.",
        "Taps are brought to zero mean and unit variance over the width before they are mixed.",
        "A prompt may follow the text. The selector `mean`, the default, pools all positions and is ours; the paper's "
        "is `last` for decoders, and `first`, the classification token, for encoders.",
    )

    defended: ClassVar[frozenset[Part]] = frozenset(Part)
    resumable: ClassVar[bool] = True

    difference: DifferenceKind = "probability"
    scale: float = 5.0
    """Height of the one-hot target of the `logit` difference."""
    head: HeadKind = "verbaliser"
    precision: Precision = "fp32"
    batch: int = 16
    """Samples a message."""
    side: SideTraining = SideTraining()
    fresh_noise: bool = False
    """A control, no way to run it: what is sent again gets new noise, and is another release."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for what, value, known in (
            ("difference", self.difference, DIFFERENCE_KINDS),
            ("head", self.head, HEAD_KINDS),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in known:
                raise UsageError(f"{what} {value!r} is none of {', '.join(known)}; give one of them")
        if self.batch < 1:
            raise UsageError(f"batch is {self.batch}; give at least 1 sample")

    @property
    def most_resent(self) -> int:
        return LOSSES * self.side.epochs

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        return {SERVER: frozenset({"activations", "difference", "held:tuned"})}

    def facts(self, scene: Scene, device: Party = DEVICE) -> Mapping[str, Any]:
        return {
            "positions": "mean" if self.selector == "mean" else "pivot",
            "fusion": "additive",
            "resent": False,
            **self.guard(scene).facts,
            **self.cover(scene).facts(self.precision),
        }

    def guard(self, scene: Scene) -> Guard:
        """The defences of a run with their keys, the same for all devices."""
        if self.head == "linear":
            head = linear(len(scene.labels), scene.backbone.head_width, scene.streams.torch("public:head"))
        else:
            head = verbaliser(scene.backbone, scene.labels)
        return Guard(self.defences, self.difference, self.scale, head, scene.streams)

    def cover(self, scene: Scene) -> Cover:
        """The defences of activations with their keys, the same for all devices."""
        return Cover(self.defences, len(scene.backbone.blocks), scene.backbone.width, scene.streams)

    def public_head(self, scene: Scene) -> torch.Tensor | None:
        return self.guard(scene).public_head

    def keys(self, scene: Scene) -> Mapping[str, torch.Tensor]:
        maps = self.cover(scene).maps
        found = self.guard(scene).keys
        return found if maps is None or not found else {**found, "activations": maps}

    def example_budget(self, scene: Scene, releases: int = 1) -> Budget | None:
        return example_budget(self.defences, self.guard(scene).targets, len(self.cover(scene).layers), releases)

    def released_budget(self, scene: Scene) -> Budget | None:
        steps = self.private_steps(scene)
        mixed = any(defence.part is Part.SAMPLES for defence in self.defences)  # one example stands in several rows
        return None if steps is None or mixed else steps.promised

    def private_steps(self, scene: Scene) -> PrivateSteps | None:
        """How the server trains with differential privacy; None where it does not."""
        rows = sum(map(len, scene.samples.values()))
        found = (one.private_steps(rows, self.side.batch, self.side.epochs) for one in self.defences)
        return next((steps for steps in found if steps is not None), None)

    def side_shape(self, scene: Scene) -> SideShape:
        """Sizes of the side network that the server trains."""
        cover = self.cover(scene)
        return SideShape(len(cover.layers), cover.width, self.side.bottleneck, self.guard(scene).targets.width)

    def agreed(self, scene: Scene) -> Agreed:
        side = SideAgreed(self.side_shape(scene), self.side, self.private_steps(scene))
        return Agreed(self.name, scene.server_streams.seed, side)

    @classmethod
    def hosted(cls, agreed: Agreed, backbone: Backbone | None) -> Hosted:
        if agreed.side is None:
            raise UsageError(f"{cls.name} trains a side network, and its sizes were not told; tell them")
        side = agreed.side
        return Hosted({SERVER: PAEServer(side.shape, side.training, Streams(agreed.seed), side.private)})

    def servers(self, scene: Scene) -> Mapping[Party, Role]:
        return self.hosted(self.agreed(scene), None).roles

    def device(self, scene: Scene, party: Party) -> Device:
        return PAEDevice(party, self, scene, scene.samples[party])
