"""Draws leakage against utility and against bytes, side by side: numbers stand for protocols.

Filled: on the front, which no other protocol beats in all three. Places on top of each other share one mark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil, floor, log10

from markupsafe import Markup

from ..findings.front import Front, Place
from ..findings.wording import count, number
from .svg import drawing, line, text

WIDTH, HEIGHT = 460, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 444, 12, 262
TOUCH = 15
"""Pixels below which two marks would cover each other."""
Along = Callable[[Place], float | None]
"""A place's pixel along the axis; None where it was not measured."""


def panels(front: Front, index: int) -> tuple[Markup, ...]:
    """Leakage along utility and along bytes up a sample; a panel is left out where nothing was measured."""
    said = "; ".join(map(_said, front.places))
    made = []
    for name, title, drawn in (("u", "utility", _utility(front)), ("b", "bytes up a sample", _bytes(front))):
        if drawn is not None:
            body = [*_leakage(), *drawn[1], *_marks(front.places, drawn[0])]
            named = f"Leakage of {front.about} against {title}"
            made.append(drawing(f"front-{index}-{name}", named, said, (WIDTH, HEIGHT), body))
    return tuple(made)


def _said(place: Place) -> str:
    front = ", on the front" if place.on_front else ", nothing crosses" if place.silent else ""
    return (
        f"{place.number} {place.name}: leakage {number(place.leakage)}, utility {number(place.utility)}, "
        f"bytes {count(place.uplink)}{front}"
    )


def _y(leakage: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * min(max(leakage, 0.0), 1.0), 1)


def _leakage() -> Iterator[Markup]:
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield line("grid", (LEFT, _y(tick)), (RIGHT, _y(tick)))
        yield text("tick side", LEFT - 8, _y(tick) + 4, f"{tick:g}")


def _utility(front: Front) -> tuple[Along, list[Markup]] | None:
    values = [place.utility for place in front.places if place.utility is not None]
    if not values:
        return None
    low, high = floor(10 * min(values)) / 10, ceil(10 * max(values)) / 10
    low, high = (low, high) if high > low else (max(low - 0.1, 0.0), min(high + 0.1, 1.0))
    ticks = [round(low + 0.1 * step, 1) for step in range(round(10 * (high - low)) + 1)]
    axis = [_tick(_along(tick, low, high), f"{tick:g}") for tick in ticks[:: max(1, len(ticks) // 6)]]
    return lambda place: None if place.utility is None else _along(place.utility, low, high), [*axis, _named("utility")]


def _bytes(front: Front) -> tuple[Along, list[Markup]] | None:
    """Along a logarithm; where nothing crosses stands apart at its left."""
    values = [log10(place.uplink) for place in front.places if place.uplink]
    if not values:
        return None
    low, high = floor(min(values)), max(ceil(max(values)), floor(min(values)) + 1)
    nothing = LEFT + 16 if any(place.uplink == 0 for place in front.places) else None
    start = LEFT if nothing is None else LEFT + 48

    def along(place: Place) -> float | None:
        if not place.uplink:
            return nothing if place.uplink == 0 else None
        return _along(log10(place.uplink), low, high, start)

    axis = [_tick(_along(power, low, high, start), _power(power)) for power in range(low, high + 1)]
    return along, [*axis, *([] if nothing is None else [_tick(nothing, "0")]), _named("bytes up a sample, log scale")]


def _along(value: float, low: float, high: float, start: float = LEFT) -> float:
    return round(start + 12 + (RIGHT - start - 24) * (value - low) / (high - low), 1)


def _power(power: int) -> str:
    names = {0: "1 B", 1: "10 B", 2: "100 B", 3: "1 kB", 4: "10 kB", 5: "100 kB", 6: "1 MB", 7: "10 MB", 8: "100 MB"}
    return names.get(power, f"1e{power} B")


def _tick(x: float, name: str) -> Markup:
    return Markup("{}{}").format(line("grid", (x, TOP), (x, BOTTOM)), text("tick", x, BOTTOM + 18, name))


def _named(axis: str) -> Markup:
    return text("axis", (LEFT + RIGHT) / 2, BOTTOM + 42, axis)


def _marks(places: Sequence[Place], along: Along) -> Iterator[Markup]:
    """Intervals below, marks above; what touches stands side by side at the first one's place."""
    together: list[tuple[float, float, list[Place]]] = []
    for place in places:
        if (x := along(place)) is None:
            continue
        y = _y(place.leakage)
        yield line("span front", (x, _y(place.low)), (x, _y(place.high)))
        near = next((one for one in together if abs(one[0] - x) < TOUCH and abs(one[1] - y) < TOUCH), None)
        if near is None:
            together.append((x, y, [place]))
        else:
            near[2].append(place)
    for x, y, shared in together:
        yield from _side_by_side(x, y, shared)


def _side_by_side(x: float, y: float, shared: Sequence[Place]) -> Iterator[Markup]:
    """One mark for those on the front, one for those behind it, one for those under which nothing crosses."""
    states = {state: [p for p in shared if _state(p) == state] for state in ("front", "behind", "silent")}
    named = {state: ", ".join(str(p.number) for p in found) for state, found in states.items() if found}
    halves = {state: max(9.0, 3.6 * len(name) + 4) for state, name in named.items()}
    whole = sum(halves.values())
    left = min(max(x, LEFT + whole - 8), RIGHT - whole + 8) - whole
    for state, name in named.items():
        yield _mark(left + halves[state], y, halves[state], state, name)
        left += 2 * halves[state]


def _state(place: Place) -> str:
    return "front" if place.on_front else "silent" if place.silent else "behind"


def _mark(x: float, y: float, half: float, state: str, name: str) -> Markup:
    return Markup(
        '<rect class="mark place {s}" x="{}" y="{}" width="{}" height="18" rx="9"/>'
        '<text class="tick {s}" x="{}" y="{}">{}</text>'
    ).format(round(x - half, 1), y - 9, round(2 * half, 1), round(x, 1), y + 4, name, s=state)
