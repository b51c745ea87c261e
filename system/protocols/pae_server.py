"""The server of PAE MobiLLM: keeps what came, and trains the side network on it as it likes, or with privacy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from ..defences.defence import PrivateSteps
from ..errors import ProtocolError
from ..message import Message
from ..roles import Server
from ..side_network import SideNetwork, SideShape
from .side_training import SideTraining, regress

if TYPE_CHECKING:
    from .private_training import PrivateTraining


class PAEServer(Server):
    """Keeps what came in its activation cache and trains on it, epoch after epoch, without the device."""

    def __init__(
        self,
        shape: SideShape,
        training: SideTraining,
        generator: torch.Generator,
        private: PrivateSteps | None = None,
    ) -> None:
        self._side = SideNetwork(shape, generator)
        self._training, self._generator = training, generator
        self._optimizer = training.optimizer(self._side)
        self._private: PrivateTraining | None = None
        if private is not None:
            from .private_training import PrivateTraining  # Opacus takes a second to load

            sizes = (shape.layers, shape.width), (shape.outputs,)
            self._private = PrivateTraining(self._side, self._optimizer, sizes, private, generator)
        self._activations: dict[str, torch.Tensor] = {}
        self._differences: dict[str, torch.Tensor] = {}

    def handle(self, message: Message) -> Message:
        if message.kind in ("activations", "difference"):
            cache = self._activations if message.kind == "activations" else self._differences
            cache.update(zip(message.sample_ids, message.tensors[message.kind], strict=True))
            return self.answer(message, "ready")
        if message.kind == "train":
            self._train(message.round)
            return self.answer(message, "ready")
        if message.kind == "download":
            return self.answer(message, "tuned", **self._side.state_dict())
        raise ProtocolError(f"a PAE server takes no message of kind {message.kind!r}")

    def _train(self, epoch: int) -> None:
        ids = [i for i in self._activations if i in self._differences]
        activations = torch.stack([self._activations[i] for i in ids])
        targets = torch.stack([self._differences[i] for i in ids])
        if self._private is not None:
            return self._private.epoch(self._training.rate(epoch), activations, targets)
        regress(self._side, self._optimizer, self._training, epoch, activations, targets, self._generator)

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        return {"tuned": {name: t.detach().clone() for name, t in self._side.state_dict().items()}}
