"""Curves: the rows of each sweep, put in order; a report draws them without knowing what was varied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..suites.sweeps import axis

Row = dict[str, Any]

POINT_FIELDS = (
    "group", "cell", "status", "reason", "value", "low", "high", "blind_outsider", "blind_rest", "advantage",
    "advantage_low", "advantage_high", "p_holm", "verdict", "n", "victims", "scope", "uplink_bytes_per_sample",
    "downlink_bytes_per_sample", "device_seconds_per_sample", "epsilon", "epsilon_example",
    "epsilon_released", "price",
)  # fmt: skip


class Curves:
    """Collects the rows of role `point`."""

    def __init__(self, groups: Mapping[str, Row]) -> None:
        self._groups = groups
        self._curves: dict[tuple[str, int | None], list[Row]] = {}

    def add(self, row: Row) -> None:
        """Take a row in; one that is no point, or part of a row over victims, is passed by."""
        if row["sweep"] is not None and row["part_of"] is None:
            self._curves.setdefault((row["sweep"]["curve"], row["seed"]), []).append(row)

    def curves(self) -> list[Row]:
        """One object for each metric of each curve, where there are few victims also of each victim."""
        made = []
        for rows in self._curves.values():
            metrics = dict.fromkeys(row["metric"] for row in rows if row["metric"] is not None)
            made += [self._curve(rows, metric) for metric in metrics or [None]]
        return made

    def _curve(self, rows: list[Row], metric: str | None) -> Row:
        kept = [row for row in rows if row["metric"] in (metric, None)]
        first = next((row for row in kept if row["metric"] == metric), kept[0])
        return {
            "curve": first["sweep"]["curve"],
            "label": first["sweep"]["label"],
            "protocol": first["protocol"],
            "attack": first["attack"],
            "settings": first["sweep"]["settings"],
            "goal": first["goal"],
            "metric": metric,
            "direction": first["direction"],
            "primary": first["primary"],
            "judged": first["judged"],
            "victim": first["seed"],
            "setting": first["sweep"]["setting"],
            "axis": axis([row["sweep"]["value"] for row in kept]),
            "points": [self._point(row) for row in sorted(kept, key=lambda row: row["sweep"]["at"])],
        }

    def _point(self, row: Row) -> Row:
        group = self._groups[row["group"]]
        kept = {name: row[name] for name in POINT_FIELDS}
        return {"x": row["sweep"]["value"], **kept, "utility": group["utility"], "floor": group["floor"]}
