"""What is given of a recording: three folders, checked and read as far as judging needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ...attacks.attack import Goal
from ...system.backbone import Backbone, load_backbone
from ...system.errors import UsageError
from ...system.public import Public, load_public
from ...system.randomness import Streams
from ..digest import digest, folders_digest
from ..suites.suite import DataPlan
from ..transcripts import about
from ..transcripts.messages import MOST_STRANGERS
from ..transcripts.transcript import Checked, check
from ..transcripts.truth import Told, ids_of, private_backbone, read_truth


@dataclass(frozen=True)
class Folders:
    """Where a recording lies."""

    view: Path
    public: Path
    truth: Path

    @cached_property
    def digest(self) -> str:
        return folders_digest(self.view, self.public, self.truth)


@dataclass(frozen=True)
class Given:
    """A recording whose folders are right, read as far as judging needs."""

    checked: Checked
    public: Public
    told: Told
    backbone: Backbone | None
    """The victim's, public or not; None where nobody names it."""
    notices: tuple[str, ...]
    traffic: Sequence[Mapping[str, Any]]
    """As the recorder counted it; empty where it did not."""


def read(at: Folders) -> Given:
    """Check the three folders; UsageError for the first thing that is wrong. Nothing is written."""
    hidden = private_backbone(at.truth)
    checked = check(at.view, at.public, ids_of(at.truth))
    public = load_public(at.public)
    if hidden is not None and public.backbone is not None:
        raise UsageError(f"{at.truth / 'truth.json'} names a backbone and public.json does; name it once")
    backbone = load_backbone(hidden) if hidden is not None else checked.known.backbone
    told = read_truth(at.truth, public, backbone, public.facts.get("longest"))
    crossed, notices = _crossed(told, checked), []
    if lost := len(told.truth.rows) - len(crossed.truth.rows):
        notices.append(f"{lost} rows of the truth never crossed and are left out.")
    notices += _untold(checked, {row.id for row in crossed.truth.rows})
    if not crossed.truth.rows:
        raise UsageError(f"no id in {at.truth / 'rows.jsonl'} crossed; give the ids that messages.jsonl names")
    targets, more = _targets(public, crossed)
    return Given(
        checked, replace(public, targets=targets), crossed, backbone, (*notices, *more), about.counted(at.view)
    )


def _untold(checked: Checked, ids: set[str]) -> list[str]:
    """Figures of a part of what crossed must not be taken for figures of all."""
    crossed = checked.seen.crossed
    lacking = len(crossed.strangers | (crossed.wanted - ids))
    if not lacking:
        return []
    many = "more than " if lacking >= MOST_STRANGERS else ""
    return [
        f"{many}{lacking:,} of {many}{lacking + len(ids):,} samples that crossed have no row in the truth: figures are "
        f"of the other {len(ids):,} alone."
    ]


def _crossed(told: Told, checked: Checked) -> Told:
    """Without rows that no message names, where messages name any."""
    if not checked.seen.crossed.named:
        return told
    rows = tuple(row for row in told.truth.rows if row.id in checked.seen.crossed.wanted)
    return replace(told, truth=replace(told.truth, rows=rows))


def _targets(public: Public, told: Told) -> tuple[tuple[str, ...], list[str]]:
    """Whose texts are asked for: those named, or as many as an audit draws, by a coin that the ids decide."""
    ids, most = [row.id for row in told.truth.rows], DataPlan().texts
    if public.targets or Goal.TEXTS in told.unscored:
        return public.targets, []
    if len(ids) <= most:
        return tuple(ids), []
    drawn = torch.randperm(len(ids), generator=Streams(digest(ids)).torch("targets"))[:most].tolist()
    said = (
        f"The texts of {most} of {len(ids)} rows are asked for, drawn by chance; `targets` in public.json names others."
    )
    return tuple(ids[at] for at in sorted(drawn)), [said]
