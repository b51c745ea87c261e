"""Several sightings of one sample: fresh noise on each averages out, and bytes that were kept say nothing new.

Shapes: N samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import median_low

import torch

from ...system.message import Message
from ...system.public import Public
from ...system.view import View

KINDS = ("activations", "difference")
SPREADS = ("spread", "difference_spread")
"""Public facts: standard deviations of the noise on one sighting."""


@dataclass
class _Seen:
    """What came of one sample, each value of it once."""

    sender: str
    receiver: str
    total: torch.Tensor
    different: set[bytes] = field(default_factory=set)

    def add(self, row: torch.Tensor) -> None:
        content = row.contiguous().numpy().tobytes()
        if content not in self.different:
            self.different.add(content)
            self.total += row

    @property
    def mean(self) -> torch.Tensor:
        """In float64 until here, so that one value stays itself bit for bit."""
        return (self.total / len(self.different)).float()


def averaged(view: View, public: Public) -> tuple[View, Public]:
    """A view with one sighting of each sample, the mean of those that differ, and how much noise public facts leave.

    As they came where nothing is sent again, or where samples are no single rows.
    """
    if not public.facts.get("resent") or public.facts.get("positions") == "all":
        return view, public
    messages: list[Message] = []
    facts = dict(public.facts)
    for kind, spread in zip(KINDS, SPREADS, strict=True):
        seen = _seen(view, kind)
        messages += [_message(kind, sample_id, one) for sample_id, one in seen.items()]
        if seen and spread in facts:
            facts[spread] /= median_low(len(one.different) for one in seen.values()) ** 0.5
    others = [message for message in view.messages if message.kind not in KINDS]
    return replace(view, messages=[*messages, *others]), replace(public, facts=facts)


def _seen(view: View, kind: str) -> dict[str, _Seen]:
    """By sample, in order of arrival."""
    found: dict[str, _Seen] = {}
    for message in view.of(kind):
        for sample_id, row in zip(message.sample_ids, message.tensors[kind], strict=True):
            if sample_id not in found:
                found[sample_id] = _Seen(message.sender, message.receiver, torch.zeros_like(row, dtype=torch.float64))
            found[sample_id].add(row)
    return found


def _message(kind: str, sample_id: str, seen: _Seen) -> Message:
    return Message(kind, seen.sender, seen.receiver, sample_ids=(sample_id,), tensors={kind: seen.mean.unsqueeze(0)})
