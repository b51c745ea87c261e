"""What protocols with a cut share: the device below it, and what a server asks of the messages that come.

Shapes: N positions of a batch, B samples, T positions, d width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..codec import Precision
from ..data import Sample
from ..errors import ProtocolError
from ..forward import over_texts
from ..fusion import pack_positions
from ..message import Message, Party
from ..partial import SelectedTop, load_tuned, stored_top, tuned_state
from ..roles import SERVER, Device
from ..wire import Wire
from .protocol import Scene, even_batches

if TYPE_CHECKING:
    from .split import Split


class CutDevice(Device):
    """Runs the bottom; trains it with the gradients that come back, where it is trainable.

    By default labels and loss are the server's. Who has its turn when, and what is averaged, is the protocol's.
    """

    def __init__(self, party: Party, protocol: Split, scene: Scene, samples: tuple[Sample, ...]) -> None:
        self.party = party
        self._protocol, self._scene, self._samples = protocol, scene, samples
        self._targets = protocol.targets(scene, party, samples)
        self._lengths = [len(scene.backbone.token_ids(sample.text, protocol.longest)) for sample in samples]
        self._order = scene.streams.torch(f"{party}:order")
        self._trainable = protocol.bottom == "trainable"
        self._cut = protocol.cut_of(scene, party)
        self._bottom = protocol.bottom_of(scene, party)
        self._optimizer = protocol.lora.optimizer(trained) if (trained := self.trained()) else None
        self._top: SelectedTop | None = None

    def trained(self) -> list[nn.Parameter]:
        """The parameters that the device itself trains."""
        return list(self._bottom.parameters()) if self._trainable else []

    def even_batches(self) -> Iterator[list[Sample]]:
        """One pass over the rows, shuffled, in batches of about equal length."""
        for rows in even_batches(self._lengths, self._protocol.lora.batch, self._order):
            yield [self._samples[i] for i in rows]

    def state(self) -> dict[str, torch.Tensor]:
        """What this device trains, by name."""
        return tuned_state(self._bottom) if self._trainable else {}

    def take(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what another device trained."""
        if self._trainable:
            load_tuned(self._bottom, state)

    def exchange(self, wire: Wire, rows: list[Sample], epoch: int) -> None:
        """A step on a batch, with the server's help."""
        states, sent = self.forward(rows, epoch)
        self.backward(states, self.gradient(wire, epoch, sent.sample_ids, sent))

    def forward(self, rows: list[Sample], epoch: int) -> tuple[torch.Tensor, Message]:
        """A batch's states (N, d), which await their gradient, and the message that holds them."""
        tokens = self._scene.backbone.tokens([r.text for r in rows], self._protocol.longest, self._protocol.prompt)
        with torch.set_grad_enabled(self._trainable):
            states, lengths = pack_positions(self._bottom(tokens), tokens)
        ids = tuple(row.id for row in rows)
        if self._optimizer is not None:
            self._protocol.lora.set_rate(self._optimizer, epoch)
            self._optimizer.zero_grad()
        sent = {"activations": states.detach().unsqueeze(1), "lengths": lengths}
        return states, self.message("activations", epoch, ids, sent)

    def backward(self, states: torch.Tensor, gradient: torch.Tensor | None) -> None:
        """The step that the gradient (N, 1, d) of a batch's states asks for."""
        if self._trainable:
            if gradient is None:
                raise ProtocolError("no gradient came back for a bottom that is trained; the server must send one")
            states.backward(gradient.squeeze(1))
        if self._optimizer is not None:
            self._optimizer.step()

    def gradient(self, wire: Wire, epoch: int, ids: tuple[str, ...], states: Message) -> torch.Tensor | None:
        """Send a batch's states and what the loss needs; the gradient (N, 1, d) that comes back, if one does."""
        wire.request(states)
        return wire.request(self.labels(epoch, ids)).tensors.get("gradient")

    def labels(self, epoch: int, ids: tuple[str, ...]) -> Message:
        """A batch's labels, for a server that computes the loss."""
        return self.message("labels", epoch, ids, {"labels": torch.tensor([self._targets[i] for i in ids])})

    def message(self, kind: str, epoch: int, ids: tuple[str, ...], tensors: dict[str, torch.Tensor]) -> Message:
        """A message to the server about a batch."""
        return Message(kind, self.party, SERVER, epoch, 0, ids, tensors, self._protocol.precision)

    def download(self, wire: Wire) -> None:
        """Take the server's part into use."""
        self.use(wire.request(Message("download", self.party, SERVER)).tensors)

    def use(self, tuned: Mapping[str, torch.Tensor]) -> None:
        """Predict with what the server trained."""
        self._top = stored_top(self._scene.backbone, self._cut, self._protocol.selector, tuned)

    def scores(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Class scores (B, K) of states (B, T, d) after the bottom, by what the server trained."""
        if self._top is None:
            raise ProtocolError("the device has not downloaded the server's update; run its work to the end first")
        found: torch.Tensor = self._top(states, mask)
        return found

    @torch.no_grad()
    def predict(self, texts: list[str]) -> torch.Tensor:
        return over_texts(self._passed, texts)

    def _passed(self, texts: list[str]) -> torch.Tensor:
        tokens = self._scene.backbone.tokens(texts, self._protocol.longest, self._protocol.prompt)
        return self.scores(self._bottom(tokens), tokens.mask)


MOST_PADDED = 1 << 28
"""Values of a batch after padding: 1 GiB."""

# --- what came -------------------------------------------------------------------------------------------------


def positions(message: Message, width: int, layers: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch's states (N, L, d), ready for a gradient, and lengths (B,); raises ProtocolError where they are none."""
    packed = message.tensor("activations", None, layers, width)
    lengths = message.tensor("lengths", len(message.sample_ids))
    if not packed.is_floating_point() or lengths.is_floating_point():
        raise ProtocolError("activations are real numbers and lengths whole ones; send them as such")
    if not len(lengths) or int(lengths.min()) < 1 or int(lengths.sum()) != len(packed):
        raise ProtocolError("lengths must be at least 1 and add up to the positions that came")
    # side by side, padded to the longest, a batch must not take much more room than it came in
    if len(lengths) * int(lengths.max()) * layers * width > MOST_PADDED:
        raise ProtocolError(f"padded to one length the batch has more than {MOST_PADDED} values; send a smaller one")
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
