"""Peers that invert states: what is asked of them, how they are held against `match`, and what is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from sidelight.benchmarks.attacks import inverting_peers
from sidelight.benchmarks.attacks.inversion import beside, drawn, matched, shown
from sidelight.benchmarks.attacks.inverting_peers import MARKS, SPLITLLM, VFLAIR, Look, Order, ask
from sidelight.system.backbone import TINY, local_folder
from sidelight.system.errors import SidelightError, UsageError

SPLIT_MODELS = """
import torch
import wandb
from nltk.translate import meteor

wandb.init()
meteor("called", "too")


class Inverter(torch.nn.Module):
    def __init__(self, settings, config):
        super().__init__()
        norm, linear = torch.nn.LayerNorm(config.hidden_size), torch.nn.Linear(config.hidden_size, config.vocab_size)
        self.map = torch.nn.Sequential(norm, linear)

    def forward(self, states):
        return self.map(states)


def get_inverter_with_config(name):
    return Inverter, name
"""
SPLIT_LOSS = """
import torch


def calc_unshift_loss(logits, ids):
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())
"""


def order(folder: Path, peer: str = SPLITLLM) -> Order:
    texts = [[2, 1000 + at % 4, 2000 + at % 4, 500] for at in range(150)]
    return Order(peer, str(folder), str(local_folder(TINY)), 1, texts, texts[:2], ["a text"])


@pytest.fixture
def peer(tmp_path: Path) -> Path:
    """A folder that looks like SplitLLM's, with a linear inverter."""
    for name, text in ((MARKS[SPLITLLM], SPLIT_MODELS), ("sfl/utils/model.py", SPLIT_LOSS)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_peers_own_inverter_learns_from_the_auxiliary_texts_and_is_looked_at(
    peer: Path,
) -> None:
    looks = ask(order(peer))
    assert [look.how for look in looks] == [f"{epoch} epochs" for epoch in range(1, inverting_peers.EPOCHS + 1)]
    assert looks[-1].found == 1.0
    assert all(one.seconds < other.seconds for one, other in pairwise(looks))


@pytest.mark.parametrize("name", [SPLITLLM, VFLAIR])
def test_another_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="give the folder of a copy of GitHub's"):
        ask(order(tmp_path, name))


def test_a_peer_that_fails_is_told_with_its_last_line(peer: Path) -> None:
    (peer / "sfl" / "utils" / "model.py").write_text("raise RuntimeError('no such device')\n")
    with pytest.raises(SidelightError, match="no such device"):
        ask(order(peer))


def test_a_peer_that_is_as_good_is_held_by_its_first_such_look() -> None:
    mine = Look("ours", 2.0, 0.9)
    looks = [Look("1 epochs", 1.0, 0.5), Look("2 epochs", 3.0, 0.9), Look("3 epochs", 4.0, 1.0)]
    bar = beside(SPLITLLM, looks, mine, 2.0)
    assert (bar.found, bar.reached, bar.note) == (1.5, False, "2 epochs")


def test_a_peer_that_never_is_as_good_says_what_it_found_at_best() -> None:
    mine = Look("ours", 2.0, 1.0)
    looks = [Look("1 epochs", 1.0, 0.5), Look("2 epochs", 3.0, 0.8), Look("3 epochs", 8.0, 0.7)]
    bar = beside(SPLITLLM, looks, mine, 1.0)
    assert bar.found == 4.0
    assert "without finding" in bar.claim
    assert "80.0 % at best" in bar.note
    assert [look.how for look in shown(looks, mine)] == ["1 epochs", "2 epochs", "3 epochs"]


def test_match_finds_every_token_of_the_same_task() -> None:
    found = matched(drawn(2, 50, 1), 50)
    assert found.found == 1.0
    assert found.seconds > 0
