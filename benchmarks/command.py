"""`sidelight bench`: what is typed, turned into a job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="attacks, bytes-to-accuracy, comms, computation, device-memory, growth, limits, memory, protocols, "
            "schedule, speed; all if absent."
        ),
    ] = None,
    backbone: Annotated[str, typer.Option(help="Packaged name, local folder or Hugging Face id.")] = "sidelight-tiny",
    data: Annotated[str, typer.Option(help="`messages`, FILE.jsonl, FILE.csv or a `datasets` id.")] = "messages",
    out: Annotated[Path, typer.Option(help="Folder of NAME.json, NAME.md and benchmarks.html.")] = Path("bench"),
    seed: Annotated[str, typer.Option(help="Repeats a draw of data and weights.")] = "benchmark",
) -> None:
    """Measure what protocols cost each party, beside bars and papers' figures; status 1 where a bar is not reached."""
    from ..system.errors import UnknownName, UsageError
    from . import BENCHES
    from .finding import Bench, Headline
    from .stored import store

    for name in names or []:
        if name not in BENCHES:
            raise UnknownName("benchmark", name, BENCHES)
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UsageError(f"{there} is a file; give a folder, new or there already")
    if not os.access(there, os.W_OK):
        raise UsageError(f"{there} lets nobody write; give a folder that does")
    missed: list[Headline] = []
    for name in names or sorted(BENCHES):
        found = BENCHES[name](Bench(backbone, data, seed, lambda line: typer.echo(line, err=True)))
        store(found, out)
        typer.echo(found.as_markdown())
        missed += found.missed
    _page(out)
    if missed:
        typer.echo(f"sidelight: not reached: {'; '.join(one.claim for one in missed)}", err=True)
        raise typer.Exit(1)


def _page(out: Path) -> None:
    """End with the page of all that the folder holds, found by its entry point: no room imports upward."""
    from importlib.metadata import entry_points

    for point in entry_points(group="sidelight.commands", name="report"):
        point.load()(out)
