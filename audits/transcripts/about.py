"""run.json of somebody else's recording: what its maker gave and what can be counted; the rest stays unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ...system.message import Party
from ...system.truth import Truth
from ..statistics import exact_count
from .fields import LIST, NAMED, Wanted, at_least, object_in, plain_file, stored_in
from .messages import Flow

APART = frozenset(
    {"claims", "defences", "departures", "paper_version", "protocol", "source", "threat", "title", "versions"}
)
"""Facts that a report shows elsewhere than among the settings."""
TRAFFIC = "run.json"
"""Beside the view, where its recorder counted bytes."""
COUNT = at_least(0)


def protocol_of(facts: Mapping[str, Any]) -> str:
    """What the recording is called: as a folder can be."""
    name = str(facts.get("protocol", "transcript"))
    return (
        "".join(letter if letter.isalnum() or letter in "_.-" else "-" for letter in name)[:64].strip(".-")
        or "transcript"
    )


def told(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the maker says of the system; no claim is made for anybody who did not make it."""
    version = facts.get("paper_version") or ", ".join(facts.get("claims", {})) or None
    return {
        "protocol": protocol_of(facts),
        "labels": "own",
        "title": facts.get("title", "recorded elsewhere"),
        "source": facts.get("source", ""),
        "paper_version": version,
        "claims": facts.get("claims", {}),
        "departures": facts.get("departures", []),
        "settings": {name: value for name, value in facts.items() if name not in APART},
        "defences": facts.get("defences", {}),
    }


def counted(view: Path) -> list[dict[str, Any]]:
    """What a recorder counted, as it stands beside the view; nothing where it did not. UsageError for a wrong entry."""
    path = view.parent / TRAFFIC
    if not plain_file(path):
        return []
    stored = object_in(stored_in(path), str(path))
    found = []
    for at, one in enumerate(stored.get("traffic", LIST, [])):
        entry = object_in(one, f"{path}: traffic, entry {at}")
        wanted: Mapping[str, Wanted] = {**dict.fromkeys(Flow._fields, NAMED), "messages": COUNT, "bytes": COUNT}
        found.append({name: entry.get(name, right) for name, right in wanted.items()})
    return found


def traffic(
    counted: Sequence[Mapping[str, Any]], flows: Counter[Flow], parties: frozenset[Party], samples: int
) -> dict[str, Any]:
    """Messages by kind and direction, with their bytes where the recorder counted them."""
    listed = list(counted) or [{**flow._asdict(), "messages": count, "bytes": None} for flow, count in flows.items()]
    up, down = ([one["bytes"] for one in listed if (one["sender"] in parties) is own] for own in (False, True))
    return {
        "traffic": listed,
        "samples": samples,
        "uplink_bytes_per_sample": _each(up, samples),
        "downlink_bytes_per_sample": _each(down, samples),
    }


def _each(sizes: Sequence[int | None], samples: int) -> float | None:
    known = [size for size in sizes if size is not None]
    return sum(known) / samples if sizes and samples and len(known) == len(sizes) else None


def usefulness(truth: Truth, labels: Sequence[str], labelled: bool) -> dict[str, Any]:
    """How often the tuned model is right about the queries, and the commonest class beside it, where both are told."""
    if not len(truth.outputs) or not truth.query_labels:
        return {"utility": None, "majority": None}
    right = torch.tensor([labels.index(label) for label in truth.query_labels])
    utility = exact_count("accuracy", (truth.outputs.argmax(1) == right).tolist())
    if not labelled:
        return {"utility": utility, "majority": None}
    common = labels.index(Counter(row.label for row in truth.rows).most_common(1)[0][0])
    return {"utility": utility, "majority": exact_count("accuracy", (right == common).tolist())}


def unknown(about: Mapping[str, Any]) -> list[str]:
    """What the report must say of a run that nobody here made, one sentence each."""
    absent = []
    if about["utility"] is None:
        absent.append("how useful the tuned model is")
    if about["uplink_bytes_per_sample"] is None:
        absent.append("how many bytes cross")
    absent.append("what the device computes")
    return [
        "This is a recording that was made elsewhere, of one run; nothing here says whether it is what its maker says.",
        f"Nobody told {', '.join(absent[:-1])}{' or ' if absent[:-1] else ''}{absent[-1]}, and there is no floor of "
        "utility: leakage of a model that learned nothing is weak evidence.",
        "There is no run beside it on which an attack must succeed, so that no row can be called resisting.",
    ]
