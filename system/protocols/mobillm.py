"""MobiLLM: all positions of all blocks, one way, low-bit, every epoch again, with the labels in clear.

Source: arXiv 2502.20421, by its abstract and third-party summaries. Confirmed: frozen backbone on the device,
parallel adapters on the server, one-way quantised activations. Everything in `departures` is ours.

Shapes: N positions of a batch, B samples, L layers, d width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.nn.functional import cross_entropy

from ..backbone import Backbone
from ..codec import PRECISIONS, Precision
from ..data import Sample
from ..defences.defence import Part
from ..errors import ProtocolError, UsageError
from ..forward import over_texts
from ..fusion import pack_positions, positionwise
from ..message import Message, Party
from ..randomness import Streams
from ..roles import DEVICE, SERVER, Device, Role, Server
from ..side_network import SideNetwork, SideShape, from_state
from ..wire import Wire
from .agreed import Agreed, Hosted, SideAgreed
from .cut import class_indices, positions
from .protocol import Protocol, Scene, batches
from .side_training import SideTraining


@dataclass(frozen=True)
class MobiLLM(Protocol):
    """Side-tuning on full activations."""

    name: ClassVar[str] = "mobillm"
    title: ClassVar[str] = "MobiLLM"
    source: ClassVar[str] = "arXiv 2502.20421"
    departures: ClassVar[tuple[str, ...]] = (
        "Raw labels cross: no source says how the server gets them, and it runs the loss.",
        "Every block is tapped, at every position; no source names the tapped layers.",
        "Low-bit format: symmetric integers, one float16 scale for 64 values.",
        "The adapters and the output map are those of system/side_network.py, applied position by position and read "
        "at the selected token; cross-entropy loss.",
        "The device downloads the side network at the end.",
    )

    defended: ClassVar[frozenset[Part]] = frozenset({Part.LABELS})

    precision: Precision = "fp32"
    side: SideTraining = SideTraining(bottleneck=64, epochs=4, batch=16, learning_rate=8e-3)
    """Its batch is the message's: the server steps once a message."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision {self.precision!r} is none of {', '.join(PRECISIONS)}; give one of them")

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        return {SERVER: frozenset({"activations", "labels", "held:tuned"})}

    def facts(self, scene: Scene, device: Party = DEVICE) -> Mapping[str, Any]:
        layers = list(range(1, len(scene.backbone.blocks) + 1))
        return {"positions": "all", "fusion": "side", "resent": True, "layers": layers, "bottom": "frozen"}

    def agreed(self, scene: Scene) -> Agreed:
        shape = SideShape(len(scene.backbone.blocks), scene.backbone.width, self.side.bottleneck, len(scene.labels))
        return Agreed(self.name, scene.server_streams.seed, SideAgreed(shape, self.side, selector=self.selector))

    @classmethod
    def hosted(cls, agreed: Agreed, backbone: Backbone | None) -> Hosted:
        if agreed.side is None:
            raise UsageError(f"{cls.name} trains a side network, and its sizes were not told; tell them")
        return Hosted({SERVER: MobiLLMServer(agreed.side, Streams(agreed.seed))})

    def servers(self, scene: Scene) -> Mapping[Party, Role]:
        return self.hosted(self.agreed(scene), None).roles

    def device(self, scene: Scene, party: Party) -> Device:
        return MobiLLMDevice(party, self, scene, scene.samples[party])


class MobiLLMDevice(Device):
    """Forward passes only; sends every batch's activations and labels in every epoch."""

    def __init__(self, party: Party, protocol: MobiLLM, scene: Scene, samples: tuple[Sample, ...]) -> None:
        self.party = party
        self._protocol, self._backbone, self._samples = protocol, scene.backbone, samples
        self._targets = protocol.targets(scene, party, samples)
        self._order = scene.streams.torch(f"{party}:order")
        self._side: SideNetwork | None = None

    def work(self, wire: Wire) -> Iterator[None]:
        for epoch in range(self._protocol.side.epochs):
            for rows in batches(self._samples, self._protocol.side.batch, self._order):
                self._send(wire, rows, epoch)
                yield
        self._side = from_state(wire.request(Message("download", self.party, SERVER)).tensors)

    @torch.no_grad()
    def _send(self, wire: Wire, rows: list[Sample], epoch: int) -> None:
        states, lengths = self._packed([row.text for row in rows])
        ids = tuple(row.id for row in rows)
        wire.request(self._message("activations", epoch, ids, {"activations": states, "lengths": lengths}))
        wire.request(self.labels(epoch, ids))

    def labels(self, epoch: int, ids: tuple[str, ...]) -> Message:
        """A batch's labels, for the server's loss."""
        return self._message("labels", epoch, ids, {"labels": torch.tensor([self._targets[i] for i in ids])})

    def _message(self, kind: str, epoch: int, ids: tuple[str, ...], tensors: dict[str, torch.Tensor]) -> Message:
        return Message(kind, self.party, SERVER, epoch, 0, ids, tensors, self._protocol.precision)

    @torch.no_grad()
    def predict(self, texts: list[str]) -> torch.Tensor:
        if self._side is None:
            raise ProtocolError("the device has not downloaded a side network; run its work to the end first")
        side, selector = self._side, self._protocol.selector
        return over_texts(lambda some: positionwise(side, *self._packed(some), selector), texts)

    def _packed(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = self._backbone.tokens(texts, self._protocol.longest, self._protocol.prompt)
        return pack_positions(self._backbone.activations(tokens), tokens)


class MobiLLMServer(Server):
    """Steps the side network once for every batch whose activations and labels have both come."""

    def __init__(self, side: SideAgreed, streams: Streams) -> None:
        self._side = SideNetwork(side.shape, streams.torch("weights"))
        self._training, self._selector = side.training, side.selector
        self._optimizer = self._training.optimizer(self._side)
        self._shape = side.shape
        self._pending: tuple[Message, torch.Tensor, torch.Tensor] | None = None

    def handle(self, message: Message) -> Message:
        if message.kind == "activations":
            self._pending = message, *positions(message, self._shape.width, self._shape.layers)
            return self.answer(message, "ready")
        if message.kind == "labels":
            found, self._pending = self._pending, None
            if found is None or found[0].sample_ids != message.sample_ids:
                raise ProtocolError("labels came for samples whose activations did not; send activations first")
            self._step(message.round, *found[1:], class_indices(message, self._shape.outputs))
            return self.answer(message, "ready")
        if message.kind == "download":
            return self.answer(message, "tuned", **self._side.state_dict())
        raise ProtocolError(f"a MobiLLM server takes no message of kind {message.kind!r}")

    def _step(self, epoch: int, states: torch.Tensor, lengths: torch.Tensor, labels: torch.Tensor) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._training.rate(epoch)
        loss = cross_entropy(positionwise(self._side, states.detach(), lengths, self._selector), labels)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        return {"tuned": {name: t.detach().clone() for name, t in self._side.state_dict().items()}}
