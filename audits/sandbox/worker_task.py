"""What one worker does: confine itself, load view and public, run the attack, leave the guess in scratch.

Or, where the order names no view: have the attack prepare, and leave what it prepared.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import numpy
import torch

from ...attacks.attack import Attack, Guess, Prepared
from ...attacks.workbench import Workbench
from ...system import files
from ...system.errors import UsageError
from ...system.public import load_public
from ...system.randomness import Streams
from ...system.view import View, load_view
from . import confine, guess_files, prepared_files
from .readable import code_paths, module_paths

ERROR = "error.json"
LONGEST_REASON = 300
CONTENTS = re.compile(r"(tensor|array)\(|\[+\s*-?\d")
"""Where a message begins to quote numbers."""

Order = Mapping[str, Any]


def perform_and_exit(order: Order) -> NoReturn:
    """The whole life of a worker. Exit status 0: what was ordered lies in scratch; 1: the reason does."""
    status = 1
    try:
        scratch = Path(order["scratch"])
        confine.detach(scratch)
        try:
            _confine(order, scratch)
            if "view" in order:
                guess_files.save(perform(order), scratch)
            else:
                prepared_files.save(prepare(order), scratch)
            status = 0
        except BaseException as error:  # an attack may also raise SystemExit or KeyboardInterrupt
            traceback.print_exc()
            files.write_json(scratch / ERROR, {"reason": reason(error)})
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def perform(order: Order) -> Guess:
    """The attack's guess on the view, or on its twin."""
    attack, generator = _ready(order)
    prepared = _prepared(attack, order)
    view = twin(load_view(Path(order["view"])), order)
    return attack.run(view, load_public(Path(order["public"])), prepared, generator)


def prepare(order: Order) -> Prepared:
    """What the attack computes from public knowledge."""
    attack, generator = _ready(order)
    return attack.prepare(load_public(Path(order["public"])), generator, Workbench(Path(order["scratch"])))


def load_attack(reference: str, settings: Mapping[str, Any]) -> Attack:
    """The attack that "module:Class" names, built with its settings; lists become tuples."""
    module, _, name = reference.partition(":")
    kind = getattr(import_module(module), name)
    attack = kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()})
    if not isinstance(attack, Attack):
        raise TypeError(f"{reference} is no Attack")
    return attack


def twin(view: View, order: Order) -> View:
    """The view itself, shuffled across samples, or without some kinds."""
    match order["twin"]:
        case "":
            return view
        case "shuffled":
            return view.shuffled(Streams(str(order["seed"])).torch("twin"))
        case "without":
            return view.without(frozenset(order["without"]))
    raise ValueError(f"unknown twin {order['twin']!r}; known: shuffled, without")


def reason(error: BaseException) -> str:
    """One line that names an error's type and says its message, up to the first quoted numbers."""
    said = str(error).strip().splitlines()
    first = CONTENTS.split(said[0])[0].strip() if said else ""
    return (f"{type(error).__name__}: {first}" if first else type(error).__name__)[:LONGEST_REASON]


def prepares(attack: Attack) -> bool:
    """Whether an attack computes anything from public knowledge alone."""
    return type(attack).prepare is not Attack.prepare


def _ready(order: Order) -> tuple[Attack, torch.Generator]:
    _seed(order["seed"])
    torch.set_num_threads(order["threads"])
    return load_attack(order["attack"], order["settings"]), torch.Generator().manual_seed(order["seed"])


def _prepared(attack: Attack, order: Order) -> Prepared:
    if order["prepared"]:
        return prepared_files.load(Path(order["prepared"]))
    if prepares(attack):
        raise UsageError(f"{attack.name} prepares from public knowledge; give it what it prepared")
    return {}


def _confine(order: Order, scratch: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    given = map(Path, order["readable"])
    confine.restrict(order["abi"], (*code_paths(), *module_paths(order["attack"]), *given), scratch)


def _seed(seed: int) -> None:
    """Start the libraries' global streams too: some draw from them unasked."""
    torch.default_generator.manual_seed(seed)  # `torch.manual_seed` first looks for devices, for milliseconds
    random.seed(seed)
    numpy.random.seed(seed % (1 << 32))  # noqa: NPY002 - scikit-learn draws from it where no state is given
