"""In which order a server best serves devices that train with it: MODELLED round and training times, as ratios.

Nothing here is measured on a device: times come from the profiles in system/profiles.py. A device of memory-efficient
SFL is ready when its forward pass is done and its activations have arrived; the server serves one device at a time,
without a break; then the gradient returns and the device runs its backward pass. The round ends when the last device
has. Devices are drawn from the profiles, their speed and each link slowed or hastened by a factor drawn log-uniformly
from 1/2 to 2, the links' anew in every round; their cut is the deepest that memory takes.

`gap` is a round's time over that of the best of all orders, forced idle allowed, less 1. `saved` is the share of the
training time by order of arrival that another rule saves when it knows all times beforehand, `by profile` the same when
it knows what has arrived, each device's speed, and of links only what is usual; `most` is what no order could exceed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from ..system.profiles import PROFILES, SERVER_COMPUTE, Load, Profile, Shape, deepest
from ..system.schedule import RULES, Job, Rule, bound, finish, order
from .finding import Bench, Cell, Finding, Headline

WIDTH = 1024
MODEL = Shape(24, WIDTH, 16, 12 * WIDTH**2 + 13 * WIDTH, (50_272 + 2_050) * WIDTH, 18 * WIDTH)
"""An OPT of 24 blocks and width 1,024, counted from its architecture (arXiv 2205.01068, table 1)."""
RANK, TEXTS, POSITIONS = 8, 16, 128
SERVERS = (SERVER_COMPUTE / 20, SERVER_COMPUTE / 10, SERVER_COMPUTE / 4, SERVER_COMPUTE)
"""FLOP/s."""
FLEETS = {"mixed": tuple(PROFILES), "phone-mid": ("phone-mid",), "phone-high": ("phone-high",), "jetson": ("jetson",)}
"""Profiles that a fleet's devices are drawn from."""
SPREAD = 2.0
"""Largest factor on a speed or a link."""
COUNTS = range(2, 9)
"""Devices whose orders are all tried."""
LATE = 0.25
"""Share of the time that a device usually takes after which it is expected, once it is late."""
MANY = 10
"""Devices whose training time is compared."""
ROUNDING = 1e-12
"""Gap up to which two times are the same."""
CLAIMED = 0.06
"""Share of the training time that arXiv 2506.02940 saves, by its abstract."""

Fleet = tuple[tuple[Profile, Load], ...]


@dataclass(frozen=True)
class Gap:
    """How far from the best order a rule ends a round, over many fleets."""

    rule: Rule
    devices: int
    median: float
    worst: float
    near: float
    """Share of fleets within 2 % of the best order."""


@dataclass(frozen=True)
class Saving:
    """What a rule saves of the training time by order of arrival, over many fleets."""

    fleet: str
    server: float
    """FLOP/s."""
    rule: Rule
    median: float
    low: float
    high: float
    """From the tenth to the ninetieth of a hundred fleets."""
    by_profile: float
    """Median, where links are known by profile alone."""
    most: float
    """Median of what no order could exceed."""


@dataclass(frozen=True)
class Study:
    """All figures, modelled, with what they are conditional on."""

    gaps: tuple[Gap, ...]
    savings: tuple[Saving, ...]
    fleets: int
    rounds: int
    seed: int


def study(fleets: int = 200, rounds: int = 20, seed: int = 0) -> Study:
    """The whole study; so many fleets for every row, and rounds of training for each."""
    drawn = np.random.default_rng(seed)
    gaps = tuple(gap for devices in COUNTS for gap in gaps_of(devices, fleets, drawn))
    rows = [(fleet, server) for fleet in FLEETS for server in SERVERS]
    few = max(fleets // 4, 1)  # each of many rounds
    savings = tuple(saving for fleet, server in rows for saving in savings_of(fleet, server, few, rounds, drawn))
    return Study(gaps, savings, fleets, rounds, seed)


def gaps_of(devices: int, fleets: int, drawn: np.random.Generator) -> Iterator[Gap]:
    """Every rule against all orders, on mixed fleets and every speed of the server in turn."""
    found: dict[Rule, list[float]] = {rule: [] for rule in RULES}
    for number in range(fleets):
        jobs = jobs_of(fleet_of("mixed", devices, drawn), SERVERS[number % len(SERVERS)], drawn)
        best = best_of_all(jobs)
        for rule in RULES:
            gap = finish(jobs, order(rule, jobs)) / best - 1
            found[rule].append(gap if gap > ROUNDING else 0.0)
    for rule, gaps in found.items():
        near = float(np.mean(np.array(gaps) <= 0.02))
        yield Gap(rule, devices, float(np.median(gaps)), max(gaps), near)


def savings_of(fleet: str, server: float, fleets: int, rounds: int, drawn: np.random.Generator) -> Iterator[Saving]:
    """What rules save on fleets of MANY devices, over a training of so many rounds."""
    times = np.array([trained(fleet_of(fleet, MANY, drawn), server, rounds, drawn) for _ in range(fleets)])
    shares = 1 - times[:, 1:] / times[:, :1]  # of arrival, which stands first
    medians = np.median(shares, axis=0).tolist()
    for at, rule in enumerate(RULES[1:]):
        low, high = np.quantile(shares[:, at], (0.1, 0.9)).tolist()
        yield Saving(fleet, server, rule, medians[at], low, high, medians[2 + at], medians[-1])


def trained(fleet: Fleet, server: float, rounds: int, drawn: np.random.Generator) -> NDArray[np.float64]:
    """The sum of round times by every rule, by two that know links by profile, and of what no order can end before."""
    usual = [load.job(profile, server) for profile, load in fleet]
    whole = np.zeros(2 * len(RULES))
    for _ in range(rounds):
        jobs = jobs_of(fleet, server, drawn)
        here = [replace(job, ready=now.ready) for job, now in zip(usual, jobs, strict=True)]
        orders = [*(order(rule, jobs) for rule in RULES), order("tail", here), replanned(jobs, usual)]
        whole += [*(finish(jobs, one) for one in orders), bound(jobs)]
    return whole


def replanned(jobs: Sequence[Job], usual: Sequence[Job]) -> list[int]:
    """Looking ahead when arrivals are not known: planned anew whenever the machine is free, a device comes or is late.

    Who has not come is expected when it usually does, and who is late in LATE of its usual time. The machine waits only
    while the plan begins with somebody who has not come.
    """
    left, now, chosen = list(range(len(jobs))), 0.0, []
    while left:
        late = [now + LATE * usual[i].ready if usual[i].ready <= now else usual[i].ready for i in left]
        seen = [jobs[i].ready if jobs[i].ready <= now else at for i, at in zip(left, late, strict=True)]
        plan = order("lookahead", [replace(usual[i], ready=at) for i, at in zip(left, seen, strict=True)], now)
        first = left[plan[0]]
        if jobs[first].ready > now:
            now = min(seen[plan[0]], *(jobs[i].ready for i in left if jobs[i].ready > now))
            continue
        left.remove(first)
        chosen.append(first)
        now += jobs[first].work
    return chosen


def fleet_of(name: str, devices: int, drawn: np.random.Generator) -> Fleet:
    """Devices with a speed of their own, each with as many blocks as its memory takes."""
    loads = [Load(MODEL, cut, RANK, TEXTS, POSITIONS) for cut in range(1, MODEL.blocks)]
    kinds = [PROFILES[FLEETS[name][i]] for i in drawn.integers(len(FLEETS[name]), size=devices)]
    return tuple((replace(kind, compute=kind.compute * factor(drawn)), deepest(kind, loads)) for kind in kinds)


def jobs_of(fleet: Fleet, server: float, drawn: np.random.Generator) -> list[Job]:
    """One round of a fleet, with links as they happen to be."""
    now = [
        replace(profile, uplink=profile.uplink * factor(drawn), downlink=profile.downlink * factor(drawn))
        for profile, _ in fleet
    ]
    return [load.job(profile, server) for profile, (_, load) in zip(now, fleet, strict=True)]


def factor(drawn: np.random.Generator) -> float:
    """From 1/SPREAD to SPREAD, log-uniform."""
    return float(SPREAD ** drawn.uniform(-1, 1))


def best_of_all(jobs: Sequence[Job]) -> float:
    """The earliest end over all orders, each of which waits wherever its next job has not come."""
    orders: NDArray[np.int64] = np.array(list(permutations(range(len(jobs)))))
    ready, work, tail = (np.array([getattr(job, name) for job in jobs]) for name in ("ready", "work", "tail"))
    free = last = np.zeros(len(orders))
    for place in orders.T:
        free = np.maximum(free, ready[place]) + work[place]
        last = np.maximum(last, free + tail[place])
    return float(last.min())


def measure(bench: Bench) -> Finding:
    """The study as a benchmark; nothing of the bench's data or backbone is used."""
    bench.say("schedules: modelled, three minutes")
    found = study()
    tails = [one for one in found.savings if one.rule == "tail"]
    usual = next(one for one in tails if (one.fleet, one.server) == ("mixed", SERVER_COMPUTE))
    best = max(tails, key=lambda one: one.by_profile)
    reached = sum(one.by_profile >= CLAIMED for one in tails)
    worst = {rule: max(gap.worst for gap in found.gaps if gap.rule == rule) for rule in RULES}
    return Finding(
        name="schedule",
        title="In which order a server serves its devices",
        kind="modelled",
        about=(
            f"An OPT of 24 blocks and width {WIDTH:,}, {TEXTS} texts of {POSITIONS} positions, LoRA of rank {RANK}; "
            "devices drawn from the profiles in system/profiles.py. "
            f"Gaps: {found.fleets} mixed fleets for each number of devices. "
            f"Savings: {MANY} devices, {found.rounds} rounds."
        ),
        headlines=(
            Headline(
                "training time that `tail` saves against order of arrival, in % (arXiv 2506.02940: 6)",
                100 * usual.by_profile,
                100 * CLAIMED,
                f"mixed fleet, server {usual.server:.1e} FLOP/s, links known by profile",
            ),
            Headline(
                "the largest such saving over all pairs of fleet and server, chosen after the fact, in %",
                100 * best.by_profile,
                None,
                f"fleet {best.fleet}, server {best.server:.1e} FLOP/s; {reached} of {len(tails)} pairs reach 6 %; no "
                f"order could save more than {100 * best.most:.1f} % there",
            ),
            *(
                Headline(f"worst gap of `{rule}` to the best of all orders, 2 to 8 devices, in %", 100 * gap, None)
                for rule, gap in worst.items()
            ),
        ),
        rows=[*map(_gap_row, found.gaps), *map(_saving_row, found.savings)],
        notes=(
            "`median`, `by profile` and `at most`, what no order could exceed, are of the median fleet; `from`, `to` "
            "of fleets at the 10th and the 90th percentile.",
            "`lookahead` knows all times beforehand; `by profile` it knows what has arrived, speeds, and of links what "
            "is usual.",
        ),
    )


def _gap_row(gap: Gap) -> dict[str, Cell]:
    return _row("gap to the best order", f"mixed, {gap.devices} devices", None, gap.rule) | {
        "median, %": 100 * gap.median,
        "to, %": 100 * gap.worst,
        "within 2 %, % of fleets": 100 * gap.near,
    }


def _saving_row(saving: Saving) -> dict[str, Cell]:
    return _row("saved against arrival", saving.fleet, f"{saving.server:.1e}", saving.rule) | {
        "median, %": 100 * saving.median,
        "from, %": 100 * saving.low,
        "to, %": 100 * saving.high,
        "by profile, %": 100 * saving.by_profile,
        "at most, %": 100 * saving.most,
    }


def _row(figure: str, fleet: str, server: str | None, rule: Rule) -> dict[str, Cell]:
    """All columns, those of one kind of figure empty."""
    figures = ("median, %", "from, %", "to, %", "within 2 %, % of fleets", "by profile, %", "at most, %")
    return {"figure": figure, "fleet": fleet, "server FLOP/s": server, "rule": rule, **dict.fromkeys(figures)}
