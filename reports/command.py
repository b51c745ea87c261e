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
    latex = "latex"


def report(
    folder: Annotated[Path, typer.Argument(help="The folder that `sidelight audit` wrote.")],
    other: Annotated[
        Path | None,
        typer.Argument(help="Another one: say what changed from the first to this, and by more than chance."),
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(help="Write this format only; without it, print the table and write HTML and Markdown."),
    ] = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="Leave out example texts, labels of rows, and paths.")
    ] = False,
) -> None:
    """Report what an audit found, in report.html and other formats in its folder, or compare two audits."""
    from .written import compare_and_write, show_and_write, write_format

    name = None if format is None else format.value
    if other is not None:
        print(compare_and_write(folder, other, name, redact))
    else:
        print(show_and_write(folder, redact) if name is None else write_format(folder, name, redact))
