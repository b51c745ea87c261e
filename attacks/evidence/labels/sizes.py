"""How long texts are by the sizes of encrypted messages, and what their lengths say of their classes.

Shapes: P packets of B samples each, M auxiliary texts, K classes.
"""

from __future__ import annotations

import torch

from ....system.backbone import load_backbone
from ....system.message import Message, encode
from ....system.packets import carried
from ....system.public import Public

FEW = 1e-9
"""The least weight of a class, so that sizes unlike any auxiliary text's fall back on how frequent classes are."""


def positions_of(sizes: torch.Tensor, samples: int, public: Public) -> torch.Tensor | None:
    """Positions (P,) that packets of so many samples hold in all; None where their size does not depend on texts."""
    if public.facts.get("positions") != "all":
        return None
    few, many = samples, samples * public.facts["longest"]
    least, most = (expected(positions, samples, public) for positions in (few, many))
    found: torch.Tensor = few + (sizes.double() - least) * (many - few) / (most - least)
    return found


def expected(positions: int, samples: int, public: Public) -> int:
    """The size of a packet that holds the activations of so many positions and samples."""
    assert public.backbone is not None
    width, layers = load_backbone(public.backbone).width, len(public.facts["layers"])
    tensors = {"activations": torch.zeros(positions, layers, width), "lengths": torch.zeros(samples, dtype=torch.int64)}
    ids = (f"{0:016x}",) * samples
    message = Message("activations", "device-0", "server", 0, 0, ids, tensors, public.facts["precision"])
    return carried(len(encode(message)))


def class_weights(
    positions: torch.Tensor, samples: int, lengths: torch.Tensor, labels: torch.Tensor, classes: int, width: float
) -> torch.Tensor:
    """(P, K): how likely each class's texts make a packet of so many samples as large as it is.

    From positions (P,) of packets, and lengths and labels (M,) of auxiliary texts, smoothed over so many tokens. One
    text of length l in a packet of B with mean m and variance v of lengths: the sum is c l + (B - c) m on average, with
    variance c (B - c) v. Texts that came together by chance have c = 1, texts of one length c = B; c is what the sums'
    variance c B v tells.
    """
    lengths = lengths.double()
    mean, variance = lengths.mean(), lengths.var(unbiased=False).clamp(min=width**2)
    spread = positions.var(unbiased=False) if len(positions) > 1 else samples * variance
    together = (spread / (samples * variance)).clamp(1, samples)
    about = together * lengths + (samples - together) * mean
    noise = together * (samples - together) * variance + (together * width) ** 2
    near = (-(positions.unsqueeze(1) - about).square() / (2 * noise)).exp()
    own = torch.nn.functional.one_hot(labels, classes).double()
    return near @ own / own.sum(0).clamp(min=1) + FEW
