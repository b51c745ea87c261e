"""The audit: data and backbone once, every run recorded, every attack run apart, every cell stored and compiled."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..attacks import ATTACKS
from ..system import files
from ..system.backbone import TINY, Backbone, load_backbone, local_folder
from ..system.data import Dataset, Sizes, load, refuse_trained_on, split
from ..system.errors import UsageError
from ..system.protocols import PROTOCOLS
from ..system.public import load_public
from ..system.randomness import Streams, fresh_seed
from . import cells as cell_store
from .applies import outside
from .cells import Cell
from .identity import SCHEMA, RunIdentity, cell_key, digest, named
from .parts import NAMES, save_parts
from .recorder import record_all
from .recording import LIBRARIES, RunOrder
from .results import compile_results, set_floors
from .settings import build
from .suite import RunPlan, Suite
from .threat import Threat
from .workers import Broken, Done, Limits, Task, Workers

Say = Callable[[str], None]
"""Told each step in one line: progress, never private."""


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    suite: Suite
    backbone: str
    data: str
    out: Path
    seed: str | None = None
    processes: int = 2


@dataclass(frozen=True)
class Plan:
    """Everything that is settled before the first run."""

    request: Request
    backbone: Backbone
    folder: Path
    """The backbone's local folder."""
    dataset: Dataset
    seed: str
    orders: tuple[RunOrder, ...]
    runs: Mapping[str, RunPlan]
    """By run key, the part of the suite that it comes from."""


def run_audit(request: Request, say: Say) -> bool:
    """Run or resume an audit; True where every cell was scored or found not to apply."""
    started = time.monotonic()
    private = [request.out.resolve(), *([Path(request.data).resolve()] if Path(request.data).exists() else [])]
    with Workers(private=private) as workers:  # started before any private data are read
        plan = prepare(request, say)
        failures = record_runs(plan, say)
        keys = [order.key for order in plan.orders if order.key not in failures]
        set_floors(request.out, keys)
        about = describe(plan, workers.sandbox)
        planned = list(plan_cells(plan, keys))
        run_cells(plan, workers, planned, about, say)
        results = compile_results(request.out, [cell.key for cell in planned])
        seconds = round(time.monotonic() - started, 1)
        files.write_json(request.out / "audit.json", {**about, "seconds": seconds, "failed_runs": failures})
    return not failures and all(row["status"] != "failed" for row in results)


def prepare(request: Request, say: Say) -> Plan:
    """Read and check everything; nothing is written before all of it is right."""
    build(Threat, request.suite.threat, "threat")
    folder = local_folder(request.backbone)
    backbone = load_backbone(request.backbone)
    say(f"backbone {backbone.name}: {len(backbone.blocks)} blocks, width {backbone.width}")
    if folder == local_folder(TINY) and Path(request.data).is_file():
        refuse_trained_on(Path(request.data))
    seed = _seed(request)
    sizes = request.suite.data
    dataset = load(request.data, Streams(seed).numpy("data"), sizes.max_classes, sizes.generated)
    say(f"data {dataset.name}: {len(dataset.rows)} rows, {len(dataset.labels)} classes")
    _check_same_audit(request, backbone, dataset)
    request.out.mkdir(parents=True, exist_ok=True, mode=files.PRIVATE)
    _sweep(request.out)
    (request.out / "truth").mkdir(exist_ok=True, mode=files.PRIVATE)
    files.write_text(request.out / "truth" / "seed", seed + "\n")
    kept = folder or _kept_copy(backbone, request.out)
    orders, runs = _orders(request, backbone, kept, dataset, seed)
    return Plan(request, backbone, kept, dataset, seed, orders, runs)


def _orders(
    request: Request, backbone: Backbone, folder: Path, dataset: Dataset, seed: str
) -> tuple[tuple[RunOrder, ...], dict[str, RunPlan]]:
    suite = request.suite
    sizes = {name: getattr(suite.data, name) for name in NAMES}
    orders, plans = [], {}
    for victim in range(suite.victims):
        streams = Streams(seed).of(f"victim {victim}")
        parts = split(dataset, Sizes(**sizes), streams.numpy("split"))
        path = request.out / "truth" / f"parts-{victim}.jsonl"
        save_parts(parts, path)
        for run in suite.runs:
            settings = _run_settings(suite, run)
            protocol = build(PROTOCOLS[run.protocol], settings, run.protocol)
            identity = RunIdentity(
                protocol=run.protocol,
                settings=protocol.settings(),
                default=PROTOCOLS[run.protocol](**_shared(suite, run)).settings(),
                threat=asdict(build(Threat, suite.threat, "threat")),
                backbone=backbone.digest,
                data=dataset.digest,
                sizes={**sizes, "texts": suite.data.texts},
                victim=victim,
                seed=hashlib.sha256(streams.seed.encode()).hexdigest(),
            )
            plans[identity.key] = run
            order = RunOrder(
                key=identity.key,
                label=identity.label,
                victim=victim,
                protocol=run.protocol,
                settings=settings,
                threat=suite.threat,
                backbone=TINY if folder == local_folder(TINY) else str(folder),
                parts=str(path),
                seed=streams.of("runs").seed,
                texts=suite.data.texts,
                root=str(request.out / "runs" / identity.key),
            )
            orders.append(order)
    return tuple(orders), plans


def _run_settings(suite: Suite, run: RunPlan) -> dict[str, Any]:
    return {**_shared(suite, run), **run.settings}


def _shared(suite: Suite, run: RunPlan) -> dict[str, Any]:
    """The suite's settings for every protocol, as far as this one has them."""
    known = PROTOCOLS[run.protocol].__dataclass_fields__
    return {name: value for name, value in suite.protocol.items() if name in known}


def record_runs(plan: Plan, say: Say) -> dict[str, str]:
    """Record what is not yet there; returns the runs that failed, with their reasons."""
    missing = [order for order in plan.orders if not (Path(order.root) / "run.json").exists()]
    failures: dict[str, str] = {}

    def done(order: RunOrder, reason: str | None) -> None:
        say(f"recorded {order.label}" if reason is None else f"FAILED to record {order.label}: {reason}")
        if reason is not None:
            failures[order.key] = reason

    if missing:
        record_all(missing, plan.request.processes, done)
    return failures


def plan_cells(plan: Plan, keys: Sequence[str]) -> Iterator[Cell]:
    """Every attack with each of its settings on every recorded run."""
    for key in keys:
        run = plan.runs[key]
        for name in run.attacks or sorted(ATTACKS):
            for settings in run.vary.get(name, [{}]):
                attack = build(ATTACKS[name], settings, name)
                whole = asdict(attack)  # type: ignore[call-overload]
                yield Cell(cell_key(key, name, whole), plan.request.out / "runs" / key, attack, whole)


def run_cells(plan: Plan, workers: Workers, planned: Sequence[Cell], about: Mapping[str, Any], say: Say) -> None:
    """Run what is not yet scored, two attacks at a time, and store each cell as soon as it is judged."""
    root = plan.request.out / "cells"
    root.mkdir(exist_ok=True, mode=files.PRIVATE)
    fields: dict[str, dict[str, Any]] = {}
    waiting: list[tuple[Cell, str]] = []
    for cell in planned:
        if cell_store.finished(root, cell.key) is not None:
            continue
        run = files.read_json(cell.run / "run.json")
        fields[cell.key] = cell_store.common(cell, run, _row_fields(about))
        public = load_public(cell.run / "public")
        if why := outside(cell.attack, frozenset(run["shows"]), public.items, public.facts):
            result = cell_store.unscored(fields[cell.key], why.status, why.reason)
            cell_store.store(root, cell, cell_store.Scored([result], {}, []))
            continue
        twins = ["", "shuffled"] if cell_store.needs_shuffled(cell.attack.goal) else [""]
        waiting += [(cell, twin) for twin in twins]
    outcomes: dict[tuple[str, str], Done | Broken] = {}
    tasks = [_task(plan, cell, twin) for cell, twin in waiting]
    for at, outcome in workers.run_many(tasks, plan.request.processes):
        cell, twin = waiting[at]
        outcomes[cell.key, twin] = outcome
        wanted = [t for c, t in waiting if c.key == cell.key]
        if all((cell.key, t) in outcomes for t in wanted):
            mine, shuffled = outcomes[cell.key, ""], outcomes.get((cell.key, "shuffled"))
            scored = cell_store.judge(cell, fields[cell.key], mine, shuffled, plan.backbone)
            cell_store.store(root, cell, scored)
            say(_line(cell, fields[cell.key], scored.results[0]))


def _task(plan: Plan, cell: Cell, twin: str) -> tuple[Task, Limits]:
    limits = plan.request.suite.limits
    kind = type(cell.attack)
    task = Task(
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
    return task, Limits(limits.seconds, int(limits.memory_gib * (1 << 30)))


def _line(cell: Cell, fields: Mapping[str, Any], result: Mapping[str, Any]) -> str:
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
        "identity": _identity(plan.request, backbone, dataset),
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
            **{name: getattr(suite.data, name) for name in NAMES},
            "notices": list(dataset.notices),
        },
        "versions": {name: version(name) for name in LIBRARIES},
        "machine": {"cores": os.cpu_count(), "sandbox": sandbox},
    }


def _row_fields(about: Mapping[str, Any]) -> dict[str, Any]:
    """What every result row repeats of the audit."""
    return {
        "backbone": f"{about['backbone']['name']} {about['backbone']['digest']}",
        "data": f"{about['data']['name']} {about['data']['digest']}",
        "sandbox": about["machine"]["sandbox"],
        "versions": about["versions"],
    }


def _identity(request: Request, backbone: Backbone, dataset: Dataset) -> str:
    return digest({"suite": request.suite.model_dump(), "backbone": backbone.digest, "data": dataset.digest})


def _check_same_audit(request: Request, backbone: Backbone, dataset: Dataset) -> None:
    path = request.out / "audit.json"
    if path.exists() and files.read_json(path)["identity"] != _identity(request, backbone, dataset):
        raise UsageError(f"{request.out} holds another audit; give another --out, or the same suite, data and backbone")


def _seed(request: Request) -> str:
    """The seed given, the one that an interrupted audit in the same folder had, or a fresh one."""
    path = request.out / "truth" / "seed"
    stored = path.read_text(encoding="utf-8").strip() if path.exists() else None
    if request.seed is not None and stored is not None and request.seed != stored:
        raise UsageError(f"{request.out} was begun with another seed; give another --out or leave --seed away")
    return request.seed or stored or fresh_seed()


def _sweep(out: Path) -> None:
    """Remove what a killed audit left half-written."""
    for pattern in ("runs/*.partial-*", "cells/*.partial-*", "runs/*.old-*", "cells/*.old-*", "scratch"):
        for path in out.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def _kept_copy(backbone: Backbone, out: Path) -> Path:
    """A hub backbone as a local folder, which workers can read without the hub's cache."""
    folder = out / "backbone"
    if not (folder / "config.json").exists():
        with files.whole(folder) as partial:
            backbone.model.save_pretrained(partial)
            backbone.tokenizer.save_pretrained(partial)
    return folder
