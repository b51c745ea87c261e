"""PAE MobiLLM: pivot activations and a prediction difference, once a sample; the server trains beside them.

Source: arXiv 2507.01216, versions 1 and 2, by their abstracts and third-party summaries of the method. Confirmed: one
token's activations a layer cross; the server caches them; it trains an additive side network on device-defined
prediction differences. Everything in `departures` is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from ..backbone import Backbone
from ..codec import PRECISIONS, Precision
from ..data import Sample
from ..defences.accounting import Ledger, example_budget
from ..defences.cover import Cover
from ..defences.defence import Budget, Defence, Part, PrivateSteps
from ..defences.guard import Guard, decoys
from ..difference import DIFFERENCE_KINDS, DifferenceKind
from ..errors import UsageError
from ..heads import HEAD_KINDS, HeadKind, linear, verbaliser
from ..message import Message, Party
from ..randomness import Streams
from ..roles import DEVICE, SERVER, Device, Role
from ..side_network import SideNetwork, SideShape
from ..wire import Wire
from .agreed import Agreed, SideAgreed
from .once import LOSSES, OnceDevice
from .pae_server import PAEServer
from .protocol import CHUNK, DATA, LABELS, MODELS, Protocol, Scene, batches
from .side_training import SideTraining
from .tuned import Pivots, Tuned

Pair = tuple[torch.Tensor, torch.Tensor]
"""What samples send: activations, and what the server is told beside them."""

ACTIVATIONS = "activations"


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
    def host(cls, agreed: Agreed, backbone: Backbone | None) -> PAEServer:
        if agreed.side is None:
            raise UsageError(f"{cls.name} trains a side network, and its sizes were not told; tell them")
        side = agreed.side
        return PAEServer(side.shape, side.training, Streams(agreed.seed), side.private)

    def servers(self, scene: Scene) -> Mapping[Party, Role]:
        return {SERVER: self.host(self.agreed(scene), None)}

    def device(self, scene: Scene, party: Party) -> Device:
        return PAEDevice(party, self, scene, scene.samples[party])


def body(defences: Iterable[Defence], backbone: Backbone) -> Backbone:
    """The backbone that a device runs."""
    for defence in defences:
        backbone = defence.body(backbone)
    return backbone


class PAEDevice(OnceDevice):
    """Runs the frozen backbone once a sample; downloads the side network, merges and predicts."""

    def __init__(self, party: Party, protocol: PAE, scene: Scene, samples: tuple[Sample, ...]) -> None:
        made_up = decoys(protocol.defences, samples, len(scene.labels), scene.streams, party)
        self._samples = (*samples, *made_up)
        super().__init__(party, self._samples, scene.server_streams.seed, protocol.side.epochs, protocol.batch)
        self._protocol, self.backbone = protocol, body(protocol.defences, scene.backbone)
        self.guard, self.cover = protocol.guard(scene), protocol.cover(scene)
        own = protocol.targets(scene, party, samples)
        self._targets = {**own, **{sample.id: target for sample, target in made_up.items()}}
        self.draw_from(scene.streams)
        self._ledger = Ledger()
        self.states = self._pivots
        """What the device computes of texts: (B, N, d)."""

    def draw_from(self, streams: Streams) -> None:
        """Draw noise from streams that were never drawn from: a process that goes on from another's must not repeat."""
        self._noise = streams.torch(f"{self.party}:noise")
        self._blur = streams.torch(f"{self.party}:activation noise")

    @property
    def releases(self) -> int:
        return self._ledger.releases

    def contribute(self, wire: Wire, rows: Sequence[Sample]) -> None:
        """Send samples of the device's own; those that were sent before, as they were."""
        ids, own = tuple(row.id for row in rows), self._protocol.precision
        sent, told = self._made(rows)
        if self._protocol.defences:
            for parts in zip(ids, sent, told, strict=True):
                self._ledger.charge(*parts)
        for kind, tensor, precision in (
            (ACTIVATIONS, sent, self.cover.precision(own)),
            (self._tells, told, own),
        ):
            tensors = {kind: tensor}
            wire.post(Message(kind, self.party, SERVER, sample_ids=ids, tensors=tensors, precision=precision))

    @torch.no_grad()
    def _made(self, rows: Sequence[Sample]) -> Pair:
        """What is sent of samples, (B, L, k) and (B, D).

        It is kept before any of it crosses, and sent again as it was while it is kept: fresh noise on a sample would be
        another release, and is one in another run or where the control `fresh_noise` asks for it.
        """
        if self._protocol.fresh_noise:
            self._kept.forget([row.id for row in rows])
        new = set(self._kept.missing(self._tells, [row.id for row in rows]))
        if fresh := [row for row in rows if row.id in new]:
            pivots = self.states([row.text for row in fresh])
            labels = torch.tensor([self._targets[row.id] for row in fresh])
            self._keep(fresh, self._sent(pivots), self._told(pivots, labels))
        ids = [row.id for row in rows]
        return self._kept.rows(ACTIVATIONS, ids), self._kept.rows(self._tells, ids)

    def _keep(self, rows: Sequence[Sample], sent: torch.Tensor, told: torch.Tensor) -> None:
        ids, own = [row.id for row in rows], self._protocol.precision
        halves = set(ids) - set(self._kept.missing(ACTIVATIONS, ids))
        self._kept.forget(halves)  # a crash between the two: nothing of such a sample has crossed
        self._kept.put(ACTIVATIONS, ids, sent, self.cover.precision(own))
        self._kept.put(self._tells, ids, told, own)

    def _sent(self, pivots: torch.Tensor) -> torch.Tensor:
        """What crosses (B, L, k) of pivots (B, N, d)."""
        return self.cover.sent(pivots, self._blur)

    @property
    def _tells(self) -> str:
        """The kind that follows a batch's activations."""
        return "difference"

    def _told(self, pivots: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """What the server is told of labels (B,) beside pivots (B, N, d): (B, ...)."""
        return self.guard.difference(self.backbone, pivots[:, -1], labels, self._noise)

    @torch.no_grad()
    def predict(self, texts: list[str]) -> torch.Tensor:
        side = self.tuned.side
        return torch.cat([self._scores(side, self._pivots(chunk)) for chunk in batches(texts, CHUNK)])

    def _scores(self, side: SideNetwork, pivots: torch.Tensor) -> torch.Tensor:
        return self._merged(side).scores(pivots)

    def _pivots(self, texts: list[str]) -> torch.Tensor:
        return self._positions.of(self.backbone, texts)

    @property
    def tuned(self) -> Tuned:
        """Backbone and downloaded side network; ProtocolError where nothing was downloaded."""
        return self._merged(self.side)

    def _merged(self, side: SideNetwork) -> Tuned:
        return Tuned(self.backbone, self._positions, self.cover.tapping, self.guard.reading, side)

    @property
    def _positions(self) -> Pivots:
        return Pivots(self._protocol.longest, self._protocol.prompt, self._protocol.selector)
