"""The one run of a recording that is there already: its name, its folder under the results, and what is said of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ...attacks.attack import Goal
from ...system import files
from ...system.backbone import TINY, load_backbone, local_folder
from ...system.data import Dataset
from ...system.view import load_view
from ..digest import digest
from ..planning import home
from ..planning.identity import RunIdentity
from ..planning.naming import Named, Request
from ..planning.plan import Plan
from ..suites.arrange import Planned
from ..suites.suite import LimitPlan, RunPlan, Suite
from ..transcripts import about
from ..transcripts.threat import threat_of
from .reading import Folders, Given

SUITE = "transcript"
PATIENCE = 1800
"""Seconds that an attack may take: nobody fitted a recording to the machine it is attacked on."""


def suite_of(given: Given, attacks: tuple[str, ...]) -> Suite:
    run = RunPlan(protocol=about.protocol_of(given.public.facts), attacks=list(attacks))
    return Suite(name=SUITE, limits=LimitPlan(seconds=PATIENCE), runs=[run])


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


def filed(at: Folders, given: Given, plan: Plan) -> dict[str, Any]:
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
        **about.traffic(given.traffic, seen.crossed.flows, seen.manifest.parties, samples),
        **about.usefulness(truth, given.public.labels, Goal.LABELS not in given.told.unscored),
        "device_seconds_per_sample": None,
        "budget": None,
        "example_budget": None,
        "released_budget": None,
        "victim": identity.victim,
    }


def _copied(view: Path, to: Path) -> None:
    """The view's files under the results, so that these stay whole whatever becomes of the recording."""
    to.mkdir(mode=files.PRIVATE)
    for path in (path for path in view.iterdir() if path.is_file()):
        shutil.copyfile(path, to / path.name)
