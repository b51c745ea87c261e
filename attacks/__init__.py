"""What an adversary computes from a view and public knowledge, one attack in each file."""

from __future__ import annotations

from ..system.registry import Registry
from .attack import Attack

ATTACKS: Registry[type[Attack]] = Registry(
    "attack",
    {
        "addback": ".attacks.labels.addback:AddBack",
        "cleartext": ".attacks.reconstruction.cleartext:Cleartext",
        "match": ".attacks.reconstruction.match:Match",
        "plaintext": ".attacks.labels.plaintext:Plaintext",
        "readoff": ".attacks.extraction.readoff:ReadOff",
        "sign": ".attacks.labels.sign:Sign",
    },
    group="sidelight.attacks",
)

__all__ = ["ATTACKS", "Attack"]
