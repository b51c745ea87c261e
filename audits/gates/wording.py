"""A budget's outcome in sentences, without paths: they go to logs and to files that others read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .budget import Limit, shown
from .check import Check
from .checking import Found

QUANTITY = {
    "max_advantage": "advantage",
    "max_value": "value",
    "min_utility": "utility",
    "max_epsilon": "promised epsilon",
}
_PATH = re.compile(
    r"(?<![\w.])(?:[A-Za-z]:\\|~?/|\.{1,2}/)[^\s'\"(),;=]*"  # absolute, home and explicitly relative paths
    r"|(?<!\w)[\w.-]+(?:/[\w.-]+){2,}"  # a/b/c: a hub id has one slash
    r"|(?<!\w)[\w./-]*\.(?:jsonl?|csv|tsv|txt|toml|py|safetensors)\b"
)
_UNWRITABLE = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, escaped or not."""


def clean(text: str) -> str:
    """A text without paths and control characters."""
    return _UNWRITABLE.sub("?", _PATH.sub("[path]", text))


def verdict(found: Found) -> str:
    """The outcome in one sentence."""
    limits, passed = len(found.budget.limits), len(found.checks) - len(found.broken)
    whole = f"{_count(limits, 'limit')}, {_count(len(found.checks), 'check')}"
    if found.kept:
        return f"within budget: {whole}"
    return f"over budget: {whole}, of which {len(found.broken)} broke a limit and {passed} did not"


def told(found: Found) -> Iterator[str]:
    """All that a terminal or a log is told: what to know of a pass, what broke a limit, and last the outcome."""
    yield from (f"note: {line}" for line in notes(found))
    yield from (f"sidelight: {line}" for line in broken(found))
    yield f"sidelight: {verdict(found)}"


def broken(found: Found) -> Iterator[str]:
    """A line for each check that breaks the budget."""
    return (f"limit {check.limit}: {subject(check)}: {said(check)}" for check in found.broken)


def notes(found: Found) -> Iterator[str]:
    """What a reader of a pass must know: what was never exposed, did not apply, or was looked at by no attack."""
    alike: dict[str, list[str]] = {}
    for at, _ in found.budget.numbered():
        for outcome in ("not exposed", "not applicable"):
            for (label, goal), attacks in _unscored(found, at, outcome).items():
                said = f"limit {at}: {outcome}: {', '.join(attacks)}{f' on {goal}' if goal else ''}"
                alike.setdefault(said, []).append(label)
    for label, goal, kinds in found.unaudited:
        alike.setdefault(f"unaudited for {goal}: {', '.join(kinds)}", []).append(label)
    return (clean(f"{said} in {'; '.join(labels)}") for said, labels in alike.items())


def _unscored(found: Found, limit: int, outcome: str) -> dict[tuple[str, str | None], dict[str, None]]:
    """By run and goal, the attacks that came to an outcome under a limit, each once."""
    named: dict[tuple[str, str | None], dict[str, None]] = {}
    for check in found.checks:
        if (check.limit, check.outcome) == (limit, outcome):
            where = check.subject.label, check.subject.goal
            named.setdefault(where, {})[check.subject.attack or "every attack"] = None
    return named


def subject(check: Check) -> str:
    """What was held to a limit."""
    own = check.subject
    known = f" knowing {own.known_labels} labels a class" if own.known_labels else ""
    victim = None if own.victim is None else f"victim {own.victim}"
    parts = (own.label or own.protocol, own.attack, own.adversary + known, own.goal, own.metric, victim)
    return clean(", ".join(filter(None, parts)) or "every run")


def said(check: Check) -> str:
    """What a check came to."""
    if check.value is None or check.outcome == "no interval":
        return clean(f"{check.outcome}: {check.reason}" if check.reason else check.outcome)
    shown = f"{check.value:g}" if check.bound == "max_epsilon" else f"{check.value:.4f}"
    if check.high is not None and check.low is not None:
        shown += f" [{check.low:.4f}, {check.high:.4f}]"
    reason = f"; {check.reason}" if check.reason else ""
    return clean(f"{check.outcome}: {QUANTITY[check.bound]} {shown}, {_against(check)}{reason}")


def _against(check: Check) -> str:
    """How it stands to its limit."""
    side = "above" if check.outcome == "exceeded" else "below" if check.outcome == "missed" else "within"
    if check.bound == "max_epsilon":
        return f"limit {check.at:g}"
    return f"{'lower' if check.bound == 'min_utility' else 'upper'} end {side} {check.at:g}"


def limit_words(limit: Limit) -> str:
    """A limit as its file has it, on one line."""
    return clean(", ".join(f"{name} = {shown(value)}" for name, value in limit.given.items()))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
