"""A preparation's checkpoints and progress: what was interrupted ends as if it had not been."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from sidelight.attacks.workbench import KEPT, PROGRESS, Workbench


def walked(bench: Workbench, steps: int) -> torch.Tensor:
    """A random walk up to a step, kept at each; goes on where it was kept."""
    generator = torch.Generator().manual_seed(7)
    state = bench.kept(generator) or {"step": torch.tensor(0), "at": torch.zeros(3)}
    for step in range(int(state["step"]), steps):
        noise = torch.nn.functional.dropout(torch.rand(3, generator=generator))
        state = {"step": torch.tensor(step + 1), "at": state["at"] * 0.9 + noise}
        bench.keep(state, generator)
    return state["at"]


def test_a_walk_that_was_interrupted_ends_where_it_would_have_ended(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        whole = walked(Workbench(), 6)
        torch.manual_seed(1)
        part = walked(Workbench(tmp_path), 4)
        torch.manual_seed(2)  # another process
        assert not torch.equal(part, whole)
        assert torch.equal(walked(Workbench(tmp_path), 6), whole)


def test_nothing_is_kept_at_first_or_without_a_folder(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    homeless = Workbench()
    homeless.keep({"a": torch.ones(1)}, generator)
    homeless.progress(1, 2)
    assert homeless.kept(generator) is None
    assert Workbench(tmp_path).kept(generator) is None
    assert torch.equal(generator.get_state(), before)
    assert list(tmp_path.iterdir()) == []


def test_tensors_that_share_memory_are_kept(tmp_path: Path) -> None:
    generator = torch.Generator()
    tied = torch.arange(4.0)
    Workbench(tmp_path).keep({"a": tied, "generator/own": tied[1:3]}, generator)
    kept = Workbench(tmp_path).kept(generator)
    assert kept is not None
    assert {name: tensor.tolist() for name, tensor in kept.items()} == {"a": [0, 1, 2, 3], "generator/own": [1, 2]}


@pytest.mark.parametrize("damage", [b"", b"no tensors", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_checkpoint_that_cannot_be_read_counts_as_none(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / KEPT).write_bytes(damage)
    assert Workbench(tmp_path).kept(torch.Generator()) is None


def test_progress_is_noted_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    bench = Workbench(tmp_path)
    noted = set()
    for step in range(1, 1001):
        bench.progress(step, 1000)
        noted.add(json.loads((tmp_path / PROGRESS).read_text(encoding="ascii"))["done"])
    assert {1.0, 1000.0} <= noted
    assert len(noted) < 500
    with pytest.raises(ValueError, match="JSON"):
        Workbench(tmp_path).progress(math.nan, 1)
