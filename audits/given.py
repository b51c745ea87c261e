"""A recording that is there already, attacked and judged: the same folder of results as an audit's.

It is one run of one victim. What an audit knows because it made the run itself is unknown here, and said to be.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..attacks import ATTACKS
from ..attacks.attack import Goal
from ..system import files
from ..system.backbone import TINY, Backbone, load_backbone, local_folder
from ..system.data import Dataset
from ..system.errors import UsageError
from ..system.progress import Progress
from ..system.public import Public, load_public
from ..system.randomness import Streams
from ..system.view import load_view
from .cells import cell as store
from .cells.cell import Scored
from .cells.fields import common, repeated
from .compiling.results import compile_results
from .digest import SCHEMA, digest
from .executors import own_cores
from .executors.cores import Cores
from .planning import home
from .planning.identity import RunIdentity
from .planning.naming import COMMAND, Named, Request
from .planning.plan import Plan
from .runs.recording import LIBRARIES
from .suites.arrange import Planned
from .suites.suite import DataPlan, RunPlan, Suite
from .transcripts import about
from .transcripts.threat import taken, threat_of
from .transcripts.transcript import Checked, check
from .transcripts.truth import Told, ids_of, private_backbone, read_truth
from .voting import make_composites

SUITE = "transcript"


@dataclass(frozen=True)
class Folders:
    """Where a recording lies."""

    view: Path
    public: Path
    truth: Path

    @cached_property
    def digest(self) -> str:
        """Of every file's name and bytes: other contents are another recording."""
        state = hashlib.sha256()
        for folder in (self.view, self.public, self.truth):
            for path in sorted(path for path in folder.iterdir() if path.is_file()):
                with path.open("rb") as file:
                    state.update(f"{folder.name}/{path.name}\0".encode())
                    state.update(hashlib.file_digest(file, "sha256").digest())
        return state.hexdigest()[:16]


@dataclass(frozen=True)
class Given:
    """A recording whose folders are right, read as far as judging needs."""

    checked: Checked
    public: Public
    told: Told
    backbone: Backbone | None
    """The victim's, public or not; None where nobody names it."""
    notices: tuple[str, ...]


def judge_given(at: Folders, out: Path, attacks: Sequence[str], progress: Progress) -> bool:
    """Attack, score and compile, or go on where that was broken off; True where no attack failed."""
    started = time.monotonic()
    torch.set_num_threads(1)
    names = tuple(ATTACKS[name].name for name in attacks)  # an unknown one is refused before anything is written
    given = read(at)
    private = [out.resolve(), at.truth.resolve()]
    with home.held(out), progress, Cores(own_cores()).at_work(out, private, progress) as crew:
        plan = settle(at, given, Request(_suite(given, names), "", "", out, None))
        files.write_text(out / COMMAND, shlex.join(_command(at)) + "\n")
        plan.layout.save(out)
        run = _filed(at, given, plan)
        says = describe(at, given, plan, run, crew.machine)
        row = repeated(says)
        _leave_out(given, plan, run, row)
        crew.attack(plan, _asked(given, plan), row, progress)
        shutil.rmtree(out / "scratch", ignore_errors=True)
        make_composites(out, plan.layout, plan.backbone, row)
        whole = compile_results(out)
        files.write_json(out / "audit.json", {**says, "seconds": round(time.monotonic() - started, 1)})
    return whole


# --- what is given ----------------------------------------------------------------------------------------------


def read(at: Folders) -> Given:
    """Check the three folders; UsageError for the first thing that is wrong. Nothing is written."""
    hidden = private_backbone(at.truth)
    checked = check(at.view, at.public, ids_of(at.truth))
    public = load_public(at.public)
    if hidden is not None and public.backbone is not None:
        raise UsageError(f"{at.truth / 'truth.json'} names a backbone and public.json does; name it once")
    backbone = load_backbone(hidden) if hidden is not None else checked.known.backbone
    told = read_truth(at.truth, public, backbone, public.facts.get("longest"))
    crossed, notices = _crossed(told, checked), []
    if lost := len(told.truth.rows) - len(crossed.truth.rows):
        notices.append(f"{lost} rows of the truth never crossed and are left out.")
    if not crossed.truth.rows:
        raise UsageError(f"no id in {at.truth / 'rows.jsonl'} crossed; give the ids that messages.jsonl names")
    targets, more = _targets(public, crossed)
    return Given(checked, replace(public, targets=targets), crossed, backbone, (*notices, *more))


def _crossed(told: Told, checked: Checked) -> Told:
    """Without rows that no message names, where messages name any."""
    if not checked.seen.crossed.named:
        return told
    rows = tuple(row for row in told.truth.rows if row.id in checked.seen.crossed.wanted)
    return replace(told, truth=replace(told.truth, rows=rows))


def _targets(public: Public, told: Told) -> tuple[tuple[str, ...], list[str]]:
    """Whose texts are asked for: those named, or as many as an audit draws, by a coin that the ids decide."""
    ids, most = [row.id for row in told.truth.rows], DataPlan().texts
    if public.targets or Goal.TEXTS in told.unscored:
        return public.targets, []
    if len(ids) <= most:
        return tuple(ids), []
    drawn = torch.randperm(len(ids), generator=Streams(digest(ids)).torch("targets"))[:most].tolist()
    said = (
        f"The texts of {most} of {len(ids)} rows are asked for, drawn by chance; `targets` in public.json names others."
    )
    return tuple(ids[at] for at in sorted(drawn)), [said]


# --- the plan ---------------------------------------------------------------------------------------------------


def _suite(given: Given, attacks: tuple[str, ...]) -> Suite:
    run = RunPlan(protocol=about.protocol_of(given.public.facts), attacks=list(attacks))
    return Suite(name=SUITE, runs=[run])


def settle(at: Folders, given: Given, request: Request) -> Plan:
    """One run, with its attacks, in a folder of its own."""
    (run,) = request.suite.runs
    # a stand-in is never asked: whoever reads texts with a backbone needs a public one, and texts are not scored
    backbone = given.backbone or load_backbone(TINY)
    identity = RunIdentity(
        protocol=run.protocol,
        settings={},
        default={},
        threat=threat_of(given.checked.known.facts, given.public, given.checked.seen.manifest.parties),
        backbone=given.backbone.digest if given.backbone else "",
        data=at.digest,
        sizes={},
        victim=0,
        seed="",
    )
    asked = digest({"recording": at.digest, "attacks": run.attacks})
    home.refuse_another(request.out, asked)
    seed = home.seed_of(request.out, None)
    home.begin(request.out, seed, {}, asked)
    return Plan(
        request=request,
        backbone=backbone,
        folder=local_folder(TINY) or at.public,
        dataset=Dataset(SUITE, at.digest, (), given.public.labels, (), at.truth),
        seed=seed,
        identity=asked,
        named=(Named(Planned(run, "row"), (identity,), None),),
        dealt={},
        notices=given.notices,
    )


def _filed(at: Folders, given: Given, plan: Plan) -> dict[str, Any]:
    """The run's folder, with what the recording holds; run.json."""
    (named,) = plan.named
    (identity,) = named.runs
    root = plan.request.out / "runs" / identity.key
    if not (root / "run.json").exists():
        with files.whole(root) as partial:
            _copied(at.view, partial / "view")
            given.public.save(partial / "public")
            given.told.truth.save(partial / "truth")
            files.write_json(partial / "run.json", _run(at, given, identity))
    stored: dict[str, Any] = files.read_json(root / "run.json")
    return stored


def _run(at: Folders, given: Given, identity: RunIdentity) -> dict[str, Any]:
    seen, truth = given.checked.seen, given.told.truth
    samples = len(load_view(at.view).sample_ids()) or len(truth.rows)
    return {
        "run": identity.key,
        "identity": identity.own,
        "label": identity.label,
        **about.told(given.public.facts),
        "threat": dict(identity.threat),
        "shows": sorted(seen.shows),
        "others": {},
        **about.traffic(at.view, seen.crossed.flows, seen.manifest.parties, samples),
        **about.usefulness(truth, given.public.labels, Goal.LABELS not in given.told.unscored),
        "device_seconds_per_sample": None,
        "budget": None,
        "example_budget": None,
        "released_budget": None,
        "victim": identity.victim,
    }


def _copied(view: Path, to: Path) -> None:
    """The view's files under the results, so that these stay whole; without a second copy where the disk allows it."""
    to.mkdir(mode=files.PRIVATE)
    for path in (path for path in view.iterdir() if path.is_file()):
        try:
            os.link(path, to / path.name)
        except OSError:
            shutil.copyfile(path, to / path.name)


# --- what is scored ---------------------------------------------------------------------------------------------


def _asked(given: Given, plan: Plan) -> list[store.Cell]:
    return [cell for cell in plan.cells.values() if cell.attack.goal not in given.told.unscored]


def _leave_out(given: Given, plan: Plan, run: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Say of attacks that the truth cannot judge why not."""
    root = plan.request.out / "cells"
    for cell in plan.cells.values():
        reason = given.told.unscored.get(cell.attack.goal)
        if reason and store.finished(root, cell) is None:
            store.store(root, cell, common(cell, run, row), Scored("not_applicable", reason))


def _command(at: Folders) -> list[str]:
    return ["sidelight", "attack", str(at.view), "--public", str(at.public), "--truth", str(at.truth)]


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
        "versions": {name: version(name) for name in LIBRARIES},
        "machine": dict(machine),
    }
