"""`sidelight tune`, `predict` and `forget`: what is typed, turned into a job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..assignments import assignments, defended
from ..errors import UsageError

if TYPE_CHECKING:
    from ..network.device_wire import Connection

ServerOption = Annotated[str, typer.Option(help="HOST:PORT of `sidelight serve`.")]
NameOption = Annotated[str, typer.Option(help="By which the server knows this device.")]
TokenOption = Annotated[Path | None, typer.Option(help="File with this device's token.")]
CaOption = Annotated[Path | None, typer.Option(help="Who signs the server's certificate, PEM.")]
CertOption = Annotated[Path | None, typer.Option(help="This device's certificate, PEM: mutual TLS.")]
KeyOption = Annotated[Path | None, typer.Option(help="Its key, PEM.")]
PlainOption = Annotated[bool, typer.Option("--plain-text", help="Speak without TLS beyond this machine.")]
BackboneOption = Annotated[str, typer.Option(help="Packaged name, local folder or Hugging Face id.")]


def tune(
    server: ServerOption,
    out: Annotated[Path, typer.Option(help="Folder of the device, the model and summary.json; the same resumes.")],
    data: Annotated[str, typer.Option(help="`messages`, FILE.jsonl, FILE.csv or a `datasets` id.")] = "messages",
    backbone: BackboneOption = "sidelight-tiny",
    weights: Annotated[str, typer.Option(help="As which they are held here: fp32, bf16, int8 or int4.")] = "fp32",
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes; the protocol's own number where absent.")] = None,
    name: NameOption = "device-0",
    protocol: Annotated[str, typer.Option(help="See `sidelight list protocols`.")] = "pae",
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting, NAME=VALUE; may be repeated.")] = None,
    defence: Annotated[
        list[str] | None, typer.Option(help="NAME or NAME:SETTING=VALUE,SETTING=VALUE; may be repeated.")
    ] = None,
    test_share: Annotated[float, typer.Option(help="Of the rows, those held out to measure accuracy.")] = 0.2,
    findings: Annotated[Path | None, typer.Option(help="An audit's results, for the model card.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="That compute; one seed gives one result for each number.")] = 1,
    run: Annotated[str | None, typer.Option(help="Of several devices: its name, the same for all.")] = None,
    party: Annotated[str | None, typer.Option(help="Which of them this one is: device-0 and so on.")] = None,
    run_secret: Annotated[Path | None, typer.Option(help="File with a secret, the same for all of them.")] = None,
    token_file: TokenOption = None,
    tls_ca: CaOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    plain_text: PlainOption = False,
) -> None:
    """Fine-tune beside a backbone on this device with a server's help, measure the model and export it."""
    settings, defences = assignments(set_ or []), defended(defence or [])
    connection = _connection(server, name, token_file, (tls_ca, tls_cert, tls_key), plain_text)
    from functools import partial

    import torch

    from ..progress import on_terminal
    from ..weights import require_known
    from .connecting import open_wire
    from .keeping import open_cache
    from .order import Order
    from .shared import read_shared
    from .tune import Surroundings
    from .tune import tune as carry_out

    torch.set_num_threads(threads)
    shared, held = read_shared(run, party, run_secret), require_known(weights)
    order = Order(out, data, backbone, held, name, protocol, settings, defences, epochs, test_share, findings, shared)
    done = carry_out(order, Surroundings(partial(open_wire, connection), open_cache, on_terminal()))
    if not done:
        typer.echo(f"the tuning in {out} is finished; nothing was changed")
        return
    import json

    found = json.loads((out / "summary.json").read_text("utf-8"))
    share, untuned = found["accuracy"], found["untuned"]
    before = "" if untuned is None else f"untuned {untuned['value']:.3f}, "
    typer.echo(
        f"accuracy {share['value']:.3f} [{share['low']:.3f}, {share['high']:.3f}] on {share['n']} rows held out, "
        f"{before}most frequent class {found['majority']:.3f}"
    )
    typer.echo(f"{out / 'summary.json'}")


def predict(
    folder: Annotated[Path, typer.Argument(help="What `sidelight tune` wrote with --out, or its folder model.")],
    texts: Annotated[list[str], typer.Argument(help="Texts to classify.")],
    backbone: Annotated[str | None, typer.Option(help="Where the backbone is now; where it was, if absent.")] = None,
) -> None:
    """Classify texts with a tuned model: class and scores, a line of JSON for each text."""
    import json

    from .predict import predictions

    for found in predictions(folder, texts, backbone):
        typer.echo(json.dumps(found, ensure_ascii=False))


def forget(
    folder: Annotated[Path, typer.Argument(help="What `sidelight tune` wrote with --out.")],
    server: ServerOption,
    token_file: TokenOption = None,
    tls_ca: CaOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    plain_text: PlainOption = False,
) -> None:
    """Have the server forget a device: its samples, and all that was trained on them. The model here stays."""
    from .home import Home

    home = Home(folder)
    if not home.begun:
        raise UsageError(f"{folder} holds no tuning; give the folder that `sidelight tune` wrote with --out")
    name = home.about["name"]
    connection = _connection(server, name, token_file, (tls_ca, tls_cert, tls_key), plain_text)
    from .connecting import forget as run

    run(connection)
    typer.echo(f"the server at {server} has forgotten {name}")


def _connection(
    server: str, name: str, token: Path | None, tls: tuple[Path | None, Path | None, Path | None], plain_text: bool
) -> Connection:
    """How the server is reached; every file is looked for now."""
    for path in (token, *tls):
        if path is not None and not path.is_file():
            raise UsageError(f"the file {path} does not exist; give one that does")
    from ..network.device_wire import Connection

    authority, certificate, key = tls
    return Connection(server, name, token, authority, certificate, key, plain_text)
