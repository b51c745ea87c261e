"""One protocol recorded, or one view attacked, outside an audit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ..attacks import ATTACKS, Attack
from ..system import files
from ..system.backbone import TINY, load_backbone, local_folder
from ..system.building import Recipe, build_protocol, called, unfolded
from ..system.data import Sizes, load, refuse_trained_on, split
from ..system.errors import UsageError
from ..system.protocols import Protocol
from ..system.public import Public, load_public
from ..system.randomness import Streams, fresh_seed
from ..system.roles import SERVER
from ..system.view import load_view
from .cells.applies import outside
from .digest import folders_digest
from .runs.parts import NAMES, save_parts
from .runs.recording import RunOrder, record
from .sandbox.prepared_key import reference
from .sandbox.preparing import Shelf, prepares
from .sandbox.readable import model_folders
from .sandbox.workers import Broken, Done, Limits, Task, Workers
from .suites.suite import DataPlan
from .transcripts.transcript import check

PREPARING = Limits(seconds=1800)
RECORDING = "recording"
"""Says by its digest whose guesses a folder holds."""


class Folders(NamedTuple):
    """What an attack reads, and where its guess comes."""

    view: Path
    public: Path
    guess: Path


def default_threat(protocol: Protocol) -> dict[str, str]:
    """Whose view is recorded: the main server's, or, where there is none, that of the server that there is."""
    servers = sorted(protocol.shows)
    return {} if SERVER in servers or not servers else {"adversary": servers[0]}


def record_one(
    protocol: str,
    settings: Mapping[str, Any],
    out: Path,
    backbone: str,
    data: str,
    seed: str | None,
    defences: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> None:
    """Record a run into a new folder; defences by name, in the order in which they act."""
    if out.exists():
        raise UsageError(f"{out} exists already; give a folder that does not")
    protocol, settings, defences = unfolded(Recipe(protocol, settings, defences))
    built = build_protocol(protocol, settings, defences)
    loaded = load_backbone(backbone)
    loaded.require_room(built.longest, built.prompt)
    folder = local_folder(backbone)
    if folder == local_folder(TINY):
        refuse_trained_on(Path(data))
    streams = Streams(seed or fresh_seed())
    plan = DataPlan()
    dataset = load(data, streams.numpy("data"), plan.max_classes, plan.generated)
    parts = split(dataset, Sizes(**{name: getattr(plan, name) for name in NAMES}), streams.numpy("split"))
    out.parent.mkdir(parents=True, exist_ok=True)
    path = out.with_name(out.name + ".parts.jsonl")
    save_parts(parts, path)
    try:
        record(
            RunOrder(
                key=out.name,
                identity={},
                label=" + ".join([protocol, *(called(*one) for one in defences.items())]),
                victim=0,
                protocol=protocol,
                settings=settings,
                defences=dict(defences),
                threat=default_threat(built),
                labels="own",
                backbone=backbone if folder is None else str(folder),
                parts=str(path),
                seed=streams.of("runs").seed,
                texts=plan.texts,
                root=str(out),
            ),
            loaded,
        )
        files.write_text(out / "truth" / "seed", streams.seed + "\n")
    finally:
        path.unlink()


def attack_one(view: Path, public: Path, name: str | None, out: Path) -> Iterator[tuple[str, bool]]:
    """Run one attack, or all that apply, each apart; yields a line on each, and whether it did not fail."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; give a folder for the guesses")
    if (out / "plan.json").exists():
        raise UsageError(f"{out} holds an audit; give another folder for the guesses")
    broken = ATTACKS.broken() if name is None else {}
    names = sorted(ATTACKS.keys() - broken.keys()) if name is None else [name]
    attacks = {n: ATTACKS[n]() for n in names}
    yield from ((f"{n}: failed: {why}", False) for n, why in broken.items())
    with Workers() as workers:
        checked = check(view, public)  # somebody else may have recorded it
        _keep_apart(out, folders_digest(view, public))
        seen, known = load_view(view), load_public(public)
        shelf = Shelf(out / "prepared", workers, PREPARING)
        for n, attack in attacks.items():
            if why := outside(attack, seen.kinds, known.items, known.facts):
                yield f"{n}: {why.status}: {why.reason}", True
                continue
            outcome = _attacked(attack, Folders(view, public, out / n), known, workers, shelf)
            if isinstance(outcome, Broken):
                yield f"{n}: failed: {outcome.reason}", False
            else:
                yield json.dumps({"attack": n, "guess": str(out / n), "seconds": round(outcome.seconds, 2)}), True
    unloaded = ATTACKS.broken()
    read = {kind for n in ATTACKS if n not in unloaded for kind in ATTACKS[n].needs.view}
    for kind in sorted(checked.seen.shows - read):
        yield f"unaudited: no attack reads {kind}, which crossed; docs/transcripts.md has the kinds that are read", True


def _keep_apart(out: Path, recording: str) -> None:
    """Guesses of one recording never take the place of another's."""
    path = out / RECORDING
    if path.exists() and path.read_text(encoding="utf-8").strip() != recording:
        raise UsageError(f"{out} holds guesses of another recording; give another --out")
    if not path.exists() and out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out} does not say whose guesses it holds; give another --out")
    out.mkdir(parents=True, exist_ok=True, mode=files.PRIVATE)
    files.write_text(path, recording + "\n")


def _attacked(attack: Attack, at: Folders, known: Public, workers: Workers, shelf: Shelf) -> Done | Broken:
    at.guess.parent.mkdir(parents=True, exist_ok=True, mode=files.PRIVATE)
    readable = model_folders(known)
    digest = load_backbone(known.backbone).digest if known.backbone and prepares(attack) else ""
    made = shelf.ensure(attack, {}, known, digest, readable)
    if isinstance(made, Broken):
        return made
    prepared = made.path if made else None
    return workers.run(
        Task(reference(attack), {}, at.view, at.public, at.guess, 0, readable=readable, prepared=prepared)
    )
