"""What crossed in a run by kind and direction, and what the adversary holds itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .summary import Summary

HELD = "held:"


@dataclass(frozen=True)
class Seen:
    """One kind in one direction over all devices, or one held item (without messages)."""

    kind: str
    way: str
    messages: int | None
    bytes: int | None
    shown: bool
    """Whether the adversary, or a party beside it that is no device, received or holds it: others are attacked in
    other runs."""
    attacks: tuple[str, ...]
    """The scored attacks that consume it."""

    @property
    def audited(self) -> bool:
        return bool(self.attacks) or not self.shown

    def per_sample(self, samples: int | None) -> float | None:
        return self.bytes / samples if samples and self.bytes is not None else None


def seen(summary: Summary) -> tuple[Seen, ...]:
    """Every kind that crossed, over all victims, and whatever the adversary has without a count."""
    flows: dict[tuple[str, str], tuple[int, int | None]] = {}
    for part in (part for run in summary.runs for part in run.traffic):
        key = (part.kind, f"{_role(part.sender)} → {_role(part.receiver)}")
        messages, size = flows.get(key, (0, 0))
        flows[key] = (messages + part.messages, None if size is None or part.bytes is None else size + part.bytes)
    crossed = {kind for kind, _ in flows}
    return (
        *(_seen(summary, kind, way, *counts) for (kind, way), counts in flows.items()),
        *(_seen(summary, kind, "held", None, None) for kind in summary.shows if kind not in crossed),
    )


def _role(party: str) -> str:
    return re.sub(r"-\d+$", "", party)


def _seen(summary: Summary, kind: str, way: str, messages: int | None, size: int | None) -> Seen:
    party = way.rpartition(" ")[2]
    if kind in summary.run.others.get(party, ()):
        return Seen(kind, way, messages, size, True, summary.elsewhere.get((party, kind), ()))
    # what travels away from the adversary is its own; `shows` lists what reaches it
    return Seen(kind, way, messages, size, kind in summary.shows, summary.consumers(kind))
