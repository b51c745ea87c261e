"""A truth that somebody else wrote: of what it may hold, only what the goal needs has to be there.

rows.jsonl with ids and labels is enough for labels. Texts need `text` or `tokens` and a backbone whose tokens are
compared; a model needs the victim's outputs on the queries; membership needs members.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ...attacks.attack import Goal
from ...system import folder
from ...system.backbone import Backbone
from ...system.data import Sample, Span
from ...system.errors import UsageError
from ...system.public import Public
from ...system.truth import TrueText, Truth, check_schema, true_texts
from .fields import (
    FLAG,
    FLAGS,
    LIST,
    NAMED,
    OBJECT,
    TEXT,
    TEXTS,
    WHOLES,
    Fields,
    at_least,
    object_in,
    plain_file,
    rows_in,
    stored_in,
)
from .public import label_of
from .tensors import FLOAT, opened

NO_LABELS = "the truth says no labels; give `label` in every line of its rows.jsonl"
NO_TEXTS = "the truth says no texts; give `text` in every line of its rows.jsonl"
NO_BACKBONE = "texts are compared by a backbone's tokens; name the backbone in truth.json where it is private"
NO_LONGEST = "public.json does not say by the fact `longest` how many tokens of a text are used; say it"
NO_OUTPUTS = "the truth holds no outputs.safetensors of the tuned model on the public queries; add it"
NO_MEMBERS = "the truth holds no members.json; add it"


@dataclass(frozen=True)
class Told:
    """What a truth says, and why some goals cannot be scored by it."""

    truth: Truth
    unscored: Mapping[Goal, str]


def read_truth(root: Path, public: Public, backbone: Backbone | None, longest: int | None) -> Told:
    """The truth in a folder; UsageError for the first thing that is wrong."""
    rows = list(_rows(root, public.labels))
    if not rows:
        raise UsageError(f"{root / 'rows.jsonl'} holds no row; give one a line with the id, text and label of a sample")
    unscored: dict[Goal, str] = {}
    labelled, texts = (_all_or_none(rows, name) for name in ("label", "text"))
    if not labelled:
        unscored[Goal.LABELS] = NO_LABELS
    tokens = _all_or_none(rows, "tokens")
    if why := (not backbone and NO_BACKBONE) or (not longest and NO_LONGEST) or (not (texts or tokens) and NO_TEXTS):
        unscored[Goal.TEXTS] = why
    outputs, labels = _outputs(root, public)
    if not len(outputs):
        unscored[Goal.MODEL] = NO_OUTPUTS
    members, groups = _members(root, public)
    if public.challenge and not members:
        unscored[Goal.MEMBERS] = NO_MEMBERS
    reader = None if Goal.TEXTS in unscored else backbone
    true = tuple(_true(row, public.labels[0], reader, longest or 0) for row in rows)
    queries = tuple(query.id for query in public.queries) if len(outputs) else ()
    return Told(Truth(true, queries, outputs, labels, members, groups), unscored)


def private_backbone(root: Path) -> str | None:
    """The backbone that truth.json names, where it is not public."""
    if not root.is_dir():
        raise UsageError(f"{root} is no folder; give the folder of a truth, which holds rows.jsonl")
    plain_file(root / "truth.json")
    name: str | None = Fields(check_schema(root), str(root / "truth.json")).get("backbone", NAMED, None)
    return name


def ids_of(root: Path) -> frozenset[str]:
    """The ids that a truth names."""
    return frozenset(row.get("id", NAMED) for row in _lines(root))


# --- rows -----------------------------------------------------------------------------------------------------


def _lines(root: Path) -> Iterator[Fields]:
    if not plain_file(root / "rows.jsonl"):
        raise UsageError(f"{root / 'rows.jsonl'} is missing; give the id, text and label of a sample a line")
    yield from rows_in(root / "rows.jsonl")


def _rows(root: Path, labels: tuple[str, ...]) -> Iterator[Fields]:
    seen: set[str] = set()
    for row in _lines(root):
        if (name := row.get("id", NAMED)) in seen:
            raise UsageError(f"{row.where} has the id of a line before; give each sample once")
        seen.add(name)
        if "label" in row.values:
            label_of(row, labels)
        row.get("text", TEXT, "")
        row.get("random", FLAG, False)
        tokens = row.get("tokens", WHOLES, [])
        slots = row.get("slots", FLAGS, [])
        if "slots" in row.values and len(slots) != len(tokens):
            raise UsageError(f"{row.where} has {len(slots)} slots and {len(tokens)} tokens; give one for each token")
        yield row


def _all_or_none(rows: Sequence[Fields], name: str) -> bool:
    """Whether every row has a field; UsageError where some have it."""
    have = sum(name in row.values for row in rows)
    if 0 < have < len(rows):
        lacking = next(row for row in rows if name not in row.values)
        raise UsageError(f"{lacking.where} has no {name} and {have} other lines have; give it in all lines or in none")
    return bool(have)


def _true(row: Fields, any_label: str, backbone: Backbone | None, longest: int) -> TrueText:
    """A row; its tokens by the backbone's tokenizer where it has none. Without labels any stands there, unscored."""
    spans = tuple(_spans(row))
    text, label = row.get("text", TEXT, ""), row.get("label", TEXT, any_label)
    sample = Sample(row.get("id", NAMED), text, label, spans, row.get("random", FLAG, False))
    if "tokens" not in row.values and backbone is not None:
        return true_texts(backbone, [sample], longest)[0]
    tokens = tuple(row.get("tokens", WHOLES, []))
    if backbone is not None and any(token >= backbone.vocabulary for token in tokens):
        raise UsageError(
            f"{row.where} has a token beyond the {backbone.vocabulary} of the backbone; give its own tokens, or none"
        )
    slots = tuple(row.get("slots", FLAGS, [False] * len(tokens)))
    said = tuple(one if isinstance(one, str) else text[one["start"] : one["end"]] for one in row.get("spans", LIST, []))
    return TrueText(sample.id, text, label, tokens, slots, said, sample.random)


def _spans(row: Fields) -> Iterator[Span]:
    """Where private parts of a text stand: texts of them are found in it, objects say `start` and `end`."""
    text: str = row.get("text", TEXT, "")
    for at, one in enumerate(row.get("spans", LIST, [])):
        if isinstance(one, str):
            begin = text.find(one)
            if begin >= 0 and one:
                yield Span(begin, begin + len(one), "")
            continue
        span = object_in(one, f"{row.where}: spans, entry {at}")
        start, end = span.get("start", at_least(0)), span.get("end", at_least(0))
        if not start < end <= len(text):
            raise UsageError(f"{span.where} is no part of its text of {len(text)} characters; give start below end")
        yield Span(start, end, "")


# --- the model and its members ----------------------------------------------------------------------------------


def _outputs(root: Path, public: Public) -> tuple[torch.Tensor, tuple[str, ...]]:
    """The tuned model's class scores on the public queries, in their order, and the queries' labels where given."""
    path = root / "queries.json"
    stored = object_in(stored_in(path), str(path)) if plain_file(path) else Fields({}, str(path))
    ids, labels = stored.get("ids", TEXTS, []), tuple(stored.get("labels", TEXTS, []))
    found = opened(root / "outputs.safetensors")
    place = found.places.get("outputs")
    if place is None or not place.shape[0]:
        return torch.empty(0, len(public.labels)), ()
    asked = [query.id for query in public.queries]
    if place.dtype != FLOAT or place.shape != (len(asked), len(public.labels)) or not asked:
        raise UsageError(
            f"{found.path}: 'outputs' is {place.dtype} of the shape {place.shape}; give F32 of the shape "
            f"({len(asked)}, {len(public.labels)}): queries of queries.jsonl in public/, labels"
        )
    if ids and ids != asked:
        raise UsageError(f"{path}: ids are not those of queries.jsonl in public/, in their order; give the same")
    if labels and (len(labels) != len(asked) or not set(labels) <= set(public.labels)):
        raise UsageError(f"{path}: labels are not one of public.json's for each of the {len(asked)} queries; give them")
    found.refuse_not_finite()
    return folder.read_tensors(found.path)["outputs"], labels


def _members(root: Path, public: Public) -> tuple[dict[str, str], dict[str, int]]:
    """By id of a challenge that the victim trains on its device, and by id of every one its near-duplicate group."""
    path = root / "members.json"
    if not plain_file(path):
        return {}, {}
    stored = object_in(stored_in(path), str(path))
    asked = [one.id for one in public.challenge]
    members, groups = stored.get("members", OBJECT), stored.get("groups", OBJECT, {})
    if not members.keys() <= set(asked) or not groups.keys() <= set(asked):
        raise UsageError(f"{path} names an id that is none of challenge.jsonl in public/; give its ids")
    if not all(isinstance(device, str) for device in members.values()):
        raise UsageError(f"{path}: members are not ids with the names of their devices; give them so")
    if not all(type(group) is int and group >= 0 for group in groups.values()):
        raise UsageError(f"{path}: groups are not ids with whole numbers from 0 up; give them so")
    return members, {**{name: at for at, name in enumerate(asked)}, **groups}
