"""Attacks on a recording that is there already, judged by its truth and compiled like an audit's.

It is one run of one victim. What an audit knows because it made the run itself is unknown here, and said to be.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ...attacks import ATTACKS
from ...system import files
from ...system.progress import Progress
from ..cells import cell as store
from ..cells.cell import Scored
from ..cells.fields import common, repeated
from ..cells.metrics import METRICS, metrics_of
from ..compiling.results import compile_results
from ..digest import SCHEMA
from ..executors import own_cores
from ..executors.cores import Cores
from ..planning import home
from ..planning.naming import COMMAND, Request
from ..planning.plan import Plan
from ..runs.recording import LIBRARIES
from ..transcripts import about
from ..transcripts.threat import taken
from ..voting import make_composites
from .filing import SUITE, filed, settle, suite_of
from .reading import Folders, Given, read


def judge_given(at: Folders, out: Path, attacks: Sequence[str], progress: Progress) -> bool:
    """Attack, score and compile, or go on where that was broken off; True where no attack failed."""
    started = time.monotonic()
    torch.set_num_threads(1)
    names = tuple(ATTACKS[name].name for name in attacks)  # an unknown one is refused before anything is written
    private = [out.resolve(), at.truth.resolve()]
    with (
        home.held(out),
        progress,
        Cores(own_cores()).at_work(out, private, progress) as crew,  # before anything private is read
    ):
        given = read(at)
        plan = settle(at, given, Request(suite_of(given, names), "", "", out))
        files.write_text(out / COMMAND, shlex.join(command(at, names)) + "\n")
        plan.layout.save(out)
        run = filed(at, given, plan)
        says = describe(at, given, plan, run, crew.machine)
        row = repeated(says)
        _leave_out(given, plan, run, row)
        crew.attack(plan, _asked(given, plan), row, progress)
        shutil.rmtree(out / "scratch", ignore_errors=True)
        make_composites(out, plan.layout, plan.backbone, row)
        whole = compile_results(out)
        files.write_json(out / "audit.json", {**says, "seconds": round(time.monotonic() - started, 1)})
    return whole


def _asked(given: Given, plan: Plan) -> list[store.Cell]:
    return [cell for cell in plan.cells.values() if cell.attack.goal not in given.told.unscored]


def _leave_out(given: Given, plan: Plan, run: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Say of attacks that the truth cannot judge why not."""
    root = plan.request.out / "cells"
    for cell in plan.cells.values():
        reason = given.told.unscored.get(cell.attack.goal)
        if reason and store.finished(root, cell) is None:
            store.store(root, cell, common(cell, run, row), Scored("not_applicable", reason))


def command(at: Folders, attacks: Sequence[str]) -> list[str]:
    """What repeats it all, given an `--out`."""
    asked = ["--attack", *attacks] if len(attacks) == 1 else []
    return ["sidelight", "attack", str(at.view), "--public", str(at.public), "--truth", str(at.truth), *asked]


def describe(
    at: Folders, given: Given, plan: Plan, run: Mapping[str, Any], machine: Mapping[str, Any]
) -> dict[str, Any]:
    """audit.json: what a report says about the whole, and what nobody told."""
    backbone = given.backbone
    model: dict[str, Any] = {"name": "not told", "digest": ""}
    if backbone is not None:
        model = {"name": backbone.name, "digest": backbone.digest, "blocks": len(backbone.blocks)}
        model |= {"width": backbone.width, "vocabulary": backbone.vocabulary}
        model["parameters"] = sum(p.numel() for p in backbone.model.parameters())
    open_ = taken(given.checked.known.facts)
    rows = {"rows": len(given.told.truth.rows), "classes": len(given.public.labels)}
    goals = {cell.attack.goal for cell in plan.cells.values()}
    return {
        "schema": SCHEMA,
        "suite": SUITE,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "victims": 1,
        "attacker_seeds": 1,
        "identity": plan.identity,
        "backbone": model,
        "data": {
            "name": "a recording",
            "digest": at.digest,
            **rows,
            "victim_train": run["samples"],
            "auxiliary": len(given.public.auxiliary),
            "notices": [*about.unknown(run), *open_, *plan.notices],
        },
        "versions": {
            **{name: version(name) for name in LIBRARIES},
            **ATTACKS.origins(cell.attack.name for cell in plan.cells.values()),
            **METRICS.origins(name for goal in goals for name in metrics_of(goal)),
        },
        "machine": dict(machine),
    }
