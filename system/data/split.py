"""One split of the data: victim-train, victim-test, auxiliary and non-member, by near-duplicate group.

Shapes: P = 4 parts, K labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from ..errors import UsageError
from .groups import OTHERS_PARTS, PARTS, VICTIM_PARTS, Group, groups_of, thinned
from .rows import Dataset, Row, Sample

LEAST_PER_LABEL = 2
MEMBERS_PARTS = ("victim_train",)

Quota = dict[str, Counter[str]]
"""For each part, how many rows of each label it is still to receive."""


@dataclass(frozen=True)
class Sizes:
    """Rows asked for in each part."""

    victim_train: int
    victim_test: int
    auxiliary: int
    non_member: int

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise UsageError(f"size {field.name} is {getattr(self, field.name)}; it must be 0 or more")


@dataclass(frozen=True)
class Split:
    """The four parts; no near-duplicate group has rows in two of them."""

    victim_train: tuple[Sample, ...]
    victim_test: tuple[Sample, ...]
    auxiliary: tuple[Sample, ...]
    non_member: tuple[Sample, ...]
    labels: tuple[str, ...]
    """All labels of the data set, sorted; each has a row in `victim_train`."""


def split(dataset: Dataset, sizes: Sizes, generator: np.random.Generator) -> Split:
    """Deal the rows to the four parts, by label and without parting near-duplicates.

    A row with a `pool` goes to that side only; an auxiliary row that is a near-duplicate of a victim row is
    left out. Rows that a released model was trained on are all that `victim_train` gets. Where the data hold fewer
    rows than asked for, all parts shrink in proportion.

    Raises:
        UsageError: a label has no row for the victim, or fewer than 2 rows a label are left to train or test on.
    """
    groups = groups_of(dataset.rows)
    wanted = fitted_sizes(groups, sizes)
    _require_enough(dataset, groups, wanted)
    groups = thinned(groups, wanted)
    dealt = _deal(_in_dealing_order(groups, generator), _quota(groups, wanted, dataset.labels), wanted)
    ids = _fresh_ids(sum(map(len, dealt.values())), generator)
    parts = {part: _samples(dealt[part], ids, generator) for part in PARTS}
    return Split(**parts, labels=dataset.labels)


def fitted_sizes(groups: Sequence[Group], sizes: Sizes) -> dict[str, int]:
    """The sizes asked for, scaled down by one factor where the rows of either side do not suffice."""
    asked = {part: int(getattr(sizes, part)) for part in PARTS}
    held: Counter[tuple[str, ...]] = Counter()
    for group in groups:
        held[group.parts] += len(group.rows)
    if held[OTHERS_PARTS] or held[MEMBERS_PARTS]:
        return _of_sides(asked, held)
    free = held[PARTS]
    victim = sum(asked[part] for part in VICTIM_PARTS)
    factor = min(
        _share(held[VICTIM_PARTS] + free, victim),
        _share(held[("auxiliary",)] + free, asked["auxiliary"]),
        _share(sum(held.values()), sum(asked.values())),
    )
    return {part: int(count * factor) for part, count in asked.items()}


def _of_sides(asked: Mapping[str, int], held: Mapping[tuple[str, ...], int]) -> dict[str, int]:
    """Where rows say who was trained on, either side has a factor of its own."""
    factors = {
        part: _share(held[side], sum(asked[part] for part in side))
        for side in (MEMBERS_PARTS, OTHERS_PARTS)
        for part in side
    }
    return {part: int(count * factors[part]) for part, count in asked.items()}


def _share(held: int, asked: int) -> float:
    return min(1.0, held / asked) if asked else 1.0


def _require_enough(dataset: Dataset, groups: Sequence[Group], wanted: Mapping[str, int]) -> None:
    """Refuse data on which nothing can be trained or tested."""
    victim_labels = {row.label for group in groups if "victim_train" in group.parts for row in group.rows}
    if missing := sorted(set(dataset.labels) - victim_labels):
        raise UsageError(f"data {dataset.name!r}: label {missing[0]!r} has no row that the victim may train on")
    least = LEAST_PER_LABEL * len(dataset.labels)
    for part in ("victim_train", "victim_test"):
        if wanted[part] < least:
            raise UsageError(
                f"data {dataset.name!r}: {len(dataset.rows)} rows leave {wanted[part]} for {part}, and "
                f"{len(dataset.labels)} labels need at least {least}; give more rows, larger sizes or fewer labels"
            )


def _quota(groups: Sequence[Group], wanted: Mapping[str, int], labels: Sequence[str]) -> Quota:
    """Share each part's size among the labels as they occur among the rows that may go there."""
    quota: Quota = {}
    for part in PARTS:
        occurs = Counter(row.label for group in groups if part in group.parts for row in group.rows)
        quota[part] = proportional({label: occurs[label] for label in labels}, wanted[part])
    return quota


def proportional(occurs: Mapping[str, int], total: int) -> Counter[str]:
    """Share `total` by largest remainder in proportion to `occurs`; at least 1 each where `total` suffices."""
    present = [label for label, count in occurs.items() if count]
    floor = 1 if total >= len(present) else 0
    rest, weight = total - floor * len(present), sum(occurs.values())
    exact = {label: rest * occurs[label] / weight for label in present}
    shares = Counter({label: floor + int(value) for label, value in exact.items()})
    by_remainder = sorted(present, key=lambda label: (int(exact[label]) - exact[label], label))
    shares.update(by_remainder[: total - shares.total()] if present else [])
    return shares


def _in_dealing_order(groups: Sequence[Group], generator: np.random.Generator) -> list[Group]:
    """Large groups first, since small ones fill what is left; equal sizes in random order."""
    shuffled = [groups[int(at)] for at in generator.permutation(len(groups))]
    return sorted(shuffled, key=lambda group: -len(group.rows))


def _deal(groups: Sequence[Group], quota: Quota, wanted: Mapping[str, int]) -> dict[str, list[Row]]:
    """Deal each group to the part that needs its labels most, then fill up parts from what is left."""
    dealt: dict[str, list[Row]] = {part: [] for part in PARTS}
    scarce, others = _one_for_each_label(groups)
    left = [_give(group, "victim_train", quota, dealt) for group in scarce]
    left += [_give(group, _neediest(group, quota, dealt), quota, dealt) for group in others]
    for group in left:
        _fill_up(group, dealt, wanted)
    return dealt


def _fill_up(group: Group, dealt: dict[str, list[Row]], wanted: Mapping[str, int]) -> None:
    """Use rows beyond the labels' shares where a part is still short; its size then outweighs its balance."""
    short = [part for part in group.parts if len(dealt[part]) < wanted[part]]
    if short:
        part = max(short, key=lambda name: (wanted[name] - len(dealt[name])) / wanted[name])
        dealt[part].extend(group.rows[: wanted[part] - len(dealt[part])])


def _one_for_each_label(groups: Sequence[Group]) -> tuple[list[Group], list[Group]]:
    """For every label its smallest group that may be trained on, so that no label is missing there; and the rest."""
    chosen: dict[str, Group] = {}
    for group in groups:
        if "victim_train" in group.parts:
            chosen.update(dict.fromkeys((row.label for row in group.rows), group))
    scarce = list({id(group): group for group in chosen.values()}.values())
    taken = {id(group) for group in scarce}
    return scarce, [group for group in groups if id(group) not in taken]


def _neediest(group: Group, quota: Quota, dealt: Mapping[str, Sequence[Row]]) -> str | None:
    """The part in which this group's labels are the largest share of all rows, still to come; None if no part is."""
    labels = {row.label for row in group.rows}
    open_rows = {part: sum(quota[part][label] for label in labels) for part in group.parts}
    needs = {part: rows / (quota[part].total() + len(dealt[part])) for part, rows in open_rows.items() if rows}
    return max(needs, key=lambda part: needs[part], default=None)


def _give(group: Group, part: str | None, quota: Quota, dealt: dict[str, list[Row]]) -> Group:
    """Give the part those rows that its quota asks for; return the others, which may go to that part only."""
    if part is None:
        return group
    rest: list[Row] = []
    for row in group.rows:
        wanted = quota[part][row.label] > 0
        (dealt[part] if wanted else rest).append(row)
        quota[part][row.label] -= wanted
    return Group(tuple(rest), (part,))


def _fresh_ids(count: int, generator: np.random.Generator) -> list[str]:
    """Distinct ids of 16 hexadecimal digits, independent of the rows."""
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids[generator.bytes(8).hex()] = None
    return list(ids)


def _samples(rows: Sequence[Row], ids: list[str], generator: np.random.Generator) -> tuple[Sample, ...]:
    """Shuffle one part and give its rows the next unused ids."""
    order = generator.permutation(len(rows))
    dealt = ((ids.pop(), rows[int(at)]) for at in order)
    return tuple(Sample(own, row.text, row.label, row.spans, group=row.group) for own, row in dealt)
