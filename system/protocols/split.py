"""Split learning: embeddings and the first blocks on the device, the rest, the head and the loss at the server.

Source: the activation, label and gradient exchange of SplitFed (arXiv 2004.12088, Algorithm 1 for one client). With
`bottom = frozen` nothing is trained on the device and no gradient returns.

Shapes: N positions of a batch, B samples, T positions, d width, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch.nn.functional import cross_entropy

from ..backbone import Backbone
from ..codec import PRECISIONS, Precision
from ..data import Sample
from ..defences.defence import Part
from ..errors import ProtocolError, UsageError
from ..fusion import unpack_positions
from ..heads import verbaliser
from ..message import Message, Party
from ..partial import Bottom, ScoredTop
from ..randomness import Streams
from ..roles import DEVICE, SERVER, Device, Role, Server
from ..settings import build, parsed_settings
from ..wire import Wire
from .agreed import MOST_DEVICES, Agreed, Hosted, SplitAgreed
from .cut import CutDevice, class_indices, positions, returned
from .fleet import Fleet
from .lora_training import LoraTraining
from .protocol import Protocol, Scene


@dataclass(frozen=True)
class Split(Protocol):
    """One cut, labels at the server."""

    name: ClassVar[str] = "split"
    title: ClassVar[str] = "Split learning"
    source: ClassVar[str] = "arXiv 2004.12088, Algorithm 1"
    departures: ClassVar[tuple[str, ...]] = (
        "Both parts are tuned by LoRA unless `lora.full` is set; the head starts from the verbaliser.",
        "Padding does not cross: positions are packed end to end, with the lengths.",
        "The device downloads the server's update at the end, so that it can predict alone.",
        "Several devices hand their part straight to the next one; each keeps its optimiser's state.",
    )

    defended: ClassVar[frozenset[Part]] = frozenset({Part.LABELS})

    cut: int = 0
    """Blocks on the device; 0 for a third of them."""
    bottom: Literal["frozen", "trainable"] = "frozen"
    precision: Precision = "fp32"
    """Of activations and gradients."""
    lora: LoraTraining = LoraTraining()
    fleet: Fleet = Fleet()
    """Several devices take turns, a pass over its rows each, and hand what they trained to the next."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fleet.check(self.averaged)
        if self.bottom not in ("frozen", "trainable"):
            raise UsageError(f"bottom {self.bottom!r} is neither frozen nor trainable; give one of them")
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision {self.precision!r} is none of {', '.join(PRECISIONS)}; give one of them")

    @property
    def averaged(self) -> int | None:
        """Batches of a device between two averages, 0 for a pass over its rows; None where nothing is averaged."""
        return None

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        return {SERVER: frozenset({"activations", "labels", "held:tuned"})}

    def facts(self, scene: Scene, device: Party = DEVICE) -> Mapping[str, Any]:
        cut = self.cut_of(scene, device)
        return {"positions": "all", "fusion": "split", "resent": True, "layers": [cut], "cut": cut}

    def cut_of(self, scene: Scene, device: Party = DEVICE) -> int:
        """Blocks on a device, for the scene's backbone; raises UsageError where nothing is left for the server."""
        blocks = len(scene.backbone.blocks)
        cut = self.cut or max(blocks // 3, 1)
        if not 1 <= cut < blocks:
            raise UsageError(f"cut is {cut}; give 1 to {blocks - 1}: the backbone has {blocks} blocks")
        return cut

    def rank_of(self, scene: Scene, device: Party = DEVICE) -> int:
        """The rank of a device's updates, or FULL."""
        return self.lora.updates

    def parties(self, samples: Sequence[Sample], streams: Streams) -> Mapping[Party, tuple[Sample, ...]]:
        return self.fleet.deal(samples, streams)

    @property
    def trains_on_device(self) -> bool:
        return self.bottom == "trainable"

    def top(self, scene: Scene) -> ScoredTop:
        """The server's part, as training begins."""
        head, generator = verbaliser(scene.backbone, scene.labels), scene.server_streams.torch("weights")
        return ScoredTop(scene.backbone, self.cut_of(scene), self.lora.updates, head, self.selector, generator)

    def bottom_of(self, scene: Scene, device: Party = DEVICE) -> Bottom:
        """A device's part, as training begins: all devices start from one."""
        rank = self.rank_of(scene, device) if self.bottom == "trainable" else 0
        return Bottom(scene.backbone, self.cut_of(scene, device), rank, scene.common_streams.torch("devices:lora"))

    def agreed(self, scene: Scene) -> Agreed:
        self._check_reach()
        if self.shared and not scene.server_seed:
            raise UsageError(f"the devices of a run of {self.name} share a secret, and none is given; give one to all")
        told = SplitAgreed(scene.backbone.digest, scene.labels, json.dumps(self.settings()))
        return Agreed(self.name, scene.server_streams.seed, split=told)

    @classmethod
    def hosted(cls, agreed: Agreed, backbone: Backbone | None) -> Hosted:
        """From the server's own copy of the backbone."""
        told = agreed.split
        if told is None:
            raise UsageError(f"{cls.name} runs a part of the backbone, and which one was not told; tell it")
        if backbone is None or backbone.digest != told.backbone:
            raise UsageError(
                f"{cls.name} needs the device's backbone, {told.backbone}, at the server too; serve with --backbone"
            )
        protocol = build(cls, parsed_settings(told.settings), cls.name)
        protocol._check_reach()
        if protocol.lora.rank > backbone.width:
            raise UsageError(f"lora.rank is {protocol.lora.rank}; give at most the backbone's width, {backbone.width}")
        devices = protocol.fleet.parties
        scene = Scene(backbone, told.classes, dict.fromkeys(devices, ()), Streams(""), agreed.seed)
        return Hosted(protocol.servers(scene), devices if cls.shared else ())

    def _check_reach(self) -> None:
        """UsageError where devices elsewhere could not do what is asked of them."""
        if not self.shared and self.fleet.devices > 1:
            raise UsageError(
                f"{self.name} of several devices runs in one process only: they hand their part to one another, and "
                "over a network no device reaches another; give it one device, or use splitfed"
            )
        if self.fleet.devices > MOST_DEVICES:
            raise UsageError(f"fleet.devices is {self.fleet.devices}; a server takes at most {MOST_DEVICES} to a run")

    def servers(self, scene: Scene) -> Mapping[Party, Role]:
        return {SERVER: SplitServer(self, self.top(scene))}

    def device(self, scene: Scene, party: Party) -> Device:
        return SplitDevice(party, self, scene, scene.samples[party])


class SplitDevice(CutDevice):
    """Takes turns with the others: a pass over its rows, then the next device goes on from what it trained."""

    def __init__(self, party: Party, protocol: Split, scene: Scene, samples: tuple[Sample, ...]) -> None:
        super().__init__(party, protocol, scene, samples)
        parties = list(scene.samples)
        self._next = parties[(parties.index(party) + 1) % len(parties)]
        self._before = parties[parties.index(party) - 1]
        self._turn, self._last = party == parties[0], party == parties[-1]

    def work(self, wire: Wire) -> Iterator[None]:
        for epoch in range(self._protocol.lora.epochs):
            yield from self._waiting()
            for rows in self.even_batches():
                self.exchange(wire, rows, epoch)
                yield
            self._hand_on(wire, epoch)
        yield from self._waiting()  # for what the others have trained since
        if not self._last:
            self._hand_on(wire, self._protocol.lora.epochs)
        self.download(wire)

    def _waiting(self) -> Iterator[None]:
        while not self._turn:
            yield

    def _hand_on(self, wire: Wire, epoch: int) -> None:
        """Hand the turn, and what this device trained, to the next one."""
        if self._next != self.party:
            self._turn = False
            wire.request(Message("turn", self.party, self._next, epoch, tensors=self.state()))

    def handle(self, message: Message) -> Message:
        if message.kind != "turn" or message.sender != self._before or self._turn:
            return super().handle(message)
        self.take({name: message.tensor(name, *tensor.shape) for name, tensor in self.state().items()})
        self._turn = True
        return Message("ready", self.party, message.sender, message.round)


class SplitServer(Server):
    """Computes the loss, trains its part, and returns the gradient where the bottom is trainable."""

    def __init__(self, protocol: Split, model: ScoredTop) -> None:
        self._protocol, self._model = protocol, model
        self._optimizer = protocol.lora.optimizer(self._model.parameters())
        self._pending: dict[Party, tuple[Message, torch.Tensor, torch.Tensor]] = {}

    def handle(self, message: Message) -> Message:
        if message.kind == "activations":
            self._pending[message.sender] = message, *positions(message, self._model.head.shape[1])
            return self.answer(message, "ready")
        if message.kind == "labels":
            found = self._pending.pop(message.sender, None)
            if found is None or found[0].sample_ids != message.sample_ids:
                raise ProtocolError("labels came for samples whose activations did not; send activations first")
            gradient = self._step(message.round, *found[1:], class_indices(message, len(self._model.bias)))
            if self._protocol.bottom == "frozen":
                return self.answer(message, "ready")
            return returned(message, "gradient", gradient, self._protocol.precision)
        if message.kind == "download":
            return self.answer(message, "tuned", **self._model.state())
        raise ProtocolError(f"a split server takes no message of kind {message.kind!r}")

    def _step(self, epoch: int, packed: torch.Tensor, lengths: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self._protocol.lora.set_rate(self._optimizer, epoch)
        states, mask = unpack_positions(packed.squeeze(1), lengths)
        loss = cross_entropy(self._model(states, mask), labels)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        assert packed.grad is not None
        return packed.grad

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        return {"tuned": self._model.state()}
