"""Split learning: embeddings and the first blocks on the device, the rest, the head and the loss at the server.

Source: the activation, label and gradient exchange of SplitFed (arXiv 2004.12088, Algorithm 1 for one client). With
`bottom = frozen` nothing is trained on the device and no gradient returns.

Shapes: N positions of a batch, B samples, T positions, d width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ..codec import PRECISIONS, Precision
from ..data import Sample
from ..defences.defence import Part
from ..errors import ProtocolError, UsageError
from ..fusion import pack_positions, unpack_positions
from ..heads import verbaliser
from ..message import Message, Party
from ..partial import Bottom, ScoredTop, load_tuned, stored_top, tuned_state
from ..randomness import Streams
from ..roles import SERVER, Device, Role, Server
from ..wire import Wire
from .fleet import Fleet
from .lora_training import LoraTraining
from .protocol import CHUNK, Protocol, Scene, batches, even_batches


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
        if self.bottom not in ("frozen", "trainable"):
            raise UsageError(f"bottom {self.bottom!r} is neither frozen nor trainable; give one of them")
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision {self.precision!r} is none of {', '.join(PRECISIONS)}; give one of them")

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        return {SERVER: frozenset({"activations", "labels", "held:tuned"})}

    def facts(self, scene: Scene) -> Mapping[str, Any]:
        cut = self.cut_of(scene)
        return {"positions": "all", "fusion": "split", "resent": True, "layers": [cut], "cut": cut}

    def cut_of(self, scene: Scene) -> int:
        """Blocks on the device, for the scene's backbone; raises UsageError where nothing is left for the server."""
        blocks = len(scene.backbone.blocks)
        cut = self.cut or max(blocks // 3, 1)
        if not 1 <= cut < blocks:
            raise UsageError(f"cut is {cut}; give 1 to {blocks - 1}: the backbone has {blocks} blocks")
        return cut

    def parties(self, samples: Sequence[Sample], streams: Streams) -> Mapping[Party, tuple[Sample, ...]]:
        return self.fleet.deal(samples, streams)

    @property
    def trains_on_device(self) -> bool:
        return self.bottom == "trainable"

    def roles(self, scene: Scene) -> Mapping[Party, Role]:
        head, generator = verbaliser(scene.backbone, scene.labels), scene.streams.torch("server")
        server = SplitServer(
            self, ScoredTop(scene.backbone, self.cut_of(scene), self.lora.updates, head, self.selector, generator)
        )
        devices = {party: SplitDevice(party, self, scene, rows) for party, rows in scene.samples.items()}
        return {SERVER: server, **devices}


class SplitDevice(Device):
    """Runs the bottom; trains it with the gradients that come back, where it is trainable."""

    def __init__(self, party: Party, protocol: Split, scene: Scene, samples: tuple[Sample, ...]) -> None:
        self.party = party
        self._protocol, self._scene, self._samples = protocol, scene, samples
        self._targets = protocol.targets(scene, party, samples)
        self._lengths = [len(scene.backbone.token_ids(sample.text, protocol.longest)) for sample in samples]
        self._order = scene.streams.torch(f"{party}:order")
        self._trainable = protocol.bottom == "trainable"
        rank = protocol.lora.updates if self._trainable else 0
        self._bottom = Bottom(scene.backbone, protocol.cut_of(scene), rank, scene.streams.torch(f"{party}:lora"))
        self._optimizer = protocol.lora.optimizer(trained) if (trained := self.trained()) else None
        self._top: ScoredTop | None = None
        parties = list(scene.samples)
        self._next = parties[(parties.index(party) + 1) % len(parties)]
        self._before = parties[parties.index(party) - 1]
        self._turn, self._last = party == parties[0], party == parties[-1]

    def trained(self) -> list[nn.Parameter]:
        """The parameters that the device itself trains."""
        return list(self._bottom.parameters()) if self._trainable else []

    def work(self, wire: Wire) -> Iterator[None]:
        for epoch in range(self._protocol.lora.epochs):
            yield from self._waiting()
            for rows in even_batches(self._lengths, self._protocol.lora.batch, self._order):
                self._exchange(wire, [self._samples[i] for i in rows], epoch)
                yield
            self._hand_on(wire, epoch)
        yield from self._waiting()  # for what the others have trained since
        if not self._last:
            self._hand_on(wire, self._protocol.lora.epochs)
        self.finish(wire.request(Message("download", self.party, SERVER)).tensors)

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

    def state(self) -> dict[str, torch.Tensor]:
        """What this device trains, by name."""
        return tuned_state(self._bottom) if self._trainable else {}

    def take(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what another device trained."""
        if self._trainable:
            load_tuned(self._bottom, state)

    def _exchange(self, wire: Wire, rows: list[Sample], epoch: int) -> None:
        tokens = self._scene.backbone.tokens([r.text for r in rows], self._protocol.longest, self._protocol.prompt)
        with torch.set_grad_enabled(self._trainable):
            states, lengths = pack_positions(self._bottom(tokens), tokens)
        ids = tuple(row.id for row in rows)
        if self._optimizer is not None:
            self._protocol.lora.set_rate(self._optimizer, epoch)
            self._optimizer.zero_grad()
        sent = {"activations": states.detach().unsqueeze(1), "lengths": lengths}
        gradient = self.gradient(wire, epoch, ids, self.message("activations", epoch, ids, sent))
        if self._trainable:
            if gradient is None:
                raise ProtocolError("no gradient came back for a bottom that is trained; the server must send one")
            states.backward(gradient.squeeze(1))
        if self._optimizer is not None:
            self._optimizer.step()

    def gradient(self, wire: Wire, epoch: int, ids: tuple[str, ...], states: Message) -> torch.Tensor | None:
        """Send a batch's states and what the loss needs; the gradient (N, 1, d) that comes back, if one does."""
        wire.request(states)
        labels = torch.tensor([self._targets[i] for i in ids])
        return wire.request(self.message("labels", epoch, ids, {"labels": labels})).tensors.get("gradient")

    def message(self, kind: str, epoch: int, ids: tuple[str, ...], tensors: dict[str, torch.Tensor]) -> Message:
        """A message to the server about a batch."""
        return Message(kind, self.party, SERVER, epoch, 0, ids, tensors, self._protocol.precision)

    def finish(self, tuned: Mapping[str, torch.Tensor]) -> None:
        """Take the server's part into use."""
        protocol = self._protocol
        self._top = stored_top(self._scene.backbone, protocol.cut_of(self._scene), protocol.selector, tuned)

    def scores(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Class scores (B, K) of states (B, T, d) after the bottom."""
        if self._top is None:
            raise ProtocolError("the device has not downloaded the server's update; run its work to the end first")
        found: torch.Tensor = self._top(states, mask)
        return found

    @torch.no_grad()
    def predict(self, texts: list[str]) -> torch.Tensor:
        outputs = []
        for chunk in batches(texts, CHUNK):
            tokens = self._scene.backbone.tokens(chunk, self._protocol.longest, self._protocol.prompt)
            outputs.append(self.scores(self._bottom(tokens), tokens.mask))
        return torch.cat(outputs)


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


def positions(message: Message, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch's states (N, 1, d), ready for a gradient, and lengths (B,); raises ProtocolError where they are none."""
    packed = message.tensor("activations", None, 1, width)
    lengths = message.tensor("lengths", len(message.sample_ids))
    if not packed.is_floating_point() or lengths.is_floating_point():
        raise ProtocolError("activations are real numbers and lengths whole ones; send them as such")
    if not len(lengths) or int(lengths.min()) < 1 or int(lengths.sum()) != len(packed):
        raise ProtocolError("lengths must be at least 1 and add up to the positions that came")
    # detached: the message stays as it came, for whoever listens to the wire
    return packed.detach().requires_grad_(), lengths


def class_indices(message: Message, classes: int) -> torch.Tensor:
    """A batch's labels (B,) int64; raises ProtocolError where one is no class."""
    labels = message.tensor("labels", len(message.sample_ids))
    if labels.is_floating_point() or ((labels < 0) | (labels >= classes)).any():
        raise ProtocolError(f"labels are whole numbers from 0 to {classes - 1}; send such")
    return labels


def returned(message: Message, kind: str, tensor: torch.Tensor, precision: Precision) -> Message:
    """The server's answer to a batch: one tensor, named as its kind."""
    return Message(kind, SERVER, message.sender, message.round, 0, message.sample_ids, {kind: tensor}, precision)
