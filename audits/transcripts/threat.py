"""The threat model of somebody else's recording: what the folders show, and of the rest what its maker says.

What is not said is taken, and the report says that it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ...system.errors import UsageError
from ...system.message import Party
from ...system.public import Public
from ...system.roles import SERVER
from ..suites.threat import AND, Threat
from .fields import Fields, Wanted

SAID = Wanted("a text, a number, true or false", lambda value: isinstance(value, str | int | float | bool))
TAKEN: Mapping[str, Any] = {"behaviour": Threat.behaviour, "claimed_losses": 0, "device": ""}
"""What stands where the maker says nothing, though no folder shows it."""
WITHHELD = {"backbone": "private", "candidates": "none", "challenge": "none", "auxiliary": "none"}


def shown_threat(public: Public, parties: frozenset[Party]) -> dict[str, Any]:
    """What view and public knowledge show of the adversary."""
    known = Counter(one.label for one in public.known)
    return {
        "adversary": AND.join(sorted(parties, key=lambda party: (party != SERVER, party))),
        "backbone": "private" if public.backbone is None else "public",
        "relative": "" if public.backbone is not None else (public.relative or "").rpartition("/")[2],
        "auxiliary": "labelled" if public.auxiliary else "none",
        "candidates": "mixed" if public.candidates else "none",
        "challenge": "examples" if public.challenge else "none",
        "prompt": "known" if "prompt" in public.facts else "unknown",
        "known_labels": min(known[label] for label in public.labels) if known else 0,
    }


def threat_of(facts: Fields, public: Public, parties: frozenset[Party]) -> dict[str, Any]:
    """What stands on every row; UsageError where the maker says that something is withheld which is there."""
    shown, said = shown_threat(public, parties), facts.inside("threat")
    for name in said.values:
        said.get(name, SAID)
    if "adversary" in said.values and frozenset(str(said.values["adversary"]).split(AND)) != parties:
        raise UsageError(
            f"{said.where}: adversary is not the manifest's parties, which are {AND.join(sorted(parties))}; name those"
        )
    for name, value in WITHHELD.items():
        if said.values.get(name) == value and shown[name] != value:
            raise UsageError(f"{said.where}: {name} is {value!r}, and the public folder holds it; remove one")
    return {**TAKEN, **shown, **said.values}


def taken(facts: Fields) -> list[str]:
    """What the report must say of a threat model that its maker left open, one sentence each."""
    said = facts.inside("threat").values
    return (
        []
        if "behaviour" in said
        else [f"The recording does not say how the adversary behaves: it is taken to be {Threat.behaviour}."]
    )
