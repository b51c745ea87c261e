"""Protocols with settings and defences that have a name of their own, to be run, audited and cited by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A protocol by name with its settings, and defences by name with theirs, in the order in which they act."""

    title: str
    protocol: str
    settings: Mapping[str, Any]
    defences: Mapping[str, Mapping[str, Any]]


PAE_HARDENED = Preset(
    title="PAE MobiLLM with a secret head behind a secret rotation",
    protocol="pae",
    settings={"difference": "logit"},
    defences={"secret-head": {}, "rotate": {}},
)

PRESETS: Mapping[str, Preset] = {"pae-hardened": PAE_HARDENED}
