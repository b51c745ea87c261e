"""The threat model of a run, as it stands on every row of results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Threat:
    """What the adversary is and what it knows beforehand."""

    adversary: Literal["server"] = "server"
    behaviour: Literal["honest-but-curious"] = "honest-but-curious"
    backbone: Literal["public", "private"] = "public"
    auxiliary: Literal["labelled", "none"] = "labelled"
    """Auxiliary rows with their labels, never the victim's: of the same domain, or of the same distribution where the
    data set does not tell two pools apart."""
    prompt: Literal["known"] = "known"
