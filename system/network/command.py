"""`sidelight serve`: what is typed, turned into a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def serve(
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 takes a free one.")],
    store: Annotated[Path, typer.Option(help="Folder of what is kept; made where it does not exist.")],
    tokens: Annotated[Path | None, typer.Option(help="File with `NAME TOKEN` a line: who may come.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="The server's certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key, PEM.")] = None,
    client_ca: Annotated[Path | None, typer.Option(help="Who signs devices' certificates, PEM: mutual TLS.")] = None,
    plain_text: Annotated[bool, typer.Option("--plain-text", help="Serve without TLS beyond this machine.")] = False,
    anybody: Annotated[bool, typer.Option("--anybody", help="Let in whoever comes, beyond this machine.")] = False,
    backbone: Annotated[str, typer.Option(help="For split learning: name, folder or hub id.")] = "",
    quota: Annotated[str, typer.Option(help="Kept for a device at most, as in 500M or 4G.")] = "4G",
    capacity: Annotated[str, typer.Option(help="Kept for all devices at most.")] = "64G",
    devices: Annotated[int, typer.Option(min=1, help="Held in memory at a time.")] = 64,
    threads: Annotated[int, typer.Option(min=1, help="That train, one core each.")] = 1,
) -> None:
    """Serve devices that fine-tune with this server's help: PAE MobiLLM and the protocols it competes with."""
    from .logs import Log
    from .server import ServerSettings
    from .server import serve as run

    settings = ServerSettings(
        listen,
        store,
        tokens,
        tls_cert,
        tls_key,
        client_ca,
        plain_text,
        anybody,
        backbone,
        in_bytes(quota),
        in_bytes(capacity),
        devices,
        threads,
    )
    run(settings, Log())


def in_bytes(size: str) -> int:
    """Bytes, as in 500M; raises UsageError."""
    number, unit = (size[:-1], size[-1:].upper()) if size[-1:].isalpha() else (size, "")
    if not number.isdigit() or unit not in UNITS or int(number) < 1:
        raise UsageError(f"{size!r} is no size; give bytes, or a number with K, M, G or T behind it")
    return int(number) * UNITS[unit]
