"""What a device may do to its labels, differences and activations before it sends them, one defence in each file."""

from __future__ import annotations

from ..registry import Registry
from .defence import Defence

DEFENCES: Registry[type[Defence]] = Registry(
    "defence",
    {
        "activation-noise": ".system.defences.activation_noise:ActivationNoise",
        "code": ".system.defences.code:Code",
        "decoy": ".system.defences.decoy:Decoy",
        "dp-side": ".system.defences.dp_side:DPSide",
        "label-dp": ".system.defences.label_dp:LabelDP",
        "layers": ".system.defences.layers:Layers",
        "noise": ".system.defences.noise:Noise",
        "permute": ".system.defences.permute:Permute",
        "project": ".system.defences.project:Project",
        "quantise": ".system.defences.quantise:Quantise",
        "rotate": ".system.defences.rotate:Rotate",
        "rotate-activations": ".system.defences.rotate_activations:RotateActivations",
        "round-backbone": ".system.defences.round_backbone:RoundBackbone",
        "scale": ".system.defences.scale:Scale",
        "secret-head": ".system.defences.secret_head:SecretHead",
    },
    group="sidelight.defences",
)

__all__ = ["DEFENCES", "Defence"]
