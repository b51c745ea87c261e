"""What a process of a cluster's node does when it is asked: record a run, prepare, attack, judge.

Every answer is a line of JSON, an error among them: what Ray writes into its logs of an error that is raised may quote
a private text. What is asked names runs and cells and holds no seed of a victim; orders, which do, lie with the truth
in the audit's folder. What libraries print is thrown away.

Whatever is asked may be asked again, because the node that was asked before died: what is stored already is not made
again, all that is stored comes in its place by one rename, and every attempt has a scratch folder of its own.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...attacks.attack import Attack
from ...system import files
from ...system.backbone import TINY, Backbone, load_backbone
from ...system.errors import SidelightError, place
from ..cells import cell as store
from ..cells.cell import Cell, Scored
from ..runs.recording import RunOrder, record
from ..sandbox import guess_files
from ..sandbox.guess_files import GuessError
from ..sandbox.prepared_key import code_version, reference
from ..sandbox.preparing import Shelved
from ..sandbox.worker_task import load_attack
from ..sandbox.workers import Broken, Done, Workers
from .claim import Claim, here, weakest
from .desk import Cost, Desk, Told, line

Answer = Mapping[str, Any]

ORDERS = Path("truth") / "orders"
"""In the audit's folder; one file a run that is to be recorded."""
REFUSED = "refused"
"""Of an answer: why this node cannot do what it was asked."""


class Lost(str):
    """In an answer's place: why a task has none."""

    __slots__ = ()


class Station:
    """One process's workers, started before it reads anything private, and what it has in memory."""

    def __init__(self, claim: Claim) -> None:
        import torch

        torch.set_num_threads(1)
        self.out = Path(claim.out)
        claim.check()
        self.workers = Workers(private=[Path(one) for one in claim.private])
        self.desk = lru_cache(maxsize=1)(self._desk)

    def _desk(self, told: str) -> Desk:
        given = Told(**json.loads(told))
        return Desk(given, _backbone(given), self.workers)


@lru_cache(maxsize=1)
def station(claim: str) -> Station:
    """This process's station for an audit."""
    return Station(Claim(**json.loads(claim)))


def answering(work: Callable[..., Answer]) -> Callable[..., str]:
    """Asked with lines of JSON, of which the first is the audit's claim; an answer that refuses is passed on."""

    @functools.wraps(work)
    def answered(claim: str, *asked: str) -> str:
        try:
            given = [json.loads(one) for one in asked]
            for one in given:
                if isinstance(one, dict) and REFUSED in one:
                    return json.dumps(one)
            with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
                return json.dumps(work(station(claim), *given))
        except Exception as error:
            said = place(error)
            return json.dumps({REFUSED: said if isinstance(error, SidelightError) else f"{here()}: {said}"})

    return answered


@answering
def greet(at: Station) -> Answer:
    """That this node can take part, and how it keeps attacks apart."""
    return {"sandbox": at.workers.sandbox}


@answering
def record_run(at: Station, key: str) -> Answer:
    """Record the run whose order lies with the truth."""
    order = RunOrder(**files.read_json(at.out / ORDERS / f"{key}.json"))
    done = Path(order.root) / "run.json"
    reason = None
    if not done.exists():
        try:
            record(order, load_backbone(order.backbone))
        except Exception as error:  # one run that fails must not take the others with it
            reason = None if done.exists() else place(error)
    return {"reason": reason}


@answering
def prepare(at: Station, told: Answer, cell: Answer) -> Answer:
    """Put what a cell's attack prepares on the shelf, which all nodes see."""
    return _told_made(at.desk(json.dumps(told)).prepare(_cell(cell)))


@answering
def attempt(at: Station, told: Answer, asked: Answer, made: Answer | None = None) -> Answer:
    """Attack one view of a cell; the guess stays in the scratch folder that the answer names."""
    cell, twin = _cell(asked["cell"]), asked["twin"]
    scratch = f"{cell.key}-{twin or 'view'}-{secrets.token_hex(4)}"
    desk = at.desk(json.dumps(told))
    ready = desk.prepare(cell) if made is None else made_of(made)  # of an earlier audit, it lies on the shelf
    outcome = desk.attempt(cell, twin, asked["seed"], ready, scratch)
    found = {"seconds": outcome.seconds, "peak_bytes": outcome.peak_bytes, "scratch": scratch}
    about = {"cell": cell.key, "twin": twin, "sandbox": at.workers.sandbox, "prepared": _told_made(ready)}
    return {**about, **found, "reason": outcome.reason if isinstance(outcome, Broken) else None}


@answering
def judge(at: Station, told: Answer, cells: Sequence[Answer], *attempts: Answer) -> Answer:
    """Judge and store cells of one run whose views were attacked."""
    desk, began = at.desk(json.dumps(told)), time.process_time()
    before = desk.twin_seconds
    of = {asked["key"]: [one for one in attempts if one["cell"] == asked["key"]] for asked in cells}
    lines = [_judged(at, desk, _cell(asked), of[asked["key"]]) for asked in cells]
    spent = {"attacks": sum(one["seconds"] for one in attempts), "twins": desk.twin_seconds - before}
    return {"lines": lines, **spent, "elsewhere": time.process_time() - began}


def _judged(at: Station, desk: Desk, cell: Cell, attempts: Sequence[Answer]) -> str:
    if record := store.finished(desk.root, cell):  # by a process that died before it could say so
        kept = Scored(record["fields"]["status"], record["fields"]["reason"], metrics=record["metrics"])
        return line(cell, record["fields"]["label"], kept)
    guesses = {one["twin"]: _outcome(at, one) for one in attempts}
    scored = desk.judge(cell, guesses)
    made = next((found for one in attempts if (found := made_of(one["prepared"]))), None)
    cost = Cost(guesses, made if isinstance(made, Shelved) else None)
    return desk.store(cell, scored, cost, weakest([one["sandbox"] for one in attempts]))


def told_cell(cell: Cell) -> dict[str, Any]:
    """A cell as `_cell` reads it on another machine."""
    assert isinstance(cell.attack, Attack)
    run, attack = str(cell.run.resolve()), reference(cell.attack)
    return {"key": cell.key, "run": run, "attack": attack, "identity": dict(cell.identity)}


def _cell(told: Answer) -> Cell:
    identity = told["identity"]
    attack = load_attack(told["attack"], identity["settings"])
    cell = Cell(told["key"], Path(told["run"]), attack, {**identity, "settings": asdict(attack)})
    if code_version(type(attack).__module__) != identity["code"]:
        raise SidelightError(f"{here()} has other code of {attack.name} than the audit: install the same on all nodes")
    return cell


def _told_made(made: Shelved | Broken | None) -> dict[str, Any]:
    if isinstance(made, Shelved):
        return {"made": {**made._asdict(), "path": str(made.path)}}
    return {"broken": asdict(made)} if made else {}


def made_of(answer: Answer) -> Shelved | Broken | None:
    """What `prepare` answered."""
    if made := answer.get("made"):
        return Shelved(**{**made, "path": Path(made["path"])})
    return Broken(**answer["broken"]) if "broken" in answer else None


def _outcome(at: Station, attempt: Answer) -> Done | Broken:
    seconds, peak = attempt["seconds"], attempt["peak_bytes"]
    if attempt["reason"] is not None:
        return Broken(attempt["reason"], seconds, peak)
    try:
        return Done(guess_files.load(at.out / "scratch" / attempt["scratch"]), seconds, peak)
    except GuessError as error:
        return Broken(str(error), seconds, peak)


def _backbone(told: Told) -> Backbone:
    backbone = load_backbone(told.backbone)
    if backbone.digest != told.digest:
        raise SidelightError(f"{here()} has other weights in {told.backbone} than the audit: share one folder")
    return backbone


def orders_of(out: Path, orders: Sequence[RunOrder]) -> None:
    """Put orders where `record_run` finds them, their paths as every node knows them."""
    (out / ORDERS).mkdir(exist_ok=True, mode=files.PRIVATE)
    for order in orders:
        told = asdict(order)
        for name in ("root", "parts") if order.backbone == TINY else ("root", "parts", "backbone"):
            told[name] = str(Path(told[name]).resolve())
        files.write_json(out / ORDERS / f"{order.key}.json", told)
