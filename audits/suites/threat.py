"""The threat model of a run, as it stands on every row of results."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ...system.backbone import TINY, local_folder
from ...system.errors import UsageError
from ...system.message import Party

AND = " and "
"""Between parties in collusion."""


@dataclass(frozen=True)
class Threat:
    """What the adversary is and what it knows beforehand."""

    adversary: Literal["server", "federation", "server and federation", "eavesdropper", "recipient"] = "server"
    """The party, or the parties in collusion, whose view is attacked; or who sees the encrypted connections alone,
    or who receives a model that was tuned elsewhere."""
    device: str = ""
    """Where devices are of several kinds: one of those whose messages are attacked, with all of its kind."""
    behaviour: Literal["honest-but-curious", "deviating"] = "honest-but-curious"
    claimed_losses: int = 0
    """How often a deviating server says that it has lost all samples, so that the device sends them again."""
    backbone: Literal["public", "private"] = "public"
    relative: str = ""
    """Packaged name or local folder of a public model that a private backbone descends from; empty for none."""
    auxiliary: Literal["labelled", "none"] = "labelled"
    """Auxiliary rows with their labels, never the victim's: of the same domain, or of the same distribution where the
    data set does not tell two pools apart."""
    candidates: Literal["none", "mixed"] = "none"
    """Texts of which some are the victim's: `mixed` are all that it trains on, shuffled among those it never had."""
    challenge: Literal["none", "examples"] = "none"
    """Labelled texts of which membership is guessed: `examples` are all that the victim trains on, shuffled among those
    of `non_member`, from the same pool."""
    prompt: Literal["known"] = "known"
    known_labels: int = 0
    """Rows of each class whose labels the adversary knows beforehand; they are not scored."""

    def __post_init__(self) -> None:
        if self.known_labels < 0:
            raise UsageError(f"known_labels is {self.known_labels}; give 0 or more rows a class")
        if self.claimed_losses < 0:
            raise UsageError(f"claimed_losses is {self.claimed_losses}; give 0 or more")
        if (self.behaviour == "deviating") != (self.claimed_losses > 0):
            raise UsageError(
                f"behaviour is {self.behaviour!r} and claimed_losses is {self.claimed_losses}; a deviating server "
                "claims at least 1 loss, an honest one none"
            )
        if self.behaviour == "deviating" and self.adversary != "server":
            raise UsageError(f"behaviour is 'deviating' and adversary is {self.adversary!r}; only the server deviates")
        if self.relative and self.backbone == "public":
            raise UsageError(f"relative is {self.relative!r} and the backbone itself is public; leave relative away")
        if self.relative and local_folder(self.relative) is None:
            raise UsageError(f"relative is {self.relative!r}, which is no local folder; give {TINY!r} or a folder")

    @property
    def shown(self) -> dict[str, Any]:
        """As results and reports name it: of a relative its name, not where it lies."""
        return {**asdict(self), "relative": Path(self.relative).name}

    @property
    def parties(self) -> frozenset[Party]:
        """The adversary's parties."""
        return frozenset(self.adversary.split(AND))
