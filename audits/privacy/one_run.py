"""The audit of DP-SGD by one training run with many canaries (Steinke, Nasr and Jagielski 2023, arXiv 2305.08846).

Each canary is in the server's cache by a coin of its own: neighbours differ by an example more or less, as in the
promise, and batches are drawn by coins at the run's own rate. A canary is a random pattern of activations with a target
far away in a random direction, so that its gradient is always clipped and hardly any two point the same way; the
auditor looks for the network that was released leaning towards it, and guesses on the canaries of the highest and of
the lowest scores. How many is fixed beforehand: 200 guesses that are all right show an epsilon of 3.3 and no more, so
that promises above it can stand here even where they are broken: `epsilon_most` says so beside the bound.

Shapes: m canaries, L layers, k width, D outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from ...system.message import Message
from ...system.protocols import Scene
from ...system.protocols.pae import PAE
from ...system.randomness import Streams
from ...system.roles import DEVICE, SERVER, Role
from ...system.side_network import SideShape, from_state
from .bounds import one_run_epsilon
from .found import Found

CANARIES = 1000
GUESSED = 0.1
"""Share of the canaries that are guessed to be in, and that are guessed to be out."""
FAR = 100.0
"""Length of a canary's target, against outputs of a few units."""


class Canaries(NamedTuple):
    """Examples that are in the server's cache, or not."""

    activations: torch.Tensor
    """(m, L, k)"""
    targets: torch.Tensor
    """(m, D)"""
    coins: torch.Tensor
    """(m,) bool: whether it is in."""


def audit_released(protocol: PAE, scene: Scene, streams: Streams, count: int = CANARIES) -> Found:
    """Of one example, against those who receive the side network; takes as long as the training itself."""
    own = Scene(scene.backbone, scene.labels, scene.samples, streams)
    canaries = _draw(protocol.side_shape(own), streams, count)
    scores = _leaning(protocol.servers(own)[SERVER], protocol.side.epochs, canaries)
    delta = _delta(protocol, scene)
    guesses = max(1, int(GUESSED * count))
    order = scores.argsort(descending=True)
    right = int(canaries.coins[order[:guesses]].sum() + (~canaries.coins[order[-guesses:]]).sum())
    low, most = (one_run_epsilon(delta, count, 2 * guesses, hits) for hits in (right, 2 * guesses))
    return Found(low, most, count)


def _delta(protocol: PAE, scene: Scene) -> float:
    promised = protocol.released_budget(scene)
    assert promised is not None
    return promised.delta


def _draw(shape: SideShape, streams: Streams, count: int) -> Canaries:
    generator = streams.torch("canaries")
    activations = torch.randn(count, shape.layers, shape.width, generator=generator)
    towards = torch.randn(count, shape.outputs, generator=generator)
    coins = torch.rand(count, generator=streams.torch("coins")) < 0.5
    return Canaries(activations, FAR * towards / towards.norm(dim=1, keepdim=True), coins)


def _leaning(server: Role, epochs: int, canaries: Canaries) -> torch.Tensor:
    """How far the released network's outputs go towards each canary's target (m,), beyond those on the others."""
    ids = tuple(f"{i:016x}" for i in canaries.coins.nonzero().squeeze(1).tolist())
    server.handle(Message("samples", DEVICE, SERVER, sample_ids=ids))
    for kind, values in (("activations", canaries.activations), ("difference", canaries.targets)):
        server.handle(Message(kind, DEVICE, SERVER, sample_ids=ids, tensors={kind: values[canaries.coins]}))
    for epoch in range(epochs):
        server.handle(Message("train", DEVICE, SERVER, round=epoch))
    released = from_state(server.handle(Message("download", DEVICE, SERVER)).tensors)
    with torch.no_grad():
        outputs: torch.Tensor = released(canaries.activations)
    return (outputs * canaries.targets).sum(1)
