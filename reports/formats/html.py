"""report.html: one self-contained page, without scripts, that an auditor can print."""

from __future__ import annotations

from collections.abc import Callable

from jinja2 import Environment
from markupsafe import Markup, escape

from ..figures import figure, front_figure, roc_figure, svg
from ..figures.curve_figure import drawn
from ..findings.remarks import Shown, controls
from ..findings.wording import typeset
from ..stored.results import Audit
from ..stored.rows import Row
from .templates import context, environment


def html(audit: Audit) -> str:
    """The page of an audit; every stored text is escaped."""
    made = typeset_environment()
    made.filters["controls"] = _controls
    shown = context(audit)
    page = made.get_template("report.html.jinja")
    drawings = {
        "forest": figure.forest(shown["summaries"]),
        "utility": figure.utility,
        "panels": front_figure.panels,
        "drawn": drawn,
        "roc": roc_figure.roc,
        "roc_legend": roc_figure.legend,
        "roc_rests_on": roc_figure.axis_said,
        "value_mark": svg.value_mark,
        "twin_mark": svg.twin_mark,
    }
    return page.render(shown, **drawings)


def typeset_environment() -> Environment:
    """An environment whose numbers are typeset for a page."""
    made = environment()
    for name in ("number", "estimate", "advantage", "loss"):
        made.filters[name] = _typeset(made.filters[name])
    made.filters["coded"] = coded
    return made


def coded(text: str) -> Markup:
    """A sentence with what stands between backticks set as code."""
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(text.split("`"))
    )


def _typeset(worded: Callable[..., str]) -> Callable[..., str]:
    return lambda *values: typeset(worded(*values))


def _controls(row: Row) -> list[Shown]:
    return [shown._replace(value=typeset(shown.value), advantage=typeset(shown.advantage)) for shown in controls(row)]
