"""Messages in numbers: what a protocol's description says that crosses, added up by kind and direction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ...system.wire import Traffic
from .envelopes import Form, numbers

UP, DOWN, ACROSS = "up", "down", "across"
"""From a device, to a device, and from one device to another: what crosses so is sent and received by devices."""


class Flow(NamedTuple):
    """The same message so many times."""

    form: Form
    times: int = 1


class Cost(NamedTuple):
    """What one kind of message costs in one direction."""

    messages: int
    tensors: int
    """Bytes of tensors alone: the least that the protocol could send."""
    envelopes: int
    """Bytes beside them."""

    @property
    def bytes(self) -> int:
        """All of them."""
        return self.tensors + self.envelopes


Costs = Mapping[tuple[str, str], Cost]
"""By kind and direction."""


def added(flows: Iterable[Flow]) -> Costs:
    """Flows by kind and direction; a sender numbers its messages of a kind."""
    count: Counter[tuple[str, str, str]] = Counter()
    tensors: Counter[tuple[str, str, str]] = Counter()
    envelopes: Counter[tuple[str, str, str]] = Counter()
    for form, times in flows:
        key = form.kind, form.sender, way(form.sender, form.receiver)
        count[key] += times
        tensors[key] += times * form.payload
        envelopes[key] += times * (form.size - form.payload)
    for key in count:
        envelopes[key] += numbers(count[key])
    return _by_kind((key[0], key[2], Cost(count[key], tensors[key], envelopes[key])) for key in count)


def counted(traffic: Traffic) -> Costs:
    """What a wire counted, in the same form."""
    sent, alone, number = traffic.bytes, traffic.payload, traffic.messages
    return _by_kind((key[0], way(*key[1:]), Cost(number[key], alone[key], sent[key] - alone[key])) for key in sent)


def way(sender: str, receiver: str) -> str:
    """A message's direction."""
    if not sender.startswith("device"):
        return DOWN
    return ACROSS if receiver.startswith("device") else UP


def total(costs: Costs, *ways: str) -> Cost:
    """Everything in some directions, or in all."""
    chosen = [cost for (_, towards), cost in costs.items() if not ways or towards in ways]
    return Cost(*(sum(column) for column in zip(*chosen, strict=True))) if chosen else Cost(0, 0, 0)


def _by_kind(found: Iterable[tuple[str, str, Cost]]) -> Costs:
    costs: dict[tuple[str, str], Cost] = {}
    for kind, towards, cost in found:
        before = costs.get((kind, towards), Cost(0, 0, 0))
        costs[kind, towards] = Cost(*(a + b for a, b in zip(before, cost, strict=True)))
    return costs


def batches(samples: int, batch: int) -> Iterator[tuple[int, int]]:
    """Sizes of a pass's batches, with how many there are of each: whole ones, and what is left."""
    yield batch, samples // batch
    if samples % batch:
        yield samples % batch, 1
