"""A table of all protocols on the same rows: accuracy, traffic, and what each party computes and holds."""

from __future__ import annotations

from collections.abc import Mapping

from ..system.federation import FEDERATION
from ..system.protocols import Protocol
from ..system.protocols.fedlora import FedLora
from ..system.protocols.fedmobillm import FedMobiLLM
from ..system.protocols.fleet import Fleet
from ..system.protocols.local import Local
from ..system.protocols.lora_training import LoraTraining
from ..system.protocols.mesfl import MeSFL
from ..system.protocols.mobillm import MobiLLM
from ..system.protocols.pae import PAE
from ..system.protocols.split import Split
from ..system.protocols.splitfed import SplitFed
from ..system.protocols.splitlora import SplitLoRA
from ..system.protocols.ushape import UShape
from ..system.roles import DEVICE, SERVER
from .apart import Case, Costs, costs
from .finding import Bench, Cell, Finding
from .material import rows

TRAIN, TEST = 600, 600
DEVICES = 4
LORA = LoraTraining(epochs=6)
FLEET = Fleet(DEVICES)
PAPERS: Mapping[str, str] = {
    "pae": "no table confirmed (arXiv 2507.01216)",
    "mobillm": "memory -68 % against PEFT, accuracy -1.9 points against full tuning, OPT-1.3B (secondary source)",
    "fedmobillm": "computation -95.2 %, traffic -93.2 %, 5.1 times faster (arXiv 2508.06765, abstract)",
    "splitfed": "no language model (arXiv 2004.12088)",
    "splitlora": "near centralised quality, GPT-2 on E2E (secondary source)",
    "mesfl": "server memory -79 %, training time -6 % (arXiv 2506.02940, abstract)",
}
"""By protocol, the figures that its paper is known to claim."""


def measure(bench: Bench) -> Finding:
    """Every protocol's costs."""
    parts = rows(bench, TRAIN, TEST)
    found: dict[str, Costs] = {}
    cases = protocols()
    for name, protocol in cases.items():
        bench.say(f"costs of {name}")
        parties = [DEVICE, *(p for p in (SERVER, FEDERATION) if p in protocol.shows)]
        found[name] = costs(Case(protocol, bench.backbone, parts, bench.seed), parties)
    return Finding(
        name="protocols",
        title="All protocols",
        kind="measured",
        about=(
            f"{bench.model} on {bench.texts}, {len(parts.victim_train)} training and {len(parts.victim_test)} test "
            f"rows, {len(parts.labels)} classes, one draw; side networks with their default training, LoRA of rank "
            f"{LORA.rank} with {LORA.epochs} passes; several devices means {DEVICES}, with equal shares. Each party is "
            "measured alone."
        ),
        headlines=(),
        rows=[_row(name, cases[name], one, len(parts.victim_train)) for name, one in found.items()],
        notes=(
            "Device columns are of the first device, before it downloads the tuned model; operations, over all passes, "
            "are divided by its own rows.",
            "The papers use larger models and other data (OPT-125M and larger, RoBERTa; MRPC, E2E) and count other "
            "things; their figures stand here to be compared in kind, not in size.",
        ),
    )


def protocols() -> dict[str, Protocol]:
    """Every protocol with comparable training."""
    return {
        "local": Local(lora=LORA),
        "pae": PAE(),
        "mobillm": MobiLLM(),
        "fedmobillm": FedMobiLLM(fleet=FLEET),
        "split": Split(bottom="trainable", lora=LORA),
        "ushape": UShape(bottom="trainable", lora=LORA),
        "splitfed v1": SplitFed(lora=LORA, fleet=FLEET),
        "splitfed v2": SplitFed(lora=LORA, fleet=FLEET, version="v2"),
        "splitlora": SplitLoRA(lora=LORA, fleet=FLEET, every=25),
        "mesfl": MeSFL(lora=LORA, fleet=FLEET, cuts=(1, 2, 3)),
        "fedlora": FedLora(lora=LORA, fleet=FLEET),
    }


def _row(name: str, protocol: Protocol, found: Costs, samples: int) -> dict[str, Cell]:
    device = found.parties[DEVICE]
    own = samples / getattr(protocol, "fleet", Fleet()).devices
    servers = [cost for party, cost in found.parties.items() if party != DEVICE]
    return {
        "protocol": name,
        "accuracy": found.accuracy,
        "bytes up a row": found.uplink,
        "bytes down a row": found.downlink,
        "device GFLOP a row": device.operations / own / 1e9,
        "device peak MiB": device.peak_bytes / 2**20,
        "device CPU s": device.seconds,
        "servers peak MiB": max((one.peak_bytes for one in servers), default=0) / 2**20 if servers else None,
        "servers CPU s": sum(one.seconds for one in servers) if servers else None,
        "the paper's figures": PAPERS.get(protocol.name),
    }
