"""An audit that holds every case of a report at once, made by rule: run as a script it writes one to look at.

One group of runs for each protocol with settings; on each, with 1 victim the victim's rows, with 2 to 4 each victim's
own rows, from 5 on a row over victims with a part for each. Controls that succeeded, failed and told what was
inferred; the best of several attacks; a composite; failed cells; curves on each axis, one with a failed point.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .every_curve import FEWEST, every_curve
from .folder import VERSIONS, group, interval, row, run, scored, unscored, write_audit

CROSSED = [("activations", 63, 4_608_000), ("difference", 63, 96_412)]
DATA = {"name": "messages", "digest": "d3e4" * 16, "rows": 2400, "classes": 20, "victim_train": 1000}
PAPER = {"claims": {"v1": ["data", "labels", "models"], "v2": ["data", "labels"]}}
SEEN = {"shows": ["activations", "difference", "held:side_network"]}


def every_case(victims: int) -> dict[str, Any]:
    """The parts of an audit's folder, as `write_audit` takes them."""
    head = {
        "schema": 2, "suite": "every case", "created": "2026-11-21T03:00:00Z", "victims": victims, "seconds": 1832.4,
        "backbone": {"name": "sidelight-tiny", "blocks": 6, "width": 192}, "data": DATA, "versions": VERSIONS,
        "machine": {"cores": 2, "sandbox": "landlock v7"},
    }  # fmt: skip
    members = {label: [_run(label, victim) for victim in range(victims)] for label, _ in GROUPS}
    return {
        "head": head,
        "runs": [one for runs in members.values() for one in runs],
        "groups": [_group(members[label], role) for label, role in GROUPS],
        "rows": [line for label, attacked in ATTACKED for line in _rows(members[label], attacked)],
        "curves": list(every_curve(victims)),
        "examples": {},
    }


UNDEFENDED = "pae (difference=probability)"
DEFENDED = "pae (defence.name=gaussian, defence.sigma=4)"
WEAKEST = "pae (defence.name=gaussian, defence.sigma=0.01)"
REASSIGNED = "pae (defence.name=gaussian, defence.sigma=4, labels=reassigned)"
MOBILLM = "mobillm (precision=fp32)"
GROUPS = [
    ("local", "row"), (MOBILLM, "row"), (UNDEFENDED, "row"), (DEFENDED, "row"), (WEAKEST, "control"),
    (REASSIGNED, "control"), ("pae (defence.sigma=64)", "point"),
]  # fmt: skip


def _run(label: str, victim: int) -> dict[str, Any]:
    crossed = {"local": [], MOBILLM: [("activations", 630, 614_400_000), ("labels", 630, 81_270)]}.get(label, CROSSED)
    paper = {**PAPER, **SEEN} if label.startswith("pae") else {"title": label.partition(" ")[0]}
    floor = {"value": 0.71, "reached": label != DEFENDED, "from": "80 % of the gain of local LoRA over majority"}
    use = interval(0.58 if label == DEFENDED else 0.8 + victim / 100, 0.04) | {"metric": "accuracy", "n": 400}
    made = run(f"{_key(label)}-{victim}", label, crossed, victim=victim, utility=use, floor=floor)
    return made | paper | (PROMISED if label == DEFENDED else {})


def _key(label: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in label)


def _group(runs: list[dict[str, Any]], role: str) -> dict[str, Any]:
    joined = len(runs) >= FEWEST
    scope = f"over {len(runs)} victims" if joined else "conditional on this victim"
    known = len(runs) == 1 or joined
    use = {**runs[0]["utility"], "scope": scope} if known else None
    price = PRICE if runs[0]["label"] == DEFENDED else None
    return group(runs, role=role, group=_key(runs[0]["label"]), utility=use, price=price)


BUDGET = {"epsilon": 2.0, "delta": 1e-05, "unit": "label"}
CACHED = {"accuracy": 0.75, "entropy": 2.5, "bound": 1.25, "rows": 600}
PROMISED = {
    "defences": {"noise": {"epsilon": 2.0, "delta": 1e-05, "revealed": False}}, "budget": BUDGET, "cached": CACHED,
}  # fmt: skip
PRICE = {
    "utility_loss": {"value": 0.22, "low": 0.18, "high": 0.26, "n": 400, "victims": [0]}, "verdict": "worse",
    "defended": {"utility": 0.58, "uplink_bytes_per_sample": 4704.4, "downlink_bytes_per_sample": 310.2,
                 "device_seconds_per_sample": 0.0042},
    "undefended": {"group": "g", "utility": 0.8, "uplink_bytes_per_sample": 4600.0, "downlink_bytes_per_sample": 300.0,
                   "device_seconds_per_sample": 0.0031},
}  # fmt: skip
PRICED = {"defence": {"noise": {"epsilon": 2.0}}, "epsilon": BUDGET, "price": PRICE, "utility": 0.58,
          "uplink_bytes_per_sample": 4704.4, "device_seconds_per_sample": 0.0042}  # fmt: skip


def _control(value: float, succeeded: bool | None, of: str) -> dict[str, Any]:
    gain = (value - 0.2) / 0.8
    return interval(value) | {
        "advantage": gain, "advantage_low": gain - 0.03, "advantage_high": gain + 0.03, "succeeded": succeeded,
        "run": f"{_key(of)}-0",
    }  # fmt: skip


REASSIGNED_CONTROL = {"reassigned": _control(0.24, None, REASSIGNED)}
ALL_WELL = {"undefended": _control(0.99, True, UNDEFENDED), "weakest": _control(0.97, True, WEAKEST)}
ONE_FAILED = {"undefended": _control(0.99, True, UNDEFENDED), "weakest": _control(0.41, False, WEAKEST)}
NEVER_SCORED = {"key revealed": {"value": None, "succeeded": False, "run": None}}
PARTIAL: dict[str, Any] = {"advantage_low": 0.06, "advantage_high": 0.19, "p_holm": 0.081}
RANDOM: dict[str, Any] = {"primary": False, "metric": "random_row_accuracy"}
SECONDARY: dict[str, Any] = {"primary": False, "judged": False, "verdict": None, "p_holm": None}
AMONG: dict[str, Any] = {"role": "row", "among": ["addback", "sign", "norm", "composite"], "n": 200}

Attacked = list[tuple[str, str, Mapping[str, Any]]]


def _scored(value: float, blind: float, verdict: str, metric: str = "accuracy", **more: Any) -> dict[str, Any]:
    return scored(value, blind, verdict, metric, ["difference"]) | more


def _by_coin(value: float, verdict: str, **more: Any) -> dict[str, Any]:
    exact = {"value": 0.05, "low": 0.05, "high": 0.05, "twin": "exact"}
    return _scored(value, 0.05, verdict, **RANDOM) | {"blind_outsider": exact, "blind_rest": exact, "n": 60} | more


ATTACKED: list[tuple[str, Attacked]] = [
    ("local", [("sign", "labels", unscored("not_exposed", "nothing crosses"))]),
    (MOBILLM, [
        ("plaintext", "labels", _scored(1.0, 0.41, "leaks")), ("plaintext", "labels", _by_coin(1.0, "leaks")),
        ("match", "texts", _scored(0.998, 0.121, "leaks", "position_accuracy", consumes=["activations"], n=60,
                                   prepare_seconds=812.4, attacker_seeds=3)),
        ("match", "texts", _scored(0.94, 0.02, "leaks", "slot_accuracy") | SECONDARY),
        ("sign", "labels", unscored("not_exposed", "the kind difference never crosses")),
    ]),
    (UNDEFENDED, [
        ("addback", "labels", _scored(0.995, 0.412, "leaks")), ("sign", "labels", _scored(0.997, 0.412, "leaks")),
        ("sign", "labels", _by_coin(0.98, "leaks")),
        ("norm", "labels", _scored(0.6, 0.412, "leaks", settings={"scale": "fitted", "iterations": 200})),
        ("composite", "labels", _scored(0.992, 0.412, "leaks", attack_source="harness: vote of the other attacks")),
        ("best", "labels", _scored(0.994, 0.42, "leaks", **AMONG, chosen=["sign"])),
        ("best", "labels", _by_coin(0.97, "leaks", **AMONG | {"n": 30}, chosen=["sign"])),
        ("readoff", "model", _scored(0.43, 0.42, "inconclusive", "agreement", n=200)),
    ]),
    (DEFENDED, [
        ("addback", "labels", _scored(0.43, 0.42, "inconclusive", controls=ONE_FAILED | REASSIGNED_CONTROL)),
        ("sign", "labels", _scored(0.42, 0.45, "resists", controls=ALL_WELL | REASSIGNED_CONTROL)),
        ("sign", "labels", _by_coin(0.06, "inconclusive", controls={})),
        ("norm", "labels", _scored(0.49, 0.42, "inconclusive", **PARTIAL, controls=ALL_WELL | NEVER_SCORED)),
        ("composite", "labels", unscored("failed", "ValueError: members guessed different rows")),
        ("best", "labels", _scored(0.43, 0.45, "resists", **AMONG, chosen=["sign", "norm"], controls=ALL_WELL)),
        ("readoff", "model", _scored(0.40, 0.42, "inconclusive", "agreement", n=200,
                                     reason="3 rows have no guess and count as wrong")),
        ("match", "texts", unscored("not_applicable", "one pivot crosses, not every position")),
    ]),
    (WEAKEST, [
        ("sign", "labels", _scored(0.97, 0.42, "leaks", role="control")),
        ("norm", "labels", unscored("failed", "ran past 300 s") | {"role": "control"}),
    ]),
    (REASSIGNED, [("sign", "labels", _scored(0.24, 0.2, "inconclusive", role="control"))]),
    ("pae (defence.sigma=64)", [("sign", "labels", _scored(0.9, 0.42, "leaks", role="point"))]),
]  # fmt: skip


def _rows(runs: list[dict[str, Any]], attacked: Attacked) -> Iterator[dict[str, Any]]:
    for attack, goal, figures in attacked:
        if len(runs) >= FEWEST:
            yield from _joined(runs, attack, goal, figures)
        else:
            yield from (_own(one, attack, goal, figures) for one in runs)


def _priced(one: Mapping[str, Any]) -> dict[str, Any]:
    return PRICED if one["label"] == DEFENDED else {}


def _own(one: Mapping[str, Any], attack: str, goal: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    made = row(one["run"], one["label"], attack, goal, group=_key(one["label"]), seed=one["victim"], **_priced(one))
    return made | {"victims": [one["victim"]]} | _moved(figures, one["victim"] * 0.004)


def _joined(runs: list[dict[str, Any]], attack: str, goal: str, figures: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The row over victims and each victim's part; `match` fails on the last victim."""
    numbers = [one["victim"] for one in runs]
    cells = [f"{one['run']}--{attack}" for one in runs]
    whole = f"{_key(runs[0]['label'])}--{attack}"
    lost = 1 if attack == "match" and figures["status" if "status" in figures else "value"] == 0.998 else 0
    over = {"cell": whole, "cells": cells, "run": None, "seed": None, "victims": numbers[: len(numbers) - lost]}
    scope = {"scope": f"over {len(numbers) - lost} victims"}
    yield (
        row(runs[0]["run"], runs[0]["label"], attack, goal, group=_key(runs[0]["label"]), **_priced(runs[0]))
        | over
        | scope
        | dict(figures)
    )
    if figures.get("role") in ("control", "point") or "value" not in figures:
        return
    for one in runs:
        part = {"role": "victim", "part_of": whole, "verdict": None, "p_holm": None}
        broken = unscored("failed", "ran past 300 s") if lost and one["victim"] == numbers[-1] else figures
        yield _own(one, attack, goal, broken) | part


def _moved(figures: Mapping[str, Any], by: float) -> dict[str, Any]:
    if figures.get("value") is None:
        return dict(figures)
    return {**figures, **{name: max(figures[name] - by, 0.0) for name in ("value", "low", "high")}}


if __name__ == "__main__":
    for number_of_victims in (1, 3, 6):
        write_audit(Path(sys.argv[1]) / f"of-{number_of_victims}", **every_case(number_of_victims))
