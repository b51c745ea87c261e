"""An audit's folder as an audit writes it: several protocols, every status, private texts that hold HTML."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from .every_case import every_case
from .folder import VERSIONS, group, interval, row, run, scored, unscored, write_audit

SECRET = "My card 4929 ends in <script>alert('17')</script> | please block it"
"""A private text that would break a page or a table that did not escape it."""
PRIVATE = ("4929", "lost_card_label", "home/alice", "secret word")
CLAIMS = {"v1": ["data", "labels", "models"], "v2": ["data", "labels"]}

Build = Callable[..., Path]

AUDIT = {
    "schema": 2, "suite": "quick", "created": "2026-11-21T03:00:00Z", "victims": 1, "seconds": 83.2,
    "backbone": {"name": "sidelight-tiny", "digest": "b1c2" * 16, "parameters": 3554688, "blocks": 6, "width": 192,
                 "vocabulary": 4096},
    "data": {"name": "/home/alice/messages.jsonl", "digest": "d3e4" * 16, "rows": 2400, "classes": 24,
             "victim_train": 1000, "victim_test": 400, "auxiliary": 400, "non_member": 200,
             "notices": ["2 texts were cut to 64 tokens", "row 7 of /home/alice/messages.jsonl had spaces around it"]},
    "versions": VERSIONS, "machine": {"cores": 2, "sandbox": "landlock v7"},
}  # fmt: skip
DEPARTURES = [
    "bottleneck 48: no source confirms a width",
    "activation function SiLU: no source names one",
    "the difference is one-hot minus softmax; the sources say only that the device defines it",
]
RUNS = [
    run("local-0", "local", [], title="LoRA and side-tuning on the device", source="ours", floor=None),
    run("mobillm-0", "mobillm (precision=fp32)", [("activations", 630, 614_400_000), ("labels", 630, 81_270)],
        title="MobiLLM", source="arXiv 2502.20421", paper_version="v1", shows=["activations", "labels"]),
    run("pae-probability-0", "pae (difference=probability)",
        [("activations", 63, 4_608_000), ("difference", 63, 96_412)], claims=CLAIMS, departures=DEPARTURES,
        shows=["activations", "difference", "held:side_network"], downlink_bytes_per_sample=310.2),
    run("pae-logit-0", "pae (difference=logit)", [("activations", 63, 4_608_000), ("difference", 63, 96_412)],
        claims=CLAIMS, departures=DEPARTURES, shows=["activations", "difference", "held:side_network"],
        utility=interval(0.66, 0.05) | {"metric": "accuracy", "n": 400},
        floor={"value": 0.71, "reached": False, "from": "80 % of the gain of local LoRA over majority"}),
    run("split-0", "split (bottom=frozen, cut=2)", [("activations", 630, 92_160_000), ("labels", 630, 81_270)],
        title="Split learning", source="arXiv 1810.06060", paper_version="v1"),
]  # fmt: skip
_MOBILLM, _PAE, _LOGIT, _SPLIT = (("mobillm-0", "mobillm (precision=fp32)"),
                                  ("pae-probability-0", "pae (difference=probability)"),
                                  ("pae-logit-0", "pae (difference=logit)"),
                                  ("split-0", "split (bottom=frozen, cut=2)"))  # fmt: skip
_NO_DIFFERENCE = unscored("not_exposed", "the kind difference never crosses")
_MATCH = scored(0.998, 0.121, "leaks", "position_accuracy", ["activations"], 60)
ROWS = [
    *(row("local-0", "local", attack, goal, **unscored("not_exposed", "nothing crosses"))
      for attack, goal in (("plaintext", "labels"), ("sign", "labels"), ("match", "texts"), ("readoff", "model"))),
    row(*_MOBILLM, "plaintext", "labels", **scored(1.0, 0.412, "leaks", "accuracy", ["labels"])),
    row(*_MOBILLM, "match", "texts", **_MATCH),
    row(*_MOBILLM, "match", "texts", **_MATCH | scored(0.94, 0.02, "leaks", "slot_accuracy", ["activations"], 60)
        | {"primary": False, "judged": False, "verdict": None, "p_holm": None}),
    row(*_MOBILLM, "sign", "labels", **_NO_DIFFERENCE), row(*_MOBILLM, "addback", "labels", **_NO_DIFFERENCE),
    row(*_PAE, "sign", "labels", **scored(0.997, 0.412, "leaks", "accuracy", ["difference"])),
    row(*_PAE, "addback", "labels", **scored(0.995, 0.412, "leaks", "accuracy", ["difference"])),
    row(*_PAE, "readoff", "model", **scored(0.43, 0.42, "inconclusive", "agreement", ["held:side_network"], 200)),
    row(*_PAE, "match", "texts", **unscored("not_exposed", "one pivot crosses, not every position")),
    row(*_PAE, "plaintext", "labels", **unscored("not_exposed", "labels never cross")),
    row(*_LOGIT, "sign", "labels", **scored(0.44, 0.45, "resists", "accuracy", ["difference"])),
    row(*_LOGIT, "addback", "labels",
        **unscored("failed", "ValueError: could not read 'secret word' in /home/alice/messages.jsonl")),
    row(*_LOGIT, "readoff", "model", **unscored("not_applicable", "the backbone is private")),
    row(*_SPLIT, "plaintext", "labels", **scored(1.0, 0.412, "leaks", "accuracy", ["labels"])),
    row(*_SPLIT, "match", "texts", settings={"beam": 8}, **unscored("failed", "ran past 60 s")),
]  # fmt: skip
EXAMPLES = {
    "mobillm-0--match": [
        {"id": "s-1", "original": SECRET, "guess": SECRET.replace("please", "please,"), "certified": True},
        {"id": "s-2", "original": "Transfer 250 euros to Ada 4929", "guess": "Transfer 250 dollars to"},
    ],
    "pae-probability-0--sign": [
        {"id": "s-3", "original": "lost_card_label", "guess": "lost_card_label"},
        {"id": "s-4", "original": "<b>lost_card_label</b>", "guess": "top_up"},
    ],
}


def build_audit(out: Path, **differing: Any) -> Path:
    """Write the realistic audit with some of its parts exchanged; groups follow the runs."""
    parts: dict[str, Any] = {"head": AUDIT, "runs": RUNS, "rows": ROWS, "examples": EXAMPLES} | differing
    parts.setdefault("groups", [group([one]) for one in parts["runs"]])
    return write_audit(out, **parts)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A realistic audit's folder, with one victim."""
    return build_audit(tmp_path / "out")


@pytest.fixture
def build() -> Build:
    """The builder, for an audit that differs."""
    return build_audit


@pytest.fixture(scope="session")
def victims(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """An audit with controls, the best of several attacks and curves on so many victims; to be read only."""
    return cache(lambda number: write_audit(tmp_path_factory.mktemp("every-case"), **every_case(number)))


@pytest.fixture(scope="session", params=[1, 3, 6])
def full(request: pytest.FixtureRequest, victims: Callable[[int], Path]) -> Path:
    """The same for each way that victims are joined."""
    return victims(request.param)


@pytest.fixture
def private() -> tuple[str, ...]:
    """What a redacted report may not hold."""
    return PRIVATE
