"""What a tuned model says of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .export import load_tuned


def predictions(folder: Path, texts: Sequence[str], backbone: str | None = None) -> Iterator[dict[str, Any]]:
    """The class of each text, and every class's score: the larger, the likelier; they are no probabilities."""
    model = load_tuned(folder, backbone)
    for scores in model.tuned.predict(texts):
        by_label = dict(zip(model.labels, scores.tolist(), strict=True))
        yield {"label": model.labels[int(scores.argmax())], "scores": by_label}
