"""Curves of every kind: on each axis, with a failed point, judged and unjudged, with victims joined or apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .folder import interval, scored

FEWEST = 5


class Along(NamedTuple):
    """What a curve varies, and the utility at each value."""

    label: str
    setting: str
    axis: str
    xs: list[Any]
    use: list[float]


NOISE = Along(
    "pae (defence.name=gaussian)", "defence.sigma", "log", [0.01, 0.1, 1, 4, 16, 64], [0.82, 0.81, 0.8, 0.76, 0.7, 0.61]
)
EPOCHS = Along("pae (difference=probability)", "side.epochs", "linear", [1, 2, 5, 10, 20, 30],
               [0.2, 0.41, 0.66, 0.74, 0.8, 0.81])  # fmt: skip
PRECISION = Along("mobillm", "precision", "ordinal", ["fp32", "fp16", "int8", "int4"], [0.82, 0.82, 0.81, 0.69])
AUXILIARY = Along("pae (difference=logit)", "threat.auxiliary", "ordinal",
                  ["none", "a few labels of each class", "same domain, other rows", "in distribution, disjoint rows"],
                  [0.8] * 4)  # fmt: skip
LABELS = {"goal": "labels", "metric": "accuracy", "primary": True}
MATCH = {"attack": "match", "settings": {"beam": 8}, "goal": "texts", "metric": "position_accuracy", "primary": True}
BY_COIN = {"attack": "sign", "goal": "labels", "metric": "random_row_accuracy", "primary": False}


def every_curve(victims: int) -> Iterator[dict[str, Any]]:
    """Lines of curves.jsonl; of few victims each has a curve of its own."""
    for curve in _curves(victims):
        for own in dict.fromkeys(tuple(point["victims"]) for point in curve["points"]):
            points = [point for point in curve["points"] if tuple(point["victims"]) == own]
            yield curve | {"points": points, "victim": own[0] if len(own) == 1 else None}


def _curves(victims: int) -> Iterator[dict[str, Any]]:
    yield _curve(NOISE, [0.99, 0.97, 0.81, 0.55, None, 0.42], victims) | LABELS | {"attack": "sign"}
    yield _curve(NOISE, [0.95, 0.93, 0.77, 0.51, None, 0.4], victims) | LABELS | {"attack": "norm"}
    by_coin = _curve(NOISE, [0.98, 0.95, 0.62, 0.21, None, 0.05], victims, blind=0.05) | BY_COIN
    yield by_coin
    yield _unjudged(by_coin) | {"metric": "macro_accuracy"}
    yield _curve(EPOCHS, [0.9, 0.95, 0.97, 0.98, 0.985, 0.99], victims) | LABELS | {"attack": "addback"}
    yield _curve(PRECISION, [0.998, 0.997, 0.81, 0.34], victims, blind=0.12) | MATCH
    yield _curve(AUXILIARY, [0.41, 0.44, 0.52, 0.77], victims) | LABELS | {"attack": "codebook"}


def _curve(along: Along, values: Sequence[float | None], victims: int, blind: float = 0.41) -> dict[str, Any]:
    """A curve; the blind twin stays where it is and the verdict follows the value."""
    each = [[number] for number in range(victims)] if 1 < victims < FEWEST else [list(range(victims))]
    found = zip(along.xs, values, along.use, strict=True)
    return {
        "curve": f"{along.label}-{along.setting}-{blind}", "label": along.label, "setting": along.setting,
        "protocol": along.label.partition(" ")[0], "settings": {}, "axis": along.axis,
        "points": [
            _point(x, value and max(value - 0.02 * place, 0.0), use, blind, own)
            for x, value, use in found for place, own in enumerate(each)
        ],
    }  # fmt: skip


def _point(x: Any, value: float | None, use: float, blind: float, own: list[int]) -> dict[str, Any]:
    scope = f"over {len(own)} victims" if len(own) > 1 else "conditional on this victim"
    about = {
        "x": x, "group": "g", "cell": f"c{x}", "victims": own, "scope": scope, "utility": use, "reason": None,
        "floor": {"value": 0.71, "reached": use >= 0.71}, "uplink_bytes_per_sample": 4704.0,
        "downlink_bytes_per_sample": 310.0,
    }  # fmt: skip
    if value is None:
        return about | {"status": "failed", "reason": "ran past 300 s"}
    verdict = "leaks" if value > blind + 0.1 else "resists" if value <= blind else "inconclusive"
    found = scored(value, blind, verdict, "", []) | interval(value, 0.07 if value < 0.9 else 0.03)
    kept = {name: found[name] for name in found if name not in ("metric", "consumes", "p")}
    return about | {"status": "scored"} | kept


def _unjudged(curve: Mapping[str, Any]) -> dict[str, Any]:
    points = [{**point, "verdict": None, "p_holm": None} for point in curve["points"]]
    return {**curve, "points": points}
