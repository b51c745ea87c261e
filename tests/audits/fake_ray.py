"""In place of Ray: tasks are done in this process when they are waited for; nodes, and tasks that die, are as told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    """As Ray's: `cause` is what stands behind it."""

    cause: Exception | None = None


class WorkerCrashedError(RayError):
    """A task's process died."""


class RayTaskError(RayError):
    """A task raised, or could not be told what it was to do, or one that it waited for died."""


class Task:
    """One task, done once."""

    def __init__(self, ray: FakeRay, work: Callable[..., str], given: Sequence[Any]) -> None:
        self.ray, self.work, self.given = ray, work, given
        self.answer: str | RayError | None = None

    def done(self) -> str:
        """Its answer, after those that it waits for; raises as Ray does."""
        if self.answer is None:
            self.answer = self._answer()
        if isinstance(self.answer, RayError):
            raise self.answer
        return self.answer

    def _answer(self) -> str | RayError:
        try:
            given = [one.done() if isinstance(one, Task) else one for one in self.given]
        except RayError as error:
            wrapped = RayTaskError()
            wrapped.cause = error.cause or error
            return wrapped
        self.ray.asked.append((self.work.__name__, tuple(given)))
        return self.ray.dying.get(self.work.__name__) or self.work(*given)


class FakeRay:
    """As much of Ray as an audit uses."""

    def __init__(self, nodes: int = 2) -> None:
        self.living = [f"node{number:x}" for number in range(nodes)]
        self.dying: dict[str, RayError] = {}
        """By the name of what is asked, how it ends."""
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        """What was done, by name, with what it was given."""
        self.exceptions = SimpleNamespace(RayError=RayError)
        affinity = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: node)
        self.util = SimpleNamespace(scheduling_strategies=affinity)

    def nodes(self) -> list[dict[str, Any]]:
        alive = [{"NodeID": name, "Alive": True, "Resources": {"CPU": 2.0}} for name in self.living]
        dead = {"NodeID": "dead", "Alive": False, "Resources": {}}
        return [*alive, dead, {"NodeID": "head", "Alive": True, "Resources": {"memory": 1.0}}]

    def get_runtime_context(self) -> SimpleNamespace:
        return SimpleNamespace(gcs_address="127.0.0.1:1")

    def remote(self, **options: Any) -> Callable[[Callable[..., str]], Any]:
        assert options["num_cpus"] == 1
        return lambda work: SimpleNamespace(remote=lambda *given: Task(self, work, given))

    def wait(self, tasks: list[Task], num_returns: int, timeout: float) -> tuple[list[Task], list[Task]]:
        assert 1 <= num_returns <= len(tasks)
        return tasks[:num_returns], tasks[num_returns:]

    def get(self, task: Task) -> str:
        return task.done()
