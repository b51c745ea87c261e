"""All devices' roles on a server: each with an area of its own, brought in when its device is there."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..backbone import Backbone
from ..cache.store import ENDED, Area, Store
from ..defences.defence import Budget, PrivateSteps
from ..errors import SidelightError, UsageError
from ..protocols import PROTOCOLS
from ..protocols.agreed import Agreed, Hosted, SideAgreed, SplitAgreed
from ..protocols.side_training import SideTraining
from ..roles import SERVER, ResumableServer
from ..side_network import SideShape
from .resident import NotJoined, Resident
from .runs import Place, Run, Seat

SILENT = 1800.0
"""Seconds after which a device that sends nothing is taken to be gone, where its run does not outlive it."""


class Full(SidelightError):
    """A server that takes no more devices for now."""


class House:
    """Devices' roles by the devices' names."""

    def __init__(self, store: Store, backbone: Backbone | None, most: int) -> None:
        """`most`: devices whose roles are held in memory at a time."""
        self._store, self._backbone, self._most = store, backbone, most
        self._inside: dict[str, Resident] = {}
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    def join(self, device: str, agreed: Agreed, place: Place | None = None) -> Resident:
        """Let a device in with what it asks for; raises UsageError where that cannot be, or is not what was agreed."""
        with self._lock:
            before, asked = self._before(device), described(agreed)
            if before and before != asked and _outlives(before["protocol"]):
                raise UsageError(
                    "this device has agreed on another training with this server, or another --out has its name; let "
                    "it be forgotten first (`sidelight forget`), or give another --name"
                )
            if place is not None:
                return self._seated(device, agreed, place)
            if not _outlives(agreed.protocol) or self._seat(device) is not None:
                self._drop(device)  # what does not outlive a device's process begins anew
            resident = self._built(device, agreed)
            if before != asked:
                try:
                    self._store.area(device).record(asked)
                except SidelightError:
                    self._drop(device)  # who joins next may ask for something else
                    raise
            return resident

    def of(self, device: str) -> Resident:
        """A device's role, entered: the caller leaves it; raises NotJoined."""
        with self._lock:
            if device not in self._inside:
                about = self._before(device)
                if not about or not _outlives(about["protocol"]):
                    raise NotJoined("the server has no run of this device, or no longer; join it, from the beginning")
                self._built(device, recalled(about))
            self._inside[device].enter()
            return self._inside[device]

    def leave(self, device: str) -> None:
        """Drop a device's role and its area, without trace."""
        with self._lock:
            self._drop(device)
            self._store.remove(device)

    def _before(self, device: str) -> dict[str, Any]:
        """What was agreed on with a device; empty where nothing was."""
        return told(self._store.area(device)) if device in self._store.names else {}

    def _built(self, device: str, agreed: Agreed) -> Resident:
        if device not in self._inside:
            hosted = self._hosted(agreed)
            if hosted.devices:
                raise UsageError(f"{agreed.protocol} is trained by several devices together; name a run and a party")
            self._make_room()
            self._inside[device] = Resident(device, hosted.roles[SERVER], self._store.area(device))
        return self._inside[device]

    def _hosted(self, agreed: Agreed) -> Hosted:
        if agreed.protocol not in PROTOCOLS:
            raise UsageError(
                f"the server knows no protocol of that name; ask for one of {', '.join(sorted(PROTOCOLS))}"
            )
        return PROTOCOLS[agreed.protocol].hosted(agreed, self._backbone)

    # --- runs of several devices -----------------------------------------------------------------------------------

    def _seated(self, device: str, agreed: Agreed, place: Place) -> Resident:
        """A device in its place of a run, which is begun where there is none, or nobody else is in it any more."""
        self._runs = {name: run for name, run in self._runs.items() if not run.over}
        run = self._runs.get(place.run)
        if run is None or not run.goes_on_without(device):
            hosted = self._hosted(agreed)
            if not hosted.devices:
                raise UsageError(f"{agreed.protocol} is one device's own; name no run and no party")
            run = Run(agreed, hosted)
        if run.agreed != agreed:
            raise UsageError(
                "the run of that name was begun with other settings, other classes or another secret; give the same, "
                "or another name"
            )
        if device not in self._inside:
            self._make_room()
        seat = run.seat(device, place.party)
        if self._seat(device) is not seat:
            self._drop(device)
        self._runs[place.run] = run
        self._inside[device] = Resident(device, seat, None, run.together)
        return self._inside[device]

    def _seat(self, device: str) -> Seat | None:
        resident = self._inside.get(device)
        return resident.role if resident is not None and isinstance(resident.role, Seat) else None

    def _drop(self, device: str) -> None:
        """Take a device's role out of memory, and the device out of the run that it is in."""
        if seat := self._seat(device):
            seat.leave()
        if resident := self._inside.pop(device, None):
            resident.end()

    def _make_room(self) -> None:
        """Drop the role that was used longest ago and can be brought in again, or is of no more use."""
        if len(self._inside) < self._most:
            return
        idle = [r for r in self._inside.values() if not r.busy and _may_go(r)]
        if not idle:
            raise Full(f"the server holds {self._most} devices already; try again later")
        self._drop(min(idle, key=lambda r: r.used).device)


def _may_go(resident: Resident) -> bool:
    """Whether nothing is lost with a role: it can be brought in again, its run is over, or its device is gone."""
    role = resident.role
    over = isinstance(role, Seat) and role.left
    return isinstance(role, ResumableServer) or over or time.monotonic() - resident.used > SILENT


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
