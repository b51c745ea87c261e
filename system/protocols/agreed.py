"""What a device and a server agree on before anything is sent: all that a server is built from.

It holds no key, no label and no text; the seed is a secret of the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..defences.defence import PrivateSteps
from ..message import Party
from ..roles import Role
from ..selector import Selector
from ..side_network import SideShape
from .side_training import SideTraining


@dataclass(frozen=True)
class SideAgreed:
    """A side network beside the device's backbone, and how it is trained."""

    shape: SideShape
    training: SideTraining
    private: PrivateSteps | None = None
    """How training keeps examples private; None where it does not."""
    selector: Selector = "mean"
    """Which position is read where all cross."""
    positions: int = 0
    """Of a sample, that cross at most in language modelling; 0 elsewhere."""
    entries: int = 0
    """Of a position's difference, that cross in language modelling; 0 elsewhere."""


@dataclass(frozen=True)
class SplitAgreed:
    """A part of the backbone at the server."""

    backbone: str
    """Digest of the backbone."""
    classes: tuple[str, ...]
    settings: str
    """The protocol's settings, as JSON."""


@dataclass(frozen=True)
class Agreed:
    """Of one run; one of `side` and `split` is there."""

    protocol: str
    seed: str
    """Settles first weights, the order of batches, and the noise of private training."""
    side: SideAgreed | None = None
    split: SplitAgreed | None = None


MOST_DEVICES = 64
"""Of one run at a server on a network: it may hold a part of the backbone for each."""


@dataclass(frozen=True)
class Hosted:
    """What a server runs for an agreement."""

    roles: Mapping[Party, Role]
    devices: tuple[Party, ...] = ()
    """Those who share the run; empty where it is one device's own."""
