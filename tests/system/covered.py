"""Runs and states behind defences of activations, for the tests of what crosses of them."""

from __future__ import annotations

import torch

from sidelight.system.defences import Defence
from sidelight.system.defences.cover import Cover
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.randomness import Streams

from ..contracts.micro import WIDTH, Micro, Run, make_scene, record
from ..contracts.planted import made

BLOCKS = 3
STATES = 4 * torch.randn(500, BLOCKS, WIDTH, generator=torch.Generator().manual_seed(3))
STREAMS = Streams("the secret seed")


def cover(*defences: Defence) -> Cover:
    return Cover(defences, BLOCKS, WIDTH, STREAMS)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def run_of(micro: Micro, *defences: Defence, epochs: int = 1) -> Run:
    protocol = made("pae", defences=defences, side=SideTraining(8, epochs, batch=12, learning_rate=2e-2))
    return record(protocol, make_scene(micro.backbone("opt"), protocol=protocol))


def crossed(run: Run, kind: str = "activations") -> dict[str, torch.Tensor]:
    return dict(zip(*run.view().rows(kind, kind), strict=True))
