"""Measurements of memory, computation, communication and speed, one in each file."""

from __future__ import annotations

from collections.abc import Callable

from ..system.registry import Registry
from .finding import Bench, Finding

BENCHES: Registry[Callable[[Bench], Finding]] = Registry(
    "benchmark",
    {
        "attacks": ".benchmarks.attacks.attacks:measure",
        "bytes-to-accuracy": ".benchmarks.communications.target:measure",
        "comms": ".benchmarks.communications.comms:measure",
        "computation": ".benchmarks.computation:measure",
        "device-memory": ".benchmarks.memory.device:measure",
        "growth": ".benchmarks.limits.growth:measure",
        "limits": ".benchmarks.limits.nearness:measure",
        "memory": ".benchmarks.memory.server:measure",
        "protocols": ".benchmarks.protocols:measure",
        "schedule": ".benchmarks.schedules:measure",
        "speed": ".benchmarks.speed.speed:measure",
    },
    group="sidelight.benchmarks",
)

__all__ = ["BENCHES", "Bench", "Finding"]
