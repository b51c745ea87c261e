"""View, public knowledge and truth of somebody else's recording, checked together before anything reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...system.errors import UsageError
from .facts import check_facts
from .public import Known, check_public
from .view import Seen, check_view, read_manifest


@dataclass(frozen=True)
class Checked:
    """What a recording holds, without the values of its tensors."""

    seen: Seen
    known: Known


def check(view: Path, public: Path, ids: frozenset[str] = frozenset()) -> Checked:
    """Check both folders in one pass with flat memory, and look whether some ids crossed."""
    manifest, known = read_manifest(view), check_public(public)
    asked = {name for names in known.asked.values() for name in names}
    seen = check_view(view, manifest, ids | asked)
    check_facts(manifest.facts, (), False)
    check_facts(known.facts, seen.kinds, known.readable)
    _refuse_contradictions(seen, known)
    _refuse_unseen(seen, known)
    _check_shapes(seen, known)
    return Checked(seen, known)


def _refuse_contradictions(seen: Seen, known: Known) -> None:
    """The manifest may repeat facts, and must then say the same."""
    told = seen.manifest.facts
    for name in told.values.keys() & known.facts.values.keys():
        if told.values[name] != known.facts.values[name]:
            raise UsageError(f"{told.where} and {known.facts.where} say different things of {name}; say one")


def _refuse_unseen(seen: Seen, known: Known) -> None:
    """Ids that are asked for or known must have crossed, where any did and all devices took part to the end."""
    devices = known.facts.values.get("fleet", {"devices": 1})
    if not seen.crossed.named or (isinstance(devices, dict) and devices.get("devices") != 1):
        return
    for name, ids in known.asked.items():
        if absent := [one for one in ids if one not in seen.crossed.wanted]:
            raise UsageError(
                f"{known.where}: {len(absent)} of the {len(ids)} ids under {name} never crossed; give ids that "
                "messages name"
            )


def _check_shapes(seen: Seen, known: Known) -> None:
    """Rows must fit the facts that say what they are."""
    facts, shapes = known.facts.values, seen.crossed.shapes
    if states := shapes.get("activations/activations"):
        if "layers" in facts and states[0] != len(facts["layers"]):
            raise UsageError(
                f"activations have {states[0]} layers a position and {known.facts.where} names {len(facts['layers'])} "
                "layers; say which blocks the second dimension counts"
            )
        width = known.backbone.width if known.backbone is not None else states[1]
        if facts.get("activations", "plain") == "plain" and states[1] != width:
            raise UsageError(f"activations are {states[1]} wide and the backbone is {width} wide; give its own states")
        if facts.get("positions", "pivot") != "all" and "activations" in seen.crossed.packed:
            raise UsageError(
                "activations have `lengths`, so that all positions cross; say "
                f'"positions": "all" in {known.facts.where}'
            )
    classes = shapes.get("difference/difference")
    if classes and not facts.get("defences") and classes[0] != len(known.labels):
        raise UsageError(
            f"a difference has {classes[0]} values a sample and {known.where} names {len(known.labels)} labels; give "
            "one for each, or name the defence that changes it under `defences`"
        )
    if known.backbone is not None and (layers := facts.get("layers")) and max(layers) > len(known.backbone.blocks):
        raise UsageError(
            f"{known.facts.where}: layers go to {max(layers)} and the backbone has {len(known.backbone.blocks)} "
            "blocks, from 1; give its own"
        )
