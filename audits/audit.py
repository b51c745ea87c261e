"""The audit: every run recorded, every attack run apart, every cell judged, stored and compiled."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..system import files
from ..system.backbone import Backbone
from ..system.errors import place
from ..system.public import load_public
from ..system.randomness import Streams
from . import cells as store
from .applies import outside
from .cells import Cell, Scored
from .identity import SCHEMA, named
from .judging import open_run
from .parts import NAMES
from .plan import Plan, Request, plan_cells, prepare
from .recorder import record_all
from .recording import LIBRARIES, RunOrder
from .results import compile_results, set_floors
from .scoring import PRIMARY
from .workers import Broken, Done, Limits, Task, Workers

Say = Callable[[str], None]
"""Told each step in one line: progress, never private."""


def run_audit(request: Request, say: Say) -> bool:
    """Run or resume an audit; True where every cell was scored or found not to apply."""
    started = time.monotonic()
    torch.set_num_threads(1)  # recorders and workers have the other cores
    private = [request.out.resolve(), *([Path(request.data).resolve()] if Path(request.data).exists() else [])]
    with Workers(private=private) as workers:  # started before any private data are read
        plan = prepare(request, say)
        failures = record_runs(plan, say)
        keys = [order.key for order in plan.orders if order.key not in failures]
        set_floors(request.out, keys)
        about = describe(plan, workers.sandbox)
        planned = list(plan_cells(plan, keys))
        run_cells(plan, workers, planned, about, say)
    shutil.rmtree(request.out / "scratch", ignore_errors=True)  # guesses hold what was reconstructed
    results = compile_results(request.out, [cell.key for cell in planned], unrecorded(plan, failures, about))
    seconds = round(time.monotonic() - started, 1)
    files.write_json(request.out / "audit.json", {**about, "seconds": seconds})
    return all(row["status"] != "failed" for row in results)


def record_runs(plan: Plan, say: Say) -> dict[str, str]:
    """Record what is not yet there; returns the runs that failed, with their reasons."""
    missing = [order for order in plan.orders if not (Path(order.root) / "run.json").exists()]
    failures: dict[str, str] = {}

    def done(order: RunOrder, reason: str | None) -> None:
        say(f"recorded {order.label}" if reason is None else f"FAILED to record {order.label}: {reason}")
        if reason is not None:
            failures[order.key] = reason

    if missing:
        # a suite's later runs tend to be the longer ones: begun first, they leave no core idle at the end
        record_all(missing[::-1], plan.request.processes, done)
    return failures


def unrecorded(plan: Plan, failures: Mapping[str, str], about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A failed row for each run that could not be recorded, so that no report leaves it out."""
    return [
        {
            **dict.fromkeys(store.NO_NUMBERS),
            "schema": SCHEMA,
            "cell": order.key,
            "run": order.key,
            "protocol": order.protocol,
            "label": order.label,
            "attack": "recording",
            "seed": order.victim,
            "status": "failed",
            "reason": failures[order.key],
            **repeated(about),
        }
        for order in plan.orders
        if order.key in failures
    ]


def run_cells(plan: Plan, workers: Workers, planned: Sequence[Cell], about: Mapping[str, Any], say: Say) -> None:
    """Run what is not yet scored, an attack a core at a time, and store each cell as soon as it is judged."""
    root = plan.request.out / "cells"
    root.mkdir(exist_ok=True, mode=files.PRIVATE)
    fields: dict[str, Mapping[str, Any]] = {}
    waiting: list[tuple[Cell, str]] = []
    for cell in planned:
        if store.finished(root, cell.key) is None:
            fields[cell.key] = store.common(cell, files.read_json(cell.run / "run.json"), repeated(about))
            if why := inapplicable(cell, fields[cell.key]):
                store.store(root, cell, why)
            else:
                waiting += [(cell, twin) for twin in store.views(cell.attack.goal)]
    outcomes: dict[str, dict[str, Done | Broken]] = {}
    tasks = [task(plan, cell, twin) for cell, twin in waiting]
    for at, outcome in workers.run_many(tasks, plan.request.processes):
        cell, twin = waiting[at]
        guesses = outcomes.setdefault(cell.key, {})
        guesses[twin] = outcome
        if len(guesses) == len(store.views(cell.attack.goal)):
            scored = judged(cell, fields[cell.key], guesses, plan.backbone)
            store.store(root, cell, scored)
            del outcomes[cell.key]
            say(line(cell, fields[cell.key], scored))


def judged(cell: Cell, fields: Mapping[str, Any], guesses: Mapping[str, Done | Broken], backbone: Backbone) -> Scored:
    """The score of a cell's guesses; whatever goes wrong in scoring it fails this cell and no other."""
    mine = guesses[store.WHOLE]
    try:
        return open_run(cell, fields, backbone)(mine, guesses.get(store.SHUFFLED))
    except Exception as error:  # a scorer meets guesses that nobody foresaw
        return store.unscored(fields, "failed", f"scoring failed: {place(error)}", mine.seconds)


def inapplicable(cell: Cell, fields: Mapping[str, Any]) -> Scored | None:
    """The result of a cell whose attack does not apply to its run or cannot be scored; None where it does and can."""
    run = files.read_json(cell.run / "run.json")
    public = load_public(cell.run / "public")
    if cell.attack.goal not in PRIMARY:
        return store.unscored(fields, "failed", f"the goal {str(cell.attack.goal)!r} has no scorer in this version")
    why = outside(cell.attack, frozenset(run["shows"]), public.items, public.facts)
    return store.unscored(fields, why.status, why.reason) if why else None


def task(plan: Plan, cell: Cell, twin: str) -> tuple[Task, Limits]:
    """What a worker is told: nothing private."""
    limits = plan.request.suite.limits
    kind = type(cell.attack)
    told = Task(
        attack=f"{kind.__module__}:{kind.__qualname__}",
        settings=cell.settings,
        view=cell.run / "view",
        public=cell.run / "public",
        scratch=plan.request.out / "scratch" / f"{cell.key}-{twin or 'view'}",
        # both guesses draw from one stream, so that only the view differs between an attack and its twin
        seed=Streams(plan.seed).of("attacks").integer(cell.key),
        twin=twin,
        readable=(plan.folder,),
    )
    return told, Limits(limits.seconds, int(limits.memory_gib * (1 << 30)))


def line(cell: Cell, fields: Mapping[str, Any], scored: Scored) -> str:
    """A cell's progress line."""
    result = scored.results[0]
    where = f"{fields['label']}: {named(cell.attack.name, cell.changed)}"
    if result["status"] != "scored":
        return f"{result['status'].upper()} {where}: {result['reason']}"
    return f"attacked {where}: {result['metric']} {result['value']:.3f}"


def describe(plan: Plan, sandbox: str) -> dict[str, Any]:
    """audit.json: what a report says about the whole audit; no seed, no text, no path."""
    backbone, dataset, suite = plan.backbone, plan.dataset, plan.request.suite
    return {
        "schema": SCHEMA,
        "suite": suite.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "victims": suite.victims,
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
            "notices": [*dataset.notices, *plan.notices],
        },
        "versions": {name: version(name) for name in LIBRARIES},
        "machine": {"cores": os.cpu_count(), "sandbox": sandbox},
    }


def repeated(about: Mapping[str, Any]) -> dict[str, Any]:
    """What every result row repeats of the audit."""
    return {
        "backbone": f"{about['backbone']['name']} {about['backbone']['digest']}",
        "data": f"{about['data']['name']} {about['data']['digest']}",
        "sandbox": about["machine"]["sandbox"],
        "versions": about["versions"],
    }
