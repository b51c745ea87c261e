"""Longer texts out of short ones: several samples of one class and part, end to end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..errors import UsageError
from .rows import Sample, Span
from .split import Split


def joined(parts: Split, count: int) -> Split:
    """So many samples of a class make one, in their order and inside each part; what is left over is left out.

    Raises:
        UsageError: the victim keeps no text of a class to train on.
    """
    found = replace(
        parts,
        victim_train=tuple(_joined(parts.victim_train, count)),
        victim_test=tuple(_joined(parts.victim_test, count)),
        auxiliary=tuple(_joined(parts.auxiliary, count)),
        non_member=tuple(_joined(parts.non_member, count)),
    )
    if missing := sorted(set(parts.labels) - {sample.label for sample in found.victim_train}):
        raise UsageError(
            f"together is {count} and the victim has fewer rows of label {missing[0]!r}; give a smaller one"
        )
    return found


def _joined(samples: Sequence[Sample], count: int) -> Iterator[Sample]:
    waiting: dict[str, list[Sample]] = {}
    for sample in samples:
        alike = waiting.setdefault(sample.label, [])
        alike.append(sample)
        if len(alike) == count:
            yield _one(alike)
            alike.clear()


def _one(samples: Sequence[Sample]) -> Sample:
    """Under the first one's id."""
    text, spans = "", list[Span]()
    for sample in samples:
        start = len(text) + 1 if text else 0
        text = f"{text} {sample.text}" if text else sample.text
        spans += [Span(span.start + start, span.end + start, span.kind) for span in sample.spans]
    return replace(samples[0], text=text, spans=tuple(spans))
