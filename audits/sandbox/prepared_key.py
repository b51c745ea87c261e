"""What names a preparation: a digest of all that can change it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ...attacks.attack import Attack
from ...system.protocols.alignment import other_backbone
from ...system.public import Public
from ..digest import digest
from .readable import PACKAGE, module_paths

ROOMS = ("attacks", "system")
"""Whose code a preparation runs."""


def reference(attack: Attack) -> str:
    """Where an attack's class stands: "module:Class"."""
    return f"{type(attack).__module__}:{type(attack).__qualname__}"


def preparer(attack: Attack) -> type[Attack]:
    """The class by whose name preparations are kept: the attack's own, unless it inherits one that is shared."""
    made = next(one for one in type(attack).__mro__ if "prepare" in vars(one))
    return made if attack.shares_preparation else type(attack)


def studied_by(attack: Attack, settings: Mapping[str, Any], public: Public) -> tuple[Mapping[str, Any], Public]:
    """The settings and the public knowledge on which what an attack prepares depends."""
    if attack.studies is None:
        return settings, public
    kept = {name: value for name, value in settings.items() if name in attack.studies.settings}
    return kept, public.only(attack.studies.items, attack.studies.facts)


def prepared_key(attack: Attack, settings: Mapping[str, Any], public: Public, backbone: str) -> str:
    """The attack's name and a digest of its code, its settings and what it studies; the backbone counts by its weights.

    `public` is restricted already to what the attack studies.
    """
    own = preparer(attack)
    # attacks that inherit a preparation share it
    called = attack.name if own is type(attack) else own.__name__.lower()
    name = re.sub(r"[^\w-]", "_", called)  # a plug-in's name becomes a folder's
    told = {
        "attack": f"{own.__module__}:{own.__qualname__}",
        "code": code_version(own.__module__),
        "settings": dict(settings),
        "facts": dict(public.facts),
        "labels": public.labels,
        "backbone": None if public.backbone is None else backbone,
        "relative": None if public.relative in (None, public.backbone) else other_backbone(public.relative).digest,
        "head": None if public.head is None else {name: _tensor_digest(t) for name, t in public.head.items()},
        "auxiliary": list(map(astuple, public.auxiliary)),
        "candidates": public.candidates,
        "challenge": list(map(astuple, public.challenge)),
        "queries": list(map(astuple, public.queries)),
        "targets": public.targets,
        "known": list(map(astuple, public.known)),
        "priors": public.priors,
        "keys": {name: _tensor_digest(t) for name, t in (public.keys or {}).items()},
    }
    return f"{name}-{digest(told)}"


@cache
def code_version(module: str) -> str:
    """Digest of torch's version and of the sources that a preparation runs: these rooms and a plug-in's package."""
    rooms = [Path(path) for room in ROOMS for path in import_module(f"{PACKAGE}.{room}").__path__]
    return _sources_digest(version("torch"), (*rooms, *module_paths(module)))


@cache
def plugged_code(module: str) -> str:
    """Digest of the sources of a plug-in's package; of a module of ours that of nothing."""
    return _sources_digest("", module_paths(module))


def _sources_digest(first: str, tops: Sequence[Path]) -> str:
    state = hashlib.sha256(first.encode())
    for top in tops:
        for source in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            state.update(f"{source.relative_to(top.parent)}\0".encode())
            state.update(hashlib.sha256(source.read_bytes()).digest())
    return state.hexdigest()[:12]


def _tensor_digest(tensor: torch.Tensor) -> str:
    state = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}\0".encode())
    state.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()
