"""U-shaped split learning: bottom and head on the device, the blocks between them at the server.

Labels and loss never leave the device. The server returns, of every sample, the one position that the head reads; the
gradient of the loss with respect to it comes back, and the server passes its own back to the bottom, where that is
trained.
Source: arXiv 1812.00564, section 3.1 (the U-shaped configuration without label sharing).

Shapes: N positions of a batch, B samples, T positions, d width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ..data import Sample
from ..errors import ProtocolError
from ..fusion import unpack_positions
from ..heads import verbaliser
from ..message import Message, Party
from ..partial import SelectedTop, stored_middle
from ..roles import DEVICE, SERVER, Device, Role, Server
from ..wire import Wire
from .cut import positions, returned
from .protocol import Scene
from .split import Split, SplitDevice


@dataclass(frozen=True)
class UShape(Split):
    """Two cuts, labels on the device."""

    name: ClassVar[str] = "ushape"
    title: ClassVar[str] = "U-shaped split learning"
    source: ClassVar[str] = "arXiv 1812.00564, section 3.1"
    departures: ClassVar[tuple[str, ...]] = (
        "Both parts are tuned by LoRA unless `lora.full` is set; the head starts from the verbaliser.",
        "Behind the server's blocks only the head is on the device; the server applies the final norm, and "
        "returns the selected position alone.",
        "Padding does not cross: positions are packed end to end, with the lengths.",
        "The device downloads the server's update at the end, so that it can predict alone.",
        "Several devices hand bottom and head straight to the next one; each keeps its optimiser's state.",
    )

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        return {SERVER: frozenset({"activations", "gradients", "held:tuned"})}

    @property
    def trains_on_device(self) -> bool:
        return True  # the head

    def facts(self, scene: Scene, device: Party = DEVICE) -> Mapping[str, Any]:
        return {**super().facts(scene, device), "fusion": "ushape"}

    def servers(self, scene: Scene) -> Mapping[Party, Role]:
        generator = scene.server_streams.torch("weights")
        middle = SelectedTop(scene.backbone, self.cut_of(scene), self.lora.updates, self.selector, generator)
        return {SERVER: UShapeServer(self, middle, scene.backbone.width)}

    def device(self, scene: Scene, party: Party) -> Device:
        return UShapeDevice(party, self, scene, scene.samples[party])


class UShapeDevice(SplitDevice):
    """Runs the bottom and, on what comes back, the head and the loss; trains the head, and a trainable bottom."""

    def __init__(self, party: Party, protocol: Split, scene: Scene, samples: tuple[Sample, ...]) -> None:
        self._head = nn.Parameter(verbaliser(scene.backbone, scene.labels).clone())
        self._bias = nn.Parameter(torch.zeros(len(scene.labels)))
        super().__init__(party, protocol, scene, samples)

    def trained(self) -> list[nn.Parameter]:
        return [*super().trained(), self._head, self._bias]

    def gradient(self, wire: Wire, epoch: int, ids: tuple[str, ...], states: Message) -> torch.Tensor | None:
        answer = wire.request(states)
        features = answer.tensors["features"].detach().requires_grad_()
        targets = torch.tensor([self._targets[i] for i in ids])
        cross_entropy(features @ self._head.T + self._bias, targets).backward()
        assert features.grad is not None
        back = wire.request(self.message("gradients", epoch, ids, {"gradients": features.grad}))
        return back.tensors.get("gradient")

    def state(self) -> dict[str, torch.Tensor]:
        return {**super().state(), "head": self._head.detach().clone(), "bias": self._bias.detach().clone()}

    def take(self, state: Mapping[str, torch.Tensor]) -> None:
        super().take(state)
        self._head.data, self._bias.data = state["head"].clone(), state["bias"].clone()

    def use(self, tuned: Mapping[str, torch.Tensor]) -> None:
        protocol = self._protocol
        self._top = stored_middle(self._scene.backbone, protocol.cut_of(self._scene), protocol.selector, tuned)

    def scores(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return super().scores(states, mask) @ self._head.T + self._bias


class UShapeServer(Server):
    """Runs and trains the middle, without ever seeing a loss."""

    def __init__(self, protocol: Split, middle: SelectedTop, width: int) -> None:
        self._protocol, self._middle, self._width = protocol, middle, width
        self._optimizer = protocol.lora.optimizer(middle.parameters())
        self._pending: dict[Party, tuple[Message, torch.Tensor, torch.Tensor]] = {}

    def handle(self, message: Message) -> Message:
        if message.kind == "activations":
            return returned(message, "features", self._forward(message), self._protocol.precision)
        if message.kind == "gradients":
            gradient = self._backward(message)
            if self._protocol.bottom == "frozen":
                return self.answer(message, "ready")
            return returned(message, "gradient", gradient, self._protocol.precision)
        if message.kind == "download":
            return self.answer(message, "tuned", **self._middle.state())
        raise ProtocolError(f"a U-shaped split server takes no message of kind {message.kind!r}")

    def _forward(self, message: Message) -> torch.Tensor:
        packed, lengths = positions(message, self._width)
        states, mask = unpack_positions(packed.squeeze(1), lengths)
        features: torch.Tensor = self._middle(states, mask)
        self._pending[message.sender] = message, packed, features
        return features.detach()

    def _backward(self, message: Message) -> torch.Tensor:
        found = self._pending.pop(message.sender, None)
        if found is None or found[0].sample_ids != message.sample_ids:
            raise ProtocolError("gradients came for samples whose activations did not; send activations first")
        _, packed, features = found
        gradients = message.tensor("gradients", *features.shape)
        self._protocol.lora.set_rate(self._optimizer, message.round)
        self._optimizer.zero_grad()
        features.backward(gradients)
        self._optimizer.step()
        assert packed.grad is not None
        return packed.grad

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        return {"tuned": self._middle.state()}
