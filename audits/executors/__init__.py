"""Executors: where an audit's runs are recorded and its cells attacked. Imports no tensor library."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...system.errors import UnknownName
from ..runs.recorder import Recorders

if TYPE_CHECKING:
    from .executor import Executor

EXECUTORS = ("local", "processes", "ray")


@contextmanager
def executor_of(name: str) -> Iterator[Executor]:
    """The executor of a name; UnknownName, or a UsageError where it needs what is not installed.

    Its first recorders, where it has some on this machine, load their libraries while the caller loads its own.
    """
    if name not in EXECUTORS:
        raise UnknownName("executor", name, EXECUTORS)
    if name == "ray":
        from .joining import require_ray

        require_ray()
        from .cluster import OnRay

        yield OnRay()
        return
    count = own_cores() if name == "processes" else 1
    with Recorders(count) as recorders:
        from .cores import Cores

        yield Cores(count, recorders)


def own_cores() -> int:
    """The cores that this process may use; fewer than the machine has where a batch system or container says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
