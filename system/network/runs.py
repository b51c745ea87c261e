"""Runs that several devices share: each has a place, and nobody speaks from another's."""

from __future__ import annotations

import time
from typing import NamedTuple

from ..errors import ProtocolError, UsageError
from ..message import Message, Party
from ..protocols.agreed import Agreed, Hosted
from ..roles import Role
from .resident import Together

SILENT = 3600.0
"""Seconds after which a device that says nothing has left a run: its next message comes from a device that is gone."""


class Place(NamedTuple):
    """Which device of which run somebody wants to be."""

    run: str
    party: Party


class Run:
    """The servers of one run, and who sits where."""

    def __init__(self, agreed: Agreed, hosted: Hosted) -> None:
        self.agreed, self.roles, self.parties = agreed, hosted.roles, hosted.devices
        self.together = Together()
        self.seats: dict[Party, Seat] = {}

    def seat(self, device: str, party: Party) -> Seat:
        """A place, where it is free or the device's from which nothing was said yet; UsageError otherwise."""
        own = next((seat for seat in self.seats.values() if seat.device == device), None)
        if own is not None and (own.begun or own.party != party):
            raise UsageError(
                f"this device is {own.party} of the run already, and others are still in it; begin again when it is "
                "over, or all together under another name"
            )
        if party not in self.parties:
            raise UsageError(f"the run has no device of that name; give {self.parties[0]} to {self.parties[-1]}")
        if own is None and party in self.seats:
            raise UsageError(f"another device is {party} of the run; give a party that is free")
        if own is None:
            self.seats[party] = Seat(device, party, self)
        return self.seats[party]

    def goes_on_without(self, device: str) -> bool:
        """Whether somebody else is still in it."""
        return any(not seat.left for seat in self.seats.values() if seat.device != device)

    @property
    def over(self) -> bool:
        """Whether all who came have left."""
        return all(seat.left for seat in self.seats.values())

    def end_if_over(self) -> None:
        """Let the servers go when all have left."""
        if self.over:
            self.roles = {}


class Seat(Role):
    """A device's place: what the device says in its own name reaches the run's servers."""

    def __init__(self, device: str, party: Party, run: Run) -> None:
        """`device`: the name by which the server knows who calls."""
        self.device, self.party, self.run = device, party, run
        self.begun, self.over = False, False
        """Whether it has said anything, and whether it has its model or is forgotten."""
        self._used = time.monotonic()

    @property
    def left(self) -> bool:
        """Whether nothing more is expected of the device."""
        return self.over or time.monotonic() - self._used > SILENT

    def handle(self, message: Message) -> Message:
        if message.sender != self.party:
            raise ProtocolError(f"the caller is {self.party} in its run and speaks as another; send in its own name")
        if not self.run.roles:
            raise UsageError("the run is over; join it anew, all together")
        if message.receiver not in self.run.roles:
            raise ProtocolError(f"the run has no server of that name; send to {' or '.join(sorted(self.run.roles))}")
        self.begun, self._used = True, time.monotonic()
        answer = self.run.roles[message.receiver].handle(message)
        self.over = answer.kind == "tuned"
        self.run.end_if_over()
        return answer

    def leave(self) -> None:
        """Nothing more comes from here."""
        self.over = True
        self.run.end_if_over()
