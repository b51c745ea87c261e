"""What must stand about a label in something, given that a decoder reads the label off it.

Shapes: N rows, K classes. Information is in nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy
from scipy import special, stats

from .intervals import Values


class Information(NamedTuple):
    """A label's entropy over rows, and how much of it a decoder's hits prove to be known."""

    accuracy: float
    """Share of the rows that the decoder reads right."""
    entropy: float
    """Of the labels of a row that is drawn uniformly."""
    bound: float
    """The least mutual information between such a row's label and whatever the decoder read."""
    rows: int


def information(right: Values, counts: Sequence[int]) -> Information:
    """Fano's bound (Fano 1961; Cover and Thomas 2006, theorem 2.10.1) over the very rows that were decoded.

    `right` (N,) are hits, 0 or 1; `counts` (K,) are the rows of each class. With error e = 1 - accuracy, the bound is
    H(Y) - h(e) - e ln(K - 1), at least 0. The rows are all there are, so that it has no interval.
    """
    accuracy, classes = float(right.mean()), len(counts)
    error = 1 - accuracy
    unknown = float(special.entr([error, accuracy]).sum()) + error * math.log(max(classes - 1, 1))
    entropy = float(stats.entropy(numpy.asarray(counts, dtype=numpy.float64)))
    return Information(accuracy, entropy, max(0.0, entropy - unknown), len(right))
