"""The variants of every protocol that the contract suite runs, small enough for a test.

A protocol is covered by an entry in VARIANTS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from sidelight.system.backbone import TINY
from sidelight.system.defences.activation_noise import ActivationNoise
from sidelight.system.defences.code import Code
from sidelight.system.defences.decoy import Decoy
from sidelight.system.defences.dp_side import DPSide
from sidelight.system.defences.label_dp import LabelDP
from sidelight.system.defences.layers import Layers
from sidelight.system.defences.noise import Noise
from sidelight.system.defences.permute import Permute
from sidelight.system.defences.project import Project
from sidelight.system.defences.quantise import Quantise
from sidelight.system.defences.rotate import Rotate
from sidelight.system.defences.rotate_activations import RotateActivations
from sidelight.system.defences.round_backbone import RoundBackbone
from sidelight.system.defences.scale import Scale
from sidelight.system.defences.secret_head import SecretHead
from sidelight.system.protocols import PROTOCOLS, Protocol, Scene
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.settings import named

from .elsewhere import FORM, adapter
from .micro import Micro, Run, make_scene, record

SEED = "the secret seed"
SIDE = SideTraining(bottleneck=8, epochs=30, batch=12, learning_rate=2e-2)
SIDE_EACH_EPOCH = SideTraining(bottleneck=8, epochs=12, batch=12, learning_rate=2e-2)
SIDE_LANGUAGE = SideTraining(bottleneck=32, epochs=100, batch=4, learning_rate=5e-3)
LORA = LoraTraining(rank=2, epochs=6, batch=12, learning_rate=2e-2)
FULL = LoraTraining(full=True, epochs=6, batch=12, learning_rate=5e-3)
LEARNED = 0.75
"""Training accuracy that counts as learned; six balanced classes give 1/6 without learning."""


def made(name: str, settings: Mapping[str, Any]) -> Protocol:
    """A protocol by name; which settings it has, only itself knows."""
    protocol: Callable[..., Protocol] = PROTOCOLS[name]
    return protocol(**settings)


DEALT = ("depths", "backbones", "speeds")
"""Settings of which each device has one."""


@dataclass(frozen=True)
class Variant:
    """A protocol with settings small enough for a test, and the backbone it runs on."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    family: str = "opt"
    task: str = ""
    """Of the adapter that was tuned elsewhere, where there is one: it is made when the protocol is."""

    def protocol(self) -> Protocol:
        if self.task:
            return made(self.name, {**self.settings, "adapter": str(adapter(self.task, self.family))})
        return made(self.name, self.settings)

    def short(self) -> Variant:
        """The variant with two passes over the data: enough for what does not depend on learning."""
        few = {n: replace(s, epochs=2) for n, s in self.settings.items() if isinstance(s, SideTraining | LoraTraining)}
        return replace(self, settings={**self.settings, **few})

    def __str__(self) -> str:
        plain = [str(v) for v in self.settings.values() if isinstance(v, str | int | bool)]
        plain += ["full" for v in self.settings.values() if isinstance(v, LoraTraining) and v.full]
        plain += [f"{n} {'-'.join(map(str, v))}" for n, v in self.settings.items() if n in DEALT]
        plain += [f"{v.devices} devices" for v in self.settings.values() if isinstance(v, Fleet)]
        defences = [named(d.name, d.settings()) for d in self.settings.get("defences", ())]
        return "-".join([self.name, *filter(None, [self.task]), *plain, *defences, self.family])


def variants(name: str, training: Mapping[str, Any], *settings: Mapping[str, Any], **on: str) -> list[Variant]:
    return [Variant(name, {**training, **each}, **on) for each in settings]


DEFENDED = (
    (Permute(),),
    (Rotate(), Scale()),
    (Scale(spread=2.0, per_sample=True),),
    (SecretHead(), Rotate()),
    (Decoy(),),
    (LabelDP(epsilon=6.0),),
    (Noise(epsilon=60.0),),
    (ActivationNoise(ratio=0.02), Noise(epsilon=60.0)),
    (Quantise(bits=2),),
    (RotateActivations(), Rotate()),
    (Layers(count=1, which="first"),),
    (Project(width=16),),
    (Layers(count=2), Project(width=24), RotateActivations(), Quantise(bits=4)),
    (RoundBackbone(bits=4),),
    (DPSide(ratio=0.05),),
)
CODES = (Code(width=32, words=1), Code(width=4, words=2, share=False))

VARIANTS = [
    *variants("local", {"lora": LORA, "side": SIDE}, {}, {"method": "side"}),
    *variants("local", {"side": SIDE}, {"method": "side", "difference": "logit"}, family="llama"),
    *variants("local", {"lora": LORA}, {"selector": "mean"}, family="llama"),
    *variants("pae", {"side": SIDE}, {}, {"difference": "logit"}, {"selector": "mean"}, {"prompt": ""}),
    *variants("pae", {"side": SIDE}, {"head": "linear"}, {"head": "linear", "defences": (SecretHead(),)}),
    *variants("pae", {"side": SIDE}, *({"precision": precision} for precision in ("fp16", "bf16", "int8", "int4"))),
    *variants("pae", {"side": SIDE}, {}, {"difference": "logit"}, family="llama"),
    *variants("pae", {"side": SIDE}, *({"defences": defences} for defences in DEFENDED)),
    *variants("pae", {"side": SIDE, "difference": "logit"}, *({"defences": (code,)} for code in CODES)),
    *variants("pae_lm", {"side": SIDE_LANGUAGE}, {"entries": 8}, {"entries": 10_000}, {"precision": "int8"}),
    *variants("pae_lm", {"side": SIDE_LANGUAGE}, {"entries": 1, "precision": "fp16"}, family="llama"),
    *variants(
        "mobillm", {"side": SIDE_EACH_EPOCH}, *({"precision": p} for p in ("fp32", "fp16", "bf16", "int8", "int4"))
    ),
    *variants("mobillm", {"side": SIDE_EACH_EPOCH}, {"defences": (LabelDP(epsilon=6.0),)}),
    *variants("mobillm", {"side": SIDE_EACH_EPOCH}, {"selector": "mean"}, family="llama"),
    *variants(
        "fedmobillm",
        {"side": SIDE, "fleet": Fleet(2)},
        {},
        {"label_site": "server", "depths": (3, 2)},
    ),
    *variants(
        "fedmobillm",
        {"side": SIDE, "fleet": Fleet(3, 0.5)},
        {"depths": (3, 2), "width": 24, "speeds": (1.0, 0.3)},
        {"depths": (0, 3), "backbones": ("", TINY), "difference": "logit", "at_once": False},
        {"label_site": "server", "defences": (LabelDP(epsilon=6.0),)},
        {"precision": "int8", "defences": (SecretHead(), Rotate())},
    ),
    *variants(
        "fedmobillm", {"side": SIDE, "fleet": Fleet(2), "depths": (1, 2)}, {"label_site": "server"}, family="llama"
    ),
    *variants("released", {}, {}, {"access": "answers"}, task="SEQ_CLS"),
    *variants("released", {"form": FORM}, {}, task="CAUSAL_LM"),
    *variants("released", {}, {}, family="llama", task="SEQ_CLS"),
    *variants("split", {"lora": LORA}, {}, {"cut": 2}, {"precision": "int8"}, {"bottom": "trainable"}),
    *variants("split", {"lora": LORA, "bottom": "trainable"}, *({"precision": p} for p in ("fp16", "bf16", "int4"))),
    *variants("split", {"lora": LORA, "cut": 1}, {}, {"bottom": "trainable"}, family="llama"),
    *variants("splitfed", {"lora": LORA, "fleet": Fleet(3)}, {}, {"version": "v2"}, {"every": 2}, {"bottom": "frozen"}),
    *variants(
        "splitfed", {"lora": LORA, "fleet": Fleet(3, 0.5)}, {"base": "replicated"}, {"version": "v2", "every": 1}
    ),
    *variants("splitlora", {"lora": LORA, "fleet": Fleet(2)}, {"every": 5}),
    *variants("mesfl", {"lora": LORA, "fleet": Fleet(3)}, {}, {"cuts": (1, 2), "every": 2}),
    *variants("mesfl", {"lora": LORA, "cuts": (1,)}, {"fleet": Fleet(2)}, family="llama"),
    *variants(
        "mesfl", {"lora": LORA, "fleet": Fleet(3)}, {"assign": "link", "profiles": ("phone-low", "jetson"), "every": 4}
    ),
    *variants("fedlora", {"lora": LORA, "fleet": Fleet(3)}, {}, {"every": 1}),
    *variants("fedlora", {"lora": FULL, "fleet": Fleet(2, 0.5)}, {}, family="llama"),
    *variants("ushape", {"lora": LORA}, {}, {"bottom": "trainable"}, {"bottom": "trainable", "precision": "int8"}),
    *variants("split", {"lora": LORA, "bottom": "trainable"}, {"fleet": Fleet(devices=3)}),
    *variants("split", {"lora": FULL, "bottom": "trainable"}, {}),
    *variants("ushape", {"lora": FULL, "bottom": "trainable"}, {}, family="llama"),
    *variants("ushape", {"lora": LORA}, {"fleet": Fleet(devices=2, alpha=0.5)}),
    *variants("ushape", {"lora": LORA, "cut": 1}, {"bottom": "trainable"}, family="llama"),
]

every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=str)


class Runs:
    """Runs made when first asked for, shared by the tests that only read them."""

    def __init__(self, micro: Micro) -> None:
        self._micro = micro
        self._made: dict[str, Run] = {}

    def of(self, variant: Variant) -> Run:
        if str(variant) not in self._made:
            self._made[str(variant)] = record(variant.protocol(), self.scene(variant))
        return self._made[str(variant)]

    def short(self, variant: Variant) -> Run:
        """Two passes over the data."""
        name = f"{variant}, short"
        if name not in self._made:
            self._made[name] = self.afresh(variant, SEED)
        return self._made[name]

    def afresh(self, variant: Variant, seed: str) -> Run:
        """Two passes over the data, made anew."""
        return record(variant.short().protocol(), self.scene(variant, seed))

    def scene(self, variant: Variant, seed: str = SEED) -> Scene:
        return make_scene(self._micro.backbone(variant.family), seed, variant.protocol())
