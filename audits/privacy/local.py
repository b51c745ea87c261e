"""Audits of what a device adds to its own messages: noise on activations and differences, and randomised labels.

The auditor knows keys, settings and both inputs, and guesses which of them crossed by the best linear score. Where
noise is Gaussian the bound is on mu; the promise of randomised labels is tested by counts alone.

Shapes: n canaries, N blocks, L layers that cross, d width, k width that crosses, D values of a difference.
"""

from __future__ import annotations

from functools import partial

import torch

from ...system.defences.activation_noise import ActivationNoise
from ...system.defences.defence import Budget
from ...system.defences.noise import Noise
from ...system.gaussian import epsilon_of
from ...system.protocols import Protocol, Scene
from ...system.protocols.pae import PAE, PAEDevice
from ...system.randomness import Streams
from ...system.roles import DEVICE
from .bounds import at_least, epsilon_at_least, mu_at_least
from .canaries import PAIRS, SENDS, Canaries, Side, canary_samples, drawn, sent
from .found import Found

BEYOND = 3.0
"""Times a clip by which one of two canaries is beyond it."""
DRAWS = 2
"""Times that labels are asked for which cross as they are."""


def audit_label(protocol: PAE, scene: Scene, promised: Budget, streams: Streams, pairs: int = PAIRS) -> Found:
    """Of one label, given the text: both inputs have the same states, and only what tells labels is read."""
    device = _device(protocol, scene)
    first, second = _farthest(device.guard.targets.book[: len(scene.labels)])
    states = torch.zeros(len(device.backbone.blocks), device.backbone.width)
    sides = Side(states, first), Side(states, second)
    coins, scores = _scored(protocol, scene, sides, streams, pairs, activations=False)
    return _found(coins, scores, promised)


def audit_example(protocol: PAE, scene: Scene, promised: Budget, streams: Streams, pairs: int = PAIRS) -> Found:
    """Of a whole example: states as far apart as clipping leaves them, and labels that the backbone contradicts."""
    sides = example_sides(protocol, scene)
    coins, scores = _scored(protocol, scene, sides, streams, pairs, activations=True)
    return _found(coins, scores, promised)


def audit_targets(protocol: Protocol, scene: Scene, promised: Budget, streams: Streams, pairs: int = PAIRS) -> Found:
    """Of labels that cross as they were drawn: what the protocol draws for a device, whenever it is asked."""
    coins = torch.rand(pairs, generator=streams.torch("coins")) < 0.5
    samples = canary_samples(coins, scene.labels[:2])
    own = Scene(scene.backbone, scene.labels, {DEVICE: samples}, streams)
    asked = [protocol.targets(own, DEVICE, samples) for _ in range(DRAWS)]
    each = torch.tensor([[drawn[sample.id] for sample in samples] for drawn in asked])
    return _found(coins, ((each == 1).double() - (each == 0).double()).mean(0), promised)


def _found(coins: torch.Tensor, scores: torch.Tensor, promised: Budget) -> Found:
    """By the trade-off of Gaussian noise where the promise has a delta, else by counts."""
    if not promised.delta:
        bound = partial(epsilon_at_least, delta=0.0)
        return Found(at_least(scores.numpy(), coins.numpy(), bound), len(coins))
    mu = at_least(scores.numpy(), coins.numpy(), mu_at_least)
    return Found(epsilon_of(mu, promised.delta) if mu else 0.0, len(coins), mu)


def example_sides(protocol: PAE, scene: Scene) -> tuple[Side, Side]:
    """One input with states exactly as long as the clip, and one beyond it the other way."""
    device = _device(protocol, scene)
    first, second = _farthest(device.guard.targets.book[: len(scene.labels)])
    length = min((one.clip for one in protocol.defences if isinstance(one, ActivationNoise)), default=1.0)
    along = _directions(device, first, second)
    return Side(-length * along, first), Side(BEYOND * length * along, second)


def _device(protocol: PAE, scene: Scene) -> PAEDevice:
    samples = canary_samples(torch.tensor([False]), scene.labels)
    found = protocol.device(Scene(scene.backbone, scene.labels, {DEVICE: samples}, scene.streams), DEVICE)
    assert isinstance(found, PAEDevice)
    return found


def _farthest(book: torch.Tensor) -> tuple[int, int]:
    """Two classes whose codewords (K, m, D) lie apart the farthest, in the mean over each one's."""
    means = book.mean(1).double()
    at = int(torch.cdist(means, means).argmax())
    return at // len(means), at % len(means)


def _directions(device: PAEDevice, first: int, second: int) -> torch.Tensor:
    """One of length 1 for each block (N, d); the last makes the backbone expect the second class and not the first.

    The canary with the first label goes against it, so that each is told what the backbone does not expect.
    """
    found = torch.zeros(len(device.backbone.blocks), device.backbone.width)
    found[:, 0] = 1.0
    maps = device.cover.maps
    for at, layer in enumerate(device.cover.layers):
        if maps is not None:
            found[layer - 1] = maps[at, 0]
    head = device.guard.targets.head
    if head is not None:
        found[-1] = head[first] - head[second]
    unit: torch.Tensor = found / found.norm(dim=1, keepdim=True)
    return unit


def _scored(
    protocol: PAE, scene: Scene, sides: tuple[Side, Side], streams: Streams, pairs: int, activations: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Coins and scores (n,), of canaries that are each sent several times."""
    coins, scores = [], []
    for canaries in drawn(protocol, scene, sides, streams, pairs):
        crossed = sent(canaries, SENDS)
        found = _told_score(canaries, sides, crossed)
        if activations:
            found = found + _states_score(canaries, sides, crossed["activations"])
        coins.append(canaries.coins)
        scores.append(found)
    return torch.cat(coins), torch.cat(scores)


def _states_score(canaries: Canaries, sides: tuple[Side, Side], crossed: torch.Tensor) -> torch.Tensor:
    """The log-likelihood ratio (n,) of activations (n, L, k) under their noise, up to a constant."""
    cover = canaries.device.cover
    without, other = (cover.shown(side.states.unsqueeze(0))[0].double() for side in sides)
    noise = [one for one in canaries.protocol.defences if isinstance(one, ActivationNoise)]
    variance = sum(one.deviation(len(cover.layers)) ** 2 for one in noise) or 1.0
    return torch.einsum("nlk,lk->n", crossed - (without + other) / 2, other - without) / variance


def _told_score(canaries: Canaries, sides: tuple[Side, Side], crossed: dict[str, torch.Tensor]) -> torch.Tensor:
    """The same of differences (n, D), behind the keys; of labels that cross, whether they are the second's."""
    if "labels" in crossed:
        chosen: torch.Tensor = (crossed["labels"] - sides[0].label) / (sides[1].label - sides[0].label)
        return chosen
    guard = canaries.device.guard
    without, other = (_exact(canaries, side).double() for side in sides)
    found = crossed["difference"]
    if guard.transform is not None:
        found = torch.linalg.solve(guard.transform.double(), found.T).T
    noise = [one for one in canaries.protocol.defences if isinstance(one, Noise)]
    variance = sum(one.deviation(guard.targets.sensitivity) ** 2 for one in noise) or 1.0
    ratio: torch.Tensor = (found - (without + other) / 2) @ (other - without) / variance
    return ratio


def _exact(canaries: Canaries, side: Side) -> torch.Tensor:
    """What a difference would be without noise and keys (D,)."""
    device = canaries.device
    share = device.guard.share(device.backbone, side.states[-1:])[0]
    found = device.guard.targets.book[side.label].mean(0) - share
    for one in canaries.protocol.defences:
        if isinstance(one, Noise):
            found = one.limited(found)
    return found
