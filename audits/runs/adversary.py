"""What of a run the threat model's adversary sees: which parties it is, and whose messages are attacked.

Devices whose messages come about alike, from one layer of one backbone, are attacked together. Where a protocol has
devices of several kinds, the threat model names one, and the view holds what those of its kind sent and received.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from ...system.data import Sample
from ...system.errors import ProtocolError, UsageError
from ...system.message import Message, Party
from ...system.packets import EAVESDROPPER, PACKET
from ...system.protocols import Protocol, Scene
from ...system.roles import DEVICE, Role
from ...system.view import HELD
from ..suites.threat import Threat

Held = Mapping[str, Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class Adversary:
    """One party, or several in collusion, against some devices of a run."""

    parties: frozenset[Party]
    devices: tuple[Party, ...]
    """Those whose messages are attacked."""
    others: frozenset[Party]
    """Devices of other kinds."""

    @property
    def outside(self) -> bool:
        """Whether it only sees encrypted connections."""
        return EAVESDROPPER in self.parties

    def samples(self, scene: Scene) -> frozenset[str]:
        """Ids of the rows that are attacked."""
        return frozenset(sample.id for device in self.devices for sample in scene.samples[device])

    def rows(self, scene: Scene, all_rows: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """Of all rows those that are attacked, in their order."""
        asked = self.samples(scene)
        return tuple(row for row in all_rows if row.id in asked)

    def listening(self, keep: Callable[[Message], None]) -> Callable[[Message], None]:
        """Keep what is attacked; whoever keeps it leaves out what the parties did not see."""

        def heard(message: Message) -> None:
            if not {message.sender, message.receiver} & self.others:
                keep(message)

        return heard

    def held(self, roles: Mapping[Party, Role]) -> Held:
        """What the parties hold at the end."""
        return {
            name: item for party in sorted(self.parties & roles.keys()) for name, item in roles[party].held().items()
        }

    def shows(self, protocol: Protocol) -> frozenset[str]:
        """What the protocol says that the parties receive and hold."""
        return shown_to(self.parties, protocol)

    def check_declared(self, protocol: Protocol, received: set[str], held: Held) -> None:
        """Refuse a protocol that shows more than it says: its cells would read `not exposed`."""
        if undeclared := sorted({*received, *(HELD + name for name in held)} - self.shows(protocol)):
            parties = " and ".join(sorted(self.parties))
            raise ProtocolError(
                f"{protocol.name} shows the {parties} {', '.join(undeclared)} without declaring it in shows"
            )


def shown_to(parties: frozenset[Party], protocol: Protocol) -> frozenset[str]:
    """What a protocol says that parties receive and hold; outside, only packets, wherever anything crosses."""
    crossing = frozenset({PACKET}) if protocol.shows else frozenset()
    shows = {**protocol.shows, EAVESDROPPER: crossing}
    return frozenset(kind for party in parties for kind in shows.get(party, ()))


def adversary_of(threat: Threat, protocol: Protocol, scene: Scene) -> Adversary:
    """The adversary of a run; raises UsageError where no device, or more than one kind of device, is meant."""
    kinds = {device: protocol.facts(scene, device) for device in scene.samples}
    if threat.device and threat.device not in kinds:
        raise UsageError(f"device of threat is {threat.device!r}; give one of {', '.join(kinds)}")
    named = kinds[threat.device or DEVICE]
    alike = tuple(device for device, facts in kinds.items() if facts == named)
    if not threat.device and len(alike) < len(kinds):
        other = next(device for device in kinds if device not in alike)
        raise UsageError(
            f"{protocol.name} has devices of several kinds here, and {other} is not like {DEVICE}; "
            "say in threat.device whose messages are attacked"
        )
    if named.get("backbone", scene.backbone.digest) != scene.backbone.digest:
        raise UsageError(
            f"{threat.device or DEVICE} runs another backbone than the run's own; attack it in a run on that backbone"
        )
    return Adversary(threat.parties, alike, frozenset(kinds) - frozenset(alike))
