"""One protocol recorded, or one view attacked, outside an audit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..attacks import ATTACKS
from ..system import files
from ..system.backbone import TINY, load_backbone, local_folder
from ..system.data import Sizes, load, refuse_trained_on, split
from ..system.errors import UsageError
from ..system.protocols import PROTOCOLS
from ..system.public import load_public
from ..system.randomness import Streams, fresh_seed
from ..system.view import load_view
from .applies import outside
from .parts import NAMES, save_parts
from .recording import RunOrder, record
from .settings import build
from .suite import DataPlan
from .workers import Broken, Task, Workers


def record_one(
    protocol: str, settings: Mapping[str, Any], out: Path, backbone: str, data: str, seed: str | None
) -> None:
    """Record a run into a new folder."""
    if out.exists():
        raise UsageError(f"{out} exists already; give a folder that does not")
    build(PROTOCOLS[protocol], settings, protocol)
    loaded = load_backbone(backbone)
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
                label=protocol,
                victim=0,
                protocol=protocol,
                settings=settings,
                threat={},
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
    names = sorted(ATTACKS) if name is None else [name]
    attacks = {n: ATTACKS[n]() for n in names}
    with Workers() as workers:
        seen, known = load_view(view), load_public(public)
        folder = local_folder(known.backbone) if known.backbone else None
        for n, attack in attacks.items():
            if why := outside(attack, seen.kinds, known.items, known.facts):
                yield f"{n}: {why.status}: {why.reason}", True
                continue
            kind = type(attack)
            scratch = out / n
            scratch.parent.mkdir(parents=True, exist_ok=True, mode=files.PRIVATE)
            reference = f"{kind.__module__}:{kind.__qualname__}"
            task = Task(reference, {}, view, public, scratch, 0, readable=(folder,) if folder else ())
            outcome = workers.run(task)
            if isinstance(outcome, Broken):
                yield f"{n}: failed: {outcome.reason}", False
            else:
                yield json.dumps({"attack": n, "guess": str(scratch), "seconds": round(outcome.seconds, 2)}), True
