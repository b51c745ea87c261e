"""What a run costs each party: memory, processor time and computation, each party measured alone.

A run is made once in a process of its own, and every message is kept as its bytes. Then each party gets a fresh process
in which it alone is built and meets, in order, the very messages that it met in the run; it must send the very bytes
that it sent there, so that what is measured is what was run. Other parties' weights, and on a device the blocks above
its cut, are not in that process while it is measured.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..system.backbone import Backbone, load_backbone
from ..system.data import Split
from ..system.errors import SidelightError, place
from ..system.message import Party
from ..system.partial import Bottom
from ..system.protocols import Protocol, Scene, interleave
from ..system.randomness import Streams
from ..system.roles import Device, Role
from ..system.wire import Listener, Wire
from .memory.resident import mark, peak, resident, steady
from .operations import counter
from .replay import Past, keep, replay


@dataclass(frozen=True)
class Case:
    """A protocol on a backbone and data."""

    protocol: Protocol
    backbone: str
    parts: Split
    seed: str

    def scene(self) -> Scene:
        """Loaded anew: nothing is shared between processes."""
        streams = Streams(self.seed)
        samples = self.protocol.parties(self.parts.victim_train, streams)
        return Scene(load_backbone(self.backbone), self.parts.labels, samples, streams)


@dataclass(frozen=True)
class PartyCost:
    """What one party took: a device until it downloads the tuned model, a server until its last message."""

    peak_bytes: int
    """Most resident memory, above that of the interpreter with its libraries; of weights those that are used."""
    seconds: float
    """Of the processor, one thread."""
    operations: int
    """Floating-point operations of matrix products and attention."""


@dataclass(frozen=True)
class Costs:
    """What a run cost."""

    accuracy: float
    """Of the tuned model on the test rows, by the first device."""
    uplink: float
    """Bytes that devices sent, a training row."""
    downlink: float
    parties: Mapping[Party, PartyCost]


def costs(case: Case, parties: Sequence[Party] = ()) -> Costs:
    """Run a case, then measure each party alone, or some of them."""
    with tempfile.TemporaryDirectory(prefix="sidelight-") as folder:  # mode 0700: messages are private
        messages = Path(folder) / "messages"
        found = forked(partial(_kept, case, messages))
        everyone = found.pop("parties")
        alone = {p: PartyCost(**forked(partial(_alone, case, p, messages))) for p in parties or everyone}
    return Costs(**found, parties=alone)


def forked(job: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """What a job finds, from a process of its own; SidelightError where it fails."""
    context = get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(job, there))
    child.start()
    there.close()
    try:
        found = json.loads(here.recv_bytes())
    except EOFError:
        child.join()
        found = {"error": f"it ended with status {child.exitcode} (-9 may be want of memory)"}
    child.join()
    if "error" in found:
        raise SidelightError(f"a party's own process failed: {found['error']}")
    done: dict[str, Any] = found["done"]
    return done


def _child(job: Callable[[], Mapping[str, Any]], answer: Connection) -> None:
    torch.set_num_threads(1)
    steady()
    try:
        found: dict[str, Any] = {"done": dict(job())}
    except Exception as error:  # whatever it is, the parent has to hear of it
        found = {"error": place(error)}
    answer.send_bytes(json.dumps(found).encode())


# --- the run ---------------------------------------------------------------------------------------------------


def _kept(case: Case, path: Path) -> dict[str, Any]:
    with path.open("wb") as file:
        return run(case, lambda message: keep(file, message))


def run(case: Case, listener: Listener) -> dict[str, Any]:
    """Train, and tell the accuracy, the traffic a row, and who took part."""
    done, rows = trained(case, listener), len(case.parts.victim_train)
    return {
        "accuracy": accuracy(done.first, case.parts),
        "uplink": sum(map(done.wire.traffic.sent_by, done.devices)) / rows,
        "downlink": sum(map(done.wire.traffic.received_by, done.devices)) / rows,
        "parties": list(done.parties),
    }


class Trained(NamedTuple):
    """A case after its run."""

    first: Device
    devices: Sequence[Party]
    parties: Sequence[Party]
    wire: Wire


def trained(case: Case, listener: Listener) -> Trained:
    """Run a case in this process."""
    scene = case.scene()
    roles = case.protocol.roles(scene)
    wire = Wire(roles, listener)
    interleave([role for role in roles.values() if isinstance(role, Device)], wire)
    devices = list(scene.samples)
    first = roles[devices[0]]
    assert isinstance(first, Device)
    return Trained(first, devices, list(roles), wire)


def accuracy(device: Device, parts: Split) -> float:
    """Share of the test rows that a device's tuned model is right about."""
    said = device.predict([sample.text for sample in parts.victim_test]).argmax(1)
    truth = torch.tensor([parts.labels.index(sample.label) for sample in parts.victim_test])
    return float((said == truth).double().mean())


# --- one party alone -------------------------------------------------------------------------------------------


def _alone(case: Case, party: Party, path: Path) -> dict[str, Any]:
    _built(case, party)  # so that libraries that load themselves when they are first needed count as libraries
    before = resident()
    role = _built(case, party)
    resident()  # what building took and nobody needs is given back before the peak is marked
    mark()
    with path.open("rb") as file:
        began = time.process_time()
        replay(role, Past(party, file))
        seconds = time.process_time() - began
    most = peak() - before
    role = _built(case, party)
    with path.open("rb") as file, counter() as counted:
        replay(role, Past(party, file))
    return asdict(PartyCost(most, seconds, counted.get_total_flops()))


def _built(case: Case, party: Party) -> Role:
    """A party with what it needs of the backbone in training."""
    scene = case.scene()
    if party not in scene.samples:
        server = case.protocol.servers(scene)[party]
        scene.backbone.model.to_empty(device="meta")
        return server
    role = case.protocol.device(scene, party)
    own = any(isinstance(part, Bottom) and part.model is not scene.backbone.model for part in vars(role).values())
    unload(scene.backbone, 0 if own else case.protocol.facts(scene, party).get("cut"))
    return role


def unload(backbone: Backbone, cut: int | None) -> None:
    """Drop the weights of the blocks above a cut; where it is 0, a part of the device's own stands in for all."""
    if cut is None:
        return
    tables = [] if cut else [backbone.model.get_input_embeddings(), backbone.model.get_output_embeddings()]
    for part in (*list(backbone.blocks)[cut:], *tables):
        part.to_empty(device="meta")
