"""Training from the cache on disk: flat in memory, and the very work of a loop over tensors in memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from sidelight.benchmarks.apart import forked
from sidelight.benchmarks.limits import server_training
from sidelight.benchmarks.limits.server_training import pairs
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
    found = pairs(SMALL, samples=150, repeats=2, epochs=2)
    assert len(found) == 2
    assert all(ours > 0 and theirs > 0 for ours, theirs in found)


def test_a_loop_that_does_something_else_is_no_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs - targets).abs().sum()

    monkeypatch.setattr(server_training, "squared_error", other)
    with pytest.raises(SidelightError, match="other weights"):
        pairs(SMALL, samples=150, repeats=1, epochs=1)
