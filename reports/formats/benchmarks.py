"""A dated page of what benchmarks found: bars first, then each benchmark with its figures and plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...benchmarks.finding import shown
from ...benchmarks.stored import Made
from ..figures.plot_figure import plotted
from ..findings.wording import listed
from .html import typeset_environment
from .markdown import markdown_of


def html(made: Sequence[Made]) -> str:
    """The page; every stored text is escaped."""
    environment = typeset_environment()
    environment.filters["shown"] = shown
    return environment.get_template("benchmarks.html.jinja").render(_context(made), plotted=plotted)


def markdown(made: Sequence[Made]) -> str:
    """The same as Markdown tables, without the plots."""
    return markdown_of("benchmarks.md.jinja", _context(made), shown=shown)


FORMATS: Mapping[str, Callable[[Sequence[Made]], str]] = {"html": html, "md": markdown}


def answer(made: Sequence[Made]) -> str:
    """Which bars were reached, in a sentence."""
    reached = [(bar.claim, bar.reached) for one in made for bar in one.finding.headlines if bar.reached is not None]
    missed = [claim for claim, was in reached if not was]
    if not reached:
        return "No bar is held against these figures."
    if len(missed) == len(reached) == 1:
        return f"The bar is not reached: {missed[0]}."
    if missed:
        return f"{len(reached) - len(missed)} of {len(reached)} bars are reached; missed: {listed(missed)}."
    return f"All {len(reached)} bars are reached." if len(reached) > 1 else "The bar is reached."


def _context(made: Sequence[Made]) -> Mapping[str, Any]:
    days = sorted({one.created[:10] for one in made})
    return {
        "made": made,
        "bars": [(one.finding, bar) for one in made for bar in one.finding.headlines if bar.bar is not None],
        "days": days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}",
        "with_what": _with_what(made),
        "answer": answer(made),
    }


def _with_what(made: Sequence[Made]) -> Mapping[str, str]:
    """Machine and versions; where benchmarks differ, each value with those that had it."""
    told: dict[str, dict[str, list[str]]] = {}
    for one in made:
        for name, value in {**one.machine, **one.versions}.items():
            told.setdefault(name, {}).setdefault(str(value), []).append(one.finding.name)
    return {name: _values(values) for name, values in told.items()}


def _values(values: Mapping[str, list[str]]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return "; ".join(f"{value} ({listed(names)})" for value, names in values.items())
