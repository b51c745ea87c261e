"""The metrics that a limit can name, by the goal that they belong to: ours, and those of other packages."""

from __future__ import annotations

from collections.abc import Mapping

from ...attacks.attack import Goal
from ...system.errors import UnknownName
from ..cells.membership import OWNER, RATES
from ..cells.metrics import METRICS as PLUGGED
from ..cells.scoring import CLOSENESS, PARTITION, PRIMARY, RANDOM, TASK

METRICS: Mapping[str, tuple[str, ...]] = {
    Goal.LABELS: (PRIMARY[Goal.LABELS], PARTITION, RANDOM),
    Goal.TEXTS: (
        PRIMARY[Goal.TEXTS], "bag_f1", "exact", "length_accuracy", "slot_accuracy", "template_accuracy",
        "word_accuracy", "pii_recall", "certified_recall", "certified_precision",
    ),
    Goal.MODEL: (PRIMARY[Goal.MODEL], TASK, CLOSENESS),
    Goal.MEMBERS: (*RATES, "auc", OWNER),
}  # fmt: skip


def goal_of(metric: str, where: str = "the budget") -> str:
    """The goal whose guesses a metric scores; UnknownName where there is none."""
    for goal, names in METRICS.items():
        if metric in names:
            return str(goal)
    if metric in PLUGGED:
        return str(PLUGGED[metric].goal)
    known = [*PLUGGED, *(name for names in METRICS.values() for name in names)]
    raise UnknownName(f"metric in {where}", metric, known)
