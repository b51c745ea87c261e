"""The command `sidelight`: finds its subcommands by entry points, and turns errors into one sentence."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points, version
from typing import Annotated

import typer

from .errors import SidelightError

GROUP = "sidelight.commands"
USAGE, INTERRUPTED = 2, 130

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def build() -> typer.Typer:
    """The application, with every installed subcommand."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

    @app.callback()
    def root(
        show: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    ) -> None:
        """What the server learns when a phone's language model is fine-tuned with the server's help."""
        if show:
            typer.echo(version("sidelight"))
            raise typer.Exit

    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        app.command(point.name)(point.load())
    return app


def main() -> None:
    """Exit status: 0 done, 1 a cell failed, 2 wrong usage or input, 130 stopped by the user."""
    try:
        build()()
    except SidelightError as error:
        print(f"sidelight: {error}", file=sys.stderr)
        sys.exit(USAGE)
    except KeyboardInterrupt:
        print("sidelight: stopped; the same command with the same --out goes on from here", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
