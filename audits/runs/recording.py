"""Records one run: the protocol trains over a wire, and view, public knowledge and truth go to folders of their own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ...system import files
from ...system.backbone import Backbone
from ...system.building import build_protocol
from ...system.data import Sample, Split, with_reassigned_labels
from ...system.message import Party
from ...system.protocols import Protocol, Scene
from ...system.protocols.deviating import DeviatingServer
from ...system.public import Challenge, Example, Public, Query
from ...system.randomness import Streams
from ...system.roles import SERVER, Device, Role
from ...system.settings import build
from ...system.truth import TrueText, Truth, true_texts
from ...system.view import ViewWriter
from ...system.wire import Traffic, Wire
from ..privacy.auditing import audited
from ..statistics import exact_count
from ..suites.suite import Labels
from ..suites.threat import Threat
from .adversary import Adversary, adversary_of, shown_to
from .drawing import draw, draw_candidates, draw_challenge, draw_known, groups, owners
from .eavesdropping import Tap
from .parts import load_parts
from .plugged import plugged
from .training import held_labels, predictions, retrained, work

LIBRARIES = ("sidelight", "torch", "transformers", "peft", "safetensors", "scikit-learn", "scipy", "numpy")


@dataclass(frozen=True)
class RunOrder:
    """All that a recorder needs; JSON, because it crosses to another process."""

    key: str
    identity: Mapping[str, Any]
    """What the key digests; stored beside the run, so that a resumed audit can compare."""
    label: str
    victim: int
    protocol: str
    settings: Mapping[str, Any]
    defences: Mapping[str, Mapping[str, Any]]
    """By name, their settings, in the order in which they act."""
    threat: Mapping[str, Any]
    labels: Labels
    backbone: str
    """Packaged name or local folder."""
    parts: str
    """File of the victim's parts."""
    seed: str
    """The victim's secret seed."""
    texts: int
    """Rows whose texts are asked for."""
    root: str
    """The run's folder, which must not exist yet."""
    retrained: bool = False
    """Whether the victim is trained a second time: no number of the run changes, and one is added."""


def record(order: RunOrder, backbone: Backbone) -> None:
    """Run a protocol and write view/, public/, truth/ and run.json, all or nothing."""
    started = time.monotonic()
    torch.set_num_threads(1)  # more threads round differently: one seed, one result on every machine
    streams = Streams(order.seed)
    parts = victims_parts(order, streams)
    threat = build(Threat, order.threat, "threat")
    protocol = build_protocol(order.protocol, order.settings, order.defences)
    questions = tuple(row.text for row in parts.auxiliary)
    scene = Scene(backbone, parts.labels, protocol.parties(parts.victim_train, streams), streams, questions=questions)
    with files.whole(Path(order.root)) as root:
        adversary = adversary_of(threat, protocol, scene)
        rows = adversary.rows(scene, parts.victim_train)
        roles = roles_of(protocol, scene, threat)
        writer = ViewWriter(root / "view", adversary.parties)
        tap = Tap(writer, scene.samples) if adversary.outside else None
        wire = Wire(roles, adversary.listening(tap or writer))
        spent = work(roles, wire) / len(parts.victim_train)
        facts = public_facts(protocol, scene, threat, adversary)
        held = adversary.held(roles)
        adversary.check_declared(protocol, writer.received, held)
        writer.close(held, facts)
        drawn = draw_challenge(order.labels, rows, parts.non_member, streams) if threat.challenge != "none" else {}
        rows = tap.numbered(rows) if tap else rows
        public = public_knowledge(protocol, scene, threat, facts, parts, order.backbone)
        with_drawn(public, order.texts, threat, rows, drawn, parts, streams).save(root / "public")
        device = roles[adversary.devices[0]]
        outputs = predictions(device, parts.victim_test)
        tuned = "tuned" in held and not protocol.trains_on_device
        cached = held_labels(device, rows, parts.labels) if tuned else None
        true = true_texts(backbone, rows, protocol.longest)
        truth_of(true, parts.victim_test, outputs, scene, drawn).save(root / "truth")
        about = summary(order, protocol, threat, wire.traffic, tuple(scene.samples), parts, outputs)
        releases = max(role.releases for role in roles.values() if isinstance(role, Device))
        price = {"seconds": round(time.monotonic() - started, 2), "device_seconds_per_sample": spent}
        price |= audited(protocol, scene, releases, streams.of("privacy audits"))
        incidents = {party: found for party, role in roles.items() if (found := dict(role.incidents()))}
        again = retrained(protocol, scene, adversary, parts, outputs) if order.retrained and protocol.trains else None
        more = {"cached": cached, "incidents": incidents, "retrained": again}
        files.write_json(root / "run.json", {**about, **price, **more})


def roles_of(protocol: Protocol, scene: Scene, threat: Threat) -> Mapping[Party, Role]:
    """The parties of a run, the server a deviating one where the threat model says so."""
    roles = protocol.roles(scene)
    if not threat.claimed_losses:
        return roles
    return {**roles, SERVER: DeviatingServer(roles[SERVER], threat.claimed_losses)}


def victims_parts(order: RunOrder, streams: Streams) -> Split:
    """The victim's split, its training labels reassigned where the run is such a control."""
    parts = load_parts(Path(order.parts))
    if order.labels == "own":
        return parts
    return replace(parts, victim_train=with_reassigned_labels(parts.victim_train, streams.numpy("reassigned labels")))


def public_facts(protocol: Protocol, scene: Scene, threat: Threat, adversary: Adversary) -> dict[str, Any]:
    """What the manifest of the view and public knowledge say: settings and versions, nothing of the victim."""
    return {
        "protocol": protocol.name,
        "source": protocol.source,
        **protocol.public_facts(scene, adversary.devices[0]),
        **({"resent": True} if threat.claimed_losses else {}),
        "threat": threat.shown,
        "versions": {**{name: version(name) for name in LIBRARIES}, **plugged([protocol, *protocol.defences])},
    }


def public_knowledge(
    protocol: Protocol,
    scene: Scene,
    threat: Threat,
    facts: Mapping[str, Any],
    parts: Split,
    backbone: str,
) -> Public:
    """Public knowledge under a threat model."""
    head = protocol.public_head(scene) if threat.backbone == "public" else None
    rows = parts.auxiliary if threat.auxiliary == "labelled" else ()
    return Public(
        facts=facts,
        labels=parts.labels,
        backbone=backbone if threat.backbone == "public" else None,
        head=None if head is None else {"weight": head},
        auxiliary=tuple(Example(row.text, row.label) for row in rows),
        queries=tuple(Query(row.id, row.text) for row in parts.victim_test),
        priors=frequencies(parts),
        relative=backbone if threat.backbone == "public" else threat.relative or None,
        keys=protocol.keys(scene) or None,
    )


def with_drawn(
    public: Public,
    texts: int,
    threat: Threat,
    rows: Sequence[Sample],
    drawn: Mapping[str, Sample],
    parts: Split,
    streams: Streams,
) -> Public:
    """Public knowledge with what the auditor draws: whose texts are asked, which labels are known, who may be members.

    Of rows under the ids by which the adversary knows them.
    """
    return replace(
        public,
        targets=draw(rows, texts, streams),
        known=draw_known(rows, parts.labels, threat.known_labels, streams),
        candidates=draw_candidates(rows, parts.non_member, streams) if threat.candidates == "mixed" else (),
        challenge=tuple(Challenge(name, row.text, row.label) for name, row in drawn.items()),
    )


def frequencies(parts: Split) -> tuple[float, ...]:
    """How frequent each class is among the rows that are not the victim's; empty where there are none."""
    counts = Counter(row.label for row in (*parts.auxiliary, *parts.non_member))
    return tuple(counts[label] / counts.total() for label in parts.labels) if counts else ()


def truth_of(
    rows: tuple[TrueText, ...],
    queries: Sequence[Sample],
    outputs: torch.Tensor,
    scene: Scene,
    drawn: Mapping[str, Sample],
) -> Truth:
    """The truth of a run: about its rows, the queries and the challenge."""
    ids, labels = tuple(one.id for one in queries), tuple(one.label for one in queries)
    return Truth(rows, ids, outputs, labels, owners(scene, drawn), groups(drawn))


def summary(
    order: RunOrder,
    protocol: Protocol,
    threat: Threat,
    traffic: Traffic,
    devices: Sequence[Party],
    parts: Split,
    outputs: torch.Tensor,
) -> dict[str, Any]:
    """run.json: what the report says about a run, nothing private."""
    truth = torch.tensor([parts.labels.index(sample.label) for sample in parts.victim_test])
    common = torch.tensor([parts.labels.index(s.label) for s in parts.victim_train]).mode().values
    samples = len(parts.victim_train)
    kinds = [
        {"kind": k, "sender": s, "receiver": r, "messages": traffic.messages[k, s, r], "bytes": size}
        for (k, s, r), size in traffic.bytes.items()
    ]
    return {
        "run": order.key,
        "identity": dict(order.identity),
        "protocol": protocol.name,
        "labels": order.labels,
        "label": order.label,
        "title": protocol.title,
        "source": protocol.source,
        "paper_version": ", ".join(protocol.claims) or None,
        # what papers claim is about their server
        "claims": {name: list(said) for name, said in protocol.claims.items() if SERVER in threat.parties},
        "departures": list(protocol.departures),
        "settings": protocol.shown,
        "defences": {one.name: one.settings() for one in protocol.defences},
        "threat": threat.shown,
        "shows": sorted(shown_to(threat.parties, protocol)),
        "others": {party: sorted(kinds) for party, kinds in protocol.shows.items() if party not in threat.parties},
        "traffic": kinds,
        "parts": Path(order.parts).name,
        "samples": samples,
        "uplink_bytes_per_sample": sum(map(traffic.sent_by, devices)) / samples,
        "downlink_bytes_per_sample": sum(map(traffic.received_by, devices)) / samples,
        "utility": exact_count(protocol.utility, (outputs.argmax(1) == truth).tolist()),
        "majority": exact_count(protocol.utility, (truth == common).tolist()),
        "victim": order.victim,
    }
