"""`sidelight bench speed`: time to a target, an epoch on a larger shape, each party's part of it,
recording, and what a user waits for."""

from __future__ import annotations

from dataclasses import replace

from ..finding import Bench, Finding, Table
from ..limits.machine import one_thread
from . import command_line, epochs, parties, recorder, target


def measure(bench: Bench) -> Finding:
    """All of it, one after the other, on one thread; the audit `quick` takes its own."""
    found: list[Finding] = []
    with one_thread():
        for part in (target, epochs, parties, recorder, command_line):
            found.append(part.measure(bench))
            bench.say(found[-1].as_markdown())  # what ended is told, whatever becomes of the others
    return Finding(
        name="speed",
        title="Speed",
        kind="measured",
        about=" ".join(f"{one.title}: {one.about}" for one in found),
        headlines=[replace(line, claim=f"{one.title}: {line.claim}") for one in found for line in one.headlines],
        rows=found[0].rows,
        notes=[note for one in found for note in one.notes],
        tables=[Table(one.title, one.rows) for one in found[1:] if one.rows],
    )
