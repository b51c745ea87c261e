"""One cell: an attack on a run, its twins, its score, and the folder that keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy
import torch

from ..attacks import Attack
from ..attacks.attack import Goal, Guess, LabelGuess, TextGuess
from ..system import files, folder
from ..system.backbone import Backbone
from ..system.public import load_public
from ..system.truth import load_truth
from ..system.view import load_view
from . import guess_checks
from .identity import SCHEMA
from .scoring import PRIMARY, Answers, Rows, score
from .settings import changed
from .statistics import Interval, advantage, best_of, interval, verdict
from .twins import Blind
from .workers import Broken, Done

EXAMPLES = 10
ONE_VICTIM = "conditional on this victim"


@dataclass(frozen=True)
class Cell:
    """An attack with its settings on a recorded run."""

    key: str
    run: Path
    attack: Attack
    settings: Mapping[str, Any]
    """All of the attack's settings."""

    @property
    def changed(self) -> dict[str, Any]:
        """Settings that differ from the attack's defaults."""
        return changed(self.settings, asdict(type(self.attack)()))  # type: ignore[call-overload]


@dataclass(frozen=True)
class Scored:
    """What a cell's folder holds beside its results."""

    results: list[dict[str, Any]]
    rows: Mapping[str, Rows]
    examples: list[dict[str, Any]]


def common(cell: Cell, run: Mapping[str, Any], audit: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that every result of a cell has."""
    return {
        "schema": SCHEMA,
        "cell": cell.key,
        "run": run["run"],
        "protocol": run["protocol"],
        "label": run["label"],
        "paper_version": run["paper_version"],
        "difference": run["settings"].get("difference") if run["protocol"] == "pae" else None,
        "defence": None,
        "settings": cell.changed,
        "threat": run["threat"],
        "adversary": run["threat"]["adversary"],
        "attack": cell.attack.name,
        "attack_source": cell.attack.source,
        "goal": str(cell.attack.goal),
        "consumes": sorted(cell.attack.needs.view),
        "backbone": audit["backbone"],
        "data": audit["data"],
        "seed": run["victim"],
        "sandbox": audit["sandbox"],
        "scope": ONE_VICTIM,
        "utility": run["utility"]["value"],
        "uplink_bytes_per_sample": run["uplink_bytes_per_sample"],
        "downlink_bytes_per_sample": run["downlink_bytes_per_sample"],
        "versions": audit["versions"],
    }


def unscored(fields: Mapping[str, Any], status: str, reason: str, seconds: float | None = None) -> dict[str, Any]:
    """The one result of a cell that has no score; it is kept, never dropped."""
    empty = dict.fromkeys(
        ("metric", "direction", "value", "low", "high", "blind_outsider", "blind_rest", "advantage", "advantage_low")
    )
    rest = dict.fromkeys(("advantage_high", "verdict", "n"))
    return {**fields, **empty, **rest, "primary": True, "controls": {}, "status": status, "reason": reason} | {
        "seconds": seconds
    }


def judge(
    cell: Cell, fields: Mapping[str, Any], mine: Done | Broken, shuffled: Done | Broken | None, backbone: Backbone
) -> Scored:
    """Score a finished attack beside its twins; a guess that cannot be scored is a failed cell with its reason."""
    seconds = round(mine.seconds, 3)
    if isinstance(mine, Broken):
        return Scored([unscored(fields, "failed", mine.reason, seconds)], {}, [])
    public, truth = load_public(cell.run / "public"), load_truth(cell.run / "truth")
    known = [row.id for row in truth.rows]
    goal = cell.attack.goal
    check = (goal, known, len(public.labels), backbone.vocabulary, [q.id for q in public.queries])
    if fault := guess_checks.validate(mine.guess, *check):
        return Scored([unscored(fields, "failed", fault, seconds)], {}, [])
    answers = Answers(truth, public.labels, public.targets, backbone.tokenizer.decode)
    blind = Blind(load_view(cell.run / "view"), public, backbone, public.targets)
    outsiders, rest = blind.outsider(goal), blind.rest(goal, cell.attack.attacked)
    if isinstance(shuffled, Done) and guess_checks.validate(shuffled.guess, *check) is None:
        outsiders = {**outsiders, "shuffled": shuffled.guess}
    rows = score(goal, mine.guess, answers)
    twins = [{name: score(goal, guess, answers) for name, guess in side.items()} for side in (outsiders, rest)]
    results: list[dict[str, Any]] = []
    for metric, found in rows.items():
        generator = numpy.random.default_rng([int(cell.key[-12:], 16), len(results)])
        numbers = _numbers(metric, found, twins, generator, primary=metric == PRIMARY[goal])
        if numbers is None:
            reason = f"a twin scores 1 on {metric}, so that no advantage is possible; give harder data"
            return Scored([unscored(fields, "failed", reason, seconds)], {}, [])
        results.append({**fields, **numbers, "status": "scored", "reason": None, "seconds": seconds, "controls": {}})
    return Scored(results, rows, examples(mine.guess, answers))


def _numbers(
    metric: str,
    found: Rows,
    twins: Sequence[Mapping[str, Mapping[str, Rows]]],
    generator: numpy.random.Generator,
    primary: bool,
) -> dict[str, Any] | None:
    """A metric's value, twins, advantage over the stronger twin, and verdict; None where a primary twin is perfect."""
    value = interval(found.values, generator)
    half = numpy.array([int(name, 16) % 2 == 0 for name in found.ids])
    sides: list[dict[str, Any] | None] = []
    blinds: dict[str, Any] = {}
    for side in twins:
        candidates = {n: r[metric].values for n, r in side.items() if metric in r and r[metric].ids == found.ids}
        if not candidates:
            sides.append(None)
            continue
        best, name = best_of(candidates, half)
        blinds[str(len(sides))] = best
        sides.append({**_interval(interval(best, generator)), "twin": name})
    gain = None
    if blinds:
        strongest = best_of(blinds, half)[0]
        gain = advantage(found.values, strongest, generator)
        if gain is None and primary:
            return None
    return {
        "metric": metric,
        "primary": primary,
        "direction": "higher",
        **_interval(value),
        "blind_outsider": sides[0],
        "blind_rest": sides[1],
        "advantage": gain and gain.value,
        "advantage_low": gain and gain.low,
        "advantage_high": gain and gain.high,
        # no defended row exists yet, hence no control: an undefended row is never said to resist
        "verdict": verdict(gain, controlled=False) if gain and primary else None,
        "n": len(found.values),
    }


def _interval(found: Interval) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high}


def examples(guess: Guess, answers: Answers) -> list[dict[str, Any]]:
    """The first few guesses beside the truth: private."""
    rows = {row.id: row for row in answers.truth.rows}
    if isinstance(guess, TextGuess):
        sure = guess.certified or (False,) * len(guess.ids)
        kept = [t for t in zip(guess.ids, guess.tokens, sure, strict=True) if t[0] in set(answers.targets)][:EXAMPLES]
        return [
            {"id": i, "original": answers.decode(rows[i].tokens), "guess": answers.decode(found), "certified": certain}
            for i, found, certain in kept
        ]
    if isinstance(guess, LabelGuess):
        pairs = list(zip(guess.ids, guess.labels.tolist(), strict=True))[:EXAMPLES]
        return [{"id": i, "original": rows[i].label, "guess": answers.labels[found]} for i, found in pairs]
    return []


def store(root: Path, cell: Cell, scored: Scored) -> None:
    """Write a cell's folder by one rename; it replaces a failed one."""
    with files.whole(root / cell.key) as partial:
        files.write_json(partial / "result.json", scored.results)
        files.write_lines(partial / "examples.jsonl", scored.examples)
        tensors = {metric: torch.from_numpy(rows.values) for metric, rows in scored.rows.items()}
        folder.write_tensors(partial / "scores.safetensors", tensors)
        files.write_json(partial / "ids.json", {metric: list(rows.ids) for metric, rows in scored.rows.items()})


def finished(root: Path, key: str) -> list[dict[str, Any]] | None:
    """A cell's stored results; None where there are none or it failed, so that it runs again."""
    path = root / key / "result.json"
    if not path.exists():
        return None
    results: list[dict[str, Any]] = files.read_json(path)
    return None if any(result["status"] == "failed" for result in results) else results


def needs_shuffled(goal: Goal) -> bool:
    """Whether a twin on a shuffled view makes sense: where the guess has a row a sample."""
    return goal in (Goal.LABELS, Goal.TEXTS)
