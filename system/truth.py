"""What neither view nor public may contain: texts, labels, the tuned model's outputs, the seed.

Only the harness opens it, to score; nothing in `attacks` may import this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from . import files, folder, versions
from .backbone import Backbone
from .data import Sample
from .message import Party

SCHEMA = 1
"""Of the files of a truth: docs/transcripts.md lists the versions."""


@dataclass(frozen=True)
class TrueText:
    """A victim's row with its tokens, as the device used them."""

    id: str
    text: str
    label: str
    tokens: tuple[int, ...]
    """The text's own tokens that were used: no opening, no prompt."""
    slots: tuple[bool, ...]
    """Whether a token overlaps a span, such as a name or an amount."""
    spans: tuple[str, ...]
    """The text of each span that lies within the tokens used."""
    random: bool = False
    """Whether a coin gave it a uniform label."""


@dataclass(frozen=True)
class Truth:
    """The truth of one run."""

    rows: tuple[TrueText, ...]
    """The victim's training rows: what crossed."""
    queries: tuple[str, ...]
    """Ids of the public queries."""
    outputs: torch.Tensor
    """(queries, classes) float32: the tuned model's class scores."""
    query_labels: tuple[str, ...] = ()
    """Of the queries; empty where nobody asks how often a model is right."""
    members: Mapping[str, Party] = field(default_factory=dict)
    """By the id of a challenge that the victim trains on, its device."""
    groups: Mapping[str, int] = field(default_factory=dict)
    """By the id of every challenge, the number of its near-duplicate group, of which the split parts none."""

    def save(self, root: Path) -> None:
        """Write truth/, away from view/ and public/."""
        root.mkdir(mode=files.PRIVATE)
        files.write_json(root / "truth.json", {"schema": SCHEMA})
        files.write_lines(root / "rows.jsonl", map(asdict, self.rows))
        files.write_json(root / "queries.json", {"ids": list(self.queries), "labels": list(self.query_labels)})
        files.write_json(root / "members.json", {"members": dict(self.members), "groups": dict(self.groups)})
        folder.write_tensors(root / "outputs.safetensors", {"outputs": self.outputs})


def load_truth(root: Path) -> Truth:
    """The truth in a folder."""
    check_schema(root)
    rows = tuple(_row(values) for values in files.read_lines(root / "rows.jsonl"))
    queries = files.read_json(root / "queries.json")
    outputs = folder.read_tensors(root / "outputs.safetensors")["outputs"]
    told = files.read_json(root / "members.json")
    return Truth(rows, tuple(queries["ids"]), outputs, tuple(queries["labels"]), **told)


def check_schema(root: Path) -> dict[str, Any]:
    """truth.json, which the first recordings have not; UsageError where a newer Sidelight made the truth."""
    path = root / "truth.json"
    return versions.checked(files.read_json(path) if path.exists() else {}, path, SCHEMA)


def true_texts(backbone: Backbone, samples: Sequence[Sample], longest: int) -> tuple[TrueText, ...]:
    """Rows with their tokens and which of them carry a slot."""
    return tuple(_true_text(backbone, sample, longest) for sample in samples)


def _true_text(backbone: Backbone, sample: Sample, longest: int) -> TrueText:
    encoded = backbone.tokenizer(sample.text, add_special_tokens=False, return_offsets_mapping=True)
    tokens, offsets = encoded["input_ids"][:longest], encoded["offset_mapping"][:longest]
    slots = tuple(any(start < s.end and s.start < end for s in sample.spans) for start, end in offsets)
    used = offsets[-1][1] if offsets else 0
    spans = tuple(sample.text[s.start : s.end] for s in sample.spans if s.end <= used)
    return TrueText(sample.id, sample.text, sample.label, tuple(tokens), slots, spans, sample.random)


def _row(values: dict[str, Any]) -> TrueText:
    tuples = {name: tuple(values[name]) for name in ("tokens", "slots", "spans")}
    return TrueText(values["id"], values["text"], values["label"], **tuples, random=values["random"])
