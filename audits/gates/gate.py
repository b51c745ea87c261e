"""The gate: a budget read and checked before anything is run, to be held against the results at the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..suites.suite import Suite
from .budget import LeakageBudget, read_budget
from .checking import Found, check_budget
from .offers import offers_of_audit, offers_of_suite, refuse_idle, refuse_senseless
from .written import write

Gate = Callable[[Path], Found]
"""Holds the budget against the audit in a folder that the caller holds, and writes there what it came to."""


def gate_on_suite(file: Path, suite: Suite) -> Gate:
    """The gate of an audit that is still to be run; UsageError for a budget that could never be kept by it."""
    budget, offers = read_budget(file), offers_of_suite(suite)
    refuse_senseless(budget, offers, str(file))
    refuse_idle(budget, offers, str(file))
    return partial(_gate, budget)


def gate_on_audit(file: Path, out: Path) -> Gate:
    """The gate of an audit that is there; where it lacks what a limit asks for, nothing was measured."""
    budget = read_budget(file)
    refuse_senseless(budget, offers_of_audit(out), str(file))
    return partial(_gate, budget)


def _gate(budget: LeakageBudget, out: Path) -> Found:
    found = check_budget(out, budget)
    write(out, found)
    return found
