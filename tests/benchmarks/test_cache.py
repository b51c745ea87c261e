"""Training from the cache on disk: flat in memory, and the very work of a loop over tensors in memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from sidelight.benchmarks.apart import forked
from sidelight.benchmarks.limits import server_training
from sidelight.benchmarks.limits.server_training import AUTOGRAD, LOOP, SERVED, Pace, turns
from sidelight.benchmarks.memory.cache import keep, train
from sidelight.system.cache import row_file
from sidelight.system.errors import SidelightError
from sidelight.system.side_network import SideShape

PAGES = SideShape(layers=1, width=2000, bottleneck=1, outputs=2)
"""A page of the file for every sample's activations."""
MEBI = 1 << 20


def taken(folder: Path, samples: int) -> float:
    """Resident bytes that an epoch of so many samples takes, which are kept first where they are not."""
    if not folder.exists():
        forked(partial(keep, folder, PAGES, samples))
    found = forked(partial(train, folder, PAGES, samples, 1))
    return float(found["peak"] - found["before"])


def test_memory_does_not_grow_with_the_file_because_mapped_pages_are_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = tmp_path / "many"
    taken(many, 10_000)  # what the first process of its kind loads is no part of what is compared
    with monkeypatch.context() as patch:
        patch.setattr(row_file, "MAPPED", 1 << 40)
        whole = taken(many, 10_000)  # the file has 39 MiB
    monkeypatch.setattr(row_file, "MAPPED", 4 * MEBI)
    flat = taken(many, 10_000)
    assert whole - flat > 18 * MEBI
    assert flat - taken(tmp_path / "few", 200) < 18 * MEBI


SMALL = SideShape(layers=2, width=8, bottleneck=4, outputs=3)


def test_the_loop_does_what_the_server_does() -> None:
    found = turns(SMALL, samples=150, repeats=2, epochs=2)
    assert [set(turn) for turn in found.turns] == [{SERVED, LOOP, AUTOGRAD}] * 2
    assert all(speed > 0 for turn in found.turns for speed in turn.values())


def test_a_server_is_held_against_each_loop_turn_by_turn() -> None:
    found = Pace([{SERVED: 8.0, LOOP: 10.0}, {SERVED: 30.0, LOOP: 20.0}, {SERVED: 9.0, LOOP: 10.0}])
    bar = found.headline("small", LOOP, 0.95)
    assert (bar.found, bar.reached, bar.note) == (0.9, False, "0.800 to 1.500 in 3 turns")


def test_a_loop_that_does_something_else_is_no_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs - targets).abs().sum()

    monkeypatch.setattr(server_training, "squared_error", other)
    with pytest.raises(SidelightError, match="other weights"):
        turns(SMALL, samples=150, repeats=1, epochs=1)
