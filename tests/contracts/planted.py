"""For every attack a view with the leak that it looks for, and the truth behind it.

A new attack is covered by one entry in PLANTED.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import Attack, Guess
from sidelight.attacks.workbench import Workbench
from sidelight.system.defences.secret_head import SecretHead
from sidelight.system.federation import FEDERATION
from sidelight.system.message import Message, Party
from sidelight.system.protocols import PROTOCOLS, Protocol
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.public import Public, Query
from sidelight.system.roles import DEVICE, SERVER
from sidelight.system.view import View

from .micro import LABELS, QUERIES, VICTIM, Micro, Run, make_scene, record

STRUCTURE = frozenset({"lengths"})
"""Tensors that say how others are packed; noise leaves them as they are."""


@dataclass(frozen=True)
class Truth:
    """What the auditor knows: by sample id the class and the tokens, and the device's scores of the queries."""

    labels: Mapping[str, int]
    tokens: Mapping[str, tuple[int, ...]]
    outputs: torch.Tensor | None = None
    """(queries, classes)"""
    members: Mapping[str, bool] | None = None
    """By the challenge's ids."""


@dataclass(frozen=True)
class Planted:
    """A leak: what the attack is given, and the truth."""

    view: View
    public: Public
    truth: Truth
    protocol: Protocol | None
    """What the view was recorded from; None for a view made by hand."""
    attack: Attack


def attacked(planted: Planted, view: View | None = None) -> Guess:
    """The guess of a planted attack, on its own view or another."""
    prepared = planted.attack.prepare(planted.public, torch.Generator().manual_seed(0), Workbench())
    return planted.attack.run(view or planted.view, planted.public, prepared, torch.Generator().manual_seed(1))


def from_run(micro: Micro, attack: Attack, protocol: Protocol, family: str = "opt") -> Planted:
    """A leak in a real protocol's run on a micro backbone."""
    return planted_in(record(protocol, make_scene(micro.backbone(family), protocol=protocol)), micro, attack, family)


def planted_in(run: Run, micro: Micro, attack: Attack, family: str = "opt", party: Party = SERVER) -> Planted:
    """A leak in a run that is there already, in what a party saw of it."""
    outputs = run.device.predict([sample.text for sample in QUERIES])
    truth = Truth(run.labels(), run.tokens(), outputs)
    return Planted(run.view(party), run.public(micro.folders[family]), truth, run.protocol, attack)


def made(name: str, **settings: Any) -> Protocol:
    """A protocol by name; which settings it has, only itself knows."""
    protocol: Callable[..., Protocol] = PROTOCOLS[name]
    return protocol(**settings)


def pae(**settings: Any) -> Protocol:
    return made("pae", side=SideTraining(bottleneck=8, epochs=20, batch=12, learning_rate=2e-2), **settings)


def mobillm(**settings: Any) -> Protocol:
    return made("mobillm", side=SideTraining(bottleneck=8, epochs=4, batch=12, learning_rate=2e-2), **settings)


def split(learning_rate: float = 2e-2, **settings: Any) -> Protocol:
    return made("split", lora=LoraTraining(rank=2, epochs=2, batch=12, learning_rate=learning_rate), **settings)


def _cleartext(micro: Micro) -> Planted:
    """Token ids in clear, end to end with their lengths: no protocol here sends any."""
    backbone = micro.backbone("opt")
    tokens = {sample.id: tuple(backbone.token_ids(sample.text)) for sample in VICTIM}
    messages = [_tokens(VICTIM[start : start + 12], tokens) for start in range(0, len(VICTIM), 12)]
    view = View(frozenset({SERVER}), messages, {}, {})
    public = Public({}, LABELS, str(micro.folders["opt"]), queries=tuple(Query(s.id, s.text) for s in QUERIES))
    return Planted(view, public, Truth({}, tokens), None, ATTACKS["cleartext"]())


def _averaged(micro: Micro) -> Planted:
    """All that devices tune, averaged by a federation server."""
    protocol = made("fedlora", lora=LoraTraining(rank=2, epochs=2, batch=12, learning_rate=2e-2))
    run = record(protocol, make_scene(micro.backbone("opt"), protocol=protocol))
    return planted_in(run, micro, ATTACKS["average"](), party=FEDERATION)


def _tokens(rows: Sequence[Any], tokens: Mapping[str, tuple[int, ...]]) -> Message:
    packed = {
        "tokens": torch.tensor([token for row in rows for token in tokens[row.id]]),
        "lengths": torch.tensor([len(tokens[row.id]) for row in rows]),
    }
    return Message("tokens", DEVICE, SERVER, sample_ids=tuple(row.id for row in rows), tensors=packed)


PLANTED: dict[str, Callable[[Micro], Planted]] = {
    "addback": lambda micro: from_run(micro, ATTACKS["addback"](), pae(difference="logit")),
    "average": _averaged,
    "cleartext": _cleartext,
    "match": lambda micro: from_run(micro, ATTACKS["match"](), mobillm()),
    "plaintext": lambda micro: from_run(micro, ATTACKS["plaintext"](), mobillm()),
    "readoff": lambda micro: from_run(micro, ATTACKS["readoff"](), pae()),
    "sign": lambda micro: from_run(micro, ATTACKS["sign"](), pae(head="linear", defences=(SecretHead(),))),
}


def every_leak() -> dict[str, Callable[[Micro], Planted]]:
    """Every planted leak: those above, and those of label attacks in files of their own."""
    from . import (
        leaks_grouped,
        leaks_learned,
        leaks_members,
        leaks_models,
        leaks_released,
        leaks_repeated,
        leaks_sizes,
        leaks_texts,
        leaks_transformed,
    )

    files = (
        leaks_grouped,
        leaks_learned,
        leaks_members,
        leaks_models,
        leaks_released,
        leaks_repeated,
        leaks_sizes,
        leaks_texts,
        leaks_transformed,
    )
    return PLANTED | {name: leak for file in files for name, leak in file.LEAKS.items()}


def plant(name: str, micro: Micro) -> Planted:
    """The planted leak of an attack; fails the test where there is none."""
    found = every_leak()
    if name not in found:
        pytest.fail(f"attack {name!r} has no planted leak: add an entry to PLANTED in tests/contracts/planted.py")
    return found[name](micro)


# --- noise ----------------------------------------------------------------------------------------------------


def noise_for(view: View, seed: int = 0) -> View:
    """The view with every tensor replaced by random values of its shape, type, mean and spread."""
    generator = torch.Generator().manual_seed(seed)
    messages = [replace(m, tensors=_noisy(m.tensors, generator)) for m in view.messages]
    held = {item: _noisy(tensors, generator) for item, tensors in view.held.items()}
    return replace(view, messages=messages, held=held)


def _noisy(tensors: Mapping[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
    return {name: t.clone() if name in STRUCTURE else _noise(t, generator) for name, t in tensors.items()}


def _noise(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if not tensor.is_floating_point():
        return torch.randint(int(tensor.max()) + 1, tensor.shape, generator=generator)
    spread = tensor.std() if tensor.numel() > 1 else tensor.abs().mean()
    return tensor.mean() + spread * torch.randn(tensor.shape, generator=generator)
