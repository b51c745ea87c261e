"""What an audit will do, settled before the first run: data read and split, every run and cell named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ...system import files
from ...system.backbone import TINY, Backbone, load_backbone, local_folder
from ...system.data import Dataset, Sizes, Split, joined, load, refuse_trained_on, split, with_random_labels
from ...system.errors import SidelightError, UsageError
from ...system.randomness import Streams
from ..cells.cell import Cell
from ..cells.metrics import metrics_of
from ..cells.scoring import PRIMARY
from ..digest import digest
from ..runs.parts import NAMES
from ..runs.recording import RunOrder
from ..suites.arrange import arrange
from ..suites.suite import DataPlan
from . import home
from .fitting import refuse_unattackable, refuse_unfit
from .layout import Layout
from .naming import COMMAND, SUITE, Inputs, Named, Request, cells_of, name_runs, order_run, parts_path, victim_streams
from .placing import lay_out

SHORTEST_SEED = 16
"""Characters below which a seed given by hand can be guessed."""

Say = Callable[[str], None]
"""Told each step in one line: progress, never private."""


@dataclass(frozen=True)
class Plan:
    """Everything that is settled before the first run."""

    request: Request
    backbone: Backbone
    folder: Path
    """The backbone's local folder."""
    dataset: Dataset
    """As the suite itself reads it."""
    seed: str
    identity: str
    """Digest of what a resumed audit must have in common with the one that began."""
    named: tuple[Named, ...]
    dealt: Mapping[str, int]
    """Rows of the first victim's parts: fewer than the suite asks for where the data are fewer."""
    notices: tuple[str, ...]

    @cached_property
    def orders(self) -> Mapping[str, RunOrder]:
        """Every run once, by key, whatever its roles."""
        return {
            run.key: order_run(self.request, self.folder, self.seed, one.planned.run, run)
            for one in self.named
            for run in one.runs
        }

    @cached_property
    def cells(self) -> Mapping[str, Cell]:
        """Every cell once, by key, whatever its roles."""
        cells: dict[str, Cell] = {}
        for one in self.named:
            for run in one.runs:
                for cell in cells_of(self.request, one.planned.run, run.key):
                    if cells.setdefault(cell.key, cell).identity != cell.identity:
                        raise SidelightError(f"two different cells have one key, {cell.key}: their results would mix")
        return cells

    @cached_property
    def layout(self) -> Layout:
        """Which cells stand behind which row."""
        return lay_out(self.request, self.named)


def settle(request: Request, say: Say) -> Plan:
    """Read and check everything; nothing is written before all of it is right."""
    suite, folder = request.suite, local_folder(request.backbone)
    for goal in PRIMARY:
        metrics_of(goal)
    if folder is not None:
        refuse_exposed(request, folder)
    backbone = load_backbone(request.backbone)
    say(f"backbone {backbone.name}: {len(backbone.blocks)} blocks, width {backbone.width}")
    if folder == local_folder(TINY) and Path(request.data).is_file():
        refuse_trained_on(Path(request.data))
    seed = home.seed_of(request.out, request.seed)
    planned = tuple(arrange(suite))
    datasets = read_data(request, seed, [suite.data, *(suite.data_of(one.run) for one in planned)])
    dataset = datasets[suite.data]
    say(f"data {dataset.name}: {len(dataset.rows)} rows, {len(dataset.labels)} classes")
    refuse_unfit(suite, planned, backbone, datasets)
    inputs = Inputs(suite, backbone.digest, {plan: read.digest for plan, read in datasets.items()}, seed)
    named = tuple(name_runs(inputs, planned))
    # more victims may be added to a folder: every run is named by its victim
    asked = suite.model_dump(exclude={"victims"})
    identity = digest({"suite": asked, "backbone": backbone.digest, "data": dataset.digest})
    home.refuse_another(request.out, identity)
    parts = dict(deal_all(request, seed, datasets))
    refuse_unattackable(request, planned, backbone, seed, parts)
    home.begin(request.out, seed, parts, identity)
    files.write_json(request.out / SUITE, suite.model_dump(mode="json"))
    files.write_text(request.out / COMMAND, request.command + "\n")  # with paths, which audit.json has none of
    first = parts[parts_path(request, suite.data, 0)]
    return Plan(
        request=request,
        backbone=backbone,
        folder=folder or home.kept_copy(backbone, request.out),
        dataset=dataset,
        seed=seed,
        identity=identity,
        named=named,
        dealt={name: len(getattr(first, name)) for name in NAMES},
        notices=tuple(dict.fromkeys(notices(request, parts, datasets))),
    )


def refuse_exposed(request: Request, folder: Path) -> None:
    """Refuse data or results inside the backbone's folder before anything is written: workers may read it."""
    for path in (Path(request.data), request.out):
        if path.resolve().is_relative_to(folder):
            raise UsageError(f"{path} lies in {folder}, which attacks can read; move it to another folder")


def read_data(request: Request, seed: str, plans: list[DataPlan]) -> dict[DataPlan, Dataset]:
    """The data as each plan reads them, each once; all plans draw from one stream."""
    return {
        plan: load(request.data, Streams(seed).numpy("data"), plan.max_classes, plan.generated)
        for plan in dict.fromkeys(plans)
    }


def deal_all(request: Request, seed: str, datasets: Mapping[DataPlan, Dataset]) -> Iterator[tuple[Path, Split]]:
    """Each victim's own split under each plan, with the file that it goes to."""
    for plan, dataset in datasets.items():
        for victim in range(request.suite.victims):
            yield parts_path(request, plan, victim), deal(plan, dataset, victim_streams(seed, victim))


def deal(plan: DataPlan, dataset: Dataset, streams: Streams) -> Split:
    """One split of the data, its texts joined and its random-label rows drawn."""
    sizes = Sizes(**{name: getattr(plan, name) * plan.together for name in NAMES})
    dealt = split(dataset, sizes, streams.numpy("split"))
    dealt = dealt if plan.together == 1 else joined(dealt, plan.together)
    if not plan.random_labels:
        return dealt
    train = with_random_labels(dealt.victim_train, plan.random_labels, dealt.labels, streams.numpy("random labels"))
    return replace(dealt, victim_train=train)


def notices(request: Request, parts: Mapping[Path, Split], plans: Iterable[DataPlan]) -> Iterator[str]:
    """What a reader must know of how the audit was set up, by the first victim's parts."""
    if request.seed is not None and len(request.seed) < SHORTEST_SEED:
        yield "The seed was given by hand and is short: whoever tries short seeds can redraw the data."
    for plan in plans:
        where = "" if plan == request.suite.data else ", in runs with data of their own"
        if plan.together > 1:
            yield f"{plan.together} rows of one class and part were put end to end to make one{where}."
        dealt = parts[parts_path(request, plan, 0)]
        fewer = [f"{len(getattr(dealt, n))} {n}" for n in NAMES if len(getattr(dealt, n)) < getattr(plan, n)]
        if fewer:
            yield f"There are fewer rows than the suite asks for{where}: {', '.join(fewer)}."
