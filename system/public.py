"""What anybody knows: backbone, public head, the protocol's public settings, auxiliary rows, queries.

Two items are more than public, and are there only where the threat model or a control says so: labels of the victim's
own rows that the adversary knows beforehand, and a defence's key that a control reveals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from . import files, folder, versions
from .errors import UnknownName

ITEMS = (
    "auxiliary",
    "backbone",
    "candidates",
    "challenge",
    "head",
    "keys",
    "known",
    "priors",
    "queries",
    "relative",
)
"""What the threat model may withhold, as an attack's needs name it."""

SCHEMA = 1
"""Of public.json and what stands beside it: docs/transcripts.md lists the versions."""
CAUSAL, BIDIRECTIONAL = "causal", "bidirectional"
"""The fact `attention`: whether a token of the backbone sees only what stands before it."""
UNSAID: Mapping[str, str | bool] = {
    "attention": CAUSAL,
    "activations": "plain",
    "first_layer": "sent",
    "last_layer": "sent",
    "positions": "pivot",
    "resent": False,
    "difference_key": "none",
}
"""What recordings stand for that do not say a fact."""


@dataclass(frozen=True)
class Example:
    """A labelled text that is not the victim's."""

    text: str
    label: str


@dataclass(frozen=True)
class Query:
    """An unlabelled text that a stolen model is asked about."""

    id: str
    text: str


@dataclass(frozen=True)
class Challenge:
    """A labelled text of which somebody wants to know whether the victim trains on it."""

    id: str
    """Of its own: it tells no sample's id."""
    text: str
    label: str


@dataclass(frozen=True)
class Known:
    """A sample of the victim's whose label the adversary knows beforehand."""

    id: str
    label: str


@dataclass(frozen=True)
class Public:
    """Public knowledge of one run. An item that the threat model withholds is None or empty."""

    facts: Mapping[str, Any]
    """The protocol's public settings: selector, prompt, layers, cut, difference, longest text in tokens."""
    labels: tuple[str, ...]
    """Class names; a label is an index into them."""
    backbone: str | None = None
    """Name or local folder of the frozen backbone; None where it is private."""
    head: Mapping[str, torch.Tensor] | None = None
    """The frozen head's tensors (`weight`: classes x width); None where it is secret."""
    auxiliary: tuple[Example, ...] = ()
    candidates: tuple[str, ...] = ()
    """Texts of which some may be the victim's: only where the threat model names them."""
    queries: tuple[Query, ...] = ()
    targets: tuple[str, ...] = ()
    """Ids of the samples whose texts are asked for, drawn by the auditor; empty for all."""
    priors: tuple[float, ...] = ()
    """How frequent each class is among people, by rows that are not the victim's; empty where nobody knows."""
    known: tuple[Known, ...] = ()
    """The victim's rows whose labels the threat model gives away; they are not scored."""
    relative: str | None = None
    """Name or local folder of a public model that the frozen backbone descends from: a public backbone itself."""
    keys: Mapping[str, torch.Tensor] | None = None
    """What a control reveals of the defences' keys: see system/defences; None where they stay secret."""
    challenge: tuple[Challenge, ...] = ()
    """Examples of which some are the victim's, in an order that tells nothing: what membership is guessed of."""

    @property
    def items(self) -> frozenset[str]:
        """Names of the items that are there, as an attack's needs name them."""
        return frozenset(name for name in ITEMS if getattr(self, name) not in (None, ()))

    def only(self, items: frozenset[str], facts: frozenset[str]) -> Public:
        """The class names with some items and facts, as far as they are there; UnknownName for a name of no item."""
        for name in items.difference(ITEMS):
            raise UnknownName("item of public knowledge", name, ITEMS)
        kept = {name: getattr(self, name) for name in items}
        return Public({name: value for name, value in self.facts.items() if name in facts}, self.labels, **kept)

    def save(self, root: Path) -> None:
        """Write public/ beside a view."""
        root.mkdir(mode=files.PRIVATE)
        files.write_json(
            root / "public.json",
            {
                "schema": SCHEMA,
                "facts": dict(self.facts),
                "labels": list(self.labels),
                "backbone": self.backbone,
                "head": self.head is not None,
                "candidates": list(self.candidates),
                "targets": list(self.targets),
                "priors": list(self.priors),
                "known": [asdict(one) for one in self.known],
                "relative": self.relative,
                "keys": self.keys is not None,
            },
        )
        files.write_lines(root / "auxiliary.jsonl", map(asdict, self.auxiliary))
        files.write_lines(root / "queries.jsonl", map(asdict, self.queries))
        files.write_lines(root / "challenge.jsonl", map(asdict, self.challenge))
        if self.head is not None:
            folder.write_tensors(root / "head.safetensors", self.head)
        if self.keys is not None:
            folder.write_tensors(root / "keys.safetensors", self.keys)


def load_public(root: Path) -> Public:
    """The public knowledge in a folder; a file or a field that is absent withholds its item."""
    path = root / "public.json"
    stored = versions.checked(files.read_json(path), path, SCHEMA)
    return Public(
        facts=stored.get("facts", {}),
        labels=tuple(stored["labels"]),
        backbone=stored.get("backbone"),
        head=folder.read_tensors(root / "head.safetensors") if stored.get("head") else None,
        auxiliary=tuple(Example(**row) for row in files.read_lines(root / "auxiliary.jsonl")),
        candidates=tuple(stored.get("candidates", ())),
        targets=tuple(stored.get("targets", ())),
        priors=tuple(stored.get("priors", ())),
        known=tuple(Known(**one) for one in stored.get("known", ())),
        relative=stored.get("relative"),
        keys=folder.read_tensors(root / "keys.safetensors") if stored.get("keys") else None,
        queries=tuple(Query(**row) for row in files.read_lines(root / "queries.jsonl")),
        challenge=tuple(Challenge(**row) for row in files.read_lines(root / "challenge.jsonl")),
    )
