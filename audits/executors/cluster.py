"""A Ray cluster: one run recorded, and one attack run, for each core of all nodes.

The audit's folder is on a file system that all nodes see; Ray itself carries lines of JSON that name runs and cells.
Every run is a task. Of a cell, what its attack prepares is a task, then each view that it attacks, then its judging,
together with the cells of the run that share its twins; Ray begins a task when those that it waits for have ended, so
that no core waits and nothing is prepared twice. Tasks whose node or process dies are done again by another; cells of
which one dies again and again fail, as runs do, and are tried again when the audit is resumed.

The audit's own process asks and looks on. When it ends, however it ends, Ray ends its tasks.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from ...system.errors import SidelightError, UsageError
from ...system.progress import Progress
from ..cells.cell import Cell
from ..planning import home
from ..planning.plan import Plan
from ..runs.recorder import Report
from ..runs.recording import RunOrder
from . import station
from .asking import Asking
from .claim import claim_of, weakest
from .desk import told
from .executor import Spent
from .joining import answers, cores_of, joined, nodes_of
from .station import Answer, Lost

AGAIN = 5
"""Times that a task is done again because its node or process died."""
AHEAD = 1000
"""Groups of cells that Ray knows of at a time."""
GREETING_SECONDS = 60
"""After which nodes that are busy are left to be checked by their first task."""
GLANCE = 2.0
"""Seconds between two looks at the nodes."""
HEAD_SECONDS = 20
"""For which a cluster's head may be away."""

DEATHS = {
    "LocalRayletDiedError",
    "NodeDiedError",
    "ObjectLostError",
    "OutOfMemoryError",
    "OwnerDiedError",
    "TaskUnschedulableError",
    "WorkerCrashedError",
}
"""Ray's errors that say how a task's process ended, or that of a task that it waited for."""

T = TypeVar("T")


@dataclass(frozen=True)
class OnRay:
    """The cluster that this machine is a node of."""

    @contextmanager
    def at_work(self, out: Path, private: Sequence[Path], progress: Progress) -> Iterator[Cluster]:
        """With nodes that see the audit's folder and have the same code as this one."""
        try:
            with joined() as ray:
                cluster = Cluster(ray, out.resolve(), private, progress.say)
                cluster.greet()
                nodes, cores = cluster.machine["nodes"], cluster.machine["cores"]
                progress.say(f"Ray cluster: {nodes} {'node' if nodes == 1 else 'nodes'}, {cores} cores")
                yield cluster
        finally:
            shutil.rmtree(out / station.ORDERS, ignore_errors=True)
            home.clear_half_written(out)  # of nodes that died


class Cluster:
    """The crew of all nodes."""

    def __init__(self, ray: Any, out: Path, private: Sequence[Path], say: Callable[[str], None]) -> None:
        self._ray, self._out, self._say = ray, out, say
        self._claim = json.dumps(asdict(claim_of(out, private)))
        self._nodes = set(nodes_of(ray))
        self._head = ray.get_runtime_context().gcs_address
        self._looked = self._heard = time.monotonic()
        self._sandboxes: list[str] = []

    @property
    def machine(self) -> dict[str, Any]:
        found = {"cores": cores_of(self._ray), "sandbox": weakest(self._sandboxes or ["none"])}
        return {**found, "nodes": len(self._nodes), "executor": "ray"}

    def greet(self) -> None:
        """Check every node that has a core to spare; SidelightError names the first that cannot take part."""
        if not self._nodes:
            raise UsageError("the Ray cluster has no node with a core; add one, or take --executor processes")
        there = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        asked = [self.task(station.greet, scheduling_strategy=there(node, soft=False))() for node in self._nodes]
        for ref in self._ray.wait(asked, num_returns=len(asked), timeout=GREETING_SECONDS)[0]:
            answer = self._answer(ref)
            if not isinstance(answer, Lost):  # else it died meanwhile
                self._sandboxes.append(answer["sandbox"])

    def record(self, plan: Plan, orders: Sequence[RunOrder], report: Report) -> None:
        """Orders hold secret seeds, so they stay in the folder, and Ray carries their names."""
        station.orders_of(self._out, orders)
        work = self.task(station.record_run)
        for order, answer in self.finished((work(json.dumps(order.key)), order) for order in orders):
            report(order, str(answer) if isinstance(answer, Lost) else answer["reason"])

    def attack(self, plan: Plan, cells: Sequence[Cell], audit: Mapping[str, Any], progress: Progress) -> Spent:
        return Asking(self, plan, told(plan, self._out, audit), progress).run(cells)

    def task(self, work: Callable[..., str], **options: Any) -> Callable[..., Any]:
        """Asks for a task with lines of JSON or other tasks, and returns what it will have answered."""
        remote = self._ray.remote(num_cpus=1, max_retries=AGAIN, retry_exceptions=False, **options)(work)
        return lambda *given: remote.remote(self._claim, *given)

    def finished(self, asked: Iterable[tuple[Any, T]]) -> Iterator[tuple[T, Answer | Lost]]:
        """Tasks as they end, with what stands beside them; asked for AHEAD at a time."""
        pending: dict[Any, T] = {}
        drawn = iter(asked)
        while True:
            pending.update(islice(drawn, AHEAD - len(pending)))
            if not pending:
                return
            for ref in self._ray.wait(list(pending), num_returns=1, timeout=GLANCE)[0]:
                yield pending.pop(ref), self._answer(ref)
            self._look()

    def _answer(self, ref: Any) -> Answer | Lost:
        try:
            answer: Answer = json.loads(self._ray.get(ref))
        except self._ray.exceptions.RayError as error:  # an error of ours is an answer, so this one is Ray's
            cause = type(_cause(error)).__name__
            if cause not in DEATHS:
                raise SidelightError(
                    f"a node of the cluster cannot run Sidelight ({cause}); install the same version on all nodes"
                ) from None
            return Lost(f"its node or process died {AGAIN + 1} times ({cause})")
        if station.REFUSED in answer:
            raise SidelightError(answer[station.REFUSED])
        return answer

    def _look(self) -> None:
        """Say which nodes have come or gone; SidelightError where the head stays away."""
        now = time.monotonic()
        if now - self._looked < GLANCE:
            return
        self._looked = now
        if not answers(self._head):  # asked about its nodes, Ray would wait, and end this process in the end
            if now - self._heard > HEAD_SECONDS:
                raise SidelightError(f"the head of the Ray cluster, {self._head}, is gone; run the same command again")
            return
        self._heard, before, self._nodes = now, self._nodes, set(nodes_of(self._ray))
        left = f"{len(self._nodes)} left" if self._nodes else "none is left, and the audit waits for one"
        for node in before - self._nodes:
            self._say(f"node {node[:8]} is gone: what it was doing is done again; {left}")
        for node in self._nodes - before:
            self._say(f"node {node[:8]} has come")


def _cause(error: BaseException) -> BaseException:
    """What stands behind an error that Ray has wrapped."""
    while isinstance(inner := getattr(error, "cause", None), BaseException):
        error = inner
    return error
