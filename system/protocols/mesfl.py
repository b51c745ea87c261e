"""Memory-efficient split federated learning: devices with different cuts, and one model at the server for all of them.

Devices run their blocks in parallel. The server holds one full model and of every device the low-rank updates above its
cut; it serves their batches one after another, in the order of a schedule. From time to time it joins each device's
updates with its own for that device, averages over devices layer by layer, and cuts the average at each device's depth.
Source: arXiv 2506.02940, abstract and summaries; the method's section was not read, and no code is public.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from ..adapters import above, below
from ..data import Sample
from ..errors import UsageError
from ..federation import PATIENCE, Federation
from ..heads import verbaliser
from ..message import Message, Party
from ..partial import Bottom, stored_top, tuned_state
from ..roles import DEVICE, SERVER, Role, device_number
from ..schedule import RULES, Rule
from ..wire import Wire
from .fleet import Fleet
from .one_model import OneModel, OneModelServer, Part
from .protocol import Scene
from .rounds import RoundsDevice
from .split import Split


@dataclass(frozen=True)
class MeSFL(Split):
    """One model at the server, cut for each device at its own depth."""

    name: ClassVar[str] = "mesfl"
    title: ClassVar[str] = "Memory-efficient SFL"
    source: ClassVar[str] = "arXiv 2506.02940"
    departures: ClassVar[tuple[str, ...]] = (
        "Re-implemented from the abstract and summaries. That gradients of the activations return is not confirmed; "
        "without them the device could not train.",
        "The rule and the interval of the averages are not confirmed: factors are averaged apart and unweighted, as "
        "the objective's 1/U suggests, by default after every pass over a device's rows.",
        "The order in which the server serves devices is not confirmed; `schedule` names ours. It changes when a "
        "device gets its gradient, never what is trained.",
        "Both sides are tuned by LoRA; the head starts from the verbaliser, one for each device, and is averaged, too.",
        "All devices start from one set of updates; each keeps the state of its optimiser over an average, and so does "
        "the server for each of them.",
        "Cuts are dealt to devices in turn, not found from their memory.",
        "Padding does not cross: positions are packed end to end, with the lengths.",
        "With averages by batches a device with more rows goes on when the others have left: the last averages are its "
        "own.",
        "A device that waits asks again; its questions are counted as traffic. Each lets the server serve one batch.",
        "Devices download the server's update at the end, so that they can predict alone.",
    )

    bottom: Literal["frozen", "trainable"] = "trainable"
    cuts: tuple[int, ...] = ()
    """Blocks on each device, dealt in turn; empty for `cut` on all."""
    every: int = 0
    """Batches of a device between two averages; 0 for a pass over its rows."""
    patience: int = PATIENCE
    """Times that a waiting device asks before a round ends without those who are missing."""
    schedule: Rule = "tail"
    """Which of the batches that wait the server takes next."""
    fleet: Fleet = Fleet(devices=4)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bottom != "trainable" or self.lora.full:
            raise UsageError("mesfl trains low-rank updates on both sides; leave bottom trainable and lora.full false")
        if self.schedule not in RULES:
            raise UsageError(f"schedule {self.schedule!r} is none of {', '.join(RULES)}; give one of them")
        if self.every < 0:
            raise UsageError(f"every is {self.every}; give 0 or more batches between two averages")
        if self.patience < 1:
            raise UsageError(f"patience is {self.patience}; give at least 1 question")

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        return {SERVER: frozenset({"activations", "labels", "update", "held:start", "held:tuned"})}

    def cut_of(self, scene: Scene, device: Party = DEVICE) -> int:
        if not self.cuts:
            return super().cut_of(scene, device)
        cut, blocks = self.cuts[device_number(device) % len(self.cuts)], len(scene.backbone.blocks)
        if not 1 <= cut < blocks:
            raise UsageError(f"cuts holds {cut}; give 1 to {blocks - 1}: the backbone has {blocks} blocks")
        return cut

    def roles(self, scene: Scene) -> Mapping[Party, Role]:
        cuts = {party: self.cut_of(scene, party) for party in scene.samples}
        start = self._start(scene)
        devices = {party: MeSFLDevice(party, self, scene, rows) for party, rows in scene.samples.items()}
        for party, device in devices.items():
            device.take(below(start, cuts[party]))
        lowest = min(cuts.values())
        top = stored_top(scene.backbone, lowest, self.selector, above(start, lowest))
        model = OneModel(top, set(cuts.values()))
        parts = {party: Part(self, cut, start) for party, cut in cuts.items()}
        federation = Federation(tuple(devices), start, self.patience)
        return {SERVER: OneModelServer(self, model, parts, federation, self.schedule), **devices}

    def _start(self, scene: Scene) -> dict[str, torch.Tensor]:
        """The updates of all blocks, and the head, that all begin from: the same whatever the cuts."""
        head = verbaliser(scene.backbone, scene.labels)
        everything = Bottom(scene.backbone, len(scene.backbone.blocks), self.lora.rank, scene.streams.torch("server"))
        return {**tuned_state(everything), "head": head, "bias": torch.zeros(len(head))}


class MeSFLDevice(RoundsDevice):
    """Sends a batch, and asks for its gradient until the server has served it."""

    def __init__(self, party: Party, protocol: MeSFL, scene: Scene, samples: tuple[Sample, ...]) -> None:
        super().__init__(party, protocol, scene, samples, protocol.every, {SERVER: True})

    def step(self, wire: Wire, rows: list[Sample], epoch: int) -> Iterator[None]:
        states, sent = self.forward(rows, epoch)
        wire.request(sent)
        wire.request(self.labels(epoch, sent.sample_ids))
        yield
        while (answer := wire.request(Message("gradient", self.party, SERVER, epoch))).kind == "wait":
            yield
        self.backward(states, answer.tensor("gradient", len(states), 1, states.shape[1]))
        yield
