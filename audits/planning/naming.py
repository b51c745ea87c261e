"""Every run of every victim by name: what it is, which cells it has, what a recorder is told."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...attacks import ATTACKS
from ...system.backbone import TINY, local_folder
from ...system.defences import Defence
from ...system.protocols import Protocol
from ...system.protocols.alignment import other_backbone
from ...system.randomness import Streams
from ...system.settings import build
from ..cells.cell import Cell
from ..cells.metrics import identity_of
from ..digest import digest
from ..runs.plugged import plugged
from ..runs.recording import RunOrder
from ..sandbox.prepared_key import plugged_code
from ..suites.arrange import Planned
from ..suites.suite import DataPlan, RunPlan, Suite
from ..suites.threat import Threat
from .identity import RunIdentity, cell_identity, cell_key

SUITE = "suite.json"
"""The suite as it was read, in the folder of its results."""
COMMAND = "command.txt"
"""What repeats the audit."""


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    suite: Suite
    backbone: str
    data: str
    out: Path
    seed: str | None = None

    @property
    def command(self) -> str:
        """What repeats the audit, given an `--out`: the same suite, data, backbone and draw."""
        given = ["sidelight", "audit", str(self.out / SUITE), "--backbone", self.backbone, "--data", self.data]
        return f'{shlex.join(given)} --seed "$(cat {shlex.quote(str(self.out / "truth" / "seed"))})"'


@dataclass(frozen=True)
class Inputs:
    """What every run of an audit has in common."""

    suite: Suite
    backbone: str
    """Digest of the backbone."""
    data: Mapping[DataPlan, str]
    """Digests of the data as each plan reads them."""
    seed: str


@dataclass(frozen=True)
class Named:
    """A planned run on every victim."""

    planned: Planned
    runs: tuple[RunIdentity, ...]
    curve: str | None
    """The run's name without its sweep, where it is a point of one."""

    @property
    def group(self) -> str:
        """Digest of what its runs have in common."""
        return self.runs[0].group


def name_runs(inputs: Inputs, planned: Sequence[Planned]) -> Iterator[Named]:
    """Every planned run; raises UsageError for a wrong setting before anything is written."""
    for one in planned:
        runs = tuple(name_run(inputs, one.run, victim) for victim in range(inputs.suite.victims))
        yield Named(one, runs, None if one.base is None else name_run(inputs, one.base, 0).label)


def name_run(inputs: Inputs, run: RunPlan, victim: int) -> RunIdentity:
    """One run on one victim."""
    suite, data = inputs.suite, inputs.suite.data_of(run)
    protocol, bare, threat = suite.protocol_of(run), RunPlan(protocol=run.protocol), suite.threat_of(run)
    others = (*protocol.models, *([threat.relative] if threat.relative else []))
    return RunIdentity(
        protocol=run.protocol,
        settings=protocol.shown,
        default=suite.protocol_of(bare).shown,
        threat=threat.shown,
        backbone=inputs.backbone,
        data=inputs.data[data],
        sizes=data.model_dump(),
        victim=victim,
        seed=hashlib.sha256(victim_streams(inputs.seed, victim).seed.encode()).hexdigest(),
        defences={one.name: one.settings() for one in protocol.defences},
        labels=run.labels,
        models=(*(other_backbone(reference).digest for reference in others), *protocol.digests),
        plug_ins=_plug_ins(protocol),
        varied={
            **_changed("data", data, suite.data),
            **_changed("threat", threat, suite.threat_of(bare)),
        },
    )


def _plug_ins(protocol: Protocol) -> dict[str, str]:
    """What of a run other packages brought, each with a digest of its code."""
    parts: list[Protocol | Defence] = [protocol, *protocol.defences]
    return {name: plugged_code(type(one).__module__) for one in parts for name in plugged([one])}


def _changed(table: str, own: DataPlan | Threat, suites: DataPlan | Threat) -> dict[str, Any]:
    """What differs from the suite's own, by dotted name."""
    shown = own.shown if isinstance(own, Threat) else vars(own)
    return {f"{table}.{name}": shown[name] for name, value in vars(own).items() if value != vars(suites)[name]}


def victim_streams(seed: str, victim: int) -> Streams:
    """A victim's own streams of randomness."""
    return Streams(seed).of(f"victim {victim}")


def run_streams(seed: str, victim: int) -> Streams:
    """The streams of a victim's runs."""
    return victim_streams(seed, victim).of("runs")


def order_run(request: Request, folder: Path, seed: str, run: RunPlan, name: RunIdentity) -> RunOrder:
    """What a recorder is told of a run; `folder` is the backbone's."""
    data = request.suite.data_of(run)
    return RunOrder(
        key=name.key,
        identity=name.own,
        label=name.label,
        victim=name.victim,
        protocol=name.protocol,
        settings=request.suite.protocol_of(run).settings(),
        defences=name.defences,
        threat=asdict(request.suite.threat_of(run)),
        labels=name.labels,
        backbone=TINY if folder == local_folder(TINY) else str(folder),
        parts=str(parts_path(request, data, name.victim)),
        seed=run_streams(seed, name.victim).seed,
        texts=data.texts,
        root=str(request.out / "runs" / name.key),
        retrained=request.suite.retrained,
    )


def cells_of(request: Request, run: RunPlan, key: str) -> Iterator[Cell]:
    """Every attack with each of its settings on one recorded run, once for each of the attacker's seeds."""
    for name, settings in run.attacked():
        attack = build(ATTACKS[name], settings, name)
        for repeat in range(request.suite.attacker_seeds):
            identity = cell_identity(
                key, name, type(attack).__module__, asdict(attack), repeat, identity_of(attack.goal)
            )
            yield Cell(cell_key(identity), request.out / "runs" / key, attack, identity)


def parts_path(request: Request, plan: DataPlan, victim: int) -> Path:
    """Where a victim's parts lie: with the truth."""
    other = "" if plan == request.suite.data else f"-{digest(plan.model_dump())}"
    return request.out / "truth" / f"parts-{victim}{other}.jsonl"
