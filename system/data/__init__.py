"""Labelled private texts: read or generated, checked, and split once by near-duplicate group."""

from .joining import joined
from .load import load
from .relabel import with_random_labels, with_reassigned_labels
from .rows import Dataset, Row, Sample, Span
from .split import Sizes, Split, split
from .trained_on import refuse_trained_on

__all__ = [
    "Dataset",
    "Row",
    "Sample",
    "Sizes",
    "Span",
    "Split",
    "joined",
    "load",
    "refuse_trained_on",
    "split",
    "with_random_labels",
    "with_reassigned_labels",
]
