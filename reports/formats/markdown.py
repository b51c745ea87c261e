"""report.md: the same report as Markdown tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from ..stored.results import Audit
from .templates import context, environment

_MARKS = re.compile(r"([\\`*_\[\]|#~])")
_BLANK_LINES = re.compile(r"\n{3,}")


def markdown(audit: Audit) -> str:
    """The Markdown of an audit; stored text can neither break a table nor become markup."""
    return markdown_of("report.md.jinja", context(audit))


def markdown_of(template: str, filling: Mapping[str, Any], **filters: Callable[..., str]) -> str:
    """A template of Markdown, filled."""
    made = environment(finalize=escaped)
    made.filters |= {"code": code, "coded": coded, **filters}
    return _BLANK_LINES.sub("\n\n", made.get_template(template).render(filling)).strip() + "\n"


def code(command: str) -> Markup:
    """A command as code, on one line; backticks of its own become quotes."""
    return Markup("`{}`").format(Markup(re.sub(r"\s+", " ", command).replace("`", "'")))


def coded(text: str) -> Markup:
    """A sentence with what stands between backticks as code."""
    return Markup("").join(code(part) if at % 2 else escaped(part) for at, part in enumerate(text.split("`")))


def escaped(value: Any) -> Any:
    """Text as it is to be read: on one line, without HTML, with the marks of Markdown escaped."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value  # what a macro of the template made is Markdown already
    flat = re.sub(r"\s+", " ", value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markup(_MARKS.sub(r"\\\1", flat))
