"""The ways to fine-tune with a server's help, one in each file."""

from __future__ import annotations

from ..registry import Registry
from .protocol import Protocol, Scene, interleave

PROTOCOLS: Registry[type[Protocol]] = Registry(
    "protocol",
    {
        "fedlora": ".system.protocols.fedlora:FedLora",
        "fedmobillm": ".system.protocols.fedmobillm:FedMobiLLM",
        "local": ".system.protocols.local:Local",
        "mesfl": ".system.protocols.mesfl:MeSFL",
        "mobillm": ".system.protocols.mobillm:MobiLLM",
        "pae": ".system.protocols.pae:PAE",
        "pae_lm": ".system.protocols.pae_lm:PAELM",
        "released": ".system.protocols.released:Released",
        "split": ".system.protocols.split:Split",
        "splitfed": ".system.protocols.splitfed:SplitFed",
        "splitlora": ".system.protocols.splitlora:SplitLoRA",
        "ushape": ".system.protocols.ushape:UShape",
    },
    group="sidelight.protocols",
)

__all__ = ["PROTOCOLS", "Protocol", "Scene", "interleave"]
