"""SplitFed: devices split the model with a main server, in parallel, and a federation server averages their bottoms.

Version 1: the main server trains a part of its own for each device and averages these parts, too, when all have gone
through their rows. Version 2: it trains one part on all devices' batches in turn.
Source: arXiv 2004.12088, Algorithms 1 and 2 (version 1), section 3.3 (version 2).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from ..errors import ProtocolError, UsageError
from ..federation import FEDERATION, PATIENCE, Federation
from ..heads import verbaliser
from ..message import Message, Party
from ..partial import ScoredTop
from ..roles import SERVER, Role, Server
from ..wire import Wire
from .fleet import Fleet
from .protocol import Scene, even_batches
from .split import Split, SplitDevice, SplitServer


@dataclass(frozen=True)
class SplitFed(Split):
    """Split learning in parallel, with averages."""

    name: ClassVar[str] = "splitfed"
    title: ClassVar[str] = "SplitFed"
    source: ClassVar[str] = "arXiv 2004.12088, Algorithms 1 and 2"
    departures: ClassVar[tuple[str, ...]] = (
        "Both parts are tuned by LoRA unless `lora.full` is set; the head starts from the verbaliser. The factors of "
        "low-rank updates are averaged apart, as SplitLoRA does.",
        "Averages are unweighted, as in the authors' code; their algorithm weighs by rows, which a device could lie "
        "about.",
        "Padding does not cross: positions are packed end to end, with the lengths.",
        "Devices download the server's update at the end, so that they can predict alone.",
        "Every device, and every part at the server, keeps the state of its optimiser over an average.",
        "The federation server's own view, the devices' updates, is not recorded and no attack reads it yet.",
    )

    bottom: Literal["frozen", "trainable"] = "trainable"
    version: Literal["v1", "v2"] = "v1"
    base: Literal["shared", "replicated"] = "shared"
    """Version 1: whether the server's parts share the frozen weights, or each has a copy."""
    every: int = 0
    """Batches of a device between two averages; 0 for a pass over its rows."""
    patience: int = PATIENCE
    """Times that a waiting device asks before a round ends without those who are missing."""
    fleet: Fleet = Fleet(devices=4)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, known in (
            ("version", self.version, ("v1", "v2")),
            ("base", self.base, ("shared", "replicated")),
        ):
            if value not in known:
                raise UsageError(f"{name} {value!r} is neither {known[0]} nor {known[1]}; give one of them")
        if self.every < 0:
            raise UsageError(f"every is {self.every}; give 0 or more batches between two averages")
        if self.patience < 1:
            raise UsageError(f"patience is {self.patience}; give at least 1 question")

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        federation = {FEDERATION: frozenset({"update", "held:average"})} if self.bottom == "trainable" else {}
        return {**super().shows, **federation}

    def roles(self, scene: Scene) -> Mapping[Party, Role]:
        head, generator = verbaliser(scene.backbone, scene.labels), scene.streams.torch("server")
        top = ScoredTop(scene.backbone, self.cut_of(scene), self.lora.updates, head, self.selector, generator)
        devices = {party: SplitFedDevice(party, self, scene, rows) for party, rows in scene.samples.items()}
        start = next(iter(devices.values())).state()
        for device in devices.values():
            device.take(start)  # all start from one bottom
        federation = {FEDERATION: Federation(tuple(devices), start, self.patience)} if start else {}
        if self.version == "v2":
            return {SERVER: SplitServer(self, top), **federation, **devices}
        return {SERVER: SplitFedServer(self, {party: self._copy(top) for party in devices}), **federation, **devices}

    def _copy(self, top: ScoredTop) -> ScoredTop:
        """A part of a device's own, whose frozen weights are those of all where they are shared."""
        frozen = [p for p in top.parameters() if not p.requires_grad] if self.base == "shared" else []
        return copy.deepcopy(top, {id(p): p for p in frozen})


class SplitFedDevice(SplitDevice):
    """Trains beside the others, and goes on from the average of all bottoms after every round."""

    def work(self, wire: Wire) -> Iterator[None]:
        protocol = self._protocol
        assert isinstance(protocol, SplitFed)
        steps = [
            (epoch, rows)
            for epoch in range(protocol.lora.epochs)
            for rows in even_batches(self._lengths, protocol.lora.batch, self._order)
        ]
        every = protocol.every or len(steps) // protocol.lora.epochs
        for round_, start in enumerate(range(0, len(steps), every)):
            for epoch, rows in steps[start : start + every]:
                self._exchange(wire, [self._samples[i] for i in rows], epoch)
                yield
            for party in self._averagers():
                state = self.state() if party == FEDERATION else {}
                wire.request(Message("update", self.party, party, round_, tensors=state))
            yield from self._averaged(wire, "fetch", round_)
        for party in self._averagers():
            wire.request(Message("leave", self.party, party))
        yield from self._averaged(wire, "final", 0)
        self.finish(wire.request(Message("download", self.party, SERVER)).tensors)

    def _averagers(self) -> list[Party]:
        """Who averages: the federation server bottoms, the main server of version 1 its own parts."""
        protocol = self._protocol
        assert isinstance(protocol, SplitFed)
        return [FEDERATION] * self._trainable + [SERVER] * (protocol.version == "v1")

    def _averaged(self, wire: Wire, kind: str, round_: int) -> Iterator[None]:
        """Wait until all have come as far, and take the average."""
        for party in self._averagers():
            while (answer := wire.request(Message(kind, self.party, party, round_))).kind == "wait":
                yield
            if party == FEDERATION:
                self.take(answer.tensors)


class SplitFedServer(Server):
    """Version 1: a part for each device, averaged when all have ended a round."""

    def __init__(self, protocol: SplitFed, parts: Mapping[Party, ScoredTop]) -> None:
        self._parts = parts
        self._servers = {party: SplitServer(protocol, part) for party, part in parts.items()}
        self._federation = Federation(tuple(parts), next(iter(parts.values())).state(), protocol.patience)

    def handle(self, message: Message) -> Message:
        if message.sender not in self._parts:
            raise ProtocolError(f"{message.sender} is no device of this server")
        if message.kind in ("activations", "labels", "download"):
            return self._servers[message.sender].handle(message)
        part = self._parts[message.sender]
        state = part.state() if message.kind == "update" else {}
        answer = self._federation.handle(replace(message, tensors=state))
        if answer.kind != "average":
            return self.answer(message, answer.kind)
        part.load(answer.tensors)
        return self.answer(message, "ready")

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        return {"tuned": self._federation.held()["average"]}
