"""Texts from the states after a frozen block, at equal time: `match` beside the inverters of SplitLLM and VFLAIR-LLM.

    python -m sidelight.benchmarks.attacks.inversion [--splitllm FOLDER] [--vflair FOLDER] [--texts 20]
                                                     [--auxiliary 600] [--layer 3] [--least 1]

All get the same victims' texts as states of all positions after so many blocks of the packaged backbone, at fp32, know
that backbone, and may learn from the same auxiliary texts; one thread each, seconds of the processor with everything
that an attack prepares or learns. Peers run from FOLDER, a copy of their repository (inverting_peers.py). SplitLLM's
inverter is looked at after every epoch; VFLAIR-LLM's tells for each text which share of its tokens it found, in any
order, once with each of its losses. The ratio is the time of a peer's first look that is as good as `match`, over that
of `match`; a peer that never is has none, and what it found by then is told. Exits with status 1 below --least.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from ...system.backbone import TINY, Backbone, load_backbone, local_folder
from ..asked import answered, positive
from ..finding import Bench, Cell, Finding, Headline, ended
from .attack_speed import LONGEST, prepare, searched, states_of, texts_of
from .inverting_peers import SPLITLLM, VFLAIR, Look, Order, ask

OURS = "match"
Rows = Sequence[Sequence[int]]


class Task(NamedTuple):
    """Who is to be read, and what may be learned from."""

    backbone: Backbone
    layer: int
    texts: Sequence[str]
    victims: Rows
    auxiliary: Sequence[str]


def measure(
    bench: Bench, peers: Mapping[str, Path], texts: int = 20, auxiliary: int = 600, layer: int = 3, least: float = 1.0
) -> Finding:
    """Ours first, then every peer whose folder is given."""
    task = drawn(texts, auxiliary, layer)
    looks = {OURS: [matched(task, auxiliary)]}
    for name, folder in peers.items():
        bench.say(f"{name}")
        looks[name] = ask(_order(name, folder, task))
    mine = looks[OURS][0]
    tokens = sum(map(len, task.victims))
    return Finding(
        name="inversion",
        title="Texts from the states after a block, at equal time",
        kind="measured",
        about=(
            f"{task.backbone.name} after {layer} blocks, {texts} texts of `messages`, {tokens} tokens, {auxiliary} "
            "auxiliary texts; one thread, processor seconds."
        ),
        headlines=[beside(name, looks[name], mine, least) for name in peers],
        rows=[_row(name, look, tokens) for name, some in looks.items() for look in shown(some, mine)],
        notes=(
            "VFLAIR-LLM's own measure does not mind the order of tokens, and is the kinder one. `match` proves what it "
            "finds (arXiv 2510.15511); an inverter works where the blocks below are not known to the bit, too.",
        ),
    )


def drawn(texts: int, auxiliary: int, layer: int) -> Task:
    """Victims and auxiliary texts of `messages`, of other frames."""
    backbone = load_backbone(TINY)
    found, others = texts_of(["messages"], texts)
    victims = [backbone.token_ids(text, LONGEST) for text in found]
    return Task(backbone, layer, found, victims, [one.text for one in others[:auxiliary]])


def matched(task: Task, auxiliary: int) -> Look:
    """What `match` finds, with its preparation."""
    _, others = texts_of(["messages"], len(task.texts))
    began = time.process_time()
    search = searched(task.backbone, prepare(TINY, task.layer, others[:auxiliary]), task.layer)
    spent = time.process_time() - began
    rows = [[*task.backbone.prefix, *victim] for victim in task.victims]
    states = states_of(task.backbone, rows, task.layer)
    began = time.process_time()
    found = search.texts(states, task.backbone.prefix)
    spent += time.process_time() - began
    right = sum(
        one == other
        for row, victim in zip(found, task.victims, strict=True)
        for one, other in zip(row.tokens, victim, strict=True)
    )
    return Look("prepared and run", spent, right / sum(map(len, task.victims)))


def _order(name: str, folder: Path, task: Task) -> Order:
    backbone = task.backbone
    own = [[*backbone.prefix, *row] for row in task.victims]
    learned = [[*backbone.prefix, *backbone.token_ids(text, LONGEST)] for text in task.auxiliary]
    return Order(name, str(folder.resolve()), str(local_folder(TINY)), task.layer, learned, own, task.texts)


def beside(name: str, looks: Sequence[Look], mine: Look, least: float) -> Headline:
    """How much longer a peer takes to be as good; where it never is, how much longer it tried at all."""
    there = next((look for look in looks if look.found >= mine.found), None)
    best = max(looks, key=lambda look: look.found)
    claim = f"seconds of {name} until it finds what `match` does ({100 * mine.found:.1f} % of tokens), over those of it"
    if there is None:
        claim = f"seconds that {name} tried without finding what `match` does, over those of it"
        note = f"it found {100 * best.found:.1f} % at best, and `match` {100 * mine.found:.1f} %"
        return Headline(claim, looks[-1].seconds / mine.seconds, least, note)
    return Headline(claim, there.seconds / mine.seconds, least, there.how)


def shown(looks: Sequence[Look], mine: Look) -> list[Look]:
    """The last look within our time, or the first one, and the best."""
    within = [look for look in looks if look.seconds <= mine.seconds]
    chosen = [within[-1] if within else looks[0], max(looks, key=lambda look: look.found), looks[-1]]
    return sorted(set(chosen), key=lambda look: look.seconds)


def _row(name: str, look: Look, tokens: int) -> dict[str, Cell]:
    return {
        "attack": name,
        "after": look.how,
        "seconds": look.seconds,
        "tokens found, %": 100 * look.found,
        "tokens a second": tokens / look.seconds,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splitllm", type=Path, help="folder of a copy of GitHub's StupidTrees/SplitLLM")
    parser.add_argument("--vflair", type=Path, help="folder of a copy of GitHub's FLAIR-THU/VFLAIR-LLM")
    parser.add_argument("--texts", type=positive, default=20)
    parser.add_argument("--auxiliary", type=positive, default=600)
    parser.add_argument("--layer", type=positive, default=3)
    parser.add_argument("--least", type=float, default=1.0, help="the ratio that is let pass")
    given = parser.parse_args()
    torch.set_num_threads(1)
    peers = {name: folder for name, folder in ((SPLITLLM, given.splitllm), (VFLAIR, given.vflair)) if folder}
    return ended(measure(Bench(say=print), peers, given.texts, given.auxiliary, given.layer, given.least))


if __name__ == "__main__":
    sys.exit(answered(main))
