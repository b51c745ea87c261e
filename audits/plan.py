"""What an audit will do, settled before the first run: data read and split, every run and cell named."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..attacks import ATTACKS
from ..system import files
from ..system.backbone import TINY, Backbone, load_backbone, local_folder
from ..system.data import Dataset, Sizes, Split, load, refuse_trained_on, split
from ..system.errors import UsageError
from ..system.protocols import PROTOCOLS
from ..system.randomness import Streams, fresh_seed
from .cells import Cell
from .identity import RunIdentity, cell_key, digest
from .parts import NAMES, save_parts
from .recording import RunOrder
from .settings import build
from .suite import RunPlan, Suite
from .threat import Threat

SHORTEST_SEED = 16
"""Characters below which a seed given by hand can be guessed."""


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
    dealt: Mapping[str, int]
    """Rows of the first victim's parts: fewer than the suite asks for where the data are fewer."""
    notices: tuple[str, ...]

    @property
    def identity(self) -> str:
        """Digest of what a resumed audit must have in common with the one that began."""
        return identity(self.request, self.backbone, self.dataset)


def prepare(request: Request, say: Callable[[str], None]) -> Plan:
    """Read and check everything; nothing is written before all of it is right."""
    build(Threat, request.suite.threat, "threat")
    folder = local_folder(request.backbone)
    if folder is not None:
        refuse_exposed(request, folder)
    backbone = load_backbone(request.backbone)
    say(f"backbone {backbone.name}: {len(backbone.blocks)} blocks, width {backbone.width}")
    if folder == local_folder(TINY) and Path(request.data).is_file():
        refuse_trained_on(Path(request.data))
    seed = stored_seed(request)
    sizes = request.suite.data
    dataset = load(request.data, Streams(seed).numpy("data"), sizes.max_classes, sizes.generated)
    say(f"data {dataset.name}: {len(dataset.rows)} rows, {len(dataset.labels)} classes")
    check_same_audit(request, backbone, dataset)
    parts = deal(request.suite, dataset, seed)
    planned = list(name_runs(request, backbone, dataset, seed))
    begin(request.out, seed, parts, identity(request, backbone, dataset))
    kept = folder or kept_copy(backbone, request.out)
    orders = tuple(order_run(request, kept, seed, run, name) for run, name in planned)
    return Plan(
        request=request,
        backbone=backbone,
        folder=kept,
        dataset=dataset,
        seed=seed,
        orders=orders,
        runs={name.key: run for run, name in planned},
        dealt={name: len(getattr(parts[0], name)) for name in NAMES},
        notices=tuple(notices(request, parts[0])),
    )


def refuse_exposed(request: Request, folder: Path) -> None:
    """Refuse data or results inside the backbone's folder before anything is written: workers may read it."""
    for path in (Path(request.data), request.out):
        if path.resolve().is_relative_to(folder):
            raise UsageError(f"{path} lies in {folder}, which attacks can read; move it to another folder")


def deal(suite: Suite, dataset: Dataset, seed: str) -> list[Split]:
    """Each victim's own split of the data."""
    sizes = Sizes(**{name: getattr(suite.data, name) for name in NAMES})
    return [split(dataset, sizes, victim_streams(seed, v).numpy("split")) for v in range(suite.victims)]


def victim_streams(seed: str, victim: int) -> Streams:
    """A victim's own streams of randomness."""
    return Streams(seed).of(f"victim {victim}")


def name_runs(
    request: Request, backbone: Backbone, dataset: Dataset, seed: str
) -> Iterator[tuple[RunPlan, RunIdentity]]:
    """Every run of every victim; raises UsageError for a wrong setting before anything is written."""
    suite = request.suite
    for victim in range(suite.victims):
        for run in suite.runs:
            kind = PROTOCOLS[run.protocol]
            identity = RunIdentity(
                protocol=run.protocol,
                settings=build(kind, {**suite.shared(run), **run.settings}, run.protocol).settings(),
                default=build(kind, suite.shared(run), run.protocol).settings(),
                threat=asdict(build(Threat, suite.threat, "threat")),
                backbone=backbone.digest,
                data=dataset.digest,
                sizes=suite.data.model_dump(),
                victim=victim,
                seed=hashlib.sha256(victim_streams(seed, victim).seed.encode()).hexdigest(),
            )
            yield run, identity


def order_run(request: Request, folder: Path, seed: str, run: RunPlan, name: RunIdentity) -> RunOrder:
    """What a recorder is told of a run."""
    return RunOrder(
        key=name.key,
        label=name.label,
        victim=name.victim,
        protocol=run.protocol,
        settings=name.settings,
        threat=name.threat,
        backbone=TINY if folder == local_folder(TINY) else str(folder),
        parts=str(parts_path(request.out, name.victim)),
        seed=victim_streams(seed, name.victim).of("runs").seed,
        texts=request.suite.data.texts,
        root=str(request.out / "runs" / name.key),
    )


def plan_cells(plan: Plan, keys: Sequence[str]) -> Iterator[Cell]:
    """Every attack with each of its settings on every recorded run."""
    for key in keys:
        run = plan.runs[key]
        for name in run.attacks or sorted(ATTACKS):
            for settings in run.vary.get(name, [{}]):
                attack = build(ATTACKS[name], settings, name)
                whole = asdict(attack)
                yield Cell(cell_key(key, name, whole), plan.request.out / "runs" / key, attack, whole)


def identity(request: Request, backbone: Backbone, dataset: Dataset) -> str:
    """Digest of suite, backbone and data."""
    return digest({"suite": request.suite.model_dump(), "backbone": backbone.digest, "data": dataset.digest})


def check_same_audit(request: Request, backbone: Backbone, dataset: Dataset) -> None:
    """Refuse a folder that another audit was written to."""
    path = request.out / "truth" / "audit"  # there from the start, unlike audit.json
    if path.exists() and path.read_text(encoding="utf-8").strip() != identity(request, backbone, dataset):
        raise UsageError(f"{request.out} holds another audit; give another --out, or the same suite, data and backbone")


def stored_seed(request: Request) -> str:
    """The seed given, the one that an interrupted audit in the same folder had, or a fresh one."""
    if request.out.exists() and not request.out.is_dir():
        raise UsageError(f"{request.out} is a file; give a folder as --out")
    path = request.out / "truth" / "seed"
    stored = path.read_text(encoding="utf-8").strip() if path.exists() else None
    if request.seed is not None and stored is not None and request.seed != stored:
        raise UsageError(f"{request.out} was begun with another seed; give another --out or leave --seed away")
    return request.seed or stored or fresh_seed()


def begin(out: Path, seed: str, parts: Sequence[Split], digested: str) -> None:
    """Make the folder, sweep what a killed audit left half-written, and put seed and parts with the truth."""
    out.mkdir(parents=True, exist_ok=True, mode=files.PRIVATE)
    for pattern in ("runs/*.partial-*", "cells/*.partial-*", "runs/*.old-*", "cells/*.old-*", "scratch"):
        for path in out.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)
    for name in ("truth", "runs", "scratch"):
        (out / name).mkdir(exist_ok=True, mode=files.PRIVATE)
    files.write_text(out / "truth" / "audit", digested + "\n")
    files.write_text(out / "truth" / "seed", seed + "\n")
    for victim, dealt in enumerate(parts):
        save_parts(dealt, parts_path(out, victim))


def parts_path(out: Path, victim: int) -> Path:
    """Where a victim's parts lie: with the truth."""
    return out / "truth" / f"parts-{victim}.jsonl"


def notices(request: Request, parts: Split) -> Iterator[str]:
    """What a reader must know of how the audit was set up."""
    if request.seed is not None and len(request.seed) < SHORTEST_SEED:
        yield "The seed was given by hand and is short: whoever tries short seeds can redraw the data."
    asked = request.suite.data
    fewer = [f"{len(getattr(parts, n))} {n}" for n in NAMES if len(getattr(parts, n)) < getattr(asked, n)]
    if fewer:
        yield f"The data are fewer than the suite asks for: {', '.join(fewer)} rows."


def kept_copy(backbone: Backbone, out: Path) -> Path:
    """A hub backbone as a local folder, which workers can read without the hub's cache."""
    folder = out / "backbone"
    if not (folder / "config.json").exists():
        with files.whole(folder) as partial:
            backbone.model.save_pretrained(partial)
            backbone.tokenizer.save_pretrained(partial)
    return folder
