"""Suites from their files, every name and setting checked before anything is read or written."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...attacks import ATTACKS
from ...system.building import Recipe, unfolded
from ...system.errors import UnknownName, UsageError
from ...system.settings import build, check_finite
from .arrange import arrange, controlled
from .defended import REVEALED, UNDEFENDED, WEAKEST
from .suite import RunPlan, Suite, settings_of, validated
from .sweeps import points

READERS: Mapping[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".json": json.loads}
BUILT_IN = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}


def load_suite(reference: str) -> Suite:
    """A suite by built-in name, from one's own TOML file, or from the suite.json of a finished audit."""
    path = BUILT_IN.get(reference, Path(reference))
    if reference not in BUILT_IN and path.suffix not in READERS:
        raise UnknownName("suite", reference, BUILT_IN)
    if not path.is_file():
        raise UsageError(f"the suite file {reference} does not exist; give quick, standard or a TOML file")
    suite = with_attacks(with_presets(validated(Suite, _values(path, reference), reference)))
    _check(suite, reference)
    return suite.model_copy(update={"name": suite.name or path.stem})


def _values(path: Path, reference: str) -> dict[str, Any]:
    try:
        values = READERS[path.suffix](path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{reference} is not valid {path.suffix[1:].upper()}: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{reference} holds no table; a suite is a table of settings")
    return values


def with_presets(suite: Suite) -> Suite:
    """The suite with every preset in place of its name."""
    recipes = [unfolded(Recipe(run.protocol, run.settings, run.defences)) for run in suite.runs]
    runs = [run.model_copy(update=recipe._asdict()) for run, recipe in zip(suite.runs, recipes, strict=True)]
    return suite.model_copy(update={"runs": runs})


def with_attacks(suite: Suite) -> Suite:
    """The suite with its own attacks given to every run that names none, and sweeps no attack's setting."""
    runs = [
        run
        if suite.attacks is None or run.attacks is not None or any(name.startswith("attack.") for name in run.sweep)
        else run.model_copy(update={"attacks": suite.attacks})
        for run in suite.runs
    ]
    return suite.model_copy(update={"runs": runs})


def _check(suite: Suite, reference: str) -> None:
    known = {name for run in suite.runs for name in settings_of(run.protocol)}
    for name in suite.protocol:
        if name not in known:
            raise UnknownName("setting of the suite's protocols", name, known)
    for at, run in enumerate(suite.runs):
        where = f"runs.{at} in {reference}"
        if run.labels != "own":
            raise UsageError(f"{where} reassigns labels, which is a control; give controls.NAME.labels of another run")
        if run.sweep:
            _check_sweep(suite, run, where)
        else:
            _check_run(suite, run, where)
            _check_controls(suite, run, where)
    _check_repeats(suite, reference)


def _check_repeats(suite: Suite, reference: str) -> None:
    rows = [(at, (run, [*run.defences]) if run.sweep else _built(suite, run)) for at, run in enumerate(suite.runs)]
    for place, (at, one) in enumerate(rows):
        for before, other in rows[:place]:
            if one == other:
                raise UsageError(f"runs.{at} in {reference} repeats runs.{before}; give each run once")


def _built(suite: Suite, run: RunPlan) -> tuple[object, ...]:
    """What a run is, with every default filled in."""
    return suite.protocol_of(run), suite.threat_of(run), suite.data_of(run), run.labels


def _check_sweep(suite: Suite, run: RunPlan, where: str) -> None:
    if len(run.sweep) != 1:
        raise UsageError(f"sweep of {where} varies {len(run.sweep)} settings; give one, and another run for another")
    [(setting, values)] = run.sweep.items()
    if len(values) < 2 or any(value in values[:at] for at, value in enumerate(values)):
        raise UsageError(f"sweep.{setting} of {where} needs at least two values, each once")
    for value in values:
        check_finite({setting: value}, f"the sweep of {where}")
    attacked = setting.split(".")[1] if setting.startswith("attack.") else None
    if attacked and any(name != attacked for name in run.attacks or ()):
        raise UsageError(f"sweep.{setting} of {where} runs {attacked} alone; leave its other attacks to another run")
    for one, _ in points(run):
        _check_run(suite, one, where)
    if run.controls and not any(run.controls.keys() & planned.controls for planned in arrange(Suite(runs=[run]))):
        raise UsageError(f"controls of {where} are the points themselves; give them other settings or labels")


def _check_run(suite: Suite, run: RunPlan, where: str) -> None:
    for defence in suite.protocol_of(run).defences:
        if defence.revealed:
            raise UsageError(f"{where} reveals the key of {defence.name}, which is a control; leave revealed away")
    _built(suite, run)
    _check_attacks(run, where)
    for name, control in run.controls.items():
        _built(suite, controlled(run, control))
        if name in (UNDEFENDED, REVEALED, WEAKEST) and control.labels != "own":
            raise UsageError(f"controls.{name} of {where} reassigns labels, where attacks need not succeed; rename it")
        if name == UNDEFENDED and run.defences and control.defences != {}:
            raise UsageError(f"controls.{name} of {where} keeps defences; give it defences = {{}}, or leave it away")


def _check_controls(suite: Suite, run: RunPlan, where: str) -> None:
    for name, control in run.controls.items():
        if _built(suite, controlled(run, control)) == _built(suite, run):
            raise UsageError(f"controls.{name} of {where} is the run itself; give it other settings or labels")


def _check_attacks(run: RunPlan, where: str) -> None:
    if run.attacks == []:
        raise UsageError(f"attacks of {where} is empty; name at least one, or leave it away for all")
    for name in [*(run.attacks or ()), *run.vary]:
        ATTACKS[name]
    if run.attacks is not None and len(set(run.attacks)) < len(run.attacks):
        raise UsageError(f"attacks of {where} name one attack twice; give each once, and its settings in vary")
    for name, cells in run.vary.items():
        if run.attacks is not None and name not in run.attacks:
            raise UsageError(f"vary of {where} has {name!r}, which is none of its attacks; add it to them")
        built = [build(ATTACKS[name], settings, name) for settings in cells]
        if any(attack in built[:at] for at, attack in enumerate(built)):
            raise UsageError(f"vary.{name} of {where} repeats a cell; give different settings")
    if not any(run.attacked()):
        raise UsageError(f"vary of {where} leaves no attack; leave one, or the run away")
