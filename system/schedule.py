"""In which order one machine serves devices: jobs with an arrival, work, and a tail that needs the machine no more.

The round ends when the last device has ended its tail. Which order ends it first is the problem 1|r,q|Cmax, hard in
general (Lenstra, Rinnooy Kan and Brucker 1977). All times here are MODELLED, in seconds, or whatever unit is given.

Rules: `arrival`, first come first served; `tail`, of those that have arrived the largest tail (Schrage's heuristic),
which is optimal where all have arrived; `lookahead`, which may leave the machine idle for a device that is about to
come: Carlier's branch and bound (European Journal of Operational Research 11, 1982), exact up to its limit of nodes.

Shapes: J jobs, in lists; an order is their numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

Rule = Literal["arrival", "tail", "lookahead"]
RULES: tuple[Rule, ...] = get_args(Rule)

NODES = 2_000
"""Nodes that the branch and bound visits before it takes the best order so far."""


@dataclass(frozen=True)
class Job:
    """One device's batch at the server."""

    ready: float
    """When it has arrived."""
    work: float
    """How long the server takes for it, without a break."""
    tail: float = 0.0
    """How long the device takes from then on."""


def order(rule: Rule, jobs: Sequence[Job], now: float = 0.0) -> list[int]:
    """The order in which a machine that is free from `now` on serves jobs."""
    jobs = [replace(job, ready=max(job.ready, now)) for job in jobs] if rule != "arrival" else jobs
    if rule == "arrival":
        return sorted(range(len(jobs)), key=lambda i: (jobs[i].ready, i))
    return largest_tail(jobs) if rule == "tail" else lookahead(jobs)


def finish(jobs: Sequence[Job], order: Sequence[int]) -> float:
    """When the last tail ends, if the machine takes jobs in this order and waits for each."""
    free = last = 0.0
    for i in order:
        free = max(free, jobs[i].ready) + jobs[i].work
        last = max(last, free + jobs[i].tail)
    return last


def largest_tail(jobs: Sequence[Job]) -> list[int]:
    """Never idle while a job waits; of those that wait, the one with the largest tail."""
    left, free, chosen = set(range(len(jobs))), 0.0, []
    while left:
        free = max(free, min(jobs[i].ready for i in left))
        best = max((i for i in left if jobs[i].ready <= free), key=lambda i: (jobs[i].tail, -i))
        left.remove(best)
        chosen.append(best)
        free += jobs[best].work
    return chosen


# --- looking ahead ---------------------------------------------------------------------------------------------


def lookahead(jobs: Sequence[Job]) -> list[int]:
    """The best order that Carlier's branch and bound finds: optimal where it ends within NODES nodes.

    Each node is a set of jobs with arrivals and tails raised; the largest-tail order of the node either is optimal or
    names a critical job, which in an optimal order stands before or behind a known set of others.
    """
    best = largest_tail(jobs)
    least = finish(jobs, best)
    open_nodes = [list(jobs)]
    for _ in range(NODES):
        if not open_nodes:
            break
        node = open_nodes.pop()
        found = largest_tail(node)
        if (ends := finish(jobs, found)) < least:
            best, least = found, ends
        open_nodes += [child for child in _children(node, found) if bound(child) < least]
    return best


def bound(jobs: Sequence[Job]) -> float:
    """What no order can end before: jobs may be broken off for one with a larger tail (Jackson's preemptive rule)."""
    coming = sorted(range(len(jobs)), key=lambda i: jobs[i].ready)
    left = [job.work for job in jobs]
    here: list[int] = []
    now = last = 0.0
    while coming or here:
        if not here:
            now = max(now, jobs[coming[0]].ready)
        while coming and jobs[coming[0]].ready <= now:
            here.append(coming.pop(0))
        chosen = max(here, key=lambda i: jobs[i].tail)
        until = min(now + left[chosen], jobs[coming[0]].ready if coming else float("inf"))
        left[chosen] -= until - now
        now = until
        if left[chosen] <= 1e-12 * now:
            here.remove(chosen)
            last = max(last, now + jobs[chosen].tail)
    return last


def _children(jobs: list[Job], order: Sequence[int]) -> list[list[Job]]:
    """The two halves of a node's orders; none where its largest-tail order is optimal."""
    path = _critical_path(jobs, order)
    end = jobs[path[-1]].tail
    smaller = [at for at, i in enumerate(path) if jobs[i].tail < end]
    if not smaller:
        return []
    critical, behind = path[smaller[-1]], path[smaller[-1] + 1 :]
    work = sum(jobs[i].work for i in behind)
    last, first = list(jobs), list(jobs)
    last[critical] = replace(jobs[critical], ready=max(jobs[critical].ready, min(jobs[i].ready for i in behind) + work))
    first[critical] = replace(jobs[critical], tail=max(jobs[critical].tail, work + end))
    return [last, first]


def _critical_path(jobs: Sequence[Job], order: Sequence[int]) -> list[int]:
    """Jobs served without a pause up to the one whose tail ends last."""
    free, start, ends = 0.0, 0, []
    for at, i in enumerate(order):
        if jobs[i].ready > free:
            start = at
        free = max(free, jobs[i].ready) + jobs[i].work
        ends.append((free + jobs[i].tail, at, start))
    _, at, start = max(ends, key=lambda found: found[0])
    return list(order[start : at + 1])
