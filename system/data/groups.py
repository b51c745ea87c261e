"""Near-duplicate groups as the split deals them: whole, to one side, and thinned where rows abound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .duplicates import near_duplicate_groups
from .rows import MEMBER, OTHER, Row

VICTIM_PARTS = ("victim_train", "victim_test", "non_member")
OTHERS_PARTS = ("victim_test", "auxiliary", "non_member")
PARTS = ("victim_train", "victim_test", "auxiliary", "non_member")


@dataclass(frozen=True)
class Group:
    """Rows that stay together, with the parts they may go to."""

    rows: tuple[Row, ...]
    parts: tuple[str, ...]


def groups_of(rows: Sequence[Row]) -> list[Group]:
    """The near-duplicate groups of the rows, each with its side; every row but refused auxiliary ones is in one.

    A group of rows that a released model was trained on and of others is neither: it is left out.
    """
    members: dict[int, list[Row]] = {}
    for row, number in zip(rows, near_duplicate_groups(rows), strict=True):
        members.setdefault(int(number), []).append(row)
    return [_group(group) for group in members.values() if not straddles(group)]


def straddles(rows: Sequence[Row]) -> bool:
    """Whether some of the rows are said to be members, and others not to be."""
    return {MEMBER, OTHER} <= {row.pool for row in rows}


def _group(rows: Sequence[Row]) -> Group:
    """Decide the side of one near-duplicate group; the victim's rows win over auxiliary ones."""
    pools = {row.pool for row in rows}
    if pools & {MEMBER, OTHER}:
        return Group(_labels_in_turn(rows), ("victim_train",) if MEMBER in pools else OTHERS_PARTS)
    if "victim" in pools:
        return Group(_labels_in_turn([row for row in rows if row.pool != "auxiliary"]), VICTIM_PARTS)
    return Group(_labels_in_turn(rows), ("auxiliary",) if "auxiliary" in pools else PARTS)


def _labels_in_turn(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The first row of each label, then the second, so that a shortened group keeps its labels."""
    seen: Counter[str] = Counter()
    turns: list[tuple[int, Row]] = []
    for row in rows:
        turns.append((seen[row.label], row))
        seen[row.label] += 1
    return tuple(row for _, row in sorted(turns, key=lambda turn: turn[0]))


def thinned(groups: Sequence[Group], wanted: Mapping[str, int]) -> list[Group]:
    """Where more rows are held than wanted, leave out rows of the largest groups of each label and side.

    The parts then hold more different texts; the labels keep their shares, and every group its labels.
    """
    alike: dict[tuple[tuple[str, ...], str], list[Group]] = {}
    for group in groups:
        alike.setdefault((group.parts, group.rows[0].label), []).append(group)
    return [group for (parts, _), some in alike.items() for group in _shortened(some, _share(groups, parts, wanted))]


def _share(groups: Sequence[Group], parts: Sequence[str], wanted: Mapping[str, int]) -> float:
    """How much of what may go to these parts is wanted there."""
    held = sum(len(group.rows) for group in groups if set(group.parts) & set(parts))
    return sum(wanted[part] for part in parts) / held


def _shortened(groups: Sequence[Group], share: float) -> list[Group]:
    """Cut the groups at the smallest size under which at least that share of their rows is left."""
    counts = [len(group.rows) for group in groups]
    sizes = range(1, max(counts) + 1)
    most = next((size for size in sizes if sum(min(count, size) for count in counts) >= share * sum(counts)), sizes[-1])
    return [Group(group.rows[: max(most, len({row.label for row in group.rows}))], group.parts) for group in groups]
