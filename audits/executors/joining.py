"""Joins the Ray cluster that this machine is a node of.

The variable RAY_ADDRESS names it: `host:port` of its head. Where it is unset or `auto`, the one that was started last
on this machine is taken. None is started: on one machine, `--executor processes` does the same with less. Ray's usage
statistics are off.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from ...system.errors import UsageError

VARIABLE = "RAY_ADDRESS"
ANSWER_SECONDS = 5.0
"""In which the head of a cluster must take a connection."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray announces this future default at length
}


def require_ray() -> None:
    """UsageError where Ray is not installed."""
    if find_spec("ray") is None:
        raise UsageError("`--executor ray` needs the extra: pip install 'sidelight[ray]'")


@contextmanager
def joined() -> Iterator[Any]:
    """Ray itself, connected; what still runs for this audit is ended with the block."""
    os.environ.update(QUIET)
    import ray
    import ray.util.scheduling_strategies

    ray._private.worker.print_to_stdstream = _unsaid
    address = os.environ.get(VARIABLE, "auto")
    if address == "auto":
        address = ray._private.utils.read_ray_address() or ""
    refuse_silent(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(f"the Ray cluster at {address} cannot be joined: {said}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def refuse_silent(address: str) -> None:
    """UsageError where the address is none of a cluster's head that answers."""
    host, _, port = address.rpartition(":")
    if not address:
        raise UsageError(
            f"no Ray cluster runs on this machine; start one (`ray start --head`), give {VARIABLE}=HOST:PORT, or take "
            "--executor processes"
        )
    if not host or "/" in address or not port.isdecimal():
        raise UsageError(f"{VARIABLE} is {address!r}; give HOST:PORT of a cluster's head, or `auto`")
    if not answers(address):
        raise UsageError(f"no Ray cluster answers at {address}; start it, or mend {VARIABLE}")


def answers(address: str) -> bool:
    """Whether somebody takes connections at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError):
        return False
    return True


def nodes_of(ray: Any) -> dict[str, dict[str, Any]]:
    """The living nodes that have cores, by id."""
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1}


def cores_of(ray: Any) -> int:
    """All cores of the living nodes."""
    return sum(int(node["Resources"]["CPU"]) for node in nodes_of(ray).values())


def _unsaid(*_: Any, **__: Any) -> None:
    """Ray prints a node's last log lines where it dies; the audit says it in a line of its own."""
