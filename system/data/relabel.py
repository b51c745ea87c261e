"""Labels that a victim's texts do not tell: what is still guessed of them was read from the messages.

Random-label rows measure disclosure in the strict sense, because chance is exactly 1/K. Reassigned labels are a
control run: every class keeps its size, and no feature follows it.

Shapes: K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .rows import Sample


def with_random_labels(
    samples: Sequence[Sample], share: float, labels: Sequence[str], generator: np.random.Generator
) -> tuple[Sample, ...]:
    """Each row falls to a coin of that share, and then gets one of the K labels, its own included, uniformly."""
    fallen = generator.random(len(samples)) < share
    drawn = generator.integers(len(labels), size=len(samples))
    return tuple(
        replace(sample, label=labels[int(at)], random=True) if falls else sample
        for sample, falls, at in zip(samples, fallen, drawn, strict=True)
    )


def with_reassigned_labels(samples: Sequence[Sample], generator: np.random.Generator) -> tuple[Sample, ...]:
    """Every row gets the label of a row drawn without replacement: chance is then the largest class, on every row."""
    order = generator.permutation(len(samples))
    return tuple(
        replace(sample, label=samples[int(at)].label, random=False) for sample, at in zip(samples, order, strict=True)
    )
