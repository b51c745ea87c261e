"""The server of memory-efficient SFL: one frozen model, and of each device its own updates, head and optimiser.

A device's batch is a turn: its tensors stand in the model for that turn alone (`torch.func.functional_call`), and the
graph of one turn is gone before the next one begins. The model can be entered at every device's cut.

Shapes: N positions of a batch, B samples, T positions, d width, K classes.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from ..adapters import State, above, below, joined
from ..errors import ProtocolError
from ..federation import Federation
from ..fusion import unpack_positions
from ..low_rank import padded, trimmed, turned
from ..message import Message, Party
from ..partial import ScoredTop
from ..roles import Server
from ..schedule import Job, Rule, order
from .cut import class_indices, positions, returned
from .split import Split


class OneModel:
    """Everything above the smallest cut, once, entered at any cut of `cuts`."""

    def __init__(self, model: ScoredTop, cuts: set[int]) -> None:
        """`model` is cut at the smallest; its own updates and head only stand where a device's will."""
        lowest = min(cuts)
        model.requires_grad_(False)
        self._entered = {cut: entered(model, cut - lowest) for cut in cuts}

    def scores(self, cut: int, tuned: State, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Class scores (B, K) of states (B, T, d) after block `cut`, with tensors as ScoredTop.state() names them."""
        named = {name if name in ("head", "bias") else f"top.{name}": tensor for name, tensor in tuned.items()}
        found: torch.Tensor = functional_call(self._entered[cut], named, (states, mask))
        return found

    def tensors(self) -> list[torch.Tensor]:
        """All that it holds, each once."""
        found = {id(t): t for model in self._entered.values() for t in (*model.parameters(), *model.buffers())}
        return list(found.values())


def entered(model: ScoredTop, blocks: int) -> ScoredTop:
    """The model without its first blocks, upon the very same tensors."""
    if not blocks:
        return model
    shared = copy.deepcopy(model, {id(t): t for t in (*model.parameters(), *model.buffers())})
    shared.top.drop(blocks)
    return shared


class Part:
    """What the server keeps of one device: the updates above its cut, a head, and their optimiser."""

    def __init__(self, protocol: Split, cut: int, rank: int, whole: State, job: Job) -> None:
        """`whole` are updates of all blocks; `job` is a batch of the device as the schedule sees it, modelled."""
        self.cut, self.rank, self.job, self._protocol = cut, rank, job, protocol
        self.tuned = {name: nn.Parameter(tensor.clone()) for name, tensor in above(trimmed(whole, rank), cut).items()}
        self.below = {name: tensor.shape for name, tensor in below(trimmed(whole, rank), cut).items()}
        self._optimizer = protocol.lora.optimizer(self.tuned.values())

    def step(self, model: OneModel, batch: Batch) -> torch.Tensor:
        """Train on a batch; the gradient (N, 1, d) of what came."""
        self._protocol.lora.set_rate(self._optimizer, batch.labels.round)
        states, mask = unpack_positions(batch.packed.squeeze(1), batch.lengths)
        cross_entropy(model.scores(self.cut, self.tuned, states, mask), batch.targets).backward()
        self._optimizer.step()
        self._optimizer.zero_grad()  # unloaded: no gradient stays until the next turn
        assert batch.packed.grad is not None
        return batch.packed.grad

    def load(self, whole: State) -> None:
        """Go on from the updates of all blocks, at the device's rank."""
        for name, tensor in above(whole, self.cut).items():
            self.tuned[name].data = tensor.clone()

    def state(self) -> dict[str, torch.Tensor]:
        """The updates and the head, by a top's names."""
        return {name: tensor.detach().clone() for name, tensor in self.tuned.items()}


@dataclass(frozen=True)
class Batch:
    """A device's batch that waits for its turn."""

    labels: Message
    packed: torch.Tensor
    """(N, 1, d), ready for a gradient."""
    lengths: torch.Tensor
    targets: torch.Tensor
    """(B,) int64."""
    arrived: int
    """Batches that came before it."""


class OneModelServer(Server):
    """Queues the devices' batches, serves one at a time, and averages what devices and itself have trained."""

    def __init__(
        self, protocol: Split, model: OneModel, parts: Mapping[Party, Part], federation: Federation, rule: Rule
    ) -> None:
        self._protocol, self._model, self._parts = protocol, model, parts
        self._federation, self._rule = federation, rule
        self._start = federation.held()["start"]
        self._sent: dict[Party, tuple[Message, torch.Tensor, torch.Tensor]] = {}
        self._queue: dict[Party, Batch] = {}
        self._answers: dict[Party, Message] = {}
        self._arrived = 0
        self._incidents: Counter[str] = Counter()

    def handle(self, message: Message) -> Message:
        if message.sender not in self._parts:
            raise ProtocolError(f"{message.sender} is no device of this server")
        if message.kind in ("activations", "labels"):
            return self._batch(message)
        if message.kind == "gradient":
            return self._gradient(message)
        if message.kind == "download":
            return self.answer(message, "tuned", **self._parts[message.sender].state())
        return self._average(message)

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        """`start` and `tuned`: the updates of all blocks, with the head, that all began from and ended with."""
        held = self._federation.held()
        return {"start": held["start"], "tuned": held["average"]}

    def incidents(self) -> Mapping[str, int]:
        return dict(Counter(self._federation.incidents()) + self._incidents)

    # --- batches -----------------------------------------------------------------------------------------------

    def _batch(self, message: Message) -> Message:
        """Take half of a batch; what does not fit is refused and noted, and nothing is changed."""
        try:
            if message.sender in self._queue or message.sender in self._answers:
                raise Refused("repeated", f"{message.sender} has a batch here already; fetch its gradient first")
            if message.kind == "activations":
                self._sent[message.sender] = message, *positions(message, self._width)
            else:
                self._complete(message)
        except ProtocolError as error:
            wrong = error.incident if isinstance(error, Refused) else "malformed"
            self._incidents[f"{message.sender} {wrong}"] += 1
            raise
        return self.answer(message, "ready")

    def _complete(self, message: Message) -> None:
        """Queue a batch whose labels have come as well."""
        found = self._sent.pop(message.sender, None)
        if found is None or found[0].sample_ids != message.sample_ids:
            raise ProtocolError("labels came for samples whose activations did not; send activations first")
        targets = class_indices(message, len(self._parts[message.sender].tuned["bias"]))
        self._queue[message.sender] = Batch(message, found[1], found[2], targets, self._arrived)
        self._arrived += 1

    @property
    def _width(self) -> int:
        return next(iter(self._parts.values())).tuned["head"].shape[1]

    def _gradient(self, message: Message) -> Message:
        """A device's gradient, if its turn has been; each question lets the server serve one batch."""
        sender = message.sender
        if sender not in self._answers and sender not in self._queue:
            raise ProtocolError(f"{sender} has sent no batch whose gradient it could get; send one first")
        if sender not in self._answers:
            self._serve(self._next())
        return self._answers.pop(sender, None) or self.answer(message, "wait")

    def _next(self) -> Party:
        """Whose batch is next by the rule; all that wait have arrived."""
        waiting = list(self._queue)
        jobs = [replace(self._parts[party].job, ready=self._queue[party].arrived) for party in waiting]
        return waiting[order(self._rule, jobs, now=self._arrived)[0]]

    def _serve(self, party: Party) -> None:
        """Serve a batch; one that the model cannot take, such as too long a text, is its owner's loss alone."""
        batch = self._queue.pop(party)
        try:
            gradient = self._parts[party].step(self._model, batch)
        except (IndexError, RuntimeError):
            self._incidents[f"{party} malformed"] += 1
            return
        self._answers[party] = returned(batch.labels, "gradient", gradient, self._protocol.precision)

    # --- averages ----------------------------------------------------------------------------------------------

    def _average(self, message: Message) -> Message:
        """Rounds as a federation server holds them, over the updates of all blocks."""
        part = self._parts[message.sender]
        state = self._joined(message) if message.kind == "update" else {}
        answer = self._federation.handle(replace(message, tensors=state))
        tensors = {}
        if answer.kind == "average":
            whole = self._at_rank(answer.tensors, part.rank)
            part.load(whole)
            tensors = below(whole, part.cut)
        return Message(answer.kind, self.party, message.sender, answer.round, tensors=tensors)

    def _joined(self, message: Message) -> dict[str, torch.Tensor]:
        """A device's updates and the server's for it, at the largest rank; none where the device's are not as its own.

        Whether their values are numbers is the federation's to say.
        """
        part = self._parts[message.sender]
        if part.below != {name: tensor.shape for name, tensor in message.tensors.items()}:
            return {}
        return padded(joined(message.tensors, part.state(), part.cut), self._largest)

    def _at_rank(self, whole: State, rank: int) -> State:
        """A device's share of an average; of one of products, in factors turned to those that it began from."""
        if len({part.rank for part in self._parts.values()}) == 1:
            return whole
        return turned(trimmed(whole, rank), trimmed(self._start, rank))

    @property
    def _largest(self) -> int:
        return max(part.rank for part in self._parts.values())


class Refused(ProtocolError):
    """What an honest device does not send, with the name under which it is noted."""

    def __init__(self, incident: str, reason: str) -> None:
        super().__init__(reason)
        self.incident = incident
