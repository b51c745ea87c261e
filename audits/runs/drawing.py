"""What the auditor draws for a run: whose texts are asked for, what is known beforehand, among whom members hide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ...system.data import Sample
from ...system.data.duplicates import near_duplicate_groups
from ...system.data.rows import Row
from ...system.errors import UsageError
from ...system.message import Party
from ...system.protocols import Scene
from ...system.public import Known
from ...system.randomness import Streams
from ..suites.suite import Labels


def draw(samples: Sequence[Sample], count: int, streams: Streams) -> tuple[str, ...]:
    """Ids of the rows whose texts are asked for, drawn by the auditor."""
    order = torch.randperm(len(samples), generator=streams.torch("targets"))[:count]
    return tuple(samples[i].id for i in sorted(order.tolist()))


def draw_known(rows: Sequence[Sample], labels: Sequence[str], a_class: int, streams: Streams) -> tuple[Known, ...]:
    """Rows of the victim's whose labels the adversary knows beforehand, so many of each class."""
    if not a_class:
        return ()
    order = torch.randperm(len(rows), generator=streams.torch("known labels")).tolist()
    drawn: list[Known] = []
    for label in labels:
        own = [rows[i] for i in order if rows[i].label == label]
        if len(own) <= a_class:
            raise UsageError(
                f"known_labels is {a_class} and the victim has {len(own)} rows of one class; "
                "give fewer, so that rows are left to be guessed, or a larger victim_train"
            )
        drawn += [Known(row.id, row.label) for row in own[:a_class]]
    return tuple(drawn)


def draw_candidates(rows: Sequence[Sample], others: Sequence[Sample], streams: Streams) -> tuple[str, ...]:
    """The texts of the victim's rows among those of others, in an order that tells nothing."""
    texts = [row.text for row in (*rows, *others)]
    return tuple(texts[i] for i in torch.randperm(len(texts), generator=streams.torch("candidates")).tolist())


def draw_challenge(
    labels: Labels, rows: Sequence[Sample], others: Sequence[Sample], streams: Streams
) -> dict[str, Sample]:
    """The victim's rows among others, under ids that tell nothing.

    Rows whose label a coin drew are left out: that it does not fit the text would tell them from others. So would
    reassigned labels.
    """
    pool = [row for row in (*(rows if labels == "own" else ()), *others) if not row.random]
    order = torch.randperm(len(pool), generator=streams.torch("challenge")).tolist()
    return {f"c{place:05d}": pool[at] for place, at in enumerate(order)}


def owners(scene: Scene, drawn: Mapping[str, Sample]) -> dict[str, Party]:
    """By id the device of each challenge that is a device's."""
    devices = {sample.id: party for party, own in scene.samples.items() for sample in own}
    return {name: devices[row.id] for name, row in drawn.items() if row.id in devices}


def groups(drawn: Mapping[str, Sample]) -> dict[str, int]:
    """By id the near-duplicate group of each challenge."""
    if not drawn:
        return {}
    numbers = near_duplicate_groups([Row(row.text, row.label, group=row.group) for row in drawn.values()])
    return dict(zip(drawn, numbers.tolist(), strict=True))
