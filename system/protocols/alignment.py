"""Frozen backbones of several sizes beside one side network: which layers are tapped, and at which width they meet.

Source: Fed MobiLLM, arXiv 2508.06765, by third-party summaries: every backbone is cut into as many parts as the
shallowest has blocks and the last layer of each is tapped; projections bring the taps to the median of the widths, of
two to the larger. How blocks are cut that do not divide evenly, and what the median of four is, is ours.

Shapes: M taps, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from ..backbone import Backbone, load_backbone
from ..errors import UsageError


@dataclass(frozen=True)
class Kind:
    """What devices of one kind run."""

    backbone: Backbone
    depth: int
    """Blocks of it that run, the first ones."""
    layers: tuple[int, ...]
    """Its taps, numbered from 1; the last is the last block that runs."""
    projection: str
    """Name of its backbone's projection; empty where all are at the common width as they are."""

    @property
    def width(self) -> int:
        return self.backbone.width


def taps(depth: int, parts: int) -> tuple[int, ...]:
    """The last layer, numbered from 1, of each of so many parts of `depth` blocks, as even as they can be.

    Where they cannot, the earlier parts are the smaller ones: 5 blocks in 2 parts are tapped at 2 and 5.
    """
    return tuple(depth * part // parts for part in range(1, parts + 1))


def common_width(widths: Sequence[int]) -> int:
    """The median of the different widths; of an even number the upper one, so that of two it is the larger."""
    different = sorted(set(widths))
    return different[len(different) // 2]


def aligned(bodies: Sequence[tuple[Backbone, int]], width: int) -> tuple[list[Kind], int]:
    """Each device's kind, from its backbone and how many blocks of it run, and the width at which all meet.

    Depth 0 runs all blocks, width 0 is `common_width`. Where every backbone is as wide as that, nothing is projected;
    else each backbone has a projection of its own, which it keeps at every depth (with one a depth, or one where all
    are of one width, predictions were worse). Raises UsageError for a depth that a backbone does not have.
    """
    depths = [_depth(backbone, depth) for backbone, depth in bodies]
    parts = min(depths)
    width = width or common_width([backbone.width for backbone, _ in bodies])
    projected = any(backbone.width != width for backbone, _ in bodies)
    names: dict[str, str] = {}
    kinds = []
    for (backbone, _), depth in zip(bodies, depths, strict=True):
        name = names.setdefault(backbone.digest, f"backbone-{len(names)}") if projected else ""
        kinds.append(Kind(backbone, depth, taps(depth, parts), name))
    return kinds, width


def _depth(backbone: Backbone, depth: int) -> int:
    blocks = len(backbone.blocks)
    if depth > blocks:
        raise UsageError(f"depths holds {depth} and {backbone.name} has {blocks} blocks; give 1 to {blocks}, or 0")
    return depth or blocks


@cache
def other_backbone(reference: str) -> Backbone:
    """A backbone beside the run's own, loaded once a process."""
    return load_backbone(reference)
