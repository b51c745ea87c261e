"""Which cells stand behind which row of the report: the audit's layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...attacks.attack import Goal
from ..cells import composites
from ..digest import digest
from ..suites.suite import RunPlan
from .identity import cell_key
from .layout import Control, Entry, Group, Layout, Placed
from .naming import Named, Request, cells_of


def lay_out(request: Request, named: Sequence[Named]) -> Layout:
    """The groups of runs and the rows on them, in the suite's order."""
    return Layout(tuple(groups(named)), tuple(entries(request, named)))


def groups(named: Sequence[Named]) -> Iterator[Group]:
    """Each group of runs once, in the first of its roles."""
    found: dict[str, list[Named]] = {}
    for one in named:
        found.setdefault(one.group, []).append(one)
    for group, members in found.items():
        roles = {one.planned.role for one in members}
        role = next(role for role in ("row", "control", "point") if role in roles)
        runs = members[0].runs
        yield Group(group, runs[0].label, runs[0].protocol, role, {run.victim: run.key for run in runs})


def entries(request: Request, named: Sequence[Named]) -> list[Entry]:
    """Every row; after a run's attacks a composite of those that have a goal in common.

    A control that several runs have in common stands once.
    """
    group_of = {_content(one.planned.run): one.group for one in named}
    made: list[Entry] = []
    controls_at: dict[tuple[str, str], int] = {}
    for one in named:
        controls = {
            name: Control(group_of[_content(run)], must_succeed=run.labels == "own")
            for name, run in one.planned.controls.items()
        }
        own = [replace(entry, controls=controls) for entry in _attacked(request, one)]
        places = [_put(entry, made, controls_at) for entry in own]
        for entry in _composites(one, own, places):
            _put(entry, made, controls_at)
    return made


def _put(entry: Entry, made: list[Entry], controls_at: dict[tuple[str, str], int]) -> int:
    """The entry's place; a control that is there already keeps its own."""
    if entry.role != "control":
        made.append(entry)
        return len(made) - 1
    at = controls_at.setdefault((entry.group, entry.code), len(made))
    if at == len(made):
        made.append(entry)
    return at


def _attacked(request: Request, one: Named) -> Iterator[Entry]:
    """One run's attacks, with the cells of all victims and attacker's seeds."""
    repeats = request.suite.attacker_seeds
    cells = {run.victim: list(cells_of(request, one.planned.run, run.key)) for run in one.runs}
    for at in range(0, len(cells[0]), repeats):
        first = cells[0][at]
        yield Entry(
            group=one.group,
            role=one.planned.role,
            attack=first.attack.name,
            goal=str(first.attack.goal),
            settings=first.changed,
            cells={victim: tuple(cell.key for cell in own[at : at + repeats]) for victim, own in cells.items()},
            place=_placed(one, first.attack.name, first.changed),
        )


def _composites(one: Named, own: Sequence[Entry], places: Sequence[int]) -> Iterator[Entry]:
    for goal in dict.fromkeys(entry.goal for entry in own):
        among = tuple(at for at, entry in enumerate(own) if entry.goal == goal)
        if len(among) < composites.FEWEST:
            continue
        cells = {
            run.victim: tuple(_composite_keys(run.key, goal, [own[at] for at in among], run.victim)) for run in one.runs
        }
        yield Entry(
            group=one.group,
            role=one.planned.role,
            attack=composites.NAME,
            goal=goal,
            settings={},
            cells=cells,
            controls=own[0].controls,
            place=_placed(one, composites.NAME, {}, goal),
            among=tuple(places[at] for at in among),
            members=tuple(own[at].code for at in among),
        )


def _composite_keys(run: str, goal: str, members: Sequence[Entry], victim: int) -> Iterator[str]:
    for repeat, keys in enumerate(zip(*(member.cells[victim] for member in members), strict=True)):
        yield cell_key(composites.composite_identity(run, Goal(goal), keys, repeat))


def _placed(one: Named, attack: str, settings: Mapping[str, Any], goal: str = "") -> Placed | None:
    """Where a point of a sweep stands; what is varied is no part of what the curve is called."""
    point = one.planned.point
    if point is None or one.curve is None:
        return None
    varied = point.setting.partition(f"attack.{attack}.")[2]
    same = {name: value for name, value in settings.items() if name != varied}
    curve = digest([point.sweep, attack, same, goal])
    return Placed(curve, one.curve, same, point.setting, point.value, point.at)


def _content(run: RunPlan) -> str:
    return run.model_dump_json()
