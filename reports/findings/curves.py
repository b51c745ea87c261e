"""An audit's curves in order: by what is varied, with what stands beside the drawing of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..stored.records import Twin
from ..stored.results import Audit
from ..stored.rows import BEST, Curve, Point
from .axis import Axis, axis
from .wording import attack_with, listed, setting, words

Series = tuple[Point, ...]


class Note(NamedTuple):
    """A sentence under a drawing; an alarm is shown in red."""

    text: str
    alarm: bool


@dataclass(frozen=True)
class Varied:
    """One setting of one protocol, with what each attack found along it."""

    label: str
    setting: str
    judged: tuple[Curve, ...]
    """The curves that carry verdicts."""
    other: tuple[Curve, ...]

    @property
    def name(self) -> str:
        return f"{self.label}: {self.setting}"


def varied(audit: Audit) -> tuple[Varied, ...]:
    """What the audit varied, in its order."""
    found: dict[tuple[str, str], list[Curve]] = {}
    for curve in _joined(audit.curves):
        found.setdefault((curve.label, curve.setting), []).append(curve)
    return tuple(_parted(label, varies, curves) for (label, varies), curves in found.items())


def _joined(curves: Iterable[Curve]) -> Iterator[Curve]:
    """One curve for all victims that stand apart: each has one of its own in the folder."""
    alike: dict[tuple[str, ...], list[Curve]] = {}
    for curve in curves:
        key = (curve.curve, curve.attack, attack_with(curve.attack, curve.settings), curve.metric or "")
        alike.setdefault(key, []).append(curve)
    for first, *others in alike.values():
        points = [point for curve in (first, *others) for point in curve.points]
        order = list(dict.fromkeys(setting(point.x) for point in points))
        yield first.model_copy(update={"points": tuple(sorted(points, key=lambda p: order.index(setting(p.x))))})


def _parted(label: str, varies: str, curves: list[Curve]) -> Varied:
    judged = tuple(curve for curve in curves if carries_verdicts(curve))
    return Varied(label, varies, judged, tuple(curve for curve in curves if not carries_verdicts(curve)))


def carries_verdicts(curve: Curve) -> bool:
    return curve.primary or curve.judged or any(point.verdict for point in curve.points)


def named(curve: Curve) -> str:
    """What a curve shows: the attack with its settings, the goal and the metric."""
    name = "best of several" if curve.attack == BEST else attack_with(curve.attack, curve.settings)
    return f"{name}: {', '.join(words(said) for said in (curve.goal, curve.metric) if said)}"


def scored(curve: Curve) -> tuple[Point, ...]:
    return tuple(point for point in curve.points if point.status == "scored" and point.value is not None)


def axis_of(curve: Curve) -> Axis:
    return axis([point.x for point in curve.points], curve.axis)


def series(curve: Curve) -> tuple[Series, ...]:
    """The scored points from left to right: one series, or one for each victim where victims stand apart."""
    along = axis_of(curve)
    points = sorted(scored(curve), key=lambda point: along.at(point.x))
    if not apart(curve):
        return (tuple(points),)
    victims = sorted({point.victims for point in points})
    return tuple(tuple(point for point in points if point.victims == own) for own in victims)


def apart(curve: Curve) -> bool:
    """Whether some value of the setting has a point for each victim."""
    return len({setting(point.x) for point in curve.points}) < len(curve.points)


def stronger(point: Point) -> tuple[Twin, str] | None:
    """The twin that guesses better, with the name of its side."""
    sides = ((point.blind_outsider, "outsider"), (point.blind_rest, "rest"))
    known = [(twin, side) for twin, side in sides if twin is not None and twin.value is not None]
    return max(known, key=lambda found: found[0].value or 0.0, default=None)


def notes(curve: Curve) -> Iterator[Note]:
    """What the drawing cannot show: points without a score, and a floor that was missed."""
    lost: dict[tuple[str, str, str], list[Point]] = {}
    for point in curve.points:
        if point.status != "scored":
            why = point.reason or "no reason was stored"
            lost.setdefault((setting(point.x), point.status, why), []).append(point)
    for (value, status, why), points in lost.items():
        yield Note(f"{value}{_whose(curve, points)}: {words(status)}, {why}", status == "failed")
    missed = list(dict.fromkeys(setting(p.x) for p in curve.points if p.floor is not None and not p.floor.reached))
    if missed:
        yield Note(f"Utility below its floor at {listed(missed, most=8)}", True)


def _whose(curve: Curve, points: list[Point]) -> str:
    if len(points) == 1:
        return victim(curve, points[0])
    return f", victims {listed([str(number) for point in points for number in point.victims])}"


def at(curve: Curve, point: Point) -> str:
    """A point by its value, with its victim where victims stand apart."""
    return f"{setting(point.x)}{victim(curve, point)}"


def victim(curve: Curve, point: Point) -> str:
    one = len(point.victims) == 1 and apart(curve)
    return f", victim {point.victims[0]}" if one else ""
