"""Who attacks a group of runs, and what makes it more than one that is honest and knows no labels."""

from __future__ import annotations

from typing import NamedTuple

from .elsewhere import AND
from .summary import Summary
from .wording import party


class Adversary(NamedTuple):
    """An adversary; as text it stands in a sentence."""

    parties: str
    """Joined by ` + ` where they collude."""
    more: str = ""
    """What papers do not claim to withstand: deviating, known labels."""

    def __str__(self) -> str:
        return ", ".join(filter(None, (" and ".join(map(party, self.parties.split(AND))), self.more)))


def adversary_of(summary: Summary) -> Adversary:
    """The adversary that all runs of a group have in common."""
    threat = summary.run.threat
    named = next((row.adversary for row in summary.scored if row.adversary), None)
    known = f"knowing {threat['known_labels']} labels a class" if threat.get("known_labels") else ""
    deviates = "deviating" if threat.get("behaviour") == "deviating" else ""
    return Adversary(named or str(threat.get("adversary") or "server"), ", ".join(filter(None, (deviates, known))))
