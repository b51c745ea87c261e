"""The model card: what a tuned model is, how good, how to load it, which secrets it holds, what an audit found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..building import short
from ..protocols.tuned import Tuned
from .account import Costs
from .findings import Findings
from .order import Prepared
from .outcome import Outcome, Share

SECRETS = {
    "head": "the head behind the backbone's share of a difference",
    "transform": "the matrix by which differences were multiplied",
    "means": "the mean codeword of each class",
    "maps": "the matrices by which activations were multiplied",
}

UNAUDITED = (
    "What the server learnt of it was not audited. With the lines below in SUITE.toml, `sidelight audit SUITE.toml "
    "--backbone BACKBONE --data DATA --out RESULTS` attacks the same protocol with the same settings and defences, and "
    "`sidelight tune --findings RESULTS` has what it found stand here."
)


def card(ready: Prepared, tuned: Tuned, found: Outcome, costs: Costs, audit: Findings | None) -> str:
    """Markdown."""
    return (
        "\n\n".join(
            [
                f"# A model tuned with {ready.protocol.title}",
                _what(ready),
                "## How good",
                _quality(ready, found),
                "## How to load",
                _loading(),
                "## What is secret",
                _secrets(ready, tuned),
                "## What the server learns",
                _leakage(ready, costs, audit),
            ]
        )
        + "\n"
    )


def _what(ready: Prepared) -> str:
    backbone, labels = ready.scene.backbone, ready.scene.labels
    defences = ", ".join(defence.title for defence in ready.protocol.defences)
    return (
        f"It puts a text into one of {len(labels)} classes: a side network beside the frozen backbone "
        f"`{backbone.name}` (weights as {backbone.weights}, digest {backbone.digest}), trained by a server on what one "
        f"device sent of {len(ready.samples)} samples, over {ready.epochs} epochs. Protocol: `{ready.protocol.name}` "
        f"({ready.protocol.source}). Defences: {defences or 'none'}."
    )


def _quality(ready: Prepared, found: Outcome) -> str:
    untuned = "not measured" if found.untuned is None else _told(found.untuned)
    return (
        f"On {len(ready.held_out)} rows that were held out, near-duplicates of none that it was trained on, with exact "
        "intervals of 95 %:\n\n"
        "| model | accuracy |\n|---|---|\n"
        f"| tuned | {_told(found.accuracy)} |\n"
        f"| the backbone alone, by the classes' names | {untuned} |\n"
        f"| the most frequent class | {found.majority:.3f} |"
    )


def _told(share: Share) -> str:
    return f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}]"


def _loading() -> str:
    return (
        'With Sidelight installed, `sidelight predict FOLDER "a text"` prints class and scores as a line of JSON; '
        "`--backbone` says where the backbone is, where it is not found. In Python:\n\n"
        "```python\n"
        "from pathlib import Path\n\n"
        "from sidelight.system.tuning.export import load_tuned\n\n"
        "model = load_tuned(Path(FOLDER))\n"
        "scores = model.tuned.predict([TEXT])  # (texts, classes)\n"
        "label = model.labels[scores.argmax(1)]\n"
        "```"
    )


def _secrets(ready: Prepared, tuned: Tuned) -> str:
    """Which keys the export holds; a public head is none."""
    keys = {name: getattr(tuned.reading, name, None) for name in ("transform", "means")} | {"maps": tuned.tapping.maps}
    head = tuned.reading.head
    if head is not None and (known := ready.protocol.public_head(ready.scene)) is not None and len(known) == len(head):
        head = None
    held = [SECRETS[name] for name, key in {"head": head, **keys}.items() if key is not None]
    if not held:
        return (
            "No key stands in this folder. Its weights are what the server holds too, and weights may tell whose data "
            "they were trained on."
        )
    return (
        f"Prediction needs keys of the defences, and `model.safetensors` holds them: {'; '.join(held)}. They kept the "
        "server, and whoever else saw what crossed, from reading it: **whoever has this folder and that record is no "
        "longer kept from it.** Give it to nobody who may have the record. The seed, and whatever prediction does not "
        "need, is not in it."
    )


def _leakage(ready: Prepared, costs: Costs, audit: Findings | None) -> str:
    sent = (
        f"What one sample sent crossed {'once' if costs.releases <= 1 else f'in {costs.releases} versions'}; "
        f"{costs.uplink_bytes:,} bytes went up and {costs.downlink_bytes:,} came down."
    )
    if audit is None:
        return "\n\n".join([sent, UNAUDITED, f"```toml\n{_suite(ready)}\n```"])
    table = "\n".join(_rows(audit))
    return (
        f"{sent}\n\nAn audit of {audit.created} ran the same protocol with the same settings and defences, on the "
        f"backbone {audit.backbone} and the data {audit.data}; it attacked that run, not this one.\n\n{table}\n\n"
        "`blind`: the best guess without what crossed. "
        f"{audit.unscored} more rows have no number (not exposed, not applicable, or failed): see the audit's report."
    )


def _rows(audit: Findings) -> Iterator[str]:
    yield "| run | goal | adversary | attack | score | 95 % interval | blind | verdict |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in audit.rows:
        blind = "" if row.blind is None else f"{row.blind:.3f}"
        yield (
            f"| {row.run} | {row.goal} | {row.adversary} | `{row.attack}` | {row.metric} {row.value:.3f} | "
            f"[{row.low:.3f}, {row.high:.3f}], {row.scope} | {blind} | {row.verdict} |"
        )


def _suite(ready: Prepared) -> str:
    """The run of a suite whose messages come about as this tuning's did."""
    protocol = ready.protocol
    default = type(protocol)().settings()
    settings = {name: value for name, value in protocol.settings().items() if value != default[name]}
    lines = ["[[runs]]", f'protocol = "{protocol.name}"', f"settings = {_toml(settings)}"]
    return "\n".join([*lines, *(f"defences.{name} = {_toml(one)}" for name, one in short(protocol.defences).items())])


def _toml(value: Any) -> str:
    """A value as TOML has it within a line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {_toml(inner)}" for name, inner in value.items()) + "}"
    return json.dumps(value)
