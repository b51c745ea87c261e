"""What a run promises, and how far one more release of a sample stays within it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ...system.defences.defence import Budget
from ...system.protocols import Protocol, Scene

LABEL, EXAMPLE, RELEASED = "budget", "example_budget", "released_budget"
PROMISES = (LABEL, EXAMPLE, RELEASED)
"""Of a label, of an example, and of an example against those who receive the tuned model."""


@dataclass(frozen=True)
class Promise:
    """One promise of a protocol, for a run that released a sample so often."""

    name: str
    protocol: Protocol
    scene: Scene
    releases: int = 1

    @cached_property
    def budget(self) -> Budget | None:
        """What is promised; None where nothing is."""
        return self.charged(self.releases)

    def charged(self, releases: int) -> Budget | None:
        """What the protocol would promise after so many releases."""
        if self.name == RELEASED:
            return self.protocol.released_budget(self.scene)
        if self.name == EXAMPLE:
            return self.protocol.example_budget(self.scene, releases)
        return self.protocol.budget(self.scene, releases)

    def covers(self, releases: int) -> bool:
        """Whether the protocol takes so many releases to cost no more than is promised."""
        if releases <= self.releases:
            return True
        other = self.charged(releases)
        return other is not None and self.budget is not None and other.epsilon <= self.budget.epsilon
