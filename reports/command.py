"""`sidelight report`: reports from a finished audit's stored results."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What a report can be written as."""

    html = "html"
    md = "md"
    csv = "csv"
    json = "json"


def report(
    folder: Annotated[Path, typer.Argument(help="The folder that `sidelight audit` wrote.")],
    format: Annotated[
        Format | None,
        typer.Option(help="Write this format only; without it, print the table and write HTML and Markdown."),
    ] = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="Leave out example texts, labels of rows, and paths.")
    ] = False,
) -> None:
    """Report what an audit found: the table, and report.html and report.md in its folder."""
    from .written import show_and_write, write_format

    print(show_and_write(folder, redact) if format is None else write_format(folder, format.value, redact))
