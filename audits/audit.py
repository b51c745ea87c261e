"""The audit: every run recorded, every attack run apart, every cell judged, stored and compiled."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..attacks import ATTACKS
from ..system import files
from ..system.defences import DEFENCES
from ..system.errors import SidelightError
from ..system.progress import Progress
from ..system.protocols import PROTOCOLS
from .cells.fields import repeated
from .cells.metrics import METRICS, metrics_of
from .compiling.results import compile_results
from .digest import SCHEMA
from .executors.executor import Crew, Executor
from .gates.checking import Found
from .gates.gate import Gate
from .planning import home
from .planning.naming import Request
from .planning.plan import Plan, settle
from .runs.parts import NAMES
from .runs.recording import LIBRARIES, RunOrder
from .voting import make_composites

RECORDED = "recorded"


class Ended(NamedTuple):
    """What an audit came to."""

    whole: bool
    """Whether every cell was scored or does not apply, and no audited promise is broken."""
    found: Found | None
    """What a leakage budget came to."""


def run_audit(request: Request, executor: Executor, progress: Progress, gate: Gate | None = None) -> Ended:
    """Run or resume an audit, and hold a budget against it before anybody else can change it."""
    started = time.monotonic()
    torch.set_num_threads(1)  # recorders and workers have the other cores
    private = [request.out.resolve(), *([Path(request.data).resolve()] if Path(request.data).exists() else [])]
    with (
        home.held(request.out),
        progress,
        executor.at_work(request.out, private, progress) as crew,  # before any private data are read
    ):
        plan = settle(request, progress.say)
        plan.layout.save(request.out)
        failures = record_runs(plan, crew, progress)
        about = describe(plan, crew.machine)
        cells = [cell for cell in plan.cells.values() if cell.run.name not in failures]
        began = time.process_time()
        attacked = crew.attack(plan, cells, repeated(about), progress)
        shutil.rmtree(request.out / "scratch", ignore_errors=True)  # guesses hold what was reconstructed
        make_composites(request.out, plan.layout, plan.backbone, repeated(about))
        whole = compile_results(request.out)
        harness = time.process_time() - began + attacked.elsewhere - attacked.twins
        spent = {"seconds": time.monotonic() - started, "attack_seconds": attacked.attacks}
        spent |= {"twin_seconds": attacked.twins, "harness_seconds": harness}
        files.write_json(request.out / "audit.json", {**about, **{name: round(s, 1) for name, s in spent.items()}})
        return Ended(whole, None if gate is None else gate(request.out))


def record_runs(plan: Plan, crew: Crew, progress: Progress) -> dict[str, str]:
    """Record what is not yet there; returns the runs that failed, with their reasons."""
    for order in plan.orders.values():
        refuse_mixed(Path(order.root), order.identity)
    missing = [order for order in plan.orders.values() if not (Path(order.root) / "run.json").exists()]
    failures: dict[str, str] = {}

    def done(order: RunOrder, reason: str | None) -> None:
        said = f"recorded {order.label}" if reason is None else f"FAILED to record {order.label}: {reason}"
        progress.say(said)
        progress.advance(RECORDED)
        if reason is not None:
            failures[order.key] = reason

    if missing:
        progress.begin(RECORDED, len(missing))
        crew.record(plan, longest_first(missing), done)
    files.write_json(plan.request.out / "unrecorded.json", failures)
    return failures


def longest_first(orders: Sequence[RunOrder]) -> list[RunOrder]:
    """Runs that train the backbone first, then a suite's later ones, so that no core is idle at the end."""

    def leaves_backbone(order: RunOrder) -> bool:
        return all(field.name != "lora" for field in fields(PROTOCOLS[order.protocol]))

    later_first = list(reversed(orders))
    return sorted(later_first, key=leaves_backbone)


def refuse_mixed(run: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a recorded run whose name stands for other settings than it was made with."""
    path = run / "run.json"
    if path.exists() and files.read_json(path)["identity"] != identity:
        raise SidelightError(f"runs/{run.name} was made with other settings than its name stands for; remove it")


def describe(plan: Plan, machine: Mapping[str, Any]) -> dict[str, Any]:
    """audit.json: what a report says about the whole audit; no seed, no text, no path."""
    backbone, dataset, suite = plan.backbone, plan.dataset, plan.request.suite
    return {
        "schema": SCHEMA,
        "suite": suite.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "victims": suite.victims,
        "attacker_seeds": suite.attacker_seeds,
        "identity": plan.identity,
        "backbone": {
            "name": backbone.name,
            "digest": backbone.digest,
            "parameters": sum(p.numel() for p in backbone.model.parameters()),
            "blocks": len(backbone.blocks),
            "width": backbone.width,
            "vocabulary": backbone.vocabulary,
        },
        "data": {
            "name": dataset.name,
            "digest": dataset.digest,
            "rows": len(dataset.rows),
            "classes": len(dataset.labels),
            **{name: plan.dealt[name] for name in NAMES},
            "random_labels": suite.data.random_labels,
            "notices": [*dataset.notices, *plan.notices],
        },
        "versions": {**{name: version(name) for name in LIBRARIES}, **plug_ins(plan)},
        "machine": dict(machine),
    }


def plug_ins(plan: Plan) -> dict[str, str]:
    """What of the audit other people's packages brought, each with its package and version."""
    orders, attacks = plan.orders.values(), [cell.attack for cell in plan.cells.values()]
    return {
        **PROTOCOLS.origins(order.protocol for order in orders),
        **DEFENCES.origins(name for order in orders for name in order.defences),
        **ATTACKS.origins(attack.name for attack in attacks),
        **METRICS.origins(name for goal in {attack.goal for attack in attacks} for name in metrics_of(goal)),
    }
