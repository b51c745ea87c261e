"""`sidelight bench`: what is typed, turned into a job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help="computation, memory, protocols, schedule; all of them where absent.")
    ] = None,
    backbone: Annotated[str, typer.Option(help="Packaged name, local folder or Hugging Face id.")] = "sidelight-tiny",
    data: Annotated[str, typer.Option(help="`messages`, FILE.jsonl, FILE.csv or a `datasets` id.")] = "messages",
    out: Annotated[Path, typer.Option(help="Folder of the results: NAME.json and NAME.md.")] = Path("bench"),
    seed: Annotated[str, typer.Option(help="Repeats a draw of data and weights.")] = "benchmark",
) -> None:
    """Measure what the protocols cost each party, beside the figures that their papers claim."""
    from ..system.errors import UnknownName, UsageError
    from . import BENCHES
    from .finding import Bench
    from .stored import store

    for name in names or []:
        if name not in BENCHES:
            raise UnknownName("benchmark", name, BENCHES)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; give a folder, new or there already")
    for name in names or sorted(BENCHES):
        found = BENCHES[name](Bench(backbone, data, seed, lambda line: typer.echo(line, err=True)))
        store(found, out)
        typer.echo(found.as_markdown())
