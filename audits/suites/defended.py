"""The controls of every defended run, which it has without being asked.

- `undefended`: no defence at all; what a defence costs is counted against this run
- `revealed`: the adversary knows the keys; what hides without a key is at its weakest there
- `weakest`: every strength at its weakest; what hides by a key alone is revealed there

So `revealed` and `weakest` show that the attacks still work behind all defences of the run, as soon as neither a key
nor a strength stands in their way. They are the same where no defence has both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...system.building import build_defence, short
from .suite import ControlPlan, RunPlan

UNDEFENDED, REVEALED, WEAKEST = "undefended", "revealed", "weakest"


def controls_of(run: RunPlan) -> Mapping[str, ControlPlan]:
    """A run's controls: those that a defence demands, and those that the suite names, which go before."""
    return {**dict(_demanded(run)), **run.controls}


def shortened(run: RunPlan) -> RunPlan:
    """The same run without defences' settings that are defaults: runs of one content are one run."""
    return run.model_copy(update={"defences": short(build_defence(*one) for one in run.defences.items())})


def _demanded(run: RunPlan) -> Iterator[tuple[str, ControlPlan]]:
    defences = [build_defence(*one) for one in run.defences.items()]
    if defences:
        yield UNDEFENDED, ControlPlan(defences={})
    if any(one.shown() for one in defences):
        yield REVEALED, ControlPlan(defences=short(one.shown() or one.weakest() or one for one in defences))
    if any(one.weakest() for one in defences):
        yield WEAKEST, ControlPlan(defences=short(one.weakest() or one.shown() or one for one in defences))
