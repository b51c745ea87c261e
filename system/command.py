"""The command `sidelight`: finds its subcommands by entry points, and turns errors into one sentence."""

from __future__ import annotations

import errno
import os
import sys
from importlib.metadata import entry_points, version
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from .errors import SidelightError

GROUP = "sidelight.commands"
USAGE, INTERRUPTED = 2, 130
OUT_OF_OUR_HANDS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR, errno.ENAMETOOLONG}
"""Errors of the file system that the user can mend."""

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def build() -> typer.Typer:
    """The application, with every installed subcommand."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

    @app.callback()
    def root(
        show: Annotated[
            bool,
            typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_show_version),
        ] = False,
    ) -> None:
        """What the server learns when a phone's language model is fine-tuned with the server's help."""

    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        app.command(point.name)(point.load())
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("sidelight"))
        raise typer.Exit


def main() -> None:
    """Exit status: 0 done, 1 a cell failed, 2 wrong usage or input, 3 over budget, 130 stopped by the user."""
    try:
        status = build()(prog_name="sidelight", standalone_mode=False)  # typer's own errors come as several lines
    except SidelightError as error:
        _refuse(str(error))
    except TyperException as error:
        _refuse(_with_help(error))
    except OSError as error:
        if error.errno == errno.ENOSPC and error.filename is None:
            _refuse("the disk is full; make room, and give the same command again")
        if error.errno not in OUT_OF_OUR_HANDS or error.filename is None:
            raise
        _refuse(f"{error.filename}: {(error.strerror or 'it cannot be used').lower()}; give another path or make room")
    if status == INTERRUPTED:
        print("sidelight: stopped; the same command with the same --out goes on from here", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


def _refuse(sentence: str) -> NoReturn:
    if sentence:
        print(f"sidelight: {sentence}", file=sys.stderr)
    sys.exit(USAGE)


def _with_help(error: TyperException) -> str:
    """What typer says against the arguments, and where the right ones stand; empty where it has shown the help."""
    message = error.format_message().strip().rstrip(".").replace(". Did you mean", "; did you mean")
    message = message[:1].lower() + message[1:]
    context = getattr(error, "ctx", None)
    if not message or message.endswith("?") or context is None:
        return message
    return f"{message}; see `{context.command_path} --help`"


if __name__ == "__main__":
    main()
