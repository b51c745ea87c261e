"""A small recorded run with a truth beside it, and workers that can import the attacks in this folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from sidelight.attacks.attack import Attack
from sidelight.audits.sandbox.preparing import Shelf, Shelved
from sidelight.audits.sandbox.workers import Broken, Task, Workers
from sidelight.system.backbone import Backbone, load_backbone
from sidelight.system.message import Message
from sidelight.system.public import Example, Public, Query
from sidelight.system.view import View, ViewWriter

from ..contracts.conftest import micro
from ..contracts.micro import make_micro
from . import hostile_attacks
from .hand_made import pivots_of, public_of, view_of
from .small import Small, write_rows

__all__ = ["micro"]

IDS = tuple(f"{i:016x}" for i in range(6))
CLASSES = ("no", "yes")


@dataclass(frozen=True)
class Run:
    """The folders of one recorded run."""

    root: Path

    @property
    def view(self) -> Path:
        return self.root / "view"

    @property
    def public(self) -> Path:
        return self.root / "public"

    @property
    def truth(self) -> Path:
        return self.root / "truth"

    def task(
        self, attack: str, scratch: Path, twin: str = "", without: tuple[str, ...] = (), **settings: object
    ) -> Task:
        """An attack of `hostile_attacks`, or "module:Class"."""
        reference = attack if ":" in attack else f"hostile_attacks:{attack}"
        return Task(reference, settings, self.view, self.public, scratch, 5, twin, without)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Six samples whose difference crossed: sample i has the value i."""
    return record(tmp_path / "run")


def record(root: Path) -> Run:
    made = Run(root)
    root.mkdir()
    writer = ViewWriter(made.view, frozenset({"server"}))
    for i, sample_id in enumerate(IDS):
        tensors = {"difference": torch.full((1, len(CLASSES)), float(i))}
        writer(Message("difference", "device-0", "server", step=i, sample_ids=(sample_id,), tensors=tensors))
        activations = {"activations": torch.full((1, 1, 4), float(i))}
        writer(Message("activations", "device-0", "server", step=i, sample_ids=(sample_id,), tensors=activations))
    writer.close({}, {"protocol": "planted"})
    auxiliary = (Example("an auxiliary text", "yes"),)
    Public({"difference": "probability"}, CLASSES, auxiliary=auxiliary, queries=(Query("q0", "a query"),)).save(
        made.public
    )
    made.truth.mkdir(mode=0o700)
    return made


@pytest.fixture(scope="session")
def importable() -> Iterator[None]:
    """Workers find the modules in this folder as they would find a plug-in."""
    here = str(Path(__file__).parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", here, prepend=":")
        patch.setattr(sys, "path", [*sys.path, here])
        yield


@pytest.fixture(scope="session")
def workers(importable: None) -> Iterator[Workers]:
    """One server for all tests: it takes seconds to load the libraries."""
    with Workers() as made:
        yield made


@pytest.fixture(scope="session")
def open_workers(importable: None) -> Iterator[Workers]:
    """Workers as they are on a machine without Landlock."""
    with Workers(sandboxed=False) as made:
        yield made


Made = Callable[..., Attack]


@pytest.fixture
def attack(monkeypatch: pytest.MonkeyPatch) -> Made:
    """An attack of `hostile_attacks` under the name by which workers import it."""

    def made(name: str, **settings: Any) -> Attack:
        kind: Callable[..., Attack] = getattr(hostile_attacks, name)
        monkeypatch.setattr(kind, "__module__", "hostile_attacks")
        return kind(**settings)

    return made


def ensured(shelf: Shelf, attack: Attack, public: Public, **settings: Any) -> Shelved:
    made = shelf.ensure(attack, settings, public, "")
    assert isinstance(made, Shelved), made
    return made


def said(shelf: Shelf, attack: Attack, public: Public, **settings: Any) -> str:
    made = shelf.ensure(attack, settings, public, "")
    assert isinstance(made, Broken), made
    return made.reason


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A backbone and rows for audits of seconds."""
    root = tmp_path_factory.mktemp("small")
    return Small(root, make_micro(root / "backbones").folders["opt"], write_rows(root / "rows.jsonl"))


# --- a view made by hand: see hand_made.py ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backbone(small: Small) -> Backbone:
    return load_backbone(str(small.backbone))


@pytest.fixture(scope="module")
def public(small: Small) -> Public:
    return public_of(small)


@pytest.fixture(scope="module")
def pivots(backbone: Backbone) -> torch.Tensor:
    return pivots_of(backbone)


@pytest.fixture(scope="module")
def view(pivots: torch.Tensor) -> View:
    return view_of(pivots)
