"""The public folder that belongs to a view that somebody else recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...system import versions
from ...system.backbone import Backbone, load_backbone
from ...system.errors import UsageError
from ...system.public import SCHEMA
from .fields import (
    FLAG,
    LIST,
    NAMED,
    TEXT,
    TEXT_OR_NULL,
    TEXTS,
    Fields,
    Wanted,
    is_number,
    is_texts,
    object_in,
    rows_in,
    stored_in,
)
from .tensors import FLOAT, Tensors, opened

LABELS = Wanted(
    "a list of at least two different texts, one for each class",
    lambda value: is_texts(value) and len(value) > 1 and len(set(value)) == len(value) and all(map(str.strip, value)),
)
NUMBERS = Wanted("a list of numbers", lambda value: isinstance(value, list) and all(map(is_number, value)))
APART = 1e-3
"""By which priors may miss a sum of 1."""


@dataclass(frozen=True)
class Known:
    """What public.json and the files beside it say, checked."""

    where: str
    labels: tuple[str, ...]
    facts: Fields
    backbone: Backbone | None
    items: frozenset[str]
    """Names of the items that are there, as `Public.items`."""
    asked: dict[str, tuple[str, ...]]
    """By field, the ids of the victim's samples that it names."""

    @property
    def readable(self) -> bool:
        """Whether there is a model to read texts with."""
        return bool({"backbone", "relative"} & self.items)


def check_public(root: Path) -> Known:
    """Check the folder; UsageError for the first thing that is wrong."""
    path = root / "public.json"
    if not root.is_dir():
        raise UsageError(f"{root} is no folder; give the folder that holds public.json")
    fields = Fields(versions.checked(stored_in(path), path, SCHEMA), str(path))
    labels = tuple(fields.get("labels", LABELS))
    backbone, relative = (_model(fields, name) for name in ("backbone", "relative"))
    lists = {name: fields.get(name, TEXTS, []) for name in ("candidates", "targets")}
    known = [row.get("id", NAMED) for row in _labelled(_inside(fields, "known"), labels)]
    challenged = [row.get("id", NAMED) for row in _labelled(rows_in(root / "challenge.jsonl"), labels, texts=True)]
    asked = [row.get("id", NAMED) for row in _texts(rows_in(root / "queries.jsonl"))]
    auxiliary = sum(1 for _ in _labelled(rows_in(root / "auxiliary.jsonl"), labels, texts=True))
    for name, ids in (("targets", lists["targets"]), ("known", known), ("challenge", challenged), ("queries", asked)):
        if len(set(ids)) < len(ids):
            raise UsageError(f"{path}: {name} names an id twice; give each once")
    there = {
        "auxiliary": auxiliary, "backbone": backbone, "candidates": lists["candidates"], "challenge": challenged,
        "head": _head(root, fields, labels, backbone), "keys": _tensors(root, fields, "keys"), "known": known,
        "priors": _priors(fields, len(labels)), "queries": asked, "relative": relative,
    }  # fmt: skip
    items = frozenset(name for name, item in there.items() if item)
    ids = {"targets": tuple(lists["targets"]), "known": tuple(known)}
    return Known(str(path), labels, fields.inside("facts"), backbone, items, ids)


def _model(fields: Fields, name: str) -> Backbone | None:
    reference: str | None = fields.get(name, TEXT_OR_NULL, None)
    if reference is None:
        return None
    try:
        return load_backbone(reference)
    except UsageError as error:
        raise UsageError(f"{fields.where}: {name} is wrong: {error}") from None


def _priors(fields: Fields, classes: int) -> list[float]:
    priors: list[float] = fields.get("priors", NUMBERS, [])
    if priors and (len(priors) != classes or min(priors) < 0 or abs(sum(priors) - 1) > APART):
        raise UsageError(
            f"{fields.where}: priors are {len(priors)} numbers that add up to {sum(priors):g}; give {classes}, one for "
            "each label from 0 up, that add up to 1"
        )
    return priors


def _tensors(root: Path, fields: Fields, name: str) -> Tensors | None:
    """The file of a field that says whether it is there."""
    said, found = fields.get(name, FLAG, False), opened(root / f"{name}.safetensors")
    if said and not found.places:
        raise UsageError(f"{fields.where}: {name} is true and there is no {name}.safetensors with tensors; add it")
    if found.places and not said:
        raise UsageError(f"{fields.where}: {name} is not true and there is {name}.safetensors; say true, or remove it")
    found.refuse_not_finite()
    return found if said else None


def _head(root: Path, fields: Fields, labels: tuple[str, ...], backbone: Backbone | None) -> Tensors | None:
    found = _tensors(root, fields, "head")
    if found is None:
        return None
    place = found.places.get("weight")
    width = backbone.head_width if backbone is not None else None
    right = place is not None and place.dtype == FLOAT and len(place.shape) == 2 and place.shape[0] == len(labels)
    if not right or (place is not None and width is not None and place.shape[1] != width):
        stands = "no tensor 'weight'" if place is None else f"'weight' of {place.dtype} and the shape {place.shape}"
        wanted = f"({len(labels)}, {'the width of the backbone' if width is None else width})"
        raise UsageError(
            f"{found.path} holds {stands}; give 'weight' of {FLOAT} and the shape {wanted}: classes, width"
        )
    return found


def _inside(fields: Fields, name: str) -> Iterator[Fields]:
    """The objects of a list."""
    for at, one in enumerate(fields.get(name, LIST, [])):
        yield object_in(one, f"{fields.where}: {name}, entry {at}")


def _texts(rows: Iterator[Fields]) -> Iterator[Fields]:
    for row in rows:
        row.get("text", TEXT)
        yield row


def _labelled(rows: Iterator[Fields], labels: tuple[str, ...], texts: bool = False) -> Iterator[Fields]:
    for row in rows:
        label_of(row, labels)
        if texts:
            row.get("text", TEXT)
        yield row


def label_of(row: Fields, labels: tuple[str, ...]) -> Any:
    """A row's label; UsageError where it is none of the classes."""
    label = row.get("label", TEXT)
    if label not in labels:
        raise UsageError(f"{row.where}: its label is none of the {len(labels)} labels of public.json; give one of them")
    return label
