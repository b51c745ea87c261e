"""A small audit: a backbone of random weights, rows that it can learn, a suite of seconds, and how to run it here."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sidelight.attacks import ATTACKS
from sidelight.audits.audit import run_audit
from sidelight.audits.executors.cores import OnCores
from sidelight.audits.planning.naming import Request
from sidelight.audits.planning.plan import Plan
from sidelight.audits.runs.recorder import Report
from sidelight.audits.runs.recording import RunOrder, record
from sidelight.audits.sandbox.workers import Workers
from sidelight.audits.suites.suite_file import load_suite
from sidelight.system.backbone import load_backbone
from sidelight.system.progress import Progress

SEED = "a seed that nobody would guess"
KEYWORDS = {"kitchen": "saucepan", "music": "violin", "weather": "thunder"}
"""A class's label and the word that most of its texts open with."""
WORDS = """again before quietly near under seven small bright old today maybe without north candle window river marble
copper velvet engine lantern garden pepper anchor""".split()

SIZES = """
[data]
victim_train = 36
victim_test = 30
auxiliary = 30
non_member = 6
texts = 6

[protocol]
longest = 12

[limits]
seconds = 60
memory_gib = 4
"""
PAE = """
[[runs]]
protocol = "pae"
settings = { side = { epochs = 12, bottleneck = 4, batch = 12, learning_rate = 0.02 } }
"""
BRIEF = """
vary.inverter = [{ texts = 256, steps = 2, batch = 4, beam = 2 }]
vary.search = [{ rounds = 1 }]
"""
"""Behind a run with all attacks: those that take minutes, in seconds."""
MOBILLM = """
[[runs]]
protocol = "mobillm"
settings = { side = { epochs = 1, bottleneck = 4 } }
"""
LOCAL = """
[[runs]]
protocol = "local"
settings = { lora = { epochs = 1, rank = 2 } }
"""


@dataclass(frozen=True)
class Small:
    """Where the backbone and the rows lie."""

    root: Path
    backbone: Path
    rows: Path

    def suite(self, name: str, *parts: str) -> Path:
        """A suite file of some runs."""
        path = self.root / f"{name}.toml"
        path.write_text(SIZES + "".join(parts), encoding="utf-8")
        return path

    def request(self, out: Path, suite: Path, seed: str | None = SEED) -> Request:
        return Request(load_suite(str(suite)), str(self.backbone), str(self.rows), out, seed)


def write_rows(path: Path, count: int = 150) -> Path:
    """Labelled texts of four to six words, none of which stands in another.

    Every fourth opens with no keyword, so that no twin can be right about all rows, or agree with all of a model.
    """
    generator = random.Random(0)
    texts: dict[str, str] = {}
    while len(texts) < count:
        label = sorted(KEYWORDS)[len(texts) % len(KEYWORDS)]
        opening = KEYWORDS[label] if len(texts) % 4 else generator.choice(WORDS)
        text = " ".join([opening, *generator.choices(WORDS, k=generator.randint(3, 5))])
        if not any(text in other or other in text for other in texts):
            texts[text] = label
    path.write_text("".join(json.dumps({"text": t, "label": a}) + "\n" for t, a in texts.items()), encoding="utf-8")
    return path


def run_here(small: Small, out: Path, suite: Path, workers: Workers, seed: str | None = SEED) -> tuple[bool, list[str]]:
    """An audit whose runs are recorded in this process and whose attacks use workers that are there already."""
    said: list[str] = []
    return run_audit(small.request(out, suite, seed), Here(workers), Progress(said.append)).whole, said


@dataclass(frozen=True)
class Here:
    """An executor of this very process, with workers that are there already."""

    workers: Workers

    @contextmanager
    def at_work(self, out: Path, private: Sequence[Path], progress: Progress) -> Iterator[OnCores]:
        yield RecordingHere(1, self.workers)


class RecordingHere(OnCores):
    """Records in this process."""

    def record(self, plan: Plan, orders: Sequence[RunOrder], report: Report) -> None:
        for order in orders:
            record(order, load_backbone(order.backbone))
            report(order, None)


@contextmanager
def installed(**attacks: str) -> Iterator[None]:
    """Attacks that the registry holds for a while, as if a plug-in had brought them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ATTACKS, "_table", {**ATTACKS._table, **attacks})
        yield


def results(out: Path) -> list[dict[str, Any]]:
    """The rows of results.jsonl."""
    return [json.loads(line) for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines()]
