"""What an audit found of the same protocol behind the same defences, for a model card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import files
from ..errors import UsageError

FREE = {"side", "batch"}
"""Settings that may differ: how long is trained, and how many samples a message holds."""


@dataclass(frozen=True)
class Finding:
    """One attack's row."""

    run: str
    """As the audit names it, with what is not a default: settings, threat, defences."""
    goal: str
    adversary: str
    attack: str
    metric: str
    value: float
    low: float
    high: float
    blind: float | None
    """The best guess without what crossed."""
    verdict: str
    scope: str


@dataclass(frozen=True)
class Findings:
    """What one audit found."""

    created: str
    """Date of the audit."""
    backbone: str
    data: str
    rows: tuple[Finding, ...]
    unscored: int
    """Rows of the same runs without a number: not exposed, not applicable, failed."""


def read_findings(folder: Path, identity: Mapping[str, Any]) -> Findings:
    """An audit's rows on such a tuning; UsageError where the folder is no audit, or has none."""
    if not (folder / "results.jsonl").is_file() or not (folder / "audit.json").is_file():
        raise UsageError(f"{folder} is no finished audit; give the folder that `sidelight audit --out` wrote")
    about = files.read_json(folder / "audit.json")
    rows = list(_rows(folder, identity))
    found = tuple(_finding(row) for row in rows if row["status"] == "scored" and row["verdict"])
    if not found:
        raise UsageError(
            f"the audit in {folder} scored no attack on {identity['protocol']} with these settings and defences; give "
            "another one, or leave --findings away"
        )
    own = {row["run"]: row for row in rows}
    named = next(iter(own.values()))
    return Findings(about["created"][:10], named["backbone"], named["data"], found, len(rows) - len(found))


def _rows(folder: Path, identity: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of the report, one for each attack, of runs that are such a tuning."""
    same: dict[str, bool] = {}
    for row in files.iterate_lines(folder / "results.jsonl"):
        run = row["run"]
        if row["role"] != "row" or not row["primary"] or row["protocol"] != identity["protocol"]:
            continue
        if run not in same:
            same[run] = _alike(files.read_json(folder / "runs" / run / "run.json"), identity)
        if same[run]:
            yield row


def _alike(run: Mapping[str, Any], identity: Mapping[str, Any]) -> bool:
    """Whether what crossed in a run came about as in this tuning."""

    def told(settings: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in settings.items() if name not in FREE}

    # in the order in which they act, which a run's table of defences has not kept
    return (told(run["settings"]), run["identity"]["defences"]) == (told(identity["settings"]), identity["defences"])


def _finding(row: Mapping[str, Any]) -> Finding:
    blind = row["blind_outsider"]
    return Finding(
        row["label"],
        row["goal"],
        row["adversary"],
        row["attack"],
        row["metric"],
        row["value"],
        row["low"],
        row["high"],
        None if blind is None else blind["value"],
        row["verdict"],
        row["scope"],
    )
