"""An audit's folder as an audit writes it: several protocols, every status, private texts that hold HTML."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SECRET = "My card 4929 ends in <script>alert('17')</script> | please block it"
"""A private text that would break a page or a table that did not escape it."""
PRIVATE = ("4929", "lost_card_label", "home/alice", "secret word")
VERSIONS = {"python": "3.11.7", "sidelight": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"}
CLAIMS = {"v1": ["data", "labels", "models"], "v2": ["data", "labels"]}
THREAT = {
    "backbone": "public", "head": "public", "auxiliary": "same-domain", "known_labels": 0, "prompt_length_known": True,
    "adversary": "server", "behaviour": "honest-but-curious",
}  # fmt: skip

Build = Callable[..., Path]


def interval(value: float, half: float = 0.02) -> dict[str, float]:
    return {"value": value, "low": max(value - half, 0.0), "high": min(value + half, 1.0)}


def row(run: str, label: str, attack: str, goal: str, **more: Any) -> dict[str, Any]:
    """A row of results.jsonl; without a value it is not scored."""
    empty = dict.fromkeys(
        ("reason", "metric", "value", "low", "high", "blind_outsider", "blind_rest", "advantage", "verdict", "n")
    )
    return empty | {
        "schema": 1, "cell": f"{run}--{attack}", "run": run, "protocol": label.partition(" ")[0], "label": label,
        "paper_version": "v1, v2", "defence": None, "settings": {}, "threat": THREAT, "adversary": "server",
        "attack": attack, "attack_source": "ours", "goal": goal, "backbone": "b1c2", "data": "d3e4", "seed": 0,
        "status": "scored", "sandbox": "landlock v7", "primary": True, "direction": "higher", "controls": {},
        "seconds": 1.4, "versions": VERSIONS, "scope": "conditional on this victim", "consumes": [],
    } | more  # fmt: skip


def scored(value: float, blind: float, verdict: str, metric: str, consumes: list[str], n: int = 400) -> dict[str, Any]:
    advantage = (value - blind) / (1 - blind)
    return {
        **interval(value), "metric": metric, "n": n, "verdict": verdict, "consumes": consumes,
        "blind_outsider": interval(blind, 0.04) | {"twin": "learner"}, "blind_rest": interval(blind * 0.9, 0.03),
        "advantage": advantage, "advantage_low": advantage - 0.03, "advantage_high": advantage + 0.02,
    }  # fmt: skip


def unscored(status: str, reason: str) -> dict[str, Any]:
    return {"status": status, "reason": reason, "primary": False}


def run(name: str, label: str, traffic: list[tuple[str, int, int]], **more: Any) -> dict[str, Any]:
    """A run.json; traffic is kind, messages, bytes from the device to the server."""
    up = sum(size for _, _, size in traffic) / 1000
    return {
        "run": name, "protocol": label.partition(" ")[0], "label": label, "title": "PAE MobiLLM",
        "source": "arXiv 2507.01216", "paper_version": "v1, v2", "claims": {}, "departures": [],
        "settings": {"epochs": 10, "selector": "last"},
        "threat": THREAT, "shows": [kind for kind, _, _ in traffic], "samples": 1000, "uplink_bytes_per_sample": up,
        "traffic": [
            {"kind": kind, "sender": "device-0", "receiver": "server", "messages": messages, "bytes": size}
            for kind, messages, size in traffic
        ],
        "downlink_bytes_per_sample": 0.0, "utility": interval(0.81, 0.04) | {"metric": "accuracy", "n": 400},
        "majority": interval(0.05) | {"metric": "accuracy", "n": 400}, "victim": 0, "seconds": 12.1,
        "floor": {"value": 0.71, "reached": True, "from": "80 % of the gain of local LoRA over majority"},
    } | more  # fmt: skip


AUDIT = {
    "schema": 1, "suite": "quick", "created": "2026-11-21T03:00:00Z", "victims": 1, "seconds": 83.2,
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
        | {"primary": False}),
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


def write_audit(out: Path, head: Any = AUDIT, runs: Any = RUNS, rows: Any = ROWS, examples: Any = EXAMPLES) -> Path:
    """Write an audit's folder."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "audit.json").write_text(json.dumps(head), encoding="utf-8")
    (out / "results.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    for one in runs:
        (out / "runs" / one["run"]).mkdir(parents=True, exist_ok=True)
        (out / "runs" / one["run"] / "run.json").write_text(json.dumps(one), encoding="utf-8")
    for cell, values in examples.items():
        (out / "cells" / cell).mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(v) + "\n" for v in values)
        (out / "cells" / cell / "examples.jsonl").write_text(lines, encoding="utf-8")
    return out


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A realistic audit's folder."""
    return write_audit(tmp_path / "out")


@pytest.fixture
def build() -> Build:
    """The builder, for an audit that differs."""
    return write_audit


@pytest.fixture
def private() -> tuple[str, ...]:
    """What a redacted report may not hold."""
    return PRIVATE
