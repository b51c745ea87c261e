"""The least that a piece of work takes: operations at the machine's best rate of products, bytes at that of copying.

The arithmetic bound counts the matrix products that the equations need and nothing else. The roofline (Williams,
Waterman and Patterson 2009) is the longer of that and of the time in which the bytes move that no cache can keep.

Shapes: B samples of a batch, L layers, d width, r bottleneck, K outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...system.side_network import SideShape
from .machine import Machine

HALF = 2
"""Bytes of a value."""


@dataclass(frozen=True)
class Bound:
    """What a piece of work cannot do without."""

    operations: float = 0
    moved: float = 0
    """Bytes read or written beyond the caches."""

    def arithmetic(self, machine: Machine) -> float:
        """Seconds."""
        return self.operations / machine.peak

    def memory(self, machine: Machine) -> float:
        return self.moved / machine.copying

    def roofline(self, machine: Machine) -> float:
        return max(self.arithmetic(machine), self.memory(machine))


def server_step(shape: SideShape, batch: int) -> Bound:
    """Forwards, backwards and AdamW on a batch of rows kept at fp16.

    Operations: two products forwards in each layer; backwards two for the gradients of the weights and two for that of
    the states, of which the first layer needs but one, since nothing is below it: (12 L - 2) B d r. The output map has
    one forwards and two backwards: 6 B d K. Bytes: the rows are read once; weights, moments, gradients and all that is
    between are taken to stay in the processor's caches, and where they do not, even this bound cannot be reached.
    """
    wide = batch * shape.width
    operations = (12 * shape.layers - 2) * wide * shape.bottleneck + 6 * wide * shape.outputs
    rows = batch * (shape.layers * shape.width + shape.outputs) * HALF
    return Bound(operations, rows)


def cache_read(shape: SideShape, batch: int) -> Bound:
    """Rows at fp16, read from mapped pages and written for the caller."""
    return Bound(moved=2 * HALF * batch * (shape.layers * shape.width + shape.outputs))
