"""Attacks that behave, and attacks that break in every way a worker must survive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sidelight.attacks.attack import (
    Attack,
    EpsilonBound,
    Goal,
    Guess,
    LabelGuess,
    MembershipScores,
    Needs,
    Prepared,
    StolenModel,
    Studied,
    TextGuess,
)
from sidelight.attacks.workbench import Workbench
from sidelight.system.public import Public
from sidelight.system.view import View


class LabelAttack(Attack):
    """What all attacks here have in common."""

    name = "hostile"
    source = "tests"
    goal = Goal.LABELS
    needs = Needs()
    attacked = frozenset({"difference"})

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> Guess:
        self.act(view, generator)
        ids = view.sample_ids()
        return LabelGuess(ids, torch.zeros(len(ids), dtype=torch.int64))

    def act(self, view: View, generator: torch.Generator) -> None:
        """What this attack does before it guesses."""


class Zeros(LabelAttack):
    """Guesses class 0."""


class ReadsDifferences(LabelAttack):
    """Guesses what crossed under each id."""

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> Guess:
        ids, rows = view.rows("difference", "difference")
        return LabelGuess(ids, rows[:, 0].long() if len(ids) else torch.zeros(0, dtype=torch.int64))


class Draws(LabelAttack):
    """Guesses what its randomness says: the given generator's, and the libraries' own."""

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> Guess:
        drawn = [int(torch.randint(1 << 40, (1,), generator=generator))]
        drawn += [int(torch.randint(1 << 40, (1,))), generator.initial_seed(), hash("a string")]
        return LabelGuess(tuple(map(str, drawn)), torch.tensor(drawn))


class Learns(LabelAttack):
    """Guesses what it prepared: a number drawn, and how much of public knowledge it saw."""

    studies = Studied(frozenset({"auxiliary"}), frozenset({"difference"}))

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        seen = [len(public.auxiliary), len(public.queries), len(public.facts), len(public.labels)]
        return {"drawn": torch.randint(1 << 40, (1,), generator=generator), "seen": torch.tensor(seen)}

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> Guess:
        values = torch.cat([prepared["drawn"], prepared["seen"]])
        return LabelGuess(("drawn", "auxiliary", "queries", "facts", "labels"), values)


@dataclass(frozen=True)
class Stops(LabelAttack):
    """Is stopped at the fourth of six steps of its preparation; begun again, it must go on there."""

    how: str
    """killed, or hangs until somebody ends it"""

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        state, stopped = bench.kept(generator), Path("stopped")
        if state is None:
            assert not stopped.exists(), "the checkpoint is lost"
            state = {"step": torch.tensor(0), "walk": torch.zeros(4)}
        for step in range(int(state["step"]), 6):
            if step == 3 and not stopped.exists():
                self.stop(stopped)
            walk = state["walk"] / 2 + torch.rand(4, generator=generator) + torch.rand(4)
            state = {"step": torch.tensor(step + 1), "walk": walk}
            bench.keep(state, generator)
            bench.progress(step + 1, 6)
        return state

    def stop(self, stopped: Path) -> None:
        stopped.touch()
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        while True:
            time.sleep(1)


@dataclass(frozen=True)
class Snoops(LabelAttack):
    """Tries, while it prepares, to read files that are none of its business; keeps 1 for each that opened."""

    files: tuple[str, ...]

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        return {"opened": torch.tensor([self.opens(path) for path in self.files])}

    def opens(self, path: str) -> int:
        try:
            return int(Path(path).read_bytes() is not None)
        except OSError:
            return 0


@dataclass(frozen=True)
class Plants(LabelAttack):
    """Leaves something else where the harness looks for what was prepared."""

    kind: str
    target: str = ""

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        planted = Path("prepared.safetensors")
        match self.kind:
            case "link":
                planted.symlink_to(self.target)
            case "folder":
                planted.mkdir()
            case "text":
                planted.write_text("no tensors at all", encoding="ascii")
            case "list":
                prepared: Any = [torch.zeros(1)]
                return prepared  # type: ignore[no-any-return]
        os._exit(0)


@dataclass(frozen=True)
class Fails(LabelAttack):
    """Cannot prepare."""

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        raise ArithmeticError("nothing converges")


@dataclass(frozen=True)
class Gives(LabelAttack):
    """Returns the kind of guess that its setting names."""

    kind: str
    classes: tuple[str, ...] = ()

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> Guess:
        made: dict[str, Any] = {
            "texts": TextGuess(("a", "b"), ((3, 1), ()), (True, False)),
            "model": StolenModel(("q0",), torch.tensor([[0.5, float("nan")]])),
            "members": MembershipScores(("c0",), torch.tensor([0.25])),
            "epsilon": EpsilonBound(1.5, 1e-5, 0.95),
            "int32": LabelGuess(("a",), torch.zeros(1, dtype=torch.int32)),
            "nothing": None,
        }
        guess: Guess = made[self.kind]
        return guess


class Raises(LabelAttack):
    """Raises with a message that quotes what it saw."""

    def act(self, view: View, generator: torch.Generator) -> None:
        raise ValueError(f"cannot invert {torch.full((2,), 31337.0)}\nsecond line")


class Hangs(LabelAttack):
    """Never ends; leaves its process id, and a helper that left its group."""

    def act(self, view: View, generator: torch.Generator) -> None:
        helper = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
        Path("processes.partial").write_text(f"{os.getpid()} {helper.pid}", encoding="ascii")
        Path("processes.partial").rename("processes")
        while True:
            time.sleep(1)


class Grows(LabelAttack):
    """Takes memory until it is stopped."""

    def act(self, view: View, generator: torch.Generator) -> None:
        kept = []
        while True:
            kept.append(torch.ones(4 << 20))
            time.sleep(0.01)


class Interrupts(LabelAttack):
    """Asks to leave in a way that plain `except Exception` lets through."""

    def act(self, view: View, generator: torch.Generator) -> None:
        raise SystemExit("enough")


class Leaves(LabelAttack):
    """Ends its process with status 0 and no guess."""

    def act(self, view: View, generator: torch.Generator) -> None:
        os._exit(0)


class Crashes(LabelAttack):
    """Dies as native code does."""

    def act(self, view: View, generator: torch.Generator) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


@dataclass(frozen=True)
class Links(LabelAttack):
    """Leaves a link where the harness looks for the guess, so that the harness reads the truth for it."""

    target: str

    def act(self, view: View, generator: torch.Generator) -> None:
        Path("guess.safetensors").write_bytes(b"")
        Path("guess.json").symlink_to(self.target)
        os._exit(0)
