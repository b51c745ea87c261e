"""Devices by memory, speed and link, and what a batch costs them and the server: MODELLED, never measured.

FLOPs: 2 for each weight and token in a forward pass and as many for the gradient of what came in (Kaplan et al. 2020,
arXiv 2001.08361, section 2.1), so frozen weights cost 4 and low-rank ones 6; attention's own products, which grow with
the square of the length, are left out. Seconds: FLOPs over the profile's FLOP/s, bits over its bit/s; nothing overlaps.

Memory, in bytes, of a device with k blocks at rank r, a batch of N tokens in texts of T, everything in float32:

    4 (embeddings + k block) + 16 k r maps + 4 N k (16 d + heads T)

weights; updates with their gradients and AdamW's two moments; what a batch's forward pass keeps (Korthikanti et al.
2022, arXiv 2205.05198, equation 2, without dropout masks: 16 d + heads T values a token and block). The rest of an
application is not counted: a profile's memory is what is left for the model's part.

Shapes: N tokens of a batch, T positions, L blocks, d width, r rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from .anatomy import embeddings
from .backbone import Backbone
from .errors import UsageError
from .message import Message, encode
from .roles import DEVICE, SERVER
from .schedule import Job

FLOAT = 4
"""Bytes of a value."""
MIB = 2**20
SHARE = 0.05
"""How much longer than at rank 1 a step may take for a larger rank, by `quickest`."""


@dataclass(frozen=True)
class Profile:
    """A kind of device."""

    name: str
    memory: float
    """MiB for the model's part."""
    compute: float
    """FLOP/s, sustained in training."""
    uplink: float
    """bit/s"""
    downlink: float
    """bit/s"""


# All figures are our assumptions: about a tenth to a third of the peak that makers state for float16 (Jetson Xavier NX
# 1.7e12, a high-end phone's GPU 2e12 to 4e12), links as a busy cell (low, mid), a good one (high) and Wi-Fi give them.
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("phone-low", memory=768, compute=5e10, uplink=5e6, downlink=2e7),
        Profile("phone-mid", memory=1536, compute=2e11, uplink=2e7, downlink=6e7),
        Profile("phone-high", memory=3072, compute=6e11, uplink=5e7, downlink=1.5e8),
        Profile("jetson", memory=6144, compute=5e11, uplink=1e8, downlink=1e8),
    )
}
SERVER_COMPUTE = 1e13
"""FLOP/s of the server, about half of what one A100's float32 peak of 1.95e13 is: our assumption."""


@dataclass(frozen=True)
class Shape:
    """What of a backbone costs are counted from."""

    blocks: int
    width: int
    heads: int
    block: int
    """Weights of one block."""
    embeddings: int
    """Weights beside the blocks that a device holds."""
    maps: int
    """Of a block's linear maps, the sum of what they take and give: low-rank weights for each rank."""


def shape_of(backbone: Backbone) -> Shape:
    """A backbone's shape, counted."""
    block = next(iter(backbone.blocks))
    weights = [getattr(module, "weight", None) for module in block.modules()]
    beside = {id(p): p.numel() for part in embeddings(backbone.model) for p in part.parameters()}
    return Shape(
        blocks=len(backbone.blocks),
        width=backbone.width,
        heads=int(backbone.model.config.num_attention_heads),
        block=sum(p.numel() for p in block.parameters()),
        embeddings=sum(beside.values()),
        maps=sum(sum(weight.shape) for weight in weights if weight is not None and weight.dim() == 2),
    )


@dataclass(frozen=True)
class Load:
    """What one batch asks of a device with so many blocks, and of the server above them."""

    shape: Shape
    cut: int
    rank: int
    texts: int
    positions: int
    """Of every text, padding counted as tokens."""
    every: int = 0
    """Batches between two exchanges of updates; 0 leaves them out."""

    @property
    def memory(self) -> float:
        """MiB on the device."""
        shape, tokens = self.shape, self.texts * self.positions
        weights = FLOAT * (shape.embeddings + self.cut * shape.block)
        updates = 4 * FLOAT * self.cut * self.rank * shape.maps
        kept = FLOAT * tokens * self.cut * (16 * shape.width + shape.heads * self.positions)
        return (weights + updates + kept) / MIB

    def forward(self, blocks: int) -> float:
        """FLOPs of blocks."""
        return 2.0 * self.texts * self.positions * blocks * (self.shape.block + self.rank * self.shape.maps)

    def backward(self, blocks: int) -> float:
        """FLOPs of the gradients of what came in and of the low-rank weights."""
        return 2.0 * self.texts * self.positions * blocks * (self.shape.block + 2 * self.rank * self.shape.maps)

    def job(self, profile: Profile, server: float = SERVER_COMPUTE) -> Job:
        """A batch as the server's schedule sees it, in seconds: a device's own updates are exchanged in its tail."""
        bits, above = message_bits(self.texts, self.positions, self.shape.width), self.shape.blocks - self.cut
        updates = 8.0 * FLOAT * self.cut * self.rank * self.shape.maps / self.every if self.every else 0.0
        ready = self.forward(self.cut) / profile.compute + bits / profile.uplink
        work = (self.forward(above) + self.backward(above)) / server
        tail = (bits + updates) / profile.downlink + updates / profile.uplink
        return Job(ready, work, tail + self.backward(self.cut) / profile.compute)

    def seconds(self, profile: Profile, server: float = SERVER_COMPUTE) -> float:
        """A whole step of a device that need not wait for others."""
        job = self.job(profile, server)
        return job.ready + job.work + job.tail


@cache
def message_bits(texts: int, positions: int, width: int) -> float:
    """Of a batch's states, and as many of their gradient: of the very message, encoded."""
    states = {"activations": torch.zeros(texts * positions, 1, width), "lengths": torch.full((texts,), positions)}
    return 8.0 * len(encode(Message("activations", DEVICE, SERVER, 0, 0, ("0" * 16,) * texts, states)))


def fitting(profile: Profile, loads: Sequence[Load]) -> list[Load]:
    """Those that a device has memory for; raises UsageError where it has for none."""
    found = [load for load in loads if load.memory <= profile.memory]
    if not found:
        least = min(load.memory for load in loads)
        raise UsageError(
            f"{profile.name} has {profile.memory:.0f} MiB and a block with its batch takes {least:.0f}; give a profile "
            "with more memory, or a smaller batch or rank"
        )
    return found


def deepest(profile: Profile, loads: Sequence[Load]) -> Load:
    """As many blocks as fit."""
    return max(fitting(profile, loads), key=lambda load: load.cut)


def quickest(profile: Profile, loads: Sequence[Load], server: float = SERVER_COMPUTE) -> Load:
    """The cut with the least modelled step, and the largest rank with which its step takes hardly longer than that."""
    fit = fitting(profile, loads)
    seconds = {load: load.seconds(profile, server) for load in fit}
    least = min(seconds.values())
    cut = min(fit, key=seconds.__getitem__).cut
    near = [load for load in fit if load.cut == cut and seconds[load] <= (1 + SHARE) * least]
    return max(near, key=lambda load: load.rank)
