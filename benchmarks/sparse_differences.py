"""What sparse differences cost and teach: language modelling by PAE MobiLLM as fewer and fewer entries cross.

    python -m sidelight.benchmarks.sparse_differences [--data messages] [--train 600] [--test 300] [--entries 1 16 ...]

Each number of entries is one run over a wire on the same rows from the same seed. Beside them: the backbone as it is,
and the same side network trained in one process by cross-entropy on the same positions, which is what the squared error
of a difference stands in for. Perplexity and accuracy are of the next token on held-out texts.

Shapes: P positions, V vocabulary.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch.nn.functional import cross_entropy

from ..system.backbone import TINY, Backbone, load_backbone
from ..system.codec import PRECISIONS
from ..system.data import Sample
from ..system.language import Quality, chances, loss_positions, quality
from ..system.message import Message
from ..system.protocols import Scene, interleave
from ..system.protocols.pae_lm import PAELM, PAELMDevice
from ..system.protocols.protocol import batches
from ..system.protocols.side_training import SideTraining, descend
from ..system.randomness import Streams
from ..system.roles import DEVICE, SERVER
from ..system.side_network import SideNetwork, SideShape
from ..system.wire import Wire
from .asked import answered, positive
from .finding import Bench
from .material import rows

ENTRIES = (1, 4, 16, 64, 256)
"""Of a difference; then the whole vocabulary."""
HEADER = """| entries | bytes a token up | of them the difference | perplexity | next-token accuracy |
|---|---|---|---|---|"""


def run(protocol: PAELM, backbone: Backbone, samples: Sequence[Sample], texts: Sequence[str], seed: str) -> str:
    """A row of the table: one run of the protocol."""
    scene = Scene(backbone, ("text",), {DEVICE: tuple(samples)}, Streams(seed))
    roles, positions = protocol.roles(scene), []

    def listen(message: Message) -> None:
        if message.kind == "difference":
            positions.append(int(message.tensors["lengths"].sum()))

    wire, device = Wire(roles, listen), roles[DEVICE]
    assert isinstance(device, PAELMDevice)
    interleave([device], wire)
    told = wire.traffic.bytes["difference", DEVICE, SERVER]
    sent, count = wire.traffic.sent_by(DEVICE), sum(positions)
    return line(f"{min(protocol.entries, backbone.vocabulary)}", device.quality(texts), sent / count, told / count)


def line(name: str, found: Quality, sent: float = 0.0, told: float = 0.0) -> str:
    return f"| {name} | {sent:,.0f} | {told:,.0f} | {found.perplexity:.1f} | {found.accuracy:.3f} |"


def by_cross_entropy(
    backbone: Backbone, training: SideTraining, samples: Sequence[Sample], texts: Sequence[str], longest: int, seed: str
) -> Quality:
    """Side-tuning in one process: s(A) is added to the backbone's scores, and cross-entropy trains it."""
    generator = Streams(seed).torch("cross-entropy")
    shape = SideShape(len(backbone.blocks), backbone.width, training.bottleneck, backbone.vocabulary)
    side = SideNetwork(shape, generator)
    optimizer = training.optimizer(side)
    matrix = backbone.output_matrix()

    def scores(states: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = side(states)
        return backbone.final_norm(states[:, -1]) @ matrix.T + added

    def loss(some: list[Sample]) -> torch.Tensor:
        with torch.no_grad():
            found = loss_positions(backbone, backbone.tokens([row.text for row in some], longest))
        return cross_entropy(scores(found.states), found.targets)

    for epoch in range(training.epochs):
        descend(optimizer, training, epoch, batches(samples, training.batch, generator), loss)
    return quality(backbone, lambda states: scores(states).softmax(1), texts, longest)


def table(given: argparse.Namespace) -> Iterator[str]:
    """Lines of Markdown."""
    bench, backbone = Bench(given.backbone, given.data), load_backbone(given.backbone)
    parts = rows(bench, given.train, given.test)
    texts = [sample.text for sample in parts.victim_test]
    longest = PAELM.longest
    yield HEADER
    yield line("untuned", quality(backbone, partial(chances, backbone), texts, longest))
    side = replace(PAELM.side, epochs=given.epochs)
    for entries in (*given.entries, backbone.vocabulary):
        protocol = PAELM(entries=entries, labelled=False, precision=given.precision, side=side)
        yield run(protocol, backbone, parts.victim_train, texts, bench.seed)
    found = by_cross_entropy(backbone, side, parts.victim_train, texts, longest, bench.seed)
    yield line("one process, cross-entropy", found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default=TINY)
    parser.add_argument("--data", default="messages")
    parser.add_argument("--train", type=positive, default=600, help="texts")
    parser.add_argument("--test", type=positive, default=300, help="texts")
    parser.add_argument("--epochs", type=positive, default=PAELM.side.epochs)
    parser.add_argument("--entries", type=int, nargs="*", default=ENTRIES, help="beside the whole vocabulary")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    for text in table(parser.parse_args()):
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(answered(main))
