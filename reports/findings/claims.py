"""A paper's claims, version by version, with the verdict that the numbers support.

A claim is refuted by one leak, not audited without a score, and otherwise not refuted. No number of failed attacks
makes a claim hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..stored.rows import Row
from .summary import Summary

Judgement = Literal["refuted", "not refuted", "not audited"]
CLAIMED: Mapping[str, str] = {"data": "texts", "labels": "labels", "models": "model"}
"""The goal of the attacks that test each claim."""


@dataclass(frozen=True)
class Claim:
    """One thing that one version of a paper says the server does not learn, judged on one run."""

    version: str
    claim: str
    run: str
    judgement: Judgement
    evidence: Row | None
    """The strongest scored attack on the claim."""


@dataclass(frozen=True)
class ClaimTable:
    """The claims of one protocol's paper over its runs."""

    title: str
    source: str
    versions: Mapping[str, tuple[str, ...]]
    runs: tuple[str, ...]
    claims: tuple[Claim, ...]

    def at(self, run: str, version: str, claim: str) -> Claim | None:
        return next((c for c in self.claims if (c.run, c.version, c.claim) == (run, version, claim)), None)

    def of(self, version: str, claim: str) -> tuple[Claim, ...]:
        """One claim over all runs."""
        return tuple(c for c in self.claims if (c.version, c.claim) == (version, claim))


def judged(summary: Summary) -> tuple[Claim, ...]:
    """The claims of a run's paper with their verdicts."""
    return tuple(_judged(summary, version, claim) for version, claims in summary.run.claims.items() for claim in claims)


def _judged(summary: Summary, version: str, claim: str) -> Claim:
    rows = summary.of(CLAIMED.get(claim, claim))
    strongest = summary.strongest(CLAIMED.get(claim, claim))
    return Claim(version, claim, summary.name, judgement(rows), strongest)


def judgement(rows: Sequence[Row]) -> Judgement:
    """What the scored headline rows of a claim's goal say of it."""
    if any(row.verdict == "leaks" for row in rows):
        return "refuted"
    return "not refuted" if rows else "not audited"


def claim_tables(summaries: Sequence[Summary]) -> tuple[ClaimTable, ...]:
    """One table for each paper that claims anything."""
    papers: dict[tuple[str, str], list[Summary]] = {}
    for summary in summaries:
        if summary.run.claims:
            papers.setdefault((summary.run.title or summary.run.protocol, summary.run.source), []).append(summary)
    return tuple(_table(title, source, group) for (title, source), group in papers.items())


def _table(title: str, source: str, group: Sequence[Summary]) -> ClaimTable:
    versions: dict[str, tuple[str, ...]] = {}
    for summary in group:
        versions |= summary.run.claims
    claims = tuple(claim for summary in group for claim in judged(summary))
    return ClaimTable(title, source, versions, tuple(s.name for s in group), claims)
