"""Synthetic rows whose differences only group them, and how a partition is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch.nn.functional import layer_norm, normalize

from sidelight.attacks import ATTACKS, Attack
from sidelight.attacks.attack import LabelGuess
from sidelight.system.message import Message
from sidelight.system.public import Known, Public
from sidelight.system.roles import DEVICE, SERVER
from sidelight.system.side_network import SideNetwork, SideShape
from sidelight.system.view import View

WIDTH = 48


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def attack(name: str, **settings: Any) -> Attack:
    """An attack with settings, which only itself knows."""
    made: Callable[..., Attack] = ATTACKS[name]
    return made(**settings)


class Made:
    """Synthetic differences `c_y - W a` on pivots that follow the classes as far as `follow` says."""

    def __init__(
        self,
        classes: int,
        rows: int = 600,
        width: int | None = None,
        words: int = 1,
        follow: float = 1.0,
        pivot: int = WIDTH,
        noise: float = 0.0,
    ) -> None:
        generator = drawn(classes)
        self.labels = torch.randint(classes, (rows,), generator=generator)
        self.words = torch.randint(words, (rows,), generator=generator)
        places = follow * torch.randn(classes, pivot, generator=generator)
        self.pivots = places[self.labels] + torch.randn(rows, pivot, generator=generator)
        values = width or classes
        self.book = 5 * torch.eye(classes).unsqueeze(1)
        if width is not None:
            self.book = 5 * normalize(torch.randn(classes, words, values, generator=generator), dim=2)
        self.slope = torch.randn(values, pivot, generator=generator) / pivot**0.5
        share = layer_norm(self.pivots, (pivot,)) @ self.slope.T
        self.difference = self.book[self.labels, self.words] - share
        self.difference += noise * torch.randn(rows, values, generator=generator)
        defences = {} if width is None else {"code": {"width": width, "words": words, "share": True}}
        self.public = Public(
            {"difference": "logit", "scale": 5.0, "defences": defences}, tuple(f"class {k}" for k in range(classes))
        )

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"{i:016x}" for i in range(len(self.labels)))

    def view(self, tuned: Mapping[str, torch.Tensor] | None = None) -> View:
        kinds = {"activations": self.pivots.unsqueeze(1), "difference": self.difference}
        messages = [Message(k, DEVICE, SERVER, sample_ids=self.ids, tensors={k: t}) for k, t in kinds.items()]
        held = tuned or side(self.pivots.shape[1], self.difference.shape[1]).state_dict()
        return View(frozenset({SERVER}), messages, {"tuned": dict(held)}, {})

    def known(self, each: int) -> Public:
        """Public knowledge with some labels of each class."""
        rows = [i for k in self.labels.unique() for i in (self.labels == k).nonzero().squeeze(1)[:each].tolist()]
        told = tuple(Known(self.ids[i], self.public.labels[int(self.labels[i])]) for i in rows)
        return replace(self.public, known=told)


def side(pivot: int, outputs: int) -> SideNetwork:
    """A side network that nobody trained: its outputs are a random linear map of the normed pivot."""
    network = SideNetwork(SideShape(1, pivot, 4, outputs), drawn(1))
    torch.nn.init.normal_(network.out, generator=drawn(2))
    return network


def guessed(
    name: str, made: Made, public: Public | None = None, view: View | None = None, **settings: Any
) -> LabelGuess:
    found = attack(name, **settings).run(view or made.view(), public or made.public, {}, drawn(3))
    assert isinstance(found, LabelGuess)
    assert set(found.ids) == set(made.ids)
    return found


def matched(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Share of rows that agree under the best one-to-one map of numbers."""
    table = torch.zeros(int(found.max()) + 1, int(truth.max()) + 1)
    table.index_put_((found, truth), torch.ones(len(truth)), accumulate=True)
    rows, columns = linear_sum_assignment(table.numpy(), maximize=True)
    return float(table[rows, columns].sum()) / len(truth)


def share(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found == truth).float().mean())
