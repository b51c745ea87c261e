"""A suite's runs as the report shows them: each with its controls beside it, each sweep spread out into points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ...system.settings import laid_over
from .defended import controls_of, shortened
from .suite import ControlPlan, RunPlan, Suite
from .sweeps import Point, points

Role = Literal["row", "control", "point"]
"""Of a run: a row of the table, a control of another run, a point of a curve."""


@dataclass(frozen=True)
class Planned:
    """One run of the suite, the same on every victim."""

    run: RunPlan
    role: Role
    point: Point | None = None
    base: RunPlan | None = None
    """The run of a point as it is without its sweep: what names the curve."""
    controls: Mapping[str, RunPlan] = field(default_factory=dict)


def arrange(suite: Suite) -> Iterator[Planned]:
    """Every planned run, a control after the run that it belongs to; a run may come in several roles."""
    for run in suite.runs:
        for planned in _rows(run):
            controls = dict(_controls(planned.run))
            yield replace(planned, controls=controls)
            yield from (Planned(control, "control") for control in controls.values())


def _rows(run: RunPlan) -> Iterator[Planned]:
    if not run.sweep:
        yield Planned(shortened(run), "row")
        return
    base = shortened(run.model_copy(update={"sweep": {}}))
    yield from (Planned(shortened(one), "point", point, base) for one, point in points(run))


def _controls(run: RunPlan) -> Iterator[tuple[str, RunPlan]]:
    for name, control in controls_of(run).items():
        beside = controlled(run, control)
        if beside != run.model_copy(update={"controls": {}}):  # a point of a sweep may be its own control
            yield name, beside


def controlled(run: RunPlan, control: ControlPlan) -> RunPlan:
    """The run that a control of it is."""
    settings = laid_over(run.settings, control.settings)
    defences = run.defences if control.defences is None else control.defences
    other = {"settings": settings, "defences": defences, "labels": control.labels, "controls": {}}
    return shortened(run.model_copy(update=other))
