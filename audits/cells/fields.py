"""What every result row says of its cell, and of the numbers on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from ...attacks.attack import Goal
from ...system.building import differing
from ...system.settings import named
from ..digest import SCHEMA, digest
from ..statistics import Direction, Interval, Measured, Numbers, Twin, state
from .cell import Cell
from .scoring import JUDGED, PRIMARY

DIRECTION: Direction = "higher"
"""Our own scores grow with the leak."""

NO_NUMBERS = (
    "metric", "direction", "value", "low", "high", "blind_outsider", "blind_rest", "advantage", "advantage_low",
    "advantage_high", "p", "n",
)  # fmt: skip


def common(cell: Cell, run: Mapping[str, Any], audit: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that every result of a cell has."""
    return {
        "schema": SCHEMA,
        "cell": cell.key,
        "run": run["run"],
        "protocol": run["protocol"],
        "label": run["label"],
        "paper_version": run["paper_version"],
        "difference": run["settings"].get("difference") if run["protocol"] == "pae" else None,
        "defence": {name: differing(name, settings) for name, settings in run["defences"].items()} or None,
        "epsilon": run["budget"],
        "epsilon_example": run["example_budget"],
        "epsilon_released": run.get("released_budget"),
        "settings": cell.changed,
        "threat": run["threat"],
        "adversary": run["threat"]["adversary"],
        "attack": cell.attack.name,
        "attack_source": cell.attack.source,
        "goal": str(cell.attack.goal),
        "consumes": sorted(cell.attack.needs.view),
        "backbone": audit["backbone"],
        "data": audit["data"],
        "seed": run["victim"],
        "sandbox": audit["sandbox"],
        "utility": run["utility"] and run["utility"]["value"],
        "uplink_bytes_per_sample": run["uplink_bytes_per_sample"],
        "downlink_bytes_per_sample": run["downlink_bytes_per_sample"],
        "device_seconds_per_sample": run["device_seconds_per_sample"],
        "prepare_seconds": None,
        "peak_mib": None,
        "versions": audit["versions"],
    }


def called(fields: Mapping[str, Any]) -> str:
    """An attack with the settings that differ from its defaults."""
    return named(fields["attack"], fields["settings"])


def numbered(
    metric: str, primary: bool, judged: bool, numbers: Numbers, direction: Direction = DIRECTION
) -> dict[str, Any]:
    """A metric's numbers as results store them."""
    gain = numbers.advantage
    return {
        "metric": metric,
        "primary": primary,
        "judged": judged,
        "direction": direction,
        **_interval(numbers.found),
        "blind_outsider": _twin(numbers.outsider),
        "blind_rest": _twin(numbers.rest),
        "advantage": gain and gain.value,
        "advantage_low": gain and gain.low,
        "advantage_high": gain and gain.high,
        "p": gain and gain.p,
        "n": numbers.n,
    }


def stated(victims: Sequence[Mapping[str, Measured]], goal: Goal, code: str) -> list[dict[str, Any]]:
    """Each metric's numbers on one victim, or over several; a metric that some victim lacks is left out.

    The resampling follows from `code` and the metric's name. PerfectTwin where a judged metric leaves no room for an
    advantage.
    """
    found = []
    for metric in [m for m in victims[0] if all(m in one for one in victims)]:
        generator = numpy.random.default_rng([int(digest([code, metric]), 16)])
        judged = metric in JUDGED
        numbers = state([one[metric] for one in victims], generator, judged=judged)
        found.append(numbered(metric, metric == PRIMARY[goal], judged, numbers, victims[0][metric].direction))
    return found


def without_numbers() -> dict[str, Any]:
    """The fields of a cell without a score; it is kept with its reason, never dropped."""
    return {**dict.fromkeys(NO_NUMBERS), "primary": True, "judged": False}


def _interval(found: Interval) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high}


def _twin(twin: Twin | None) -> dict[str, Any] | None:
    return None if twin is None else {**_interval(twin.interval), "twin": twin.name}


def repeated(about: Mapping[str, Any]) -> dict[str, Any]:
    """What every result row repeats of the audit."""
    return {
        "backbone": f"{about['backbone']['name']} {about['backbone']['digest']}".strip(),
        "data": f"{about['data']['name']} {about['data']['digest']}",
        "sandbox": about["machine"]["sandbox"],
        "versions": about["versions"],
    }
