"""Fine-tuning in one process, nothing sent: the floor of every table.

`method = lora`: LoRA (arXiv 2106.09685) on every block and a trainable head. `method = side`: the side network of
PAE MobiLLM, trained on the same pivots and the same difference, without a wire.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ..data import Sample
from ..difference import DIFFERENCE_KINDS, DifferenceKind, difference
from ..errors import UsageError
from ..forward import over_texts
from ..fusion import additive, pivot_activations
from ..heads import scores, verbaliser
from ..message import Party
from ..partial import Bottom
from ..roles import DEVICE, Device, Role
from ..selector import select
from ..side_network import SideNetwork, SideShape
from ..wire import Wire
from .lora_training import LoraTraining
from .protocol import Protocol, Scene, even_batches
from .side_training import SideTraining, regress

if TYPE_CHECKING:
    from .fedlora import FedLora


@dataclass(frozen=True)
class Local(Protocol):
    """One device alone."""

    name: ClassVar[str] = "local"
    title: ClassVar[str] = "On the device alone"
    source: ClassVar[str] = "LoRA: arXiv 2106.09685; side network: as pae"

    method: Literal["lora", "side"] = "lora"
    lora: LoraTraining = LoraTraining()
    side: SideTraining = SideTraining()
    difference: DifferenceKind = "probability"
    """What the side network is regressed on."""
    scale: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in ("lora", "side"):
            raise UsageError(f"method {self.method!r} is neither lora nor side; give one of them")
        if self.difference not in DIFFERENCE_KINDS:
            raise UsageError(
                f"difference {self.difference!r} is none of {', '.join(DIFFERENCE_KINDS)}; give one of them"
            )

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        return {}

    def facts(self, scene: Scene, device: Party = DEVICE) -> Mapping[str, Any]:
        return {}

    def servers(self, scene: Scene) -> Mapping[Party, Role]:
        return {}

    def device(self, scene: Scene, party: Party) -> Device:
        made = LocalLora if self.method == "lora" else LocalSide
        return made(party, self, scene, scene.samples[party])


class LocalLora(Device):
    """Trains low-rank updates of the whole backbone, and a head that starts from the verbaliser."""

    def __init__(self, party: Party, protocol: Local | FedLora, scene: Scene, samples: tuple[Sample, ...]) -> None:
        self.party = party
        self._protocol, self._backbone, self._samples = protocol, scene.backbone, samples
        self._targets = scene.targets(samples)
        self._lengths = [len(scene.backbone.token_ids(sample.text, protocol.longest)) for sample in samples]
        self._order = scene.streams.torch(f"{party}:order")
        blocks = len(scene.backbone.blocks)
        self._model = Bottom(scene.backbone, blocks, protocol.lora.updates, scene.streams.torch("devices:lora"))
        self._head = nn.Parameter(verbaliser(scene.backbone, scene.labels).clone())
        self._bias = nn.Parameter(torch.zeros(len(scene.labels)))
        self._optimizer = protocol.lora.optimizer([*self._model.parameters(), self._head, self._bias])

    def work(self, wire: Wire) -> Iterator[None]:
        for epoch in range(self._protocol.lora.epochs):
            for rows in self.even_batches():
                yield from self.turn(rows, epoch)

    def even_batches(self) -> Iterator[list[int]]:
        """One pass over the rows, shuffled, in batches of about equal length."""
        return even_batches(self._lengths, self._protocol.lora.batch, self._order)

    def turn(self, rows: list[int], epoch: int) -> Iterator[None]:
        """A step on a batch of rows."""
        self._protocol.lora.set_rate(self._optimizer, epoch)
        loss = cross_entropy(self._scores([self._samples[i].text for i in rows]), self._targets[rows])
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        yield

    def _scores(self, texts: list[str]) -> torch.Tensor:
        tokens = self._backbone.tokens(texts, self._protocol.longest, self._protocol.prompt)
        pivot = select(self._backbone.final_norm(self._model(tokens)), tokens.mask, self._protocol.selector)
        return pivot @ self._head.T + self._bias

    @torch.no_grad()
    def predict(self, texts: list[str]) -> torch.Tensor:
        return over_texts(self._scores, texts)


class LocalSide(Device):
    """Trains PAE MobiLLM's side network beside its own backbone."""

    def __init__(self, party: Party, protocol: Local, scene: Scene, samples: tuple[Sample, ...]) -> None:
        self.party = party
        self._protocol, self._backbone, self._samples = protocol, scene.backbone, samples
        self._targets = scene.targets(samples)
        self._head = verbaliser(scene.backbone, scene.labels)
        self._generator = scene.streams.torch(f"{party}:side")
        shape = SideShape(len(scene.backbone.blocks), scene.backbone.width, protocol.side.bottleneck, len(scene.labels))
        self._side = SideNetwork(shape, self._generator)

    def work(self, wire: Wire) -> Iterator[None]:
        texts = [sample.text for sample in self._samples]
        with torch.no_grad():
            pivots = over_texts(self._pivots, texts)
            f_b = scores(self._head, self._backbone, pivots[:, -1])
        goal = difference(self._protocol.difference, f_b, self._targets, self._protocol.scale)
        optimizer = self._protocol.side.optimizer(self._side)
        for epoch in range(self._protocol.side.epochs):
            regress(self._side, optimizer, self._protocol.side, epoch, pivots, goal, self._generator)
            yield

    @torch.no_grad()
    def predict(self, texts: list[str]) -> torch.Tensor:
        kind, head, side = self._protocol.difference, self._head, self._side
        return over_texts(lambda some: additive(kind, head, self._backbone, self._pivots(some), side), texts)

    def _pivots(self, texts: list[str]) -> torch.Tensor:
        protocol = self._protocol
        return pivot_activations(self._backbone, texts, protocol.longest, protocol.prompt, protocol.selector)
