"""`sidelight bench attacks`: what exact reconstruction finds and how fast, and shadow training against a loop.

Peers whose code is their own to fetch have commands of their own: attack_speed.py (SipIt), inversion.py (SplitLLM and
VFLAIR-LLM).
"""

from __future__ import annotations

from functools import partial

from ...system.codec import PRECISIONS
from ...system.public import Example
from ..apart import forked
from ..finding import Bench, Cell, Finding, Headline, Table
from ..limits.machine import one_thread
from ..material import rows
from . import shadow_speed
from .attack_speed import LONGEST, recovery

TEXTS, AUXILIARY = 100, 600


def measure(bench: Bench) -> Finding:
    """`match` on states of all positions at every precision; then shadows."""
    parts = rows(bench, AUXILIARY, TEXTS)
    auxiliary = tuple(Example(row.text, row.label) for row in parts.victim_train)
    texts = [row.text for row in parts.victim_test]
    found, wrong = list[dict[str, Cell]](), 0.0
    with one_thread():
        for precision in PRECISIONS:
            bench.say(f"match at {precision}")
            row = forked(partial(recovery, bench.backbone, texts, auxiliary, precision))
            wrong += row["wrong"]
            found.append({"precision": precision, **_columns(row)})
    shadows = shadow_speed.measure(bench)
    return Finding(
        name="attacks",
        title="Attacks",
        kind="measured",
        about=(
            f"`match` reads {len(texts)} texts of {bench.texts}, at most {LONGEST} tokens each, off the states of all "
            f"positions of all layers of {bench.model} (MobiLLM's view), with {len(auxiliary)} auxiliary texts; one "
            f"thread, processor seconds. {shadows.title}: {shadows.about}"
        ),
        headlines=[Headline("texts that `match` proves and that are wrong", wrong, 0.0, at="most"), *shadows.headlines],
        rows=found,
        tables=[Table(shadows.title, shadows.rows)],
        notes=(
            "Beside SipIt's public reimplementation, and beside the inverters of SplitLLM and VFLAIR-LLM, from copies "
            "of their repositories: `python -m sidelight.benchmarks.attacks.attack_speed --peer FOLDER` and "
            "`python -m sidelight.benchmarks.attacks.inversion --splitllm FOLDER --vflair FOLDER`.",
        ),
    )  # fmt: skip


def _columns(row: dict[str, float]) -> dict[str, Cell]:
    return {
        "tokens": row["tokens"],
        "tokens right, %": 100 * row["positions"],
        "texts": row["texts"],
        "proven": row["certified"],
        "proven wrong": row["wrong"],
        "tokens a second": row["rate"],
        "prepared in, s": row["prepared"],
        "peak, MiB": row["peak"],
    }
