"""Servers of a split model before a peer that sends what no honest device does: refused, and nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from sidelight.system.errors import ProtocolError
from sidelight.system.message import Message
from sidelight.system.roles import DEVICE, SERVER, Role

from ..contracts.micro import WIDTH, Micro, make_scene
from ..contracts.variants import LORA, made

IDS = ("00" * 8, "01" * 8)
STATES = {"activations": torch.randn(5, 1, WIDTH, generator=torch.Generator().manual_seed(0))}
GOOD: dict[str, torch.Tensor] = {**STATES, "lengths": torch.tensor([2, 3])}
FOLLOWS = {"split": {"labels": torch.tensor([0, 5])}, "ushape": {"gradients": torch.ones(2, WIDTH)}}


def server(micro: Micro, name: str) -> Role:
    protocol = made(name, {"lora": LORA, "bottom": "trainable", "cut": 1})
    return protocol.roles(make_scene(micro.backbone("opt")))[SERVER]


def sent(kind: str, tensors: Mapping[str, torch.Tensor], ids: tuple[str, ...] = IDS) -> Message:
    return Message(kind, DEVICE, SERVER, sample_ids=ids, tensors=tensors)


def held(role: Role) -> dict[str, torch.Tensor]:
    return dict(role.held()["tuned"])


@pytest.mark.parametrize("name", ["split", "ushape"])
def test_an_honest_batch_changes_the_servers_part(micro: Micro, name: str) -> None:
    role = server(micro, name)
    before = held(role)
    role.handle(sent("activations", GOOD))
    ((kind, tensor),) = FOLLOWS[name].items()
    answer = role.handle(sent(kind, {kind: tensor}))
    assert answer.tensors["gradient"].shape == STATES["activations"].shape
    assert any(not torch.equal(before[n], value) for n, value in held(role).items())


@pytest.mark.parametrize(
    "wrong",
    [
        {"activations": torch.full((5, 1, WIDTH), float("nan"))},
        {"activations": torch.zeros(5, 1, WIDTH + 1)},
        {"activations": torch.zeros(5, 1, WIDTH, dtype=torch.int64)},
        {"lengths": torch.tensor([2, 4])},
        {"lengths": torch.tensor([0, 5])},
        {"lengths": torch.tensor([5])},
        {"lengths": torch.tensor([2.0, 3.0])},
    ],
)
@pytest.mark.parametrize("name", ["split", "ushape"])
def test_states_that_do_not_fit_are_refused(micro: Micro, name: str, wrong: dict[str, Any]) -> None:
    role = server(micro, name)
    before = held(role)
    with pytest.raises(ProtocolError):
        role.handle(sent("activations", {**GOOD, **wrong}))
    assert all(torch.equal(before[n], value) for n, value in held(role).items())


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("split", torch.tensor([0, 6])),
        ("split", torch.tensor([-1, 0])),
        ("split", torch.tensor([0])),
        ("split", torch.tensor([0.0, 1.0])),
        ("ushape", torch.full((2, WIDTH), float("nan"))),
        ("ushape", torch.ones(3, WIDTH)),
    ],
)
def test_labels_and_gradients_that_do_not_fit_are_refused(micro: Micro, name: str, wrong: torch.Tensor) -> None:
    role = server(micro, name)
    before = held(role)
    role.handle(sent("activations", GOOD))
    ((kind, _),) = FOLLOWS[name].items()
    with pytest.raises(ProtocolError):
        role.handle(sent(kind, {kind: wrong}))
    assert all(torch.equal(before[n], value) for n, value in held(role).items())


@pytest.mark.parametrize("name", ["split", "ushape"])
def test_what_speaks_of_other_samples_than_the_states_is_refused(micro: Micro, name: str) -> None:
    role = server(micro, name)
    ((kind, tensor),) = FOLLOWS[name].items()
    with pytest.raises(ProtocolError, match="send activations first"):
        role.handle(sent(kind, {kind: tensor}))
    role.handle(sent("activations", GOOD))
    with pytest.raises(ProtocolError, match="send activations first"):
        role.handle(sent(kind, {kind: tensor}, ids=IDS[::-1]))
