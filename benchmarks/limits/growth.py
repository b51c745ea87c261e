"""How costs grow: with samples, layers, width, classes, length, devices; nothing may be worse than linear in samples.

    sidelight bench growth

Each cost is measured REPEATS times at each size, in turns. A cost that grows with samples misses its bar where the
lower end of its exponent's 95 % interval is above 1, which is where it is worse than linear beyond what chance makes:
from MANY samples on, which no fixed cost makes smaller. Beside it stands that over all sizes. It is above 1 where keys
are sorted or looked up in a tree, where data outgrow the processor's caches, and where the cache on disk gives mapped
pages back to stay flat in memory: the larger the file, the fewer of the pages that remain serve the next random read,
until each read has its own page faults.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..finding import Bench, Cell, Finding, Headline, Plot
from .axes import MANY, Axis, axes
from .exponent import Exponent, Point, fitted
from .machine import one_thread

REPEATS = 3
LINEAR = 1.0


@dataclass(frozen=True)
class Grown:
    """A cost with its points."""

    name: str
    axis: Axis
    points: Sequence[Point]
    exponent: Exponent

    @property
    def tail(self) -> Exponent | None:
        """From MANY samples on."""
        return fitted([(x, y) for x, y in self.points if x >= MANY]) if self.axis.name == "samples" else None

    def row(self) -> dict[str, Cell]:
        (size, cost), tail = max(self.points), self.tail
        return {
            "cost": self.name,
            "grows with": self.axis.name,
            "from": self.axis.sizes[0],
            "to": size,
            "exponent": self.exponent.value,
            "low": self.exponent.low,
            "high": self.exponent.high,
            f"from {MANY:,} on": tail.value if tail else None,
            "at the largest": cost,
            "unit": self.axis.unit,
        }


def measure(bench: Bench) -> Finding:
    """Exponents of all costs."""
    with one_thread():
        found = [one for axis in axes(bench.backbone) for one in grown(axis, bench)]
    return Finding(
        name="growth",
        title="How costs grow",
        kind="measured",
        about=(
            f"Exponents by a line through logarithms, {REPEATS} points at each size, one thread. The server's side "
            "network is 4 x 64 (along layers 192 wide, along devices of the backbone's size), r = 16, K = 20, "
            f"where these do not grow; the backbone is {bench.model}. Memory is above what libraries take."
        ),
        headlines=bars(found),
        rows=[one.row() for one in found],
        notes=[
            f"A fixed cost lowers an exponent; from {MANY:,} samples on, where bars are held, it hardly does. It rises "
            "where data outgrow the processor's caches, and by the cache on disk, which gives mapped pages back to "
            "stay flat in memory: the larger its file, the more reads end in page faults."
        ],
        plots=plots(found),
    )


def grown(axis: Axis, bench: Bench) -> list[Grown]:
    """Every cost along an axis."""
    points: dict[str, list[Point]] = defaultdict(list)
    for repeat in range(REPEATS):
        bench.say(f"{axis.name}, turn {repeat + 1} of {REPEATS}")
        for size in axis.sizes:
            for name, cost in axis.costs(size).items():
                points[name].append((size, cost))
    return [Grown(name, axis, found, fitted(found)) for name, found in points.items()]


def bars(found: Sequence[Grown]) -> list[Headline]:
    """One of each cost that grows with samples."""
    return [
        Headline(
            f"{one.name}: exponent from {MANY:,} samples on, lower end of its interval",
            tail.low,
            LINEAR,
            f"exponent {tail.value:.2f}, upper end {tail.high:.2f}; over all sizes {one.exponent.value:.2f}",
            at="most",
        )
        for one in found
        if (tail := one.tail) is not None
    ]


def plots(found: Sequence[Grown]) -> list[Plot]:
    """One of each axis and unit."""
    together: dict[tuple[str, str], dict[str, Sequence[Point]]] = defaultdict(dict)
    for one in found:
        together[one.axis.name, one.axis.unit][one.name] = sorted(one.points)
    return [Plot(f"{unit} by {name}", name, unit, _copied(series)) for (name, unit), series in together.items()]


def _copied(series: Mapping[str, Sequence[Point]]) -> dict[str, list[Point]]:
    return {name: [(float(x), float(y)) for x, y in points] for name, points in series.items()}
