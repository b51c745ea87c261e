"""How much exact reconstruction finds and proves, how fast, and in how much memory; beside a public implementation.

    python -m sidelight.benchmarks.attacks.attack_speed [--backbone NAME ...] [--data messages|FILE.jsonl ...]
                                                        [--texts 100]
    python -m sidelight.benchmarks.attacks.attack_speed --lengths [--backbone NAME]
    python -m sidelight.benchmarks.attacks.attack_speed --peer FOLDER [--backbone NAME] [--texts 2]

The first recovers texts of MobiLLM's view (all positions of all layers) at each precision. A backbone is a name, a
folder, or one of the random families `opt`, `gpt2`, `llama`, `qwen`, `bloom`; each is measured in a process of its own,
and its peak memory is above that of the interpreter, with the backbone, the texts and the preparation in it.
The second fits how the cost of a token grows with the length of the text.
The third runs GitHub's cywinski/SipIt from FOLDER on the same texts and layer, by both its policies with its own
settings, and holds the better one against attacks/reconstruction/match.py.
All run on one thread, and seconds are those of the processor: what else the machine does is not in them.
Auxiliary text is drawn from `messages`, from frames that no recovered text has.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy
import torch

from ...attacks.attack import Prepared
from ...attacks.evidence.positions.matching import Known, Search
from ...attacks.reconstruction.match import Match
from ...attacks.workbench import Workbench
from ...system.backbone import Backbone, load_backbone, local_folder
from ...system.codec import PRECISIONS, Precision, through
from ...system.data.messages import generate
from ...system.errors import UsageError
from ...system.files import read_lines
from ...system.fusion import pack_positions
from ...system.message import Message
from ...system.public import Example, Public
from ...system.roles import DEVICE, SERVER
from ...system.view import View
from .. import families
from ..apart import forked
from ..asked import answered, positive
from ..limits.exponent import fitted
from ..memory.resident import mark, peak, resident
from .sipit_peer import POLICIES, ask

LONGEST = 64
"""Tokens of a text."""
BATCH = 16
"""Texts of a message."""
PEERS = 12
"""Tokens of a text that the peer is given: its random policy takes seconds for each."""
ROWS = 3000
LENGTHS = (8, 16, 32, 64, 128)
REPEATS = 5
"""Timings of which the median counts, where a run takes milliseconds."""


def texts_of(data: Sequence[str], count: int) -> tuple[list[str], tuple[Example, ...]]:
    """`count` texts of each source, and auxiliary ones."""
    drawn = generate(ROWS, numpy.random.default_rng(0))
    auxiliary = tuple(Example(row.text, row.label) for row in drawn if row.pool == "auxiliary")
    victims = [row.text for row in drawn if row.pool == "victim"]
    found: list[str] = []
    for source in data:
        rows = victims if source == "messages" else [row["text"] for row in read_lines(Path(source))]
        short = [row for row in rows if 20 <= len(row) <= 160]
        found += short[:: max(1, len(short) // count)][:count]
    return found, auxiliary


def public_of(backbone: str, layers: list[int], precision: str, auxiliary: tuple[Example, ...]) -> Public:
    """What anybody knows."""
    facts = {"precision": precision, "layers": layers, "longest": LONGEST, "prompt": "", "positions": "all"}
    return Public(facts, ("",), backbone, auxiliary=auxiliary)


@torch.no_grad()
def crossed(backbone: Backbone, texts: Sequence[str], precision: Precision) -> tuple[View, dict[str, tuple[int, ...]]]:
    """MobiLLM's view, and the truth."""
    messages, truth = [], dict[str, tuple[int, ...]]()
    for start in range(0, len(texts), BATCH):
        tokens = backbone.tokens(texts[start : start + BATCH], LONGEST)
        states, lengths = pack_positions(backbone.activations(tokens), tokens)
        ids = tuple(f"{start + row}" for row in range(len(lengths)))
        sent = {"activations": through(states, precision), "lengths": lengths}
        messages.append(Message("activations", DEVICE, SERVER, sample_ids=ids, tensors=sent, precision=precision))
        opening = len(backbone.prefix)
        rows = zip(ids, tokens.ids.tolist(), lengths.tolist(), strict=True)
        truth |= {name: tuple(row[opening:length]) for name, row, length in rows}
    return View(frozenset({SERVER}), messages, {}, {}), truth


def recovery(name: str, texts: Sequence[str], auxiliary: tuple[Example, ...], precision: Precision) -> dict[str, Any]:
    """One row of the table."""
    before = resident()
    mark()
    backbone = load_backbone(name)
    view, truth = crossed(backbone, texts, precision)
    public = public_of(name, list(range(1, len(backbone.blocks) + 1)), precision, auxiliary)
    began = time.process_time()
    prepared = Match().prepare(public, torch.Generator(), Workbench())
    ready = time.process_time()
    guess = Match().run(view, public, prepared, torch.Generator())
    seconds = time.process_time() - ready
    pairs = [(truth[i], found) for i, found in zip(guess.ids, guess.tokens, strict=True)]
    certified = [true == found for (true, found), sure in zip(pairs, guess.certified, strict=True) if sure]
    tokens = sum(len(true) for true, _ in pairs)
    return {
        "positions": sum(a == b for true, found in pairs for a, b in zip(true, found, strict=False)) / tokens,
        "tokens": tokens,
        "texts": len(pairs),
        "certified": len(certified),
        "wrong": certified.count(False),
        "rate": tokens / seconds,
        "prepared": ready - began,
        "peak": (peak() - before) / 2**20,
    }


def table(backbones: Sequence[str], texts: Sequence[str], auxiliary: tuple[Example, ...]) -> None:
    """Print a row for each backbone and precision."""
    print(f"{'backbone':<22} precision  positions right    certified precision  recall   tokens/s  prepare  peak MB")
    for name in backbones:
        for precision in PRECISIONS:
            row = forked(partial(recovery, name, texts, auxiliary, precision))
            proven = 1 - row["wrong"] / row["certified"] if row["certified"] else math.nan
            print(
                f"{Path(name).name:<22} {precision:<9}  {row['positions']:.5f} of {row['tokens']:<6}"
                f"  {proven:.4f} of {row['certified']:<4} texts   {row['certified'] / row['texts']:.4f} "
                f"{row['rate']:9.0f}  {row['prepared']:5.1f} s  {row['peak']:7.0f}",
                flush=True,
            )


def _timed(work: Callable[[], object]) -> float:
    """Median seconds."""
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return sorted(seconds)[REPEATS // 2]


@torch.no_grad()
def states_of(backbone: Backbone, texts: Sequence[Sequence[int]], layer: int) -> list[torch.Tensor]:
    """Of each text alone, (T, 1, d)."""
    return [backbone.activations(backbone.pad([text]), layer)[0, :, -1:].clone() for text in texts]


def searched(backbone: Backbone, prepared: Prepared, layer: int) -> Search:
    return Search(Known(backbone, [layer], "fp32", prepared), Match().candidates, backbone.vocabulary)


def prepare(name: str, layer: int, auxiliary: tuple[Example, ...]) -> Prepared:
    """What the attack prepares from auxiliary text."""
    return Match().prepare(public_of(name, [layer], "fp32", auxiliary), torch.Generator(), Workbench())


def growth(name: str, texts: Sequence[str], auxiliary: tuple[Example, ...]) -> dict[int, float]:
    """Seconds a token by length, of BATCH texts that are found exactly."""
    backbone = load_backbone(name)
    search = searched(backbone, prepare(name, 1, auxiliary), 1)
    stream = [token for text in texts for token in backbone.token_ids(text)]
    costs = {}
    for length in LENGTHS:
        own = length - len(backbone.prefix)
        rows = [[*backbone.prefix, *stream[i * own : (i + 1) * own]] for i in range(BATCH)]
        if len(rows[-1]) < length:
            raise UsageError(f"the data have fewer than {BATCH * length} tokens; give more texts")
        states = states_of(backbone, rows, 1)
        found = search.texts(states, backbone.prefix)
        assert [[*backbone.prefix, *row.tokens] for row in found] == rows, "a text was not found exactly"
        costs[length] = _timed(partial(search.texts, states, backbone.prefix)) / (BATCH * length)
    return costs


def versus(peer: Path, name: str, texts: Sequence[str], auxiliary: tuple[Example, ...], layer: int) -> None:
    """Print the peer's and our tokens a second on the same texts, without opening tokens: the peer knows of none."""
    backbone = load_backbone(name)
    rows = [backbone.token_ids(text, PEERS) for text in texts]
    count = sum(map(len, rows))
    began = time.process_time()
    search = searched(backbone, prepare(name, layer, auxiliary), layer)
    ready = time.process_time() - began
    states = states_of(backbone, rows, layer)
    rates = {"match": count / _timed(lambda: search.texts(states, []))}
    _say("match", rates["match"], [list(row.tokens) for row in search.texts(states, [])] == rows)
    for policy in POLICIES:
        answer = ask(peer, str(local_folder(name) or name), rows, layer, policy)
        rates[policy] = count / answer.seconds
        _say(policy, rates[policy], answer.tokens == rows)
    best = max(rates[policy] for policy in POLICIES)
    print(f"{rates['match'] / best:.0f} times the better policy; {count} tokens, layer {layer}")
    print(f"with its preparation of {ready:.1f} s: {count / (ready + count / rates['match']) / best:.1f} times")


def _say(way: str, rate: float, exact: bool) -> None:
    print(f"{way:<9} {rate:10.2f} tokens/s   {'exact' if exact else 'NOT EXACT'}", flush=True)


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", nargs="+", default=["sidelight-tiny", *families.FAMILIES])
    parser.add_argument("--data", nargs="+", default=["messages"])
    parser.add_argument("--texts", type=positive, default=100)
    parser.add_argument("--layer", type=positive, default=1)
    parser.add_argument("--lengths", action="store_true")
    parser.add_argument("--peer", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    texts, auxiliary = texts_of(cast(list[str], asked.data), asked.texts)
    with tempfile.TemporaryDirectory(prefix="sidelight-") as folder:
        root = Path(folder)
        names = [str(families.make(n, root)) if n in families.FAMILIES else n for n in asked.backbone]
        if asked.peer:
            versus(asked.peer, names[0], texts, auxiliary, asked.layer)
        elif asked.lengths:
            costs = growth(names[0], texts, auxiliary)
            for length, cost in costs.items():
                print(f"{length:4} tokens   {1e6 * cost:8.1f} microseconds a token")
            grown = fitted(list(costs.items()))
            print(f"the cost of a token grows with the length to the power {grown.value:.2f}")
        else:
            table(names, texts, auxiliary)


if __name__ == "__main__":
    sys.exit(answered(main))
