"""report.html: one self-contained page, without scripts, that an auditor can print."""

from __future__ import annotations

from collections.abc import Callable

from . import figure
from .results import Audit
from .templates import context, environment
from .wording import typeset


def html(audit: Audit) -> str:
    """The page of an audit; every stored text is escaped."""
    made = environment()
    for name in ("number", "estimate", "advantage"):
        made.filters[name] = _typeset(made.filters[name])
    shown = context(audit)
    page = made.get_template("report.html.jinja")
    drawn = {
        "forest": figure.forest(shown["summaries"]),
        "utility": figure.utility,
        "value_mark": figure.value_mark,
        "twin_mark": figure.twin_mark,
    }
    return page.render(shown, **drawn)


def _typeset(worded: Callable[..., str]) -> Callable[..., str]:
    return lambda *values: typeset(worded(*values))
