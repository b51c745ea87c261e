"""What a device may do to its prediction differences before it sends them, one defence in each file."""

from __future__ import annotations

from ..registry import Registry
from .defence import Defence

DEFENCES: Registry[type[Defence]] = Registry(
    "defence",
    {
        "code": ".system.defences.code:Code",
        "decoy": ".system.defences.decoy:Decoy",
        "label-dp": ".system.defences.label_dp:LabelDP",
        "noise": ".system.defences.noise:Noise",
        "permute": ".system.defences.permute:Permute",
        "rotate": ".system.defences.rotate:Rotate",
        "scale": ".system.defences.scale:Scale",
        "secret-head": ".system.defences.secret_head:SecretHead",
    },
    group="sidelight.defences",
)

__all__ = ["DEFENCES", "Defence"]
