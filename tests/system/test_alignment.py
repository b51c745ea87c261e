"""Which layers of backbones of several sizes meet, and at which width: worked by hand."""

from __future__ import annotations

from typing import cast

import pytest

from sidelight.system.backbone import Backbone
from sidelight.system.errors import UsageError
from sidelight.system.protocols.alignment import aligned, common_width, taps


class Sized:
    """As much of a backbone as alignment looks at."""

    def __init__(self, blocks: int, width: int, digest: str = "") -> None:
        self.blocks, self.width = [None] * blocks, width
        self.name, self.digest = f"of {blocks}", digest or f"{blocks}x{width}"


def sized(*sizes: tuple[int, int], depths: tuple[int, ...] | None = None) -> list[tuple[Backbone, int]]:
    found = depths or (0,) * len(sizes)
    return [(cast(Backbone, Sized(*size)), depth) for size, depth in zip(sizes, found, strict=True)]


@pytest.mark.parametrize(
    ("depth", "parts", "expected"),
    [
        (3, 3, (1, 2, 3)),
        (6, 3, (2, 4, 6)),
        (12, 3, (4, 8, 12)),
        (12, 6, (2, 4, 6, 8, 10, 12)),
        (5, 2, (2, 5)),  # parts of 2 and 3 blocks
        (7, 3, (2, 4, 7)),  # of 2, 2 and 3
        (4, 1, (4,)),
    ],
)
def test_the_last_layer_of_each_part_is_tapped(depth: int, parts: int, expected: tuple[int, ...]) -> None:
    assert taps(depth, parts) == expected


def test_the_shallowest_says_how_many_taps_all_have() -> None:
    kinds, _ = aligned(sized((3, 8), (6, 8), (12, 8)), 0)
    assert [kind.layers for kind in kinds] == [(1, 2, 3), (2, 4, 6), (4, 8, 12)]
    shortened, _ = aligned(sized((12, 8), (12, 8), depths=(6, 2)), 0)
    assert [(kind.depth, kind.layers) for kind in shortened] == [(6, (3, 6)), (2, (1, 2))]


@pytest.mark.parametrize(
    ("widths", "expected"),
    [
        ((768,), 768),
        ((768, 1024), 1024),
        ((768, 768, 768, 1024), 1024),
        ((768, 1024, 2048), 1024),
        ((2048, 768, 1024, 512, 4096), 1024),
        ((768, 1024, 2048, 4096), 2048),
    ],
)
def test_several_widths_meet_at_the_median_and_two_at_the_larger(widths: tuple[int, ...], expected: int) -> None:
    assert common_width(widths) == expected


def test_each_backbone_has_one_projection_and_none_where_all_are_as_wide_as_the_side_network() -> None:
    mixed = sized((3, 8), (3, 16), (3, 8), depths=(0, 0, 2))
    kinds, width = aligned([*mixed, mixed[0]], 0)
    assert width == 16
    assert [kind.projection for kind in kinds] == ["backbone-0", "backbone-1", "backbone-0", "backbone-0"]
    assert {kind.projection for kind in aligned(sized((3, 8), (6, 8)), 0)[0]} == {""}
    assert {kind.projection for kind in aligned(sized((3, 8), (6, 8)), 16)[0]} == {
        "backbone-0",
        "backbone-1",
    }


def test_a_depth_that_a_backbone_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match="depths holds 4 and of 3 has 3 blocks; give 1 to 3, or 0"):
        aligned(sized((3, 8), depths=(4,)), 0)
