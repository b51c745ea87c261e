"""Audits of what a device adds to its own messages: noise on activations and differences, and randomised labels.

The auditor knows keys, settings and both inputs, and guesses which of them crossed by the best linear score. Where
noise is Gaussian the bound is on mu; the promise of randomised labels is tested by counts alone.

Shapes: n canaries, N blocks, L layers that cross, d width, k width that crosses, D values of a difference.
"""

from __future__ import annotations

from functools import partial

import torch

from ...system.defences.activation_noise import ActivationNoise
from ...system.defences.noise import Noise
from ...system.gaussian import epsilon_of
from ...system.protocols.cut import CutDevice
from ...system.protocols.mobillm import MobiLLMDevice
from ...system.protocols.pae_device import PAEDevice
from ...system.randomness import Streams
from ...system.roles import SERVER
from .bounds import at_best, at_least, epsilon_at_least, mu_at_least
from .canaries import PAIRS, Canaries, Side, Sides, canary_samples, device_of, drawn, sent, sent_labels
from .found import Found
from .promises import Promise

BEYOND = 3.0
"""Times a clip by which one of two canaries is beyond it."""


def audit_label(promise: Promise, streams: Streams, pairs: int = PAIRS) -> Found:
    """Of one label, given the text: both inputs have the same states, and only what tells labels is read."""
    return _found(*_scored(promise, label_sides, streams, pairs, activations=False), promise)


def audit_example(promise: Promise, streams: Streams, pairs: int = PAIRS) -> Found:
    """Of a whole example: states as far apart as clipping leaves them, and labels that the backbone contradicts."""
    return _found(*_scored(promise, example_sides, streams, pairs, activations=True), promise)


def audit_labels_in_clear(promise: Promise, streams: Streams, pairs: int = PAIRS) -> Found | None:
    """Of labels that cross as they were drawn: what a device's own messages tell, epoch after epoch.

    What its work does beside them is not run. None where no label crosses, or where the device is none that is known
    to tell labels so.
    """
    protocol, scene = promise.protocol, promise.scene
    if "labels" not in protocol.shows.get(SERVER, ()):
        return None
    coins = torch.rand(pairs, generator=streams.torch("coins")) < 0.5
    samples = canary_samples(coins, scene.labels)
    device = device_of(protocol, scene, samples, streams)
    if not isinstance(device, MobiLLMDevice | CutDevice):
        return None
    told = sent_labels(device, tuple(sample.id for sample in samples))
    return _found(coins, ((told == 1).double() - (told == 0).double()).mean(0), promise)


def _found(coins: torch.Tensor, scores: torch.Tensor, promise: Promise) -> Found:
    """By the trade-off of Gaussian noise where the promise has a delta, else by counts."""
    assert promise.budget is not None
    delta = promise.budget.delta
    if not delta:
        bound = partial(epsilon_at_least, delta=0.0)
        return Found(at_least(scores.numpy(), coins.numpy(), bound), at_best(coins.numpy(), bound), len(coins))
    mu, most = at_least(scores.numpy(), coins.numpy(), mu_at_least), at_best(coins.numpy(), mu_at_least)
    return Found(epsilon_of(mu, delta) if mu else 0.0, epsilon_of(most, delta), len(coins), mu)


def label_sides(device: PAEDevice) -> tuple[Side, Side]:
    """The same states with the two labels whose codewords lie apart the farthest."""
    first, second = _farthest(device)
    states = torch.zeros(len(device.backbone.blocks), device.backbone.width)
    return Side(states, first), Side(states, second)


def example_sides(device: PAEDevice) -> tuple[Side, Side]:
    """One input with states exactly as long as the clip, and one beyond it the other way."""
    first, second = _farthest(device)
    length = min((one.clip for one in device.cover.defences if isinstance(one, ActivationNoise)), default=1.0)
    along = _directions(device, first, second)
    return Side(-length * along, first), Side(BEYOND * length * along, second)


def _farthest(device: PAEDevice) -> tuple[int, int]:
    """Two classes whose codewords (K, m, D) lie apart the farthest, in the mean over each one's."""
    means = device.guard.targets.book[: len(device.guard.head)].mean(1).double()
    at = int(torch.cdist(means, means).argmax())
    return at // len(means), at % len(means)


def _directions(device: PAEDevice, first: int, second: int) -> torch.Tensor:
    """One of length 1 for each block (N, d); the last makes the backbone expect the second class and not the first.

    The canary with the first label goes against it, so that each is told what the backbone does not expect. All of them
    lie within what the device's projection keeps.
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
        if maps is not None and device.cover.layers[-1] == len(found):
            found[-1] = maps[-1].T @ maps[-1] @ found[-1]
    unit: torch.Tensor = found / found.norm(dim=1, keepdim=True)
    return unit


def _scored(
    promise: Promise, sides: Sides, streams: Streams, pairs: int, activations: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Coins and scores (n,), of canaries that are each sent several times."""
    coins, scores = [], []
    for canaries in drawn(promise, sides, streams, pairs):
        crossed = sent(canaries)
        found = _told_score(canaries, crossed)
        if activations:
            found = found + _states_score(canaries, crossed["activations"])
        coins.append(canaries.coins)
        scores.append(found)
    return torch.cat(coins), torch.cat(scores)


def _states_score(canaries: Canaries, crossed: torch.Tensor) -> torch.Tensor:
    """The log-likelihood ratio (n,) of activations (n, L, k) under their noise, up to a constant."""
    cover = canaries.device.cover
    without, other = (cover.shown(side.states.unsqueeze(0))[0].double() for side in canaries.sides)
    noise = [one for one in cover.defences if isinstance(one, ActivationNoise)]
    variance = sum(one.deviation(len(cover.layers)) ** 2 for one in noise) or 1.0
    return torch.einsum("nlk,lk->n", crossed - (without + other) / 2, other - without) / variance


def _told_score(canaries: Canaries, crossed: dict[str, torch.Tensor]) -> torch.Tensor:
    """The same of differences (n, D), behind the keys; of labels that cross, whether they are the second's."""
    sides = canaries.sides
    if "labels" in crossed:
        chosen: torch.Tensor = (crossed["labels"] - sides[0].label) / (sides[1].label - sides[0].label)
        return chosen
    guard = canaries.device.guard
    without, other = (_exact(canaries.device, side).double() for side in sides)
    found = crossed["difference"]
    if guard.transform is not None:
        found = torch.linalg.solve(guard.transform.double(), found.T).T
    noise = [one for one in guard.defences if isinstance(one, Noise)]
    variance = sum(one.deviation(guard.targets.sensitivity) ** 2 for one in noise) or 1.0
    ratio: torch.Tensor = (found - (without + other) / 2) @ (other - without) / variance
    return ratio


def _exact(device: PAEDevice, side: Side) -> torch.Tensor:
    """What a difference would be without noise and keys (D,)."""
    share = device.guard.reading.share(device.backbone, side.states[-1:])[0]
    found = device.guard.targets.book[side.label].mean(0) - share
    for one in device.guard.defences:
        if isinstance(one, Noise):
            found = one.limited(found)
    return found
