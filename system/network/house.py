"""All devices' roles on a server: each with an area of its own, brought in when its device is there."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..backbone import Backbone
from ..cache.store import ENDED, Area, Store
from ..defences.defence import Budget, PrivateSteps
from ..errors import SidelightError, UsageError
from ..protocols import PROTOCOLS
from ..protocols.agreed import Agreed, SideAgreed, SplitAgreed
from ..protocols.side_training import SideTraining
from ..roles import ResumableServer
from ..side_network import SideShape
from .resident import Resident


class NotJoined(SidelightError):
    """A device that has agreed on nothing yet, or whose run the server no longer has."""


class Full(SidelightError):
    """A server that takes no more devices for now."""


class House:
    """Devices' roles by the devices' names."""

    def __init__(self, store: Store, backbone: Backbone | None, most: int) -> None:
        """`most`: devices whose roles are held in memory at a time."""
        self._store, self._backbone, self._most = store, backbone, most
        self._inside: dict[str, Resident] = {}
        self._lock = threading.Lock()

    def join(self, device: str, agreed: Agreed) -> Resident:
        """Let a device in with what it asks for; raises UsageError where that cannot be, or is not what was agreed."""
        with self._lock:
            area = self._store.area(device)
            before, asked = told(area), described(agreed)
            if before and before != asked and _outlives(before["protocol"]):
                raise UsageError(
                    "this device has agreed on another training with this server; let it be forgotten first, or go on "
                    "with the same settings"
                )
            if not _outlives(agreed.protocol):
                self._inside.pop(device, None)  # what does not outlive a device's process begins anew
            resident = self._built(device, agreed)
            if before != asked:
                try:
                    area.record(asked)
                except SidelightError:
                    del self._inside[device]  # who joins next may ask for something else
                    raise
            return resident

    def of(self, device: str) -> Resident:
        """A device's role; raises NotJoined."""
        with self._lock:
            if device in self._inside:
                return self._inside[device]
            about = told(self._store.area(device)) if device in self._store.names else {}
            if not about or not _outlives(about["protocol"]):
                raise NotJoined("the server has no run of this device, or no longer; join it, from the beginning")
            return self._built(device, recalled(about))

    def leave(self, device: str) -> None:
        """Drop a device's role and its area, without trace."""
        with self._lock:
            self._inside.pop(device, None)
            self._store.remove(device)

    def _built(self, device: str, agreed: Agreed) -> Resident:
        if agreed.protocol not in PROTOCOLS:
            raise UsageError(
                f"the server knows no protocol of that name; ask for one of {', '.join(sorted(PROTOCOLS))}"
            )
        if device not in self._inside:
            self._make_room()
            role = PROTOCOLS[agreed.protocol].host(agreed, self._backbone)
            self._inside[device] = Resident(device, role, self._store.area(device))
        return self._inside[device]

    def _make_room(self) -> None:
        """Drop the role that was used longest ago and can be brought in again."""
        if len(self._inside) < self._most:
            return
        idle = [r for r in self._inside.values() if isinstance(r.role, ResumableServer) and not r.busy]
        if not idle:
            raise Full(f"the server holds {self._most} devices already; try again later")
        self._inside.pop(min(idle, key=lambda r: r.used).device)


def _outlives(protocol: str) -> bool:
    return protocol in PROTOCOLS and PROTOCOLS[protocol].resumable


def told(area: Area) -> dict[str, Any]:
    """What was agreed on with an area's device; empty before."""
    return {name: value for name, value in area.about.items() if name != ENDED}


def described(agreed: Agreed) -> dict[str, Any]:
    """As JSON has it."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(agreed)))
    return {name: value for name, value in found.items() if value is not None}


def recalled(about: Mapping[str, Any]) -> Agreed:
    """What `described` described."""
    side = about.get("side")
    split = about.get("split")
    return Agreed(about["protocol"], about["seed"], _side(side) if side else None, _split(split) if split else None)


def _side(side: Mapping[str, Any]) -> SideAgreed:
    private = side["private"]
    steps = None if private is None else PrivateSteps(**{**private, "promised": Budget(**private["promised"])})
    made = {"shape": SideShape(**side["shape"]), "training": SideTraining(**side["training"]), "private": steps}
    return SideAgreed(**{**side, **made})


def _split(split: Mapping[str, Any]) -> SplitAgreed:
    return SplitAgreed(split["backbone"], tuple(split["classes"]), split["settings"])
