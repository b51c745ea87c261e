"""A protocol that posts labels, an attack that reads them, a defence that flips a coin, a metric of ordered classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import log
from typing import Any

import torch

from sidelight.attacks.attack import Attack, Goal, Guess, LabelGuess, Needs, Prepared
from sidelight.audits.cells.metrics import Metric
from sidelight.audits.cells.scoring import Answers
from sidelight.system.defences.defence import Budget, Defence, Part
from sidelight.system.message import Message, Party
from sidelight.system.protocols.protocol import Protocol, Scene
from sidelight.system.public import Public
from sidelight.system.roles import DEVICE, SERVER, Device, Role, Server
from sidelight.system.view import View
from sidelight.system.wire import Wire


@dataclass(frozen=True)
class Posted(Protocol):
    """The device posts one state a text with its label; the server fits a linear map and returns it."""

    name = "posted"
    title = "A linear head fitted at the server"
    source = "sidelight-example"
    departures = ("The ridge is ours.",)  # what fills a gap of the source; the report prints it
    defended = frozenset({Part.LABELS})  # what of its messages defences may change

    ridge: float = 1.0

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        return {SERVER: frozenset({"states", "labels", "held:tuned"})}

    def facts(self, scene: Scene, device: Party = DEVICE) -> Mapping[str, Any]:
        return {"resent": False}

    def servers(self, scene: Scene) -> Mapping[Party, Role]:
        return {SERVER: PostedServer(self.ridge, len(scene.labels))}

    def device(self, scene: Scene, party: Party) -> Device:
        return PostedDevice(party, self, scene)


class PostedServer(Server):
    """Least squares of one-hot labels on states (N, d)."""

    def __init__(self, ridge: float, classes: int) -> None:
        self._ridge, self._classes = ridge, classes
        self._states = torch.empty(0)
        self._weight = torch.empty(0)

    def handle(self, message: Message) -> Message:
        if message.kind == "states":
            self._states = message.tensor("states", len(message.sample_ids), None)
            return self.answer(message, "ready")
        labels = torch.eye(self._classes)[message.tensor("labels", len(self._states))]
        square = self._states.T @ self._states + self._ridge * torch.eye(self._states.shape[1])
        self._weight = torch.linalg.solve(square, self._states.T @ labels)
        return self.answer(message, "tuned", weight=self._weight)

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        return {"tuned": {"weight": self._weight}}


class PostedDevice(Device):
    """Knows its own rows; all that crosses goes over the wire."""

    def __init__(self, party: Party, protocol: Posted, scene: Scene) -> None:
        self.party, self._protocol, self._backbone = party, protocol, scene.backbone
        self._samples = scene.samples[party]
        self._targets = protocol.targets(scene, party, self._samples)  # defended labels, drawn once
        self._weight = torch.empty(0)

    def work(self, wire: Wire) -> Iterator[None]:
        wire.request(self._message("states", self._states([sample.text for sample in self._samples])))
        yield
        labels = torch.tensor(list(self._targets.values()))
        self._weight = wire.request(self._message("labels", labels)).tensors["weight"]

    def predict(self, texts: list[str]) -> torch.Tensor:
        return self._states(texts) @ self._weight

    def _message(self, kind: str, tensor: torch.Tensor) -> Message:
        return Message(kind, self.party, SERVER, sample_ids=tuple(self._targets), tensors={kind: tensor})

    @torch.no_grad()
    def _states(self, texts: list[str]) -> torch.Tensor:
        tokens = self._backbone.tokens(texts, self._protocol.longest, self._protocol.prompt)
        return self._backbone.pivots(tokens, self._protocol.selector)[:, -1]


@dataclass(frozen=True)
class Echo(Attack):
    """The label that was posted."""

    name = "echo"
    source = "sidelight-example"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"labels"}))
    attacked = frozenset({"labels"})

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> Guess:
        return LabelGuess(*view.rows("labels", "labels"))


@dataclass(frozen=True)
class Coin(Defence):
    """Half of the labels, by a coin, are drawn anew from all classes."""

    name = "coin"
    title = "labels redrawn by a coin"
    source = "randomised response, Warner 1965"
    part = Part.LABELS
    keyed = False

    def relabel(self, labels: torch.Tensor, classes: int, generator: torch.Generator) -> torch.Tensor:
        heads = torch.rand(len(labels), generator=generator) < 0.5
        return torch.where(heads, torch.randint(classes, (len(labels),), generator=generator), labels)

    def budget(self, classes: int, releases: int = 1) -> Budget:
        return Budget(log(1 + classes), 0.0, "label")  # (1/2 + 1/2K) / (1/2K)


class ClassDistance(Metric):
    """How far the guessed class lies from the true one, of classes in an order such as ratings: 1 from end to end."""

    name = "class_distance"
    source = "sidelight-example"
    goal = Goal.LABELS
    direction = "lower"

    def rows(self, guess: Guess, answers: Answers) -> Mapping[str, float]:
        assert isinstance(guess, LabelGuess)
        found = dict(zip(guess.ids, guess.labels.tolist(), strict=True))
        most = len(answers.labels) - 1
        true = {row.id: answers.labels.index(row.label) for row in answers.unknown}
        return {i: abs(found[i] - at) / most if i in found else 1.0 for i, at in true.items()}
