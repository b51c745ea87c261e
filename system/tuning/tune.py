"""Fine-tuning with a server's help, from an order to the exported model; begun again, it goes on where it broke off."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import NamedTuple

from .. import files
from ..cache import Cache
from ..progress import Progress
from ..protocols.once import OnceDevice
from ..protocols.pae_device import PAEDevice
from ..randomness import Streams, fresh_seed
from ..roles import Device
from ..wire import Wire
from .account import Account
from .card import card
from .export import export
from .findings import Findings, read_findings
from .home import Home
from .order import Order, Prepared, prepared
from .outcome import outcome, summary
from .phases import Phases, Trained

OpenWire = Callable[[Prepared, Trained], AbstractContextManager[Wire]]
"""Opens the wire to the server, which is told what is trained; calls back with batches trained on and all batches."""
OpenCache = Callable[[Path], AbstractContextManager[Cache]]
"""Opens what a device keeps in a folder."""


class Surroundings(NamedTuple):
    """What a tuning reaches out to."""

    open_wire: OpenWire
    open_cache: OpenCache
    progress: Progress


def tune(order: Order, around: Surroundings) -> bool:
    """Carry out an order; False where that was done before, and then nothing is changed."""
    home = Home(order.out)
    seed = home.seed or fresh_seed()
    ready = prepared(order, seed)
    audit = None if order.findings is None else read_findings(order.findings, ready.identity)
    with home.held():
        home.begin(ready.identity, seed)
        if home.summary.exists():
            return False
        _carry_out(order, ready, home, around, audit)
    return True


def _carry_out(order: Order, ready: Prepared, home: Home, around: Surroundings, audit: Findings | None) -> None:
    account = Account(home.account, ready.party)
    device = _trained(ready, home, around, account)
    found = outcome(ready, device)
    account.add_time()
    exported = isinstance(device, PAEDevice)
    if isinstance(device, PAEDevice):
        text = card(ready, device.tuned, found, account.costs, audit)
        export(home.model, device.tuned, ready, order.backbone, text)
    files.write_json(home.summary, summary(ready, found, account.costs, exported))


def _trained(ready: Prepared, home: Home, around: Surroundings, account: Account) -> Device:
    """The device at the end of its work."""
    device = ready.protocol.device(ready.scene, ready.party)
    with around.open_cache(home.kept) as cache, Phases(around.progress, ready) as phases:
        if isinstance(device, OnceDevice):
            device.keep_in(cache)
        if isinstance(device, PAEDevice):
            # what was sent is sent again as it was; noise on other samples must be none that was drawn before
            device.draw_from(Streams(fresh_seed()))
        with around.open_wire(ready, phases.trained) as wire:
            _work(device, wire, account, phases)
    return device


def _work(device: Device, wire: Wire, account: Account, phases: Phases) -> None:
    """To its end; what it has cost is written down after every exchange."""
    try:
        for _ in device.work(wire):
            account.add(wire.traffic, device.releases)
            phases.look(wire.traffic)
    except BaseException:
        with suppress(OSError):  # what broke the work off is what the user has to hear
            account.add(wire.traffic, device.releases)
        raise
    account.add(wire.traffic, device.releases)
