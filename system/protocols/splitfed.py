"""SplitFed: devices split the model with a main server, in parallel, and a federation server averages their bottoms.

Version 1: the main server trains a part of its own for each device and averages these parts, too, when all have gone
through their rows. Version 2: it trains one part on all devices' batches in turn.
Source: arXiv 2004.12088, Algorithms 1 and 2 (version 1), section 3.3 (version 2).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from ..data import Sample
from ..errors import ProtocolError, UsageError
from ..federation import FEDERATION, PATIENCE, Drawn, Federation
from ..message import Message, Party
from ..partial import ScoredTop, tuned_state
from ..roles import SERVER, Device, Role, Server
from .averaged import AveragedCutDevice, check_averages
from .fleet import Fleet
from .protocol import Scene
from .split import Split, SplitServer


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
        "Version 2 serves a batch of each device in turn, at the rate of that device's own pass over its rows.",
        "With averages by batches a device with more rows goes on when the others have left: the last averages are its "
        "own.",
        "A device that waits asks again; its questions are counted as traffic.",
    )

    shared: ClassVar[bool] = True

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
        check_averages(self.every, self.patience)

    @property
    def averaged(self) -> int | None:
        return None if self.version == "v2" and self.bottom == "frozen" else self.every

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        federation = (
            {FEDERATION: frozenset({"update", "held:start", "held:average"})} if self.bottom == "trainable" else {}
        )
        return {**super().shows, **federation}

    def servers(self, scene: Scene) -> Mapping[Party, Role]:
        top, one, devices = self.top(scene), self.version == "v2", tuple(scene.samples)
        drawn = self.fleet.rounds(devices, scene.common_streams)
        server = SplitFedServer(self, {party: top if one else self._copy(top) for party in devices}, drawn)
        if self.bottom == "frozen":
            return {SERVER: server}
        start = tuned_state(self.bottom_of(scene))
        return {SERVER: server, FEDERATION: Federation(devices, start, self.patience, drawn=drawn)}

    def device(self, scene: Scene, party: Party) -> Device:
        return SplitFedDevice(party, self, scene, scene.samples[party])

    def _copy(self, top: ScoredTop) -> ScoredTop:
        """A part of a device's own, whose frozen weights are those of all where they are shared."""
        frozen = [p for p in top.parameters() if not p.requires_grad] if self.base == "shared" else []
        return copy.deepcopy(top, {id(p): p for p in frozen})


class SplitFedDevice(AveragedCutDevice):
    """Has its bottom averaged by the federation server, and in version 1 the main server's part by the main server."""

    def __init__(self, party: Party, protocol: SplitFed, scene: Scene, samples: tuple[Sample, ...]) -> None:
        bottoms = {FEDERATION: True} if protocol.bottom == "trainable" else {}
        averagers = {**bottoms, SERVER: False} if protocol.version == "v1" else bottoms
        super().__init__(party, protocol, scene, samples, protocol.every, averagers)


class SplitFedServer(Server):
    """A part for each device, averaged when all have ended a round (version 1), or one part for all (version 2)."""

    def __init__(self, protocol: SplitFed, parts: Mapping[Party, ScoredTop], drawn: Drawn) -> None:
        self._parts = parts
        servers = {id(part): SplitServer(protocol, part) for part in parts.values()}
        self._servers = {party: servers[id(part)] for party, part in parts.items()}
        self._averages = protocol.version == "v1"
        start = next(iter(parts.values())).state() if self._averages else {}
        # in version 2 nothing is averaged: it is asked only whether all have left
        self._federation = Federation(tuple(parts), start, protocol.patience, drawn=drawn)

    def handle(self, message: Message) -> Message:
        if message.sender not in self._parts:
            raise ProtocolError(f"{message.sender} is no device of this server")
        if message.kind in ("activations", "labels", "download"):
            return self._servers[message.sender].handle(message)
        part = self._parts[message.sender]
        state = part.state() if message.kind == "update" else {}
        answer = self._federation.handle(replace(message, tensors=state))
        if answer.kind == "average" and self._averages:
            part.load(answer.tensors)
        kind = "ready" if answer.kind == "average" else answer.kind
        return Message(kind, self.party, message.sender, answer.round)

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        if self._averages:
            return {"tuned": self._federation.held()["average"]}
        return next(iter(self._servers.values())).held()

    def incidents(self) -> Mapping[str, int]:
        return self._federation.incidents()
