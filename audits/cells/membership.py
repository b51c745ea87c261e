"""Scores guesses of membership: how many members are found at a fixed rate of false positives.

The threshold comes from one half of the non-members; false positives are counted on the other half, true positives on
all members, which no threshold saw. Intervals are of that threshold, as it was drawn: its own rate of false positives
stands beside it, and is 1 % only about so. The curve and what follows from it are stated for one victim.

Shapes: M members, N non-members.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Any

import numpy
import torch
from scipy.stats import mannwhitneyu
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from ...attacks.attack import MembershipScores
from ...system.message import Party
from ...system.public import Challenge
from ..statistics import Interval, Values, half_of
from ..statistics.intervals import clopper_pearson

RATES = {"tpr_at_1": 0.01, "tpr_at_01": 0.001}
"""By metric, its rate of false positives."""
RESOLVED = 10
"""False positives that must be possible among all non-members at a rate: 1,000 rows for 1 %."""
POINTS = 40
"""Of a stored curve."""
OWNER = "owner_accuracy"
"""Members that are given to their own device."""
BIASED = 1e-3
"""P-value from which members and others are told by their texts alone, so that the game is no fair one."""
TEXT_ONLY = "text-only classifier"


@dataclass(frozen=True)
class Game:
    """Examples of which some are members, and which those are."""

    challenge: tuple[Challenge, ...]
    members: Mapping[str, Party]
    groups: Mapping[str, int]
    """By id, near-duplicates that the split did not part."""

    @cached_property
    def _inside(self) -> Any:
        """(M + N,) whether each is a member."""
        return numpy.array([one.id in self.members for one in self.challenge], dtype=bool)

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the members, in the challenge's order."""
        return tuple(one.id for one in self.challenge if one.id in self.members)

    @property
    def non_members(self) -> int:
        return len(self.challenge) - len(self.members)

    @cached_property
    def rates(self) -> dict[str, float]:
        """The rates of false positives that so many non-members resolve, by metric."""
        return {name: rate for name, rate in RATES.items() if self.non_members * rate >= RESOLVED}

    def scored(self, guess: MembershipScores) -> dict[str, Values]:
        """By metric, each member's score (M,): found at a rate, and the share of non-members below it."""
        inside, outside = self._apart(self._aligned(guess))
        found = {name: (inside > self.threshold(outside, rate)).astype(float) for name, rate in self.rates.items()}
        return {**found, "auc": _above(inside, outside), **self._attributed(guess)}

    def _attributed(self, guess: MembershipScores) -> dict[str, Values]:
        """Whether each member was given to its own device; nothing where there is one device, or no word of any."""
        if not guess.owners or len(set(self.members.values())) < 2:
            return {}
        given = dict(zip(guess.ids, guess.owners, strict=True))
        return {OWNER: numpy.array([float(given.get(name) == self.members[name]) for name in self.ids])}

    def threshold(self, outside: Values, rate: float) -> float:
        """The least score that the half of the non-members that sets it leaves at most at a rate."""
        kept = numpy.sort(outside[self._sets])[::-1]
        return float(kept[int(rate * len(kept))])

    def curve(self, guess: MembershipScores) -> dict[str, Any]:
        """The whole curve, and what the threshold at 1 % tells, with bounds of 95 % each side's own.

        `epsilon` is the least of a mechanism under which so many would be found, at delta 0, were the rows independent
        draws; they were trained on together, so that it describes the ratio and proves no bound.
        """
        inside, outside = self._apart(self._aligned(guess))
        at = self.threshold(outside, RATES["tpr_at_1"])
        true, false = _share(inside > at), _share(outside[~self._sets] > at)
        return {
            "members": len(inside),
            "non_members": len(outside),
            "false_positives": false._asdict(),
            "log_ratio": log(true.value / false.value) if true.value and false.value else None,
            "epsilon": max(0.0, log(true.low / false.high)) if true.low else 0.0,
            **_points(inside, outside),
        }

    @cached_property
    def biased(self) -> float | None:
        """The area under the curve of texts alone, where it differs from a half (Mann and Whitney, p below 0.001)."""
        inside, outside = self._apart(self._aligned(self.text_only))
        found = mannwhitneyu(inside, outside)
        area = float(found.statistic) / (len(inside) * len(outside))
        return area if found.pvalue < BIASED else None

    @cached_property
    def text_only(self) -> MembershipScores:
        """What texts, labels and devices alone tell: a classifier learnt on each half of all groups, asked on others.

        Near-duplicates lie on one side of the split and of the halves: a member's tells nothing about a new row.
        """
        texts = [f"{one.text} label_{one.label}" for one in self.challenge]
        rows = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(texts)
        half, scores = numpy.array([self.groups[one.id] % 2 == 0 for one in self.challenge]), numpy.zeros(len(texts))
        for learnt in (half, ~half):
            if len(set(self._inside[learnt])) == 2:
                classifier = LogisticRegression(C=10.0, max_iter=1000).fit(rows[learnt], self._inside[learnt])
                scores[~learnt] = classifier.decision_function(rows[~learnt])
        commonest = Counter(self.members.values()).most_common(1)
        owners = tuple(name for name, _ in commonest) * len(texts)
        return MembershipScores(tuple(one.id for one in self.challenge), torch.from_numpy(scores).float(), owners)

    @cached_property
    def _sets(self) -> Any:
        """(N,) the non-members that set thresholds."""
        return half_of([one.id for one in self.challenge if one.id not in self.members])

    def _aligned(self, guess: MembershipScores) -> Values:
        """(M + N,) in the challenge's order; what has no score stands below all."""
        given = dict(zip(guess.ids, guess.scores.double().tolist(), strict=True))
        return numpy.array([given.get(one.id, -numpy.inf) for one in self.challenge])

    def _apart(self, scores: Values) -> tuple[Values, Values]:
        return scores[self._inside], scores[~self._inside]


def _share(hits: Any) -> Interval:
    low, high = clopper_pearson(int(hits.sum()), len(hits))
    return Interval(float(hits.mean()), low, high)


def _above(inside: Values, outside: Values) -> Values:
    """(M,) of every member the share of non-members with a lower score, ties by half."""
    below = numpy.searchsorted(numpy.sort(outside), inside, side="left")
    upto = numpy.searchsorted(numpy.sort(outside), inside, side="right")
    shares: Values = (below + upto) / (2 * len(outside))
    return shares


def _points(inside: Values, outside: Values) -> dict[str, list[float]]:
    """True positives at rates of false positives from one non-member on, evenly along a logarithm."""
    ranked = numpy.sort(outside)[::-1]
    counts = numpy.unique(numpy.geomspace(1, len(ranked) - 1, POINTS).round().astype(int))
    true = [float((inside > ranked[count]).mean()) for count in counts]
    return {"fpr": [round(count / len(ranked), 6) for count in counts.tolist()], "tpr": [round(t, 6) for t in true]}
